"""Plain, slow NumPy twins of everything that caffe2lrp computes, written from the formulas.

Float64, loops and small matrices, no cleverness: the fast kernels are compared with this file, so it
shares no code with them. Four parts:

- `FORWARD` and `forward`: what each layer type computes, as BVLC Caffe does.
- `GRADIENT` and `gradient`: the true derivative of each layer type.
- `RELEVANCE` and `relevance`: layer-wise relevance propagation by the rules of the papers. Linear layers
  become an explicit matrix (`dense_matrix`); a rule (`RULES`) is a few lines of matrix algebra.
- `toolbox_relevance`: the authors' own implementation (LRP Toolbox, caffe-master-lrp 1.3.1) with its oddities.

Every layer function takes ``(params, weights, inputs)`` or ``(params, weights, inputs, arriving, **options)``,
where `inputs` and `arriving` (gradient or relevance of each output) are lists of arrays, and returns a list.

Sources: Caffe = BVLC Caffe's layers; PLOS ONE = Bach et al. 2015; DTD = Montavon et al. 2017
(arXiv 1512.02479); overview = Montavon et al. 2019; ICANN = Binder et al. 2016 (arXiv 1604.00825);
toolbox = the LRP Toolbox's Caffe implementation, as described in ``reference/lrp_toolbox.md``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from caffe2lrp.ir import Layer, Network
from tests import naive_forks

Array = np.ndarray
Weights = Mapping[str, Array]
Blobs = dict[str, Array]
LayerBackward = Callable[..., list[Array]]

# -- small helpers -------------------------------------------------------------------------------------


def positive(t: Array) -> Array:
    """(t)+ = max(t, 0)."""
    return np.maximum(t, 0.0)


def negative(t: Array) -> Array:
    """(t)- = min(t, 0)."""
    return np.minimum(t, 0.0)


def divide(numerator: Array, denominator: Array) -> Array:
    """numerator / denominator, and 0 where the denominator is exactly 0 (the term is dropped)."""
    zero = denominator == 0
    return np.where(zero, 0.0, numerator / np.where(zero, 1.0, denominator))


def stabilised(z: Array, epsilon: float) -> Array:
    """z + epsilon sign(z), with sign(0) = +1."""
    return z + epsilon * np.where(z >= 0, 1.0, -1.0)


def as_float64(weights: Weights) -> dict[str, Array]:
    """The same weights in float64."""
    return {name: np.asarray(w, dtype=np.float64) for name, w in weights.items()}


def along_axis(values: Array, axis: int, shape: Sequence[int]) -> Array:
    """`values` with its dimensions laid at axis, axis + 1, ... of an array of `shape`, expanded to all of it."""
    axis = axis % len(shape) if values.ndim else 0
    after = len(shape) - axis - values.ndim
    return np.broadcast_to(values.reshape((1,) * axis + values.shape + (1,) * after), tuple(shape))


def sum_along_axis(full: Array, axis: int, shape: Sequence[int]) -> Array:
    """Adjoint of `along_axis`: sum over all dimensions but those of `shape`, which lie at axis, axis + 1, ..."""
    axis = axis % full.ndim if shape else 0
    others = tuple(d for d in range(full.ndim) if not axis <= d < axis + len(shape))
    return full.sum(axis=others).reshape(tuple(shape))


# -- convolution: windows, columns, the explicit matrix ---------------------------------------------------


def convolution_size(params: Any, *sizes: int) -> tuple[int, ...]:
    """floor((H + 2 pad - (dilation (k - 1) + 1)) / stride) + 1 for every axis (Caffe)."""
    return tuple(
        (size + 2 * pad - (dilation * (k - 1) + 1)) // stride + 1
        for size, k, stride, pad, dilation in zip(
            sizes, params.kernel, params.stride, params.pad, params.dilation, strict=True
        )
    )


def as_images(params: Any, blob: Array) -> Array:
    """(N, C, H, W) or with other axes behind C: everything before the axis of the channels is N."""
    axis = params.axis % blob.ndim
    return blob.reshape(math.prod(blob.shape[:axis]), *blob.shape[axis:])


def pad_image(params: Any, image: Array, fill: float = 0.0) -> Array:
    """(C, H, W) with the layer's padding around it."""
    return np.pad(image, ((0, 0), *((pad, pad) for pad in params.pad)), constant_values=fill)


def unpad_image(params: Any, padded: Array) -> Array:
    """(C, H, W) without its padding."""
    inside = (slice(pad, length - pad) for pad, length in zip(params.pad, padded.shape[1:], strict=True))
    return padded[(slice(None), *inside)]


def _taps(params: Any, *sizes: int) -> Iterator[tuple[tuple[int, ...], tuple[slice, ...]]]:
    """Each place (i, j, ...) of the kernel with the part of the padded image that it meets."""
    out = convolution_size(params, *sizes)
    for place in np.ndindex(*params.kernel):
        first = [i * dilation for i, dilation in zip(place, params.dilation, strict=True)]
        yield (
            place,
            tuple(slice(f, f + s * (o - 1) + 1, s) for f, s, o in zip(first, params.stride, out, strict=True)),
        )


def columns(params: Any, image: Array, fill: float = 0.0) -> Array:
    """im2col: (C, H, W) -> (C, kh, kw, H', W'), what each kernel place sees at each output position."""
    padded = pad_image(params, image, fill)
    out = np.zeros((image.shape[0], *params.kernel, *convolution_size(params, *image.shape[1:])))
    for place, part in _taps(params, *image.shape[1:]):
        out[(slice(None), *place)] = padded[(slice(None), *part)]
    return out


def fold(params: Any, cols: Array, *sizes: int) -> Array:
    """Adjoint of `columns`: sum every column entry back to its pixel; what falls on the padding is lost."""
    padded = np.zeros((cols.shape[0], *(size + 2 * pad for size, pad in zip(sizes, params.pad, strict=True))))
    for place, part in _taps(params, *sizes):
        padded[(slice(None), *part)] += cols[(slice(None), *place)]
    return unpad_image(params, padded)


def _grouped(params: Any, weights: Weights) -> list[tuple[slice, slice, Array, Array]]:
    """Per group: its input channels, its output channels, weight (M, K) and bias (M,)."""
    weight = weights["weight"]
    bias = weights.get("bias", np.zeros(len(weight)))
    fan_in, fan_out = weight.shape[1], len(weight) // params.group
    groups = []
    for g in range(params.group):
        out = slice(g * fan_out, (g + 1) * fan_out)
        groups.append((slice(g * fan_in, (g + 1) * fan_in), out, weight[out].reshape(fan_out, -1), bias[out]))
    return groups


def convolution(params: Any, weights: Weights, inputs: list[Array]) -> list[Array]:
    """Cross-correlation with groups, stride, zero padding and dilation, by im2col and one product per group."""
    x = as_images(params, inputs[0])
    size = convolution_size(params, *x.shape[2:])
    y = np.zeros((len(x), params.num_output, *size))
    for n, image in enumerate(x):
        cols = columns(params, image)
        for into, out, weight, bias in _grouped(params, as_float64(weights)):
            product = weight @ cols[into].reshape(weight.shape[1], -1)
            y[n, out] = (product + bias[:, None]).reshape(-1, *size)
    return [y.reshape(*inputs[0].shape[: params.axis % inputs[0].ndim], *y.shape[1:])]


def _window_of(params: Any, output: Sequence[int]) -> tuple[slice, ...]:
    """The part of the padded image that the window at an output position covers."""
    first = [o * stride for o, stride in zip(output, params.stride, strict=True)]
    return tuple(
        slice(f, f + dilation * (k - 1) + 1, dilation)
        for f, dilation, k in zip(first, params.dilation, params.kernel, strict=True)
    )


def convolution_by_window(params: Any, weights: Weights, inputs: list[Array]) -> list[Array]:
    """The same as `convolution`, written as the definition: the sum over the window of each output value."""
    x = as_images(params, inputs[0])
    weight = np.asarray(weights["weight"], dtype=np.float64)
    y = np.zeros((len(x), params.num_output, *convolution_size(params, *x.shape[2:])))
    fan_in, fan_out = weight.shape[1], params.num_output // params.group
    for n, o, *place in np.ndindex(y.shape):
        first = o // fan_out * fan_in
        padded = pad_image(params, x[n, first : first + fan_in])
        value = (padded[(slice(None), *_window_of(params, place))] * weight[o]).sum()
        y[(n, o, *place)] = value + (weights["bias"][o] if params.bias else 0.0)
    return [y.reshape(*inputs[0].shape[: params.axis % inputs[0].ndim], *y.shape[1:])]


def deconvolution_size(params: Any, *sizes: int) -> tuple[int, ...]:
    """stride (H - 1) + dilation (k - 1) + 1 - 2 pad for every axis (Caffe)."""
    return tuple(
        stride * (size - 1) + dilation * (k - 1) + 1 - 2 * pad
        for size, k, stride, pad, dilation in zip(
            sizes, params.kernel, params.stride, params.pad, params.dilation, strict=True
        )
    )


def deconvolution(params: Any, weights: Weights, inputs: list[Array]) -> list[Array]:
    """Every input value lays its weights over the padded output, at its position * stride; the padding is cut off."""
    x, w = as_images(params, inputs[0]), as_float64(weights)
    size = deconvolution_size(params, *x.shape[2:])
    y = np.zeros((len(x), params.num_output, *size))
    fan_in, fan_out = x.shape[1] // params.group, params.num_output // params.group
    for n in range(len(x)):
        padded = np.zeros((params.num_output, *(o + 2 * p for o, p in zip(size, params.pad, strict=True))))
        for c, *place in np.ndindex(x.shape[1:]):
            first = c // fan_in * fan_out
            part = (slice(first, first + fan_out), *_window_of(params, place))
            padded[part] += x[(n, c, *place)] * w["weight"][c]
        y[n] = unpad_image(params, padded)
    if params.bias:
        y += along_axis(w["bias"], 1, y.shape)
    return [y.reshape(*inputs[0].shape[: params.axis % inputs[0].ndim], *y.shape[1:])]


def dense_matrix(params: Any, weights: Weights, input_shape: Sequence[int], padded: bool = False) -> Array:
    """The matrix of a linear layer for one sample, (M_out, M_in), outputs and inputs flattened in C order.

    Parameters
    ----------
    params, weights
        A Convolution, Deconvolution or InnerProduct.
    input_shape
        Shape of the whole input blob, (N, C, H, W); a sample is what follows the axes before `axis`.
    padded
        Whether the input of a Convolution includes the padding: M_in = C (H + 2 pad) (W + 2 pad) instead of C H W.
    """
    weight = np.asarray(weights["weight"], dtype=np.float64)
    if params.type == "InnerProduct":
        return weight
    channels, *sizes = input_shape[params.axis % len(input_shape) :]
    if params.type == "Deconvolution":
        return _deconvolution_matrix(params, weight, channels, sizes)
    out = convolution_size(params, *sizes)
    wide = [size + 2 * pad for size, pad in zip(sizes, params.pad, strict=True)]
    fan_in, fan_out = weight.shape[1], params.num_output // params.group
    matrix = np.zeros((params.num_output, *out, channels, *wide))
    for o, *place in np.ndindex(params.num_output, *out):
        first = o // fan_out * fan_in
        matrix[(o, *place, slice(first, first + fan_in), *_window_of(params, place))] = weight[o]
    if not padded:
        inside = (slice(pad, pad + size) for pad, size in zip(params.pad, sizes, strict=True))
        matrix = matrix[(..., *inside)]
    return matrix.reshape(params.num_output * math.prod(out), -1)


