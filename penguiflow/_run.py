"""The state of one run of a flow, and what the layers below the runtime ask of the runtime.

Rules: plain state; nothing here acts.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from contextvars import Context as Variables
from threading import get_ident
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakKeyDictionary

from penguiflow._channel import Channel
from penguiflow._dispatch import Dispatch
from penguiflow._events import Place

if TYPE_CHECKING:
    from penguiflow._parcel import Parcel
    from penguiflow._station import Station
    from penguiflow._trace import Trace


class Kernel(Protocol):
    """What the layers below the runtime ask of it."""

    def spawn(self, parcel: Parcel, variables: Variables | None = None) -> None:
        """Run a parcel, whose lane is taken, in a strand of its own."""

    async def playbook(self, parcel: Parcel, flow: Any, message: Any, timeout: float | None) -> Any:
        """Run another flow inside a node."""

    async def subflow(self, parcel: Parcel) -> Any:
        """Run the flow that a subflow node stands for."""


def _clock(loop: asyncio.AbstractEventLoop) -> Callable[[], float]:
    """The loop's time, without the call around it where the loop takes it straight from the system."""
    return time.monotonic if type(loop).time is asyncio.BaseEventLoop.time else loop.time


class Run:
    """One run of a flow: from `run()` to the end of `stop()`, on one loop. A subflow has one inside its parent's."""

    def __init__(
        self,
        name: str,
        stations: tuple[Station, ...],
        entries: tuple[Station, ...],
        dispatch: Dispatch,
        kernel: Kernel,
        *,
        queue_maxsize: int,
        max_traces: int,
        emit_errors: bool = False,
        parent: Run | None = None,
    ) -> None:
        self.name: str = name
        self.place: Place = Place(name)
        self.stations: tuple[Station, ...] = stations
        self.entries: tuple[Station, ...] = entries
        self.dispatch: Dispatch = dispatch
        self.kernel: Kernel = kernel
        self.queue_maxsize: int = queue_maxsize
        self.max_traces: int = max_traces
        self.emit_errors: bool = emit_errors
        self.root: Run = self if parent is None else parent.root
        self.loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        self.thread: int = get_ident()
        self.clock: Callable[[], float] = _clock(self.loop)
        self.traces: dict[str, Trace] = {}
        self.used: int = 0
        self.queue: deque[tuple[asyncio.Future[None], int]] = deque()  # who waits for a slot, up to how many
        self.rookery: Channel = Channel(queue_maxsize)
        self.limits: dict[int, asyncio.Semaphore] = {
            s.index: asyncio.Semaphore(s.limit) for s in stations if s.limit is not None
        }
        self.strays: set[asyncio.Task[None]] = set()
        self.resources: Any = None if parent is None else parent.resources
        self.ready: asyncio.Event | None = None
        self.openers: set[asyncio.Task[Any]] = set()  # who start plugins and open resources: no trace goes before that
        self.broken: BaseException | None = None
        self.draining: bool = False
        self.idle: list[Callable[[], None]] = []
        self.nested: dict[int, Run] = {}  # of its subflow nodes, by their index
        self.playbooks: WeakKeyDictionary[Any, dict[int, Run]] = WeakKeyDictionary()  # by plan and node

    def call_at(self, when: float, callback: Callable[..., object], *args: Any) -> asyncio.TimerHandle:
        """A timer in an empty context. A cancelled timer lingers in the loop, and would keep its caller's variables."""
        return self.loop.call_at(when, callback, *args, context=Variables())

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> asyncio.TimerHandle:
        """`call_at`, so many seconds from now."""
        return self.call_at(self.clock() + delay, callback, *args)
