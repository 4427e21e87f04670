"""Watches: what nodes begin, make and end, and the events that tell of it.

Rules: whatever breaks a law at once is noted in `violations`; what can be judged at the end alone is kept as text and
numbers, so that the watcher keeps nothing of a trace alive.
"""

from __future__ import annotations

import asyncio
import itertools
import weakref
from collections import Counter
from typing import Any, NamedTuple

from penguiflow import (
    Context,
    Drop,
    Emit,
    FinalAnswer,
    FlowError,
    FlowEvent,
    Headers,
    Message,
    PenguiFlow,
    Replace,
    Retry,
    TraceCancelled,
    hookimpl,
)
from tests.model.loads import Act, Answer, Load, Plan, new_load, opened, tag
from tests.model.shapes import FlowShape

ENDS = ("node_success", "node_failed", "node_cancelled", "node_expired")
WORKERS = ("plain", "generator", "controller")


class Story:
    """What the attempts of one node run have done. It holds the context, so that no other gets its `id`."""

    def __init__(self, ctx: Context) -> None:
        self.ctx: Context = ctx
        self.attempt: int = 0
        self.emitted: bool = False
        self.streams: dict[str | None, int] = {}


class Sent(NamedTuple):
    """A load that a node has handed over."""

    path: str
    targets: tuple[str, ...]
    leaves: bool  # whether it goes to Rookery, out of the flow itself


