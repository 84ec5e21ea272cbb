"""Generations of files and phases: what Caffe makes of them on loading."""

from __future__ import annotations

from pathlib import Path

import pytest

from caffe2lrp.converters import caffe
from caffe2lrp.converters.caffe.message import Message
from caffe2lrp.converters.caffe.phases import State, is_included
from caffe2lrp.converters.caffe.schema import ENUMS, SCHEMAS
from caffe2lrp.converters.caffe.text import read_text
from caffe2lrp.converters.caffe.upgrade import V0_TYPES, V1_TYPES, upgrade
from caffe2lrp.errors import FileFormatError, ModelError
from caffe2lrp.ir import Network


def upgraded(text: str) -> Message:
    return upgrade(read_text(text, SCHEMAS["NetParameter"], "net"), "net")


def structure(network: Network) -> list[tuple[object, ...]]:
    return [(layer.name, layer.params, layer.inputs, layer.outputs) for layer in network.layers]


def test_the_v0_caffenet_is_the_v2_caffenet(shared: Path) -> None:
    old = caffe.load_definition(shared / "models" / "lenet_v0" / "imagenet_deploy_v0.prototxt")
    new = caffe.load_definition(shared / "golden" / "prototxt" / "bvlc_reference_caffenet.prototxt")
    new = new.with_batch(old.input_shape[0])
    assert old.inputs == new.inputs
    assert old.shapes == new.shapes
    assert structure(old) == structure(new)


def test_types_of_all_generations_are_known() -> None:
    assert set(V1_TYPES) == set(ENUMS["V1LayerType"]) - {"NONE"}
    assert set(V0_TYPES.values()) - {"padding"} <= set(V1_TYPES)


PADDED = """
input: "data"
layers { bottom: "data" top: "pad1" layer { name: "pad1" type: "padding" pad: 2 } }
layers { bottom: "pad1" top: "conv1" layer { name: "conv1" type: "conv" num_output: 4 kernelsize: 5 biasterm: false
  group: 2 } }
layers { bottom: "conv1" top: "pool1" layer { name: "pool1" type: "pool" pool: AVE kernelsize: 3 stride: 2 } }
layers { bottom: "pool1" top: "fc" layer { name: "fc" type: "innerproduct" num_output: 3 cropsize: 7 k: 2
  blobs_lr: 1 blobs_lr: 2 weight_decay: 3 } }
"""


def test_padding_layers_are_folded_into_the_convolution() -> None:
    conv, pool, fc = upgraded(PADDED).all("layer")[-3:]
    assert [conv.get("type"), pool.get("type"), fc.get("type")] == ["Convolution", "Pooling", "InnerProduct"]
    assert [conv.spelled, pool.spelled] == ["conv", "pool"]
    assert conv.all("bottom") == ["data"]
    param = conv.get("convolution_param")
    assert (param.all("pad"), param.all("kernel_size"), param.get("group"), param.get("bias_term")) == (
        [2],
        [5],
        2,
        False,
    )
    assert pool.get("pooling_param").get("pool") == "AVE"
    assert [(p.get("lr_mult"), p.get("decay_mult")) for p in fc.all("param")] == [(1, 3), (2, 1)]
    assert [(u.name, u.line) for u in fc.unknown] == [("k of a innerproduct layer", 7)]


def test_windows_of_im2col_layers() -> None:
    text = 'layers { bottom: "x" top: "y" layer { name: "i" type: "im2col" kernelsize: 3 stride: 2 pad: 1 } }'
    (layer,) = upgraded(text).all("layer")
    param = layer.get("convolution_param")
    assert layer.get("type") == "Im2col"
    assert [param.all(name) for name in ("kernel_size", "stride", "pad")] == [[3], [2], [1]]
    assert layer.unknown == []


def test_padding_before_another_layer_is_an_error() -> None:
    text = PADDED.replace('type: "conv"', 'type: "relu"')
    with pytest.raises(ModelError, match=r"net:4: layer 'conv1' \(relu\) reads the padding layer 'pad1'"):
        upgraded(text)


