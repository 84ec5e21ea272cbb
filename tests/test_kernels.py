"""Pieces of the kernels that no layer shows: tiles, packing, cutting work, stabilisers, and other processors."""

from __future__ import annotations

import importlib
import itertools
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import caffe2lrp.kernels
from caffe2lrp.kernels import convolution, gemm, relevance, winograd
from caffe2lrp.kernels.convolution import PackedMatrix, Sliding, add_convolution, add_forward
from caffe2lrp.kernels.eltwise import fill
from caffe2lrp.kernels.filtering import FILTERS, Filter
from caffe2lrp.kernels.inner_product import signed_relevance, transposed_part_product
from caffe2lrp.kernels.launch import Kernel, Program
from caffe2lrp.kernels.planes import add_planes, plan_planes
from caffe2lrp.kernels.share import pieces_of, share
from caffe2lrp.kernels.team import set_threads
from caffe2lrp.kernels.units import blocks_of, share_rows, tiles_of, unit_after, units_of
from caffe2lrp.layers.convolution import Convolution, Deconvolution
from tests import naive

ALL = {
    f"{module.name}.{name}": value
    for module in pkgutil.iter_modules(caffe2lrp.kernels.__path__)
    for name, value in vars(importlib.import_module(f"caffe2lrp.kernels.{module.name}")).items()
    if isinstance(value, Kernel) and value.function.__module__.endswith(f".{module.name}")
}


@pytest.mark.parametrize("name", ALL)
def test_every_kernel_compiles_in_both_precisions(name: str) -> None:
    addresses = {ALL[name].address(dtype) for dtype in ("float32", "float64")}
    assert len(addresses) == 2
    assert 0 not in addresses
    assert (ALL[name].function.__doc__ or "").strip(), "says what it computes"


@pytest.mark.parametrize("n", [0, 1, 5, 64, 1001])
@pytest.mark.parametrize("parts", [1, 2, 3, 8])
def test_shares_cover_everything_once(n: int, parts: int) -> None:
    ranges = [share(n, part, parts) for part in range(parts)]
    assert [i for start, stop in ranges for i in range(start, stop)] == list(range(n))
    sizes = [stop - start for start, stop in ranges]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_tiles_fit_the_registers(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    size = np.dtype(dtype).itemsize
    for features, registers, width in (
        ({"avx512f", "avx2", "fma"}, 32, 64),
        ({"avx2", "fma"}, 16, 32),
        ({"avx2"}, 16, 16),
        ({"neon"}, 32, 16),
        (set(), 16, 16),
    ):
        monkeypatch.setattr(gemm, "cpu_features", lambda features=features: frozenset(features))
        found = gemm.tiles.__wrapped__(dtype)
        assert found.width == width // size
        assert found.columns == found.vectors * found.width
        assert max(found.rows) * found.vectors + found.vectors + 1 <= registers


def test_rows_are_cut_into_tiles_without_waste() -> None:
    for dtype in ("float32", "float64"):
        big, small = gemm.tiles(dtype).rows
        assert gemm.cut_rows(small, dtype) == [small]
        assert gemm.cut_rows(big + small, dtype) == [big, small]
        assert gemm.cut_rows(100 * big, dtype) == [big] * 100
        for m in range(1, 200):
            cut = gemm.cut_rows(m, dtype)
            assert m <= sum(cut) < m + small


def test_packed_rows_are_panels_of_columns() -> None:
    matrices = np.arange(1.0, 45.0).reshape(2, 11, 2)
    packed = gemm.pack_rows(matrices, [4, 4, 3, 3]).reshape(2, -1)
    for matrix, panels in zip(matrices, packed, strict=True):
        np.testing.assert_array_equal(panels[:8].reshape(2, 4), matrix[:4].T)
        np.testing.assert_array_equal(panels[8:16].reshape(2, 4), matrix[4:8].T)
        np.testing.assert_array_equal(panels[16:22].reshape(2, 3), matrix[8:].T)
        assert not panels[22:].any()
    packed = gemm.pack_rows(matrices[:1, :5], [4, 3])
    np.testing.assert_array_equal(packed[8:].reshape(2, 3), [[9, 0, 0], [10, 0, 0]])


def test_padded_bias() -> None:
    matrix = PackedMatrix(np.ones((2, 5, 3)))
    padded = matrix.pad_bias(np.arange(10.0)).reshape(2, -1)
    assert padded.shape[1] == matrix.rows == matrix.blocks[:, 1].sum()
    np.testing.assert_array_equal(padded[:, :5], [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]])
    assert not padded[:, 5:].any()
    assert not matrix.pad_bias(None).any()


