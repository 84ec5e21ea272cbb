"""Convolution by minimal filtering (see `filtering`), for 3 x 3 and 5 x 5 cells.

Only sums are formed in another order, and differences among them. Where all terms have one sign, as in z+ and z-,
that would turn exact zeros into rounding errors, so it is for outputs that may have any sign.

The tiles of all images lie side by side, as the pixels of one line. Each thread takes a part of the line that fits the
cache, transforms its pixels, multiplies them by blocks of rows of the weights, which is one product of the micro-kernel
for each place of a tile, and transforms the results before they leave the cache.
"""

from __future__ import annotations

import numpy as np

from caffe2lrp.kernels.compiling import device
from caffe2lrp.kernels.convolution import (
    AHEAD,
    Geometry,
    Packed,
    PackedMatrix,
    Sliding,
    line_tiles,
    multiply,
)
from caffe2lrp.kernels.filtering import FILTERS, RUN, Filter, from_tiles, pieces, to_tiles
from caffe2lrp.kernels.gemm import STORE, STORE_BOTH, STORE_RELU, STORE_TIMES, tiles
from caffe2lrp.kernels.launch import F1, I1, I2, Int, Program, Thread, Turn, kernel
from caffe2lrp.kernels.planes import Source, add_planes, plan_planes
from caffe2lrp.kernels.room import own_parts, part_of
from caffe2lrp.kernels.rows import has_masks
from caffe2lrp.kernels.share import pieces_of
from caffe2lrp.kernels.storing import along_memory
from caffe2lrp.kernels.team import threads
from caffe2lrp.kernels.units import blocks_of, share_rows, tiles_of, units_of

# Beginning and ending a tile costs as much as so many multiplications of vectors, reading the weights as so many more
# vectors of tiles, and a transform of pixels as so many multiplications of each of its values.
_CALL, _READING, _TRANSFORM = 600, 1.5, 6
# For each filter, tiles of products, and their transforms to outputs, cost so many more multiplications of each vector.
_OUTPUTS = (11, 22, 18)
# Vectors of tiles from several rows take so much longer.
_SPLIT = 1.25
# Filters with more outputs round more: they have to save a tenth.
_FEWER_ROUNDINGS = 1.1
# Products of a block of rows that are kept until they are transformed; they fit the cache.
_KEPT = 2**16


def choose(sliding: Sliding, dtype: str, times: float = 1) -> int | None:
    """The filter that computes a convolution fastest, on so many times its images; None where the plain sums do."""
    if sliding.stride != (1, 1) or sliding.dilation != (1, 1) or sliding.kernel[0] != sliding.kernel[1]:
        return None
    rows, channels = sliding.target[1] // sliding.group, sliding.source[1] // sliding.group
    images, cells = round(times * sliding.source[0]), sliding.kernel[0]
    call = _CALL / (tiles(dtype).rows[0] * tiles(dtype).vectors)
    plain = sliding.forward()
    vectors = images * _vectors(plan_planes(plain, dtype, 1).line(plain.grid), dtype)
    costs: dict[int | None, float] = {None: rows * (cells**2 * channels * (vectors + _READING) + call * vectors)}
    for kind, chosen in enumerate(FILTERS):
        if cells == chosen.cells.shape[1]:
            down, across = _grid(sliding, chosen)
            vectors = _vectors(images * down * across, dtype)
            # threads that share a tile of pixels transform all of it each; their number must not change the result
            transformed = max(vectors, 2 * min(vectors, tiles(dtype).vectors))
            each = rows * (channels * (vectors + _READING) + _OUTPUTS[kind] * vectors)
            each += _TRANSFORM * channels * transformed
            costs[kind] = chosen.products**2 * each * (_FEWER_ROUNDINGS if chosen.side > 2 else 1)
    return min(costs, key=lambda kind: costs[kind])


def _vectors(line: int, dtype: str) -> float:
    """Vectors of a line of pixels; half a vector takes as long as a whole one."""
    return float(np.maximum(line_tiles(line, dtype)[:, 1], 2).sum()) / 2


