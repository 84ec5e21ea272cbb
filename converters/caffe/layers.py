"""Layer parameters out of Caffe's messages and back, one layer type at a time.

Most types are a line of `_PLAIN`, which says which attribute is which field. The others have a function
registered with `reads` that follows the layer's ``LayerSetUp`` in Caffe, and one registered with `writes`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, cast

from caffe2lrp.converters.caffe.constants import dummy_shape
from caffe2lrp.converters.caffe.message import Message, new
from caffe2lrp.converters.caffe.schema import SCHEMAS
from caffe2lrp.layers import REGISTRY, LayerParams
from caffe2lrp.layers.activation import Exp, Log
from caffe2lrp.layers.argmax import ArgMax
from caffe2lrp.layers.batch import Filter
from caffe2lrp.layers.batch_norm import BatchNorm
from caffe2lrp.layers.convolution import Convolution, Deconvolution
from caffe2lrp.layers.crop import Crop
from caffe2lrp.layers.eltwise import Eltwise
from caffe2lrp.layers.embed import Embed
from caffe2lrp.layers.im2col import Im2col
from caffe2lrp.layers.inner_product import InnerProduct
from caffe2lrp.layers.join import Concat, Slice
from caffe2lrp.layers.lrn import LRN
from caffe2lrp.layers.pooling import SPP, Method, Pooling
from caffe2lrp.layers.recurrent import LSTM, RNN, Recurrent
from caffe2lrp.layers.reduction import Reduction
from caffe2lrp.layers.reshape import Reshape
from caffe2lrp.layers.source import DummyData, Parameter
from caffe2lrp.layers.tile import Tile

Note = Callable[[str], None]
Reader = Callable[[Message, Note], LayerParams]
Writer = Callable[[Any], Message]


class ParameterError(ValueError):
    """Parameters contradict each other or ask for what is not supported; the builder adds the place."""


PYTHON_LAYERS: dict[tuple[str, str], str] = {}
"""Types that layers written in Python stand for, by module and class."""

_READERS: dict[str, Reader] = {}
_WRITERS: dict[str, tuple[str, Writer]] = {}

_PLAIN: dict[str, tuple[str, dict[str, str]]] = {
    "AbsVal": ("", {}),
    "BNLL": ("", {}),
    "BatchReindex": ("", {}),
    "Bias": ("bias_param", {"axis": "axis", "num_axes": "num_axes"}),
    "Dropout": ("dropout_param", {"ratio": "dropout_ratio"}),
    "ELU": ("elu_param", {"alpha": "alpha"}),
    "Filter": ("", {}),
    "Flatten": ("flatten_param", {"axis": "axis", "end_axis": "end_axis"}),
    "MVN": (
        "mvn_param",
        {"normalize_variance": "normalize_variance", "across_channels": "across_channels", "epsilon": "eps"},
    ),
    "PReLU": ("prelu_param", {"channel_shared": "channel_shared"}),
    "Power": ("power_param", {"power": "power", "scale": "scale", "shift": "shift"}),
    "ReLU": ("relu_param", {"negative_slope": "negative_slope"}),
    "Scale": ("scale_param", {"axis": "axis", "num_axes": "num_axes", "bias": "bias_term"}),
    "Sigmoid": ("", {}),
    "Softmax": ("softmax_param", {"axis": "axis"}),
    "TanH": ("", {}),
    "Threshold": ("threshold_param", {"threshold": "threshold"}),
}
"""Types without rules of their own: the message, and the field of each attribute."""

_STATED = frozenset({("ArgMaxParameter", "axis")})
"""Fields whose being there means something, whatever their value."""


def reads(type_name: str) -> Callable[[Reader], Reader]:
    """Decorator: register the reader of a layer type."""

    def register(function: Reader) -> Reader:
        _READERS[type_name] = function
        return function

    return register


def writes(type_name: str, param: str) -> Callable[[Writer], Writer]:
    """Decorator: register the writer of a layer type and the name of the message that it makes."""

    def register(function: Writer) -> Writer:
        _WRITERS[type_name] = (param, function)
        return function

    return register


def known_types() -> list[str]:
    """Layer types that can be read."""
    return sorted({*_READERS, *_PLAIN})


def has_weights(kind: str) -> bool:
    """Whether layers of a type store weights (those of Scale and Bias do unless they have a second input)."""
    return kind in REGISTRY and REGISTRY[kind].weight_shapes is not LayerParams.weight_shapes


def read_params(layer: Message, kind: str, note: Note) -> LayerParams:
    """Typed parameters of a layer.

    Parameters
    ----------
    layer
        The layer's message, of the newest generation.
    kind
        Layer type; one of `known_types`.
    note
        Called with remarks about the layer.

    Raises
    ------
    ParameterError
        If the parameters contradict each other or ask for what is not supported.
    """
    if kind in _READERS:
        try:
            return _READERS[kind](layer, note)
        except ParameterError as error:
            name = _WRITERS[kind][0] if kind in _WRITERS else _PLAIN[kind][0]
            raise ParameterError(f"{name}: {error}") from None
    param, attributes = _PLAIN[kind]
    values = layer.get(param) if param else None
    return REGISTRY[kind](**{name: values.get(source) for name, source in attributes.items()} if values else {})


def write_params(params: LayerParams) -> tuple[str, Message] | None:
    """Name and content of the message for a layer's parameters; None where all have their default.

    Raises
    ------
    ParameterError
        If Caffe has no such layer type.
    """
    if params.type in _WRITERS:
        name, writer = _WRITERS[params.type]
        message = writer(params)
    elif params.type not in _PLAIN:
        raise ParameterError(f"Caffe has no layer type {params.type}")
    else:
        name, attributes = _PLAIN[params.type]
        if not name:
            return None
        schema = SCHEMAS["LayerParameter"].variant(params.type).by_name[name].type
        message = new(schema, **{source: getattr(params, attribute) for attribute, source in attributes.items()})
    _drop_defaults(message)
    return (name, message) if message.values else None


def file_type(params: LayerParams) -> str:
    """How files spell the type of a layer."""
    return "Python" if params.type in PYTHON_LAYERS.values() else params.type


def _drop_defaults(message: Message) -> None:
    for name, values in list(message.values.items()):
        known = message.schema.by_name[name]
        if name.endswith(("_h", "_w")) or name == "pool":
            continue  # pairs are given together or not at all; a reader wants to see what a pooling layer does
        if (message.schema.name, name) in _STATED:
            continue
        if not values or (not known.repeated and not known.is_message and values == [known.default]):
            del message.values[name]


# -- windows ---------------------------------------------------------------------------------------

_Sizes = tuple[int, ...]

_LARGEST = 1 << 24

# C3D's fields for the axis of time, beside Caffe's for the other two.
_DEPTH = {"kernel_size": "kernel_depth", "stride": "temporal_stride", "pad": "temporal_pad"}


def _more_axes(param: Message, name: str, default: int) -> _Sizes | None:
    """A size by the fields that forks have for more than two axes: video-caffe's shapes, C3D's depth and side."""
    shape = name.removesuffix("_size") + "_shape"
    if shape in param.schema.by_name and param.has(shape):
        return tuple(param.get(shape).all("dim"))
    if name in _DEPTH and param.has("kernel_depth"):
        side = param.all(name)[-1] if param.has(name) else default
        return param.get(_DEPTH[name]), side, side
    return None


def _spatial(param: Message, name: str, default: int) -> _Sizes:
    """A convolution's kernel_size, stride, pad or dilation; one number stands for all axes."""
    short = name.removesuffix("_size")
    given = param.all(name)
    if f"{short}_h" in param.schema.by_name and (param.has(f"{short}_h") or param.has(f"{short}_w")):
        if given:
            raise ParameterError(f"both {name} and {short}_h/{short}_w are given; Caffe allows one of them")
        return param.get(f"{short}_h"), param.get(f"{short}_w")
    return _more_axes(param, name, default) or tuple(given) or (default,)


