"""Loading: real models against an independent reader, training nets, and what is told when something is wrong."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from caffe2lrp.converters import caffe
from caffe2lrp.converters.caffe.message import Message, new
from caffe2lrp.converters.caffe.wire import write_wire
from caffe2lrp.errors import Caffe2LrpError, FileFormatError, ModelError, OptionError
from caffe2lrp.ir import Network
from caffe2lrp.layers.activation import BNLL, Exp, Log, Threshold
from caffe2lrp.layers.argmax import ArgMax
from caffe2lrp.layers.convolution import Convolution, Deconvolution
from caffe2lrp.layers.crop import Crop
from caffe2lrp.layers.im2col import Im2col
from caffe2lrp.layers.mvn import MVN
from caffe2lrp.layers.pooling import SPP, Pooling
from caffe2lrp.layers.reduction import Reduction
from caffe2lrp.layers.tile import Tile
from tests.test_caffe_oracle import read_with_oracle

# prototxt, weights, number of layers, input shape, output blobs
MODELS = [
    ("bvlc_googlenet/deploy", "bvlc_googlenet/bvlc_googlenet.caffemodel", 142, (10, 3, 224, 224), ("prob",)),
    ("squeezenet_v1.1/deploy", "squeezenet_v1.1/squeezenet_v1.1.caffemodel", 66, (10, 3, 227, 227), ("prob",)),
    ("cifar10_full_v1/deploy", "cifar10_full_v1/cifar10_full_iter_70000.caffemodel", 13, (1, 3, 32, 32), ("prob",)),
    ("lenet_v2/deploy", "lenet_v2/lenet_iter_10000.caffemodel", 8, (64, 1, 28, 28), ("prob",)),
    ("lenet_v0/lenet_v0", "lenet_v0/lenet_v0.caffemodel", 8, (64, 1, 28, 28), ("prob",)),
    ("resnet20_cifar10/deploy", "resnet20_cifar10/cifar10_res20_iter_64000.caffemodel", 94, (1, 3, 32, 32), ("prob",)),
    ("mtcnn/det1", "mtcnn/det1.caffemodel", 11, (1, 3, 12, 12), ("prob", "bbox_pred", "landmark_pred")),
    ("mtcnn/det2", "mtcnn/det2.caffemodel", 14, (1, 3, 24, 24), ("prob", "bbox_pred", "landmark_pred")),
    ("mtcnn/det3", "mtcnn/det3.caffemodel", 17, (1, 3, 48, 48), ("prob", "bbox_pred", "landmark_pred")),
]


@pytest.mark.parametrize(("prototxt", "weights", "layers", "shape", "outputs"), MODELS)
def test_real_models(
    shared: Path, prototxt: str, weights: str, layers: int, shape: tuple[int, ...], outputs: tuple[str, ...]
) -> None:
    path = shared / "models" / weights
    network = caffe.load(shared / "models" / f"{prototxt}.prototxt", path)
    assert (len(network.layers), network.input_shape, set(network.outputs)) == (layers, shape, set(outputs))
    net = read_with_oracle(path)
    stored = {}
    for layer in [*net.layer, *net.layers]:
        holder = layer.layer if "V1" in layer.DESCRIPTOR.name and layer.HasField("layer") else layer
        stored[holder.name] = holder.blobs
    for layer in network.layers:
        blobs = stored.get(layer.name, []) if layer.weights else []
        assert len(blobs) == len(layer.weights)
        for blob, (name, weight) in zip(blobs, layer.weights.items(), strict=True):
            assert weight.dtype == np.float32
            assert not weight.flags.writeable
            np.testing.assert_array_equal(weight.reshape(-1), np.array(blob.data, np.float32), f"{layer} {name}")


def test_real_hdf5_weights(shared: Path) -> None:
    folder = shared / "models" / "cifar10_full_h5"
    path = folder / "cifar10_full_iter_60000.caffemodel.h5"
    network = caffe.load(folder / "deploy.prototxt", path)
    with h5py.File(path) as file:
        for name in ("conv1", "conv2", "conv3", "ip1"):
            for index, weight in enumerate(network.layer(name).weights.values()):
                np.testing.assert_array_equal(weight, file[f"data/{name}/{index}"])


def test_all_reference_definitions_load(shared: Path) -> None:
    for path in (shared / "golden" / "prototxt").glob("*.prototxt"):
        network = caffe.load_definition(path)
        assert network.outputs == ("prob",)
        assert network.notes == ()
        for layer in network.layers:
            assert all(weight.strides == (0,) * weight.ndim for weight in layer.weights.values())


def test_googlenet_training_net_loses_its_auxiliary_heads(shared: Path) -> None:
    folder = shared / "models" / "bvlc_googlenet"
    training = caffe.load(folder / "train_val.prototxt", folder / "bvlc_googlenet.caffemodel")
    deploy = caffe.load(folder / "deploy.prototxt", folder / "bvlc_googlenet.caffemodel")
    assert training.outputs == ("loss3/loss3",)
    assert training.input_shape == (50, 3, 224, 224)
    assert [layer.params for layer in training.layers] == [layer.params for layer in deploy.layers]
    assert any("loss1/conv, loss1/relu_conv" in note and "left out" in note for note in training.notes)
    assert any("mean_value 104, 117, 123" in note for note in training.notes)
    whole = caffe.load_definition(folder / "train_val.prototxt")
    assert whole.outputs == ("loss1/loss1", "loss2/loss2", "loss3/loss3")
    train = caffe.load_definition(folder / "train_val.prototxt", phase="TRAIN")
    assert train.input_shape == (32, 3, 224, 224)


def test_a_training_snapshot_alone(shared: Path) -> None:
    path = shared / "models/resnet20_cifar10/cifar10_res20_iter_64000.caffemodel"
    network = caffe.load(path)
    assert (network.input_shape, network.outputs) == ((128, 3, 32, 32), ("SoftmaxWithLoss1",))
    assert network.layer("SoftmaxWithLoss1").type == "Softmax"
    deploy = caffe.load(weights=path, prototxt=path.with_name("deploy.prototxt"))
    assert [layer.name for layer in deploy.layers][:-1] == [layer.name for layer in network.layers][:-1]


@pytest.mark.parametrize(
    ("weights", "shape"),
    [
        ("bvlc_googlenet/bvlc_googlenet.caffemodel", (1, 3, 224, 224)),
        ("lenet_v0/lenet_v0.caffemodel", (1, 1, 28, 28)),
        ("lenet_v2/lenet_iter_10000.caffemodel", (1, 1, 28, 28)),
        ("cifar10_full_v1/cifar10_full_iter_70000.caffemodel", (1, 3, 32, 32)),
        ("squeezenet_v1.1/squeezenet_v1.1.caffemodel", (2, 3, 227, 227)),
    ],
)
def test_weights_alone_with_an_input_shape(shared: Path, weights: str, shape: tuple[int, ...]) -> None:
    network = caffe.load(weights=shared / "models" / weights, input_shape=shape)
    assert network.input_shape == shape
    assert len(network.outputs) == 1
    if "squeezenet" not in weights:
        with pytest.raises(ModelError, match=rf"pass it when loading, for example input_shape=\(1, {shape[1]}, "):
            caffe.load(weights=shared / "models" / weights)


def test_a_training_snapshot_with_custom_layers(shared: Path) -> None:
    network = caffe.load(shared / "models/mtcnn/det1.caffemodel", input_shape=(1, 3, 12, 12))
    deploy = caffe.load(shared / "models/mtcnn/det1.prototxt", shared / "models/mtcnn/det1.caffemodel")
    without_softmax = [layer for layer in deploy.layers if layer.type != "Softmax"]
    assert [layer.params for layer in network.layers] == [layer.params for layer in without_softmax]
    assert any("'loss' (JfdaLoss): left out" in note for note in network.notes)


def test_files_are_told_apart_by_content(shared: Path, tmp_path: Path) -> None:
    folder = shared / "models" / "lenet_v2"
    shutil.copy(folder / "deploy.prototxt", tmp_path / "weights")
    shutil.copy(folder / "lenet_iter_10000.caffemodel", tmp_path / "net.txt")
    network = caffe.load(tmp_path / "net.txt", str(tmp_path / "weights"))
    assert len(network.layers) == 8


def test_mean_images(shared: Path, tmp_path: Path) -> None:
    mean = caffe.read_mean(shared / "data" / "imagenet_mean.binaryproto")
    assert mean.shape == (3, 256, 256)
    np.testing.assert_allclose(mean.mean((1, 2)), [104.007, 116.669, 122.679], atol=1e-3)
    small = caffe.read_mean(shared / "models/cifar10_full_v1/mean.binaryproto")
    assert (small.shape, small.dtype) == ((3, 32, 32), np.float32)
    for array in (mean, mean[None], mean.astype(float)):
        np.save(tmp_path / "mean.npy", array)
        np.testing.assert_array_equal(caffe.read_mean(tmp_path / "mean.npy"), mean)
    blob = new("BlobProto", shape=new("BlobShape", dim=small.shape), data=[small.reshape(-1)])
    (tmp_path / "mean").write_bytes(b"".join(map(bytes, write_wire(blob))))
    np.testing.assert_array_equal(caffe.read_mean(tmp_path / "mean"), small)
    np.save(tmp_path / "mean.npy", np.zeros((2, 3, 4, 5)))
    with pytest.raises(FileFormatError, match=r"has the shape \(C, H, W\), but this has \(2, 3, 4, 5\)"):
        caffe.read_mean(tmp_path / "mean.npy")
    np.save(tmp_path / "mean.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(FileFormatError, match="cannot be read"):
        caffe.read_mean(tmp_path / "mean.npy")
    with pytest.raises(FileFormatError, match="another kind of file"):
        caffe.read_mean(shared / "models/lenet_v2/deploy.prototxt")


# -- small nets of our own -------------------------------------------------------------------------

INPUT = 'name: "n" input: "data" input_shape { dim: [2, 3, 8, 8] }\n'
CONV = 'layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param { %s } }\n'
RELU = 'layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }\n'


class Folder:
    """A folder for small nets; files are written by `text`, `blobs` and `hdf5`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def text(self, text: str, name: str = "net.prototxt") -> Path:
        path = self.path / name
        path.write_text(text)
        return path

    def blobs(self, **layers: list[Any]) -> Path:
        net = new("NetParameter", name="n")
        for name, arrays in layers.items():
            net.add("layer", new("LayerParameter", name=name, type="X", blobs=[_blob(a) for a in arrays]))
        path = self.path / "net.caffemodel"
        path.write_bytes(b"".join(map(bytes, write_wire(net))))
        return path

    def load(self, text: str, weights: dict[str, list[Any]] | None = None, **options: Any) -> Network:
        return caffe.load(self.text(text), self.blobs(**weights) if weights else None, **options)

    def define(self, text: str, **options: Any) -> Network:
        return caffe.load_definition(self.text(text), **options)


