"""What the event loop leaves behind, and where: a bounded queue of small tuples.

Rules: putting a note in takes about a microsecond, waits for nothing, and is safe beside the thread that takes them out
(the counts are exact where one thread puts, as an event loop does). A note keeps no event and no message, so that what
waits here holds nothing of the flow in memory.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Any

from penguiflow import FlowError, FlowEvent

BATCH = 1_000
Note = tuple[str, float, Any, Any, Any, Any, Any]


def node_note(event: FlowEvent) -> Note:
    """Type, time, trace, node, run of the node, how long it waited (`node_start`) or took (ends), attempt from 0."""
    kind = event.event_type
    took = event.queue_wait_ms if kind == "node_start" else event.latency_ms
    return (kind, event.ts, event.trace_id, event.node_id, event.invocation_id, took, event.attempt)


def trace_note(event: FlowEvent) -> Note:
    """Type, time, trace, outcome, code of the error, how long it took, what it used up: hops, tokens, cost."""
    error, extra = event.error, event.extra
    code = None if error is None else str(error.code) if isinstance(error, FlowError) else type(error).__name__
    used = (extra.get("hops", 0), extra.get("tokens", 0), extra.get("cost", 0.0))
    return (event.event_type, event.ts, event.trace_id, event.outcome, code, event.latency_ms, used)


class Mailbox:
    """The queue. One side puts notes in, the other takes them out in batches.

    Attributes:
        limit: How many notes it holds.
        came: How many were put in or turned away.
        wake: Set when a batch is complete.
    """

    __slots__ = ("_lost", "_notes", "_refused", "came", "limit", "wake")

    def __init__(self, limit: int) -> None:
        self._notes: deque[Note] = deque()  # its ends are safe to use from several threads
        self.limit: int = limit
        self.came: int = 0
        self._refused: int = 0  # counted by the side that puts
        self._lost: int = 0  # counted by the side that takes
        self.wake = threading.Event()

    def __len__(self) -> int:
        return len(self._notes)

    @property
    def dropped(self) -> int:
        """How many were turned away, or thrown away when the queue was closed."""
        return self._refused + self._lost + (0 if self.limit else len(self._notes))

    def put(self, note: Note) -> None:
        """Leave a note, unless the queue is full."""
        notes = self._notes
        self.came += 1
        waiting = len(notes)
        if waiting >= self.limit:
            self._refused += 1
            return
        notes.append(note)
        if waiting == BATCH - 1:
            self.wake.set()

    def take(self) -> list[Note]:
        """The oldest notes, at most a batch of them."""
        notes = self._notes
        return [notes.popleft() for _ in range(min(BATCH, len(notes)))]

    def close(self) -> None:
        """Turn everything away, and what waits too."""
        self.limit = 0
        while self._notes:
            self._notes.popleft()
            self._lost += 1
