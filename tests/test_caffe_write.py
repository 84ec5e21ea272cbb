"""Writing: what is written reads back as the same network."""

from __future__ import annotations

import itertools
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caffe2lrp.converters import caffe
from caffe2lrp.converters.caffe import naming
from caffe2lrp.converters.caffe.hdf5 import hidden_from_caffe
from caffe2lrp.converters.caffe.layers import known_types
from caffe2lrp.converters.caffe.schema import SCHEMAS
from caffe2lrp.converters.caffe.text import read_text
from caffe2lrp.converters.caffe.write import net_message
from caffe2lrp.errors import FileFormatError, ModelError, OptionError
from caffe2lrp.ir import Layer, Network
from caffe2lrp.layers import REGISTRY
from caffe2lrp.layers.activation import BNLL, ELU, AbsVal, Exp, Log, Power, PReLU, ReLU, Sigmoid, TanH, Threshold
from caffe2lrp.layers.affine import Bias, Scale
from caffe2lrp.layers.argmax import ArgMax
from caffe2lrp.layers.axpy import Axpy
from caffe2lrp.layers.base import LayerParams
from caffe2lrp.layers.batch import BatchReindex, Filter
from caffe2lrp.layers.batch_norm import BN, BatchNorm
from caffe2lrp.layers.clipped import Clip, HardSigmoid, HardSwish, Swish
from caffe2lrp.layers.convolution import Convolution, Deconvolution
from caffe2lrp.layers.crop import Crop
from caffe2lrp.layers.detection import DetectionOutput, PriorBox, ProposalLayer
from caffe2lrp.layers.dropout import Dropout
from caffe2lrp.layers.eltwise import Eltwise
from caffe2lrp.layers.embed import Embed
from caffe2lrp.layers.im2col import Im2col
from caffe2lrp.layers.inner_product import InnerProduct
from caffe2lrp.layers.join import Concat, Slice
from caffe2lrp.layers.lrn import LRN
from caffe2lrp.layers.mvn import MVN
from caffe2lrp.layers.normalize import Normalize
from caffe2lrp.layers.pad import Pad
from caffe2lrp.layers.permute import Permute, ShuffleChannel
from caffe2lrp.layers.pooling import SPP, Pooling
from caffe2lrp.layers.recurrent import LSTM, RNN
from caffe2lrp.layers.reduction import Reduction
from caffe2lrp.layers.regions import ROIPooling
from caffe2lrp.layers.reshape import Flatten, Reshape
from caffe2lrp.layers.softmax import Softmax
from caffe2lrp.layers.source import DummyData, Parameter
from caffe2lrp.layers.tile import Tile
from caffe2lrp.layers.upsample import Interp, Upsample
from tests.golden import single_precision
from tests.layer_cases import CASES, network_of
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
    """Write all files; read the definition with each of the weights, and the binary one alone."""
    text, binary, hdf5 = folder / "out.prototxt", folder / "out.caffemodel", folder / "out.caffemodel.h5"
    caffe.save(network, text, binary)
    caffe.save(network, weights=hdf5)
    together = caffe.load(text, binary)
    written = text.read_bytes(), binary.read_bytes()
    caffe.save(together, text, binary)  # over the files that it comes from
    assert (text.read_bytes(), binary.read_bytes()) == written
    assert_equal(together, caffe.load(binary))
    assert_equal(together, caffe.load(text, hdf5))
    return together


