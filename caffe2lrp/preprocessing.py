"""From a photo to the input blob: reading any image, resizing and cropping, channel order, mean and scale."""

from __future__ import annotations

import difflib
import io
import math
import os
import re
import threading
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, cast

import numpy as np
from PIL import Image, UnidentifiedImageError

from caffe2lrp.errors import FileFormatError, ImageError, OptionError

ImageSource = str | os.PathLike[str] | bytes | Image.Image | np.ndarray
"""What `read_image` accepts."""

MAX_PIXELS = 178_956_970
"""Larger images are refused: they would need more than half a gigabyte, and are mostly attacks."""

# Formats that Pillow decodes by itself. EPS and WMF would start other programs on a stranger's file.
_FORMATS = ("AVIF", "BMP", "DIB", "GIF", "ICO", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TGA", "TIFF", "WEBP")

_EXIF_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# warnings.catch_warnings() changes global state, so only one thread at a time may be inside.
_quiet = threading.Lock()


def read_image(source: ImageSource, max_pixels: int | None = None) -> Image.Image:
    """Read an image as upright 8-bit RGB.

    Parameters
    ----------
    source
        A path; the bytes of an image file; a PIL image; or an array of shape (H, W), (H, W, 1), (H, W, 3) or
        (H, W, 4), RGB or RGBA. Arrays of type uint8 and other integers are 0..255, uint16 is 0..65535, bool is black
        and white; floating-point arrays are taken as 0..1 when no value exceeds 1, else as 0..255.
    max_pixels
        Where fewer pixels than `MAX_PIXELS` are too many; for bytes only.

    Returns
    -------
    PIL.Image.Image
        Mode RGB, without metadata. Transparent pixels are composited on white, EXIF orientation is applied,
        16-bit values are scaled so that 65535 becomes 255, and of an animation the first frame is taken. Colour
        profiles are ignored, as Caffe ignored them.

    Raises
    ------
    ImageError
        If there is no such file, if it is not an image, is damaged or has more than `MAX_PIXELS` pixels.
    """
    if isinstance(source, np.ndarray):
        return _flatten(_from_array(source), "the array")
    if isinstance(source, Image.Image):
        return _decode(source, "the given image")
    if isinstance(source, bytes):
        return _open(io.BytesIO(source), "the given data", empty=not source, limit=max_pixels)
    if isinstance(source, str | os.PathLike):
        return _open_path(source)
    raise ImageError(f"cannot read an image from {type(source).__name__}; give a path, bytes, a PIL image or an array")


def read_label_file(path: str | os.PathLike[str]) -> list[str]:
    """Read class names, one per line, such as ImageNet's ``synset_words.txt``.

    Parameters
    ----------
    path
        A text file in UTF-8 (or Latin-1). Line i names class i.

    Returns
    -------
    list of str
        The names. A leading synset id is dropped ("n01440764 tench, Tinca tinca" gives "tench, Tinca tinca");
        other lines are kept whole. Empty lines at the end are not classes.

    Raises
    ------
    FileFormatError
        If the file cannot be read or is not text.
    """
    try:
        data = Path(path).read_bytes()
    except (OSError, ValueError) as error:
        raise FileFormatError(f"cannot read the label file '{os.fspath(path)}': {_reason(error)}") from None
    if b"\0" in data:
        raise FileFormatError(f"'{os.fspath(path)}' is not a text file of labels")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    lines = [line.strip() for line in text.rstrip().split("\n")]
    return [re.sub(r"^n\d{8}\s+", "", line) for line in lines] if text.strip() else []


@dataclass(frozen=True, eq=False)
class Prepared:
    """One photo, ready for the network.

    Attributes
    ----------
    blob
        Input blob, float32, (1, C, H, W).
    view
        The crop that the network sees, before mean and scale: RGB, uint8, (H, W, 3). Pictures are drawn over it.
    """

    blob: np.ndarray
    view: np.ndarray


@dataclass(frozen=True, eq=False)
class Preprocessing:
    """How a photo becomes the input blob: resize, centre crop, channel order, then ``(pixel - mean) * scale``.

    Attributes
    ----------
    channels
        Order of the blob's planes, "BGR" or "RGB", or "GRAY". A network with one channel gets grey (ITU-R 601 luma)
        in any case.
    mean
        What is subtracted, in 0..255 and in the blob's channel order: None, one value for all channels, one value per
        channel, or an image (C, H, W), which is centre-cropped to the blob's size as Caffe does.
    scale
        Factor after the subtraction, for example 1/256 for MNIST.
    resize
        How a photo is resized before the centre crop to the network's input size. Small photos are enlarged.
        ("short", n): shorter side to n pixels, aspect kept. ("long", n): longer side to n, aspect kept; where the
        shorter side is then smaller than the crop, its edge pixels are repeated (LRP Toolbox). ("stretch", n): to
        n x n, aspect ignored (Caffe's own tools). With None for n the network's input size is just covered ("short"),
        just filled ("long") or met exactly ("stretch").
    interpolation
        "nearest", "box", "bilinear", "bicubic" or "lanczos"; all but the first average over the pixels when a photo
        is made smaller.
    """

    channels: str = "BGR"
    mean: tuple[float, ...] | np.ndarray | None = None
    scale: float = 1.0
    resize: tuple[str, int | None] = ("short", None)
    interpolation: str = "bilinear"

    def __post_init__(self) -> None:
        _one_of("channels", self.channels, ("BGR", "RGB", "GRAY"))
        _one_of("interpolation", self.interpolation, tuple(_FILTERS))
        # The dataclass is frozen; this is the one place where values are brought into their final form.
        object.__setattr__(self, "mean", _checked_mean(self.mean))
        object.__setattr__(self, "scale", _checked_scale(self.scale))
        object.__setattr__(self, "resize", _checked_resize(self.resize))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Preprocessing):
            return NotImplemented
        same = all(getattr(self, f.name) == getattr(other, f.name) for f in fields(self) if f.name != "mean")
        if isinstance(self.mean, np.ndarray) or isinstance(other.mean, np.ndarray):
            return same and type(self.mean) is type(other.mean) and np.array_equal(self.mean, other.mean)  # type: ignore[arg-type]
        return same and self.mean == other.mean

    def __hash__(self) -> int:
        return hash((self.channels, self.scale, self.resize, self.interpolation))

    # -- photos to blobs ---------------------------------------------------------------------------

    def __call__(self, images: ImageSource | Sequence[ImageSource], shape: Sequence[int]) -> np.ndarray:
        """Turn one image or several into one input blob.

        Parameters
        ----------
        images
            Anything that `read_image` accepts, a sequence of that, or an array (N, H, W, channels).
        shape
            Input shape of the network, (N, C, H, W) or (C, H, W). Its N is not used: the blob holds as many
            images as were given.

        Returns
        -------
        numpy.ndarray
            float32, (number of images, C, H, W).

        Raises
        ------
        ImageError
            If an image cannot be read, or if the network does not take images.
        OptionError
            If the settings do not fit the network, for example a resize to less than its input size.
        """
        single = isinstance(images, str | os.PathLike | bytes | Image.Image)
        if single or (isinstance(images, np.ndarray) and images.ndim <= 3):
            images = [cast(ImageSource, images)]
        sources = cast(Sequence[ImageSource], images)
        blob = np.empty((len(sources), *_image_shape(shape)), np.float32)
        for slot, source in zip(blob, sources, strict=True):
            slot[...] = self.prepare(source, shape).blob[0]
        return blob

    def prepare(self, image: ImageSource, shape: Sequence[int]) -> Prepared:
        """Turn one image into an input blob, and keep the crop that the network sees.

        Parameters
        ----------
        image
            Anything that `read_image` accepts.
        shape
            Input shape of the network, (N, C, H, W) or (C, H, W); its N is not used.

        Returns
        -------
        Prepared
            The blob, float32, (1, C, H, W), and the view, uint8, (H, W, 3).

        Raises
        ------
        ImageError, OptionError
            As for calling the object.
        """
        planes, height, width = _image_shape(shape)
        self._check_planes(planes)
        photo = read_image(image)
        if planes == 1:
            photo = photo.convert("L")
        size = self._resized(photo.size, height, width)
        if size != photo.size:
            photo = photo.resize(size, _FILTERS[self.interpolation])
        view = _centre_crop(np.atleast_3d(np.asarray(photo)), height, width)
        pixels = view[:, :, ::-1] if self.channels == "BGR" else view
        blob = self._normalise(pixels.transpose(2, 0, 1).astype(np.float32))
        return Prepared(blob[np.newaxis], np.ascontiguousarray(np.broadcast_to(view, (height, width, 3))))

    def bounds(self, shape: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """What black (0) and white (255) pixels become: the box that the z^B rule needs.

        Parameters
        ----------
        shape
            Input shape of the network, (N, C, H, W) or (C, H, W); its N is not used.

        Returns
        -------
        tuple of numpy.ndarray
            The lowest and the highest value, float32, (C, H, W). Every blob made by this object lies between them.
        """
        planes, height, width = _image_shape(shape)
        self._check_planes(planes)
        low = self._normalise(np.zeros((planes, height, width), np.float32))
        high = self._normalise(np.full((planes, height, width), 255, np.float32))
        return low, high

    def mean_for(self, shape: Sequence[int]) -> np.ndarray | None:
        """What is subtracted for a network's input shape, (N, C, H, W) or (C, H, W).

        Returns
        -------
        numpy.ndarray or None
            float32, (1, 1, 1), (C, 1, 1) or (C, H, W), in the order of the blob's channels.
        """
        return None if self.mean is None else self._mean_of(_image_shape(shape))

    def _check_planes(self, planes: int) -> None:
        if planes == 3 and self.channels == "GRAY":
            raise OptionError("channels is GRAY, but the network takes 3 channels; use BGR or RGB")

    def _normalise(self, pixels: np.ndarray) -> np.ndarray:
        """``(pixels - mean) * scale`` of (C, H, W), in float32 as Caffe computes it."""
        if self.mean is not None:
            pixels = pixels - self._mean_of(pixels.shape)
        return np.ascontiguousarray(pixels * np.float32(self.scale))

    def _mean_of(self, shape: tuple[int, ...]) -> np.ndarray:
        planes, height, width = shape
        if isinstance(self.mean, tuple):
            if len(self.mean) not in (1, planes):
                raise OptionError(f"the mean has {len(self.mean)} values, but the network takes {planes} channel(s)")
            return np.array(self.mean, np.float32).reshape(-1, 1, 1)
        mean = cast(np.ndarray, self.mean)
        if mean.shape[0] != planes or mean.shape[1] < height or mean.shape[2] < width:
            raise OptionError(
                f"the mean image has the shape {mean.shape}, which does not cover the network's input {shape}; "
                "use the mean of this network, or one value per channel"
            )
        top, left = (mean.shape[1] - height) // 2, (mean.shape[2] - width) // 2
        return mean[:, top : top + height, left : left + width]

    def _resized(self, size: tuple[int, int], height: int, width: int) -> tuple[int, int]:
        """Width and height in pixels to which a photo of `size` (width, height) is resized."""
        mode, n = self.resize
        needed = min(height, width) if mode == "short" else max(height, width)
        if n is not None and n < needed:
            raise OptionError(
                f"resize '{mode} {n}' gives less than the network's input of {height} x {width} pixels; "
                f"use at least {needed}"
            )
        if mode == "stretch":
            return (width, height) if n is None else (n, n)
        if n is None:
            ratios = (width / size[0], height / size[1])
            factor = max(ratios) if mode == "short" else min(ratios)
        else:
            factor = n / (min(size) if mode == "short" else max(size))
        new = (max(1, round(size[0] * factor)), max(1, round(size[1] * factor)))
        if new[0] * new[1] > MAX_PIXELS:
            raise ImageError(
                f"an image of {size[0]} x {size[1]} pixels is too elongated for this network; cut it first"
            )
        return new

    # -- manifests ---------------------------------------------------------------------------------

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], mean: np.ndarray | None = None) -> Preprocessing:
        """Build from a manifest entry.

        Parameters
        ----------
        data
            Keys as the attributes; `resize` is written "short 256", "long 256", "stretch 256" or just "stretch".
            `mean` may be the name of a file.
        mean
            The content of that file, (C, H, W): this class opens no mean files.

        Raises
        ------
        OptionError
            If a key is unknown or a value cannot be used.
        """
        known = [f.name for f in fields(cls)]
        for key in data:
            _one_of("preprocessing key", key, known)
        values = dict(data)
        if mean is not None:
            values["mean"] = mean
        elif isinstance(values.get("mean"), str):
            raise OptionError(f"the mean file '{values['mean']}' was not loaded; pass its content as `mean`")
        return cls(**values)

    def to_dict(self, mean_file: str | None = None) -> dict[str, Any]:
        """The manifest entry: plain values for JSON, from which `from_dict` rebuilds the object.

        Parameters
        ----------
        mean_file
            Name under which the caller stores the mean image; needed only where the mean is an image.

        Raises
        ------
        OptionError
            If the mean is an image and no file name is given.
        """
        mean: str | list[float] | None = list(self.mean) if isinstance(self.mean, tuple) else None
        if isinstance(self.mean, np.ndarray):
            if mean_file is None:
                raise OptionError("the mean is an image: give the name of the file that stores it")
            mean = mean_file
        mode, n = self.resize
        return {
            "channels": self.channels,
            "mean": mean,
            "scale": self.scale,
            "resize": mode if n is None else f"{mode} {n}",
            "interpolation": self.interpolation,
        }


