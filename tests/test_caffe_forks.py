"""Layers of Caffe's forks as their files spell them, and small nets of the kinds that have them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import caffe2lrp
from caffe2lrp.converters import caffe
from caffe2lrp.errors import ModelError
from caffe2lrp.ir import Layer, Network
from caffe2lrp.layers.axpy import Axpy
from caffe2lrp.layers.base import LayerParams
from caffe2lrp.layers.batch_norm import BN
from caffe2lrp.layers.clipped import Clip, HardSigmoid, HardSwish, Swish
from caffe2lrp.layers.convolution import Convolution
from caffe2lrp.layers.detection import DetectionOutput, PriorBox, ProposalLayer
from caffe2lrp.layers.normalize import Normalize
from caffe2lrp.layers.permute import Permute, ShuffleChannel
from caffe2lrp.layers.pooling import Pooling
from caffe2lrp.layers.regions import ROIPooling
from caffe2lrp.layers.upsample import Interp, Upsample
from tests import naive
from tests.layer_cases import assert_close, random_input, random_weights

INPUT = 'input: "data" input_shape { dim: [1, 4, 9, 6] }'


def f(value: float) -> float:
    return float(np.float32(value))


def define(text: str, folder: Path) -> Network:
    (folder / "net.prototxt").write_text(text)
    return caffe.load_definition(folder / "net.prototxt")


def only(text: str, folder: Path, bottoms: tuple[str, ...] = ("data",), head: str = INPUT) -> Layer:
    """The last layer of a net that is made of inputs and one layer."""
    names = " ".join(f'bottom: "{blob}"' for blob in bottoms)
    return define(f'{head} layer {{ name: "it" top: "it" {names} {text} }}', folder).layers[-1]


ONE: list[tuple[str, LayerParams]] = [
    ('type: "Permute" permute_param { order: 0 order: 2 order: 3 order: 1 }', Permute((0, 2, 3, 1))),
    ('type: "ShuffleChannel" shuffle_channel_param { group: 2 }', ShuffleChannel(2)),
    (
        'type: "Normalize" norm_param { across_spatial: false scale_filler { value: 20 } channel_shared: false }',
        Normalize(False, False, f(1e-10)),
    ),
    ('type: "ReLU6"', Clip(0.0, 6.0)),
    ('type: "ReLU6" relu6_param { negative_slope: 0 }', Clip(0.0, 6.0)),
    ('type: "Clip" clip_param { min: -1 max: 0 }', Clip(-1.0, 0.0)),
    ('type: "Swish"', Swish(1.0)),
    ('type: "Swish" swish_param { beta: 0.5 }', Swish(0.5)),
    ('type: "HSwish"', HardSwish()),
    ('type: "HardSwish"', HardSwish()),
    ('type: "HardSigmoid"', HardSigmoid(f(1 / 6), 0.5)),
    ('type: "HardSigmoid" hardsigmoid_param { alpha: 0.2 }', HardSigmoid(f(0.2), 0.5)),
    (
        'type: "DepthwiseConvolution" convolution_param { num_output: 4 kernel_size: 3 group: 4 pad: 1 }',
        Convolution(4, (3, 3), pad=(1, 1), group=4),
    ),
    (
        'type: "ConvolutionDepthwise" convolution_param { num_output: 4 kernel_size: 3 stride: 2 bias_term: false }',
        Convolution(4, (3, 3), stride=(2, 2), group=4, bias=False),
    ),
    ('type: "Upsample" upsample_param { scale: 3 }', Upsample((3, 3))),
    ('type: "Interp" interp_param { height: 17 width: 33 }', Interp((17, 33))),
    ('type: "Interp" interp_param { zoom_factor: 8 pad_beg: -1 pad_end: 0 }', Interp(None, 1, 8, (1, 0))),
    ('type: "Interp" interp_param { shrink_factor: 2 }', Interp(None, 2)),
    ('type: "Interp" interp_param { shrink_factor: 2 zoom_factor: 4 }', Interp(None, 2, 4)),
    ('type: "BN" bn_param { slope_filler { value: 1 } bias_filler { value: 0 } frozen: true }', BN(True, f(1e-5))),
    ('type: "BN" bn_param { scale_filler {} shift_filler {} bn_mode: INFERENCE }', BN(False, f(1e-5))),
    ('type: "BN" bn_param { scale_filler {} shift_filler {} moving_average: true }', BN(True, f(1e-9))),
]


@pytest.mark.parametrize(("text", "params"), ONE, ids=[text for text, _ in ONE])
def test_one_layer(tmp_path: Path, text: str, params: LayerParams) -> None:
    layer = only(text, tmp_path)
    assert layer.params == params
    assert layer.origin.type == text.split('"')[1]  # as the file spells it


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('type: "Permute" permute_param { order: [0, 0] }', "order .0, 0. does not name axes"),
        ('type: "ShuffleChannel" shuffle_channel_param { group: 3 }', "do not divide by group 3"),
        ('type: "Clip" clip_param { min: 1 }', "needs both min and max"),
        ('type: "Clip" clip_param { min: 1 max: 0 }', "from 1 to 0, which is no range"),
        ('type: "Interp"', "needs height and width, zoom_factor or shrink_factor"),
        ('type: "Interp" interp_param { zoom_factor: 2 height: 3 width: 3 }', "both a size and a factor"),
        ('type: "Interp" interp_param { zoom_factor: 2 pad_beg: 1 }', "must not be positive"),
        ('type: "Interp" interp_param { zoom_factor: 2 pad_beg: -5 pad_end: -1 }', "nothing is left"),
        ('type: "Interp" interp_param { zoom_factor: 0 }', "must be at least 1"),
        ('type: "Upsample" upsample_param { scale_h: 2 }', "scale_h and scale_w must be given together"),
        ('type: "Upsample" upsample_param { upsample_h: 9 upsample_w: 9 }', "there is no second input"),
        ('type: "Upsample" upsample_param { scale: 3 pad_out_h: true }', "for a scale of 2 only"),
        ('type: "BN" bn_param { bn_mode: LEARN }', "compute_bn_statistics"),
        ('type: "BN" bn_param { axis: 2 }', "only axis 1 is supported"),
        ('type: "PriorBox" prior_box_param { img_size: 30 }', "min_size is missing"),
        ('type: "PriorBox" prior_box_param { min_size: 3 max_size: 2 img_size: 30 }', "must have a larger value"),
        ('type: "PriorBox" prior_box_param { min_size: 3 img_size: 3 img_h: 3 }', "both img_size and img_h"),
        ('type: "PriorBox" prior_box_param { min_size: 3 img_h: 3 }', "must be positive, in both directions"),
        ('type: "PriorBox" prior_box_param { min_size: 3 variance: [1, 2] }', "one positive number or four"),
        ('type: "PriorBox" prior_box_param { min_size: 3 aspect_ratio: -1 }', "must be positive"),
        ('type: "PriorBox" prior_box_param { min_size: 3 }', "needs the picture as second input"),
        ('type: "ROIPooling" roi_pooling_param { pooled_h: 3 }', "must be at least 1"),
        ('type: "DetectionOutput"', "num_classes is missing"),
        ('type: "DetectionOutput" detection_output_param { num_classes: 3 keep_top_k: 0 }', "must not be 0"),
        ('type: "DetectionOutput" detection_output_param { num_classes: 3 nms_param { eta: 2 } }', "eta above 0"),
        ('type: "DetectionOutput" detection_output_param { num_classes: 3 }', "needs 3 input blob"),
        ('type: "Axpy"', "needs 3 input blob"),
    ],
)
def test_what_does_not_fit(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ModelError, match=rf"net\.prototxt:1: layer 'it' .*{message}"):
        only(text, tmp_path)


def test_v1_of_deeplab(tmp_path: Path) -> None:
    text = f'{INPUT} layers {{ name: "up" type: INTERP bottom: "data" top: "up" interp_param {{ zoom_factor: 8 }} }}'
    network = define(text, tmp_path)
    assert network.layers[0].params == Interp(None, 1, 8)
    assert network.shapes["up"] == (1, 4, 65, 41)
    assert not network.notes


def test_fields_belong_to_their_type(tmp_path: Path) -> None:
    layer = only('type: "ReLU" permute_param { order: 1 }', tmp_path)
    assert layer.type == "ReLU"
    assert any(
        "unknown field 'permute_param'" in note for note in caffe.load_definition(tmp_path / "net.prototxt").notes
    )


# -- nets ----------------------------------------------------------------------------------------------------------


def with_random_weights(network: Network, folder: Path) -> Network:
    """The net of a definition with random weights, by way of files."""
    rng = np.random.default_rng(5)
    layers = []
    for layer in network.layers:
        shapes = [network.shapes[blob] for blob in layer.inputs]
        weights = {name: w.astype(np.float32) for name, w in random_weights(layer.params, shapes, rng).items()}
        layers.append(Layer(layer.name, layer.params, layer.inputs, layer.outputs, weights))
    caffe.write_caffemodel(network.with_layers(layers), folder / "net.caffemodel")
    loaded = caffe2lrp.load(folder / "net.prototxt", folder / "net.caffemodel")
    alone = caffe2lrp.load(folder / "net.caffemodel")
    assert [layer.params for layer in alone.layers] == [layer.params for layer in loaded.layers]
    return loaded


def check(network: Network, x: np.ndarray) -> None:
    """Every value equals the naive one, those that layers overwrite in place among them."""
    expected = naive.forward(network, x)
    for dtype, tolerance in ((np.float64, 1e-12), (np.float32, 5e-5)):
        found = network.forward(x.astype(dtype), keep=list(network.shapes))
        for blob, value in found.items():
            assert_close(value, expected[blob], tolerance, blob)


SSD = """
name: "ssd"
layer { name: "input" type: "Input" top: "data" input_param { shape { dim: [2, 3, 24, 20] } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 6 kernel_size: 3 stride: 4 } }
layer { name: "relu" type: "ReLU6" bottom: "conv" top: "conv" }
layer { name: "norm" type: "Normalize" bottom: "conv" top: "norm"
        norm_param { across_spatial: false scale_filler { type: "constant" value: 20 } channel_shared: false } }
