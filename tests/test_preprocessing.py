"""Reading photos of every kind, and turning them into input blobs."""

from __future__ import annotations

import io
import json
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from caffe2lrp import preprocessing
from caffe2lrp.errors import FileFormatError, ImageError, OptionError
from caffe2lrp.preprocessing import Preprocessing, read_image, read_label_file

SHAPE = (1, 3, 5, 7)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png16(values: np.ndarray) -> bytes:
    """A 16-bit PNG of (H, W, channels), which Pillow itself cannot write for colour."""
    height, width, channels = values.shape

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


# -- reading ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["path", "str", "bytes", "pil", "array"])
def test_every_kind_of_source_gives_the_same_pixels(kind: str, tmp_path: Path) -> None:
    pixels = noise(5, 7)
    path = tmp_path / "ä photo.png"
    path.write_bytes(encoded(Image.fromarray(pixels)))
    source: Any = {
        "path": path,
        "str": str(path),
        "bytes": path.read_bytes(),
        "pil": Image.fromarray(pixels),
        "array": pixels,
    }[kind]
    image = read_image(source)
    assert image.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(image), pixels)


def test_result_is_a_new_image() -> None:
    mine = Image.new("RGB", (2, 3), "red")
    read_image(mine).putpixel((0, 0), (0, 0, 0))
    assert mine.getpixel((0, 0)) == (255, 0, 0)


def test_transparent_pixels_become_white() -> None:
    rgba = Image.new("RGBA", (3, 1))
    rgba.putdata([(200, 100, 0, 255), (200, 100, 0, 0), (0, 0, 0, 51)])
    expected = [[[200, 100, 0], [255, 255, 255], [204, 204, 204]]]
    assert np.asarray(read_image(encoded(rgba))).tolist() == expected
    assert np.asarray(read_image(np.asarray(rgba))).tolist() == expected
    grey = Image.new("LA", (1, 1), (0, 0))
    assert read_image(encoded(grey)).getpixel((0, 0)) == (255, 255, 255)


