"""A whole flow as one node: one trace, one budget, one reader, and its limits hold over all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from penguiflow import (
    ROOKERY,
    WM,
    Budget,
    Context,
    FinalAnswer,
    FlowError,
    FlowErrorCode,
    Message,
    Node,
    NodePolicy,
    PenguiFlow,
    create,
    join_k,
    node,
    subflow,
)
from tests.utils.flowtestkit import Recorder, clock, quiet, virtual_time


@node
async def double(x: int, ctx: Context) -> int:
    await ctx.emit_chunk(f"{x}")
    ctx.spend(tokens=1)
    return x * 2


def twice(name: str = "inner") -> PenguiFlow:
    again = Node(double.func, name="again")
    return create(double.to(again), name=name)


@virtual_time
async def test_a_subflow_is_one_node_of_the_same_trace_with_its_budget_and_reader():
    recorder = Recorder()
    outer = create(subflow("sub", twice()).to(Node(double.func, name="last")), on_event=recorder)
    async with outer as flow:
        async with flow.stream(Message(payload=1, trace_id="t", budget=Budget(tokens=10))) as stream:
            assert [(chunk.seq, chunk.text) async for chunk in stream] == [(0, "1"), (1, "2"), (2, "4")]
            assert stream.result.payload == 8
        with pytest.raises(FlowError) as caught:
            await flow.ask(Message(payload=1, budget=Budget(tokens=1)))
        assert caught.value.code == FlowErrorCode.TOKEN_BUDGET_EXHAUSTED
        with pytest.raises(FlowError) as caught:
            await flow.ask(Message(payload=1, budget=Budget(hops=2)))
        assert caught.value.code == FlowErrorCode.HOP_BUDGET_EXHAUSTED
    assert recorder.of("trace_finish")[0].extra["tokens"] == 3
    recorder.assert_lawful()


@virtual_time
async def test_a_subflow_fails_its_parent_with_its_own_error_and_is_cancelled_with_it():
    @node
    async def fails(x: int) -> int:
        raise ValueError("inside")

    @node
    async def waits(x: int) -> int:
        await asyncio.Event().wait()
        return x

    async with create(subflow("sub", create(fails))) as flow:
        with pytest.raises(FlowError) as caught:
            await flow.ask(1)
        assert (caught.value.node_name, str(caught.value.original_exc)) == ("fails", "inside")
    recorder = Recorder()
    async with create(subflow("sub", create(waits)), on_event=recorder) as flow:
        handle = flow.start(1)
        await quiet()
        assert "waits" in str(flow.explain(handle.trace_id))
        assert await handle.cancel()
    assert recorder.runs() == ["sub", "waits"]
    recorder.assert_lawful()


@virtual_time
async def test_a_subflow_gives_each_of_its_outputs():
    @node
    async def several(x: int) -> AsyncIterator[int]:
        for number in range(x):
            yield number

    @node
    async def show(x: int) -> str:
        return f"<{x}>"

    async with create(subflow("sub", create(several)).to(show)) as flow:
        assert await flow.start(3).results() == ["<0>", "<1>", "<2>"]
        assert await flow.start(0).results() == []
    async with create(subflow("sub", create(several))) as flow:
        assert await flow.start(3).results() == [0, 1, 2]


@virtual_time
async def test_one_flow_can_stand_in_many_places_and_still_run_alone():
    inner = twice()
    both = join_k("both", 2)
    first, second = subflow("first", inner), subflow("second", inner)
    async with create(double.to(first, second), first.to(both), second.to(both)) as flow, inner:
        answers = await asyncio.gather(flow.ask(1), inner.ask(1), flow.ask(2))
    assert list(answers) == [[8, 8], 4, [16, 16]]


@virtual_time
async def test_limits_inside_a_subflow_hold_over_all_traces():
    running = peak = 0

    async def counted(x: int) -> int:
        nonlocal running, peak
        running += 1
        peak = max(peak, running)
        await asyncio.sleep(1)
        running -= 1
        return x

    limited = Node(counted, policy=NodePolicy(max_concurrency=2))
    async with create(subflow("sub", create(limited))) as flow:
        await asyncio.gather(*(flow.ask(number) for number in range(10)))
    assert (peak, round(clock())) == (2, 1005)


@pytest.mark.parametrize("taken", [FinalAnswer, FinalAnswer | list[int]])
@virtual_time
async def test_a_final_answer_inside_a_subflow_is_what_the_subflow_gives(taken: type):
    @node(allow_cycle=True)
    async def thinks(x: int) -> WM | FinalAnswer | int:
        return FinalAnswer(text="so") if x else x

    @node
    async def lists(x: int) -> list[int]:
        return [x]

    async def reads(answer):
        return getattr(answer, "text", answer)

    reads.__annotations__ = {"answer": taken}
    inner = create(thinks.to(thinks, lists), name="inner")
    async with create(subflow("sub", inner).to(Node(reads))) as flow:
        assert await flow.ask(1) == "so"
        if taken is not FinalAnswer:
            assert await flow.ask(0) == [0]


@virtual_time
async def test_what_leaves_a_subflow_early_comes_as_it_is():
    @node
    async def early(x: int, ctx: Context) -> None:
        await ctx.emit(str(x), to=ROOKERY)

    @node
    async def late(x: int) -> list[int]:
        return [x]

    async with create(subflow("sub", create(early.to(late), name="inner"))) as flow:
        assert await flow.ask(7) == "7"


@virtual_time
async def test_a_playbook_is_asked_what_it_is_given_none_too_and_its_callers_message_where_nothing_is_given():
    @node
    async def told(x: Any) -> str:
        return repr(x.payload if isinstance(x, Message) else x)

    book = create(told, name="book")

    @node
    async def calls(x: int, ctx: Context) -> list[str]:
        given = [await ctx.call_playbook(book, value) for value in (None, 0, "")]
        return [*given, await ctx.call_playbook(book, message=None), await ctx.call_playbook(book)]

    async with create(calls) as flow:
        assert await flow.ask(7) == ["None", "0", "''", "None", "7"]