_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


# -- checks of settings ----------------------------------------------------------------------------


def _one_of(what: str, value: object, allowed: Sequence[str]) -> None:
    if value not in allowed:
        near = difflib.get_close_matches(str(value), allowed, 1)
        hint = f"did you mean '{near[0]}'? " if near else ""
        raise OptionError(f"unknown {what} '{value}'; {hint}possible: {', '.join(allowed)}")


def _checked_mean(mean: Any) -> tuple[float, ...] | np.ndarray | None:
    if mean is None:
        return None
    try:
        array = np.array(mean, np.float64 if np.ndim(mean) < 2 else np.float32)
    except (TypeError, ValueError):
        raise OptionError(f"the mean must be numbers, not {mean!r}") from None
    if not np.isfinite(array).all():
        raise OptionError("the mean has values that are not finite")
    if array.ndim < 2 and array.size > 0:
        return tuple(float(v) for v in array.reshape(-1))
    if array.ndim == 4 and array.shape[0] == 1:  # as a binaryproto file holds it
        array = array[0]
    if array.ndim != 3:
        raise OptionError(f"a mean image has the shape (channels, height, width), not {array.shape}")
    array.flags.writeable = False
    return array


def _checked_scale(scale: Any) -> float:
    try:
        value = float(scale)
    except (TypeError, ValueError):
        raise OptionError(f"scale must be a number, not {scale!r}") from None
    if not (math.isfinite(value) and value > 0):
        raise OptionError(f"scale must be a number above zero, not {scale}")
    return value


