"""Law 9: chunks go to the successors that take them, otherwise straight to the trace's reader; `to=` overrides."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from penguiflow import (
    ROOKERY,
    Context,
    FlowError,
    FlowStateError,
    Message,
    Node,
    StreamChunk,
    create,
    join_k,
    node,
    predicate_router,
    router,
    subflow,
)
from tests.utils.flowtestkit import quiet, virtual_time


@node
async def talk(x: int, ctx: Context) -> str:
    await ctx.emit_chunk("a")
    await ctx.emit_chunk("b", done=True)
    return "said"


def taker(annotation: Any, name: str = "taker") -> tuple[Node, list[Any]]:
    """A node with that annotation, and what it was given, as `chunk:text` or the value."""
    got: list[Any] = []

    async def take(value):
        inner = value.payload if isinstance(value, Message) else value
        got.append(f"chunk:{inner.text}" if isinstance(inner, StreamChunk) else inner)

    if annotation is not None:
        take.__annotations__["value"] = annotation
    return Node(take, name=name), got


async def texts(flow: Any, message: Any = 1) -> list[str]:
    async with flow.stream(message) as stream:
        return [chunk.text async for chunk in stream]


# --- which successors -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("annotation", "given"),
    [
        (StreamChunk, ["chunk:a", "chunk:b"]),
        (Message[StreamChunk], ["chunk:a", "chunk:b"]),
        (str | StreamChunk, ["chunk:a", "chunk:b", "said"]),
        (Message, ["chunk:a", "chunk:b", "said"]),
        (Message[str | StreamChunk], ["chunk:a", "chunk:b", "said"]),
        (Any, ["chunk:a", "chunk:b", "said"]),
        (None, ["chunk:a", "chunk:b", "said"]),
    ],
    ids=str,
)
@virtual_time
async def test_a_successor_that_admits_chunks_gets_them_and_the_reader_none(annotation: Any, given: list[str]):
    last, got = taker(annotation)
    async with create(talk.to(last)) as flow:
        assert await texts(flow) == []
    assert got == given


@pytest.mark.parametrize("annotation", [str, Message[str], str | int], ids=str)
@virtual_time
async def test_a_successor_that_takes_no_chunks_leaves_them_to_the_reader(annotation: Any):
    last, got = taker(annotation)
    async with create(talk.to(last)) as flow:
        assert await texts(flow) == ["a", "b"]
    assert got == ["said"]


@virtual_time
async def test_every_admitting_successor_gets_the_chunk_and_the_others_do_not():
    one, first = taker(StreamChunk, "one")
    two, second = taker(Message, "two")
    three, third = taker(str, "three")
    async with create(talk.to(one, two, three)) as flow:
        assert await texts(flow) == []
    assert (first, second, third) == (["chunk:a", "chunk:b"], ["chunk:a", "chunk:b", "said"], ["said"])


@virtual_time
async def test_a_returned_chunk_goes_where_an_emitted_one_goes():
    async def relay(chunk: StreamChunk) -> StreamChunk:
        return chunk.model_copy(update={"text": chunk.text.upper()})

    last, got = taker(StreamChunk)
    async with create(talk.to(n := Node(relay)), n.to(last)) as flow:
        assert await texts(flow) == []
    assert got == ["chunk:A", "chunk:B"]
    async with create(talk.to(Node(relay))) as flow:
        assert await texts(flow) == ["A", "B"]


@virtual_time
async def test_a_yielded_chunk_passes_a_successor_that_does_not_take_it():
    async def source(x: int) -> AsyncIterator[StreamChunk | str]:
        yield StreamChunk(stream_id="s", seq=0, text="one")
        yield "item"

    last, got = taker(str)
    async with create(Node(source).to(last)) as flow:
        assert await texts(flow) == ["one"]
    assert got == ["item"]


@virtual_time
async def test_chunks_pass_a_join_by():
    both = join_k("both", 2)

    @node
    async def fan(x: int) -> int:
        return x

    def branch(name: str) -> Node:
        async def speak(x: int, ctx: Context) -> str:
            await ctx.emit_chunk(name)
            return name

        return Node(speak, name=name)

    b, c = branch("b"), branch("c")
    async with create(fan.to(b, c), b.to(both), c.to(both)) as flow:
        async with flow.stream(1) as stream:
            assert [chunk.text async for chunk in stream] == ["b", "c"]
            assert stream.result == ["b", "c"]


@pytest.mark.parametrize("make", [router, lambda name: predicate_router(name, lambda m: "taker")], ids=["all", "by"])
@virtual_time
async def test_a_router_before_a_node_without_chunks_does_not_break_the_stream(make: Any):
    last, got = taker(str)
    choose = make("choose")
    async with create(talk.to(choose), choose.to(last)) as flow:
        assert await texts(flow) == ["a", "b"]
    assert got == ["said"]


@virtual_time
async def test_a_router_passes_chunks_on_to_a_node_that_takes_them():
    last, got = taker(Any)
    choose = predicate_router("choose", lambda message: "taker")
    async with create(talk.to(choose), choose.to(last)) as flow:
        assert await texts(flow) == []
    assert got == ["chunk:a", "chunk:b", "said"]


# --- the trace's reader ---------------------------------------------------------------------------


@virtual_time
async def test_a_stream_reads_the_chunks_and_a_handle_the_chunks_and_the_output():
    async with create(talk) as flow:
        async with flow.stream(1) as stream:
            chunks = [chunk async for chunk in stream]
            assert stream.result == "said"
        assert [(c.stream_id, c.seq, c.text, c.done) for c in chunks] == [
            (stream.trace_id, 0, "a", False),
            (stream.trace_id, 1, "b", True),
        ]
        items = [item async for item in flow.start(1)]
        assert [getattr(item, "text", item) for item in items] == ["a", "b", "said"]


@virtual_time
async def test_chunks_of_an_emitted_trace_are_fetched_at_rookery():
    async with create(talk) as flow:
        trace_id = await flow.emit(1)
        one, two, said = [await flow.fetch() for _ in range(3)]
    assert (one.stream_id, one.text, two.text, said) == (trace_id, "a", "b", "said")


@pytest.mark.parametrize("deep", [False, True])
@virtual_time
async def test_chunks_of_nested_flows_reach_the_reader(deep: bool):
    inner = create(subflow("inmost", create(talk)) if deep else talk)

    async def calls(x: int, ctx: Context) -> str:
        return await ctx.call_playbook(inner, x)

    for outer in (subflow("outer", inner), Node(calls)):
        async with create(outer) as flow:
            assert await texts(flow) == ["a", "b"]
            await flow.emit(1)
            assert [getattr(await flow.fetch(), "text", "said") for _ in range(3)] == ["a", "b", "said"]


@virtual_time
async def test_chunks_of_a_subflow_go_to_the_successors_of_its_node():
    last, got = taker(Any)
    async with create(subflow("inner", create(talk)).to(last)) as flow:
        assert await texts(flow) == []
    assert got == ["chunk:a", "chunk:b", "said"]


@pytest.mark.parametrize("way", ["ask", "result", "results"])
@virtual_time
async def test_ask_and_result_drop_the_chunks_that_nobody_reads(way: str):
    async def source(x: int, ctx: Context) -> int:
        for _ in range(50):
            await ctx.emit_chunk("x")
        return x

    async with create(Node(source), queue_maxsize=1) as flow:
        async with asyncio.timeout(10):
            if way == "ask":
                assert await flow.ask(1) == 1
            elif way == "result":
                assert await flow.start(1).result() == 1
            else:
                assert await flow.start(1).results() == [1]


# --- to= ------------------------------------------------------------------------------------------


def speaker(to: Any) -> Node:
    async def speak(x: int, ctx: Context) -> None:
        await ctx.emit_chunk("a", to=to)

    return Node(speak)


@virtual_time
async def test_to_names_the_successors_whatever_they_take_otherwise():
    one, first = taker(Any, "one")
    two, second = taker(Any, "two")
    for to in ("two", two, ["two"], [two]):
        async with create(speaker(to).to(one, two)) as flow:
            assert await texts(flow) == []
    assert (first, second) == ([], ["chunk:a"] * 4)


@virtual_time
async def test_to_rookery_reaches_the_reader_past_a_successor_that_would_take_it():
    last, got = taker(Any)
    async with create(speaker(ROOKERY).to(last)) as flow:
        assert await texts(flow) == ["a"]
        await flow.emit(1)
        assert (await flow.fetch()).text == "a"
    assert got == []
    async with create(speaker([ROOKERY, "taker"]).to(last)) as flow:
        assert await texts(flow) == ["a"]
    assert got == ["chunk:a"]


@virtual_time
async def test_to_rookery_in_a_subflow_reaches_the_reader():
    last, got = taker(Any)
    async with create(subflow("inner", create(speaker(ROOKERY))).to(last)) as flow:
        assert await texts(flow) == ["a"]
    assert got == []


@virtual_time
async def test_an_unknown_target_of_a_chunk_is_a_routing_error():
    last, _ = taker(Any)
    async with create(speaker("nobody").to(last)) as flow:
        with pytest.raises(FlowError, match=r"no successor 'nobody': it leads to taker, Rookery") as caught:
            await flow.ask(1)
    assert caught.value.code == "ROUTING"


# --- numbers and fields ---------------------------------------------------------------------------


@virtual_time
async def test_two_nodes_on_one_stream_share_its_numbers():
    @node
    async def fan(x: int) -> int:
        return x

    async def speak(x: int, ctx: Context) -> None:
        for _ in range(3):
            await ctx.emit_chunk(ctx.node_name)
            await asyncio.sleep(1)

    async with create(fan.to(Node(speak, name="b"), Node(speak, name="c"))) as flow:
        async with flow.stream(1) as stream:
            chunks = [chunk async for chunk in stream]
    assert [chunk.seq for chunk in chunks] == [0, 1, 2, 3, 4, 5]
    assert [chunk.text for chunk in chunks] == ["b", "c"] * 3


@virtual_time
async def test_each_stream_and_each_trace_counts_for_itself():
    async def speak(x: int, ctx: Context) -> None:
        await ctx.emit_chunk("a", stream_id="one")
        await ctx.emit_chunk("b", stream_id="two")
        await ctx.emit_chunk("c", stream_id="one")

    async with create(Node(speak)) as flow:
        for _ in range(2):
            async with flow.stream(1) as stream:
                chunks = [(chunk.stream_id, chunk.seq) async for chunk in stream]
            assert chunks == [("one", 0), ("two", 0), ("one", 1)]


@virtual_time
async def test_a_node_may_number_itself_and_the_stream_counts_on_from_there():
    async def speak(x: int, ctx: Context) -> None:
        made = await ctx.emit_chunk("a", ctx.message, seq=7, meta={"k": 1})
        assert (made.seq, made.text, made.meta, made.done) == (7, "a", {"k": 1}, False)
        await ctx.emit_chunk("b")

    async with create(Node(speak)) as flow:
        async with flow.stream(1) as stream:
            assert [chunk.seq async for chunk in stream] == [7, 8]


@virtual_time
async def test_a_chunk_from_outside_joins_the_live_trace_and_its_numbers():
    go_on = asyncio.Event()

    async def speak(x: int, ctx: Context) -> None:
        await ctx.emit_chunk("inside")
        await go_on.wait()

    async with create(Node(speak)) as flow:
        async with flow.stream(Message(payload=1, trace_id="t")) as stream:
            assert (await anext(stream)).seq == 0
            await flow.emit_chunk("outside", Message(payload=None, trace_id="t"))
            chunk = await anext(stream)
            go_on.set()
            assert [chunk async for chunk in stream] == []
        assert (chunk.text, chunk.seq, chunk.stream_id) == ("outside", 1, "t")
        await flow.emit_chunk("lone", Message(payload=None, trace_id="u"), done=True)
        assert (await flow.fetch()).text == "lone"


@virtual_time
async def test_a_chunk_from_outside_enters_at_the_nodes_that_take_it():
    last, got = taker(StreamChunk)
    other, values = taker(str, "other")
    async with create(last, other) as flow:
        await flow.emit_chunk("a", Message(payload=None))
        await quiet()
    assert (got, values) == (["chunk:a"], [])


@virtual_time
async def test_a_chunk_from_outside_whose_trace_ends_meanwhile_is_refused_and_the_flow_goes_on():
    @node
    async def fills(x: int, ctx: Context) -> str:
        await ctx.emit_chunk("a")
        await asyncio.sleep(1)
        return "said"

    async with create(fills, queue_maxsize=1) as flow:
        async with flow.stream(Message(payload=1, trace_id="t")) as stream:
            writing = asyncio.ensure_future(flow.emit_chunk("b", Message(payload=None, trace_id="t")))
            with pytest.raises(FlowStateError, match="trace 't' ended while this chunk waited for room"):
                await asyncio.wait_for(writing, 10)
            assert [chunk.text async for chunk in stream] == ["a"]
        assert (await flow.ask(1)) == "said"