def _blob(array: Any) -> Message:
    array = np.asarray(array, np.float32)
    return new("BlobProto", shape=new("BlobShape", dim=array.shape), data=[array.reshape(-1)])


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def test_in_place_values_have_names_of_their_own(folder: Folder) -> None:
    network = folder.define(
        INPUT + CONV % "num_output: 2 kernel_size: 3" + RELU + RELU.replace("relu", "relu2")
        + 'layer { name: "side" type: "AbsVal" bottom: "conv" top: "side" }'
    )  # fmt: skip
    assert list(network.shapes) == ["data", "conv@conv", "conv@relu", "conv", "side"]
    assert network.caffe_name("conv@relu") == "conv"
    assert network.layers[3].inputs == ("conv",)
    assert network.layers[1].origin.line == 3
    assert str(network.layers[1]).endswith("net.prototxt:3)")


def test_values_read_before_they_are_overwritten(folder: Folder) -> None:
    side = 'layer { name: "side" type: "AbsVal" bottom: "conv" top: "side" }\n'
    network = folder.define(INPUT + CONV % "num_output: 2 kernel_size: 3" + side + RELU)
    assert network.layer("side").inputs == ("conv@conv",)


def test_split_layers_vanish(folder: Folder) -> None:
    network = folder.define(
        INPUT
        + 'layer { name: "s" type: "Split" bottom: "data" top: "a" top: "b" }\n'
        + 'layer { name: "r" type: "ReLU" bottom: "a" top: "a" }\n'
        + 'layer { name: "e" type: "Eltwise" bottom: "a" bottom: "b" bottom: "data" top: "e" }'
    )
    assert [layer.name for layer in network.layers] == ["r", "e"]
    assert network.layer("e").inputs == ("a", "data", "data")


@pytest.mark.parametrize(
    ("param", "expected"),
    [
        ("kernel_size: 3", Convolution(4, (3, 3))),
        ("kernel_size: 3 kernel_size: 5 stride: [1, 2] pad: 1", Convolution(4, (3, 5), (1, 2), (1, 1))),
        ("kernel_h: 3 kernel_w: 5 stride_h: 2 stride_w: 1 pad_w: 2", Convolution(4, (3, 5), (2, 1), (0, 2))),
        (
            "kernel_size: 1 dilation: 2 bias_term: false engine: CUDNN",
            Convolution(4, (1, 1), dilation=(2, 2), bias=False),
        ),
        ("kernel_size: 1 weight_filler { type: 'msra' } axis: -3", Convolution(4, (1, 1), axis=-3)),
    ],
)
def test_convolution_parameters(folder: Folder, param: str, expected: Convolution) -> None:
    assert folder.define(INPUT + CONV % f"num_output: 4 {param}").layers[0].params == expected


@pytest.mark.parametrize(
    ("param", "problem"),
    [
        ("kernel_size: 3 kernel_h: 3", "both kernel_size and kernel_h/kernel_w are given"),
        ("kernel_h: 3", "kernel_size is 3x0 but must be at least 1"),
        ("kernel_size: 3 stride: 1 stride_h: 2", "both stride and stride_h/stride_w"),
        ("kernel_size: 3 stride_h: 2", "stride is 2x0"),
        ("kernel_size: 3 stride: 0", "stride is 0 but must be at least 1"),
        ("", "kernel_size is 0 but must be at least 1"),
        ("kernel_size: [1, 2, 3]", r"its kernel \(1, 2, 3\) is for 3 axes, but the input .* has 2"),
        ("kernel_size: 1 pad_shape { dim: [1, -1] }", "pad is 1x-1 but must be at least 0"),
        ("kernel_shape { dim: [3, -1] }", "kernel_size is 3x-1 but must be at least 1"),
        ("kernel_size: 1 pad: [1, 2, 3]", r"its pad \(1, 2, 3\) is for 3 axes"),
        ("kernel_size: 3 group: 0", "group must be at least 1"),
        ("kernel_size: 3 group: 3", "do not divide by group 3"),
        ("kernel_h: 3 kernel_w: 3 axis: 2", r"its kernel \(3, 3\) is for 2 axes, but the input .* has 1"),
        ("kernel_size: 3 axis: 4", "axis 4 does not exist"),
        ("kernel_size: 30", "too small"),
    ],
)
def test_convolutions_that_caffe_refuses(folder: Folder, param: str, problem: str) -> None:
    with pytest.raises(ModelError, match=rf"net.prototxt:2: layer 'conv' \(Convolution\).*{problem}"):
        folder.define(INPUT + CONV % f"num_output: 4 {param}")


POOL = 'layer { name: "pool" type: "Pooling" bottom: "data" top: "pool" pooling_param { %s } }\n'