def _window(param: Message, name: str) -> _Sizes:
    """A pooling layer's kernel_size, stride or pad; one number stands for all axes."""
    short = name.removesuffix("_size")
    pair = param.has(f"{short}_h"), param.has(f"{short}_w")
    if param.has(name) and any(pair):
        raise ParameterError(f"both {name} and {short}_h/{short}_w are given; Caffe allows one of them")
    if any(pair) and not all(pair):
        raise ParameterError(f"{short}_h and {short}_w must be given together")
    if all(pair):
        return param.get(f"{short}_h"), param.get(f"{short}_w")
    return _more_axes(param, name, param.get(name)) or (param.get(name),)


def _at_least(least: int, name: str, sizes: _Sizes) -> _Sizes:
    if min(sizes) < least:
        raise ParameterError(f"{name} is {'x'.join(map(str, sizes))} but must be at least {least}")
    if max(sizes) > _LARGEST:
        raise ParameterError(f"{name} is {'x'.join(map(str, sizes))}, which is too large for any image")
    return sizes


def _sliding(param: Message) -> dict[str, _Sizes]:
    """Kernel, stride, pad and dilation of a convolution_param."""
    return {
        "kernel": _at_least(1, "kernel_size", _spatial(param, "kernel_size", 0)),
        "stride": _at_least(1, "stride", _spatial(param, "stride", 1)),
        "pad": _at_least(0, "pad", _spatial(param, "pad", 0)),
        "dilation": _at_least(1, "dilation", _spatial(param, "dilation", 1)),
    }


