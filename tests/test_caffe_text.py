"""The text format: all of the syntax, and errors that name the place."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caffe2lrp.converters.caffe.files import read_text_file
from caffe2lrp.converters.caffe.message import Message
from caffe2lrp.converters.caffe.schema import SCHEMAS
from caffe2lrp.converters.caffe.text import Node, Token, parse_text, read_text
from caffe2lrp.errors import FileFormatError

NET = SCHEMAS["NetParameter"]
LAYER = SCHEMAS["LayerParameter"]


def read(text: str, schema: Any = LAYER) -> Message:
    return read_text(text, schema, "net.prototxt")


def tree(nodes: list[Node]) -> list[Any]:
    return [(n.name, n.value.text if isinstance(n.value, Token) else tree(n.value)) for n in nodes]


@pytest.mark.parametrize(
    "text",
    [
        "lrn_param { local_size: 3 alpha: 0.5 }",
        "lrn_param: { local_size: 3, alpha: 0.5 }",
        "lrn_param < local_size: 3; alpha: 0.5; >",
        "lrn_param:<local_size:3 alpha:.5>",
        "# a comment\nlrn_param { # another }\n local_size: 0x3 alpha: 5e-1f };",
        "lrn_param {\r\n\tlocal_size: 03\r\n\talpha: 0.5F\r\n}\r\n",
        "lrn_param {\rlocal_size: 3\r# old Macintosh line ends\ralpha: 0.5\r}",
        "\ufefflrn_param { local_size: 3 alpha: 5E-1 }",
    ],
)
def test_all_ways_to_write_a_message(text: str) -> None:
    param = read(text).get("lrn_param")
    assert (param.get("local_size"), param.get("alpha"), param.get("beta")) == (3, 0.5, 0.75)


def test_strings() -> None:
    assert read(r"""name: "a\"b\\\n\x41\101\'" 'c"d' "é" """).get("name") == 'a"b\\\nAA\'c"dé'
    assert read(r'name: "\303\251\u00e9"').get("name") == "éé"
    assert read(r'name: "\377"').get("name") == "ÿ"
    assert read("name: ''").get("name") == ""


def test_lists_and_repeated_fields_are_one() -> None:
    listed = read('bottom: ["a", "b"] bottom: "c" loss_weight: [] loss_weight: [1, -2.5, inf]')
    assert listed.all("bottom") == ["a", "b", "c"]
    assert listed.all("loss_weight") == [1.0, -2.5, float("inf")]
    messages = read("param: [{lr_mult: 1}, <lr_mult: 2>, {}] param { lr_mult: 3 } param [{lr_mult: 4}]")
    assert [param.get("lr_mult") for param in messages.all("param")] == [1, 2, 1, 3, 4]


def test_numbers() -> None:
    power = "power_param {{ power: {} }}"
    values = {"- 3": -3, "-inf": float("-inf"), "1.": 1, ".25f": 0.25, "1e3": 1000, "0x10": 16, "-2.5e-1F": -0.25}
    for text, value in values.items():
        assert read(power.format(text)).get("power_param").get("power") == value, text
    assert str(read(power.format("nan")).get("power_param").get("power")) == "nan"
    dims = read("reshape_param { shape { dim: [-1, 010, 0xFF, 0] } }").get("reshape_param").get("shape").all("dim")
    assert dims == [-1, 8, 255, 0]


def test_numbers_are_those_of_caffe_which_has_them_in_single_precision() -> None:
    for text in ("0.000099999999", "0.0001", "1e-4"):
        assert read(f"lrn_param {{ alpha: {text} }}").get("lrn_param").get("alpha") == 9.99999974737875163555e-05
    assert read("batch_norm_param {}").get("batch_norm_param").get("eps") == float(np.float32(1e-5))


@pytest.mark.parametrize(
    ("text", "value"), [(t, True) for t in ("true", "True", "t", "1")] + [("f", False), ("0", False)]
)
def test_booleans(text: str, value: bool) -> None:
    assert read(f"prelu_param {{ channel_shared: {text} }}").get("prelu_param").get("channel_shared") is value


def test_enums_by_name_and_by_number() -> None:
    assert read("pooling_param { pool: AVE }").get("pooling_param").get("pool") == "AVE"
    assert read("pooling_param { pool: 1 }").get("pooling_param").get("pool") == "AVE"


def test_defaults_presence_and_lines() -> None:
    net = read('name: "x"\n\nlayer {\n  name: "a"\n}\nlayer { name: "b" }', NET)
    first, second = net.all("layer")
    assert (first.line, second.line) == (3, 6)
    assert not first.has("type")
    assert first.get("type") == ""
    assert first.get("convolution_param").get("bias_term") is True


def test_unknown_fields_are_kept_with_their_lines() -> None:
    text = 'name: "a"\nrelu6_param { x: [1, 2] y < z: "s" > }\n[my.ext/thing] { a: 1 }\n12: 3\nengine: MKL2017'
    unknown = read(text).unknown
    assert [(u.name, u.line) for u in unknown] == [
        ("relu6_param", 2),
        ("[my.ext/thing]", 3),
        ("12", 4),
        ("engine", 5),
    ]
    param = read("pooling_param {\n pool: LP\n engine: MKLDNN }").get("pooling_param")
    assert [(u.name, u.line) for u in param.unknown] == [("pool: LP", 2)]


def test_the_tree_knows_columns() -> None:
    (outer,) = parse_text("\n  a {\n    b: 1 }", "x")
    assert (outer.line, outer.column) == (2, 3)
    assert isinstance(outer.value, list)
    assert (outer.value[0].line, outer.value[0].column) == (3, 5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name", "1:5: expected ':' or '{' after 'name', but here is the end of the file"),
        ("name:\n", "2:1: expected a value for 'name'"),
        ("name: }", "1:7: expected a value for 'name', but here is }"),
        ("param {\n lr_mult: 1", "2:12: expected a field name or '}' for the message of line 1"),
        ("param {\n lr_mult: 1 >", "2:13: '}' expected for line 1, but here is >"),
        ("}", "1:1: every message is closed already"),
        ("bottom: ['a' 'b'", "1:17: expected ',' or ']'"),
        ("bottom: ['a',]", "1:14: expected a value for 'bottom'"),
        ("param: [{} {}]", "1:12: expected ',' or ']'"),
        ('name: "abc\n"', "1:7: this string is not closed on its line"),
        ("name: 'abc", "1:7: this string is not closed on its line"),
        ("lrn_param { k: 3x }", "1:16: '3x' is not a number"),
        ("lrn_param { k: 1.2.3 }", "1:16: '1.2.3' is not a number"),
        ("lrn_param @", "1:11: the character '@' does not belong in a prototxt"),
        (": 3", "1:1: expected a field name"),
        ("name: abc", "1:1: 'name' needs a string in quotes, but here is abc"),
        (
            "lrn_param { local_size: -5 }",
            "1:13: 'local_size' needs a whole number that is not negative, but here is -5",
        ),
        ("lrn_param { local_size: 2.5 }", "'local_size' needs a whole number"),
        ("lrn_param { local_size: 99999999999999999999 }", "'local_size' needs a whole number"),
        ("lrn_param { local_size: " + "9" * 5000 + " }", "'local_size' needs a whole number"),
        ("lrn_param { k: 'x' }", "'k' needs a number, but here is 'x'"),
        ("lrn_param { k: yes }", "'k' needs a number, but here is yes"),
        ("prelu_param { channel_shared: 2 }", "'channel_shared' needs true or false"),
        ("pooling_param { pool: 'MAX' }", "'pool' needs one of MAX, AVE, STOCHASTIC"),
        ("lrn_param: 3", "'lrn_param' is a message and needs braces, but here is 3"),
        ("type: RELU", "without quotes belong into the 'layers { }' of older files), but here is RELU"),
        ("name { a: 1 }", "'name' is a value of type string, not a message in braces"),
        ("name: 'a'\nname: 'b'", "2:1: 'name' may be given only once here"),
        ("a { " * 200, "messages are nested deeper than 100 levels"),
        ("a: [{ " * 200, "messages are nested deeper than 100 levels"),
    ],
)
def test_errors_name_the_place(text: str, message: str) -> None:
    with pytest.raises(FileFormatError) as caught:
        read(text)
    assert str(caught.value).startswith("net.prototxt:")
    assert message in str(caught.value)


@pytest.mark.parametrize("piece", ["{", "a{", "a:[", "<", '"', "#", "\\", "'\\", "a:'b' ", "-", " ", "\n", "0", "é"])
def test_large_nonsense_ends_soon(piece: str) -> None:
    text = (piece * 1_000_000)[:300_000]
    start = time.perf_counter()
    with suppress(FileFormatError):
        parse_text(text, "x")
    assert time.perf_counter() - start < 5


def test_a_text_file_beyond_all_measure_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    with path.open("wb") as file:
        file.truncate(100 << 20)
    with pytest.raises(FileFormatError, match="100 MB is no prototxt"):
        read_text_file(path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "utf-16"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "net.prototxt"
    path.write_bytes('# naïve\r\nname: "Ünet"\r\n'.encode(encoding))
    assert read(read_text_file(path)).get("name") == "Ünet"


TOKENS = [
    "layer",
    "name",
    "{",
    "}",
    "<",
    ">",
    "[",
    "]",
    ":",
    ",",
    ";",
    "-",
    "'a'",
    '"',
    "1",
    "0x",
    "1e9",
    "\n",
    "#",
    " ",
]


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.text(max_size=60), st.lists(st.sampled_from(TOKENS), max_size=30).map("".join)))
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(FileFormatError):
        read(text, NET)
