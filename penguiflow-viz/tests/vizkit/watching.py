"""Looks at a live view as its page does: the header, the stream of snapshots, a connection that reads nothing."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

import httpx

from penguiflow_viz import LiveView

MARK = {"X-PenguiFlow-View": "1"}


@asynccontextmanager
async def client(view: LiveView, **headers: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client that asks as the page does."""
    async with httpx.AsyncClient(base_url=view.url, headers=MARK | headers, timeout=10) as asking:
        yield asking


async def snapshots(asking: httpx.AsyncClient) -> AsyncGenerator[dict[str, Any]]:
    """The snapshots as they come; the last has `over` set if the view said that it ends."""
    async with asking.stream("GET", "/api/events") as answer:
        assert answer.status_code == 200, await answer.aread()
        event = ""
        async for line in answer.aiter_lines():
            if line.startswith("event: "):
                event = line.removeprefix("event: ")
            elif line.startswith("data: "):
                yield {"over": True} if event == "over" else json.loads(line.removeprefix("data: "))


async def until(asking: httpx.AsyncClient, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The first snapshot that is as wanted."""
    async with asyncio.timeout(10), aclosing(snapshots(asking)) as seen:
        async for snapshot in seen:
            if wanted(snapshot):
                return snapshot
    raise AssertionError("the stream ended before")


def stuck(view: LiveView) -> socket.socket:
    """A connection that asks for the stream, and never reads."""
    host, port = view.url.removeprefix("http://").rstrip("/").split(":")
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    made.connect((host, int(port)))
    made.sendall(f"GET /api/events HTTP/1.1\r\nHost: {host}:{port}\r\nX-PenguiFlow-View: 1\r\n\r\n".encode())
    return made
