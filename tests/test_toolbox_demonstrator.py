"""The drop-in for the LRP Toolbox's demonstrators: settings, lists, preparation, files, and the command line."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from caffe2lrp import toolbox
from caffe2lrp.converters.caffe import load_definition, write_caffemodel
from caffe2lrp.errors import Caffe2LrpError, FileFormatError, OptionError
from caffe2lrp.ir import with_weights
from caffe2lrp.toolbox.config import Config, Entry, read_config, read_filelist
from caffe2lrp.toolbox.demonstrator import Demonstrator, Output
from caffe2lrp.toolbox.files import read_rawhm, write_rawhm
from caffe2lrp.toolbox.preparation import prepare, read_mean_file
from caffe2lrp.toolbox.scaling import fitted, resized
from tests.test_cli import Run, run  # noqa: F401

AUX = "auxiliaryvariable_maxlayerindexforflatdistinconv"
SIDE, LONGER, CLASSES = 11, 16, 12
PROTOTXT = f"""name: "small"
input: "data"
input_dim: 4 input_dim: 3 input_dim: {SIDE} input_dim: {SIDE}
layer {{ name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param {{ num_output: 4 kernel_size: 3 stride: 2 }} }}
layer {{ name: "relu" type: "ReLU" bottom: "conv" top: "conv" }}
layer {{ name: "norm" type: "LRN" bottom: "conv" top: "norm" lrn_param {{ local_size: 3 alpha: 0.1 beta: 0.75 }} }}
layer {{ name: "pool" type: "Pooling" bottom: "norm" top: "pool"
  pooling_param {{ pool: MAX kernel_size: 2 stride: 2 }} }}
layer {{ name: "fc" type: "InnerProduct" bottom: "pool" top: "fc" inner_product_param {{ num_output: {CLASSES} }} }}
layer {{ name: "prob" type: "Softmax" bottom: "fc" top: "prob" }}
"""
SETTINGS: dict[str, Any] = {
    "param_file": "models/deploy.prototxt",
    "model_file": "models/net.caffemodel",
    "mean_file": "models/mean.binaryproto",
    "synsetfile": "models/synset_words.txt",
    "use_mean_file_asbinaryprotoblob": 1,
    "lastlayerindex": -2,
    "firstlayerindex": 0,
    "numclasses": CLASSES,
    "baseimgsize": LONGER,
    "standalone_outpath": "./lrp_output",
    "standalone_rootpath": "someimages",
    "epsstab": 1,
    "alphabeta_beta": 1,
    "relpropformulatype": 100,
    AUX: 0,
}
STRAY = {
    "use_mean_file_asbinaryprotoblob": "\n\n",
    "lastlayerindex": "\n-1 finds lowest softmax layer and inserts at the layer below in the top vector\n"
    "-2 find the highest innerproduct layer and inserts at this layer in the top vector\n",
}


def config_text(**changes: Any) -> str:
    """A config.txt in the form of the one that is shipped: blank lines between the pairs, and lines of explanation."""
    values = SETTINGS | changes
    return "".join(f"{k}\n{v}\n{STRAY.get(k, '')}\n" for k, v in values.items() if v is not None) + "\n\n\n"


def binaryproto(mean: np.ndarray) -> bytes:
    """A BlobProto with the old four dimensions."""
    varints = b"".join(bytes([8 * i]) + varint(d) for i, d in enumerate((1, *mean.shape), 1))
    data = mean.astype("<f4").tobytes()
    return varints + b"\x2a" + varint(len(data)) + data


def varint(n: int) -> bytes:
    return bytes([n & 127 | 128]) + varint(n >> 7) if n > 127 else bytes([n])


def mean_image(height: int = LONGER, width: int = LONGER) -> np.ndarray:
    return np.random.default_rng(5).uniform(90, 130, (3, height, width)).astype(np.float32)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a small net and images as the demonstrators want them."""
    monkeypatch.chdir(tmp_path)
    models, images, rng = tmp_path / "models", tmp_path / "someimages" / "deep", np.random.default_rng(1)
    models.mkdir()
    images.mkdir(parents=True)
    (models / "deploy.prototxt").write_text(PROTOTXT)
    network = load_definition(models / "deploy.prototxt")
    layers = [
        with_weights(layer, {k: rng.normal(size=w.shape).astype(np.float32) / 9 for k, w in layer.weights.items()})
        for layer in network.layers
    ]
    write_caffemodel(network.with_layers(layers), models / "net.caffemodel")
    (models / "mean.binaryproto").write_bytes(binaryproto(mean_image()))
    (models / "synset_words.txt").write_text("".join(f"n{i:08d} class {i}\n" for i in range(CLASSES)))
    for name, size in {"wide": (40, 18), "tall": (9, 31), "square": (20, 20)}.items():
        Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), np.uint8)).save(images / f"{name}.png")
    Image.fromarray(rng.integers(0, 256, (25, 31), np.uint8)).save(images / "grey.png")
    (tmp_path / "config.txt").write_text(config_text())
    (tmp_path / "list.txt").write_text(
        "./someimages/deep/wide.png -1\nsomeimages/deep/tall.png -2 \n\nsomeimages/deep/square.png 3\n"
        "someimages/deep/grey.png -1\n"
    )
    return tmp_path