MODELS = [
    ("bvlc_googlenet/deploy.prototxt", "bvlc_googlenet/bvlc_googlenet.caffemodel"),
    ("bvlc_googlenet/train_val.prototxt", "bvlc_googlenet/bvlc_googlenet.caffemodel"),
    ("squeezenet_v1.1/deploy.prototxt", "squeezenet_v1.1/squeezenet_v1.1.caffemodel"),
    ("cifar10_full_h5/deploy.prototxt", "cifar10_full_h5/cifar10_full_iter_60000.caffemodel.h5"),
    ("cifar10_full_v1/deploy.prototxt", "cifar10_full_v1/cifar10_full_iter_70000.caffemodel"),
    ("cifar10_full_v1/train_test.prototxt", "cifar10_full_v1/cifar10_full_iter_70000.caffemodel"),
    ("lenet_v0/lenet_v0.prototxt", "lenet_v0/lenet_v0.caffemodel"),
    ("lenet_v2/deploy.prototxt", "lenet_v2/lenet_iter_10000.caffemodel"),
    ("lenet_v2/train_test.prototxt", "lenet_v2/lenet_iter_10000.caffemodel"),
    ("resnet20_cifar10/deploy.prototxt", "resnet20_cifar10/cifar10_res20_iter_64000.caffemodel"),
    ("resnet20_cifar10/train_test.prototxt", "resnet20_cifar10/cifar10_res20_iter_64000.caffemodel"),
    ("mtcnn/det1.prototxt", "mtcnn/det1.caffemodel"),
    ("mtcnn/det2.prototxt", "mtcnn/det2.caffemodel"),
    ("mtcnn/det3.prototxt", "mtcnn/det3.caffemodel"),
]
SIZES = {
    "lenet_v2/train_test.prototxt": (1, 1, 28, 28),
    "cifar10_full_v1/train_test.prototxt": (1, 3, 32, 32),
    "resnet20_cifar10/train_test.prototxt": (1, 3, 32, 32),
}
"""Of the images, where the file does not tell it."""


@pytest.mark.parametrize(("prototxt", "weights"), MODELS)
def test_real_models_survive(shared: Path, tmp_path: Path, prototxt: str, weights: str) -> None:
    models = shared / "models"
    network = caffe.load(models / prototxt, models / weights, input_shape=SIZES.get(prototxt))
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
    (Convolution(3, (2,), (3,), (1,), (2,)), [(2, 4, 9)]),
    (Convolution(6, (2, 3, 3), (1, 2, 2), (1, 0, 1), group=2), [(2, 4, 5, 6, 7)]),
    (Convolution(3, (2, 2, 2), pad=(1, 1, 1)), [(2, 4, 5, 6, 7)]),
    (Convolution(3, (2, 3), axis=2), [(2, 4, 5, 6, 7)]),
    (Convolution(3, ()), [(2, 4)]),
    (Deconvolution(6, (3, 2), (2, 1), (1, 0), (1, 2), 2, bias=False), [IMAGE]),
    (Deconvolution(3, (2, 3, 4)), [(2, 4, 2, 3, 4)]),
    (Im2col((3, 2), (2, 1), (1, 0), (1, 2)), [IMAGE]),
    (Im2col((2,), axis=2), [(2, 3, 4, 5)]),
    (Crop(), [IMAGE, (2, 4, 5, 3)]),
    (Crop(-2, (1, 0)), [IMAGE, (1, 1, 5, 3)]),
    (SPP(2), [IMAGE]),
    (SPP(1, "STOCHASTIC"), [IMAGE]),
    (Pooling("MAX", (3, 2), (2, 3), (1, 0)), [IMAGE]),
    (Pooling("AVE", None), [IMAGE]),
    (Pooling("MAX", (2, 2), (2, 2), ceil=False), [IMAGE]),
    (Pooling("STOCHASTIC", (2, 3)), [IMAGE]),
    (Pooling("AVE", (3,), (2,), (1,)), [(2, 4, 9)]),
    (Pooling("MAX", (1, 2, 2), (1, 2, 2)), [(2, 4, 5, 6, 7)]),
    (Pooling("MAX", (2, 2, 2), (1, 2, 2), (0, 1, 1)), [(2, 4, 5, 6, 7)]),
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