def test_transparent_palette_becomes_white() -> None:
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.putdata([0, 1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image = read_image(encoded(palette, transparency=b"\xff\x00"))
    assert np.asarray(image).tolist() == [[[10, 20, 30], [255, 255, 255]]]


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_sixteen_bits_are_scaled_not_clipped(channels: int) -> None:
    values = np.array([0, 25700, 65535], np.uint16)
    data = np.repeat(values[np.newaxis, :, np.newaxis], channels, axis=2)
    if channels in (2, 4):
        data[..., -1] = 65535
    grey = np.asarray(read_image(png16(data)))[0, :, 0].tolist()
    assert grey == [0, 100, 255]


def test_grey_binary_and_cmyk() -> None:
    assert read_image(encoded(Image.new("L", (1, 1), 77))).getpixel((0, 0)) == (77, 77, 77)
    assert read_image(encoded(Image.new("1", (1, 1), 1))).getpixel((0, 0)) == (255, 255, 255)
    cyan = np.asarray(read_image(encoded(Image.new("CMYK", (8, 8), (255, 0, 0, 0)), "JPEG", quality=95)))[4, 4]
    assert np.abs(cyan.astype(int) - (0, 255, 255)).max() <= 3


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_once(orientation: int) -> None:
    upright = noise(2, 3)
    exif = Image.Exif()
    exif[0x0112] = orientation
    # Where the camera stored the picture turned: the inverse of what a reader must do.
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: np.rot90(upright, 2).transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    image = read_image(encoded(Image.fromarray(np.ascontiguousarray(stored)), exif=exif))
    np.testing.assert_array_equal(np.asarray(image), upright)
    np.testing.assert_array_equal(np.asarray(read_image(image)), upright)


def test_first_frame_of_an_animation() -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert read_image(data).getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.array([[0.0, 0.5, 1.0]]), [0, 128, 255]),
        (np.array([[0.0, 127.6, 255.0]], np.float32), [0, 128, 255]),
        (np.array([[0, 1, 255]], np.int64), [0, 1, 255]),
        (np.array([[0, 25700, 65535]], np.uint16), [0, 100, 255]),
        (np.array([[False, True]]), [0, 255]),
        (np.array([[[7], [8]]], np.uint8), [7, 8]),
    ],
)
def test_arrays_of_every_range(array: np.ndarray, expected: list[int]) -> None:
    assert np.asarray(read_image(array))[0, :, 0].tolist() == expected


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((3, 20, 30), np.uint8), "transpose"),
        (np.zeros((2, 2, 2, 3), np.uint8), r"\(2, 2, 2, 3\)"),
        (np.zeros((0, 4), np.uint8), "no pixels"),
        (np.array([[-1.0, 2.0]]), "-1"),
        (np.array([[np.nan, 2.0]]), "nan"),
        (np.array([["a"]]), "numbers"),
        (3.5, "float"),
    ],
)
def test_arrays_that_are_no_images(array: Any, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        read_image(array)


def test_files_that_are_no_images(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.jpg").write_text("hello")
    (tmp_path / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(40))
    for name, message in {
        "nothing.jpg": "no image file",
        ".": "folder",
        "empty.jpg": "empty",
        "text.jpg": "not an image",
        "phone.heic": "HEIC",
        "bad\0name": "bad",
        "x" * 300: "cannot read",
    }.items():
        with pytest.raises(ImageError, match=message) as info:
            read_image(tmp_path / name)
        assert str(tmp_path) in str(info.value)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF"])
def test_truncated_files_never_show_pillow(kind: str) -> None:
    data = encoded(Image.fromarray(noise(40, 30)), kind)
    messages = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for length in range(1, len(data) - 16, max(1, len(data) // 60)):
            try:
                # What is cut off behind the last pixel does no harm: then the picture must be whole.
                assert read_image(data[:length]).size == (30, 40)
            except ImageError as error:
                messages.append(str(error))
    assert len(messages) > 40
    assert all("the given data" in message for message in messages)


def test_damaged_jpeg_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "cut.jpg"
    path.write_bytes(encoded(Image.fromarray(noise(64, 64)), "JPEG")[:2000])
    with pytest.raises(ImageError, match="cut off or damaged") as info:
        read_image(path)
    assert str(path) in str(info.value)


@pytest.mark.filterwarnings("error")
def test_bombs_are_refused_before_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    header = png16(np.zeros((1, 1, 1), np.uint16))
    for width, height in ((60000, 60000), (14000, 14000)):
        dims = struct.pack(">II", width, height)
        chunk = b"IHDR" + dims + header[24:29]
        bomb = header[:12] + chunk + struct.pack(">I", zlib.crc32(chunk)) + header[33:]
        with pytest.raises(ImageError, match="more than 178,956,970 pixels"):
            read_image(bomb)
    monkeypatch.setattr(preprocessing, "MAX_PIXELS", 11)
    with pytest.raises(ImageError, match="3 x 4"):
        read_image(encoded(Image.new("RGB", (3, 4))))


# -- blobs -----------------------------------------------------------------------------------------


def test_reference_crops_are_reproduced(shared: Path) -> None:
    """The crops of the reference runs were made by stretching to 256 and cropping the centre."""
    recipe = Preprocessing("BGR", (104.0, 117.0, 123.0), resize=("stretch", 256))
    for name in ("cat1", "rooster1", "scooter1", "volcano2"):
        crop = np.asarray(Image.open(shared / "golden" / "photos_googlenet" / f"{name}.png"))
        prepared = recipe.prepare(shared / "photos" / f"{name}.jpg", (10, 3, 224, 224))
        np.testing.assert_array_equal(prepared.view, crop)
        expected = crop[:, :, ::-1].transpose(2, 0, 1) - np.array([104, 117, 123], np.float32)[:, None, None]
        np.testing.assert_array_equal(prepared.blob[0], expected)


def test_channel_order_mean_and_scale() -> None:
    pixels = noise(5, 7)
    view = pixels.astype(np.float64)
    for channels, order in (("BGR", [2, 1, 0]), ("RGB", [0, 1, 2])):
        prepared = Preprocessing(channels, (10, 20, 30.5), 0.25).prepare(pixels, SHAPE)
        expected = (view[..., order] - [10, 20, 30.5]) * 0.25
        np.testing.assert_allclose(prepared.blob[0], expected.transpose(2, 0, 1), rtol=1e-6)
        np.testing.assert_array_equal(prepared.view, pixels)
        assert prepared.blob.dtype == np.float32
        assert prepared.blob.flags.c_contiguous


def test_one_channel_is_luma() -> None:
    prepared = Preprocessing("BGR", scale=1 / 256).prepare(
        np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8), (1, 1, 3)
    )
    np.testing.assert_array_equal(prepared.blob[0, 0, 0] * 256, [76, 150, 29])
    assert prepared.view.shape == (1, 3, 3)
    assert prepared.view[0, 0].tolist() == [76, 76, 76]
    with pytest.raises(OptionError, match="GRAY"):
        Preprocessing("GRAY").prepare(noise(5, 7), SHAPE)


def test_mean_image_is_cropped_at_its_centre() -> None:
    mean = np.random.default_rng(1).uniform(0, 255, (1, 3, 9, 10)).astype(np.float32)
    pixels = noise(5, 7)
    blob = Preprocessing("RGB", mean).prepare(pixels, SHAPE).blob[0]
    np.testing.assert_array_equal(blob, pixels.transpose(2, 0, 1) - mean[0, :, 2:7, 1:8])
    for shape in ((3, 4, 9), (1, 9, 9)):
        with pytest.raises(OptionError, match="mean image"):
            Preprocessing("RGB", np.zeros(shape)).prepare(pixels, SHAPE)
    with pytest.raises(OptionError, match="2 values"):
        Preprocessing("RGB", (1, 2)).prepare(pixels, SHAPE)


@pytest.mark.parametrize(
    ("resize", "size", "expected"),
    [
        (("short", 8), (20, 10), (16, 8)),
        (("short", 8), (3, 6), (8, 16)),
        (("short", None), (70, 60), (7, 6)),
        (("short", None), (100, 50), (10, 5)),
        (("long", 8), (20, 10), (8, 4)),
        (("long", None), (100, 50), (7, 4)),
        (("stretch", 9), (20, 10), (9, 9)),
        (("stretch", None), (20, 10), (7, 5)),
        (("short", 8), (1, 1), (8, 8)),
        (("long", 8), (1, 1000), (1, 8)),
    ],
)
def test_resized_size(resize: tuple[str, int | None], size: tuple[int, int], expected: tuple[int, int]) -> None:
    recipe = Preprocessing(resize=resize)
    assert recipe._resized(size, 5, 7) == expected
    assert recipe.prepare(Image.new("RGB", size), SHAPE).blob.shape == SHAPE


def test_long_side_repeats_the_edge() -> None:
    pixels = np.zeros((3, 7, 3), np.uint8)
    pixels[0], pixels[1], pixels[2] = 10, 20, 30
    view = Preprocessing(resize=("long", 7)).prepare(pixels, (1, 3, 6, 7)).view
    # Three rows are missing: the smaller half above, the rest below.
    assert view[:, 0, 0].tolist() == [10, 10, 20, 30, 30, 30]


def test_resize_below_the_crop_is_refused() -> None:
    with pytest.raises(OptionError, match="at least 224"):
        Preprocessing(resize=("short", 200)).prepare(noise(5, 7), (1, 3, 224, 224))
    with pytest.raises(ImageError, match="elongated"):
        Preprocessing(resize=("short", 256)).prepare(np.zeros((1, 5000), np.uint8), (1, 3, 224, 224))


def test_batches() -> None:
    recipe = Preprocessing("RGB", (1.0,))
    a, b = noise(5, 7, 1), noise(9, 9, 2)
    blob = recipe([a, Image.fromarray(b)], (50, 3, 5, 7))
    assert blob.shape == (2, 3, 5, 7)
    assert blob.dtype == np.float32
    np.testing.assert_array_equal(blob[0], recipe.prepare(a, SHAPE).blob[0])
    np.testing.assert_array_equal(blob[1], recipe.prepare(b, SHAPE).blob[0])
    np.testing.assert_array_equal(recipe(a, SHAPE), blob[:1])
    np.testing.assert_array_equal(recipe(np.stack([a, a]), SHAPE)[1], blob[0])
    assert recipe(encoded(Image.fromarray(a)), SHAPE).shape == SHAPE


@pytest.mark.parametrize("mean", [None, (104.007, 116.669, 122.679), "image"])
def test_bounds_enclose_every_blob(mean: Any) -> None:
    if mean == "image":
        mean = np.random.default_rng(3).uniform(0, 255, (3, 8, 8))
    recipe = Preprocessing("BGR", mean, 0.017)
    low, high = recipe.bounds((4, 3, 5, 7))
    assert low.shape == high.shape == (3, 5, 7)
    assert low.dtype == high.dtype == np.float32
    np.testing.assert_array_equal(recipe.prepare(np.zeros((5, 7), np.uint8), SHAPE).blob[0], low)
    np.testing.assert_array_equal(recipe.prepare(np.full((5, 7), 255, np.uint8), SHAPE).blob[0], high)
    blob = recipe.prepare(noise(50, 70), SHAPE).blob[0]
    assert (low <= blob).all()
    assert (blob <= high).all()


@pytest.mark.parametrize("shape", [(1, 4, 5, 7), (1, 1000), (7,)])
def test_networks_without_image_input(shape: tuple[int, ...]) -> None:
    with pytest.raises(ImageError, match="array"):
        Preprocessing().prepare(noise(5, 7), shape)


# -- settings --------------------------------------------------------------------------------------


def test_manifest_round_trip() -> None:
    entry = {"channels": "BGR", "mean": [104.007, 116.669, 122.679], "scale": 1, "resize": "short 256"}
    recipe = Preprocessing.from_dict(entry)
    assert recipe == Preprocessing("BGR", (104.007, 116.669, 122.679), 1.0, ("short", 256))
    assert Preprocessing.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe
    assert Preprocessing.from_dict({"resize": "stretch"}).resize == ("stretch", None)
    assert Preprocessing.from_dict({}) == Preprocessing()
    assert recipe != Preprocessing()
    assert hash(recipe) == hash(Preprocessing.from_dict(entry))


def test_manifest_with_a_mean_file() -> None:
    mean = np.random.default_rng(0).uniform(0, 255, (3, 8, 9)).astype(np.float32)
    with pytest.raises(OptionError, match=r"mean\.npy"):
        Preprocessing.from_dict({"mean": "mean.npy"})
    recipe = Preprocessing.from_dict({"mean": "mean.npy"}, mean=mean)
    assert recipe.to_dict("mean.npy")["mean"] == "mean.npy"
    assert recipe == Preprocessing(mean=mean.copy())
    assert recipe != Preprocessing(mean=mean + 1)
    assert recipe != Preprocessing(mean=(1.0,))
    with pytest.raises(OptionError, match="file"):
        recipe.to_dict()


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"channel": "BGR"}, "did you mean 'channels'"),
        ({"channels": "bgr"}, "BGR"),
        ({"interpolation": "bilinea"}, "did you mean 'bilinear'"),
        ({"scale": 0}, "above zero"),
        ({"scale": "big"}, "number"),
        ({"scale": float("nan")}, "above zero"),
        ({"mean": [1, float("inf"), 2]}, "finite"),
        ({"mean": ["a", "b"]}, "numbers"),
        ({"mean": [[1, 2], [3, 4]]}, "shape"),
        ({"resize": "shorter 256"}, "did you mean 'short'"),
        ({"resize": "short big"}, "short 256"),
        ({"resize": "short -3"}, "short 256"),
        ({"resize": "short 1 2"}, "short 256"),
        ({"resize": 256}, "256"),
        ({"resize": ""}, "resize"),
    ],
)
def test_settings_that_cannot_be_used(entry: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        Preprocessing.from_dict(entry)


# -- labels ----------------------------------------------------------------------------------------


def test_label_file(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_bytes("\ufeffn01440764 tench, Tinca tinca\r\nnet n01440764\r\n\r\n/a/abbey 0\nn0144 x\n\n\n".encode())
    assert read_label_file(path) == ["tench, Tinca tinca", "net n01440764", "", "/a/abbey 0", "n0144 x"]
    path.write_bytes("façade".encode("latin-1"))
    assert read_label_file(path) == ["façade"]
    path.write_bytes(b"\n\n")
    assert read_label_file(path) == []


def test_label_file_errors(tmp_path: Path) -> None:
    (tmp_path / "net.caffemodel").write_bytes(b"\x08\0\x01")
    for name in ("missing.txt", ".", "net.caffemodel", "a\0b"):
        with pytest.raises(FileFormatError) as info:
            read_label_file(tmp_path / name)
        assert str(tmp_path) in str(info.value)


def test_imagenet_labels(shared: Path) -> None:
    labels = read_label_file(shared / "data" / "synset_words.txt")
    assert len(labels) == 1000
    assert labels[284] == "Siamese cat, Siamese"