def _convolving(layer: Message, kind: type[Convolution] | type[Deconvolution]) -> LayerParams:
    param = layer.get("convolution_param")
    num_output, group = param.get("num_output"), param.get("group")
    if num_output <= 0:
        raise ParameterError("num_output is missing or 0")
    if group <= 0:
        raise ParameterError("group must be at least 1")
    return kind(num_output, **_sliding(param), group=group, bias=param.get("bias_term"), axis=param.get("axis"))


@reads("Convolution")
def _read_convolution(layer: Message, note: Note) -> LayerParams:
    return _convolving(layer, Convolution)


@reads("Deconvolution")
def _read_deconvolution(layer: Message, note: Note) -> LayerParams:
    return _convolving(layer, Deconvolution)


@reads("Im2col")
def _read_im2col(layer: Message, note: Note) -> LayerParams:
    param = layer.get("convolution_param")
    return Im2col(**_sliding(param), axis=param.get("axis"))


def _repeated(sizes: _Sizes, default: int) -> list[int]:
    """Sizes as Caffe's repeated field: left out, once or for each axis."""
    if set(sizes) <= {default}:
        return []
    return [sizes[0]] if len(set(sizes)) == 1 else list(sizes)


def _write_sliding(params: Convolution | Deconvolution | Im2col) -> dict[str, list[int]]:
    return {
        "pad": _repeated(params.pad, 0),
        "kernel_size": _repeated(params.kernel or (1,), 0),
        "stride": _repeated(params.stride, 1),
        "dilation": _repeated(params.dilation, 1),
    }


@writes("Deconvolution", "convolution_param")
@writes("Convolution", "convolution_param")
def _write_convolution(params: Convolution | Deconvolution) -> Message:
    return new(
        "ConvolutionParameter",
        num_output=params.num_output,
        bias_term=params.bias,
        group=params.group,
        axis=params.axis,
        **cast(dict[str, Any], _write_sliding(params)),
    )


@writes("Im2col", "convolution_param")
def _write_im2col(params: Im2col) -> Message:
    return new("ConvolutionParameter", axis=params.axis, **cast(dict[str, Any], _write_sliding(params)))


def _method(param: Message) -> Method:
    method = param.get("pool")
    if method not in ("MAX", "AVE", "STOCHASTIC"):
        raise ParameterError(f"{method} pooling is unknown; Caffe has MAX, AVE and STOCHASTIC")
    return cast(Method, method)


@reads("Pooling")
def _read_pooling(layer: Message, note: Note) -> LayerParams:
    param = layer.get("pooling_param")
    whole = param.get("global_pooling")
    given = ("kernel_size", "kernel_h", "kernel_w", "kernel_depth", "kernel_shape")
    if whole and any(param.has(name) for name in given):
        raise ParameterError("global_pooling takes the whole image; a kernel size cannot be given with it")
    stride, pad = _at_least(1, "stride", _window(param, "stride")), _at_least(0, "pad", _window(param, "pad"))
    if whole and (set(stride) != {1} or set(pad) != {0}):
        raise ParameterError("global_pooling allows only pad 0 and stride 1")
    method, up = _method(param), _rounds_up(param, note)
    kernel = None if whole else _at_least(1, "kernel_size", _window(param, "kernel_size"))
    mask = method == "MAX" and len(layer.all("top")) == 2
    if whole:
        return Pooling(method, None, ceil=up, mask=mask)
    return Pooling(method, kernel, stride, pad, up, mask)


