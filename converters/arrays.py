"""Weights out to other programs: a folder of npy files, one npz file, or safetensors."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

import numpy as np

from caffe2lrp.errors import ModelError, OptionError
from caffe2lrp.ir import Network
from caffe2lrp.saving import PathLike, check_target, replacing, unwritable

_SAFE = " !#$&'()+,;=@[]{}"
"""What names of files may have on all systems, besides letters, digits and ``_.-~``."""


def weight_arrays(network: Network) -> dict[str, np.ndarray]:
    """All weights by name: ``layer/kind``, for example ``conv1/weight`` and ``conv1/bias``.

    Returns
    -------
    dict
        The arrays as the layers have them: of a convolution (num_output, channels / group, kernel height, kernel
        width), of a fully connected layer (num_output, inputs). A BatchNorm has Caffe's sums: mean / weight is the
        mean, variance / weight the variance.

    Raises
    ------
    ModelError
        If two layers with weights have the same name.
    """
    return {
        f"{layer.name}/{kind}": array for layer in network.weighted_layers() for kind, array in layer.weights.items()
    }


def save_weights(network: Network, path: PathLike, *, overwrite: bool = True) -> list[Path]:
    """Write all weights under the names of `weight_arrays`.

    Parameters
    ----------
    network
        The network.
    path
        A file that ends in ``.npz`` or ``.safetensors``; or a folder, which is made if need be and gets a file
        ``layer/kind.npy`` for each array. A slash in a layer's name makes a folder of its own, and what names of files
        cannot have becomes ``%`` and its code.
    overwrite
        Whether files that exist may be replaced.

    Returns
    -------
    list of pathlib.Path
        The files.

    Raises
    ------
    OptionError
        If the name ends like another kind of file, or the library ``safetensors`` is not installed.
    FileFormatError
        If a file cannot be written, or may not be replaced.
    ModelError
        If there are no weights, or the names of layers are in each other's way.
    """
    arrays = weight_arrays(network)
    if not arrays:
        raise ModelError(f"{network.name or 'the network'} has no weights")
    suffix = Path(path).suffix.lower()
    if Path(path).is_dir() or not suffix:
        return _save_folder(arrays, Path(path), overwrite)
    if suffix not in _WRITERS:
        raise OptionError(f"'{path}': weights go into a folder or into a file that ends in {' or '.join(_WRITERS)}")
    check_target(path, overwrite=overwrite)
    with replacing(path) as draft:
        _WRITERS[suffix](arrays, draft)
    return [Path(path)]


def _save_npz(arrays: dict[str, np.ndarray], path: Path) -> None:
    for name in arrays:
        if "\0" in name:  # where zip archives end a name
            raise ModelError(f"an .npz file cannot hold the name {name!r}; write safetensors or a folder")
    with path.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # names with a slash are none of savez's own


def _save_safetensors(arrays: dict[str, np.ndarray], path: Path) -> None:
    try:
        from safetensors import SafetensorError
        from safetensors.numpy import save_file
    except ImportError:
        raise OptionError(
            "the library that writes safetensors is not installed: pip install 'caffe2lrp[safetensors]', "
            "or write an .npz file"
        ) from None
    try:
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, path)
    except SafetensorError as error:
        raise OSError(str(error)) from None


_WRITERS = {".npz": _save_npz, ".safetensors": _save_safetensors}


def _save_folder(arrays: dict[str, np.ndarray], folder: Path, overwrite: bool) -> list[Path]:
    files = {folder / _file_name(name): array for name, array in arrays.items()}
    if len({os.fspath(file).casefold() for file in files}) < len(arrays):  # some systems see no difference in case
        raise ModelError(f"'{folder}': names of layers differ by letter case only; write an .npz file")
    try:
        for file in files:
            file.parent.mkdir(parents=True, exist_ok=True)
            check_target(file, overwrite=overwrite)
    except OSError as error:
        raise unwritable(folder, error) from None
    for file, array in files.items():
        with replacing(file) as draft, draft.open("wb") as opened:
            np.save(opened, array)
    return list(files)


def _file_name(name: str) -> str:
    """``layer/kind`` as a relative path that stays inside its folder."""
    return "/".join(map(_part, name.split("/"))) + ".npy"


def _part(text: str) -> str:
    if not text.strip("."):  # the folder itself, the one above, or nothing
        return text.replace(".", "%2E") or "%"
    return quote(text, safe=_SAFE)
