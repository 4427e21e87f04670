"""Law 1: every accepted message belongs to a trace, every trace ends exactly once, and nobody waits on one that has."""

import asyncio
import functools
from contextlib import asynccontextmanager

import pytest

from penguiflow import (
    Context,
    Drop,
    Emit,
    FlowError,
    FlowErrorCode,
    FlowStateError,
    Message,
    Replace,
    Retry,
    StreamChunk,
    TraceCancelled,
    create,
    hookimpl,
    join_k,
    node,
    subflow,
)
from tests.utils.flowtestkit import Recorder, clock, quiet, virtual_time, wall

WAYS = ("ask", "stream", "start", "emit")
OUTCOMES = ("completed", "failed", "cancelled", "expired")
CODES = dict(zip(OUTCOMES, (None, "NODE_EXCEPTION", "TRACE_CANCELLED", "DEADLINE_EXCEEDED"), strict=True))


def in_time(test):
    """`virtual_time`, where a test that hangs fails: with everything blocked, the clock jumps to its time-out."""

    @functools.wraps(test)
    async def guarded(*args, **kwargs):
        async with asyncio.timeout(1e6):
            await test(*args, **kwargs)

    return virtual_time(guarded)


@node
async def act(what: str) -> str:
    """Does what the payload says."""
    if what == "failed":
        raise ValueError("no")
    if what in ("cancelled", "expired"):
        await asyncio.Event().wait()
    return what


@node
async def nap(seconds: float) -> float:
    await asyncio.sleep(seconds)
    return seconds


@node
async def stuck(x):
    await asyncio.Event().wait()


def sent(outcome):
    """A message whose trace can come to this outcome."""
    return Message(payload=outcome, deadline_s=wall() + 5 if outcome == "expired" else None)


async def waited(flow, how, message):
    """The code of the error that this kind of waiter gets; `None` for a result."""
    try:
        if how == "ask":
            got = await flow.ask(message)
        elif how == "stream":
            async with flow.stream(message) as stream:
                async for _ in stream:
                    pass
                got = stream.result
        elif how == "start":
            got = await flow.start(message).result()
        else:
            await flow.emit(message)
            got = await flow.fetch()
            if isinstance(got, FlowError):
                raise got
    except FlowError as error:
        return str(error.code)
    assert got.payload == message.payload
    return None


def plugin(answer):
    """A plugin that answers every final failure this way, the first time."""

    class Handler:
        answers = [answer]

        @hookimpl
        def on_error(self, error):
            return self.answers.pop() if self.answers else None

    return Handler()


@pytest.mark.parametrize("outcome", OUTCOMES)
@pytest.mark.parametrize("how", WAYS)
@in_time
async def test_a_trace_ends_exactly_once_and_its_waiter_learns_how(how, outcome):
    seen = Recorder()
    async with create(act, on_event=seen, emit_errors_to_rookery=True) as flow:
        message = sent(outcome)
        waiter = asyncio.create_task(waited(flow, how, message))
        await quiet()
        if outcome == "cancelled":
            assert await flow.cancel(message.trace_id)
        assert await waiter == CODES[outcome]
        assert not await flow.cancel(message.trace_id)
    assert [(e.trace_id, e.outcome) for e in seen.of("trace_finish")] == [(message.trace_id, outcome)]
    seen.assert_lawful()


@pytest.mark.parametrize("how", ["ask", "stream", "start", "emit", "emit_nowait", "emit_chunk"])
@in_time
async def test_every_way_in_opens_one_trace(how):
    seen = Recorder()

    @node
    async def echo(x):
        return x

    async with create(echo, on_event=seen) as flow:
        if how == "ask":
            await flow.ask(1)
        elif how == "stream":
            async with flow.stream(1) as stream:
                assert [chunk async for chunk in stream] == []
        elif how == "start":
            await flow.start(1).result()
        elif how == "emit_chunk":
            await flow.emit_chunk("hi", Message(payload=1))
        else:
            accepted = flow.emit_nowait(1) if how == "emit_nowait" else await flow.emit(1)
            await quiet()
            assert accepted == seen.of("trace_start")[0].trace_id
    (started,), (finished,) = seen.of("trace_start"), seen.of("trace_finish")
    assert started.trace_id == finished.trace_id == seen.of("node_start")[0].trace_id
    assert finished.outcome == "completed"


@in_time
async def test_trace_finish_is_the_last_event_of_a_trace_even_of_a_cancelled_one():
    seen = Recorder()
    async with create(stuck, on_event=seen) as flow:
        handle = flow.start(1)
        await quiet()
        await handle.cancel()
    kinds = [e.event_type for e in seen.events if e.trace_id]
    assert kinds[0] == "trace_start"
    assert kinds[-1] == "trace_finish"
    assert sorted(kinds[1:-1]) == ["node_cancelled", "node_start", "trace_cancel_finish", "trace_cancel_start"]


