"""Law 12: settled traces leave no state, task or log handler; with no listener no event is built."""

from __future__ import annotations

import asyncio
import gc
import logging
import time
import weakref
from collections import Counter
from typing import Any

import pytest

from penguiflow import (
    EVENT_TYPES,
    Budget,
    Context,
    FlowError,
    FlowEvent,
    Message,
    Node,
    NodePolicy,
    PenguiFlow,
    create,
    hookimpl,
    join_k,
    node,
    stream_flow,
    subflow,
)
from tests.utils.flowtestkit import Recorder, quiet, virtual_time


class Load:
    """A payload that can be watched."""

    def __init__(self, what: str) -> None:
        self.what = what


OUTCOMES = ("done", "none", "chunks", "fails", "retries", "waits", "late", "hops", "starves", "nested")


async def act(load: Load, ctx: Context) -> Any:
    match load.what:
        case "none":
            return None
        case "chunks":
            for _ in range(3):
                await ctx.emit_chunk("x")
        case "fails":
            raise ValueError(load)
        case "retries" if ctx.attempt < 2:
            raise ConnectionError(load)
        case "waits" | "late":
            await asyncio.Event().wait()
        case "hops":
            ctx.spend(tokens=5)
        case "nested":
            return await ctx.call_playbook(INNER, load)
    ctx.meta["load"] = load
    return load


def policy(**fields: Any) -> NodePolicy:
    return NodePolicy(max_retries=2, backoff_base=0.01, retry_on=ConnectionError, **fields)


@node
async def same(load: Load) -> Load:
    return load


INNER = create(same, name="inner")


def busy_flow(**options: Any) -> PenguiFlow:
    """Every shape at once: a retried node, a fan-out, a limit, a subflow, and a join that some traces starve."""
    first, both = Node(act, policy=policy()), join_k("both", 2)
    limited = Node(same.func, "limited", NodePolicy(max_concurrency=3))
    nested = subflow("nested", INNER)

    async def odd(load: Load) -> Load | None:
        return None if load.what == "starves" else load

    picky = Node(odd)
    return create(first.to(limited, nested), limited.to(both), nested.to(picky), picky.to(both), **options)


async def settle(flow: PenguiFlow, what: str, watched: list[weakref.ref[Load]]) -> None:
    """One trace of each way in, all ending as `what` says."""
    budget, deadline = Budget(tokens=3) if what == "hops" else None, time.time() + 50 if what == "late" else None
    for way in ("ask", "start", "stream", "emit"):
        load = Load(what)
        watched.append(weakref.ref(load))
        message = Message(payload=load, budget=budget, deadline_s=deadline)
        del load
        try:
            if way == "ask":
                await cancelling(flow, message, flow.ask(message), what)
            elif way == "start":
                handle = flow.start(message)
                await cancelling(flow, message, handle.results(), what)
            elif way == "stream":
                await cancelling(flow, message, read(flow, message), what)
            else:
                await flow.emit(message)
                await quiet()
                await flow.cancel(message.trace_id)
        except FlowError:
            pass


async def read(flow: PenguiFlow, message: Message) -> None:
    async with flow.stream(message) as stream:
        async for _ in stream:
            pass


async def cancelling(flow: PenguiFlow, message: Message, waiting: Any, what: str) -> None:
    if what != "waits":
        await waiting
        return
    task = asyncio.ensure_future(waiting)
    await quiet()
    await flow.cancel(message.trace_id)
    await task


async def drained(flow: PenguiFlow) -> None:
    """Take everything out of Rookery."""
    while True:
        try:
            async with asyncio.timeout(0.001):
                await flow.fetch()
        except TimeoutError:
            return


def census() -> Counter[str]:
    gc.collect()
    return Counter(f"{type(thing).__module__}.{type(thing).__name__}" for thing in gc.get_objects())


@pytest.fixture
def unlogged(caplog: pytest.LogCaptureFixture) -> None:
    """Captured records hold exceptions, and those hold everything."""
    caplog.set_level(logging.CRITICAL, "penguiflow")


# --- state ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", OUTCOMES)
@pytest.mark.usefixtures("unlogged")
@virtual_time
async def test_a_settled_trace_leaves_nothing_of_what_it_carried(what: str):
    watched: list[weakref.ref[Load]] = []
    async with busy_flow() as flow:
        tasks = asyncio.all_tasks()
        for _ in range(3):
            await settle(flow, what, watched)
        await drained(flow)
        gc.collect()
        assert len(watched) == 12
        assert [ref() for ref in watched if ref() is not None] == []
        assert asyncio.all_tasks() == tasks


@pytest.mark.usefixtures("unlogged")
@virtual_time
async def test_thousands_of_traces_of_all_outcomes_leave_no_state():
    async with busy_flow() as flow:
        counts, tasks = [], asyncio.all_tasks()
        for rounds in (5, 150):
            for _ in range(rounds):
                for what in OUTCOMES:
                    await settle(flow, what, [])
                await drained(flow)
            counts.append(census())
        growth = {kind: more for kind, more in (counts[1] - counts[0]).items() if more > 100}
        assert growth == {}
        assert asyncio.all_tasks() == tasks


