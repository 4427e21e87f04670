"""Law 6: every error is raised to who waits, or logged, or delivered; and the original exception survives."""

import asyncio
import gc
import time
import traceback
from contextlib import asynccontextmanager, nullcontext, suppress
from typing import Any

import pytest

from penguiflow import (
    ROOKERY,
    Budget,
    Context,
    FlowError,
    FlowStateError,
    Message,
    create,
    join_k,
    node,
    predicate_router,
    subflow,
)
from tests.utils.flowtestkit import Recorder, clock, in_time, quiet


class Mine(Exception):
    """An exception of the user's own."""


@node
async def same(x):
    return x


@node
async def fails(x):
    raise Mine(x)


@node
async def nap(seconds: float) -> float:
    await asyncio.sleep(seconds)
    return seconds


@node
async def stuck(x):
    await asyncio.Event().wait()


@node(timeout_s=1)
async def slow(x):
    await asyncio.Event().wait()


@node
async def lies(x) -> int:
    return "no number"  # type: ignore[return-value]


@node
async def wants_number(x: int):
    return x


@node
async def strays(x, ctx: Context):
    await ctx.emit(x, to="nowhere")


@node
async def yields_and_fails(x):
    yield x
    raise Mine(x)


@node
async def plays(x, ctx: Context):
    return await ctx.call_playbook(create(same.to(fails)), x)


@node
async def spends(x, ctx: Context):
    ctx.spend(tokens=10)


@node
async def exits(x):
    raise GeneratorExit(x)


@node(allow_cycle=True)
async def floods(x, ctx: Context):
    for _ in range(20_000):
        await ctx.emit(x, to="ebbs")


@node
async def ebbs(x):
    return None


@node
async def again(x):
    return x


@asynccontextmanager
async def broken():
    raise Mine("resources")
    yield


BOTH = join_k("both", 2)
WAYS_TO_FAIL: dict[str, tuple[str, list[Any], dict[str, Any]]] = {
    "exception": ("NODE_EXCEPTION", [same.to(fails)], {}),
    "timeout": ("NODE_TIMEOUT", [slow], {}),
    "promise": ("VALIDATION", [lies], {}),
    "input": ("VALIDATION", [same.to(wants_number)], {}),
    "target": ("ROUTING", [strays], {}),
    "router": ("ROUTING", [predicate_router("routes", lambda message: "nowhere").to(same)], {}),
    "generator": ("NODE_EXCEPTION", [yields_and_fails], {}),
    "subflow": ("NODE_EXCEPTION", [subflow("sub", create(same.to(fails)))], {}),
    "playbook": ("NODE_EXCEPTION", [plays], {}),
    "base exception": ("NODE_EXCEPTION", [exits], {}),
    "overflow": ("NODE_EXCEPTION", [floods.to(ebbs), ebbs.to(floods)], {"queue_maxsize": 1}),
    "deadline": ("DEADLINE_EXCEEDED", [stuck], {}),
    "hops": ("HOP_BUDGET_EXHAUSTED", [same.to(again), again.to(fails)], {}),
    "tokens": ("TOKEN_BUDGET_EXHAUSTED", [spends], {}),
    "starved join": ("JOIN_STARVED", [same.to(BOTH)], {}),
    "late join": ("JOIN_STARVED", [same.to(join_k("late", 2, timeout_s=5))], {}),
    "resources": ("NODE_EXCEPTION", [same], {"resources": broken}),
}


def sent(how):
    deadline = time.time() + 20 if how == "deadline" else None
    limits = {"hops": Budget(hops=2), "tokens": Budget(tokens=5)}
    return Message(payload="x", deadline_s=deadline, budget=limits.get(how))