@pytest.mark.parametrize(
    ("param", "expected"),
    [
        ("kernel_size: 3 stride: 2", Pooling("MAX", (3, 3), (2, 2))),
        ("pool: AVE kernel_h: 2 kernel_w: 3 pad_h: 1 pad_w: 0", Pooling("AVE", (2, 3), (1, 1), (1, 0))),
        ("pool: AVE global_pooling: true", Pooling("AVE", None)),
        ("kernel_size: 3 stride: 2 round_mode: FLOOR", Pooling("MAX", (3, 3), (2, 2), ceil=False)),
        ("kernel_size: 3 stride: 2 ceil_mode: false", Pooling("MAX", (3, 3), (2, 2), ceil=False)),
        ("kernel_size: 3 ceil_mode: true", Pooling("MAX", (3, 3))),
        ("kernel_size: 3 round_mode: 1 ceil_mode: false", Pooling("MAX", (3, 3), ceil=False)),
        ("pool: STOCHASTIC kernel_size: 3", Pooling("STOCHASTIC", (3, 3))),
        ("pool: STOCHASTIC global_pooling: true", Pooling("STOCHASTIC", None)),
    ],
)
def test_pooling_parameters(folder: Folder, param: str, expected: Pooling) -> None:
    network = folder.define(INPUT + POOL % param)
    assert network.layers[0].params == expected
    assert any("rounds its output size down" in note for note in network.notes) is not expected.ceil


@pytest.mark.parametrize(
    ("param", "problem"),
    [
        ("pool: STOCHASTIC kernel_size: 2 pad: 1", "STOCHASTIC pooling has no padding"),
        ("pool: LP kernel_size: 2", "LP pooling is unknown; Caffe has MAX, AVE and STOCHASTIC"),
        ("kernel_size: 2 round_mode: NEAREST", "round_mode NEAREST is unknown"),
        ("kernel_size: 2 round_mode: CEIL ceil_mode: false", "contradict each other"),
        ("kernel_size: 2 kernel_h: 2 kernel_w: 2", "both kernel_size and kernel_h/kernel_w"),
        ("kernel_h: 2", "kernel_h and kernel_w must be given together"),
        ("kernel_size: 2 pad_h: 1", "pad_h and pad_w must be given together"),
        ("global_pooling: true kernel_size: 2", "a kernel size cannot be given with it"),
        ("global_pooling: true stride: 2", "only pad 0 and stride 1"),
        ("stride: 2", "kernel_size is 0 but must be at least 1"),
        ("kernel_size: 2 pad: 2", "must be smaller than the window"),
        ("kernel_size: 2147483648 pad: 2", "kernel_size is 2147483648, which is too large for any image"),
        ("kernel_size: 2 pad_shape { dim: [0, -1] }", "pad is 0x-1 but must be at least 0"),
    ],
)
def test_pooling_that_caffe_refuses(folder: Folder, param: str, problem: str) -> None:
    with pytest.raises(ModelError, match=problem):
        folder.define(INPUT + POOL % param)


LINE = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: [2, 3, 8] } } }\n'
VOLUME = LINE.replace("[2, 3, 8]", "[2, 3, 4, 8, 8]")


@pytest.mark.parametrize(
    ("start", "kind", "param", "expected"),
    [
        (LINE, "Convolution", "kernel_size: 3 stride: 2", Convolution(4, (3,), (2,))),
        (VOLUME, "Convolution", "kernel_size: 3 pad: 1", Convolution(4, (3, 3, 3), pad=(1, 1, 1))),
        (VOLUME, "Convolution", "kernel_size: [1, 2, 3] stride: [1, 2, 2]", Convolution(4, (1, 2, 3), (1, 2, 2))),
        (VOLUME, "Convolution", "kernel_size: 3 axis: 2", Convolution(4, (3, 3), axis=2)),
        (VOLUME, "Convolution", "kernel_size: 3 axis: -3", Convolution(4, (3, 3), axis=-3)),
        (VOLUME, "Convolution", "kernel_size: 2 axis: -1", Convolution(4, (), axis=-1)),
        (VOLUME, "Deconvolution", "kernel_size: 2 stride: 2 group: 1", Deconvolution(4, (2, 2, 2), (2, 2, 2))),
        (
            VOLUME, "NdConvolution",
            "kernel_shape { dim: [2, 3, 3] } stride_shape { dim: [1, 2, 1] } pad_shape { dim: [0, 1, 1] }",
            Convolution(4, (2, 3, 3), (1, 2, 1), (0, 1, 1)),
        ),
        (
            VOLUME, "Convolution3D", "kernel_size: 3 kernel_depth: 2 pad: 1 temporal_stride: 2",
            Convolution(4, (2, 3, 3), (2, 1, 1), (0, 1, 1)),
        ),
        (INPUT, "Deconvolution", "kernel_size: 4 stride: 2 pad: 1", Deconvolution(4, (4, 4), (2, 2), (1, 1))),
    ],
)  # fmt: skip
def test_convolutions_over_other_axes(folder: Folder, start: str, kind: str, param: str, expected: Any) -> None:
    network = folder.define(start + CONV.replace('"Convolution"', f'"{kind}"') % f"num_output: 4 {param}")
    assert network.layers[0].params == expected
    assert network.notes == ()


def test_video_nets_of_2014(folder: Folder) -> None:
    """C3D's own types and fields."""
    text = """
    input: "data" input_shape { dim: [1, 3, 8, 12, 12] }
    layers { name: "conv1a" type: CONVOLUTION3D bottom: "data" top: "conv1a" convolution_param {
        num_output: 4 kernel_size: 3 kernel_depth: 3 pad: 1 temporal_pad: 1 } }
    layers { name: "relu1a" type: RELU bottom: "conv1a" top: "conv1a" }
    layers { name: "pool1" type: POOLING3D bottom: "conv1a" top: "pool1" pooling_param {
        pool: MAX kernel_size: 2 kernel_depth: 1 stride: 2 temporal_stride: 1 } }
    """
    network = folder.define(text)
    assert [layer.params for layer in network.layers if layer.type != "ReLU"] == [
        Convolution(4, (3, 3, 3), pad=(1, 1, 1)),
        Pooling("MAX", (1, 2, 2), (1, 2, 2)),
    ]
    assert network.layers[0].origin.type == "CONVOLUTION3D"
    assert network.shapes["pool1"] == (1, 4, 8, 6, 6)
    assert network.notes == ()


@pytest.mark.parametrize(
    ("kind", "param", "expected"),
    [
        ("Pooling", "kernel_size: 2 stride: 2", Pooling("MAX", (2, 2, 2), (2, 2, 2))),
        ("NdPooling", "kernel_shape { dim: [1, 2, 2] } stride_shape { dim: [1, 2, 2] }",
         Pooling("MAX", (1, 2, 2), (1, 2, 2))),
        ("Pooling3D", "pool: AVE global_pooling: true", Pooling("AVE", None)),
    ],
)  # fmt: skip
def test_pooling_of_volumes(folder: Folder, kind: str, param: str, expected: Pooling) -> None:
    assert folder.define(VOLUME + POOL.replace('"Pooling"', f'"{kind}"') % param).layers[0].params == expected


def test_layers_that_pick_values(folder: Folder) -> None:
    def params(kind: str, param: str, bottoms: str = 'bottom: "data"') -> Any:
        return (
            folder.define(INPUT + f'layer {{ name: "l" type: "{kind}" {bottoms} top: "y" {param} }}').layers[0].params
        )

    two = 'bottom: "data" bottom: "data"'
    assert params("Crop", "", two) == Crop()
    assert params("Crop", "crop_param { axis: -2 offset: 0 offset: 0 }", two) == Crop(-2, (0, 0))
    assert params("Im2col", "convolution_param { kernel_size: 3 pad: 1 }") == Im2col((3, 3), pad=(1, 1))
    assert params("SPP", "spp_param { pyramid_height: 2 pool: AVE }") == SPP(2, "AVE")
    text = 'layers { name: "l" type: CROP bottom: "data" bottom: "data" top: "y" }'
    network = folder.define('input: "data" input_dim: [2, 3, 8, 8] ' + text)
    assert network.layers[0].params == Crop()
    assert any("has no offset and cuts from 0 on" in note for note in network.notes)
    with pytest.raises(ModelError, match="does not reach so far"):
        params("Crop", "crop_param { offset: 1 }", two)
    with pytest.raises(ModelError, match="has 3 offsets for the 2 axes"):
        params("Crop", "crop_param { offset: [0, 0, 0] }", two)
    with pytest.raises(ModelError, match=r"needs 2 input blob\(s\) but has 1"):
        params("Crop", "")
    for height in (0, 99):
        with pytest.raises(ModelError, match=f"cannot build a pyramid of height {height}"):
            params("SPP", f"spp_param {{ pyramid_height: {height} }}")


