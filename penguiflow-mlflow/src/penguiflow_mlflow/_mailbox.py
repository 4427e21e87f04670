"""What the event loop leaves behind, and where: a bounded queue of notes.

Rules: putting a note in takes about a microsecond, waits for nothing, and is safe beside the thread that takes them out
(the counts are exact where one thread puts, as an event loop does). A note is bytes: it keeps no event and no message
in memory, and a long queue of them gives Python's garbage collector nothing to look through.
"""

from __future__ import annotations

import threading
from collections import deque
from marshal import dumps
from typing import Any

from penguiflow import FlowError, FlowEvent

BATCH = 1_000
FORMAT = 4  # of marshal: every supported Python reads it


def node_note(event: FlowEvent) -> bytes:
    """Type, time, trace, node, run of the node, how long it waited (`node_start`) or took (ends), attempt from 0."""
    kind = event.event_type
    took = event.queue_wait_ms if kind == "node_start" else event.latency_ms
    try:
        return dumps((kind, event.ts, event.trace_id, event.node_id, event.invocation_id, took, event.attempt), FORMAT)
    except ValueError:  # a trace's id may be of a class of its own
        run = _text(event.invocation_id)
        return dumps((kind, event.ts, _text(event.trace_id), _text(event.node_id), run, took, event.attempt), FORMAT)


def trace_note(event: FlowEvent) -> bytes:
    """Type, time, trace, outcome, code of the error, how long it took, what it used up: hops, tokens, cost."""
    error, extra = event.error, event.extra
    code = None if error is None else _text(error.code) if isinstance(error, FlowError) else type(error).__name__
    used = (int(extra.get("hops", 0)), int(extra.get("tokens", 0)), float(extra.get("cost", 0.0)))
    note = (event.event_type, event.ts, _text(event.trace_id), _text(event.outcome), code, event.latency_ms, used)
    return dumps(note, FORMAT)


def _text(value: Any) -> str:
    """The text itself, where it is one of a class of its own."""
    return "".join(str(value))


class Mailbox:
    """The queue. One side puts notes in, the other takes them out in batches.

    Attributes:
        limit: How many notes it holds.
        came: How many were put in or turned away.
        wake: Set when a batch is complete.
    """

    __slots__ = ("_lost", "_notes", "_refused", "came", "limit", "wake")

    def __init__(self, limit: int) -> None:
        self._notes: deque[bytes] = deque()  # its ends are safe to use from several threads
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

    def put(self, note: bytes) -> None:
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

    def take(self) -> list[bytes]:
        """The oldest notes, at most a batch of them."""
        notes = self._notes
        return [notes.popleft() for _ in range(min(BATCH, len(notes)))]

    def close(self) -> None:
        """Turn everything away, and what waits too."""
        self.limit = 0
        while self._notes:
            self._notes.popleft()
            self._lost += 1