def _grid(sliding: Sliding, chosen: Filter) -> tuple[int, int]:
    """Tiles of an image, down and across."""
    return -(-sliding.target[2] // chosen.side), -(-sliding.target[3] // chosen.side)


def _run(across: int, side: int, width: int) -> int:
    """The longest run of tiles of a row that is transformed in one piece: a vector, or a part of one for short rows."""
    short = width // pieces(side, width)
    vectors = -(-across // width)
    filled = -(-across // short) * short / width
    return short if _SPLIT * filled < vectors else width


def _geometry(sliding: Sliding, chosen: Filter) -> Geometry:
    """A convolution that moves down by a tile and across by a pixel, and sees all inputs of a tile."""
    side, reach = chosen.side, range(chosen.reach)
    down, across = _grid(sliding, chosen)
    return Geometry(
        batch=sliding.source[0], group=sliding.group, channels=sliding.source[1] // sliding.group,
        rows=sliding.target[1] // sliding.group, source=(sliding.source[2], sliding.source[3]),
        target=(sliding.target[2], sliding.target[3]), grid=(down, side * (across - 1) + 1), stride=(side, 1),
        step=(side, 1), start=(0, 0),
        taps=np.array([(y - sliding.pad[0], x - sliding.pad[1]) for y in reach for x in reach]),
    )  # fmt: skip


def add_forward(
    program: Program, kind: int, sliding: Sliding, weight: np.ndarray, bias: np.ndarray | None, x: Source,
    y: np.ndarray, factor: np.ndarray, mode: int, label: str,
) -> None:  # fmt: skip
    """As `convolution.add_forward`, by a filter of the kind that `choose` names."""
    matrix = PackedMatrix(_transformed_weight(weight, FILTERS[kind]))
    _add(program, kind, sliding, matrix, bias, x, y, factor, mode, label)


def add_transposed(
    program: Program, kind: int, sliding: Sliding, weight: np.ndarray, s: Source, c: np.ndarray, factor: np.ndarray,
    mode: int, label: str, packed: Packed,
) -> None:  # fmt: skip
    """As `convolution.add_transposed`, by a filter of the kind that `choose` names for the way that is turned."""
    turned = sliding.turned()
    assert turned is not None
    if ("minimal", kind) not in packed:
        cells = weight.transpose(0, 2, 1, 3)[..., ::-1]
        packed["minimal", kind] = PackedMatrix(_transformed_weight(cells, FILTERS[kind]))
    matrix = packed["minimal", kind]
    assert isinstance(matrix, PackedMatrix)
    _add(program, kind, turned, matrix, None, s, c, factor, mode, label)


def _add(
    program: Program, kind: int, sliding: Sliding, matrix: PackedMatrix, bias: np.ndarray | None, src: Source,
    y: np.ndarray, factor: np.ndarray, mode: int, label: str,
) -> None:  # fmt: skip
    """Append the product with transformed weights."""
    chosen, layout = FILTERS[kind], tiles(program.dtype)
    places = chosen.products**2
    down, across = _grid(sliding, chosen)
    images, groups, (height, width) = sliding.source[0], sliding.group, sliding.source[2:]
    rows, channels = sliding.target[1] // groups, sliding.source[1] // groups
    taps, size = width * np.arange(chosen.reach), height * width
    pitch, origin = chosen.side * width, -sliding.pad[0] * width - sliding.pad[1]
    x = src if isinstance(src, np.ndarray) else src.add_array(program, label)
    pixels = x.reshape(-1)
    if not has_masks():  # then all pixels have to be there
        g = _geometry(sliding, chosen)
        planes = plan_planes(g, program.dtype, layout.width // 2)
        pixels, taps = add_planes(program, planes, g, x, label), planes.starts[: chosen.reach**2 : chosen.reach].copy()
        size, pitch, origin = len(planes.residues) * planes.size, planes.pitch, 0
    most, (table, starts) = layout.columns, _tiles(images * down * across, channels, program.dtype)
    together = max(_KEPT // (places * layout.rows[0] * most), 1)
    areas = places * (channels * most + layout.width)  # vectors may end behind the last channel's tiles
    room = areas + places * together * layout.rows[0] * most
    blocks = matrix.blocks_of_rows()
    by_rows = share_rows(table[:, 1], groups, len(blocks), threads())
    units = groups * int(blocks[:, 1].sum() * table[:, 1].sum()) * layout.width // 2
    pieces = pieces_of(places * channels * units)
    vectors = chosen.side * most // layout.width  # that a row of outputs of `most` tiles consists of
    cuts = 1 + RUN * (most + layout.width) + vectors + 1 + 4 * (most + vectors)
    zeros = np.zeros(chosen.side * layout.width + chosen.reach, y.dtype)
    program.add(
        winograd, pixels, taps, starts, table, matrix.data, blocks,
        np.zeros(groups * rows, y.dtype) if bias is None else bias, zeros, along_memory([y])[0],
        along_memory([factor])[0], own_parts(program.dtype, room, threads()),
        np.empty(cuts * threads(), np.int64), _run(across, chosen.side, layout.width), kind, chosen.side, places,
        images, groups, rows, channels, matrix.rows, size, areas, height, width, *sliding.pad, origin,
        *sliding.target[2:], y.strides[0] // y.itemsize, down, across, pitch, layout.width, most, together, by_rows,
        pieces, threads(), mode, label=label, pieces=pieces,
    )  # fmt: skip


def _tiles(line: int, channels: int, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Parts of the line, (parts, 4): first tile, half vectors, tiles of whole vectors, and where its starts begin.

    The starts are those of the channels' transformed pixels. They leave no room between channels, whatever the part:
    the processor would fetch it, too.
    """
    parts, vector = line_tiles(line, dtype), tiles(dtype).width
    whole = -(-parts[:, 1:] // 2) * vector
    pitches = np.unique(whole)
    starts = np.arange(channels) * pitches[:, None]
    return np.hstack([parts, whole, np.searchsorted(pitches, whole) * channels]), starts.reshape(-1)


def _transformed_weight(weight: np.ndarray, chosen: Filter) -> np.ndarray:
    """G g G' of (group, M, C, cells), as matrices (group * places, M, C)."""
    group, m, c, cells = weight.shape
    both = np.kron(chosen.cells, chosen.cells)
    made = (weight.reshape(-1, cells) @ both.T).astype(weight.dtype)
    return np.ascontiguousarray(made.reshape(group, m, c, -1).transpose(0, 3, 1, 2)).reshape(-1, m, c)


@kernel
def winograd(
    part: Int, parts: Int, thread: Thread, turn: Turn, src: F1, taps: I1, starts: I1, table: I2, a: F1, blocks: I2,
    bias: F1, zeros: F1, dst: F1, x: F1, room: F1, cuts: I1, run: Int, kind: Int, side: Int, places: Int, images: Int,
    groups: Int, m: Int, k: Int, packed_rows: Int, size: Int, areas: Int, source_h: Int, source_w: Int, above: Int,
    left: Int, origin: Int, target_h: Int, target_w: Int, per_image: Int, down: Int, across: Int, pitch: Int,
    lanes: Int, most: Int, together: Int, by_rows: Int, pieces: Int, threads: Int, mode: Int,
) -> None:  # fmt: skip
    """See the module; the numbers are what `_add` chooses."""
    mine = part_of(room, thread, threads)
    inside = cuts[thread * (cuts.size // threads) :]  # the tile whose pixels this thread has transformed
    inputs = inside[1:]
    line = inputs[RUN * (most + lanes) :]
    outputs = line[side * most // lanes + 1 :]
    products = mine[areas:]
    rows_kept = together * blocks[0, 1]
    zero, infinity = dst.dtype.type(0), dst.dtype.type(np.inf)
    plane = target_h * target_w
    start, stop, low, high = units_of(part, parts, pieces, groups, table, 1, blocks, by_rows)
    first, behind = tiles_of(start, stop, low, high)
    if turn == 0:
        inside[0] = -1
    for tile in range(first, behind):
        group, t = tile // table.shape[0], tile % table.shape[0]
        begin, end = blocks_of(tile, start, stop, low, high)
        j0, halves, wide = table[t, 0], table[t, 1], table[t, 2]
        columns, step = halves * lanes // 2, k * wide + lanes  # step: from a place to the next
        channels = starts[table[t, 3] : table[t, 3] + k]
        j1 = min(j0 + columns, images * down * across)
        _cut_outputs(outputs, line, lanes, side, per_image, target_h, target_w, down, across, j0, j1)
        if inside[0] != tile:
            inside[0] = tile
            runs = _cut_inputs(
                inputs, run, lanes, groups * k * size, source_h, source_w, above, left, origin, pitch, side, down,
                across, j0, j1,
            )  # fmt: skip
            for channel in range(k):
                at = (group * k + channel) * size
                to_tiles(kind, run == lanes, src, taps, zeros, at, inputs, runs, mine, channel * wide, step)
        for top in range(begin, end, together):
            bottom = min(top + together, end)
            for q in range(places):
                for block in range(top, bottom):
                    a0 = (group * places + q) * packed_rows * k + blocks[block, 3]
                    row = q * rows_kept + blocks[block, 0] - blocks[top, 0]
                    multiply(
                        blocks[block, 1], halves, a, a0, AHEAD, mine, q * step, 0, channels, k, zeros, 0,
                        products, row * wide, wide, x, STORE,
                    )  # fmt: skip
            for block in range(top, bottom):
                row, valid = blocks[block, 0], blocks[block, 2]
                for r in range(row, row + valid):
                    at = (r - blocks[top, 0]) * wide
                    to = (group * m + r) * plane
                    value = bias[group * m + r]
                    for second in range(2 if mode == STORE_BOTH else 1):
                        out, least = (x, zero) if second else (dst, zero if mode == STORE_RELU else -infinity)
                        from_tiles(
                            kind, products, at, rows_kept * wide, columns, value, outputs, line, out, to, target_w,
                            least, mode == STORE_TIMES, x,
                        )  # fmt: skip


@device
def _cut_inputs(cuts, run, lanes, per_image, height, width, above, left, origin, pitch, side, down, across, j0, j1):  # type: ignore[no-untyped-def]
    """Cut the tiles j0 to j1 into runs of at most `run` of a row, which fill vectors together; the number of runs.

    For each, what `to_tiles` wants to know.
    """
    n = 0
    j = j0
    while j < j1:
        row, column = j // across, j % across
        y, x = side * (row % down) - above, side * column - left
        cuts[RUN * n] = row // down * per_image + origin + row % down * pitch + side * column
        cuts[RUN * n + 1] = j - j0
        cuts[RUN * n + 2], cuts[RUN * n + 3] = max(-x, 0), max(width - x, 0)
        cuts[RUN * n + 4], cuts[RUN * n + 5] = max(-y, 0), height - y
        j += min(across - column, j1 - j, run)
        n += 1
    while n * run % lanes != 0:
        for i in range(RUN):
            cuts[RUN * n + i] = cuts[RUN * (n - 1) + i]
        n += 1
    return n


@device
def _cut_outputs(runs, line, lanes, side, per_image, height, width, down, across, j0, j1):  # type: ignore[no-untyped-def]
    """Cut the vectors that a row of the outputs of tiles j0 to j1 consists of into runs, as `from_tiles` wants them."""
    n, vector = 0, 0
    line[0] = 0
    j = j0
    while j < j1:
        row, column = j // across, j % across
        count = min(across - column, j1 - j)
        y, x = side * (row % down), side * column
        first = side * (j - j0)
        stop = first + min(side * count, width - x)
        at = first
        while at < stop:
            while vector < at // lanes:
                vector += 1
                line[vector] = n
            start = vector * lanes
            runs[4 * n] = row // down * per_image + y * width + x + start - first
            runs[4 * n + 1] = at - start
            runs[4 * n + 2] = min(stop - start, lanes)
            runs[4 * n + 3] = min(side, height - y)
            at = start + lanes
            n += 1
        j += count
    for rest in range(vector + 1, side * ((j1 - j0 + lanes - 1) // lanes) + 1):
        line[rest] = n
