"""Layer types of users: what docs/own-layers.md promises, by its own examples, and what happens when they fail."""

from __future__ import annotations

import re
import textwrap
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from typer.testing import CliRunner

import caffe2lrp
from caffe2lrp import OwnLayer, register_layer
from caffe2lrp.cli import app
from caffe2lrp.converters import caffe
from caffe2lrp.converters.caffe import schema
from caffe2lrp.engine import registry
from caffe2lrp.errors import FileFormatError, ModelError, OptionError
from caffe2lrp.ir import Layer, Network
from caffe2lrp.kernels import eltwise
from caffe2lrp.kernels.launch import Program
from caffe2lrp.layers import REGISTRY, installed
from caffe2lrp.layers.activation import ReLU
from caffe2lrp.layers.convolution import Convolution
from caffe2lrp.layers.inner_product import InnerProduct
from caffe2lrp.plugin import PluginError, ShapeError, files, load_file, register, unregister_layer
from tests.layer_cases import build, chain, random_input

PAGE = (Path(__file__).parents[1] / "docs" / "own-layers.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    """Every type of a plug-in is forgotten after each test, and nothing of it is left in any table."""
    tables = (REGISTRY, registry.FORWARD, registry.RELEVANCE, registry.GRADIENT, schema.SCHEMAS, schema.ENUMS)
    tables = (*tables, schema.SCHEMAS["LayerParameter"].of_type, caffe.layers._READERS, caffe.layers._WRITERS)
    import caffe2lrp.engine.layers  # noqa: F401

    before = [dict(table) for table in tables]  # type: ignore[call-overload]
    yield
    for name in list(register._own):
        unregister_layer(name)
    files._loaded.clear()
    assert [dict(table) for table in tables] == before  # type: ignore[call-overload]


def block(begin: str) -> str:
    """The example of the page that begins with a line."""
    (found,) = [text for _, text in BLOCKS if text.startswith(begin)]
    return found


@pytest.fixture
def example(tmp_path: Path) -> Path:
    """A folder with the page's plug-in, its net and weights for it."""
    (tmp_path / "my_layers.py").write_text(block("# my_layers.py"))
    (tmp_path / "deploy.prototxt").write_text(block("# deploy.prototxt"))
    module = load_file(tmp_path / "my_layers.py")
    rng = np.random.default_rng(0)
    fc = {"weight": rng.normal(0, 1, (4, 12 * 4 * 3)).astype(np.float32), "bias": np.ones(4, np.float32)}
    network = Network(
        "own",
        {"data": (1, 3, 8, 6)},
        [
            Layer("stack", module.SpaceToDepth(), ("data",), ("stack",)),
            Layer("gain", module.Gain(0.5), ("stack",), ("gain",), {"gain": np.arange(1, 13, dtype=np.float32)}),
            Layer("fc", InnerProduct(4), ("gain",), ("fc",), fc),
        ],
    )
    caffe.write_prototxt(network, tmp_path / "written.prototxt")
    other = Network("one", network.inputs, [Layer("stack", module.SpaceToDepth(1), ("data",), ("stack",))])
    with pytest.raises(FileFormatError, match="space_to_depth_param has no field number"):
        caffe.write_caffemodel(other, tmp_path / "x.caffemodel")
    caffe.write_caffemodel(network, tmp_path / "own.caffemodel")
    return tmp_path


def expected_forward(x: np.ndarray, network: Network) -> np.ndarray:
    stacked = np.concatenate([x[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)], axis=1)
    gained = stacked * np.sqrt(np.arange(1, 13)).reshape(-1, 1, 1)
    fc = network.layer("fc").weights
    return gained.reshape(len(x), -1) @ fc["weight"].astype(np.float64).T + fc["bias"]


# -- the page's example ---------------------------------------------------------------------------------------


def test_the_example_is_read_run_and_explained(example: Path) -> None:
    network = caffe2lrp.load(example / "deploy.prototxt", example / "own.caffemodel")
    assert not network.notes
    assert str(network.layer("gain").params) == "Gain power=0.5"
    for dtype, tolerance in ((np.float64, 1e-12), (np.float32, 1e-5)):
        x = np.random.default_rng(1).normal(0, 1, (2, 3, 8, 6)).astype(dtype)
        y = network.forward(x)["fc"]
        np.testing.assert_allclose(y, expected_forward(x, network), rtol=tolerance, atol=tolerance)
        e = caffe2lrp.explain(network, x, [1, 2], rule="epsilon", epsilon=0.0, account=True)
        weights = network.layer("fc").weights
        gained = network.forward(x, keep="gain")["gain"].reshape(2, -1)
        share = gained * weights["weight"][[1, 2]] * (e.score / y[[0, 1], [1, 2]])[:, None]
        share = share.reshape(2, 12, 4, 3)
        unstacked = np.zeros(x.shape)
        for k, (i, j) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)]):
            unstacked[:, :, i::2, j::2] = share[:, 3 * k : 3 * k + 3]
        np.testing.assert_allclose(e.relevance, unstacked, rtol=1e-4, atol=1e-4)
        assert e.account is not None
        assert [entry.type for entry in e.account.entries] == ["InnerProduct", "Gain", "SpaceToDepth"]
    g = caffe2lrp.explain(network, x.astype(np.float64), [1, 2], composite="gradient", start="one")
    step = np.zeros(x.shape)
    step[0, 2, 5, 3] = 1e-6
    above, below = (network.forward(x.astype(np.float64) + s * step)["fc"][0, 1] for s in (1, -1))
    assert (above - below) / 2e-6 == pytest.approx(g.relevance[0, 2, 5, 3], rel=1e-6)