layer { name: "loc" type: "Convolution" bottom: "norm" top: "loc"
        convolution_param { num_output: 16 kernel_size: 3 pad: 1 } }
layer { name: "loc_perm" type: "Permute" bottom: "loc" top: "loc_perm"
        permute_param { order: 0 order: 2 order: 3 order: 1 } }
layer { name: "loc_flat" type: "Flatten" bottom: "loc_perm" top: "loc_flat" flatten_param { axis: 1 } }
layer { name: "conf" type: "Convolution" bottom: "norm" top: "conf"
        convolution_param { num_output: 12 kernel_size: 3 pad: 1 } }
layer { name: "conf_perm" type: "Permute" bottom: "conf" top: "conf_perm"
        permute_param { order: 0 order: 2 order: 3 order: 1 } }
layer { name: "conf_flat" type: "Flatten" bottom: "conf_perm" top: "conf_flat" flatten_param { axis: 1 } }
layer { name: "prior" type: "PriorBox" bottom: "norm" bottom: "data" top: "prior"
        prior_box_param { min_size: 5 max_size: 9 aspect_ratio: 2 flip: true clip: false
                          variance: 0.1 variance: 0.1 variance: 0.2 variance: 0.2 step: 4 offset: 0.5 } }
layer { name: "priors" type: "Concat" bottom: "prior" top: "priors" concat_param { axis: 2 } }
layer { name: "conf_reshape" type: "Reshape" bottom: "conf_flat" top: "conf_reshape"
        reshape_param { shape { dim: 0 dim: -1 dim: 3 } } }
