"""Taking single files out of a tar archive from the network."""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

MAX_MEMBER = 4 << 30
"""Larger files are refused: no Caffe model is that big, and a small archive can claim any size."""


class ArchiveError(Exception):
    """An archive cannot be used; the message says why."""


def extract(archive: Path, wanted: Mapping[str, Path], optional: frozenset[str] = frozenset()) -> list[str]:
    """Copy files out of a tar archive, compressed or not.

    Only the contents of regular files are copied, and only to the given places: names, links, owners and permissions
    inside the archive decide nothing.

    Parameters
    ----------
    archive
        The archive.
    wanted
        Where to put each file, by its name without folders.
    optional
        Names that the archive may lack.

    Returns
    -------
    list of str
        Names of the files that were found.

    Raises
    ------
    ArchiveError
        If the archive cannot be read, lacks a file, or holds one of an impossible size.
    """
    found: list[str] = []
    try:
        with tarfile.open(archive, "r:*") as tar:
            for info in tar:
                name = _safe_name(info)
                if name is not None and name in wanted and name not in found:
                    _copy(tar, info, wanted[name])
                    found.append(name)
    except (tarfile.TarError, EOFError, ValueError) as error:
        reason = str(error).partition("\n")[0].rstrip(": ")  # tarfile lists what each decompressor says
        raise ArchiveError(f"'{archive.name}' is damaged or no archive ({reason})") from None
    except OSError as error:
        if error.errno is not None:  # the disk, not the archive
            raise
        raise ArchiveError(f"'{archive.name}' is damaged ({error})") from None
    missing = [name for name in wanted if name not in found and name not in optional]
    if missing:
        raise ArchiveError(f"'{archive.name}' does not contain {', '.join(missing)}")
    return found


def _safe_name(info: tarfile.TarInfo) -> str | None:
    """Name without folders of a regular file; None for links, devices and paths that lead out of the archive."""
    path = PurePosixPath(info.name)
    if not info.isreg() or path.is_absolute() or ".." in path.parts:
        return None
    return path.name


def _copy(tar: tarfile.TarFile, info: tarfile.TarInfo, target: Path) -> None:
    if info.size > MAX_MEMBER:
        raise ArchiveError(f"'{info.name}' in the archive claims to have {info.size} bytes")
    source = tar.extractfile(info)
    if source is None:
        raise ArchiveError(f"'{info.name}' in the archive cannot be read")
    with source, target.open("wb") as file:
        shutil.copyfileobj(source, file, 1 << 20)
