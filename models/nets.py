"""Net definitions of published models, generated from compact tables.

A table is a list of `Row`, one for each Caffe layer, in which everything that follows from the order is left out: a
row reads what the row above it wrote unless it says otherwise. `prototxt` spells a table out as a V2 deploy file, so
that reading it, matching weights to layers by name, checks and messages are those of `caffe2lrp.converters.caffe`.

Names of layers and blobs are the published ones: weights are stored under them.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from caffe2lrp.errors import OptionError


@dataclass(frozen=True, slots=True)
class Row:
    """One layer of a table.

    Attributes
    ----------
    name, type
        Caffe's name of the layer and of its type.
    fields
        Parameters that differ from Caffe's defaults.
    bottoms
        Blobs that are read; empty for what the row above wrote.
    in_place
        Whether the layer overwrites its input, as ReLU and Dropout do; otherwise it writes a blob of its own name.
    """

    name: str
    type: str
    fields: Mapping[str, int | float | bool | str] = field(default_factory=dict)
    bottoms: tuple[str, ...] = ()
    in_place: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A net definition: its name, input shape (channels, height, width) and layers."""

    name: str
    input: tuple[int, int, int]
    rows: tuple[Row, ...]


# -- kinds of rows ---------------------------------------------------------------------------------


def _conv(
    name: str,
    out: int,
    kernel: int,
    stride: int = 1,
    pad: int = 0,
    *,
    group: int = 1,
    bias: bool = True,
    of: str | None = None,
) -> Row:
    values = {"num_output": out, "bias_term": bias, "pad": pad, "kernel_size": kernel, "group": group, "stride": stride}
    usual = {"bias_term": True, "pad": 0, "group": 1, "stride": 1}
    fields = {key: value for key, value in values.items() if value != usual.get(key)}
    return Row(name, "Convolution", fields, (of,) if of else ())


def _pool(name: str, kernel: int, stride: int, method: str = "MAX", *, pad: int = 0, of: str | None = None) -> Row:
    fields: dict[str, int | str] = {"pool": method, "kernel_size": kernel, "stride": stride}
    if pad:
        fields["pad"] = pad
    return Row(name, "Pooling", fields, (of,) if of else ())


def _global_pool(name: str) -> Row:
    return Row(name, "Pooling", {"pool": "AVE", "global_pooling": True})


def _norm(name: str, alpha: float = 0.0001, k: float = 1) -> Row:
    fields: dict[str, int | float] = {"local_size": 5, "alpha": alpha, "beta": 0.75}
    return Row(name, "LRN", fields if k == 1 else {**fields, "k": k})


def _dense(name: str, out: int) -> Row:
    return Row(name, "InnerProduct", {"num_output": out})


def _relu(name: str) -> Row:
    return Row(name, "ReLU", in_place=True)


def _drop(name: str, ratio: float = 0.5) -> Row:
    return Row(name, "Dropout", {"dropout_ratio": ratio}, in_place=True)


def _concat(name: str, *parts: str) -> Row:
    return Row(name, "Concat", bottoms=parts)


_PROB = Row("prob", "Softmax")


# -- AlexNet and its relatives ---------------------------------------------------------------------


def _with_relu(*rows: Row) -> list[Row]:
    """Append ``reluN`` to each ``convN`` or ``fcN``."""
    return [new for row in rows for new in (row, _relu(row.name.replace("conv", "relu").replace("fc", "relu")))]


def _classifier(classes: int) -> list[Row]:
    """The three fully connected layers on which AlexNet and the VGG nets end."""
    rows: list[Row] = []
    for n in (6, 7):
        rows += [*_with_relu(_dense(f"fc{n}", 4096)), _drop(f"drop{n}")]
    return [*rows, _dense("fc8", classes), _PROB]


def _alexnet(name: str, classes: int, *, norm_first: bool) -> Table:
    """AlexNet on two groups; CaffeNet differs only in pooling before it normalises."""

    def reduce(n: int) -> list[Row]:
        pair = [_pool(f"pool{n}", 3, 2), _norm(f"norm{n}")]
        return pair[::-1] if norm_first else pair

    rows = [
        *_with_relu(_conv("conv1", 96, 11, 4)),
        *reduce(1),
        *_with_relu(_conv("conv2", 256, 5, pad=2, group=2)),
        *reduce(2),
        *_with_relu(_conv("conv3", 384, 3, pad=1)),
        *_with_relu(_conv("conv4", 384, 3, pad=1, group=2)),
        *_with_relu(_conv("conv5", 256, 3, pad=1, group=2)),
        _pool("pool5", 3, 2),
        *_classifier(classes),
    ]
    return Table(name, (3, 227, 227), tuple(rows))


