"""``caffe2lrp serve``."""

from __future__ import annotations

import socket
import threading
from dataclasses import fields
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

from caffe2lrp.cli.loading import files_of, in_words, open_network
from caffe2lrp.cli.options import DEFAULT_MODEL, ModelOptions
from caffe2lrp.cli.terminal import say
from caffe2lrp.errors import OptionError
from caffe2lrp.serve.state import Gallery

_CONNECTIONS = 64


def run(options: ModelOptions, layer: str | None, host: str, port: int) -> None:
    """Open the network and answer a browser until interrupted."""
    missing = [name for name in ("starlette", "uvicorn") if find_spec(name) is None]
    if missing:
        raise OptionError(f"the page needs {' and '.join(missing)}: pip install 'caffe2lrp[serve]'")
    gallery = open_gallery(options, layer)
    listener = _listen(host, port)

    import uvicorn

    from caffe2lrp.serve.app import create_app
    from caffe2lrp.serve.guard import is_loopback

    if not is_loopback(host):
        say(f"bound to {host}: everybody who reaches this machine can use the page")
    shown = f"[{host}]" if ":" in host else host
    print(f"http://{shown}:{listener.getsockname()[1]}/  (Ctrl-C ends it)", flush=True)
    threading.Thread(target=gallery.warm_up, daemon=True).start()
    config = uvicorn.Config(
        create_app(gallery, host),
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=_CONNECTIONS,
        timeout_graceful_shutdown=2,
    )
    uvicorn.Server(config).run(sockets=[listener])


def open_gallery(options: ModelOptions, layer: str | None = None) -> Gallery:
    """The network that the options name; with the bundled one, there are pictures to try."""
    network = open_network(options)
    assert network.preprocessing is not None  # open_network sees to it
    bundled = not files_of(options) and options.model in (None, DEFAULT_MODEL)
    folder = Path(str(files("caffe2lrp.models"))) / "digits"
    return Gallery(
        network,
        layer=layer,
        model=[*model_arguments(options), *(["--layer", layer] if layer is not None else [])],
        preparation=in_words(network.preprocessing),
        examples=sorted(folder.glob("*.png")) if bundled else (),
    )


def model_arguments(options: ModelOptions) -> list[str]:
    """The options as they are typed, with whole paths, so that they hold in any folder."""
    arguments = [part for path in options.plugins for part in ("--plugin", str(path.absolute()))]
    for field in fields(options):
        value = getattr(options, field.name)
        if value is not None and field.name != "plugins":
            is_file = isinstance(value, Path) or (field.name == "mean" and Path(value).is_file())
            arguments += [f"--{field.name.replace('_', '-')}", str(Path(value).absolute() if is_file else value)]
    return arguments


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as problem:
        hint = "; choose another with --port, or 0 for any that is free"
        raise OptionError(f"cannot listen at {host}, port {port}: {problem.strerror or problem}{hint}") from None
    return listener