def _checked_resize(resize: Any) -> tuple[str, int | None]:
    """Accept ("short", 256) and the manifest's "short 256"."""
    parts = resize.split() if isinstance(resize, str) else list(resize) if isinstance(resize, Sequence) else []
    mode = parts[0] if parts else resize
    _one_of("resize", mode, ("short", "long", "stretch"))
    n = parts[1] if len(parts) > 1 else None
    try:
        size = None if n is None else int(n)
    except (TypeError, ValueError):
        size = 0
    if len(parts) > 2 or (size is not None and size < 1):
        raise OptionError(f"resize is a mode and a number of pixels, for example 'short 256', not {resize!r}")
    return mode, size


def _image_shape(shape: Sequence[int]) -> tuple[int, int, int]:
    if len(shape) not in (3, 4):
        raise ImageError(f"the network's input {tuple(shape)} is not an image (N, C, H, W); give it an array instead")
    planes, height, width = (int(d) for d in shape[-3:])
    if planes not in (1, 3):
        raise ImageError(f"the network takes {planes} channels, and photos give 1 or 3; give it an array instead")
    return planes, height, width


# -- reading images --------------------------------------------------------------------------------


def _open_path(source: str | os.PathLike[str]) -> Image.Image:
    name = os.fspath(source)
    path = Path(name)
    try:
        if path.is_dir():
            raise ImageError(f"'{name}' is a folder; give the name of an image file")
        if not path.is_file():  # also devices and pipes, which might never end
            raise ImageError(f"there is no image file '{name}'; check the path")
        empty = path.stat().st_size == 0
        with path.open("rb") as file:
            return _open(file, f"'{name}'", empty=empty)
    except (OSError, ValueError) as error:
        raise ImageError(f"cannot read '{name}': {_reason(error)}") from None


