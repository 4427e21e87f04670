"""Law 3: slots, limits and cycles: nothing that a flow waits for can be itself."""

import asyncio

import pytest

from penguiflow import (
    ROOKERY,
    Context,
    FlowError,
    FlowErrorCode,
    Message,
    create,
    map_concurrent,
    node,
    subflow,
)
from tests.utils.flowtestkit import clock, in_time, quiet


@node
async def same(x):
    return x


@node
async def nap(seconds: float) -> float:
    await asyncio.sleep(seconds)
    return seconds


@pytest.mark.parametrize("how", ["ask", "emit", "stream"])
@in_time
async def test_max_traces_makes_whoever_enters_wait_in_turn(how):
    seen: list[float] = []

    @node
    async def work(x: float):
        seen.append(x)
        return await nap(x)

    async def enter(flow, x):
        if how == "stream":
            async with flow.stream(x) as stream:
                assert [chunk async for chunk in stream] == []
        else:
            await (flow.ask(x) if how == "ask" else flow.emit(x))

    async with create(work, max_traces=2) as flow:
        entering = [asyncio.create_task(enter(flow, 1 + i / 10)) for i in range(6)]
        await quiet()
        assert seen == [1.0, 1.1]
        for refused in (flow.emit_nowait, flow.start):
            with pytest.raises(asyncio.QueueFull):
                refused(9.0)
        await asyncio.gather(*entering)
    assert seen == [1 + i / 10 for i in range(6)]


@in_time
async def test_who_waits_for_a_slot_may_give_up_or_expire_and_leaves_no_hole():
    async with create(nap, max_traces=1) as flow:
        first = flow.start(10.0)
        asked = [asyncio.create_task(flow.ask(1.0)) for _ in range(3)]
        with pytest.raises(FlowError) as caught:
            await flow.ask(1.0, timeout_s=5)
        assert (caught.value.code, clock()) == (FlowErrorCode.DEADLINE_EXCEEDED, 1005)
        asked[0].cancel()
        await first.result()
        asked[1].cancel()
        assert await asked[2] == 1.0
        assert clock() == pytest.approx(1011)
        assert asked[0].cancelled()
        assert asked[1].cancelled()
        assert await flow.start(1.0).result() == 1.0


@in_time
async def test_what_nodes_emit_is_bounded_and_outsiders_wait_for_it():
    live = most = 0

    @node
    async def breeds(generation: int):
        nonlocal live, most
        live += 1
        most = max(most, live)
        try:
            if generation == 0:
                for _ in range(100):
                    flow.emit_nowait(1)
            else:
                await asyncio.sleep(10)
        finally:
            live -= 1

    async with create(breeds, max_traces=4) as flow:
        with pytest.raises(FlowError) as caught:
            await flow.ask(0)
        assert isinstance(caught.value.original_exc, asyncio.QueueFull)
        await quiet()
        assert most <= 2 * 4
        with pytest.raises(asyncio.QueueFull):
            flow.emit_nowait(1)


@in_time
async def test_whoever_finds_no_place_is_told_how_many_are_taken_and_what_does_help():
    gate, told = asyncio.Event(), set[str]()

    async def start(what: str) -> None:
        flow.start(what)

    async def emit_nowait(what: str) -> None:
        flow.emit_nowait(what)

    @node
    async def breeds(what: str) -> str:
        if what == "waits":
            await gate.wait()
        if what != "breeds":
            return what
        handles = [flow.start("waits") for _ in range(3)]
        for call in (start, emit_nowait, flow.emit):
            with pytest.raises(asyncio.QueueFull) as caught:
                await call("waits")
            told.add(str(caught.value))
        assert await flow.ask("asked") == "asked"
        return await handles[0].result()

    async with create(breeds, max_traces=2) as flow:
        asked = asyncio.create_task(flow.ask("breeds"))
        await quiet()
        with pytest.raises(asyncio.QueueFull) as caught:
            flow.start("waits")
        gate.set()
        assert await asked == "waits"
        assert await flow.ask("asked") == "asked"
    assert told == {
        "4 traces are in flight, twice max_traces, and a node that waits for a place might wait for itself: "
        "wait for a trace that it has started, or use `await ask`, which needs no place of its own"
    }
    text = "4 traces are in flight, and max_traces is 2: wait for one, or use `await emit` or `await ask`"
    assert str(caught.value) == text


