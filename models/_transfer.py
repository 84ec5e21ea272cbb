"""One download from one URL into a partial file, resumed where that is possible."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from caffe2lrp.models._cache import write_atomic

TIMEOUT = (10, 60)
"""Seconds to wait for a connection, and for the next bytes."""
ATTEMPTS = 5
"""How often a transfer that breaks off is taken up again without having got any further."""
RETRY_WAIT = 0.5
"""Seconds before a broken transfer is taken up again; grows with the number of attempts."""
_CHUNK = 1 << 16  # what is lost at most when a connection breaks

Progress = Callable[[int, int | None], None]
"""Called with the bytes that are there and the total, None where the server does not say."""


class TransferError(Exception):
    """A URL did not deliver; the message says why.

    Parameters
    ----------
    reason
        For the user.
    broken_off
        Whether the transfer had begun, so that it is worth while to take it up again.
    """

    def __init__(self, reason: str, *, broken_off: bool = False) -> None:
        super().__init__(reason)
        self.broken_off = broken_off


class DiskError(Exception):
    """What was received cannot be stored: no other URL will help."""


def download(url: str, part: Path, progress: Progress, *, hash_known: bool) -> bool:
    """Download `url` into the file `part`.

    A partial file from an earlier run is continued if the server supports it; else the download starts again. If
    the connection breaks, it is taken up again as long as it gets further.

    Parameters
    ----------
    url
        http or https.
    part
        File to write; what is in it already is continued.
    progress
        Called for each chunk.
    hash_known
        Whether the result will be verified. If not, a partial file is continued only if the server confirms that it is
        a part of the same file.

    Returns
    -------
    bool
        Whether the file was put together from more than one transfer.

    Raises
    ------
    TransferError
        If the URL does not deliver.
    DiskError
        If the file cannot be written.
    """
    failures = 0
    furthest = _size(part)
    resumed = False
    while True:
        start = _resume_at(url, part, hash_known=hash_known)
        resumed = resumed or start > 0
        try:
            _transfer(url, part, start, progress)
        except TransferError as error:
            failures = 0 if _size(part) > furthest else failures + 1
            furthest = max(furthest, _size(part))
            if not error.broken_off or failures >= ATTEMPTS:
                raise
            time.sleep(RETRY_WAIT * (failures + 1))
        else:
            return resumed


def discard(part: Path) -> None:
    """Remove a partial file."""
    part.unlink(missing_ok=True)
    _origin(part).unlink(missing_ok=True)


def finish(part: Path) -> None:
    """Remove what was noted about a partial file that is complete."""
    _origin(part).unlink(missing_ok=True)


# -- partial files ---------------------------------------------------------------------------------


def _origin(part: Path) -> Path:
    """Where it is noted what a partial file is a part of."""
    return part.with_name(part.name + ".json")


def _noted(part: Path) -> dict[str, str | None]:
    with suppress(OSError, ValueError):
        data = json.loads(_origin(part).read_bytes())
        if isinstance(data, dict):
            return data
    return {}


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _resume_at(url: str, part: Path, *, hash_known: bool) -> int:
    """Number of bytes that are there and may be kept."""
    size = _size(part)
    noted = _noted(part)
    same = noted.get("url") == url and noted.get("validator") is not None
    if size and (same or hash_known):
        return size
    discard(part)
    return 0


# -- one transfer ----------------------------------------------------------------------------------


@dataclass
class _Sink:
    """The file that pooch's downloader writes to; looks at the response before the first byte arrives."""

    file: IO[bytes]
    part: Path
    url: str
    start: int
    progress: Progress
    done: int = 0
    total: int | None = None
    begun: bool = False

    def on_response(self, response: Any, *_: Any, **__: Any) -> None:
        """Find out whether the server continues or starts again. Called by requests."""
        if response.is_redirect or response.status_code not in (200, 206):
            return
        headers = response.headers
        if headers.get("Content-Type", "").lower().startswith("text/html"):
            # Expired links answer with a page that says so; it must not be taken for the model.
            raise TransferError("sends a web page instead of the file")
        length = headers.get("Content-Length")
        self.total = int(length) if length is not None and length.isdigit() else None
        if response.status_code == 206:
            self.total = self._continued(headers.get("Content-Range", ""))
        else:
            self._from_start()
        validator = _validator(headers)
        note = json.dumps({"url": self.url, "validator": validator}).encode()
        _on_disk(lambda: write_atomic(_origin(self.part), note))
        self.begun = True
        self.done = self.start
        self.progress(self.done, self.total)

    def _continued(self, content_range: str) -> int | None:
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", content_range.strip())
        if match is None or int(match[1]) != self.start:
            discard(self.part)
            raise TransferError("sends another part of the file than was asked for", broken_off=True)
        return None if match[2] == "*" else int(match[2])

    def _from_start(self) -> None:
        self.start = 0
        self.file.seek(0)
        self.file.truncate()

    def write(self, chunk: bytes) -> None:
        """Store a chunk. Called by pooch."""
        _on_disk(lambda: self.file.write(chunk))
        self.done += len(chunk)
        self.progress(self.done, self.total)

    def flush(self) -> None:
        """Write buffered bytes. Called by pooch after each chunk."""
        _on_disk(self.file.flush)


