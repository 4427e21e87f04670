"""Corners where something is given up, stopped or late."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from penguiflow import Emit, FlowError, FlowStateError, Message, Node, create, hookimpl, join_k, node, subflow
from tests.utils.flowtestkit import Recorder, clock, quiet, virtual_time


@node
async def same(x: Any) -> Any:
    return x


async def forever(x: Any = None) -> Any:
    await asyncio.Event().wait()


@virtual_time
async def test_a_stream_to_an_unknown_node_takes_no_slot():
    async with create(same, max_traces=1) as flow:
        with pytest.raises(ValueError, match="no node 'nope'"):
            async with flow.stream("x", to="nope"):
                pass
        assert await flow.ask("y") == "y"


@virtual_time
async def test_fetch_from_a_flow_that_never_opened_says_so():
    @asynccontextmanager
    async def broken():
        await asyncio.sleep(1)
        raise OSError("no database")
        yield

    flow = create(same, resources=broken)
    entering = asyncio.create_task(flow.__aenter__())
    await quiet()
    waiting = asyncio.create_task(flow.fetch())
    with pytest.raises(OSError, match="no database"):
        await entering
    with pytest.raises(FlowStateError):
        await waiting
    with pytest.raises(FlowStateError):
        await flow.fetch()


@virtual_time
async def test_stop_gives_up_resources_that_never_open():
    @asynccontextmanager
    async def slow():
        await forever()
        yield

    flow = create(same, resources=slow)
    flow.run()
    await quiet()
    await flow.stop(drain_s=0)
    assert not flow.running


@virtual_time
async def test_a_stop_that_is_cancelled_is_not_held_by_resources_that_never_close():
    @asynccontextmanager
    async def sticky():
        yield
        await forever()

    flow = create(same, resources=sticky)
    flow.run()
    assert await flow.ask(1) == 1
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await flow.stop(drain_s=0)
    assert clock() < 1003
    assert not flow.running


@virtual_time
async def test_flows_that_emit_into_each_other_fail_clearly_instead_of_waiting_for_each_other():
    def breeds(other: str) -> Any:
        async def run(depth: int) -> int:
            for _ in range(3 if depth else 0):
                await flows[other].emit(depth - 1)
            return depth

        return Node(run)

    flows = {name: create(breeds(other), name=name, max_traces=1) for name, other in ("ab", "ba")}
    async with flows["a"], flows["b"]:
        with pytest.raises(FlowError) as caught:
            await flows["a"].ask(9)
    assert isinstance(caught.value.original_exc, asyncio.QueueFull)


@virtual_time
async def test_a_join_does_not_give_up_on_a_message_that_stands_in_line():
    seen: list[Any] = []

    @node
    async def many(x: int):
        for i in range(12):
            yield i

    @node
    async def slow(pair: list[int]) -> None:
        seen.append(pair)
        await asyncio.sleep(50)

    pairs = join_k("pairs", 2, timeout_s=30)
    async with create(many.to(pairs), pairs.to(slow), queue_maxsize=1) as flow:
        await flow.start(1).results()
    assert seen == [[i, i + 1] for i in range(0, 12, 2)]


@virtual_time
async def test_an_emit_to_several_full_nodes_that_is_given_up_reaches_none():
    got: dict[str, list[Any]] = {"left": [], "right": []}

    def taker(name: str) -> Any:
        async def run(x: Any) -> None:
            got[name].append(x)
            await asyncio.sleep(10)

        return Node(run, name=name)

    @node
    async def source(x: Any, ctx: Any) -> None:
        for i in range(2):
            await ctx.emit(i)
        with suppress(TimeoutError):
            async with asyncio.timeout(1):
                await ctx.emit("given up")

    async with create(source.to(taker("left"), taker("right")), queue_maxsize=1) as flow:
        await flow.start(1).results()
    assert got == {"left": [0, 1], "right": [0, 1]}


@pytest.mark.parametrize("chunks", [False, True])
@virtual_time
async def test_emits_at_the_same_time_arrive_in_the_order_of_their_calls(chunks: bool):
    @node
    async def burst(x: Any, ctx: Any) -> None:
        emit = ctx.emit_chunk if chunks else ctx.emit
        await asyncio.gather(*(emit(str(i)) for i in range(300)))

    async with create(burst, queue_maxsize=400) as flow:
        items = [item async for item in flow.start(1)]
    assert [(item.text if chunks else item) for item in items] == [str(i) for i in range(300)]


@virtual_time
async def test_a_second_cancellation_does_not_cut_the_cleaning_up_of_a_nested_flow():
    order: list[str] = []

    @node
    async def inner(x: Any) -> Any:
        try:
            await forever()
        finally:
            await asyncio.sleep(0.08)
            order.append("inner")

    @node(timeout_s=1)
    async def outer(x: Any, ctx: Any) -> Any:
        try:
            await ctx.call_playbook(create(inner), x)
        finally:
            order.append("outer")

    seen = Recorder()
    async with create(outer, on_event=seen) as flow:
        handle = flow.start(1)
        await asyncio.sleep(1.02)
        await handle.cancel()
        assert order == ["inner", "outer"]
    seen.assert_lawful()


@pytest.mark.parametrize("way", ["given up", "expired", "left"])
@virtual_time
async def test_an_error_that_nobody_heard_of_is_logged(way: str, caplog: pytest.LogCaptureFixture):
    @node
    async def late(x: Any, ctx: Any) -> None:
        await ctx.emit_chunk("x")
        await asyncio.sleep(5)
        raise ValueError("late")

    async with create(late) as flow:
        handle: Any = flow.start(1, timeout_s=3 if way == "expired" else None)
        if way == "given up":
            with suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await handle.result()
        if way == "left":
            async for _ in handle:
                break
        if way == "expired":
            await asyncio.sleep(10)
        handle = None
        await asyncio.sleep(10)
    assert [record.levelname for record in caplog.records if record.levelname == "ERROR"] == ["ERROR"]


@virtual_time
async def test_a_subflows_good_outputs_are_not_lost_beside_an_error_that_is_delivered():
    class Delivers:
        @hookimpl
        def on_error(self, error: FlowError) -> Emit:
            return Emit()

    @node
    async def bad(x: Any) -> Any:
        raise ValueError(x)

    @node
    async def good(x: Any) -> str:
        return "good"

    inner = create(same.to(good, bad))
    async with create(subflow("sub", inner), plugins=[Delivers()]) as flow:
        results = await flow.start("x").results()
    assert results[0] == "good"
    assert isinstance(results[1], FlowError)


@virtual_time
async def test_a_node_that_emits_into_its_own_trace_overtakes_nobody():
    seen: list[Any] = []

    @node
    async def work(message: Message[Any]) -> None:
        seen.append(message.payload)
        if message.payload == 0:
            await asyncio.sleep(1)
            await flow.emit(message.model_copy(update={"payload": "own"}))

    async with create(work, queue_maxsize=1) as flow:
        first = Message(payload=0)
        handle = flow.start(first)
        await quiet()
        outside = [asyncio.create_task(flow.emit(first.model_copy(update={"payload": i}))) for i in (1, 2)]
        await handle.results()
        await asyncio.gather(*outside)
    assert seen == [0, 1, 2, "own"]


def test_a_message_is_stamped_by_the_clock_that_a_test_puts_in_place(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("time.time", lambda: 1234.5)
    assert Message(payload=0).ts == 1234.5
