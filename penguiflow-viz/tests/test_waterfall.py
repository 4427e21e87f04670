"""The waterfall: each run in its place and time, retries and chunks included, subflows nested."""

from __future__ import annotations

import asyncio
from typing import Any
from xml.etree import ElementTree

import pytest
from vizkit.programs import SVG

from penguiflow import Context, FlowError, Message, Node, NodePolicy, PenguiFlow, create, join_k, subflow
from penguiflow.testkit import virtual_time
from penguiflow_viz import Recorder


async def same(x: Any) -> Any:
    return x


def drawn(flow: PenguiFlow, recorder: Recorder, **options: Any) -> ElementTree.Element:
    return ElementTree.fromstring(flow.export("waterfall", overlay=recorder, **options))


def runs(tree: ElementTree.Element) -> list[ElementTree.Element]:
    return [g for g in tree.iter(f"{SVG}g") if "pw-run" in g.get("class", "")]


def words(run: ElementTree.Element) -> list[str]:
    return [text.text or "" for text in run.iter(f"{SVG}text")]


def bars(run: ElementTree.Element, kind: str) -> list[tuple[float, float]]:
    """From where to where."""
    found = [e for e in run if e.get("class") == f"pw-{kind}"]
    return [
        (float(e.get("x", e.get("x1"))), float(e.get("x2") or float(e.get("x")) + float(e.get("width")))) for e in found
    ]


async def test_rows_stand_in_the_order_they_began_and_under_their_callers():
    recorder = Recorder()
    both = join_k("both", 2)
    deep = create(Node(same, "x").to(both), Node(same, "y").to(both), both.to(Node(same, "z")), name="deep")

    async def calls(v: Any, ctx: Context) -> Any:
        return await ctx.call_playbook(create(Node(same, "page"), name="book"), v)

    inner = create(subflow("deeper", deep).to(Node(calls, "calls")), name="inner")
    first, part, last = Node(same, "first"), subflow("part", inner), Node(same, "last")
    async with create(first.to(part), part.to(last), name="f", plugins=["viz", recorder]) as flow:
        await flow.ask(1)
    rows = [(words(run)[0], int(run.get("data-depth"))) for run in runs(drawn(flow, recorder))]
    assert rows == [
        ("first", 0),
        ("part", 0),
        ("deeper", 1),
        ("x", 2),
        ("y", 2),
        ("both", 2),
        ("z", 2),
        ("calls", 1),
        ("page", 2),
        ("last", 0),
    ]


async def test_a_loop_that_calls_a_subflow_nests_each_call_in_its_own_run():
    recorder = Recorder()
    part = subflow("part", create(Node(same, "inside"), name="inner"))

    async def grows(x: int) -> int:
        return x + 1

    async with create(Node(grows, "grows").to(part), name="f", plugins=["viz", recorder]) as flow:
        handle = flow.start(1)
        await flow.emit(Message(payload=5, trace_id=handle.trace_id))
        await handle.results()
    rows = [(words(run)[0], int(run.get("data-depth"))) for run in runs(drawn(flow, recorder))]
    assert sorted(rows) == [("grows", 0)] * 2 + [("inside", 1)] * 2 + [("part", 0)] * 2
    for place, (name, _) in enumerate(rows):
        if name == "inside":
            assert rows[place - 1][0] == "part"


@virtual_time
async def test_retries_show_each_attempt_with_the_pauses_between():
    recorder = Recorder()

    async def flaky(x: int, ctx: Context) -> int:
        await asyncio.sleep(0.01 if ctx.attempt != 1 else 10)
        if ctx.attempt == 0:
            raise ConnectionError("<down> & out")
        return x

    policy = NodePolicy(timeout_s=0.3, max_retries=2, backoff_base=0.02, backoff_mult=1, jitter=0)
    async with create(Node(flaky, "flaky", policy), name="f", plugins=["viz", recorder]) as flow:
        await flow.ask(1)
    (run,) = runs(drawn(flow, recorder))
    pieces = [*bars(run, "error"), *bars(run, "timeout"), *bars(run, "works"), *bars(run, "pause")]
    error, timeout, works, *pauses = pieces
    assert error[1] <= pauses[0][0] + 0.2
    assert pauses[0][1] <= timeout[0] + 0.2
    assert timeout[1] <= pauses[1][0] + 0.2
    assert pauses[1][1] <= works[0] + 0.2
    assert len(pieces) == 5
    assert words(run)[1].endswith("· 2 retries")
    assert "attempt 1: " in run.findtext(f"{SVG}title")
    assert "ConnectionError: <down> & out" in run.findtext(f"{SVG}title")


@virtual_time
async def test_widths_are_times():
    recorder = Recorder()

    async def sleeps(x: float) -> float:
        await asyncio.sleep(x)
        return 2 * x

    a, b = Node(sleeps, "a"), Node(sleeps, "b")
    async with create(a.to(b), name="f", plugins=["viz", recorder]) as flow:
        await flow.ask(0.05)
    first, second = (bars(run, "works")[0] for run in runs(drawn(flow, recorder)))
    a_run, b_run = recorder.trace().runs.values()
    long = a_run.ended - a_run.began
    for at, x in ((b_run.began, second[0]), (b_run.ended, second[1])):
        assert (x - first[0]) / (first[1] - first[0]) == pytest.approx((at - a_run.began) / long, rel=0.01)


