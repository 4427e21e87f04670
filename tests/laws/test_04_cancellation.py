"""Law 4: cancelling reaches everything of a trace at once, and nothing of any other."""

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from penguiflow import (
    ROOKERY,
    Context,
    FlowError,
    FlowErrorCode,
    Message,
    TraceCancelled,
    create,
    hookimpl,
    join_k,
    map_concurrent,
    node,
    router,
    subflow,
)
from tests.utils.flowtestkit import Recorder, clock, in_time, quiet
from tests.utils.nodes import backs_off, forever, nap, pours, same, stuck


@node
async def tells(x, ctx: Context):
    for i in range(9):
        await ctx.emit_chunk(str(i))


@node
async def yields(x):
    yield 1
    await forever()


@node
async def maps(x):
    await map_concurrent(range(3), forever)


@node
async def plays(x, ctx: Context):
    await ctx.call_playbook(create(subflow("sub", create(backs_off))))


@node
async def asks(x):
    async with create(stuck) as other:
        await other.ask(x)


class Undecided:
    """A plugin that takes its time over every error."""

    @hookimpl
    async def on_error(self, error):
        await forever()


FULL = {"queue_maxsize": 1}
NESTED = subflow("outer", create(subflow("inner", create(pours.to(stuck), queue_maxsize=1))))
SCENES: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "running": ([stuck], {}),
    "back-off": ([backs_off], {}),
    "emit": ([pours.to(stuck)], FULL),
    "held back": ([pours.to(stuck)], {}),
    "limit": ([node(name="limited", max_concurrency=1)(forever)], {}),
    "join": ([same.to(join_k("both", 2))], {}),
    "rookery": ([pours], FULL),
    "chunk": ([tells], FULL),
    "generator": ([yields], {}),
    "map": ([maps], {}),
    "playbook": ([plays], {}),
    "subflow": ([NESTED], {}),
    "nested ask": ([asks], {}),
    "router": ([router("route", forever).to(same)], {}),
    "decision": ([node(name="fails")(backs_off.func)], {"plugins": [Undecided()]}),
}


def scene_of(name, **options):
    edges, given = SCENES[name]
    return create(*edges, **given, **options)


@pytest.mark.parametrize("observed", [False, True])
@pytest.mark.parametrize("scene", SCENES)
@in_time
async def test_cancel_settles_at_once_whatever_the_trace_is_doing(scene, observed):
    seen = Recorder()
    flow = scene_of(scene, on_event=seen if observed else None)
    flow.run()
    first, second = await flow.emit("x"), await flow.emit("y")
    await quiet()
    before = clock()
    assert await flow.cancel(second)
    assert clock() == before
    assert not await flow.cancel(second)
    assert await flow.cancel(first)
    await flow.stop()
    assert clock() == before
    seen.assert_lawful()
    assert [e.outcome for e in seen.of("trace_finish")] == ["cancelled"] * 2 * observed


@pytest.mark.parametrize("scene", ["running", "back-off", "emit", "chunk", "playbook", "subflow", "nested ask"])
@pytest.mark.parametrize("waiter", ["ask", "result", "results", "stream", "iterate"])
@in_time
async def test_waiters_get_trace_cancelled(scene, waiter):
    async with scene_of(scene) as flow:
        message = Message(payload="x")

        async def wait():
            if waiter == "ask":
                await flow.ask(message)
            elif waiter == "stream":
                async with flow.stream(message) as stream:
                    await asyncio.sleep(5)
                    async for _ in stream:
                        pass
            elif waiter == "iterate":
                async for _ in flow.start(message):
                    await asyncio.sleep(5)
            else:
                await getattr(flow.start(message), waiter)()

        waiting = asyncio.create_task(wait())
        await quiet()
        cancelled = waiter in ("ask", "result", "results") and scene == "chunk"  # nobody reads: it has completed
        assert await flow.cancel(message.trace_id) is not cancelled
        if not cancelled:
            with pytest.raises(TraceCancelled) as caught:
                await waiting
            assert caught.value.trace_id == message.trace_id
            assert caught.value.code == FlowErrorCode.TRACE_CANCELLED
            assert not isinstance(caught.value, asyncio.CancelledError)