layer { name: "conf_softmax" type: "Softmax" bottom: "conf_reshape" top: "conf_softmax" softmax_param { axis: 2 } }
layer { name: "conf_flatten" type: "Flatten" bottom: "conf_softmax" top: "conf_flatten" flatten_param { axis: 1 } }
layer { name: "detection_out" type: "DetectionOutput" bottom: "loc_flat" bottom: "conf_flatten" bottom: "priors"
        top: "detection_out" include { phase: TEST }
        detection_output_param { num_classes: 3 share_location: true background_label_id: 0
          nms_param { nms_threshold: 0.45 top_k: 400 } save_output_param { label_map_file: "labels" }
          code_type: CENTER_SIZE keep_top_k: 7 confidence_threshold: 0.3 } }
layer { name: "evaluate" type: "DetectionEvaluate" bottom: "detection_out" top: "detection_eval" include { phase: TEST }
        }
"""


def test_an_ssd(tmp_path: Path) -> None:
    network = with_random_weights(define(SSD, tmp_path), tmp_path)
    assert network.shapes["detection_out"] == (1, 1, 14, 7)
    assert network.layer("detection_out").params == DetectionOutput(
        3, True, 0, f(0.45), 400, 1.0, "CENTER_SIZE", False, 7, f(0.3)
    )
    prior = network.layer("prior").params
    assert isinstance(prior, PriorBox)
    assert prior.step == (4.0, 4.0)
    x = random_input(network)
    check(network, x)
    rows = network.forward(x)["detection_out"].reshape(2, 7, 7)
    assert (rows[:, :, 0] == [[0], [1]]).all()
    found = rows[rows[:, :, 1] >= 0]
    assert len(found)
    assert set(found[:, 1]) <= {1, 2}
    assert (found[:, 2] > 0.3).all()
    assert (rows[rows[:, :, 1] < 0][:, 2:] == -1).all()
    with pytest.raises(ModelError, match=r"DetectionOutput.*start below it, for example with layer='conf_flatten'"):
        caffe2lrp.explain(network, x, 0)
    e = caffe2lrp.explain(network, x, [5, 7], layer="conf_flat", rule="epsilon")
    assert e.relevance.shape == x.shape
    assert np.abs(e.relevance).sum() > 0


def test_detections_by_hand(tmp_path: Path) -> None:
    """Three boxes of a class: the second overlaps the first too much, the third is elsewhere."""
    params = DetectionOutput(2, nms_threshold=0.5, variance_encoded_in_target=True, confidence_threshold=0.1)
    layer = Layer("it", params, ("loc", "conf", "prior"), ("out",))
    priors = np.array([[0.1, 0.1, 0.5, 0.5], [0.12, 0.1, 0.5, 0.5], [0.6, 0.6, 0.9, 0.9]])
    inputs = [np.zeros((1, 12)), np.array([[0.1, 0.9, 0.05, 0.95, 0.95, 0.05]]), np.stack([priors.ravel()] * 2)[None]]
    (y,) = naive.FORWARD["DetectionOutput"](params, {}, inputs)
    np.testing.assert_allclose(
        y[0, 0], [[0, 1, 0.95, *priors[1]], [0, -1, -1, -1, -1, -1, -1], [0, -1, -1, -1, -1, -1, -1]]
    )
    assert layer.params.output_shapes([x.shape for x in inputs]) == [(1, 1, 3, 7)]


SEGNET = """
input: "data" input_shape { dim: [2, 3, 8, 6] }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 4 kernel_size: 3 pad: 1 } }
layer { name: "bn" type: "BN" bottom: "conv" top: "conv"
        bn_param { scale_filler { type: "constant" value: 1 } shift_filler { value: 0.001 } bn_mode: INFERENCE } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool" top: "mask"
        pooling_param { pool: MAX kernel_size: 2 stride: 2 } }
