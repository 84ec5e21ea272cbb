"""The engine against the naive twin of the LRP Toolbox, on random nets: every formula, option, batch and class list."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caffe2lrp import toolbox
from caffe2lrp.errors import Caffe2LrpError, ModelError
from caffe2lrp.ir import Network
from caffe2lrp.layers.activation import AbsVal, PReLU, ReLU, Sigmoid, TanH
from caffe2lrp.layers.convolution import Convolution
from caffe2lrp.layers.dropout import Dropout
from caffe2lrp.layers.inner_product import InnerProduct
from caffe2lrp.layers.join import Concat
from caffe2lrp.layers.lrn import LRN
from caffe2lrp.layers.pooling import Pooling
from caffe2lrp.layers.softmax import Softmax
from tests import naive
from tests.layer_cases import Shape, Spec, assert_close, build, random_input

CLASSES = 7


class Net:
    """A net under construction: the blob on top, and layers with values that Caffe keeps in one memory."""

    def __init__(self, shape: Shape) -> None:
        self.shapes: dict[str, Shape] = {"data": shape}
        self.specs: list[Spec] = []
        self.names: dict[str, str] = {}  # values of in-place layers -> Caffe's name
        self.top = "data"

    def add(self, params: Any, *bottoms: str, in_place: bool = False) -> str:
        """Put a layer on top, or on `bottoms`; returns its output."""
        inputs = list(bottoms) or [self.top]
        name = f"{params.type.lower()}{len(self.specs)}"
        self.top = f"{name}_out"
        (self.shapes[self.top],) = params.output_shapes([self.shapes[blob] for blob in inputs])
        self.specs.append((name, params, inputs, [self.top]))
        if in_place:
            self.names[self.top] = self.names.get(inputs[0], inputs[0])
        return self.top

    def network(self, seed: int) -> Network:
        """The net with random weights."""
        return build({"data": self.shapes["data"]}, *self.specs, seed=seed, blob_names=self.names)


@st.composite
def networks(draw: st.DrawFn) -> Network:
    """Convolutions with groups, pads and strides, poolings with overhang, LRN, branches, side heads, dropout."""
    batch, sides = draw(st.integers(1, 3)), draw(st.permutations([5, 7, 8]))
    net = Net((batch, draw(st.sampled_from([2, 3, 4])), sides[0], sides[1]))
    parts = draw(st.lists(st.sampled_from([_convolve, _pool, _normalise, _branch, _head]), min_size=1, max_size=5))
    for part in [_convolve, *parts] if draw(st.integers(0, 4)) else parts:
        part(net, draw)
    for _ in range(draw(st.sampled_from([0, 0, 13]))):  # some formulas change their rule at layer 16
        net.add(Dropout(), in_place=True)
    if draw(st.integers(0, 9)) == 0:
        net.add(draw(st.sampled_from([Sigmoid(), TanH(), AbsVal(), PReLU()])), in_place=draw(st.booleans()))
    if draw(st.booleans()):
        net.add(InnerProduct(draw(st.sampled_from([3, 6])), draw(st.booleans())))
        _rectify(net, draw)
        if draw(st.booleans()):
            net.add(Dropout(), in_place=draw(st.booleans()))
    net.add(InnerProduct(CLASSES, draw(st.booleans())))
    net.add(Softmax())
    return net.network(draw(st.integers(0, 1000)))


def _convolve(net: Net, draw: st.DrawFn) -> None:
    shape = net.shapes[net.top]
    group = draw(st.sampled_from([g for g in (1, 2, 3) if shape[1] % g == 0]))
    kernel = tuple(min(draw(st.integers(1, 3)), size) for size in shape[2:])
    stride = draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    pad = draw(st.tuples(st.integers(0, 2), st.integers(0, 1)))
    net.add(Convolution(group * draw(st.sampled_from([1, 2])), kernel, stride, pad, (1, 1), group, draw(st.booleans())))
    _rectify(net, draw)


def _rectify(net: Net, draw: st.DrawFn) -> None:
    kind = draw(st.sampled_from(["none", "in place", "apart"]))
    if kind != "none":
        net.add(ReLU(draw(st.sampled_from([0.0, 0.0, 0.1]))), in_place=kind == "in place")


def _pool(net: Net, draw: st.DrawFn) -> None:
    kernel = tuple(min(draw(st.integers(1, 3)), size) for size in net.shapes[net.top][2:])
    pad = tuple(draw(st.integers(0, k - 1)) for k in kernel)
    stride = tuple(draw(st.integers(1, k)) for k in kernel)
    net.add(Pooling(draw(st.sampled_from(["MAX", "AVE"])), kernel, stride, pad))


def _normalise(net: Net, draw: st.DrawFn) -> None:
    region = draw(st.sampled_from(["across", "across", "across", "within"]))
    net.add(LRN(draw(st.sampled_from([3, 5])), draw(st.sampled_from([0.1, 1.0])), 0.75, 1.0, region))


def _branch(net: Net, draw: st.DrawFn) -> None:
    """Two branches of one blob, joined again; the blob itself may be one of them."""
    blob = net.top
    first = net.add(Convolution(draw(st.integers(1, 3)), (1, 1)), blob)
    second = net.add(Convolution(2, (3, 3), (1, 1), (1, 1)), blob)
    if draw(st.booleans()):
        second = net.add(ReLU(), in_place=True)
    parts = [first, second, *([blob] if draw(st.booleans()) else [])]
    net.add(Concat(), *draw(st.permutations(parts)))


def _head(net: Net, draw: st.DrawFn) -> None:
    """A side head that does not lead to the classes, as GoogLeNet's auxiliary ones: it is visited all the same."""
    blob = net.top
    _pool(net, draw)
    net.add(InnerProduct(2))
    if draw(st.booleans()):
        net.add(Softmax())
    net.top = blob


