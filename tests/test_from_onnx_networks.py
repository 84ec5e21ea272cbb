"""Whole networks from ONNX files: values against onnxruntime, relevance against the same nets in Caffe's layers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import caffe2lrp
from caffe2lrp.converters import from_onnx
from caffe2lrp.ir import Network, with_weights
from caffe2lrp.layers.activation import ReLU
from caffe2lrp.layers.affine import Scale
from caffe2lrp.layers.batch_norm import BatchNorm
from caffe2lrp.layers.convolution import Convolution
from caffe2lrp.layers.eltwise import Eltwise
from caffe2lrp.layers.inner_product import InnerProduct
from caffe2lrp.layers.pooling import Pooling
from caffe2lrp.layers.reshape import Flatten
from caffe2lrp.preprocessing import Preprocessing
from tests.layer_cases import assert_close, build
from tests.maps import assert_same_map
from tests.onnx_models import LIGHT, Node, light_model, make_model, random_weights, run, save

# -- published architectures --------------------------------------------------------------------------------------

LARGE = ("vgg19", "bvlc_alexnet", "zfnet512")  # hundreds of megabytes of weights
NAMES = sorted(path.stem.removeprefix("light_") for path in LIGHT.glob("*.onnx"))


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow if n in LARGE else ()) for n in NAMES])
def test_published_architectures(name: str, tmp_path: Path) -> None:
    """Every blob that is an ONNX tensor, and that a model of random weights gives, is onnxruntime's."""
    model = light_model(name)
    network = from_onnx.load(save(model, tmp_path))
    assert network.outputs == tuple(output.name for output in model.graph.output)
    x = np.random.default_rng(1).normal(0, 1, network.input_shape).astype(np.float32)
    computed = {tensor for node in model.graph.node for tensor in node.output}
    blobs = [blob for layer in network.layers for blob in layer.outputs if blob in computed]
    assert len(blobs) > len(model.graph.node) / 2
    chosen = [*blobs[:: max(1, len(blobs) // 25)], *network.outputs]  # all of them would take a gigabyte
    got = network.forward(x, keep=chosen)
    for blob, expected in zip(chosen, run(model, x, chosen), strict=True):
        assert got[blob].shape == expected.shape
        assert_close(got[blob], expected, 1e-4, blob)


@pytest.mark.parametrize("name", ["squeezenet", "inception_v1", "shufflenet"])
def test_weights_as_they_are_published(name: str) -> None:
    """The light models as they are: constants of a shape, which onnx computes."""
    path = LIGHT / f"light_{name}.onnx"
    network = from_onnx.load(path)
    x = np.random.default_rng(1).normal(0, 1, network.input_shape).astype(np.float32)
    (expected,) = run(onnx.load(path), x)
    assert_close(network.forward(x)[network.outputs[0]], expected, 1e-4)


@pytest.mark.parametrize("name", ["squeezenet", "inception_v1", "resnet50", "shufflenet"])
def test_published_architectures_are_explained(name: str, tmp_path: Path) -> None:
    """Without biases, the epsilon rule keeps the sum of relevance."""
    model = light_model(name)
    for tensor in model.graph.initializer:
        if len(tensor.dims) == 1 and numpy_helper.to_array(tensor).dtype == np.float32:
            readers = {n.op_type: list(n.input).index(tensor.name) for n in model.graph.node if tensor.name in n.input}
            if readers.get("Conv") == 2 or readers.get("Gemm") == 2 or readers.get("BatchNormalization") in (2, 3):
                tensor.CopyFrom(numpy_helper.from_array(np.zeros(tuple(tensor.dims), np.float32), tensor.name))
    network = from_onnx.load(save(model, tmp_path))
    x = np.random.default_rng(1).normal(0, 1, network.input_shape)
    e = caffe2lrp.explain(network, x, target=7, rule="epsilon", epsilon=1e-12)
    assert e.relevance.shape == network.input_shape
    assert e.score[0] != 0
    np.testing.assert_allclose(e.relevance.sum(), e.score[0], rtol=1e-5)


# -- a residual network as PyTorch exports it, and the same in Caffe's layers ----------------------------------------

RESNET: list[Node] = [
    ("Conv", ["data", "w0"], ["c0"], {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    ("BatchNormalization", ["c0", "s0", "b0", "m0", "v0"], ["n0"], {"epsilon": 1e-5}),
    ("Relu", ["n0"], ["r0"], {}),
    ("MaxPool", ["r0"], ["p0"], {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    ("Conv", ["p0", "w1"], ["c1"], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}),
    ("BatchNormalization", ["c1", "s1", "b1", "m1", "v1"], ["n1"], {"epsilon": 1e-5}),
    ("Relu", ["n1"], ["r1"], {}),
    ("Conv", ["r1", "w2"], ["c2"], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}),
    ("BatchNormalization", ["c2", "s2", "b2", "m2", "v2"], ["n2"], {"epsilon": 1e-5}),
    ("Add", ["n2", "p0"], ["a"], {}),
    ("Relu", ["a"], ["r2"], {}),
    ("GlobalAveragePool", ["r2"], ["g"], {}),
    ("Flatten", ["g"], ["f"], {"axis": 1}),
    ("Gemm", ["f", "w3", "b3"], ["score"], {"transB": 1}),
]
SHAPES = {"w0": (6, 3, 3, 3), "w1": (6, 6, 3, 3), "w2": (6, 6, 3, 3), "w3": (5, 6), "b3": (5,)}
SHAPES |= {f"{letter}{i}": (6,) for letter in "sbmv" for i in range(3)}


def resnet_weights(*, offsets: bool = True) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(5)
    readers = {name: (op, list(inputs).index(name)) for op, inputs, *_ in RESNET for name in inputs if name in SHAPES}
    weights = {name: random_weights(readers[name], shape, rng) for name, shape in SHAPES.items()}
    return weights if offsets else {k: v * (0 if k[0] in "bm" else 1) for k, v in weights.items()}


def resnet(folder: Path, weights: dict[str, np.ndarray]) -> tuple[onnx.ModelProto, Network]:
    model = make_model(RESNET, {"data": ("batch", 3, 15, 17)}, ["score"], weights)
    return model, from_onnx.load(save(model, folder))


def resnet_of_caffe(w: dict[str, np.ndarray]) -> Network:
    """The network as a Caffe user would write it."""
    conv = Convolution(6, (3, 3), pad=(1, 1), bias=False)
    network = build(
        {"data": (1, 3, 15, 17)},
        ("conv0", Convolution(6, (3, 3), (2, 2), (1, 1), bias=False), ["data"], ["c0"]),
        ("bn0", BatchNorm(float(np.float32(1e-5))), ["c0"], ["h0"]),
        ("scale0", Scale(bias=True), ["h0"], ["n0"]),
        ("relu0", ReLU(), ["n0"], ["r0"]),
        ("pool0", Pooling("MAX", (3, 3), (2, 2), (1, 1), ceil=False), ["r0"], ["p0"]),
        ("conv1", conv, ["p0"], ["c1"]),
        ("bn1", BatchNorm(float(np.float32(1e-5))), ["c1"], ["h1"]),
        ("scale1", Scale(bias=True), ["h1"], ["n1"]),
        ("relu1", ReLU(), ["n1"], ["r1"]),
        ("conv2", conv, ["r1"], ["c2"]),
        ("bn2", BatchNorm(float(np.float32(1e-5))), ["c2"], ["h2"]),
        ("scale2", Scale(bias=True), ["h2"], ["n2"]),
        ("add", Eltwise("SUM"), ["n2", "p0"], ["a"]),
        ("relu2", ReLU(), ["a"], ["r2"]),
        ("pool", Pooling("AVE", None), ["r2"], ["g"]),
        ("flat", Flatten(), ["g"], ["f"]),
        ("fc", InnerProduct(5), ["f"], ["score"]),
    )
    stored = {"fc": {"weight": w["w3"], "bias": w["b3"]}}
    for i in range(3):
        stored[f"conv{i}"] = {"weight": w[f"w{i}"]}
        stored[f"bn{i}"] = {"mean": w[f"m{i}"], "variance": w[f"v{i}"], "weight": np.ones(1)}
        stored[f"scale{i}"] = {"scale": w[f"s{i}"], "bias": w[f"b{i}"]}
    return network.with_layers([with_weights(layer, stored.get(layer.name, {})) for layer in network.layers])


def test_residual_network(tmp_path: Path) -> None:
    weights = resnet_weights()
    model, network = resnet(tmp_path, weights)
    same = resnet_of_caffe(weights)
    x = np.random.default_rng(0).normal(0, 1, (3, 3, 15, 17)).astype(np.float32)
    (expected,) = run(model, x)
    assert_close(network.forward(x)["score"], expected, 1e-5)
    for rule in ({"rule": "epsilon", "epsilon": 0.01}, {"rule": "alphabeta", "beta": 1.0}, {"composite": "gradient"}):
        a, b = (caffe2lrp.explain(n, x, target=[1, 2, 4], **rule) for n in (network, same))
        assert np.abs(b.relevance).max() > 0
        np.testing.assert_array_equal(a.relevance, b.relevance)
        assert [(layer.type, layer.outputs[-1]) for layer in network.layers if "/" not in layer.name] == [
            (layer.type, layer.outputs[-1]) for layer in same.layers if layer.type != "BatchNorm"
        ]


def test_relevance_of_a_residual_network_is_kept(tmp_path: Path) -> None:
    _, network = resnet(tmp_path, resnet_weights(offsets=False))
    x = np.random.default_rng(0).normal(0, 1, (2, 3, 15, 17))
    e = caffe2lrp.explain(network, x, target=3, rule="epsilon", epsilon=1e-12, account=True)
    np.testing.assert_allclose(e.relevance.sum(axis=(1, 2, 3)), e.score, rtol=1e-9)


# -- a unit of ShuffleNet -----------------------------------------------------------------------------------------

SHUFFLENET: list[Node] = [
    ("Conv", ["x", "w0"], ["c0"], {"group": 2}),
    ("Relu", ["c0"], ["r0"], {}),
    ("Shape", ["r0"], ["shape"], {}),
    ("Slice", ["shape", "zero", "one"], ["n"], {}),
    ("Slice", ["shape", "two", "four"], ["hw"], {}),
    ("Concat", ["n", "groups", "hw"], ["apart"], {"axis": 0}),
    ("Reshape", ["r0", "apart"], ["g"], {}),
    ("Transpose", ["g"], ["t"], {"perm": [0, 2, 1, 3, 4]}),
    ("Concat", ["n", "all", "hw"], ["together"], {"axis": 0}),
    ("Reshape", ["t", "together"], ["s"], {}),
    ("Conv", ["s", "w1"], ["c1"], {"group": 6, "pads": [1, 1, 1, 1], "strides": [2, 2]}),
    ("Conv", ["c1", "w2"], ["c2"], {"group": 2}),
    ("AveragePool", ["x"], ["a"], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [2, 2]}),
    ("Concat", ["a", "c2"], ["j"], {"axis": 1}),
    ("Relu", ["j"], ["y"], {}),
    ("ReduceMean", ["y"], ["score"], {"axes": [2, 3], "keepdims": 0}),
]


def test_shufflenet_unit(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    shapes = {"w0": (6, 2, 1, 1), "w1": (6, 1, 3, 3), "w2": (8, 3, 1, 1)}
    constants = {name: rng.normal(0, 1, shape).astype(np.float32) for name, shape in shapes.items()}
    wholes = {"zero": [0], "one": [1], "two": [2], "four": [4], "groups": [2, 3], "all": [6]}
    constants |= {name: np.array(value) for name, value in wholes.items()}
    model = make_model(SHUFFLENET, {"x": ("N", 4, 7, 9)}, ["score"], constants)
    network = from_onnx.load(save(model, tmp_path))
    types = [layer.type for layer in network.layers]
    assert types[2:5] == ["Reshape", "Permute", "Reshape"]
    x = rng.normal(0, 1, (3, 4, 7, 9)).astype(np.float32)
    (expected,) = run(model, x)
    assert_close(network.forward(x)["score"], expected, 1e-5)
    e = caffe2lrp.explain(network, x.astype(np.float64), target=5, rule="epsilon", epsilon=1e-12)
    np.testing.assert_allclose(e.relevance.sum(axis=(1, 2, 3)), e.score, rtol=1e-6)


# -- names and outputs --------------------------------------------------------------------------------------------


def test_names(tmp_path: Path) -> None:
    """Blobs have the names of tensors, layers those of nodes; what a node is made of is called after it."""
    _, network = resnet(tmp_path, resnet_weights())
    assert [layer.name for layer in network.layers][:4] == ["node0", "node1/normalised", "node1", "node2"]
    assert [layer.outputs[0] for layer in network.layers][:4] == ["c0", "n0/normalised", "n0", "r0"]
    assert network.name == "small"
    assert network.layers[1].origin.type == "BatchNormalization"
    assert str(network.layers[1].origin) == str(tmp_path / "model.onnx")


def test_nodes_without_names_and_names_used_twice(tmp_path: Path) -> None:
    nodes: list[Node] = [("Relu", ["x"], ["a"], {}), ("Tanh", ["a"], ["b"], {}), ("Abs", ["b"], ["y"], {})]
    model = make_model(nodes, {"x": (1, 3)}, ["y"])
    for node, name in zip(model.graph.node, ["", "twice", "twice"], strict=True):
        node.name = name
    network = from_onnx.load(save(model, tmp_path))
    assert [layer.name for layer in network.layers] == ["a", "twice", "twice#2"]


def test_outputs_that_are_read_inside(tmp_path: Path) -> None:
    model = make_model([("Relu", ["x"], ["a"], {}), ("Tanh", ["a"], ["y"], {})], {"x": (1, 3)}, ["a", "y"])
    network = from_onnx.load(save(model, tmp_path))
    assert network.outputs == ("y",)
    assert any("'a' is read by other layers" in note for note in network.notes)
    assert set(network.forward(np.ones((1, 3)), keep=["a", "y"])) == {"a", "y"}


@pytest.mark.parametrize("source", ["a", "x"])
def test_one_tensor_under_two_names(tmp_path: Path, source: str) -> None:
    """An output that only has another name, of another output or of the input, is a layer that changes nothing."""
    model = make_model([("Relu", ["x"], ["a"], {}), ("Identity", [source], ["y"], {})], {"x": (1, 3)}, ["a", "y"])
    network = from_onnx.load(save(model, tmp_path))
    x = np.array([[-1.0, 0.0, 2.0]], np.float32)
    found = network.forward(x, keep=["a", "y"])
    np.testing.assert_array_equal(found["y"], found["a"] if source == "a" else x)


def test_nodes_out_of_order_and_without_use(tmp_path: Path) -> None:
    nodes: list[Node] = [
        ("Tanh", ["a"], ["y"], {}),
        ("Einsum", ["a"], ["unused"], {"equation": "ij->ij"}),
        ("Relu", ["x"], ["a"], {}),
    ]
    network = from_onnx.load(save(make_model(nodes, {"x": (1, 3), "z": (2,)}, ["y"]), tmp_path))
    assert [layer.type for layer in network.layers] == ["ReLU", "TanH"]
    assert list(network.inputs) == ["x"]
    assert any("1 node(s) that no output depends on" in note for note in network.notes)
    assert any("input 'z' is not used" in note for note in network.notes)


def test_weights_among_the_inputs(tmp_path: Path) -> None:
    """Files of IR versions below 4 list their weights as inputs, too."""
    model = make_model([("Mul", ["x", "c"], ["y"], {})], {"x": (1, 3)}, ["y"], {"c": np.arange(3, dtype=np.float32)})
    model.graph.input.append(helper.make_tensor_value_info("c", 1, [3]))
    network = from_onnx.load(save(model, tmp_path))
    assert list(network.inputs) == ["x"]


def test_half_precision(tmp_path: Path) -> None:
    weight = np.random.default_rng(0).normal(0, 1, (4, 3)).astype(np.float16)
    model = make_model([("Gemm", ["x", "w"], ["y"], {"transB": 1})], {"x": (1, 3)}, ["y"], {"w": weight}, elem_type=10)
    network = from_onnx.load(save(model, tmp_path))
    assert network.layers[0].weights["weight"].dtype == np.float32
    x = np.array([[1.0, 2.0, -3.0]], np.float32)
    np.testing.assert_allclose(network.forward(x)["y"], x @ weight.T.astype(np.float32), rtol=1e-6)


def test_local_functions_are_resolved(tmp_path: Path) -> None:
    model = make_model([("Twice", ["x"], ["y"], {})], {"x": (1, 3)}, ["y"])
    model.graph.node[0].domain = "own"
    body = [helper.make_node("Relu", ["a"], ["r"]), helper.make_node("Add", ["r", "r"], ["b"])]
    model.functions.append(helper.make_function("own", "Twice", ["a"], ["b"], body, model.opset_import))
    model.opset_import.append(helper.make_opsetid("own", 1))
    network = from_onnx.load(save(model, tmp_path))
    np.testing.assert_array_equal(network.forward(np.array([[1.0, -2.0, 3.0]]))["y"], [[2, 0, 6]])


def test_external_data(tmp_path: Path) -> None:
    model, network = resnet(tmp_path, resnet_weights())
    onnx.save_model(
        model, tmp_path / "outside.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0
    )
    outside = from_onnx.load(tmp_path / "outside.onnx")
    for a, b in zip(outside.layers, network.layers, strict=True):
        for key, value in b.weights.items():
            np.testing.assert_array_equal(a.weights[key], value)
    (tmp_path / "weights.bin").unlink()
    assert str(from_onnx.load_definition(tmp_path / "outside.onnx")) == str(network)
    with pytest.raises(caffe2lrp.Caffe2LrpError, match=r"stored tensor 'w0' .*weights\.bin"):
        from_onnx.load(tmp_path / "outside.onnx")


def test_several_inputs(tmp_path: Path) -> None:
    nodes: list[Node] = [("Concat", ["x", "z"], ["c"], {"axis": 1}), ("Relu", ["c"], ["y"], {})]
    network = from_onnx.load(save(make_model(nodes, {"x": ("N", 2), "z": ("N", 1)}, ["y"]), tmp_path))
    given = {"x": np.array([[1.0, -2.0]]), "z": np.array([[3.0]])}
    np.testing.assert_array_equal(network.forward(given)["y"], [[1, 0, 3]])


# -- shapes of the input -------------------------------------------------------------------------------------------


def test_open_shapes(tmp_path: Path) -> None:
    weights = resnet_weights()
    model = make_model(RESNET, {"data": ("N", 3, "H", "W")}, ["score"], weights)
    path = save(model, tmp_path)
    with pytest.raises(caffe2lrp.Caffe2LrpError, match=r"input 'data' is open, \(N, 3, H, W\): give it with input_sh"):
        caffe2lrp.load(path)
    network = caffe2lrp.load(path, input_shape=(2, 3, 15, 17))
    assert network.input_shape == (2, 3, 15, 17)
    assert caffe2lrp.load(path, input_shape={"data": (1, 3, 20, 20)}).input_shape == (1, 3, 20, 20)
    with pytest.raises(caffe2lrp.Caffe2LrpError, match="no input 'image'; its inputs are: data"):
        caffe2lrp.load(path, input_shape={"image": (1, 3, 20, 20)})
    with pytest.raises(caffe2lrp.Caffe2LrpError, match="positive whole numbers"):
        caffe2lrp.load(path, input_shape=(1, 3, 0, 20))


def test_other_sizes_than_the_file_says(tmp_path: Path) -> None:
    """A network that its file fixes to one image of one size runs on others, too."""
    weights = resnet_weights()
    network = from_onnx.load(save(make_model(RESNET, {"data": (1, 3, 15, 17)}, ["score"], weights), tmp_path))
    x = np.random.default_rng(0).normal(0, 1, (2, 3, 22, 19)).astype(np.float32)
    (expected,) = run(make_model(RESNET, {"data": ("N", 3, "H", "W")}, ["score"], weights), x)
    assert_close(network.forward(x)["score"], expected, 1e-5)


# -- loading and the command line ----------------------------------------------------------------------------------


def with_metadata(folder: Path, **entries: Any) -> Path:
    model = make_model(RESNET, {"data": ("N", 3, 15, 17)}, ["score"], resnet_weights())
    helper.set_model_props(model, {f"caffe2lrp.{key}": json.dumps(value) for key, value in entries.items()})
    return save(model, folder)


def test_metadata(tmp_path: Path) -> None:
    preprocessing = Preprocessing("RGB", (1.0, 2.0, 3.0), 0.5, ("short", 20))
    network = caffe2lrp.load(with_metadata(tmp_path, preprocessing=preprocessing.to_dict(), labels=list("abcde")))
    assert network.preprocessing == preprocessing
    assert network.labels == tuple("abcde")
    plain = caffe2lrp.load(with_metadata(tmp_path))
    assert plain.preprocessing is plain.labels is None


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"preprocessing": {"channels": "XYZ"}}, r"metadata caffe2lrp\.preprocessing cannot be used"),
        ({"preprocessing": [1]}, r"metadata caffe2lrp\.preprocessing cannot be used"),
        ({"labels": {"a": 1}}, r"metadata caffe2lrp\.labels must be a list"),
    ],
)
def test_broken_metadata(tmp_path: Path, entries: dict[str, Any], words: str) -> None:
    with pytest.raises(caffe2lrp.Caffe2LrpError, match=words):
        caffe2lrp.load(with_metadata(tmp_path, **entries))


def test_files_are_told_apart_by_content(tmp_path: Path, shared: Path) -> None:
    onnx_file = with_metadata(tmp_path).rename(tmp_path / "model.bin")
    assert from_onnx.is_onnx(onnx_file)
    assert caffe2lrp.load(onnx_file).name == "small"
    assert caffe2lrp.load(weights=onnx_file).name == "small"
    kinds = ("prototxt", "caffemodel", "binaryproto")
    caffe_files = [path for kind in kinds for path in shared.rglob(f"*.{kind}")]
    assert len(caffe_files) > 10
    assert not any(map(from_onnx.is_onnx, caffe_files))


def test_onnx_takes_no_second_file(tmp_path: Path) -> None:
    path = with_metadata(tmp_path)
    with pytest.raises(caffe2lrp.Caffe2LrpError, match=r"holds definition and weights: leave out net\.prototxt"):
        caffe2lrp.load("net.prototxt", path)
    with pytest.raises(caffe2lrp.Caffe2LrpError, match="are for Caffe's files"):
        caffe2lrp.load(path, phase="TRAIN")


def test_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    from PIL import Image

    from caffe2lrp.cli import main

    path = with_metadata(tmp_path, preprocessing=Preprocessing("RGB").to_dict(), labels=["ant", "bee", "cat", "d", "e"])
    picture = tmp_path / "cat.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 20, 3), np.uint8)).save(picture)

    def output(*arguments: object) -> Any:
        monkeypatch.setattr("sys.argv", ["caffe2lrp", *map(str, arguments), "--json"])
        with pytest.raises(SystemExit) as end:
            main()
        captured = capfd.readouterr()
        assert end.value.code in (0, None), captured.err
        return json.loads(captured.out)

    facts = output("inspect", path)
    assert facts["totals"]["layers"] == 17
    assert facts["outputs"] == {"score": [1, 5]}
    predicted = output("predict", picture, "--weights", path)
    assert len(predicted["images"][0]["classes"]) == 5
    explained = output("explain", picture, "--weights", path, "--target", "bee", "--out", tmp_path / "out")
    assert explained["images"][0]["explanations"][0]["target"] == 1
    network = caffe2lrp.load(path)
    assert network.preprocessing is not None
    x = network.preprocessing(picture, network.input_shape)
    e = caffe2lrp.explain(network, x, target=1)
    (saved,) = (tmp_path / "out").glob("*.npy")
    assert_same_map(np.load(saved), e.relevance[0])