class World:
    """Everything that is known about one flow under test."""

    def __init__(self, shape: FlowShape) -> None:
        self.shape: FlowShape = shape
        self.flow: PenguiFlow
        self.playbooks: list[PenguiFlow] = []
        self.plugins: list[Any] = [Decider(self)] if shape.decides else []
        self.violations: list[str] = []
        self.serials = itertools.count()
        self.numbers = itertools.count()
        self.plans: dict[str, Plan] = {}
        self.short: set[str] = set()  # traces in which a flow may end before all has been done that was sent
        self.visits: dict[Visit, None] = {}
        self.stories: dict[str, dict[int, Story]] = {}
        self.modes: dict[str, str] = {}  # of every trace that started
        self.finished: dict[str, str] = {}  # the outcomes
        self.times: dict[str, float] = {}  # when they were, in the loop's time
        self.open: dict[str, str] = {}  # invocations under way, and their traces
        self.ended: set[str] = set()
        self.hops: Counter[str] = Counter()
        self.seqs: dict[tuple[str, str], int] = {}
        self.sent: dict[str, dict[int, Sent]] = {}  # loads handed over
        self.made: Counter[str] = Counter()  # paths of what is to leave the flow itself
        self.parents: dict[str, str] = {}  # of what nodes ask, the trace that waits for it
        self.watched: list[weakref.ref[Load]] = []
        self.received: dict[str, Counter[tuple[str, int]]] = {}
        self.last: dict[tuple[str, str, str], int] = {}
        self.decided: Counter[tuple[str, str | None]] = Counter()
        self.asked: list[tuple[str, str]] = []  # what nodes asked, and what they got
        self.inside: set[str] = set()  # traces that nodes set going

    def wrong(self, text: str) -> None:
        """Note that a law is broken."""
        self.violations.append(text)

    # --- events -----------------------------------------------------------------------------------

    def saw(self, event: FlowEvent) -> None:
        """The flow's `on_event`."""
        kind, trace = event.event_type, event.trace_id or ""
        if kind == "trace_start":
            if trace in self.modes:
                self.wrong(f"law 1: trace {trace} started twice")
            self.modes[trace] = event.extra["mode"]
        elif kind == "trace_finish":
            self._finish(trace, event.outcome or "")
        elif kind == "node_start":
            self._node_start(trace, event)
        elif kind in ENDS:
            if self.open.pop(event.invocation_id or "", None) is None:
                self.wrong(f"law 1: {kind} of {event.node_id} ends no run that is open")
        elif kind == "stream_chunk":
            self._chunk(trace, event)
        if kind.startswith("node_") and trace in self.finished:
            self.wrong(f"law 1: {kind} of {event.node_id} after the end of {trace}")

    def _node_start(self, trace: str, event: FlowEvent) -> None:
        invocation = event.invocation_id or ""
        if invocation in self.open or invocation in self.ended:
            self.wrong(f"law 1: {event.node_id} started twice as {invocation}")
        self.open[invocation] = trace
        self.ended.add(invocation)
        self.hops[trace] += 1

    def _finish(self, trace: str, outcome: str) -> None:
        if trace in self.finished:
            self.wrong(f"law 1: trace {trace} finished twice")
        if trace not in self.modes:
            self.wrong(f"law 1: trace {trace} finished and never started")
        self.finished[trace] = outcome
        self.times[trace] = asyncio.get_running_loop().time()
        self.stories.pop(trace, None)
        if trace in self.open.values():
            self.wrong(f"law 1: a node run of {trace} is open at its end")
        for visit in self.visits:
            if visit.trace == trace and not visit.swallowed:
                self.wrong(f"law 4: {visit.name} runs at the end of its trace {trace}, {outcome}")

    def _chunk(self, trace: str, event: FlowEvent) -> None:
        stream, seq = event.extra["stream_id"], event.extra["seq"]
        if seq != self.seqs.get((trace, stream), 0):
            self.wrong(f"law 9: chunk {seq} of {stream}, where {self.seqs.get((trace, stream), 0)} is due")
        self.seqs[trace, stream] = seq + 1

    # --- what nodes do ----------------------------------------------------------------------------

    def watch(self, load: Load) -> Load:
        """See to it that a load goes."""
        self.watched.append(weakref.ref(load))
        return load

    def live(self) -> list[str]:
        """The traces that started and didn't finish."""
        return [trace for trace in self.modes if trace not in self.finished]

    async def cancel_from_inside(self, trace: str) -> None:
        """A node cancels its own trace: it must not wait for itself."""
        if not await self.flow.cancel(trace):
            self.wrong(f"law 4: {trace} is live, and cancel says that it isn't")
        await asyncio.Event().wait()

    async def nested_ask(self, visit: Visit) -> None:
        """A node asks its own flow."""
        plan = visit.load.plan.nested or Plan({})
        trace = f"n{next(self.numbers)}"
        self.inside.add(trace)
        self.parents[trace] = visit.trace
        load = self.watch(new_load(-1, plan, trace, frozenset(), "inner"))
        await self.heard(trace, self.flow.ask(Message(payload=load, trace_id=trace, headers=Headers(tenant="inner"))))

    async def heard(self, trace: str, waiting: Any) -> None:
        """Await what is asked, and note what came of it."""
        try:
            value = await waiting
            self.asked.append((trace, f"value {tag(value)}"))
        except FlowError as error:
            self.asked.append((trace, f"error {error.code}"))
            raise
        except ValueError:
            self.asked.append((trace, "several"))
            raise
        except asyncio.CancelledError:
            self.asked.append((trace, "gave up"))
            raise