def _rounds_up(param: Message, note: Note) -> bool:
    """Caffe rounds the output size up; the fields that say otherwise come from forks and late versions."""
    mode = param.get("round_mode")
    if mode not in ("CEIL", "FLOOR"):
        raise ParameterError(f"round_mode {mode} is unknown; Caffe has CEIL and FLOOR")
    if param.has("round_mode") and param.has("ceil_mode") and (mode == "CEIL") != param.get("ceil_mode"):
        raise ParameterError(f"round_mode {mode} and ceil_mode {param.get('ceil_mode')} contradict each other")
    up: bool = mode == "CEIL" and param.get("ceil_mode")
    if not up:
        note("rounds its output size down, as the file asks; BVLC Caffe before 2018 would round up")
    return up


def _sides(name: str, sizes: _Sizes) -> dict[str, Any]:
    if len(set(sizes)) == 1:
        return {name: sizes[0]}
    short = name.removesuffix("_size")
    if len(sizes) == 2:
        return {f"{short}_h": sizes[0], f"{short}_w": sizes[1]}
    return {f"{short}_shape": new("BlobShape", dim=sizes)}


@writes("Pooling", "pooling_param")
def _write_pooling(params: Pooling) -> Message:
    kernel = {"global_pooling": True} if params.kernel is None else _sides("kernel_size", params.kernel)
    message = new(
        "PoolingParameter",
        pool=params.method,
        **cast(dict[str, Any], kernel),
        round_mode=None if params.ceil else "FLOOR",
    )
    for name, sizes, default in (("stride", params.stride, 1), ("pad", params.pad, 0)):
        if set(sizes) != {default}:
            for field, value in _sides(name, sizes).items():
                message.set(field, value)
    return message


@reads("SPP")
def _read_spp(layer: Message, note: Note) -> LayerParams:
    param = layer.get("spp_param")
    return SPP(param.get("pyramid_height"), _method(param))


@writes("SPP", "spp_param")
def _write_spp(params: SPP) -> Message:
    return new("SPPParameter", pyramid_height=params.pyramid_height, pool=params.method)


@reads("Crop")
def _read_crop(layer: Message, note: Note) -> LayerParams:
    param = layer.get("crop_param")
    if not param.has("offset"):
        note("has no offset and cuts from 0 on, as BVLC Caffe does; the fork of the first FCN nets aligned the blobs")
    return Crop(param.get("axis"), tuple(param.all("offset")))


@writes("Crop", "crop_param")
def _write_crop(params: Crop) -> Message:
    return new("CropParameter", axis=params.axis, offset=list(params.offsets))


# -- the others with rules of their own ------------------------------------------------------------


@reads("InnerProduct")
def _read_inner_product(layer: Message, note: Note) -> LayerParams:
    param = layer.get("inner_product_param")
    if param.get("num_output") <= 0:
        raise ParameterError("num_output is missing or 0")
    return InnerProduct(param.get("num_output"), bias=param.get("bias_term"), axis=param.get("axis"))


@writes("InnerProduct", "inner_product_param")
def _write_inner_product(params: InnerProduct) -> Message:
    return new("InnerProductParameter", num_output=params.num_output, bias_term=params.bias, axis=params.axis)


@reads("LSTM")
def _read_lstm(layer: Message, note: Note) -> LayerParams:
    return LSTM(*_recurrent(layer, note))


@reads("RNN")
def _read_rnn(layer: Message, note: Note) -> LayerParams:
    return RNN(*_recurrent(layer, note))


def _recurrent(layer: Message, note: Note) -> tuple[int, bool]:
    param = layer.get("recurrent_param")
    if param.get("num_output") <= 0:
        raise ParameterError("num_output is missing or 0")
    if not param.get("expose_hidden"):
        note(
            "begins every run with states of 0, where Caffe goes on from the run before if the first continuation "
            "indicators are not 0; run a sequence as a whole, it may have any number of steps"
        )
    return param.get("num_output"), param.get("expose_hidden")


@writes("LSTM", "recurrent_param")
@writes("RNN", "recurrent_param")
def _write_recurrent(params: Recurrent) -> Message:
    return new("RecurrentParameter", num_output=params.num_output, expose_hidden=params.expose_hidden)


