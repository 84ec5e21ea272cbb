"""Every layer type as ONNX in onnxruntime against the forward pass of the kernels."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import caffe2lrp.converters.onnx.layers  # noqa: F401  (fills the table of emitters)
from caffe2lrp.converters.onnx import build_model
from caffe2lrp.converters.onnx.registry import EMITTERS
from caffe2lrp.ir import Network
from caffe2lrp.layers import REGISTRY
from tests.layer_cases import CASES, CHOSEN, assert_close, network_of, random_input

TYPES = sorted(set(REGISTRY) & set(EMITTERS))
CHOSEN_CASES = [(name, i) for name in TYPES for i in range(len(CHOSEN.get(name, ())))]


def run(model: bytes, x: np.ndarray, input_name: str = "data") -> dict[str, np.ndarray]:
    """Outputs in onnxruntime, without its optimisations: what is written is what is run."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {input_name: x}), strict=True))


def check(network: Network, seed: int = 0, tolerance: float = 2e-5, **options: int) -> None:
    """Outputs of the kernels in single precision, of the checked model in onnxruntime, and their shapes are equal."""
    model = build_model(network, **options).to_bytes()
    onnx.checker.check_model(onnx.load_from_string(model), full_check=True)
    x = random_input(network, seed).astype(np.float32)
    expected, found = network.forward(x), run(model, x)
    assert set(found) == set(network.outputs)
    for blob, value in found.items():
        assert value.dtype == np.float32
        assert value.shape == network.shapes[blob]
        assert_close(value, expected[blob], tolerance, blob)


def test_every_layer_type_has_an_emitter() -> None:
    assert set(REGISTRY) == set(EMITTERS)


@pytest.mark.parametrize("name", TYPES)
@settings(max_examples=30, deadline=None, derandomize=True)
@given(data=st.data())
def test_random_cases(name: str, data: st.DataObject) -> None:
    check(network_of(data.draw(CASES[name]), seed=data.draw(st.integers(0, 5))))


@pytest.mark.parametrize(("name", "index"), CHOSEN_CASES)
def test_chosen_cases(name: str, index: int) -> None:
    check(network_of(CHOSEN[name][index], seed=index))
