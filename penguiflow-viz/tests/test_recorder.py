"""`Recorder`: what it keeps is what happened, and never more than it may."""

from __future__ import annotations

import asyncio
import gc
import itertools
import math
import weakref
from typing import Any

import pytest

from penguiflow import (
    Context,
    FlowError,
    FlowEvent,
    Message,
    Node,
    NodePolicy,
    PenguiFlow,
    create,
    join_k,
    predicate_router,
    router,
    subflow,
)
from penguiflow.testkit import PluginConformance
from penguiflow_viz import Recorder


async def same(x: Any) -> Any:
    return x


def chain(*names: str, **options: Any) -> PenguiFlow:
    nodes = [Node(same, name) for name in names]
    return create(*(a.to(b) for a, b in itertools.pairwise(nodes)), *nodes[:1], name="f", **options)


class TestRecorderIsAPlugin(PluginConformance):
    on_event_us = 25.0

    def make(self) -> Recorder:
        return Recorder()


async def test_runs_traces_and_traffic_are_counted():
    recorder = Recorder()
    async with chain("a", "b", plugins=[recorder]) as flow:
        for x in range(5):
            await flow.ask(x)
    assert (recorder.started, recorder.finished["completed"], recorder.errors) == (5, 5, 0)
    a, b = recorder.nodes["f/a"], recorder.nodes["f/b"]
    assert (a.runs, a.running, a.ended["success"], a.inputs) == (5, 0, 5, {"": 5})
    assert (b.runs, b.running, b.ended["success"], b.inputs) == (5, 0, 5, {"f/a": 5})
    assert recorder.live == ()
    assert [[run.node.name for run in trace.runs.values()] for trace in recorder.ended] == [["a", "b"]] * 5


async def test_quantiles_are_those_of_the_runs_by_nearest_rank():
    recorder, took = Recorder(), []

    async def slow(x: float) -> float:
        await asyncio.sleep(x)
        return x

    def watch(event: Any) -> None:
        if event.event_type == "node_success":
            took.append(event.latency_ms)

    async with create(Node(slow, "slow"), name="f", plugins=[recorder], on_event=watch) as flow:
        await asyncio.gather(*(flow.ask(x / 1000) for x in range(20)))
    ranked = sorted(took)
    node = recorder.nodes["f/slow"]
    assert node.quantiles(0.5, 0.95, 1.0) == (ranked[9], ranked[18], ranked[19])
    assert math.isclose(node.busy_ms, sum(took))


async def test_a_window_keeps_the_latest_runs():
    recorder = Recorder(window=3)
    async with chain("a", plugins=[recorder]) as flow:
        for x in range(10):
            await flow.ask(x)
    assert len(recorder.nodes["f/a"].latencies) == 3
    assert recorder.nodes["f/a"].runs == 10


async def test_attempts_retries_and_pauses_are_told_apart():
    recorder = Recorder()

    async def flaky(x: int, ctx: Context) -> int:
        if ctx.attempt == 0:
            raise ConnectionError("down")
        if ctx.attempt == 1:
            await asyncio.sleep(10)
        return x

    policy = NodePolicy(timeout_s=0.3, max_retries=2, backoff_base=0.01, backoff_mult=1, jitter=0)
    async with create(Node(flaky, "flaky", policy), name="f", plugins=[recorder]) as flow:
        assert await flow.ask(1) == 1
    node, (run,) = recorder.nodes["f/flaky"], recorder.trace().runs.values()
    assert (node.runs, node.errors, node.timeouts, node.retries, recorder.errors) == (1, 1, 1, 2, 2)
    assert (run.outcome, run.retries, [attempt.timeout for attempt in run.attempts]) == ("success", 2, [False, True])
    first, second = run.attempts
    assert first.error == "ConnectionError: down"
    assert run.began == pytest.approx(first.began, abs=1e-5)
    assert first.began <= first.ended < second.began < second.ended < run.resumed < run.ended
    assert [mishap.node for mishap in recorder.mishaps] == ["flaky", "flaky"]


async def test_chunks_belong_to_the_run_that_wrote_them():
    recorder = Recorder()

    async def writes(x: int, ctx: Context) -> int:
        for _ in range(x):
            await ctx.emit_chunk("x")
        return x

    async with create(Node(writes, "writes"), name="f", plugins=[recorder]) as flow, flow.stream(100) as stream:
        assert len([chunk async for chunk in stream]) == 100
    trace = recorder.trace()
    (run,) = trace.runs.values()
    assert (trace.chunks, run.chunks, recorder.nodes["f/writes"].chunks, len(run.ticks or ())) == (100, 100, 100, 50)
    assert run.began <= run.ticks[0] <= run.ticks[-1] <= run.last_chunk <= run.ended


