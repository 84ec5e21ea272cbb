"""What lies in a model's folder of the cache: hashes, the record of what was received, and a lock."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from caffe2lrp.errors import FileFormatError

RECORD = "hashes.json"
_CHUNK = 1 << 20


def temporary(target: Path) -> Path:
    """A name beside `target` that no other process or thread uses."""
    return target.with_name(f".{target.name}.{os.getpid()}.{threading.get_ident()}.tmp")


def write_atomic(target: Path, data: bytes) -> None:
    """Write a file so that no reader ever sees half of it."""
    draft = temporary(target)
    try:
        draft.write_bytes(data)
        os.replace(draft, target)
    finally:
        draft.unlink(missing_ok=True)


def hash_file(path: Path) -> dict[str, str]:
    """sha1 and sha256 of a file, in one pass: models are large."""
    sha1, sha256 = hashlib.sha1(usedforsecurity=False), hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            sha1.update(chunk)
            sha256.update(chunk)
    return {"sha1": sha1.hexdigest(), "sha256": sha256.hexdigest()}


@dataclass(frozen=True, slots=True)
class Seen:
    """What the record holds of a file: its hashes, and its size and time when they were computed."""

    sha1: str
    sha256: str
    size: int
    mtime_ns: int

    @property
    def hashes(self) -> dict[str, str]:
        """The hashes by algorithm."""
        return {"sha1": self.sha1, "sha256": self.sha256}

    def is_unchanged(self, path: Path) -> bool:
        """Whether size and time say that the file is still the one that was hashed."""
        stat = path.stat()
        return (stat.st_size, stat.st_mtime_ns) == (self.size, self.mtime_ns)


class Record:
    """The hashes of the files in one folder, kept in ``hashes.json``.

    It serves two purposes: a file without a published hash is verified against what was first received, and a file
    that was verified once is not hashed again as long as its size and time stay the same.

    Parameters
    ----------
    folder
        The model's folder in the cache.

    Raises
    ------
    FileFormatError
        If ``hashes.json`` is there but cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / RECORD
        self._seen = _read_record(self.path)

    def get(self, name: str) -> Seen | None:
        """What is known of the file called `name`."""
        return self._seen.get(name)

    def add(self, path: Path, hashes: Mapping[str, str]) -> None:
        """Note the hashes of a file, if the folder can be written to."""
        stat = path.stat()
        self._seen[path.name] = Seen(hashes["sha1"], hashes["sha256"], stat.st_size, stat.st_mtime_ns)
        data = {
            name: {**seen.hashes, "size": seen.size, "mtime_ns": seen.mtime_ns} for name, seen in self._seen.items()
        }
        with suppress(OSError):  # a read-only cache works too, it is only hashed every time
            write_atomic(self.path, json.dumps(data, indent=2).encode())

    def hashes(self, path: Path) -> dict[str, str]:
        """Hashes of a file, computed only if it changed since they were noted."""
        seen = self.get(path.name)
        return seen.hashes if seen is not None and seen.is_unchanged(path) else hash_file(path)

    def expected(self, name: str, published: Mapping[str, str]) -> dict[str, str]:
        """What the hashes of a file have to be: as published, else as first received, else empty."""
        if published:
            return dict(published)
        seen = self.get(name)
        return {} if seen is None else {"sha256": seen.sha256}


def _read_record(path: Path) -> dict[str, Seen]:
    try:
        data = json.loads(path.read_bytes())
        return {name: Seen(**item) for name, item in data.items()}
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise FileFormatError(
            f"the record of received models '{path}' cannot be read ({error}); delete it to trust the files as they are"
        ) from None


def mismatch(hashes: Mapping[str, str], expected: Mapping[str, str]) -> str | None:
    """How hashes differ from what is expected, or None."""
    for algorithm, digest in expected.items():
        if hashes[algorithm] != digest.lower():
            return f"its {algorithm} is {hashes[algorithm]}, but {digest} is expected"
    return None


# -- lock ------------------------------------------------------------------------------------------


@contextmanager
def locked(path: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold an exclusive lock on a file, against other processes and other threads.

    Parameters
    ----------
    path
        The lock file; it stays behind, empty.
    waiting
        Called once if somebody else holds the lock.
    """
    with path.open("ab") as file:
        if not _try_lock(file):
            waiting()
            _wait_lock(file)
        yield  # closing the file releases the lock


if sys.platform == "win32":
    import msvcrt
    import time

    def _try_lock(file: IO[Any]) -> bool:
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _wait_lock(file: IO[Any]) -> None:
        while not _try_lock(file):
            time.sleep(0.2)

else:
    import fcntl

    def _try_lock(file: IO[Any]) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # some network file systems have no locks; temporary files still keep results whole
            return True
        return True

    def _wait_lock(file: IO[Any]) -> None:
        fcntl.flock(file, fcntl.LOCK_EX)