@in_time
async def test_a_trace_cancelled_before_its_first_step_never_runs():
    seen = Recorder()
    async with create(same, on_event=seen) as flow:
        handle = flow.start("x")
        assert await handle.cancel()
        await quiet()
    assert seen.types("node_start", "trace_start", "trace_finish") == ["trace_start", "trace_finish"]


@in_time
async def test_cancel_is_false_for_what_is_not_live():
    async with create(nap, max_traces=1) as flow:
        handle = flow.start(1.0)
        queued = Message(payload=1.0)
        asked = asyncio.create_task(flow.ask(queued))
        await quiet()
        assert not await flow.cancel("nobody")
        assert not await flow.cancel(queued.trace_id)
        await handle.result()
        assert not await handle.cancel()
        assert (await asked).payload == 1.0
    assert not await flow.cancel(handle.trace_id)


@in_time
async def test_everybody_who_cancels_a_live_trace_is_told_when_it_has_settled():
    @node
    async def lingers(x):
        try:
            await forever()
        finally:
            await asyncio.sleep(0.05)

    async with create(lingers) as flow:
        handle = flow.start("x")
        await quiet()
        begun = clock()
        assert all(await asyncio.gather(handle.cancel(), flow.cancel(handle.trace_id)))
        assert clock() - begun == pytest.approx(0.05)
        assert handle.outcome == "cancelled"


@pytest.mark.parametrize("way", ["return", "emit", "emit_nowait", "emit_chunk", "playbook", "yield", "to rookery"])
@pytest.mark.parametrize("ending", ["cancel", "deadline", "failure"])
@in_time
async def test_a_node_that_swallows_its_cancellation_delivers_nothing(way, ending):
    delivered: list = []

    async def swallow():
        try:
            await forever()
        except asyncio.CancelledError:
            delivered.append("swallowed")

    @node
    async def deaf(x, ctx: Context):
        await swallow()
        if way == "emit":
            await ctx.emit(1)
        elif way == "to rookery":
            await ctx.emit(1, to=ROOKERY)
        elif way == "emit_nowait":
            ctx.emit_nowait(1)
        elif way == "emit_chunk":
            await ctx.emit_chunk("1")
        elif way == "playbook":
            await ctx.call_playbook(create(after), 1)
        return 1

    @node(name="deaf")
    async def deaf_generator(x):
        await swallow()
        yield 1

    @node
    async def fails(x):
        await asyncio.sleep(5)
        if ending == "failure":
            raise ValueError(x)

    @node
    async def after(x):
        delivered.append(x)

    source = deaf_generator if way == "yield" else deaf
    async with create(same.to(source, fails), source.to(after)) as flow:
        handle = flow.start("x", timeout_s=6 if ending == "deadline" else None)
        await asyncio.sleep(5.5)
        if ending == "cancel":
            assert await handle.cancel()
        with pytest.raises(FlowError):
            await handle.result()
        await quiet()
    assert delivered == ["swallowed"]


@pytest.mark.parametrize("where", ["node", "subflow", "playbook", "ask"])
@in_time
async def test_a_node_that_swallows_every_cancellation_holds_nobody_up(where, caplog):
    release, after = asyncio.Event(), []

    @node
    async def deaf(x: str):
        while x == "deaf" and not release.is_set():
            with suppress(asyncio.CancelledError):
                await release.wait()
        return x

    @node
    async def calls(x, ctx: Context):
        return await (ctx.call_playbook(create(deaf), x) if where == "playbook" else other.ask(x))

    @node
    async def follows(x):
        after.append(x)

    top = {"node": deaf, "subflow": subflow("sub", create(deaf))}.get(where, calls)
    async with create(deaf, name="other") as other, create(top.to(follows), max_traces=1) as flow:
        asked = asyncio.create_task(flow.ask(message := Message(payload="deaf")))
        await quiet()
        begun = clock()
        assert await flow.cancel(message.trace_id)
        with pytest.raises(TraceCancelled):
            await asked
        assert await flow.ask("well") is None
        await flow.stop()
        assert clock() - begun < 1
        await asyncio.sleep(1)
        release.set()
        await quiet()
    assert after == ["well"]
    assert "deaf" in caplog.text


