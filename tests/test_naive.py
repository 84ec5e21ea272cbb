"""The naive twins themselves: against definitions, finite differences, hand-made numbers and the golden files."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from caffe2lrp.ir import Layer, Network
from caffe2lrp.layers import (
    REGISTRY,
    activation,
    affine,
    argmax,
    axpy,
    batch,
    batch_norm,
    clipped,
    crop,
    detection,
    dropout,
    eltwise,
    embed,
    join,
    lrn,
    mvn,
    normalize,
    permute,
    pooling,
    recurrent,
    reduction,
    regions,
    softmax,
    source,
    tile,
    upsample,
)
from caffe2lrp.layers import reshape as reshaping
from caffe2lrp.layers.convolution import Convolution, Deconvolution
from caffe2lrp.layers.im2col import Im2col
from caffe2lrp.layers.inner_product import InnerProduct
from caffe2lrp.layers.pad import Pad
from tests import golden, naive
from tests.naive_forks import HEADS

CONVOLUTIONS = {
    "plain": (Convolution(3, (3, 3)), (2, 2, 6, 5)),
    "stride and padding": (Convolution(4, (3, 2), stride=(2, 1), pad=(1, 2)), (1, 3, 7, 6)),
    "groups": (Convolution(6, (3, 3), pad=(1, 1), group=3), (2, 6, 5, 4)),
    "dilation": (Convolution(2, (3, 3), pad=(2, 1), dilation=(2, 3), bias=False), (1, 2, 8, 9)),
    "1x1": (Convolution(5, (1, 1)), (2, 3, 4, 4)),
    "line": (Convolution(4, (3,), (2,), (1,), group=2), (2, 4, 6)),
    "volume": (Convolution(3, (2, 3, 2), (1, 2, 1), (1, 0, 1), (2, 1, 1)), (2, 2, 4, 5, 3)),
    "axis 2": (Convolution(3, (2, 2), axis=2), (2, 2, 3, 4, 3)),
}
DECONVOLUTIONS = {
    "plain": (Deconvolution(3, (3, 3)), (2, 2, 3, 4)),
    "stride and padding": (Deconvolution(4, (3, 2), stride=(2, 3), pad=(1, 2)), (1, 3, 3, 4)),
    "groups and dilation": (
        Deconvolution(6, (2, 3), stride=(3, 1), dilation=(2, 1), group=3, bias=False),
        (1, 6, 3, 2),
    ),
    "volume": (Deconvolution(2, (2, 3, 2), (1, 2, 2), (1, 0, 1)), (2, 3, 2, 3, 2)),
    "line, axis 2": (Deconvolution(2, (3,), (2,), axis=2), (2, 2, 3, 4)),
}
LAYERS: dict[str, tuple[Any, list[tuple[int, ...]]]] = {
    **{f"Convolution, {name}": (params, [shape]) for name, (params, shape) in CONVOLUTIONS.items()},
    **{f"Deconvolution, {name}": (params, [shape]) for name, (params, shape) in DECONVOLUTIONS.items()},
    "Im2col": (Im2col((2, 3), (1, 2), (1, 0), (2, 1)), [(2, 3, 4, 5)]),
    "Im2col, volume": (Im2col((2, 1, 2)), [(2, 2, 3, 2, 3)]),
    "Crop": (crop.Crop(2, (1, 0)), [(2, 3, 4, 5), (1, 1, 2, 3)]),
    "Crop, axis 0": (crop.Crop(0, (1,)), [(2, 3, 4), (1, 2, 3)]),
    "SPP": (pooling.SPP(2, "AVE"), [(2, 3, 4, 5)]),
    "SPP, stochastic": (pooling.SPP(2, "STOCHASTIC"), [(2, 3, 4, 4)]),
    "Pooling, STOCHASTIC": (pooling.Pooling("STOCHASTIC", (3, 2), (2, 2)), [(2, 2, 6, 5)]),
    "Pooling, MAX, volume": (pooling.Pooling("MAX", (2, 2, 2), (1, 2, 1), (1, 0, 0)), [(2, 2, 3, 4, 3)]),
    "Pooling, AVE, line": (pooling.Pooling("AVE", (3,), (2,), (1,)), [(2, 2, 6)]),
    "InnerProduct": (InnerProduct(4), [(2, 3, 2, 2)]),
    "InnerProduct, axis 2": (InnerProduct(4, bias=False, axis=2), [(2, 3, 5)]),
    "Pooling, MAX": (pooling.Pooling("MAX", (3, 3), stride=(2, 2), pad=(1, 1)), [(2, 2, 6, 7)]),
    "Pooling, MAX, floor": (pooling.Pooling("MAX", (3, 2), stride=(2, 2), ceil=False), [(1, 2, 6, 7)]),
    "Pooling, AVE": (pooling.Pooling("AVE", (3, 2), stride=(2, 2), pad=(1, 0)), [(2, 2, 6, 7)]),
    "Pooling, AVE, global": (pooling.Pooling("AVE", None), [(2, 3, 4, 3)]),
    "LRN, across": (lrn.LRN(3, 0.7, 0.6, 1.5), [(2, 5, 3, 2)]),
    "LRN, within": (lrn.LRN(3, 0.7, 0.6, 1.5, "within"), [(2, 2, 4, 5)]),
    "ReLU": (activation.ReLU(0.1), [(2, 3, 4)]),
    "PReLU": (activation.PReLU(), [(2, 3, 4)]),
    "PReLU, shared": (activation.PReLU(channel_shared=True), [(2, 3, 4)]),
    "Sigmoid": (activation.Sigmoid(), [(2, 3, 4)]),
    "TanH": (activation.TanH(), [(2, 3, 4)]),
    "AbsVal": (activation.AbsVal(), [(2, 3, 4)]),
    "ELU": (activation.ELU(0.7), [(2, 3, 4)]),
    "Power": (activation.Power(3.0, 0.5, 2.0), [(2, 3, 4)]),
    "Power, constant": (activation.Power(0.0, 0.5, 2.0), [(2, 3, 4)]),
    "Exp": (activation.Exp(2.0, 0.5, -1.0), [(2, 3, 4)]),
    "Exp, natural": (activation.Exp(shift=0.5), [(2, 3, 4)]),
    "Log": (activation.Log(10.0, 0.5, 3.0), [(2, 3, 4)]),
    "BNLL": (activation.BNLL(), [(2, 3, 4)]),
    "Threshold": (activation.Threshold(0.25), [(2, 3, 4)]),
    "MVN": (mvn.MVN(), [(2, 3, 4, 2)]),
    "MVN, across": (mvn.MVN(across_channels=True, epsilon=0.1), [(2, 3, 4)]),
    "MVN, mean only": (mvn.MVN(False), [(2, 3, 4, 2)]),
    **{
        f"Reduction, {kind}": (reduction.Reduction(kind, 1, -0.5), [(2, 3, 4)])  # type: ignore[arg-type]
        for kind in ("SUM", "ASUM", "SUMSQ", "MEAN")
    },
    "Reduction, all": (reduction.Reduction(), [(2, 3, 4)]),
    "ArgMax": (argmax.ArgMax(top_k=2), [(2, 3, 4)]),
    "ArgMax, axis": (argmax.ArgMax(axis=1, top_k=3), [(2, 3, 4)]),
    "Tile": (tile.Tile(3), [(2, 3, 4)]),
    "Embed": (embed.Embed(5, 7), [(2, 3)]),
    "BatchReindex": (batch.BatchReindex(), [(2, 3, 4), (5,)]),
    "Filter": (batch.Filter(), [(2, 3, 4), (2, 5), (2,)]),
    "Dropout": (dropout.Dropout(), [(2, 3, 4)]),
    "Softmax": (softmax.Softmax(), [(2, 3, 4)]),
    "LogSoftmax": (softmax.LogSoftmax(), [(2, 3, 4)]),
    "BatchNorm": (batch_norm.BatchNorm(), [(2, 3, 4, 2)]),
    "Scale": (affine.Scale(bias=True), [(2, 3, 4, 2)]),
    "Scale, two inputs": (affine.Scale(axis=0), [(2, 3, 4, 2), (2, 3)]),
    "Scale, two inputs and bias": (affine.Scale(bias=True), [(2, 3, 4, 2), (3, 4)]),
    "Scale, by a scalar": (affine.Scale(), [(2, 3), ()]),
    "Bias": (affine.Bias(num_axes=-1), [(2, 3, 4)]),
    "Bias, two inputs": (affine.Bias(axis=-2), [(2, 3, 4), (3, 4)]),
    "Eltwise, SUM": (eltwise.Eltwise("SUM", (0.5, -2.0, 1.0)), [(2, 3, 4)] * 3),
    "Eltwise, PROD": (eltwise.Eltwise("PROD"), [(2, 3, 4)] * 3),
    "Eltwise, MAX": (eltwise.Eltwise("MAX"), [(2, 3, 4)] * 3),
    "Concat": (join.Concat(), [(2, 3, 4), (2, 1, 4), (2, 2, 4)]),
    "Slice": (join.Slice(3), [(2, 6, 4)]),
    "Slice, points": (join.Slice(3, axis=-1, points=(1, 3)), [(2, 3, 4)]),
    "Flatten": (reshaping.Flatten(), [(2, 3, 4)]),
    "Reshape": (reshaping.Reshape((0, -1, 2)), [(2, 3, 4)]),
    "Pad": (Pad((0, 1, -2), (2, -1, 3), 0.5), [(2, 3, 4)]),
    "RNN": (recurrent.RNN(3), [(4, 2, 5), (4, 2)]),
    "RNN, static and states": (recurrent.RNN(3, True), [(4, 2, 5), (4, 2), (2, 7), (1, 2, 3)]),
    "LSTM": (recurrent.LSTM(3), [(4, 2, 5), (4, 2)]),
    "LSTM, static": (recurrent.LSTM(3), [(4, 2, 5, 2), (4, 2), (2, 2, 3)]),
    "LSTM, static and states": (recurrent.LSTM(3, True), [(4, 2, 5), (4, 2), (2, 7), (1, 2, 3), (1, 2, 3)]),
    "Parameter": (source.Parameter((2, 3)), []),
    "DummyData": (source.DummyData((2, 3), 1.5), []),
    "Pooling, mask": (pooling.Pooling("MAX", (3, 2), stride=(2, 2), pad=(1, 0), mask=True), [(2, 2, 6, 7)]),
    "Permute": (permute.Permute((2, 0)), [(2, 3, 4, 5)]),
    "ShuffleChannel": (permute.ShuffleChannel(2), [(2, 6, 3)]),
    "Normalize": (normalize.Normalize(epsilon=0.1), [(2, 3, 2, 4)]),
    "Normalize, pixels": (normalize.Normalize(False, False), [(2, 3, 2, 4)]),
    "BN": (batch_norm.BN(), [(2, 3, 4)]),
    "BN, merged": (batch_norm.BN(statistics=False), [(2, 3, 4)]),
    "Clip": (clipped.Clip(-0.5, 1.0), [(2, 3, 4)]),
    "Swish": (clipped.Swish(1.5), [(2, 3, 4)]),
    "HardSigmoid": (clipped.HardSigmoid(0.7, 0.4), [(2, 3, 4)]),
    "HardSwish": (clipped.HardSwish(), [(2, 3, 4)]),
    "Upsample": (upsample.Upsample((2, 3)), [(2, 3, 2, 4)]),
    "Upsample, mask": (upsample.Upsample(size=(2, 2)), [(2, 3, 2, 2), (2, 3, 2, 2)]),
    "Interp": (upsample.Interp((5, 3), crop=(1, 0)), [(2, 3, 4, 4)]),
    "Interp, factors": (upsample.Interp(None, 2, 3), [(2, 3, 5, 4)]),
    "Axpy": (axpy.Axpy(), [(2, 3), (2, 3, 4, 2), (2, 3, 4, 2)]),
    "ROIPooling": (regions.ROIPooling((2, 3), 4.0), [(1, 3, 5, 6), (4, 5)]),
    "PriorBox": (detection.PriorBox((4.0,), (9.0,), (2.0,)), [(1, 2, 2, 3), (1, 3, 20, 30)]),
    "ProposalLayer": (
        detection.ProposalLayer(8, (0.5, 1.0), most=5, min_size=0.0),
        [(1, 12, 3, 2), (1, 24, 3, 2), (1, 3)],
    ),
    "DetectionOutput": (detection.DetectionOutput(3, keep_top_k=4), [(2, 20), (2, 15), (1, 2, 20)]),
}


def some_layer(name: str) -> tuple[Any, dict[str, np.ndarray], list[np.ndarray]]:
    """Parameters, random weights and random inputs of one of `LAYERS`."""
    rng = np.random.default_rng(sum(name.encode()))
    params, shapes = LAYERS[name]
    weights = {key: rng.uniform(-1, 1, shape) for key, shape in params.weight_shapes(shapes).items()}
    if params.type == "BatchNorm":
        weights |= {"variance": rng.uniform(0.5, 2, 3), "weight": np.array([2.0])}
    weights |= {key: np.abs(value) for key, value in weights.items() if key == "variance"}
    inputs = [rng.normal(0, 1, shape) for shape in shapes]
    if params.type in ("Embed", "BatchReindex"):
        inputs[-1] = rng.integers(0, params.input_dim if params.type == "Embed" else 2, shapes[-1]).astype(np.float64)
    if params.type == "ROIPooling":  # of the one image
        inputs[1][:, 0] *= 0.1
    return params, weights, inputs


def some_linear(name: str) -> tuple[Any, dict[str, np.ndarray], list[np.ndarray], list[np.ndarray]]:
    """The same for the linear layers, with some relevance of the output."""
    params, weights, inputs = some_layer(name)
    shape = naive.FORWARD[params.type](params, weights, inputs)[0].shape
    return params, weights, inputs, [np.random.default_rng(7).normal(0, 1, shape)]


LINEAR_TYPES = ("Convolution", "Deconvolution", "InnerProduct")
LINEAR = [name for name, (params, _) in LAYERS.items() if params.type in LINEAR_TYPES]

# -- forward and gradient ---------------------------------------------------------------------------------


def test_every_registered_layer_type_is_here() -> None:
    assert set(naive.FORWARD) == set(REGISTRY)
    assert set(naive.GRADIENT) == set(naive.RELEVANCE) == set(REGISTRY) - HEADS
    assert {params.type for params, _ in LAYERS.values()} == set(REGISTRY)


@pytest.mark.parametrize("name", LAYERS)
def test_output_shapes(name: str) -> None:
    params, weights, inputs = some_layer(name)
    outputs = naive.FORWARD[params.type](params, weights, inputs)
    assert [y.shape for y in outputs] == params.output_shapes([x.shape for x in inputs])


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolution_three_ways(name: str) -> None:
    params, weights, (x,) = some_layer(f"Convolution, {name}")
    (y,) = naive.convolution(params, weights, [x])
    np.testing.assert_allclose(y, naive.convolution_by_window(params, weights, [x])[0], rtol=0, atol=1e-12)
    bias = naive.dense_bias(params, weights, x.shape)
    matrix = naive.dense_matrix(params, weights, x.shape)
    padded = naive.dense_matrix(params, weights, x.shape, padded=True)
    for image, expected in zip(naive.as_images(params, x), naive.as_images(params, y), strict=True):
        np.testing.assert_allclose(matrix @ image.ravel() + bias, expected.ravel(), rtol=0, atol=1e-12)
        wide = naive.pad_image(params, image, fill=0.0).ravel()
        np.testing.assert_allclose(padded @ wide + bias, expected.ravel(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", DECONVOLUTIONS)
def test_deconvolution_is_the_transpose(name: str) -> None:
    """Two ways to the same, and the adjoint of the convolution with the same weight."""
    params, weights, (x,) = some_layer(f"Deconvolution, {name}")
    (y,) = naive.deconvolution(params, weights, [x])
    matrix = naive.dense_matrix(params, weights, x.shape)
    bias = naive.dense_bias(params, weights, x.shape)
    images = naive.as_images(params, x)
    for image, expected in zip(images, naive.as_images(params, y), strict=True):
        np.testing.assert_allclose(matrix @ image.ravel() + bias, expected.ravel(), rtol=0, atol=1e-12)
    fields = {f.name: getattr(params, f.name) for f in dataclasses.fields(params)}
    forward = Convolution(**{**fields, "num_output": images.shape[1], "bias": False})
    np.testing.assert_array_equal(matrix.T, naive.dense_matrix(forward, weights, y.shape))


@pytest.mark.parametrize("name", [name for name, (params, _) in LAYERS.items() if params.type not in HEADS])
def test_gradient_is_the_derivative(name: str) -> None:
    params, weights, inputs = some_layer(name)
    rng = np.random.default_rng(3)
    outputs = naive.FORWARD[params.type](params, weights, inputs)
    arriving = [rng.normal(0, 1, y.shape) for y in outputs]
    sent = naive.GRADIENT[params.type](params, weights, inputs, arriving)
    assert [g.shape for g in sent] == [x.shape for x in inputs]

    def value(values: list[np.ndarray]) -> float:
        outputs = naive.FORWARD[params.type](params, weights, values)
        return sum(float((g * y).sum()) for g, y in zip(arriving, outputs, strict=True))

    for _ in range(5):
        direction = [rng.normal(0, 1, x.shape) for x in inputs]
        if params.type in ("Embed", "BatchReindex"):
            direction[-1][...] = 0  # indices have no neighbours
        h = 1e-6
        above, below = (
            value([x + sign * h * d for x, d in zip(inputs, direction, strict=True)]) for sign in (1.0, -1.0)
        )
        expected = sum(float((g * d).sum()) for g, d in zip(sent, direction, strict=True))
        assert (above - below) / (2 * h) == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_pooling_windows_of_caffe() -> None:
    # 6 wide, window 3, stride 2, padding 1: ceil(5 / 2) + 1 = 4 outputs; the last window starts at 5 and overhangs
    params = pooling.Pooling("AVE", (1, 3), stride=(1, 2), pad=(0, 1))
    x = np.arange(1.0, 7.0).reshape(1, 1, 1, 6)
    np.testing.assert_allclose(naive.pooling(params, {}, [x])[0].ravel(), [3 / 3, 9 / 3, 15 / 3, 6 / 2])
    np.testing.assert_array_equal(naive.pooling(replace(params, method="MAX"), {}, [-x])[0].ravel(), [-1, -2, -4, -6])
    # with padding, a last window that would start beyond the image and its first padding is left out (third and fourth)
    assert naive.pooled_size(5, 3, 2, 1) == 3
    assert naive.pooled_size(4, 2, 2, 1) == 3
    assert naive.pooled_size(5, 2, 2, 1) == 3
    assert naive.pooled_size(6, 2, 4, 1) == 2
    assert [naive.pooled_size(6, 3, 2, 0, ceil) for ceil in (True, False)] == [3, 2]


def test_lrn_by_hand() -> None:
    x = np.array([1.0, 2.0, 3.0]).reshape(1, 3, 1, 1)
    sums = np.array([5.0, 14.0, 13.0])
    y = naive.lrn(lrn.LRN(3, 0.6, 0.75, 2.0), {}, [x])[0].ravel()
    np.testing.assert_allclose(y, x.ravel() * (2 + 0.2 * sums) ** -0.75)
    y = naive.lrn(lrn.LRN(3, 0.9, 0.75, 2.0, "within"), {}, [x.reshape(1, 1, 1, 3)])[0].ravel()
    np.testing.assert_allclose(y, x.ravel() * (1 + 0.1 * sums) ** -0.75)


# -- rules for linear layers ---------------------------------------------------------------------------------

X, B, R = np.array([1.0, 2.0]), np.array([0.5, -1.0]), np.array([3.0, 4.0])
W = np.array([[1.0, -1.0], [2.0, 1.0]])  # z = (-0.5, 3)


def test_rules_by_hand() -> None:
    check = np.testing.assert_allclose
    check(naive.epsilon_rule(X, W, B, R), [3 / -0.5 + 2 * 4 / 3, 2 * (3 / 0.5 + 4 / 3)])
    check(naive.epsilon_rule(X, W, B, R, 0.5), [3 / -1 + 2 * 4 / 3.5, 2 * (3 / 1 + 4 / 3.5)])
    check(naive.zplus_rule(X, W, B, R), [3 * 1 / 1.5 + 4 * 2 / 4, 4 * 2 / 4])
    minus = np.array([0.0, 3 * -2 / -2])  # the second output has a negative bias only: nobody takes its share
    check(naive.alphabeta_rule(X, W, B, R, 1.0), 2 * naive.zplus_rule(X, W, B, R) - minus)
    # gamma = 1: terms (2, -2), (4, 4); biases 1 and -1
    check(naive.gamma_rule(X, W, B, R, 1.0), [3 * 2 / 1 + 4 * 4 / 7, 3 * -2 / 1 + 4 * 4 / 7])
    # z_0 < 0: terms (1, -4), bias 0.5; z_1 > 0 as before
    check(naive.generalized_gamma_rule(X, W, B, R, 1.0), [3 * 1 / -2.5 + 4 * 4 / 7, 3 * -4 / -2.5 + 4 * 4 / 7])
    # low = -1, high = 3: terms (1 + 1, -2 + 3), (2 + 2, 2 + 1)
    check(naive.zbox_rule(X, W, B, R, low=-1.0, high=3.0), [3 * 2 / 3 + 4 * 4 / 7, 3 * 1 / 3 + 4 * 3 / 7])
    check(naive.wsquare_rule(X, W, B, R), [3 / 2 + 4 * 4 / 5, 3 / 2 + 4 / 5])
    check(naive.flat_rule(X, W, B, R, np.ones((2, 2))), [3.5, 3.5])
    check(naive.lin_rule(X, W, B, R), [11.0, 1.0])
    check(naive.norm_rule(X, W, B, R), naive.epsilon_rule(X, W, B, R, 1e-6))
    check(naive.pass_rule(X, W, B, R), R)
    with pytest.raises(ValueError, match="cannot pass"):
        naive.pass_rule(np.ones(3), W, B, R)


def test_zero_denominators_drop() -> None:
    zero = np.zeros(2)
    for rule in (naive.epsilon_rule, naive.alphabeta_rule, naive.zplus_rule, naive.gamma_rule):
        np.testing.assert_array_equal(rule(zero, W, zero, R), zero)
    np.testing.assert_array_equal(naive.generalized_gamma_rule(zero, W, zero, R), zero)
    np.testing.assert_array_equal(naive.wsquare_rule(X, np.zeros((2, 2)), zero, R), zero)
    # sign(0) = +1: z = 0 is stabilised to +epsilon
    np.testing.assert_allclose(naive.epsilon_rule(X, np.array([[2.0, -1.0]]), np.zeros(1), R[:1], 0.5), [12.0, -12.0])


RULE_OPTIONS: dict[str, dict[str, Any]] = {
    "epsilon": {},
    "alphabeta": {"beta": 0.5},
    "zplus": {},
    "gamma": {"gamma": 0.3},
    "generalized_gamma": {"gamma": 0.3},
    "zbox": {"low": -3.0, "high": 4.0},
    "wsquare": {},
    "flat": {},
}


@pytest.mark.parametrize("rule", RULE_OPTIONS)
@pytest.mark.parametrize("name", LINEAR)
def test_rules_conserve_without_bias(name: str, rule: str) -> None:
    params, weights, (x,), (arriving,) = some_linear(name)
    weights = {**weights, "bias": np.zeros(params.num_output)}
    x = np.abs(x) if rule == "gamma" else x
    options = RULE_OPTIONS[rule]
    (sent,) = naive.linear_relevance(params, weights, [x], [arriving], rule=rule, padding=False, **options)
    assert sent.shape == x.shape
    matrix = naive.dense_matrix(params, weights, x.shape)
    rows = x.reshape(-1, matrix.shape[1])
    arriving = arriving.reshape(len(rows), -1)
    if rule in ("alphabeta", "zplus"):  # an output whose contributions all have one sign loses or gains relevance
        beta = options.get("beta", 0.0)
        plus = np.array([(matrix * row > 0).any(axis=1) for row in rows])
        minus = np.array([(matrix * row < 0).any(axis=1) for row in rows])
        expected = arriving * ((1 + beta) * plus - beta * minus)
    else:  # an output that sees nothing but padding has nobody to give to
        expected = arriving * (matrix != 0).any(axis=1)
    assert sent.sum() == pytest.approx(expected.sum(), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("rule", ["epsilon", "alphabeta", "generalized_gamma", "lin"])
def test_padding_matters_to_three_rules_only(rule: str) -> None:
    case = some_linear("Convolution, stride and padding")
    with_padding, without = (naive.linear_relevance(*case, rule=rule, padding=flag)[0] for flag in (True, False))
    np.testing.assert_allclose(with_padding, without, rtol=0, atol=1e-12)


def test_share_of_the_padding_is_lost() -> None:
    # one output over a 2x2 window of which one place is in the image: it gets a quarter, or a share by weight
    params = Convolution(1, (2, 2), pad=(1, 1), stride=(3, 3), bias=False)
    weights = {"weight": np.array([[[[1.0, 2.0], [3.0, -4.0]]]])}
    x, arriving = np.full((1, 1, 1, 1), 2.0), np.full((1, 1, 1, 1), 60.0)
    assert naive.linear_relevance(params, weights, [x], [arriving], rule="flat")[0].item() == 15
    assert naive.linear_relevance(params, weights, [x], [arriving], rule="wsquare")[0].item() == 60 * 16 / 30
    box: dict[str, Any] = {"rule": "zbox", "low": -1.0, "high": 3.0}
    assert naive.linear_relevance(params, weights, [x], [arriving], **box)[0].item() == 60
    # terms: -8 + 12 in the image; +1, +2, +3 in the padding if the box is [-1, 3] there as well
    shared_box = naive.linear_relevance(params, weights, [x], [arriving], **box, pad_low=-1.0, pad_high=3.0)
    assert shared_box[0].item() == 60 * 4 / 10


@pytest.mark.parametrize("name", LINEAR)
def test_lin_rule_is_the_gradient(name: str) -> None:
    params, weights, inputs, arriving = some_linear(name)
    sent = naive.linear_relevance(params, weights, inputs, arriving, rule="lin")
    expected = naive.GRADIENT[params.type](params, weights, inputs, arriving)
    np.testing.assert_allclose(sent[0], expected[0], rtol=0, atol=1e-12)


# -- relevance of the other layer types --------------------------------------------------------------------


def test_pooling_relevance_by_hand() -> None:
    x = np.array([[1.0, 3.0, 3.0, 0.0], [0.0, -1.0, 3.0, 0.0]]).reshape(1, 1, 2, 4)
    arriving = np.array([5.0, 7.0]).reshape(1, 1, 1, 2)
    most = pooling.Pooling("MAX", (2, 2), stride=(2, 2))
    sent = naive.pooling_relevance(most, {}, [x], [arriving])[0].reshape(2, 4)
    np.testing.assert_array_equal(sent, [[0, 5, 7, 0], [0, 0, 0, 0]])
    mean = replace(most, method="AVE")
    sent = naive.pooling_relevance(mean, {}, [x], [arriving])[0].reshape(2, 4)
    np.testing.assert_allclose(sent, [[5 / 3, 5, 3.5, 0], [0, -5 / 3, 3.5, 0]])
    assert not naive.pooling_relevance(mean, {}, [0 * x], [arriving])[0].any()


@pytest.mark.parametrize("name", ["LRN, across", "LRN, within"])
def test_lrn_relevance(name: str) -> None:
    params, weights, (x,) = some_layer(name)
    arriving = np.random.default_rng(5).normal(0, 1, x.shape)
    (taylor,) = naive.lrn_relevance(params, weights, [x], [arriving])
    assert taylor.sum() == pytest.approx(arriving.sum())
    assert naive.lrn_relevance(params, weights, [x], [arriving], mode="identity")[0] is arriving
    assert not naive.lrn_relevance(params, weights, [0 * x], [arriving])[0].any()
    alone = replace(params, size=1)  # no neighbours: all relevance stays
    np.testing.assert_allclose(naive.lrn_relevance(alone, weights, [x], [arriving])[0], arriving)


def test_toolbox_lrn_relevance_is_the_formula_of_the_reference() -> None:
    params, weights, (x,) = some_layer("LRN, across")
    arriving = np.random.default_rng(5).normal(0, 1, x.shape)
    a, half = params.alpha / params.size, params.size // 2
    expected = np.zeros(x.shape)
    for n, c, i, j in np.ndindex(x.shape):
        v = x[n, :, i, j]
        windows = [v[max(k - half, 0) : k + half + 1] for k in range(len(v))]
        s = [params.k + a * (window**2).sum() for window in windows]
        neighbours = [k for k in range(max(c - half, 0), min(c + half + 1, len(v))) if k != c]
        expected[n, c, i, j] = arriving[n, c, i, j] * v[c] * (params.k + a * v[c] ** 2) ** -params.beta
        expected[n, c, i, j] -= (2 * a * params.beta * v[c] ** 2) * sum(
            arriving[n, k, i, j] * v[k] * s[k] ** (-params.beta - 1) for k in neighbours
        )
    (sent,) = naive.lrn_relevance(params, weights, [x], [arriving], mode="toolbox")
    np.testing.assert_allclose(sent, expected, rtol=0, atol=1e-12)
    with pytest.raises(ValueError, match="not defined"):
        naive.lrn_relevance(replace(params, region="within"), weights, [x], [arriving], mode="toolbox")


CONSERVING = [
    name
    for name, (params, shapes) in LAYERS.items()
    if params.type in ("Eltwise", "Concat", "Slice", "Flatten", "Reshape", "Dropout", "Softmax")
    or params.type in ("MVN", "Reduction", "Tile", "BatchReindex", "Filter")
    or (isinstance(params, activation.Activation) and params.type != "Threshold")
    or (params.type in ("Scale", "Bias") and len(shapes) == 2 and not getattr(params, "bias", False))
    or params.type in ("Permute", "ShuffleChannel", "Normalize", "Interp", "Axpy")
    or name == "Upsample"
]
RECURRENT = [name for name, (params, _) in LAYERS.items() if isinstance(params, recurrent.Recurrent)]


@pytest.mark.parametrize("name", CONSERVING)
def test_conserving_layers(name: str) -> None:
    params, weights, inputs = some_layer(name)
    outputs = naive.FORWARD[params.type](params, weights, inputs)
    arriving = [np.random.default_rng(2).normal(0, 1, y.shape) for y in outputs]
    sent = naive.RELEVANCE[params.type](params, weights, inputs, arriving)
    assert [r.shape for r in sent] == [x.shape for x in inputs]
    assert sum(r.sum() for r in sent) == pytest.approx(sum(r.sum() for r in arriving))


@pytest.mark.parametrize("name", RECURRENT)
def test_recurrent_layers_without_biases_conserve(name: str) -> None:
    params, weights, inputs = some_layer(name)
    weights = {key: 0 * value if key.endswith("bias") else value for key, value in weights.items()}
    inputs[1] = np.array([[0, 1], [1, 1], [1, 0], [1, 1]], dtype=np.float64)
    outputs = naive.FORWARD[params.type](params, weights, inputs)
    arriving = [np.random.default_rng(2).normal(0, 1, y.shape) for y in outputs]
    sent = naive.RELEVANCE[params.type](params, weights, inputs, arriving)
    assert [r.shape for r in sent] == [x.shape for x in inputs]
    assert not sent[1].any()
    assert sum(r.sum() for r in sent) == pytest.approx(sum(r.sum() for r in arriving))
    # Stream 1 begins anew at step 2: what starts behind it stays behind it.
    late = [np.zeros(y.shape) for y in outputs]
    late[0][2:, 1] = 1
    sent = naive.RELEVANCE[params.type](params, weights, inputs, late)
    assert not sent[0][:2].any()
    assert not sent[0][:, 0].any()
    assert sent[0][2, 1].all()


@pytest.mark.parametrize("name", ["BatchNorm", "BN", "Scale", "Bias", "Scale, two inputs and bias"])
def test_share_of_the_bias_is_lost(name: str) -> None:
    params, weights, inputs = some_layer(name)
    (y,) = naive.FORWARD[params.type](params, weights, inputs)
    zero = [0 * inputs[0], *inputs[1:]]
    (offset,) = naive.FORWARD[params.type](params, weights, zero)
    arriving = np.random.default_rng(2).normal(0, 1, y.shape)
    sent = naive.RELEVANCE[params.type](params, weights, inputs, [arriving], epsilon=0.25)
    expected = (y - offset) * arriving / (y + 0.25 * np.sign(y))
    assert sum(r.sum() for r in sent) == pytest.approx(expected.sum())
    if len(sent) == 1:
        np.testing.assert_allclose(sent[0], expected, rtol=0, atol=1e-12)


# -- the golden files -----------------------------------------------------------------------------------------

TINY = ("avepool", "conv", "fc", "group", "inception", "lrn_across", "lrn_within", "maxpool", "notinplace", "signed")


@pytest.fixture(scope="module", params=[f"tiny_{name}" for name in TINY])
def case(request: pytest.FixtureRequest, shared: Path) -> golden.Golden:
    return golden.golden_network(shared, request.param, np.float64)


def indices(network: Network) -> list[dict[str, Any]]:
    """Layer indices as the golden files list them."""
    return [{"index": i, "name": s.name, "type": s.type} for i, s in enumerate(naive.toolbox_layers(network))]


def test_golden_forward(case: golden.Golden) -> None:
    np.testing.assert_array_equal(case.x.astype(np.float32), case.npz["input"])
    np.testing.assert_array_equal(case.imagemean.astype(np.float32), case.npz["imagemean"])
    blobs = naive.forward(case.network, case.x)
    memory = {case.network.caffe_name(name): value for name, value in blobs.items()}  # in-place layers overwrite
    for step in naive.toolbox_layers(case.network):
        if step.layer is None:
            (blob,) = step.blobs
            copies = range(len(case.network.consumers[blob]))
            memory |= {f"{step.name}_{i}": blobs[blob] for i in copies}
    expected = {key.removeprefix("fwd/"): case.npz[key] for key in case.npz.files if key.startswith("fwd/")}
    assert {name.replace("/", "@") for name in memory} == set(expected)
    for name, value in memory.items():
        close = expected[name.replace("/", "@")]
        assert np.abs(value - close).max() <= 2e-6 * np.abs(close).max(), name


@pytest.mark.parametrize("name", [f"tiny_{name}" for name in TINY] + ["bvlc_googlenet", "bvlc_reference_caffenet"])
def test_golden_layer_indices(shared: Path, name: str) -> None:
    assert indices(golden.golden_definition(shared, name)) == golden.golden_info(shared, name)["layers"]


def test_golden_relevance(case: golden.Golden) -> None:
    blobs = naive.forward(case.network, case.x)
    failed = []
    for run in case.runs:
        mean = case.imagemean if run["uses_imagemean"] else None
        found = naive.toolbox_relevance(case.network, blobs, run["class"], run, mean)[case.network.input]
        expected = case.npz[f"rel64/{run['name']}"]
        assert found.shape == expected.shape
        error = np.abs(found - expected).max() / np.abs(expected).max()
        if not error < 1e-10:
            failed.append((run["name"], error))
    assert not failed


def test_golden_relevance_of_a_large_net(shared: Path) -> None:
    """CaffeNet has what the tiny nets lack: LRN next to grouped convolutions, and layers above index 15."""
    net = golden.golden_network(shared, "bvlc_reference_caffenet", np.float64)
    blobs = naive.forward(net.network, net.x)
    for name in ("comp_b1", "f22", "zB_f6"):
        (run,) = [entry for entry in net.runs if entry["name"] == name]
        mean = net.imagemean if run["uses_imagemean"] else None
        found = naive.toolbox_relevance(net.network, blobs, run["class"], run, mean)[net.network.input]
        error = np.abs(found.ravel()[net.npz["sample_index"]] - net.npz[f"samples64/{name}"]).max()
        assert error < 1e-10 * np.abs(found).max(), name


@pytest.mark.parametrize(("run", "rule"), [("eps1", "epsilon"), ("ab1", "alphabeta"), ("deconv", "lin")])
@pytest.mark.parametrize("name", ["tiny_conv", "tiny_inception", "tiny_maxpool", "tiny_fc", "tiny_lrn_across"])
def test_mathematics_agrees_with_the_toolbox(shared: Path, name: str, run: str, rule: str) -> None:
    """Where the authors' implementation has no oddity, the explicit matrices give its numbers."""
    net = golden.golden_network(shared, name, np.float64)
    blobs = naive.forward(net.network, net.x)
    (settings,) = [entry for entry in net.runs if entry["name"] == run]
    logits = net.network.layers[-1].inputs[0]
    start = np.zeros(blobs[logits].shape)
    start[0, settings["class"]] = blobs[logits][0, settings["class"]]

    def options(layer: Layer) -> dict[str, Any]:
        if layer.type == "LRN":
            return {"mode": "toolbox"}
        if layer.type not in ("Convolution", "InnerProduct"):
            return {}
        return {"rule": rule, **({"epsilon": 1.0} if rule == "epsilon" else {})}

    def deconvolved(layer: Layer, inputs: list[np.ndarray], arriving: list[np.ndarray]) -> list[np.ndarray]:
        if layer.type == "ReLU" and rule == "lin":
            return [naive.positive(arriving[0])]
        return naive.RELEVANCE[layer.type](layer.params, layer.weights, inputs, arriving, **options(layer))

    found = naive.walk_back(net.network, blobs, {logits: start}, deconvolved)[net.network.input]
    expected = net.npz[f"rel64/{run}"]
    assert np.abs(found - expected).max() < 1e-10 * np.abs(expected).max()
    if rule != "lin":
        whole = naive.relevance(net.network, blobs, {logits: start}, options)[net.network.input]
        np.testing.assert_array_equal(whole, found)


