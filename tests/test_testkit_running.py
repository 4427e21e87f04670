"""`run_one` and its kin: a flow is started, asked and stopped in one line, and a failure says what happened."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

import pytest

from penguiflow import Context, FlowError, FlowErrorCode, Message, Node, PenguiFlow, create, node
from penguiflow.testkit import (
    Streamed,
    arun_many,
    arun_one,
    arun_outputs,
    arun_stream,
    assert_outcome,
    run_many,
    run_one,
    run_outputs,
    run_stream,
    virtual_time,
)
from tests.utils.nodes import nap, same, stuck


@node
async def speaks(x: str, ctx: Context) -> str:
    for word in x.split():
        await ctx.emit_chunk(word)
    return x.upper()


@node
async def fails(x: Any) -> None:
    raise ValueError(f"no {x}")


@node
async def picky(x: int) -> int:
    if x < 0:
        raise ValueError("below zero")
    return x


# --- what they return -----------------------------------------------------------------------------


def test_run_one_gives_the_output_and_leaves_the_flow_stopped():
    flow = create(same)
    assert run_one(flow, 3) == 3
    assert not flow.running
    assert run_one(flow, 4) == 4


def test_a_message_comes_back_as_a_message():
    answer = run_one(create(same), Message(payload=1, meta={"a": 1}))
    assert (answer.payload, answer.meta) == (1, {"a": 1})


def test_run_many_gives_outputs_in_the_order_of_the_messages():
    with virtual_time() as clock:
        assert run_many(create(nap, max_traces=8), [3.0, 1.0, 2.0]) == [3.0, 1.0, 2.0]
    assert clock.elapsed == 3.0


def test_run_many_puts_errors_in_their_places_or_raises_the_first():
    flow = create(picky)
    one, two, three = run_many(flow, [1, -1, 3], return_errors=True)
    assert (one, two.code, three) == (1, FlowErrorCode.NODE_EXCEPTION, 3)
    with pytest.raises(FlowError, match="below zero"):
        run_many(flow, [1, -1, 3])


def test_run_stream_gives_the_chunks_and_the_result():
    chunks, result = streamed = run_stream(create(speaks), "a b c")
    assert isinstance(streamed, Streamed)
    assert ([chunk.text for chunk in chunks], result, streamed.text) == (["a", "b", "c"], "A B C", "abc")


def test_run_outputs_gives_all_that_came_out():
    a, b, c = (Node(same.func, name) for name in "abc")
    assert run_outputs(create(a.to(b, c)), 1) == [1, 1]


async def test_the_twins_do_the_same_inside_a_loop():
    flow = create(speaks)
    assert await arun_one(flow, "a") == "A"
    assert await arun_many(flow, ["a", "b"]) == ["A", "B"]
    assert (await arun_stream(flow, "a b")).text == "ab"
    assert await arun_outputs(flow, "a") == ["A"]


async def test_a_flow_that_runs_is_used_as_it_is():
    async with create(same) as flow:
        assert await arun_one(flow, 1) == 1
        assert flow.running


# --- what they refuse -----------------------------------------------------------------------------


@pytest.mark.parametrize("call", [run_one, run_many, run_stream, run_outputs])
async def test_inside_a_loop_they_say_which_twin_to_await(call: Callable[..., Any]):
    with pytest.raises(RuntimeError, match=rf"one is running here: await a{call.__name__}\(\.\.\.\)"):
        call(create(same), [1])


def test_what_is_no_flow_is_refused():
    with pytest.raises(TypeError, match=r"give the flow, as create\(\.\.\.\) makes it, not <Node same>"):
        run_one(same, 1)  # type: ignore[arg-type]


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_a_limit_is_positive(seconds: float):
    with pytest.raises(ValueError, match="within_s is a positive number of seconds"):
        run_one(create(same), 1, within_s=seconds)


# --- failures -------------------------------------------------------------------------------------


def test_a_failure_carries_the_timeline_of_its_trace():
    with pytest.raises(FlowError) as caught:
        run_one(create(same.to(fails)), 7)
    (note,) = caught.value.__notes__
    assert note.startswith(f"trace {caught.value.trace_id} of 'flow': failed after ")
    assert re.search(r"\d s  fails  attempt 1 fails: ValueError: no 7", note)


@pytest.mark.parametrize("run", [run_one, run_stream, run_outputs, lambda flow, x, **o: run_many(flow, [x], **o)])
def test_what_never_ends_is_given_up_and_says_what_it_waits_for(run: Callable[..., Any]):
    with pytest.raises(AssertionError) as caught:
        run(create(same.to(stuck)), 7, within_s=0.02)
    text = str(caught.value)
    assert text.startswith("the flow didn't end within 0.02 s\ntrace ")
    assert "is live\n  - node 'stuck' is running" in text
    assert "still running: stuck" in text


def test_a_deadlock_in_virtual_time_is_found_at_once_and_names_who_waits():
    with virtual_time(), pytest.raises(RuntimeError, match="every task is blocked.*a deadlock") as caught:
        run_one(create(stuck), 1, within_s=None)
    assert re.search(r"waits in .*forever", str(caught.value))
    assert "still running: stuck" in caught.value.__notes__[0]


def test_a_trace_has_the_time_that_it_is_given():
    flow = create(nap)
    with virtual_time() as clock, pytest.raises(FlowError) as caught:
        run_one(flow, 100.0, timeout_s=5)
    assert (caught.value.code, clock.elapsed) == (FlowErrorCode.DEADLINE_EXCEEDED, 5.0)
    assert_outcome(flow, "expired", code="DEADLINE_EXCEEDED")


def test_nothing_stays_behind_when_a_run_fails():
    flows = [create(stuck), create(fails)]

    async def main(flow: PenguiFlow) -> int:
        with pytest.raises((FlowError, AssertionError)):
            await arun_one(flow, 1, within_s=0.01)
        return len(asyncio.all_tasks())

    assert [asyncio.run(main(flow)) for flow in flows] == [1, 1]
    assert [vars(flow).get("run") for flow in flows] == [None, None]
