"""Writing: what is written reads back as the same network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from caffe2lrp.converters import caffe
from caffe2lrp.converters.caffe.layers import known_types
from caffe2lrp.errors import FileFormatError, ModelError
from caffe2lrp.ir import Layer, Network
from caffe2lrp.layers import REGISTRY
from caffe2lrp.layers.activation import BNLL, ELU, Exp, Log, Power, PReLU, ReLU, Threshold
from caffe2lrp.layers.affine import Bias, Scale
from caffe2lrp.layers.argmax import ArgMax
from caffe2lrp.layers.axpy import Axpy
from caffe2lrp.layers.base import LayerParams
from caffe2lrp.layers.batch import BatchReindex, Filter
from caffe2lrp.layers.batch_norm import BN, BatchNorm
from caffe2lrp.layers.clipped import Clip, HardSigmoid, HardSwish, Swish
from caffe2lrp.layers.convolution import Convolution
from caffe2lrp.layers.detection import DetectionOutput, PriorBox, ProposalLayer
from caffe2lrp.layers.dropout import Dropout
from caffe2lrp.layers.eltwise import Eltwise
from caffe2lrp.layers.embed import Embed
from caffe2lrp.layers.inner_product import InnerProduct
from caffe2lrp.layers.join import Concat, Slice
from caffe2lrp.layers.lrn import LRN
from caffe2lrp.layers.mvn import MVN
from caffe2lrp.layers.normalize import Normalize
from caffe2lrp.layers.pad import Pad
from caffe2lrp.layers.permute import Permute, ShuffleChannel
from caffe2lrp.layers.pooling import Pooling
from caffe2lrp.layers.recurrent import LSTM, RNN
from caffe2lrp.layers.reduction import Reduction
from caffe2lrp.layers.regions import ROIPooling
from caffe2lrp.layers.reshape import Flatten, Reshape
from caffe2lrp.layers.softmax import Softmax
from caffe2lrp.layers.source import DummyData, Parameter
from caffe2lrp.layers.tile import Tile
from caffe2lrp.layers.upsample import Interp, Upsample
from tests.golden import single_precision
from tests.test_caffe_oracle import read_with_oracle


def assert_equal(a: Network, b: Network) -> None:
    assert (a.name, a.inputs, a.shapes, a.outputs) == (b.name, b.inputs, b.shapes, b.outputs)
    assert [a.caffe_name(blob) for blob in a.shapes] == [b.caffe_name(blob) for blob in b.shapes]
    for one, other in zip(a.layers, b.layers, strict=True):
        assert (one.name, one.params, one.inputs, one.outputs) == (
            other.name,
            other.params,
            other.inputs,
            other.outputs,
        )
        assert list(one.weights) == list(other.weights)
        for name, weight in one.weights.items():
            np.testing.assert_array_equal(weight, other.weights[name])


def round_trip(network: Network, folder: Path) -> Network:
    """Write both files; read them together and the binary one alone."""
    text, binary = folder / "out.prototxt", folder / "out.caffemodel"
    caffe.write_prototxt(network, text)
    caffe.write_caffemodel(network, binary)
    together = caffe.load(text, binary)
    assert_equal(together, caffe.load(binary))
    return together


MODELS = [
    ("bvlc_googlenet/deploy.prototxt", "bvlc_googlenet/bvlc_googlenet.caffemodel"),
    ("bvlc_googlenet/train_val.prototxt", "bvlc_googlenet/bvlc_googlenet.caffemodel"),
    ("squeezenet_v1.1/deploy.prototxt", "squeezenet_v1.1/squeezenet_v1.1.caffemodel"),
    ("cifar10_full_h5/deploy.prototxt", "cifar10_full_h5/cifar10_full_iter_60000.caffemodel.h5"),
    ("lenet_v0/lenet_v0.prototxt", "lenet_v0/lenet_v0.caffemodel"),
    ("resnet20_cifar10/deploy.prototxt", "resnet20_cifar10/cifar10_res20_iter_64000.caffemodel"),
    ("mtcnn/det3.prototxt", "mtcnn/det3.caffemodel"),
]


@pytest.mark.parametrize(("prototxt", "weights"), MODELS)
def test_real_models_survive(shared: Path, tmp_path: Path, prototxt: str, weights: str) -> None:
    network = caffe.load(shared / "models" / prototxt, shared / "models" / weights)
    assert_equal(round_trip(network, tmp_path), network)


def test_layers_run_in_place_again(shared: Path, tmp_path: Path) -> None:
    network = caffe.load(
        shared / "models/lenet_v2/deploy.prototxt", shared / "models/lenet_v2/lenet_iter_10000.caffemodel"
    )
    caffe.write_caffemodel(network, tmp_path / "x.caffemodel")
    relu = next(layer for layer in read_with_oracle(tmp_path / "x.caffemodel").layer if layer.type == "ReLU")
    assert list(relu.bottom) == list(relu.top) == ["ip1"]


# One or more examples of every layer type, with unusual values everywhere: (parameters, input shapes).
IMAGE = (2, 4, 9, 8)
NOT_IN_CAFFE = {"LogSoftmax", "Pad"}
EXAMPLES: list[tuple[LayerParams, list[tuple[int, ...]]]] = [
    *((REGISTRY[name](), [IMAGE]) for name in ("ReLU", "Sigmoid", "TanH", "AbsVal", "Softmax", "Flatten", "LRN")),
    (ReLU(0.1), [IMAGE]),
    (PReLU(), [IMAGE]),
    (PReLU(channel_shared=True), [IMAGE]),
    (ELU(0.25), [IMAGE]),
    (Power(2, -0.5, 1e-5), [IMAGE]),
    (Exp(), [IMAGE]),
    (Exp(2.5, -0.5, 0.25), [IMAGE]),
    (Log(10.0, 0.1, 3.0), [IMAGE]),
    (BNLL(), [IMAGE]),
    (Threshold(-0.25), [IMAGE]),
    (Dropout(0.75), [IMAGE]),
    (MVN(), [IMAGE]),
    (MVN(False, True, 0.1), [IMAGE]),
    *((Reduction(kind, -2, 0.1), [IMAGE]) for kind in ("SUM", "ASUM", "SUMSQ", "MEAN")),
    (Reduction(), [IMAGE]),
    (ArgMax(), [IMAGE]),
    (ArgMax(True, 3, 1), [IMAGE]),
    (ArgMax(axis=0), [IMAGE]),
    (Tile(3, -1), [IMAGE]),
    (Embed(5, 7), [IMAGE]),
    (Embed(5, 7, bias=False), [IMAGE]),
    (BatchReindex(), [IMAGE, (3,)]),
    (Filter(), [IMAGE, (2, 5), (2, 1)]),
    (Scale(), [IMAGE]),
    (Scale(axis=0, num_axes=-1, bias=True), [IMAGE]),
    (Scale(axis=-1, bias=True), [IMAGE, (8,)]),
    (Bias(axis=2, num_axes=2), [IMAGE]),
    (Bias(axis=0), [IMAGE, (2, 4)]),
    (BatchNorm(1e-3), [IMAGE]),
    (Convolution(6, (3, 2), (2, 1), (1, 0), (1, 2), 2, bias=False), [IMAGE]),
    (Convolution(1, (1, 1)), [IMAGE]),
    (Convolution(3, (3, 3), (2, 2), (1, 1), (2, 2)), [IMAGE]),
    (Pooling("MAX", (3, 2), (2, 3), (1, 0)), [IMAGE]),
    (Pooling("AVE", None), [IMAGE]),
    (Pooling("MAX", (2, 2), (2, 2), ceil=False), [IMAGE]),
    (Eltwise(), [IMAGE, IMAGE]),
    (Eltwise("SUM", (1.0, -0.1, 2.0)), [IMAGE] * 3),
    (Eltwise("PROD"), [IMAGE, IMAGE]),
    (Eltwise("MAX"), [IMAGE, IMAGE]),
    (InnerProduct(3), [IMAGE]),
    (InnerProduct(3, bias=False, axis=-1), [IMAGE]),
    (Concat(), [IMAGE, IMAGE]),
    (Concat(-2), [IMAGE, IMAGE]),
    (Slice(2), [IMAGE]),
    (Slice(3, -1, (1, 5)), [IMAGE]),
    (LRN(3, 5e-4, 0.6, 2.0, "within"), [IMAGE]),
    (Softmax(-1), [IMAGE]),
    (Flatten(0, 2), [IMAGE]),
    (Reshape((0, -1, 3), 1, 2), [IMAGE]),
    (Reshape((2, -1)), [IMAGE]),
    (RNN(3), [(4, 2, 5), (4, 2)]),
    (RNN(3, expose_hidden=True), [(4, 2, 5), (4, 2), (2, 7), (1, 2, 3)]),
    (LSTM(3), [(4, 2, 5), (4, 2), (2, 7)]),
    (LSTM(3, expose_hidden=True), [(4, 2, 5), (4, 2), (1, 2, 3), (1, 2, 3)]),
    (Parameter((2, 3)), []),
    (DummyData((2, 3)), []),
    (DummyData((2, 3, 1), -0.1), []),
    (Permute((0, 2, 3, 1)), [IMAGE]),
    (ShuffleChannel(2), [IMAGE]),
    (Normalize(), [IMAGE]),
    (Normalize(False, False, 1e-4), [IMAGE]),
    (BN(), [IMAGE]),
    (BN(epsilon=1e-3), [IMAGE]),
    (BN(statistics=False), [IMAGE]),
    (Clip(0.0, 6.0), [IMAGE]),
    (Clip(-1.5, 0.0), [IMAGE]),
    (Swish(), [IMAGE]),
    (Swish(0.7), [IMAGE]),
    (HardSigmoid(0.3, 0.4), [IMAGE]),
    (HardSigmoid(0.2, 0.5), [IMAGE]),
    (HardSwish(), [IMAGE]),
    (Axpy(), [(2, 4, 1, 1), IMAGE, IMAGE]),
    (Upsample((3, 3)), [IMAGE]),
    (Upsample((2, 1)), [IMAGE]),
    (Upsample((2, 2), None, (1, 0)), [IMAGE, IMAGE]),
    (Upsample((2, 2), (17, 15)), [IMAGE, IMAGE]),
    (Interp((17, 33)), [IMAGE]),
    (Interp(None, 1, 8, (1, 2)), [IMAGE]),
    (Interp(None, 2, 1), [IMAGE]),
    (ROIPooling((6, 7), 0.0625), [IMAGE, (3, 5)]),
    (PriorBox((30.0,)), [IMAGE, (2, 3, 300, 300)]),
    (
        PriorBox(
            (30.0, 45.5), (60.0, 80.0), (2.0, 3.0), False, True, (0.1, 0.1, 0.2, 0.2), (300, 200), (8.0, 4.0), 0.25
        ),
        [IMAGE],
    ),
    (ProposalLayer(8, (4.0, 8.0), scores=True), [(1, 12, 5, 4), (1, 24, 5, 4), (1, 3)]),
    (DetectionOutput(3), [(2, 20), (2, 15), (1, 2, 20)]),
    (
        DetectionOutput(3, False, -1, 0.45, 400, 0.9, "CENTER_SIZE", True, 200, 0.0),
        [(2, 60), (2, 15), (1, 2, 20)],
    ),
]


@pytest.mark.parametrize(("params", "shapes"), EXAMPLES, ids=lambda p: str(p) if isinstance(p, LayerParams) else "")
def test_every_layer_type_survives(tmp_path: Path, params: LayerParams, shapes: list[tuple[int, ...]]) -> None:
    rng = np.random.default_rng(0)
    inputs = {f"in{i}": shape for i, shape in enumerate(shapes)}
    weights = {k: rng.standard_normal(s).astype(np.float32) for k, s in params.weight_shapes(shapes).items()}
    outputs = tuple(f"out{i}" for i in range(len(params.output_shapes(shapes))))
    params = single_precision(params)  # which Caffe's files have
    layers = [Layer("it", params, tuple(inputs), outputs, weights)]
    if not inputs:  # a net needs one; what a layer without bottoms writes must be of use
        inputs = {"data": params.output_shapes([])[0]}
        layers.append(Layer("add", Eltwise(), ("data", *outputs), ("sum",)))
    network = Network("one layer", inputs, layers)
    assert_equal(round_trip(network, tmp_path), network)


def test_there_is_an_example_of_every_type() -> None:
    assert {params.type for params, _ in EXAMPLES} == set(known_types())
    assert set(REGISTRY) == set(known_types()) | NOT_IN_CAFFE


def test_what_caffe_does_not_have_is_not_written(tmp_path: Path) -> None:
    network = Network("n", {"x": (1, 2)}, [Layer("p", Pad((0, 1), (0, 0)), ("x",), ("y",))])
    for write in (caffe.write_prototxt, caffe.write_caffemodel):
        with pytest.raises(ModelError, match=r"'p' \(Pad.*Caffe has no layer type Pad"):
            write(network, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_network_that_caffe_names_would_spoil_keeps_its_own(tmp_path: Path) -> None:
    layers = [
        Layer("a", ReLU(), ("x",), ("x@a",)),
        Layer("b", ReLU(), ("x@a",), ("x@b",)),
        Layer("c", Eltwise(), ("x@a", "x@b"), ("y",)),
    ]
    network = Network("n", {"x": (1, 2, 3, 4)}, layers, blob_names={"x@a": "x", "x@b": "x"})
    again = round_trip(network, tmp_path)
    assert [layer.inputs for layer in again.layers] == [layer.inputs for layer in layers]


def test_an_input_overwritten_in_place(tmp_path: Path) -> None:
    text = 'input: "data" input_dim: [1, 2, 3, 4] layer { name: "r" type: "ReLU" bottom: "data" top: "data" }'
    (tmp_path / "net").write_text(text)
    network = caffe.load(tmp_path / "net")
    assert network.input == "data@input"
    assert network.caffe_name(network.input) == "data"
    assert_equal(round_trip(network, tmp_path), network)


def test_names_with_odd_characters(tmp_path: Path) -> None:
    network = Network('a "q" \\ \n é', {"x'\"y": (1,)}, [Layer("é\t", ReLU(), ("x'\"y",), ("<&>",))])
    assert_equal(round_trip(network, tmp_path), network)


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    network = Network("n", {"x": (1,)}, [Layer("r", ReLU(), ("x",), ("y",))])
    for write in (caffe.write_prototxt, caffe.write_caffemodel):
        with pytest.raises(FileFormatError, match="cannot write the file"):
            write(network, tmp_path / "no" / "such" / "folder")