UP = (
    'layer { name: "up" type: "Deconvolution" bottom: "conv" top: "up" convolution_param { num_output: 4 group: 4 '
    'kernel_size: 4 stride: 2 weight_filler { type: "%s" } %s } }\n'
)


def test_interpolation_that_no_file_stores(folder: Folder) -> None:
    """A layer of 2 x interpolation in the middle of a ramp and of its edges (Long et al. 2015, FCN)."""
    text = INPUT + CONV % "num_output: 4 kernel_size: 1"
    stored = {"conv": [random(4, 3, 1, 1), random(4)]}
    network = folder.load(text + UP % ("bilinear", "pad: 1 bias_term: false"), stored)
    weight = network.layer("up").weights["weight"]
    tent = [0.25, 0.75, 0.75, 0.25]
    np.testing.assert_array_equal(weight, np.broadcast_to(np.outer(tent, tent), (4, 1, 4, 4)))
    assert any("'up'" in note and "bilinear interpolation, as its filler says" in note for note in network.notes)
    ramp = np.broadcast_to(np.arange(8, dtype=np.float32), (2, 3, 8, 8))
    blobs = network.forward(ramp, keep="all")
    middle = blobs["up"][:, :, 1:-1, 1:-1]
    low, high = blobs["conv"][:, :, :1, :-1], blobs["conv"][:, :, :1, 1:]
    expected = np.stack([0.75 * low + 0.25 * high, 0.25 * low + 0.75 * high], axis=-1).reshape(2, 4, 1, 14)
    np.testing.assert_allclose(middle, np.broadcast_to(expected, middle.shape), rtol=1e-5)


def test_fillers_only_stand_for_what_they_can(folder: Folder) -> None:
    text = INPUT + CONV % "num_output: 4 kernel_size: 1"
    stored = {"conv": [random(4, 3, 1, 1), random(4)]}
    network = folder.load(text + UP % ("bilinear", 'bias_filler { type: "constant" value: 0.5 }'), stored)
    np.testing.assert_array_equal(network.layer("up").weights["bias"], np.full(4, 0.5))
    both = stored | {"up": [random(4, 1, 4, 4), random(4)]}
    network = folder.load(text + UP % ("bilinear", ""), both)
    np.testing.assert_array_equal(network.layer("up").weights["weight"], both["up"][0])
    with pytest.raises(ModelError, match="has no stored bias, and its filler gaussian"):
        folder.load(text + UP % ("bilinear", 'bias_filler { type: "gaussian" }'), stored)
    with pytest.raises(ModelError, match="bilinear, which needs a square kernel"):
        folder.load(text + UP.replace("kernel_size: 4", "kernel_h: 4 kernel_w: 3") % ("bilinear", ""), stored)
    with pytest.raises(ModelError, match="no interpolation is 1000000 pixels wide"):
        folder.load(text + UP.replace("kernel_size: 4", "kernel_size: 1000000") % ("bilinear", ""), stored)
    with pytest.raises(ModelError, match="has no weights for it; it needs weight"):
        folder.load(text + UP % ("gaussian", ""), stored)


def test_other_parameters_with_two_names(folder: Folder) -> None:
    def params(kind: str, param: str, tops: str = 'top: "y"', bottoms: str = 'bottom: "data"') -> Any:
        return folder.define(INPUT + f'layer {{ name: "l" type: "{kind}" {bottoms} {tops} {param} }}').layers[0].params

    two = 'bottom: "data" bottom: "data"'
    assert params("Concat", "concat_param { concat_dim: 0 }", bottoms=two).axis == 0
    assert params("Concat", "concat_param { axis: -1 }", bottoms=two).axis == -1
    tops = 'top: "y" top: "z"'
    assert params("Slice", "slice_param { slice_dim: 2 slice_point: 3 }", tops).points == (3,)
    with pytest.raises(ModelError, match="both axis and slice_dim"):
        params("Slice", "slice_param { slice_dim: 2 axis: 2 }", tops)
    assert params("Eltwise", "eltwise_param { coeff: 1 coeff: -1 }", bottoms=two).coefficients == (1, -1)
    assert params("LRN", "lrn_param { norm_region: WITHIN_CHANNEL }").region == "within"
    assert params("Scale", "scale_param { axis: 0 }", bottoms=two).weight_shapes([(2, 3, 8, 8)] * 2) == {}
    with pytest.raises(ModelError, match="norm_region 7 is unknown"):
        params("LRN", "lrn_param { norm_region: 7 }")


def plain_params(folder: Folder, kind: str, param: str, bottoms: str = 'bottom: "data"') -> Any:
    return folder.define(INPUT + f'layer {{ name: "l" type: "{kind}" {bottoms} top: "y" {param} }}').layers[0].params


@pytest.mark.parametrize(
    ("kind", "param", "expected"),
    [
        ("Exp", "", Exp()),
        ("Exp", "exp_param { base: 2 scale: 0.5 shift: -1 }", Exp(2.0, 0.5, -1.0)),
        ("Log", "log_param { base: 10 shift: 1 }", Log(10.0, 1.0, 1.0)),
        ("BNLL", "", BNLL()),
        ("Threshold", "threshold_param { threshold: 0.5 }", Threshold(0.5)),
        ("MVN", "", MVN(True, False, float(np.float32(1e-9)))),
        ("MVN", "mvn_param { normalize_variance: false across_channels: true eps: 0.5 }", MVN(False, True, 0.5)),
        ("Reduction", "", Reduction()),
        ("Reduction", "reduction_param { operation: SUMSQ axis: -2 coeff: 0.5 }", Reduction("SUMSQ", -2, 0.5)),
        ("ArgMax", "", ArgMax()),
        ("ArgMax", "argmax_param { axis: 0 }", ArgMax(axis=0)),
        ("ArgMax", "argmax_param { out_max_val: true top_k: 3 axis: -1 }", ArgMax(True, 3, -1)),
        ("Tile", "tile_param { tiles: 3 axis: 2 }", Tile(3, 2)),
    ],
)
def test_plain_layers(folder: Folder, kind: str, param: str, expected: Any) -> None:
    assert plain_params(folder, kind, param) == expected


def test_embedded_indices(folder: Folder) -> None:
    text = 'input: "data" input_shape { dim: [2, 3] }\nlayer { name: "e" type: "Embed" bottom: "data" top: "e" %s }'
    weights = {"e": [random(7, 5), random(5)]}
    network = folder.load(text % "embed_param { num_output: 5 input_dim: 7 }", weights)
    assert network.shapes["e"] == (2, 3, 5)
    np.testing.assert_array_equal(network.layers[0].weights["weight"], weights["e"][0])
    network = folder.load(text % "embed_param { num_output: 5 input_dim: 7 bias_term: false }", {"e": [random(7, 5)]})
    assert list(network.layers[0].weights) == ["weight"]


@pytest.mark.parametrize(
    ("kind", "param", "problem"),
    [
        ("Exp", "exp_param { base: 0 }", "exp_param: base is 0 but must be positive"),
        ("Exp", "exp_param { base: -2 }", "exp_param: base is -2 but must be positive"),
        ("Log", "log_param { base: 1 }", "log_param: base is 1"),
        ("Log", "log_param { base: inf }", "log_param: base is inf"),
        ("Reduction", "reduction_param { operation: 7 }", "reduction_param: operation 7 is unknown"),
        ("Reduction", "reduction_param { axis: 4 }", "axis 4 does not exist"),
        ("ArgMax", "argmax_param { top_k: 0 }", "argmax_param: top_k must be at least 1"),
        ("ArgMax", "argmax_param { top_k: 193 }", "top_k is 193, but there are 192 values"),
        ("ArgMax", "argmax_param { top_k: 4 axis: 1 }", "top_k is 4, but there are 3 values"),
        ("Tile", "tile_param { tiles: 0 }", "tile_param: tiles is missing or less than 1"),
        ("Tile", "tile_param { tiles: -2 }", "tile_param: tiles is missing or less than 1"),
        ("Embed", "embed_param { num_output: 3 }", "embed_param: input_dim is missing or 0"),
        ("BatchReindex", "", r"needs 2 input blob\(s\) but has 1"),
        ("BatchReindex", 'bottom: "data"', "takes a list of indices as second input"),
        ("Filter", "", r"needs at least 2 input blob\(s\) but has 1"),
        ("Filter", 'bottom: "data"', "takes one number per image as selector"),
    ],
)
def test_plain_layers_that_caffe_refuses(folder: Folder, kind: str, param: str, problem: str) -> None:
    with pytest.raises(ModelError, match=rf"net.prototxt:2: layer 'l' \({kind}\).*{problem}"):
        plain_params(folder, kind, param)