def test_proposals_with_settings_that_have_no_place_in_a_file(tmp_path: Path) -> None:
    network = network_of((ProposalLayer(8, (4.0, 8.0), most=7), [(1, 12, 5, 4), (1, 24, 5, 4), (1, 3)]))
    with pytest.raises(ModelError, match="only its stride and scales have a place in a file"):
        caffe.write_prototxt(network, tmp_path / "out")


def written_blobs(network: Network) -> dict[str, tuple[list[str], list[str]]]:
    """Bottoms and tops of each layer as they are written, after a check that Caffe would compute the same network."""
    message = net_message(network)
    inputs = iter(network.inputs)
    current: dict[str, str] = {}  # blob of the file -> blob of the network that is in it
    reads = Counter(blob for layer in network.layers for blob in layer.inputs)
    written = {}
    for layer in message.all("layer"):
        name, bottoms, tops = layer.get("name"), layer.all("bottom"), layer.all("top")
        if layer.get("type") == "Input":
            outputs = list(itertools.islice(inputs, len(tops)))
        else:
            outputs = list(network.layer(name).outputs)
            assert [current[blob] for blob in bottoms] == list(network.layer(name).inputs)
        for index, top in enumerate(tops):
            if top in current:  # in place: of the first blob, if no other layer has anything to do with it
                assert index == 0
                assert bottoms[0] == top
                assert reads[current[top]] == 1
                assert layer.get("type") in naming.IN_PLACE
        current.update(zip(tops, outputs, strict=True))
        written[name] = (bottoms, tops)
    return written


def test_in_place_as_far_as_nothing_is_spoilt() -> None:
    layers = [
        Layer("a", ReLU(), ("x",), ("x@a",)),
        Layer("b", ReLU(), ("x@a",), ("x@b",)),  # what it would overwrite is read again
        Layer("c", Eltwise(), ("x@a", "x@b"), ("y",)),
    ]
    network = Network("n", {"x": (1, 2, 3, 4)}, layers, blob_names={"x@a": "x", "x@b": "x"})
    written = written_blobs(network)
    assert written == {"x": ([], ["x"]), "a": (["x"], ["x"]), "b": (["x"], ["x@b"]), "c": (["x", "x@b"], ["y"])}


def test_a_reader_before_is_in_the_way_of_running_in_place_too() -> None:
    # Caffe would put a Split between, and then complain that two layers write the blob.
    layers = [
        Layer(
            "conv", Convolution(2, (1, 1), bias=False), ("data",), ("c@conv",), {"weight": np.ones((2, 2, 1, 1), "f")}
        ),
        Layer("early", TanH(), ("c@conv",), ("t",)),
        Layer("relu", ReLU(), ("c@conv",), ("c",)),
    ]
    network = Network("n", {"data": (1, 2, 3, 4)}, layers, blob_names={"c@conv": "c"})
    written = written_blobs(network)
    assert written["conv"] == (["data"], ["c@conv"])
    assert written["relu"] == (["c@conv"], ["c"])


@pytest.mark.parametrize(
    "params", [AbsVal(), Flatten(), LRN(), Pooling("MAX", (1, 1)), Eltwise(), Reshape((0, 0, 0, 0))]
)
def test_what_caffe_cannot_run_in_place_is_not(params: LayerParams) -> None:
    bottoms = ("s@sigmoid", "data")[: params.input_count[0]]
    layers = [Layer("sigmoid", Sigmoid(), ("data",), ("s@sigmoid",)), Layer("it", params, bottoms, ("s",))]
    network = Network("n", {"data": (1, 2, 3, 4)}, layers, blob_names={"s@sigmoid": "s"})
    written = written_blobs(network)
    assert written["it"] == (list(bottoms), ["s"])


def test_layers_in_place_keep_the_shape() -> None:
    shapes = {params.type: params.output_shapes(shapes) == shapes[:1] for params, shapes in EXAMPLES}
    assert all(shapes[name] for name in naming.IN_PLACE & set(REGISTRY))