layer { name: "mid" type: "Convolution" bottom: "pool" top: "mid" convolution_param { num_output: 4 kernel_size: 1 } }
layer { name: "up" type: "Upsample" bottom: "mid" bottom: "mask" top: "up" upsample_param { scale: 2 } }
layer { name: "out" type: "Convolution" bottom: "up" top: "out"
        convolution_param { num_output: 2 kernel_size: 3 pad: 1 } }
layer { name: "prob" type: "Softmax" bottom: "out" top: "prob" softmax_param { engine: CAFFE } }
"""


def test_a_segnet(tmp_path: Path) -> None:
    network = with_random_weights(define(SEGNET, tmp_path), tmp_path)
    assert network.layer("pool").params == Pooling("MAX", (2, 2), (2, 2), mask=True)
    assert network.outputs == ("prob",)
    x = random_input(network)
    check(network, x)
    blobs = network.forward(x, keep="all")
    up, mid = blobs["up"].reshape(8, -1), blobs["mid"].reshape(8, -1)
    places = blobs["mask"].reshape(8, -1).astype(int)
    np.testing.assert_array_equal(np.take_along_axis(up, places, axis=1), mid)
    assert (up != 0).sum() <= mid.size
    e = caffe2lrp.explain(network, x, [0, 1], rule="epsilon", epsilon=0.0, account=True)
    assert e.account is not None
    entry = next(entry for entry in e.account.entries if entry.layer == "up")
    assert entry.below == pytest.approx(entry.above, rel=1e-6)


def test_a_mask_that_nothing_reads_is_no_output(tmp_path: Path) -> None:
    text = f"""{INPUT} layer {{ name: "p" type: "Pooling" bottom: "data" top: "p" top: "m"
               pooling_param {{ kernel_size: 2 }} }}"""
    network = define(text, tmp_path)
    assert network.outputs == ("p",)
    assert any("its mask 'm' is left out" in note for note in network.notes)


SENET = """
input: "data" input_shape { dim: [2, 4, 5, 6] }
layer { name: "conv" type: "DepthwiseConvolution" bottom: "data" top: "conv"
        convolution_param { num_output: 4 kernel_size: 3 pad: 1 group: 4 engine: CAFFE } }
