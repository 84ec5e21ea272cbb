"""What the browser asks for, and the answers. Functions that compute run in threads: no request waits for another's."""

from __future__ import annotations

import io
import math
from importlib.resources import files
from pathlib import PurePath
from typing import Any
from urllib.parse import quote

import numpy as np
from PIL import Image
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from caffe2lrp.errors import Caffe2LrpError, OptionError
from caffe2lrp.pictures import COLORMAPS, DEFAULT_COLORMAP, colormap, heatmap, overlay
from caffe2lrp.pictures.colormaps import matplotlib_names
from caffe2lrp.pictures.drawing import enlarged, to_png
from caffe2lrp.serve.guard import LOOPBACK, Guard
from caffe2lrp.serve.settings import Setting, choices, command, read_setting
from caffe2lrp.serve.state import MAX_BYTES, Gallery, GoneError, Map, Picture

PERCENTILE = 99.5  # as in the files that `explain` writes
_STATIC = {
    "/": ("index.html", "text/html"),
    "/app.js": ("app.js", "text/javascript"),
    "/style.css": ("style.css", "text/css"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
_RAMP = 256


def create_app(gallery: Gallery, host: str = LOOPBACK) -> Guard:
    """The page as an ASGI application.

    Parameters
    ----------
    gallery
        The network and its pictures.
    host
        What the server is bound to; see `Guard`.
    """
    routes = [
        *(Route(path, _static(file, kind)) for path, (file, kind) in _STATIC.items()),
        Route("/examples/{name}", _example),
        Route("/api/model", _model),
        Route("/api/colours.png", _colours),
        Route("/api/images", _upload, methods=["POST"]),
        Route("/api/images/{key}/view.png", _view),
        Route("/api/images/{key}/explanation", _explanation),
        Route("/api/images/{key}/map.png", _picture),
        Route("/api/images/{key}/map.npy", _array),
    ]
    app = Starlette(
        routes=routes,
        exception_handlers={
            Caffe2LrpError: _refused,
            HTTPException: _http_error,
            MemoryError: _no_memory,
            Exception: _broken,
        },
    )
    app.state.gallery = gallery
    return Guard(app, host)  # outermost, so that nothing leaves without its headers


# -- the page ---------------------------------------------------------------------------------------


def _static(file: str, kind: str) -> Any:
    content = files(__package__).joinpath("static", file).read_bytes()

    async def answer(request: Request) -> Response:
        return Response(content, media_type=kind)

    return answer


def _example(request: Request) -> Response:
    path = _gallery(request).examples.get(request.path_params["name"])
    if path is None:
        raise HTTPException(404, "there is no such example")
    return Response(path.read_bytes(), media_type="image/png")


def _model(request: Request) -> Response:
    colours = {"colours": list(COLORMAPS), "matplotlib": matplotlib_names(), "colour": DEFAULT_COLORMAP}
    return _json({**_gallery(request).facts(), **choices(), **colours})


def _colours(request: Request) -> Response:
    """A colour map from -1, or from 0 where it shows no negative relevance, to 1."""
    colours = colormap(_known_colours(request.query_params.get("cmap", DEFAULT_COLORMAP)))
    ramp = np.linspace(-1 if colours.signed else 0, 1, _RAMP)
    return _png(Image.fromarray(colours(ramp)[np.newaxis]), {"X-Signed": str(int(colours.signed))})


# -- pictures ---------------------------------------------------------------------------------------


async def _upload(request: Request) -> Response:
    if request.headers.get("content-type") != "application/octet-stream":
        # Other types a form of any page could send without asking.
        raise HTTPException(415, "send the picture's bytes as application/octet-stream")
    data = await _body(request)
    name = _file_name(request.query_params.get("name", ""))
    picture = await run_in_threadpool(_gallery(request).add, data, name)
    height, width = picture.prepared.view.shape[:2]
    return _json(
        {"id": picture.key, "name": name, "width": width, "height": height, "classes": picture.classes}, status=201
    )


async def _body(request: Request) -> bytes:
    """The body, which is not read on when it is too large."""
    data = bytearray()
    announced = request.headers.get("content-length", "0")
    large = HTTPException(413, f"the file has more than {MAX_BYTES // 2**20} MB; make the picture smaller first")
    if announced.isdecimal() and int(announced) > MAX_BYTES:
        raise large
    try:
        async for part in request.stream():
            data += part
            if len(data) > MAX_BYTES:
                raise large
    except ClientDisconnect:
        raise HTTPException(400, "the upload was broken off") from None
    return bytes(data)


def _file_name(text: str) -> str:
    """A name without folders and letters that no file name has."""
    name = PurePath(text.replace("\\", "/")).name
    return "".join(c for c in name if c.isprintable())[:200] or "picture.png"


def _view(request: Request) -> Response:
    return _png(Image.fromarray(_gallery(request).picture(request.path_params["key"]).prepared.view))


def _explanation(request: Request) -> Response:
    """What there is to say about a map; the map itself is then at hand."""
    gallery = _gallery(request)
    picture, target, setting, found = _map(request)
    values = found.relevance.astype(np.float64)
    cmap = _known_colours(request.query_params.get("cmap", DEFAULT_COLORMAP))
    return _json(
        {
            "target": target,
            "label": gallery.label(target),
            "rule": found.rule,
            "score": found.score,
            "sum": values.sum(),
            "positive": values[values > 0].sum(),
            "negative": values[values < 0].sum(),
            "files": gallery.stem(picture, target),
            "command": command(picture.name, gallery.model, target, setting, cmap),
        }
    )


def _picture(request: Request) -> Response:
    """The map as a picture; with ``download=1`` the very file that ``caffe2lrp explain`` writes."""
    query = request.query_params
    picture, target, _, found = _map(request)
    cmap = _known_colours(query.get("cmap", DEFAULT_COLORMAP))
    over = query.get("overlay") == "1"
    if over:
        drawn = overlay(picture.prepared.view, found.relevance, cmap=cmap, percentile=PERCENTILE)
    else:
        drawn = heatmap(found.relevance, cmap, percentile=PERCENTILE)
    if query.get("download") != "1":
        return _png(drawn)
    kind = "overlay" if over else "heatmap"
    return _png(enlarged(drawn), _attachment(f"{_gallery(request).stem(picture, target)}.{kind}.png"))


def _array(request: Request) -> Response:
    picture, target, _, found = _map(request)
    buffer = io.BytesIO()
    np.save(buffer, found.relevance)
    headers = _attachment(f"{_gallery(request).stem(picture, target)}.npy")
    return Response(buffer.getvalue(), media_type="application/octet-stream", headers=headers)


_DRAWING = ("target", "cmap", "overlay", "download")
"""Parts of a query that are no settings of the explanation."""


def _map(request: Request) -> tuple[Picture, int, Setting, Map]:
    query = dict(request.query_params)
    gallery = _gallery(request)
    picture = gallery.picture(request.path_params["key"])
    text = query.get("target", str(picture.classes[0]["index"]))
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise OptionError(f"the class must be a whole number, not '{text}'")
    setting = read_setting({key: value for key, value in query.items() if key not in _DRAWING})
    return picture, int(text), setting, gallery.explain(picture, int(text), setting)


def _known_colours(name: str) -> str:
    return colormap(name).name


# -- answers ----------------------------------------------------------------------------------------


def _gallery(request: Request) -> Gallery:
    gallery: Gallery = request.app.state.gallery
    return gallery


def _json(value: dict[str, Any], status: int = 200) -> JSONResponse:
    return JSONResponse(_finite(value), status)


def _finite(value: Any) -> Any:
    """JSON has no number for NaN and infinity: they become null."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value


def _png(picture: Image.Image, headers: dict[str, str] | None = None) -> Response:
    return Response(to_png(picture), media_type="image/png", headers=headers)


def _attachment(name: str) -> dict[str, str]:
    """A download under a name as it is safe in a header."""
    safe = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in name)
    return {"Content-Disposition": f"attachment; filename=\"{safe}\"; filename*=UTF-8''{quote(name)}"}


# -- errors -----------------------------------------------------------------------------------------


async def _refused(request: Request, problem: Exception) -> Response:
    return _error(str(problem), 404 if isinstance(problem, GoneError) else 400)


async def _http_error(request: Request, problem: Exception) -> Response:
    assert isinstance(problem, HTTPException)
    return _error(problem.detail, problem.status_code, problem.headers)


async def _no_memory(request: Request, problem: Exception) -> Response:
    return _error("there is not enough memory for this picture", 507)


async def _broken(request: Request, problem: Exception) -> Response:
    return _error("something went wrong here; the terminal of 'caffe2lrp serve' tells more", 500)


def _error(text: str, status: int, headers: Any = None) -> Response:
    return JSONResponse({"error": " ".join(text.split())}, status, headers)