def test_the_example_survives_writing(example: Path) -> None:
    text = (example / "written.prototxt").read_text()
    assert "gain_param { power: 0.5 }" in text
    assert caffe2lrp.load(example / "written.prototxt", example / "own.caffemodel").layer("gain").params.power == 0.5
    alone = caffe2lrp.load(example / "own.caffemodel")  # fields by number: 301, 1
    assert alone.layer("gain").params.power == 0.5  # type: ignore[attr-defined]
    assert alone.layer("stack").params.block == 2  # type: ignore[attr-defined]


def test_the_example_as_onnx(example: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    from caffe2lrp.converters.onnx import build_model

    network = caffe2lrp.load(example / "deploy.prototxt", example / "own.caffemodel")
    with pytest.raises(ModelError, match=r"layer 'gain' \(Gain, .*no ONNX for this type"):
        build_model(network)
    network = Network("stack", network.inputs, network.layers[:1])
    session = onnxruntime.InferenceSession(build_model(network).to_bytes(), providers=["CPUExecutionProvider"])
    x = np.random.default_rng(1).normal(0, 1, (3, 3, 8, 6)).astype(np.float32)
    np.testing.assert_array_equal(session.run(None, {"data": x})[0], network.forward(x)["stack"])


def test_the_command_line_loads_it(example: Path) -> None:
    for name in ("SpaceToDepth", "Gain"):
        unregister_layer(name)
    files._loaded.clear()
    net, weights = str(example / "deploy.prototxt"), str(example / "own.caffemodel")
    run = CliRunner().invoke
    unknown = run(app, ["inspect", net])
    assert unknown.exit_code == 2
    assert "docs/own-layers.md" in unknown.stderr
    plugin = ["--plugin", str(example / "my_layers.py")]
    result = run(app, ["inspect", net, *plugin])
    assert result.exit_code == 0, result.stderr
    assert "SpaceToDepth" in result.stdout
    picture = str(next((Path(caffe2lrp.__file__).parents[1] / "models" / "digits").glob("*.png")))
    files_ = ["--prototxt", net, "--weights", weights, *plugin]
    result = run(app, ["predict", picture, *files_])
    assert result.exit_code == 0, result.stderr
    result = run(app, ["explain", picture, *files_, "--out", str(example / "maps"), "--rule", "epsilon"])
    assert result.exit_code == 0, result.stderr
    assert list((example / "maps").glob("*.npy"))


def test_the_python_layer_of_the_page(tmp_path: Path) -> None:
    exec(block('@caffe2lrp.register_layer("ScaleLayer"'), {"caffe2lrp": caffe2lrp})
    net = """
        input: "x" input_shape { dim: [1, 2] }
        layer { name: "s" type: "Python" bottom: "x" top: "y"
                python_param { module: "my_net.layers" layer: "ScaleLayer" param_str: "%s" } }
    """
    for text, factor in (("'factor': 2.5", 2.5), ("{'factor': 3}", 3), ("factor: 4", 4), ("", 1), ("other: a", 1)):
        (tmp_path / "net").write_text(net % text)
        network = caffe2lrp.load(tmp_path / "net")
        np.testing.assert_array_equal(network.forward(np.array([[1.0, 2.0]]))["y"], [[factor, 2 * factor]])
        caffe.write_prototxt(network, tmp_path / "again")
        assert 'type: "Python"' in (tmp_path / "again").read_text()
        assert caffe2lrp.load(tmp_path / "again").layers[0].params == network.layers[0].params
    (tmp_path / "net").write_text(net.replace("my_net", "other") % "")
    with pytest.raises(ModelError, match=r"other\.layers\.ScaleLayer"):
        caffe2lrp.load(tmp_path / "net")
    (tmp_path / "net").write_text(net % "nonsense")
    with pytest.raises(ModelError, match=r"layer 's' .*'nonsense', which is not 'name: value'"):
        caffe2lrp.load(tmp_path / "net")


def test_the_kernel_of_the_page(tmp_path: Path) -> None:
    text = "from __future__ import annotations\nimport caffe2lrp\n" + block("from caffe2lrp.kernels.launch")
    (tmp_path / "cube.py").write_text(text)
    module = load_file(tmp_path / "cube.py")
    network = chain((2, 3, 5), ReLU(), module.Cube(), ReLU())
    x = random_input(network)
    np.testing.assert_allclose(network.forward(x)["y2"], np.maximum(x, 0) ** 3, rtol=1e-14)
    with pytest.raises(ModelError, match="relevance cannot pass through Cube; start below it"):
        caffe2lrp.explain(network, x, 0)


def test_every_example_of_the_page_is_tested() -> None:
    assert [kind for kind, _ in BLOCKS] == ["python", "", "sh", "toml", "python", "python"]


# -- parameters -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Inner:
    """A message inside the message."""

    threshold: float = 0.3
    names: tuple[str, ...] = ()


class Identity(OwnLayer):
    """A base without parameters."""

    def forward(self, inputs: Any, weights: Any) -> Any:
        return inputs[0]


def everything() -> Any:
    """A class with parameters of all kinds."""

    @register_layer("Everything", number=500)
    class Everything(Identity):
        size: int
        scale: float = 0.1
        on: bool = True
        name: str = "none"
        mode: Literal["SUM", "MAX"] = "SUM"
        sizes: tuple[int, ...] = ()
        inner: Inner = Inner()
        inners: tuple[Inner, ...] = ()
        limit: int | None = None
        last: float = field(default=1.0, metadata={"number": 77})

    return Everything


def layer_of(text: str, folder: Path, load: Any = caffe2lrp.load) -> Network:
    (folder / "net.prototxt").write_text(f'input: "x" input_shape {{ dim: [1, 2] }} layer {{ bottom: "x" {text} }}')
    network: Network = load(folder / "net.prototxt")
    return network


def test_parameters_of_all_kinds(tmp_path: Path) -> None:
    cls = everything()
    text = """name: "e" type: "Everything" top: "y" everything_param { size: 3 scale: 0.2 on: false name: "n" mode: MAX
              sizes: [1, 2] sizes: 3 inner { threshold: 0.5 names: "a" } inners {} inners { names: ["b", "c"] }
              limit: -4 last: 2 }"""
    network = layer_of(text, tmp_path)
    single = float(np.float32(0.3))
    full = cls(
        3, float(np.float32(0.2)), False, "n", "MAX", (1, 2, 3), Inner(0.5, ("a",)),
        (Inner(single), Inner(single, ("b", "c"))), -4, 2.0,
    )  # fmt: skip
    assert network.layers[0].params == full
    caffe.write_caffemodel(network, tmp_path / "net.caffemodel")
    assert caffe2lrp.load(tmp_path / "net.caffemodel").layers[0].params == full
    caffe.write_prototxt(network, tmp_path / "again.prototxt")
    assert caffe2lrp.load(tmp_path / "again.prototxt").layers[0].params == full
    few = layer_of('name: "e" type: "Everything" top: "y" everything_param { size: 1 }', tmp_path)
    assert few.layers[0].params == cls(1, scale=float(np.float32(0.1)))


@pytest.mark.parametrize(
    ("param", "message"),
    [
        ("", "layer 'e' .*everything_param lacks size"),
        ("everything_param { size: 1.5 }", "net.prototxt:1:.* 'size' needs a whole number"),
        ("everything_param { size: 1 size: 2 }", "'size' may be given only once"),
        ("everything_param { size: 1 inner: 3 }", "'inner' is a message and needs braces"),
    ],
)
def test_parameters_that_do_not_fit(tmp_path: Path, param: str, message: str) -> None:
    everything()
    with pytest.raises((ModelError, FileFormatError), match=message):
        layer_of(f'name: "e" type: "Everything" top: "y" {param}', tmp_path)


def test_unknown_fields_are_noted(tmp_path: Path) -> None:
    everything()
    network = layer_of('name: "e" type: "Everything" top: "y" everything_param { size: 1 new: 2 }', tmp_path)
    assert any("unknown field 'new' ignored" in note for note in network.notes)


def test_a_message_of_caffe_with_more_fields(tmp_path: Path) -> None:
    @register_layer("MyConv", param="convolution_param")
    class MyConv(Identity):
        num_output: int
        kernel_size: tuple[int, ...]
        margin: float = 0.0

    text = 'name: "e" type: "MyConv" top: "y" convolution_param { num_output: 3 kernel_size: 5 margin: 0.5 }'
    assert layer_of(text, tmp_path).layers[0].params == MyConv(3, (5,), 0.5)
    text = 'name: "e" type: "Convolution" top: "y" convolution_param { num_output: 3 kernel_size: 5 margin: 0.5 }'
    (tmp_path / "net.prototxt").write_text(
        f'input: "x" input_shape {{ dim: [1, 2, 9, 9] }} layer {{ bottom: "x" {text} }}'
    )
    assert any("margin" in note for note in caffe.load_definition(tmp_path / "net.prototxt").notes)


def test_numbers_belong_to_a_type(tmp_path: Path) -> None:
    @register_layer("A", number=400)
    class A(Identity):
        x: int = 0

    @register_layer("B", number=400)
    class B(Identity):
        y: float = 0.0

    layers = [Layer("a", A(3), ("in",), ("m",)), Layer("b", B(0.5), ("m",), ("out",))]
    caffe.write_caffemodel(Network("n", {"in": (1, 2)}, layers), tmp_path / "net.caffemodel")
    assert [layer.params for layer in caffe2lrp.load(tmp_path / "net.caffemodel").layers] == [A(3), B(0.5)]


def test_another_way_to_read_and_write(tmp_path: Path) -> None:
    @register_layer("Pair")
    class Pair(Identity):
        size: tuple[int, int] = (1, 1)

        @classmethod
        def read(cls, layer: Any) -> Any:
            given = cls.values(layer).get("size", (1,))
            return cls((given[0], given[-1]))

        def write(self) -> dict[str, Any]:
            return {"size": self.size[:1] if self.size[0] == self.size[1] else self.size}

    for text, size in (("", (1, 1)), ("pair_param { size: 3 }", (3, 3)), ("pair_param { size: [2, 4] }", (2, 4))):
        network = layer_of(f'name: "e" type: "Pair" top: "y" {text}', tmp_path)
        assert network.layers[0].params == Pair(size)
        caffe.write_prototxt(network, tmp_path / "again")
        assert caffe2lrp.load(tmp_path / "again").layers[0].params == Pair(size)


# -- running --------------------------------------------------------------------------------------------------


@register_layer("Halves")
class _Halves(OwnLayer):
    """Two inputs; their sum and difference."""

    input_count = (2, 2)

    def output_shapes(self, inputs: Any) -> Any:
        return list(inputs)

    def forward(self, inputs: Any, weights: Any) -> Any:
        a, b = inputs
        assert not a.flags.writeable
        return [a + b, a - b]

    def relevance(self, inputs: Any, weights: Any, outputs: Any, arriving: Any) -> Any:
        return [arriving[0], arriving[1]]

    def gradient(self, inputs: Any, weights: Any, outputs: Any, arriving: Any) -> Any:
        return [arriving[0] + arriving[1], arriving[0] - arriving[1]]


unregister_layer("Halves")


def halves() -> Network:
    register_layer("Halves")(_Halves)
    return build(
        {"data": (2, 3, 6, 5)},
        ("a", Convolution(4, (3, 3)), ["data"], ["a"]),
        ("b", Convolution(4, (3, 3)), ["data"], ["b"]),
        ("first", _Halves(), ["a", "b"], ["c", "d"]),
        ("relu", ReLU(), ["d"], ["e"]),
        ("second", _Halves(), ["c", "c"], ["f", "g"]),
        ("third", _Halves(), ["f", "e"], ["h", "i"]),
        ("fc", InnerProduct(3), ["h"], ["j"]),
    )


def test_python_between_kernels() -> None:
    network = halves()
    x = random_input(network)
    y = network.forward(x, keep="all")
    np.testing.assert_allclose(y["h"], 2 * (y["a"] + y["b"]) + np.maximum(y["a"] - y["b"], 0), rtol=1e-12)
    e = caffe2lrp.explain(network, x, [0, 1], composite="gradient", layer="j", start="one")
    direction = np.random.default_rng(3).normal(0, 1, x.shape)
    above, below = (network.forward(x + s * 1e-6 * direction, keep="j")["j"] for s in (1, -1))
    measured = ((above - below) / 2e-6)[[0, 1], [0, 1]].sum()
    assert (e.relevance * direction).sum() == pytest.approx(measured, rel=1e-6)


def test_threads_share_a_network_with_python_layers() -> None:
    network = halves()
    inputs = [random_input(network, seed) for seed in range(6)]
    expected = [(network.forward(x)["j"], caffe2lrp.explain(network, x, [0, 1], layer="j").relevance) for x in inputs]
    wrong: list[int] = []

    def work(i: int) -> None:
        for _ in range(10):
            y, r = network.forward(inputs[i])["j"], caffe2lrp.explain(network, inputs[i], [0, 1], layer="j").relevance
            if not (np.array_equal(y, expected[i][0]) and np.array_equal(r, expected[i][1])):
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(inputs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_network_inside_a_layer() -> None:
    """A Python function may run another network: it is not called while a program has its turn."""
    inner = chain((1, 4), InnerProduct(4))

    @register_layer("Nested")
    class Nested(OwnLayer):
        def forward(self, inputs: Any, weights: Any) -> Any:
            return inner.forward(inputs[0])["y0"]

    network = chain((2, 4), ReLU(), Nested(), ReLU())
    x = random_input(network)
    np.testing.assert_array_equal(network.forward(x)["y2"], np.maximum(inner.forward(np.maximum(x, 0))["y0"], 0))


def test_programs_are_cut_at_python_functions() -> None:
    x, y, seen = np.zeros(4), np.zeros(4), []
    program = Program("float64")
    program.add_python(lambda: x.fill(len(seen) + 1), "begin")
    program.add(eltwise.scaled, x, 2.0, y, label="double")
    program.add_python(lambda: seen.append(y.copy()), "see")
    program.add_python(lambda: y.__iadd__(1), "add")
    program.add(eltwise.add_scaled, x, 1.0, y)
    assert program.labels == ["begin", "double", "see", "add", "add_scaled"]
    for i in (1, 2):
        program.run()
        np.testing.assert_array_equal(seen[-1], 2.0 * i)
        np.testing.assert_array_equal(y, 3.0 * i + 1)
    longer = Program("float64")
    longer.add_python(seen.clear, "clear")
    longer.extend(program)
    longer.run()
    np.testing.assert_array_equal(seen, [np.full(4, 2.0)])
    only = Program("float32")
    only.add_python(seen.clear, "alone")
    only.run()
    assert not seen


def test_a_layer_without_inputs(tmp_path: Path) -> None:
    @register_layer("Constant")
    class Constant(OwnLayer):
        input_count = (0, 0)
        value: float = 1.0

        def output_shapes(self, inputs: Any) -> Any:
            return [(1, 2)]

        def forward(self, inputs: Any, weights: Any) -> Any:
            return np.full((1, 2), self.value)

    (tmp_path / "net").write_text("""
        input: "x" input_shape { dim: [1, 2] }
        layer { name: "c" type: "Constant" top: "c" constant_param { value: 7 } }
        layer { name: "s" type: "Eltwise" bottom: "x" bottom: "c" top: "y" }
    """)
    network = caffe2lrp.load(tmp_path / "net")
    np.testing.assert_array_equal(network.forward(np.array([[1.0, 2.0]]))["y"], [[8, 9]])


# -- when it goes wrong -------------------------------------------------------------------------------------------


def failing(method: str, body: str, folder: Path) -> Path:
    """A plug-in whose method has a body."""
    arguments = {
        "forward": "self, inputs, weights",
        "output_shapes": "self, inputs",
        "weight_shapes": "self, inputs",
        "multiply_adds": "self, inputs, outputs",
        "relevance": "self, inputs, weights, outputs, arriving",
        "gradient": "self, inputs, weights, outputs, arriving",
        "__post_init__": "self",
        "add_relevance": "self, plan, layer",
    }
    methods = {"forward": "return inputs[0]", "relevance": "return arriving[0]", method: body}
    lines = [f"    def {name}({arguments[name]}):\n        {text}" for name, text in methods.items()]
    file = folder / "bad.py"
    head = "import numpy as np\nimport caffe2lrp\n@caffe2lrp.register_layer('Bad')\nclass Bad(caffe2lrp.OwnLayer):\n"
    file.write_text(head + "\n".join(lines) + "\n")
    return file


@pytest.mark.parametrize(
    ("method", "body", "message"),
    [
        ("output_shapes", "return inputs[3]", "output_shapes of its plug-in fails: IndexError: .*bad.py:"),
        ("output_shapes", "return (1, 2)", "output_shapes of its plug-in returned .*no list of shapes"),
        ("output_shapes", "return [3]", "returned 3 where a shape was expected"),
        ("weight_shapes", "return [(1, 2)]", "weight_shapes of its plug-in returned .*no dict of shapes"),
        ("weight_shapes", "return {'w': 1 / 0}", "weight_shapes of its plug-in fails: ZeroDivisionError"),
        ("__post_init__", "raise ValueError('no such size')", "reading .*ValueError: no such size .*bad.py:"),
        ("forward", "return inputs[0] / {}", "forward of its plug-in fails: TypeError.*bad.py:6"),
        ("forward", "inputs[0][0] = 1", "fails: ValueError: assignment destination is read-only"),
        ("forward", "return inputs[0][:, :1]", r"returned an array of shape \(1, 1\) where \(1, 2\) is expected"),
        ("forward", "return [inputs[0], inputs[0]]", "returned 2 arrays where 1 are expected"),
        ("forward", "return np.array([['a', 'b']])", "returned an array of <U1 where numbers are expected"),
        ("forward", "return None", "forward of its plug-in fails: TypeError: 'NoneType'"),
        ("relevance", "return arriving[1]", "relevance of its plug-in fails: IndexError"),
        ("add_relevance", "plan.program.add(None)", "add_relevance of its plug-in fails: AttributeError"),
    ],
)
def test_errors_name_layer_method_and_line(tmp_path: Path, method: str, body: str, message: str) -> None:
    load_file(failing(method, body, tmp_path))

    def run() -> None:
        network = layer_of('name: "it" type: "Bad" top: "y"', tmp_path, caffe.load_definition)
        caffe2lrp.explain(network, np.ones((1, 2)), 0)

    with pytest.raises(ModelError, match=r"layer 'it' \(Bad(, .*net)?.*" + message) as caught:
        run()
    assert "\n" not in str(caught.value)


def test_a_failing_cost_is_an_error_for_inspect(tmp_path: Path) -> None:
    load_file(failing("multiply_adds", "return None.x", tmp_path))
    network = layer_of('name: "it" type: "Bad" top: "y"', tmp_path)
    with pytest.raises(ModelError, match="multiply_adds of its plug-in fails: AttributeError"):
        _ = network.multiply_adds


def test_the_buffers_are_good_again_after_an_error() -> None:
    fail = [True]

    @register_layer("Sometimes")
    class Sometimes(OwnLayer):
        def forward(self, inputs: Any, weights: Any) -> Any:
            if fail[0]:
                raise RuntimeError("not yet")
            return 2 * inputs[0]

        def relevance(self, inputs: Any, weights: Any, outputs: Any, arriving: Any) -> Any:
            return arriving[0]

    network = chain((1, 3), ReLU(), Sometimes(), ReLU())
    x = random_input(network)
    for run in (lambda: network.forward(x), lambda: caffe2lrp.explain(network, x, 0)):
        fail[0] = True
        with pytest.raises(PluginError, match="RuntimeError: not yet"):
            run()
        fail[0] = False
        run()
    np.testing.assert_array_equal(network.forward(x)["y2"], 2 * np.maximum(x, 0))


def test_no_gradient_is_said(tmp_path: Path) -> None:
    load_file(failing("forward", "return inputs[0]", tmp_path))
    network = layer_of('name: "it" type: "Bad" top: "y"', tmp_path)
    np.testing.assert_array_equal(caffe2lrp.explain(network, np.ones((1, 2)), 1).relevance, [[0, 1]])
    with pytest.raises(ModelError, match="its plug-in has no gradient method"):
        caffe2lrp.explain(network, np.ones((1, 2)), 1, composite="gradient")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1", "bad.py registers no layer type"),
        ("x = (", r"loading this plug-in fails: SyntaxError.*bad.py"),
        ("import nothing_of_this_name", "ModuleNotFoundError: No module named 'nothing_of_this_name'"),
        ("import caffe2lrp\n@caffe2lrp.register_layer('A')\nclass A: pass", "must derive from caffe2lrp.OwnLayer"),
        (
            "import caffe2lrp\n@caffe2lrp.register_layer('A')\nclass A(caffe2lrp.OwnLayer): pass",
            "A has neither forward nor add_forward",
        ),
    ],
)
def test_files_that_are_no_plugins(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "bad.py").write_text(text)
    with pytest.raises((OptionError, PluginError), match=message):
        load_file(tmp_path / "bad.py")
    with pytest.raises(OptionError, match="no such plug-in file"):
        load_file(tmp_path / "none.py")
    (tmp_path / "plugin.txt").write_text("")
    with pytest.raises(OptionError, match=r"name ends in \.py"):
        load_file(tmp_path / "plugin.txt")


