"""Shapes of input blobs: given by the file, told by a data layer and the weights, or by the caller."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from caffe2lrp.converters.caffe.constants import dummy_shape
from caffe2lrp.converters.caffe.graph import Graph, Node, Value
from caffe2lrp.converters.caffe.message import Message
from caffe2lrp.converters.caffe.weights import Weights
from caffe2lrp.errors import ModelError, OptionError
from caffe2lrp.layers import Shape

InputShape = Sequence[int] | Mapping[str, Sequence[int]]

# Layers that keep the number of channels, so that the convolution behind them still tells the input's.
_SAME_CHANNELS = frozenset(
    {
        "AbsVal",
        "BNLL",
        "BatchNorm",
        "Bias",
        "BN",
        "Clip",
        "Dropout",
        "ELU",
        "Exp",
        "HardSigmoid",
        "HardSwish",
        "LRN",
        "Log",
        "MVN",
        "Pooling",
        "Power",
        "PReLU",
        "ReLU",
        "Scale",
        "Sigmoid",
        "Swish",
        "TanH",
        "Threshold",
    }
)
_DATA_PARAMS = ("data_param", "image_data_param", "window_data_param", "hdf5_data_param")


def input_shapes(graph: Graph, weights: Weights | None, given: InputShape | None) -> dict[Value, Shape]:
    """Shapes of the values that come from outside.

    Parameters
    ----------
    graph
        The graph; its notes are added to.
    weights
        Stored weights, which tell the number of channels where the file does not.
    given
        A shape for the first input, or shapes by blob name; they win over the file's.

    Raises
    ------
    ModelError
        If a shape is not known.
    OptionError
        If `given` is no shape or names a blob that is no input.
    """
    read = {value for node in graph.nodes for value in node.inputs}
    sources = [
        (node, index, value)
        for node in graph.nodes
        if node.is_source
        for index, value in enumerate(node.outputs)
        if value in read
    ]
    if not sources:
        raise ModelError("the net has no input: neither 'input' fields nor an Input or data layer")
    asked = _asked(given, [value.blob for _, _, value in sources])
    shapes: dict[Value, Shape] = {}
    for node, index, value in sources:
        shapes[value] = shape = asked.get(value.blob) or _told(node, index, value, graph, weights)
        if node.type != "Input":
            graph.notes.append(f"{node}: replaced by the input '{value.blob}' of shape {shape}{_transformation(node)}")
    return shapes


def _asked(given: InputShape | None, blobs: list[str]) -> dict[str, Shape]:
    if given is None:
        return {}
    by_name = given if isinstance(given, Mapping) else {blobs[0]: given}
    try:
        asked = {blob: tuple(int(d) for d in shape) for blob, shape in by_name.items()}
    except (TypeError, ValueError):
        raise OptionError(f"input_shape must be whole numbers such as (1, 3, 227, 227), not {given!r}") from None
    for blob, shape in asked.items():
        if blob not in blobs:
            raise OptionError(f"input_shape names '{blob}', but the inputs are {', '.join(blobs)}")
        if not shape or min(shape) < 1:
            raise OptionError(f"input_shape {shape} of '{blob}' must be positive numbers such as (1, 3, 227, 227)")
    return asked


def _told(node: Node, index: int, value: Value, graph: Graph, weights: Weights | None) -> Shape:
    shape = _declared(node, index)
    if shape is None and node.type != "Input":
        shape = _from_data_layer(node.message, _channels(value, node.message, graph, weights))
    if shape is None:
        channels = _channels_from_weights(value, graph, weights) if weights else None
        raise ModelError(
            f"{node}: the file does not tell the size of the images in '{value.blob}'; pass it when loading, for "
            f"example input_shape=(1, {channels or 3}, 227, 227)"
        )
    if not shape or min(shape) < 1:
        raise ModelError(f"{node}: its input '{value.blob}' has the impossible shape {shape}; pass input_shape")
    return shape


def _declared(node: Node, index: int) -> Shape | None:
    """The shape that the file states, if it does; one shape may stand for all tops."""
    message = node.message
    if message.has("memory_data_param"):
        param = message.get("memory_data_param")
        return tuple(param.get(name) for name in ("batch_size", "channels", "height", "width"))
    if node.type != "Input":
        return dummy_shape(message, index)
    shapes = message.get("input_param").all("shape")
    if len(shapes) not in (0, 1, len(node.outputs)):
        raise ModelError(
            f"{node}: has {len(node.outputs)} tops but {len(shapes)} shapes; give one for each, or one for all"
        )
    return tuple(shapes[index if len(shapes) > 1 else 0].all("dim")) if shapes else None


def _from_data_layer(layer: Message, channels: int | None) -> Shape | None:
    height, width = _size(layer)
    if channels is None or not height or not width:
        return None
    batch = next((layer.get(p).get("batch_size") for p in _DATA_PARAMS if layer.has(p)), None)
    return (batch or 1, channels, height, width)


def _size(layer: Message) -> tuple[int, int]:
    transform, images = layer.get("transform_param"), layer.get("image_data_param")
    crop, resize = transform.get("crop_size"), transform.get("resize_param")
    candidates = (
        (crop, crop),
        (resize.get("height"), resize.get("width")),
        (images.get("new_height"), images.get("new_width")),
    )
    return next((pair for pair in candidates if all(pair)), (0, 0))


def _channels(value: Value, layer: Message, graph: Graph, weights: Weights | None) -> int | None:
    """Number of channels: what the first convolution's weights need, or what the data layer hints at."""
    known = None if weights is None else _channels_from_weights(value, graph, weights)
    if known is not None:
        return known
    transform = layer.get("transform_param")
    if transform.get("force_gray"):
        return 1
    colour = (
        len(transform.all("mean_value")) == 3
        or transform.get("force_color")
        or layer.get("data_param").get("force_encoded_color")
        or (layer.has("image_data_param") and layer.get("image_data_param").get("is_color"))
        or layer.get("type") == "WindowData"
    )
    # Without weights there is no way to know; nearly every net with a crop size is for colour images.
    return 3 if colour or weights is None else None


def _channels_from_weights(value: Value, graph: Graph, weights: Weights) -> int | None:
    frontier = {value}
    for node in graph.nodes:
        if not frontier.intersection(node.inputs):
            continue
        if node.type in _SAME_CHANNELS:
            frontier.update(node.outputs)
        elif node.type == "Convolution":
            weight = next(iter(weights.layers.get(node.name, [])), None)
            if weight is not None and len(weight.shape) == 4:
                return weight.shape[1] * node.message.get("convolution_param").get("group")
    return None


def _transformation(node: Node) -> str:
    """How the training data were prepared, for the note: whoever runs the net must do the same."""
    transform = node.message.get("transform_param")
    told = [
        f"{name} {', '.join(f'{v:g}' if isinstance(v, float) else str(v) for v in transform.all(name))}"
        for name in ("mean_file", "mean_value", "scale")
        if transform.has(name)
    ]
    return f"; it prepared images with {'; '.join(told)}" if told else ""