async def test_what_comes_up_through_subflows_is_one_error():
    recorder = Recorder()

    async def bad(x: int) -> int:
        raise ValueError("no")

    inner = create(subflow("deep", create(Node(bad, "bad"), name="deepest")), name="inner")
    async with create(subflow("part", inner), name="f", plugins=[recorder]) as flow:
        for _ in range(2):
            with pytest.raises(FlowError, match="no"):
                await flow.ask(1)
    assert (recorder.errors, [trace.errors for trace in recorder.ended]) == (2, [1, 1])
    assert [node.ended["failed"] for node in recorder.nodes.values()] == [2, 2, 2]


async def test_every_outcome_of_runs_and_traces_is_kept():
    recorder, gate = Recorder(), asyncio.Event()

    async def waits(x: int) -> int:
        if x == 1:
            raise ValueError("no")
        if x > 1:
            gate.set()
            await asyncio.sleep(100)
        return x

    async with create(Node(waits, "waits"), name="f", plugins=[recorder]) as flow:
        await flow.ask(0)
        with pytest.raises(FlowError):
            await flow.ask(1)
        handle = flow.start(2)
        await gate.wait()
        assert recorder.nodes["f/waits"].running == 1
        assert await handle.cancel()
        with pytest.raises(FlowError):
            await flow.ask(3, timeout_s=0.01)
    assert recorder.nodes["f/waits"].ended == {"success": 1, "failed": 1, "cancelled": 1, "expired": 1}
    assert recorder.finished == {"completed": 1, "failed": 1, "cancelled": 1, "expired": 1}
    assert len(recorder.nodes["f/waits"].latencies) == 2  # runs that were ended from outside say nothing of the node
    assert [trace.outcome for trace in recorder.ended] == ["expired", "cancelled", "failed", "completed"]
    assert "no" in recorder.ended[2].error


async def test_a_join_counts_what_came_from_each_input():
    recorder = Recorder()
    a, b, both = Node(same, "a"), Node(same, "b"), join_k("both", 2)
    async with create(a.to(both), b.to(both), name="f", plugins=[recorder]) as flow:
        await flow.ask(1)
    assert recorder.nodes["f/both"].inputs == {"f/a": 1, "f/b": 1}


async def test_messages_that_a_router_drops_are_counted():
    recorder = Recorder()
    async with create(predicate_router("r", lambda m: []).to(Node(same, "a")), name="f", plugins=[recorder]) as flow:
        await flow.ask(1)
    assert recorder.nodes["f/r"].dropped == 1


async def test_traces_that_ended_longest_ago_are_forgotten():
    recorder = Recorder(max_traces=3)
    async with chain("a", plugins=[recorder]) as flow:
        for x in range(10):
            await flow.ask(Message(payload=x, trace_id=f"t{x}"))
    assert [trace.trace_id for trace in recorder.ended] == ["t9", "t8", "t7"]
    assert recorder.started == 10
    with pytest.raises(LookupError, match="'t1' is kept: 0 are in flight, and of the last that ended 3 are kept"):
        recorder.trace("t1")


async def test_an_id_that_comes_again_replaces_the_trace():
    recorder = Recorder()
    async with chain("a", plugins=[recorder]) as flow:
        for x in range(3):
            await flow.ask(Message(payload=x, trace_id="t"))
    assert [trace.trace_id for trace in recorder.ended] == ["t"]
    assert len(recorder.trace("t").runs) == 1


async def test_an_id_that_comes_again_takes_no_more_room():
    recorder = Recorder(max_runs_in_all=10)
    async with chain("a", plugins=[recorder]) as flow:
        for trace_id in ["t"] * 30 + ["other"]:
            await flow.ask(Message(payload=1, trace_id=trace_id))
    assert [trace.trace_id for trace in recorder.ended] == ["other", "t"]


async def test_what_never_ended_is_over_when_the_flow_runs_again():
    events: list[FlowEvent] = []
    async with chain("a", on_event=events.append) as flow:
        await flow.ask(1)
    recorder = Recorder()
    begun = [event.event_type for event in events].index("node_start") + 1
    for event in events[:begun]:
        recorder.on_event(event)
    assert (recorder.nodes["f/a"].running, len(recorder.live)) == (1, 1)
    for event in events:
        recorder.on_event(event)
    assert (recorder.nodes["f/a"].running, recorder.live) == (0, ())


async def test_another_flow_that_begins_leaves_the_traces_of_the_first_alone():
    recorder, entered, free = Recorder(), asyncio.Event(), asyncio.Event()

    async def held(x: int) -> int:
        entered.set()
        await free.wait()
        return x

    first, second = (create(Node(held, "held"), name=name, plugins=[recorder]) for name in ("first", "second"))
    async with first:
        handle = first.start(1)
        await entered.wait()
        async with second:
            assert [trace.flow for trace in recorder.live] == ["first"]
            assert recorder.nodes["first/held"].running == 1
            free.set()
            assert await handle.result() == 1
    assert recorder.trace(handle.trace_id).outcome == "completed"


