"""From an image to the input blob as the demonstrators make it."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
from PIL import Image

from caffe2lrp.converters.caffe import read_mean
from caffe2lrp.errors import FileFormatError, OptionError
from caffe2lrp.preprocessing import read_image
from caffe2lrp.toolbox.scaling import fitted, resized

TEXT, BGR, RGB = 0, 1, 2
"""Kinds of mean files, see `caffe2lrp.toolbox.config.MEAN_KINDS`."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """An image as the demonstrators give it to the net.

    Attributes
    ----------
    blob
        float32, (3, S, S), channels BGR, 0..255 minus the mean.
    view
        The crop before the mean was subtracted: uint8, (S, S, 3), RGB.
    mean
        What was subtracted: float32, (3, S, S), BGR.
    """

    blob: np.ndarray
    view: np.ndarray
    mean: np.ndarray


def read_mean_file(path: str | os.PathLike[str], kind: int, *, transposed: bool = False) -> np.ndarray:
    """Read a demonstrator's mean file.

    Parameters
    ----------
    path
        A binaryproto, or a text file: number of channels, height, width, then the planes column by column.
    kind
        0 for text (BGR), 1 for a binaryproto with the channels BGR, 2 for one with RGB.
    transposed
        Reproduce a defect of the Toolbox: it takes the rows of a binaryproto for columns.

    Returns
    -------
    numpy.ndarray
        float32, (3, H, W), channels BGR.

    Raises
    ------
    FileFormatError
        If the file is not of this kind, or has not three channels.
    """
    mean = _read_text(path) if kind == TEXT else read_mean(path)
    if mean.ndim != 3 or mean.shape[0] != 3:
        raise FileFormatError(f"{os.fspath(path)}: the mean must have the shape (3, H, W), not {mean.shape}")
    if kind == RGB:
        mean = mean[::-1]
    if transposed and kind != TEXT:
        planes, height, width = mean.shape
        mean = mean.reshape(planes, width, height).transpose(0, 2, 1)
    return np.ascontiguousarray(mean)


def _read_text(path: str | os.PathLike[str]) -> np.ndarray:
    name = os.fspath(path)
    try:
        with open(path, encoding="latin-1") as file:
            words = file.read().split()
    except OSError as error:
        raise FileFormatError(f"cannot read '{name}': {error.strerror}") from None
    try:
        channels, height, width = (int(word) for word in words[:3])
        values = np.array(words[3:], np.float32)
    except ValueError:
        raise FileFormatError(
            f"{name}: a mean in text form is made of numbers, at first channels, height and width; for a binaryproto, "
            "set use_mean_file_asbinaryprotoblob to 1"
        ) from None
    if min(channels, height, width) < 1 or values.size < channels * height * width:
        raise FileFormatError(
            f"{name}: {channels} x {height} x {width} numbers were announced, but {values.size} are there"
        )
    return values[: channels * height * width].reshape(channels, width, height).transpose(0, 2, 1)


def check_sizes(shape: tuple[int, ...], mean: np.ndarray, longer: int) -> int:
    """Side of the net's square input, if image and mean cover it.

    Parameters
    ----------
    shape
        Input shape of the net.
    mean
        Mean image, (3, H, W).
    longer
        Longer side of an image before the crop (``baseimgsize``).

    Raises
    ------
    OptionError
        If the net's input is not (N, 3, S, S), or the others are smaller.
    """
    if len(shape) != 4 or shape[1] != 3 or shape[2] != shape[3]:
        raise OptionError(f"the demonstrators work for inputs of shape (N, 3, S, S), and this net takes {shape}")
    side = shape[2]
    if longer < side:
        raise OptionError(f"baseimgsize {longer} is less than the net's input of {side} pixels; 256 is usual")
    if min(mean.shape[1:]) < side:
        raise OptionError(f"the mean of {mean.shape[1]} x {mean.shape[2]} pixels does not cover the net's {side}")
    return side


def prepare(image: str | os.PathLike[str], mean: np.ndarray, side: int, longer: int = 256) -> Prepared:
    """Prepare an image as the demonstrators do.

    The longer side becomes `longer` pixels; of it, the middle is cut out. So is the middle of the shorter side if it
    is long enough; else its first and last lines are repeated. The mean is cut as the image is, but where lines are
    repeated it is taken from its first line on, and its lines are repeated, too.

    Parameters
    ----------
    image
        An image file.
    mean
        From `read_mean_file`.
    side, longer
        From `check_sizes`, and what was checked there.

    Returns
    -------
    Prepared

    Raises
    ------
    ImageError
        If the image cannot be read.
    """
    photo = read_image(image)
    pixels = resized(photo, fitted(photo.size, longer), soft=_is_soft(image))
    long_axis = 0 if pixels.shape[0] > pixels.shape[1] else 1
    length, short = pixels.shape[long_axis], pixels.shape[1 - long_axis]
    steps = np.arange(side)
    # Where the longer side is a pixel shorter than asked for (`fitted`), the last line may be needed twice.
    of_image = [np.minimum((longer - side) // 2 + steps, length - 1)]
    of_mean = [(min(mean.shape[1:]) - side) // 2 + steps]
    if short >= side:
        of_image.append((short - side) // 2 + steps)
        of_mean.append((mean.shape[2 - long_axis] - side) // 2 + steps)
    else:
        repeated = np.clip(steps - (side - short) // 2, 0, short - 1)
        of_image.append(repeated)
        of_mean.append(repeated)
    if long_axis == 1:
        of_image.reverse()
        of_mean.reverse()
    crop = pixels[np.ix_(*of_image)]
    subtracted = mean[:, *np.ix_(*of_mean)]
    blob = (crop[..., ::-1].transpose(2, 0, 1) - subtracted).astype(np.float32)
    return Prepared(blob, np.rint(crop).astype(np.uint8), subtracted)


def _is_soft(image: str | os.PathLike[str]) -> bool:
    """Whether ImageMagick reads this file with a palette or transparency, and so resizes it with its softer filter."""
    with Image.open(image) as opened:
        if opened.mode in ("1", "L", "P") and opened.format not in ("TIFF", "PPM"):
            return True
        return opened.has_transparency_data
