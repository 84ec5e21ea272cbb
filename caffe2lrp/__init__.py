"""caffe2lrp: open, run and explain legacy Caffe models, without Caffe and without a deep-learning framework.

>>> import caffe2lrp
>>> net = caffe2lrp.load("deploy.prototxt", "weights.caffemodel")  # doctest: +SKIP
>>> e = caffe2lrp.explain(net, x, target=284, rule="alphabeta", beta=1.0)  # doctest: +SKIP
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Heavy modules are imported when one of their names is used first.
_HOMES = {
    "Caffe2LrpError": "caffe2lrp.errors",
    "Composite": "caffe2lrp.composites",
    "Explanation": "caffe2lrp.explanation",
    "Network": "caffe2lrp.ir",
    "OwnLayer": "caffe2lrp.plugin",
    "Preprocessing": "caffe2lrp.preprocessing",
    "Session": "caffe2lrp.engine.session",
    "draw": "caffe2lrp.diagram",
    "explain": "caffe2lrp.explanation",
    "export_onnx": "caffe2lrp.converters.onnx",
    "fold_affine_layers": "caffe2lrp.engine.folding",
    "load": "caffe2lrp.converters.loading",
    "read_composite": "caffe2lrp.composite_file",
    "save": "caffe2lrp.converters.caffe",
    "save_weights": "caffe2lrp.converters.arrays",
    "register_layer": "caffe2lrp.plugin",
}

__all__ = [
    "Caffe2LrpError",
    "Composite",
    "Explanation",
    "Network",
    "OwnLayer",
    "Preprocessing",
    "Session",
    "draw",
    "explain",
    "export_onnx",
    "fold_affine_layers",
    "load",
    "read_composite",
    "register_layer",
    "save",
    "save_weights",
]

if TYPE_CHECKING:
    from caffe2lrp.composite_file import read_composite
    from caffe2lrp.composites import Composite
    from caffe2lrp.converters.arrays import save_weights
    from caffe2lrp.converters.caffe import save
    from caffe2lrp.converters.loading import load
    from caffe2lrp.converters.onnx import export_onnx
    from caffe2lrp.diagram import draw
    from caffe2lrp.engine.folding import fold_affine_layers
    from caffe2lrp.engine.session import Session
    from caffe2lrp.errors import Caffe2LrpError
    from caffe2lrp.explanation import Explanation, explain
    from caffe2lrp.ir import Network
    from caffe2lrp.plugin import OwnLayer, register_layer
    from caffe2lrp.preprocessing import Preprocessing


def __getattr__(name: str) -> Any:
    if name in ("plugin", "toolbox"):
        return importlib.import_module(f"caffe2lrp.{name}")
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'caffe2lrp' has no attribute '{name}'")
