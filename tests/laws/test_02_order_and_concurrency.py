"""Law 2: each predecessor's messages in order, one at a time; and nobody waits, except at a limit that somebody set."""

import asyncio
import itertools
import random
from typing import Any

import pytest

from penguiflow import ROOKERY, Context, FlowError, Message, StreamChunk, create, node, subflow
from tests.utils.flowtestkit import clock, in_time, quiet


class Gauge:
    """How many are inside at a time, and at most."""

    def __init__(self):
        self.now = self.most = 0

    def __enter__(self):
        self.now += 1
        self.most = max(self.most, self.now)

    def __exit__(self, *_):
        self.now -= 1


@node
async def same(x):
    return x


@node
async def nap(seconds: float) -> float:
    await asyncio.sleep(seconds)
    return seconds


def slow(seen, seconds=1.0, **policy):
    """A node that notes what it sees, takes its time, and passes it on."""

    @node(name="slow", **policy)
    async def slow(x):
        seen.append(x)
        await asyncio.sleep(seconds)
        return x

    return slow


@pytest.mark.parametrize("size", [1, 2, 64])
@pytest.mark.parametrize("how", ["emit", "emit_nowait", "mixed", "yield"])
@in_time
async def test_a_node_sees_a_predecessors_messages_in_the_order_they_were_emitted(how, size):
    seen: list[int] = []

    @node
    async def emits(n: int, ctx: Context):
        for i in range(n):
            if how == "emit" or (how == "mixed" and i % 2):
                await ctx.emit(i)
            else:
                while True:
                    try:
                        ctx.emit_nowait(i)
                        break
                    except asyncio.QueueFull:
                        await asyncio.sleep(0.3)
        return n

    @node
    async def yields(n: int):
        for i in range(n + 1):
            yield i

    source = yields if how == "yield" else emits
    async with create(source.to(slow(seen)), queue_maxsize=size) as flow:
        assert await flow.start(10).results() == list(range(11))
    assert seen == list(range(11))
    assert clock() == pytest.approx(1011)


@pytest.mark.parametrize("seed", range(6))
@in_time
async def test_order_per_floe_holds_in_any_graph_at_any_pace(seed):
    rng = random.Random(seed)
    seen: dict[str, list] = {}

    def worker(name):
        async def work(item, ctx: Context):
            source, number = item
            seen.setdefault(name, []).append((ctx.trace_id, source, number))
            await asyncio.sleep(rng.choice((0, 0, 0.1, 1)))
            counted = len(seen[name])
            for i in range(rng.choice((0, 1, 2))):
                await ctx.emit((name, counted * 10 + i))
                await asyncio.sleep(rng.choice((0, 0.1)))
            return (name, counted * 10 + 9)

        return node(name=name)(work)

    layers = [[worker(f"n{depth}{i}") for i in range(rng.randint(1, 3))] for depth in range(4)]
    edges = [a.to(*below) for above, below in itertools.pairwise(layers) for a in above]
    async with create(*edges, queue_maxsize=rng.choice((1, 2, 5))) as flow:
        await asyncio.gather(*(flow.start(("sea", 0)).results() for _ in range(3)))
    assert len(seen) == sum(map(len, layers))
    for came in seen.values():
        for floe in {entry[:2] for entry in came}:
            numbers = [number for *rest, number in came if tuple(rest) == floe]
            assert numbers == sorted(numbers)


@in_time
async def test_messages_emitted_into_a_live_trace_keep_their_order():
    async with create(slow([]), queue_maxsize=1) as flow:
        first = Message(payload=0)
        results = asyncio.ensure_future(flow.start(first).results())
        for i in range(1, 5):
            await flow.emit(first.model_copy(update={"payload": i}))
        assert [message.payload for message in await results] == list(range(5))


@in_time
async def test_emits_that_wait_for_a_full_floe_are_let_in_as_they_came():
    seen: list[int] = []

    @node
    async def burst(x, ctx: Context):
        await asyncio.gather(*(ctx.emit(i) for i in range(6)))

    async with create(burst.to(slow(seen)), queue_maxsize=1) as flow:
        await flow.start(None).results()
    assert seen == list(range(6))