def _open(file: Any, name: str, *, empty: bool, limit: int | None = None) -> Image.Image:
    if empty:
        raise ImageError(f"{name} is empty; copy or download the image again")
    try:
        with _quiet, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = _identify(file)
    except UnidentifiedImageError:
        file.seek(0)
        heic = file.read(12)[4:12] in (b"ftypheic", b"ftypheix", b"ftypmif1")
        what = "is a HEIC photo, which cannot be read" if heic else "is not an image that can be read, or is damaged"
        raise ImageError(f"{name} {what}; save it as JPEG or PNG") from None
    except Image.DecompressionBombError:
        raise ImageError(f"{name} has more than {MAX_PIXELS:,} pixels; make it smaller first") from None
    except Exception as error:  # Pillow's decoders raise almost anything for a damaged header
        raise _undecodable(name, error) from None
    with image:
        return _decode(image, name, limit)


def _identify(file: Any) -> Image.Image:
    """Open an image of any of the formats that this build of Pillow can decode."""
    Image.preinit()  # the usual ones; all others are many modules to import
    try:
        return Image.open(file, formats=_decodable())
    except UnidentifiedImageError:
        Image.init()
        file.seek(0)
        return Image.open(file, formats=_decodable())


def _decodable() -> list[str]:
    return [f for f in _FORMATS if f in Image.OPEN]