def test_plain_layers_of_2014(folder: Folder) -> None:
    layer = 'layers { name: "%s" type: %s bottom: "%s" top: "%s" %s }\n'
    network = folder.define(
        INPUT
        + layer % ("mvn", "MVN", "data", "a", "mvn_param { across_channels: true }")
        + layer % ("exp", "EXP", "a", "b", "exp_param { base: 2 }")
        + layer % ("step", "THRESHOLD", "b", "c", "threshold_param { threshold: 2 }")
        + layer % ("soft", "BNLL", "c", "d", "")
        + layer % ("best", "ARGMAX", "d", "e", "argmax_param { top_k: 2 }")
        + 'layers { name: "quiet" type: SILENCE bottom: "b" }\n'
        + 'layers { name: "copy" type: SPLIT bottom: "c" top: "c1" top: "c2" }\n'
        + layer % ("abs", "ABSVAL", "c2", "f", "")
    )
    assert [layer.type for layer in network.layers] == ["MVN", "Exp", "Threshold", "BNLL", "ArgMax", "AbsVal"]
    assert network.layer("abs").inputs == ("c",)
    assert (network.shapes["e"], network.outputs) == ((2, 1, 2, 1), ("e", "f"))


def test_batch_norm_keeps_its_blobs(folder: Folder) -> None:
    text = INPUT + 'layer { name: "bn" type: "BatchNorm" bottom: "data" top: "data" batch_norm_param { eps: 0.01 %s } }'
    weights = {"bn": [random(3), random(3), [7.0]]}
    layer = folder.load(text % "", weights).layers[0]
    assert list(layer.weights) == ["mean", "variance", "weight"]
    assert layer.weights["weight"] == 7
    noted = folder.load(text % "use_global_stats: false", weights)
    assert "statistics of each batch" in noted.notes[0]


FC = 'layer { name: "fc" type: "InnerProduct" bottom: "data" top: "fc" inner_product_param { num_output: 5 %s } }\n'


def test_legacy_shapes_and_transposed_weights(folder: Folder) -> None:
    weight, bias = random(5, 192), random(5)
    for w, b in ((weight, bias), (weight.reshape(1, 1, 5, 192), bias.reshape(1, 1, 1, 5))):
        layer = folder.load(INPUT + FC % "", {"fc": [w, b]}).layers[0]
        np.testing.assert_array_equal(layer.weights["weight"], weight)
        np.testing.assert_array_equal(layer.weights["bias"], bias)
    turned = folder.load(INPUT + FC % "transpose: true", {"fc": [weight.T.copy(), bias]}).layers[0]
    np.testing.assert_array_equal(turned.weights["weight"], weight)


@pytest.mark.parametrize(
    ("blobs", "problem"),
    [
        ([random(4, 192), random(5)], r"weight has the shape \(5, 192\) .*net.caffemodel stores \(4, 192\)"),
        ([random(192, 5), random(5)], r"net.caffemodel stores \(192, 5\)"),
        ([random(5, 3, 8, 8), random(5)], r"stores \(5, 3, 8, 8\)"),
        ([random(5, 192)], r"needs 2 blob\(s\) \(weight, bias\), but .*net.caffemodel has 1 for it"),
        ([random(5, 192), random(5), random(5)], "has 3 for it"),
    ],
)
def test_weights_that_do_not_fit(folder: Folder, blobs: list[Any], problem: str) -> None:
    with pytest.raises(ModelError, match=rf"net.prototxt:2: layer 'fc' \(InnerProduct\).*{problem}"):
        folder.load(INPUT + FC % "", {"fc": blobs})


def test_weights_missing_or_left_over(folder: Folder) -> None:
    with pytest.raises(ModelError, match=r"layer 'fc' .*net.caffemodel has no weights for it.* \(5, 192\)"):
        folder.load(INPUT + FC % "", {"other": [random(3)]})
    with pytest.raises(ModelError, match=r"defines the net but holds no weights: pass the \.caffemodel"):
        folder.load(INPUT + FC % "")
    network = folder.load(INPUT + FC % "", {"fc": [random(5, 192), random(5)], "old": [random(3)]})
    assert network.notes[0].endswith("weights of 1 layer(s) are not used: old")
    assert folder.load(INPUT + POOL % "kernel_size: 2").outputs == ("pool",)


def test_shared_weights_are_one_array(folder: Folder) -> None:
    twin = 'layer { name: "%s" type: "InnerProduct" bottom: "data" top: "%s" param { name: "w" } param { name: "b" } '
    twin += "inner_product_param { num_output: 5 } }\n"
    text = INPUT + twin % ("a", "a") + twin % ("b", "b")
    both = {"a": [random(5, 192), random(5)], "b": [random(5, 192), random(5)]}
    for weights in (both, {"a": both["a"]}):
        network = folder.load(text, weights)
        one, other = (layer.weights for layer in network.layers)
        assert np.shares_memory(one["weight"], other["weight"])
        assert np.shares_memory(one["bias"], other["bias"])


TWINS = """
layer { name: "a" type: "InnerProduct" bottom: "data" top: "a" param { name: "w" } %s
  inner_product_param { num_output: 5 } }
layer { name: "b" type: "InnerProduct" bottom: "%s" top: "b" param { name: "w" share_mode: %s } %s
  inner_product_param { num_output: %s } }
"""


def test_only_one_of_the_layers_that_share_stores_the_blob(folder: Folder) -> None:
    """As Caffe's HDF5 snapshots are: blob 0 of the second layer is missing, its own bias is there."""
    text = folder.text(INPUT + TWINS % ("", "data", "STRICT", "", "5"))
    path = folder.path / "weights"
    weight, first, second = random(5, 192), random(5), random(5) + 1
    with h5py.File(path, "w") as file:
        file["data/a/0"], file["data/a/1"], file["data/b/1"] = weight, first, second
    one, other = (layer.weights for layer in caffe.load(text, path).layers)
    assert np.shares_memory(one["weight"], other["weight"])
    np.testing.assert_array_equal(other["weight"], weight)
    np.testing.assert_array_equal(one["bias"], first)
    np.testing.assert_array_equal(other["bias"], second)


def test_a_layer_that_is_left_out_may_store_the_shared_blob(folder: Folder) -> None:
    text = INPUT + TWINS % ("include { phase: TRAIN }", "data", "STRICT", 'param { name: "bias" }', "5")
    text += 'layer { name: "c" type: "Bias" bottom: "b" top: "c" param { name: "bias" } }'
    weight, bias = random(5, 192), random(5)
    network = folder.load(text, {"a": [weight, bias + 1], "c": [bias]})
    assert [layer.name for layer in network.layers] == ["b", "c"]
    np.testing.assert_array_equal(network.layer("b").weights["weight"], weight)
    np.testing.assert_array_equal(network.layer("b").weights["bias"], bias)


def test_of_shared_blobs_that_differ_the_last_counts(folder: Folder) -> None:
    """Caffe copies one over the other."""
    text = INPUT + TWINS % ("", "data", "STRICT", "", "5")
    network = folder.load(text, {"a": [random(5, 192), random(5)], "b": [random(5, 192) + 1, random(5)]})
    for layer in network.layers:
        np.testing.assert_array_equal(layer.weights["weight"], random(5, 192) + 1)


def test_a_decoder_shares_the_transposed_weight_of_its_encoder(folder: Folder) -> None:
    text = INPUT + TWINS % ("", "a", "STRICT", "", "192 transpose: true")
    weight = random(5, 192)
    network = folder.load(text, {"a": [weight, random(5)], "b": [weight, random(192)]})
    np.testing.assert_array_equal(network.layer("b").weights["weight"], weight.T)


