"""Reports: pictures, predictions, maps by rule and where relevance went, as one HTML file that needs no network."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template

import numpy as np
from PIL import Image

from caffe2lrp.conservation import Account
from caffe2lrp.errors import OptionError
from caffe2lrp.pictures import Style

_SUMS = ("bias", "epsilon", "dropped", "other")


@dataclass(frozen=True, eq=False)
class Map:
    """Relevance for one class by one rule.

    Attributes
    ----------
    rule
        Name of the rule.
    relevance
        (C, H, W).
    account
        Where relevance went, or None.
    """

    rule: str
    relevance: np.ndarray
    account: Account | None = None


@dataclass(frozen=True, eq=False)
class Target:
    """A class that was explained: its name, score, and maps."""

    name: str
    score: float
    maps: Sequence[Map]


@dataclass(frozen=True, eq=False)
class Page:
    """One picture.

    Attributes
    ----------
    name
        Name of the file.
    view
        What the network saw, uint8, (H, W, 3).
    predictions
        Name and value of the highest classes, highest first.
    targets
        What was explained.
    """

    name: str
    view: np.ndarray
    predictions: Sequence[tuple[str, float]]
    targets: Sequence[Target]


def write_report(path: Path, title: str, settings: Mapping[str, str], pages: Sequence[Page], style: Style) -> None:
    """Write a report.

    Parameters
    ----------
    path
        The HTML file.
    title
        Heading.
    settings
        What holds for all pictures: network, preprocessing, rules, ...
    pages
        The pictures.
    style
        How maps are drawn.

    Raises
    ------
    OptionError
        If the file cannot be written.
    """
    template = Template(files(__package__).joinpath("page.html").read_text("utf-8"))
    text = template.substitute(
        title=escape(title),
        settings=_definitions(settings),
        links=" ".join(f'<a href="#p{i}">{escape(page.name)}</a>' for i, page in enumerate(pages)),
        images="\n".join(_page(i, page, style) for i, page in enumerate(pages)),
    )
    try:
        path.write_text(text, "utf-8")
    except OSError as error:
        raise OptionError(f"cannot write '{path}': {error.strerror or error}") from None


def _definitions(settings: Mapping[str, str]) -> str:
    rows = "".join(f"<dt>{escape(key)}</dt><dd>{escape(value)}</dd>" for key, value in settings.items())
    return f"<dl>{rows}</dl>"


def _page(number: int, page: Page, style: Style) -> str:
    highest = max((value for _, value in page.predictions), default=0.0)

    def bar(value: float) -> str:
        width = 9 * max(value, 0.0) / highest if highest > 0 else 0.0
        return f"<td style='text-align:left'><span class='bar' style='width:{width:.2f}rem'></span></td>"

    rows = "".join(
        f"<tr><td>{escape(name)}</td><td>{value:.4g}</td>{bar(value)}</tr>" for name, value in page.predictions
    )
    targets = "\n".join(_target(page, target, style) for target in page.targets)
    return (
        f'<section id="p{number}"><h2>{escape(page.name)}</h2><div class="view">'
        f'<img src="{_data(Image.fromarray(page.view))}" alt="{escape(page.name)} as the network saw it">'
        f'<table class="names">{rows}</table></div>{targets}</section>'
    )


def _target(page: Page, target: Target, style: Style) -> str:
    maps = "".join(_figure(page, target, item, style) for item in target.maps)
    return (
        f"<h3>{escape(target.name)} <span style='font-weight:400'>score {target.score:.4g}</span></h3>"
        f'<div class="maps">{maps}</div>{_accounts(target)}'
    )


def _figure(page: Page, target: Target, item: Map, style: Style) -> str:
    alone, over = style.heatmap(item.relevance), style.overlay(page.view, item.relevance)
    words = escape(f"relevance of {page.name} for {target.name} by {item.rule}")
    return (
        f'<figure><img class="heat" src="{_data(alone)}" alt="{words}">'
        f'<img class="overlay" src="{_data(over)}" alt="{words}, over the photo">'
        f"<figcaption>{escape(item.rule)}</figcaption></figure>"
    )


def _accounts(target: Target) -> str:
    """Where relevance went, by rule, and layer by layer."""
    accounted = [(item.rule, item.account) for item in target.maps if item.account is not None]
    if not accounted:
        return ""
    head = "".join(f"<th>{name}</th>" for name in ("rule", "start", *_SUMS, "arrived"))
    sums = "".join(
        _row(rule, (account.start, *(account.total(name) for name in _SUMS), account.arrived))
        for rule, account in accounted
    )
    layers = "".join(_layers(rule, account) for rule, account in accounted)
    return (
        f"<details><summary>Where relevance went</summary><div class='scroll'><table><tr>{head}</tr>{sums}</table>"
        f"{layers}</div></details>"
    )


def _layers(rule: str, account: Account) -> str:
    head = "".join(f"<th>{name}</th>" for name in ("layer", "above", *_SUMS, "below"))
    rows = "".join(
        _row(f"{e.layer} ({e.type})", (e.above, e.bias, e.epsilon, e.dropped, e.other, e.below))
        for e in account.entries
    )
    return f"<details><summary>{escape(rule)}, layer by layer</summary><table><tr>{head}</tr>{rows}</table></details>"


def _row(name: str, values: Sequence[float]) -> str:
    cells = "".join(f"<td>{value:.4g}</td>" for value in values)
    return f"<tr><td>{escape(name)}</td>{cells}</tr>"


def _data(picture: Image.Image) -> str:
    """The picture as a data URL."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
