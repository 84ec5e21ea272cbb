"""ONNX files: names, metadata, preprocessing, large weights, and what goes wrong."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import caffe2lrp
from caffe2lrp import Caffe2LrpError, Network, Preprocessing
from caffe2lrp.converters import caffe
from caffe2lrp.converters.onnx import build_model, export, export_onnx, files, registry, verify
from caffe2lrp.converters.onnx.checking import check_file
from caffe2lrp.converters.onnx.files import is_onnx, read_structure
from caffe2lrp.errors import FileFormatError, ModelError, OptionError
from caffe2lrp.ir import Layer, with_weights
from caffe2lrp.layers import activation, affine, base, batch_norm, dropout, eltwise, join, lrn, pooling, softmax
from caffe2lrp.layers.convolution import Convolution
from caffe2lrp.layers.inner_product import InnerProduct
from tests.layer_cases import assert_close, build, chain, random_input
from tests.test_onnx_layers import run

PROTOTXT = """name: "small"
layer { name: "in" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 9 dim: 8 } } }
layer { name: "block/conv" type: "Convolution" bottom: "data" top: "block/conv"
  convolution_param { num_output: 4 kernel_size: 3 } }
layer { name: "block/norm" type: "BatchNorm" bottom: "block/conv" top: "block/conv" }
layer { name: "block/scale" type: "Scale" bottom: "block/conv" top: "block/conv" scale_param { bias_term: true } }
layer { name: "block/relu" type: "ReLU" bottom: "block/conv" top: "block/conv" }
layer { name: "pool" type: "Pooling" bottom: "block/conv" top: "pool"
  pooling_param { pool: AVE kernel_size: 3 stride: 2 } }
layer { name: "ip" type: "InnerProduct" bottom: "pool" top: "ip" inner_product_param { num_output: 5 } }
layer { name: "drop" type: "Dropout" bottom: "ip" top: "ip" }
layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" }
"""


@pytest.fixture
def network(tmp_path: Path) -> Network:
    """A network from Caffe's files, with layers in place."""
    definition = tmp_path / "deploy.prototxt"
    definition.write_text(PROTOTXT)
    network = caffe.load_definition(definition)
    rng = np.random.default_rng(1)
    layers = []
    for layer in network.layers:
        weights = {k: rng.uniform(0.5, 1.5, w.shape).astype(np.float32) for k, w in layer.weights.items()}
        layers.append(with_weights(layer, weights))
    network = network.with_layers(layers)
    caffe.write_caffemodel(network, tmp_path / "net.caffemodel")
    return caffe2lrp.load(definition, tmp_path / "net.caffemodel")


def props(path: Path) -> dict[str, str]:
    return {entry.key: entry.value for entry in onnx.load(path).metadata_props}


# -- names and metadata ----------------------------------------------------------------------------------


