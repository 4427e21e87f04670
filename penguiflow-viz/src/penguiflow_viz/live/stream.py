"""Snapshots as server-sent events.

Rules: a reader gets the newest snapshot when he is ready for it, and never one that he has missed: whoever is slow sees
fewer, and nothing is kept for him. One who takes nothing for long is let go.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from penguiflow_viz.live.guard import Receive, Scope, Send
from penguiflow_viz.live.snapshots import Snapshots

PATIENCE_S = 20.0
SIGN_OF_LIFE_S = 10.0


class Stream:
    """Sends snapshots to those who read them, until the view ends."""

    def __init__(self, snapshots: Snapshots, over: asyncio.Event, max_readers: int) -> None:
        self._snapshots = snapshots
        self._over = over
        self._max_readers = max_readers
        self.readers: int = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.readers >= self._max_readers:
            await _answer(send, 503, b"text/plain; charset=utf-8")
            text = f"{self._max_readers} pages follow this flow already, and no more may"
            await send({"type": "http.response.body", "body": text.encode()})
            return
        self.readers += 1
        loop = asyncio.get_running_loop()
        ends = [loop.create_task(_gone(receive)), loop.create_task(self._over.wait())]
        try:
            await _answer(send, 200, b"text/event-stream; charset=utf-8")
            with suppress(TimeoutError):
                await self._follow(send, ends)
        finally:
            self.readers -= 1
            for task in ends:
                task.cancel()

    async def _follow(self, send: Send, ends: Sequence[asyncio.Task[object]]) -> None:
        loop = asyncio.get_running_loop()
        told, said = "", loop.time()
        while not any(task.done() for task in ends):
            text = await self._snapshots.current()
            if text is not told:
                await _piece(send, f"data: {text}\n\n")
                told, said = text, loop.time()
            elif loop.time() - said > SIGN_OF_LIFE_S:
                await _piece(send, ": still here\n\n")
                said = loop.time()
            await asyncio.wait(ends, timeout=self._snapshots.wait_s, return_when=asyncio.FIRST_COMPLETED)
        if self._over.is_set():
            text = await self._snapshots.current(fresh=True)
            await _piece(send, f"data: {text}\n\nevent: over\ndata: stopped\n\n", more=False)


async def _gone(receive: Receive) -> None:
    """Wait until the reader has left."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _answer(send: Send, status: int, kind: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", kind)]})


async def _piece(send: Send, text: str, more: bool = True) -> None:
    async with asyncio.timeout(PATIENCE_S):
        await send({"type": "http.response.body", "body": text.encode(), "more_body": more})