def test_a_name_that_somebody_else_has() -> None:
    layers = [
        Layer("a", AbsVal(), ("x",), ("y",)),
        Layer("x", AbsVal(), ("y",), ("z",)),
        Layer("c", AbsVal(), ("z",), ("y'",)),
        Layer("d", AbsVal(), ("y'",), ("w",)),
    ]
    # z and w are called y in Caffe, which another blob is in the IR.
    network = Network("n", {"x": (2, 3)}, layers, blob_names={"z": "y", "w": "y", "y'": "z"})
    written = written_blobs(network)
    tops = [top for _, tops in written.values() for top in tops]
    assert len(set(tops)) == len(tops)
    assert written["x_input"] == ([], ["x"])  # as a layer is called like the input


@settings(max_examples=300, deadline=None, derandomize=True)
@given(data=st.data())
def test_any_blob_names_give_a_file_that_means_the_same(data: st.DataObject) -> None:
    types = [ReLU(), Dropout(), Scale(), AbsVal(), Flatten(axis=1, end_axis=1), Eltwise(), Slice(2)]
    known = [f"v{i}" for i in range(data.draw(st.integers(1, 2)))]
    inputs = dict.fromkeys(known, (2, 4))
    layers = []
    for number in range(data.draw(st.integers(1, 8))):
        params = data.draw(st.sampled_from(types))
        bottoms = tuple(data.draw(st.sampled_from(known)) for _ in range(2 if isinstance(params, Eltwise) else 1))
        tops = tuple(f"top{number}{i}" for i in range(2 if isinstance(params, Slice) else 1))
        weights = {"scale": np.ones(4, "f")} if isinstance(params, Scale) else {}
        known += tops if not isinstance(params, Slice) else ()  # whose outputs have another shape
        layers.append(Layer(f"layer{number}", params, bottoms, tops, weights))
    names = {blob: data.draw(st.sampled_from(["v0", "v1", "top00", "x", "layer0"])) for blob in known}
    network = Network("n", inputs, layers, blob_names=names)
    written_blobs(network)


@st.composite
def caffe_texts(draw: st.DrawFn) -> str:
    """Definitions with layers in place, wherever Caffe allows it."""
    lines = ['input: "data" input_dim: [2, 4, 3, 5]']
    unread, all_blobs = ["data"], ["data"]
    for number in range(draw(st.integers(1, 9))):
        kind = draw(st.sampled_from(["ReLU", "Dropout", "TanH", "AbsVal", "LRN", "Eltwise"]))
        bottom = draw(st.sampled_from(all_blobs))
        in_place = kind in naming.IN_PLACE and bottom in unread and draw(st.booleans())
        top = bottom if in_place else f"b{number}"
        bottoms = [bottom, draw(st.sampled_from(all_blobs))] if kind == "Eltwise" else [bottom]
        unread = [blob for blob in unread if blob not in bottoms] + [top]
        all_blobs = [*dict.fromkeys([*all_blobs, top])]
        given_blobs = " ".join(f'bottom: "{blob}"' for blob in bottoms)
        lines.append(f'layer {{ name: "l{number}" type: "{kind}" {given_blobs} top: "{top}" }}')
    return "\n".join(lines)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(text=caffe_texts())
def test_what_was_in_place_is_again(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "net").write_text(text)
        network = caffe.load(Path(folder) / "net")
        assert_equal(round_trip(network, Path(folder)), network)
    written = written_blobs(network)
    definition = read_text(text, SCHEMAS["NetParameter"], "text")
    assert {layer.get("name"): (layer.all("bottom"), layer.all("top")) for layer in definition.all("layer")} == {
        name: blobs for name, blobs in written.items() if name.startswith("l")
    }