def test_names_are_those_of_caffe(network: Network, tmp_path: Path) -> None:
    caffe2lrp.export_onnx(network, tmp_path / "net.onnx")
    graph = onnx.load(tmp_path / "net.onnx").graph
    assert graph.name == "small"
    assert [i.name for i in graph.input] == ["data"]
    assert [o.name for o in graph.output] == ["prob"]
    assert [n.name for n in graph.node if n.name in {layer.name for layer in network.layers}] == [
        layer.name for layer in network.layers
    ]
    writers = {output: node.name for node in graph.node for output in node.output}
    assert writers["block/conv"] == "block/relu"  # the last value has the blob's name
    assert writers["block/conv@block/conv"] == "block/conv"
    assert writers["ip"] == "drop"
    assert {w.name for w in graph.initializer} >= {"block/conv.weight", "block/conv.bias", "ip.weight"}
    conv = next(node for node in graph.node if node.name == "block/conv")
    assert conv.doc_string == "Convolution, deploy.prototxt:3"
    shapes = {v.name: [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in graph.value_info}
    assert shapes["pool"] == ["N", 4, 3, 3]


def test_a_name_is_given_once() -> None:
    """Blobs that have the names that constants would have, and the other way round."""
    network = build(
        {"data": (1, 2, 5, 4)},
        ("a", Convolution(3, (2, 2)), ["data"], ["a.weight"]),
        ("b", InnerProduct(3), ["a.weight"], ["b/Flatten"]),
        ("image", softmax.Softmax(), ["b/Flatten"], ["image"]),
        preprocessing=None,
    )
    model = build_model(network)
    graph = onnx.load_from_string(model.to_bytes()).graph
    written = [name for node in graph.node for name in node.output] + [w.name for w in graph.initializer] + ["data"]
    assert len(written) == len(set(written))
    x = random_input(network).astype(np.float32)
    assert_close(run(model.to_bytes(), x)["image"], network.forward(x)["image"], 2e-6)


def test_shared_weights_are_stored_once() -> None:
    network = build({"data": (1, 4, 3, 3)}, ("a", Convolution(4, (1, 1)), ["data"], ["y"]))
    shared = dataclasses.replace(network.layers[0], name="b", inputs=("y",), outputs=("z",))
    network = network.with_layers([*network.layers, shared])
    assert list(build_model(network).arrays) == ["a.weight", "a.bias"]


def test_metadata(network: Network, tmp_path: Path) -> None:
    network.describe(
        preprocessing=Preprocessing(mean=(104.0, 117.0, 123.5), scale=0.25, resize="short 12"),
        labels=["Katze", "Hund", "Bär", "Kuh", "Ei"],
    )
    sources = [tmp_path / "deploy.prototxt", tmp_path / "net.caffemodel"]
    export_onnx(network, tmp_path / "net.onnx", sources=sources)
    found = props(tmp_path / "net.onnx")
    assert found["caffe2lrp.version"] == caffe2lrp.__version__
    assert json.loads(found["caffe2lrp.labels"]) == ["Katze", "Hund", "Bär", "Kuh", "Ei"]
    assert Preprocessing.from_dict(json.loads(found["caffe2lrp.preprocessing"])) == network.preprocessing
    assert json.loads(found["caffe2lrp.sources"]) == [
        {"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()} for path in sources
    ]


def test_a_mean_image_is_in_the_metadata(network: Network, tmp_path: Path) -> None:
    mean = np.random.default_rng(0).uniform(0, 255, (3, 10, 11)).astype(np.float32)
    network.describe(preprocessing=Preprocessing(mean=mean))
    export_onnx(network, tmp_path / "net.onnx")
    stored = json.loads(props(tmp_path / "net.onnx")["caffe2lrp.preprocessing"])["mean"]
    values = np.frombuffer(base64.b64decode(stored["float32"]), "<f4").reshape(stored["shape"])
    np.testing.assert_array_equal(values, mean)


def test_nothing_is_said_that_is_not_known(network: Network, tmp_path: Path) -> None:
    export_onnx(network, tmp_path / "net.onnx")
    assert set(props(tmp_path / "net.onnx")) == {"caffe2lrp.version"}


# -- preprocessing as part of the graph --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("channels", "planes", "mean", "scale"),
    [
        ("BGR", 3, (104.007, 116.669, 122.679), 1.0),
        ("RGB", 3, (127.5,), 1 / 128),
        ("RGB", 3, None, 1.0),
        ("BGR", 3, "image", 0.017),
        ("GRAY", 1, None, 1 / 256),
        ("BGR", 1, (33.3,), 1.0),
    ],
)
def test_the_graph_prepares_pictures_bit_by_bit(channels: str, planes: int, mean: Any, scale: float) -> None:
    """Every pixel value of a photo-like image: the blob is that of `Preprocessing`, to the last bit."""
    rng = np.random.default_rng(2)
    if mean == "image":
        mean = rng.uniform(0, 255, (planes, 19, 18)).astype(np.float32)  # larger than the input: cropped
    preprocessing = Preprocessing(channels, mean, scale)
    network = chain((1, planes, 17, 16), activation.ReLU(-1.0), preprocessing=preprocessing)
    images = rng.integers(0, 256, (3, 17, 16, 3), np.uint8)
    blob = preprocessing(images, network.input_shape)
    found = run(build_model(network, with_preprocessing=True).to_bytes(), images, "image")["y0"]
    np.testing.assert_array_equal(found, np.abs(blob))


def test_pictures_of_a_half_precision_model(network: Network, tmp_path: Path) -> None:
    network.describe(preprocessing=Preprocessing(mean=(104.0, 117.0, 123.0), scale=0.01))
    export_onnx(network, tmp_path / "net.onnx", with_preprocessing=True, fp16=True)
    graph = onnx.load(tmp_path / "net.onnx").graph
    assert graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert [d.dim_param or d.dim_value for d in graph.input[0].type.tensor_type.shape.dim] == ["N", 9, 8, 3]
    assert verify(network, tmp_path / "net.onnx").passed


def test_preprocessing_has_to_be_known(network: Network, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="not known"):
        export_onnx(network, tmp_path / "net.onnx", with_preprocessing=True)
    network.describe(preprocessing=Preprocessing(mean=(1.0, 2.0)))
    with pytest.raises(OptionError, match="2 values"):
        export_onnx(network, tmp_path / "net.onnx", with_preprocessing=True)
    assert list(tmp_path.glob("*.onnx*")) == []


# -- simplified ----------------------------------------------------------------------------------------------


def test_simplified_network(network: Network, tmp_path: Path) -> None:
    export_onnx(network, tmp_path / "net.onnx", simplify=True)
    graph = onnx.load(tmp_path / "net.onnx").graph
    assert [node.op_type for node in graph.node] == ["Conv", "Relu", "AveragePool", "Flatten", "Gemm", "Softmax"]
    assert [list(node.output) for node in graph.node if node.op_type == "Gemm"] == [["ip"]]
    report = verify(network, tmp_path / "net.onnx")
    assert report.passed
    assert "block/conv@block/conv" in report.only[0]  # a value that is there no more


def test_outputs_that_are_the_same_are_all_left() -> None:
    network = build(
        {"data": (1, 3, 4)},
        ("first", dropout.Dropout(), ["data"], ["a"]),
        ("relu", activation.ReLU(), ["a"], ["b"]),
        ("one", dropout.Dropout(), ["b"], ["x"]),
        ("two", activation.Power(), ["b"], ["y"]),
        ("three", join.Concat(), ["data"], ["z"]),
    )
    model = build_model(network, simplify=True)
    assert [node.name for node in model.structure.graph.node] == ["relu", "one", "two", "three"]
    x = random_input(network).astype(np.float32)
    found, expected = run(model.to_bytes(), x), network.forward(x)
    assert set(found) == {"x", "y", "z"}
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value)


