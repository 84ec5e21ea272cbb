"""Older generations of Caffe files made new: V0 -> V1 -> V2, as Caffe itself does on loading.

- V0 (2013): ``layers { layer { name type kernelsize ... } }``, padding as layers of its own
- V1 (2014): ``layers { type: CONVOLUTION ... }``
- V2 (2015): ``layer { type: "Convolution" ... }``; inputs became layers in 2016
"""

from __future__ import annotations

from caffe2lrp.converters.caffe.forks import rename
from caffe2lrp.converters.caffe.layers import PYTHON_LAYERS
from caffe2lrp.converters.caffe.message import Message, Unknown, new
from caffe2lrp.converters.caffe.schema import SCHEMAS
from caffe2lrp.errors import FileFormatError, ModelError

V1_TYPES = {
    "ABSVAL": "AbsVal",
    "ACCURACY": "Accuracy",
    "ARGMAX": "ArgMax",
    "BNLL": "BNLL",
    "CONCAT": "Concat",
    "CONTRASTIVE_LOSS": "ContrastiveLoss",
    "CONVOLUTION": "Convolution",
    "DATA": "Data",
    "DECONVOLUTION": "Deconvolution",
    "DROPOUT": "Dropout",
    "DUMMY_DATA": "DummyData",
    "ELTWISE": "Eltwise",
    "EUCLIDEAN_LOSS": "EuclideanLoss",
    "EXP": "Exp",
    "FLATTEN": "Flatten",
    "HDF5_DATA": "HDF5Data",
    "HDF5_OUTPUT": "HDF5Output",
    "HINGE_LOSS": "HingeLoss",
    "IM2COL": "Im2col",
    "IMAGE_DATA": "ImageData",
    "INFOGAIN_LOSS": "InfogainLoss",
    "INNER_PRODUCT": "InnerProduct",
    "LRN": "LRN",
    "MEMORY_DATA": "MemoryData",
    "MULTINOMIAL_LOGISTIC_LOSS": "MultinomialLogisticLoss",
    "MVN": "MVN",
    "POOLING": "Pooling",
    "POWER": "Power",
    "RELU": "ReLU",
    "SIGMOID": "Sigmoid",
    "SIGMOID_CROSS_ENTROPY_LOSS": "SigmoidCrossEntropyLoss",
    "SILENCE": "Silence",
    "SLICE": "Slice",
    "SOFTMAX": "Softmax",
    "SOFTMAX_LOSS": "SoftmaxWithLoss",
    "SPLIT": "Split",
    "TANH": "TanH",
    "THRESHOLD": "Threshold",
    "WINDOW_DATA": "WindowData",
}

# Convolution and pooling over more axes have types of their own in C3D and video-caffe; Crop once was a V1 type.
SYNONYMS = {
    "CROP": "Crop",
    "CONVOLUTION3D": "Convolution",
    "Convolution3D": "Convolution",
    "DECONVOLUTION3D": "Deconvolution",
    "Deconvolution3D": "Deconvolution",
    "NdConvolution": "Convolution",
    "NdPooling": "Pooling",
    "POOLING3D": "Pooling",
    "Pooling3D": "Pooling",
}
V1_TYPES_OF_FORKS = {"INTERP": "Interp"}  # DeepLab

V0_TYPES = {
    "accuracy": "ACCURACY",
    "bnll": "BNLL",
    "concat": "CONCAT",
    "conv": "CONVOLUTION",
    "data": "DATA",
    "dropout": "DROPOUT",
    "euclidean_loss": "EUCLIDEAN_LOSS",
    "flatten": "FLATTEN",
    "hdf5_data": "HDF5_DATA",
    "hdf5_output": "HDF5_OUTPUT",
    "im2col": "IM2COL",
    "images": "IMAGE_DATA",
    "infogain_loss": "INFOGAIN_LOSS",
    "innerproduct": "INNER_PRODUCT",
    "lrn": "LRN",
    "multinomial_logistic_loss": "MULTINOMIAL_LOGISTIC_LOSS",
    "padding": "padding",
    "pool": "POOLING",
    "relu": "RELU",
    "sigmoid": "SIGMOID",
    "softmax": "SOFTMAX",
    "softmax_loss": "SOFTMAX_LOSS",
    "split": "SPLIT",
    "tanh": "TANH",
    "window_data": "WINDOW_DATA",
}

