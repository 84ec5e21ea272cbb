"""A written model against ONNX's own rules, and against the sizes that Caffe's rules give."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from caffe2lrp.converters.onnx.files import read_structure
from caffe2lrp.errors import ModelError
from caffe2lrp.ir import Network

if TYPE_CHECKING:
    import onnx


def check_file(path: Path, network: Network) -> None:
    """Check a model file: onnx's full check, strict shape inference, and the size of every blob.

    Parameters
    ----------
    path
        The file. For a moment another one is put beside it: its structure, that refers to its weights, so that the
        checker need not read them.
    network
        The network that was written; where the file leaves sizes open, they are not compared.

    Raises
    ------
    ModelError
        If the model is not valid, or a blob has another size than Caffe gives it.
    """
    from onnx import checker, shape_inference

    structure = read_structure(path)
    draft = path.with_name(f"{path.name}.structure")
    try:
        draft.write_bytes(structure.SerializeToString())
        checker.check_model(os.fspath(draft), full_check=True)
        inferred = shape_inference.infer_shapes(_bare(structure), check_type=True, strict_mode=True, data_prop=True)
    except (checker.ValidationError, shape_inference.InferenceError) as error:
        raise ModelError(f"{network.name}: what was written is not valid ONNX: {error}") from None
    finally:
        draft.unlink(missing_ok=True)
    _compare_sizes(inferred, network)


def _bare(structure: onnx.ModelProto) -> onnx.ModelProto:
    """A copy that says nothing about the shapes of what its nodes write."""
    from onnx import ModelProto

    bare = ModelProto()
    bare.CopyFrom(structure)
    bare.graph.ClearField("value_info")
    for output in bare.graph.output:
        output.type.tensor_type.ClearField("shape")
    return bare


def _compare_sizes(inferred: onnx.ModelProto, network: Network) -> None:
    producers = network.producers
    for info in (*inferred.graph.value_info, *inferred.graph.output):
        shape = network.shapes.get(info.name)
        if shape is None or not info.type.tensor_type.HasField("shape"):
            continue
        dims = info.type.tensor_type.shape.dim
        sizes = tuple(d.dim_value if d.HasField("dim_value") else None for d in dims)
        if len(sizes) != len(shape) or any(a not in (None, b) for a, b in zip(sizes, shape, strict=True)):
            raise ModelError(
                f"{producers[info.name]}: ONNX gives its output '{info.name}' the shape {sizes}, Caffe gives {shape}"
            )