layer { name: "act" type: "HSwish" bottom: "conv" top: "act" }
layer { name: "gap" type: "Pooling" bottom: "act" top: "gap" pooling_param { pool: AVE global_pooling: true } }
layer { name: "down" type: "Convolution" bottom: "gap" top: "down" convolution_param { num_output: 2 kernel_size: 1 } }
layer { name: "swish" type: "Swish" bottom: "down" top: "down" swish_param { beta: 1 } }
layer { name: "upc" type: "Convolution" bottom: "down" top: "upc" convolution_param { num_output: 4 kernel_size: 1 } }
layer { name: "gate" type: "HardSigmoid" bottom: "upc" top: "gate" }
layer { name: "axpy" type: "Axpy" bottom: "gate" bottom: "act" bottom: "data" top: "axpy" }
layer { name: "shuffle" type: "ShuffleChannel" bottom: "axpy" top: "shuffle" shuffle_channel_param { group: 2 } }
layer { name: "bn" type: "BN" bottom: "shuffle" top: "shuffle" bn_param { slope_filler { value: 1 } frozen: true } }
layer { name: "resize" type: "Interp" bottom: "shuffle" top: "resize" interp_param { height: 9 width: 11 } }
layer { name: "clip" type: "Clip" bottom: "resize" top: "clip" clip_param { min: -1 max: 2 } }
layer { name: "fc" type: "InnerProduct" bottom: "clip" top: "fc" inner_product_param { num_output: 3 } }
"""


def test_a_net_of_mobile_layers(tmp_path: Path) -> None:
    network = with_random_weights(define(SENET, tmp_path), tmp_path)
    assert isinstance(network.layer("axpy").params, Axpy)
    x = random_input(network)
    check(network, x)
    for composite in ("epsilon_plus", "gradient"):
        e = caffe2lrp.explain(network, x, [0, 2], composite=composite, start="one")
        assert np.isfinite(e.relevance).all()
    direction = np.random.default_rng(0).normal(0, 1, x.shape)
    above, below = (network.forward(x + s * 1e-6 * direction)["fc"][[0, 1], [0, 2]].sum() for s in (1, -1))
    assert (e.relevance * direction).sum() == pytest.approx((above - below) / 2e-6, rel=1e-5)


def test_roi_pooling_of_fast_rcnn(tmp_path: Path) -> None:
    head = f'{INPUT} input: "rois" input_shape {{ dim: [3, 5] }}'
    layer = only(
        'type: "ROIPooling" roi_pooling_param { pooled_h: 7 pooled_w: 3 spatial_scale: 0.0625 }',
        tmp_path,
        ("data", "rois"),
        head,
    )
    assert layer.params == ROIPooling((7, 3), 0.0625)
    assert layer.params.output_shapes([(1, 4, 9, 6), (3, 5)]) == [(3, 4, 7, 3)]


FASTER_RCNN = """
input: "data" input_shape { dim: [1, 3, 32, 48] }
input: "im_info" input_shape { dim: [1, 3] }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 4 kernel_size: 16 stride: 16 } }
layer { name: "rpn_score" type: "Convolution" bottom: "conv" top: "rpn_score"
        convolution_param { num_output: 18 kernel_size: 1 } }
