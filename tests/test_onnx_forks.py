"""Layers of forks as ONNX that random values are no fair test of: detections, masks, regions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caffe2lrp.converters.onnx import build_model
from caffe2lrp.errors import ModelError
from caffe2lrp.ir import Network
from caffe2lrp.layers import pooling, regions, upsample
from caffe2lrp.layers.detection import DetectionOutput, PriorBox
from caffe2lrp.layers.join import Slice
from caffe2lrp.layers.reshape import Reshape
from tests.layer_cases import assert_close, build, random_input
from tests.test_caffe_forks import SEGNET, SENET, SSD, define, roi_network, with_random_weights
from tests.test_onnx_layers import check, run


def detector(params: DetectionOutput, images: int = 2) -> Network:
    """Offsets and confidences cut out of one input, on prior boxes of a 3 x 2 grid."""
    prior = PriorBox((30.0, 50.0), (40.0, 60.0), (2.0,), variance=(0.1, 0.1, 0.2, 0.2), image=(90, 60))
    boxes = 6 * prior.boxes_per_pixel()
    own = 1 if params.share_location else params.num_classes
    sizes = [images * boxes * 4 * own, images * boxes * params.num_classes]
    return build(
        {"data": (1, sum(sizes))},
        ("cut", Slice(2, 1, (sizes[0],)), ["data"], ["a", "b"]),
        ("offsets", Reshape((images, -1)), ["a"], ["loc"]),
        ("confidences", Reshape((images, -1)), ["b"], ["conf"]),
        ("grid", Reshape((1, 1, 3, -1)), ["loc"], ["grid"]),
        ("part", Slice(2, 3, (2,)), ["grid"], ["pixels", "others"]),
        ("prior", prior, ["pixels"], ["priors"]),
        ("layer", params, ["loc", "conf", "priors"], ["out"]),
    )


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    params=st.builds(
        DetectionOutput,
        st.integers(2, 4),
        st.booleans(),
        st.sampled_from([0, -1]),
        st.sampled_from([0.0, 0.3, 0.45, 0.7]),
        st.sampled_from([-1, 3, 10]),
        st.just(1.0),
        st.sampled_from(["CORNER", "CENTER_SIZE", "CORNER_SIZE"]),
        st.booleans(),
        st.sampled_from([-1, 2, 7]),
        st.sampled_from([None, 0.25, 100.0]),
    ),
    seed=st.integers(0, 5),
)
def test_detections(params: DetectionOutput, seed: int) -> None:
    network = detector(params)
    # Offsets are small, so that every box has an area: onnxruntime turns boxes that have none around.
    x = random_input(network, seed).astype(np.float32) * np.float32(0.05 if params.variance_encoded_in_target else 0.5)
    expected, found = network.forward(x)["out"], run(build_model(network).to_bytes(), x)["out"]
    assert found.shape == network.shapes["out"]
    np.testing.assert_array_equal(found[..., :2], expected[..., :2])  # images and labels
    assert_close(found, expected, 2e-5)
    if params.confidence_threshold == 100.0:
        assert (found[..., 1:] == -1).all()


def test_a_threshold_that_falls_is_no_onnx() -> None:
    with pytest.raises(ModelError, match=r"layer 'layer' .*no ONNX operator lowers the threshold"):
        build_model(detector(DetectionOutput(3, eta=0.9)))


def test_regions_need_an_older_opset() -> None:
    network, _ = roi_network(regions.ROIPooling((2, 2)))
    with pytest.raises(ModelError, match="no MaxRoiPool of opset 22; convert to 21 or older"):
        build_model(network, opset=22)


def agree(network: Network, seeds: int = 4) -> None:
    """Several random inputs give the same in onnxruntime."""
    model = build_model(network).to_bytes()
    for seed in range(seeds):
        x = random_input(network, seed).astype(np.float32)
        expected, found = network.forward(x), run(model, x)
        for blob, value in found.items():
            assert_close(value, expected[blob], 1e-4, blob)


@pytest.mark.parametrize("text", [SSD, SEGNET, SENET], ids=["ssd", "segnet", "senet"])
def test_whole_nets(text: str, tmp_path: Path) -> None:
    network = with_random_weights(define(text, tmp_path), tmp_path)
    check(network, 1e-4)
    agree(network)


@pytest.mark.parametrize("opset", [13, 17, 20])
def test_older_operators(opset: int, tmp_path: Path) -> None:
    for text in (SEGNET, SENET):
        check(with_random_weights(define(text, tmp_path), tmp_path), 1e-4, opset=opset)


@pytest.mark.parametrize("pooled", [(7, 7), (6, 3), (1, 5)])
@pytest.mark.parametrize("scale", [0.0625, 0.05])
def test_regions_in_single_precision(pooled: tuple[int, int], scale: float) -> None:
    """Cells that do not divide a region are those of single precision on both sides."""
    network, x = roi_network(regions.ROIPooling(pooled, scale))
    given_x = x.astype(np.float32)
    expected, found = network.forward(given_x)["y"], run(build_model(network).to_bytes(), given_x)["y"]
    np.testing.assert_array_equal(found, expected)


def test_the_last_of_several_values_for_a_pixel_counts() -> None:
    network = build(
        {"data": (1, 1, 3, 5)},
        ("pool", pooling.Pooling("MAX", (3, 3), (1, 1), (1, 1), mask=True), ["data"], ["p", "m"]),
        ("move", pooling.Pooling("AVE", (3, 3), (1, 1), (1, 1)), ["p"], ["q"]),
        ("up", upsample.Upsample(size=(3, 5)), ["q", "m"], ["y"]),
    )
    agree(network)


def test_a_mask_of_half_precision_must_be_small() -> None:
    for size, fits in ((40, True), (50, False)):
        network = build(
            {"data": (1, 1, size, size)},
            ("pool", pooling.Pooling("MAX", (2, 2), (2, 2), mask=True), ["data"], ["p", "m"]),
            ("up", upsample.Upsample(), ["p", "m"], ["y"]),
        )
        if fits:
            x = random_input(network).astype(np.float32)
            found = run(build_model(network, fp16=True).to_bytes(), x)["y"]
            assert_close(found, network.forward(x)["y"], 1e-3)
        else:
            with pytest.raises(ModelError, match="half precision cannot hold the 2500 places of its mask"):
                build_model(network, fp16=True)
