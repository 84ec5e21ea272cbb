"""The list of known models: who made them, where they are published, how a photo is prepared for them.

The facts are in ``manifest.json``. A hash or size that is not known is null there and None here; nothing is guessed.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from caffe2lrp.errors import OptionError

ROLES = ("weights", "prototxt", "labels", "mean")
"""What a file of a model can be."""


@dataclass(frozen=True, slots=True)
class Member:
    """A file that is taken out of an archive.

    Attributes
    ----------
    file
        Its name, without folders.
    role
        One of `ROLES`.
    optional
        Whether the archive may lack it.
    """

    file: str
    role: str
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Source:
    """Something that can be downloaded: a file, or an archive of files.

    Attributes
    ----------
    file
        Name under which it is stored.
    role
        One of `ROLES`, or ``archive``.
    urls
        Where it is published; tried in this order.
    sha1, sha256
        Published hashes, or None.
    size
        Number of bytes, or None.
    members
        What is taken out of an archive; empty where the download itself is the file.
    """

    file: str
    role: str
    urls: tuple[str, ...]
    sha1: str | None = None
    sha256: str | None = None
    size: int | None = None
    members: tuple[Member, ...] = ()

    @property
    def hashes(self) -> dict[str, str]:
        """The published hashes by algorithm."""
        both = {"sha1": self.sha1, "sha256": self.sha256}
        return {algorithm: digest for algorithm, digest in both.items() if digest is not None}

    @property
    def files(self) -> tuple[Member, ...]:
        """The files that this source leaves in the cache."""
        return self.members or (Member(self.file, self.role),)


@dataclass(frozen=True, slots=True)
class LabelList:
    """Class names that several models share.

    Attributes
    ----------
    name
        Name of the list.
    count
        Number of classes.
    file
        File that holds them, or None.
    entry
        The entry of the manifest that brings this file, or None.
    names
        The names themselves where they are short enough for the manifest.
    """

    name: str
    count: int
    file: str | None = None
    entry: str | None = None
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """A published model, or data that models share.

    Attributes
    ----------
    name, title
        Short name and one line for people.
    kind
        ``model``, or ``data`` for labels and mean images.
    aliases
        Other names under which it is found.
    authors, paper, page, licence
        Where it comes from and what one may do with it.
    net
        Name of its table in `caffe2lrp.models.nets`, or None where a prototxt comes with the weights.
    input
        Input size (channels, height, width).
    preprocessing
        Settings for `caffe2lrp.preprocessing.Preprocessing.from_dict`.
    labels
        Name of its label list, see `label_list`.
    sources
        What has to be downloaded.
    bundled
        Files inside this package by role, for models that come with caffe2lrp.
    notes
        What a user should know, for example which hash is not the publisher's own.
    """

    name: str
    title: str
    kind: Literal["model", "data"]
    aliases: tuple[str, ...]
    authors: str
    paper: str | None
    page: str | None
    licence: str
    net: str | None
    input: tuple[int, int, int] | None
    preprocessing: Mapping[str, Any] | None
    labels: str | None
    sources: tuple[Source, ...]
    bundled: Mapping[str, str]
    notes: tuple[str, ...]

    @property
    def size(self) -> int | None:
        """Number of bytes to download, None where it is not known."""
        sizes = [source.size for source in self.sources]
        return None if None in sizes or not sizes else sum(size for size in sizes if size is not None)

    @property
    def files(self) -> tuple[Member, ...]:
        """All files that a complete download leaves in the cache."""
        return tuple(member for source in self.sources for member in source.files)


def entries() -> tuple[Entry, ...]:
    """All entries of the manifest, in its order."""
    return tuple(_manifest()[0].values())


def find(name: str) -> Entry:
    """The entry called `name`, by name or alias, in upper or lower case.

    Raises
    ------
    OptionError
        If there is none; the message suggests near names.
    """
    known = _names()
    wanted = name.strip().lower()
    if wanted in known:
        return known[wanted]
    near = difflib.get_close_matches(wanted, known, 3, 0.5)
    close = list(dict.fromkeys(known[n].name for n in near))
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    raise OptionError(f"there is no model '{name}'; {hint}'caffe2lrp models list' shows all")


def label_list(name: str) -> LabelList:
    """The label list called `name`.

    Raises
    ------
    OptionError
        If there is none.
    """
    lists = _manifest()[1]
    if name not in lists:
        raise OptionError(f"there is no label list '{name}'; known: {', '.join(lists)}")
    return lists[name]


# -- reading ---------------------------------------------------------------------------------------


@cache
def _manifest() -> tuple[dict[str, Entry], dict[str, LabelList]]:
    data = json.loads(Path(__file__).with_name("manifest.json").read_text(encoding="utf-8"))
    models = {item["name"]: _entry(item) for item in data["models"]}
    lists = {name: _label_list(name, item) for name, item in data["labels"].items()}
    return models, lists


@cache
def _names() -> dict[str, Entry]:
    return {name.lower(): entry for entry in entries() for name in _all_names(entry)}


def _all_names(entry: Entry) -> Iterator[str]:
    yield entry.name
    yield from entry.aliases


def _entry(item: dict[str, Any]) -> Entry:
    size = item["input"]
    preprocessing = item["preprocessing"]
    return Entry(
        name=item["name"],
        title=item["title"],
        kind=item["kind"],
        aliases=tuple(item["aliases"]),
        authors=item["authors"],
        paper=item["paper"],
        page=item["page"],
        licence=item["licence"],
        net=item["net"],
        input=None if size is None else (size[0], size[1], size[2]),
        preprocessing=None if preprocessing is None else MappingProxyType(preprocessing),
        labels=item["labels"],
        sources=tuple(_source(source) for source in item["sources"]),
        bundled=MappingProxyType(item.get("bundled", {})),
        notes=tuple(item["notes"]),
    )


def _source(item: dict[str, Any]) -> Source:
    members = tuple(Member(**member) for member in item.get("members", ()))
    values = {key: value for key, value in item.items() if key not in ("urls", "members")}
    return Source(**values, urls=tuple(item["urls"]), members=members)


def _label_list(name: str, item: dict[str, Any]) -> LabelList:
    values = {key: value for key, value in item.items() if key != "names"}
    return LabelList(name, **values, names=tuple(item.get("names", ())))