@pytest.mark.parametrize("how", WAYS_TO_FAIL)
@pytest.mark.parametrize("waiter", ["ask", "stream", "result", "iterate"])
@in_time
async def test_an_error_is_raised_to_who_waits(waiter, how):
    code, edges, options = WAYS_TO_FAIL[how]
    flow = create(*edges, **options, emit_errors_to_rookery=True)
    flow.run()
    with pytest.raises(FlowError) as caught:
        if waiter == "ask":
            await flow.ask(sent(how))
        elif waiter == "stream":
            async with flow.stream(sent(how)) as stream:
                async for _ in stream:
                    pass
        elif waiter == "result":
            await flow.start(sent(how)).result()
        else:
            async for _ in flow.start(sent(how)):
                pass
    assert caught.value.code == code
    with pytest.raises(Mine) if how == "resources" else nullcontext():
        await flow.stop()
    with pytest.raises(FlowStateError):
        await flow.fetch()


@pytest.mark.parametrize("how", WAYS_TO_FAIL)
@in_time
async def test_an_emitted_traces_error_is_logged(how, caplog):
    code, edges, options = WAYS_TO_FAIL[how]
    seen = Recorder()
    flow = create(*edges, **options, on_event=seen)
    flow.run()
    await flow.emit(sent(how))
    await asyncio.sleep(10)
    if how == "deadline":
        await asyncio.sleep(20)
    with pytest.raises(Mine) if how == "resources" else nullcontext():
        await flow.stop(drain_s=30)
    (record,) = (r for r in caplog.records if r.name == "penguiflow" and r.levelname == "ERROR")
    (finish,) = seen.of("trace_finish")
    assert finish.trace_id in record.getMessage()
    assert getattr(finish.error, "code", None) == code
    assert finish.outcome in ("failed", "expired")


@pytest.mark.parametrize("how", WAYS_TO_FAIL)
@in_time
async def test_an_emitted_traces_error_is_delivered_where_the_flow_says_so(how):
    code, edges, options = WAYS_TO_FAIL[how]
    flow = create(*edges, **options, emit_errors_to_rookery=True)
    flow.run()
    await flow.emit(sent(how))
    await asyncio.sleep(30)
    with pytest.raises(Mine) if how == "resources" else nullcontext():
        await flow.stop(drain_s=30)
    found = []
    with suppress(FlowStateError):
        while True:
            found.append(await flow.fetch())
    assert [item.code for item in found if isinstance(item, FlowError)] == [code]


@pytest.mark.parametrize("delivered", [False, True])
@in_time
async def test_a_join_that_gives_up_beside_a_branch_that_goes_on_is_reported(delivered, caplog):
    seen, late = Recorder(), join_k("late", 2, timeout_s=5)
    async with create(same.to(late, nap), on_event=seen, emit_errors_to_rookery=delivered) as flow:
        await flow.emit(20.0)
        await asyncio.sleep(30)
    reported = [await flow.fetch() for _ in range(1 + delivered)]
    assert [str(item.code) for item in reported if isinstance(item, FlowError)] == ["JOIN_STARVED"] * delivered
    assert ("got 1 of 2" in caplog.text) is not delivered
    assert 20.0 in reported
    assert [e.outcome for e in seen.of("trace_finish")] == ["failed"]


@pytest.mark.parametrize("delivered", [False, True])
@in_time
async def test_in_an_emitted_trace_the_other_branches_finish_and_every_error_is_told(delivered, caplog):
    @node
    async def fails_late(x: float):
        await asyncio.sleep(5)
        raise Mine("late")

    seen = Recorder()
    flow = create(same.to(fails, nap, fails_late), on_event=seen, emit_errors_to_rookery=delivered)
    async with flow:
        await flow.emit(10.0)
        found = [await flow.fetch() for _ in range(1 + 2 * delivered)]
    logged = [r for r in caplog.records if r.levelname == "ERROR"]
    told = [item for item in found if isinstance(item, FlowError)] if delivered else [r.exc_info[1] for r in logged]
    originals = [item.original_exc if isinstance(item, FlowError) else item for item in told]
    assert [str(exc) for exc in originals if isinstance(exc, Mine)] == ["10.0", "late"]
    assert len(logged) == (0 if delivered else 2)
    assert found[-1] == 10.0
    assert [e.outcome for e in seen.of("trace_finish")] == ["failed"]


