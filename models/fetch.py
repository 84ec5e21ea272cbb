"""Downloading published models into a cache, with verification.

The cache has one folder per model. It is where pooch puts caches on this system, or what the environment variable
``CAFFE2LRP_CACHE`` says. A file that was put there by hand counts like a downloaded one.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from caffe2lrp.errors import DownloadError
from caffe2lrp.models import _archive, _transfer
from caffe2lrp.models._cache import Record, hash_file, locked, mismatch, temporary
from caffe2lrp.models.manifest import Entry, Member, Source, find

ENVIRONMENT = "CAFFE2LRP_CACHE"
"""Environment variable that names the cache folder."""


@dataclass(frozen=True, slots=True)
class Paths:
    """Where the files of a model are; None for what it does not have.

    Attributes
    ----------
    folder
        The model's folder.
    weights, prototxt, labels, mean
        Its files.
    """

    folder: Path
    weights: Path | None = None
    prototxt: Path | None = None
    labels: Path | None = None
    mean: Path | None = None


def cache_folder() -> Path:
    """The folder of all downloaded models; it need not exist."""
    chosen = os.environ.get(ENVIRONMENT)
    if chosen:
        return Path(chosen).expanduser().absolute()
    from platformdirs import user_cache_path

    return user_cache_path("caffe2lrp")  # as pooch.os_cache does, whose import takes longer than all else here


def path(name: str) -> Path:
    """Where the main file of a model lies, or where it would be looked for.

    Parameters
    ----------
    name
        Name or alias of a model.

    Raises
    ------
    OptionError
        If there is no such model.
    """
    entry = find(name)
    paths = _paths(entry)
    main = paths.weights or paths.labels
    return main if main is not None else paths.folder


def is_fetched(name: str) -> bool:
    """Whether all files of a model are there; their content is not looked at."""
    entry = find(name)
    folder = _folder(entry)
    files = [folder / file for file in entry.bundled.values()]
    files += [folder / member.file for member in entry.files if not member.optional]
    return all(file.is_file() for file in files)


def cached(name: str) -> Paths:
    """Files of a model that is there already, verified; nothing is downloaded.

    Raises
    ------
    OptionError
        If there is no such model.
    DownloadError
        If it is not in the cache, or not as it should be.
    """
    entry = find(name)
    if entry.bundled:
        return _bundled(entry)
    problems = _problems(entry)
    if problems:
        raise DownloadError(
            f"{entry.name} cannot be used without a download: {'; '.join(p.text for p in problems)}. "
            f"Run 'caffe2lrp models fetch {entry.name}'"
        )
    return _paths(entry)


def fetch(name: str, force: bool = False, progress: bool = True) -> Paths:
    """Make sure that a model is in the cache, and say where.

    Published hashes are verified. Where none is published, the hash of what was received first is recorded and
    later downloads are verified against it. Files that are there and verify are not downloaded again; with them no
    connection is made. Several processes may fetch the same model at once.

    Parameters
    ----------
    name
        Name or alias of a model.
    force
        Download even if the files are there.
    progress
        Show a progress bar on stderr.

    Raises
    ------
    OptionError
        If there is no such model.
    DownloadError
        If no URL delivers what is expected, or if it cannot be stored.
    """
    entry = find(name)
    if entry.bundled:
        return _bundled(entry)
    if not force and not _problems(entry):
        return _paths(entry)
    with _exclusive(entry):
        problems = [] if force else _problems(entry)  # whoever held the lock may just have fetched it
        for problem in problems:
            if not problem.missing:
                _say(f"{problem.text}; fetching it again")
        for source in entry.sources if force or problems else ():
            _obtain(entry, source, force=force, progress=progress)
    return _paths(entry)


# -- what is there ---------------------------------------------------------------------------------


def _folder(entry: Entry) -> Path:
    return Path(__file__).parent if entry.bundled else cache_folder() / entry.name


def _paths(entry: Entry) -> Paths:
    folder = _folder(entry)
    files = {role: folder / file for role, file in entry.bundled.items()}
    for member in entry.files:
        file = folder / member.file
        if not member.optional or file.is_file():
            files[member.role] = file
    return Paths(folder, **files)


def _bundled(entry: Entry) -> Paths:
    paths = _paths(entry)
    for file in entry.bundled.values():
        if not (paths.folder / file).is_file():
            raise DownloadError(
                f"'{paths.folder / file}' is missing: install caffe2lrp again, its files are incomplete"
            )
    return paths


@dataclass(frozen=True, slots=True)
class _Problem:
    """What keeps a file of the cache from being used."""

    text: str
    missing: bool = False


def _problems(entry: Entry) -> list[_Problem]:
    """What is missing or wrong among the files of an entry; empty if it can be used."""
    folder = _folder(entry)
    record = Record(folder)
    found = [
        _problem(folder / member.file, source, member, record) for source in entry.sources for member in source.files
    ]
    return [problem for problem in found if problem is not None]


def _problem(file: Path, source: Source, member: Member, record: Record) -> _Problem | None:
    if not file.is_file():
        return None if member.optional else _Problem(f"'{file}' is not there", missing=True)
    expected = record.expected(file.name, _published(source))
    try:
        hashes = record.hashes(file)
    except OSError as error:
        return _Problem(f"'{file}' cannot be read ({error.strerror})")
    wrong = mismatch(hashes, expected)
    if wrong is not None:
        return _Problem(f"'{file}' is not the file that it should be: {wrong}")
    if not expected:
        _say_recorded(file, hashes)
    seen = record.get(file.name)
    if seen is None or not seen.is_unchanged(file):
        record.add(file, hashes)
    return None


def _published(source: Source) -> dict[str, str]:
    """Published hashes of a source's files; hashes of an archive say nothing of the files in it."""
    return {} if source.members else source.hashes