def test_attributes_that_cannot_be_parameters() -> None:
    with pytest.raises(OptionError, match=r"Odd.x: a parameter must be .* not <class 'complex'>"):

        @register_layer("Odd")
        class Odd(Identity):
            x: complex = 0j


def test_built_in_types_are_replaced_on_request_only(tmp_path: Path) -> None:
    before = chain((1, 2), ReLU())
    with pytest.raises(OptionError, match="has a layer type 'ReLU' already"):
        register_layer("ReLU")(type("R", (Identity,), {}))

    @register_layer("ReLU", replace=True)
    class Other(OwnLayer):
        def forward(self, inputs: Any, weights: Any) -> Any:
            return inputs[0] + 1

    network = layer_of('name: "it" type: "ReLU" top: "y"', tmp_path)
    np.testing.assert_array_equal(network.forward(np.array([[-1.0, 1.0]]))["y"], [[0, 2]])
    unregister_layer("ReLU")
    network = layer_of('name: "it" type: "ReLU" top: "y"', tmp_path)
    np.testing.assert_array_equal(network.forward(np.array([[-1.0, 1.0]]))["y"], [[0, 1]])
    np.testing.assert_array_equal(before.forward(np.array([[-1.0, 1.0]]))["y0"], [[0, 1]])


def test_a_type_may_be_registered_again(tmp_path: Path) -> None:
    for factor in (2, 3):

        @register_layer("Again")
        class Again(OwnLayer):
            def forward(self, inputs: Any, weights: Any, factor: int = factor) -> Any:
                return factor * inputs[0]

        network = layer_of('name: "it" type: "Again" top: "y"', tmp_path)
        np.testing.assert_array_equal(network.forward(np.ones((1, 2)))["y"], factor)


