"""Law 1: every accepted message belongs to a trace, every trace ends exactly once, and nobody waits on one that has."""

import asyncio
import time
from contextlib import asynccontextmanager, nullcontext

import pytest

from penguiflow import (
    Context,
    Drop,
    Emit,
    FlowError,
    FlowStateError,
    Message,
    Replace,
    Retry,
    TraceCancelled,
    create,
    hookimpl,
    join_k,
    node,
    subflow,
)
from tests.utils.flowtestkit import Recorder, clock, in_time, quiet

WAYS = ("ask", "stream", "start", "emit")
OUTCOMES = ("completed", "failed", "cancelled", "expired")
CODES = dict(zip(OUTCOMES, (None, "NODE_EXCEPTION", "TRACE_CANCELLED", "DEADLINE_EXCEEDED"), strict=True))


@node
async def act(what: str) -> str:
    if what == "failed":
        raise ValueError("no")
    if what in ("cancelled", "expired"):
        await asyncio.Event().wait()
    return what


@node
async def nap(seconds: float) -> float:
    await asyncio.sleep(seconds)
    return seconds


def sent(outcome):
    """A message whose trace can come to this outcome."""
    return Message(payload=outcome, deadline_s=time.time() + 5 if outcome == "expired" else None)


async def waited(flow, how, message):
    """The code of the error that this kind of waiter gets; `None` for a result."""
    try:
        if how == "ask":
            got = await flow.ask(message)
        elif how == "stream":
            async with flow.stream(message) as stream:
                assert [chunk async for chunk in stream] == []
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
    assert getattr(got, "payload", got) == message.payload
    return None


class Once:
    """A plugin that answers the first final failure."""

    def __init__(self, answer):
        self.answers = [answer]

    @hookimpl
    def on_error(self, error):
        return self.answers.pop() if self.answers else None


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
    assert [e.event_type for e in seen.events if e.trace_id][-1] == "trace_finish"
    seen.assert_lawful()


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
    runs = [e for e in seen.events if e.node_name]
    again = ["node_error", "node_retry", "node_attempt"]
    assert [e.event_type for e in runs] == ["node_start", *again, *again, "node_success"]
    assert len({e.invocation_id for e in runs}) == 1


@pytest.mark.parametrize(
    ("answer", "end"),
    [(Replace("x"), "node_success"), (Retry(), "node_failed"), (Drop(), "node_failed"), (Emit(), "node_failed")],
)
@in_time
async def test_a_run_that_a_plugin_decides_on_ends_once(answer, end):
    seen = Recorder()
    async with create(act, on_event=seen, plugins=[Once(answer)]) as flow:
        await asyncio.wait([asyncio.create_task(flow.ask("failed"))])
    assert seen.types("node_start", "node_success", "node_failed") == ["node_start", end]
    seen.assert_lawful()


@pytest.mark.parametrize("loyal", ["leaves", "returns", "raises", "stays"])
@pytest.mark.parametrize("outcome", ["cancelled", "expired", "failed"])
@in_time
async def test_a_run_cut_short_ends_once_however_it_takes_it(loyal, outcome):
    seen, release = Recorder(), asyncio.Event()

    @node
    async def source(x: str):
        return x

    @node
    async def other(x: str):
        await asyncio.sleep(5)
        return await act(x)

    @node
    async def cut(x):
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                if loyal == "returns":
                    break
                if loyal != "stays":
                    raise ValueError("spoilt") if loyal == "raises" else asyncio.CancelledError from None
        return x

    async with create(source.to(other, cut), on_event=seen) as flow:
        handle = flow.start(outcome, timeout_s=7 if outcome == "expired" else None)
        await asyncio.sleep(6)
        if outcome == "cancelled":
            assert await handle.cancel()
        with pytest.raises(FlowError):
            await handle.result()
        assert handle.outcome == outcome
        release.set()
        await quiet()
    seen.assert_lawful()
    assert "cut" in [e.node_name for e in seen.of("node_expired" if outcome == "expired" else "node_cancelled")]


@in_time
async def test_generators_subflows_and_playbooks_end_each_run_once():
    seen = Recorder()

    @node
    async def count(n: int):
        for i in range(n):
            yield i

    @node
    async def caller(x: int, ctx: Context):
        await ctx.call_playbook(create(act), "completed")
        for what in ("failed", "expired"):
            with pytest.raises(FlowError):
                await ctx.call_playbook(create(act), what, timeout=1)
        return x

    async with create(subflow("sub", create(count)).to(caller), on_event=seen) as flow:
        assert await flow.start(3).results() == [0, 1, 2]
    assert len(seen.of("trace_finish")) == 1
    assert len(seen.of("node_start")) == 1 + 1 + 3 * (1 + 3)
    seen.assert_lawful()