# -- getting it ------------------------------------------------------------------------------------


@contextmanager
def _exclusive(entry: Entry) -> Iterator[None]:
    """Make the model's folder and hold its lock."""
    folder = _folder(entry)
    with ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(locked(folder / ".lock", lambda: _say(f"waiting for another download of {entry.name}")))
        except OSError as error:
            raise _cannot_write(folder, error) from None
        yield


def _obtain(entry: Entry, source: Source, *, force: bool, progress: bool) -> None:
    """Bring the files of one source into the cache, from its first URL that delivers."""
    folder = _folder(entry)
    if source.members and not force and (folder / source.file).is_file():
        _unpack_by_hand(folder, source)
        return
    part = folder / f".{source.file}.part"
    if force:
        _transfer.discard(part)
    failures: list[tuple[str, str]] = []
    for url in source.urls:
        try:
            _from_url(url, part, folder, source, progress=progress)
        except (_transfer.TransferError, _archive.ArchiveError) as error:
            failures.append((url, str(error)))
        except (_transfer.DiskError, OSError) as error:
            raise _cannot_write(folder, error) from None
        else:
            return
    raise _failed(entry, source, failures)


def _from_url(url: str, part: Path, folder: Path, source: Source, *, progress: bool) -> None:
    expected = Record(folder).expected(source.file, source.hashes)
    for again in (False, True):
        with _bar(source.file, source.size, show=progress) as bar:
            resumed = _transfer.download(url, part, bar, hash_known=bool(expected))
        hashes = hash_file(part)
        wrong = mismatch(hashes, expected)
        if wrong is None:
            break
        size = part.stat().st_size
        _transfer.discard(part)
        # Parts of two different files, or of a changed one: the whole file may still be right.
        if again or not resumed:
            raise _transfer.TransferError(f"sends {size} bytes that are not the expected file: {wrong}{_first(source)}")
    _transfer.finish(part)
    try:
        if source.members:
            _unpack(part, folder, source)
        else:
            _place({part: folder / source.file}, folder, source)
    finally:
        part.unlink(missing_ok=True)


