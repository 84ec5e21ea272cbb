"""Files are written whole or not at all."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from caffe2lrp.errors import FileFormatError

PathLike = str | os.PathLike[str]

_numbers = itertools.count()


def check_target(path: PathLike, *, overwrite: bool = True) -> Path:
    """Refuse a place that no file can or may be written to, before any work is done.

    Parameters
    ----------
    path
        The file to write.
    overwrite
        Whether a regular file that is there already may be replaced. Nothing else ever is.

    Returns
    -------
    pathlib.Path
        The file, behind symbolic links.

    Raises
    ------
    FileFormatError
        If `path` is a folder, a device or the like, or is there and may not be replaced, or its folder is missing.
    """
    name = os.fspath(path)
    try:
        target = Path(os.path.realpath(path))
        if target.is_dir():
            raise FileFormatError(f"{name}: cannot write the file: there is a folder of that name")
        if target.exists() and not target.is_file():
            raise FileFormatError(f"{name}: cannot write the file: it is no regular file")
        if target.exists() and not overwrite:
            raise FileFormatError(
                f"{name}: the file is there already; choose another name, or say that it may be replaced (--overwrite)"
            )
        if not target.parent.is_dir():
            raise FileFormatError(f"{name}: cannot write the file: there is no folder '{target.parent}'; create it")
    except (OSError, ValueError) as error:  # a name that is too long, or has a NUL in it
        raise unwritable(path, error) from None
    return target


@contextmanager
def replacing(path: PathLike) -> Iterator[Path]:
    """A file to write to, beside `path`, which it replaces when all went well.

    What was there stays as it is until then, so a file may be made from itself.

    Raises
    ------
    FileFormatError
        If the file cannot be written.
    """
    target = check_target(path)
    draft = target.with_name(f".caffe2lrp.{os.getpid()}.{next(_numbers)}.part")
    try:
        yield draft
        if target.exists():
            shutil.copymode(target, draft)
        os.replace(draft, target)
    except OSError as error:
        raise unwritable(path, error) from None
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)


def unwritable(path: PathLike, error: Exception) -> FileFormatError:
    """The error for a file that cannot be written."""
    return FileFormatError(f"{os.fspath(path)}: cannot write the file: {getattr(error, 'strerror', None) or error}")