@pytest.mark.parametrize("waiter", ["ask", "stream", "result"])
@in_time
async def test_the_first_final_failure_ends_the_trace_and_cancels_its_other_runs(waiter):
    seen, after = Recorder(), []

    @node
    async def fails_soon(x: float):
        await asyncio.sleep(1)
        raise Mine(x)

    @node
    async def spoilt(x: float):
        try:
            await nap(x)
        finally:
            raise KeyError("spoilt")

    @node
    async def follows(x):
        after.append(x)

    async with create(same.to(fails_soon, nap, spoilt), nap.to(follows), on_event=seen) as flow:
        with pytest.raises(FlowError) as caught:
            if waiter == "stream":
                async with flow.stream(5.0) as stream:
                    assert [chunk async for chunk in stream] == []
            else:
                await (flow.ask(5.0) if waiter == "ask" else flow.start(5.0).result())
        assert clock() == pytest.approx(1001)
    assert isinstance(caught.value.original_exc, Mine)
    assert any("spoilt" in note for note in caught.value.__notes__)
    assert sorted(str(e.node_name) for e in seen.of("node_cancelled")) == ["nap", "spoilt"]
    assert [e.node_name for e in seen.of("node_failed")] == ["fails_soon"]
    assert after == []


@pytest.mark.parametrize("graph", ["node", "timeout_s", "limit", "generator", "subflow", "playbook"])
@in_time
async def test_the_original_exception_survives_with_its_traceback(graph, caplog):
    graphs = {
        "timeout_s": [node(name="fails", timeout_s=5)(fails.func)],
        "limit": [node(name="fails", max_concurrency=1)(fails.func)],
        "generator": [yields_and_fails],
        "subflow": [subflow("sub", create(same.to(fails)))],
        "playbook": [plays],
    }
    seen = Recorder()
    async with create(*graphs.get(graph, [fails]), on_event=seen) as flow:
        with pytest.raises(FlowError) as caught:
            await flow.ask("x")
        await flow.emit("x")
        await quiet()
    error = caught.value
    assert isinstance(error.original_exc, Mine)
    assert error.unwrap() is error.__cause__ is error.original_exc
    assert "raise Mine(x)" in "".join(traceback.format_exception(error))
    assert error.node_name == ("yields_and_fails" if graph == "generator" else "fails")
    (logged,) = (r for r in caplog.records if r.levelname == "ERROR")
    assert "raise Mine(x)" in "".join(traceback.format_exception(logged.exc_info[1]))
    assert isinstance(seen.of("node_error")[0].error, Mine)


@in_time
async def test_raising_a_stored_error_again_does_not_make_it_grow():
    async with create(fails) as flow:
        handle, lengths = flow.start("x"), []
        for _ in range(20):
            with pytest.raises(FlowError) as caught:
                await handle.result()
            lengths.append(len(traceback.extract_tb(caught.value.__traceback__)))
    assert len(set(lengths)) == 1


@in_time
async def test_outputs_before_a_failure_are_read_and_then_it_is_raised():
    async with create(yields_and_fails) as flow:
        read: list = []
        with pytest.raises(FlowError) as caught:
            async for item in flow.start("x"):
                read.append(item)
        assert isinstance(caught.value.original_exc, Mine)
        assert read == ["x"]


@in_time
async def test_an_error_waits_for_room_in_a_full_rookery():
    @node
    async def outputs_and_fails(x, ctx: Context):
        await ctx.emit(x, to=ROOKERY)
        raise Mine(x)

    async with create(outputs_and_fails, queue_maxsize=1, emit_errors_to_rookery=True) as flow:
        for x in range(3):
            await flow.emit(x)
        await quiet()
        found = [await flow.fetch() for _ in range(6)]
    assert sorted(str(item.original_exc) if isinstance(item, FlowError) else str(item) for item in found) == list(
        "001122"
    )