def _unpack_by_hand(folder: Path, source: Source) -> None:
    """Unpack an archive that the user put into the folder."""
    archive = folder / source.file
    wrong = mismatch(hash_file(archive), source.hashes)
    if wrong is not None:
        raise DownloadError(f"'{archive}' is not the published archive: {wrong}. Delete it or replace it")
    try:
        _unpack(archive, folder, source)
    except (_archive.ArchiveError, _transfer.TransferError) as error:
        raise DownloadError(f"{error}. Delete '{archive}' or replace it") from None
    except OSError as error:
        raise _cannot_write(folder, error) from None


def _unpack(archive: Path, folder: Path, source: Source) -> None:
    drafts = {member.file: temporary(folder / member.file) for member in source.members}
    optional = frozenset(member.file for member in source.members if member.optional)
    try:
        found = _archive.extract(archive, drafts, optional)
        _place({drafts[name]: folder / name for name in found}, folder, source)
    finally:
        for draft in drafts.values():
            draft.unlink(missing_ok=True)


def _place(files: dict[Path, Path], folder: Path, source: Source) -> None:
    """Move complete files under their final names, all or none, after comparing them with the record."""
    record = Record(folder)
    published = _published(source)
    hashes = {draft: hash_file(draft) for draft in files}
    for draft, target in files.items():
        wrong = mismatch(hashes[draft], record.expected(target.name, published))
        if wrong is not None:
            raise _transfer.TransferError(f"sends another '{target.name}' than before: {wrong}{_first(source)}")
    for draft, target in files.items():
        if not record.expected(target.name, published):
            _say_recorded(target, hashes[draft])
        os.replace(draft, target)
        record.add(target, hashes[draft])


def _first(source: Source) -> str:
    """What to do if a file without a published hash has changed on the server."""
    if _published(source):
        return ""
    return " (as it was received first; delete hashes.json in the model's folder to accept the new file)"


# -- messages --------------------------------------------------------------------------------------


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _say_recorded(file: Path, hashes: Mapping[str, str]) -> None:
    _say(f"no hash is published for {file.name}: its sha256 {hashes['sha256']} is recorded and checked from now on")


@contextmanager
def _bar(file: str, size: int | None, *, show: bool) -> Iterator[_transfer.Progress]:
    """A progress bar on stderr, as a function that is told how far it is."""
    if not show:
        yield lambda done, total: None
        return
    from rich import progress as rich_progress
    from rich.console import Console

    columns = (
        rich_progress.TextColumn("{task.description}"),
        rich_progress.BarColumn(),
        rich_progress.DownloadColumn(),
        rich_progress.TransferSpeedColumn(),
        rich_progress.TimeRemainingColumn(),
    )
    with rich_progress.Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(file, total=size)
        yield lambda done, total: progress.update(task, completed=done, total=total or size)


def _failed(entry: Entry, source: Source, failures: list[tuple[str, str]]) -> DownloadError:
    tried = "\n".join(f"  {url} {reason}" for url, reason in failures) or "  (no URL is published)"
    target = _folder(entry) / source.file
    wanted = next((member.file for member in source.files if not member.optional), source.file)
    inside = f" (or '{wanted}' out of it)" if source.members else ""
    page = f", for example from {entry.page}" if entry.page else ""
    return DownloadError(
        f"cannot fetch {entry.name}:\n{tried}\n"
        f"Get '{source.file}'{inside} by other means{page}, and put it into\n  {target.parent}\n"
        f"('caffe2lrp models path {entry.name}' shows the place)"
    )


def _cannot_write(folder: Path, error: Exception) -> DownloadError:
    reason = getattr(error, "strerror", None) or str(error)
    return DownloadError(
        f"cannot write to '{folder}': {reason}. The variable {ENVIRONMENT} can name another cache folder"
    )
