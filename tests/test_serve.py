"""The local page: what it answers, what it refuses, that its command lines hold, and that it works in a browser."""

from __future__ import annotations

import io
import json
import shlex
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import caffe2lrp
from caffe2lrp.cli import app
from caffe2lrp.cli import serve as command
from caffe2lrp.cli.options import ModelOptions
from caffe2lrp.errors import OptionError
from caffe2lrp.models import zoo

pytest.importorskip("starlette")
pytest.importorskip("httpx")

from starlette.testclient import TestClient

from caffe2lrp.serve import app as serving
from caffe2lrp.serve import state
from caffe2lrp.serve.app import create_app
from caffe2lrp.serve.settings import read_setting
from caffe2lrp.serve.state import Gallery

DIGITS = Path(__file__).parents[1] / "models" / "digits"
THREE = DIGITS / "digit_3.png"
BYTES = {"Content-Type": "application/octet-stream"}
HOST = "http://127.0.0.1:8000"


@pytest.fixture
def gallery() -> Gallery:
    return command.open_gallery(ModelOptions())


@pytest.fixture
def client(gallery: Gallery) -> Iterator[TestClient]:
    with TestClient(create_app(gallery), base_url=HOST, raise_server_exceptions=False) as client:
        yield client


def upload(client: TestClient, path: Path = THREE, name: str = "digit_3.png") -> dict[str, Any]:
    answer = client.post("/api/images", params={"name": name}, content=path.read_bytes(), headers=BYTES)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def refused(answer: Any, status: int, *words: str) -> None:
    """One line of JSON that has the words."""
    assert answer.status_code == status, answer.text
    text = answer.json()["error"]
    assert "\n" not in text
    for word in words:
        assert word in text


# -- what it answers --------------------------------------------------------------------------------


def test_the_page_needs_nothing_from_elsewhere(client: TestClient) -> None:
    for path, kind in (("/", "html"), ("/app.js", "javascript"), ("/style.css", "css"), ("/icon.svg", "svg")):
        answer = client.get(path)
        assert answer.status_code == 200
        assert kind in answer.headers["content-type"]
        assert "https:" not in answer.text
        assert " onclick=" not in answer.text
        assert " style=" not in answer.text
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy


def test_the_highest_classes_of_a_picture(client: TestClient) -> None:
    image = upload(client)
    first = image["classes"][0]
    assert first["index"] == 3
    assert first["probability"] > 0.99
    assert len(image["classes"]) == 10
    assert (image["width"], image["height"]) == (28, 28)
    view = Image.open(io.BytesIO(client.get(f"/api/images/{image['id']}/view.png").content))
    np.testing.assert_array_equal(np.asarray(view.convert("L")), np.asarray(Image.open(THREE).convert("L")))