@in_time
async def test_a_trace_that_expires_before_it_runs_still_starts_and_finishes_once():
    seen = Recorder()
    async with create(act, on_event=seen) as flow:
        with pytest.raises(FlowError) as caught:
            await flow.ask("completed", timeout_s=0)
    assert caught.value.code == FlowErrorCode.DEADLINE_EXCEEDED
    assert seen.types("trace_start", "trace_finish", "node_start") == ["trace_start", "trace_finish"]
    assert seen.of("trace_finish")[0].outcome == "expired"


@in_time
async def test_a_retried_run_starts_once_and_ends_once():
    seen = Recorder()

    @node(max_retries=2)
    async def flaky(x, ctx: Context):
        if ctx.attempt < 2:
            raise ValueError(ctx.attempt)
        return x

    async with create(flaky, on_event=seen) as flow:
        assert await flow.ask(1) == 1
    kinds = [e.event_type for e in seen.events if e.node_name]
    assert kinds == ["node_start", *["node_error", "node_retry"] * 2, "node_success"]
    assert len({e.invocation_id for e in seen.events if e.node_name}) == 1


@pytest.mark.parametrize(
    ("answer", "end"),
    [(Replace("x"), "node_success"), (Retry(), "node_failed"), (Drop(), "node_failed"), (Emit(), "node_failed")],
)
@in_time
async def test_a_run_that_a_plugin_decides_on_ends_once(answer, end):
    seen = Recorder()
    async with create(act, on_event=seen, plugins=[plugin(answer)]) as flow:
        await waited(flow, "start", Message(payload="failed")) if not isinstance(answer, Replace) else await flow.ask(
            "failed"
        )
    assert seen.types("node_start", "node_success", "node_failed") == ["node_start", end]
    seen.assert_lawful()


@pytest.mark.parametrize("loyal", ["leaves", "returns", "raises", "stays"])
@pytest.mark.parametrize("outcome", ["cancelled", "expired", "failed"])
@in_time
async def test_a_run_cut_short_ends_once_however_it_takes_it(loyal, outcome):
    seen, release = Recorder(), asyncio.Event()

    @node
    async def source(x, ctx: Context):
        return x

    @node
    async def other(x):
        await asyncio.sleep(5)
        if outcome == "failed":
            raise ValueError("no")
        await asyncio.Event().wait()

    @node
    async def cut(x):
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                if loyal == "leaves":
                    raise
                if loyal == "raises":
                    raise ValueError("spoilt") from None
                if loyal == "returns":
                    break
        return x

    async with create(source.to(other, cut), on_event=seen) as flow:
        handle = flow.start(1, timeout_s=7 if outcome == "expired" else None)
        await asyncio.sleep(6)
        if outcome == "cancelled":
            assert await handle.cancel()
        with pytest.raises(FlowError):
            await handle.result()
        assert handle.outcome == outcome
        release.set()
        await quiet()
    seen.assert_lawful()
    ends = {e.node_name: e.event_type for e in seen.events if e.event_type in ("node_expired", "node_cancelled")}
    assert ends["cut"] == ("node_expired" if outcome == "expired" else "node_cancelled")


@in_time
async def test_generators_subflows_and_playbooks_end_each_run_once():
    seen = Recorder()

    @node
    async def count(n: int):
        for i in range(n):
            yield i

    @node
    async def caller(x: int, ctx: Context):
        await ctx.call_playbook(create(act, name="book"), "completed")
        with pytest.raises(FlowError):
            await ctx.call_playbook(create(act, name="book"), "failed")
        with pytest.raises(FlowError):
            await ctx.call_playbook(create(act, name="book"), "cancelled", timeout=1)
        return x

    flow = create(subflow("sub", create(count, name="inner")).to(caller), on_event=seen)
    async with flow:
        assert await flow.start(3).results() == [0, 1, 2]
    assert len(seen.of("trace_finish")) == 1
    assert len(seen.of("node_start")) == 1 + 1 + 3 * (1 + 3)
    seen.assert_lawful()


@pytest.mark.parametrize("outcome", OUTCOMES)
@in_time
async def test_every_waiter_of_a_handle_is_released_early_and_late(outcome):
    async with create(act) as flow:
        message = sent(outcome)
        handle = flow.start(message)
        early = [asyncio.create_task(wait()) for wait in (handle.result, handle.result, handle.results)]
        await quiet()
        if outcome == "cancelled":
            await handle.cancel()
        await asyncio.wait(early)
        late = [asyncio.create_task(wait()) for wait in (handle.result, handle.results)]
        await asyncio.wait(late)
        codes = {getattr(task.exception(), "code", None) for task in (*early, *late)}
        assert codes == {CODES[outcome]}
        assert not await handle.cancel()
        with pytest.raises(FlowError) if CODES[outcome] else asyncio.timeout(1):
            assert [item.payload async for item in handle] == ["completed"]


