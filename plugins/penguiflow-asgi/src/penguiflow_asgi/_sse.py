"""A trace as server-sent events.

Rules: nothing is read from the trace before the last event is out, so a slow client slows the node. The client's end
is listened for all the while: also while the node is silent, or while the connection takes nothing more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import suppress

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from penguiflow_asgi._events import Events
from penguiflow_asgi._problems import Problem, log
from penguiflow_asgi._traces import Served, Traces

SSE_HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}


async def left(receive: Receive) -> None:
    """Return when the client is gone."""
    with suppress(OSError):
        while (await receive())["type"] != "http.disconnect":
            pass


async def unless_left(work: Awaitable[None], receive: Receive, *others: asyncio.Future[None]) -> bool:
    """Do the work, until the client leaves or another future is done; whether it was done."""
    task, gone = asyncio.ensure_future(work), asyncio.ensure_future(left(receive))
    try:
        await asyncio.wait({task, gone, *others}, return_when=asyncio.FIRST_COMPLETED)
        done = task.done()
    finally:
        task.cancel()
        gone.cancel()
        await asyncio.wait({task, gone})
    if not task.cancelled() and (error := task.exception()) is not None:
        raise error
    return done


def not_kept() -> Problem:
    """The client has been away too long."""
    return Problem(410, "the events after that one aren't kept any more: begin another trace")


class EventStream(Response):
    """The events of a trace after a number, to its end."""

    media_type = "text/event-stream"

    def __init__(self, traces: Traces, served: Served, after: int = 0, over: bool = False) -> None:
        super().__init__(None, 200, {**SSE_HEADERS, "x-trace-id": served.trace_id})
        del self.headers["content-length"]
        self._traces: Traces = traces
        self._served: Served = served
        self._after: int = after
        self._over: bool = over
        self._open: bool = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        traces, served = self._traces, self._served
        taken_over = await traces.take(served, self._over)
        try:
            events = traces.events(served)
            if not events.has(self._after):  # its former reader went on meanwhile
                raise not_kept()
            await unless_left(self._stream(events, send), receive, taken_over)
        except OSError as error:  # TimeoutError is one; some servers raise another when the client is gone
            log.info("trace %s: its client takes no more events (%s)", served.trace_id, type(error).__name__)
        finally:
            await traces.leave(served, linger=True)
        if taken_over.done() and self._open:
            with suppress(OSError):
                await self._send(send, b"", more=False)

    async def _stream(self, events: Events, send: Send) -> None:
        limits, after = self._traces.limits, self._after
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        self._open = True
        await self._send(send, f"retry: {limits.retry_ms}\n".encode())
        while True:
            try:
                async with asyncio.timeout(limits.heartbeat_s):
                    event = await events.next(after)
            except TimeoutError:
                await self._send(send, b": still there\n")
                continue
            if event is None:
                break
            await self._send(send, event.sse())
            after = event.number
        self._open = False
        await self._send(send, b"", more=False)

    async def _send(self, send: Send, part: bytes, more: bool = True) -> None:
        async with asyncio.timeout(self._traces.limits.idle_s):
            await send({"type": "http.response.body", "body": part, "more_body": more})