@pytest.mark.parametrize("with_weights", [False, True])
def test_share_modes(folder: Folder, with_weights: bool) -> None:
    """STRICT needs equal shapes, PERMISSIVE the same number of values, of the layers and not only of what is stored."""
    weight, bias = random(5, 192), random(5)
    weights = {"a": [weight, bias], "b": [weight, random(192)]} if with_weights else None

    def load(text: str) -> Network:
        return folder.load(text, weights) if weights else folder.define(text)

    layer = load(INPUT + TWINS % ("", "a", "PERMISSIVE", "", "192")).layer("b")
    assert layer.weights["weight"].shape == (192, 5)
    if with_weights:
        np.testing.assert_array_equal(layer.weights["weight"].ravel(), weight.ravel())
    for part in (
        r"layer 'b' .* its weight has the shape \(192, 5\), but shares the parameter 'w' with the weight",
        r"\(5, 192\) of layer 'a' \(.*net.prototxt:3\); with share_mode STRICT they must be equal",
    ):
        with pytest.raises(ModelError, match=part):
            load(INPUT + TWINS % ("", "a", "STRICT", "", "192"))
    with pytest.raises(ModelError, match="the number of values must be the same"):
        load(INPUT + TWINS % ("", "data", "PERMISSIVE", "", "192"))


def test_old_files_share_by_name_and_mode(folder: Folder) -> None:
    text = INPUT + (
        'layers { name: "a" type: INNER_PRODUCT bottom: "data" top: "a" param: "w" param: "" '
        "inner_product_param { num_output: 5 } }\n"
        'layers { name: "b" type: INNER_PRODUCT bottom: "a" top: "b" param: "w" blob_share_mode: %s '
        "inner_product_param { num_output: 192 } }\n"
    )
    weights = {"a": [random(5, 192), random(5)], "b": [random(192, 5), random(192)]}
    assert folder.load(text % "PERMISSIVE", weights).layer("b").weights["weight"].shape == (192, 5)
    with pytest.raises(ModelError, match="with share_mode STRICT they must be equal"):
        folder.load(text % "STRICT", weights)


def test_unknown_types_are_all_named(folder: Folder) -> None:
    text = INPUT + (
        'layer { name: "p" type: "Perceive" bottom: "data" top: "p" }\n'
        'layer { name: "q" type: "Python" bottom: "p" top: "q" python_param { module: "m" layer: "L" } }\n'
        'layers_are: "fine"\n'
    )
    with pytest.raises(ModelError) as caught:
        folder.define(text)
    for part in (
        "2 layers cannot be built:",
        "net.prototxt:2: layer 'p' (Perceive): its type is not known",
        "net.prototxt:3: layer 'q' (Python) [m.L]: its type is not known",
        "Known types: AbsVal, ",
        "docs/own-layers.md",
    ):
        assert part in str(caught.value)


def test_all_that_is_not_supported_is_reported_at_once(folder: Folder) -> None:
    """Unknown types and parameters that make no sense, in layers that depend on each other."""
    chain = 'layer { name: "%s" type: "%s" bottom: "%s" top: "%s" %s }\n'
    text = (
        INPUT
        + chain % ("a", "Unheard", "data", "a", "unheard_param { order: 0 }")
        + chain % ("b", "Convolution", "a", "b", "convolution_param { kernel_size: 3 }")
        + chain % ("c", "Log", "b", "c", "log_param { base: 1 }")
        + chain % ("d", "ReLU", "c", "d", "")
        + chain % ("e", "Tile", "d", "e", "")
        + chain % ("f", "Nowhere", "e", "f", "")
    )
    with pytest.raises(ModelError) as caught:
        folder.define(text)
    lines = str(caught.value).splitlines()
    assert lines[0] == "5 layers cannot be built:"
    expected = [
        "2: layer 'a' (Unheard): its type is not known",
        "3: layer 'b' (Convolution): convolution_param: num_output is missing or 0",
        "4: layer 'c' (Log): log_param: base is 1, to which there is no logarithm",
        "6: layer 'e' (Tile): tile_param: tiles is missing or less than 1",
        "7: layer 'f' (Nowhere): its type is not known",
    ]
    for line, part in zip(lines[1:6], expected, strict=True):
        assert f"net.prototxt:{part}" in line
    assert lines[6].startswith("Known types: ")


def test_shapes_that_do_not_fit_are_reported_at_once(folder: Folder) -> None:
    """Of layers that depend on each other only the first: what the others would say is not known."""
    text = INPUT + (POOL % "kernel_size: 2 pad: 2").replace('"pool"', '"a"') + CONV % "num_output: 4 kernel_size: 30"
    text += RELU + (FC % "").replace('"data"', '"conv"') + (FC % "axis: 7").replace('"fc"', '"g"')
    with pytest.raises(ModelError) as caught:
        folder.define(text)
    lines = str(caught.value).splitlines()
    assert lines[0] == "3 layers cannot be built:"
    parts = ("must be smaller than the window", "too small", "axis 7 does not exist")
    for line, part in zip(lines[1:], parts, strict=True):
        assert part in line


def test_misspelt_types_get_a_hint(folder: Folder) -> None:
    for kind, meant in (("Relu", "ReLU"), ("INNER_PRODUCT", "InnerProduct"), ("Batchnorm", "BatchNorm")):
        with pytest.raises(ModelError, match=rf"\({kind}\): its type is not known - is {meant} meant\?"):
            folder.define(INPUT + f'layer {{ name: "x" type: "{kind}" bottom: "data" top: "x" }}')


def test_layers_without_weights_may_share_a_name(folder: Folder) -> None:
    relu = 'layer { name: "fc" type: "ReLU" bottom: "%s" top: "%s" }\n'
    text = INPUT + relu % ("data", "x") + (FC % "").replace('bottom: "data"', 'bottom: "x"') + relu % ("fc", "fc")
    network = folder.load(text, {"fc": [random(5, 192), random(5)]})
    assert [layer.name for layer in network.layers] == ["fc#2", "fc", "fc#3"]
    assert "called 'fc#2' here" in network.notes[0]


def test_unknown_fields_are_noted_once(folder: Folder) -> None:
    pool = (
        'layer { name: "%s" type: "Pooling" bottom: "data" top: "%s" pooling_param { kernel_size: 2\n new: 1 } %s }\n'
    )
    network = folder.define(INPUT + pool % ("a", "a", "other { x: 1 }") + pool % ("b", "b", ""))
    assert [note.split("net.prototxt")[1] for note in network.notes] == [
        ":3, 5: unknown field 'new' ignored",
        ":3: unknown field 'other' ignored",
    ]


# -- training nets ---------------------------------------------------------------------------------

DATA = 'layer { name: "d" type: "%s" top: "data" top: "label" %s }\n'
HEAD = 'layer { name: "loss" type: "%s" bottom: "fc" bottom: "label" %s }\n'
ACCURACY = 'layer { name: "acc" type: "Accuracy" bottom: "fc" bottom: "label" top: "acc" include { phase: TEST } }\n'


@pytest.mark.parametrize(
    ("kind", "param", "shape"),
    [
        ("Data", "transform_param { crop_size: 8 } data_param { batch_size: 4 }", (4, 3, 8, 8)),
        ("Data", "transform_param { crop_size: 8 force_gray: true } data_param { batch_size: 4 }", (4, 1, 8, 8)),
        ("ImageData", "image_data_param { batch_size: 6 new_height: 8 new_width: 9 }", (6, 3, 8, 9)),
        ("WindowData", "window_data_param { batch_size: 4 crop_size: 8 }", (4, 3, 8, 8)),
        ("MemoryData", "memory_data_param { batch_size: 1 channels: 2 height: 8 width: 9 }", (1, 2, 8, 9)),
        ("DummyData", "dummy_data_param { shape { dim: [1, 2, 8, 8] } shape { dim: 1 } }", (1, 2, 8, 8)),
        ("DummyData", "dummy_data_param { num: 1 channels: 2 height: 8 width: 9 }", (1, 2, 8, 9)),
        (
            "AnnotatedData",
            "transform_param { resize_param { height: 8 width: 9 } mean_value: [1, 2, 3] }",
            (1, 3, 8, 9),
        ),
    ],
)
def test_data_layers_become_inputs(folder: Folder, kind: str, param: str, shape: tuple[int, ...]) -> None:
    network = folder.define(DATA % (kind, param) + FC % "" + ACCURACY + HEAD % ("SoftmaxWithLoss", ""))
    assert network.inputs == {"data": shape}
    assert [layer.type for layer in network.layers] == ["InnerProduct", "Softmax"]
    assert network.outputs == ("prob",)