@in_time
async def test_an_outsider_waits_until_fewer_than_max_traces_are_in_flight():
    @node
    async def work(what: str):
        if what == "root":
            await flow.emit("side")
        await asyncio.sleep({"root": 1, "side": 10, "late": 1}[what])
        ended.append((what, round(clock() - 1000)))

    ended: list = []
    async with create(work, max_traces=1) as flow:
        root = asyncio.create_task(flow.ask("root"))
        await quiet()
        await flow.ask("late")
        await root
    assert ended == [("root", 1), ("side", 10), ("late", 11)]


@pytest.mark.parametrize("how", ["ask", "stream", "playbook", "map", "other flow"])
@in_time
async def test_a_nested_call_runs_on_its_roots_slot_and_limits(how):
    @node(max_concurrency=1)
    async def descend(depth: int, ctx: Context) -> int:
        if depth == 0:
            return 0
        if how == "stream":
            async with flow.stream(depth - 1) as stream:
                assert [chunk async for chunk in stream] == []
            return stream.result + 1
        if how == "playbook":
            return await ctx.call_playbook(flow, depth - 1) + 1
        if how == "map":
            return max(await map_concurrent([depth - 1] * 2, flow.ask)) + 1
        return await (other if how == "other flow" else flow).ask(depth - 1) + 1

    @node(max_concurrency=1)
    async def bounce(depth: int) -> int:
        return await flow.ask(depth)

    async with create(descend, max_traces=1) as flow, create(bounce, max_traces=1) as other:
        assert await flow.ask(4) == 4
        assert await asyncio.gather(*(flow.ask(2) for _ in range(3))) == [2, 2, 2]


@pytest.mark.parametrize("how", ["ask", "stream", "playbook", "emit"])
@in_time
async def test_a_nested_call_goes_through_while_the_flow_drains(how):
    @node
    async def late(depth: int, ctx: Context) -> int:
        if depth == 0:
            return 0
        await asyncio.sleep(10)
        if how == "stream":
            async with flow.stream(0) as stream:
                assert [chunk async for chunk in stream] == []
            return 1
        if how == "playbook":
            return await ctx.call_playbook(flow, 0) + 1
        return await flow.ask(0) + 1 if how == "ask" else len([await flow.emit(0)])

    flow = create(late, max_traces=1)
    flow.run()
    asked = asyncio.create_task(flow.ask(1))
    await quiet()
    await flow.stop()
    assert await asked == 1
    if how == "emit":
        assert await flow.fetch() == 0


@in_time
async def test_a_nested_call_re_enters_a_limit_that_another_run_of_its_trace_holds():
    @node(max_concurrency=1)
    async def pour(n: int, ctx: Context):
        for i in range(n):
            await ctx.emit(i)

    @node
    async def helped(i: int):
        await flow.ask(0)
        return i

    async with create(pour.to(helped), queue_maxsize=1) as flow:
        assert await flow.start(9).results() == list(range(9))


@in_time
async def test_a_limit_over_all_traces_holds_within_one_of_them_too():
    running: list[int] = []

    @node(max_concurrency=1, per_trace_concurrency=3)
    async def work(i: int):
        running.append(i)
        assert len(running) == 1
        await asyncio.sleep(1)
        running.remove(i)
        return i

    @node
    async def fan(n: int):
        for i in range(n):
            yield i

    async with create(fan.to(work)) as flow:
        assert await flow.start(6).results() == list(range(6))


@in_time
async def test_re_entered_limits_hold_again_once_the_call_is_over():
    running: list[int] = []

    @node(max_concurrency=1)
    async def work(depth: int):
        running.append(depth)
        if depth:
            await flow.ask(depth - 1)
        assert len(running) <= 2
        await asyncio.sleep(1)
        running.remove(depth)
        return depth

    async with create(work) as flow:
        assert await asyncio.gather(*(flow.ask(1) for _ in range(3))) == [1, 1, 1]
    assert clock() == pytest.approx(1006)


@in_time
async def test_a_slot_is_given_back_during_back_off():
    @node(max_concurrency=1, max_retries=1, backoff_base=100)
    async def work(x: str, ctx: Context):
        if x == "fails" and not ctx.attempt:
            raise ValueError(x)
        return x

    async with create(work) as flow:
        backing_off = asyncio.create_task(flow.ask("fails"))
        await quiet()
        assert await flow.ask("works") == "works"
        assert clock() == pytest.approx(1000)
        assert await backing_off == "fails"
        assert clock() == pytest.approx(1100)


