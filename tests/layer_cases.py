"""Random and chosen cases of every layer type, and the small networks that the tests run them in.

`CASES` maps each layer type to a strategy of (parameters, input shapes), `CHOSEN` to cases that must not be left to
chance. All values are single-precision numbers, so that the same network can run in either precision.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from caffe2lrp.ir import Layer, Network, with_weights
from caffe2lrp.layers import (
    REGISTRY,
    activation,
    affine,
    argmax,
    batch,
    batch_norm,
    crop,
    dropout,
    eltwise,
    embed,
    join,
    lrn,
    mvn,
    pooling,
    recurrent,
    reduction,
    softmax,
    source,
    tile,
)
from caffe2lrp.layers import reshape as reshaping
from caffe2lrp.layers.base import LayerParams
from caffe2lrp.layers.clipped import Clip
from caffe2lrp.layers.convolution import Convolution, Convolving, Deconvolution
from caffe2lrp.layers.detection import ProposalLayer
from caffe2lrp.layers.im2col import Im2col
from caffe2lrp.layers.inner_product import InnerProduct
from caffe2lrp.layers.pad import Pad
from caffe2lrp.layers.regions import ROIPooling
from tests import fork_cases, naive

Shape = tuple[int, ...]
Case = tuple[LayerParams, list[Shape]]
Spec = tuple[str, LayerParams, Sequence[str], Sequence[str]]  # name, parameters, inputs, outputs

# -- networks ---------------------------------------------------------------------------------------------


def single(values: np.ndarray) -> np.ndarray:
    """float64 values that float32 can hold."""
    return values.astype(np.float32).astype(np.float64)


def random_weights(params: LayerParams, shapes: list[Shape], rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Weights of a layer: of unit size, bounded away from 0 where they are divisors."""
    weights = {name: single(rng.uniform(-1, 1, shape)) for name, shape in params.weight_shapes(shapes).items()}
    if isinstance(params, batch_norm.BatchNorm):
        weights["variance"] = single(rng.uniform(1, 4, weights["variance"].shape))
        weights["weight"] = np.array([2.0])
    elif "variance" in weights:
        weights["variance"] = single(rng.uniform(1, 4, weights["variance"].shape))
    return weights


def build(inputs: dict[str, Shape], *specs: Spec, seed: int = 0, bias: float = 1.0, **options: Any) -> Network:
    """A network with random weights; biases are multiplied by `bias`, `options` go to `Network`."""
    rng = np.random.default_rng(seed)
    shapes, layers = dict(inputs), []
    for name, params, bottoms, tops in specs:
        given = [shapes[blob] for blob in bottoms]
        weights = random_weights(params, given, rng)
        if isinstance(params, (Convolving, InnerProduct)) and params.bias:
            weights["bias"] *= bias
        layers.append(with_weights(Layer(name, params, tuple(bottoms), tuple(tops)), weights))
        shapes.update(zip(tops, params.output_shapes(given), strict=True))
    return Network("small", inputs, layers, **options)


def chain(shape: Shape, *params: LayerParams, **options: Any) -> Network:
    """Layers one behind the other: blobs data, y0, y1, ..."""
    blobs = ["data", *(f"y{i}" for i in range(len(params)))]
    specs = [(f"layer{i}", p, [blobs[i]], [blobs[i + 1]]) for i, p in enumerate(params)]
    return build({"data": shape}, *specs, **options)


def network_of(case: Case, *, rectify: bool = False, seed: int = 0, **options: Any) -> Network:
    """One layer called ``layer``; `rectify` puts a ReLU before it.

    Networks are run on one input blob, so several inputs of a layer are cut from it and reshaped. Inputs that have to
    be indices or selectors are made from random numbers by other layers. What a layer without inputs writes is added to
    the input.
    """
    params, shapes = case
    if params.selectors and not isinstance(params, ROIPooling):
        return _guided_network(params, shapes, seed, **options)
    tops = [f"top{i}" for i in range(len(params.output_shapes(shapes)))]
    if not shapes:
        (shape,) = params.output_shapes([])
        add: Spec = ("add", eltwise.Eltwise(), ["data", *tops], ["sum"])
        return build({"data": shape}, ("layer", params, [], tops), add, seed=seed, **options)
    if len(shapes) == 1:
        before: list[Spec] = [("relu", activation.ReLU(), ["data"], ["in0"])] if rectify else []
        bottoms = ["in0"] if rectify else ["data"]
        return build({"data": shapes[0]}, *before, ("layer", params, bottoms, tops), seed=seed, **options)
    sizes = [math.prod(shape) for shape in shapes]
    points = tuple(int(p) for p in np.cumsum(sizes)[:-1])
    pieces = [f"piece{i}" for i in range(len(shapes))]
    bottoms = [f"in{i}" for i in range(len(shapes))]
    cut: Spec = ("cut", join.Slice(len(shapes), 1, points), ["data"], pieces)
    shaped: list[Spec] = [
        (f"shape{i}", reshaping.Reshape(shape), [pieces[i]], [bottoms[i]]) for i, shape in enumerate(shapes)
    ]
    if isinstance(params, ROIPooling):  # whose regions must name images that are there
        shaped.append(("numbers", Clip(0.0, shapes[0][0] - 0.5), [bottoms[1]], ["regions"]))
        bottoms[1] = "regions"
    if isinstance(params, ProposalLayer):  # a picture of 40 x 40 pixels, 40 times as large as it was
        shaped.append(("size", activation.Power(1.0, 0.0, 40.0), [bottoms[2]], ["picture"]))
        bottoms[2] = "picture"
    return build({"data": (1, sum(sizes))}, cut, *shaped, ("layer", params, bottoms, tops), seed=seed, **options)


