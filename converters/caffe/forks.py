"""Layer types of Caffe's forks: their other names, and parameters out of their messages and back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal, cast

from caffe2lrp.converters.caffe.layers import (
    _PLAIN,
    PYTHON_LAYERS,
    Note,
    ParameterError,
    _at_least,
    reads,
    writes,
)
from caffe2lrp.converters.caffe.message import Message, new, single
from caffe2lrp.converters.caffe.param_str import read_param_str
from caffe2lrp.converters.caffe.schema import SCHEMAS
from caffe2lrp.layers import LayerParams
from caffe2lrp.layers.axpy import Axpy
from caffe2lrp.layers.batch_norm import BN
from caffe2lrp.layers.clipped import Clip, HardSigmoid, HardSwish
from caffe2lrp.layers.detection import DetectionOutput, PriorBox, ProposalLayer
from caffe2lrp.layers.permute import Permute
from caffe2lrp.layers.regions import ROIPooling
from caffe2lrp.layers.upsample import Interp, Upsample

_PLAIN |= {
    "Normalize": (
        "norm_param",
        {"across_spatial": "across_spatial", "channel_shared": "channel_shared", "epsilon": "eps"},
    ),
    "ShuffleChannel": ("shuffle_channel_param", {"group": "group"}),
    "Swish": ("swish_param", {"beta": "beta"}),
}


def _positive(name: str, pair: tuple[int, int]) -> tuple[int, int]:
    height, width = _at_least(1, name, pair)
    return height, width


_DEPTHWISE = frozenset({"DepthwiseConvolution", "ConvolutionDepthwise", "DepthwiseConv", "DepthWiseConvolution"})
_OTHER_NAMES = {
    **dict.fromkeys(_DEPTHWISE, "Convolution"),
    "ReLU6": "Clip",
    "HSwish": "HardSwish",
    "Hswish": "HardSwish",
    "HSigmoid": "HardSigmoid",
    "Hsigmoid": "HardSigmoid",
    "Unpooling": "Upsample",
}


def rename(layer: Message) -> None:
    """Bring a layer of a fork that has a type under another name to this type."""
    kind = layer.get("type")
    if kind not in _OTHER_NAMES:
        return
    layer.set("type", _OTHER_NAMES[kind])
    layer.schema = SCHEMAS["LayerParameter"].variant(_OTHER_NAMES[kind])
    if kind in _DEPTHWISE:
        param = layer.sub("convolution_param")
        if not param.has("group"):  # each channel is convolved alone
            param.set("group", param.get("num_output"))
    elif kind == "ReLU6":
        layer.set("clip_param", new("ClipParameter", min=0.0, max=6.0))


@reads("Permute")
def _read_permute(layer: Message, note: Note) -> LayerParams:
    return Permute(tuple(layer.get("permute_param").all("order")))


@writes("Permute", "permute_param")
def _write_permute(params: Permute) -> Message:
    return new("PermuteParameter", order=list(params.order))


# -- element-wise ------------------------------------------------------------------------------------


@reads("Clip")
def _read_clip(layer: Message, note: Note) -> LayerParams:
    param = layer.get("clip_param")
    if not (param.has("min") and param.has("max")):
        raise ParameterError("clip_param needs both min and max")
    return Clip(param.get("min"), param.get("max"))


@writes("Clip", "clip_param")
def _write_clip(params: Clip) -> Message:
    return new("ClipParameter", min=params.low, max=params.high)


@reads("HardSigmoid")
def _read_hard_sigmoid(layer: Message, note: Note) -> LayerParams:
    """Without parameters it is MobileNetV3's, relu6(x + 3) / 6; with parameters, as in ONNX and its relatives."""
    for name in ("hard_sigmoid_param", "hardsigmoid_param"):
        if layer.has(name):
            return HardSigmoid(layer.get(name).get("alpha"), layer.get(name).get("beta"))
    return HardSigmoid(single(1 / 6), 0.5)