@in_time
async def test_a_handle_says_how_its_trace_ended_and_nothing_before():
    async with create(nap) as flow:
        handle = flow.start(1.0)
        await quiet()
        assert handle.outcome is None
        await handle.result()
        assert handle.outcome == "completed"


@pytest.mark.parametrize("outcome", ["failed", "cancelled", "expired"])
@in_time
async def test_a_reader_between_chunks_is_released_when_the_trace_ends(outcome):
    @node
    async def tell(what: str, ctx: Context) -> str:
        await ctx.emit_chunk("once")
        await asyncio.sleep(1)
        return await act(what)

    async with create(tell) as flow:
        message, chunks = sent(outcome), []
        with pytest.raises(FlowError) as caught:
            async with flow.stream(message) as stream:
                async for chunk in stream:
                    chunks.append(chunk.text)
                    if outcome == "cancelled":
                        asyncio.get_running_loop().call_later(2, flow.cancel(message.trace_id).send, None)
    assert chunks == ["once"]
    assert caught.value.code == CODES[outcome]


@pytest.mark.parametrize("nesting", ["subflow", "playbook", "ask", "deep"])
@pytest.mark.parametrize("outcome", ["failed", "expired", "starved"])
@in_time
async def test_a_parent_never_hangs_on_a_nested_flow_that_has_ended(nesting, outcome):
    both = join_k("both", 2)

    @node
    async def inner(what: str):
        await asyncio.sleep(1)
        return await act("completed" if what == "starved" else what)

    child = create(inner.to(both), name="child")

    @node
    async def caller(what: str, ctx: Context):
        if nesting == "ask":
            return await other.ask(what)
        return await ctx.call_playbook(child, what)

    top = {"subflow": subflow("sub", child), "deep": subflow("sub", create(subflow("mid", child), name="m"))}
    async with create(inner.to(both), name="other") as other, create(top.get(nesting, caller)) as flow:
        with pytest.raises(FlowError):
            await flow.ask(outcome, timeout_s=3)
        assert clock() == pytest.approx(1003 if outcome == "expired" else 1001, abs=0.2)


@in_time
async def test_an_emit_from_outside_learns_that_the_trace_it_waits_for_has_ended():
    async with create(stuck, queue_maxsize=1) as flow:
        first = Message(payload=0)
        handle = flow.start(first)
        await flow.emit(first)
        await flow.emit(first)
        waiting = asyncio.create_task(flow.emit(first))
        await quiet()
        assert not waiting.done()
        await handle.cancel()
        with pytest.raises(TraceCancelled):
            await waiting


@in_time
async def test_fetch_is_released_when_the_flow_stops():
    flow = create(act)
    flow.run()
    waiting = asyncio.create_task(flow.fetch())
    await quiet()
    await flow.stop()
    with pytest.raises(FlowStateError):
        await waiting


@pytest.mark.parametrize(
    ("drain_s", "after", "ended"),
    [(None, 5, "completed completed"), (0, 0, "cancelled cancelled"), (2, 2, "completed cancelled")],
)
@in_time
async def test_stop_finishes_what_its_drain_allows_and_cancels_the_rest(drain_s, after, ended):
    seen, begun = Recorder(), clock()
    flow = create(nap, on_event=seen)
    flow.run()
    handles = [flow.start(1.0), flow.start(5.0)]
    asked = asyncio.create_task(flow.ask(5.0))
    emitted = await flow.emit(1.0)
    await quiet()
    await flow.stop(drain_s)
    assert clock() - begun == pytest.approx(after, abs=0.01)
    assert " ".join(str(handle.outcome) for handle in handles) == ended
    outcomes = {e.trace_id: e.outcome for e in seen.of("trace_finish")}
    assert outcomes[emitted] == handles[0].outcome
    assert len(outcomes) == 4
    seen.assert_lawful()
    with pytest.raises(TraceCancelled) if after < 5 else asyncio.timeout(1):
        assert await asked == 5.0


@in_time
async def test_stop_sends_those_away_who_wait_for_a_slot_and_finishes_the_accepted():
    seen = Recorder()
    flow = create(nap, max_traces=1, on_event=seen)
    flow.run()
    accepted = flow.start(1.0)
    refused = [asyncio.create_task(flow.ask(1.0)), asyncio.create_task(flow.emit(1.0))]
    await quiet()
    await flow.stop()
    assert await accepted.result() == 1.0
    assert all(isinstance(task.exception(), FlowStateError) for task in refused)
    assert len(seen.of("trace_start")) == 1