def _guided_network(params: LayerParams, shapes: list[Shape], seed: int, **options: Any) -> Network:
    """A layer whose last input holds indices of rows (places of maxima) or selectors (which are not 0)."""
    *values, last = shapes
    is_index = isinstance(params, batch.BatchReindex)
    whole = [*values, (*last, values[0][0] if is_index else 1)]
    sizes = [math.prod(shape) for shape in whole]
    pieces, bottoms = ([f"{name}{i}" for i in range(len(whole))] for name in ("piece", "in"))
    specs: list[Spec] = [
        ("cut", join.Slice(len(whole), 1, tuple(int(p) for p in np.cumsum(sizes)[:-1])), ["data"], pieces),
        *((f"shape{i}", reshaping.Reshape(s), [pieces[i]], [bottoms[i]]) for i, s in enumerate(values)),
        ("wide", reshaping.Reshape(whole[-1]), [pieces[-1]], ["wide"]),
        ("guide", argmax.ArgMax(axis=-1) if is_index else activation.Exp(), ["wide"], ["guide"]),
        ("last", reshaping.Reshape(last), ["guide"], [bottoms[-1]]),
        ("layer", params, bottoms, [f"top{i}" for i in range(len(params.output_shapes(shapes)))]),
    ]
    return build({"data": (1, sum(sizes))}, *specs, seed=seed, **options)


def random_input(network: Network, seed: int = 0, ties: bool = False) -> np.ndarray:
    """Normal values, or with `ties` small whole numbers, among which maxima are rarely alone; indices for an Embed."""
    rng = np.random.default_rng(seed + 1000)
    shape = network.input_shape
    for layer in network.consumers[network.input]:
        for count in layer.params.indices([network.shapes[blob] for blob in layer.inputs]).values():
            return rng.integers(0, count, shape).astype(np.float64)
    return rng.integers(-2, 3, shape).astype(np.float64) if ties else single(rng.normal(0, 1, shape))


def assert_close(got: np.ndarray, expected: np.ndarray, tolerance: float, what: str = "") -> None:
    """Differences are at most `tolerance` of the largest (ordinary) expected value, or of each value itself."""
    ordinary = np.abs(expected[np.isfinite(expected) & (np.abs(expected) < 1e30)])
    size = float(ordinary.max()) if ordinary.size else 0.0
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance * size, err_msg=what)


def check_forward(network: Network, x: np.ndarray | Mapping[str, np.ndarray]) -> None:
    """Every blob equals the naive one, in both precisions; asked for alone (layers fused), the outputs do, too."""
    expected = naive.forward(network, x)
    for dtype, tolerance in ((np.float64, 1e-12), (np.float32, 2e-5)):
        given = {k: v.astype(dtype) for k, v in x.items()} if isinstance(x, Mapping) else x.astype(dtype)
        blobs = network.forward(given, keep="all")
        assert set(blobs) == set(network.shapes)
        for name, value in blobs.items():
            assert value.dtype == dtype
            assert value.shape == network.shapes[name]
            assert_close(value, expected[name], tolerance, name)
        outputs = network.forward(given)
        assert set(outputs) == set(network.outputs)
        for name, value in outputs.items():
            assert_close(value, expected[name], tolerance, f"{name} alone")


# -- strategies ---------------------------------------------------------------------------------------------


def _pair(low: int, high: int) -> st.SearchStrategy[tuple[int, int]]:
    return st.tuples(st.integers(low, high), st.integers(low, high))


@st.composite
def convolutions(draw: st.DrawFn, largest: int = 8, batches: int = 3) -> Case:
    """Kernel, stride, padding and dilation of their own in each direction."""
    group = draw(st.integers(1, 3))
    kernel, dilation = draw(_pair(1, 4)), draw(_pair(1, 3))
    pad = draw(_pair(0, 3))
    params = Convolution(
        group * draw(st.sampled_from([1, 2, 3, 5])),
        kernel,
        draw(_pair(1, 4)),
        pad,
        dilation,
        group,
        draw(st.booleans()),
    )
    least = [max(1, d * (k - 1) + 1 - 2 * p) for k, d, p in zip(kernel, dilation, pad, strict=True)]
    size = [low + draw(st.integers(0, largest)) for low in least]
    return params, [(draw(st.integers(1, batches)), group * draw(st.sampled_from([1, 2, 3])), *size)]


def _axes(rank: int, low: int, high: int) -> st.SearchStrategy[tuple[int, ...]]:
    return st.tuples(*[st.integers(low, high)] * rank)