@in_time
async def test_a_limit_passes_on_when_who_waits_for_it_or_holds_it_goes_away():
    @node(max_concurrency=1)
    async def work(x: float):
        return await nap(x)

    async with create(work) as flow:
        asked = [asyncio.create_task(flow.ask(10.0 + i)) for i in range(4)]
        await quiet()
        asked[1].cancel()
        asked[0].cancel()
        await quiet()
        assert await asked[2] == 12.0
        assert await asked[3] == 13.0
        assert clock() == pytest.approx(1025)


@pytest.mark.parametrize("shape", ["self", "pair", "subflow"])
@in_time
async def test_a_floe_on_a_cycle_overflows_instead_of_making_a_node_wait_for_itself(shape):
    seen: list[int] = []

    @node(allow_cycle=True)
    async def left(n: int, ctx: Context):
        seen.append(n)
        for i in range(8 if n == 100 else 0):
            await ctx.emit(i, to="left" if shape == "self" else "right")

    @node(allow_cycle=True)
    async def right(n: int, ctx: Context):
        for _ in range(3):
            await ctx.emit(n, to="left")

    edges = [left.to(left)] if shape == "self" else [left.to(right), right.to(left)]
    flow = create(*edges, queue_maxsize=1)
    async with create(subflow("sub", flow)) if shape == "subflow" else flow as running:
        await running.start(100).results()
    repeats = 1 if shape == "self" else 3
    assert seen == [100, *[i for i in range(8) for _ in range(repeats)]]


@in_time
async def test_a_node_that_feeds_its_own_trace_from_outside_does_not_wait_for_itself():
    seen: list[int] = []

    @node
    async def work(message: Message[int]):
        seen.append(message.payload)
        for i in range(4 if message.payload == 100 else 0):
            await flow.emit(message.model_copy(update={"payload": i}))

    async with create(work, queue_maxsize=1) as flow:
        await flow.ask(100)
    assert seen == [100, 0, 1, 2, 3]


@pytest.mark.parametrize("way", ["emit", "return", "emit_nowait"])
@in_time
async def test_an_overflow_without_end_fails_clearly(way):
    @node(allow_cycle=True)
    async def spread(n: int, ctx: Context):
        for _ in range(50_000 if way != "return" else 0):
            if way == "emit_nowait":
                ctx.emit_nowait(n)
            else:
                await ctx.emit(n)
        return n

    left, right = node(name="left")(same.func), node(name="right")(same.func)
    async with create(spread.to(left, right), left.to(spread), right.to(spread), queue_maxsize=2) as flow:
        with pytest.raises(FlowError, match=r"-> \w+ .*cycle") as caught:
            await flow.start(1).results()
    assert caught.value.code == FlowErrorCode.NODE_EXCEPTION
    assert isinstance(caught.value.original_exc, asyncio.QueueFull)


@in_time
async def test_between_two_cycles_a_full_floe_makes_the_writer_wait():
    emitted = 0

    @node(allow_cycle=True)
    async def first(n: int, ctx: Context):
        nonlocal emitted
        for i in range(3000):
            await ctx.emit(i, to="second")
            emitted += 1

    @node(allow_cycle=True)
    async def second(n: int, ctx: Context):
        await asyncio.sleep(1)
        await ctx.emit(n, to=ROOKERY)

    async with create(first.to(first, second), second.to(second), queue_maxsize=2) as flow:
        handle = flow.start(1)
        await quiet()
        assert emitted == 3
        assert await handle.results() == list(range(3000))


@in_time
async def test_an_overflow_on_one_floe_loses_nothing_on_the_others():
    seen, release = [], asyncio.Event()

    @node(allow_cycle=True)
    async def source(n: int, ctx: Context):
        for i in range(3000 if n < 0 else 0):
            try:
                await ctx.emit(i, to=["taker", "back"])
            except asyncio.QueueFull:
                break
            await asyncio.sleep(0.001)
        if n < 0:
            await ctx.emit(-1, to="taker")
            release.set()

    @node
    async def taker(n: int):
        seen.append(n)

    @node(allow_cycle=True)
    async def back(n: int):
        await release.wait()

    async with create(source.to(taker, back), back.to(source), queue_maxsize=2) as flow:
        await flow.emit(-1, to=source)
        await asyncio.sleep(10)
    assert len(seen) > 1000
    assert seen[-1] == -1
    assert seen[:-1] in (list(range(len(seen) - 1)), list(range(len(seen))))
