"""Single pictures: the heat map, and relevance drawn over the photo."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image

from caffe2lrp.errors import OptionError
from caffe2lrp.pictures.colormaps import DEFAULT_COLORMAP, Colormap, colormap
from caffe2lrp.pictures.contours import draw_contours
from caffe2lrp.pictures.maps import normalise, smoothed, to_map

SMALLEST = 224


def heatmap(
    relevance: ArrayLike,
    cmap: str = DEFAULT_COLORMAP,
    *,
    size: int | None = None,
    channels: str = "sum",
    mode: str = "symmetric",
    percentile: float | None = None,
    smooth: float = 0.0,
) -> Image.Image:
    """Draw relevance as colours.

    Parameters
    ----------
    relevance
        Relevance of one image, (C, H, W), (1, C, H, W) or (H, W).
    cmap
        Name of a colour map, see `colormap`.
    size
        Length of the picture's longer side in pixels; None is one pixel per value. Larger pictures repeat pixels,
        so that single values remain visible.
    channels, mode, percentile, smooth
        How channels are joined (`to_map`), values are scaled (`normalise`), and before that blurred (`smoothed`, sigma
        in pixels of the map).

    Returns
    -------
    PIL.Image.Image
        Mode RGB.

    Raises
    ------
    OptionError
        If an option is unknown or the array is not the relevance of one image.
    """
    values = normalise(smoothed(to_map(relevance, channels), smooth), mode, percentile)
    picture = Image.fromarray(colormap(cmap)(values))
    return picture if size is None else fit(picture, size)


def overlay(
    view: ArrayLike | Image.Image,
    relevance: ArrayLike,
    alpha: float = 0.9,
    cmap: str = DEFAULT_COLORMAP,
    *,
    size: int | None = None,
    channels: str = "sum",
    mode: str = "symmetric",
    percentile: float | None = None,
    smooth: float = 0.0,
    contours: int = 0,
) -> Image.Image:
    """Draw relevance over the photo: as colours over the faded, grey photo, or as contours over the photo as it is.

    The stronger the relevance, the more opaque are its colours.

    Parameters
    ----------
    view
        What the network saw: uint8, (H, W, 3) or (H, W), or a PIL image (`Prepared.view`).
    relevance
        Relevance of that image, (C, H, W), (1, C, H, W) or (H, W).
    alpha
        Opacity of the strongest relevance, or of the contours, in 0..1.
    cmap, size, channels, mode, percentile, smooth
        As for `heatmap`.
    contours
        0 draws colours. A number n draws lines in place of them, at n equal steps of the scaled map, 1 / (n + 1) to
        n / (n + 1), and at their negatives. Single pixels make many small lines: smooth the map.

    Returns
    -------
    PIL.Image.Image
        Mode RGB.

    Raises
    ------
    OptionError
        If an option cannot be used, or view and relevance differ in height or width.
    """
    if not 0 <= alpha <= 1:
        raise OptionError(f"alpha is an opacity between 0 and 1, not {alpha}")
    photo = view_image(view)
    values = normalise(smoothed(to_map(relevance, channels), smooth), mode, percentile)
    if values.shape != (photo.height, photo.width):
        raise OptionError(
            f"the relevance has {values.shape[0]} x {values.shape[1]} pixels, "
            f"but the view has {photo.height} x {photo.width}; use the view that was explained"
        )
    colours = colormap(cmap)
    if contours:
        return draw_contours(photo if size is None else fit(photo, size), values, colours, contours, alpha)
    mixed = _mixed(photo, values, colours, alpha)
    return mixed if size is None else fit(mixed, size)


def _mixed(photo: Image.Image, values: np.ndarray, colours: Colormap, alpha: float) -> Image.Image:
    """Colours of values in [-1, 1] over the faded photo."""
    strength = np.abs(values) if colours.signed else np.maximum(values, 0)
    zero = float(colours(0).mean())
    # Weak relevance would be drawn white on a pale photo, and not be seen: maps that are pale at zero start darker.
    tint = np.copysign(0.4 + 0.6 * strength, values) if zero > 127 else values
    opacity = (alpha * strength**0.7)[..., np.newaxis]
    grey = np.asarray(photo.convert("L"), np.float64)[..., np.newaxis]
    faded = zero + 0.6 * (grey - zero)  # the photo steps back, so that its own shadows are not taken for relevance
    mixed = (1 - opacity) * faded + opacity * colours(tint)
    return Image.fromarray(np.rint(mixed).astype(np.uint8))


def view_image(view: ArrayLike | Image.Image) -> Image.Image:
    """The view as an RGB picture.

    Raises
    ------
    OptionError
        If it is neither a PIL image nor a uint8 array of shape (H, W), (H, W, 1) or (H, W, 3).
    """
    if isinstance(view, Image.Image):
        return view.convert("RGB")
    pixels = np.asarray(view)
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.dtype != np.uint8 or pixels.size == 0 or not (pixels.ndim == 2 or pixels.shape[2:] == (3,)):
        raise OptionError(f"a view is uint8 of shape (H, W, 3), not {pixels.dtype} of shape {pixels.shape}")
    return Image.fromarray(np.ascontiguousarray(pixels)).convert("RGB")


def fit(picture: Image.Image, size: int) -> Image.Image:
    """Resize to a longer side of `size` pixels: pixels are repeated or averaged, never blurred."""
    if size < 1:
        raise OptionError(f"the size of a picture is at least 1 pixel, not {size}")
    longer = max(picture.size)
    if size == longer:
        return picture
    new = (max(1, round(picture.width * size / longer)), max(1, round(picture.height * size / longer)))
    return picture.resize(new, Image.Resampling.NEAREST if size > longer else Image.Resampling.BOX)


def enlarged(picture: Image.Image) -> Image.Image:
    """A small picture enlarged to at least `SMALLEST` pixels, by a whole factor: pixels stay squares."""
    longer = max(picture.size)
    return fit(picture, longer * max(1, -(-SMALLEST // longer)))


def to_png(image: Image.Image) -> bytes:
    """A picture as PNG; the same picture always gives the same bytes."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=4)  # level 6 takes twice the time for files that are 1 % smaller
    return buffer.getvalue()


def save_png(image: Image.Image, path: str | os.PathLike[str]) -> Path:
    """Write a picture as PNG; the same picture always gives the same bytes.

    Parameters
    ----------
    image
        The picture.
    path
        File to write, ending in ``.png``; an existing file is replaced.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    OptionError
        If the folder does not exist, the file cannot be written or does not end in ``.png``.
    """
    target = Path(path)
    if target.suffix.lower() != ".png":
        raise OptionError(f"pictures are written as PNG: name the file '{target.with_suffix('.png').name}'")
    content = to_png(image)  # first, so that a failure in the encoder leaves no half file
    try:
        target.write_bytes(content)
    except FileNotFoundError:
        raise OptionError(f"cannot write '{target}': there is no folder '{target.parent}'; create it first") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OptionError(f"cannot write '{target}': {reason}") from None
    return target