@pytest.mark.parametrize("kind", ["Data", "HDF5Data", "Python", "SomethingData"])
def test_data_layers_without_a_size_ask_for_it(folder: Folder, kind: str) -> None:
    text = DATA % (kind, "") + FC % "" + HEAD % ("SoftmaxWithLoss", "")
    with pytest.raises(ModelError, match=r"net.prototxt:1: layer 'd' .*input_shape=\(1, 3, 227, 227\)"):
        folder.define(text)
    network = folder.define(
        text.replace('top: "label"', 'top: "label" transform_param { scale: 0.5 }'), input_shape=(2, 1, 4, 4)
    )
    assert network.input_shape == (2, 1, 4, 4)
    assert any("shape (2, 1, 4, 4); it prepared images with scale 0.5" in note for note in network.notes)
    assert folder.define(text, input_shape={"data": [2, 1, 4, 4]}).input_shape == (2, 1, 4, 4)


def test_the_number_of_channels_comes_from_the_weights(folder: Folder) -> None:
    text = DATA % ("Data", "transform_param { crop_size: 8 }")
    text += 'layer { name: "scale" type: "Power" bottom: "data" top: "data" }\n'
    text += CONV % "num_output: 4 kernel_size: 3 group: 2"
    network = folder.load(text, {"conv": [random(4, 3, 3, 3), random(4)]})
    assert network.input_shape == (1, 6, 8, 8)


@pytest.mark.parametrize(
    ("kind", "tops", "types", "output"),
    [
        ("SoftmaxWithLoss", "", ["InnerProduct", "Softmax"], "prob"),
        ("SoftmaxWithLoss", 'top: "loss"', ["InnerProduct", "Softmax"], "loss"),
        ("SoftmaxWithLoss", 'top: "loss" top: "p"', ["InnerProduct", "Softmax"], "p"),
        ("SigmoidCrossEntropyLoss", 'top: "loss"', ["InnerProduct", "Sigmoid"], "loss"),
        ("EuclideanLoss", 'top: "loss"', ["InnerProduct"], "fc"),
        ("HingeLoss", 'top: "loss"', ["InnerProduct"], "fc"),
        ("InfogainLoss", 'top: "loss"', ["InnerProduct"], "fc"),
        ("MultinomialLogisticLoss", 'top: "loss"', ["InnerProduct"], "fc"),
        ("ContrastiveLoss", 'bottom: "fc" top: "loss"', ["InnerProduct"], "fc"),
        ("CenterLoss", 'top: "loss"', ["InnerProduct"], "fc"),
    ],
)
def test_losses(folder: Folder, kind: str, tops: str, types: list[str], output: str) -> None:
    # The label passes through a layer that nothing but the loss needs.
    label = 'layer { name: "pick" type: "Slice" bottom: "label" top: "label1" top: "label2" }\n'
    text = (
        DATA % ("Data", "transform_param { crop_size: 8 }")
        + label
        + FC % ""
        + HEAD.replace("label", "label1") % (kind, tops)
    )
    network = folder.define(text)
    assert [layer.type for layer in network.layers] == types
    assert network.outputs == (output,)
    assert any("only losses or labels need them: pick" in note for note in network.notes)


def test_what_silence_layers_read_is_no_output(folder: Folder) -> None:
    """A layer that only Silence reads goes, and what it alone needs; one that others read stays."""
    silence = 'layer { name: "quiet" type: "Silence" bottom: "b" bottom: "label" bottom: "fc" }\n'
    layer = 'layer { name: "%s" type: "AbsVal" bottom: "%s" top: "%s" }\n'
    text = (
        DATA % ("Data", "transform_param { crop_size: 8 }")
        + FC % ""
        + layer % ("a", "data", "a")
        + layer % ("b", "a", "b")
        + layer % ("c", "fc", "c")
        + silence
    )
    network = folder.define(text)
    assert [layer.name for layer in network.layers] == ["fc", "c"]
    assert network.outputs == ("c",)
    assert any("only Silence layers read them: a, b" in note for note in network.notes)
    # where nothing else is left there is nothing better to show
    assert folder.define(INPUT + FC % "" + silence.replace('bottom: "b" bottom: "label" ', "")).outputs == ("fc",)


def test_layers_that_only_write_files_or_test_are_dropped(folder: Folder) -> None:
    text = INPUT + FC % "" + 'layer { name: "out" type: "HDF5Output" bottom: "fc" bottom: "data" }\n'
    network = folder.define(text + 'layer { name: "acc" type: "Accuracy" bottom: "fc" bottom: "data" top: "acc" }\n')
    assert network.outputs == ("fc",)
    assert [note.split("layer ")[1] for note in network.notes] == [
        f"'{name}' ({kind}): left out, as it serves training and testing only"
        for name, kind in (("out", "HDF5Output"), ("acc", "Accuracy"))
    ]


def test_a_loss_beside_a_softmax_is_dropped(folder: Folder) -> None:
    prob = 'layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" include { phase: TEST } }\n'
    text = (
        DATA % ("Data", "transform_param { crop_size: 8 }") + FC % "" + HEAD % ("SoftmaxWithLoss", 'top: "loss"') + prob
    )
    assert folder.define(text).outputs == ("prob",)
    assert folder.define(text, phase="TRAIN").outputs == ("loss",)


def test_a_declared_label_input_is_dropped(folder: Folder) -> None:
    text = (
        'input: "data" input: "label" input_dim: [2, 3, 8, 8, 2, 1, 1, 1]\n' + FC % "" + HEAD % ("SoftmaxWithLoss", "")
    )
    assert folder.define(text).inputs == {"data": (2, 3, 8, 8)}


def test_a_second_true_input_is_kept(folder: Folder) -> None:
    both = 'layer { name: "e" type: "Eltwise" bottom: "data" bottom: "label" top: "e" }'
    network = folder.define(DATA % ("HDF5Data", "") + both, input_shape={"data": (1, 2), "label": (1, 2)})
    assert list(network.inputs) == ["data", "label"]


# -- nets and files that cannot be read ------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (RELU, "the file does not tell the size of the images in 'conv'"),
        (INPUT + RELU, "layer 'relu' .*reads blob 'conv', which nothing above it writes"),
        (INPUT + CONV % "num_output: 1 kernel_size: 1" * 2, "writes blob 'conv', which 'conv' above writes already"),
        (INPUT + 'layer { name: "r" type: "ReLU" top: "y" }', "layer 'r' .*has no bottom"),
        (INPUT + 'layer { name: "r" type: "ReLU" bottom: "data" }', "layer 'r' .*has no top"),
        (INPUT + 'layer { name: "s" type: "Slice" bottom: "data" }', "layer 's' .*has no top"),
        (INPUT + 'layer { name: "c" type: "Concat" top: "y" }', "layer 'c' .*has no bottom"),
        (
            INPUT + FC % "" + (FC % "").replace('top: "fc"', 'top: "x"'),
            "another layer with weights has the same name, at",
        ),
        ('layers { type: "ReLU" }', "in quotes belong into the 'layer { }' of newer files"),
        ('net: "x.prototxt" base_lr: 0.1', "it is a solver definition: pass the net that it names"),
        (INPUT, "no layers are left in phase TEST"),
        (INPUT.replace("8, 8", "8, 0") + RELU.replace("conv", "data"), "impossible shape"),
        (INPUT + FC % "num_output: 7", "may be given only once"),
        (INPUT + CONV % "num_output: 18446744073709551615 kernel_size: 4", "which no computer can hold"),
        (DATA % ("Data", "include {} exclude {}") + FC % "", "both include and exclude rules"),
        ('name: "empty"', "there are no layers in this file"),
        ("# nothing", "there are no layers in this file"),
    ],
)
def test_nets_that_make_no_sense(folder: Folder, text: str, problem: str) -> None:
    with pytest.raises(Caffe2LrpError, match=problem) as caught:
        folder.define(text)
    assert "net.prototxt" in str(caught.value)


