"""What a trace yields, as numbered events that can be read again.

Rules: `next(after)` gives the event after a number: one that is still kept or, once those are used up, what the trace
yields next. Nobody reads ahead, so the node waits for the slowest step of the way to the client. An event is kept
before it is handed out: who is cancelled while he sends it finds it again. Each trace ends with one `end` or `error`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from penguiflow import FlowError, Message, StreamChunk, TraceHandle
from penguiflow_asgi._problems import Problem, log_failed
from penguiflow_asgi._wire import Event, json_text


class Kept:
    """The last events of a trace: as many as were allowed, and those that nobody has had yet."""

    __slots__ = ("_bytes", "_count", "_events", "_size")

    def __init__(self, count: int, size: int) -> None:
        self._count: int = count
        self._bytes: int = size
        self._events: deque[Event] = deque()
        self._size: int = 0

    def add(self, event: Event) -> None:
        """Keep an event."""
        self._events.append(event)
        self._size += event.size

    def forget_until(self, number: int) -> None:
        """Let go of what is too much, among the events up to this one."""
        events = self._events
        while events and events[0].number <= number and (len(events) > self._count or self._size > self._bytes):
            self._size -= events.popleft().size

    def after(self, number: int) -> Event | None:
        """The event after this one, if it is here."""
        place = number + 1 - self._events[0].number if self._events else -1
        return self._events[place] if 0 <= place < len(self._events) else None


@dataclass(frozen=True, slots=True)
class Telling:
    """How a flow's outputs and errors are told to clients."""

    output: Callable[[Any], Any]
    problem: Callable[[FlowError, str], Problem]


class Events:
    """The events of one trace."""

    def __init__(self, handle: TraceHandle, kept: Kept, telling: Telling) -> None:
        self._trace_id: str = handle.trace_id
        self._handle: TraceHandle = handle
        self._items: AsyncIterator[Any] = aiter(handle)
        self._kept: Kept = kept
        self._telling: Telling = telling
        self._failure: FlowError | None = None
        self.last: int = 0
        self.ended: bool = False

    async def next(self, after: int) -> Event | None:
        """The event after this number; `None` after the last.

        Raises:
            LookupError: it isn't kept any more, or never was.
        """
        while (found := self._kept.after(after)) is None:
            if after != self.last:
                raise LookupError(after)
            if self.ended:
                return None
            self._kept.forget_until(after)
            await self._read()
        return found

    def has(self, after: int) -> bool:
        """Whether a client that has had the events up to this number can go on."""
        return after == self.last or self._kept.after(after) is not None

    async def _read(self) -> None:
        """Take what the trace yields next, and keep the events that it makes."""
        try:
            item = await anext(self._items)
        except StopAsyncIteration:
            self._end(self._failure)
        except FlowError as error:
            self._end(error)
        else:
            self._tell(item)

    def _tell(self, item: Any) -> None:
        try:
            if isinstance(item, StreamChunk):
                self._tell_chunk(item)
            else:
                self._tell_output(item.payload if isinstance(item, Message) else item)
        except Exception as error:  # a model's own code may raise anything
            self._end(unwritable(error, self._trace_id))

    def _tell_chunk(self, chunk: StreamChunk) -> None:
        text = json_text(dict(chunk))
        if chunk.meta.get("restart") is True:  # the runtime's own word; a text of that name is somebody else's
            self._add("restart", json_text({"stream_id": chunk.stream_id, "seq": chunk.seq}))
        self._add("chunk", text)

    def _tell_output(self, payload: Any) -> None:
        if isinstance(payload, FlowError):  # a plugin wanted it delivered
            self._failure = self._failure or payload
        else:
            self._add("result", json_text(self._telling.output(payload)))

    def _end(self, error: FlowError | None) -> None:
        self.ended = True
        if error is None:
            self._add("end", json_text({"trace_id": self._trace_id, "outcome": self._handle.outcome}))
        else:
            log_failed(error, self._trace_id)
            self._add("error", json_text(self._telling.problem(error, self._trace_id).body))

    def _add(self, name: str, data: str) -> None:
        self.last += 1
        self._kept.add(Event(self.last, name, data))


def unwritable(error: Exception, trace_id: str) -> FlowError:
    """An output that can't be told. What is wrong with it may quote it, so that is for the service alone."""
    kind = type(error).__name__
    return FlowError(
        trace_id=trace_id,
        code="OUTPUT",
        message=f"what the flow gave can't be written as JSON, or isn't of the model that it promises ({kind})",
        original_exc=error,
    )