def _vgg_cnn(name: str, first: Row, second: Row, pools: tuple[tuple[int, int], ...], *, norm2: bool = True) -> Table:
    """The F, M and S nets of Chatfield et al. 2014; `pools` are kernel and stride of pool1, pool2 and pool5."""
    width = 256 if name.endswith("F") else 512
    rows = [
        *_with_relu(first),
        _norm("norm1", alpha=0.0005, k=2),
        _pool("pool1", *pools[0]),
        *_with_relu(second),
        *([_norm("norm2", alpha=0.0005, k=2)] if norm2 else []),
        _pool("pool2", *pools[1]),
        *_with_relu(*(_conv(f"conv{n}", width, 3, pad=1) for n in (3, 4, 5))),
        _pool("pool5", *pools[2]),
        *_classifier(1000),
    ]
    return Table(name, (3, 224, 224), tuple(rows))


def _vgg(layers: int, repeats: tuple[int, ...]) -> Table:
    """The very deep nets of Simonyan and Zisserman 2014; `repeats` are the convolutions before each pooling."""
    rows: list[Row] = []
    for block, (count, width) in enumerate(zip(repeats, (64, 128, 256, 512, 512), strict=True), start=1):
        rows += _with_relu(*(_conv(f"conv{block}_{n}", width, 3, pad=1) for n in range(1, count + 1)))
        rows.append(_pool(f"pool{block}", 2, 2))
    return Table(f"VGG_ILSVRC_{layers}_layers", (3, 224, 224), (*rows, *_classifier(1000)))


# -- GoogLeNet -------------------------------------------------------------------------------------

# Widths of 1x1; 3x3 reduce, 3x3; 5x5 reduce, 5x5; projection after pooling.
_INCEPTIONS = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}


def _slash_relu(row: Row) -> list[Row]:
    """Append ``a/relu_b`` to a layer ``a/b``, as GoogLeNet and SqueezeNet name it."""
    module, part = row.name.split("/")
    return [row, _relu(f"{module}/relu_{part.removesuffix('_s2')}")]


def _inception(module: str, below: str) -> list[Row]:
    one, reduce3, three, reduce5, five, projection = _INCEPTIONS[module]
    name = f"inception_{module}"
    rows = [
        *_slash_relu(_conv(f"{name}/1x1", one, 1, of=below)),
        *_slash_relu(_conv(f"{name}/3x3_reduce", reduce3, 1, of=below)),
        *_slash_relu(_conv(f"{name}/3x3", three, 3, pad=1)),
        *_slash_relu(_conv(f"{name}/5x5_reduce", reduce5, 1, of=below)),
        *_slash_relu(_conv(f"{name}/5x5", five, 5, pad=2)),
        _pool(f"{name}/pool", 3, 1, pad=1, of=below),
        *_slash_relu(_conv(f"{name}/pool_proj", projection, 1)),
    ]
    parts = (f"{name}/{part}" for part in ("1x1", "3x3", "5x5", "pool_proj"))
    return [*rows, _concat(f"{name}/output", *parts)]


def _googlenet(classes: int) -> Table:
    """GoogLeNet without the two auxiliary classifiers, which only serve training."""
    rows = [
        *_slash_relu(_conv("conv1/7x7_s2", 64, 7, 2, pad=3)),
        _pool("pool1/3x3_s2", 3, 2),
        _norm("pool1/norm1"),
        *_slash_relu(_conv("conv2/3x3_reduce", 64, 1)),
        *_slash_relu(_conv("conv2/3x3", 192, 3, pad=1)),
        _norm("conv2/norm2"),
        _pool("pool2/3x3_s2", 3, 2),
    ]
    for module in _INCEPTIONS:
        rows += _inception(module, below=rows[-1].name)
        if module in ("3b", "4e"):
            rows.append(_pool(f"pool{module[0]}/3x3_s2", 3, 2))
    rows += [
        _pool("pool5/7x7_s1", 7, 1, "AVE"),
        _drop("pool5/drop_7x7_s1", 0.4),
        _dense("loss3/classifier", classes),
        _PROB,
    ]
    return Table("GoogleNet", (3, 224, 224), tuple(rows))


# -- nets without fully connected layers -----------------------------------------------------------