class Visit:
    """One attempt of one node, from inside."""

    def __init__(self, world: World, flow: FlowShape, place: int, value: Any, ctx: Context, top: bool) -> None:
        self.world, self.flow, self.place, self.ctx, self.top = world, flow, place, ctx, top
        self.shape = flow.nodes[place]
        self.name: str = self.shape.name
        self.trace: str = ctx.trace_id
        fallback = new_load(-1, world.plans.get(self.trace, Plan({})), "answer", None, "?")
        self.value: Any = value
        self.load: Load = opened(value, fallback)
        self.acts: tuple[Act, ...] = self.load.plan.acts.get(self.name, ())
        self.swallowed = self.as_message = self.returns_none = False
        self.pending: Load | None = None
        self.index: int = 0
        world.plans.setdefault(self.trace, self.load.plan)
        if self.load.plan.runs_out():
            world.short.add(self.trace)
        known = {} if self.trace in world.finished else world.stories.setdefault(self.trace, {})
        self.story: Story = known.setdefault(id(ctx), Story(ctx))

    def __enter__(self) -> Visit:
        self._check_begin()
        if self.ctx.attempt == 0:
            self._check_received()
        self.world.visits[self] = None
        self._check_room()
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self.world.visits.pop(self, None)
        if kind is None:
            self.delivered()
        self.story.attempt = self.ctx.attempt

    # --- what is checked at once ------------------------------------------------------------------

    def _check_begin(self) -> None:
        ctx, load, world = self.ctx, self.load, self.world
        if self.trace in world.finished:
            world.wrong(f"law 1: {self.name} begins after the end of its trace {self.trace}")
        if self.story.emitted and ctx.attempt > self.story.attempt and not self.shape.repeats:
            world.wrong(f"law 7: {self.name} emitted in attempt {self.story.attempt} and runs again")
        if ctx.attempt > self.story.attempt:
            self.story.emitted = False
        found = self._marks()
        own = {
            mark for mark in found if mark.startswith((f"m:{load.path}|{self.name}.", f"m:{load.path}/{self.name}>"))
        }
        most = (load.marks or set()) | (own if ctx.attempt else set())
        if load.marks is not None and not load.marks <= found <= most:
            world.wrong(f"law 8: {self.name} has the meta {sorted(found)} and {load} has {sorted(load.marks)}")
        if isinstance(self.value, Message):
            self._check_envelope(self.value)

    def _check_envelope(self, message: Message[Any]) -> None:
        if message.trace_id != self.trace:
            self.world.wrong(f"law 8: {self.name} gets a message of {message.trace_id} in {self.trace}")
        if self.load.tenant not in ("?", message.headers.tenant):
            self.world.wrong(f"law 8: {self.load} of {self.load.tenant} comes as {message.headers.tenant}'s")

    def _check_received(self) -> None:
        load, world = self.load, self.world
        if isinstance(self.value, Message | Load) and load.serial >= 0 and self.flow.before(self.place):
            received = world.received.setdefault(self.trace, Counter())
            received[self.name, load.serial] += 1
            if received[self.name, load.serial] > 1 and self._direct(load.source):
                world.wrong(f"law 1: {self.name} gets {load} twice")
            self._check_order()

    def _direct(self, source: str) -> bool:
        """Whether what a node makes comes here one way alone."""
        between = {self.flow.nodes[i].kind for i in self.flow.before(self.place)}
        return between <= {"plain", "generator"} and not self.flow.cyclic()

    def _check_order(self) -> None:
        load, world = self.load, self.world
        sources = [self.flow.nodes[i] for i in self.flow.before(self.place)]
        serially = self.shape.lanes == 1 and all(source.lanes == 1 for source in sources)
        if self.top and serially and self._direct(load.source):
            key = (self.trace, self.name, load.source)
            if load.serial < world.last.get(key, -1):
                world.wrong(f"law 2: {self.name} gets {load} after a later one of {load.source}")
            world.last[key] = load.serial

    def _check_room(self) -> None:
        live = [visit for visit in self.world.visits if visit.name == self.name and not visit.swallowed]
        here = sum(visit.trace == self.trace for visit in live)
        if self.top and here > self.shape.lanes:
            self.world.wrong(f"law 3: {here} runs of {self.name} at a time in one trace")
        outside = [visit for visit in live if visit.trace not in self.world.inside]
        if self.top and self.shape.limit is not None and len(outside) > self.shape.limit:
            self.world.wrong(f"law 3: {len(outside)} runs of {self.name} at a time")

    # --- what it does -----------------------------------------------------------------------------

    def _marks(self) -> frozenset[str]:
        return frozenset(key for key in self.ctx.meta if key.startswith("m:"))

    def mark(self) -> None:
        """Write something to `meta` that nobody else does."""
        self.ctx.meta[f"m:{self.load.path}|{self.name}.{self.index}"] = True

    def handed_down(self) -> Load:
        """This node's load, as it goes to a playbook."""
        return self.world.watch(self.load.handed_down(self.name, self._marks()))

    def learned(self, result: Any) -> None:
        """A playbook has ended: what it wrote to `meta` is here."""
        if result is not None and not isinstance(result, FinalAnswer):
            marks = opened(result).marks or frozenset()
            if not marks <= self._marks():
                self.world.wrong(f"law 8: the meta {sorted(marks - self._marks())} of a playbook is lost")

    def made(self) -> Load:
        """A new load, which is about to be handed over."""
        self.pending = self.load.child(self.name, self.index, self._marks())
        self.pending.serial = next(self.world.serials)
        self.index += 1
        if self.top and not self.flow.targets(self.place):
            self.world.made[self.pending.path] += 1
        return self.world.watch(self.pending)

    def delivered(self) -> None:
        """What was made last has been taken."""
        if self.pending is not None and not self.swallowed:
            nodes = tuple(self.flow.nodes[i] for i in self.flow.targets(self.place))
            workers = tuple(node.name for node in nodes if node.kind in WORKERS)
            sent = Sent(self.pending.path, workers, self.top and not nodes)
            self.world.sent.setdefault(self.trace, {})[self.pending.serial] = sent
            self.story.emitted = True
        self.pending = None

    async def emit(self) -> None:
        """Emit a new load."""
        self.story.emitted = True
        await self.ctx.emit(self.made())
        self.delivered()

    def emit_nowait(self) -> None:
        """Emit a new load, if there is room."""
        try:
            self.ctx.emit_nowait(self.made())
        except asyncio.QueueFull:
            self.pending = None
        else:
            self.delivered()

    def result(self) -> Any:
        """What the node returns."""
        if self.returns_none:
            return None
        load = self.made()
        if not self.as_message:
            return load
        extra = f"m:{self.load.path}|{self.name}.returned"
        load.marks = (load.marks or frozenset()) | {extra}
        return Message(payload=load, meta={extra: True})

    def answer(self) -> Answer:
        """A final answer, which leaves at Rookery whatever the node leads to."""
        made, self.pending = self.made(), None
        return Answer(text="", load=made)

    async def chunk(self, stream: str | None) -> None:
        """Write a chunk."""
        text = f"{self.load.path}/{self.name}#{self.index}"
        self.index += 1
        expected = self.story.streams.get(stream, self.ctx.attempt) < self.ctx.attempt
        self.story.streams[stream] = self.ctx.attempt
        written = await self.ctx.emit_chunk(text, stream_id=stream)
        if self.top and bool(written.meta.get("restart")) != expected:
            self.world.wrong(f"law 7: chunk {text} of attempt {self.ctx.attempt} has {written.meta}")


class Decider:
    """A plugin that decides what a load's plan says, at most twice for a node of a trace."""

    name = "decider"

    def __init__(self, world: World) -> None:
        self.world: World = world

    @hookimpl
    def on_error(self, error: FlowError) -> Any:
        if isinstance(error, TraceCancelled):
            self.world.wrong("law 6: somebody is asked about a cancellation")
        answer = self._answer(error)
        return answer if self.world.shape.decides == "sync" else self._later(answer)

    async def _later(self, answer: Any) -> Any:
        await asyncio.sleep(1)
        return answer

    def _answer(self, error: FlowError) -> Any:
        trace = error.trace_id or ""
        plan = self.world.plans.get(trace)
        self.world.decided[trace, error.node_id] += 1
        if plan is None or self.world.decided[trace, error.node_id] > 2:
            return None
        match plan.decision:
            case "retry":
                return Retry(0.5)
            case "replace":
                return Replace(new_load(-1, plan, f"{trace}:replaced", None, "?"))
            case "emit":
                return Emit()
            case "drop":
                return Drop()
        return None