def test_a_layer_that_others_read_is_not_merged() -> None:
    network = build(
        {"data": (1, 2, 4, 4)},
        ("conv", Convolution(2, (1, 1)), ["data"], ["c"]),
        ("bn", batch_norm.BatchNorm(), ["c"], ["n"]),
        ("add", eltwise.Eltwise(), ["c", "n"], ["e"]),
        ("scale", affine.Scale(), ["e"], ["s"]),
    )
    assert len(build_model(network, simplify=True).structure.graph.node) == 4


# -- large weights ---------------------------------------------------------------------------------------------


def test_weights_in_a_file_of_their_own(network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "_EXTERNAL", 1000)
    monkeypatch.setattr(files, "SMALL", 64)
    result = export_onnx(network, tmp_path / "net.onnx")
    assert result.files == (tmp_path / "net.onnx", tmp_path / "net.onnx.data")
    bare = onnx.load(tmp_path / "net.onnx", load_external_data=False)
    external = {t.name for t in bare.graph.initializer if t.data_location == onnx.TensorProto.EXTERNAL}
    assert external == {"block/conv.weight", "ip.weight"}
    for tensor in bare.graph.initializer:
        if tensor.name in external:
            entries = {entry.key: entry.value for entry in tensor.external_data}
            assert entries["location"] == "net.onnx.data"
            assert int(entries["offset"]) % 4096 == 0
    x = random_input(network).astype(np.float32)
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx", providers=["CPUExecutionProvider"])
    assert_close(session.run(["prob"], {"data": x})[0], network.forward(x)["prob"], 1e-5)
    assert verify(network, tmp_path / "net.onnx").passed
    assert {f.name for f in tmp_path.iterdir()} == {"net.onnx", "net.onnx.data", "net.caffemodel", "deploy.prototxt"}


def test_the_file_is_an_ordinary_message(network: Network, tmp_path: Path) -> None:
    """Streamed by us, read by onnx; and what onnx writes again is read by us."""
    export_onnx(network, tmp_path / "net.onnx")
    model = onnx.load(tmp_path / "net.onnx")
    arrays = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    np.testing.assert_array_equal(arrays["block/conv.weight"], network.layer("block/conv").weights["weight"])
    onnx.save(model, tmp_path / "again.onnx")
    for name in ("net.onnx", "again.onnx"):
        structure = read_structure(tmp_path / name)
        onnx.load_external_data_for_model(structure, str(tmp_path))
        for tensor in structure.graph.initializer:
            np.testing.assert_array_equal(onnx.numpy_helper.to_array(tensor), arrays[tensor.name])
        structure.graph.ClearField("initializer")
        model.graph.ClearField("initializer")
        assert structure == model


# -- errors --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("opset", [0, 12, 1000, -1])
def test_unknown_opsets(network: Network, tmp_path: Path, opset: int) -> None:
    with pytest.raises(OptionError, match="possible: 13 to"):
        export_onnx(network, tmp_path / "net.onnx", opset=opset)