@virtual_time
async def test_chunks_are_ticks_on_the_bar_of_their_run():
    recorder = Recorder()

    async def writes(x: int, ctx: Context) -> int:
        for _ in range(x):
            await ctx.emit_chunk("x")
            await asyncio.sleep(0.002)
        return x

    async with create(Node(writes, "writes"), name="f", plugins=["viz", recorder]) as flow, flow.stream(7) as stream:
        assert len([chunk async for chunk in stream]) == 7
    (run,) = runs(drawn(flow, recorder))
    ticks, (bar,) = [at for at, _ in bars(run, "tick")], bars(run, "works")
    assert len(ticks) == 7
    assert ticks == sorted(ticks)
    assert bar[0] - 0.2 <= ticks[0]
    assert ticks[-1] <= bar[1] + 0.2
    assert words(run)[1].endswith("· 7 chunks")


async def test_waiting_failing_and_being_ended_are_said_in_words():
    recorder, gate = Recorder(), asyncio.Event()

    async def waits(x: str) -> str:
        if x == "bad":
            raise ValueError("no good")
        gate.set()
        await asyncio.sleep(100)
        return x

    async with create(Node(waits, "waits"), name="f", plugins=["viz", recorder]) as flow:
        with pytest.raises(FlowError):
            await flow.ask("bad")
        tree = drawn(flow, recorder)
        assert words(runs(tree)[0])[1].endswith("· failed")
        assert "no good" in "".join(text.text or "" for text in tree.findall(f"{SVG}text"))
        handle = flow.start("long")
        await gate.wait()
        (run,) = runs(drawn(flow, recorder, trace_id=handle.trace_id))
        assert words(run)[1].endswith("· running")
        assert "pw-running" in run.get("class")
        await handle.cancel()
        (run,) = runs(drawn(flow, recorder, trace_id=handle.trace_id))
        assert words(run)[1].endswith("· cancelled")


@virtual_time
async def test_a_message_that_waited_shows_for_how_long():
    recorder = Recorder()

    async def slow(x: int) -> int:
        await asyncio.sleep(0.02)
        return x

    async with create(Node(slow, "slow", NodePolicy(max_concurrency=1)), name="f", plugins=["viz", recorder]) as flow:
        await asyncio.gather(flow.ask(1), flow.ask(2))
    late = max(recorder.ended, key=lambda trace: trace.ended - trace.began)
    (run,) = runs(drawn(flow, recorder, trace_id=late.trace_id))
    (wait,), (work,) = bars(run, "wait"), bars(run, "works")
    assert wait[1] == pytest.approx(work[0], abs=0.2)
    assert wait[1] - wait[0] == pytest.approx(work[1] - work[0], rel=0.01)


@virtual_time
async def test_an_attempt_that_waits_for_its_place_begins_when_it_has_it():
    recorder = Recorder()

    async def flaky(x: int, ctx: Context) -> int:
        if x == 1 and ctx.attempt == 0:
            raise ConnectionError("down")
        await asyncio.sleep(0.05)
        return x

    policy = NodePolicy(max_concurrency=1, max_retries=1, backoff_base=0.001, jitter=0)
    async with create(Node(flaky, "flaky", policy), name="f", plugins=["viz", recorder]) as flow:
        handle = flow.start(1)
        await asyncio.gather(handle.result(), flow.ask(2))
    (run,) = runs(drawn(flow, recorder, trace_id=handle.trace_id))
    (pause,), (work,) = bars(run, "pause"), bars(run, "works")
    assert pause[1] == pytest.approx(work[0], abs=0.2)
    assert pause[1] - pause[0] == pytest.approx(work[1] - work[0], rel=0.01)


async def test_more_runs_than_fit_are_counted():
    recorder = Recorder(max_runs=450)

    async def many(x: int) -> Any:
        for item in range(x):
            yield item

    async with create(Node(many, "many").to(Node(same, "each")), name="f", plugins=["viz", recorder]) as flow:
        await flow.start(500).results()
    tree = drawn(flow, recorder)
    assert len(runs(tree)) == 400
    texts = [text.text for text in tree.findall(f"{SVG}text")]
    assert "… and 50 more runs" in texts
    assert any("(and 51 that ended first and are not kept)" in (text or "") for text in texts)


async def test_a_waterfall_needs_a_recorder_and_says_so():
    flow = create(Node(same, "a"), plugins=["viz"])
    with pytest.raises(LookupError, match="give overlay=recorder"):
        flow.export("waterfall")
    with pytest.raises(LookupError, match="no trace is kept"):
        flow.export("waterfall", overlay=Recorder())
    with pytest.raises(LookupError, match="waterfall has no option 'direction'"):
        flow.export("waterfall", overlay=Recorder(), direction="LR")