def test_a_map_is_what_explain_gives(client: TestClient) -> None:
    image = upload(client)
    query = {"target": 5, "composite": "toolbox_100", "beta": 0.5, "epsilon": 0.25, "lrn": "identity"}
    answer = client.get(f"/api/images/{image['id']}/map.npy", params=query)
    network = zoo.load("digits")
    assert network.preprocessing is not None
    x = network.preprocessing(THREE, network.input_shape)
    session = caffe2lrp.Session(network, x)
    with session.values():  # the page shows scores before it knows the rule
        pass
    e = session.explain(5, composite="toolbox_100", beta=0.5, epsilon=0.25, lrn="identity")
    np.testing.assert_array_equal(np.load(io.BytesIO(answer.content)), e.relevance[0])
    facts = client.get(f"/api/images/{image['id']}/explanation", params=query).json()
    assert facts["score"] == pytest.approx(float(e.score[0]))
    assert facts["sum"] == pytest.approx(float(e.relevance.sum(dtype=np.float64)))
    assert facts["positive"] + facts["negative"] == pytest.approx(facts["sum"])


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"rule": "alphabeta", "beta": "0.1", "target": "8", "cmap": "hot"},
        {"rule": "epsilon", "epsilon": "0.30000000000000004", "lrn": "toolbox"},
        {"composite": "smoothgrad", "samples": "3", "noise": "0.1", "seed": "7"},
        {"composite": "epsilon_gamma_box", "gamma": "0.5"},
    ],
)
def test_the_command_line_makes_the_same_files(
    client: TestClient, query: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "-a 'digit'.png"
    monkeypatch.chdir(tmp_path)
    shutil.copy(THREE, tmp_path / name)
    image = upload(client, name=name)
    base = f"/api/images/{image['id']}"
    facts = client.get(f"{base}/explanation", params=query).json()
    program, *arguments = shlex.split(facts["command"])
    assert program == "caffe2lrp"
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    stem = tmp_path / "caffe2lrp-out" / facts["files"]
    assert Path(f"{stem}.npy").read_bytes() == client.get(f"{base}/map.npy", params=query).content
    for kind, over in (("heatmap", "0"), ("overlay", "1")):
        drawn = client.get(f"{base}/map.png", params={**query, "overlay": over, "download": "1"})
        assert Path(f"{stem}.{kind}.png").read_bytes() == drawn.content


def test_model_options_are_part_of_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    options = ModelOptions(
        prototxt=Path("a b.prototxt"), weights=Path("/w"), mean="104,117,123", plugins=[Path("p.py")]
    )
    assert command.model_arguments(options) == [
        "--plugin", str(tmp_path / "p.py"),
        "--prototxt", str(tmp_path / "a b.prototxt"), "--weights", "/w", "--mean", "104,117,123",
    ]  # fmt: skip


def test_values_of_another_layer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(THREE, tmp_path / "digit_3.png")
    gallery = command.open_gallery(ModelOptions(), "conv1/5x5")
    client = TestClient(create_app(gallery), base_url=HOST)
    image = upload(client)
    scores = [c["score"] for c in image["classes"]]
    assert scores == sorted(scores, reverse=True)
    assert all(c["probability"] is None for c in image["classes"])
    base = f"/api/images/{image['id']}"
    facts = client.get(f"{base}/explanation").json()
    assert facts["score"] == scores[0]
    result = CliRunner().invoke(app, shlex.split(facts["command"])[1:])
    assert result.exit_code == 0, result.output
    array = client.get(f"{base}/map.npy")
    name = f"{facts['files']}.npy"
    assert name in array.headers["content-disposition"]
    assert (tmp_path / "caffe2lrp-out" / name).read_bytes() == array.content
    with pytest.raises(OptionError, match="conv9"):
        command.open_gallery(ModelOptions(), "conv9")


def test_a_picture_runs_forward_once(client: TestClient, gallery: Gallery) -> None:
    image = upload(client)
    for beta in range(12):  # more settings than plans are kept
        answer = client.get(f"/api/images/{image['id']}/map.png", params={"rule": "alphabeta", "beta": beta})
        assert answer.status_code == 200
    plan = gallery.picture(image["id"]).session._plan
    assert plan.runs == 1
    other = upload(client, DIGITS / "digit_7.png")
    assert gallery.picture(other["id"]).session._plan is plan, "buffers are shared"


def test_the_oldest_pictures_are_forgotten(client: TestClient) -> None:
    first = upload(client)
    for _ in range(state.KEPT_PICTURES):
        upload(client)
    refused(client.get(f"/api/images/{first['id']}/map.png"), 404, "give it again")


def test_many_at_once_do_not_mix(client: TestClient) -> None:
    images = {digit: upload(client, DIGITS / f"digit_{digit}.png") for digit in (2, 3, 5, 7)}

    def ask(digit: int) -> bytes:
        answer = client.get(f"/api/images/{images[digit]['id']}/map.npy", params={"rule": "alphabeta", "beta": 1})
        return answer.content

    alone = {digit: ask(digit) for digit in images}
    for image in images.values():
        client.app._app.state.gallery.picture(image["id"]).maps.clear()  # type: ignore[attr-defined]
    together: list[tuple[int, bytes]] = []
    threads = [threading.Thread(target=lambda d=d: together.append((d, ask(d)))) for d in [*images] * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(together) == 12
    assert all(content == alone[digit] for digit, content in together)


# -- what it refuses --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "192.0.2.1", "", "[::1"]
)
def test_other_names_of_this_machine_are_refused(client: TestClient, host: str) -> None:
    refused(client.get("/", headers={"Host": host}), 403, "caffe2lrp serve")


@pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1:8000", "[::1]:8000", "127.0.0.1"])
def test_names_of_the_loopback_are_answered(client: TestClient, host: str) -> None:
    assert client.get("/api/model", headers={"Host": host}).status_code == 200


def test_a_server_for_others_answers_to_its_name_and_numbers(gallery: Gallery) -> None:
    client = TestClient(create_app(gallery, "box.example"), base_url=HOST)
    for host, status in (("box.example:80", 200), ("192.0.2.1:80", 200), ("localhost", 200), ("evil.example", 403)):
        assert client.get("/api/model", headers={"Host": host}).status_code == status


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:9000", "http://localhost:8000"])
def test_pages_of_other_origins_are_refused(client: TestClient, origin: str) -> None:
    answer = client.post("/api/images", content=THREE.read_bytes(), headers={**BYTES, "Origin": origin})
    refused(answer, 403, "other pages")
    assert "access-control-allow-origin" not in answer.headers


def test_the_own_page_is_answered(client: TestClient) -> None:
    headers = {**BYTES, "Origin": HOST, "Sec-Fetch-Site": "same-origin"}
    assert client.post("/api/images", content=THREE.read_bytes(), headers=headers).status_code == 201


def test_pictures_are_not_shown_on_other_pages(client: TestClient) -> None:
    image = upload(client)
    for site in ("cross-site", "same-site"):
        answer = client.get(f"/api/images/{image['id']}/view.png", headers={"Sec-Fetch-Site": site})
        refused(answer, 403, "other pages")
    assert client.get("/", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 200, "a link is followed"


def test_forms_are_refused(client: TestClient) -> None:
    for kind in ("text/plain", "multipart/form-data; boundary=x", "image/png"):
        answer = client.post("/api/images", content=THREE.read_bytes(), headers={"Content-Type": kind})
        refused(answer, 415, "octet-stream")


def test_large_files_are_refused(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "MAX_BYTES", 2**20)
    refused(client.post("/api/images", content=bytes(2**20 + 1), headers=BYTES), 413, "1 MB")
    read = 0

    def parts() -> Iterator[bytes]:  # without a length
        nonlocal read
        for _ in range(100):
            read += 1
            yield bytes(2**18)

    refused(client.post("/api/images", content=parts(), headers=BYTES), 413, "1 MB")


def test_pictures_of_many_pixels_are_refused_before_they_are_decoded(client: TestClient) -> None:
    side = 7200  # 51.8 million pixels in 60 kB
    buffer = io.BytesIO()
    Image.new("1", (side, side)).save(buffer, "PNG")
    answer = client.post("/api/images", params={"name": "bomb.png"}, content=buffer.getvalue(), headers=BYTES)
    refused(answer, 400, "bomb.png", "7200 x 7200", "50,000,000")


@pytest.mark.parametrize(("data", "word"), [(b"", "empty"), (b"no picture", "not an image"), (None, "cut off")])
def test_what_is_no_picture_is_refused(client: TestClient, data: bytes | None, word: str) -> None:
    content = THREE.read_bytes()[:-80] if data is None else data
    answer = client.post("/api/images", params={"name": "x\ny.png"}, content=content, headers=BYTES)
    refused(answer, 400, "xy.png", word)


@pytest.mark.parametrize(
    ("query", "word"),
    [
        ({"rule": "x"}, "no rule 'x'"),
        ({"composite": "pyproject.toml"}, "no composite"),
        ({"rule": "epsilon", "composite": "epsilon_plus"}, "not both"),
        ({"rule": "alphabeta", "beta": "-1"}, "beta"),
        ({"rule": "alphabeta", "beta": "nan"}, "must be a number"),
        ({"rule": "alphabeta", "beta": "1e999"}, "must be a number"),
        ({"rule": "alphabeta", "gamma": "1"}, "does not take gamma"),
        ({"rule": "epsilon", "no": "x"}, "must be a number"),
        ({"composite": "smoothgrad", "samples": "51"}, "at most 50"),
        ({"lrn": "x"}, "lrn"),
        ({"cmap": "x"}, "colour map"),
        ({"target": "10"}, "no class 10"),
        ({"target": "-1"}, "whole number"),
        ({"target": "9" * 5000}, "whole number"),
        ({"target": "³"}, "whole number"),
    ],
)
def test_settings_that_cannot_be(client: TestClient, query: dict[str, str], word: str) -> None:
    key = upload(client)["id"]
    for answer in (client.get(f"/api/images/{key}/{end}", params=query) for end in ("explanation", "map.png")):
        refused(answer, 400, word)


def test_what_is_not_there(client: TestClient) -> None:
    for path in ("/x", "/examples/digits.caffemodel", "/examples/..%2fdigits.prototxt", "/../pyproject.toml"):
        refused(client.get(path), 404)
    refused(client.get("/api/images/x/map.npy"), 404, "not held")
    refused(client.get("/api/images"), 405)
    assert client.get("/examples/digit_3.png").content == THREE.read_bytes()


def test_a_fault_of_ours_is_one_line(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    key = upload(client)["id"]

    def fail(*_: object) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(Gallery, "explain", fail)
    answer = client.get(f"/api/images/{key}/explanation")
    refused(answer, 500, "terminal")
    assert "secret" not in answer.text
    assert "content-security-policy" in answer.headers


def test_numbers_that_json_does_not_have(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    key = upload(client)["id"]
    lost = state.Map(np.full((1, 28, 28), np.nan, np.float32), float("inf"), "x")
    monkeypatch.setattr(Gallery, "explain", lambda *_: lost)
    facts = json.loads(client.get(f"/api/images/{key}/explanation").text, parse_constant=pytest.fail)
    assert facts["score"] is None
    assert facts["sum"] is None
    assert client.get(f"/api/images/{key}/map.png").status_code == 200


def test_settings_are_told_apart() -> None:
    assert read_setting({"rule": "alphabeta", "beta": "1"}) == read_setting({"beta": "1.0", "rule": "alphabeta"})
    assert read_setting({"rule": "alphabeta", "beta": "1"}) != read_setting({"rule": "alphabeta", "beta": "1.5"})


# -- the command ------------------------------------------------------------------------------------


def test_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "find_spec", lambda name: None)
    result = CliRunner().invoke(app, ["serve"])
    assert result.exit_code == 2
    assert "pip install 'caffe2lrp[serve]'" in result.stderr
    assert "Traceback" not in result.output


def test_a_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = CliRunner().invoke(app, ["serve", "--port", str(taken.getsockname()[1])])
    assert result.exit_code == 2
    assert "--port" in result.stderr
    with pytest.raises(OptionError, match="nowhere"):
        command._listen("nowhere.invalid", 0)


# -- in a browser -----------------------------------------------------------------------------------

FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)
DROP = """async ([url, name]) => {
  const blob = await (await fetch(url)).blob();
  const data = new DataTransfer();
  data.items.add(new File([blob], name, { type: "image/png" }));
  document.getElementById("drop").dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true }));
}"""


@pytest.fixture
def address(gallery: Gallery) -> Iterator[str]:
    """A server of its own, at a free port."""
    uvicorn = pytest.importorskip("uvicorn")
    listener = command._listen("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(create_app(gallery), log_level="warning"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    until = time.monotonic() + 30
    while not server.started and time.monotonic() < until:
        time.sleep(0.02)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
    server.should_exit = True
    thread.join()


@pytest.fixture
def browser() -> Iterator[Any]:
    """Chromium, driven by Playwright: the system's, or the one that ``playwright install chromium`` brought."""
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")
    found = filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome")))
    with api.sync_playwright() as playwright:
        path = next(found, playwright.chromium.executable_path)
        if not Path(path).exists():
            pytest.skip("there is no Chromium: install your system's, or run 'playwright install chromium'")
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS.split())
        yield browser
        browser.close()


def test_the_page_in_a_browser(address: str, browser: Any) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 844}, accept_downloads=True)
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)

    def shown(number: int = 0) -> str:
        """What a panel shows, as soon as it is settled: the picture's pixels."""
        page.wait_for_selector(".panel.busy", state="detached")
        script = """(image) => {
          const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight);
          canvas.getContext("2d").drawImage(image, 0, 0);
          return canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.join();
        }"""
        return str(page.locator(".panel .window img").nth(number).evaluate(script))

    def change(act: Any, number: int = 0) -> str:
        """What a panel shows after something was done; it must be something else."""
        before = shown(number)
        act()
        after = shown(number)
        assert after != before
        return after

    page.goto(address)
    page.wait_for_selector("#examples button")
    page.evaluate(DROP, [f"{address}examples/digit_3.png", "digit_3.png"])
    page.wait_for_selector(".panel pre:not(:empty)")
    buttons = page.locator("#list button")
    assert buttons.nth(0).get_attribute("aria-pressed") == "true"
    assert "3" in buttons.nth(0).inner_text()
    change(lambda: buttons.nth(1).click())
    assert buttons.nth(1).get_attribute("aria-pressed") == "true"

    change(lambda: page.select_option("[name=what]", "rule:alphabeta"))
    beta = page.locator("input[type=range][name=beta]")
    beta.focus()
    change(lambda: page.keyboard.press("End"))  # the keyboard moves it
    assert page.input_value("[name=beta-value]") == "5"
    command_line = page.inner_text(".panel pre")
    assert "--rule alphabeta:beta=5" in command_line
    assert "alphabeta 5" in page.inner_text("#status")

    page.click("#compare")
    first = shown(0)
    assert shown(1) == first, "the second setting begins as the first"
    second = page.locator(".panel").nth(1)
    change(lambda: second.locator("[name=beta-value]").fill("0"), number=1)
    assert shown(0) == first, "the first setting stays"
    change(lambda: page.check("input[value=overlay]", force=True))
    assert page.inner_text(".panel >> nth=0 >> pre") == command_line, "each panel has its own values"
    change(lambda: page.select_option("#cmap", "hot"))
    change(lambda: page.select_option("#cmap", "viridis"))

    first_panel = page.locator(".panel").first
    change(lambda: first_panel.locator("[name=what]").select_option("composite:epsilon_gamma_box"))
    assert "epsilon_gamma_box:epsilon=1e-06,gamma=0.25 " in first_panel.locator("pre").inner_text()
    first_panel.locator("[name=low-value]").fill("-1")  # one bound alone says nothing
    change(lambda: first_panel.locator("[name=high-value]").fill("2"))
    assert "gamma=0.25,high=2,low=-1 " in first_panel.locator("pre").inner_text()

    page.click("#zoom-in")
    assert "scale(1.5)" in page.locator(".window img").nth(1).get_attribute("style")
    with page.expect_download() as download:
        second.locator(".array").click()
    assert download.value.suggested_filename.endswith(".npy")
    assert np.load(download.value.path()).shape == (1, 28, 28)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 390, "nothing sticks out on a telephone"
    assert page.evaluate(
        "() => [...document.querySelectorAll('main input, main select, main button')]"
        ".filter((e) => !(e.labels?.length || e.textContent.trim() || e.ariaLabel || e.querySelector('img[alt]')))"
        ".map((e) => e.outerHTML)"
    ) == [], "everything has a name"  # fmt: skip

    page.set_input_files("#file", {"name": "x.png", "mimeType": "image/png", "buffer": b"no picture"})
    page.wait_for_selector("#problem:not(:empty)")
    assert "x.png" in page.inner_text("#problem")
    assert [fault for fault in faults if "400" not in fault] == []