def test_gradient_of_a_network(shared: Path) -> None:
    net = golden.golden_network(shared, "tiny_inception", np.float64)
    blobs = naive.forward(net.network, net.x)
    logits = net.network.layers[-1].inputs[0]
    (run,) = [entry for entry in net.runs if entry["name"] == "gradient"]
    start = np.zeros(blobs[logits].shape)
    start[0, run["class"]] = blobs[logits][0, run["class"]]
    found = naive.gradient(net.network, blobs, {logits: start})[net.network.input]
    expected = net.npz["rel64/gradient"]
    assert np.abs(found - expected).max() < 1e-10 * np.abs(expected).max()


# -- oddities of the authors' implementation that no golden run shows --------------------------------------


def small_network(*layers: tuple[str, Any, tuple[str, ...], str], shape: tuple[int, ...] = (1, 2, 4, 4)) -> Network:
    """A network over input 'data' with random weights; `layers` are (name, params, inputs, output)."""
    rng = np.random.default_rng(11)
    shapes, made = {"data": shape}, []
    for name, params, inputs, output in layers:
        bottoms = [shapes[blob] for blob in inputs]
        weights = {key: rng.normal(0, 1, size) for key, size in params.weight_shapes(bottoms).items()}
        weights |= {key: np.abs(value) for key, value in weights.items() if params.type == "BatchNorm"}
        made.append(Layer(name, params, inputs, (output,), weights))
        shapes[output] = params.output_shapes(bottoms)[0]
    return Network("small", {"data": shape}, made)