@in_time
async def test_an_exception_beside_exception_is_told_to_the_asker_and_to_nobody_else():
    class Odd(BaseException):
        pass

    @node
    async def odd(x: int):
        raise Odd(x)

    complaints: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context["message"]))
    async with create(odd) as flow:
        with pytest.raises(FlowError) as caught:
            await flow.ask(1)
    assert isinstance(caught.value.original_exc, Odd)
    del caught
    gc.collect()
    assert complaints == []


@pytest.mark.parametrize("kind", [Exception, BaseException])
@in_time
async def test_an_exception_that_cannot_be_shown_fails_its_node_like_any_other(kind):
    class Silent(kind):
        def __str__(self):
            raise kind("no text")

    @node(max_retries=1, backoff_base=0)
    async def silent(x: int):
        raise Silent(x)

    recorder = Recorder()
    async with create(silent, on_event=recorder) as flow:
        with pytest.raises(FlowError, match="Silent.*can't be shown as text") as caught:
            await flow.ask(1)
    assert isinstance(caught.value.original_exc, Silent)
    assert [event.outcome for event in recorder.of("trace_finish")] == ["failed"]
    assert len(recorder.of("node_error")) == (2 if kind is Exception else 0)


def leaves_a_stream(flow):
    async def leave():
        async with flow.stream(1) as stream:
            await anext(stream)

    return leave()


async def cancels_an_emitted(flow):
    trace_id = await flow.emit(1)
    await quiet()
    await flow.cancel(trace_id)


async def is_cancelled_as_it_asks(flow):
    asking = asyncio.create_task(flow.ask(1))
    await quiet()
    asking.cancel()
    with suppress(asyncio.CancelledError):
        await asking


async def runs_out_of_time(flow):
    with pytest.raises(FlowError):
        await flow.ask(1, timeout_s=1)


@pytest.mark.parametrize(
    "way",
    [leaves_a_stream, cancels_an_emitted, is_cancelled_as_it_asks, runs_out_of_time],
    ids=lambda way: way.__name__,
)
@in_time
async def test_what_goes_wrong_while_a_node_cleans_up_is_logged(way, caplog):
    @node
    async def cleans_up(x, ctx: Context):
        await ctx.emit_chunk("begun")
        try:
            await asyncio.Event().wait()
        finally:
            raise Mine("could not roll back")

    async with create(cleans_up) as flow:
        await way(flow)
        await quiet()
    (told,) = [record for record in caplog.records if "could not roll back" in record.getMessage()]
    assert (told.levelname, type(told.exc_info[1])) == ("WARNING", Mine)


@pytest.mark.parametrize("reads", ["all", "one", "result"])
@in_time
async def test_a_failure_is_logged_where_the_streams_reader_left_without_hearing_of_it(reads, caplog):
    @node
    async def fails_late(x, ctx: Context):
        await ctx.emit_chunk("begun")
        raise Mine("gone wrong")

    async with create(fails_late) as flow, flow.stream(1) as stream:
        await anext(stream)
        await quiet()
        if reads != "one":
            with pytest.raises(FlowError):
                await (anext(stream) if reads == "all" else stream_result(stream))
    logged = [record.exc_info[1] for record in caplog.records if record.levelname == "ERROR"]
    assert [type(error) for error in logged] == ([Mine] if reads == "one" else [])


async def stream_result(stream):
    return stream.result


@pytest.mark.parametrize("exits", [GeneratorExit(), type("Odd", (BaseException,), {})("odd")], ids=repr)
@in_time
async def test_a_node_that_fails_its_trace_beside_exception_is_shown_as_the_one_that_failed(exits):
    @node
    async def leaves(x: int):
        raise exits

    recorder = Recorder()
    async with create(leaves, on_event=recorder) as flow:
        with pytest.raises(FlowError) as caught:
            await flow.ask(1)
    assert caught.value.original_exc is exits
    (event,) = recorder.of("node_failed")
    assert (event.node_name, event.error) == ("leaves", exits)
    recorder.assert_lawful()