@pytest.mark.parametrize("name", sorted(set(REGISTRY) - NOT_IN_CAFFE - {"ProposalLayer"}))
@settings(max_examples=15, deadline=None, derandomize=True)
@given(data=st.data())
def test_random_networks_survive(name: str, data: st.DataObject) -> None:
    network = network_of(data.draw(CASES[name]), seed=data.draw(st.integers(0, 5)))
    rounded = [replace(layer, params=single_precision(layer.params)) for layer in network.layers]
    network = network.with_layers(rounded)
    with tempfile.TemporaryDirectory() as folder:
        assert_equal(round_trip(network, Path(folder)), network)


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


# -- old files and new ones ------------------------------------------------------------------------


OLD = [
    ("lenet_v0/lenet_v0.prototxt", "lenet_v0/lenet_v0.caffemodel"),
    ("cifar10_full_v1/deploy.prototxt", "cifar10_full_v1/cifar10_full_iter_70000.caffemodel"),
    ("cifar10_full_h5/deploy.prototxt", "cifar10_full_h5/cifar10_full_iter_60000.caffemodel.h5"),
    ("bvlc_googlenet/train_val.prototxt", "bvlc_googlenet/bvlc_googlenet.caffemodel"),
]


@pytest.mark.parametrize(("prototxt", "weights"), OLD)
@pytest.mark.parametrize("suffix", [".caffemodel", ".caffemodel.h5"])
def test_old_files_made_new_compute_the_same(
    shared: Path, tmp_path: Path, prototxt: str, weights: str, suffix: str
) -> None:
    old = caffe.load(shared / "models" / prototxt, shared / "models" / weights).with_batch(1)
    caffe.save(old, tmp_path / "new.prototxt", tmp_path / f"new{suffix}")
    new = caffe.load(tmp_path / "new.prototxt", tmp_path / f"new{suffix}")
    assert not new.notes
    x = np.random.default_rng(0).normal(0, 50, old.input_shape).astype(np.float32)
    expected, got = old.forward(x), new.forward(x)
    assert expected.keys() == got.keys()
    for blob, values in expected.items():
        np.testing.assert_array_equal(got[blob], values)


@pytest.mark.parametrize(("prototxt", "weights"), MODELS)
def test_google_reads_the_same_net_from_text_and_from_binary(
    shared: Path, tmp_path: Path, prototxt: str, weights: str
) -> None:
    models = shared / "models"
    network = caffe.load(models / prototxt, models / weights, input_shape=SIZES.get(prototxt))
    caffe.save(network, tmp_path / "new.prototxt", tmp_path / "new.caffemodel")
    if (tmp_path / "new.caffemodel").stat().st_size > 6e6:  # lists of floats are slow
        pytest.skip("protobuf as oracle makes a Python list of every weight, which is slow for so large a net")
    text, binary = (read_with_oracle(tmp_path / name) for name in ("new.prototxt", "new.caffemodel"))
    for layer in binary.layer:
        stored = list(network.layer(layer.name).weights.values()) if layer.type != "Input" else []
        for blob, array in zip(layer.blobs, stored, strict=True):
            assert tuple(blob.shape.dim) == array.shape
            np.testing.assert_array_equal(np.array(blob.data, np.float32), array.ravel())
        layer.ClearField("blobs")
    assert text == binary


def test_text_is_easy_to_read(tmp_path: Path) -> None:
    layers = [
        Layer("pool", Pooling("MAX", (3, 2), (2, 2)), ("data",), ("pool",)),
        Layer("relu", ReLU(0.1), ("pool",), ("pool'",)),
    ]
    network = Network("small", {"data": (1, 3, 11, 7)}, layers, blob_names={"pool": "p", "pool'": "p"})
    caffe.write_prototxt(network, tmp_path / "x.prototxt")
    assert (
        (tmp_path / "x.prototxt").read_text()
        == """name: "small"
layer {
  name: "data"
  type: "Input"
  top: "data"
  input_param { shape { dim: 1 dim: 3 dim: 11 dim: 7 } }
}
layer {
  name: "pool"
  type: "Pooling"
  bottom: "data"
  top: "p"
  pooling_param {
    pool: MAX
    kernel_h: 3
    kernel_w: 2
    stride: 2
  }
}
layer {
  name: "relu"
  type: "ReLU"
  bottom: "p"
  top: "p"
  relu_param { negative_slope: 0.1 }
}
"""
    )