# Where a V0 field went, by V0 type: (message, field). "*" stands for every type.
_CONV, _POOL, _IP = "convolution_param", "pooling_param", "inner_product_param"
_SOURCES = {
    "data": "data_param",
    "hdf5_data": "hdf5_data_param",
    "images": "image_data_param",
    "window_data": "window_data_param",
}
_V0_FIELDS: dict[str, dict[str, tuple[str, str]]] = {
    "num_output": {"conv": (_CONV, "num_output"), "innerproduct": (_IP, "num_output")},
    "biasterm": {"conv": (_CONV, "bias_term"), "innerproduct": (_IP, "bias_term")},
    "weight_filler": {"conv": (_CONV, "weight_filler"), "innerproduct": (_IP, "weight_filler")},
    "bias_filler": {"conv": (_CONV, "bias_filler"), "innerproduct": (_IP, "bias_filler")},
    "pad": {"conv": (_CONV, "pad"), "im2col": (_CONV, "pad"), "pool": (_POOL, "pad")},
    "kernelsize": {
        "conv": (_CONV, "kernel_size"),
        "im2col": (_CONV, "kernel_size"),
        "pool": (_POOL, "kernel_size"),
    },
    "group": {"conv": (_CONV, "group")},
    "stride": {"conv": (_CONV, "stride"), "im2col": (_CONV, "stride"), "pool": (_POOL, "stride")},
    "pool": {"pool": (_POOL, "pool")},
    "dropout_ratio": {"dropout": ("dropout_param", "dropout_ratio")},
    "local_size": {"lrn": ("lrn_param", "local_size")},
    "alpha": {"lrn": ("lrn_param", "alpha")},
    "beta": {"lrn": ("lrn_param", "beta")},
    "k": {"lrn": ("lrn_param", "k")},
    "source": {kind: (param, "source") for kind, param in _SOURCES.items()}
    | {"infogain_loss": ("infogain_loss_param", "source")},
    "scale": {"*": ("transform_param", "scale")},
    "meanfile": {"*": ("transform_param", "mean_file")},
    "cropsize": {"*": ("transform_param", "crop_size")},
    "mirror": {"*": ("transform_param", "mirror")},
    "batchsize": {kind: (param, "batch_size") for kind, param in _SOURCES.items()},
    "rand_skip": {"data": ("data_param", "rand_skip"), "images": ("image_data_param", "rand_skip")},
    "shuffle_images": {"images": ("image_data_param", "shuffle")},
    "new_height": {"images": ("image_data_param", "new_height")},
    "new_width": {"images": ("image_data_param", "new_width")},
    "concat_dim": {"concat": ("concat_param", "concat_dim")},
    "det_fg_threshold": {"window_data": ("window_data_param", "fg_threshold")},
    "det_bg_threshold": {"window_data": ("window_data_param", "bg_threshold")},
    "det_fg_fraction": {"window_data": ("window_data_param", "fg_fraction")},
    "det_context_pad": {"window_data": ("window_data_param", "context_pad")},
    "det_crop_mode": {"window_data": ("window_data_param", "crop_mode")},
    "hdf5_output_param": {"hdf5_output": ("hdf5_output_param", "")},
}
_V0_KEPT = ("name", "blobs", "blobs_lr", "weight_decay")
_V1_RENAMED = frozenset({"type", "layer", "param", "blob_share_mode", "blobs_lr", "weight_decay"})
_TRANSFORMED = {"Data": "data_param", "ImageData": "image_data_param", "WindowData": "window_data_param"}


def upgrade(net: Message, file: str) -> Message:
    """Bring a net definition of any generation to the newest one.

    Parameters
    ----------
    net
        A ``NetParameter``; it is changed in place where that is enough.
    file
        Name of its file, for messages.

    Raises
    ------
    FileFormatError
        If the file mixes generations in a way that has no meaning.
    ModelError
        If a padding layer cannot be folded into the layer that follows it.
    """
    old, layers = net.all("layers"), net.all("layer")
    if old and layers:
        raise FileFormatError(
            f"{_place(file, old[0])}: the file has layers of the 2014 form ('layers') and of the 2015 form ('layer', "
            f"first at {_place(file, layers[0])}); Caffe would ignore one kind. Write all in one form"
        )
    if any(layer.has("layer") for layer in old):
        old = [_v0_layer(layer, file) for layer in _fold_padding(old, net.all("input"), file)]
    if old:
        net.values["layer"] = [_v1_layer(layer, file) for layer in old]
        net.values.pop("layers")
    for layer in net.all("layer"):
        layer.spelled = layer.spelled or layer.get("type")
        _python_layer(layer)
        rename(layer)
        if layer.get("type") in SYNONYMS:
            layer.set("type", SYNONYMS[layer.get("type")])
        _transformation(layer)
    _input_fields(net, file)
    return net


def _place(file: str, message: Message) -> str:
    return file if message.line is None else f"{file}:{message.line}"


# -- V0 --------------------------------------------------------------------------------------------


