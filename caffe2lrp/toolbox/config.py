"""The demonstrators' files of settings and of images: ``config.txt`` and the file list."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from caffe2lrp.errors import FileFormatError
from caffe2lrp.toolbox.formulas import AUX

BEST, BEST_FIVE = -1, -2
"""Class codes of a file list; from 0 on, it is the class itself."""

MEAN_KINDS = {0: "text", 1: "binaryproto, BGR", 2: "binaryproto, RGB"}
"""Values of ``use_mean_file_asbinaryprotoblob``."""

_FILES = ("param_file", "model_file", "mean_file", "synsetfile")
_FOLDERS = ("standalone_outpath", "standalone_rootpath")
_NUMBERS: dict[str, type] = {
    "use_mean_file_asbinaryprotoblob": int,
    "lastlayerindex": int,
    "firstlayerindex": int,
    "numclasses": int,
    "baseimgsize": int,
    "epsstab": float,
    "alphabeta_beta": float,
    "relpropformulatype": int,
    AUX: int,
}
_OPTIONS = ("relpropformulatype", "epsstab", "alphabeta_beta", "lastlayerindex", "firstlayerindex", AUX)


@dataclass(frozen=True)
class Config:
    """What a ``config.txt`` says; attributes have the Toolbox's names.

    Attributes
    ----------
    path
        The file itself.
    param_file, model_file, mean_file, synsetfile
        Net definition, weights, mean image and class names; as in the Toolbox, relative to the current folder.
    use_mean_file_asbinaryprotoblob
        Kind of the mean file, see `MEAN_KINDS`.
    numclasses
        How many of the net's outputs are classes.
    baseimgsize
        Longer side of an image before the crop, in pixels.
    standalone_outpath, standalone_rootpath
        Results of ``.../ROOT/a/b.jpg`` are called ``OUT/ROOT/a/b.jpg_rawhm.txt`` and so on.
    options
        `caffe2lrp.toolbox.Options` by name.
    """

    path: str
    param_file: str
    model_file: str
    mean_file: str
    synsetfile: str
    use_mean_file_asbinaryprotoblob: int
    numclasses: int
    baseimgsize: int
    standalone_outpath: str
    standalone_rootpath: str
    options: dict[str, Any]

    def output_name(self, image: str) -> str:
        """Beginning of the names of an image's results.

        Raises
        ------
        FileFormatError
            If ``standalone_rootpath`` is no part of the image's path.
        """
        position = image.find(self.standalone_rootpath)
        if position < 0:
            raise FileFormatError(
                f"'{image}': standalone_rootpath '{self.standalone_rootpath}' of {self.path} is no part of this path, "
                "so its results have no place"
            )
        return f"{self.standalone_outpath}/{image[position:]}"


@dataclass(frozen=True)
class Entry:
    """An image of a file list: its path, with the prefix, and the class code."""

    image: str
    code: int


def read_config(path: str | os.PathLike[str]) -> Config:
    """Read a ``config.txt``.

    A key is the first line that starts with it, its value the line behind; all other lines are ignored. Of a value the
    first word counts, but a file may have spaces in its name.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    FileFormatError
        If the file cannot be read, a key or its value is missing, a value is not a number where one is needed, a file
        that it names does not exist, or sizes are not positive. A missing
        ``auxiliaryvariable_maxlayerindexforflatdistinconv``, which older versions did not know, is -1.
    """
    name = os.fspath(path)
    lines = [line.strip() for line in _text(path).split("\n")]
    values: dict[str, Any] = {key: _file(_value(lines, key, name), key, name) for key in _FILES}
    values |= {key: _value(lines, key, name).split()[0] for key in _FOLDERS}
    if not any(line.startswith(AUX) for line in lines):
        lines += [AUX, "-1"]
    values |= {key: _number(_value(lines, key, name), key, name, kind) for key, kind in _NUMBERS.items()}
    for key in ("numclasses", "baseimgsize"):
        if values[key] < 1:
            raise FileFormatError(f"{name}: {key} must be at least 1, not {values[key]}")
    if values["use_mean_file_asbinaryprotoblob"] not in MEAN_KINDS:
        kinds = ", ".join(f"{number} ({kind})" for number, kind in MEAN_KINDS.items())
        raise FileFormatError(
            f"{name}: use_mean_file_asbinaryprotoblob must be one of {kinds}, not "
            f"{values['use_mean_file_asbinaryprotoblob']}"
        )
    options = {key: values.pop(key) for key in _OPTIONS}
    return Config(path=name, **values, options=options)


def read_filelist(path: str | os.PathLike[str], prefix: str) -> list[Entry]:
    """Read a file list: an image and its class code a line.

    Parameters
    ----------
    path
        The file. Lines of fewer than three characters are ignored, as by the Toolbox.
    prefix
        What stands before each path, with a slash between.

    Returns
    -------
    list of Entry
        In the order of the file.

    Raises
    ------
    FileFormatError
        If the file cannot be read, names no image, or a line has no class code or one below -2.
    """
    name = os.fspath(path)
    entries = []
    for number, line in enumerate(_text(path).split("\n"), 1):
        if len(line.rstrip("\r")) > 2 and line.strip():
            image, code = _image_and_code(line, f"{name}, line {number}")
            entries.append(Entry(f"{prefix}/{image}", code))
    if not entries:
        raise FileFormatError(f"{name}: there are no images in this file list")
    return entries


def _image_and_code(line: str, place: str) -> tuple[str, int]:
    """The first word and the number behind it; or, of a path with spaces, the number at the end."""
    for words in (line.split()[:2], line.strip().rsplit(maxsplit=1)):
        if len(words) == 2 and re.fullmatch(r"[+-]?\d{1,9}", words[1]):
            code = int(words[1])
            if code < BEST_FIVE:
                raise FileFormatError(f"{place}: the class must be -1, -2 or at least 0, not {code}")
            return words[0], code
    raise FileFormatError(f"{place}: an image and its class (-1, -2 or a number) must stand here, not '{line.strip()}'")


def _text(path: str | os.PathLike[str]) -> str:
    name = os.fspath(path)
    try:
        if Path(path).exists() and not Path(path).is_file():
            raise FileFormatError(f"'{name}' is not a file")
        data = Path(path).read_bytes()
    except (OSError, ValueError) as error:
        raise FileFormatError(f"cannot read '{name}': {getattr(error, 'strerror', None) or error}") from None
    if b"\0" in data:
        raise FileFormatError(f"'{name}' is not a text file")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _value(lines: Sequence[str], key: str, name: str) -> str:
    for line, value in zip(lines, [*lines[1:], ""], strict=True):
        if line.startswith(key):
            if not value:
                raise FileFormatError(f"{name}: the line behind {key} is empty; its value must stand there")
            return value
    raise FileFormatError(f"{name}: there is no line '{key}' with its value in the line behind")


def _file(value: str, key: str, name: str) -> str:
    for candidate in (value.split(maxsplit=1)[0], value):
        if Path(candidate).is_file():
            return candidate
    raise FileFormatError(f"{name}: {key} '{value}' is not a file (paths count from the current folder, {Path.cwd()})")


def _number(value: str, key: str, name: str, kind: type) -> Any:
    try:
        number = kind(value.split(maxsplit=1)[0])
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        what = "whole number" if kind is int else "number"
        raise FileFormatError(f"{name}: {key} must be a {what}, not '{value}'")
    return number