@pytest.mark.parametrize("outcome", OUTCOMES)
@in_time
async def test_every_waiter_of_a_handle_is_released_early_and_late(outcome):
    async with create(act) as flow:
        handle = flow.start(sent(outcome))
        assert handle.outcome is None
        early = [asyncio.create_task(wait()) for wait in (handle.result, handle.result, handle.results)]
        await quiet()
        if outcome == "cancelled":
            await handle.cancel()
        await asyncio.wait(early)
        await asyncio.wait(late := [asyncio.create_task(wait()) for wait in (handle.result, handle.results)])
        codes = {getattr(task.exception(), "code", None) for task in (*early, *late)}
        assert (codes, handle.outcome, await handle.cancel()) == ({CODES[outcome]}, outcome, False)
        with pytest.raises(FlowError) if CODES[outcome] else nullcontext():
            assert [item async for item in handle] == []


@pytest.mark.parametrize("outcome", ["failed", "cancelled", "expired"])
@in_time
async def test_a_reader_between_chunks_is_released_when_the_trace_ends(outcome):
    @node
    async def tell(what: str, ctx: Context) -> str:
        await ctx.emit_chunk("once")
        await asyncio.sleep(1)
        return await act(what)

    async with create(tell) as flow:
        message, chunks, canceller = sent(outcome), [], None
        with pytest.raises(FlowError) as caught:
            async with flow.stream(message) as stream:
                async for chunk in stream:
                    chunks.append(chunk.text)
                    if outcome == "cancelled":
                        canceller = asyncio.create_task(flow.cancel(message.trace_id))
        assert chunks == ["once"]
        assert caught.value.code == CODES[outcome]
        assert canceller is None or await canceller


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
    assert (len(outcomes), outcomes[emitted]) == (4, handles[0].outcome)
    with pytest.raises(TraceCancelled) if after < 5 else nullcontext():
        assert await asked == 5.0


@in_time
async def test_stop_finishes_the_accepted_and_releases_who_waits_to_enter_or_to_fetch():
    seen = Recorder()
    flow = create(nap, max_traces=1, on_event=seen)
    flow.run()
    accepted = flow.start(1.0)
    refused = [asyncio.create_task(waiting) for waiting in (flow.ask(1.0), flow.emit(1.0), flow.fetch())]
    await quiet()
    stopping = asyncio.create_task(flow.stop())
    await quiet()
    assert [task.done() for task in refused] == [True, True, False]
    await stopping
    assert (await accepted.result(), len(seen.of("trace_start"))) == (1.0, 1)
    assert all(isinstance(task.exception(), FlowStateError) for task in refused)


@in_time
async def test_stop_ends_what_only_waits_for_a_join(caplog):
    both, seen = join_k("both", 2), Recorder()
    flow = create(nap.to(both), on_event=seen)
    flow.run()
    await flow.emit(0.0)
    await flow.emit(3.0)
    await asyncio.sleep(1)
    await flow.stop()
    assert clock() == pytest.approx(1003)
    assert [e.outcome for e in seen.of("trace_finish")] == ["failed", "failed"]
    assert caplog.text.count("got 1 of 2") == 2


@in_time
async def test_an_impatient_stop_cuts_a_patient_one_short():
    flow = create(act)
    flow.run()
    handle = flow.start("cancelled")
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
    async def burst(x):
        for seconds in (1.0, 2.0, 3.0):
            yield seconds

    async with create(burst.to(nap)) as flow:
        handle = flow.start(None)
        await quiet()
        await flow.emit(Message(payload=4.0, trace_id=handle.trace_id), to=nap)
        assert await handle.results() == [1.0, 2.0, 3.0, 4.0]
        assert clock() == pytest.approx(1010)


@pytest.mark.parametrize("ending", [asyncio.CancelledError, GeneratorExit, StopAsyncIteration])
@in_time
async def test_a_node_that_ends_in_an_unusual_way_still_settles_its_trace(ending):
    @node
    async def odd(x):
        raise ending

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
    for waiting in (asked, handle.result()):
        with pytest.raises(FlowError, match="no disk"):
            await waiting
    with pytest.raises(OSError, match="no disk"):
        await flow.stop()
