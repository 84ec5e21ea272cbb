"""DummyData: a shape and a filler for each top."""

from __future__ import annotations

from caffe2lrp.converters.caffe.message import Message, new
from caffe2lrp.layers import Shape


def dummy_shape(layer: Message, index: int) -> Shape | None:
    """The shape that a DummyData layer states for a top; one stands for all. None where it states none."""
    param = layer.get("dummy_data_param")
    shapes = param.all("shape")
    if shapes:
        return tuple(shapes[index if index < len(shapes) else 0].all("dim"))
    legacy = [param.all(name) for name in ("num", "channels", "height", "width")]
    if all(legacy):
        return tuple(values[index if index < len(values) else 0] for values in legacy)
    return None


def is_constant(layer: Message, index: int) -> bool:
    """Whether a top is filled with one value, which Caffe does where no filler is given, too."""
    return _filler(layer, index).get("type") == "constant"


def dummy_layer(layer: Message, index: int) -> Message:
    """A DummyData layer for one top of another one."""
    shape = dummy_shape(layer, index)
    param = new("DummyDataParameter", shape=None if shape is None else new("BlobShape", dim=shape))
    param.add("data_filler", _filler(layer, index))
    single = new("LayerParameter", name=layer.get("name"), type="DummyData", top=layer.all("top")[index])
    single.set("dummy_data_param", param)
    single.line, single.spelled = layer.line, layer.spelled
    return single


def _filler(layer: Message, index: int) -> Message:
    fillers = layer.get("dummy_data_param").all("data_filler")
    return fillers[index if index < len(fillers) else 0] if fillers else new("FillerParameter")
