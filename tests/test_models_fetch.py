"""Downloading models, against a small server on this machine; no network is used."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import shutil
import socket
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from caffe2lrp.errors import DownloadError, FileFormatError, OptionError
from caffe2lrp.models import _archive, _cache, _transfer, fetch, manifest, zoo
from caffe2lrp.models.cli import app
from caffe2lrp.models.manifest import Entry, Member, Source

DATA = hashlib.sha256(b"seed").digest() * 40_000  # 1.28 MB: several chunks
OTHER = DATA[::-1]


# -- the server ------------------------------------------------------------------------------------


@dataclass
class Page:
    """What the server answers under one path."""

    data: bytes = DATA
    status: int = 200
    ranges: bool = True
    etag: str | None = '"v1"'
    content_type: str = "application/octet-stream"
    length: bool = True
    break_after: list[int] = field(default_factory=list)  # for each request in turn: bytes before it breaks off
    wrong_range: bool = False
    delay: float = 0


@dataclass
class Server:
    url: str
    pages: dict[str, Page] = field(default_factory=dict)
    log: list[tuple[str, str | None]] = field(default_factory=list)

    def put(self, path: str, page: Page) -> str:
        self.pages[path] = page
        return self.url + path

    @property
    def ranges(self) -> list[str | None]:
        return [asked for _, asked in self.log]


class Handler(BaseHTTPRequestHandler):
    served: Server

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        page = self.served.pages.get(self.path, Page(b"no such page", 404))
        asked = self.headers.get("Range")
        self.served.log.append((self.path, asked))
        time.sleep(page.delay)
        start = self._start(page, asked)
        if start is None:
            self.send_error(416)
            return
        self._head(page, start)
        body = page.data[start:]
        if page.break_after:
            body = body[: page.break_after.pop(0)]
        self.wfile.write(body)

    def _start(self, page: Page, asked: str | None) -> int | None:
        unchanged = self.headers.get("If-Range") in (None, page.etag)
        if asked is None or not page.ranges or not unchanged or page.status != 200:
            return 0
        start = int(asked.removeprefix("bytes=").removesuffix("-"))
        return start if start < len(page.data) else None

    def _head(self, page: Page, start: int) -> None:
        self.send_response(206 if start else page.status)
        self.send_header("Content-Type", page.content_type)
        if page.length:
            self.send_header("Content-Length", str(len(page.data) - start))
        if start:
            first = 0 if page.wrong_range else start
            self.send_header("Content-Range", f"bytes {first}-{len(page.data) - 1}/{len(page.data)}")
        if page.etag:
            self.send_header("ETag", page.etag)
        self.end_headers()


@pytest.fixture
def server() -> Iterator[Server]:
    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served = Server(f"http://127.0.0.1:{http.server_address[1]}")
    http.RequestHandlerClass = type("BoundHandler", (Handler,), {"served": served})
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield served
    http.shutdown()
    thread.join()
    http.server_close()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("CAFFE2LRP_CACHE", str(folder))
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    monkeypatch.setattr(_transfer, "RETRY_WAIT", 0)
    monkeypatch.setattr(_transfer, "_CHUNK", 1000)  # no half chunks in the tests below
    return folder


Publish = Callable[..., Entry]


@pytest.fixture
def publish(monkeypatch: pytest.MonkeyPatch) -> Publish:
    """Put one model called ``toy`` into the manifest."""
    model = manifest.find("vgg16")

    def publish(*urls: str, data: bytes | None = DATA, file: str = "toy.caffemodel", **changes: Any) -> Entry:
        known: dict[str, Any] = {} if data is None else {"sha1": hashlib.sha1(data).hexdigest(), "size": len(data)}
        members = changes.pop("members", ())
        source = Source(file, "archive" if members else "weights", urls, members=members, **known)
        entry = replace(model, name="toy", sources=(source,), aliases=(), page="http://toy.example")
        entry = replace(entry, **changes)
        monkeypatch.setattr(manifest, "_names", lambda: {"toy": entry})
        return entry

    return publish


def _left(cache: Path) -> list[str]:
    """All files of the model's folder but the lock and the record."""
    return sorted(path.name for path in (cache / "toy").iterdir() if path.name not in (".lock", "hashes.json"))