@reads("Parameter")
def _read_parameter(layer: Message, note: Note) -> LayerParams:
    return Parameter(_constant_shape(tuple(layer.get("parameter_param").get("shape").all("dim"))))


@writes("Parameter", "parameter_param")
def _write_parameter(params: Parameter) -> Message:
    return new("ParameterParameter", shape=new("BlobShape", dim=params.shape))


@reads("DummyData")
def _read_dummy_data(layer: Message, note: Note) -> LayerParams:
    (filler,) = layer.get("dummy_data_param").all("data_filler")  # the graph gives each top a layer of its own
    return DummyData(_constant_shape(dummy_shape(layer, 0)), filler.get("value"))


@writes("DummyData", "dummy_data_param")
def _write_dummy_data(params: DummyData) -> Message:
    filler = new("FillerParameter", value=params.value) if params.value else None
    return new("DummyDataParameter", shape=new("BlobShape", dim=params.shape), data_filler=filler)


def _constant_shape(shape: tuple[int, ...] | None) -> tuple[int, ...]:
    if shape is None:
        raise ParameterError("has no shape")
    if min(shape, default=1) < 1:
        raise ParameterError(f"has the impossible shape {shape}")
    return shape


@reads("LRN")
def _read_lrn(layer: Message, note: Note) -> LayerParams:
    param = layer.get("lrn_param")
    regions = {"ACROSS_CHANNELS": "across", "WITHIN_CHANNEL": "within"}
    if param.get("norm_region") not in regions:
        raise ParameterError(f"norm_region {param.get('norm_region')} is unknown; Caffe has {' and '.join(regions)}")
    region = cast(Literal["across", "within"], regions[param.get("norm_region")])
    return LRN(param.get("local_size"), param.get("alpha"), param.get("beta"), param.get("k"), region)


@writes("LRN", "lrn_param")
def _write_lrn(params: LRN) -> Message:
    region = "WITHIN_CHANNEL" if params.region == "within" else "ACROSS_CHANNELS"
    return new(
        "LRNParameter",
        local_size=params.size,
        alpha=params.alpha,
        beta=params.beta,
        k=params.k,
        norm_region=region,
    )


@reads("BatchNorm")
def _read_batch_norm(layer: Message, note: Note) -> LayerParams:
    param = layer.get("batch_norm_param")
    if param.has("use_global_stats") and not param.get("use_global_stats"):
        note("says use_global_stats: false (statistics of each batch, as in training); the stored statistics are used")
    return BatchNorm(param.get("eps"))


@writes("BatchNorm", "batch_norm_param")
def _write_batch_norm(params: BatchNorm) -> Message:
    return new("BatchNormParameter", eps=params.epsilon)


def _base(param: Message) -> float:
    """The base of Exp and Log: positive, or -1 for e; a logarithm to the base 1 would divide by 0."""
    base = param.get("base")
    if base != -1 and not 0 < base < math.inf:
        raise ParameterError(f"base is {base:g} but must be positive, or -1 for e")
    return base


@reads("Exp")
def _read_exp(layer: Message, note: Note) -> LayerParams:
    param = layer.get("exp_param")
    return Exp(_base(param), param.get("scale"), param.get("shift"))


@writes("Exp", "exp_param")
def _write_exp(params: Exp) -> Message:
    return new("ExpParameter", base=params.base, scale=params.scale, shift=params.shift)


@reads("Log")
def _read_log(layer: Message, note: Note) -> LayerParams:
    param = layer.get("log_param")
    if _base(param) == 1:
        raise ParameterError("base is 1, to which there is no logarithm")
    return Log(_base(param), param.get("scale"), param.get("shift"))


@writes("Log", "log_param")
def _write_log(params: Log) -> Message:
    return new("LogParameter", base=params.base, scale=params.scale, shift=params.shift)


@reads("Reduction")
def _read_reduction(layer: Message, note: Note) -> LayerParams:
    param = layer.get("reduction_param")
    if param.get("operation") not in ("SUM", "ASUM", "SUMSQ", "MEAN"):
        raise ParameterError(f"operation {param.get('operation')} is unknown; Caffe has SUM, ASUM, SUMSQ and MEAN")
    return Reduction(param.get("operation"), param.get("axis"), param.get("coeff"))