# -- settings and lists --------------------------------------------------------------------------------


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_shipped_config(folder: Path, newline: str) -> None:
    (folder / "config.txt").write_bytes(b"\xef\xbb\xbf" + config_text().replace("\n", newline).encode())
    config = read_config(folder / "config.txt")
    assert config.param_file == "models/deploy.prototxt"
    assert (config.numclasses, config.baseimgsize, config.use_mean_file_asbinaryprotoblob) == (CLASSES, LONGER, 1)
    assert (config.standalone_outpath, config.standalone_rootpath) == ("./lrp_output", "someimages")
    assert config.options == {key: SETTINGS[key] for key in config.options}
    assert len(config.options) == 6


def test_first_line_that_starts_with_the_key_counts(folder: Path) -> None:
    text = "stray\n  epsstab in units of the score\t\n\t0.25 not 7\n" + config_text()
    (folder / "config.txt").write_text(text)
    assert read_config("config.txt").options["epsstab"] == 0.25


def test_file_names_may_have_spaces(folder: Path) -> None:
    (folder / "models" / "a mean").write_bytes(b"x")
    (folder / "config.txt").write_text(config_text(mean_file="models/a mean", param_file="models/deploy.prototxt  # 1"))
    config = read_config("config.txt")
    assert (config.mean_file, config.param_file) == ("models/a mean", "models/deploy.prototxt")


@pytest.mark.parametrize("key", [key for key in SETTINGS if key != AUX])
def test_missing_key_and_missing_value(folder: Path, key: str) -> None:
    (folder / "config.txt").write_text(config_text(**{key: None}))
    with pytest.raises(FileFormatError, match=f"there is no line '{key}'"):
        read_config("config.txt")
    (folder / "config.txt").write_text(config_text(**{key: ""}))
    with pytest.raises(FileFormatError, match=f"behind {key} is empty"):
        read_config("config.txt")
    text = config_text(**{key: None}) + key  # cut off behind the last key
    (folder / "config.txt").write_text(text)
    with pytest.raises(FileFormatError, match=f"behind {key} is empty"):
        read_config("config.txt")