@in_time
async def test_an_emit_given_up_is_not_delivered_and_the_others_keep_their_order():
    seen: list[int] = []
    given_up: list[int] = []

    @node
    async def hasty(x, ctx: Context):
        for i in range(8):
            try:
                async with asyncio.timeout(0.75):
                    await ctx.emit(i)
            except TimeoutError:
                given_up.append(i)

    async with create(hasty.to(slow(seen)), queue_maxsize=1) as flow:
        results = await flow.start(None).results()
    assert given_up
    assert results == seen == [i for i in range(8) if i not in given_up]


@pytest.mark.parametrize("how", ["iterate", "results", "fetch"])
@in_time
async def test_what_leaves_a_trace_leaves_in_order(how):
    @node
    async def three(x: str, ctx: Context):
        await ctx.emit_chunk("a")
        await ctx.emit("1", to=ROOKERY)
        ctx.emit_nowait("2")
        await ctx.emit_chunk("b")
        return "3"

    async with create(three) as flow:
        if how == "fetch":
            await flow.emit("x")
            came = [await flow.fetch() for _ in range(5)]
        else:
            handle = flow.start("x")
            came = await handle.results() if how == "results" else [item async for item in handle]
    texts = [item.text if isinstance(item, StreamChunk) else item for item in came]
    assert "".join(texts) == ("123" if how == "results" else "a12b3")


@in_time
async def test_chunks_and_messages_to_one_node_keep_their_order():
    seen: list = []

    @node
    async def talk(x: str, ctx: Context):
        await ctx.emit_chunk("a")
        await ctx.emit("b")
        await ctx.emit_chunk("c")
        return "d"

    @node
    async def listen(x):
        seen.append(x.text if isinstance(x, StreamChunk) else x)
        await asyncio.sleep(1)

    async with create(talk.to(listen), queue_maxsize=1) as flow:
        await flow.ask("x")
    assert seen == ["a", "b", "c", "d"]


@in_time
async def test_a_subflows_outputs_go_on_in_order():
    seen: list[int] = []

    @node
    async def count(n: int):
        for i in range(n):
            yield i

    async with create(subflow("sub", create(count)).to(slow(seen)), queue_maxsize=1) as flow:
        await flow.start(6).results()
    assert seen == list(range(6))


@pytest.mark.parametrize("lanes", [1, 3])
@in_time
async def test_a_node_runs_as_often_at_a_time_within_a_trace_as_its_policy_says(lanes):
    gauge = Gauge()

    @node(per_trace_concurrency=lanes)
    async def work(x):
        with gauge:
            await asyncio.sleep(1)
        return x

    @node
    async def fan(n: int):
        for i in range(n):
            yield i

    async with create(fan.to(work)) as flow:
        assert sorted(await flow.start(6).results()) == list(range(6))
    assert gauge.most == lanes
    assert clock() == pytest.approx(1000 + 6 / lanes)


@in_time
async def test_one_at_a_time_holds_for_several_predecessors_and_over_back_off():
    gauge, seen = Gauge(), []

    @node(max_retries=1, backoff_base=5)
    async def work(x, ctx: Context):
        with gauge:
            seen.append((x, ctx.attempt))
            await asyncio.sleep(1)
        if x == "left" and not ctx.attempt:
            raise ValueError(x)

    @node
    async def left(x):
        return "left"

    @node
    async def right(x):
        return "right"

    async with create(same.to(left, right), left.to(work), right.to(work)) as flow:
        await flow.ask("x")
    assert gauge.most == 1
    assert seen == [("left", 0), ("left", 1), ("right", 0)]


@in_time
async def test_traces_run_the_same_node_at_the_same_time():
    gauge = Gauge()

    @node
    async def work(x):
        with gauge:
            await asyncio.sleep(10)
        return x

    async with create(same.to(work), subflow("sub", create(work))) as flow:
        await asyncio.gather(*(flow.start(i).results() for i in range(100)))
    assert gauge.most == 200
    assert clock() == pytest.approx(1010)


