"""Law 4: an asker who goes away takes his trace with him, and other traces lose nothing."""

import asyncio
from contextlib import nullcontext, suppress

import pytest

from penguiflow import ROOKERY, Context, FlowError, Message, Node, TraceCancelled, create, join_k, node
from tests.utils.flowtestkit import Recorder, clock, in_time, quiet


@node
async def same(x):
    return x


@node
async def nap(seconds: float) -> float:
    await asyncio.sleep(seconds)
    return seconds


@node
async def talks(x: float, ctx: Context) -> float:
    await ctx.emit_chunk("hi")
    return await nap(x)


async def steps(count):
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.mark.parametrize("deaf", [False, True])
@in_time
async def test_an_asker_who_is_cancelled_cancels_his_trace_and_gets_his_own_cancellation(deaf):
    seen = Recorder()

    @node
    async def work(x):
        with suppress(asyncio.CancelledError) if deaf else nullcontext():
            await asyncio.Event().wait()
        return x

    async with create(work, on_event=seen) as flow:
        asked = asyncio.create_task(flow.ask("x"))
        await quiet()
        asked.cancel("mine")
        with pytest.raises(asyncio.CancelledError, match="mine"):
            await asked
        assert asked.cancelled()
        await quiet()
    assert [e.outcome for e in seen.of("trace_finish")] == ["cancelled"]
    seen.assert_lawful()


@in_time
async def test_an_askers_own_timeout_is_a_timeout_error():
    seen = Recorder()
    async with create(nap, on_event=seen) as flow:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2):
                await flow.ask(5.0)
        assert clock() == pytest.approx(1002)
        await quiet()
        assert [e.outcome for e in seen.of("trace_finish")] == ["cancelled"]


@pytest.mark.parametrize("after", range(8))
@in_time
async def test_an_asker_cancelled_at_any_moment_leaves_one_settled_trace(after):
    seen = Recorder()
    async with create(same.to(node(name="last")(same.func)), on_event=seen, max_traces=1) as flow:
        asked = asyncio.create_task(flow.ask("x"))
        await steps(after)
        asked.cancel()
        with suppress(asyncio.CancelledError):
            assert await asked == "x"
        assert await flow.ask("y") == "y"
    assert len(seen.of("trace_finish")) in (1, 2)
    seen.assert_lawful()


@pytest.mark.parametrize("after", range(8))
@in_time
async def test_an_asker_cancelled_with_a_slot_in_hand_gives_it_back(after):
    @node
    async def work(x):
        await opened.wait()
        return x

    opened = asyncio.Event()
    async with create(work, max_traces=1) as flow:
        flow.start("first")
        asked = asyncio.create_task(flow.ask("x"))
        await quiet()
        opened.set()
        await steps(after)
        asked.cancel()
        assert await flow.ask("y") == "y"


@in_time
async def test_one_of_several_waiters_may_go_without_harm_to_the_trace():
    async with create(nap) as flow:
        handle = flow.start(5.0)
        impatient, patient = asyncio.create_task(handle.result()), asyncio.create_task(handle.result())
        await quiet()
        impatient.cancel()
        assert await patient == 5.0
        assert impatient.cancelled()


@pytest.mark.parametrize("how", ["break", "raise", "cancelled"])
@in_time
async def test_leaving_a_stream_early_cancels_its_trace(how):
    seen, other = Recorder(), []

    async def read(flow):
        async with flow.stream(100.0) as stream:
            async for chunk in stream:
                other.append(chunk.text)
                if how == "raise":
                    raise KeyError("mine")
                if how == "break":
                    break

    async with create(talks, on_event=seen) as flow:
        reading = asyncio.create_task(read(flow))
        await quiet()
        if how == "cancelled":
            reading.cancel()
        wanted = {"break": None, "raise": KeyError, "cancelled": asyncio.CancelledError}[how]
        if wanted is None:
            await reading
        else:
            with pytest.raises(wanted):
                await reading
        assert clock() == pytest.approx(1000)
        assert [e.outcome for e in seen.of("trace_finish")] == ["cancelled"]
    assert other == ["hi"]


@in_time
async def test_an_ask_inside_a_node_ends_with_its_node():
    seen = Recorder()

    @node
    async def asks(x: str):
        if x == "inner":
            await asyncio.Event().wait()
        await flow.ask("inner")

    async with create(asks, on_event=seen, max_traces=1) as flow:
        handle = flow.start("outer")
        await quiet()
        assert await handle.cancel()
        assert [e.outcome for e in seen.of("trace_finish")] == ["cancelled", "cancelled"]
    seen.assert_lawful()


@in_time
async def test_what_a_node_started_outlives_its_cancellation():
    handles: list = []

    @node
    async def starts(x: float):
        if x:
            handles.append(flow.start(0.0))
        await asyncio.sleep(5)
        return x

    async with create(starts) as flow:
        handle = flow.start(1.0)
        await quiet()
        assert await handle.cancel()
        assert await handles[0].result() == 0.0


@in_time
async def test_a_waiting_fetch_learns_that_the_only_emitted_trace_was_cancelled():
    async with create(nap) as flow:
        trace_id = await flow.emit(5.0)
        waiting = asyncio.create_task(flow.fetch())
        await quiet()
        assert await flow.cancel(trace_id)
        with pytest.raises(TraceCancelled):
            await waiting