@virtual_time
async def test_a_refused_message_leaves_nothing():
    @node
    async def stuck(x: Any) -> None:
        await asyncio.Event().wait()

    load = Load("refused")
    ref = weakref.ref(load)
    async with create(stuck, max_traces=1) as flow:
        handle = flow.start(1)
        with pytest.raises(FlowError):
            await flow.ask(load, timeout_s=1)
        with pytest.raises(asyncio.QueueFull):
            flow.start(load)
        task = asyncio.ensure_future(flow.ask(load))
        await quiet()
        task.cancel()
        await asyncio.wait([task])
        del load, task
        gc.collect()
        assert ref() is None
        await handle.cancel()


@virtual_time
async def test_a_playbook_made_for_one_call_goes_with_it():
    made: list[weakref.ref[Any]] = []

    async def calls(x: int, ctx: Context) -> int:
        async def inner(x: int) -> int:
            return x + 1

        made.append(weakref.ref(inner))
        playbook = create(Node(inner))
        return await ctx.call_playbook(playbook if x % 2 else lambda: playbook, x)

    async with create(Node(calls)) as flow:
        assert await asyncio.gather(*(flow.ask(number) for number in range(50))) == list(range(1, 51))
        gc.collect()
        assert [ref() for ref in made if ref() is not None] == []


@virtual_time
async def test_a_flow_that_is_let_go_goes():
    async def last(x: int) -> int:
        return x

    flow = create(Node(last))
    for _ in range(3):
        async with flow:
            await flow.ask(1)
    refs = weakref.ref(flow), weakref.ref(last)
    del flow, last
    gc.collect()
    assert [ref() for ref in refs] == [None, None]


@pytest.mark.parametrize("way", ["handle", "iterator", "stream_flow"])
@virtual_time
async def test_a_reader_that_walks_away_leaves_nothing(way: str):
    async def talks(load: Load, ctx: Context) -> int:
        for _ in range(10):
            await ctx.emit_chunk("x")
        return 1

    recorder = Recorder()
    load = Load("")
    ref = weakref.ref(load)
    async with create(Node(talks), queue_maxsize=1, on_event=recorder) as flow:
        if way == "handle":
            flow.start(load)
        elif way == "iterator":
            async for _ in flow.start(load):
                break
        else:
            chunks = stream_flow(flow, load)
            await anext(chunks)
            await chunks.aclose()  # type: ignore[attr-defined]
            del chunks
        del load
        await quiet()
        recorder.assert_lawful()
        recorder.clear()
        gc.collect()
        assert ref() is None
        assert asyncio.all_tasks() == {asyncio.current_task()}


# --- logs -----------------------------------------------------------------------------------------


@virtual_time
async def test_flows_add_no_log_handlers_and_set_no_levels():
    names = [None, "penguiflow", "penguiflow.events"]

    def state() -> Any:
        loggers = [logging.getLogger(name) for name in names]
        return [(tuple(logger.handlers), tuple(logger.filters), logger.level, logger.disabled) for logger in loggers]

    before = state()
    for _ in range(3):
        async with busy_flow() as flow:
            await settle(flow, "done", [])
            assert state() == before
    assert state() == before


# --- events ---------------------------------------------------------------------------------------


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The types of the events that are built."""
    kinds: list[str] = []
    slot: Any = FlowEvent.event_type  # every event is given its type, however it is built

    def written(self: FlowEvent, event_type: str) -> None:
        kinds.append(event_type)
        slot.__set__(self, event_type)

    monkeypatch.setattr(FlowEvent, "event_type", property(slot.__get__, written))
    return kinds


class Wants:
    """A plugin that declares which events it wants."""

    def __init__(self, *kinds: str) -> None:
        self.event_types = kinds
        self.seen: list[str] = []

    @hookimpl
    def on_event(self, event: FlowEvent) -> None:
        self.seen.append(event.event_type)


@virtual_time
async def every_outcome(**options: Any) -> None:
    async with busy_flow(**options) as flow:
        for what in OUTCOMES:
            await settle(flow, what, [])


def test_with_no_listener_no_event_is_built(built: list[str]):
    every_outcome()
    assert built == []


def test_an_event_type_that_nobody_wants_is_never_built(built: list[str]):
    plugin = Wants("node_retry", "stream_chunk", "flow_stop")
    every_outcome(plugins=[plugin])
    assert built == plugin.seen
    assert set(built) == {"node_retry", "stream_chunk", "flow_stop"}


def test_a_listener_to_everything_gets_every_event_that_is_built(built: list[str]):
    recorder = Recorder()
    every_outcome(on_event=recorder)
    assert recorder.types() == built
    assert set(EVENT_TYPES) - set(built) <= {"route_decided", "route_dropped", "plugin_error", "node_timeout"}
    recorder.assert_lawful()
