"""Who may ask: pages of other origins, and names that were bent to this machine, get nothing."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
LOOPBACK = "127.0.0.1"


class Guard:
    """Middleware that checks the headers Host, Origin and Sec-Fetch-Site, and sets those that keep a page to itself.

    A page of a stranger can send its visitors' browsers here, but cannot forge these headers. A domain name that was
    rebound to this machine's address is told by Host.

    Parameters
    ----------
    app
        What answers.
    host
        What the server is bound to: a loopback address, and only loopback names are answered; else also that name and
        any address written in numbers, because a name is what rebinding needs.
    """

    def __init__(self, app: ASGIApp, host: str = LOOPBACK) -> None:
        self._app, self._host = app, host.lower()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse to."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def sealed(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        problem = self._problem(Headers(scope=scope), scope["path"])
        answer = self._app if problem is None else JSONResponse({"error": problem}, 403)
        await answer(scope, receive, sealed)

    def _problem(self, headers: Headers, path: str) -> str | None:
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._is_ours(hosts[0]):
            return "this address is not answered; use the one that 'caffe2lrp serve' printed"
        if any(origin.lower() != f"http://{hosts[0].lower()}" for origin in headers.getlist("origin")):
            return "requests of other pages are not answered"
        if path != "/" and headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            return "requests of other pages are not answered"
        return None

    def _is_ours(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        address = _address(name)
        if name == "localhost" or (address is not None and address.is_loopback):
            return True
        return not is_loopback(self._host) and (address is not None or name == self._host)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what is bound to a host."""
    address = _address(host)
    return host == "localhost" or (address is not None and address.is_loopback)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
