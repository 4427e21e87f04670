"""Where messages of one trace are: in a strand, in a node's waiting room, in a join.

Rules: plain state with synchronous methods. A message that lines up for a full floe is taken in, in order, the moment a
place is free, so nobody who comes later overtakes it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextvars import Context as Variables
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from penguiflow._parcel import Parcel


class Strand:
    """One task of a trace. `parcel` is what it carries; `None` before its first step."""

    __slots__ = ("parcel", "task")

    def __init__(self) -> None:
        self.task: asyncio.Task[None] | None = None
        self.parcel: Parcel | None = None


class Waiting(NamedTuple):
    """An emit that waits for a place in a full floe."""

    parcel: Parcel
    variables: Variables
    accepted: asyncio.Future[bool]


class Room:
    """What waits for one node of one trace, in order of arrival; and per floe, who waits to get in."""

    __slots__ = ("counts", "items", "queues")

    def __init__(self) -> None:
        self.items: deque[tuple[Parcel, Variables]] = deque()
        self.counts: dict[int, int] = {}
        self.queues: dict[int, deque[Waiting]] = {}

    def park(self, parcel: Parcel, variables: Variables) -> None:
        """Let a parcel in."""
        self.items.append((parcel, variables))
        self.counts[parcel._edge] = self.counts.get(parcel._edge, 0) + 1

    def next(self, gather: Callable[[Parcel], Parcel | None]) -> tuple[Parcel, Variables]:
        """Let the longest waiting parcel out, and the first in its floe's queue in; `gather` takes it into a join."""
        parcel, variables = self.items.popleft()
        edge = parcel._edge
        self.counts[edge] -= 1
        queue = self.queues.get(edge)
        while queue:
            entry = queue.popleft()
            if entry.accepted.done():
                continue
            entry.accepted.set_result(True)
            let_in = gather(entry.parcel)
            if let_in is not None:
                self.park(let_in, entry.variables)
                break
        return parcel, variables

    def let_in(self, edge: int, gather: Callable[[Parcel], Parcel | None]) -> None:
        """Let everybody in who lines up for a floe, whatever it holds."""
        queue = self.queues.pop(edge, deque())
        for entry in queue:
            if not entry.accepted.done():
                entry.accepted.set_result(True)
                parcel = gather(entry.parcel)
                if parcel is not None:
                    self.park(parcel, entry.variables)

    def queue(self, parcel: Parcel, variables: Variables, accepted: asyncio.Future[bool]) -> None:
        """Line up for a full floe."""
        self.queues.setdefault(parcel._edge, deque()).append(Waiting(parcel, variables, accepted))

    def queued(self, edge: int) -> bool:
        """Whether anybody lines up for this floe."""
        queue = self.queues.get(edge)
        while queue and queue[0].accepted.done():
            queue.popleft()
        return bool(queue)

    def clear(self) -> None:
        """Throw away what waits, and send home who lines up."""
        self.items.clear()
        self.counts.clear()
        for queue in self.queues.values():
            for entry in queue:
                if not entry.accepted.done():
                    entry.accepted.set_result(False)
        self.queues.clear()


class Bucket:
    """What a join holds in one trace."""

    __slots__ = ("fired", "items", "timer")

    def __init__(self) -> None:
        self.items: list[Parcel] = []
        self.fired: int = 0
        self.timer: asyncio.TimerHandle | None = None