@st.composite
def volumes(draw: st.DrawFn, kind: type[Convolving] = Convolution) -> Case:
    """Convolutions over one axis, three, or none, and over two behind another axis than 1."""
    rank, before = draw(st.sampled_from([(1, 1), (3, 1), (3, 1), (2, 2), (0, 1), (1, 2), (4, 1)]))
    group = draw(st.integers(1, 2))
    kernel, dilation, pad = draw(_axes(rank, 1, 3)), draw(_axes(rank, 1, 2)), draw(_axes(rank, 0, 1))
    axis = before - draw(st.sampled_from([0, before + 1 + rank]))
    params = kind(
        group * draw(st.sampled_from([1, 2])), kernel, draw(_axes(rank, 1, 2)), pad, dilation, group,
        draw(st.booleans()), axis,
    )  # fmt: skip
    size = draw(_axes(rank, 1, 3))
    if kind is Convolution:
        size = tuple(s + d * (k - 1) for s, d, k in zip(size, dilation, kernel, strict=True))
    else:  # something must be left between the padding
        size = tuple(s + (2 * p >= d * (k - 1) + 1) * 2 for s, d, k, p in zip(size, dilation, kernel, pad, strict=True))
    return params, [(*draw(_axes(before, 1, 2)), group * draw(st.sampled_from([1, 3])), *size)]