def toolbox(network: Network, x: np.ndarray, classes: Any = (0,), **options: Any) -> np.ndarray:
    return naive.toolbox_relevance(network, naive.forward(network, x), classes, options)["data"]


CHAIN = (
    ("conv", Convolution(3, (2, 2)), ("data",), "conv"),
    ("relu", activation.ReLU(), ("conv",), "relu"),
    ("fc", InnerProduct(4), ("relu",), "fc"),
    ("prob", softmax.Softmax(), ("fc",), "prob"),
)


def test_toolbox_batch_is_one_image_at_a_time() -> None:
    x = np.random.default_rng(1).normal(0, 1, (2, 2, 4, 4))
    batch = toolbox(small_network(*CHAIN, shape=x.shape), x, [1, 3])
    single = small_network(*CHAIN)
    np.testing.assert_allclose(batch[:1], toolbox(single, x[:1], [1]), rtol=0, atol=1e-12)
    np.testing.assert_allclose(batch[1:], toolbox(single, x[1:], [3]), rtol=0, atol=1e-12)
    lists = toolbox(small_network(*CHAIN, shape=x.shape), x, [[], [0, 3]])
    assert not lists[0].any()
    np.testing.assert_allclose(lists[1:], toolbox(single, x[1:], [0, 3]), rtol=0, atol=1e-12)


