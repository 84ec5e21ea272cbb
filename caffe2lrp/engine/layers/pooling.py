"""Pooling and SPP. The winner of a maximum takes all relevance; an average is a linear layer with equal weights.

Stochastic pooling gives sum of x_i (x_i / sum of x), the mean of the values by their probabilities. Relevance goes
to the x_i in proportion to these terms, the probabilities being taken as the weights of a linear layer (the z-rule,
Bach et al. 2015, eq. 56). So large values get more than an average would give them, and the rule conserves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple, dataclass

import numpy as np

from caffe2lrp.engine.backward import RelevancePlan
from caffe2lrp.engine.plan import ForwardPlan
from caffe2lrp.engine.registry import forward, gradient, relevance
from caffe2lrp.ir import Layer
from caffe2lrp.kernels import eltwise
from caffe2lrp.kernels import pooling as kernels
from caffe2lrp.kernels import window_pooling as listed
from caffe2lrp.kernels.gemm import tiles
from caffe2lrp.kernels.launch import Program
from caffe2lrp.kernels.rows import has_masks
from caffe2lrp.kernels.selection import Selection, window_index
from caffe2lrp.kernels.share import pieces_of
from caffe2lrp.kernels.team import threads
from caffe2lrp.kernels.windows import has_windows
from caffe2lrp.layers.base import Shape, count
from caffe2lrp.layers.pooling import SPP, Pooling

# Sum of a window below which the LRP Toolbox adds the activations themselves.
_EMPTY = 1e-6


def _planes(array: np.ndarray) -> np.ndarray:
    """(N, C, H, W), or without H, as images (planes, H, W)."""
    return array.reshape(array.shape[0] * array.shape[1], *[1] * (4 - array.ndim), *array.shape[2:])


def _window(params: Pooling, shape: Shape) -> tuple[int, ...]:
    """Kernel, stride and padding for the kernels on images."""
    sizes = [params.window(shape), params.on(shape).stride, params.on(shape).pad]
    if len(shape) == 3:  # a line is an image of height 1
        sizes = [(fill, *s) for fill, s in zip((1, 1, 0), sizes, strict=True)]
    return tuple(size for pair in sizes for size in pair)


def _averaged(params: Pooling, shape: Shape, *arrays: np.ndarray) -> tuple[list[np.ndarray], tuple[int, ...]]:
    """Images, and kernel, stride and padding on them, for average pooling of a blob of a shape.

    Where the window is the whole image, that is one row, which is added up in whole vectors.
    """
    window = _window(params, shape)
    height, width = (1, *shape[2:])[-2:]
    if window[:2] == (height, width) and window[4:] == (0, 0):
        return [array.reshape(-1, 1, count(array.shape, 2)) for array in arrays], (1, height * width, 1, 1, 0, 0)
    return [_planes(array) for array in arrays], window


def _is_plain(params: Pooling, shape: Shape) -> bool:
    """Whether the kernels on images do it; the others work on lists of windows."""
    return len(shape) < 5 and params.method != "STOCHASTIC"


@dataclass(frozen=True)
class _Listed:
    """The windows of a pooling layer, listed."""

    starts: np.ndarray
    cells: np.ndarray
    divisor: np.ndarray

    @property
    def table(self) -> tuple[np.ndarray, np.ndarray]:
        return self.starts, self.cells


def _listed(params: Pooling, shape: Shape, dtype: str) -> _Listed:
    (out,) = params.output_shapes([shape])
    spelled, kernel = params.on(shape), params.window(shape)
    cells = Selection.of(window_index(shape[2:], out[2:], kernel, spelled.stride, spelled.pad), count(shape, 2))
    divisor = np.ones(1)
    for size, places, k, s, p in zip(shape[2:], out[2:], kernel, spelled.stride, spelled.pad, strict=True):
        start = np.arange(places) * s - p
        divisor = np.multiply.outer(divisor, np.minimum(start + k, size + p) - start)
    return _Listed(cells.starts, cells.sources, divisor.reshape(-1).astype(dtype))


def _flat(*arrays: np.ndarray) -> list[np.ndarray]:
    """Blobs as (planes, places)."""
    return [array.reshape(array.shape[0] * array.shape[1], -1) for array in arrays]


def _are_few(window: tuple[int, ...]) -> bool:
    """Whether windows are taken a vector at a time."""
    return has_masks() and has_windows(window)


def _few(window: tuple[int, ...], dtype: str) -> tuple[int, ...]:
    """Such a window, and the lanes of a vector, for the kernels that do so."""
    return window[0], window[2], *window[4:], tiles(dtype).width


def _add_pooling(program: Program, params: Pooling, x: np.ndarray, y: np.ndarray, label: str) -> None:
    window = _window(params, x.shape)
    if not _is_plain(params, x.shape):
        windows = _listed(params, x.shape, program.dtype)
        flat, out = _flat(x, y)
        if params.method == "MAX":
            program.add(listed.window_max, flat, *windows.table, out, label=label)
        elif params.method == "AVE":
            program.add(listed.window_average, flat, *windows.table, windows.divisor, out, label=label)
        else:
            program.add(listed.window_expectation, flat, *windows.table, out, label=label)
    elif params.method == "MAX" and _are_few(window):
        few, pieces = _few(window, program.dtype), pieces_of(kernels.POOLING * x.size)
        program.add(kernels.max_pooling_of_few, _planes(x), _planes(y), *few, label=label, pieces=pieces)
    elif params.method == "MAX":
        bands = kernels.bands_of(_planes(x), _planes(y), window)
        room = np.empty((threads(), 2 * bands.room), x.dtype)
        program.add(kernels.max_pooling, _planes(x), _planes(y), room, *astuple(bands), *window, label=label)
    else:
        images, window = _averaged(params, x.shape, x, y)
        program.add(kernels.average_pooling, *images, *window, label=label)


def _add_relevance(
    plan: RelevancePlan, params: Pooling, x: np.ndarray, y: np.ndarray, r: np.ndarray, target: np.ndarray, label: str
) -> None:
    program, settings = plan.program, plan.settings
    if not _is_plain(params, x.shape):
        windows = _listed(params, x.shape, program.dtype)
        flat, out, arriving, back = _flat(x, y, r, target)
        if params.method == "MAX":
            program.add(listed.window_max_relevance, flat, out, arriving, *windows.table, back, label=label)
        elif params.method == "AVE":
            program.add(listed.window_average_relevance, flat, arriving, *windows.table, back, label=label)
        else:
            program.add(listed.window_expectation_relevance, flat, arriving, *windows.table, back, label=label)
        return
    images = [_planes(array) for array in (x, y, r, target)]
    window = _window(params, x.shape)
    if params.method == "MAX" and not settings.average_max:
        if _are_few(window):
            few, pieces = _few(window, program.dtype), pieces_of(kernels.LEADING_BACK * x.size)
            program.add(kernels.max_pooling_relevance_of_few, *images, *few, label=label, pieces=pieces)
            return
        if window[0] * window[1] > kernels.FEW_CELLS:
            program.add(kernels.max_pooling_relevance, *images, *window, label=label)
            return
        whole = kernels.bands_of(images[0], images[1], window, whole=True)
        height = kernels.run_height(whole.pitch, window[2])
        room = np.empty((threads(), 2 * whole.room + 3 * height * whole.pitch + 8), x.dtype)
        sizes = (height, whole.rows, whole.pitch)
        program.add(kernels.max_pooling_relevance_by_runs, *images, room, *sizes, *window, label=label)
    else:
        spread = label in settings.spread_empty
        images, window = _averaged(params, x.shape, x, r, target)
        program.add(kernels.average_pooling_relevance, *images, *window, _EMPTY if spread else 0.0, spread, label=label)


def _add_gradient(
    plan: RelevancePlan, params: Pooling, x: np.ndarray, y: np.ndarray, r: np.ndarray, target: np.ndarray, label: str
) -> None:
    program = plan.program
    if params.method == "MAX":
        _add_relevance(plan, params, x, y, r, target, label)
    elif _is_plain(params, x.shape):
        images, window = _averaged(params, x.shape, r, target)
        program.add(kernels.average_pooling_gradient, *images, *window, label=label)
    else:
        windows = _listed(params, x.shape, program.dtype)
        flat, out, arriving, back = _flat(x, y, r, target)
        if params.method == "AVE":
            program.add(listed.window_average_gradient, arriving, *windows.table, windows.divisor, back, label=label)
        else:
            program.add(listed.window_expectation_gradient, flat, out, arriving, *windows.table, back, label=label)


@forward(Pooling)
def _pooling(plan: ForwardPlan, layer: Layer) -> None:
    assert isinstance(layer.params, Pooling)
    (x,), y = plan.inputs(layer), plan.output(layer)
    _add_pooling(plan.program, layer.params, x, y, layer.name)
    if len(layer.outputs) == 2:
        mask = plan.output(layer, 1)
        planes = [_planes(array) for array in (x, y, mask)]
        plan.program.add(kernels.pooling_mask, *planes, *_window(layer.params, x.shape), label=layer.name)


@relevance(Pooling)
def _pooling_relevance(plan: RelevancePlan, layer: Layer) -> None:
    assert isinstance(layer.params, Pooling)
    values, out = plan.forward.values, layer.outputs[0]
    target = plan.into(layer.inputs[0])
    _add_relevance(plan, layer.params, values[layer.inputs[0]], values[out], plan.relevance[out], target, layer.name)


@gradient(Pooling)
def _pooling_gradient(plan: RelevancePlan, layer: Layer) -> None:
    assert isinstance(layer.params, Pooling)
    values, out = plan.forward.values, layer.outputs[0]
    target = plan.into(layer.inputs[0])
    _add_gradient(plan, layer.params, values[layer.inputs[0]], values[out], plan.relevance[out], target, layer.name)


# -- pyramids --------------------------------------------------------------------------------------


def _copy_level(program: Program, src: np.ndarray, start: int, dst: np.ndarray, at: int, size: int, label: str) -> None:
    """Copy `size` values of each image from the place `start` to the place `at`."""
    n = src.shape[0]
    program.add(eltwise.copy_slice, src.reshape(n, -1, 1), start, dst.reshape(n, -1, 1), at, size, label=label)


@forward(SPP)
def _spp(plan: ForwardPlan, layer: Layer) -> None:
    assert isinstance(layer.params, SPP)
    (x,), y = plan.inputs(layer), plan.output(layer)
    start = 0
    for params, shape in zip(layer.params.levels(x.shape), layer.params.level_shapes(x.shape), strict=True):
        level = plan.new(shape)
        _add_pooling(plan.program, params, x, level, layer.name)
        _copy_level(plan.program, level, 0, y, start, count(shape, 1), layer.name)
        start += count(shape, 1)


@relevance(SPP)
def _spp_relevance(plan: RelevancePlan, layer: Layer) -> None:
    _spp_back(plan, layer, _add_relevance)


@gradient(SPP)
def _spp_gradient(plan: RelevancePlan, layer: Layer) -> None:
    _spp_back(plan, layer, _add_gradient)


def _spp_back(plan: RelevancePlan, layer: Layer, add: Callable[..., None]) -> None:
    """The sum of what all levels send back."""
    assert isinstance(layer.params, SPP)
    x, y = plan.forward.values[layer.inputs[0]], plan.forward.values[layer.outputs[0]]
    r, target = plan.relevance[layer.outputs[0]], plan.into(layer.inputs[0])
    start = 0
    for params, shape in zip(layer.params.levels(x.shape), layer.params.level_shapes(x.shape), strict=True):
        value, arriving, back = plan.new(shape), plan.new(shape), target if start == 0 else plan.new(x.shape)
        size = count(shape, 1)
        _copy_level(plan.program, y, start, value, 0, size, layer.name)
        _copy_level(plan.program, r, start, arriving, 0, size, layer.name)
        add(plan, params, x, value, arriving, back, layer.name)
        if back is not target:
            plan.program.add(eltwise.add_scaled, back.reshape(-1), 1.0, target.reshape(-1), label=layer.name)
        start += size