layer { name: "rpn_box" type: "Convolution" bottom: "conv" top: "rpn_box"
        convolution_param { num_output: 36 kernel_size: 1 } }
layer { name: "pairs" type: "Reshape" bottom: "rpn_score" top: "pairs"
        reshape_param { shape { dim: 0 dim: 2 dim: -1 dim: 0 } } }
layer { name: "prob" type: "Softmax" bottom: "pairs" top: "prob" }
layer { name: "back" type: "Reshape" bottom: "prob" top: "back"
        reshape_param { shape { dim: 0 dim: 18 dim: -1 dim: 0 } } }
layer { name: "proposal" type: "Python" bottom: "back" bottom: "rpn_box" bottom: "im_info" top: "rois"
        python_param { module: "rpn.proposal_layer" layer: "ProposalLayer" param_str: "'feat_stride': 16" } }
layer { name: "pool" type: "ROIPooling" bottom: "conv" bottom: "rois" top: "pool"
        roi_pooling_param { pooled_w: 2 pooled_h: 2 spatial_scale: 0.0625 } }
layer { name: "cls_score" type: "InnerProduct" bottom: "pool" top: "cls_score"
        inner_product_param { num_output: 5 } }
"""


def test_a_faster_rcnn(tmp_path: Path) -> None:
    network = with_random_weights(define(FASTER_RCNN, tmp_path), tmp_path)
    assert network.layer("proposal").params == ProposalLayer(threshold=f(0.7))
    assert network.shapes["rois"] == (54, 5)
    assert network.shapes["cls_score"] == (54, 5)
    assert any("published settings: at most 300 of 6000" in note for note in network.notes)
    for text, message in (("'scales': [8]", "lacks 'feat_stride'"), ("'feat_stride': 16, 'scales': 3", "no list")):
        with pytest.raises(ModelError, match=rf"layer 'proposal' \(Python\): .*{message}"):
            define(FASTER_RCNN.replace("'feat_stride': 16", text), tmp_path)


def test_anchors_are_those_that_the_authors_print() -> None:
    """The nine boxes at the first pixel, as listed in py-faster-rcnn."""
    expected = [
        [-84, -40, 99, 55], [-176, -88, 191, 103], [-360, -184, 375, 199],
        [-56, -56, 71, 71], [-120, -120, 135, 135], [-248, -248, 263, 263],
        [-36, -80, 51, 95], [-80, -168, 95, 183], [-168, -344, 183, 359],
    ]  # fmt: skip
    anchors = ProposalLayer().anchors((1, 18, 2, 3))
    np.testing.assert_array_equal(anchors[:9], expected)
    np.testing.assert_array_equal(anchors[9 * 4 : 9 * 5], np.array(expected) + 16)


@pytest.mark.parametrize("pooled", [(7, 7), (6, 3)])
def test_regions_that_do_not_divide(pooled: tuple[int, int]) -> None:
    """In double precision, where the cells are those of the formula."""
    network, x = roi_network(ROIPooling(pooled, 0.0625))
    expected = naive.forward(network, x)["y"]
    assert_close(network.forward(x)["y"], expected, 1e-12)


def roi_network(params: ROIPooling) -> tuple[Network, np.ndarray]:
    """A net that cuts features and regions out of one input, and an input with regions in and beyond the image."""
    from caffe2lrp.layers.join import Slice
    from caffe2lrp.layers.reshape import Reshape

    rows = [[0, 0, 0, 200, 140], [1, 35, 20, 90, 300], [1, 500, 500, 600, 600], [0, 90, 90, 10, 10], [1, 8, 24, 40, 56]]
    features = np.random.default_rng(0).normal(0, 1, 2 * 3 * 9 * 13).astype(np.float32)
    layers = [
        Layer("cut", Slice(2, 1, (features.size,)), ("data",), ("f", "r")),
        Layer("features", Reshape((2, 3, 9, 13)), ("f",), ("x",)),
        Layer("regions", Reshape((5, 5)), ("r",), ("rois",)),
        Layer("it", params, ("x", "rois"), ("y",)),
    ]
    x = np.concatenate([features, np.ravel(rows)])[None].astype(np.float64)
    return Network("roi", {"data": x.shape}, layers), x


@pytest.mark.parametrize("number", [-1.0, 2.0, np.nan])
def test_regions_of_no_image(number: float) -> None:
    network, x = roi_network(ROIPooling((2, 2)))
    x[0, -5] = number
    with pytest.raises(ModelError, match=r"layer 'it' .*regions name other images than 0 to 1, or are no numbers"):
        network.forward(x)


def test_halves_of_pixels_are_rounded_away_from_zero() -> None:
    from caffe2lrp.engine.layers.regions import _rounded

    values = np.array([-2.5, -1.5, -0.5, -0.49, 0.0, 0.49999997, 0.5, 1.5, 2.5], np.float32)
    np.testing.assert_array_equal(_rounded(values), [-3, -2, -1, 0, 0, 0, 1, 2, 3])


def test_channels_of_the_input_are_seen_through_forks_layers(tmp_path: Path) -> None:
    """A data layer does not tell them, but the convolution behind a ReLU6 does."""
    text = """
        layer { name: "d" type: "Data" top: "data" transform_param { crop_size: 6 } data_param { batch_size: 1 } }
        layer { name: "clip" type: "ReLU6" bottom: "data" top: "data" }
        layer { name: "conv" type: "Convolution" bottom: "data" top: "y"
                convolution_param { num_output: 2 kernel_size: 3 } }
    """
    conv = {"weight": np.ones((2, 5, 3, 3), np.float32), "bias": np.zeros(2, np.float32)}
    layer = Layer("conv", Convolution(2, (3, 3)), ("data",), ("y",), conv)
    caffe.write_caffemodel(Network("n", {"data": (1, 5, 6, 6)}, [layer]), tmp_path / "net.caffemodel")
    (tmp_path / "net.prototxt").write_text(text)
    assert caffe2lrp.load(tmp_path / "net.prototxt", tmp_path / "net.caffemodel").input_shape == (1, 5, 6, 6)