def _fetch(**options: bool) -> fetch.Paths:
    return fetch.fetch("toy", progress=False, **options)


# -- plain downloads -------------------------------------------------------------------------------


def test_fetch_and_fetch_again(server: Server, publish: Publish, cache: Path) -> None:
    publish(server.put("/toy", Page()))
    assert not fetch.is_fetched("toy")
    paths = _fetch()
    assert paths.weights == cache / "toy" / "toy.caffemodel" == fetch.path("toy")
    assert paths.weights.read_bytes() == DATA
    assert _left(cache) == ["toy.caffemodel"]
    assert fetch.is_fetched("toy")
    server.pages.clear()
    assert _fetch() == paths == fetch.cached("toy")
    assert len(server.log) == 1


def test_both_hashes_are_checked(server: Server, publish: Publish) -> None:
    entry = publish(server.put("/toy", Page()))
    right = replace(entry.sources[0], sha256=hashlib.sha256(DATA).hexdigest().upper())
    publish(sources=(right,))
    _fetch()
    publish(sources=(replace(right, sha256="0" * 64),))
    with pytest.raises(DownloadError, match=r"not the expected file: its sha256 is \w+, but 0+ is expected"):
        _fetch()


def test_progress_bar_is_on_stderr(server: Server, publish: Publish, capsys: pytest.CaptureFixture[str]) -> None:
    publish(server.put("/toy", Page(length=False)))
    fetch.fetch("toy")
    out, err = capsys.readouterr()
    assert out == ""
    assert "toy.caffemodel" in err


def test_wrong_bytes_are_not_kept(server: Server, publish: Publish, cache: Path) -> None:
    url = server.put("/toy", Page(OTHER))
    publish(url)
    with pytest.raises(DownloadError) as caught:
        _fetch()
    message = str(caught.value)
    assert f"{url} sends {len(OTHER)} bytes that are not the expected file: its sha1 is" in message
    assert str(cache / "toy") in message
    assert "caffe2lrp models path toy" in message
    assert "http://toy.example" in message
    assert _left(cache) == []


def test_mirrors_in_order(server: Server, publish: Publish) -> None:
    urls = [
        server.put("/gone", Page(b"gone", 404)),
        server.put("/wrong", Page(OTHER)),
        server.put("/right", Page()),
        server.put("/never", Page()),
    ]
    publish(*urls)
    _fetch()
    assert [path for path, _ in server.log] == ["/gone", "/wrong", "/right"]


