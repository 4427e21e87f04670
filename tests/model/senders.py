"""Those who send messages in, and what they learn.

Rules: each of them waits aside for as long as it takes, at a pace of his own, and notes in his record what came of it,
as text and numbers alone.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from penguiflow import Budget, FlowError, FlowStateError, Headers, Message, StreamChunk
from tests.model.loads import Load, tag
from tests.model.oracle import Forecast
from tests.model.shapes import pretty, spelled
from tests.model.world import World


@dataclass(repr=False)
class Record:
    """One message that was sent in.

    Attributes:
        outcome: What its sender learned: `value`, `several`, `error CODE`, `gave up`, `left`, `refused`, or nothing.
        tags: The outputs.
        pieces: The texts of the chunks that were read.
        sure: Whether it must come out as foretold.
        hidden: How many outputs there were when they weren't given.
    """

    key: int
    how: str
    trace: str
    told: Forecast
    sure: bool
    since: float
    limit: float | None = None
    hops: int | None = None
    outcome: str = ""
    tags: list[str] = field(default_factory=list)
    pieces: list[str] = field(default_factory=list)
    patient: bool = True  # whether whoever waits does nothing else
    hidden: int = 0

    def __repr__(self) -> str:
        told = "sure" if self.sure else "unsure"
        return f"<{self.how} {self.trace}, {told}, {self.outcome or 'unanswered'}>"

    _repr_pretty_ = pretty


@dataclass(frozen=True, repr=False)
class Way:
    """How a message is sent in."""

    how: str
    limit: float | None = None
    by_deadline: bool = False
    hops: int | None = None
    tokens: int | None = None
    pace: str = "at once"
    leave_after: int | None = None

    __repr__ = spelled
    _repr_pretty_ = pretty


WAYS = st.builds(
    Way,
    how=st.sampled_from(("ask", "emit", "start", "stream", "nowait")),
    limit=st.sampled_from((None, None, None, None, 0.0, 1.5, 4.5)),
    by_deadline=st.booleans(),
    hops=st.sampled_from((None, None, None, None, 2, 6)),
    tokens=st.sampled_from((None, None, None, None, 2)),
    pace=st.sampled_from(("at once", "at once", "slow", "at the end", "drop")),
    leave_after=st.sampled_from((None, None, None, None, 0, 1, 3)),
)
PLAIN_WAYS = st.builds(
    Way, how=st.sampled_from(("ask", "emit", "start", "stream", "nowait")), pace=st.sampled_from(("at once", "slow"))
)


class Senders:
    """All who send messages to one flow. What must wait for the last step waits for `over`."""

    def __init__(self, world: World, loop: asyncio.AbstractEventLoop) -> None:
        self.world: World = world
        self.loop: asyncio.AbstractEventLoop = loop
        self.over = asyncio.Event()
        self.tasks: dict[asyncio.Task[None], Record | None] = {}

    def keep(self, work: Coroutine[Any, Any, None], record: Record | None) -> None:
        """Let work go on, and have an eye on it."""
        task = self.loop.create_task(work)
        self.tasks[task] = record
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[None]) -> None:
        self.tasks.pop(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.world.wrong(f"a waiter got {error!r}")

    def message(self, record: Record, load: Load, way: Way) -> Message[Any]:
        """The message to be sent."""
        budget = None if way.hops is None and way.tokens is None else Budget(hops=way.hops, tokens=way.tokens)
        dated = way.limit is not None and (way.by_deadline or record.how in ("emit", "nowait"))
        return Message(
            payload=load,
            trace_id=record.trace,
            headers=Headers(tenant=load.tenant),
            budget=budget,
            deadline_s=time.time() + (way.limit or 0.0) if dated else None,
        )

    async def sent(self, record: Record, message: Message[Any], way: Way) -> None:
        """Send a message in, and wait for what comes of it aside."""
        flow, limit = self.world.flow, None if way.by_deadline else way.limit
        match record.how:
            case "ask":
                self.keep(self.heard(record, flow.ask(message, timeout_s=limit)), record)
            case "emit":
                self.keep(self.heard(record, flow.emit(message)), record)
            case "stream":
                self.keep(self.heard(record, self._streamed(record, message, limit, way)), record)
            case "nowait":
                await self.heard(record, called(flow.emit_nowait, message))
            case "start":
                await self.heard(record, self._started(record, message, limit, way))

    async def heard(self, record: Record, waiting: Any) -> None:
        """Await an answer, and note what it was."""
        try:
            value = await waiting
        except FlowError as error:
            record.outcome = f"error {error.code}"
        except (FlowStateError, asyncio.QueueFull):
            record.outcome = "refused"
        except ValueError as error:
            record.outcome, record.hidden = "several", int(str(error).split(" outputs")[0].split()[-1])
        except asyncio.CancelledError:
            record.outcome = "gave up"
        else:
            if record.how in ("emit", "nowait", "join"):
                record.outcome = "accepted"
            elif record.outcome == "" and value != "under way":
                record.outcome = "value"
                record.tags = [tag(item) for item in value] if isinstance(value, list) else [tag(value)]
                for item in value if isinstance(value, list) else [value]:
                    self._check_envelope(record, item)

    def _check_envelope(self, record: Record, item: Any) -> None:
        """Who sends a message gets one, of the same trace."""
        if item is not None and not isinstance(item, Message):
            self.world.wrong(f"law 8: {record} gets {item!r}, which is no message")
        elif item is not None and item.trace_id != record.trace:
            self.world.wrong(f"law 8: {record} gets a message of {item.trace_id}")

    async def _streamed(self, record: Record, message: Message[Any], limit: float | None, way: Way) -> Any:
        async with self.world.flow.stream(message, timeout_s=limit) as stream:
            del message
            if way.pace == "at the end":
                await self.over.wait()
            if way.leave_after == 0:
                record.outcome = "left"
                return None
            async for chunk in stream:
                record.pieces.append(chunk.text)
                if way.pace == "slow":
                    await asyncio.sleep(3)
                if len(record.pieces) == way.leave_after:
                    record.outcome = "left"
                    return None
        return stream.result

    async def _started(self, record: Record, message: Message[Any], limit: float | None, way: Way) -> str:
        handle = self.world.flow.start(message, timeout_s=limit)
        if way.pace == "drop":
            record.outcome = "dropped"
        else:
            self.keep(self.heard(record, self._followed(record, handle, way)), record)
        return "under way"

    async def _followed(self, record: Record, handle: Any, way: Way) -> Any:
        if way.pace == "at the end":
            await self.over.wait()
        if way.pace == "at once" and way.leave_after is None:
            return await handle.results()
        values: list[Any] = []
        async for value in handle:
            if isinstance(value, StreamChunk):
                record.pieces.append(value.text)
            else:
                values.append(value)
            if way.pace == "slow":
                await asyncio.sleep(3)
            if len(values) + len(record.pieces) == way.leave_after:
                record.outcome = "dropped"
                return None
        return values


async def called(function: Any, *args: Any) -> Any:
    """Call a plain function."""
    return function(*args)