@st.composite
def chosen_options(draw: st.DrawFn, layers: int) -> dict[str, Any]:
    """Options of the Toolbox besides the formula: explicit layer indices and codes for them, and what is rarely set."""
    return {
        "epsstab": draw(st.sampled_from([0.0, 1e-6, 0.1, 1.0, 100.0])),
        "alphabeta_beta": draw(st.sampled_from([0.0, 0.1, 1.0, 2.0])),
        "lastlayerindex": draw(st.sampled_from([-2, -2, -1]) | st.integers(1, layers - 1)),
        "auxiliaryvariable_maxlayerindexforflatdistinconv": draw(st.integers(0, layers)),
        "lrn_backward_type": draw(st.sampled_from([1, 1, 0, -1])),
        "maxpoolingtoavgpoolinginbackwardpass": draw(st.sampled_from([0, 0, 1])),
        "has_init_relevance": draw(st.sampled_from([0, 0, 1])),
        "relevance_for_init": 2.5,
        **draw(st.sampled_from([{}] * 8 + [{"codeexectype": 1, "biastreatmenttype": b} for b in (0, 1)])),
    }


def check(network: Network, x: np.ndarray, classes: Any, options: dict[str, Any], mean: np.ndarray) -> None:
    """Engine and twin give the same relevance in both precisions, or both stop."""
    try:
        arrived = naive.toolbox_relevance(network, naive.forward(network, x), classes, options, mean)
        expected = arrived.get(network.input)
    except naive.ToolboxError:
        expected = None
    for dtype, tolerance in ((np.float64, 1e-9), (np.float32, 2e-3)):
        if expected is None or not np.isfinite(expected).all():
            with pytest.raises(Caffe2LrpError):
                raise_unless_finite(toolbox.explain(network, x.astype(dtype), classes, imagemean=mean, **options))
        elif dtype == np.float64 or well_conditioned(network, x, classes, options, mean, expected):
            e = toolbox.explain(network, x.astype(dtype), classes, imagemean=mean, **options)
            if np.abs(expected).max() > np.finfo(dtype).tiny / tolerance:  # else it is no number of this precision
                assert_close(e.relevance, expected, tolerance)


def raise_unless_finite(e: Any) -> None:
    """What is no number in the twin (0 / 0 in the formula) is none in the engine, or an error."""
    if not np.isfinite(e.relevance).all():
        raise ModelError("not finite")


def well_conditioned(
    network: Network, x: np.ndarray, classes: Any, options: dict[str, Any], mean: np.ndarray, expected: np.ndarray
) -> bool:
    """Whether an input that differs by the error of single precision gives nearly the same relevance."""
    noise = np.random.default_rng(3).uniform(-1, 1, x.shape) * 2e-7
    moved = x * (1 + noise)
    other = naive.toolbox_relevance(network, naive.forward(network, moved), classes, options, mean)[network.input]
    return bool(np.abs(other - expected).max() <= 1e-5 * np.abs(expected).max())


def lists_of(draw: st.DrawFn, images: int) -> Any:
    """Classes of one image, started together; or one class, or a list, for each of several."""
    lists = [draw(st.lists(st.integers(0, CLASSES - 5), max_size=3)) for _ in range(images)]
    if images == 1:
        return lists[0] or [0]
    return lists if draw(st.booleans()) else [draw(st.integers(0, 1)) for _ in range(images)]


@pytest.mark.parametrize("formula", toolbox.FORMULAS)
@given(data=st.data())
@settings(max_examples=25, deadline=None, derandomize=True)  # ties behind an LRN layer are ties up to rounding only
def test_engine_and_twin_agree(formula: int, data: st.DataObject) -> None:
    network = data.draw(networks())
    options = data.draw(chosen_options(len(toolbox.steps(network)))) | {"relpropformulatype": formula}
    # Small whole numbers make ties among maxima, and windows whose sum is zero.
    x = random_input(network, data.draw(st.integers(0, 1000)), ties=data.draw(st.booleans()))
    mean = np.random.default_rng(1).uniform(90, 130, network.input_shape[1:])
    check(network, x, lists_of(data.draw, len(x)), options, mean)
