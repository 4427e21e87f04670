"""Those who hand messages in, and the tally that compares what they saw with what the events said.

Rules: a caller believes only what it was given: a value, an exception. The tally keeps a trace's outcome from its
`trace_finish` until its caller has seen the end, so what is left over at last is somebody's mistake.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.soak_flows import PIECES, Load, Shape
from penguiflow import FinalAnswer, FlowError, FlowEvent, Message, PenguiFlow, StreamChunk, TraceHandle, hookimpl

OUTCOMES = ("completed", "failed", "cancelled", "expired")
HANG_S = 0.002  # how long a caller waits before it gives up a trace that hangs


class Tally:
    """Counts what the events say and what the callers see, by flow and outcome."""

    event_types = (
        *("trace_start", "trace_finish", "plugin_error"),
        *("node_start", "node_success", "node_failed", "node_cancelled", "node_expired"),
    )

    def __init__(self) -> None:
        self.kinds: Counter[str] = Counter()
        self.handed: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.started: Counter[str] = Counter()
        self.finished: Counter[tuple[str, str]] = Counter()
        self.seen: Counter[tuple[str, str]] = Counter()
        self.waiting: dict[str, Shape] = {}  # by trace id: what callers wait for
        self.ended: dict[str, str] = {}  # by trace id: outcomes that no caller has seen yet
        self._awaited: dict[str, asyncio.Future[None]] = {}
        self.wrong = 0
        self.problems: list[str] = []  # the first few

    @hookimpl
    def on_event(self, event: FlowEvent) -> None:
        kind = event.event_type
        self.kinds[kind] += 1
        if kind == "trace_finish":
            self.ending(event)
        elif kind == "trace_start":
            self.started[event.flow_name] += 1

    def ending(self, event: FlowEvent) -> None:
        """A trace has ended, says an event."""
        trace_id, outcome = event.trace_id or "", event.outcome or ""
        if trace_id in self._awaited:
            self._awaited.pop(trace_id).set_result(None)
        if trace_id in self.ended:
            self.complain(f"trace {trace_id} finished twice: {self.ended[trace_id]}, then {outcome}")
        self.ended[trace_id] = outcome
        self.finished[event.flow_name, outcome] += 1

    async def ended_too(self, trace_id: str) -> None:
        """Wait for the event, where a caller may know the end before it: he went away, or has fetched the output."""
        if trace_id not in self.ended:
            self._awaited[trace_id] = asyncio.get_running_loop().create_future()
            await self._awaited[trace_id]

    def saw(self, case: Case, outcome: str, mistake: str) -> None:
        """A trace has ended, says its caller."""
        self.waiting.pop(case.trace_id, None)
        self.seen[case.shape.name, outcome] += 1
        said = self.ended.pop(case.trace_id, "nothing")
        if said != outcome:
            self.complain(f"{case}: its caller saw {outcome}, the events said {said}")
        elif outcome not in case.ends:
            self.complain(f"{case}: {outcome}, not {' or '.join(case.ends)}")
        elif mistake:
            self.complain(f"{case}: {mistake}")

    def complain(self, text: str) -> None:
        """Something is wrong."""
        self.wrong += 1
        if len(self.problems) < 5:
            self.problems.append(text)

    @property
    def done(self) -> int:
        """How many messages are dealt with."""
        return self.seen.total() + self.refused.total()


@dataclass(frozen=True, slots=True)
class Case:
    """One message to hand in: how, what puts an end to it (`ender`), how it may end and with which error code."""

    shape: Shape
    load: Load
    way: str
    ender: str
    ends: tuple[str, ...]
    code: str = ""

    @property
    def trace_id(self) -> str:
        """Names the trace after the load's number."""
        return f"{self.load.number:x}"

    def message(self) -> Message[Any]:
        """The message, with a deadline if that is what ends it."""
        limit = {"deadline": HANG_S, "far deadline": 3600.0}.get(self.ender)
        deadline = None if limit is None else time.time() + limit
        return Message(payload=self.shape.payload(self.load), trace_id=self.trace_id, deadline_s=deadline)

    def __str__(self) -> str:
        load = self.load
        return f"trace {self.trace_id} ({self.shape.name}, {load.fate} at {load.place}, {self.way} {self.ender})"


def outcome_of(error: FlowError) -> str:
    """What an error says of its trace."""
    if error.code == "TRACE_CANCELLED":
        return "cancelled"
    return "expired" if error.code == "DEADLINE_EXCEEDED" or "BUDGET" in error.code else "failed"


