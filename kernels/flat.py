"""Arrays of several axes as one row."""

from __future__ import annotations

from typing import Any

from caffe2lrp.kernels.compiling import cgutils, intrinsic, types


@intrinsic
def flat(typingctx, array):  # type: ignore[no-untyped-def]
    """The values of a C-contiguous array in the same memory, with a single axis.

    Numba's `reshape` would call a function of its own library, which is not there when kept code runs. The memory is
    one of the caller's: nothing is counted.
    """
    row = types.Array(array.dtype, 1, "C")

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        from numba.np.arrayobj import populate_array

        source = cgutils.create_struct_proxy(signature.args[0])(context, builder, arguments[0])
        made = context.make_array(row)(context, builder)
        size = source.itemsize
        populate_array(made, data=source.data, shape=[source.nitems], strides=[size], itemsize=size, meminfo=None)
        return made._getvalue()

    return row(array), codegen
