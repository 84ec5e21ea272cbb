"""Networks as ONNX models, and the proof that they compute the same.

- `registry` is the table of emitters, which `layers` fills: one module for each layer family;
- `graph` collects nodes and constants; `preprocessing` and `simplify` change what is written, `metadata` says where it
  came from, `export` puts it together;
- `files` reads and writes models without copying their weights, `checking` tests what was written;
- `blobs` runs a network or a model blob by blob, `comparing` compares, `verification` is the proof.
"""

from caffe2lrp.converters.onnx.blobs import OnnxBlobs, StoredBlobs
from caffe2lrp.converters.onnx.comparing import Difference, Report
from caffe2lrp.converters.onnx.export import Exported, build_model, export_onnx
from caffe2lrp.converters.onnx.verification import diff, verify

__all__ = [
    "Difference",
    "Exported",
    "OnnxBlobs",
    "Report",
    "StoredBlobs",
    "build_model",
    "diff",
    "export_onnx",
    "verify",
]
