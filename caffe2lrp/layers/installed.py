"""Layer types that installed packages bring: entry points of the group ``caffe2lrp.layers``.

Each names a module, which registers its types (`caffe2lrp.register_layer`) when it is imported.
"""

from __future__ import annotations

import functools
from importlib.metadata import entry_points

GROUP = "caffe2lrp.layers"

_failed: list[str] = []


@functools.cache
def load_installed_layers() -> None:
    """Import the modules of all installed plug-ins, once; one that fails leaves the others alone."""
    for entry in entry_points(group=GROUP):
        try:
            entry.load()
        except Exception as error:  # whatever it is, most nets can do without this plug-in
            package = entry.dist.name if entry.dist is not None else "an unknown package"
            _failed.append(f"the plug-in {entry.value} of {package}: {type(error).__name__}: {error}")


def failed_plugins() -> tuple[str, ...]:
    """Plug-ins that could not be imported, and why."""
    return tuple(_failed)
