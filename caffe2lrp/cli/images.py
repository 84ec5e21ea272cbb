"""Which pictures are meant, and what their results are called."""

from __future__ import annotations

import glob
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from caffe2lrp.errors import ImageError

SUFFIXES = frozenset(
    {".avif", ".bmp", ".gif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tga", ".tif", ".tiff", ".webp"}
)
"""What is taken for a picture in a folder; a file that is named is always tried."""


@dataclass(frozen=True)
class Picture:
    """A picture file and the name of its results, which no other picture has."""

    path: Path
    name: str


@dataclass(frozen=True)
class Failure:
    """A picture that could not be dealt with, and why."""

    image: str
    error: str


def find_pictures(arguments: Sequence[str]) -> tuple[list[Picture], list[Failure]]:
    """Pictures of the arguments (files, folders and patterns) in their order, each once; and arguments without any."""
    paths: dict[Path, Path] = {}
    failures = []
    for argument in arguments:
        try:
            for path in _expand(argument):
                paths.setdefault(path.absolute(), path)
        except ImageError as error:
            failures.append(Failure(argument, str(error)))
    found = list(paths.values())
    return [Picture(path, name) for path, name in zip(found, unique_names(found), strict=True)], failures


def _expand(argument: str) -> list[Path]:
    path = Path(argument)
    if path.is_dir():
        found = [file for file in _files(path.iterdir()) if file.suffix.lower() in SUFFIXES]
        if not found:
            raise ImageError(f"there are no pictures in the folder '{argument}'")
        return found
    if path.exists() or not glob.has_magic(argument):
        return [path]
    found = _files(Path(name) for name in glob.iglob(argument, recursive=True))
    if not found:
        raise ImageError(f"no file matches '{argument}'")
    return found


def _files(paths: Iterable[Path]) -> list[Path]:
    return sorted(path for path in paths if path.is_file())


def unique_names(paths: Sequence[Path]) -> list[str]:
    """A name for each path: the file's without suffix, with more of the path only where others have the same."""
    names = [path.stem for path in paths]
    candidates = [_candidates(path.absolute()) for path in paths]
    for _ in range(max((len(path.absolute().parts) for path in paths), default=0) + 1):
        counts = Counter(name.casefold() for name in names)  # some file systems do not tell upper from lower case
        if all(counts[name.casefold()] == 1 for name in names):
            break
        names = [
            name if counts[name.casefold()] == 1 else next(longer, name)
            for name, longer in zip(names, candidates, strict=True)
        ]
    return _numbered(names)


def _candidates(path: Path) -> Iterator[str]:
    """Longer and longer names: ``cat``'s are ``cat.jpg``, ``pets_cat.jpg``, ``photos_pets_cat.jpg``, ..."""
    name = path.name
    yield name
    for folder in path.parent.parts[:0:-1]:
        name = f"{folder}_{name}"
        yield name


def _numbered(names: Sequence[str]) -> list[str]:
    """Numbers for what is the same even so, such as ``a_b/c.png`` and ``a/b_c.png``."""
    seen: set[str] = set()
    result = []
    for name in names:
        free, n = name, 1
        while free.casefold() in seen:
            n += 1
            free = f"{name}-{n}"
        seen.add(free.casefold())
        result.append(free)
    return result
