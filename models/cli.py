"""``caffe2lrp models``: list, fetch and find known models. Errors are left to the main program."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer

from caffe2lrp.errors import DownloadError
from caffe2lrp.models import fetch as downloads
from caffe2lrp.models.manifest import Entry, entries, find, label_list
from caffe2lrp.models.zoo import find_labels

app = typer.Typer(help="Known models: list, fetch, find.", no_args_is_help=True)


@app.command("list")
def list_models(
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, with all that is known.")] = False,
) -> None:
    """Show the models that can be used by name."""
    if as_json:
        print(json.dumps([_facts(entry) for entry in entries()], indent=2))
    else:
        _print_table()


@app.command("fetch")
def fetch_models(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Names of models.")],
    force: Annotated[bool, typer.Option("--force", help="Download again what is there already.")] = False,
    labels: Annotated[bool, typer.Option(help="Fetch the class names of the models, too.")] = True,
    progress: Annotated[bool, typer.Option(help="Show progress bars.")] = True,
) -> None:
    """Download models into the cache and print where they are."""
    found = [find(name) for name in names]  # a misspelt name must not cost a download first
    for entry in found:
        downloads.fetch(entry.name, force=force, progress=progress)
        print(downloads.path(entry.name))
        if labels:
            _fetch_labels(entry, progress=progress)


@app.command("path")
def show_path(name: Annotated[str, typer.Argument(help="Name of a model.")]) -> None:
    """Print where a model's weights are, or where they would be looked for."""
    print(downloads.path(name))


def _fetch_labels(entry: Entry, *, progress: bool) -> None:
    """Fetch a model's class names; without them it still works."""
    if entry.labels is None or find_labels(entry.labels, downloads.path(entry.name).parent) is not None:
        return
    source = label_list(entry.labels).entry
    if source is None or source == entry.name or find(source).kind == "model":
        return  # not worth another model's download
    try:
        downloads.fetch(source, progress=progress)
    except DownloadError as error:
        print(f"{entry.name} is there, but its class names are not: {error}", file=sys.stderr)


def _facts(entry: Entry) -> dict[str, Any]:
    return {
        "name": entry.name,
        "title": entry.title,
        "kind": entry.kind,
        "aliases": list(entry.aliases),
        "authors": entry.authors,
        "paper": entry.paper,
        "page": entry.page,
        "licence": entry.licence,
        "input": entry.input,
        "preprocessing": None if entry.preprocessing is None else dict(entry.preprocessing),
        "labels": entry.labels,
        "size": entry.size,
        "urls": [url for source in entry.sources for url in source.urls],
        "hashes": {source.file: source.hashes for source in entry.sources},
        "notes": list(entry.notes),
        "fetched": downloads.is_fetched(entry.name),
        "path": str(downloads.path(entry.name)),
    }


def _print_table() -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("name", "title", "size", "licence", "fetched")
    for entry in entries():
        table.add_row(entry.name, entry.title, _size(entry), entry.licence, _state(entry))
    Console().print(table)


def _size(entry: Entry) -> str:
    if entry.size is None:
        return "" if entry.bundled else "?"
    return f"{entry.size / 1e6:.0f} MB"


def _state(entry: Entry) -> str:
    if entry.bundled:
        return "comes with caffe2lrp"
    return "yes" if downloads.is_fetched(entry.name) else ""