@in_time
async def test_one_slow_trace_delays_no_other():
    async with create(same.to(nap)) as flow:
        slow_one = flow.start(100.0)
        begun = clock()
        assert [await flow.ask(0.0), await flow.start(0.0).result()] == [0.0, 0.0]
        await flow.emit(0.0)
        assert await flow.fetch() == 0.0
        async with flow.stream(0.0) as stream:
            assert [chunk async for chunk in stream] == []
        assert clock() == begun
        assert slow_one.outcome is None


@pytest.mark.parametrize("blocked_by", ["floe", "reader", "rookery", "back-off", "lane"])
@in_time
async def test_one_blocked_trace_delays_no_other(blocked_by):
    @node(max_retries=1, backoff_base=1000)
    async def source(blocks: bool, ctx: Context):
        for _ in range(9 if blocks else 0):
            if blocked_by == "back-off":
                raise ValueError
            if blocked_by in ("floe", "lane"):
                await ctx.emit(100.0, to="nap")
            if blocked_by == "reader":
                await ctx.emit_chunk("x", to=ROOKERY)
            if blocked_by == "rookery":
                await ctx.emit(blocks, to=ROOKERY)
        return 1.0

    async with create(source.to(nap), queue_maxsize=1 if blocked_by != "lane" else 64) as flow:
        handle = flow.start(True) if blocked_by != "rookery" else await flow.emit(True)
        await quiet()
        assert await flow.ask(False) == 1.0
        assert clock() == pytest.approx(1001)
        assert await flow.cancel(handle if isinstance(handle, str) else handle.trace_id)


@in_time
async def test_branches_of_a_trace_run_at_the_same_time():
    @node
    async def left(x: float) -> float:
        return await nap(x)

    @node
    async def right(x: float) -> float:
        return await nap(x)

    async with create(same.to(left, right, nap)) as flow:
        assert await flow.start(5.0).results() == [5.0, 5.0, 5.0]
    assert clock() == pytest.approx(1005)


@pytest.mark.parametrize("nested", [False, True])
@in_time
async def test_max_concurrency_counts_over_all_traces_and_serves_them_in_turn(nested):
    gauge, served = Gauge(), []

    @node(max_concurrency=2)
    async def work(x):
        served.append(x)
        with gauge:
            await asyncio.sleep(1)
        return x

    async with create(subflow("sub", create(work)) if nested else work) as flow:
        assert await asyncio.gather(*(flow.ask(i) for i in range(6))) == list(range(6))
    assert (gauge.most, served) == (2, list(range(6)))
    assert clock() == pytest.approx(1003)


@pytest.mark.parametrize("shape", ["loop", "chain", "subflow"])
@in_time
async def test_a_chain_that_never_suspends_lets_others_have_their_turn(shape):
    turns = 0

    async def others():
        nonlocal turns
        while await asyncio.sleep(0, True):
            turns += 1

    @node(allow_cycle=True)
    async def step(n: int, ctx: Context):
        await ctx.emit(n - 1, to="step" if n else ROOKERY)

    chain = [node(name=f"n{i}")(same.func) for i in range(1024)]
    edges = [a.to(b) for a, b in itertools.pairwise(chain)]
    graphs: dict[str, list[Any]] = {"loop": [step.to(step)], "chain": edges, "subflow": [subflow("s", create(*edges))]}
    async with create(*graphs[shape]) as flow:
        ticking = asyncio.create_task(others())
        await flow.ask(1024)
        ticking.cancel()
    assert turns > 3


@in_time
async def test_a_loop_that_never_suspends_can_be_cancelled():
    @node(allow_cycle=True)
    async def spin(x, ctx: Context):
        return x

    @node(allow_cycle=True)
    async def back(x):
        return x

    async with create(spin.to(back), back.to(spin)) as flow:
        handle = flow.start(0)
        for _ in range(10):
            await asyncio.sleep(0)
        assert handle.outcome is None
        assert await handle.cancel()
        with pytest.raises(FlowError):
            await handle.result()