def test_missing_aux_matters_only_where_it_is_needed(folder: Path) -> None:
    (folder / "config.txt").write_text(config_text(**{AUX: None}))
    Demonstrator(read_config("config.txt"))
    (folder / "config.txt").write_text(config_text(relpropformulatype=58, **{AUX: None}))
    with pytest.raises(OptionError, match=f"formula 58 needs {AUX} >= 0"):
        Demonstrator(read_config("config.txt"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"param_file": "nowhere.prototxt"}, "param_file 'nowhere.prototxt' is not a file"),
        ({"numclasses": "many"}, "numclasses must be a whole number, not 'many'"),
        ({"numclasses": 0}, "numclasses must be at least 1"),
        ({"numclasses": CLASSES + 1}, f"numclasses is {CLASSES + 1}, but the net's output prob has {CLASSES} values"),
        ({"baseimgsize": "16.5"}, "baseimgsize must be a whole number"),
        ({"baseimgsize": SIDE - 1}, f"less than the net's input of {SIDE} pixels"),
        ({"epsstab": "nan"}, "epsstab must be a number, not 'nan'"),
        ({"epsstab": "0,1"}, "epsstab must be a number"),
        ({"epsstab": "1e39"}, "epsstab must be a finite number of single precision"),
        ({"use_mean_file_asbinaryprotoblob": 3}, "must be one of 0 .text., 1"),
        ({"use_mean_file_asbinaryprotoblob": 0}, "mean in text form is made of numbers"),
        ({"mean_file": "models/synset_words.txt"}, "synset_words.txt"),
        ({"relpropformulatype": 31}, "relpropformulatype 31 does not exist"),
        ({"relpropformulatype": 2, "alphabeta_beta": -0.5}, "alphabeta_beta must be at least 0"),
        ({"lastlayerindex": 9}, "lastlayerindex 9 gives no pass"),
        ({"lastlayerindex": -5}, "lastlayerindex -5 gives no pass"),
        ({"firstlayerindex": 1}, "firstlayerindex must be 0"),
        ({"lastlayerindex": 0}, "lastlayerindex 0 gives no pass"),
    ],
)
def test_contradictory_config(folder: Path, changes: dict[str, Any], message: str) -> None:
    (folder / "config.txt").write_text(config_text(**changes))
    with pytest.raises(Caffe2LrpError, match=message):
        Demonstrator(read_config("config.txt"))


@pytest.mark.parametrize("data", [b"", b"\0\1\2", None])
def test_not_a_config(folder: Path, data: bytes | None) -> None:
    path = folder / "other"
    if data is None:
        path.mkdir()
    else:
        path.write_bytes(data)
    for read in (read_config, lambda p: read_filelist(p, ".")):
        with pytest.raises(FileFormatError, match="other"):
            read(path)