@writes("HardSigmoid", "hardsigmoid_param")
def _write_hard_sigmoid(params: HardSigmoid) -> Message:
    return new("HardSigmoidParameter", alpha=params.alpha, beta=params.beta)


@reads("HardSwish")
def _read_hard_swish(layer: Message, note: Note) -> LayerParams:
    return HardSwish()


@reads("Axpy")
def _read_axpy(layer: Message, note: Note) -> LayerParams:
    return Axpy()


_PLAIN |= {"HardSwish": ("", {}), "Axpy": ("", {})}


@reads("BN")
def _read_bn(layer: Message, note: Note) -> LayerParams:
    """SegNet's BN has the two blobs that its script makes of the statistics; PSPNet's and its relatives' has four."""
    param = layer.get("bn_param")
    if param.has("bn_mode"):
        if param.get("bn_mode") != "INFERENCE":
            raise ParameterError(
                "bn_mode LEARN normalises by the statistics of each batch; make weights for bn_mode: INFERENCE with "
                "SegNet's compute_bn_statistics.py"
            )
        return BN(False, param.get("eps"))
    if param.get("axis") != 1:
        raise ParameterError(f"normalises along axis {param.get('axis')}; only axis 1 is supported")
    older = any(param.has(name) for name in ("scale_filler", "shift_filler", "var_eps", "decay", "moving_average"))
    return BN(epsilon=param.get("var_eps" if older else "eps"))


@writes("BN", "bn_param")
def _write_bn(params: BN) -> Message:
    if not params.statistics:
        return new("BNParameter", bn_mode="INFERENCE", eps=params.epsilon)
    return new("BNParameter", eps=params.epsilon)


# -- sizes -------------------------------------------------------------------------------------------


@reads("Upsample")
def _read_upsample(layer: Message, note: Note) -> LayerParams:
    param = layer.get("upsample_param")
    if param.has("upsample_h") and param.has("upsample_w"):
        return Upsample(size=_positive("upsample_h and upsample_w", (param.get("upsample_h"), param.get("upsample_w"))))
    if param.has("scale_h") != param.has("scale_w"):
        raise ParameterError("scale_h and scale_w must be given together")
    pair = (param.get("scale_h"), param.get("scale_w"))
    scale = _positive("scale", pair if param.has("scale_h") else (param.get("scale"),) * 2)
    cut = (int(param.get("pad_out_h")), int(param.get("pad_out_w")))
    if any(c and s != 2 for c, s in zip(cut, scale, strict=True)):
        raise ParameterError("pad_out_h and pad_out_w are for a scale of 2 only")
    return Upsample(scale, None, cut)


@writes("Upsample", "upsample_param")
def _write_upsample(params: Upsample) -> Message:
    if params.size is not None:
        return new("UpsampleParameter", upsample_h=params.size[0], upsample_w=params.size[1])
    same = params.scale[0] == params.scale[1]
    return new(
        "UpsampleParameter",
        scale=params.scale[0] if same else None,
        scale_h=None if same else params.scale[0],
        scale_w=None if same else params.scale[1],
        pad_out_h=True if params.cut[0] else None,
        pad_out_w=True if params.cut[1] else None,
    )


@reads("Interp")
def _read_interp(layer: Message, note: Note) -> LayerParams:
    param = layer.get("interp_param")
    size = (param.get("height"), param.get("width")) if param.has("height") and param.has("width") else None
    given = [param.has(name) for name in ("shrink_factor", "zoom_factor")]
    factors = [param.get(name) if param.has(name) else 1 for name in ("shrink_factor", "zoom_factor")]
    if size is None and not any(given):
        raise ParameterError("interp_param needs height and width, zoom_factor or shrink_factor")
    if size is not None and any(given):
        raise ParameterError("interp_param has both a size and a factor; Caffe allows one of them")
    crop = (-param.get("pad_beg"), -param.get("pad_end"))
    if min(crop) < 0:
        raise ParameterError("pad_beg and pad_end must not be positive: they cut pixels off")
    if min(factors) < 1:
        raise ParameterError("zoom_factor and shrink_factor must be at least 1")
    return Interp(_positive("height and width", size) if size else None, factors[0], factors[1], crop)


