"""Alpha-beta rule of the LRP Toolbox with the bias spread over the inputs (biastreatmenttype 1), as plain loops.

Each product w x is replaced by w x + b / K, for all K inputs of an output, padding included. That is no
product of matrices, so these two kernels are slow; nothing else needs them.
"""

from __future__ import annotations

from caffe2lrp.kernels.compiling import device
from caffe2lrp.kernels.launch import F1, F4, Float, Int, kernel
from caffe2lrp.kernels.share import share


@device
def _term(x, w, bias, n, m, c, group, iy, ix, ky, kx, sign):  # type: ignore[no-untyped-def]
    """The part of w x + b / K that has the sign, for one input of an output."""
    zero = x.dtype.type(0)
    channel = m // (w.shape[0] // group) * w.shape[1] + c
    inside = 0 <= iy < x.shape[2] and 0 <= ix < x.shape[3]
    value = (w[m, c, ky, kx] * x[n, channel, iy, ix] if inside else zero) + bias[m]
    return max(value, zero) if sign > 0 else min(value, zero)


@kernel
def spread_bias_ratio(
    part: Int, parts: Int, x: F4, w: F4, bias: F1, r: F4, s: F4,
    kh: Int, kw: Int, sy: Int, sx: Int, py: Int, px: Int, dy: Int, dx: Int, group: Int, sign: Int, factor: Float,
) -> None:  # fmt: skip
    """s = factor r / sum of the terms of one sign; `bias` is b / K."""
    start, stop = share(r.shape[0] * r.shape[1], part, parts)
    zero = x.dtype.type(0)
    for unit in range(start, stop):
        n, m = unit // r.shape[1], unit % r.shape[1]
        for oy in range(r.shape[2]):
            for ox in range(r.shape[3]):
                total = zero
                for c in range(w.shape[1]):
                    for ky in range(kh):
                        for kx in range(kw):
                            iy, ix = oy * sy - py + ky * dy, ox * sx - px + kx * dx
                            total += _term(x, w, bias, n, m, c, group, iy, ix, ky, kx, sign)
                s[n, m, oy, ox] = factor * r[n, m, oy, ox] / total if total != zero else zero


@kernel
def spread_bias_relevance(
    part: Int, parts: Int, x: F4, w: F4, bias: F1, r: F4, s: F4, r_in: F4,
    kh: Int, kw: Int, sy: Int, sx: Int, py: Int, px: Int, dy: Int, dx: Int, group: Int, sign: Int, add: Int,
) -> None:  # fmt: skip
    """r_in = (r_in if `add` else 0) + the terms of one sign times s; each thread owns some input channels."""
    start, stop = share(x.shape[0] * x.shape[1], part, parts)
    per_group = w.shape[0] // group
    for unit in range(start, stop):
        n, channel = unit // x.shape[1], unit % x.shape[1]
        g, c = channel // w.shape[1], channel % w.shape[1]
        if add == 0:
            r_in[n, channel] = 0
        for m in range(g * per_group, (g + 1) * per_group):
            for oy in range(r.shape[2]):
                for ox in range(r.shape[3]):
                    for ky in range(kh):
                        for kx in range(kw):
                            iy, ix = oy * sy - py + ky * dy, ox * sx - px + kx * dx
                            if 0 <= iy < x.shape[2] and 0 <= ix < x.shape[3]:
                                term = _term(x, w, bias, n, m, c, group, iy, ix, ky, kx, sign)
                                r_in[n, channel, iy, ix] += term * s[n, m, oy, ox]