def test_files_that_cannot_be_written(network: Network, tmp_path: Path) -> None:
    (tmp_path / "folder.onnx").mkdir()
    for path in (tmp_path / "no" / "net.onnx", tmp_path / "folder.onnx"):
        with pytest.raises(FileFormatError, match="cannot write"):
            export_onnx(network, path)
    with pytest.raises(FileFormatError, match="cannot read"):
        export_onnx(network, tmp_path / "net.onnx", sources=[tmp_path / "none"])
    assert not any(file.name.startswith(".") or file.suffix == ".structure" for file in tmp_path.iterdir())


def test_layers_without_emitters_are_all_named(
    network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = dataclasses.replace(registry.EMITTERS["Softmax"], opset=22)
    monkeypatch.setitem(registry.EMITTERS, "Softmax", late)
    for name in ("Pooling", "Dropout"):
        monkeypatch.delitem(registry.EMITTERS, name)
    with pytest.raises(ModelError) as error:
        export_onnx(network, tmp_path / "net.onnx")
    lines = str(error.value).splitlines()
    assert lines[0].startswith("3 layer(s) of small cannot be converted")
    assert "layer 'pool' (Pooling, " in lines[1]
    assert "deploy.prototxt:8" in lines[1]
    assert "layer 'drop' (Dropout, " in lines[2]
    assert "needs opset 22" in lines[3]
    assert not (tmp_path / "net.onnx").exists()


def test_an_older_file_survives_a_conversion_that_fails(
    network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_onnx(network, tmp_path / "net.onnx")
    before = (tmp_path / "net.onnx").read_bytes()

    def wrong(graph: Any, layer: Layer) -> None:
        graph.node("AveragePool", graph.inputs(layer), graph.outputs(layer), layer=layer, kernel_shape=(2, 2))

    monkeypatch.setitem(registry.EMITTERS, "Pooling", registry.Emitter(wrong, 13, False))
    with pytest.raises(ModelError, match=r"not valid ONNX|gives its output"):
        export_onnx(network, tmp_path / "net.onnx")
    assert (tmp_path / "net.onnx").read_bytes() == before


def test_sizes_are_compared_with_those_of_caffe(tmp_path: Path) -> None:
    network = chain((1, 1, 6, 6), pooling.Pooling("MAX", (3, 3), (2, 2)))
    path = tmp_path / "net.onnx"
    model = build_model(network)
    model.structure.graph.node[0].attribute[1].ints[:] = [0, 0, 0, 0]
    for dim in model.structure.graph.output[0].type.tensor_type.shape.dim[2:]:
        dim.dim_param = "any"
    path.write_bytes(model.to_bytes())
    with pytest.raises(ModelError, match=r"layer 'layer0' .* the shape \(.*2, 2\), Caffe gives \(1, 1, 3, 3\)"):
        check_file(path, network)


def test_weights_that_half_precision_cannot_hold(tmp_path: Path) -> None:
    network = chain((1, 2), affine.Scale())
    weights = {"scale": np.array([1e6, 1], np.float32)}
    network = network.with_layers([with_weights(network.layers[0], weights)])
    with pytest.raises(ModelError, match=r"'layer0.scale' has values up to 1e\+06"):
        export_onnx(network, tmp_path / "net.onnx", fp16=True)


def test_files_that_are_no_onnx_models(network: Network, tmp_path: Path) -> None:
    assert not is_onnx(tmp_path / "net.caffemodel")
    assert not is_onnx(tmp_path / "deploy.prototxt")
    for name in ("net.caffemodel", "deploy.prototxt", "none", "empty"):
        (tmp_path / "empty").touch()
        with pytest.raises(FileFormatError, match=name):
            read_structure(tmp_path / name)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(data=st.data())
def test_damaged_files(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.onnx"
    raw = bytearray(build_model(chain((1, 2, 9, 9), Convolution(40, (3, 3)), lrn.LRN())).to_bytes())
    if data.draw(st.booleans()):
        del raw[data.draw(st.integers(1, len(raw) - 1)) :]
    else:
        for _ in range(data.draw(st.integers(1, 4))):
            raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(raw)
    try:
        verify(chain((1, 2, 9, 9), Convolution(40, (3, 3)), lrn.LRN()), path)
    except Caffe2LrpError as error:
        assert str(error)  # noqa: PT017


def test_parameters_are_in_the_registry_of_layers() -> None:
    """An emitter belongs to a type that there is."""
    import caffe2lrp.converters.onnx.layers  # noqa: F401

    assert set(registry.EMITTERS) <= set(base.REGISTRY)
