"""Law 3: everything is bounded; full makes the writer wait, and never means a deadlock while somebody drains."""

import asyncio
import functools
from contextlib import AsyncExitStack
from typing import Any

import pytest

from penguiflow import (
    ROOKERY,
    Context,
    FlowStateError,
    Message,
    StreamChunk,
    create,
    join_k,
    node,
    stream_flow,
    subflow,
)
from tests.utils.flowtestkit import in_time, quiet


class Gate:
    """A node's work that waits for `open`, and what came to it."""

    def __init__(self):
        self.open = asyncio.Event()
        self.seen = []

    async def __call__(self, x):
        self.seen.append(x.text if isinstance(x, StreamChunk) else x)
        await self.open.wait()
        return x


class Burst:
    """A node's work that emits numbers, and how many it got rid of."""

    def __init__(self, count, **options):
        self.count, self.options, self.done = count, options, 0

    async def __call__(self, x, ctx: Context):
        for i in range(self.count):
            await ctx.emit(i, **self.options)
            self.done += 1


@node
async def same(x):
    return x


@in_time
async def test_a_full_floe_makes_emit_wait_in_its_own_trace_and_edge_alone():
    gate, other, bursts = Gate(), Burst(2, to="gate"), []

    async def burst(x, ctx: Context):
        bursts.append(Burst(9, to="gate"))
        await bursts[-1](x, ctx)

    first, second, target = node(name="first")(burst), node(name="second")(other.__call__), node(name="gate")(gate)
    async with create(same.to(first, second), first.to(target), second.to(target), queue_maxsize=2) as flow:
        handles = [flow.start("x"), flow.start("y")]
        await quiet()
        assert [burst.done for burst in bursts] == [3, 3]
        assert other.done == 4
        gate.open.set()
        assert [len(await handle.results()) for handle in handles] == [11, 11]


@in_time
async def test_backpressure_reaches_back_along_a_chain():
    gate, burst = Gate(), Burst(100)
    first, last, mid = node(name="first")(burst), node(name="last")(gate), node(name="mid")(same.func)
    edges = first.to(same), same.to(mid), mid.to(last)
    async with create(*edges, queue_maxsize=2) as flow:
        handle = flow.start("x")
        await quiet()
        assert burst.done == 3 * (1 + 2)
        gate.open.set()
        assert await handle.results() == list(range(100))


@pytest.mark.parametrize("full", ["floe", "rookery", "cycle"])
@in_time
async def test_emit_nowait_delivers_to_all_of_its_targets_or_to_none(full):
    gate, free = Gate(), []

    @node(allow_cycle=True)
    async def source(x, ctx: Context):
        if x != "go":
            return
        sent = 0
        with pytest.raises(asyncio.QueueFull):
            for _ in range(5000):
                ctx.emit_nowait(sent, to=["taker", ROOKERY if full == "rookery" else "gate"])
                sent += 1
                await asyncio.sleep(0.001)
        counts.append(sent)

    @node
    async def taker(x):
        free.append(x)

    counts: list[int] = []
    blocked = node(name="gate")(gate)
    edges = [source.to(taker, blocked), *([blocked.to(source)] if full == "cycle" else [])]
    async with create(*edges, queue_maxsize=2) as flow:
        await flow.emit("go", to=source)
        await asyncio.sleep(10)
        assert free == list(range(counts[0]))
        if full == "rookery":
            assert [await flow.fetch() for _ in range(counts[0])] == free
        else:
            assert counts[0] == 3 if full == "floe" else 3 < counts[0] < 5000
        gate.open.set()
        await quiet()
    assert gate.seen == ([] if full == "rookery" else free)


@in_time
async def test_emit_nowait_from_outside_enters_at_all_entries_or_at_none():
    gate, free = Gate(), []

    @node
    async def taker(x):
        free.append(x.payload)

    async with create(taker, node(name="gate")(gate), queue_maxsize=1) as flow:
        message = Message(payload=0)
        for _ in range(2):
            flow.emit_nowait(message)
            await quiet()
        with pytest.raises(asyncio.QueueFull):
            flow.emit_nowait(message)
        await quiet()
        assert free == [0, 0]
        gate.open.set()


@in_time
async def test_a_join_in_front_of_a_full_floe_loses_nothing():
    gate = Gate()

    @node
    async def source(x, ctx: Context):
        sent = 0
        while sent < 12:
            try:
                ctx.emit_nowait(sent)
                sent += 1
            except asyncio.QueueFull:
                gate.open.set()
            await asyncio.sleep(1)

    pairs = join_k("pairs", 2)
    async with create(source.to(pairs), pairs.to(node(name="gate")(gate)), queue_maxsize=1) as flow:
        await flow.start("x").results()
    assert sorted(i for pair in gate.seen for i in pair) == list(range(12))


@in_time
async def test_a_full_rookery_makes_its_writers_wait_until_somebody_fetches():
    burst = Burst(9, to=ROOKERY)
    async with create(node(name="burst")(burst), queue_maxsize=2) as flow:
        await flow.emit("x")
        await quiet()
        assert burst.done == 2
        chunk = asyncio.create_task(flow.emit_chunk("hi", Message(payload="x", trace_id="other"), to=None))
        await quiet()
        assert [await flow.fetch() for _ in range(3)] == [0, 1, 2]
        await quiet()
        assert burst.done in (4, 5)
        chunk.cancel()
        assert len([await flow.fetch() for _ in range(6)]) == 6