def _decode(image: Image.Image, name: str, limit: int | None = None) -> Image.Image:
    limit = MAX_PIXELS if limit is None else limit
    if image.width * image.height > limit:
        raise ImageError(
            f"{name} has {image.width} x {image.height} pixels, more than {limit:,}; make it smaller first"
        )
    if image.width == 0 or image.height == 0:
        raise ImageError(f"{name} has no pixels")
    try:
        image.load()
    except Exception as error:  # Pillow's decoders raise almost anything for damaged data
        raise _undecodable(name, error) from None
    turn = _UPRIGHT.get(_orientation(image))
    return _flatten(image if turn is None else image.transpose(turn), name)


def _orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 (upright) where there is none."""
    try:
        with _quiet, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return int(image.getexif().get(_EXIF_ORIENTATION, 1))
    except Exception:  # damaged metadata must not make a good picture unreadable
        return 1


def _flatten(image: Image.Image, name: str) -> Image.Image:
    """8-bit RGB without transparency and metadata, always a new image."""
    try:
        if image.mode.startswith("I") or image.mode == "F":
            image = _from_array(_grey_array(image))
        if image.has_transparency_data:
            paper = Image.new("RGBA", image.size, "white")
            image = Image.alpha_composite(paper, image.convert("RGBA"))
        rgb = image.convert("RGB")
    except (ValueError, OSError, MemoryError) as error:
        raise ImageError(f"{name} has the colour mode {image.mode}: {_reason(error)}; save it as RGB") from None
    rgb.info = {}  # an orientation left in here would turn the image a second time
    return rgb


def _grey_array(image: Image.Image) -> np.ndarray:
    """Pixels of a grey image with more than 8 bits, in a type that tells their range."""
    pixels = np.asarray(image)
    if image.mode == "F":
        return pixels
    # Mode I is what some versions of Pillow make of 16 bits; true 32-bit images have no known white.
    if pixels.min() < 0 or pixels.max() > 65535:
        raise ImageError("an image with 32 bits per pixel has no known white point; save it with 8 or 16 bits")
    return pixels.astype(np.uint16)


def _from_array(array: np.ndarray) -> Image.Image:
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        hint = ""
        if array.ndim == 3 and array.shape[0] in (1, 3, 4):
            hint = "; this one seems to have its channels first: use array.transpose(1, 2, 0)"
        raise ImageError(f"an image array has the shape (H, W), (H, W, 3) or (H, W, 4), not {array.shape}{hint}")
    if array.size == 0:
        raise ImageError(f"the array of shape {array.shape} has no pixels")
    return Image.fromarray(np.ascontiguousarray(_to_bytes(array)))


def _to_bytes(array: np.ndarray) -> np.ndarray:
    """Pixel values of any documented range as uint8 in 0..255."""
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.bool_:
        return array * np.uint8(255)
    if array.dtype == np.uint16:
        return ((array.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if not (np.issubdtype(array.dtype, np.floating) or np.issubdtype(array.dtype, np.integer)):
        raise ImageError(f"an image array holds numbers, not {array.dtype}")
    low, high = array.min(), array.max()
    if not (low >= 0 and high <= 255):  # false also for NaN
        raise ImageError(f"an image array has values in 0..1 or 0..255, but this one has {low:g}..{high:g}")
    factor = 255 if np.issubdtype(array.dtype, np.floating) and high <= 1 else 1
    return np.rint(array * factor).astype(np.uint8)


def _centre_crop(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Centre of (H, W, C); edge pixels are repeated where the image is smaller than the crop."""
    missing = [max(0, want - have) for want, have in zip((height, width), pixels.shape[:2], strict=True)]
    if any(missing):
        pixels = np.pad(pixels, [(m // 2, m - m // 2) for m in missing] + [(0, 0)], mode="edge")
    top, left = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
    return pixels[top : top + height, left : left + width]


def _undecodable(name: str, error: Exception) -> ImageError:
    return ImageError(f"{name} is cut off or damaged ({_reason(error)}); copy or download it again")


def _reason(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return text.splitlines()[0]
