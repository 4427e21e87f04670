"""Does to a flow whatever its users do, in any order, and judges after each step and at the end.

Rules: each step ends when nothing can run any more; time passes in steps of its own. In the end readers read, fetchers
fetch, what can't end by itself is cancelled, and the flow stops: then everything must add up.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from penguiflow import FlowError, FlowStateError, Headers, Message, TraceCancelled
from tests.model import laws
from tests.model.flows import built
from tests.model.loads import Plan, new_load, plans, tag
from tests.model.oracle import TooMuch, forecast
from tests.model.senders import PLAIN_WAYS, WAYS, Record, Senders, Way, called
from tests.model.shapes import FlowShape, flow_shapes
from tests.model.world import World
from tests.utils.flowtestkit import VirtualLoop, quiet

LONG = 1e4  # virtual seconds in which anything that should end has ended
SETTLES_S = 0.5  # how long a cancelled trace may take, with flows nested in it


class FlowMachine(RuleBasedStateMachine):
    """One flow, and everything done to it."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualLoop()
        self.loop.set_exception_handler(self._unhandled)
        self.world: World
        self.senders: Senders
        self.shape: FlowShape
        self.records: dict[int, Record] = {}
        self.fetched: list[tuple[str | None, str]] = []  # an error's trace, and what came
        self.stopped = False
        self.handlers = _handlers()

    def _unhandled(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        text = f"law 6: the loop says {context['message']}: {context.get('exception')!r}"
        self.world.wrong(text)

    def _do(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Work, until nothing can run any more."""

        async def done() -> Any:
            async with asyncio.timeout(LONG):
                result = await work
            await quiet()
            return result

        return self.loop.run_until_complete(done())

    # --- steps ------------------------------------------------------------------------------------

    @initialize(shape=flow_shapes())
    def build(self, shape: FlowShape) -> None:
        self.shape = shape
        self.world = World(shape)
        self.senders = Senders(self.world, self.loop)
        built(self.world, shape)
        self._do(self._run())

    async def _run(self) -> None:
        self.world.flow.run()

    @rule(data=st.data(), ways=st.lists(PLAIN_WAYS, min_size=1, max_size=4))
    def enter(self, data: st.DataObject, ways: list[Way]) -> None:
        """Send in some messages that are to be left alone."""
        plan = data.draw(self._plans(quiet=True), "plan")
        for way in ways:
            self._enter(plan, way)

    @rule(data=st.data(), way=WAYS)
    def enter_somehow(self, data: st.DataObject, way: Way) -> None:
        self._enter(data.draw(self._plans(), "plan"), way)

    def _plans(self, depth: int = 1, quiet: bool = False) -> st.SearchStrategy[Plan]:
        return plans(self.shape, depth, quiet)

    def _enter(self, plan: Plan, way: Way) -> None:
        key = len(self.records)
        load = new_load(key, plan, f"t{key}", frozenset(), f"tenant{key}")
        try:
            told = forecast(self.shape, load)
        except TooMuch:
            return
        free = way.limit is None and way.hops is None and way.tokens is None and way.leave_after is None
        record = Record(key, way.how, f"trace{key}", told, told.sure and free, self.loop.time(), way.limit, way.hops)
        record.patient = way.pace == "at once"
        self.records[key] = record
        self.world.plans[record.trace] = plan
        message = self.senders.message(record, self.world.watch(load), way)
        del load
        self._do(self.senders.sent(record, message, way))

    @rule(seconds=st.sampled_from((0.25, 1.0, 2.0, 6.0, 30.0)))
    def wait(self, seconds: float) -> None:
        self._do(asyncio.sleep(seconds))

    @precondition(lambda self: self.world.live())
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        trace = data.draw(st.sampled_from(self.world.live()), "trace")
        self._disturb(trace)
        self._do(self._cancelled(trace))
        if self._do(self.world.flow.cancel(trace)):
            self.world.wrong(f"law 4: {trace} can be cancelled twice")

    async def _cancelled(self, trace: str) -> None:
        world, since = self.world, self.loop.time()
        live = world.flow.explain(trace).status == "live"
        done = await world.flow.cancel(trace)
        if live and not done:
            world.wrong(f"law 4: {trace} is live, and cancel says that it isn't")
        if trace not in world.finished or (live and world.finished[trace] != "cancelled"):
            world.wrong(f"law 4: {trace} is cancelled, and its outcome is {world.finished.get(trace)}")
        if self.loop.time() - since > SETTLES_S:
            world.wrong(f"law 4: cancelling {trace} took {self.loop.time() - since} s")

    @precondition(lambda self: self._askers())
    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        record = data.draw(st.sampled_from(self._askers()), "asker")
        self._disturb(record.trace)
        task = next(task for task, owner in self.senders.tasks.items() if owner is record)
        self._do(self._given_up(record, task))

    def _askers(self) -> list[Record]:
        return [
            record for record in self.senders.tasks.values() if record is not None and record.how in ("ask", "stream")
        ]

    async def _given_up(self, record: Record, task: asyncio.Task[None]) -> None:
        left = record.outcome == "left"
        task.cancel()
        await asyncio.sleep(SETTLES_S)
        if not task.done() or not (left or record.outcome == "gave up"):
            self.world.wrong(f"law 4: asker {record.key} is cancelled, and gets {record.outcome!r}")
        if record.trace in self.world.live():
            self.world.wrong(f"law 4: asker {record.key} is cancelled, and his trace isn't")

    @precondition(lambda self: self.world.live())
    @rule(data=st.data(), nowait=st.booleans())
    def join(self, data: st.DataObject, nowait: bool) -> None:
        """Emit another message with a live trace's id."""
        trace = data.draw(st.sampled_from(self.world.live()), "trace")
        plan = data.draw(self._plans(0), "plan")
        key = len(self.records)
        load = new_load(key, plan, f"t{key}", frozenset(), f"tenant{key}")
        try:
            told = forecast(self.shape, load)
        except TooMuch:
            return
        self._disturb(trace)
        record = self.records[key] = Record(key, "nowait" if nowait else "emit", trace, told, False, 0.0)
        message = Message(payload=load, trace_id=trace, headers=Headers(tenant=load.tenant))
        record.patient = False
        record.how = "join"
        del load
        if nowait:
            self._do(self.senders.heard(record, called(self.world.flow.emit_nowait, message)))
        else:
            self.senders.keep(self.senders.heard(record, self.world.flow.emit(message)), None)
            self._do(quiet())

    @rule(count=st.integers(1, 4), seconds=st.sampled_from((0.0, 2.0, 7.0)), aside=st.booleans(), data=st.data())
    def fetch(self, count: int, seconds: float, aside: bool, data: st.DataObject) -> None:
        names = st.sampled_from([node.name for node in self.shape.nodes])
        source = data.draw(st.none() | st.lists(names, min_size=1, max_size=2), "from_")
        if aside:
            self.senders.keep(self._fetch(count, seconds, source), None)
            self._do(quiet())
        else:
            self._do(self._fetch(count, seconds, source))

    async def _fetch(self, count: int, seconds: float | None, source: Any = None) -> None:
        try:
            async with asyncio.timeout(seconds):
                for _ in range(count):
                    self._took(await self.world.flow.fetch(source))
        except (TimeoutError, TraceCancelled, FlowStateError):
            pass

    def _took(self, item: Any) -> None:
        self.fetched.append((item.trace_id if isinstance(item, FlowError) else None, tag(item)))

    @rule(drain_s=st.sampled_from((None, 0, 2.5)))
    def stop_and_run_again(self, drain_s: float | None) -> None:
        self._do(self._stop(drain_s))
        self._do(self._run())

    async def _stop(self, drain_s: float | None) -> None:
        world, since = self.world, self.loop.time()
        self.stopped = True
        stopping = self.loop.create_task(world.flow.stop(drain_s))
        if drain_s is None:
            await asyncio.sleep(60)
        elif drain_s:
            await asyncio.sleep(drain_s - 0.1)
        if not stopping.done():
            for trace in world.live():
                self._disturb(trace)
            if drain_s is None:
                await world.flow.stop(0)
        await stopping
        if self.loop.time() - since > (drain_s if drain_s is not None else 60) + 2 * SETTLES_S:
            world.wrong(f"law 4: stop({drain_s}) took {self.loop.time() - since} s")
        if world.live():
            world.wrong(f"law 1: {world.live()} are live after stop({drain_s})")

    def _disturb(self, trace: str) -> None:
        """Nothing is sure about this trace any more, nor about those that wait for it."""
        while trace in self.world.parents:
            trace = self.world.parents[trace]
        for record in self.records.values():
            if record.trace == trace:
                record.sure = False

    # --- what holds after every step --------------------------------------------------------------

    @invariant()
    def nothing_is_wrong(self) -> None:
        if self.shape_known:
            self._do(self._hold_now())
            self._judge()

    async def _hold_now(self) -> None:
        laws.hold_now(self)

    def _judge(self) -> None:
        if self.world.violations:
            raise AssertionError("\n".join(self.world.violations))

    @property
    def shape_known(self) -> bool:
        """Whether there is a flow yet."""
        return hasattr(self, "shape")

    # --- the end ----------------------------------------------------------------------------------

    def teardown(self) -> None:
        try:
            if self.shape_known and not self.world.violations:
                self._do(self._ended())
                laws.hold_at_the_end(self)
                self._judge()
        finally:
            self._close()

    async def _ended(self) -> None:
        """Let everything end that can by itself, cancel the rest, and stop."""
        self.senders.over.set()
        for _ in range(40):
            await asyncio.sleep(LONG / 100)
            await self._fetch(1000, 0.001)
            for trace in self.world.live():
                if trace not in self.world.finished and not self._must_end(trace):
                    self._disturb(trace)
                    await self._cancelled(trace)
            if not self.world.live() and not self._waiting():
                break
        laws.all_ended(self)
        await asyncio.sleep(10)  # what swallowed its cancellation comes out
        laws.nothing_left(self)
        await self._stop(0)
        await self._fetch_rest()

    def _must_end(self, trace: str) -> bool:
        while trace in self.world.parents:
            trace = self.world.parents[trace]
        record = next((record for record in self.records.values() if record.trace == trace), None)
        return record is not None and record.sure and not record.told.starves

    def _waiting(self) -> list[Record]:
        return [record for record in self.senders.tasks.values() if record is not None]

    async def _fetch_rest(self) -> None:
        try:
            while True:
                self._took(await self.world.flow.fetch())
        except FlowStateError:
            pass

    def _close(self) -> None:
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.loop.run_until_complete(asyncio.sleep(10))
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()


def _handlers() -> list[Any]:
    return [list(logging.getLogger(name).handlers) for name in ("penguiflow", "penguiflow.events")]
