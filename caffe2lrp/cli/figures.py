"""``caffe2lrp figures``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from caffe2lrp.cli.images import find_pictures
from caffe2lrp.cli.loading import files_of, open_network
from caffe2lrp.cli.options import ModelOptions
from caffe2lrp.cli.running import make_folder
from caffe2lrp.cli.terminal import FAILED, Bar, error, print_json, say
from caffe2lrp.errors import ImageError, OptionError
from caffe2lrp.figures import SHEETS, columns, compute, write_figure
from caffe2lrp.figures.nets import FALLBACK, STUDY, Found, Missing, find_nets, of_files
from caffe2lrp.figures.run import toolbox_preprocessing
from caffe2lrp.ir import Network
from caffe2lrp.layers.lrn import LRN
from caffe2lrp.models.manifest import find
from caffe2lrp.pictures import colormap
from caffe2lrp.preprocessing import read_image


@dataclass(frozen=True)
class FigureOptions:
    """What is drawn, and where to."""

    mode: str
    sheets: Sequence[str]
    out: Path
    cmap: str
    download: bool
    json: bool


def run(images: Sequence[str], models: Sequence[str], files: ModelOptions, options: FigureOptions) -> None:
    """Draw the sheets of all nets at hand."""
    colormap(options.cmap)
    for name in models:
        find(name)  # a misspelt name must not cost a download first
    if models and files_of(files):
        raise OptionError("give --model or --prototxt and --weights, not both")
    make_folder(options.out)
    photos, failures = _readable(images)
    if images and not photos:
        raise ImageError(failures[0] if failures else "there are no pictures to draw")
    figures: list[dict[str, Any]] = []
    missing: list[str] = []
    for found in _nets(models, files, options, has_photos=bool(photos)):
        if isinstance(found, Missing):
            missing.append(found.reason)
            say(found.reason)
            continue
        # Photographs mean nothing to the bundled digits, unless somebody asks for that.
        own = not photos or (found.name == FALLBACK and not models and not files_of(files))
        shown = found.pictures if own else photos
        if not shown:
            raise ImageError(f"give photos for {found.name}: files, folders or patterns such as 'photos/*.jpg'")
        figures += _draw(found, shown, options)
    if options.json:
        print_json({"figures": figures, "missing": missing, "errors": failures})
    for failure in failures:
        error(failure)
    if failures:
        raise typer.Exit(FAILED)


def _readable(images: Sequence[str]) -> tuple[list[Path], list[str]]:
    """Photos that can be read, and what is wrong with the others."""
    pictures, failed = find_pictures(images)
    errors = [failure.error for failure in failed]
    photos = []
    for picture in pictures:
        try:
            read_image(picture.path)
        except ImageError as problem:
            errors.append(str(problem))
        else:
            photos.append(picture.path)
    return photos, errors


def _nets(
    models: Sequence[str], files: ModelOptions, options: FigureOptions, *, has_photos: bool
) -> Iterator[Found | Missing]:
    """The nets that were asked for; else those of the study, or with none of them the bundled one."""
    if files_of(files):
        network = open_network(files)
        yield of_files(network, files_of(files)[-1])
        return
    if models or has_photos:
        some = False
        for found in find_nets(models or STUDY, download=options.download):
            some = some or isinstance(found, Found)
            yield found
        if models or some:
            return
        say("none of the study's nets is at hand: the sheets are made for the bundled digits")
    yield from find_nets([FALLBACK], download=False)


def _draw(found: Found, photos: Sequence[Path], options: FigureOptions) -> list[dict[str, Any]]:
    network = toolbox_preprocessing(found.network) if options.mode == "toolbox" else found.network
    figures = []
    chosen = {sheet: columns(sheet, options.mode) for sheet in options.sheets if _has_sense(sheet, network, options)}
    with Bar(len(chosen) * len(photos)) as bar:
        for sheet, settings in chosen.items():

            def step(name: str, sheet: str = sheet) -> None:
                bar.show(f"{found.name} {sheet}: {name}")
                bar.step()

            maps = compute(network, sheet, options.mode, settings, photos, step)
            stem = options.out / f"{found.name}-{sheet}-{options.mode}"
            written = write_figure(maps, stem, {"weights sha256": found.sha256}, options.cmap)
            figures.append({"network": found.name, "sheet": sheet, "files": [str(path) for path in written]})
            if not options.json:
                with bar.aside():
                    print(f"{stem}.{{png,pdf,json}}")
    return figures


def _has_sense(sheet: str, network: Network, options: FigureOptions) -> bool:
    """A sheet about LRN layers needs some."""
    if sheet != "lrn" or network.has(LRN):
        return True
    if len(options.sheets) < len(SHEETS):
        raise OptionError(f"{network.name} has no LRN layers to compare the ways through")
    return False