@pytest.mark.parametrize("drain_s", [None, 60])
@in_time
async def test_stop_ends_what_only_waits_for_a_join(drain_s, caplog):
    both, seen = join_k("both", 2), Recorder()
    flow = create(nap.to(both), on_event=seen)
    flow.run()
    await flow.emit(0.0)
    await flow.emit(3.0)
    await asyncio.sleep(1)
    await flow.stop(drain_s)
    assert clock() == pytest.approx(1003)
    assert [e.outcome for e in seen.of("trace_finish")] == ["failed", "failed"]
    assert [r.message for r in caplog.records if "got 1 of 2" in r.message and r.levelname == "ERROR"] != []


@pytest.mark.parametrize("outputs", [1, 8])
@in_time
async def test_stop_while_rookery_is_full_loses_nothing(outputs):
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
    assert sorted([await flow.fetch() for _ in range(3 * outputs)]) == [(x, i) for x in range(3) for i in range(outputs)]
    with pytest.raises(FlowStateError):
        await flow.fetch()


@in_time
async def test_an_impatient_stop_cuts_a_patient_one_short():
    flow = create(stuck)
    flow.run()
    handle = flow.start(1)
    patient = asyncio.create_task(flow.stop())
    await quiet()
    await flow.stop(drain_s=0)
    await patient
    assert handle.outcome == "cancelled"


@pytest.mark.parametrize("seconds", [0.9999, 1.0, 1.0001])
@in_time
async def test_a_result_and_a_deadline_at_the_same_moment_give_one_end(seconds):
    seen = Recorder()
    async with create(nap, on_event=seen) as flow:
        handle = flow.start(seconds, timeout_s=1)
        try:
            ended = "completed" if await handle.result() == seconds else "?"
        except FlowError:
            ended = "expired"
    assert handle.outcome == ended
    assert [e.outcome for e in seen.of("trace_finish")] == [ended]
    seen.assert_lawful()


@in_time
async def test_a_trace_ends_only_when_the_last_of_its_messages_has():
    @node
    async def burst(x, ctx: Context):
        for seconds in (1.0, 2.0, 3.0):
            await ctx.emit(seconds)

    async with create(burst.to(nap)) as flow:
        handle = flow.start(None)
        await quiet()
        await flow.emit(Message(payload=4.0, trace_id=handle.trace_id), to=nap)
        assert await handle.results() == [1.0, 2.0, 3.0, 4.0]
        assert clock() == pytest.approx(1010)


@pytest.mark.parametrize("ending", ["own task", "base exception", "stop async iteration"])
@in_time
async def test_a_node_that_ends_in_an_unusual_way_still_settles_its_trace(ending):
    class Odd(BaseException):
        pass

    @node
    async def odd(x):
        if ending == "own task":
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.sleep(1)
        raise Odd if ending == "base exception" else StopAsyncIteration

    seen = Recorder()
    async with create(odd, on_event=seen) as flow:
        with pytest.raises(FlowError):
            await flow.ask(1)
    assert len(seen.of("trace_finish")) == 1
    seen.assert_lawful()


@in_time
async def test_messages_accepted_before_resources_fail_to_open_are_settled():
    @asynccontextmanager
    async def broken():
        await asyncio.sleep(1)
        raise OSError("no disk")
        yield

    flow = create(act, resources=broken)
    flow.run()
    asked = asyncio.create_task(flow.ask("completed"))
    handle = flow.start("completed")
    with pytest.raises(FlowError) as caught:
        await asked
    assert isinstance(caught.value.original_exc, OSError)
    with pytest.raises(FlowError):
        await handle.result()
    with pytest.raises(OSError, match="no disk"):
        await flow.stop()


@in_time
async def test_a_dropped_handle_leaves_its_trace_to_run_to_its_end():
    seen = Recorder()

    @node
    async def tell(x, ctx: Context) -> StreamChunk:
        for _ in range(9):
            chunk = await ctx.emit_chunk("x")
        return chunk

    async with create(tell, queue_maxsize=1, on_event=seen) as flow:
        flow.start(1)
        await quiet()
        assert [e.outcome for e in seen.of("trace_finish")] == ["completed"]


@in_time
async def test_a_trace_that_a_node_started_ends_on_its_own():
    seen = Recorder()

    @node
    async def parent(x: float):
        flow.start(x) if x else None
        await asyncio.sleep(x)

    @node
    async def child(x: float, ctx: Context):
        handles.append(other.start(5.0))
        return x

    handles: list = []
    async with create(nap, on_event=seen, name="other") as other, create(child) as flow:
        assert await flow.ask(1.0) == 1.0
        assert handles[0].outcome is None
        assert await handles[0].result() == 5.0
    assert [e.outcome for e in seen.of("trace_finish")] == ["completed"]