def _nin() -> Table:
    """Network in Network for ImageNet; the published names of its ReLUs skip relu4."""
    rows = [
        *(_conv("conv1", 96, 11, 4), _relu("relu0")),
        *(_conv("cccp1", 96, 1), _relu("relu1")),
        *(_conv("cccp2", 96, 1), _relu("relu2")),
        _pool("pool0", 3, 2),
        *(_conv("conv2", 256, 5, pad=2), _relu("relu3")),
        *(_conv("cccp3", 256, 1), _relu("relu5")),
        *(_conv("cccp4", 256, 1), _relu("relu6")),
        _pool("pool2", 3, 2),
        *(_conv("conv3", 384, 3, pad=1), _relu("relu7")),
        *(_conv("cccp5", 384, 1), _relu("relu8")),
        *(_conv("cccp6", 384, 1), _relu("relu9")),
        _pool("pool3", 3, 2),
        _drop("drop"),
        *(_conv("conv4-1024", 1024, 3, pad=1), _relu("relu10")),
        *(_conv("cccp7-1024", 1024, 1), _relu("relu11")),
        *(_conv("cccp8-1024", 1000, 1), _relu("relu12")),
        _pool("pool4", 6, 1, "AVE"),
        _PROB,
    ]
    return Table("nin_imagenet", (3, 224, 224), tuple(rows))


# Widths of squeeze and of each expand layer.
_FIRES = {
    2: (16, 64),
    3: (16, 64),
    4: (32, 128),
    5: (32, 128),
    6: (48, 192),
    7: (48, 192),
    8: (64, 256),
    9: (64, 256),
}


def _fire(n: int) -> list[Row]:
    squeeze, expand = _FIRES[n]
    name = f"fire{n}"
    return [
        *_slash_relu(_conv(f"{name}/squeeze1x1", squeeze, 1)),
        *_slash_relu(_conv(f"{name}/expand1x1", expand, 1, of=f"{name}/squeeze1x1")),
        *_slash_relu(_conv(f"{name}/expand3x3", expand, 3, pad=1, of=f"{name}/squeeze1x1")),
        _concat(f"{name}/concat", f"{name}/expand1x1", f"{name}/expand3x3"),
    ]


def _squeezenet(first: Row, pools_after: tuple[int, ...], last_pad: int) -> Table:
    """SqueezeNet; the versions differ in the first layer and in where they pool. 1.0 pads its last 1x1 layer."""
    rows = [first, _relu("relu_conv1"), _pool("pool1", 3, 2)]
    for n in _FIRES:
        rows += _fire(n)
        if n in pools_after:
            rows.append(_pool(f"pool{n}", 3, 2))
    rows += [
        _drop("drop9"),
        _conv("conv10", 1000, 1, pad=last_pad),
        _relu("relu_conv10"),
        _global_pool("pool10"),
        _PROB,
    ]
    return Table("SqueezeNet", (3, 227, 227), tuple(rows))


# -- ResNet ----------------------------------------------------------------------------------------


