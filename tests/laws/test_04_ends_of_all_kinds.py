"""Law 4: nothing goes on that nobody waits for: when a flow stops, when a caller gives up, when a task is cancelled."""

import asyncio
from contextlib import asynccontextmanager, suppress

import pytest

from penguiflow import Context, FlowError, TraceCancelled, create, map_concurrent, node, subflow
from tests.utils.flowtestkit import Recorder, clock, in_time, quiet


@node
async def nap(seconds: float) -> float:
    await asyncio.sleep(seconds)
    return seconds


@in_time
async def test_leaving_the_flow_with_an_exception_cancels_what_is_in_flight():
    with pytest.raises(KeyError):
        async with create(nap) as flow:
            handle = flow.start(100.0)
            await quiet()
            raise KeyError("mine")
    assert handle.outcome == "cancelled"
    assert clock() == pytest.approx(1000)


@in_time
async def test_a_stop_that_is_cancelled_cancels_the_rest_and_ends():
    flow = create(nap)
    flow.run()
    handle = flow.start(100.0)
    stopping = asyncio.create_task(flow.stop())
    await quiet()
    stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopping
    await quiet()
    assert handle.outcome == "cancelled"
    assert not flow.running
    flow.run()
    assert await flow.ask(0.0) == 0.0
    await flow.stop()


@in_time
async def test_a_trace_that_waits_for_resources_can_be_cancelled():
    opened = asyncio.Event()

    @asynccontextmanager
    async def resources():
        await opened.wait()
        yield

    flow = create(nap, resources=resources)
    flow.run()
    handle, other = flow.start(0.0), flow.start(1.0)
    await quiet()
    assert await handle.cancel()
    opened.set()
    assert await other.result() == 1.0
    await flow.stop()


@in_time
async def test_stopping_cancels_once_more_what_swallowed_its_cancellation():
    swallowed: list[int] = []

    @node
    async def deaf(x):
        for i in range(2):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                swallowed.append(i)

    async with create(deaf) as flow:
        handle = flow.start("x")
        await quiet()
        assert await handle.cancel()
        assert swallowed == [0]
    assert swallowed == [0, 1]


@in_time
async def test_a_playbook_that_ignores_its_timeout_holds_its_caller_up_no_longer():
    release = asyncio.Event()

    @node
    async def deaf(x):
        while not release.is_set():
            with suppress(asyncio.CancelledError):
                await release.wait()

    @node
    async def calls(x, ctx: Context):
        try:
            await ctx.call_playbook(create(deaf), x, timeout=5)
        except FlowError as error:
            return str(error.code)

    async with create(calls) as flow:
        assert await flow.ask("x") == "DEADLINE_EXCEEDED"
        assert clock() == pytest.approx(1005, abs=0.5)
        release.set()
        await quiet()


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("how", ["timeout", "map", "first of two"])
@in_time
async def test_a_playbook_that_its_caller_gives_up_is_cancelled(how, nested):
    ended: list[float] = []

    @node
    async def work(x: float):
        if x < 0:
            raise ValueError(x)
        try:
            return await nap(x)
        finally:
            ended.append(clock())

    book = create(subflow("sub", create(work))) if nested else create(work)

    @node
    async def calls(x: float, ctx: Context):
        if how == "timeout":
            with suppress(TimeoutError):
                async with asyncio.timeout(2):
                    await ctx.call_playbook(book, 100.0)
        elif how == "map":
            with suppress(FlowError):
                await map_concurrent([100.0, -1.0], lambda item: ctx.call_playbook(book, item))
        else:
            tasks = [asyncio.create_task(ctx.call_playbook(book, seconds)) for seconds in (2.0, 100.0)]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            tasks[1].cancel()
        await asyncio.sleep(10)
        return "done"

    seen = Recorder()
    async with create(calls, on_event=seen) as flow:
        assert await flow.ask(0.0) == "done"
    assert len(ended) == 1 + (how == "first of two")
    assert max(ended) < 1003
    seen.assert_lawful()


@in_time
async def test_cancelling_a_nodes_task_cancels_its_trace():
    @node
    async def ends_itself(x):
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(1)

    seen = Recorder()
    async with create(ends_itself, on_event=seen) as flow:
        with pytest.raises(TraceCancelled):
            await flow.ask("x")
    assert [e.outcome for e in seen.of("trace_finish")] == ["cancelled"]
    seen.assert_lawful()


@in_time
async def test_a_failing_branch_ends_what_is_nested_in_the_others():
    ended: list[str] = []

    @node
    async def holds(x):
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(x)

    @node
    async def calls(x, ctx: Context):
        await ctx.call_playbook(create(subflow("inner", create(holds))), "playbook")

    @node
    async def asks(x):
        await other.ask("ask")

    @node
    async def fails(x):
        await asyncio.sleep(1)
        raise ValueError(x)

    sub = subflow("sub", create(holds))
    async with create(holds, name="other") as other, create(calls, asks, sub, fails) as flow:
        with pytest.raises(FlowError):
            await flow.ask("subflow")
        await quiet()
        assert clock() == pytest.approx(1001)
        assert sorted(ended) == ["ask", "playbook", "subflow"]


@pytest.mark.parametrize("drain_s", [None, 0, 3])
@in_time
async def test_a_flow_that_has_stopped_runs_again_with_all_its_slots(drain_s):
    flow = create(nap, max_traces=2)
    for _ in range(3):
        flow.run()
        handles = [flow.start(5.0), flow.start(6.0)]
        await quiet()
        await flow.stop(drain_s)
        assert {handle.outcome for handle in handles} == {"completed" if drain_s is None else "cancelled"}


@in_time
async def test_stop_lets_a_drain_that_is_quicker_end_early():
    flow = create(nap)
    flow.run()
    flow.start(2.0)
    await quiet()
    await flow.stop(drain_s=100)
    assert clock() == pytest.approx(1002)