def _fold_padding(layers: list[Message], inputs: list[str], file: str) -> list[Message]:
    """Leave out padding layers and give their padding to the layer that reads them."""
    writer: dict[str, Message | None] = dict.fromkeys(inputs)
    kept = []
    for layer in layers:
        kind = layer.get("layer").get("type")
        bottoms = layer.all("bottom")
        for position, blob in enumerate(bottoms):
            source = writer.get(blob)
            if source is None or source.get("layer").get("type") != "padding":
                continue
            if kind not in ("conv", "pool") or len(bottoms) != 1 or len(source.all("bottom")) != 1:
                raise ModelError(
                    f"{_place(file, layer)}: layer '{layer.get('layer').get('name')}' ({kind}) reads the padding layer "
                    f"'{source.get('layer').get('name')}'; only a convolution or a pooling layer can take padding"
                )
            layer.sub("layer").set("pad", source.get("layer").get("pad"))
            bottoms[position] = source.all("bottom")[0]
        if kind != "padding":
            kept.append(layer)
        writer.update(dict.fromkeys(layer.all("top"), layer))
    return kept


def _v0_layer(connection: Message, file: str) -> Message:
    """A V0 layer (its nested message and the blobs it is connected to) as a V1 layer."""
    old = connection.get("layer")
    kind = old.get("type")
    layer = Message(SCHEMAS["V1LayerParameter"], connection.line, unknown=connection.unknown + old.unknown)
    layer.spelled = kind
    for name in ("bottom", "top", "include", "exclude"):
        if connection.has(name):
            layer.values[name] = connection.values[name]
    for name in _V0_KEPT:
        if old.has(name):
            layer.values[name] = old.values[name]
    layer.set("type", V0_TYPES.get(kind, kind))
    for name, targets in _V0_FIELDS.items():
        if not old.has(name):
            continue
        target = targets.get(kind, targets.get("*"))
        if target is None:
            layer.unknown.append(Unknown(f"{name} of a {kind} layer", connection.line))
        elif target[1]:
            layer.sub(target[0]).set(target[1], old.get(name))
        else:
            layer.set(target[0], old.get(name))
    return layer


# -- V1 --------------------------------------------------------------------------------------------


def _v1_layer(old: Message, file: str) -> Message:
    kind = old.get("type") if old.has("type") else ""
    new_kind = V1_TYPES.get(kind) or V1_TYPES_OF_FORKS.get(kind, kind)
    schema = SCHEMAS["LayerParameter"].variant(new_kind)
    layer = Message(schema, old.line, unknown=old.unknown, spelled=old.spelled or kind)
    layer.set("type", new_kind)
    for name, values in old.values.items():
        if name not in _V1_RENAMED:
            layer.values[name] = values
    per_blob = {"param": "name", "blob_share_mode": "share_mode", "blobs_lr": "lr_mult", "weight_decay": "decay_mult"}
    for source, target in per_blob.items():
        for index, value in enumerate(old.all(source)):
            while len(layer.all("param")) <= index:
                layer.add("param", new("ParamSpec"))
            layer.all("param")[index].set(target, value)
    return layer


# -- V2 --------------------------------------------------------------------------------------------


def _python_layer(layer: Message) -> None:
    """A Python layer whose class is known has the type of its class."""
    if layer.get("type") == "Python":
        param = layer.get("python_param")
        layer.set("type", PYTHON_LAYERS.get((param.get("module"), param.get("layer")), "Python"))


def _transformation(layer: Message) -> None:
    """Early data layers carried scale, mean file, crop size and mirroring themselves."""
    source = _TRANSFORMED.get(layer.get("type"))
    if source is None or not layer.has(source):
        return
    param = layer.get(source)
    for name in ("scale", "mean_file", "crop_size", "mirror"):
        if param.has(name):
            layer.sub("transform_param").values[name] = param.values.pop(name)


def _input_fields(net: Message, file: str) -> None:
    """``input`` with ``input_shape`` or ``input_dim`` becomes an Input layer at the front."""
    names, shapes, dims = net.all("input"), net.all("input_shape"), net.all("input_dim")
    if not names:
        return
    if shapes and dims:
        raise FileFormatError(f"{file}: both input_shape and input_dim are given; use one of them")
    if shapes and len(shapes) != len(names):
        raise FileFormatError(f"{file}: {len(names)} input names but {len(shapes)} input_shape blocks")
    if dims and len(dims) != 4 * len(names):
        raise FileFormatError(
            f"{file}: {len(dims)} input_dim values for {len(names)} input(s); each input needs four (N, C, H, W)"
        )
    if dims:
        shapes = [new("BlobShape", dim=dims[i : i + 4]) for i in range(0, len(dims), 4)]
    layer = new("LayerParameter", name="input", type="Input", top=list(names))
    layer.spelled = "input"
    layer.set("input_param", new("InputParameter", shape=shapes))
    net.values["layer"] = [layer, *net.all("layer")]
    for name in ("input", "input_shape", "input_dim"):
        net.values.pop(name, None)
