"""`Recorder`, `watch` and `timeline`: the events of each trace, bounded, and as text."""

from __future__ import annotations

import gc
import itertools
import re
import weakref
from typing import Any

import pytest

from penguiflow import Context, FlowError, Message, Node, create, join_k, node, predicate_router, subflow
from penguiflow.testkit import Recorder, arun_one, run_one, run_stream, timeline, virtual_time, watch
from tests.utils.nodes import nap, same, stuck


def plain(text: str) -> str:
    """A timeline without its trace's id."""
    return re.sub(r"\b[0-9a-f]{32}\b", "ID", text)


# --- the recorder ---------------------------------------------------------------------------------


def test_a_recorder_keeps_events_by_their_trace_and_in_order():
    seen = Recorder()
    flow = create(same, on_event=seen)
    for trace in ("one", "two"):
        run_one(flow, Message(payload=1, trace_id=trace))
    assert seen.trace_ids == ("one", "two")
    assert [event.event_type for event in seen.trace("one")] == [
        "trace_start",
        "node_start",
        "node_success",
        "trace_finish",
    ]
    assert seen.trace() == seen.trace("two")
    assert seen.types("flow_start", "trace_start") == ["flow_start", "trace_start"] * 2
    assert seen.events == sorted(seen.events, key=lambda event: event.ts)
    seen.assert_lawful()


def test_of_too_many_traces_the_oldest_is_forgotten_as_a_whole():
    seen = Recorder(max_traces=2)
    flow = create(same, on_event=seen)
    for number in range(5):
        run_one(flow, Message(payload=1, trace_id=f"t{number}"))
    assert (seen.trace_ids, seen.dropped) == (("t3", "t4"), 12)
    assert len(seen.trace("t3")) == 4


def test_of_a_long_trace_the_first_events_are_forgotten_and_the_timeline_says_so():
    seen = Recorder(max_events=5)
    a, b, c = (Node(same.func, name) for name in "abc")
    run_one(create(a.to(b), b.to(c), on_event=seen), 1)
    assert (len(seen.trace()), seen.dropped) == (5, 3)
    assert "(its beginning was not recorded, or is no longer kept)" in timeline(seen)


def test_a_timeline_of_a_whole_trace_says_nothing_of_others_that_are_forgotten():
    seen = Recorder(max_traces=1)
    flow = create(same, on_event=seen)
    for _ in range(3):
        run_one(flow, 1)
    assert seen.dropped == 8
    assert "no longer kept" not in timeline(seen)


def test_names_of_any_length_and_script_stand_in_one_column():
    names = ("a", "приём", "検索", "é\u0301t\u00e9", "of_a_length_that_" * 10)
    one, *others = (Node(same.func, name) for name in names)
    edges = [one.to(others[0]), *(left.to(right) for left, right in itertools.pairwise(others))]
    run_one(flow := create(*edges), 1)
    rows = [line for line in timeline(flow).splitlines() if line.endswith(" 0 s") or "starts" in line]
    shown = [row.partition("  starts")[0].partition(" s  ")[2] for row in rows if "starts" in row]
    columns = [sum(2 if char in "検索" else 0 if char == "\u0301" else 1 for char in name) for name in shown]
    assert columns == [40] * 5
    assert shown[-1].startswith("...")
    assert shown[-1].endswith("of_a_length_that_")


def test_a_trace_id_that_is_used_again_stands_for_the_later_trace():
    flow = create(same)
    for number in range(2):
        run_one(flow, Message(payload=number, trace_id="mine"))
    with watch(flow) as seen:
        assert {event.message.payload for event in seen.trace("mine") if event.message} == {1}


def test_a_recorder_that_is_cleared_knows_nothing():
    seen = Recorder(max_traces=1)
    flow = create(same, on_event=seen)
    for _ in range(3):
        run_one(flow, 1)
    seen.clear()
    assert (seen.events, seen.trace_ids, seen.dropped) == ([], (), 0)


@pytest.mark.parametrize(("traces", "events"), [(0, 1), (1, 0)])
def test_a_recorder_keeps_at_least_something(traces: int, events: int):
    with pytest.raises(ValueError, match="at least one trace and one event"):
        Recorder(traces, events)


def test_what_is_unlawful_is_told():
    seen, other = Recorder(), Recorder()
    run_one(create(same, on_event=seen), 1)
    for event in seen.events:
        if event.event_type != "node_success":
            other(event)
    with pytest.raises(AssertionError, match="a run of 'same' began once and ended never"):
        other.assert_lawful()
    for event in seen.of("node_success"):
        other(event)
    with pytest.raises(AssertionError, match="node_success of 'same' came after the end of its trace"):
        other.assert_lawful()


# --- watching -------------------------------------------------------------------------------------


async def test_a_flow_is_watched_that_runs_already_and_that_starts_later():
    flow = create(same)
    with watch(flow) as seen:
        async with flow:
            await flow.ask(1)
    assert len(seen.trace_ids) == 1
    async with flow:
        await flow.ask(2)
        with watch(flow) as again:
            await flow.ask(3)
        await flow.ask(4)
    assert again is seen
    assert len(seen.trace_ids) == 2


async def test_watchers_share_what_they_see_and_leave_the_flow_as_it_was():
    flow = create(same)
    with watch(flow) as outer:
        await arun_one(flow, 1)
        with watch(flow) as inner:
            await arun_one(flow, 2)
        await arun_one(flow, 3)
    assert inner is outer
    assert [e.message.payload for e in outer.of("node_start") if e.message] == [1, 2, 3]
    assert "run" not in vars(flow)
    await arun_one(flow, 4)


