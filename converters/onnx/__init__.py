"""Networks as ONNX models, and the proof that they compute the same.

- `registry` is the table of emitters, which `layers` fills: one module for each layer family;
- `graph` collects nodes and constants, `export` makes the model of them, `files` reads and writes models without
  copying their weights.
"""

from caffe2lrp.converters.onnx.export import build_model

__all__ = ["build_model"]