def test_v1_fields_move() -> None:
    (layer,) = upgraded(
        """layers { name: "c" type: CONVOLUTION bottom: "x" top: "y" blobs_lr: 1 blobs_lr: 2 weight_decay: 0.5
             param: "shared" blob_share_mode: PERMISSIVE
             convolution_param { num_output: 1 } include { phase: TEST } }"""
    ).all("layer")
    assert (layer.get("type"), layer.spelled, layer.line) == ("Convolution", "CONVOLUTION", 1)
    first, second = layer.all("param")
    assert (first.get("name"), first.get("share_mode"), first.get("lr_mult")) == ("shared", "PERMISSIVE", 1)
    assert (second.get("lr_mult"), first.get("decay_mult")) == (2, 0.5)
    assert layer.has("include")


@pytest.mark.parametrize("kind", ["DATA", "IMAGE_DATA", "WINDOW_DATA"])
def test_transformations_of_old_data_layers(kind: str) -> None:
    param = kind.lower() + "_param"
    (layer,) = upgraded(
        f'layers {{ type: {kind} {param} {{ scale: 0.5 mean_file: "m" crop_size: 7 mirror: true batch_size: 2 }} }}'
    ).all("layer")
    transform = layer.get("transform_param")
    assert [transform.get(n) for n in ("scale", "mean_file", "crop_size", "mirror")] == [0.5, "m", 7, True]
    assert not layer.get(param).has("scale")
    assert layer.get(param).get("batch_size") == 2


@pytest.mark.parametrize(
    "shape", ["input_dim: 1 input_dim: 2 input_dim: 3 input_dim: 4", "input_shape { dim: 1 dim: 2 dim: 3 dim: 4 }"]
)
@pytest.mark.parametrize("layers", ['layers { name: "r" type: RELU }', 'layer { name: "r" type: "ReLU" }'])
def test_input_fields_become_a_layer(shape: str, layers: str) -> None:
    first, second = upgraded(f'input: "data" {shape} {layers}').all("layer")
    assert (first.get("type"), first.all("top")) == ("Input", ["data"])
    assert first.get("input_param").get("shape").all("dim") == [1, 2, 3, 4]
    assert second.get("type") == "ReLU"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('layer { name: "a" }\nlayers { name: "b" }', r"net:2: .*'layers'.*'layer', first at net:1"),
        ('input: "a" input: "b" input_dim: 1 input_dim: 2', r"2 input_dim values for 2 input\(s\)"),
        ('input: "a" input: "b" input_shape { dim: 1 }', "2 input names but 1 input_shape"),
        ('input: "a" input_shape { dim: 1 } input_dim: [1, 2, 3, 4]', "both input_shape and input_dim"),
    ],
)
def test_mixed_up_files(text: str, problem: str) -> None:
    with pytest.raises(FileFormatError, match=problem):
        upgraded(text)


RULES = [
    ("", "TEST", 0, (), True),
    ("include { phase: TRAIN }", "TEST", 0, (), False),
    ("include { phase: TRAIN }", "TRAIN", 0, (), True),
    ("exclude { phase: TEST }", "TEST", 0, (), False),
    ("exclude { phase: TRAIN }", "TEST", 0, (), True),
    ("include { phase: TRAIN } include { phase: TEST }", "TEST", 0, (), True),
    ("include { min_level: 2 }", "TEST", 1, (), False),
    ("include { min_level: 2 max_level: 3 }", "TEST", 3, (), True),
    ("include { max_level: 2 }", "TEST", 3, (), False),
    ("exclude { max_level: 2 }", "TEST", 3, (), True),
    ('include { stage: "a" stage: "b" }', "TEST", 0, ("a",), False),
    ('include { stage: "a" stage: "b" }', "TEST", 0, ("a", "b"), True),
    ('include { not_stage: "a" }', "TEST", 0, ("a",), False),
    ('include { phase: TEST not_stage: "a" }', "TEST", 0, ("b",), True),
    ('exclude { stage: "a" phase: TRAIN }', "TEST", 0, ("a",), True),
]


@pytest.mark.parametrize(("rules", "phase", "level", "stages", "included"), RULES)
def test_rules(rules: str, phase: str, level: int, stages: tuple[str, ...], included: bool) -> None:
    layer = read_text(rules, SCHEMAS["LayerParameter"], "net")
    assert is_included(layer, State(phase, level, frozenset(stages)), "net:1") is included


def test_include_and_exclude_together_are_an_error() -> None:
    layer = read_text('name: "a" include {} exclude {}', SCHEMAS["LayerParameter"], "net")
    with pytest.raises(ModelError, match="net:1: layer 'a' has both include and exclude rules"):
        is_included(layer, State(), "net:1")
