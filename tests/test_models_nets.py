"""Net definitions made from tables, against published prototxts and weights."""

from __future__ import annotations

from pathlib import Path

import pytest

from caffe2lrp.converters import caffe
from caffe2lrp.errors import OptionError
from caffe2lrp.ir import Network
from caffe2lrp.models import nets
from caffe2lrp.models.manifest import Entry, entries


def _written(name: str, folder: Path, batch: int = 1) -> Path:
    file = folder / f"{name}.prototxt"
    file.write_text(nets.prototxt(name, batch))
    return file


def _meaning(network: Network) -> list[tuple[object, ...]]:
    """Everything about the layers that matters, in order."""
    return [
        (
            layer.name,
            layer.params,
            layer.inputs,
            layer.outputs,
            [network.caffe_name(blob) for blob in layer.outputs],
            [network.shapes[blob] for blob in layer.outputs],
            {name: weight.shape for name, weight in layer.weights.items()},
        )
        for layer in network.layers
    ]


def _same(ours: Network, published: Network) -> None:
    published = published.with_batch(1)
    assert ours.name == published.name
    assert ours.inputs == published.inputs
    for mine, theirs in zip(_meaning(ours), _meaning(published), strict=True):
        assert mine == theirs


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("caffenet", "golden/prototxt/bvlc_reference_caffenet.prototxt"),
        ("googlenet", "golden/prototxt/bvlc_googlenet.prototxt"),
        ("googlenet", "models/bvlc_googlenet/deploy.prototxt"),
        ("squeezenet_v1.1", "models/squeezenet_v1.1/deploy.prototxt"),
    ],
)
def test_same_as_published(name: str, published: str, shared: Path, tmp_path: Path) -> None:
    _same(caffe.load_definition(_written(name, tmp_path)), caffe.load_definition(shared / published))


@pytest.mark.parametrize(
    ("name", "folder", "weights"),
    [
        ("googlenet", "bvlc_googlenet", "bvlc_googlenet.caffemodel"),
        ("squeezenet_v1.1", "squeezenet_v1.1", "squeezenet_v1.1.caffemodel"),
    ],
)
def test_published_weights_load(name: str, folder: str, weights: str, shared: Path, tmp_path: Path) -> None:
    ours = caffe.load(_written(name, tmp_path), shared / "models" / folder / weights)
    theirs = caffe.load(shared / "models" / folder / "deploy.prototxt", shared / "models" / folder / weights)
    for mine, published in zip(ours.layers, theirs.layers, strict=True):
        assert mine.weights.keys() == published.weights.keys()
        for key, value in mine.weights.items():
            assert (value == published.weights[key]).all()


# Counted from the papers' tables and from other implementations of the same nets.
PARAMETERS = {
    "caffenet": 60_965_224,
    "alexnet": 60_965_224,
    "googlenet": 6_998_552,
    "places205_alexnet": 60_965_224 - 795 * 4097,
    "places205_googlenet": 6_998_552 - 795 * 1025,
    "vgg_cnn_f": 60_834_536,
    "vgg_cnn_m": 102_908_520,
    "vgg_cnn_s": 102_908_520,
    "vgg16": 138_357_544,
    "vgg19": 143_667_240,
    "nin_imagenet": 7_595_176,
    "squeezenet_v1.0": 1_248_424,
    "squeezenet_v1.1": 1_235_496,
    # 25,557,032 without the running statistics of 53 batch normalisations and the bias of conv1.
    "resnet50": 25_557_032 + 53_120 + 53 + 64,
}


@pytest.mark.parametrize("name", nets.names())
def test_all_tables_read_back(name: str, tmp_path: Path) -> None:
    network = caffe.load_definition(_written(name, tmp_path, batch=2))
    classes = 205 if name.startswith("places205") else 1000
    assert network.outputs == ("prob",)
    assert network.shapes["prob"][:2] == (2, classes)
    assert network.input_shape == (2, *nets.table(name).input)
    assert network.notes == ()
    assert network.parameter_count == PARAMETERS[name]


@pytest.mark.parametrize("entry", [e for e in entries() if e.net and e.size], ids=lambda entry: entry.name)
def test_size_of_the_published_file_fits(entry: Entry, tmp_path: Path) -> None:
    """A caffemodel is its weights as float32 and a little more; this catches a wrong width or a missing layer."""
    net, size = str(entry.net), entry.size or 0
    stored = caffe.load_definition(_written(net, tmp_path)).parameter_count * 4
    if net == "googlenet":
        stored += (13_378_280 - 6_998_552) * 4  # the file also holds the two auxiliary classifiers
    assert stored < size < stored + 25_000


def test_alexnet_and_caffenet_differ_in_order_only() -> None:
    caffenet, alexnet = nets.table("caffenet").rows, nets.table("alexnet").rows
    assert sorted(row.name for row in caffenet) == sorted(row.name for row in alexnet)
    assert [row.name for row in caffenet[2:4]] == ["pool1", "norm1"]
    assert [row.name for row in alexnet[2:4]] == ["norm1", "pool1"]


def test_squeezenet_pads_its_last_convolution_in_1_0_only() -> None:
    last = {v: next(r for r in nets.table(f"squeezenet_v{v}").rows if r.name == "conv10") for v in ("1.0", "1.1")}
    assert last["1.0"].fields["pad"] == 1
    assert "pad" not in last["1.1"].fields


def test_residual_blocks(tmp_path: Path) -> None:
    network = caffe.load_definition(_written("resnet50", tmp_path))
    assert network.layer("res3a").inputs == ("res3a_branch1", "res3a_branch2c")
    assert network.layer("res3b").inputs == ("res3a", "res3b_branch2c")
    assert network.layer("conv1").params.bias  # type: ignore[attr-defined]
    assert not network.layer("res2a_branch1").params.bias  # type: ignore[attr-defined]
    assert network.shapes["res5c"] == (1, 2048, 7, 7)


def test_unknown_table() -> None:
    with pytest.raises(OptionError, match="did you mean 'googlenet'"):
        nets.prototxt("googlenett")
    with pytest.raises(OptionError, match="known: caffenet"):
        nets.table("x")
