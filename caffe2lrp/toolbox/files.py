"""The text files that the demonstrators write: relevance (``_rawhm.txt``) and scores (``_top10scores.txt``)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from caffe2lrp.errors import FileFormatError, OptionError

Pair = tuple[int, float]


def write_rawhm(path: str | os.PathLike[str], relevance: np.ndarray) -> None:
    """Write relevance as the demonstrators do: channels, height and width, then the planes row by row, six digits.

    Parameters
    ----------
    path
        File to write.
    relevance
        (C, H, W); the demonstrators write the planes red, green, blue.

    Raises
    ------
    OptionError
        If the file cannot be written.
    """
    channels, height, width = relevance.shape
    line = "%g " * width + "\n"
    rows = [line % tuple(row) for row in relevance.reshape(-1, width).tolist()]
    _write(path, f"{channels}\n{height} {width}\n" + "".join(rows))


def write_scores(path: str | os.PathLike[str], scores: Sequence[Pair]) -> None:
    """Write classes with their scores, one pair a line.

    Raises
    ------
    OptionError
        If the file cannot be written.
    """
    _write(path, "".join(f"{index} {score:g}\n" for index, score in scores))


def read_rawhm(path: str | os.PathLike[str]) -> np.ndarray:
    """Read relevance as ``apply_heatmap.py`` does.

    Parameters
    ----------
    path
        A text file of the demonstrators or of one matrix; or an ``.npy`` file of shape (H, W), (H, W, C), or (C, H, W)
        if only its first axis can be the channels.

    Returns
    -------
    numpy.ndarray
        float64, (C, H, W), the planes as they are in the file.

    Raises
    ------
    FileFormatError
        If the file cannot be read, is cut off or holds no relevance.
    """
    name = os.fspath(path)
    try:
        if Path(path).suffix == ".npy":
            return _planes(np.load(path, allow_pickle=False), name)
        text = Path(path).read_text("ascii")
    except UnicodeDecodeError:
        raise FileFormatError(f"'{name}' is neither text nor an .npy file; save its relevance as one of them") from None
    except (OSError, ValueError, EOFError) as error:
        raise FileFormatError(f"cannot read '{name}': {getattr(error, 'strerror', None) or error}") from None
    lines = [line.split() for line in text.splitlines() if line.strip()]
    try:
        if len(lines) > 1 and len(lines[0]) == 1 and len(lines[1]) == 2:
            (channels,), (height, width) = ([int(word) for word in line] for line in lines[:2])
            values = np.array([word for line in lines[2:] for word in line], np.float64)
            if min(channels, height, width) < 1 or values.size != channels * height * width:
                raise FileFormatError(
                    f"'{name}' announces {channels} x {height} x {width} numbers, but holds {values.size}; "
                    "is it cut off?"
                )
            return values.reshape(channels, height, width)
        return _planes(np.array(lines, np.float64), name)
    except ValueError:
        raise FileFormatError(f"'{name}' holds no relevance: there are words or rows of different lengths") from None


def _planes(values: np.ndarray, name: str) -> np.ndarray:
    if values.dtype.kind not in "fiu" or values.ndim not in (2, 3) or values.size == 0:
        raise FileFormatError(f"'{name}' holds no relevance of one image, but {values.dtype} of shape {values.shape}")
    if values.ndim == 2:
        values = values[np.newaxis]
    elif values.shape[2] in (1, 3) or values.shape[0] not in (1, 3):
        values = values.transpose(2, 0, 1)
    return values.astype(np.float64)


def _write(path: str | os.PathLike[str], text: str) -> None:
    try:
        Path(path).write_text(text, encoding="ascii", newline="\n")
    except OSError as error:
        raise OptionError(f"cannot write '{os.fspath(path)}': {error.strerror or error}") from None