def _conv_bn(
    name: str, out: int, kernel: int, stride: int = 1, *, relu: bool = True, of: str | None = None
) -> list[Row]:
    """``resXY`` with ``bnXY`` and ``scaleXY``."""
    tail = name.removeprefix("res")
    rows = [
        _conv(name, out, kernel, stride, kernel // 2, bias=False, of=of),
        Row(f"bn{tail}", "BatchNorm", {"use_global_stats": True}, in_place=True),
        Row(f"scale{tail}", "Scale", {"bias_term": True}, in_place=True),
    ]
    return [*rows, _relu(f"{name}_relu")] if relu else rows


def _bottleneck(block: str, width: int, stride: int, below: str) -> list[Row]:
    name = f"res{block}"
    rows: list[Row] = []
    shortcut = below
    if block.endswith("a"):
        shortcut = f"{name}_branch1"
        rows += _conv_bn(shortcut, 4 * width, 1, stride, relu=False, of=below)
    return [
        *rows,
        *_conv_bn(f"{name}_branch2a", width, 1, stride, of=below),
        *_conv_bn(f"{name}_branch2b", width, 3),
        *_conv_bn(f"{name}_branch2c", 4 * width, 1, relu=False),
        Row(name, "Eltwise", bottoms=(shortcut, f"{name}_branch2c")),
        _relu(f"{name}_relu"),
    ]


def _resnet50() -> Table:
    """ResNet-50; its first convolution alone has a bias, as in the published file."""
    rows = [
        _conv("conv1", 64, 7, 2, pad=3),
        Row("bn_conv1", "BatchNorm", {"use_global_stats": True}, in_place=True),
        Row("scale_conv1", "Scale", {"bias_term": True}, in_place=True),
        _relu("conv1_relu"),
        _pool("pool1", 3, 2),
    ]
    below = "pool1"
    for stage, blocks in zip((2, 3, 4, 5), ("abc", "abcd", "abcdef", "abc"), strict=True):
        for letter in blocks:
            stride = 2 if letter == "a" and stage > 2 else 1
            rows += _bottleneck(f"{stage}{letter}", 64 * 2 ** (stage - 2), stride, below)
            below = f"res{stage}{letter}"
    rows += [_pool("pool5", 7, 1, "AVE"), _dense("fc1000", 1000), _PROB]
    return Table("ResNet-50", (3, 224, 224), tuple(rows))


# -- all of them -----------------------------------------------------------------------------------

_THREES = ((3, 2), (3, 2), (3, 2))

_TABLES: dict[str, Callable[[], Table]] = {
    "caffenet": lambda: _alexnet("CaffeNet", 1000, norm_first=False),
    "alexnet": lambda: _alexnet("AlexNet", 1000, norm_first=True),
    "googlenet": lambda: _googlenet(1000),
    # The Places nets keep the layer names of the ImageNet nets, but have one output for each scene category.
    "places205_alexnet": lambda: _alexnet("Places205-CNN", 205, norm_first=False),
    "places205_googlenet": lambda: _googlenet(205),
    "vgg_cnn_f": lambda: _vgg_cnn("VGG_CNN_F", _conv("conv1", 64, 11, 4), _conv("conv2", 256, 5, pad=2), _THREES),
    "vgg_cnn_m": lambda: _vgg_cnn("VGG_CNN_M", _conv("conv1", 96, 7, 2), _conv("conv2", 256, 5, 2, pad=1), _THREES),
    "vgg_cnn_s": lambda: _vgg_cnn(
        "VGG_CNN_S", _conv("conv1", 96, 7, 2), _conv("conv2", 256, 5), ((3, 3), (2, 2), (3, 3)), norm2=False
    ),
    "vgg16": lambda: _vgg(16, (2, 2, 3, 3, 3)),
    "vgg19": lambda: _vgg(19, (2, 2, 4, 4, 4)),
    "nin_imagenet": _nin,
    "squeezenet_v1.0": lambda: _squeezenet(_conv("conv1", 96, 7, 2), (4, 8), last_pad=1),
    "squeezenet_v1.1": lambda: _squeezenet(_conv("conv1", 64, 3, 2), (3, 5), last_pad=0),
    "resnet50": _resnet50,
}


def names() -> tuple[str, ...]:
    """Names of all tables."""
    return tuple(_TABLES)


def table(name: str) -> Table:
    """The table called `name`.

    Raises
    ------
    OptionError
        If there is no such table.
    """
    if name not in _TABLES:
        near = difflib.get_close_matches(name, _TABLES, 1)
        hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(_TABLES)}"
        raise OptionError(f"there is no net definition '{name}'; {hint}")
    return _TABLES[name]()


def prototxt(name: str, batch: int = 1) -> str:
    """Text of a deploy prototxt (V2) for one of the tables.

    Parameters
    ----------
    name
        Name of the table, see `names`.
    batch
        Number of images in the input blob.

    Raises
    ------
    OptionError
        If there is no such table.
    """
    return _spell(table(name), batch)


# -- writing ---------------------------------------------------------------------------------------

_FIELDS_OF = {
    "BatchNorm": "batch_norm_param",
    "Convolution": "convolution_param",
    "Dropout": "dropout_param",
    "InnerProduct": "inner_product_param",
    "LRN": "lrn_param",
    "Pooling": "pooling_param",
    "Scale": "scale_param",
}
_ENUM_FIELDS = frozenset({"pool"})


def _spell(net: Table, batch: int) -> str:
    shape = " ".join(f"dim: {size}" for size in (batch, *net.input))
    lines = [f'name: "{net.name}"', *_layer("data", "Input", (), "data", [f"  input_param {{ shape {{ {shape} }} }}"])]
    above = "data"
    for row in net.rows:
        bottoms = row.bottoms or (above,)
        above = bottoms[0] if row.in_place else row.name
        lines += _layer(row.name, row.type, bottoms, above, _parameters(row))
    return "\n".join(lines) + "\n"


def _layer(name: str, kind: str, bottoms: Iterable[str], top: str, parameters: list[str]) -> list[str]:
    reads = [f'  bottom: "{bottom}"' for bottom in bottoms]
    return ["layer {", f'  name: "{name}"', f'  type: "{kind}"', *reads, f'  top: "{top}"', *parameters, "}"]


def _parameters(row: Row) -> list[str]:
    if not row.fields:
        return []
    values = [f"    {key}: {_value(key, value)}" for key, value in row.fields.items()]
    return [f"  {_FIELDS_OF[row.type]} {{", *values, "  }"]


def _value(key: str, value: float | bool | str) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return value if key in _ENUM_FIELDS else f'"{value}"'
    return f"{value:g}"
