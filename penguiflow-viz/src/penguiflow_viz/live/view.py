"""`serve`: a page that follows a running flow, for as long as the flow runs.

Rules: the view lives in the flow's own event loop, and only looks: it adds an observer while it lasts, and makes
snapshots while somebody reads them. It ends with the flow at the latest.
"""

from __future__ import annotations

import asyncio
import importlib
import socket
from collections.abc import Collection
from contextlib import ExitStack
from contextvars import Context as Variables
from types import TracebackType
from typing import Any, Self

from penguiflow import FlowEvent, PenguiFlow
from penguiflow_viz.live.guard import checked_token
from penguiflow_viz.live.snapshots import Snapshots
from penguiflow_viz.record import Recorder

DEFAULT_PORT, LAST_PORT = 8765, 65_535


def serve(
    flow: PenguiFlow,
    *,
    host: str = "127.0.0.1",
    port: int = DEFAULT_PORT,
    token: str | None = None,
    hosts: Collection[str] = (),
    recorder: Recorder | None = None,
    interval_s: float = 0.25,
    max_readers: int = 16,
) -> LiveView:
    """A page that follows a running flow: `async with serve(flow) as view: print(view.url)`.

    Args:
        flow: The flow. It has to run when the view begins, in the same event loop.
        host: The address to bind to. Other machines reach only what isn't bound to loopback, and that needs a token.
        port: The port; 0 picks one that is free.
        token: What a reader has to know, at least 16 characters; the page asks for it.
        hosts: Names under which it is reached, besides addresses and this machine's own name: of a proxy, for one.
        recorder: One that is among the flow's plugins, so that the page also shows what happened before. Without it,
            the view begins with nothing.
        interval_s: Seconds from one snapshot to the next, at least.
        max_readers: How many pages may follow at a time.

    Raises:
        ValueError: an argument won't do.
        ModuleNotFoundError: the extra isn't installed; the text says how.
    """
    token = checked_token(token, host)
    if not interval_s > 0:
        raise ValueError(f"interval_s is a number of seconds above 0, not {interval_s!r}")
    if not 0 <= port <= LAST_PORT:
        raise ValueError(f"port is a whole number from 0 to {LAST_PORT}, not {port!r}")
    if not isinstance(recorder, Recorder | None):
        raise ValueError(f"recorder is a Recorder that is among the flow's plugins, not {recorder!r:.80}")
    if max_readers < 1:
        raise ValueError(f"max_readers is a whole number from 1 on, not {max_readers!r}")
    try:
        server: Any = importlib.import_module("penguiflow_viz.live.server")
    except ModuleNotFoundError as exc:
        if exc.name not in ("starlette", "uvicorn"):
            raise
        raise ModuleNotFoundError(
            f"the live view needs {exc.name}: pip install 'penguiflow-viz[live]'", name=exc.name
        ) from None
    return LiveView(server.Server, flow, (host, port), token, hosts, recorder, interval_s, max_readers)


class LiveView:
    """A live view; made by `serve`. It begins where its block is entered, and ends with the block or with the flow."""

    def __init__(
        self,
        make: Any,
        flow: PenguiFlow,
        address: tuple[str, int],
        token: str | None,
        hosts: Collection[str],
        recorder: Recorder | None,
        interval_s: float,
        max_readers: int,
    ) -> None:
        self._make = make
        self._flow = flow
        self._host, self._port = address
        self._token = token
        self._hosts = hosts
        self._given = recorder
        self._interval_s = interval_s
        self._max_readers = max_readers
        self._watching = ExitStack()
        self._task: asyncio.Task[None] | None = None
        self.recorder: Recorder = recorder or Recorder()

    @property
    def url(self) -> str:
        """Where the page is. It doesn't tell the token.

        Raises:
            RuntimeError: the view has not begun.
        """
        if self._task is None:
            raise RuntimeError("the live view has no address yet: `async with serve(flow) as view`")
        host = socket.gethostname() if self._host in ("", "0.0.0.0", "::") else self._host
        return f"http://{f'[{host}]' if ':' in host else host}:{self._port}/"

    async def start(self) -> None:
        """Begin.

        Raises:
            FlowStateError: the flow isn't running.
            OSError: the address can't be bound.
        """
        if self._task is not None:
            raise RuntimeError("the live view has begun already")
        with ExitStack() as stack:
            stack.enter_context(self._flow.watch(self._flow_stopped, ("flow_stop",)))
            if self._given is None:
                stack.enter_context(self._flow.watch(self.recorder.on_event, self.recorder.event_types))
            family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
            listening = socket.create_server((self._host, self._port), family=family)
            self._watching = stack.pop_all()
        self._port = listening.getsockname()[1]
        self._over = asyncio.Event()
        snapshots = Snapshots(self._flow, self.recorder, self._interval_s)
        self._server = self._make(
            self._flow, snapshots, self._over, listening, self._host, self._hosts, self._token, self._max_readers
        )
        loop = asyncio.get_running_loop()
        self._task = loop.create_task(self._server.serve(), context=Variables())

    def _flow_stopped(self, event: FlowEvent) -> None:
        self._end()

    def _end(self) -> None:
        if self._task is not None:
            self._over.set()
            self._server.close()

    async def closed(self) -> None:
        """Wait until the view has ended: the flow has stopped, or somebody called `stop`."""
        if self._task is not None:
            await asyncio.wait([self._task])
            self._watching.close()
            if not self._task.cancelled():
                self._task.result()

    async def stop(self) -> None:
        """End: readers are told, and the address is free again."""
        self._end()
        await self.closed()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    def __repr__(self) -> str:
        return f"<LiveView of {self._flow.name} on port {self._port}>"