def _deconvolution_matrix(params: Any, weight: Array, channels: int, sizes: Sequence[int]) -> Array:
    """Entry by entry: input (c, i) reaches output (m, i stride - pad + k dilation) with the weight (c, m, k)."""
    out = deconvolution_size(params, *sizes)
    matrix = np.zeros((params.num_output, *out, channels, *sizes))
    fan_in, fan_out = channels // params.group, params.num_output // params.group
    for c, m, *rest in np.ndindex(channels, fan_out, *sizes, *params.kernel):
        place, cell = rest[: len(sizes)], rest[len(sizes) :]
        target = [
            i * stride - pad + k * dilation
            for i, k, stride, pad, dilation in zip(place, cell, params.stride, params.pad, params.dilation, strict=True)
        ]
        if all(0 <= t < o for t, o in zip(target, out, strict=True)):
            matrix[(c // fan_in * fan_out + m, *target, c, *place)] += weight[(c, m, *cell)]
    return matrix.reshape(params.num_output * math.prod(out), -1)


def dense_bias(params: Any, weights: Weights, input_shape: Sequence[int]) -> Array:
    """The bias that goes with `dense_matrix`, (M_out,); zeros where the layer has none."""
    bias = np.asarray(weights["bias"], dtype=np.float64) if params.bias else np.zeros(params.num_output)
    if params.type == "InnerProduct":
        return bias
    sizes = input_shape[params.axis % len(input_shape) + 1 :]
    size_of = deconvolution_size if params.type == "Deconvolution" else convolution_size
    return np.repeat(bias, math.prod(size_of(params, *sizes)))


# -- pooling ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PoolingWindow:
    """Where one output value of a pooling layer comes from."""

    output: tuple[int, ...]
    place: tuple[slice, ...]  # clipped to the image
    divisor: int  # size clipped to the padded image: padding counts, overhang beyond the padding does not

    @property
    def cells(self) -> Any:
        """Index of the window in a blob."""
        return (slice(None), slice(None), *self.place)

    @property
    def value(self) -> Any:
        """Index of its value in the pooled blob, keeping the axes."""
        return (slice(None), slice(None), *(slice(o, o + 1) for o in self.output))


def pooled_size(size: int, kernel: int, stride: int, pad: int, ceil: bool = True, padded: bool | None = None) -> int:
    """ceil((H + 2 pad - k) / stride) + 1; with padding, one less if the last window starts at H + pad or beyond.

    `padded` says whether there is padding on any axis, for then Caffe clips all of them.
    """
    out = (math.ceil if ceil else math.floor)((size + 2 * pad - kernel) / stride) + 1
    if (pad > 0 if padded is None else padded) and (out - 1) * stride >= size + pad:
        out -= 1
    return out


def pooling_windows(params: Any, *sizes: int) -> tuple[tuple[int, ...], list[PoolingWindow]]:
    """Output size and all windows of a pooling layer on an image of some height and width, or other axes (Caffe)."""
    kernel = params.kernel if params.kernel is not None else sizes
    strides, pads = (s if len(s) == len(sizes) else s[:1] * len(sizes) for s in (params.stride, params.pad))
    out = tuple(
        pooled_size(size, k, stride, pad, params.ceil, any(pads))
        for size, k, stride, pad in zip(sizes, kernel, strides, pads, strict=True)
    )
    windows = []
    for output in np.ndindex(out):
        clipped, divisor = [], 1
        for place, k, stride, pad, length in zip(output, kernel, strides, pads, sizes, strict=True):
            start = place * stride - pad
            divisor *= max(min(start + k, length + pad) - start, 0)
            clipped.append(slice(min(max(start, 0), length), min(start + k, length)))
        windows.append(PoolingWindow(output, tuple(clipped), divisor))
    return out, windows


def _winners(x: Array, window: PoolingWindow) -> Iterator[tuple[int, ...]]:
    """Index (n, c, y, x) of the first maximum, in row-major order, of every image and channel in a window."""
    part = x[window.cells]
    if part.size == 0:
        return  # a window that lies wholly beyond the image (stride > kernel) has no winner
    for n, c in np.ndindex(part.shape[:2]):
        found = np.unravel_index(part[n, c].argmax(), part.shape[2:])
        yield n, c, *(place.start + int(i) for place, i in zip(window.place, found, strict=True))


def pooling(params: Any, weights: Weights, inputs: list[Array]) -> list[Array]:
    """MAX: the largest value; padding never wins. AVE: sum over the image's cells / `PoolingWindow.divisor` (Caffe).

    A window wholly beyond the image (only possible with stride > kernel, pad = 0) gives -FLT_MAX for MAX and
    0/0 = NaN for AVE, as in Caffe. STOCHASTIC: sum of x^2 / sum of x, 0 unless that is positive. The mask is the pixel
    of each maximum of an image in row-major order, or -1.
    """
    (x,) = inputs
    size, windows = pooling_windows(params, *x.shape[2:])
    y = np.full((*x.shape[:2], *size), -float(np.finfo(np.float32).max))
    axes = tuple(range(2, x.ndim))
    mask = np.full(y.shape, -1.0)
    for window in windows:
        part = x[window.cells]
        total = part.sum(axis=axes, keepdims=True)
        if params.method == "MAX":
            for n, c, *place in _winners(x, window):
                y[(n, c, *window.output)] = x[(n, c, *place)]
                mask[(n, c, *window.output)] = np.ravel_multi_index(place, x.shape[2:])
        elif params.method == "AVE":
            y[window.value] = total / window.divisor if window.divisor else np.nan
        else:
            y[window.value] = np.where(total > 0, divide((part**2).sum(axis=axes, keepdims=True), total), 0.0)
    return [y, mask] if getattr(params, "mask", False) else [y]


def spp_levels(params: Any, height: int, width: int) -> Iterator[Any]:
    """Pooling parameters of each level: 2^i bins on both axes, kernel = stride = ceil(H / bins) (Caffe)."""
    for i in range(params.pyramid_height):
        kernel = (math.ceil(height / 2**i), math.ceil(width / 2**i))
        pad = ((kernel[0] * 2**i - height + 1) // 2, (kernel[1] * 2**i - width + 1) // 2)
        yield SimpleNamespace(method=params.method, kernel=kernel, stride=kernel, pad=pad, ceil=True)


def spp(params: Any, weights: Weights, inputs: list[Array]) -> list[Array]:
    """All levels side by side, each flattened; a single level is plain pooling."""
    levels = [pooling(level, {}, inputs)[0] for level in spp_levels(params, *inputs[0].shape[2:])]
    if len(levels) == 1:
        return levels
    return [np.concatenate([level.reshape(len(level), -1) for level in levels], axis=1)]


# -- picking values -------------------------------------------------------------------------------------------


def crop_place(params: Any, inputs: list[Array]) -> tuple[slice, ...]:
    """The part of the first input that is kept: of the size of the second one from `axis` on."""
    whole, like = inputs
    axis = params.axis % whole.ndim
    offsets = params.offsets or (0,)
    place = [slice(None)] * axis
    for i in range(axis, whole.ndim):
        start = offsets[i - axis] if len(offsets) > 1 else offsets[0]
        place.append(slice(start, start + like.shape[i]))
    return tuple(place)


def crop(params: Any, weights: Weights, inputs: list[Array]) -> list[Array]:
    """The part at the offsets."""
    return [inputs[0][crop_place(params, inputs)]]


def uncrop(params: Any, weights: Weights, inputs: list[Array], arriving: list[Array]) -> list[Array]:
    """Back at its place, zeros elsewhere; nothing to the input that only gives the size."""
    out = np.zeros(inputs[0].shape)
    out[crop_place(params, inputs)] = arriving[0]
    return [out, np.zeros(inputs[1].shape)]


def im2col(params: Any, weights: Weights, inputs: list[Array]) -> list[Array]:
    """`columns` of every image, channels and kernel places joined to one axis."""
    x = as_images(params, inputs[0])
    size = convolution_size(params, *x.shape[2:])
    y = np.array([columns(params, image).reshape(-1, *size) for image in x])
    return [y.reshape(*inputs[0].shape[: params.axis % inputs[0].ndim], *y.shape[1:])]


def col2im(params: Any, weights: Weights, inputs: list[Array], arriving: list[Array]) -> list[Array]:
    """Each pixel gets the sum of what was made of it."""
    x = as_images(params, inputs[0])
    g = arriving[0].reshape(len(x), x.shape[1], *params.kernel, *convolution_size(params, *x.shape[2:]))
    return [np.array([fold(params, cols, *x.shape[2:]) for cols in g]).reshape(inputs[0].shape)]


# -- local response normalisation ------------------------------------------------------------------------


def lrn_windows(params: Any, shape: Sequence[int]) -> Iterator[tuple[Any, list[Any]]]:
    """Each place k of an LRN layer with the places of its window (itself among them), as indices into (N, C, H, W).

    ``across``: a place is a channel, its window the `size` channels centred at it. ``within``: a place is a pixel,
    its window the size x size pixels centred at it, of the same channel. Windows are clipped to the blob.
    """
    half = params.size // 2
    _, channels, height, width = shape
    if params.region == "across":
        for c in range(channels):
            window = range(max(c - half, 0), min(c + half + 1, channels))
            yield np.s_[:, c], [np.s_[:, k] for k in window]
        return
    for y, x in np.ndindex(height, width):
        ys = range(max(y - half, 0), min(y + half + 1, height))
        xs = range(max(x - half, 0), min(x + half + 1, width))
        yield np.s_[:, :, y, x], [np.s_[:, :, i, j] for i in ys for j in xs]


def lrn_constants(params: Any) -> tuple[float, float, float]:
    """(k0, a, c) of y_k = x_k (k0 + a S_k)^(-c).

    ``across``: a = alpha / size. ``within``: k0 = 1 and a = alpha / n, where n is the window clipped to the padded
    image; with padding (size - 1) / 2 and stride 1 no window overhangs the padding, so n = size^2 always (Caffe).
    """
    if params.region == "across":
        return params.k, params.alpha / params.size, params.beta
    return 1.0, params.alpha / params.size**2, params.beta


def lrn(params: Any, weights: Weights, inputs: list[Array]) -> list[Array]:
    """y_k = x_k (k0 + a S_k)^(-c), S_k = sum of x_j^2 over the window of k (Caffe; constants in `lrn_constants`)."""
    (x,) = inputs
    k0, a, c = lrn_constants(params)
    y = np.zeros(x.shape)
    for k, window in lrn_windows(params, x.shape):
        y[k] = x[k] * (k0 + a * sum(x[j] ** 2 for j in window)) ** -c
    return [y]


def lrn_gradient(params: Any, weights: Weights, inputs: list[Array], arriving: list[Array]) -> list[Array]:
    """dy_k/dx_j = delta_kj s_k^(-c) - 2 a c x_k x_j s_k^(-c-1), s_k = k0 + a S_k, j in the window of k."""
    (x,), (g,) = inputs, arriving
    k0, a, c = lrn_constants(params)
    out = np.zeros(x.shape)
    for k, window in lrn_windows(params, x.shape):
        s = k0 + a * sum(x[j] ** 2 for j in window)
        out[k] += g[k] * s**-c
        for j in window:
            out[j] -= g[k] * 2 * a * c * x[k] * x[j] * s ** (-c - 1)
    return [out]


# -- forward of the other types -----------------------------------------------------------------------------


def inner_product(params: Any, weights: Weights, inputs: list[Array]) -> list[Array]:
    """y = x W^T + b over everything from `axis` on."""
    (x,) = inputs
    outer = x.shape[: params.axis % x.ndim]
    w = as_float64(weights)
    y = x.reshape(math.prod(outer), -1) @ w["weight"].T
    if params.bias:
        y = y + w["bias"]
    return [y.reshape(*outer, params.num_output)]


def _slope(params: Any, weights: Weights, x: Array) -> Array:
    """The slope of a PReLU at each value of x: one per channel or one for all."""
    slope = np.asarray(weights["slope"], dtype=np.float64)
    return np.broadcast_to(slope, x.shape) if params.channel_shared else along_axis(slope, 1, x.shape)


def softmax(params: Any, weights: Weights, inputs: list[Array]) -> list[Array]:
    """exp(x - max) / sum along `axis`."""
    (x,) = inputs
    e = np.exp(x - x.max(axis=params.axis, keepdims=True))
    return [e / e.sum(axis=params.axis, keepdims=True)]


def log_softmax(params: Any, weights: Weights, inputs: list[Array]) -> list[Array]:
    """Logarithm of the softmax, as the sum over exp(x_i - x_j) for each j, which is small where x_j is large."""
    x = np.moveaxis(inputs[0], params.axis, -1)
    logs = np.logaddexp.reduce(x[..., None, :] - x[..., :, None], axis=-1)
    return [np.moveaxis(-logs, -1, params.axis)]


def _batch_norm_affine(params: Any, weights: Weights, shape: Sequence[int]) -> tuple[Array, Array]:
    """(a, b) of y = a x + b = (x - mean) / sqrt(variance + epsilon), the stored sums divided by `weight`."""
    w = as_float64(weights)
    scale = 0.0 if w["weight"][0] == 0 else 1.0 / w["weight"][0]
    a = 1.0 / np.sqrt(w["variance"] * scale + params.epsilon)
    b = -w["mean"] * scale * a
    if len(shape) == 1:  # a blob without a channel axis has one channel
        return np.broadcast_to(a, tuple(shape)), np.broadcast_to(b, tuple(shape))
    return along_axis(a, 1, shape), along_axis(b, 1, shape)


def batch_norm(params: Any, weights: Weights, inputs: list[Array]) -> list[Array]:
    """(x - mean) / sqrt(variance + epsilon) per channel."""
    a, b = _batch_norm_affine(params, weights, inputs[0].shape)
    return [a * inputs[0] + b]


def _scale_terms(params: Any, weights: Weights, inputs: list[Array]) -> tuple[Array, Array]:
    """(factor, bias) of a Scale layer, both of the shape of its first input."""
    x = inputs[0]
    factor = inputs[1] if len(inputs) == 2 else np.asarray(weights["scale"], dtype=np.float64)
    bias = np.asarray(weights["bias"], dtype=np.float64) if params.bias else np.zeros(factor.shape)
    return along_axis(factor, params.axis, x.shape), along_axis(bias, params.axis, x.shape)


def scale(params: Any, weights: Weights, inputs: list[Array]) -> list[Array]:
    """x * factor + bias; the factor is learned or the second input."""
    factor, bias = _scale_terms(params, weights, inputs)
    return [inputs[0] * factor + bias]


def _bias_term(params: Any, weights: Weights, inputs: list[Array]) -> Array:
    bias = inputs[1] if len(inputs) == 2 else np.asarray(weights["bias"], dtype=np.float64)
    return along_axis(bias, params.axis, inputs[0].shape)


def bias(params: Any, weights: Weights, inputs: list[Array]) -> list[Array]:
    """x + bias; the bias is learned or the second input."""
    return [inputs[0] + _bias_term(params, weights, inputs)]


def _coefficients(params: Any, inputs: list[Array]) -> Sequence[float]:
    return params.coefficients or (1.0,) * len(inputs)


def eltwise(params: Any, weights: Weights, inputs: list[Array]) -> list[Array]:
    """SUM: sum of coefficient * x. PROD: product. MAX: largest value."""
    if params.operation == "SUM":
        return [np.sum([c * x for c, x in zip(_coefficients(params, inputs), inputs, strict=True)], axis=0)]
    return [np.prod(inputs, axis=0) if params.operation == "PROD" else np.max(inputs, axis=0)]


def concat(params: Any, weights: Weights, inputs: list[Array]) -> list[Array]:
    """Join along `axis`."""
    return [np.concatenate(inputs, axis=params.axis)]


def slice_(params: Any, weights: Weights, inputs: list[Array]) -> list[Array]:
    """Cut along `axis`, at `points` or into `parts` equal parts."""
    return list(np.split(inputs[0], params.points or params.parts, axis=params.axis))


def _inside(params: Any, shape: Sequence[int]) -> tuple[Any, Any]:
    """Indices of the values of a padded blob that the input has, in the input and in the padded blob."""
    taken, placed = [], []
    for size, before, after in zip(shape, params.before, params.after, strict=True):
        places = [i for i in range(size + before + after) if 0 <= i - before < size]
        placed.append(places)
        taken.append([i - before for i in places])
    return np.ix_(*taken), np.ix_(*placed)


def pad(params: Any, weights: Weights, inputs: list[Array]) -> list[Array]:
    """y[i] = x[i - before] where x has such an element, else `value`."""
    (x,) = inputs
    taken, placed = _inside(params, x.shape)
    y = np.full([n + b + a for n, b, a in zip(x.shape, params.before, params.after, strict=True)], params.value)
    y[placed] = x[taken]
    return [y]


def unpad(params: Any, weights: Weights, inputs: list[Array], arriving: list[Array]) -> list[Array]:
    """What arrives at the values of the input; the border keeps its own, and what was cut off gets nothing."""
    taken, placed = _inside(params, inputs[0].shape)
    out = np.zeros(inputs[0].shape)
    out[taken] = arriving[0][placed]
    return [out]


def reshape(params: Any, weights: Weights, inputs: list[Array]) -> list[Array]:
    """Flatten and Reshape: the same values in C order in another shape."""
    return [inputs[0].reshape(params.output_shapes([inputs[0].shape])[0])]


def mvn(params: Any, weights: Weights, inputs: list[Array]) -> list[Array]:
    """(x - mean) / (standard deviation + epsilon) over (H, W) or (C, H, W), always with four axes."""
    x = inputs[0].reshape(inputs[0].shape + (1,) * (4 - inputs[0].ndim))
    axes = (1, 2, 3) if params.across_channels else (2, 3)
    y = x - x.mean(axis=axes, keepdims=True)
    if params.normalize_variance:
        y = y / (np.sqrt((y * y).mean(axis=axes, keepdims=True)) + params.epsilon)
    return [y]


def _mvn_matrices(params: Any, x: Array) -> list[tuple[Array, Array]]:
    """Groups of x (flat indices) and the matrix of y = M x for each, the deviation taken for a constant."""
    channels = x.shape[1] if x.ndim > 1 else 1
    places = np.arange(x.size).reshape(x.shape[0] if params.across_channels else x.shape[0] * channels, -1)
    found = []
    for group in places:
        n = len(group)
        d = np.std(x.ravel()[group]) + params.epsilon if params.normalize_variance else 1.0
        found.append((group, (np.eye(n) - np.full((n, n), 1 / n)) / d))
    return found


def _reduction_terms(params: Any, x: Array) -> tuple[Array, Array, float]:
    """x and the terms of its sums, (outputs, terms), and what the sums are multiplied by."""
    outer = int(np.prod(x.shape[: params.axis % x.ndim]))
    rows = x.reshape(outer, -1)
    terms = {"SUM": rows, "MEAN": rows, "ASUM": np.abs(rows), "SUMSQ": rows**2}[params.operation]
    return rows, terms, params.coefficient / (rows.shape[1] if params.operation == "MEAN" else 1)


def reduction(params: Any, weights: Weights, inputs: list[Array]) -> list[Array]:
    """coefficient * the sum of x, |x| or x^2, or the mean of x, over all axes from `axis` on."""
    (x,) = inputs
    _, terms, factor = _reduction_terms(params, x)
    return [factor * terms.sum(axis=1).reshape(x.shape[: params.axis % x.ndim])]


def argmax(params: Any, weights: Weights, inputs: list[Array]) -> list[Array]:
    """Sort pairs (value, index) downwards, as Caffe does, and take the first top_k."""
    (x,) = inputs
    looked = np.moveaxis(x, params.axis, -1) if params.axis is not None else x.reshape(len(x), -1)
    indices, values = np.zeros((2, *looked.shape[:-1], params.top_k))
    for place in np.ndindex(looked.shape[:-1]):
        pairs = sorted(((value, i) for i, value in enumerate(looked[place])), reverse=True)[: params.top_k]
        values[place], indices[place] = zip(*pairs, strict=True)
    if params.axis is not None:
        return [np.moveaxis(values if params.out_max_val else indices, -1, params.axis)]
    rows = [indices, values] if params.out_max_val else [indices]
    out = np.stack(rows, axis=1)
    return [out.reshape(out.shape + (1,) * (x.ndim - 3))]


def tile(params: Any, weights: Weights, inputs: list[Array]) -> list[Array]:
    """The input `tiles` times along `axis`."""
    return [np.concatenate(inputs * params.tiles, axis=params.axis)]


def embed(params: Any, weights: Weights, inputs: list[Array]) -> list[Array]:
    """One-hot vectors times the weight, plus the bias."""
    one_hot = (inputs[0][..., None] == np.arange(params.input_dim)).astype(np.float64)
    y = one_hot @ np.asarray(weights["weight"], dtype=np.float64)
    return [y + weights["bias"] if params.bias else y]


def batch_reindex(params: Any, weights: Weights, inputs: list[Array]) -> list[Array]:
    """Rows of the first input at the indices in the second."""
    return [np.stack([inputs[0][int(i)] for i in inputs[1]])]


def filter_(params: Any, weights: Weights, inputs: list[Array]) -> list[Array]:
    """Rows of the inputs where the last one is not 0."""
    chosen = np.flatnonzero(inputs[-1])
    return [x[chosen] for x in inputs[:-1]]


# -- recurrent layers: one stream and one step at a time -------------------------------------------------------------


@dataclass
class RecurrentStep:
    """What one step of one stream computes, as plain vectors.

    LSTM: z = (i, f, o, g) before their functions. RNN: z before its tanh, v before that of the output.
    """

    x: Array
    static: Array
    cont: float
    h_before: Array
    c_before: Array
    z: Array
    c: Array
    h: Array
    v: Array
    y: Array


def _sigmoid(x: Array) -> Array:
    return 0.5 * np.tanh(0.5 * x) + 0.5


def recurrent_steps(params: Any, weights: Weights, inputs: list[Array], stream: int) -> list[RecurrentStep]:
    """All steps of one stream (Caffe: recurrent_layer.cpp, lstm_layer.cpp, lstm_unit_layer.cpp, rnn_layer.cpp)."""
    w, size = as_float64(weights), params.num_output
    count = {"LSTM": 2, "RNN": 1}[params.type] if params.expose_hidden else 0
    states = [state[0, stream] for state in inputs[len(inputs) - count :]]
    static = inputs[2][stream].ravel() if len(inputs) - count == 3 else np.zeros(0)
    h = states[0] if states else np.zeros(size)
    c = states[1] if len(states) == 2 else np.zeros(size)
    steps = []
    for x, cont in zip(inputs[0][:, stream], inputs[1][:, stream], strict=True):
        z = w["weight"] @ x.ravel() + w["bias"] + w["hidden_weight"] @ (cont * h)
        if static.size:
            z = z + w["static_weight"] @ static
        if params.type == "LSTM":
            i, f, o, g = np.split(z, 4)
            new_c = cont * _sigmoid(f) * c + _sigmoid(i) * np.tanh(g)
            new_h = v = y = _sigmoid(o) * np.tanh(new_c)
        else:
            new_c, new_h = c, np.tanh(z)
            v = w["output_weight"] @ new_h + w["output_bias"]
            y = np.tanh(v)
        steps.append(RecurrentStep(x.ravel(), static, float(cont), h, c, z, new_c, new_h, v, y))
        h, c = new_h, new_c
    return steps


def recurrent(params: Any, weights: Weights, inputs: list[Array]) -> list[Array]:
    """The outputs of all steps, and with `expose_hidden` the states behind the last one."""
    streams = [recurrent_steps(params, weights, inputs, n) for n in range(inputs[0].shape[1])]
    y = np.array([[step.y for step in steps] for steps in streams]).swapaxes(0, 1)
    if not params.expose_hidden:
        return [y]
    h = np.array([[steps[-1].h for steps in streams]])
    return [y, h, np.array([[steps[-1].c for steps in streams]])] if params.type == "LSTM" else [y, h]


StepBack = Callable[..., tuple[Array, Array, Array, Array, float]]


def _through_time(
    params: Any, weights: Weights, inputs: list[Array], arriving: list[Array], back: StepBack
) -> list[Array]:
    """Go back through the steps of each stream.

    `back(step, weights, arriving at y, at h, at c)` gives what x, the static input, the states h and c before the step
    and the indicator get.
    """
    out = [np.zeros(blob.shape) for blob in inputs]
    w, count = as_float64(weights), len(arriving) - 1
    has_static = len(inputs) - count == 3
    for n in range(inputs[0].shape[1]):
        at_h = arriving[1][0, n] if count else np.zeros(params.num_output)
        at_c = arriving[2][0, n] if count == 2 else np.zeros(params.num_output)
        steps = recurrent_steps(params, weights, inputs, n)
        for t in range(len(steps) - 1, -1, -1):
            to_x, to_static, at_h, at_c, to_cont = back(steps[t], w, arriving[0][t, n], at_h, at_c)
            out[0][t, n] = to_x.reshape(inputs[0].shape[2:])
            out[1][t, n] = to_cont
            if has_static:
                out[2][n] += to_static.reshape(inputs[2].shape[1:])
        if count:
            out[len(inputs) - count][0, n] = at_h
        if count == 2:
            out[-1][0, n] = at_c
    return out


def lstm_gradient(params: Any, weights: Weights, inputs: list[Array], arriving: list[Array]) -> list[Array]:
    """Backpropagation through time, by the chain rule of every product."""

    def back(step: RecurrentStep, w: Weights, y: Array, at_h: Array, at_c: Array) -> Any:
        i, f, o, g = np.split(step.z, 4)
        at_h = at_h + y
        at_c = at_c + at_h * _sigmoid(o) * (1 - np.tanh(step.c) ** 2)
        by_sigmoid = [_sigmoid(v) * (1 - _sigmoid(v)) for v in (i, f, o)]
        z = np.concatenate(
            [
                at_c * np.tanh(g) * by_sigmoid[0],
                at_c * step.cont * step.c_before * by_sigmoid[1],
                at_h * np.tanh(step.c) * by_sigmoid[2],
                at_c * _sigmoid(i) * (1 - np.tanh(g) ** 2),
            ]
        )
        conted = w["hidden_weight"].T @ z
        cont = conted @ step.h_before + (at_c * _sigmoid(f)) @ step.c_before
        return (*_to_inputs(w, z), step.cont * conted, at_c * step.cont * _sigmoid(f), cont)

    return _through_time(params, weights, inputs, arriving, back)


def rnn_gradient(params: Any, weights: Weights, inputs: list[Array], arriving: list[Array]) -> list[Array]:
    """Backpropagation through time."""

    def back(step: RecurrentStep, w: Weights, y: Array, at_h: Array, at_c: Array) -> Any:
        at_h = at_h + w["output_weight"].T @ (y * (1 - step.y**2))
        z = at_h * (1 - step.h**2)
        conted = w["hidden_weight"].T @ z
        return (*_to_inputs(w, z), step.cont * conted, at_c, conted @ step.h_before)

    return _through_time(params, weights, inputs, arriving, back)


def _to_inputs(w: Weights, z: Array) -> tuple[Array, Array]:
    return w["weight"].T @ z, w["static_weight"].T @ z if "static_weight" in w else np.zeros(0)


def lstm_relevance(
    params: Any, weights: Weights, inputs: list[Array], arriving: list[Array], epsilon: float = 0.0
) -> list[Array]:
    """Arras et al. 2017 (EMNLP workshop WASSA): gates take nothing, sums by the epsilon rule, bias and epsilon keep.

    h = o tanh(c): all to c. c = (cont f) c_before + i g: in proportion to the two terms, all of the first to c_before,
    all of the second to g. g = tanh(z_g), where z_g is a sum over x, the static input, cont h_before and a bias.
    """
    rows = slice(3 * params.num_output, None)

    def back(step: RecurrentStep, w: Weights, y: Array, at_h: Array, at_c: Array) -> Any:
        i, f, _, z_g = np.split(step.z, 4)
        share = divide(at_c + at_h + y, stabilised(step.c, epsilon))
        to_c = step.cont * _sigmoid(f) * step.c_before * share
        to_g = _sigmoid(i) * np.tanh(z_g) * share
        parts = _sum_relevance(step, {name: array[rows] for name, array in w.items()}, z_g, to_g, epsilon)
        return (*parts, to_c, 0.0)

    return _through_time(params, weights, inputs, arriving, back)


def rnn_relevance(
    params: Any, weights: Weights, inputs: list[Array], arriving: list[Array], epsilon: float = 0.0
) -> list[Array]:
    """The epsilon rule in the sum of the output and in that of the hidden state; tanh passes relevance on."""

    def back(step: RecurrentStep, w: Weights, y: Array, at_h: Array, at_c: Array) -> Any:
        at_h = at_h + epsilon_rule(step.h, w["output_weight"], w["output_bias"], y, epsilon)
        return (*_sum_relevance(step, w, step.z, at_h, epsilon), at_c, 0.0)

    return _through_time(params, weights, inputs, arriving, back)


def _sum_relevance(step: RecurrentStep, w: Weights, z: Array, R: Array, epsilon: float) -> tuple[Array, Array, Array]:
    """Epsilon rule of one sum z over x, the static input and the hidden state before: what each of them gets."""
    terms = np.concatenate([step.x, step.static, step.cont * step.h_before])
    names = ["weight", *(["static_weight"] if step.static.size else []), "hidden_weight"]
    matrix = np.concatenate([w[name] for name in names], axis=1)
    shares = terms * (matrix.T @ divide(R, stabilised(z, epsilon)))
    ends = np.cumsum([step.x.size, step.static.size])
    x, static, h = np.split(shares, ends)
    return x, static, h


LayerForward = Callable[[Any, Weights, list[Array]], list[Array]]


def _base(params: Any) -> float:
    """The base of an exponential or logarithm; -1 means e."""
    return math.e if params.base == -1 else params.base


def _elementwise(function: Callable[[Any, Array], Array]) -> LayerForward:
    return lambda params, weights, inputs: [function(params, inputs[0])]


FORWARD: dict[str, LayerForward] = {
    "Convolution": convolution,
    "Deconvolution": deconvolution,
    "InnerProduct": inner_product,
    "Pooling": pooling,
    "SPP": spp,
    "Crop": crop,
    "Im2col": im2col,
    "LRN": lrn,
    "ReLU": _elementwise(lambda p, x: np.where(x > 0, x, p.negative_slope * x)),
    "PReLU": lambda p, w, inputs: [np.where(inputs[0] > 0, inputs[0], _slope(p, w, inputs[0]) * inputs[0])],
    "Sigmoid": _elementwise(lambda p, x: 0.5 * np.tanh(0.5 * x) + 0.5),
    "TanH": _elementwise(lambda p, x: np.tanh(x)),
    "AbsVal": _elementwise(lambda p, x: np.abs(x)),
    "ELU": _elementwise(lambda p, x: np.where(x > 0, x, p.alpha * (np.exp(np.minimum(x, 0)) - 1))),
    "Power": _elementwise(lambda p, x: (p.shift + p.scale * x) ** p.power),
    "Exp": _elementwise(lambda p, x: _base(p) ** (p.shift + p.scale * x)),
    "Log": _elementwise(lambda p, x: np.log(p.shift + p.scale * x) / np.log(_base(p))),
    "BNLL": _elementwise(lambda p, x: np.logaddexp(0, x)),
    "Threshold": _elementwise(lambda p, x: (x > p.threshold).astype(np.float64)),
    "Dropout": _elementwise(lambda p, x: x),
    "MVN": mvn,
    "Reduction": reduction,
    "ArgMax": argmax,
    "Tile": tile,
    "Embed": embed,
    "BatchReindex": batch_reindex,
    "Filter": filter_,
    "Softmax": softmax,
    "LogSoftmax": log_softmax,
    "BatchNorm": batch_norm,
    "Scale": scale,
    "Bias": bias,
    "Eltwise": eltwise,
    "Concat": concat,
    "Slice": slice_,
    "Flatten": reshape,
    "Reshape": reshape,
    "Pad": pad,
    "RNN": recurrent,
    "LSTM": recurrent,
    "Parameter": lambda params, weights, inputs: [np.asarray(weights["value"], dtype=np.float64)],
    "DummyData": lambda params, weights, inputs: [np.full(params.shape, params.value)],
    **naive_forks.FORWARD,
}
"""Forward of each layer type by Caffe's name: (params, weights, inputs) -> outputs."""


def forward(network: Network, x: Array | Mapping[str, Array]) -> Blobs:
    """All blobs of a network, by their names in the IR, for an input (or one for each input blob)."""
    given = x if isinstance(x, Mapping) else {network.input: x}
    blobs: Blobs = {name: np.asarray(value, dtype=np.float64) for name, value in given.items()}
    for layer in network.layers:
        inputs = [blobs[name] for name in layer.inputs]
        outputs = FORWARD[layer.type](layer.params, layer.weights, inputs)
        blobs.update(zip(layer.outputs, outputs, strict=False))  # a layer may leave outputs unnamed
    return blobs


# -- gradients ------------------------------------------------------------------------------------------------


def convolution_gradient(params: Any, weights: Weights, inputs: list[Array], arriving: list[Array]) -> list[Array]:
    """dx = W^T g, folded back from columns."""
    x, g = as_images(params, inputs[0]), as_images(params, arriving[0])
    out = np.zeros(x.shape)
    for n in range(len(x)):
        cols = np.zeros((x.shape[1], *params.kernel, *g.shape[2:]))
        for into, outof, weight, _ in _grouped(params, as_float64(weights)):
            cols[into] = (weight.T @ g[n, outof].reshape(len(weight), -1)).reshape(cols[into].shape)
        out[n] = fold(params, cols, *x.shape[2:])
    return [out.reshape(inputs[0].shape)]


def deconvolution_gradient(params: Any, weights: Weights, inputs: list[Array], arriving: list[Array]) -> list[Array]:
    """dx = W^T g with the matrix of the layer."""
    x, g = as_images(params, inputs[0]), as_images(params, arriving[0])
    matrix = dense_matrix(params, weights, inputs[0].shape)
    return [(g.reshape(len(g), -1) @ matrix).reshape(x.shape).reshape(inputs[0].shape)]


def inner_product_gradient(params: Any, weights: Weights, inputs: list[Array], arriving: list[Array]) -> list[Array]:
    """dx = g W."""
    g = arriving[0].reshape(-1, params.num_output)
    return [(g @ np.asarray(weights["weight"], dtype=np.float64)).reshape(inputs[0].shape)]


def pooling_gradient(params: Any, weights: Weights, inputs: list[Array], arriving: list[Array]) -> list[Array]:
    """MAX: to the first maximum. AVE: g / divisor to each of the image's cells in the window. A mask passes nothing.

    STOCHASTIC: d (sum x^2 / S) / dx_k = 2 x_k / S - sum x^2 / S^2 where S = sum of x is positive.
    """
    (x,), g = inputs, arriving[0]
    out = np.zeros(x.shape)
    axes = tuple(range(2, x.ndim))
    for window in pooling_windows(params, *x.shape[2:])[1]:
        if params.method == "MAX":
            for n, c, *place in _winners(x, window):
                out[(n, c, *place)] += g[(n, c, *window.output)]
        elif params.method == "STOCHASTIC":
            part = x[window.cells]
            total, squares = (t.sum(axis=axes, keepdims=True) for t in (part, part**2))
            slope = np.where(total > 0, divide(2 * part, total) - divide(squares, total**2), 0.0)
            out[window.cells] += g[window.value] * slope
        elif window.divisor:
            out[window.cells] += g[window.value] / window.divisor
    return [out]


def spp_back(step: LayerBackward) -> LayerBackward:
    """The sum of what the poolings of all levels send back."""

    def back(params: Any, weights: Weights, inputs: list[Array], arriving: list[Array]) -> list[Array]:
        (x,), flat = inputs, arriving[0].reshape(len(inputs[0]), -1)
        out, start = np.zeros(x.shape), 0
        for level in spp_levels(params, *x.shape[2:]):
            shape = pooling(level, {}, inputs)[0].shape
            stop = start + math.prod(shape[1:])
            out += step(level, {}, inputs, [flat[:, start:stop].reshape(shape)])[0]
            start = stop
        return [out]

    return back


def softmax_gradient(params: Any, weights: Weights, inputs: list[Array], arriving: list[Array]) -> list[Array]:
    """dx = y (g - sum of g y along the axis)."""
    (y,) = softmax(params, weights, inputs)
    return [y * (arriving[0] - (arriving[0] * y).sum(axis=params.axis, keepdims=True))]


def log_softmax_gradient(params: Any, weights: Weights, inputs: list[Array], arriving: list[Array]) -> list[Array]:
    """dx = g - softmax * sum of g along the axis."""
    (y,) = softmax(params, weights, inputs)
    return [arriving[0] - y * arriving[0].sum(axis=params.axis, keepdims=True)]


def batch_norm_gradient(params: Any, weights: Weights, inputs: list[Array], arriving: list[Array]) -> list[Array]:
    """dx = g / sqrt(variance + epsilon)."""
    return [arriving[0] * _batch_norm_affine(params, weights, inputs[0].shape)[0]]


def scale_gradient(params: Any, weights: Weights, inputs: list[Array], arriving: list[Array]) -> list[Array]:
    """dx = g factor; d factor = sum of g x over the broadcast dimensions."""
    factor, _ = _scale_terms(params, weights, inputs)
    out = [arriving[0] * factor]
    if len(inputs) == 2:
        out.append(sum_along_axis(arriving[0] * inputs[0], params.axis, inputs[1].shape))
    return out


def bias_gradient(params: Any, weights: Weights, inputs: list[Array], arriving: list[Array]) -> list[Array]:
    """dx = g; d bias = sum of g over the broadcast dimensions."""
    out = [arriving[0]]
    if len(inputs) == 2:
        out.append(sum_along_axis(arriving[0], params.axis, inputs[1].shape))
    return out


def _first_maximum(inputs: list[Array]) -> list[Array]:
    """1 where an input is the maximum and no earlier one is, else 0."""
    winner = np.argmax(inputs, axis=0)
    return [(winner == i).astype(np.float64) for i in range(len(inputs))]


def eltwise_gradient(params: Any, weights: Weights, inputs: list[Array], arriving: list[Array]) -> list[Array]:
    """SUM: coefficient g. PROD: g times the product of the others. MAX: to the first maximum."""
    (g,) = arriving
    if params.operation == "SUM":
        return [c * g for c in _coefficients(params, inputs)]
    if params.operation == "MAX":
        return [mask * g for mask in _first_maximum(inputs)]
    return [g * np.prod([*inputs[:i], *inputs[i + 1 :]], axis=0) for i in range(len(inputs))]


def cut(params: Any, weights: Weights, inputs: list[Array], arriving: list[Array]) -> list[Array]:
    """What arrives at a Concat, cut back into the parts of its inputs."""
    ends = np.cumsum([x.shape[params.axis] for x in inputs])[:-1]
    return list(np.split(arriving[0], ends, axis=params.axis))


def join(params: Any, weights: Weights, inputs: list[Array], arriving: list[Array]) -> list[Array]:
    """What arrives at the parts of a Slice, joined."""
    return [np.concatenate(arriving, axis=params.axis)]


def reshape_back(params: Any, weights: Weights, inputs: list[Array], arriving: list[Array]) -> list[Array]:
    """What arrives, in the shape of the input."""
    return [arriving[0].reshape(inputs[0].shape)]


def mvn_gradient(params: Any, weights: Weights, inputs: list[Array], arriving: list[Array]) -> list[Array]:
    """dx_i = sum of g_j dy_j/dx_i, with the explicit Jacobian of each group.

    y_j = u_j / d, u = x - mean, d = deviation + epsilon: dy_j/dx_i = du_j/dx_i / d - u_j u_i / (n deviation d^2).
    """
    x, g = inputs[0], arriving[0].ravel()
    out = np.zeros(x.size)
    for group, matrix in _mvn_matrices(params, x):
        jacobian = matrix.copy()
        u = x.ravel()[group] - x.ravel()[group].mean()
        deviation = np.sqrt((u * u).mean())
        if params.normalize_variance and deviation > 0:
            jacobian -= np.outer(u, u) / (len(u) * deviation * (deviation + params.epsilon) ** 2)
        out[group] = g[group] @ jacobian
    return [out.reshape(x.shape)]


def reduction_gradient(params: Any, weights: Weights, inputs: list[Array], arriving: list[Array]) -> list[Array]:
    """dx = coefficient g times 1, 1 / n, sign(x) or 2 x."""
    rows, _, factor = _reduction_terms(params, inputs[0])
    slope = {"ASUM": np.sign(rows), "SUMSQ": 2 * rows}.get(params.operation, np.ones(rows.shape))
    return [(factor * slope * arriving[0].reshape(-1, 1)).reshape(inputs[0].shape)]


def tile_back(params: Any, weights: Weights, inputs: list[Array], arriving: list[Array]) -> list[Array]:
    """What arrives at the copies, summed up."""
    return [np.sum(np.split(arriving[0], params.tiles, axis=params.axis), axis=0)]


def batch_reindex_back(params: Any, weights: Weights, inputs: list[Array], arriving: list[Array]) -> list[Array]:
    """What arrives at each copy of a row, summed up; nothing for the indices."""
    out = np.zeros(inputs[0].shape)
    np.add.at(out, inputs[1].astype(int), arriving[0])
    return [out, np.zeros(inputs[1].shape)]


def filter_back(params: Any, weights: Weights, inputs: list[Array], arriving: list[Array]) -> list[Array]:
    """What arrives at the rows that were chosen; nothing for the others and the selector."""
    out = [np.zeros(x.shape) for x in inputs]
    for into, value in zip(out, arriving, strict=False):
        into[np.flatnonzero(inputs[-1])] = value
    return out


def nothing_back(params: Any, weights: Weights, inputs: list[Array], arriving: list[Array]) -> list[Array]:
    """The derivative of what is constant almost everywhere."""
    return [np.zeros(x.shape) for x in inputs]


def to_nothing(params: Any, weights: Weights, inputs: list[Array], arriving: list[Array]) -> list[Array]:
    """Layers that read nothing send nothing."""
    return []


def _derivative(function: Callable[[Any, Array], Array | float]) -> LayerBackward:
    """Chain rule of an element-wise function with the given derivative."""
    return lambda params, weights, inputs, arriving: [arriving[0] * function(params, inputs[0])]


def _power_derivative(params: Any, x: Array) -> Array:
    """power scale (shift + scale x)^(power - 1), and 0 where power scale = 0, as in Caffe."""
    if params.power * params.scale == 0:
        return np.zeros(x.shape)
    return params.power * params.scale * (params.shift + params.scale * x) ** (params.power - 1)


GRADIENT: dict[str, LayerBackward] = {
    "Convolution": convolution_gradient,
    "Deconvolution": deconvolution_gradient,
    "InnerProduct": inner_product_gradient,
    "Pooling": pooling_gradient,
    "SPP": spp_back(pooling_gradient),
    "Crop": uncrop,
    "Im2col": col2im,
    "LRN": lrn_gradient,
    "ReLU": _derivative(lambda p, x: np.where(x > 0, 1.0, p.negative_slope)),
    "PReLU": lambda p, w, inputs, g: [g[0] * np.where(inputs[0] > 0, 1.0, _slope(p, w, inputs[0]))],
    "Sigmoid": _derivative(lambda p, x: _sigmoid(x) * (1 - _sigmoid(x))),
    "TanH": _derivative(lambda p, x: 1 - np.tanh(x) ** 2),
    "AbsVal": _derivative(lambda p, x: np.sign(x)),
    "ELU": _derivative(lambda p, x: np.where(x > 0, 1.0, p.alpha * np.exp(np.minimum(x, 0)))),
    "Power": _derivative(_power_derivative),
    "Exp": _derivative(lambda p, x: np.log(_base(p)) * p.scale * _base(p) ** (p.shift + p.scale * x)),
    "Log": _derivative(lambda p, x: p.scale / ((p.shift + p.scale * x) * np.log(_base(p)))),
    "BNLL": _derivative(lambda p, x: _sigmoid(x)),
    "Threshold": nothing_back,
    "Dropout": _derivative(lambda p, x: 1.0),
    "MVN": mvn_gradient,
    "Reduction": reduction_gradient,
    "ArgMax": nothing_back,
    "Tile": tile_back,
    "Embed": nothing_back,
    "BatchReindex": batch_reindex_back,
    "Filter": filter_back,
    "Softmax": softmax_gradient,
    "LogSoftmax": log_softmax_gradient,
    "BatchNorm": batch_norm_gradient,
    "Scale": scale_gradient,
    "Bias": bias_gradient,
    "Eltwise": eltwise_gradient,
    "Concat": cut,
    "Slice": join,
    "Flatten": reshape_back,
    "Reshape": reshape_back,
    "Pad": unpad,
    "RNN": rnn_gradient,
    "LSTM": lstm_gradient,
    "Parameter": to_nothing,
    "DummyData": to_nothing,
    **naive_forks.GRADIENT,
}
"""True derivative of each layer type: (params, weights, inputs, gradients of outputs) -> gradients of inputs."""


def walk_back(network: Network, blobs: Blobs, start: Mapping[str, Array], step: LayerBackward) -> Blobs:
    """Go through the layers backwards from given values at some blobs.

    `step(layer, inputs, arriving)` gives what a layer sends to each of its inputs. A blob with several readers
    receives the sum. Returns what arrived at every blob that anything arrived at.
    """
    arrived: Blobs = {name: np.array(value, dtype=np.float64) for name, value in start.items()}
    for layer in reversed(network.layers):
        if not any(name in arrived for name in layer.outputs):
            continue
        inputs = [blobs[name] for name in layer.inputs]
        arriving = [arrived.get(name, np.zeros(blobs[name].shape)) for name in layer.outputs]
        for name, value in zip(layer.inputs, step(layer, inputs, arriving), strict=True):
            arrived[name] = arrived[name] + value if name in arrived else value
    return arrived


def gradient(network: Network, blobs: Blobs, start: Mapping[str, Array]) -> Blobs:
    """Gradient of sum(start * blob) with respect to every blob below; `start` names the blobs it begins at."""

    def step(layer: Layer, inputs: list[Array], arriving: list[Array]) -> list[Array]:
        return GRADIENT[layer.type](layer.params, layer.weights, inputs, arriving)

    return walk_back(network, blobs, start, step)


# -- relevance: rules for a linear layer z = W x + b, relevance R of z (W is (M_out, M_in)) ------------------------


def epsilon_rule(x: Array, W: Array, b: Array, R: Array, epsilon: float = 0.0) -> Array:
    """R_i = x_i sum_j w_ji R_j / (z_j + epsilon sign z_j), sign 0 = +1; dropped where that is 0 (PLOS ONE, eq. 58)."""
    z = W @ x + b
    return x * (W.T @ divide(R, stabilised(z, epsilon)))


def alphabeta_rule(x: Array, W: Array, b: Array, R: Array, beta: float = 1.0) -> Array:
    """R_i = sum_j ((1 + beta) z_ji+ / (sum z_j+ + b_j+) - beta z_ji- / (sum z_j- + b_j-)) R_j (PLOS ONE, eq. 60).

    z_ji = w_ji x_i; alpha = 1 + beta, beta >= 0 (the toolbox's convention). Zero denominators drop their term.
    """
    z_plus, z_minus = positive(W * x), negative(W * x)
    s_plus = divide(R, z_plus.sum(axis=1) + positive(b))
    s_minus = divide(R, z_minus.sum(axis=1) + negative(b))
    return (1 + beta) * (s_plus @ z_plus) - beta * (s_minus @ z_minus)


def zplus_rule(x: Array, W: Array, b: Array, R: Array) -> Array:
    """R_i = sum_j z_ji+ / (sum z_j+ + b_j+) R_j (DTD): `alphabeta_rule` with beta = 0."""
    z_plus = positive(W * x)
    return divide(R, z_plus.sum(axis=1) + positive(b)) @ z_plus


def excitation_rule(x: Array, W: Array, b: Array, R: Array) -> Array:
    """R_i = sum_j z_ji+ / (sum z_j+) R_j: z+ without bias (Zhang et al. 2016, excitation backprop)."""
    z_plus = positive(W * x)
    return divide(R, z_plus.sum(axis=1)) @ z_plus


def z_rule(x: Array, W: Array, b: Array, R: Array) -> Array:
    """R_i = sum_j x_i w_ji / z_j R_j (PLOS ONE, eq. 56)."""
    return (W * x).T @ divide(R, W @ x + b)


def gamma_rule(x: Array, W: Array, b: Array, R: Array, gamma: float = 0.25) -> Array:
    """R_i = sum_j x_i (w_ji + gamma w_ji+) / (sum_i x_i (w_ji + gamma w_ji+) + b_j + gamma b_j+) R_j (overview).

    Meant for x >= 0.
    """
    terms = x * (W + gamma * positive(W))
    return divide(R, terms.sum(axis=1) + b + gamma * positive(b)) @ terms


def generalized_gamma_rule(x: Array, W: Array, b: Array, R: Array, gamma: float = 0.25) -> Array:
    """Gamma rule for inputs of any sign (Andeol et al. 2021; zennit's Gamma).

    z_ji = w_ji x_i. Where z_j >= 0 the terms are z_ji + gamma z_ji+, where z_j < 0 they are z_ji + gamma z_ji-; the
    bias is treated alike and takes part in the denominator. For x >= 0 and z_j >= 0 this is `gamma_rule`.
    """
    z, terms = W @ x + b, W * x
    up, down = terms + gamma * positive(terms), terms + gamma * negative(terms)
    s_up = np.where(z >= 0, divide(R, up.sum(axis=1) + b + gamma * positive(b)), 0.0)
    s_down = np.where(z < 0, divide(R, down.sum(axis=1) + b + gamma * negative(b)), 0.0)
    return s_up @ up + s_down @ down


def zbox_rule(x: Array, W: Array, b: Array, R: Array, *, low: Array | float, high: Array | float) -> Array:
    """z^B rule for x in [low, high]: terms z_ji - low_i w_ji+ - high_i w_ji-, over their sum (DTD); no bias."""
    terms = W * x - positive(W) * low - negative(W) * high
    return divide(R, terms.sum(axis=1)) @ terms


def wsquare_rule(x: Array, W: Array, b: Array, R: Array) -> Array:
    """w^2 rule: R_i = sum_j w_ji^2 / (sum_i w_ji^2) R_j (DTD); neither x nor bias enters."""
    return divide(R, (W**2).sum(axis=1)) @ W**2


def flat_rule(x: Array, W: Array, b: Array, R: Array, connected: Array) -> Array:
    """Flat rule: R_j in equal shares to all inputs of j; `connected` is W with a 1 for every weight."""
    return divide(R, connected.sum(axis=1)) @ connected


def lin_rule(x: Array, W: Array, b: Array, R: Array) -> Array:
    """Transposed product W^T R: the gradient."""
    return W.T @ R


def norm_rule(x: Array, W: Array, b: Array, R: Array, epsilon: float = 1e-6) -> Array:
    """zennit's Norm: the epsilon rule with a fixed small epsilon."""
    return epsilon_rule(x, W, b, R, epsilon)


def pass_rule(x: Array, W: Array, b: Array, R: Array) -> Array:
    """zennit's Pass: relevance unchanged; for layers with as many outputs as inputs."""
    if R.shape != x.shape:
        raise ValueError(f"cannot pass {R.size} relevances on to {x.size} inputs")
    return R


RULES: dict[str, Callable[..., Array]] = {
    "epsilon": epsilon_rule,
    "z": z_rule,
    "alphabeta": alphabeta_rule,
    "zplus": zplus_rule,
    "excitation": excitation_rule,
    "gamma": gamma_rule,
    "generalized_gamma": generalized_gamma_rule,
    "zbox": zbox_rule,
    "wsquare": wsquare_rule,
    "flat": flat_rule,
    "lin": lin_rule,
    "norm": norm_rule,
    "pass": pass_rule,
}
"""Rules for one sample of a linear layer: (x, W, b, R, **options) -> relevance of x."""


def linear_relevance(
    params: Any,
    weights: Weights,
    inputs: list[Array],
    arriving: list[Array],
    *,
    rule: str = "epsilon",
    padding: bool = True,
    **options: Any,
) -> list[Array]:
    """Relevance of a Convolution, Deconvolution or InnerProduct by one of `RULES`.

    Parameters
    ----------
    rule
        Name in `RULES`.
    padding
        Whether padding positions count as inputs (of value 0) whose share of relevance is lost. It matters to flat,
        w^2 and z^B only; the others give a 0 its share 0. zennit does not count them.
    options
        The rule's options. For zbox: `low` and `high` broadcast to the input blob, and hold in the image only; in the
        padding the value is known to be 0, so the box is [pad_low, pad_high] = [0, 0] unless these are given.
    """
    (x,), (R,) = inputs, arriving
    padded = padding and rule != "pass" and params.type == "Convolution"
    pads = {"low": options.pop("pad_low", 0.0), "high": options.pop("pad_high", 0.0)}

    def samples(blob: Array, fill: float = 0.0) -> Array:
        """One flattened sample per row, with the padding where it counts."""
        if params.type == "InnerProduct":
            return blob.reshape(math.prod(x.shape[: params.axis % x.ndim]), -1)
        images = as_images(params, blob)
        return np.array([(pad_image(params, image, fill) if padded else image).ravel() for image in images])

    def unpadded(row: Array) -> Array:
        if not padded:
            return row
        channels, *sizes = as_images(params, x).shape[1:]
        wide = [size + 2 * pad for size, pad in zip(sizes, params.pad, strict=True)]
        return unpad_image(params, row.reshape(channels, *wide)).ravel()

    W = dense_matrix(params, weights, x.shape, padded)
    b = dense_bias(params, weights, x.shape)
    if rule == "flat":
        ones = {"weight": np.ones(np.shape(weights["weight"]))}
        options["connected"] = dense_matrix(params, ones, x.shape, padded)
    rows = samples(x)
    bounds: dict[str, Array] = {
        key: samples(np.broadcast_to(np.asarray(options.pop(key), dtype=np.float64), x.shape), pads[key])
        for key in ("low", "high")
        if key in options
    }
    out = []
    for i, (row, r) in enumerate(zip(rows, R.reshape(len(rows), -1), strict=True)):
        out.append(unpadded(RULES[rule](row, W, b, r, **options, **{key: bound[i] for key, bound in bounds.items()})))
    return [np.array(out).reshape(x.shape)]


# -- relevance: the other layer types ---------------------------------------------------------------------


def pooling_relevance(
    params: Any, weights: Weights, inputs: list[Array], arriving: list[Array], epsilon: float = 0.0
) -> list[Array]:
    """MAX: winner takes all, the first maximum in row-major order. AVE: z-rule with the mean's weights.

    AVE: R_i = sum over windows of (x_i / d) R / (y + epsilon sign(y)), y = sum of the window / d; with epsilon = 0 this
    is x_i / (sum of the window), and a window whose sum is 0 drops. epsilon = 1e-6 is zennit's Norm.
    STOCHASTIC: the terms are x_i (x_i / S), S = sum of x; nothing where y = 0.
    """
    (x,), R = inputs, arriving[0]
    if params.method == "MAX":
        return pooling_gradient(params, weights, inputs, arriving)
    out = np.zeros(x.shape)
    axes = tuple(range(2, x.ndim))
    for window in pooling_windows(params, *x.shape[2:])[1]:
        part = x[window.cells]
        total = part.sum(axis=axes, keepdims=True)  # summed before the division: what cancels must be exactly 0
        if params.method == "STOCHASTIC":
            terms = np.where(total > 0, part * divide(part, total), 0.0)
            y = terms.sum(axis=axes, keepdims=True)
        elif window.divisor:
            terms, y = part / window.divisor, total / window.divisor
        else:
            continue
        out[window.cells] += terms * divide(R[window.value], stabilised(y, epsilon))
    return [out]


def lrn_relevance(
    params: Any, weights: Weights, inputs: list[Array], arriving: list[Array], mode: str = "taylor"
) -> list[Array]:
    """Relevance of an LRN layer (ICANN; toolbox, section 4).

    The first-order expansion of y_k has the terms t_kk = x_k (k0 + a x_k^2)^(-c) and
    t_kj = -2 a c x_k x_j^2 (k0 + a S_k)^(-c-1) for the neighbours j.

    ``taylor``: R_j = sum_k t_kj / (sum_i t_ki) R_k, dropped where that sum is exactly 0.
    ``toolbox``: R_j = sum_k t_kj R_k, across channels only. ``identity``: R_j = R_j.
    """
    (x,), (R,) = inputs, arriving
    if mode == "identity":
        return [R]
    if mode not in ("taylor", "toolbox") or (mode == "toolbox" and params.region != "across"):
        raise ValueError(f"LRN relevance '{mode}' is not defined for region '{params.region}'")
    k0, a, c = lrn_constants(params)
    out = np.zeros(x.shape)
    for k, window in lrn_windows(params, x.shape):
        s = k0 + a * sum(x[j] ** 2 for j in window)
        terms = [
            x[k] * (k0 + a * x[k] ** 2) ** -c if j == k else -2 * a * c * x[k] * x[j] ** 2 * s ** (-c - 1)
            for j in window
        ]
        share = divide(R[k], np.sum(terms, axis=0)) if mode == "taylor" else R[k]
        for j, term in zip(window, terms, strict=True):
            out[j] += term * share
    return [out]


def pass_through(params: Any, weights: Weights, inputs: list[Array], arriving: list[Array]) -> list[Array]:
    """Relevance unchanged: element-wise layers."""
    return [arriving[0]]


def eltwise_relevance(
    params: Any, weights: Weights, inputs: list[Array], arriving: list[Array], epsilon: float = 0.0
) -> list[Array]:
    """SUM: epsilon rule on the terms coefficient * x. PROD: equal shares. MAX: winner takes all, the first maximum."""
    (R,) = arriving
    if params.operation == "PROD":
        return [R / len(inputs) for _ in inputs]
    if params.operation == "MAX":
        return [mask * R for mask in _first_maximum(inputs)]
    terms = [c * x for c, x in zip(_coefficients(params, inputs), inputs, strict=True)]
    share = divide(R, stabilised(np.sum(terms, axis=0), epsilon))
    return [term * share for term in terms]


def batch_norm_relevance(
    params: Any, weights: Weights, inputs: list[Array], arriving: list[Array], epsilon: float = 0.0
) -> list[Array]:
    """Epsilon rule on y = a x + b: R a x / (y + epsilon sign(y)); the share of b is lost."""
    a, b = _batch_norm_affine(params, weights, inputs[0].shape)
    term = a * inputs[0]
    return [term * divide(arriving[0], stabilised(term + b, epsilon))]


def scale_relevance(
    params: Any, weights: Weights, inputs: list[Array], arriving: list[Array], epsilon: float = 0.0
) -> list[Array]:
    """One input: epsilon rule on y = a x + b, the share of b is lost.

    Two inputs: a product, so the two factors take equal shares (of what the epsilon rule leaves to the product
    where there is a bias; of all of R where there is none); the second sums its share over the broadcast dimensions.
    """
    factor, bias = _scale_terms(params, weights, inputs)
    term = inputs[0] * factor
    share = term * divide(arriving[0], stabilised(term + bias, epsilon))
    if len(inputs) == 1:
        return [share]
    half = 0.5 * (share if params.bias else arriving[0])
    return [half, sum_along_axis(half, params.axis, inputs[1].shape)]


def bias_relevance(
    params: Any, weights: Weights, inputs: list[Array], arriving: list[Array], epsilon: float = 0.0
) -> list[Array]:
    """Epsilon rule on y = x + b; the share of b is lost, or belongs to the second input where there is one."""
    bias = _bias_term(params, weights, inputs)
    share = divide(arriving[0], stabilised(inputs[0] + bias, epsilon))
    out = [inputs[0] * share]
    if len(inputs) == 2:
        out.append(sum_along_axis(bias * share, params.axis, inputs[1].shape))
    return out


def mvn_relevance(
    params: Any, weights: Weights, inputs: list[Array], arriving: list[Array], epsilon: float = 0.0
) -> list[Array]:
    """Epsilon rule on y = M x, the deviation in M taken for a constant."""
    x, R, y = inputs[0], arriving[0].ravel(), mvn(params, weights, inputs)[0].ravel()
    out = np.zeros(x.size)
    for group, matrix in _mvn_matrices(params, x):
        terms = matrix * x.ravel()[group]
        out[group] = divide(R[group], stabilised(y[group], epsilon)) @ terms
    return [out.reshape(x.shape)]


def reduction_relevance(
    params: Any, weights: Weights, inputs: list[Array], arriving: list[Array], epsilon: float = 0.0
) -> list[Array]:
    """In proportion to the terms of the sum."""
    _, terms, factor = _reduction_terms(params, inputs[0])
    y = factor * terms.sum(axis=1, keepdims=True)
    return [(factor * terms * divide(arriving[0].reshape(y.shape), stabilised(y, epsilon))).reshape(inputs[0].shape)]


def embed_relevance(
    params: Any, weights: Weights, inputs: list[Array], arriving: list[Array], epsilon: float = 0.0
) -> list[Array]:
    """Epsilon rule of the InnerProduct of one-hot vectors; the index gets what its place in the vector gets."""
    w = np.asarray(weights["weight"], dtype=np.float64)
    b = np.asarray(weights["bias"], dtype=np.float64) if params.bias else np.zeros(params.num_output)
    R = arriving[0].reshape(-1, params.num_output)
    one_hot = np.eye(params.input_dim)[inputs[0].astype(int).ravel()]
    sent = [epsilon_rule(x, w.T, b, r, epsilon).sum() for x, r in zip(one_hot, R, strict=True)]
    return [np.reshape(sent, inputs[0].shape)]


RELEVANCE: dict[str, LayerBackward] = {
    "Convolution": linear_relevance,
    "Deconvolution": linear_relevance,
    "InnerProduct": linear_relevance,
    "Pooling": pooling_relevance,
    "SPP": spp_back(pooling_relevance),
    "Crop": uncrop,
    "Im2col": col2im,
    "LRN": lrn_relevance,
    "ReLU": pass_through,
    "PReLU": pass_through,
    "Sigmoid": pass_through,
    "TanH": pass_through,
    "AbsVal": pass_through,
    "ELU": pass_through,
    "Power": pass_through,
    "Exp": pass_through,
    "Log": pass_through,
    "BNLL": pass_through,
    "Threshold": nothing_back,
    "Dropout": pass_through,
    "MVN": mvn_relevance,
    "Reduction": reduction_relevance,
    "ArgMax": nothing_back,
    "Tile": tile_back,
    "Embed": embed_relevance,
    "BatchReindex": batch_reindex_back,
    "Filter": filter_back,
    "Softmax": pass_through,
    "LogSoftmax": pass_through,
    "BatchNorm": batch_norm_relevance,
    "Scale": scale_relevance,
    "Bias": bias_relevance,
    "Eltwise": eltwise_relevance,
    "Concat": cut,
    "Slice": join,
    "Flatten": reshape_back,
    "Reshape": reshape_back,
    "Pad": unpad,
    "RNN": rnn_relevance,
    "LSTM": lstm_relevance,
    "Parameter": to_nothing,
    "DummyData": to_nothing,
    **naive_forks.RELEVANCE,
}
"""Relevance of each layer type: (params, weights, inputs, relevance of the outputs, **options) -> of the inputs.

No paper gives a rule for Softmax, since explanations start below it; here it passes like an activation. ArgMax and
Threshold pass nothing.
"""


def relevance(
    network: Network,
    blobs: Blobs,
    start: Mapping[str, Array],
    options: Callable[[Layer], Mapping[str, Any]] = lambda layer: {},
) -> Blobs:
    """Relevance of every blob below the blobs of `start`; `options(layer)` gives the options of its `RELEVANCE`."""

    def step(layer: Layer, inputs: list[Array], arriving: list[Array]) -> list[Array]:
        return RELEVANCE[layer.type](layer.params, layer.weights, inputs, arriving, **options(layer))

    return walk_back(network, blobs, start, step)


# -- the authors' implementation ----------------------------------------------------------------------------


class ToolboxError(ValueError):
    """The authors' implementation stops here, or its result is undefined."""


TOOLBOX_DEFAULTS: dict[str, Any] = {
    "relpropformulatype": 100,
    "epsstab": 1.0,
    "alphabeta_beta": 1.0,
    "lastlayerindex": -2,
    "firstlayerindex": 0,
    "auxiliaryvariable_maxlayerindexforflatdistinconv": 0,
    "codeexectype": 0,
    "biastreatmenttype": 0,
    "lrn_backward_type": 1,
    "maxpoolingtoavgpoolinginbackwardpass": 0,
    "has_init_relevance": 0,
    "relevance_for_init": 1.0,
}
"""Options as the shipped configuration and the demonstrators set them."""

_BY_POSITION = {
    # formula: (rule up to layer index AUX or None, rule of Convolution, rule of InnerProduct)
    0: (None, "eps", "eps"),
    2: (None, "ab", "ab"),
    54: ("flat", "eps", "eps"),
    56: ("wsq", "eps", "eps"),
    58: ("flat", "ab", "ab"),
    60: ("wsq", "ab", "ab"),
    100: (None, "ab", "eps"),
    102: ("flat", "ab", "eps"),
    104: ("wsq", "ab", "eps"),
    114: ("ab", "eps", "eps"),
}
_FIXED_BETA = (6, 8, 18, 22)
_DECONVOLUTION, _GUIDED, _GRADIENT, _SENSITIVITY = 26, 166, 11, 99
_FORMULAS = (*_BY_POSITION, *_FIXED_BETA, _DECONVOLUTION, _GUIDED, _GRADIENT, _SENSITIVITY)
_PASSING = ("Sigmoid", "TanH", "AbsVal", "Power", "PReLU")


@dataclass(frozen=True)
class ToolboxStep:
    """One layer of the net as Caffe instantiates it: a layer of the IR, or a Split behind a blob with many readers."""

    name: str
    type: str
    layer: Layer | None
    blobs: tuple[str, ...]  # what it writes; for a Split, the blob that it copies


def toolbox_layers(network: Network) -> list[ToolboxStep]:
    """The instantiated net: a Split directly behind each value that is read twice or more; the input is no layer."""
    readers = network.consumers

    def split(blob: str, writer: str, index: int) -> list[ToolboxStep]:
        if len(readers[blob]) < 2:
            return []
        return [ToolboxStep(f"{network.caffe_name(blob)}_{writer}_{index}_split", "Split", None, (blob,))]

    steps = []
    for i, blob in enumerate(network.inputs):
        steps += split(blob, "input", i)
    for layer in network.layers:
        steps.append(ToolboxStep(layer.name, layer.type, layer, layer.outputs))
        for i, blob in enumerate(layer.outputs):
            steps += split(blob, layer.name, i)
    return steps


def toolbox_relevance(
    network: Network,
    blobs: Blobs,
    classes: Sequence[int] | Sequence[Sequence[int]],
    options: Mapping[str, Any],
    imagemean: Array | None = None,
) -> Blobs:
    """Relevance as the LRP Toolbox's Caffe implementation computes it (``lrp_toolbox.md``), in float64.

    Parameters
    ----------
    network, blobs
        The net and the result of `forward`.
    classes
        Target classes: those of the only image, or one per image of a batch, or a list for each image.
    options
        Named as in the toolbox and the golden files; missing ones are `TOOLBOX_DEFAULTS`, unknown ones are ignored.
    imagemean
        Mean image (C, H, W), needed by formulas 6, 8, 18.

    Returns
    -------
    dict
        What arrived at each visited blob, by its IR name (formula 99: at the input, the norm over channels).

    Raises
    ------
    ToolboxError
        Where the reference is fatal or crashes.

    Deliberate differences (section 9 of the reference text): Dropout with a separate output passes relevance on; a
    Softmax inside the visited range sends its probabilities only if it is the layer where the pass begins, and
    otherwise nothing; z^B without a mean is an error, not garbage; blobs that the pass does not reach are absent.
    """
    settings = {**TOOLBOX_DEFAULTS, **options}
    for key in ("epsstab", "alphabeta_beta", "relevance_for_init"):  # 32-bit numbers even where the scalars are 64-bit
        settings[key] = float(np.float32(settings[key]))
    formula = settings["relpropformulatype"]
    steps = toolbox_layers(network)
    first, last = _toolbox_range(steps, settings)
    arrived = {steps[last].blobs[0]: _toolbox_start(network, blobs, steps[last].blobs[0], classes, settings)}
    for index in range(last, first - 1, -1):
        layer = steps[index].layer
        if layer is None:  # a Split sums its outputs, which `arrived` does at once
            continue
        inputs = [blobs[name] for name in layer.inputs]
        arriving = [arrived.get(name, np.zeros(blobs[name].shape)) for name in layer.outputs]
        if formula in (_GRADIENT, _SENSITIVITY):
            sent = GRADIENT[layer.type](layer.params, layer.weights, inputs, arriving)
        elif layer.type == "Softmax":
            sent = [blobs[layer.outputs[0]] if index == last else np.zeros(inputs[0].shape)]
        elif layer.type == "ReLU":
            in_place = network.caffe_name(layer.inputs[0]) == network.caffe_name(layer.outputs[0])
            alone = len(network.consumers[layer.inputs[0]]) == 1
            mask = blobs[layer.outputs[0]] if in_place and alone else inputs[0]
            sent = [_toolbox_relu(formula, mask, arriving[0])]
        else:
            sent = _toolbox_layer(layer, index, inputs, arriving, settings=settings, imagemean=imagemean)
        for name, value in zip(layer.inputs, sent, strict=True):
            arrived[name] = arrived[name] + value if name in arrived else value
    if formula == _SENSITIVITY and network.input in arrived:
        norm = np.sqrt((arrived[network.input] ** 2).sum(axis=1, keepdims=True))
        arrived[network.input] = np.broadcast_to(norm, arrived[network.input].shape).copy()
    return arrived


def _toolbox_range(steps: list[ToolboxStep], settings: Mapping[str, Any]) -> tuple[int, int]:
    """(firstlayerindex, lastlayerindex) with the codes -1 (below the lowest Softmax), -2 (highest InnerProduct)."""
    formula, first, last = (settings[key] for key in ("relpropformulatype", "firstlayerindex", "lastlayerindex"))
    if formula not in _FORMULAS:
        raise ToolboxError(f"relpropformulatype {formula} does not exist")
    aux = settings["auxiliaryvariable_maxlayerindexforflatdistinconv"]
    if formula in _BY_POSITION and _BY_POSITION[formula][0] is not None and aux < 0:
        raise ToolboxError(f"formula {formula} needs auxiliaryvariable_maxlayerindexforflatdistinconv >= 0")
    if last == -1:
        last = min((i for i, step in enumerate(steps) if step.type == "Softmax"), default=0) - 1
    elif last == -2:
        last = max((i for i, step in enumerate(steps) if step.type == "InnerProduct"), default=-1)
    if first < 0 or first >= last or last >= len(steps):
        raise ToolboxError(f"there is no pass from layer {last} down to layer {first}")
    return first, last


def _toolbox_start(
    network: Network, blobs: Blobs, blob: str, classes: Sequence[Any], settings: Mapping[str, Any]
) -> Array:
    """R_c = score of class c, read from the blob's memory after the forward pass (behind in-place layers), else 0."""
    memory = blob
    while True:  # follow the layers that overwrite this value
        readers = network.consumers[memory]
        if len(readers) != 1 or network.caffe_name(readers[0].outputs[0]) != network.caffe_name(memory):
            break
        memory = readers[0].outputs[0]
    scores = blobs[memory].reshape(len(blobs[memory]), -1)
    if all(isinstance(entry, Sequence) for entry in classes):
        per_image = [list(entry) for entry in classes]
    else:
        per_image = [list(classes)] if len(scores) == 1 else [[c] for c in classes]
    start = np.zeros(scores.shape)
    for n, chosen in enumerate(per_image):
        for c in chosen:
            if not 0 <= c < scores.shape[1]:
                raise ToolboxError(f"class {c} does not exist among {scores.shape[1]} outputs")
            fixed = settings["has_init_relevance"] and len(scores) == 1  # the batched entry point ignores it
            start[n, c] = settings["relevance_for_init"] if fixed else scores[n, c]
    return start.reshape(blobs[blob].shape)


def _toolbox_relu(formula: int, mask: Array, R: Array) -> Array:
    """Pass; 26: positive part; 166: positive part, and 0 where the ReLU's input is not positive."""
    if formula == _DECONVOLUTION:
        return positive(R)
    if formula == _GUIDED:
        return np.where(mask > 0, positive(R), 0.0)
    return R


def _toolbox_layer(
    layer: Layer,
    index: int,
    inputs: list[Array],
    arriving: list[Array],
    *,
    settings: Mapping[str, Any],
    imagemean: Array | None,
) -> list[Array]:
    params: Any = layer.params
    formula = settings["relpropformulatype"]
    if settings["codeexectype"] == 1:
        _toolbox_check_code_path(layer, formula)
    if layer.type in ("Convolution", "InnerProduct"):
        return [_toolbox_linear(layer, index, inputs[0], arriving[0], settings=settings, imagemean=imagemean)]
    if layer.type == "Pooling":
        return [_toolbox_pooling(layer, inputs, arriving, settings)]
    if layer.type == "LRN":
        mode = {0: "identity", -1: "identity", 1: "toolbox"}.get(settings["lrn_backward_type"])
        if mode is None or (mode == "toolbox" and params.region != "across"):
            raise ToolboxError(f"{layer}: lrn_backward_type {settings['lrn_backward_type']} stops here")
        return lrn_relevance(layer.params, layer.weights, inputs, arriving, mode=mode)
    if layer.type == "Concat":
        return cut(layer.params, layer.weights, inputs, arriving)
    if layer.type == "Dropout" or (layer.type in _PASSING and formula in (0, 2)):
        return arriving
    raise ToolboxError(f"{layer}: no relevance under formula {formula}")


def _toolbox_pooling(layer: Layer, inputs: list[Array], arriving: list[Array], settings: Mapping[str, Any]) -> Array:
    """MAX: to the winner. AVE, and MAX on request: R x_i / S, or + x_i (without R) where |S| < 1e-6."""
    params: Any = layer.params
    if params.method == "MAX" and not settings["maxpoolingtoavgpoolinginbackwardpass"]:
        return pooling_gradient(params, layer.weights, inputs, arriving)[0]
    (x,), (R,) = inputs, arriving
    out = np.zeros(x.shape)
    for window in pooling_windows(params, *x.shape[2:])[1]:
        part = x[window.cells]
        S = part.sum(axis=(2, 3), keepdims=True)
        small = np.abs(S) < 1e-6
        factor = np.where(small, 1.0, R[window.value] / np.where(small, 1.0, S))
        out[window.cells] += part * factor
    return out


def _toolbox_rule(layer: Layer, index: int, settings: Mapping[str, Any]) -> tuple[str, float]:
    """(rule, beta) of a weighted layer: the table of section 2."""
    formula, beta = settings["relpropformulatype"], settings["alphabeta_beta"]
    is_convolution = layer.type == "Convolution"
    if formula in (_DECONVOLUTION, _GUIDED):
        return "lin", beta
    if formula in _FIXED_BETA:
        fixed = ("ab", 0.0 if index > 15 else 1.0)  # 15 is CaffeNet's fc6
        if not is_convolution:
            return fixed
        if index == settings["firstlayerindex"] and formula != 22:
            return "zB", beta
        return {6: ("ab", beta), 8: ("eps", beta), 18: fixed, 22: fixed}[formula]
    low, of_convolution, of_inner_product = _BY_POSITION[formula]
    if low is not None and index <= settings["auxiliaryvariable_maxlayerindexforflatdistinconv"]:
        return low, beta
    return of_convolution if is_convolution else of_inner_product, beta


def _toolbox_linear(
    layer: Layer, index: int, x: Array, R: Array, *, settings: Mapping[str, Any], imagemean: Array | None
) -> Array:
    """Relevance of a Convolution or InnerProduct: each rule of section 3 on columns X (K, P), W (M, K), R (M, P)."""
    params: Any = layer.params
    weights = as_float64(layer.weights)
    rule, beta = _toolbox_rule(layer, index, settings)
    if beta < 0 and (rule in ("ab", "zB") or (rule == "wsq" and layer.type == "Convolution")):
        raise ToolboxError(f"{layer}: alphabeta_beta {beta} is negative")
    if rule == "zB" and imagemean is None:
        raise ToolboxError(f"{layer}: z^B needs the mean image")
    if rule == "ab" and _toolbox_spreads_bias(layer, settings):
        rule = "ab, bias spread"
    if layer.type == "InnerProduct":
        outer = math.prod(x.shape[: params.axis % x.ndim])
        W = weights["weight"]
        X, b, r = x.reshape(outer, -1).T, weights.get("bias", np.zeros(len(W))), R.reshape(outer, -1).T
        sent = _toolbox_columns(rule, X, W, b, r, beta=beta, eps=settings["epsstab"], flat=W.shape[1])
        return sent.T.reshape(x.shape)

    if params.dilation != (1, 1):
        raise ToolboxError(f"{layer}: dilation is unknown to this Caffe")
    groups = _grouped(params, weights)
    low = columns(params, np.asarray(imagemean, dtype=np.float64)) if rule == "zB" else None
    out = np.zeros(x.shape)
    for n, image in enumerate(x):
        cols = columns(params, image)
        folded = np.zeros(cols.shape)
        for into, outof, W, own_bias in groups:
            b = groups[0][3] if rule.startswith("ab") else own_bias  # a bug of the reference: the bias of group 0
            X, r = cols[into].reshape(W.shape[1], -1), R[n, outof].reshape(len(W), -1)
            if low is not None:
                L = low[into].reshape(X.shape)
                sent = _toolbox_zbox(X, W, b, r, L=L, H=255.0 - L)  # so in the padding L = 0, H = 255
            else:
                flat = math.prod(params.kernel)  # not the number of inputs: each channel gets the whole relevance
                sent = _toolbox_columns(rule, X, W, b, r, beta=beta, eps=settings["epsstab"], flat=flat)
            folded[into] = sent.reshape(folded[into].shape)
        out[n] = fold(params, folded, *x.shape[2:])
    return out


def _toolbox_columns(rule: str, X: Array, W: Array, b: Array, R: Array, *, beta: float, eps: float, flat: int) -> Array:
    """One rule of section 3 but z^B on columns: X (K, P), W (M, K), b (M,), R (M, P) -> (K, P)."""
    if rule == "eps":
        return _toolbox_eps(X, W, b, R, eps)
    if rule == "ab":
        return _toolbox_ab(X, W, b, R, beta)
    if rule == "ab, bias spread":
        return _toolbox_ab_spread(X, W, b, R, beta)
    if rule == "flat":
        return np.broadcast_to(R.sum(axis=0) / flat, X.shape)
    if rule == "wsq":
        return (W**2).T @ divide(R, np.broadcast_to((W**2).sum(axis=1)[:, None], R.shape))
    return W.T @ R  # lin


def _toolbox_spreads_bias(layer: Layer, settings: Mapping[str, Any]) -> bool:
    """Whether biastreatmenttype 1 acts in the alpha-beta rule, which only its slow code path can do."""
    params: Any = layer.params
    spread = settings["biastreatmenttype"] == 1 and params.bias
    if spread and not (settings["codeexectype"] == 1 and settings["relpropformulatype"] in (2, 100)):
        raise ToolboxError(f"{layer}: biastreatmenttype 1 works with codeexectype 1 under formula 2 (100) only")
    return spread


def _toolbox_check_code_path(layer: Layer, formula: int) -> None:
    """Raise where codeexectype 1 stops the reference."""
    stops = {"Convolution": (0, 26, 166), "InnerProduct": (0, 26, 166, 100), "Pooling": _FORMULAS}
    if formula in stops.get(layer.type, ()):
        raise ToolboxError(f"{layer}: formula {formula} has no codeexectype 1")


def _toolbox_eps(X: Array, W: Array, b: Array, R: Array, eps: float) -> Array:
    """s = R / (z +- eps) by the sign of z, and s = R where z = 0; R_i = x_i sum_j w_ji s_j."""
    Z = W @ X + b[:, None]
    zero = Z == 0
    return X * (W.T @ np.where(zero, R, R / np.where(zero, 1.0, stabilised(Z, eps))))


def _toolbox_alpha(beta: float) -> float:
    """alpha = 1 + beta, rounded to float32 as beta is."""
    return float(np.float32(1) + np.float32(beta))


def _toolbox_ab(X: Array, W: Array, b: Array, R: Array, beta: float) -> Array:
    """`alphabeta_rule` on columns; (w x)+ = w+ x+ + w- x-, (w x)- = w+ x- + w- x+."""
    Wp, Wn, Xp, Xn = positive(W), negative(W), positive(X), negative(X)
    Sp = divide(R, Wp @ Xp + Wn @ Xn + positive(b)[:, None])
    Sn = divide(R, Wp @ Xn + Wn @ Xp + negative(b)[:, None])
    plus = Xp * (Wp.T @ Sp) + Xn * (Wn.T @ Sp)
    minus = Xn * (Wp.T @ Sn) + Xp * (Wn.T @ Sn)
    return _toolbox_alpha(beta) * plus - beta * minus


def _toolbox_ab_spread(X: Array, W: Array, b: Array, R: Array, beta: float) -> Array:
    """biastreatmenttype 1: w_ji x_i is replaced by w_ji x_i + b_j / K everywhere, padding included."""
    terms = W[:, :, None] * X[None] + (b / W.shape[1])[:, None, None]
    Sp = divide(R, positive(terms).sum(axis=1))
    Sn = divide(R, negative(terms).sum(axis=1))
    plus, minus = (positive(terms) * Sp[:, None]).sum(axis=0), (negative(terms) * Sn[:, None]).sum(axis=0)
    return _toolbox_alpha(beta) * plus - beta * minus


def _toolbox_zbox(X: Array, W: Array, b: Array, R: Array, *, L: Array, H: Array) -> Array:
    """N = sum(w x + w+ L - w- H) + b+, q = R / N (R where |N| <= 1e-12), R_i = x W^T q + L W+^T q - H W-^T q."""
    Wp, Wn = positive(W), negative(W)
    N = W @ X + Wp @ L - Wn @ H + positive(b)[:, None]
    tiny = np.abs(N) <= 1e-12
    q = np.where(tiny, R, R / np.where(tiny, 1.0, N))
    return X * (W.T @ q) + L * (Wp.T @ q) - H * (Wn.T @ q)
