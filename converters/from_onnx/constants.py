"""Nodes that depend on no image: weights that are computed, and shapes for reshaping. onnx itself evaluates them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from caffe2lrp.converters.from_onnx.files import stored
from caffe2lrp.converters.from_onnx.node import ReadError

if TYPE_CHECKING:
    import onnx

SHAPE_OPERATORS = ("Shape", "Size")
"""Operators that only look at the shape of their input."""

# fmt: off
EVALUATED = frozenset({
    "Abs", "Add", "Cast", "CastLike", "Ceil", "Concat", "ConstantOfShape", "Div", "Equal", "Exp", "Expand",
    "Flatten", "Floor", "Gather", "Greater", "Identity", "Less", "Log", "Max", "Min", "Mod", "Mul", "Neg",
    "Pow", "Range", "Reciprocal", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "Reshape",
    "Slice", "Split", "Sqrt", "Squeeze", "Sub", "Sum", "Tile", "Transpose", "Unsqueeze", "Where",
})
"""Operators that are computed where all inputs are constant."""
# fmt: on

_LARGEST = 1 << 29  # values in one tensor: 2 GB in single precision
_SMALL = 64  # values up to which a tensor can be a shape, on which the size of the result may depend


def evaluate(node: onnx.NodeProto, opset: int, inputs: Sequence[np.ndarray | None]) -> dict[str, np.ndarray]:
    """Outputs, by name, of a node whose inputs are constant.

    Raises
    ------
    ReadError
        If the operator is not known, or if it cannot be computed.
    """
    if node.op_type == "Constant":
        return {node.output[0]: _constant(node)}
    if node.op_type not in EVALUATED and node.op_type not in SHAPE_OPERATORS:
        raise ReadError(f"its inputs are constants, but {node.op_type} of constants is not supported")
    from onnx import helper
    from onnx.reference import ReferenceEvaluator

    imports = [helper.make_opsetid("", opset)]
    names = [f"x{i}" if value is not None else "" for i, value in enumerate(inputs)]
    copy = helper.make_node(node.op_type, names, [f"y{i}" for i in range(len(node.output))])
    copy.attribute.extend(node.attribute)
    given = {name: value for name, value in zip(names, inputs, strict=True) if value is not None}
    try:
        _check_size(copy, imports, given)
        function = helper.make_function("", "constant", list(given), list(copy.output), [copy], imports)
        with np.errstate(all="ignore"):
            results = ReferenceEvaluator(function).run(None, given, attributes={})
    except ReadError:
        raise
    except Exception as error:  # onnx checks little: whatever a broken node makes NumPy raise
        raise ReadError(f"cannot be computed: {error}") from None
    return {name: np.asarray(result) for name, result in zip(node.output, results, strict=True)}


def _check_size(node: onnx.NodeProto, imports: list[onnx.OperatorSetIdProto], given: dict[str, np.ndarray]) -> None:
    """Refuse what a few bytes of a file could blow up to more than a computer holds."""
    from onnx import defs, helper, numpy_helper, shape_inference

    types = {
        name: helper.make_tensor_type_proto(helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
        for name, value in given.items()
    }
    small = {name: numpy_helper.from_array(value, name) for name, value in given.items() if value.size <= _SMALL}
    schema = defs.get_schema(node.op_type, imports[0].version, "")
    inferred = shape_inference.infer_node_outputs(schema, node, types, small, opset_imports=imports)
    for kind in inferred.values():
        dims = [d.dim_value if d.HasField("dim_value") else None for d in kind.tensor_type.shape.dim]
        if None in dims or not kind.tensor_type.HasField("shape"):
            raise ReadError("the size of its result cannot be told")
        if np.prod(np.array(dims, np.float64)) > _LARGEST:
            raise ReadError(f"would make a constant of the shape {tuple(dims)}, which is too large")


def _constant(node: onnx.NodeProto) -> np.ndarray:
    """The value of a Constant."""
    from onnx import helper

    if len(node.attribute) != 1 or node.attribute[0].name not in _CONSTANTS:
        raise ReadError(f"must have one of the attributes {', '.join(_CONSTANTS)}")
    attribute = node.attribute[0]
    if attribute.name == "value":
        if attribute.t.data_location == attribute.t.EXTERNAL:
            raise ReadError("its value lies in another file, which is supported for weights only")
        return stored(attribute.t, "")
    return np.asarray(helper.get_attribute_value(attribute), _CONSTANTS[attribute.name])


_CONSTANTS = {"value": None, "value_float": "f4", "value_floats": "f4", "value_int": "i8", "value_ints": "i8"}