@st.composite
def deconvolutions(draw: st.DrawFn, largest: int = 4) -> Case:
    """As `convolutions`; the padding leaves something of the output."""
    group = draw(st.integers(1, 3))
    kernel, stride, dilation = draw(_pair(1, 4)), draw(_pair(1, 4)), draw(_pair(1, 3))
    size = draw(_pair(1, largest))
    whole = [s * (n - 1) + d * (k - 1) + 1 for n, s, d, k in zip(size, stride, dilation, kernel, strict=True)]
    pad = [draw(st.integers(0, min(3, (length - 1) // 2))) for length in whole]
    params = Deconvolution(
        group * draw(st.sampled_from([1, 2, 5])), kernel, stride, (pad[0], pad[1]), dilation, group, draw(st.booleans())
    )
    return params, [(draw(st.integers(1, 2)), group * draw(st.sampled_from([1, 2, 3])), *size)]


@st.composite
def im2cols(draw: st.DrawFn) -> Case:
    rank, before = draw(st.sampled_from([(2, 1), (1, 1), (3, 1), (2, 2)]))
    kernel, dilation = draw(_axes(rank, 1, 3)), draw(_axes(rank, 1, 2))
    params = Im2col(kernel, draw(_axes(rank, 1, 3)), draw(_axes(rank, 0, 2)), dilation, before)
    size = (draw(st.integers(0, 3)) + d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True))
    return params, [(*draw(_axes(before, 1, 3)), draw(st.integers(1, 3)), *size)]


@st.composite
def crops(draw: st.DrawFn) -> Case:
    whole = draw(shapes(2, 4))
    axis = draw(st.integers(-len(whole), len(whole) - 1))
    first = axis % len(whole)
    starts = [draw(st.integers(0, size - 1)) for size in whole[first:]]
    offsets = draw(st.sampled_from([tuple(starts), (min(starts),), ()]))
    taken = [offsets[i] if len(offsets) > 1 else (*offsets, 0)[0] for i in range(len(starts))]
    like = [draw(st.integers(1, size - start)) for size, start in zip(whole[first:], taken, strict=True)]
    return crop.Crop(axis, offsets), [whole, (*draw(_axes(first, 1, 3)), *like)]


@st.composite
def pyramids(draw: st.DrawFn) -> Case:
    height, method = draw(st.integers(1, 3)), draw(st.sampled_from(["MAX", "AVE", "STOCHASTIC"]))
    bins = 2 ** (height - 1)
    if method == "STOCHASTIC":  # has no padding
        size = [bins * draw(st.integers(1, 3)) for _ in range(2)]
    else:
        size = [bins * draw(st.integers(2, 4)) - draw(st.integers(0, 1)) for _ in range(2)]
    return pooling.SPP(height, method), [(draw(st.integers(1, 2)), draw(st.integers(1, 3)), *size)]


@st.composite
def line_and_volume_poolings(draw: st.DrawFn) -> Case:
    """Pooling over one axis and three, and all that is stochastic."""
    rank = draw(st.sampled_from([1, 2, 3]))
    method = "STOCHASTIC" if rank == 2 else draw(st.sampled_from(["MAX", "AVE", "STOCHASTIC"]))
    kernel, stride = draw(_axes(rank, 1, 3)), draw(_axes(rank, 1, 3))
    pad = tuple(0 if method == "STOCHASTIC" else draw(st.integers(0, k - 1)) for k in kernel)
    size = [max(1, k - 2 * p) + draw(st.integers(0, 4)) for k, p in zip(kernel, pad, strict=True)]
    params = pooling.Pooling(method, kernel, stride, pad, draw(st.booleans()))
    if draw(st.integers(0, 5)) == 0:
        params = pooling.Pooling(method, None)
    if method == "AVE" and any(w.divisor <= 0 for w in naive.pooling_windows(params, *size)[1]):
        params = pooling.Pooling(method, kernel, (1,) * rank, pad)  # a mean of nothing is no number
    return params, [(draw(st.integers(1, 2)), draw(st.integers(1, 3)), *size)]


@st.composite
def poolings(draw: st.DrawFn) -> Case:
    method = draw(st.sampled_from(["MAX", "AVE"]))
    kernel, stride = draw(_pair(1, 4)), draw(_pair(1, 4))
    pad = tuple(draw(st.integers(0, k - 1)) for k in kernel)
    size = [max(1, k - 2 * p) + draw(st.integers(0, 7)) for k, p in zip(kernel, pad, strict=True)]
    params = pooling.Pooling(method, kernel, stride, (pad[0], pad[1]), draw(st.booleans()))
    if draw(st.integers(0, 5)) == 0:
        params = pooling.Pooling(method, None)
    shape = (draw(st.integers(1, 2)), draw(st.integers(1, 3)), *size)
    if method == "AVE" and any(w.divisor <= 0 for w in naive.pooling_windows(params, *size)[1]):
        params = pooling.Pooling(method, kernel, (1, 1), (pad[0], pad[1]))  # a mean of nothing is no number
    return params, [shape]


@st.composite
def lrns(draw: st.DrawFn) -> Case:
    params = lrn.LRN(
        draw(st.sampled_from([1, 3, 5])),
        draw(st.sampled_from([1e-4, 0.5, 2.0])),
        draw(st.sampled_from([0.75, 0.5, 1.3])),
        draw(st.sampled_from([1.0, 2.5])),
        draw(st.sampled_from(["across", "within"])),
    )
    return params, [tuple(draw(st.integers(1, n)) for n in (2, 7, 5, 4))]


@st.composite
def shapes(draw: st.DrawFn, least: int = 1, most: int = 4) -> Shape:
    return tuple(draw(st.lists(st.sampled_from([1, 2, 3, 5]), min_size=least, max_size=most)))


@st.composite
def inner_products(draw: st.DrawFn) -> Case:
    shape = draw(shapes(2, 4))
    axis = draw(st.integers(1, len(shape) - 1))
    return InnerProduct(draw(st.sampled_from([1, 2, 7, 33])), draw(st.booleans()), axis), [shape]


@st.composite
def concats(draw: st.DrawFn) -> Case:
    shape = draw(shapes(2, 4))
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    sizes = draw(st.lists(st.integers(1, 4), min_size=2, max_size=4))
    parts = [list(shape) for _ in sizes]
    for part, size in zip(parts, sizes, strict=True):
        part[axis] = size
    return join.Concat(axis), [tuple(part) for part in parts]


@st.composite
def slices(draw: st.DrawFn) -> Case:
    shape = list(draw(shapes(2, 4)))
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    if draw(st.booleans()):
        parts = draw(st.integers(1, 3))
        shape[axis] = parts * draw(st.integers(1, 3))
        return join.Slice(parts, axis), [tuple(shape)]
    sizes = draw(st.lists(st.integers(1, 4), min_size=2, max_size=4))
    shape[axis] = sum(sizes)
    points = tuple(int(p) for p in np.cumsum(sizes)[:-1])
    return join.Slice(len(sizes), axis, points), [tuple(shape)]


@st.composite
def eltwises(draw: st.DrawFn) -> Case:
    operation, count = draw(st.sampled_from(["SUM", "PROD", "MAX"])), draw(st.integers(2, 4))
    coefficients = ()
    if operation == "SUM" and draw(st.booleans()):
        coefficients = tuple(draw(st.lists(st.sampled_from([-2.0, 0.5, 1.0]), min_size=count, max_size=count)))
    return eltwise.Eltwise(operation, coefficients), [draw(shapes())] * count


@st.composite
def scales(draw: st.DrawFn) -> Case:
    shape = draw(shapes(2, 4))
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    count = draw(st.integers(1, len(shape) - axis % len(shape)))
    bias = draw(st.booleans())
    if draw(st.booleans()):
        start = axis % len(shape)
        return affine.Scale(axis=axis, bias=bias), [shape, shape[start : start + count]]
    return affine.Scale(axis=axis, num_axes=draw(st.sampled_from([-1, count])), bias=bias), [shape]


@st.composite
def biases(draw: st.DrawFn) -> Case:
    params, given = draw(scales())
    assert isinstance(params, affine.Scale)
    return affine.Bias(axis=params.axis, num_axes=params.num_axes), given


@st.composite
def flattens(draw: st.DrawFn) -> Case:
    shape = draw(shapes(2, 4))
    axis = draw(st.integers(0, len(shape) - 1))
    end = draw(st.integers(axis, len(shape) - 1))
    return reshaping.Flatten(axis, draw(st.sampled_from([end, end - len(shape)]))), [shape]


@st.composite
def reshapes(draw: st.DrawFn) -> Case:
    shape = draw(shapes(2, 4))
    axis = draw(st.integers(0, len(shape) - 1))
    inner = math.prod(shape[axis:])
    divisor = draw(st.sampled_from([d for d in range(1, inner + 1) if inner % d == 0]))
    choices = [((divisor, -1), axis, -1), ((-1, divisor, 1), axis, -1), ((0, -1), axis, -1), ((1,), axis, 0)]
    return reshaping.Reshape(*draw(st.sampled_from(choices))), [shape]


@st.composite
def pads(draw: st.DrawFn) -> Case:
    """Borders and cuts of their own at each side, but something is left of every axis."""
    shape = draw(shapes(1, 4))
    before = [draw(st.integers(1 - size, 2)) for size in shape]
    after = [draw(st.integers(1 - size - min(b, 0), 3)) for size, b in zip(shape, before, strict=True)]
    return Pad(tuple(before), tuple(after), draw(st.sampled_from([0.0, -1.5]))), [shape]


@st.composite
def mvns(draw: st.DrawFn) -> Case:
    shape, across = draw(shapes()), draw(st.booleans())
    # Two values become 1 and -1 whatever they were: all that is left of the derivative is epsilon's and rounding.
    pair = math.prod(shape[1 if across else 2 :]) == 2
    epsilon = 0.1 if pair else draw(st.sampled_from([1e-9, 0.1]))
    return mvn.MVN(draw(st.booleans()), across, epsilon), [shape]


@st.composite
def reductions(draw: st.DrawFn) -> Case:
    shape = draw(shapes())
    operation = draw(st.sampled_from(["SUM", "ASUM", "SUMSQ", "MEAN"]))
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    return reduction.Reduction(operation, axis, draw(st.sampled_from([1.0, -0.5, 3.0]))), [shape]


@st.composite
def argmaxes(draw: st.DrawFn) -> Case:
    shape = draw(shapes())
    axis = draw(st.one_of(st.none(), st.integers(-len(shape), len(shape) - 1)))
    top_k = draw(st.integers(1, math.prod(shape[1:]) if axis is None else shape[axis]))
    return argmax.ArgMax(draw(st.booleans()), top_k, axis), [shape]


@st.composite
def tiles(draw: st.DrawFn) -> Case:
    shape = draw(shapes())
    return tile.Tile(draw(st.integers(1, 4)), draw(st.integers(-len(shape), len(shape) - 1))), [shape]


@st.composite
def embeds(draw: st.DrawFn) -> Case:
    params = embed.Embed(draw(st.sampled_from([1, 3, 7])), draw(st.sampled_from([1, 5, 11])), draw(st.booleans()))
    return params, [draw(shapes(1, 3))]


@st.composite
def batch_reindices(draw: st.DrawFn) -> Case:
    return batch.BatchReindex(), [draw(shapes()), (draw(st.integers(1, 7)),)]


@st.composite
def filters(draw: st.DrawFn) -> Case:
    given = draw(st.lists(shapes(), min_size=1, max_size=3))
    n = given[0][0]
    selector = draw(st.sampled_from([(n,), (n, 1), (n, 1, 1, 1)]))
    return batch.Filter(), [*((n, *shape[1:]) for shape in given), selector]


@st.composite
def recurrents(draw: st.DrawFn, kind: Any) -> Case:
    """With and without a static input, exposed states and further axes of the input."""
    params = kind(draw(st.sampled_from([1, 2, 3, 5])), draw(st.booleans()))
    steps, streams = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    given = [(steps, streams, *draw(shapes(1, 2))), (steps, streams)]
    if draw(st.booleans()):
        given.append((streams, *draw(shapes(1, 2))))
    if params.expose_hidden:
        given += [(1, streams, params.num_output)] * params.states
    return params, given


def _sources(params: st.SearchStrategy[Any]) -> st.SearchStrategy[Case]:
    return st.tuples(params, st.just([]))


def _of(params: st.SearchStrategy[Any], least: int = 1) -> st.SearchStrategy[Case]:
    return st.tuples(params, shapes(least, 4).map(lambda shape: [shape]))


CASES: dict[str, st.SearchStrategy[Case]] = {
    "Convolution": st.one_of(convolutions(), volumes()),
    "Deconvolution": st.one_of(deconvolutions(), volumes(Deconvolution)),
    "Im2col": im2cols(),
    "Crop": crops(),
    "InnerProduct": inner_products(),
    "Pooling": st.one_of(poolings(), line_and_volume_poolings()),
    "SPP": pyramids(),
    "LRN": lrns(),
    "ReLU": _of(st.builds(activation.ReLU, st.sampled_from([0.0, 0.1, -0.5]))),
    "PReLU": _of(st.builds(activation.PReLU, st.booleans()), 2),
    "Sigmoid": _of(st.just(activation.Sigmoid())),
    "TanH": _of(st.just(activation.TanH())),
    "AbsVal": _of(st.just(activation.AbsVal())),
    "ELU": _of(st.builds(activation.ELU, st.sampled_from([1.0, 0.3, 2.0]))),
    "Power": _of(
        st.builds(activation.Power, st.sampled_from([-1.0, 0.0, 0.5, 1.0, 2.0, 3.0]), st.just(0.25), st.just(3.0))
    ),
    "Exp": _of(
        st.builds(
            activation.Exp, st.sampled_from([-1.0, 0.5, 2.0]), st.sampled_from([1.0, -0.5]), st.sampled_from([0.0, 1.5])
        )
    ),
    "Log": _of(st.builds(activation.Log, st.sampled_from([-1.0, 0.5, 10.0]), st.just(0.25), st.just(3.0))),
    "BNLL": _of(st.just(activation.BNLL())),
    "Threshold": _of(st.builds(activation.Threshold, st.sampled_from([0.0, -0.5, 1.0]))),
    "Dropout": _of(st.just(dropout.Dropout())),
    "MVN": mvns(),
    "Reduction": reductions(),
    "ArgMax": argmaxes(),
    "Tile": tiles(),
    "Embed": embeds(),
    "BatchReindex": batch_reindices(),
    "Filter": filters(),
    "LogSoftmax": shapes(1, 4).flatmap(
        lambda s: st.tuples(st.builds(softmax.LogSoftmax, st.integers(-len(s), len(s) - 1)), st.just([s]))
    ),
    "Softmax": shapes(1, 4).flatmap(
        lambda shape: st.tuples(st.builds(softmax.Softmax, st.integers(-len(shape), len(shape) - 1)), st.just([shape]))
    ),
    "BatchNorm": _of(st.builds(batch_norm.BatchNorm, st.sampled_from([1e-5, 0.1])), 2),
    "Scale": scales(),
    "Bias": biases(),
    "Eltwise": eltwises(),
    "Concat": concats(),
    "Slice": slices(),
    "Flatten": flattens(),
    "Reshape": reshapes(),
    "Pad": pads(),
    "RNN": recurrents(recurrent.RNN),
    "LSTM": recurrents(recurrent.LSTM),
    "Parameter": _sources(st.builds(source.Parameter, shapes())),
    "DummyData": _sources(st.builds(source.DummyData, shapes(), st.sampled_from([0.0, 1.0, -2.5]))),
    **fork_cases.CASES,
}
"""Random cases of each layer type by Caffe's name."""

SOURCES = {name for name, params in REGISTRY.items() if params.input_count == (0, 0)}
"""Types that read nothing: no relevance goes through them."""
WITHOUT_RELEVANCE = SOURCES | {"ArgMax", "LogSoftmax", "Softmax", "Threshold"}
WITHOUT_GRADIENT = SOURCES | {"ArgMax", "Embed", "Threshold"}

Pooling = pooling.Pooling
CHOSEN: dict[str, list[Case]] = {
    "Convolution": [
        (Convolution(5, (1, 1)), [(2, 3, 4, 7)]),
        (Convolution(4, (5, 6), bias=False), [(3, 2, 5, 6)]),  # as large as the image
        (Convolution(4, (2, 1), stride=(5, 3)), [(2, 3, 11, 8)]),  # a stride larger than the kernel
        (Convolution(3, (3, 3), pad=(4, 5)), [(1, 2, 2, 1)]),  # more padding than image
        (Convolution(6, (3, 2), stride=(2, 1), pad=(0, 2), dilation=(2, 3), group=2), [(2, 4, 9, 8)]),
        (Convolution(37, (3, 3), pad=(1, 1)), [(2, 41, 9, 11)]),  # several tiles in every direction
        (Convolution(26, (1, 1), group=2), [(2, 130, 5, 13)]),
        *(
            (Convolution(13, (1, 3), pad=(0, 1)), [(1, 2, 1, width)])
            for width in (7, 8, 15, 16, 17, 31, 32, 33, 64, 65)
        ),
        (Convolution(6, (2,), (3,), (2,), (2,), 2), [(2, 4, 9)]),
        (Convolution(5, (3, 2, 3), (2, 1, 1), (1, 0, 2), (1, 2, 1)), [(2, 3, 5, 4, 7)]),
        (Convolution(6, (3, 3, 3), pad=(1, 1, 1), group=2), [(1, 4, 3, 6, 5)]),
        (Convolution(2, (1, 2, 1, 3), (2, 1, 1, 1), (0, 1, 0, 0)), [(2, 1, 3, 2, 2, 5)]),
        (Convolution(5, (2, 3), pad=(0, 1), axis=2), [(2, 3, 4, 5, 7)]),
        (Convolution(5, ()), [(2, 3)]),
    ],
    "Deconvolution": [
        (Deconvolution(5, (1, 1)), [(2, 3, 4, 7)]),
        (Deconvolution(3, (4, 4), (2, 2), (1, 1), group=3, bias=False), [(2, 3, 4, 5)]),  # as for interpolation
        (Deconvolution(2, (2, 1), (3, 5)), [(2, 3, 4, 3)]),  # pixels that nothing reaches
        (Deconvolution(5, (16, 16), (8, 8)), [(1, 2, 3, 2)]),  # many residues
        (Deconvolution(4, (3, 3), pad=(3, 2)), [(1, 2, 7, 6)]),  # more padding than kernel
        (Deconvolution(6, (3, 2), (2, 1), (0, 1), (2, 3), 2), [(2, 4, 3, 5)]),
        (Deconvolution(41, (3, 3), (2, 2), (1, 1)), [(2, 37, 5, 6)]),  # several tiles
        (Deconvolution(3, (2,), (3,), (1,)), [(2, 4, 5)]),
        (Deconvolution(5, (3, 2, 3), (2, 1, 2), (1, 0, 1), (1, 2, 1)), [(2, 3, 2, 3, 4)]),
        (Deconvolution(5, (2, 3), pad=(0, 1), axis=2), [(2, 3, 4, 5, 7)]),
    ],
    "Im2col": [
        (Im2col((3, 2), (2, 1), (1, 2), (1, 3)), [(2, 3, 5, 7)]),
        (Im2col((2, 3), (3, 4)), [(1, 2, 7, 8)]),  # pixels that no window meets
    ],
    "Crop": [
        (crop.Crop(), [(2, 3, 7, 5), (1, 2, 4, 3)]),
        (crop.Crop(2, (1,)), [(2, 3, 7, 5), (2, 3, 4, 3)]),
        (crop.Crop(-1, (2,)), [(2, 3, 7, 5), (9, 9, 9, 3)]),
        (crop.Crop(1, (0, 3, 2)), [(2, 3, 7, 5), (2, 2, 4, 3)]),
        (crop.Crop(0, ()), [(3, 5), (1, 5)]),
    ],
    "SPP": [
        (pooling.SPP(1), [(2, 3, 5, 4)]),
        (pooling.SPP(3, "AVE"), [(2, 3, 7, 8)]),
        (pooling.SPP(3, "MAX"), [(2, 3, 13, 11)]),  # windows reach into the padding on both sides
        (pooling.SPP(2, "STOCHASTIC"), [(2, 3, 6, 4)]),
    ],
    "InnerProduct": [
        (InnerProduct(7), [(3, 5)]),
        (InnerProduct(5, axis=2), [(2, 3, 7)]),
        (InnerProduct(11, bias=False, axis=-1), [(2, 3, 5, 2)]),
        (InnerProduct(2), [(1, 3, 17, 19)]),
    ],
    "Pooling": [
        (Pooling("MAX", (3, 3), (1, 1), (1, 1)), [(2, 3, 14, 13)]),
        (Pooling("MAX", (3, 3), (1, 1), (2, 1)), [(2, 3, 5, 37)]),  # rows of more than one vector
        (Pooling("MAX", (3, 3), (2, 2)), [(2, 3, 28, 27)]),  # windows reach over the edge
        (Pooling("MAX", (3, 3), (2, 2), (1, 2)), [(2, 3, 9, 68)]),
        (Pooling("MAX", (3, 3), (2, 2), ceil=False), [(2, 3, 8, 36)]),
        (Pooling("MAX", (2, 2), (2, 2)), [(2, 3, 7, 71)]),
        (Pooling("MAX", (2, 2), (2, 2), (1, 0)), [(2, 3, 6, 3)]),
        (Pooling("MAX", (3, 3), (1, 1), (1, 1)), [(2, 3, 1, 1)]),
        (Pooling("MAX", (3, 3), (2, 1), (1, 1)), [(2, 3, 51, 53)]),
        (Pooling("MAX", (5, 4), (2, 3), (2, 1)), [(2, 3, 12, 55)]),
        (Pooling("MAX", (3, 3), (2, 2)), [(2, 3, 6, 9)]),  # overhang
        (Pooling("AVE", (3, 3), (2, 2)), [(2, 3, 6, 9)]),
        (Pooling("MAX", (3, 3), (2, 2), ceil=False), [(1, 2, 6, 9)]),
        (Pooling("AVE", (3, 2), (2, 2), (1, 1)), [(2, 2, 5, 7)]),  # the last window clipped at the padding
        (Pooling("MAX", (2, 2), (2, 2), (1, 1)), [(1, 2, 5, 5)]),
        (Pooling("MAX", (3, 3), (1, 1), (1, 1)), [(2, 2, 7, 5)]),
        (Pooling("MAX", (1, 1), (2, 3)), [(1, 2, 5, 7)]),  # a stride larger than the kernel
        (Pooling("MAX", (1, 2), (4, 5)), [(1, 1, 6, 8)]),  # with a last window beyond the image
        (Pooling("AVE", (2, 1), (3, 2)), [(1, 2, 8, 7)]),
        (Pooling("AVE", (7, 5), (1, 1), (3, 2)), [(1, 2, 3, 2)]),  # larger than the image
        (Pooling("MAX", (7, 5), (1, 1), (3, 2)), [(1, 2, 3, 2)]),
        (Pooling("MAX", None), [(2, 3, 5, 4)]),
        (Pooling("AVE", None), [(2, 3, 5, 4)]),
        (Pooling("MAX", (2, 1), (1, 3), (1, 0)), [(1, 2, 3, 5)]),  # padding above drops a window on the right
        (Pooling("STOCHASTIC", (3, 2), (2, 2)), [(2, 3, 6, 7)]),  # overhang
        (Pooling("STOCHASTIC", None), [(2, 3, 5, 4)]),
        (Pooling("MAX", (3,), (2,), (1,)), [(2, 3, 8)]),
        (Pooling("AVE", (3,), (2,), (1,)), [(2, 3, 8)]),
        (Pooling("MAX", (1, 2, 2), (1, 2, 2)), [(2, 3, 4, 5, 7)]),
        (Pooling("MAX", (2, 2, 3), (2, 1, 2), (0, 1, 1)), [(2, 3, 5, 4, 7)]),
        (Pooling("AVE", (2, 2, 3), (2, 1, 2), (0, 1, 1)), [(2, 3, 5, 4, 7)]),
        (Pooling("AVE", None), [(2, 3, 5, 4, 2)]),
    ],
    "LRN": [
        (lrn.LRN(5, 1e-4, 0.75, 1.0), [(2, 7, 5, 3)]),
        (lrn.LRN(3, 0.9, 0.4, 2.0), [(1, 2, 1, 300)]),  # more pixels than one block
        (lrn.LRN(7, 2.0, 1.0, 1.0), [(2, 3, 2, 2)]),  # a window wider than all channels
        (lrn.LRN(3, 5e-5, 0.75, 1.0, "within"), [(2, 3, 5, 4)]),
        (lrn.LRN(7, 3.0, 0.3, 9.0, "within"), [(1, 2, 3, 4)]),
    ],
    "LogSoftmax": [(softmax.LogSoftmax(axis=-1), [(2, 3, 5)]), (softmax.LogSoftmax(axis=0), [(3, 2)])],
    "Softmax": [(softmax.Softmax(axis=-1), [(2, 3, 5)]), (softmax.Softmax(axis=0), [(3, 2)])],
    "PReLU": [(activation.PReLU(True), [(2, 3, 5, 2)]), (activation.PReLU(), [(2, 3, 5, 2)])],
    "BatchNorm": [(batch_norm.BatchNorm(), [(7,)])],
    "Scale": [(affine.Scale(), [(2, 3), ()]), (affine.Scale(axis=0, bias=True), [(2, 3, 5), (2, 3)])],
    "Bias": [(affine.Bias(), [(2, 3), ()])],
    "Power": [(activation.Power(0.5, 1.0, 0.0), [(2, 3, 5)])],  # NaN for negative values
    "Concat": [(join.Concat(), [(2, 3, 4)])],  # of one blob
    "Pad": [
        (Pad((0, 0, 1, 2), (0, 0, 3, 0)), [(2, 3, 5, 7)]),
        (Pad((0, -1, 2, -3), (0, 2, -4, 1), 0.5), [(2, 3, 5, 7)]),
        (Pad((0, 0), (0, 0)), [(2, 3)]),
    ],
    "Log": [(activation.Log(), [(2, 3, 5)])],  # NaN for negative values
    "MVN": [
        (mvn.MVN(), [(2, 3, 5, 7)]),
        (mvn.MVN(across_channels=True), [(2, 3, 5, 7)]),
        (mvn.MVN(False), [(2, 3)]),  # each value is a channel of its own
    ],
    "Reduction": [
        *((reduction.Reduction(kind, 2, 0.5), [(2, 3, 5, 7)]) for kind in ("SUM", "ASUM", "SUMSQ", "MEAN")),
        (reduction.Reduction(), [(2, 3, 5)]),  # to a number without axes
        (reduction.Reduction("MEAN", -1), [(3, 2, 7)]),
    ],
    "ArgMax": [
        (argmax.ArgMax(True, 3), [(2, 3, 5, 7)]),
        (argmax.ArgMax(True, 2, 1), [(2, 3, 5, 7)]),
        (argmax.ArgMax(), [(2, 5)]),
        (argmax.ArgMax(top_k=5, axis=-2), [(3, 5, 2)]),
    ],
    "Tile": [(tile.Tile(3, 2), [(2, 3, 5, 7)]), (tile.Tile(2, 0), [(2, 3)])],
    "Embed": [(embed.Embed(7, 11), [(2, 3, 5)]), (embed.Embed(3, 5, False), [(2,)])],
    "BatchReindex": [(batch.BatchReindex(), [(2, 3, 5, 7), (5,)]), (batch.BatchReindex(), [(3,), (2,)])],
    "Filter": [(batch.Filter(), [(3, 2, 5), (3,), (3, 1)])],
    "RNN": [
        (recurrent.RNN(3), [(5, 2, 7), (5, 2)]),
        (recurrent.RNN(3, True), [(3, 2, 7), (3, 2), (2, 5), (1, 2, 3)]),
        (recurrent.RNN(33), [(2, 17, 41), (2, 17)]),
    ],
    "LSTM": [
        (recurrent.LSTM(3), [(5, 2, 7), (5, 2)]),
        (recurrent.LSTM(3, True), [(3, 2, 7), (3, 2), (2, 5), (1, 2, 3), (1, 2, 3)]),
        (recurrent.LSTM(33), [(2, 17, 41), (2, 17)]),
    ],
}
for _name, _cases in fork_cases.CHOSEN.items():
    CHOSEN[_name] = [*CHOSEN.get(_name, []), *_cases]
"""Cases that a random choice could miss."""
