"""Products with matrices many of whose values are zero."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from caffe2lrp.kernels import gemm, lines, lists, sparse
from caffe2lrp.kernels.convolution import PackedMatrix, Sliding, add_convolution, add_transposed, packed_matrix
from caffe2lrp.kernels.launch import Program
from caffe2lrp.layers.convolution import Convolution, Deconvolution
from tests import naive
from tests.test_kernels import stored

RNG = np.random.default_rng(11)


def half_zero(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Weights with as many zeros as positive parts have, and rows without anything else."""
    weight = np.maximum(RNG.normal(0, 1, shape), 0).astype(dtype)
    weight[::5] = 0
    return weight


def way(params: Convolution, source: tuple[int, ...], target: tuple[int, ...]) -> Sliding:
    return Sliding(source, target, params.kernel, params.stride, params.pad, params.dilation, params.group)


@pytest.mark.parametrize("sides", [0, 1, 2])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_lists_hold_what_is_not_zero(sides: int, dtype: str) -> None:
    """The matrices come out again: each value, in its block, row and place, from the source of its sign."""
    matrices = RNG.normal(0, 1, (2, 11, 50)).astype(dtype)
    matrices[RNG.random(matrices.shape) < 0.4] = 0
    matrices[1, 3] = 0
    block = lists.Blocking(sides, 48, 21)
    found = lists.SparseMatrix(matrices, block)
    count = np.count_nonzero(matrices) * max(sides, 1)
    assert (found.ends[0], found.ends[-1]) == (0, count)
    line, rest = np.divmod(found.places.view(np.uint16)[:count].astype(int), block.columns)
    assert not rest.any()
    again = np.zeros((2, max(sides, 1), 2 if sides else 1, 11, 63), dtype)
    pairs = -(-11 * max(sides, 1) // 2)
    for i, (start, stop) in enumerate(zip(found.ends[:-1], found.ends[1:], strict=True)):
        group, at, pair, chosen = np.unravel_index(i, (2, 3, pairs, 3))
        for n in range(start, stop):
            side, row = divmod(2 * pair + (n - start) % 2 if chosen == 0 else 2 * pair + chosen - 1, 11)
            before = n - 2 if chosen == 0 else n - 1  # of the same row
            assert before < start or line[n] % block.deep > line[before] % block.deep
            again[group, side, line[n] // block.deep, row, at * block.deep + line[n] % block.deep] = found.values[n]
    assert not again[..., 50:].any()
    for side in range(max(sides, 1)):
        np.testing.assert_array_equal(again[:, side].sum(axis=1)[..., :50], matrices)
        if sides:
            assert (again[:, side, side] >= 0).all()
            assert (again[:, side, 1 - side] <= 0).all()


def test_rows_that_meet_the_same_pixels_share_a_list() -> None:
    """Of two rows, values that meet the same pixels are in one list, so each of the other lists has none of them."""
    matrices = RNG.normal(0, 1, (1, 2, 30)).astype("float32")
    matrices[RNG.random(matrices.shape) < 0.4] = 0
    both = np.count_nonzero(matrices.all(axis=1))
    ends = lists.SparseMatrix(matrices, lists.Blocking(0, 48, 30)).ends
    assert np.diff(ends).tolist() == [2 * both, *(np.count_nonzero(matrices, axis=2)[0] - both)]
    same = np.count_nonzero(matrices.all(axis=1) & (matrices.prod(axis=1) > 0))
    ends = lists.SparseMatrix(matrices, lists.Blocking(1, 48, 30)).ends
    assert np.diff(ends).tolist() == [2 * same, *(np.count_nonzero(matrices, axis=2)[0] - same)]


@pytest.mark.parametrize("mode", [gemm.STORE, gemm.STORE_RELU, gemm.STORE_TIMES, gemm.STORE_BOTH])
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (7, 7), (14, 14), (9, 29), (1, 130), (28, 28)])
@pytest.mark.parametrize("cells", [(1, 1), (3, 2)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_zeros_are_left_out(mode: int, size: tuple[int, int], cells: tuple[int, int], dtype: str) -> None:
    """The same sums for lines that fill less than a vector, one, several, and parts of different width."""
    params = Convolution(42, cells, pad=(cells[0] // 2, 0 if size[1] >= cells[1] else 1), group=2)
    x = RNG.normal(0, 1, (2, 70, *size)).astype(dtype)
    weight, bias = half_zero((42, 35, *cells), dtype), RNG.normal(0, 1, 42).astype(dtype)
    (y,) = naive.convolution(params, {"weight": weight, "bias": bias}, [x.astype(np.float64)])
    factor = RNG.normal(0, 1, y.shape).astype(dtype)
    expected, given = stored(mode, y, bias, factor)
    other = factor.copy()
    geometry = way(params, x.shape, y.shape).forward()
    matrix = packed_matrix(weight.reshape(2, 21, 35, -1), geometry)
    assert isinstance(matrix, lists.SparseMatrix)
    out, program = np.full(y.shape, np.nan, dtype), Program(dtype)
    add_convolution(program, geometry, matrix, given, x, out, other, mode, "sparse")
    program.run()
    tolerance = {"rtol": 0, "atol": 1e-12 if dtype == "float64" else 1e-4}
    np.testing.assert_allclose(out, expected, **tolerance)
    np.testing.assert_allclose(other, np.maximum(y, 0) if mode == gemm.STORE_BOTH else factor, **tolerance)


@pytest.mark.parametrize("sides", [1, 2])
@pytest.mark.parametrize("stride", [(1, 1), (2, 3)])
@pytest.mark.parametrize("channels", [3, 40])
def test_transposed_products_by_sign(sides: int, stride: tuple[int, int], channels: int) -> None:
    """Relevance that flows back by sign, as one product over all residues of a stride or one for each."""
    params = Deconvolution(2 * channels, (3, 4), stride, pad=(1, 0), group=2)
    sources = RNG.normal(0, 1, (2, 2, 2, 17, 5, 9))  # images, groups, sign, channels, pixels
    weight = RNG.normal(0, 1, (34, channels, 3, 4))

    def product(positive: int, negative: int) -> np.ndarray:
        parts = ((np.maximum(weight, 0), positive), (np.minimum(weight, 0), negative))
        blobs = [(w, sources[:, :, sign].reshape(2, 34, 5, 9)) for w, sign in parts]
        y = sum(naive.deconvolution(params, {"weight": w, "bias": np.zeros(2 * channels)}, [x])[0] for w, x in blobs)
        return y.reshape(2, 2, channels, *y.shape[2:])

    expected = np.stack([product(0, 1), product(1, 0)][:sides], axis=2)
    image = expected.shape[-2:]
    out = np.full((2, 2 * sides * channels, *image), np.nan)
    sliding = Sliding(
        (2, 2 * channels, *image), (2, 34, 5, 9), params.kernel, stride, params.pad, params.dilation, 2
    )  # fmt: skip
    program = Program("float64")
    grouped = weight.reshape(2, 17, channels, -1)
    add_transposed(
        program, sliding, grouped, None, sources.reshape(2, 68, 5, 9), out, out, gemm.STORE, "back", sides=sides
    )
    program.run()
    np.testing.assert_allclose(out.reshape(expected.shape), expected, rtol=0, atol=1e-12)


def test_full_matrices_stay_tiles() -> None:
    """Lists are taken by sign and where they are faster: many zeros, or rows that would fill little of a tile."""
    geometry = Sliding((1, 64, 9, 9), (1, 48, 9, 9), (1, 1), (1, 1), (0, 0), (1, 1), 1).forward()
    weight = RNG.normal(0, 1, (1, 48, 64, 1)).astype("float32")
    assert isinstance(packed_matrix(weight, geometry), PackedMatrix)
    assert isinstance(packed_matrix(np.maximum(weight, 0), geometry), lists.SparseMatrix)
    assert isinstance(packed_matrix(weight, replace(geometry, sides=1)), lists.SparseMatrix)
    weight[RNG.random(weight.shape) < 0.1] = 0
    assert isinstance(packed_matrix(weight, geometry), PackedMatrix)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_lines_are_cut_into_parts_of_nearly_equal_width(dtype: str) -> None:
    width = gemm.tiles(dtype).width
    for line in (1, 15, 16, 17, 128, 129, 196, 811, 5000):
        parts = sparse._tiles(line, dtype)
        first, halves, pixels = parts.T
        assert first[0] == 0
        assert pixels.sum() == line
        np.testing.assert_array_equal(first[1:], np.cumsum(pixels)[:-1])
        assert (-(-pixels // width) * 2 == halves).all()
        assert halves.max() <= 2 * lines.most_vectors(dtype)
        assert np.ptp(halves) <= 2