# -- installed plug-ins ---------------------------------------------------------------------------------------------


def test_entry_points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = """
        from caffe2lrp import OwnLayer, register_layer
        @register_layer("Installed")
        class Installed(OwnLayer):
            def forward(self, inputs, weights):
                return inputs[0] * 5
    """
    (tmp_path / "own_package.py").write_text(textwrap.dedent(source))
    for name, value in (("own", "own_package"), ("broken", "own_package_that_is_missing")):
        folder = tmp_path / f"{name}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (folder / "entry_points.txt").write_text(f"[caffe2lrp.layers]\nit = {value}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    installed.load_installed_layers.cache_clear()
    try:
        network = layer_of('name: "it" type: "Installed" top: "y"', tmp_path)
        np.testing.assert_array_equal(network.forward(np.ones((1, 2)))["y"], 5)
        with pytest.raises(ModelError, match="Not loaded: the plug-in own_package_that_is_missing of broken: Module"):
            layer_of('name: "it" type: "Missing" top: "y"', tmp_path)
    finally:
        installed._failed.clear()


def test_a_shape_error_needs_no_place(tmp_path: Path) -> None:
    @register_layer("Even")
    class Even(Identity):
        def output_shapes(self, inputs: Any) -> Any:
            raise ShapeError("needs an even width")

    with pytest.raises(ModelError, match=r"layer 'it' \(Even\): needs an even width$"):
        layer_of('name: "it" type: "Even" top: "y"', tmp_path)