async def test_a_long_loop_keeps_its_latest_runs_and_its_traffic():
    recorder = Recorder(max_runs=10)

    async def back(x: int) -> int:
        return x + 1

    back_node = Node(back, "back")
    choose = predicate_router("again", lambda m: ["back"] if m.payload < 500 else ["out"])
    flow = create(
        back_node.to(choose), choose.to(back_node, Node(same, "out")), name="f", allow_cycles=True, plugins=[recorder]
    )
    async with flow:
        assert await flow.ask(0) == 500
    trace = recorder.trace()
    assert (len(trace.runs), trace.gone + len(trace.runs), list(trace.runs.values())[-1].node.name) == (10, 1001, "out")
    assert recorder.nodes["f/back"].inputs == {"": 1, "f/again": 499}


def held(recorder: Recorder) -> int:
    return sum(len(trace.runs) for trace in (*recorder.ended, *recorder.live))


async def test_all_traces_together_keep_no_more_runs_than_they_may():
    recorder = Recorder(max_runs_in_all=25)
    async with chain("a", "b", "c", plugins=[recorder]) as flow:
        for x in range(20):
            await flow.ask(x)
            assert held(recorder) <= 25
    assert held(recorder) > 15


async def test_traces_in_flight_are_bounded_and_totals_go_on():
    recorder, gate, all_there = Recorder(max_live=5, max_runs_in_all=4), asyncio.Event(), asyncio.Barrier(21)

    async def waits(x: int) -> int:
        await all_there.wait()
        await gate.wait()
        return x

    async with create(Node(waits, "waits"), name="f", plugins=[recorder]) as flow:
        handles = [flow.start(x) for x in range(20)]
        await all_there.wait()
        assert (len(recorder.live), held(recorder)) == (5, 4)
        gate.set()
        for handle in handles:
            await handle.result()
    node = recorder.nodes["f/waits"]
    assert (node.runs, node.running, node.ended["success"], recorder.finished["completed"]) == (20, 0, 20, 20)
    assert [trace.running for trace in recorder.ended] == [0] * 5


async def test_a_flow_that_runs_again_goes_on_counting():
    recorder = Recorder()
    flow = chain("a", plugins=[recorder])
    for runs in (1, 2):
        async with flow:
            await flow.ask(1)
            assert not recorder.stopped
        assert (recorder.stopped, recorder.nodes["f/a"].runs, recorder.nodes["f/a"].running) == (True, runs, 0)


async def test_what_began_before_somebody_watched_is_known_from_then_on():
    recorder, begun, gate = Recorder(), asyncio.Event(), asyncio.Event()

    async def waits(x: int) -> int:
        begun.set()
        await gate.wait()
        return x

    async with create(Node(waits, "waits").to(Node(same, "after")), name="f") as flow:
        handle = flow.start(1)
        await begun.wait()
        with flow.watch(recorder.on_event, recorder.event_types):
            gate.set()
            await handle.result()
    trace = recorder.trace()
    assert ([run.node.name for run in trace.runs.values()], trace.outcome, trace.running) == (["after"], "completed", 0)
    assert trace.began < next(iter(trace.runs.values())).began


async def test_a_record_keeps_nothing_of_the_flow_alive():
    class Payload:
        pass

    recorder, payload = Recorder(), Payload()

    async def bad(x: Any) -> Any:
        raise ValueError("no")

    async with create(Node(bad, "bad"), name="f", plugins=[recorder]) as flow:
        with pytest.raises(FlowError):
            await flow.ask(payload)
    seen = weakref.ref(payload)
    del payload
    gc.collect()
    assert seen() is None
    assert recorder.trace().errors == 1


async def test_an_endless_error_is_kept_short():
    async def bad(x: int) -> int:
        raise ValueError("x" * 10_000)

    recorder = Recorder()
    async with create(router("r").to(Node(bad, "bad")), name="f", plugins=[recorder]) as flow:
        with pytest.raises(FlowError):
            await flow.ask(1)
    assert len(recorder.mishaps[0].error) == 300


@pytest.mark.parametrize("limit", ["max_traces", "max_runs", "max_runs_in_all", "max_live", "window"])
@pytest.mark.parametrize("value", [0, -1, 1.5, True, "many"])
def test_a_wrong_limit_is_refused_with_its_name(limit: str, value: Any):
    with pytest.raises(ValueError, match=f"{limit} is a whole number from 1 on"):
        Recorder(**{limit: value})


def test_nothing_recorded_says_so():
    with pytest.raises(LookupError, match="no trace is kept"):
        Recorder().trace()