def judged(case: Case, got: Any) -> tuple[str, str]:
    """The outcome that a caller was told, and what is wrong with it, if anything is."""
    if isinstance(got, FlowError):
        outcome = outcome_of(got)
        cause = got.original_exc
        if outcome == "failed" and got.code != case.code:
            return outcome, f"the code {got.code}, not {case.code}: {got}"
        if got.code == "NODE_EXCEPTION" and (cause is None or cause.args != (case.load.number,)):
            return outcome, f"somebody else's exception: {cause!r}"
        return outcome, "" if got.trace_id == case.trace_id else f"somebody else's error, of trace {got.trace_id}"
    answer = got.payload if isinstance(got, Message) else got
    if isinstance(answer, FinalAnswer) and answer.text.startswith("No final answer"):
        return "expired", ""
    right = case.shape.answer(case.load.number)
    return "completed", "" if answer == right else f"the answer {answer!r}, not {right!r}"


class Callers:
    """Every way to hand a message in."""

    def __init__(self, tally: Tally) -> None:
        self.tally: Tally = tally
        self._fetched: dict[str, asyncio.Future[Any]] = {}

    async def play(self, case: Case) -> None:
        """Hand one message in and see what comes of it."""
        self._hand_in(case)
        ways = {"ask": self._ask, "start": self._start, "stream": self._stream, "emit": self._emit}
        killer = asyncio.create_task(self._kill(case)) if case.ender == "cancel" else None
        try:
            async with asyncio.timeout(HANG_S if case.ender == "vanish" else None):
                got = await ways[case.way](case)
        except FlowError as error:
            got = error
        except TimeoutError:  # the asker is gone
            await self.tally.ended_too(case.trace_id)
            self.tally.saw(case, "cancelled", "")
            return
        finally:
            if killer is not None:
                await killer
        self.tally.saw(case, *judged(case, got))

    def _hand_in(self, case: Case) -> None:
        self.tally.handed[case.shape.name] += 1
        self.tally.waiting[case.trace_id] = case.shape

    async def _kill(self, case: Case) -> None:
        await asyncio.sleep(HANG_S)
        if not await case.shape.flow.cancel(case.trace_id):
            self.tally.complain(f"{case}: cancel() found it ended already")

    async def _ask(self, case: Case) -> Any:
        return await case.shape.flow.ask(case.message())

    async def _start(self, case: Case) -> Any:
        return await case.shape.flow.start(case.message()).result()

    async def _stream(self, case: Case) -> Any:
        pieces: list[StreamChunk] = []
        async with case.shape.flow.stream(case.message()) as stream:
            async for chunk in stream:
                if chunk.meta.get("restart"):
                    pieces.clear()
                pieces.append(chunk)
                if case.load.number % 8 == 0:  # a slow reader
                    await asyncio.sleep(0)
        if case.shape.name == "stream":
            self._check(case, pieces)
        return stream.result

    def _check(self, case: Case, pieces: list[StreamChunk]) -> None:
        texts = [f"{case.load.number}.{piece}" for piece in range(PIECES)]
        first = pieces[0].seq if pieces else 0
        if [chunk.text for chunk in pieces] != texts:
            self.tally.complain(f"{case}: the chunks {[chunk.text for chunk in pieces]}, not {texts}")
        elif [chunk.seq for chunk in pieces] != list(range(first, first + PIECES)):
            self.tally.complain(f"{case}: its chunks are numbered {[chunk.seq for chunk in pieces]}")

    # --- low level, and all at once -------------------------------------------------------------------

    async def _emit(self, case: Case) -> Any:
        self._fetched[case.trace_id] = fetched = asyncio.get_running_loop().create_future()
        await case.shape.flow.emit(case.message())
        got = await fetched
        await self.tally.ended_too(case.trace_id)
        return got

    async def fetch(self, flow: PenguiFlow) -> None:
        """Take what comes out at Rookery, for ever, and give it to those who emitted it."""
        while True:
            got = await flow.fetch()
            trace_id = got.trace_id if isinstance(got, FlowError) else f"{int(got.split()[-1]):x}"
            waiting = self._fetched.pop(trace_id or "", None)
            if waiting is None:
                self.tally.complain(f"{got!r} came out at Rookery, and nobody waits for it")
            else:
                waiting.set_result(got)

    async def storm(self, cases: Sequence[Case], victims: Sequence[bool], turns: int) -> None:
        """Start many at once, and a few turns of the loop later cancel the victims at once."""
        begun: list[tuple[Case, TraceHandle, bool]] = []
        for case, victim in zip(cases, victims, strict=True):
            self._hand_in(case)
            try:
                begun.append((case, case.shape.flow.start(case.message()), victim))
            except asyncio.QueueFull:
                self.tally.refused[case.shape.name] += 1
                del self.tally.waiting[case.trace_id]
        for _ in range(turns):
            await asyncio.sleep(0)
        await asyncio.gather(*(handle.cancel() for _, handle, victim in begun if victim))
        for case, handle, _ in begun:
            try:
                got = await handle.result()
            except FlowError as error:
                got = error
            self.tally.saw(case, *judged(case, got))
