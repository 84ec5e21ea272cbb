"""Plug-in files: Python modules that register layer types when they are loaded."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

from caffe2lrp.errors import OptionError
from caffe2lrp.plugin.blame import blamed
from caffe2lrp.plugin.register import registered_types

_loaded: dict[Path, ModuleType] = {}


def load_file(path: str | os.PathLike[str]) -> ModuleType:
    """Load a plug-in file, once; its layer types are known from then on.

    Parameters
    ----------
    path
        A Python file that uses `caffe2lrp.register_layer`. Its code is run.

    Returns
    -------
    module
        The file as a module.

    Raises
    ------
    OptionError
        If there is no such file, or if it registers no layer type.
    PluginError
        If its code fails; the message says in which line.
    """
    file = Path(path).resolve()
    if file in _loaded:
        return _loaded[file]
    if not file.is_file():
        raise OptionError(f"{os.fspath(path)}: there is no such plug-in file")
    name = f"caffe2lrp_plugin_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise OptionError(f"{os.fspath(path)}: a plug-in must be a Python file whose name ends in .py")
    module = importlib.util.module_from_spec(spec)
    before = registered_types()
    sys.modules[name] = module  # dataclasses look their module up
    with blamed(f"{os.fspath(path)}: loading this plug-in"):
        spec.loader.exec_module(module)
    if registered_types() == before:
        raise OptionError(
            f"{os.fspath(path)} registers no layer type: it needs a class with @caffe2lrp.register_layer(...), see "
            "docs/own-layers.md"
        )
    _loaded[file] = module
    return module