async def test_somebody_elses_way_to_run_a_flow_stays():
    flow, called = create(same), []
    own = flow.run
    flow.run = lambda registry=None: called.append("mine") or own(registry)  # type: ignore[method-assign, func-returns-value]
    mine = flow.run
    with watch(flow) as seen:
        await arun_one(flow, 1)
    assert (flow.run, called, len(seen.trace_ids)) == (mine, ["mine"], 1)


def test_what_was_recorded_keeps_no_flow_alive():
    flow = create(same)
    run_one(flow, 1)
    ref = weakref.ref(flow)
    del flow
    gc.collect()
    assert ref() is None


def test_who_was_not_watched_has_nothing_to_show():
    with pytest.raises(LookupError, match="nothing has been recorded of flow 'quiet': send its messages with run_one"):
        timeline(create(same, name="quiet"))
    with pytest.raises(LookupError, match="no trace has been recorded yet"):
        timeline(Recorder())
    with pytest.raises(TypeError, match="give the flow, or its recorder, not 'flow'"):
        timeline("flow")  # type: ignore[arg-type]
    seen = Recorder()
    run_one(create(same, on_event=seen), Message(payload=1, trace_id="known"))
    with pytest.raises(LookupError, match="no trace 'other' has been recorded: there are known"):
        seen.trace("other")


# --- timelines ------------------------------------------------------------------------------------


@node(max_retries=2, backoff_base=0.5)
async def flaky(x: float, ctx: Context) -> float:
    await nap.func(0.25)
    if ctx.attempt < 2:
        raise ConnectionError("refused")
    return x


def test_the_timeline_of_a_retried_chain():
    flow = create(flaky.to(same), name="shop")
    with virtual_time():
        run_one(flow, 1.0)
    assert (
        plain(timeline(flow))
        == """\
trace ID of 'shop': completed after 2.25 s
      0.000 s  flaky  starts
      0.250 s  flaky  attempt 1 fails: ConnectionError: refused
      0.250 s  flaky  waits 500 ms before attempt 2
      1.000 s  flaky  attempt 2 fails: ConnectionError: refused
      1.000 s  flaky  waits 1 s before attempt 3
      2.250 s  flaky  ends after 2.25 s on attempt 3
      2.250 s  same   starts, from flaky
      2.250 s  same   ends after 0 s"""
    )


def test_the_timeline_of_branches_a_router_a_subflow_and_a_join():
    a, b, c = (Node(nap.func, name) for name in "abc")
    route = predicate_router("route", lambda message: ["b", "sub"])
    sub = subflow("sub", create(c, name="inner"))
    both = join_k("both", 2)
    flow = create(a.to(route), route.to(b, sub), b.to(both), sub.to(both), name="wide")
    with virtual_time():
        run_one(flow, 1.0)
    assert (
        plain(timeline(flow))
        == """\
trace ID of 'wide': completed after 2 s
      0.000 s  a            starts
      1.000 s  a            ends after 1 s
      1.000 s  route        starts, from a
      1.000 s  route        routes to b, sub (decided by router)
      1.000 s  route        ends after 0 s
      1.000 s  b            starts, from route
      1.000 s  sub          starts, from route
      1.000 s  sub/inner/c  starts, from sub
      2.000 s  b            ends after 1 s
      2.000 s  sub/inner/c  ends after 1 s
      2.000 s  sub          ends after 1 s
      2.000 s  both         starts, from b, sub
      2.000 s  both         ends after 0 s"""
    )


@node(timeout_s=3)
async def late(x: Any) -> None:
    await stuck.func(x)


@pytest.mark.parametrize(
    ("flow", "options", "wanted"),
    [
        (create(late), {}, "NODE_TIMEOUT: node 'late' took longer than its timeout_s of 3 s"),
        (create(stuck), {"timeout_s": 2}, "is out of time or budget after 2 s: DEADLINE_EXCEEDED"),
    ],
)
def test_the_timeline_of_what_takes_too_long(flow: Any, options: dict[str, Any], wanted: str):
    with virtual_time(), pytest.raises(FlowError):
        run_one(flow, 1, **options)
    assert wanted in timeline(flow)


async def test_the_timeline_of_a_trace_that_goes_on_says_what_runs():
    with watch(flow := create(same.to(stuck))) as seen:
        async with flow:
            handle = flow.start(1)
            while "stuck" not in seen.runs():
                await nap.func(0)
            text = timeline(flow, handle.trace_id)
            assert "goes on after" in text
            assert text.endswith("\n  still running: stuck")
            await handle.cancel()
    assert "was cancelled" in timeline(flow)


def test_chunks_in_a_row_share_a_line_and_a_long_trace_is_cut_in_the_middle():
    async def talks(x: int, ctx: Context) -> int:
        for _ in range(x):
            await ctx.emit_chunk("a")
        return x

    flow = create(Node(talks))
    run_stream(flow, 3)
    assert re.search(r"talks  writes 3 chunks\n.*talks  ends", timeline(flow))

    async def counts(x: int) -> int:
        return x

    nodes = [Node(counts, f"n{number}") for number in range(100)]
    long = create(*(one.to(other) for one, other in itertools.pairwise(nodes)))
    run_one(long, 1)
    lines = timeline(long).splitlines()
    assert (len(lines), lines[61]) == (122, "  ... 80 more lines ...")
