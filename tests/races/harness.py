"""Runs a small flow again and again, and lets something happen to it after each step that its tasks take.

Rules: a scenario is a flow, a client that sends it a message, and the answer that he gets if nothing happens. In each
race two clients are under way, and one of them, the subject, meets the action. Whatever happens, and whenever, the laws
hold: everybody gets his answer or the error that fits, in time; each trace and each node run ends once; slots, limits
and tasks are given back; the flow takes the next message, and runs again.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import penguiflow
from penguiflow import FinalAnswer, FlowError, FlowErrorCode, Message, PenguiFlow, StreamChunk
from tests.utils.awaits import points, suspended
from tests.utils.flowtestkit import Recorder
from tests.utils.interleaving import ShufflingLoop

POINTS = points(sorted(Path(penguiflow.__file__).parent.glob("*.py")))

DEADLINE_S = 1e5  # beyond all that a scenario waits for
GUARD_S = 2e6  # beyond every deadline: who still waits then would wait for ever
SLOTS = 2

BASKET: ContextVar[list[Any]] = ContextVar("basket")  # where a client puts what he fetches, to be counted

Client = Callable[[PenguiFlow, Message[Any]], Awaitable[Any]]


@dataclass(frozen=True, eq=False)
class Scenario:
    """What is raced against.

    Attributes:
        build: Makes the flow, given options for `create`.
        client: Sends a message and returns what he got.
        answer: What he gets if nothing happens: of the message's payload.
        other: The client of whoever isn't the subject; the same by default.
        keeps: Whether the client runs and stops the flow himself.
        patience: Seconds that everything may take after a cancel, a deadline or a stop.
        lag: Seconds that the client may take besides, since he is slow.
        steps: After which steps to race; by default after every one.
        again: The client who finds out at the end whether the flow still answers; the same by default.
        slots: `max_traces`.
        alters: The answers that a client may get besides, by action.
        errors: The errors that a client may get besides, by action.
        raised: The error that whoever stops the flow may get.
        keeps_all: Whether what an emitted trace gave is in the client's `BASKET` or in Rookery, even if he is gone.
    """

    build: Callable[..., PenguiFlow]
    client: Client
    answer: Callable[[str], Any]
    other: Client | None = None
    keeps: bool = False
    patience: float = 0.001
    lag: float = 0.0
    steps: range | None = None
    again: Client | None = None
    slots: int = SLOTS
    alters: dict[str, Callable[[Any], bool]] = field(default_factory=dict)
    errors: dict[str, tuple[str, ...]] = field(default_factory=dict)
    raised: type[Exception] | None = None
    keeps_all: bool = False


@dataclass
class Blow:
    """What happened in one race, and where every task was just then."""

    struck: bool = False  # whether it came in time
    landed: bool = False  # whether there was something for it to act on
    at: float = 0.0
    task: asyncio.Task[Any] | None = None
    points: tuple[str, ...] = ()


@dataclass
class Got:
    """What a client got."""

    answer: Any = None
    error: str | None = None
    cancelled: bool = False


Act = Callable[[ShufflingLoop, PenguiFlow, asyncio.Task[Any], Blow], None]


def _cancel(loop: ShufflingLoop, flow: PenguiFlow, subject: asyncio.Task[Any], blow: Blow) -> None:
    blow.task = loop.at_once(flow.cancel("subject"))
    blow.landed = not blow.task.done() or blow.task.result()


def _expire(loop: ShufflingLoop, flow: PenguiFlow, subject: asyncio.Task[Any], blow: Blow) -> None:
    now = loop.time()
    blow.landed = loop.ring(now + DEADLINE_S / 2, now + DEADLINE_S * 2) > 0


def _stop(loop: ShufflingLoop, flow: PenguiFlow, subject: asyncio.Task[Any], blow: Blow) -> None:
    blow.task = loop.at_once(flow.stop(0))
    blow.landed = not blow.task.done()


def _drain(loop: ShufflingLoop, flow: PenguiFlow, subject: asyncio.Task[Any], blow: Blow) -> None:
    blow.task = loop.at_once(flow.stop(None))
    blow.landed = not blow.task.done()


def _abandon(loop: ShufflingLoop, flow: PenguiFlow, subject: asyncio.Task[Any], blow: Blow) -> None:
    blow.landed = subject.cancel()


ACTIONS: dict[str, Act] = {
    "cancel": _cancel,
    "deadline": _expire,
    "stop": _stop,
    "drain": _drain,
    "asker": _abandon,
}

ERRORS: dict[str, tuple[str, ...]] = {
    "cancel": (FlowErrorCode.TRACE_CANCELLED,),
    "deadline": (FlowErrorCode.DEADLINE_EXCEEDED,),
    "stop": (FlowErrorCode.TRACE_CANCELLED, "FlowStateError"),
    "drain": ("FlowStateError",),
    "asker": (),
}


class Race:
    """One run of a scenario, with an action after so many steps (`None`: without)."""

    def __init__(
        self, scenario: Scenario, flow: PenguiFlow, action: str | None, after: int, seed: int | None = None
    ) -> None:
        self.scenario = scenario
        self.flow = flow
        self.action = action
        self.after = after
        self.seed = seed
        self.blow = Blow()
        self.complaints: list[dict[str, Any]] = []
        self.ends: dict[asyncio.Task[Any], float] = {}
        self.baskets: dict[str, list[Any]] = {}
        self.length = 0  # in steps, until the clients were done
        self.loop = ShufflingLoop(seed)

    def run(self, seen: Recorder | None) -> Blow:
        """Run it.

        Raises:
            AssertionError: a law was broken; the note says when.
        """
        self.loop.set_exception_handler(lambda _, context: self.complaints.append(context))
        try:
            self.loop.run_until_complete(self._main())
            assert self.complaints == [], self.complaints
            if seen is not None:
                seen.assert_lawful()
                kinds = Counter(seen.types("flow_start", "flow_stop"))
                assert kinds["flow_start"] == kinds["flow_stop"], kinds
                self._check_outcome(seen)
        except BaseException as exc:
            exc.add_note(f"{self.action} after step {self.after} (seed {self.seed}), at {self.blow.points}")
            raise
        finally:
            self.loop.close()
        return self.blow

    async def _main(self) -> None:
        flow, scenario, loop = self.flow, self.scenario, self.loop
        async with asyncio.timeout(GUARD_S):
            if not scenario.keeps:
                flow.run()
                other = loop.create_task(self._ask(scenario.other or scenario.client, "other"))
                loop.found(other, "other")
            subject = loop.create_task(self._ask(scenario.client, "subject"))
            clients = [subject] if scenario.keeps else [subject, other]
            for task in clients:
                self._note_end(task)
            loop.inject(self.after, lambda: self._strike(clients))
            await asyncio.wait(clients)
            self.length = loop.steps
            blow, struck = self.blow, self.blow.struck
            self.action = self.action if struck else None
            if blow.task is not None:
                await asyncio.wait([blow.task])
                error = blow.task.exception()
                if error is not None and type(error) is not scenario.raised:
                    raise error
            self._check("subject", subject)
            if blow.landed and self.action != "drain":
                lag = 0.0 if self.action == "asker" else scenario.lag
                assert self.ends[subject] - blow.at <= scenario.patience + lag, (
                    f"{self.ends[subject] - blow.at} s later"
                )
                assert blow.task is None or self.ends[blow.task] - blow.at <= scenario.patience
            if self.action == "drain" and scenario.slots == 1 and not subject.cancelled() and subject.result().error:
                assert self.ends[subject] - blow.at <= scenario.patience, "who waits for a slot is turned away at once"
            if not scenario.keeps:
                self._check("other", other)
            await self._again()
            await asyncio.sleep(DEADLINE_S / 1e3)
            assert asyncio.all_tasks() == {asyncio.current_task()}

    async def _ask(self, client: Client, name: str) -> Got:
        BASKET.set(self.baskets.setdefault(name, []))
        limited = name == "subject" and self.action == "deadline"
        deadline = time.time() + DEADLINE_S if limited else None
        try:
            return Got(await client(self.flow, Message(payload=name, trace_id=name, deadline_s=deadline)))
        except asyncio.CancelledError:
            return Got(cancelled=True)  # without a traceback, which would keep what the client held
        except Exception as exc:
            code = exc.code if isinstance(exc, FlowError) else type(exc).__name__
            if code not in self._allowed(name):
                raise
            return Got(error=code)

    def _affected(self, name: str) -> str | None:
        """The action that a client may have felt."""
        if not self.blow.landed or (name != "subject" and self.action not in ("stop", "drain")):
            return None
        return self.action

    def _allowed(self, name: str) -> tuple[str, ...]:
        action = self._affected(name)
        return () if action is None else (*ERRORS[action], *self.scenario.errors.get(action, ()))

    def _strike(self, clients: list[asyncio.Task[Any]]) -> None:
        if self.action is None or clients[0].done():
            return
        blow, loop = self.blow, self.loop
        blow.struck, blow.at = True, loop.time()
        places = [place for t in asyncio.all_tasks(loop) if loop.family(t) != "other" for place in suspended(t)]
        blow.points = tuple(sorted({POINTS[place] for place in places if place in POINTS}))
        ACTIONS[self.action](loop, self.flow, clients[0], blow)
        if blow.task is not None:
            self._note_end(blow.task)

    def _note_end(self, task: asyncio.Task[Any]) -> None:
        """Write down when a task ends."""
        task.add_done_callback(lambda task: self.ends.setdefault(task, self.loop.time()))

    def _check(self, name: str, task: asyncio.Task[Got]) -> None:
        """A client got his answer, or an error that fits what happened."""
        action = self._affected(name)
        got = Got(cancelled=True) if task.cancelled() else task.result()
        if action == "asker" or got.cancelled:
            assert action == "asker", f"{name} was cancelled by nobody"
            assert got.cancelled, f"the asker was cancelled, and got {got}"
        elif got.error is None and got.answer != self.scenario.answer(name):
            altered = self.scenario.alters.get(action or "", lambda _: False)
            assert altered(got.answer), f"{name} got {got.answer!r}, not {self.scenario.answer(name)!r}"

    async def _again(self) -> None:
        """Every slot is free, and the flow answers; after its end it runs again, and answers."""
        flow, scenario = self.flow, self.scenario
        client = scenario.again or scenario.client
        if not flow.running:
            if scenario.keeps:
                assert await client(flow, Message(payload="third")) == scenario.answer("third")
                return
            flow.run()
        BASKET.set([])
        if not scenario.keeps:
            left = await _empty(flow)
            if scenario.keeps_all and self.action == "asker":
                all_of_it = sorted(map(str, [*self.baskets.get("subject", []), *left]))
                assert all_of_it in ([], sorted(map(str, scenario.answer("subject")))), f"only {all_of_it} is left"
            handles = [flow.start(Message(payload=f"slot{i}")) for i in range(scenario.slots)]
            for handle in handles:
                await handle.cancel()
            await _empty(flow)
            assert await client(flow, Message(payload="third")) == scenario.answer("third")
        await flow.stop()

    def _check_outcome(self, seen: Recorder) -> None:
        """`cancel` said what became of the trace."""
        if self.action == "cancel" and self.blow.task is not None:
            outcomes = [e.outcome for e in seen.of("trace_finish") if e.trace_id == "subject"]
            assert self.blow.task.result() == (outcomes == ["cancelled"]) or not self.blow.task.result()


async def _empty(flow: PenguiFlow) -> list[Any]:
    """Wait until nothing is left of what clients sent off, and Rookery is empty; what was there."""
    found = []
    try:
        while True:
            async with asyncio.timeout(100):
                found.append(plain(await flow.fetch()))
    except TimeoutError:
        return found


def complain(text: str) -> None:
    """Break the race from inside a node, whatever becomes of the node."""
    asyncio.get_running_loop().call_exception_handler({"message": text})


def plain(item: Any) -> Any:
    """What can be compared of something that a flow gave."""
    item = item.payload if isinstance(item, Message) else item
    if isinstance(item, FlowError):
        return item.code
    return item.text if isinstance(item, FinalAnswer | StreamChunk) else item


def sweep(scenario: Scenario, action: str) -> frozenset[str]:
    """Race the action at every step; the points where a task was suspended when it acted on something."""
    seen = Recorder()
    flow = scenario.build(on_event=seen, max_traces=scenario.slots)
    hit: set[str] = set()
    for after in scenario.steps or itertools.count():
        seen.clear()
        blow = Race(scenario, flow, action, after).run(seen)
        if not blow.struck:
            break
        if blow.landed:
            hit.update(blow.points)
    return frozenset(hit)


def shuffled(scenario: Scenario, seeds: int) -> None:
    """Race with shuffled steps: for each seed an action, and a step that it comes after, are drawn."""
    seen = Recorder()
    watched = scenario.build(on_event=seen, max_traces=scenario.slots)
    alone = scenario.build(max_traces=scenario.slots)
    for seed in range(seeds):
        drawn = random.Random(seed)
        action, after = drawn.choice(list(ACTIONS)), drawn.randrange(_length(scenario))
        if drawn.random() < 0.5:
            seen.clear()
            Race(scenario, watched, action, after, seed).run(seen)
        else:
            Race(scenario, alone, action, after, seed).run(None)


@functools.cache
def _length(scenario: Scenario) -> int:
    """How many steps the scenario takes by itself."""
    race = Race(scenario, scenario.build(max_traces=scenario.slots), None, 0)
    race.run(None)
    return race.length
