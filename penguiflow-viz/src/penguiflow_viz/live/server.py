"""The live view's server: its addresses, and how it runs inside a loop that isn't its own.

Rules: it changes nothing that belongs to the process: no signal handler, no logger. Whoever imports this needs the
extra `live`.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol

from penguiflow import PenguiFlow
from penguiflow_viz.live.guard import Guard
from penguiflow_viz.live.page import policy, written
from penguiflow_viz.live.snapshots import Snapshots
from penguiflow_viz.live.stream import Stream

MOST_CONNECTIONS = 64
LONGEST_ID = 4096
CLOSE_S = 1


class Server:
    """Serves one view."""

    def __init__(
        self,
        flow: PenguiFlow,
        snapshots: Snapshots,
        over: asyncio.Event,
        listening: socket.socket,
        host: str,
        hosts: Collection[str],
        token: str | None,
        max_readers: int,
    ) -> None:
        self._flow = flow
        self._snapshots = snapshots
        self._listening = listening
        self.stream = Stream(snapshots, over, max_readers)
        app = Starlette(
            routes=[
                Route("/", self._page),
                Route("/api/drawing", self._drawing),
                Route("/api/events", self.stream, methods=["GET"]),
                Route("/api/trace", self._trace),
                Route("/api/cancel", self._cancel, methods=["POST"]),
            ]
        )
        config = uvicorn.Config(
            Guard(app, host, hosts, token),
            http=_Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            proxy_headers=False,
            server_header=False,
            limit_concurrency=MOST_CONNECTIONS,
            timeout_graceful_shutdown=CLOSE_S,
        )
        self._server = _Uvicorn(config)

    async def serve(self) -> None:
        """Serve until `close` is called."""
        try:
            await self._server.serve(sockets=[self._listening])
        finally:
            self._listening.close()
            for connection in tuple(self._server.server_state.connections):  # readers that take nothing
                connection.transport.abort()

    def close(self) -> None:
        """End soon: readers are told, and then have a second."""
        self._server.should_exit = True

    async def _page(self, request: Request) -> Response:
        return Response(written(), media_type="text/html", headers={"content-security-policy": policy()})

    async def _drawing(self, request: Request) -> Response:
        direction = "LR" if request.query_params.get("direction") == "LR" else "TB"
        return Response(await self._snapshots.drawing(direction), media_type="application/json")

    async def _trace(self, request: Request) -> Response:
        try:
            wide = _whole(request.query_params.get("wide", ""), 900)
            text = await self._snapshots.trace(request.query_params.get("id", ""), wide)
        except LookupError as exc:
            return PlainTextResponse(str(exc), 404)
        return Response(text, media_type="application/json")

    async def _cancel(self, request: Request) -> Response:
        body = b""
        async for piece in request.stream():
            body += piece
            if len(body) > LONGEST_ID:
                return PlainTextResponse(f"a trace's id has at most {LONGEST_ID} bytes here", 413)
        try:
            trace_id = body.decode()
        except UnicodeDecodeError:
            return PlainTextResponse("a trace's id is UTF-8 text", 400)
        return JSONResponse({"cancelled": await self._flow.cancel(trace_id)})


def _whole(text: str, otherwise: int) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 6 else otherwise


class _Protocol(H11Protocol):
    """Logs no request: a page asks all the time."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.access_log = False


class _Uvicorn(uvicorn.Server):
    """Leaves signals to the program that it is part of."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