@writes("Reduction", "reduction_param")
def _write_reduction(params: Reduction) -> Message:
    return new("ReductionParameter", operation=params.operation, axis=params.axis, coeff=params.coefficient)


@reads("ArgMax")
def _read_argmax(layer: Message, note: Note) -> LayerParams:
    param = layer.get("argmax_param")
    if param.get("top_k") < 1:
        raise ParameterError("top_k must be at least 1")
    axis = param.get("axis") if param.has("axis") else None
    return ArgMax(param.get("out_max_val"), param.get("top_k"), axis)


@writes("ArgMax", "argmax_param")
def _write_argmax(params: ArgMax) -> Message:
    return new("ArgMaxParameter", out_max_val=params.out_max_val, top_k=params.top_k, axis=params.axis)


@reads("Filter")
def _read_filter(layer: Message, note: Note) -> LayerParams:
    note("has the output sizes of a selector that chooses all images; when the network runs, another one is an error")
    return Filter()


@reads("Tile")
def _read_tile(layer: Message, note: Note) -> LayerParams:
    param = layer.get("tile_param")
    if param.get("tiles") < 1:
        raise ParameterError("tiles is missing or less than 1")
    return Tile(param.get("tiles"), param.get("axis"))


@writes("Tile", "tile_param")
def _write_tile(params: Tile) -> Message:
    return new("TileParameter", tiles=params.tiles, axis=params.axis)


@reads("Embed")
def _read_embed(layer: Message, note: Note) -> LayerParams:
    param = layer.get("embed_param")
    for name in ("num_output", "input_dim"):
        if param.get(name) < 1:
            raise ParameterError(f"{name} is missing or 0")
    return Embed(param.get("num_output"), param.get("input_dim"), bias=param.get("bias_term"))


@writes("Embed", "embed_param")
def _write_embed(params: Embed) -> Message:
    return new("EmbedParameter", num_output=params.num_output, input_dim=params.input_dim, bias_term=params.bias)


@reads("Eltwise")
def _read_eltwise(layer: Message, note: Note) -> LayerParams:
    param = layer.get("eltwise_param")
    if param.get("operation") not in ("PROD", "SUM", "MAX"):
        raise ParameterError(f"operation {param.get('operation')} is unknown; Caffe has PROD, SUM and MAX")
    return Eltwise(param.get("operation"), tuple(param.all("coeff")))


@writes("Eltwise", "eltwise_param")
def _write_eltwise(params: Eltwise) -> Message:
    return new("EltwiseParameter", operation=params.operation, coeff=list(params.coefficients))


def _axis(param: Message, old_name: str) -> int:
    """The axis of Concat and Slice, which had another name once."""
    if param.has("axis") and param.has(old_name):
        raise ParameterError(f"both axis and {old_name} are given; Caffe allows one of them")
    return param.get(old_name) if param.has(old_name) else param.get("axis")


@reads("Concat")
def _read_concat(layer: Message, note: Note) -> LayerParams:
    return Concat(_axis(layer.get("concat_param"), "concat_dim"))


@writes("Concat", "concat_param")
def _write_concat(params: Concat) -> Message:
    return new("ConcatParameter", axis=params.axis)


@reads("Slice")
def _read_slice(layer: Message, note: Note) -> LayerParams:
    param = layer.get("slice_param")
    return Slice(len(layer.all("top")), _axis(param, "slice_dim"), tuple(param.all("slice_point")))


@writes("Slice", "slice_param")
def _write_slice(params: Slice) -> Message:
    return new("SliceParameter", axis=params.axis, slice_point=list(params.points))


@reads("Reshape")
def _read_reshape(layer: Message, note: Note) -> LayerParams:
    param = layer.get("reshape_param")
    dims = tuple(param.get("shape").all("dim"))
    if any(d < -1 for d in dims):
        raise ParameterError(f"reshape_param has the dims {dims}; -1 is the only negative one with a meaning")
    return Reshape(dims, param.get("axis"), param.get("num_axes"))


@writes("Reshape", "reshape_param")
def _write_reshape(params: Reshape) -> Message:
    shape = new("BlobShape", dim=list(params.dims))
    return new("ReshapeParameter", shape=shape, axis=params.axis, num_axes=params.num_axes)
