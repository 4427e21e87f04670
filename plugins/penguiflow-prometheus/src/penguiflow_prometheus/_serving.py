"""Shows the metrics over HTTP: an ASGI application to mount, and a server of its own for scripts.

Rules: writing metrics down takes milliseconds, so it happens in a thread, never on an event loop. What the two
show is negotiated by `prometheus_client`, so that exemplars come to those who ask for OpenMetrics.
"""

from __future__ import annotations

import asyncio
import gzip
import threading
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs
from wsgiref.simple_server import WSGIServer

import prometheus_client
from prometheus_client import REGISTRY, CollectorRegistry, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector

from penguiflow_prometheus._book import books
from penguiflow_prometheus._ferry import multiprocess

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

METHODS = b"GET, HEAD, OPTIONS"


class _AllProcesses:
    """What all processes have counted, this one up to now: a collector."""

    def __init__(self) -> None:
        self._files: Any = MultiProcessCollector(None)  # type: ignore[no-untyped-call]

    def collect(self) -> Iterable[Metric]:
        for book in books():
            book.ferry.carry()
        yield from self._files.collect()


def shown(registry: CollectorRegistry | None) -> CollectorRegistry:
    """The registry that is shown: the one given; or that of all processes, in the multiprocess mode; or the default."""
    if registry is not None:
        return registry
    if not multiprocess():
        return REGISTRY
    everything = CollectorRegistry(support_collectors_without_names=True)
    everything.register(_AllProcesses())
    return everything


def metrics_app(registry: CollectorRegistry | None = None) -> ASGIApp:
    """An ASGI application that answers each request with the metrics: mount it at `/metrics`.

    Args:
        registry: What it shows: `prometheus_client.REGISTRY`, or all processes' metrics in the multiprocess mode, if
            none is given.
    """
    source = shown(registry)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
        elif scope["type"] == "http":
            await _answer(source, scope, send)
        else:
            await send({"type": "websocket.close", "code": 1000})

    return app


async def _live(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def _answer(source: CollectorRegistry, scope: Scope, send: Send) -> None:
    method, headers, body = scope["method"], [(b"allow", METHODS)], b""
    if method in ("GET", "HEAD"):
        status = 200
        headers, body = await asyncio.to_thread(_written, source, scope)
    elif method == "OPTIONS":
        status = 200
    else:
        status, body = 405, b"this is read with GET\n"
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if method == "HEAD" else body})


def _written(source: CollectorRegistry, scope: Scope) -> tuple[Headers, bytes]:
    wanted = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("name[]")
    encode, content_type = choose_encoder(_header(scope, b"accept"))
    body = encode(source.restricted_registry(wanted) if wanted else source)
    headers = [(b"content-type", content_type.encode())]
    if "gzip" in [part.split(";")[0].strip().lower() for part in _header(scope, b"accept-encoding").split(",")]:
        headers.append((b"content-encoding", b"gzip"))
        body = gzip.compress(body, compresslevel=6)
    return headers, body


def _header(scope: Scope, name: bytes) -> str:
    return ",".join(value.decode("latin-1") for key, value in scope["headers"] if key.lower() == name)


class MetricsServer:
    """A server that shows metrics, until it is closed.

    Attributes:
        addr: The address that it listens on.
        port: The port that it listens on.
    """

    def __init__(self, server: WSGIServer, thread: threading.Thread) -> None:
        self._server: WSGIServer = server
        self._thread: threading.Thread = thread
        self.addr: str = str(server.server_address[0])
        self.port: int = server.server_port

    def close(self) -> None:
        """Stop listening, and end the server's thread."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def start_http_server(
    port: int = 8000, addr: str = "127.0.0.1", registry: CollectorRegistry | None = None
) -> MetricsServer:
    """Show the metrics at `http://addr:port/metrics`, from a thread of its own: for scripts.

    Args:
        port: Where it listens; 0 for a free port.
        addr: By default this machine only; `"0.0.0.0"` lets a Prometheus on another one in.
        registry: As in `metrics_app`.

    Raises:
        OSError: the port is taken, or the address isn't this machine's.
    """
    server, thread = prometheus_client.start_http_server(port, addr, shown(registry))
    return MetricsServer(server, thread)