def test_toolbox_zero_pre_activation_is_not_divided() -> None:
    network = small_network(("fc", InnerProduct(2, bias=False), ("data",), "fc"), *CHAIN[3:], shape=(1, 2))
    x, zero = np.array([[1.0, 2.0]]), {"weight": np.array([[2.0, -1.0], [1.0, 1.0]])}
    network = network.with_layers([replace(network.layers[0], weights=zero), network.layers[1]])
    with pytest.raises(naive.ToolboxError, match="no pass"):  # a single weighted layer is no range
        toolbox(network, x, relpropformulatype=0)
    options = {"relpropformulatype": 0, "epsstab": 0.5, "lastlayerindex": 1}
    p = naive.forward(network, x)["prob"][0]
    expected = x * (zero["weight"].T @ [p[0], p[1] / 3.5])  # z = (0, 3): the first is not divided by epsilon
    np.testing.assert_allclose(toolbox(network, x, **options), expected)


def test_toolbox_small_average_windows_add_the_activation() -> None:
    network = small_network(
        ("pool", pooling.Pooling("AVE", (2, 2), stride=(2, 2)), ("data",), "pool"),
        ("fc", InnerProduct(1), ("pool",), "fc"),
        *CHAIN[3:],
        shape=(1, 1, 2, 2),
    )
    x = np.array([1.0, -1.0, 2.0, -2.0]).reshape(1, 1, 2, 2)
    np.testing.assert_array_equal(toolbox(network, x), x)