@writes("Interp", "interp_param")
def _write_interp(params: Interp) -> Message:
    message = new("InterpParameter", pad_beg=-params.crop[0], pad_end=-params.crop[1])
    if params.size is not None:
        message.values |= {"height": [params.size[0]], "width": [params.size[1]]}
    else:
        message.values |= {"shrink_factor": [params.shrink], "zoom_factor": [params.zoom]}
    return message


@reads("ROIPooling")
def _read_roi_pooling(layer: Message, note: Note) -> LayerParams:
    param = layer.get("roi_pooling_param")
    pooled = _positive("pooled_h and pooled_w", (param.get("pooled_h"), param.get("pooled_w")))
    return ROIPooling(pooled, param.get("spatial_scale"))


@writes("ROIPooling", "roi_pooling_param")
def _write_roi_pooling(params: ROIPooling) -> Message:
    return new(
        "ROIPoolingParameter",
        pooled_h=params.pooled[0],
        pooled_w=params.pooled[1],
        spatial_scale=params.spatial_scale,
    )


# -- SSD ---------------------------------------------------------------------------------------------


def _pair(param: Message, both: str, vertical: str, horizontal: str) -> tuple[Any, Any] | None:
    """(vertical, horizontal) from one field or two; None where none of them is given."""
    if param.has(vertical) or param.has(horizontal):
        if param.has(both):
            raise ParameterError(f"both {both} and {vertical} or {horizontal} are given; SSD allows one of them")
        pair = (param.get(vertical), param.get(horizontal))
    elif param.has(both):
        pair = (param.get(both), param.get(both))
    else:
        return None
    if not min(pair) > 0:
        raise ParameterError(f"{both} is {pair[0]:g} x {pair[1]:g} but must be positive, in both directions")
    return pair


@reads("PriorBox")
def _read_prior_box(layer: Message, note: Note) -> LayerParams:
    param = layer.get("prior_box_param")
    small, large, variance = (tuple(param.all(name)) for name in ("min_size", "max_size", "variance"))
    if not small or min(small) <= 0:
        raise ParameterError("min_size is missing or not positive")
    if large and (len(large) != len(small) or any(a >= b for a, b in zip(small, large, strict=False))):
        raise ParameterError(f"max_size {large} must have a larger value for each min_size {small}")
    if len(variance) not in (0, 1, 4) or any(v <= 0 for v in variance):
        raise ParameterError(f"variance {variance} must be one positive number or four")
    ratios = tuple(param.all("aspect_ratio"))
    if any(not ratio > 0 for ratio in ratios):
        raise ParameterError(f"aspect ratios {ratios} must be positive")
    return PriorBox(
        small,
        large,
        ratios,
        flip=param.get("flip"),
        clip=param.get("clip"),
        variance=variance or (single(0.1),),
        image=_pair(param, "img_size", "img_h", "img_w"),
        step=_pair(param, "step", "step_h", "step_w"),
        offset=param.get("offset"),
    )


@writes("PriorBox", "prior_box_param")
def _write_prior_box(params: PriorBox) -> Message:
    image, step = params.image or (None, None), params.step or (None, None)
    return new(
        "PriorBoxParameter",
        min_size=list(params.min_sizes),
        max_size=list(params.max_sizes),
        aspect_ratio=list(params.aspect_ratios),
        flip=params.flip,
        clip=params.clip,
        variance=list(params.variance),
        img_h=image[0],
        img_w=image[1],
        step_h=step[0],
        step_w=step[1],
        offset=params.offset,
    )