def test_file_list(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(b"./a/b.jpg -2\r\n \n\nc d.png\t7\r\ne.png 3 later\n12")
    assert read_filelist(path, "..") == [Entry("../" + "./a/b.jpg", -2), Entry("../c d.png", 7), Entry("../e.png", 3)]


@pytest.mark.parametrize("line", ["a.png", "a.png x", "a.png -3", "17x", "a.png 1.5"])
def test_file_list_with_a_bad_line(tmp_path: Path, line: str) -> None:
    (tmp_path / "list.txt").write_text(f"good.png 1\n{line} \n")
    with pytest.raises(FileFormatError, match="line 2: "):
        read_filelist(tmp_path / "list.txt", ".")


def test_where_results_go(folder: Path) -> None:
    config = read_config("config.txt")
    assert config.output_name("/data/someimages/x/someimages/a.jpg") == "./lrp_output/someimages/x/someimages/a.jpg"
    with pytest.raises(FileFormatError, match="standalone_rootpath 'someimages'"):
        config.output_name("elsewhere/a.jpg")


# -- preparation ---------------------------------------------------------------------------------------

PIXELS = np.random.RandomState(5).randint(0, 256, (7, 9)).astype(np.uint8)
# What ImageMagick 6.9.11 makes of them with -resize, in 16 bits.
SMALLER = """49258 54608 42634 34272 18309  36002 45255 26539 25108 50700
             26167 24773 45442 40942 36855  29655 2683 23115 30112 39774"""
SMALLER_FROM_PALETTE = """48035 52425 41940 33967 21526  37016 42397 30111 28505 45334
                          28180 25845 40752 39573 37826  27524 7409 23216 30526 39158"""
LARGER = """
    25980 42328 57337 59467 50293 55664 48585 31584 36056 26130 11831 2716
    48155 54489 56983 51718 43605 40095 38511 39901 47530 21018 15691 35228
    50790 47593 46620 48636 48194 32840 23413 26667 33368 26515 34874 54612
    31795 31796 33773 40974 55667 35246 15776 12168 15583 42309 54681 47604
    18996 34965 30662 16408 48672 35984 24891 31466 36312 54323 51891 32779
    30648 32092 22265 16359 52794 50813 38352 35775 48665 41192 34503 35657
    45769 24907 10898 14972 24872 44679 47391 35384 39263 36219 32443 31206
    50868 20668 4806 10506 470 25799 37200 25943 26878 40125 41133 30412
    45839 21827 6120 6946 1621 11596 15171 12242 24822 45201 48739 37760"""


@pytest.mark.parametrize(
    ("size", "soft", "expected"),
    [((5, 4), False, SMALLER), ((5, 4), True, SMALLER_FROM_PALETTE), ((12, 9), False, LARGER)],
)
def test_resizing_is_that_of_imagemagick(size: tuple[int, int], soft: bool, expected: str) -> None:
    found = resized(Image.fromarray(PIXELS), size, soft=soft)
    assert found.shape == (size[1], size[0], 1)
    numbers = np.array(expected.split(), float).reshape(size[1], size[0])
    assert np.abs(found[..., 0] * 257 - numbers).max() <= 1.001  # single precision may round to the other side


def test_resizing_to_the_same_size_changes_nothing() -> None:
    np.testing.assert_allclose(resized(Image.fromarray(PIXELS), (9, 7))[..., 0], PIXELS, rtol=1e-12)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        # measured with ImageMagick 6.9.11
        ((640, 426), (255, 170)),
        ((480, 360), (256, 192)),
        ((320, 320), (256, 256)),
        ((137, 82), (256, 153)),
        ((188, 81), (255, 110)),
        ((40, 680), (15, 255)),
        ((502, 693), (185, 255)),
        ((423, 658), (165, 256)),
    ],
)
def test_an_image_is_fitted_as_by_imagemagick(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert fitted(size, 256) == expected


def test_an_image_has_a_pixel_at_least() -> None:
    assert fitted((5000, 2), 16) == (16, 1)


def naive_blob(pixels: np.ndarray, mean: np.ndarray, side: int, longer: int) -> np.ndarray:
    """Section 7 of the description, pixel by pixel: image (H, W, 3) in RGB, mean (3, H, W) in BGR."""
    height, width = pixels.shape[:2]
    mean_height, mean_width = mean.shape[1:]
    border = (longer - side) // 2
    mean_border = min((mean_height - side) // 2, (mean_width - side) // 2)
    blob = np.zeros((3, side, side))
    for c in range(3):
        for h in range(side):
            for w in range(side):
                if height > width:
                    y, mean_y = border + h, mean_border + h
                    if width >= side:
                        x, mean_x = (width - side) // 2 + w, (mean_width - side) // 2 + w
                    else:
                        x = mean_x = min(max(w - (side - width) // 2, 0), width - 1)
                else:
                    x, mean_x = border + w, mean_border + w
                    if height >= side:
                        y, mean_y = (height - side) // 2 + h, (mean_height - side) // 2 + h
                    else:
                        y = mean_y = min(max(h - (side - height) // 2, 0), height - 1)
                blob[c, h, w] = pixels[y, x, 2 - c] - mean[c, mean_y, mean_x]
    return blob


@pytest.mark.parametrize("size", [(16, 5), (16, 12), (16, 16), (5, 16), (13, 16), (16, 11), (11, 16), (16, 1)])
@pytest.mark.parametrize("mean_size", [(16, 16), (12, 18), (19, 13)])
def test_crop_edge_and_mean(tmp_path: Path, size: tuple[int, int], mean_size: tuple[int, int]) -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    mean = mean_image(*mean_size)
    found = prepare(tmp_path / "a.png", mean, SIDE, LONGER)
    assert found.blob.dtype == np.float32
    np.testing.assert_allclose(found.blob, naive_blob(pixels, mean, SIDE, LONGER), atol=1e-4)
    seen = np.rint(found.blob + found.mean)[::-1].transpose(1, 2, 0)
    np.testing.assert_array_equal(seen, found.view)


def test_where_the_longer_side_is_a_pixel_short(tmp_path: Path) -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (81, 188, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    found = prepare(tmp_path / "a.png", mean_image(256, 256), 256, 256)  # 255 pixels for a net that takes 256
    np.testing.assert_array_equal(found.view[:, 255], found.view[:, 254])
    assert (found.view[:, 254] != found.view[:, 253]).any()


def test_mean_files(tmp_path: Path) -> None:
    mean = mean_image(3, 5)
    (tmp_path / "mean").write_bytes(binaryproto(mean))
    np.testing.assert_array_equal(read_mean_file(tmp_path / "mean", 1), mean)
    np.testing.assert_array_equal(read_mean_file(tmp_path / "mean", 2), mean[::-1])
    # The defect: the value of row h and column w is looked for at h + w * height.
    wrong = read_mean_file(tmp_path / "mean", 1, transposed=True)
    for h in range(3):
        for w in range(5):
            np.testing.assert_array_equal(wrong[:, h, w], mean.reshape(3, -1)[:, h + w * 3])
    by_column = " ".join(f"{v:.9g}" for v in mean.transpose(0, 2, 1).ravel())
    (tmp_path / "mean.txt").write_text(f"3\n3 5\n{by_column}\n")
    for transposed in (False, True):  # text is read as it is meant in any case
        np.testing.assert_array_equal(read_mean_file(tmp_path / "mean.txt", 0, transposed=transposed), mean)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("3 2 2 1 2 3", "3 x 2 x 2 numbers were announced, but 3 are there"),
        ("1 1 1 5", "the mean must have the shape"),
        ("3 0 0", "announced"),
        ("3 -1 2 1 1", "announced"),
        ("three", "made of numbers"),
        ("", "made of numbers"),
        ("3 99999999 99999999 1", "announced"),
    ],
)
def test_bad_text_mean(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "mean.txt").write_text(text)
    with pytest.raises(FileFormatError, match=message):
        read_mean_file(tmp_path / "mean.txt", 0)


# -- files ---------------------------------------------------------------------------------------------


def test_rawhm_has_six_digits_and_a_blank_behind_each(tmp_path: Path) -> None:
    values = np.array([[[1234567.0, -0.00001234567], [0.0, 1]], [[2, 3], [-4e-38, 1e20]]])
    write_rawhm(tmp_path / "a.txt", values)
    text = "2\n2 2\n1.23457e+06 -1.23457e-05 \n0 1 \n2 3 \n-4e-38 1e+20 \n"
    assert (tmp_path / "a.txt").read_bytes() == text.encode()
    np.testing.assert_allclose(read_rawhm(tmp_path / "a.txt"), values, rtol=1e-5)


def test_other_files_of_relevance(tmp_path: Path) -> None:
    (tmp_path / "matrix.txt").write_text("1 2 3\n4 5 6e-1\n")
    np.testing.assert_array_equal(read_rawhm(tmp_path / "matrix.txt"), [[[1, 2, 3], [4, 5, 0.6]]])
    values = np.arange(24.0)
    for shape, expected in (((4, 6), (1, 4, 6)), ((4, 2, 3), (3, 4, 2)), ((3, 2, 4), (3, 2, 4))):
        np.save(tmp_path / "a.npy", values.reshape(shape))
        assert read_rawhm(tmp_path / "a.npy").shape == expected


@pytest.mark.parametrize("text", ["3\n2 2\n1 2 3 4\n", "1 2\n3\n", "a b\nc d\n", "", "3\n0 0\n", "\N{SNOWMAN}"])
def test_bad_files_of_relevance(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.txt").write_text(text, encoding="utf-8")
    with pytest.raises(FileFormatError, match=r"a\.txt"):
        read_rawhm(tmp_path / "a.txt")


def test_missing_and_cut_files_of_relevance(tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY" + struct.pack("<I", 1))
    (tmp_path / "a.mat").write_bytes(b"MATLAB\xff\x00")
    for name in ("a.npy", "nowhere.txt", "a.mat"):
        with pytest.raises(FileFormatError, match=name):
            read_rawhm(tmp_path / name)


# -- the whole -----------------------------------------------------------------------------------------


def expected_relevance(demonstrator: Demonstrator, entry: Entry, **options: Any) -> tuple[np.ndarray, np.ndarray]:
    """Relevance of an entry in the order red, green, blue, and the probabilities, from the library alone."""
    config = demonstrator.config
    blob = prepare(entry.image, demonstrator.mean, demonstrator.side, config.baseimgsize).blob[None]
    prob = demonstrator.network.forward(blob)["prob"].ravel()
    ranked = sorted(range(len(prob)), key=lambda i: (-prob[i], i))
    classes = {-1: ranked[:1], -2: ranked[:5]}.get(entry.code, [entry.code])
    e = toolbox.explain(demonstrator.network, blob, classes, **(config.options | options))
    return e.relevance[0, ::-1], prob


@pytest.mark.parametrize("formula", [0, 2, 58, 100, 11, 99, 26])
@pytest.mark.parametrize("batch", [1, 3])
def test_files_hold_what_the_library_computes(folder: Path, formula: int, batch: int) -> None:
    (folder / "config.txt").write_text(config_text(relpropformulatype=formula))
    demonstrator = Demonstrator(read_config("config.txt"))
    entries = read_filelist("list.txt", ".")
    outcomes = list(demonstrator.run(entries, Output(), batch))
    assert [outcome.entry for outcome in outcomes] == entries
    for outcome in outcomes:
        assert outcome.result is not None
        relevance, prob = expected_relevance(demonstrator, outcome.entry)
        name = f"lrp_output/someimages/deep/{Path(outcome.entry.image).name}"
        written = read_rawhm(f"{name}_rawhm.txt")
        assert written.shape == (3, SIDE, SIDE)
        np.testing.assert_allclose(written, relevance, rtol=1e-4, atol=1e-5 * np.abs(relevance).max())
        pairs = [line.split() for line in Path(f"{name}_top10scores.txt").read_text().splitlines()]
        assert len(pairs) == 10
        assert [int(i) for i, _ in pairs] == sorted(range(CLASSES), key=lambda i: -prob[i])[:10]
        np.testing.assert_allclose([float(p) for _, p in pairs], np.sort(prob)[::-1][:10], rtol=1e-4)


def test_pictures_and_their_absence(folder: Path) -> None:
    demonstrator = Demonstrator(read_config("config.txt"))
    entries = read_filelist("list.txt", ".")[:1]
    (outcome,) = demonstrator.run(entries, Output(pictures=False), 4)
    out = folder / "lrp_output/someimages/deep"
    assert sorted(p.name for p in out.iterdir()) == ["wide.png_rawhm.txt", "wide.png_top10scores.txt"]
    (outcome,) = demonstrator.run(entries, Output(cmaps=["black-firered"]), 4)
    assert len(list(out.iterdir())) == 5
    view = np.asarray(Image.open(out / "wide.png_as_inputted_into_the_dnn.png"))
    np.testing.assert_array_equal(view, demonstrator.prepare(entries[0]).view)
    assert (out / "wide.png_rawhm.txt_black-firered_heatmap.png").is_file()
    assert outcome.result is not None
    v = outcome.result.relevance.astype(float).mean(axis=0)
    m = v.max()
    expected = np.where(v[..., None] >= 0, np.stack([v, v, 0 * v], -1), np.stack([0 * v, 0 * v, -v], -1)) / m
    heat = np.asarray(Image.open(out / "wide.png_heatmap.png"), float)
    assert np.abs(heat - np.minimum(expected, 1) * 255).max() <= 0.5 + 1e-3


def test_ties_and_the_first_output(folder: Path) -> None:
    """Of several outputs, Caffe's first is the first in the alphabet; of equal scores the lower index comes first."""
    text = PROTOTXT + (
        'layer { name: "side" type: "InnerProduct" bottom: "pool" top: "a_side"'
        f" inner_product_param {{ num_output: {CLASSES} }} }}\n"
    )
    (folder / "models/deploy.prototxt").write_text(text)
    network = load_definition(folder / "models/deploy.prototxt")
    layers = [with_weights(n, {k: np.zeros_like(w) for k, w in n.weights.items()}) for n in network.layers]
    write_caffemodel(network.with_layers(layers), folder / "models/net.caffemodel")
    demonstrator = Demonstrator(read_config("config.txt"))
    assert demonstrator.output == "a_side"
    (outcome,) = demonstrator.run(read_filelist("list.txt", ".")[:1], Output(), 4)
    assert outcome.result is not None
    assert outcome.result.scores == [(i, 0.0) for i in range(10)]


def test_fewer_classes_than_outputs(folder: Path) -> None:
    (folder / "config.txt").write_text(config_text(numclasses=2))
    demonstrator = Demonstrator(read_config("config.txt"))
    outcomes = list(demonstrator.run(read_filelist("list.txt", "."), Output(), 4))
    assert all(o.result is not None and len(o.result.scores) == 2 for o in outcomes)
    assert all(set(o.result.classes) <= {0, 1} for o in outcomes if o.result and o.entry.code < 0)


@pytest.mark.parametrize("formula", [6, 8, 18])
def test_box_rule_has_the_mean_that_was_subtracted(folder: Path, formula: int) -> None:
    (folder / "config.txt").write_text(config_text(relpropformulatype=formula))
    demonstrator = Demonstrator(read_config("config.txt"), dtype=np.float64)
    for outcome in demonstrator.run(read_filelist("list.txt", "."), Output(), 4):
        mean = demonstrator.prepare(outcome.entry).mean
        assert outcome.result is not None
        relevance, _ = expected_relevance(demonstrator, outcome.entry, imagemean=mean)
        np.testing.assert_allclose(outcome.result.relevance, relevance, rtol=1e-3, atol=1e-4 * np.abs(relevance).max())


def test_transposed_mean_only_on_request(folder: Path) -> None:
    config = read_config("config.txt")
    entry = read_filelist("list.txt", ".")[0]
    right, wrong = (Demonstrator(config, transposed_mean=t).prepare(entry) for t in (False, True))
    np.testing.assert_array_equal(right.view, wrong.view)
    assert np.abs(right.blob - wrong.blob).max() > 1
    np.testing.assert_array_equal(Demonstrator(config, transposed_mean=True).mean, mean_image().transpose(0, 2, 1))


# -- the command line ----------------------------------------------------------------------------------


def test_command(folder: Path, run: Run) -> None:  # noqa: F811
    result = run("toolbox", "config.txt", "list.txt", "./")
    assert result.code == 0, result.err
    assert result.err == ""
    lines = result.out.splitlines()
    assert len(lines) == 4
    assert lines[2].startswith("./lrp_output/someimages/deep/square.png_rawhm.txt: 0.")
    assert lines[2].endswith("explained: 3")
    assert len(list((folder / "lrp_output/someimages/deep").iterdir())) == 16


def test_one_image_that_fails_does_not_lose_the_others(folder: Path, run: Run) -> None:  # noqa: F811
    (folder / "list.txt").write_text(
        "someimages/deep/none.png -1\nsomeimages/deep/wide.png 12\nlist.txt -1\nmodels/deploy.prototxt 0\n"
        "someimages/deep/tall.png -2\nsomeimages/deep/grey.png 11\n"
    )
    result = run("toolbox", "config.txt", "list.txt", ".", "--minimal", "--json", "--batch", "3", "--threads", "1")
    assert result.code == 2
    report = json.loads(result.out)
    assert report["options"]["relpropformulatype"] == 100
    failed = {image["image"]: image["error"] for image in report["images"] if "error" in image}
    assert list(failed) == [
        *("./someimages/deep/none.png", "./someimages/deep/wide.png", "./list.txt", "./models/deploy.prototxt")
    ]
    assert "there is no image file" in failed["./someimages/deep/none.png"]
    assert "class 12 does not exist among 12" in failed["./someimages/deep/wide.png"]
    assert "standalone_rootpath" in failed["./list.txt"]
    assert result.err.count("caffe2lrp: error: ") == 4
    good = [image for image in report["images"] if "error" not in image]
    assert [image["classes"] for image in good][1] == [11]
    assert len(good[0]["classes"]) == 5
    assert good[0]["scores"][0]["label"].startswith("class ")
    assert [Path(file).is_file() for image in good for file in image["files"].values()] == [True] * 4


def test_results_that_cannot_be_written(folder: Path, run: Run) -> None:  # noqa: F811
    (folder / "lrp_output").write_text("a file where a folder is wanted")
    result = run("toolbox", "config.txt", "list.txt", ".")
    assert result.code == 2
    assert "cannot make the folder" in result.err
    assert "Traceback" not in result.err


def test_the_same_image_twice_is_told(folder: Path, run: Run) -> None:  # noqa: F811
    (folder / "list.txt").write_text("someimages/deep/wide.png 1\nsomeimages/deep/wide.png 2\n")
    result = run("toolbox", "config.txt", "list.txt", ".", "--dtype", "float64")
    assert result.code == 0
    assert "listed 2 times" in result.err
    demonstrator = Demonstrator(read_config("config.txt"))
    relevance, _ = expected_relevance(demonstrator, Entry("./someimages/deep/wide.png", 2))
    found = read_rawhm("lrp_output/someimages/deep/wide.png_rawhm.txt")
    np.testing.assert_allclose(found, relevance, rtol=1e-3, atol=1e-4 * np.abs(relevance).max())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere.txt", "list.txt", "."), "cannot read 'nowhere.txt'"),
        (("config.txt", "nowhere.txt", "."), "cannot read 'nowhere.txt'"),
        (("config.txt", "list.txt", ".", "--cmap", "nonsense"), "unknown colour map"),
    ],
)
def test_clear_errors(folder: Path, run: Run, arguments: tuple[str, ...], message: str) -> None:  # noqa: F811
    result = run("toolbox", *arguments)
    assert (result.code, result.out) == (2, "")
    assert message in result.err
    assert len(result.err.splitlines()) == 1


def test_apply_heatmap(folder: Path, run: Run) -> None:  # noqa: F811
    assert run("toolbox", "config.txt", "list.txt", "./", "--cmap", "seismic").code == 0
    name = "lrp_output/someimages/deep/wide.png"
    at_once = Path(f"{name}_rawhm.txt_seismic_heatmap.png")
    before = np.asarray(Image.open(at_once)).astype(int)
    result = run("apply-heatmap", f"{name}_rawhm.txt", "seismic")
    assert (result.code, result.out) == (0, f"{at_once}\n")
    assert np.abs(np.asarray(Image.open(at_once)).astype(int) - before).max() <= 4  # from six digits
    assert run("apply-heatmap", f"{name}_rawhm.txt").out == f"{name}_rawhm.txt_black-firered_heatmap.png\n"
    image = ("--image", f"{name}_as_inputted_into_the_dnn.png")
    for mode in ("alpha", "overlay"):
        result = run(
            *("apply-heatmap", f"{name}_rawhm.txt", "jet", "linf", "--mode", mode, *image),
            *("--gamma", 0.7, "--blur", 3, "--out", "o.png"),
        )
        assert (result.code, result.out) == (0, "o.png\n"), result.err
        assert Image.open("o.png").size == (SIDE, SIDE)
    result = run("apply-heatmap", f"{name}_rawhm.txt", "--mode", "overlay")
    assert result.code == 2
    assert "needs the image" in result.err


# -- a real net ----------------------------------------------------------------------------------------

PHOTOS = {"cat": 282, "cat1": 284, "rooster1": 7, "scooter1": 665, "space_shuttle": 812, "volcano2": 980}


@pytest.mark.slow
@pytest.mark.parametrize("transposed", [False, True])
def test_googlenet_on_photos(shared: Path, tmp_path: Path, transposed: bool) -> None:
    config = googlenet_config(shared, tmp_path)
    demonstrator = Demonstrator(config, transposed_mean=transposed)
    entries = [Entry(str(shared / "photos" / f"{name}.jpg"), -1) for name in PHOTOS]
    outcomes = list(demonstrator.run(entries, Output(), 4))
    assert [o.result.classes[0] for o in outcomes if o.result is not None] == list(PHOTOS.values())
    for outcome, name in zip(outcomes[:2], PHOTOS, strict=False):
        relevance, prob = expected_relevance(demonstrator, outcome.entry)
        written = read_rawhm(tmp_path / "out" / "photos" / f"{name}.jpg_rawhm.txt")
        assert np.linalg.norm(written - relevance) <= 3e-3 * np.linalg.norm(relevance)
        assert outcome.result is not None
        assert outcome.result.scores[0][1] == pytest.approx(prob.max(), rel=1e-4)


def googlenet_config(shared: Path, folder: Path) -> Config:
    model = shared / "models" / "bvlc_googlenet"
    (folder / "config.txt").write_text(
        config_text(
            param_file=model / "deploy.prototxt",
            model_file=model / "bvlc_googlenet.caffemodel",
            mean_file=shared / "data" / "imagenet_mean.binaryproto",
            synsetfile=shared / "data" / "synset_words.txt",
            numclasses=1000,
            baseimgsize=256,
            standalone_outpath=folder / "out",
            standalone_rootpath="photos",
        )
    )
    return read_config(folder / "config.txt")
