"""Machine code of kernels: keeping it on disk, and loading it with llvmlite alone.

What was compiled is kept as an object file, so that a process that finds all its kernels needs no compiler:
importing Numba takes longer than running a network. An entry is valid for exactly the sources of all kernels (a
kernel inlines others, so its own file's date says too little), the compiler's version and its settings.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import os
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class MachineCode:
    """An object file with one entry point.

    Attributes
    ----------
    entry
        Name of the entry point.
    needs
        Names of what it calls outside, such as ``expf``.
    image
        The object file.
    """

    entry: str
    needs: tuple[str, ...]
    image: bytes


# -- where ---------------------------------------------------------------------------------------------------


@functools.cache
def cache_folder() -> str:
    """Where compiled kernels are kept: NUMBA_CACHE_DIR, beside the sources, or the user's cache."""
    chosen = os.environ.get("NUMBA_CACHE_DIR", "")
    for folder in ([Path(chosen) / "caffe2lrp"] if chosen else []) + [Path(__file__).parent / "__pycache__"]:
        if _usable(folder):
            return str(folder)
    from platformdirs import user_cache_path

    folder = user_cache_path("caffe2lrp", appauthor=False) / "kernels"
    _usable(folder)
    return str(folder)


def _usable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)


# -- for what ------------------------------------------------------------------------------------------------


@functools.cache
def sources_stamp() -> str:
    """Changes with the source of any kernel."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


@functools.cache
def target_stamp() -> str:
    """Changes with all that the compiler's output depends on beside the source: its version, processor and settings."""
    import llvmlite.binding as llvm

    try:
        features = llvm.get_host_cpu_features().flatten()
    except RuntimeError:  # unknown on this processor
        features = ""
    # Neither of the two has an influence on the code.
    ignored = ("NUMBA_CACHE_DIR", "NUMBA_NUM_THREADS")
    settings = sorted(item for item in os.environ.items() if item[0].startswith("NUMBA_") and item[0] not in ignored)
    file = Path(".numba_config.yaml")  # Numba reads settings from it, too
    parts = [
        version("numba"), version("llvmlite"), llvm.get_process_triple(), llvm.get_host_cpu_name(), features, settings,
        file.read_text(errors="replace") if file.is_file() else "",
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


# -- files ---------------------------------------------------------------------------------------------------


def read(name: str) -> tuple[dict[str, Any], bytes] | None:
    """What was written under a name for these sources and this target; None if there is nothing, or it is damaged."""
    try:
        head, _, content = _path(name).read_bytes().partition(b"\n")
        said = json.loads(head)
    except (OSError, ValueError):
        return None
    if not isinstance(said, dict) or said.get("stamp") != _stamp() or said.get("digest") != _digest(content):
        return None
    return said, content


def write(name: str, content: bytes = b"", **said: Any) -> None:
    """Keep something under a name. Where nothing can be written, nothing is kept.

    The file appears at once as a whole: other processes may read or write it at the same time.
    """
    head = json.dumps({**said, "stamp": _stamp(), "digest": _digest(content)}).encode()
    path = _path(name)
    try:
        handle, temporary = tempfile.mkstemp(prefix=f"{path.name}.", suffix=".tmp", dir=path.parent)
    except OSError:
        return
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(head + b"\n" + content)
        os.replace(temporary, path)
    except OSError:
        Path(temporary).unlink(missing_ok=True)


def read_code(name: str) -> MachineCode | None:
    """Kept machine code, if there is any."""
    found = read(name)
    return None if found is None else MachineCode(found[0]["entry"], tuple(found[0]["needs"]), found[1])


def write_code(name: str, code: MachineCode) -> None:
    """Keep machine code."""
    write(name, code.image, entry=code.entry, needs=code.needs)


def _path(name: str) -> Path:
    return Path(cache_folder()) / f"{name}.{target_stamp()[:12]}.kernel"


def _stamp() -> str:
    return hashlib.sha256(f"{sources_stamp()} {target_stamp()}".encode()).hexdigest()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


# -- loading -------------------------------------------------------------------------------------------------

_numbers = itertools.count()
_alive: list[Any] = []  # machine code lives as long as what its linking returned


def link(code: MachineCode) -> int:
    """Load machine code into the process; the address of its entry point.

    Raises
    ------
    RuntimeError
        If the code cannot be loaded, or something that it needs is missing in this process.
    """
    import llvmlite.binding as llvm

    library = llvm.JITLibraryBuilder().add_object_img(code.image).add_current_process().export_symbol(code.entry)
    for name in code.needs:
        address = llvm.address_of_symbol(name)
        if address is None:
            raise RuntimeError(f"there is no function {name} in this process")
        library.import_symbol(name, address)
    linked = library.link(_linker(), f"kernel{next(_numbers)}")
    _alive.append(linked)
    return int(linked[code.entry])


@functools.cache
def _linker() -> Any:
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.create_lljit_compiler()