def test_toolbox_flat_multiplies_by_the_channels() -> None:
    x = np.abs(np.random.default_rng(1).normal(0, 1, (1, 2, 4, 4)))
    network = small_network(*CHAIN)
    blobs = naive.forward(network, x)
    options = {"relpropformulatype": 54, "auxiliaryvariable_maxlayerindexforflatdistinconv": 0}
    arrived = naive.toolbox_relevance(network, blobs, [0], options)
    assert arrived["data"].sum() == pytest.approx(2 * arrived["conv"].sum())


def test_toolbox_split_of_the_input_counts() -> None:
    network = small_network(
        ("a", Convolution(2, (1, 1)), ("data",), "a"),
        ("b", Convolution(2, (1, 1)), ("data",), "b"),
        ("sum", join.Concat(), ("a", "b"), "ab"),
        ("fc", InnerProduct(2), ("ab",), "fc"),
        ("prob", softmax.Softmax(), ("fc",), "prob"),
    )
    names = [step["name"] for step in indices(network)]
    assert names == ["data_input_0_split", "a", "b", "sum", "fc", "prob"]


@pytest.mark.parametrize(
    "options",
    [
        {"relpropformulatype": 31},
        {"relpropformulatype": 54, "auxiliaryvariable_maxlayerindexforflatdistinconv": -1},
        {"relpropformulatype": 6},
        {"relpropformulatype": 2, "alphabeta_beta": -0.5},
        {"relpropformulatype": 0, "codeexectype": 1},
        {"relpropformulatype": 2, "biastreatmenttype": 1},
        {"firstlayerindex": 2},
        {"lastlayerindex": 9},
        {"lastlayerindex": -3},
    ],
)
def test_toolbox_stops_where_the_reference_does(options: dict[str, Any]) -> None:
    with pytest.raises(naive.ToolboxError):
        toolbox(small_network(*CHAIN), np.ones((1, 2, 4, 4)), **options)


@pytest.mark.parametrize(
    "params",
    [
        activation.ELU(),
        batch_norm.BatchNorm(),
        affine.Scale(),
        reshaping.Flatten(),
        Convolution(2, (2, 2), dilation=(2, 2)),
    ],
)
def test_toolbox_does_not_know_later_layers(params: Any) -> None:
    network = small_network(
        ("new", params, ("data",), "new"),
        ("fc", InnerProduct(2), ("new",), "fc"),
        ("prob", softmax.Softmax(), ("fc",), "prob"),
    )
    with pytest.raises(naive.ToolboxError):
        toolbox(network, np.ones((1, 2, 4, 4)))


def test_toolbox_sigmoid_passes_under_two_formulas() -> None:
    network = small_network(CHAIN[0], ("sig", activation.Sigmoid(), ("conv",), "relu"), *CHAIN[2:])
    x = np.ones((1, 2, 4, 4))
    assert toolbox(network, x, relpropformulatype=2).any()
    with pytest.raises(naive.ToolboxError):
        toolbox(network, x, relpropformulatype=100)