def stored(mode: int, y: np.ndarray, bias: np.ndarray, factor: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """What a mode makes of an output, and the bias it is given: the product with an array takes none."""
    if mode == gemm.STORE_TIMES:
        return (y - bias[:, None, None]) * factor, None
    return np.maximum(y, 0) if mode == gemm.STORE_RELU else y, bias


@pytest.mark.parametrize("mode", [gemm.STORE, gemm.STORE_RELU, gemm.STORE_TIMES])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_happens_to_a_tile(mode: int, dtype: str) -> None:
    """Whole tiles, which the micro-kernel stores, and rests, which are copied."""
    rng = np.random.default_rng(4)
    params = Convolution(30, (3, 2), pad=(1, 0))
    x = rng.normal(0, 1, (2, 3, 9, 12)).astype(dtype)
    weight, bias = rng.normal(0, 1, (30, 3, 3, 2)).astype(dtype), rng.normal(0, 1, 30).astype(dtype)
    (y,) = naive.convolution(params, {"weight": weight, "bias": bias}, [x.astype(np.float64)])
    factor = rng.normal(0, 1, y.shape).astype(dtype)
    expected, given = stored(mode, y, bias, factor)
    matrix, out = PackedMatrix(weight.reshape(1, 30, -1)), np.full(y.shape, np.nan, dtype)
    sliding = Sliding(x.shape, y.shape, params.kernel, params.stride, params.pad, params.dilation, 1)
    program = Program(dtype)
    add_convolution(program, sliding.forward(), matrix, given, x, out, factor, mode, "convolution")
    program.run()
    np.testing.assert_allclose(out, expected, rtol=0, atol=(1e-12 if dtype == "float64" else 1e-4))


@pytest.mark.parametrize("mode", [gemm.STORE, gemm.STORE_RELU, gemm.STORE_TIMES])
@pytest.mark.parametrize("channels", [3, 40])
@pytest.mark.parametrize(("kernel", "stride"), [((1, 1), (2, 3)), ((1, 3), (2, 2)), ((3, 2), (2, 1)), ((5, 4), (2, 3))])
def test_transposed_products_with_strides(
    kernel: tuple[int, int], stride: tuple[int, int], channels: int, mode: int
) -> None:
    """Pixels of each residue one after the other, or all at once; some of them no cell reaches."""
    rng = np.random.default_rng(7)
    params = Deconvolution(2 * channels, kernel, stride, pad=(0, 1), group=2)
    x, weight = rng.normal(0, 1, (2, 10, 7, 9)), rng.normal(0, 1, (10, channels, *kernel))
    bias = rng.normal(0, 1, 2 * channels)
    (y,) = naive.deconvolution(params, {"weight": weight, "bias": bias}, [x])
    factor = rng.normal(0, 1, y.shape)
    expected, given = stored(mode, y, bias, factor)
    out = np.full(y.shape, np.nan)
    sliding = Sliding(y.shape, x.shape, kernel, stride, params.pad, params.dilation, 2)
    program = Program("float64")
    grouped = weight.reshape(2, 5, channels, -1)
    convolution.add_transposed(program, sliding, grouped, given, x, out, factor, mode, "convolution")
    program.run()
    np.testing.assert_allclose(out, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("sides", [1, 2])
@pytest.mark.parametrize("stride", [(1, 1), (2, 1)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_products_by_sign(sides: int, stride: tuple[int, int], dtype: str) -> None:
    """Positive weights take one source, negative ones another; on the second side these change places."""
    rng = np.random.default_rng(6)
    params = Convolution(14, (3, 2), stride, pad=(1, 0), group=2)
    source = rng.normal(0, 1, (2, 2, 2, 3, 9, 12)).astype(dtype)  # images, groups, sign, channels, pixels
    weight, bias = rng.normal(0, 1, (14, 3, 3, 2)).astype(dtype), rng.normal(0, 1, (2, sides, 7)).astype(dtype)
    weight[:, 1, 0] = 0

    def product(positive: int, negative: int) -> np.ndarray:
        parts = ((np.maximum(weight, 0), positive), (np.minimum(weight, 0), negative))
        blobs = [(w.astype(np.float64), source[:, :, sign].reshape(2, 6, 9, 12)) for w, sign in parts]
        y = sum(naive.convolution(params, {"weight": w}, [x.astype(np.float64)])[0] for w, x in blobs)
        return y.reshape(2, 2, 7, *y.shape[2:])

    expected = np.stack([product(0, 1), product(1, 0)][:sides], axis=2) + bias[None, :, :, :, None, None]
    out = np.full(expected.shape, np.nan, dtype)
    image = expected.shape[-2:]
    sliding = Sliding((2, 6, 9, 12), (2, 14, *image), params.kernel, stride, params.pad, params.dilation, 2)
    arrays = (source.reshape(2, 12, 9, 12), out.reshape(2, -1, *image), out)
    program = Program(dtype)
    grouped = weight.reshape(2, 7, 3, 6)
    add_forward(program, sliding, grouped, bias.reshape(-1), *arrays, gemm.STORE, "convolution", sides)
    program.run()
    np.testing.assert_allclose(out, expected, rtol=0, atol=(1e-12 if dtype == "float64" else 1e-4))


@pytest.mark.parametrize("mode", [gemm.STORE, gemm.STORE_RELU, gemm.STORE_TIMES, gemm.STORE_BOTH])
@pytest.mark.parametrize("size", [(3, 3), (9, 12), (8, 21), (1, 30), (13, 13)])
@pytest.mark.parametrize("kind", range(len(FILTERS)))
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_minimal_filtering(mode: int, size: tuple[int, int], kind: int, dtype: str) -> None:
    """The same as the plain sums, for images that end within tiles, groups, and rows that fill no tile."""
    rng = np.random.default_rng(8)
    cells = FILTERS[kind].cells.shape[1]
    params = Convolution(14, (cells, cells), pad=(cells // 2, 2), group=2)
    x = rng.normal(0, 1, (3, 6, *size)).astype(dtype)
    weight, bias = rng.normal(0, 1, (14, 3, cells, cells)).astype(dtype), rng.normal(0, 1, 14).astype(dtype)
    (y,) = naive.convolution(params, {"weight": weight, "bias": bias}, [x.astype(np.float64)])
    factor = rng.normal(0, 1, y.shape).astype(dtype)
    expected, given = stored(mode, y, bias, factor)
    out = np.full(y.shape, np.nan, dtype)
    sliding = Sliding(x.shape, y.shape, params.kernel, params.stride, params.pad, params.dilation, 2)
    program = Program(dtype)
    arguments = (weight.reshape(2, 7, 3, -1), given, x, out, factor, mode, "convolution")
    winograd.add_forward(program, kind, sliding, *arguments)
    program.run()
    tolerance = 1e-12 if dtype == "float64" else 1e-4
    np.testing.assert_allclose(out, expected, rtol=0, atol=tolerance)
    if mode == gemm.STORE_BOTH:
        np.testing.assert_allclose(factor, np.maximum(y, 0), rtol=0, atol=tolerance)


@pytest.mark.parametrize("pad", [(0, 0), (1, 2), (2, 1)])
@pytest.mark.parametrize("size", [(5, 6), (9, 12), (6, 31)])
@pytest.mark.parametrize("kind", range(len(FILTERS)))
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_minimal_filtering_of_the_transposed_product(
    pad: tuple[int, int], size: tuple[int, int], kind: int, dtype: str
) -> None:
    rng = np.random.default_rng(10)
    cells = FILTERS[kind].cells.shape[1]
    shape, group = (2, 6, *size), 2
    target = (2, 14, *(n + 2 * p - cells + 1 for n, p in zip(size, pad, strict=True)))
    sliding = Sliding(shape, target, (cells, cells), (1, 1), pad, (1, 1), group)
    weight, s = rng.normal(0, 1, (group, 7, 3, cells**2)).astype(dtype), rng.normal(0, 1, target).astype(dtype)
    factor = rng.normal(0, 1, shape).astype(dtype)
    found, packed = [np.full(shape, np.nan, dtype) for _ in range(3)], {}
    program = Program(dtype)
    convolution.add_transposed(program, sliding, weight, None, s, found[0], factor, gemm.STORE_TIMES, "convolution")
    for out in found[1:]:  # the second time with what the weights were packed to
        winograd.add_transposed(program, kind, sliding, weight, s, out, factor, gemm.STORE_TIMES, "convolution", packed)
    program.run()
    np.testing.assert_allclose(found[1], found[0], rtol=0, atol=1e-12 if dtype == "float64" else 2e-4)
    np.testing.assert_array_equal(found[1], found[2])
    assert len(packed) == 1


@pytest.mark.parametrize("kind", range(len(FILTERS)))
def test_minimal_filtering_reads_nothing_behind_its_arrays(kind: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def among_nan(size: int, dtype: object) -> np.ndarray:
        around = np.full(size + 256, np.nan, dtype)
        around[128:-128] = 0
        return around[128:-128]

    cells = FILTERS[kind].cells.shape[1]
    rng, size = np.random.default_rng(8), (9, 28)
    x, weight = rng.normal(0, 1, (1, 5, *size)), rng.normal(0, 1, (1, 6, 5, cells**2))
    out, program, bias = np.full((1, 6, *size), np.nan), Program("float64"), np.zeros(6)
    sliding = Sliding(x.shape, out.shape, (cells, cells), (1, 1), (cells // 2, cells // 2), (1, 1), 1)
    monkeypatch.setattr(np, "zeros", among_nan)
    winograd.add_forward(program, kind, sliding, weight, bias, x, out, out, gemm.STORE, "convolution")
    monkeypatch.undo()
    program.run()
    assert np.isfinite(out).all()


@pytest.mark.parametrize(("filtering", "products"), list(zip(FILTERS, (4, 6, 7), strict=True)))
def test_filters_are_exact_in_fewer_products(filtering: Filter, products: int) -> None:
    rng = np.random.default_rng(9)
    g, d = rng.normal(0, 1, filtering.cells.shape[1]), rng.normal(0, 1, filtering.reach)
    assert filtering.products == products < filtering.side * len(g)
    found = filtering.outputs @ ((filtering.cells @ g) * (filtering.pixels @ d))
    np.testing.assert_allclose(found, np.correlate(d, g), rtol=0, atol=1e-13)


def test_filters_are_chosen_where_they_pay(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (convolution, winograd):
        monkeypatch.setattr(module, "tiles", lambda dtype: gemm.Tiles((8, 4), 3, 16, 32))  # those of AVX-512

    def chosen(images: int, channels: int, size: int, cells: int = 3, stride: int = 1) -> int | None:
        target = (size - 1) // stride + 1
        pad = (cells // 2, cells // 2)
        shapes = (images, channels, size, size), (images, 128, target, target)
        sliding = Sliding(*shapes, (cells, cells), (stride, stride), pad, (1, 1), 1)
        return winograd.choose(sliding, "float32")

    assert chosen(1, 3, 56) is None  # sums of few channels are over before the rest of the work is
    assert chosen(1, 64, 56) == 1
    assert chosen(1, 64, 56, stride=2) is None
    assert chosen(1, 64, 56, cells=1) is None
    assert chosen(1, 64, 56, cells=5) == 2
    assert chosen(1, 64, 14) == 0  # more weights to read, for few pixels
    assert chosen(1, 64, 2) is None
    assert chosen(16, 64, 2) is not None  # one image beside the other fill tiles


@pytest.mark.parametrize("parts", [1, 2, 3, 7])
def test_shares_of_tiles_cover_all_and_cost_the_same(parts: int) -> None:
    table, blocks = np.array([[0, 6], [48, 6], [96, 2], [104, 1]]), np.array([[0, 8], [8, 8], [16, 4]])
    ends = [unit_after(part, parts, 2, table, 1, blocks) for part in range(parts + 1)]
    assert (ends[0], ends[-1]) == (0, 2 * 4 * 3)
    worth = [max(table[unit // 3 % 4, 1], 2) * blocks[unit % 3, 1] for unit in range(24)]
    costs = [sum(worth[start:stop]) for start, stop in itertools.pairwise(ends)]
    assert max(costs) - min(costs) <= 2 * max(worth)


@pytest.mark.parametrize("images", [1, 3])
@pytest.mark.parametrize("outputs", [[], [6], [0, 2, 3, 9], [1, 4, 5, 8, 10]])
def test_weights_of_outputs_without_relevance_are_not_read(outputs: list[int], images: int) -> None:
    rng = np.random.default_rng(5)
    w, x, s = rng.standard_normal((11, 37)), rng.standard_normal((images, 37)), np.zeros((images, 11))
    for place, j in enumerate(outputs):
        s[place % images, j] = rng.standard_normal()
    t = -2 * s
    unread = np.where(np.isin(np.arange(11), outputs)[:, None], w, np.nan)
    backward, signed = np.empty_like(x), np.empty_like(x)
    program = Program("float64")
    program.add(transposed_part_product, unread, 1.0, 0.0, 0.0, 0.0, s, backward)
    program.add(signed_relevance, unread, x, s, t, signed)
    program.run()
    np.testing.assert_allclose(backward, s @ w, atol=1e-12)
    products = w * x[:, None]
    expected = np.where(products > 0, products * s[:, :, None], products * t[:, :, None]).sum(axis=1)
    np.testing.assert_allclose(signed, expected, atol=1e-12)


@pytest.mark.parametrize("by_rows", [False, True])
@pytest.mark.parametrize("pieces", [1, 2, 5])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_each_block_of_each_tile_is_in_one_piece(threads: int, pieces: int, by_rows: bool) -> None:
    table, blocks = np.array([[0, 6], [48, 6], [96, 1]]), np.array([[0, 8], [8, 8], [16, 8], [24, 4]])
    images = 1 if by_rows else 2
    taken = np.full((images * len(table), len(blocks)), -1)
    for part in range(threads * pieces):
        start, stop, low, high = units_of(part, threads * pieces, pieces, images, table, 1, blocks, by_rows)
        for tile in range(*tiles_of(start, stop, low, high)):
            begin, end = blocks_of(tile, start, stop, low, high)
            assert begin < end  # a tile is not laid out for nothing
            assert (taken[tile, begin:end] == -1).all()
            taken[tile, begin:end] = part // pieces
    assert set(taken.flat) == set(range(threads))
    if by_rows:
        assert (taken == taken[0]).all()  # a thread has the same rows of all tiles


def test_more_work_is_cut_into_more_pieces() -> None:
    set_threads(2)
    assert pieces_of(10) == 1
    assert pieces_of(5 * 2**20) == 5
    assert pieces_of(10**12) == pieces_of(10**13)


def test_rows_are_shared_where_there_is_little_more_than_a_tile() -> None:
    assert share_rows(np.array([6, 1]), 1, 8, 2)
    assert share_rows(np.array([6, 2]), 1, 8, 2)
    assert not share_rows(np.array([6, 6]), 1, 8, 2)  # a tile for each thread
    assert not share_rows(np.array([2]), 1, 8, 2)
    assert not share_rows(np.array([6, 6, 1]), 1, 8, 2)
    assert not share_rows(np.array([6, 1]), 2, 8, 2)  # an image for each thread
    assert not share_rows(np.array([6, 1]), 1, 7, 2)  # too few rows to be shared evenly


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "pad", "in_place"),
    [
        ((9, 12), (1, 1), (1, 1), (0, 0), True),
        ((9, 12), (3, 2), (1, 1), (0, 0), True),
        ((9, 12), (3, 2), (1, 1), (1, 0), False),
        ((16, 16), (1, 1), (1, 1), (0, 0), False),  # planes of 1 KB or 2 KB would share few sets of the cache
        ((4, 3), (1, 1), (1, 1), (0, 0), False),  # fewer pixels than a vector has
        ((7, 8), (3, 3), (2, 3), (1, 2), False),
    ],
)
def test_planes_hold_what_each_tap_sees(
    size: tuple[int, int], kernel: tuple[int, int], stride: tuple[int, int], pad: tuple[int, int], in_place: bool
) -> None:
    x = np.arange(1.0, 1 + 2 * size[0] * size[1]).reshape(1, 2, *size)
    grid = tuple((size[a] + 2 * pad[a] - kernel[a]) // stride[a] + 1 for a in range(2))
    sliding = Sliding(x.shape, (1, 1, *grid), kernel, stride, pad, (1, 1), 1)
    geometry = sliding.forward()
    planes = plan_planes(geometry, "float64", 16)
    assert planes.in_place == in_place
    program = Program("float64")
    laid_out = add_planes(program, planes, geometry, x, "convolution")
    program.run()
    padded = np.pad(x[0], ((0, 0), (pad[0], pad[0]), (pad[1], pad[1])))
    for k, start in enumerate(planes.starts):
        channel, (y, x0) = k // len(sliding.cells()), sliding.cells()[k % len(sliding.cells())]
        seen = [[laid_out[start + gy * planes.pitch + gx] for gx in range(grid[1])] for gy in range(grid[0])]
        wanted = padded[channel, y :: stride[0], x0 :: stride[1]][: grid[0], : grid[1]]
        np.testing.assert_array_equal(seen, wanted)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        (relevance.SIGN, [6 / 2.5, 6 / -2.5, 6 / 0.5, 6 / 0.75, 6 / -0.75]),
        (relevance.TOOLBOX, [6 / 2.5, 6 / -2.5, 6.0, 6 / 0.75, 6 / -0.75]),
        (relevance.THRESHOLD, [6 / 2, 6 / -2, 6.0, 6.0, 6.0]),
    ],
)
def test_stabilisers(mode: int, expected: list[float]) -> None:
    z = np.array([2.0, -2.0, 0.0, 0.25, -0.25])
    s = np.zeros((1, 2, 5))
    stacked = np.stack([np.full(5, np.nan), z])[None]
    program = Program("float64")
    program.add(relevance.ratio, np.full((1, 5), 2.0), stacked, 1, 3.0, 0.5, mode, s)
    program.run()
    np.testing.assert_allclose(s[0, 1], expected, rtol=1e-15)
    np.testing.assert_array_equal(s[0, 0], 0)  # the other denominator's place


def test_a_denominator_of_zero_drops_the_term() -> None:
    s = np.full((1, 1, 3), 9.0)
    program = Program("float64")
    program.add(relevance.ratio, np.ones((1, 3)), np.array([[[0.0, -0.0, 2.0]]]), 0, 1.0, 0.0, relevance.SIGN, s)
    program.run()
    np.testing.assert_array_equal(s, [[[0, 0, 0.5]]])


def test_fill() -> None:
    y = np.zeros(1000, np.float32)
    program = Program("float32")
    program.add(fill, y, 2.5)
    program.run()
    np.testing.assert_array_equal(y, 2.5)


# Forward and relevance of convolutions in a process whose tiles are those of another processor.
OTHER_PROCESSOR = """
import numpy as np
from caffe2lrp.kernels import gemm, helpers, rows
gemm.cpu_features = rows.cpu_features = lambda: frozenset({features})
helpers._MOST = 0  # other processes would see this processor
assert gemm.tiles("float32").rows == {rows}
from caffe2lrp.layers import activation
from caffe2lrp.layers.convolution import Convolution
from tests.layer_cases import chain, check_forward, random_input
from tests.test_relevance import RULE_CASES, check
def kernels_of(network):
    network.forward(random_input(network))
    return {{call[0].name for plan in network._plans.values() for call in plan.program._calls}}
for params in (Convolution(13, (3, 2), (2, 1), (1, 1)), Convolution(6, (3, 3), group=2)):
    network = chain((2, 4, 9, 8), params, activation.ReLU())
    check_forward(network, random_input(network))
    check(network, random_input(network), rule=RULE_CASES[3])
for cells in (3, 5):
    network = chain((2, 129, 15, 14), Convolution(66, (cells, cells), pad=(1, 1)))
    assert "winograd" in kernels_of(network)
    check_forward(network, random_input(network))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("features", "rows"), [({"avx2", "fma"}, (6, 4)), ({"neon"}, (8, 4)), (set(), (4, 2))], ids=["avx2", "neon", "none"]
)
def test_tiles_of_other_processors(features: set[str], rows: tuple[int, int], tmp_path: Path) -> None:
    source = OTHER_PROCESSOR.format(features=sorted(features), rows=rows)
    done = subprocess.run(
        [sys.executable, "-c", source],
        env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)},  # its code must not mix with this machine's
        cwd=Path(__file__).parents[1], capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