@pytest.mark.parametrize("depth", ["node", "subflow", "playbook", "deep", "task"])
@in_time
async def test_a_node_may_cancel_its_own_trace(depth):
    seen, told = Recorder(), []
    after: list[str] = []

    @node
    async def suicidal(x, ctx: Context):
        if depth == "task":
            told.append(await asyncio.shield(asyncio.create_task(flow.cancel(ctx.trace_id))))
        told.append(await flow.cancel(ctx.trace_id))
        await asyncio.sleep(0)
        after.append("lived on")
        return x

    def book(inner, name):
        async def calls(x, ctx: Context):
            return await ctx.call_playbook(create(inner), x)

        return node(name=name)(calls)

    tops = {"subflow": subflow("sub", create(suicidal)), "playbook": book(suicidal, "one")}
    tops |= {"deep": book(book(book(suicidal, "one"), "two"), "three")}
    async with create(tops.get(depth, suicidal).to(nap), on_event=seen) as flow:
        begun = clock()
        with pytest.raises(TraceCancelled):
            await flow.ask("x")
        assert clock() == begun
    assert after == []
    assert told == ([] if depth == "task" else [True])
    seen.assert_lawful()


@in_time
async def test_a_nested_call_may_cancel_the_trace_that_asked_for_it():
    seen = Recorder()

    @node
    async def asks_again(x: str, ctx: Context):
        if x == "root":
            return await flow.ask(ctx.trace_id)
        await flow.cancel(x)
        return await forever()

    async with create(asks_again, on_event=seen) as flow:
        with pytest.raises(TraceCancelled):
            await flow.ask("root")
    assert [e.outcome for e in seen.of("trace_finish")] == ["cancelled", "cancelled"]
    seen.assert_lawful()


@in_time
async def test_cancelling_leaves_what_a_playbook_and_a_generator_hold_open_closed():
    closed: list[str] = []

    @asynccontextmanager
    async def resources():
        try:
            yield
        finally:
            closed.append("resources")

    @node
    async def streams(x):
        try:
            yield x
            await forever()
        finally:
            closed.append("generator")

    @node
    async def calls(x, ctx: Context):
        await ctx.call_playbook(create(streams, resources=resources))

    async with create(calls) as flow:
        handle = flow.start("x")
        await quiet()
        assert await handle.cancel()
        assert sorted(closed) == ["generator", "resources"]


DEEPER = 1200  # than Python's stack


@pytest.mark.parametrize("end", ["cancel", "deadline", "stop", "failure"])
@in_time
async def test_a_trace_ends_however_deep_its_playbooks_call_each_other(end, caplog):
    bottom = asyncio.Event()

    @node
    async def dives(levels: int, ctx: Context) -> int:
        if levels:
            return await ctx.call_playbook(deep, levels - 1)
        bottom.set()
        if end == "failure":
            raise ValueError("the bottom")
        return await forever()

    deep = create(dives, name="deep")
    flow = create(dives, name="top")
    flow.run()
    handle = flow.start(DEEPER, timeout_s=60 if end == "deadline" else None)
    await bottom.wait()
    if end != "failure":
        await quiet()
        assert sum(load.running for load in flow.load().nodes.values()) == DEEPER + 1
        assert flow.explain(handle.trace_id).waits_for[-1].endswith("deep: node 'dives' is running")
    if end == "cancel":
        assert await handle.cancel()
    elif end == "stop":
        await flow.stop(0)
    with pytest.raises(FlowError) as caught:
        await handle.result()
    await flow.stop()
    assert (caught.value.code, handle.outcome) == {
        "cancel": (FlowErrorCode.TRACE_CANCELLED, "cancelled"),
        "stop": (FlowErrorCode.TRACE_CANCELLED, "cancelled"),
        "deadline": (FlowErrorCode.DEADLINE_EXCEEDED, "expired"),
        "failure": (FlowErrorCode.NODE_EXCEPTION, "failed"),
    }[end]
    assert "still runs" not in caplog.text
