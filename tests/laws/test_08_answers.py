"""Law 8, the way out: what `fetch`, `ask` and handles give, and what a live trace's id means."""

from __future__ import annotations

from typing import Any

import pytest

from penguiflow import Context, FlowStateError, Headers, Message, Node, create, join_k, node
from tests.utils.flowtestkit import Recorder, quiet, virtual_time


@node
async def fan(x: int) -> int:
    return x


@virtual_time
async def test_fetch_gives_what_the_last_node_returned():
    async def payload(message: Message[int]) -> int:
        return message.payload

    async def message(x: int) -> Message[int]:
        return Message(payload=x)

    for func, kind in ((payload, int), (message, Message)):
        async with create(Node(func)) as flow:
            trace_id = await flow.emit(Message(payload=1, headers=Headers(tenant="zoo"), meta={"k": "v"}))
            got = await flow.fetch()
            assert isinstance(got, kind)
            if isinstance(got, Message):
                assert (got.trace_id, got.meta, got.headers.tenant) == (trace_id, {"k": "v"}, "zoo")


@virtual_time
async def test_ask_gives_a_payload_for_a_payload_and_a_message_for_a_message():
    async def message(x: int) -> Message[int]:
        return Message(payload=x)

    for func in (message, returns_int):
        async with create(Node(func)) as flow:
            assert await flow.ask(1) == 1
            answer = await flow.ask(Message(payload=1))
            assert (type(answer), answer.payload) == (Message, 1)


async def returns_int(x: int) -> int:
    return x


async def silent(x: int):
    return None


async def annotated(x: int) -> None:
    return None


@pytest.mark.parametrize("nothing", [silent, annotated], ids=lambda f: f.__name__)
@virtual_time
async def test_returning_none_emits_nothing(nothing: Any):
    seen = []

    async def last(value):
        seen.append(value)

    async with create(Node(nothing).to(Node(last))) as flow, create(Node(nothing)) as lone:
        assert await flow.ask(1) is None
        assert await lone.start(1).results() == []
        await lone.emit(1)
        await lone.stop()
        with pytest.raises(FlowStateError, match="nothing is left"):
            await lone.fetch()
    assert seen == []


@pytest.mark.parametrize("way", ["ask", "result", "stream"])
@virtual_time
async def test_no_output_is_none_and_several_are_an_error_that_names_results(way: str):
    async def source(count: int, ctx: Context) -> None:
        for number in range(count):
            await ctx.emit(number)

    async def taken(count: int) -> Any:
        if way == "ask":
            return await flow.ask(count)
        if way == "result":
            return await flow.start(count).result()
        async with flow.stream(count) as stream:
            assert [chunk async for chunk in stream] == []
            return stream.result

    async with create(Node(source)) as flow:
        assert await taken(0) is None
        assert await taken(1) == 0
        with pytest.raises(ValueError, match=r"3 outputs.*results\(\)"):
            await taken(3)
        assert await flow.start(3).results() == [0, 1, 2]
        assert await flow.start(0).results() == []
        assert [m.payload for m in await flow.start(Message(payload=2)).results()] == [0, 1]


# --- live trace ids -------------------------------------------------------------------------------


@virtual_time
async def test_emit_with_a_live_trace_id_joins_that_trace():
    recorder, both = Recorder(), join_k("both", 2)
    async with create(fan.to(both), on_event=recorder) as flow:
        first = await flow.emit(Message(payload=1, trace_id="t"))
        await quiet()
        assert await flow.emit(Message(payload=2, trace_id="t")) == first == "t"
        assert await flow.fetch() == [1, 2]
        await flow.emit(Message(payload=3, trace_id="t2"))
        await quiet()
        assert flow.emit_nowait(Message(payload=4, trace_id="t2")) == "t2"
        assert await flow.fetch() == [3, 4]
    assert recorder.types("trace_start", "trace_finish") == ["trace_start", "trace_finish"] * 2


@virtual_time
async def test_messages_that_join_a_trace_keep_their_order():
    seen = []

    async def first(x: int):
        seen.append(x)

    async with create(Node(first)) as flow:
        for number in range(4):
            await flow.emit(Message(payload=number, trace_id="t"))
    assert seen == [0, 1, 2, 3]


@virtual_time
async def test_ask_stream_and_start_refuse_a_live_trace_id():
    waits = join_k("waits", 2)
    async with create(fan.to(waits)) as flow:
        await flow.emit(Message(payload=1, trace_id="t"))
        again = Message(payload=2, trace_id="t")
        with pytest.raises(ValueError, match=r"'t' is live already.*emit"):
            await flow.ask(again)
        with pytest.raises(ValueError, match="live already"):
            flow.start(again)
        with pytest.raises(ValueError, match="live already"):
            async with flow.stream(again):
                pass
        await flow.emit(again)
        assert sorted(await flow.fetch()) == [1, 2]
        await quiet()
        assert await flow.start(Message(payload=3, trace_id="t")).cancel()