def test_all_urls_fail(server: Server, publish: Publish, cache: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{unused.getsockname()[1]}/toy"
    page = b"<html>this link has expired</html>"
    urls = [
        server.put("/gone", Page(b"", 404)),
        closed,
        server.put("/page", Page(page, content_type="text/html; charset=utf-8")),
        server.put("/empty", Page(b"")),
        server.put("/busy", Page(b"", 503)),
    ]
    publish(*urls, data=None)
    with pytest.raises(DownloadError) as caught:
        _fetch()
    lines = [line.strip() for line in str(caught.value).splitlines()]
    reasons = [
        "answers 404 Not Found",
        "Connection refused",
        "sends a web page instead of the file",
        "sends an empty file",
        "answers 503 Service Unavailable",
    ]
    assert lines[1:6] == [f"{url} {reason}" for url, reason in zip(urls, reasons, strict=True)]
    assert "toy.caffemodel" not in _left(cache)


def test_hosts_that_are_not_there(publish: Publish) -> None:
    publish("http://caffe2lrp.invalid/toy", "nonsense://caffe2lrp.invalid/toy")
    with pytest.raises(DownloadError, match=r"/toy cannot be found: is there a network\?\n.* fails with InvalidSchema"):
        _fetch()


def test_silent_server(server: Server, publish: Publish, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_transfer, "TIMEOUT", (1, 0.05))
    publish(server.put("/toy", Page(delay=0.3)))
    with pytest.raises(DownloadError, match="does not answer in time"):
        _fetch()


def test_no_url(publish: Publish) -> None:
    publish()
    with pytest.raises(DownloadError, match="no URL is published"):
        _fetch()


def test_unknown_model() -> None:
    with pytest.raises(OptionError, match="no model"):
        fetch.fetch("no such model")


# -- broken and resumed transfers ------------------------------------------------------------------


@pytest.mark.parametrize("length", [True, False])
def test_broken_transfer_is_resumed(server: Server, publish: Publish, length: bool) -> None:
    # Without Content-Length only the hash tells that something is missing.
    publish(server.put("/toy", Page(break_after=[300_000, 200_000] if length else [300_000], length=length)))
    assert _fetch_if(length)
    if length:
        assert server.ranges == [None, "bytes=300000-", "bytes=500000-"]


def _fetch_if(length: bool) -> bool:
    if length:
        return _fetch().weights is not None
    with pytest.raises(DownloadError, match="sends 300000 bytes that are not the expected file"):
        _fetch()
    return True


def test_server_without_ranges_starts_again(server: Server, publish: Publish) -> None:
    publish(server.put("/toy", Page(ranges=False, break_after=[300_000])))
    paths = _fetch()
    assert paths.weights is not None
    assert paths.weights.read_bytes() == DATA
    assert server.ranges == [None, "bytes=300000-"]


def test_transfer_that_never_ends_well(server: Server, publish: Publish, cache: Path) -> None:
    page = Page(ranges=False, etag=None, break_after=[1000] * 20)
    publish(server.put("/toy", page), data=None)
    with pytest.raises(DownloadError, match="breaks off"):
        _fetch()
    assert len(server.log) == _transfer.ATTEMPTS + 1
    assert "toy.caffemodel" not in _left(cache)


def test_later_run_continues(server: Server, publish: Publish, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = Page(break_after=[700_000] + [0] * 10)
    publish(server.put("/toy", page))
    with pytest.raises(DownloadError):
        _fetch()
    assert _left(cache) == [".toy.caffemodel.part", ".toy.caffemodel.part.json"]
    page.break_after.clear()
    server.log.clear()
    paths = _fetch()
    assert server.ranges == ["bytes=700000-"]
    assert paths.weights is not None
    assert paths.weights.read_bytes() == DATA
    assert _left(cache) == ["toy.caffemodel"]


def test_part_of_another_file_is_thrown_away(server: Server, publish: Publish, cache: Path) -> None:
    publish(server.put("/toy", Page()))
    (cache / "toy").mkdir(parents=True)
    (cache / "toy" / ".toy.caffemodel.part").write_bytes(OTHER[:1000])
    paths = _fetch()
    assert paths.weights is not None
    assert paths.weights.read_bytes() == DATA
    assert server.ranges == ["bytes=1000-", None]


@pytest.mark.parametrize("extra", [0, 5])
def test_part_that_is_too_long_is_thrown_away(server: Server, publish: Publish, cache: Path, extra: int) -> None:
    publish(server.put("/toy", Page()))
    (cache / "toy").mkdir(parents=True)
    (cache / "toy" / ".toy.caffemodel.part").write_bytes(DATA + bytes(extra))
    assert _fetch().weights is not None
    assert server.ranges == [f"bytes={len(DATA) + extra}-", None]


def test_without_hash_a_changed_file_is_not_continued(server: Server, publish: Publish) -> None:
    page = Page(break_after=[300_000] + [0] * 10)
    publish(server.put("/toy", page), data=None)
    with pytest.raises(DownloadError):
        _fetch()
    page.break_after.clear()
    page.data, page.etag = OTHER, '"v2"'
    paths = _fetch()
    assert paths.weights is not None
    assert paths.weights.read_bytes() == OTHER
    assert server.ranges[-1] == "bytes=300000-"  # asked for, but the server saw the old ETag in If-Range


def test_without_hash_and_etag_nothing_is_continued(server: Server, publish: Publish) -> None:
    publish(server.put("/toy", Page(etag=None, break_after=[300_000])), data=None)
    paths = _fetch()
    assert paths.weights is not None
    assert paths.weights.read_bytes() == DATA
    assert server.ranges == [None, None]


def test_server_that_sends_another_part(server: Server, publish: Publish) -> None:
    publish(server.put("/toy", Page(wrong_range=True, break_after=[300_000])))
    paths = _fetch()
    assert paths.weights is not None
    assert paths.weights.read_bytes() == DATA
    assert server.ranges == [None, "bytes=300000-", None]


# -- the record of hashes --------------------------------------------------------------------------


def test_first_hash_is_recorded(
    server: Server, publish: Publish, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    publish(server.put("/toy", Page()), data=None)
    paths = _fetch()
    digest = hashlib.sha256(DATA).hexdigest()
    assert f"no hash is published for toy.caffemodel: its sha256 {digest} is recorded" in capsys.readouterr().err
    assert json.loads((cache / "toy" / "hashes.json").read_text())["toy.caffemodel"]["sha256"] == digest

    _fetch()
    assert capsys.readouterr().err == ""
    assert len(server.log) == 1

    assert paths.weights is not None
    paths.weights.write_bytes(OTHER)
    _fetch()  # damaged on disk: fetched again, and what comes is compared with the record
    assert "is not the file that it should be" in capsys.readouterr().err
    assert paths.weights.read_bytes() == DATA


def test_changed_file_on_the_server_is_refused(server: Server, publish: Publish, cache: Path) -> None:
    url = server.put("/toy", Page())
    publish(url, data=None)
    _fetch()
    server.put("/toy", Page(OTHER))
    with pytest.raises(DownloadError, match=r"received first; delete hashes\.json"):
        _fetch(force=True)
    assert (cache / "toy" / "toy.caffemodel").read_bytes() == DATA
    (cache / "toy" / "hashes.json").unlink()
    _fetch(force=True)
    assert (cache / "toy" / "toy.caffemodel").read_bytes() == OTHER


def test_damaged_record(server: Server, publish: Publish, cache: Path) -> None:
    publish(server.put("/toy", Page()), data=None)
    _fetch()
    for damage in ("{", "[]", '{"toy.caffemodel": {"sha256": 1}}'):
        (cache / "toy" / "hashes.json").write_text(damage)
        with pytest.raises(FileFormatError, match="delete it"):
            _fetch()


def test_verified_file_is_not_hashed_again(
    server: Server, publish: Publish, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    publish(server.put("/toy", Page()))
    _fetch()
    hashed: list[Path] = []

    def pretend(path: Path) -> dict[str, str]:
        hashed.append(path)
        return {"sha1": "?", "sha256": "?"}

    monkeypatch.setattr(_cache, "hash_file", pretend)
    _fetch()
    assert hashed == []
    os.utime(cache / "toy" / "toy.caffemodel", ns=(1, 1))
    with pytest.raises(DownloadError, match="is not the file that it should be"):
        fetch.cached("toy")
    assert len(hashed) == 1


def test_file_put_there_by_hand(publish: Publish, cache: Path) -> None:
    publish("http://127.0.0.1:1/never")
    (cache / "toy").mkdir(parents=True)
    (cache / "toy" / "toy.caffemodel").write_bytes(DATA)
    assert _fetch().weights == cache / "toy" / "toy.caffemodel"
    (cache / "toy" / "toy.caffemodel").write_bytes(OTHER)
    with pytest.raises(DownloadError, match=r"cannot be used without a download.*models fetch toy"):
        fetch.cached("toy")


def test_force(server: Server, publish: Publish) -> None:
    publish(server.put("/toy", Page()))
    _fetch()
    _fetch(force=True)
    assert len(server.log) == 2


def test_not_there_and_not_to_be_fetched(publish: Publish) -> None:
    publish("http://127.0.0.1:1/never")
    with pytest.raises(DownloadError, match=r"is not there\. Run 'caffe2lrp models fetch toy'"):
        fetch.cached("toy")


# -- archives --------------------------------------------------------------------------------------

MEMBERS = (Member("toy.caffemodel", "weights"), Member("names.csv", "labels", optional=True))


def _tar(*files: tuple[str, bytes], link: str | None = None) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        if link is not None:
            info = tarfile.TarInfo("toy/toy.caffemodel")
            info.type, info.linkname = tarfile.SYMTYPE, link
            tar.addfile(info)
    return buffer.getvalue()


def _publish_archive(publish: Publish, url: str, data: bytes | None = None) -> None:
    publish(url, data=data, file="toy.tar.gz", members=MEMBERS)


def test_archive(server: Server, publish: Publish, cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    archive = _tar(("toy/._toy.caffemodel", b"?"), ("toy/toy.caffemodel", DATA), ("toy/names.csv", b"a 0\nb 1\n"))
    _publish_archive(publish, server.put("/toy.tar.gz", Page(archive)), archive)
    paths = _fetch()
    assert paths.weights is not None
    assert paths.weights.read_bytes() == DATA
    assert paths.labels == cache / "toy" / "names.csv"
    assert _left(cache) == ["names.csv", "toy.caffemodel"]
    assert "no hash is published for toy.caffemodel" in capsys.readouterr().err
    _fetch()
    assert len(server.log) == 1
    paths.weights.unlink()
    server.put("/toy.tar.gz", Page(_tar(("toy.caffemodel", OTHER))))
    _publish_archive(publish, server.url + "/toy.tar.gz")
    with pytest.raises(DownloadError, match=r"sends another 'toy\.caffemodel' than before"):
        _fetch()
    assert _left(cache) == ["names.csv"]


def test_archive_without_optional_file(server: Server, publish: Publish) -> None:
    _publish_archive(publish, server.put("/toy.tar.gz", Page(_tar(("toy.caffemodel", DATA)))))
    paths = _fetch()
    assert paths.weights is not None
    assert paths.labels is None


@pytest.mark.parametrize(
    ("archive", "reason"),
    [
        (_tar(("../toy.caffemodel", DATA)), "does not contain toy.caffemodel"),
        (_tar(("/tmp/caffe2lrp-evil/toy.caffemodel", DATA)), "does not contain toy.caffemodel"),
        (_tar(("a/../../toy.caffemodel", DATA)), "does not contain toy.caffemodel"),
        (_tar(link="../../secret"), "does not contain toy.caffemodel"),
        (_tar(("readme.txt", b"hello")), "does not contain toy.caffemodel"),
        (_tar(("toy.caffemodel", DATA))[:-200], "damaged"),
        (DATA, "is damaged or no archive"),
        (b"\x1f\x8b" + DATA, "damaged"),
    ],
    ids=["up", "absolute", "winding", "link", "missing", "cut", "no archive", "bad gzip"],
)
def test_evil_and_broken_archives(server: Server, publish: Publish, cache: Path, archive: bytes, reason: str) -> None:
    (cache.parent / "secret").write_text("secret")
    before = sorted(cache.parent.rglob("*"))
    _publish_archive(publish, server.put("/toy.tar.gz", Page(archive)))
    with pytest.raises(DownloadError, match=reason):
        _fetch()
    assert _left(cache) == []
    after = [path for path in sorted(cache.parent.rglob("*")) if cache not in (path, *path.parents)]
    assert after == before
    assert not Path("/tmp/caffe2lrp-evil").exists()


def test_archive_of_impossible_size(server: Server, publish: Publish, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_archive, "MAX_MEMBER", 1000)
    _publish_archive(publish, server.put("/toy.tar.gz", Page(_tar(("toy.caffemodel", DATA)))))
    with pytest.raises(DownloadError, match="claims to have 1280000 bytes"):
        _fetch()


def test_archive_put_there_by_hand(publish: Publish, cache: Path) -> None:
    archive = _tar(("toy.caffemodel", DATA))
    _publish_archive(publish, "http://127.0.0.1:1/never", archive)
    (cache / "toy").mkdir(parents=True)
    (cache / "toy" / "toy.tar.gz").write_bytes(archive)
    paths = _fetch()
    assert paths.weights is not None
    assert paths.weights.read_bytes() == DATA
    paths.weights.unlink()
    (cache / "toy" / "toy.tar.gz").write_bytes(archive + b"?")
    with pytest.raises(DownloadError, match="is not the published archive"):
        _fetch()
    _publish_archive(publish, "http://127.0.0.1:1/never")
    (cache / "toy" / "toy.tar.gz").write_bytes(b"?")
    with pytest.raises(DownloadError, match=r"no archive.*Delete"):
        _fetch()


# -- several at once, and disks --------------------------------------------------------------------


def test_concurrent_fetches_share_one_download(
    server: Server, publish: Publish, capsys: pytest.CaptureFixture[str]
) -> None:
    publish(server.put("/toy", Page(delay=0.2)))
    results: list[fetch.Paths] = []
    threads = [threading.Thread(target=lambda: results.append(_fetch())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    assert len(set(results)) == 1
    assert len(server.log) == 1
    assert "waiting for another download of toy" in capsys.readouterr().err


def test_readers_never_see_half_a_file(server: Server, publish: Publish, cache: Path) -> None:
    publish(server.put("/toy", Page()))
    _fetch()
    target = cache / "toy" / "toy.caffemodel"
    sizes: set[int] = set()
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            sizes.add(target.stat().st_size)

    watcher = threading.Thread(target=watch)
    watcher.start()
    for _ in range(3):
        _fetch(force=True)
    done.set()
    watcher.join()
    assert sizes == {len(DATA)}


def test_cache_that_is_no_folder(publish: Publish, cache: Path) -> None:
    publish("http://127.0.0.1:1/never")
    cache.write_text("in the way")
    with pytest.raises(DownloadError, match=r"cannot write to .*CAFFE2LRP_CACHE"):
        _fetch()


def test_full_disk(server: Server, publish: Publish, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class FullDisk(io.BytesIO):
        def write(self, _: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(_transfer, "_open", lambda part: FullDisk())
    publish(server.put("/toy", Page()), server.put("/mirror", Page()))
    with pytest.raises(DownloadError, match=r"cannot write to .*No space left on device"):
        _fetch()
    assert [path for path, _ in server.log] == ["/toy"]


def test_read_only_cache_can_be_used(
    server: Server, publish: Publish, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(server.put("/toy", Page()))
    paths = _fetch()
    (cache / "toy" / "hashes.json").unlink()

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(_cache, "write_atomic", refuse)
    assert _fetch() == paths
    assert not (cache / "toy" / "hashes.json").exists()


def test_default_cache_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CAFFE2LRP_CACHE")
    assert fetch.cache_folder().name == "caffe2lrp" or "caffe2lrp" in fetch.cache_folder().parts
    monkeypatch.setenv("CAFFE2LRP_CACHE", "~/models")
    assert fetch.cache_folder() == Path.home() / "models"


# -- models as networks, and class names -----------------------------------------------------------


def test_bundled_model(publish: Publish) -> None:
    files = {"weights": "manifest.json", "prototxt": "nets.py"}
    publish(sources=(), bundled=files)
    paths = _fetch()
    assert paths == fetch.cached("toy")
    assert paths.weights == Path(manifest.__file__).with_name("manifest.json")
    assert fetch.is_fetched("toy")
    publish(sources=(), bundled={"weights": "nowhere.caffemodel"})
    with pytest.raises(DownloadError, match="install caffe2lrp again"):
        _fetch()


def test_load(shared: Path, publish: Publish, cache: Path) -> None:
    stored = shared / "models" / "squeezenet_v1.1" / "squeezenet_v1.1.caffemodel"
    squeezenet = next(entry for entry in manifest.entries() if entry.name == "squeezenet_v1.1")
    publish(
        "http://127.0.0.1:1/never",
        data=None,
        net=squeezenet.net,
        input=squeezenet.input,
        preprocessing=squeezenet.preprocessing,
    )
    (cache / "toy").mkdir(parents=True)
    shutil.copy(stored, cache / "toy" / "toy.caffemodel")
    network = zoo.load("toy", fetch=False)
    assert network.labels is None
    assert network.preprocessing is not None
    assert network.preprocessing.mean == (104.0, 117.0, 123.0)
    assert network.input_shape == (1, 3, 227, 227)
    assert str(cache) in str(network.layer("conv1").origin)

    (cache / "ilsvrc12_labels").mkdir()
    shutil.copy(shared / "data" / "synset_words.txt", cache / "ilsvrc12_labels")
    labels = zoo.load("toy").labels
    assert labels is not None
    assert labels[281] == "tabby, tabby cat"


def test_load_with_a_published_prototxt(shared: Path, publish: Publish, cache: Path) -> None:
    sources = (Source("lenet_iter_10000.caffemodel", "weights", ()), Source("deploy.prototxt", "prototxt", ()))
    publish(sources=sources, net=None, labels="digits")
    (cache / "toy").mkdir(parents=True)
    for source in sources:
        shutil.copy(shared / "models" / "lenet_v2" / source.file, cache / "toy")
    network = zoo.load("toy")
    assert network.input_shape[1:] == (1, 28, 28)
    assert network.labels == tuple("0123456789")


def test_load_writes_nothing_into_a_read_only_cache(
    shared: Path, publish: Publish, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish("http://127.0.0.1:1/never", data=None, net="squeezenet_v1.1")
    (cache / "toy").mkdir(parents=True)
    shutil.copy(shared / "models" / "squeezenet_v1.1" / "squeezenet_v1.1.caffemodel", cache / "toy" / "toy.caffemodel")

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(zoo, "write_atomic", refuse)
    assert zoo.load("toy").name == "SqueezeNet"
    assert _left(cache) == ["toy.caffemodel"]


def test_data_is_no_model() -> None:
    with pytest.raises(OptionError, match="is data, not a model"):
        zoo.load("ilsvrc12_labels")


def test_labels_beside_the_weights_come_first(cache: Path, tmp_path: Path) -> None:
    (cache / "ilsvrc12_labels").mkdir(parents=True)
    synsets = [f"n{i:08d} thing {i}, other name" for i in range(1000)]
    (cache / "ilsvrc12_labels" / "synset_words.txt").write_text("\n".join(synsets) + "\n")
    assert zoo.find_labels("ilsvrc12", tmp_path) == tuple(f"thing {i}, other name" for i in range(1000))
    (tmp_path / "synset_words.txt").write_text("\n".join(synsets[::-1]))
    beside = zoo.find_labels("ilsvrc12", tmp_path)
    assert beside is not None
    assert beside[0] == "thing 999, other name"
    (tmp_path / "synset_words.txt").write_text("\n".join(synsets[:10]))
    with pytest.raises(FileFormatError, match="holds 10 class names, but ilsvrc12 has 1000"):
        zoo.find_labels("ilsvrc12", tmp_path)


def test_places_labels(tmp_path: Path) -> None:
    assert zoo.find_labels("places205", tmp_path) is None
    lines = [f"/a/place_{i}/outdoor {i}" for i in range(205)]
    (tmp_path / "categoryIndex_places205.csv").write_text("\n".join(lines[::-1]) + "\n")
    labels = zoo.find_labels("places205", tmp_path)
    assert labels is not None
    assert labels[:2] == ("place_0/outdoor", "place_1/outdoor")


def test_digit_labels() -> None:
    assert zoo.find_labels("digits") == tuple("0123456789")


# -- command line ----------------------------------------------------------------------------------


def test_fetch_command(server: Server, publish: Publish, cache: Path) -> None:
    publish(server.put("/toy", Page()), labels="digits")
    result = CliRunner().invoke(app, ["fetch", "toy", "--no-progress"])
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == str(cache / "toy" / "toy.caffemodel")


def test_fetch_command_checks_all_names_first(server: Server, publish: Publish) -> None:
    publish(server.put("/toy", Page()))
    result = CliRunner().invoke(app, ["fetch", "toy", "nonsense"])
    assert isinstance(result.exception, OptionError)
    assert server.log == []


def test_fetch_command_without_labels(server: Server, publish: Publish, monkeypatch: pytest.MonkeyPatch) -> None:
    toy = publish(server.put("/toy", Page()))
    source = Source(
        "names.tar.gz", "archive", (server.url + "/names",), members=(Member("synset_words.txt", "labels"),)
    )
    names = replace(toy, name="ilsvrc12_labels", kind="data", sources=(source,))
    monkeypatch.setattr(manifest, "_names", lambda: {"toy": toy, "ilsvrc12_labels": names})
    result = CliRunner().invoke(app, ["fetch", "toy", "--no-progress"])
    assert result.exit_code == 0, result.output
    assert "class names are not" in result.stderr
    server.put("/names", Page(_tar(("synset_words.txt", b"n00000000 thing\n" * 1000))))
    result = CliRunner().invoke(app, ["fetch", "toy", "--no-progress"])
    assert "class names" not in result.stderr
    assert zoo.find_labels("ilsvrc12") == ("thing",) * 1000