@in_time
async def test_fetching_from_one_node_finds_it_behind_a_rookery_full_of_others():
    @node
    async def left(x):
        return "left"

    @node
    async def right(x):
        return "right"

    async with create(left, right, queue_maxsize=1) as flow:
        for _ in range(3):
            await flow.emit("x", to=left)
        await quiet()
        await flow.emit("x", to=right)
        await quiet()
        assert await flow.fetch(from_=right) == "right"
        assert [await flow.fetch() for _ in range(3)] == ["left"] * 3


@pytest.mark.parametrize("nested", ["plain", "subflow", "playbook"])
@pytest.mark.parametrize("reader", ["stream", "handle", "stream_flow"])
@in_time
async def test_a_reader_that_is_behind_makes_the_node_that_writes_wait(reader, nested):
    written = 0

    @node
    async def tell(x, ctx: Context):
        nonlocal written
        for i in range(50):
            await ctx.emit_chunk(str(i))
            written += 1

    @node
    async def caller(x, ctx: Context):
        return await ctx.call_playbook(create(tell), x)

    top = {"plain": tell, "subflow": subflow("sub", create(tell)), "playbook": caller}[nested]
    async with create(top, queue_maxsize=3) as flow:
        stream: Any = {"stream": flow.stream, "handle": flow.start, "stream_flow": functools.partial(stream_flow, flow)}
        source = stream[reader]("x")
        if reader == "stream":
            await source.__aenter__()
        read = 0
        async for chunk in source:
            assert chunk.text == str(read)
            read += 1
            await quiet()
            assert written <= read + 3
        assert (read, written) == (50, 50)
        if reader == "stream":
            await source.__aexit__(None, None, None)


@pytest.mark.parametrize("how", ["result", "dropped"])
@in_time
async def test_a_writer_goes_on_once_nobody_will_read(how):
    @node
    async def tell(x, ctx: Context):
        for i in range(9):
            await ctx.emit_chunk(str(i))
        done.append(x)

    done: list = []
    async with create(tell, queue_maxsize=2) as flow:
        handle = flow.start("x")
        await quiet()
        assert done == []
        if how == "result":
            await handle.result()
        del handle
        await quiet()
        assert done == ["x"]


@in_time
async def test_a_full_floe_makes_emit_chunk_wait():
    gate, written = Gate(), []

    @node
    async def tell(x, ctx: Context):
        for i in range(9):
            await ctx.emit_chunk(str(i))
            written.append(str(i))

    async with create(tell.to(node(name="gate")(gate)), queue_maxsize=2) as flow:
        asked = asyncio.create_task(flow.start("x").results())
        await quiet()
        assert len(written) == 3
        gate.open.set()
        await asked
    assert gate.seen == written


@pytest.mark.parametrize("outputs", [1, 8, 300])
@in_time
async def test_stop_while_rookery_is_full_ends_and_loses_nothing(outputs):
    @node
    async def many(x: int):
        for i in range(outputs):
            yield (x, i)

    flow = create(many, queue_maxsize=1)
    flow.run()
    for x in range(3):
        await flow.emit(x)
    await quiet()
    await flow.stop()
    found = [await flow.fetch() for _ in range(3 * outputs)]
    assert sorted(found) == [(x, i) for x in range(3) for i in range(outputs)]
    with pytest.raises(FlowStateError):
        await flow.fetch()


@in_time
async def test_an_emit_given_up_at_a_join_takes_nobody_elses_message_with_it():
    gate, pairs = Gate(), join_k("pairs", 2)

    @node
    async def left(x, ctx: Context):
        for i in range(9):
            await ctx.emit(i)
        await asyncio.sleep(2)
        return 9

    @node
    async def right(x, ctx: Context):
        await asyncio.sleep(1)
        await ctx.emit("a")
        await asyncio.sleep(2)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await ctx.emit("b")
        gate.open.set()
        return "c"

    edges = [same.to(left, right), left.to(pairs), right.to(pairs), pairs.to(node(name="gate")(gate))]
    async with create(*edges, queue_maxsize=1) as flow:
        await flow.start("x").results()
    assert sorted(i for pair in gate.seen for i in pair if i != "a" and i != "c") == list(range(10))


@pytest.mark.parametrize("count", [2, 3, 4])
@in_time
async def test_flows_that_ask_each_other_with_every_slot_taken_do_not_wait_for_each_other(count):
    flows: list[Any] = []

    def asking(place):
        async def ask(depth: int) -> int:
            await asyncio.sleep(1)
            return await flows[(place + 1) % count].ask(depth - 1) + 1 if depth else 0

        return create(node(name="ask")(ask), name=f"flow{place}", max_traces=1)

    async with AsyncExitStack() as stack:
        for place in range(count):
            flows.append(await stack.enter_async_context(asking(place)))
        assert list(await asyncio.gather(*(flow.ask(2 * count) for flow in flows))) == [2 * count] * count