def test_wrong_options(folder: Folder) -> None:
    path = folder.text(INPUT + POOL % "kernel_size: 2")
    for options, problem in (
        ({"phase": "test"}, "phase must be one of TEST and TRAIN"),
        ({"input_shape": (1, -3)}, "must be positive"),
        ({"input_shape": "abc"}, "must be whole numbers"),
        ({"input_shape": {"x": (1,)}}, "names 'x', but the inputs are data"),
    ):
        with pytest.raises(OptionError, match=problem):
            caffe.load(path, **options)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="pass a prototxt, a caffemodel or both"):
        caffe.load()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "the file is empty"),
        (b"  \n ", "the file is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "only a Git LFS pointer"),
        (b"<!DOCTYPE html><html>", "is a web page"),
        (b"\x1f\x8b\x08abc", "compressed with gzip"),
        (b"PK\x03\x04", "zip archive"),
        (b"\x89PNG\r\n", "PNG image"),
        (b"\x89HDF\r\n\x1a\n" + b"\0" * 100, "HDF5"),
        (b"\x93NUMPY\x01\0", "NumPy array"),
        (b"\x00\x01\x02\x03" * 20, "not a Caffe binary file"),
        (b"layer {", "expected a field name or '}'"),
        (b"hello world", "expected ':' or '{' after 'hello'"),
        (b"\x0a\x03abc", "no layers in this file"),
    ],
)
def test_files_of_other_kinds(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match=problem) as caught:
        caffe.load(path)
    assert str(path) in str(caught.value)


def test_paths_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing", "missing.prototxt"):
        with pytest.raises(FileFormatError, match="cannot read the file"):
            caffe.load(path)


def test_wrong_pairs(folder: Folder, shared: Path) -> None:
    text, other = folder.text(INPUT + FC % ""), folder.text(INPUT + FC % "", "other")
    weights = folder.blobs(fc=[random(5, 192), random(5)])
    for first, second, problem in (
        (text, other, "is a text file like"),
        (weights, weights, "are both binary: pass one prototxt"),
        (text, shared / "models/cifar10_full_v1/mean.binaryproto", "no layers in this file; is it a caffemodel"),
        (shared / "models/cifar10_full_h5/cifar10_full_iter_60000.caffemodel.h5", None, "holds weights only"),
    ):
        with pytest.raises(FileFormatError, match=problem):
            caffe.load(first, second)


def test_hdf5_with_slashes_and_damage(folder: Folder) -> None:
    text = folder.text(INPUT + (FC % "").replace('name: "fc"', 'name: "a/b/fc"'))
    path = folder.path / "weights"
    weight, bias = random(5, 192), random(5)
    with h5py.File(path, "w") as file:
        file["data/a/b/fc/0"], file["data/a/b/fc/1"] = weight, bias
    layer = caffe.load(text, path).layers[0]
    np.testing.assert_array_equal(layer.weights["weight"], weight)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FileFormatError, match="the HDF5 file cannot be read"):
        caffe.load(text, path)
    with h5py.File(path, "w") as file:
        file["data/a/b/fc/1"] = bias
    with pytest.raises(ModelError, match=r"layer 'a/b/fc' .* has 1 for it; blob 0 \(weight\) is missing"):
        caffe.load(text, path)
    with h5py.File(path, "w") as file:
        file["data/a/b/fc/1000000000000"] = bias
    with pytest.raises(FileFormatError, match="layer 'a/b/fc' has a blob 1000000000000, but no layer has so many"):
        caffe.load(text, path)
    with h5py.File(path, "w") as file:
        file["model_weights"] = bias
    with pytest.raises(FileFormatError, match="without the group 'data'"):
        caffe.load(text, path)


def test_truncated_real_files(shared: Path, tmp_path: Path) -> None:
    for name in ("lenet_v2/lenet_iter_10000.caffemodel", "lenet_v0/lenet_v0.caffemodel"):
        whole = (shared / "models" / name).read_bytes()
        for size in (1, 10, 100, 1000, len(whole) // 2, len(whole) - 1):
            (tmp_path / "x").write_bytes(whole[:size])
            with pytest.raises(FileFormatError):
                caffe.load(shared / "models/lenet_v2/deploy.prototxt", tmp_path / "x")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes, bytes]:
    """A folder, and a valid prototxt and caffemodel of one net."""
    folder = Folder(tmp_path_factory.mktemp("small"))
    text = (
        INPUT
        + CONV % "num_output: 2 kernel_size: 3"
        + RELU
        + POOL.replace('"data"', '"conv"') % "kernel_size: 2 stride: 2"
    )
    network = folder.load(text, {"conv": [random(2, 3, 3, 3), random(2)]})
    caffe.write_caffemodel(network, folder.path / "whole")
    return folder.path, text.encode(), (folder.path / "whole").read_bytes()


def load_anything(folder: Path, text: bytes, binary: bytes) -> None:
    """Whatever the files hold, a network or an error of ours comes out."""
    (folder / "a").write_bytes(text)
    (folder / "b").write_bytes(binary)
    for paths in ((folder / "a", folder / "b"), (folder / "b",)):
        with suppress(Caffe2LrpError):
            network = caffe.load(*paths)
            assert network.layers
    with suppress(Caffe2LrpError):
        caffe.load_definition(folder / "a")
    with suppress(Caffe2LrpError):
        caffe.read_mean(folder / "b")


fuzz = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@fuzz
@given(st.integers(0, 1000), st.integers(0, 1000))
def test_truncations_are_refused_politely(small: tuple[Path, bytes, bytes], a: int, b: int) -> None:
    load_anything(small[0], small[1][:a], small[2][:b])


@fuzz
@given(st.data())
def test_damage_is_refused_politely(small: tuple[Path, bytes, bytes], data: st.DataObject) -> None:
    def damaged(raw: bytes) -> bytes:
        out = bytearray(raw)
        for _ in range(data.draw(st.integers(1, 4))):
            place = data.draw(st.integers(0, len(out) - 1))
            out[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
        return bytes(out)

    load_anything(small[0], damaged(small[1]), damaged(small[2]))


WORDS = [b"layer", b"{", b"}", b":", b'"ReLU"', b'"data"', b"bottom", b"top", b"type", b"name", b"input", b"3", b"-1"]
WORDS += [
    b"pooling_param",
    b"kernel_size",
    b'"Slice"',
    b'"Reshape"',
    b"shape",
    b"dim",
    b"input_dim",
    b"param",
    b"\n",
    b" ",
]
WORDS += [
    b'"%s"' % name for name in (b"ArgMax", b"BatchReindex", b"Embed", b"Exp", b"Filter", b"MVN", b"Reduction", b"Tile")
]
WORDS += [
    b"tile_param { tiles: 99999999999",
    b"argmax_param { axis:",
    b"reduction_param { axis:",
    b"share_mode: PERMISSIVE",
]
WORDS += [
    b"exp_param { base:",
    b"embed_param { num_output:",
    b"input_dim: 4",
    b"shift: 1e30",
    b'param { name: "w"',
    b"Split",
]


@fuzz
@given(st.lists(st.sampled_from(WORDS), max_size=40), st.integers(0, 300), st.binary(max_size=20))
def test_nonsense_is_refused_politely(
    small: tuple[Path, bytes, bytes], words: list[bytes], place: int, extra: bytes
) -> None:
    text = small[1][:place] + b" ".join(words) + small[1][place:]
    load_anything(small[0], text, extra + small[2][:place] + extra + small[2][place:])


def test_path_likes_of_all_kinds(small: tuple[Path, bytes, bytes]) -> None:
    path = small[0] / "whole"
    for given_path in (path, str(path), os.fspath(path)):
        assert caffe.load(given_path).name == "n"
