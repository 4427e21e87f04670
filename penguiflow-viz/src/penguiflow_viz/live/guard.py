"""Who may ask the live view: nobody in another's name, and nobody without the token where there is one.

Rules: a request names this machine as its `Host`, or a site that has made its own name point here could read along. It
comes from the page itself: an `Origin` is the page's own, and whatever tells or does something carries a header that no
foreign page can send. A token is compared in constant time, and stands in no address, log or error.
"""

from __future__ import annotations

import ipaddress
import secrets
import socket
from collections.abc import Awaitable, Callable, Collection, Iterable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

MARK = "x-penguiflow-view"
SHORTEST_TOKEN = 16
HEADERS = (
    (b"cache-control", b"no-store"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
)


def is_loopback(host: str) -> bool:
    """Whether a server bound to this host is reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def checked_token(token: str | None, host: str) -> str | None:
    """The token, if it will do.

    Raises:
        ValueError: it is too short or has characters that no header carries, or there is none where one is needed.
    """
    if token is None:
        if not is_loopback(host):
            raise ValueError(
                f"bound to {host!r} the live view can be reached from other machines, so it needs a token: "
                "token=secrets.token_urlsafe()"
            )
        return None
    if not isinstance(token, str) or len(token) < SHORTEST_TOKEN or not all("!" <= char <= "~" for char in token):
        raise ValueError(f"a token is at least {SHORTEST_TOKEN} letters, digits and marks: secrets.token_urlsafe()")
    return token


class Guard:
    """Lets requests through that may ask, and refuses the others with a sentence.

    Args:
        app: What it guards.
        host: What the server is bound to.
        hosts: Names, besides, under which it is reached.
        token: What has to be known to ask anything but the page itself.
    """

    def __init__(self, app: App, host: str, hosts: Collection[str], token: str | None) -> None:
        self._app = app
        self._local = is_loopback(host)
        own = () if self._local else (host, socket.gethostname())
        self._hosts = frozenset(name.lower() for name in ("localhost", *own, *hosts))
        self._token = None if token is None else token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        refusal = self._refusal(scope)
        if refusal is not None:
            await _refused(send, *refusal)
            return

        async def sent(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *HEADERS]
            await send(message)

        await self._app(scope, receive, sent)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        """The status and the reason, if this request may not ask."""
        headers: Iterable[tuple[bytes, bytes]] = scope["headers"]
        given = {name: value.decode("latin-1") for name, value in headers}
        hosts = [value for name, value in headers if name == b"host"]
        host = given.get(b"host", "")
        if len(hosts) != 1 or not self._known(_name(host)):
            return 421, "this server isn't called so: ask it by the name or address that it is bound to"
        if b"origin" in given and urlsplit(given[b"origin"]).netloc.lower() != host.lower():
            return 403, "a page from elsewhere may not ask"
        if not scope["path"].startswith("/api/"):
            return None
        if given.get(b"sec-fetch-site", "same-origin") != "same-origin" or MARK.encode() not in given:
            return 403, f"only the page itself may ask: there is no header {MARK}"
        if self._token is not None and not self._right(given.get(b"authorization", "")):
            return 401, "the token is missing or wrong"
        return None

    def _known(self, name: str) -> bool:
        if name in self._hosts:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return address.is_loopback or not self._local  # nobody can make an address point elsewhere

    def _right(self, authorization: str) -> bool:
        scheme, _, token = authorization.partition(" ")
        assert self._token is not None
        return secrets.compare_digest(token.encode(), self._token) and scheme.lower() == "bearer"


def _name(host: str) -> str:
    """A `Host` without its port, as an address or a name in small letters."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower().removesuffix(".")


async def _refused(send: Send, status: int, reason: str) -> None:
    body = reason.encode()
    kind = (b"content-type", b"text/plain; charset=utf-8")
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [kind, length, *HEADERS]})
    await send({"type": "http.response.body", "body": body})