# -- save ------------------------------------------------------------------------------------------

SMALL = Network("small", {"x": (2, 3)}, [Layer("s", Scale(), ("x",), ("y",), {"scale": np.arange(3, dtype="f")})])


def test_what_cannot_be_saved(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="name a prototxt"):
        caffe.save(SMALL)
    for names in [("a.caffemodel", None), ("a.h5", None), ("a.caffemodel", "a.prototxt"), (None, "b.prototxt")]:
        with pytest.raises(OptionError, match="another kind"):
            caffe.save(SMALL, *(name and tmp_path / name for name in names))
    with pytest.raises(OptionError, match="cannot be both"):
        caffe.save(SMALL, tmp_path / "a", tmp_path / "a")
    with pytest.raises(FileFormatError, match="there is no folder"):
        caffe.save(SMALL, tmp_path / "a.prototxt", tmp_path / "no" / "a.caffemodel")
    assert not list(tmp_path.iterdir())  # nothing is written if the other file cannot be


def test_weights_too_large_for_caffe(tmp_path: Path) -> None:
    weights = {"weight": np.broadcast_to(np.float32(0), (1 << 15, 1 << 14))}
    layer = Layer("fc", InnerProduct(1 << 15, bias=False), ("x",), ("y",), weights)
    with pytest.raises(FileFormatError, match=r"2\.1 GB.*write HDF5"):
        caffe.save(Network("n", {"x": (1, 1 << 14)}, [layer]), weights=tmp_path / "n.caffemodel")


def test_two_layers_of_one_name(tmp_path: Path) -> None:
    layers = [Layer("s", Scale(), (a,), (b,), {"scale": np.ones(3, "f")}) for a, b in ("xy", "yz")]
    network = Network("n", {"x": (2, 3)}, layers)
    for file in ("n.caffemodel", "n.h5"):
        with pytest.raises(ModelError, match="another layer with weights has the same name"):
            caffe.save(network, weights=tmp_path / file)


@pytest.mark.parametrize("name", ["", "/a", "a/", "a//b", ".", "a/./b", "nul\0"])
def test_names_that_hdf5_cannot_hold(tmp_path: Path, name: str) -> None:
    network = SMALL.with_layers([replace(SMALL.layers[0], name=name)])
    with pytest.raises(FileFormatError, match=r"n\.h5: .*HDF5"):
        caffe.save(network, weights=tmp_path / "n.h5")
    assert not list(tmp_path.iterdir())


def test_names_in_each_others_way_in_hdf5(tmp_path: Path) -> None:
    layers = [
        replace(SMALL.layers[0], name="a"),
        replace(SMALL.layers[0], name="a/0", inputs=("y",), outputs=("z",)),
    ]
    with pytest.raises(FileFormatError, match=r"n\.h5: the HDF5 file cannot be written"):
        caffe.save(SMALL.with_layers(layers), weights=tmp_path / "n.h5")


def test_hdf5_is_laid_out_as_caffe_does(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    params = Convolution(2, (1, 1))
    weights = {"weight": np.ones((2, 3, 1, 1)), "bias": np.arange(2.0)}  # float64
    network = Network("n", {"x": (1, 3, 2, 2)}, [Layer("in/conv", params, ("x",), ("y",), weights)])
    caffe.save(network, weights=tmp_path / "n.h5")
    with h5py.File(tmp_path / "n.h5") as file:
        assert list(file["data/in/conv"]) == ["0", "1"]
        assert file["data/in/conv/0"].shape == (2, 3, 1, 1)
        assert file["data/in/conv/1"].dtype == np.float32
    assert hidden_from_caffe(network) == ["in/conv"]
