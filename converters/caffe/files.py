"""What a file is, by its content, and reading it whole: extensions are not to be trusted."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import numpy as np

from caffe2lrp.converters.caffe.text import MAX_SIZE
from caffe2lrp.errors import FileFormatError

Kind = Literal["text", "binary", "hdf5", "npy"]
PathLike = str | os.PathLike[str]

_HDF5 = b"\x89HDF\r\n\x1a\n"
_NPY = b"\x93NUMPY"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_OTHERS = {
    b"version https://git-lfs": "is only a Git LFS pointer: fetch the real file with `git lfs pull`",
    b"<!DOCTYPE": "is a web page, so its download went wrong: download it again",
    b"<!doctype": "is a web page, so its download went wrong: download it again",
    b"<html": "is a web page, so its download went wrong: download it again",
    b"\x1f\x8b": "is compressed with gzip: unpack it first",
    b"PK\x03\x04": "is a zip archive (or a PyTorch model) and not a Caffe file: unpack it first",
    b"BZh": "is compressed with bzip2: unpack it first",
    b"\xfd7zXZ": "is compressed with xz: unpack it first",
    b"Rar!": "is a RAR archive: unpack it first",
    b"\x89PNG": "is a PNG image and not a Caffe file",
    b"\xff\xd8\xff": "is a JPEG image and not a Caffe file",
    b"\x80\x02}": "is a Python pickle and not a Caffe file",
}
# What a text file has no use for: all but tab, line feed, vertical tab, form feed, carriage return, Ctrl-Z, escape.
_CONTROL = frozenset(range(32)) - {9, 10, 11, 12, 13, 26, 27}


def sniff(path: PathLike) -> Kind:
    """Tell what kind of file `path` is by its first bytes.

    Raises
    ------
    FileFormatError
        If the file cannot be read, is empty or is of a kind that Caffe does not use.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(4096)
    except OSError as error:
        raise _unreadable(path, error) from None
    if not head.strip():
        raise FileFormatError(f"{os.fspath(path)}: the file is empty")
    for signature, problem in _OTHERS.items():
        if head.startswith(signature):
            raise FileFormatError(f"{os.fspath(path)} {problem}")
    if head.startswith(_HDF5):
        return "hdf5"
    if head.startswith(_NPY):
        return "npy"
    if head.startswith(_UTF16):
        return "text"
    return "binary" if _CONTROL.intersection(head) else "text"


def read_text_file(path: PathLike) -> str:
    """The text of a prototxt: UTF-8, or Latin-1 where it is not UTF-8."""
    try:
        if os.path.getsize(path) > MAX_SIZE:
            raise FileFormatError(
                f"{os.fspath(path)}: a text file of {os.path.getsize(path) >> 20} MB is no prototxt (at most "
                f"{MAX_SIZE >> 20} MB)"
            )
        raw = Path(path).read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from None
    if raw.startswith(_UTF16):
        return raw.decode("utf-16", errors="replace")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def read_bytes(path: PathLike) -> np.ndarray:
    """A file's content in one ``uint8`` array, read straight into it."""
    try:
        with open(path, "rb", buffering=0) as file:
            data = np.empty(os.fstat(file.fileno()).st_size, np.uint8)
            view, done = data.data, 0
            while done < data.size:
                got = file.readinto(view[done:])
                if not got:
                    raise FileFormatError(f"{os.fspath(path)}: the file became shorter while it was read")
                done += got
    except OSError as error:
        raise _unreadable(path, error) from None
    return data


def _unreadable(path: PathLike, error: OSError) -> FileFormatError:
    return FileFormatError(f"{os.fspath(path)}: cannot read the file: {error.strerror or error}")