@reads("DetectionOutput")
def _read_detection_output(layer: Message, note: Note) -> LayerParams:
    param = layer.get("detection_output_param")
    nms = param.get("nms_param")
    if param.get("num_classes") < 1:
        raise ParameterError("num_classes is missing or 0")
    if not (nms.get("nms_threshold") >= 0 and 0 < nms.get("eta") <= 1):
        raise ParameterError("nms_threshold must be at least 0, and eta above 0 and at most 1")
    if param.get("code_type") not in ("CORNER", "CENTER_SIZE", "CORNER_SIZE"):
        raise ParameterError(f"code_type {param.get('code_type')} is unknown")
    if param.get("keep_top_k") == 0 or nms.get("top_k") == 0:
        raise ParameterError("keep_top_k and top_k must not be 0: nothing would be left")
    if len(layer.all("bottom")) > 3:
        raise ParameterError("refines boxes in two stages (RefineDet), which is not supported; SSD has 3 bottoms")
    return DetectionOutput(
        param.get("num_classes"),
        share_location=param.get("share_location"),
        background=param.get("background_label_id"),
        nms_threshold=nms.get("nms_threshold"),
        top_k=max(nms.get("top_k"), -1),
        eta=nms.get("eta"),
        code_type=cast(Literal["CORNER", "CENTER_SIZE", "CORNER_SIZE"], param.get("code_type")),
        variance_encoded_in_target=param.get("variance_encoded_in_target"),
        keep_top_k=max(param.get("keep_top_k"), -1),
        confidence_threshold=param.get("confidence_threshold") if param.has("confidence_threshold") else None,
    )


@writes("DetectionOutput", "detection_output_param")
def _write_detection_output(params: DetectionOutput) -> Message:
    message = new(
        "DetectionOutputParameter",
        num_classes=params.num_classes,
        share_location=params.share_location,
        background_label_id=params.background,
        nms_param=new(
            "NonMaximumSuppressionParameter", nms_threshold=params.nms_threshold, top_k=params.top_k, eta=params.eta
        ),
        code_type=params.code_type,
        keep_top_k=params.keep_top_k,
        variance_encoded_in_target=params.variance_encoded_in_target,
    )
    if params.confidence_threshold is not None:
        message.set("confidence_threshold", params.confidence_threshold)
    return message


# -- Faster R-CNN ------------------------------------------------------------------------------------

_PROPOSAL = ("rpn.proposal_layer", "ProposalLayer")
PYTHON_LAYERS[_PROPOSAL] = "ProposalLayer"


@reads("ProposalLayer")
def _read_proposal(layer: Message, note: Note) -> LayerParams:
    """What is not in the file stands in py-faster-rcnn's configuration, whose published values are taken."""
    given = read_param_str(layer.get("python_param").get("param_str"))
    params = ProposalLayer(threshold=single(0.7), scores=len(layer.all("top")) == 2)
    stride, scales = given.get("feat_stride"), given.get("scales", params.scales)
    if not isinstance(stride, int) or stride < 1:
        raise ParameterError("param_str lacks 'feat_stride', a positive whole number")
    if not isinstance(scales, (list, tuple)) or not scales or not all(isinstance(s, (int, float)) for s in scales):
        raise ParameterError(f"param_str has the scales {scales}, which are no list of numbers")
    note(
        f"proposes regions with py-faster-rcnn's published settings: at most {params.most} of {params.candidates}, "
        f"overlap {params.threshold:g}, sides of at least {params.min_size:g} pixels"
    )
    return replace(params, feat_stride=stride, scales=tuple(map(float, scales)))


@writes("ProposalLayer", "python_param")
def _write_proposal(params: ProposalLayer) -> Message:
    published = ProposalLayer(params.feat_stride, params.scales, threshold=single(0.7), scores=params.scores)
    if params != published:
        raise ParameterError("only its stride and scales have a place in a file; the rest is py-faster-rcnn's own")
    module, name = _PROPOSAL
    text = repr({"feat_stride": params.feat_stride, "scales": list(params.scales)})
    return new("PythonParameter", module=module, layer=name, param_str=text)