def _transfer(url: str, part: Path, start: int, progress: Progress) -> None:
    import requests
    from pooch import HTTPDownloader  # type: ignore[import-untyped]

    # Compressed transfers would make the byte positions of partial files meaningless.
    headers = {"Accept-Encoding": "identity", "User-Agent": "caffe2lrp"}
    if start:
        headers["Range"] = f"bytes={start}-"
        validator = _noted(part).get("validator")
        if _noted(part).get("url") == url and validator is not None:
            headers["If-Range"] = validator
    with _open(part) as file:
        file.seek(start)
        sink = _Sink(file, part, url, start, progress)
        get = HTTPDownloader(chunk_size=_CHUNK, headers=headers, timeout=TIMEOUT, hooks={"response": sink.on_response})
        try:
            get(url, sink, None)
        except requests.RequestException as error:
            raise _translate(error, part, begun=sink.begun) from None
    if sink.total is not None and sink.done != sink.total:
        raise TransferError(f"breaks off after {sink.done} of {sink.total} bytes", broken_off=sink.done < sink.total)
    if sink.done == 0:
        raise TransferError("sends an empty file")


def _open(part: Path) -> IO[bytes]:
    try:
        return part.open("r+b" if part.exists() else "w+b")
    except OSError as error:
        raise _disk_error(error) from None


def _on_disk(action: Callable[[], object]) -> None:
    try:
        action()
    except OSError as error:
        raise _disk_error(error) from None


def _disk_error(error: OSError) -> DiskError:
    return DiskError(error.strerror or str(error))


def _validator(headers: Any) -> str | None:
    """What names this version of the file: a strong ETag, else the time of its last change."""
    etag = headers.get("ETag")
    return etag if etag and not etag.startswith("W/") else headers.get("Last-Modified")


def _translate(error: Any, part: Path, *, begun: bool) -> TransferError:
    """The error for what requests reports."""
    response = getattr(error, "response", None)
    if response is None:
        return TransferError(_network_reason(error), broken_off=begun)
    if response.status_code == 416:  # the partial file is longer than what the server has
        discard(part)
        return TransferError("has another file than the one begun", broken_off=True)
    return TransferError(f"answers {response.status_code} {response.reason}".strip())


def _network_reason(error: Any) -> str:
    """Say in a few words what requests says in many."""
    import requests

    text = str(error)
    system = re.search(r"\[Errno -?\d+\] ([^'\")]+)", text)
    if isinstance(error, requests.Timeout):
        return "does not answer in time"
    if "Failed to resolve" in text:
        return "cannot be found: is there a network?"
    if system is not None:
        return system[1].strip()
    if isinstance(error, requests.exceptions.ChunkedEncodingError | requests.ConnectionError):
        return "breaks off"
    return f"fails with {type(error).__name__}: {text[:120]}".rstrip(": ")