@in_time
async def test_a_waiting_fetch_goes_on_waiting_for_the_other_traces():
    async with create(nap) as flow:
        cancelled, _ = await flow.emit(5.0), await flow.emit(6.0)
        waiting = asyncio.create_task(flow.fetch())
        await quiet()
        assert await flow.cancel(cancelled)
        assert await waiting == 6.0


@pytest.mark.parametrize("after", range(8))
@in_time
async def test_a_cancelled_fetch_loses_nothing(after):
    async with create(same) as flow:
        waiting = asyncio.create_task(flow.fetch())
        await quiet()
        flow.emit_nowait("x")
        await steps(after)
        waiting.cancel()
        with suppress(asyncio.CancelledError):
            await flow.emit(await waiting)
        assert await flow.fetch() == "x"


@in_time
async def test_cancelling_one_of_many_at_a_full_rookery_loses_none_of_the_others():
    @node
    async def three(x: int, ctx: Context):
        for i in range(3):
            await ctx.emit((x, i), to=ROOKERY)

    async with create(three, queue_maxsize=1) as flow:
        ids = [await flow.emit(x) for x in range(5)]
        await quiet()
        assert await flow.cancel(ids[2])
        assert not await flow.cancel(ids[2])
        found = [await flow.fetch() for _ in range(12)]
        assert sorted(found) == [(x, i) for x in (0, 1, 3, 4) for i in range(3)]


@in_time
async def test_cancelling_one_trace_leaves_the_joins_of_another():
    @node
    async def left(x: str):
        return x + "1"

    @node
    async def right(x: str):
        await asyncio.sleep(5)
        return x + "2"

    both = join_k("both", 2)
    async with create(same.to(left, right), left.to(both), right.to(both)) as flow:
        handles = [flow.start("a"), flow.start("b")]
        await asyncio.sleep(1)
        assert await handles[0].cancel()
        assert await handles[1].result() == ["b1", "b2"]


@in_time
async def test_a_joins_timer_ends_with_its_trace(caplog):
    async with create(same.to(join_k("both", 2, timeout_s=5))) as flow:
        trace_id = await flow.emit("x")
        await quiet()
        assert await flow.cancel(trace_id)
        await asyncio.sleep(10)
    assert caplog.records == []


@pytest.mark.parametrize("who", ["outside", "node"])
@in_time
async def test_a_waiting_emit_into_a_cancelled_trace_is_released(who):
    @node
    async def holds(message: Message):
        await asyncio.Event().wait()

    @node
    async def feeds(message: Message):
        for _ in range(3):
            await held.emit(message)

    async with create(holds, name="held", queue_maxsize=1) as held, create(feeds) as feeding:
        message = Message(payload="x")
        await held.emit(message)
        if who == "outside":
            await held.emit(message)
            waiting = asyncio.create_task(held.emit(message))
        else:
            waiting = asyncio.create_task(feeding.ask(Message(payload="x", trace_id=message.trace_id)))
        await quiet()
        assert not waiting.done()
        assert await held.cancel(message.trace_id)
        with pytest.raises(FlowError) as caught:
            await waiting
        error = caught.value if who == "outside" else caught.value.original_exc or caught.value
        assert isinstance(error, TraceCancelled)


@in_time
async def test_an_emit_that_is_cancelled_while_it_waits_at_several_entries_enters_none_of_them():
    came: list[str] = []
    gate = asyncio.Event()

    async def holds(x: str, ctx: Context) -> None:
        came.append(f"{x} at {ctx.node_name}")
        await gate.wait()

    left, right = Node(holds, "left"), Node(holds, "right")
    async with create(left.to(), right.to(), queue_maxsize=1) as flow:
        for payload in ("first", "second"):
            await flow.emit(Message(payload=payload, trace_id="t"))
        waiting = asyncio.create_task(flow.emit(Message(payload="third", trace_id="t")))
        await quiet()
        waiting.cancel("mine")
        with pytest.raises(asyncio.CancelledError, match="mine"):
            await waiting
        gate.set()
        await quiet()
    assert came == ["first at left", "first at right", "second at left", "second at right"]


@in_time
async def test_an_emit_that_waits_at_several_entries_learns_that_the_trace_was_cancelled():
    async def holds(x: str) -> None:
        await asyncio.Event().wait()

    async with create(Node(holds, "left").to(), Node(holds, "right").to(), queue_maxsize=1) as flow:
        message = Message(payload="x", trace_id="t")
        for _ in range(2):
            await flow.emit(message)
        waiting = asyncio.create_task(flow.emit(message))
        await quiet()
        assert await flow.cancel("t")
        with pytest.raises(TraceCancelled):
            await waiting


@in_time
async def test_a_reader_gets_no_chunk_of_a_node_that_swallowed_its_cancellation():
    read: list[str] = []

    @node
    async def deaf(x, ctx: Context):
        await ctx.emit_chunk("before")
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await ctx.emit_chunk("after")

    async with create(deaf) as flow:
        message = Message(payload="x")
        with pytest.raises(TraceCancelled):
            async with flow.stream(message) as stream:
                async for chunk in stream:
                    read.append(chunk.text)
                    cancelling = asyncio.create_task(flow.cancel(message.trace_id))
        assert await cancelling
    assert read == ["before"]
