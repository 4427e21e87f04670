"""Law 6: first the retries, then whoever may decide, then the failure; and what counts as which error."""

import asyncio

import pytest

from penguiflow import (
    Context,
    Drop,
    Emit,
    FlowError,
    FlowErrorCode,
    Message,
    Node,
    NodePolicy,
    Replace,
    Retry,
    TraceCancelled,
    create,
    hookimpl,
    join_k,
    node,
    predicate_router,
    router,
    subflow,
)
from tests.utils.flowtestkit import Recorder, clock, in_time, quiet


class Mine(Exception):
    """An exception of the user's own."""


class Decides:
    """A plugin that gives these answers, one for each error; then `None`. One that is an exception is raised."""

    def __init__(self, *answers, name="decides"):
        self.answers, self.name, self.asked = list(answers), name, []

    @hookimpl
    def on_error(self, error):
        self.asked.append(error)
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, Exception):
            raise answer
        return answer


class DecidesLate(Decides):
    """One that sleeps a while over it."""

    @hookimpl
    async def on_error(self, error):
        self.asked.append(error)
        await asyncio.sleep(self.answers[0])
        return self.answers[1]


def failing(times, name="fails", exc=Mine, **policy):
    """A node whose first `times` attempts fail, and when they were made."""
    made: list[float] = []

    async def fails(x):
        made.append(clock() - 1000)
        if len(made) <= times:
            raise exc(f"attempt {len(made)}")
        return x

    return Node(fails, name=name, policy=NodePolicy(**policy)), made


@node
async def same(x):
    return x


async def error_of(flow, message="x"):
    with pytest.raises(FlowError) as caught:
        await flow.ask(message)
    return caught.value


@pytest.mark.parametrize(
    ("policy", "at"),
    [
        ({}, [0]),
        ({"max_retries": 3, "backoff_base": 1}, [0, 1, 3, 7]),
        ({"max_retries": 3, "backoff_base": 1, "backoff_mult": 3}, [0, 1, 4, 13]),
        ({"max_retries": 3, "backoff_base": 1, "max_backoff": 2}, [0, 1, 3, 5]),
        ({"max_retries": 2, "backoff_base": 0}, [0, 0, 0]),
        ({"max_retries": 3, "backoff_base": 1, "retry_on": KeyError}, [0]),
        ({"max_retries": 1, "backoff_base": 1, "retry_on": (KeyError, Mine)}, [0, 1]),
    ],
)
@in_time
async def test_only_when_its_retries_are_exhausted_does_a_failure_end_the_trace(policy, at):
    fails, made = failing(99, **policy)
    decides = Decides()
    async with create(fails, plugins=[decides]) as flow:
        error = await error_of(flow)
    assert made == [pytest.approx(seconds) for seconds in at]
    assert str(error.original_exc) == f"attempt {len(at)}"
    assert decides.asked == [error]


GROUPS: list[tuple[Exception, int]] = [
    (ExceptionGroup("two", [ConnectionResetError(), TimeoutError()]), 3),
    (ExceptionGroup("nested", [ExceptionGroup("inner", [ConnectionError()])]), 3),
    (ExceptionGroup("mixed", [ConnectionError(), KeyError()]), 1),
    (ExceptionGroup("nested and mixed", [ConnectionError(), ExceptionGroup("inner", [KeyError()])]), 1),
]


@pytest.mark.parametrize(("group", "runs"), GROUPS, ids=lambda value: getattr(value, "message", None))
@in_time
async def test_a_group_is_worth_another_attempt_if_all_that_is_in_it_is(group: Exception, runs: int):
    attempts = []

    @node(max_retries=2, backoff_base=0, retry_on=(ConnectionError, TimeoutError))
    async def fails(x):
        attempts.append(x)
        raise group

    async with create(fails) as flow:
        error = await error_of(flow)
    assert len(attempts) == runs
    assert error.original_exc is group


@in_time
async def test_jitter_shortens_a_wait_by_its_part_at_most():
    waits = []
    for _ in range(20):
        fails, _ = failing(1, max_retries=1, backoff_base=10, jitter=0.5)
        async with create(fails) as flow:
            begun = clock()
            await flow.ask("x")
            waits.append(clock() - begun)
    assert all(5 <= wait <= 10 for wait in waits)
    assert len(set(waits)) > 1


@in_time
async def test_on_error_sees_what_went_wrong_and_where():
    fails, _ = failing(99)
    decides = Decides()
    async with create(same.to(subflow("sub", create(fails, name="inner"))), name="top", plugins=[decides]) as flow:
        message = Message(payload="x")
        await error_of(flow, message)
    error = decides.asked[0]
    assert (error.trace_id, error.node_name, error.node_id) == (message.trace_id, "fails", "top/sub/inner/fails")
    assert (error.code, type(error.original_exc)) == (FlowErrorCode.NODE_EXCEPTION, Mine)


@in_time
async def test_retry_runs_the_node_again_after_a_while_and_asks_again():
    fails, made = failing(2)
    decides = Decides(Retry(after_s=5), Retry())
    seen = Recorder()
    async with create(fails, plugins=[decides], on_event=seen) as flow:
        assert await flow.ask("x") == "x"
    assert made == [0, pytest.approx(5), pytest.approx(5)]
    assert [str(error.original_exc) for error in decides.asked] == ["attempt 1", "attempt 2"]
    assert [e.attempt for e in seen.of("node_error")] == [0, 1]
    seen.assert_lawful()


@pytest.mark.parametrize("mode", ["ask", "emit"])
@in_time
async def test_replace_goes_on_as_if_the_node_had_returned_it(mode):
    fails, _ = failing(99)
    async with create(fails.to(same), plugins=[Decides(Replace("instead"))]) as flow:
        if mode == "ask":
            assert await flow.ask("x") == "instead"
        else:
            await flow.emit("x")
            assert await flow.fetch() == "instead"


@pytest.mark.parametrize("mode", ["ask", "emit", "start"])
@in_time
async def test_drop_ends_the_branch_and_the_others_go_on(mode, caplog):
    fails, _ = failing(99)
    after: list = []

    @node
    async def follows(x):
        after.append(x)

    @node
    async def other(x):
        await asyncio.sleep(1)
        return x

    async with create(same.to(fails, other), fails.to(follows), plugins=[Decides(Drop())]) as flow:
        if mode == "emit":
            await flow.emit("x")
            assert await flow.fetch() == "x"
        else:
            assert await (flow.ask("x") if mode == "ask" else flow.start("x").result()) == "x"
    assert after == []


@pytest.mark.parametrize("mode", ["ask", "emit", "results"])
@in_time
async def test_emit_delivers_the_error_itself_and_the_others_go_on(mode):
    fails, _ = failing(99)

    @node
    async def other(x):
        await asyncio.sleep(1)

    async with create(same.to(fails, other), plugins=[Decides(Emit())]) as flow:
        if mode == "ask":
            error = await error_of(flow)
        elif mode == "emit":
            await flow.emit("x")
            error = await flow.fetch()
        else:
            (error,) = await flow.start("x").results()
        await quiet()
    assert isinstance(error, FlowError)
    assert isinstance(error.original_exc, Mine)


@pytest.mark.parametrize("answer", [Mine("handler"), "nonsense", None])
@in_time
async def test_a_handler_without_a_decision_is_passed_over_and_its_own_error_logged(answer, caplog):
    fails, _ = failing(99)
    first, second, third = Decides(answer, name="first"), Decides(Replace("second")), Decides()
    async with create(fails, plugins=[first, second, third]) as flow:
        assert await flow.ask("x") == "second"
        error = await error_of(flow)
        assert str(error.original_exc) == "attempt 2"
    assert len(third.asked) == 1
    logged = [r.getMessage() for r in caplog.records if r.levelname == "ERROR"]
    assert ["first" in text for text in logged] == ([] if answer is None else [True])


@in_time
async def test_a_handler_may_take_its_time_but_not_for_ever():
    quick, slow = DecidesLate(5, Replace("late")), DecidesLate(1e5, Replace("too late"))
    fails, _ = failing(99)
    async with create(fails, plugins=[quick]) as flow, create(fails, plugins=[slow], name="slow") as other:
        assert await flow.ask("x") == "late"
        assert clock() == pytest.approx(1005)
        await error_of(other)
        assert clock() < 1100


@in_time
async def test_nobody_decides_over_a_trace_that_was_cancelled_or_expired():
    decides = Decides()

    @node
    async def spoils(x):
        try:
            await asyncio.Event().wait()
        finally:
            raise Mine("spoilt")

    async with create(spoils, plugins=[decides]) as flow:
        with pytest.raises(FlowError):
            await flow.ask("x", timeout_s=1)
        handle = flow.start("x")
        await quiet()
        await handle.cancel()
    assert decides.asked == []


@pytest.mark.parametrize("limit", [None, 5])
@pytest.mark.parametrize("how", ["raise", "asyncio", "wait_for"])
@in_time
async def test_a_nodes_own_timeout_error_is_a_node_exception(how, limit):
    @node(timeout_s=limit)
    async def work(x):
        if how == "asyncio":
            async with asyncio.timeout(1):
                await asyncio.Event().wait()
        if how == "wait_for":
            await asyncio.wait_for(asyncio.Event().wait(), 1)
        raise TimeoutError("mine")

    async with create(work) as flow:
        error = await error_of(flow)
    assert error.code == FlowErrorCode.NODE_EXCEPTION
    assert isinstance(error.original_exc, TimeoutError)


@pytest.mark.parametrize(("retry_on", "runs"), [(Exception, 3), (TimeoutError, 3), (KeyError, 1)])
@in_time
async def test_a_node_that_takes_too_long_is_timed_out_and_retried_as_a_timeout_error(retry_on, runs):
    seen = Recorder()

    @node(timeout_s=2, max_retries=2, backoff_base=0, retry_on=retry_on)
    async def slow(x):
        await asyncio.Event().wait()

    async with create(slow, on_event=seen) as flow:
        error = await error_of(flow)
        assert clock() == pytest.approx(1000 + 2 * runs)
    assert error.code == FlowErrorCode.NODE_TIMEOUT
    assert len(seen.of("node_timeout")) == runs


@in_time
async def test_a_node_that_swallows_its_timeout_has_timed_out_all_the_same():
    @node(timeout_s=2)
    async def deaf(x):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "late"

    async with create(deaf) as flow:
        assert (await error_of(flow)).code == FlowErrorCode.NODE_TIMEOUT


@pytest.mark.parametrize("plugins", [[], [Decides]])
@pytest.mark.parametrize("how", ["emit", "emit_nowait", "emit_chunk", "predicate", "policy", "plugin"])
@in_time
async def test_a_wiring_mistake_is_never_retried(how, plugins):
    class Misroutes:
        @hookimpl
        def resolve_route(self, request):
            return "nowhere" if how == "plugin" else None

    seen = Recorder()
    policy = NodePolicy(max_retries=3, backoff_base=0)

    async def strays(x, ctx: Context):
        if how == "emit":
            await ctx.emit(x, to="nowhere")
        elif how == "emit_nowait":
            ctx.emit_nowait(x, to=["same", "nowhere"])
        else:
            await ctx.emit_chunk("x", to="nowhere")

    nodes = {
        "predicate": predicate_router("routes", lambda message: ["same", "nowhere"]),
        "policy": router("routes", lambda request: "nowhere"),
        "plugin": router("routes"),
    }
    source = nodes.get(how) or Node(strays, policy=policy)
    async with create(
        source.to(same), on_event=seen, plugins=[Misroutes(), *(make(Retry(), Retry()) for make in plugins)]
    ) as flow:
        error = await error_of(flow)
    assert error.code == FlowErrorCode.ROUTING
    assert "nowhere" in error.message
    assert "same" in error.message
    assert len(seen.of("node_error")) == 1
    assert seen.runs() == [source.name]


@in_time
async def test_a_cancelled_error_of_something_that_a_node_awaits_is_its_error_and_no_cancellation():
    @node
    async def work(x):
        other = asyncio.create_task(asyncio.sleep(5))
        asyncio.get_running_loop().call_later(1, other.cancel)
        await other

    seen = Recorder()
    async with create(work, on_event=seen) as flow:
        error = await error_of(flow)
    assert not isinstance(error, TraceCancelled)
    assert isinstance(error.original_exc, asyncio.CancelledError)
    assert [e.outcome for e in seen.of("trace_finish")] == ["failed"]


@in_time
async def test_a_nodes_own_flow_error_keeps_its_code_and_learns_its_trace():
    @node
    async def refuses(x):
        raise FlowError(code="NO_CREDIT", message="no credit left")

    async with create(refuses) as flow:
        message = Message(payload="x")
        error = await error_of(flow, message)
    assert (error.code, error.message) == ("NO_CREDIT", "no credit left")
    assert (error.trace_id, error.node_name) == (message.trace_id, "refuses")


@pytest.mark.parametrize("ending", ["fails", "cancelled"])
@in_time
async def test_the_error_of_a_nested_ask_is_the_askers_original_exception(ending):
    fails, _ = failing(99)

    @node
    async def asks(x):
        message = Message(payload=x)
        asked = asyncio.create_task(other.ask(message))
        await asyncio.sleep(0)
        if ending == "cancelled":
            await other.cancel(message.trace_id)
        return await asked

    async with create(fails, name="other") as other, create(asks) as flow:
        error = await error_of(flow)
    assert (error.code, error.node_name) == (FlowErrorCode.NODE_EXCEPTION, "asks")
    assert isinstance(error.original_exc, TraceCancelled if ending == "cancelled" else FlowError)


@in_time
async def test_a_dropped_branch_leaves_its_join_unfilled_and_that_is_an_error_too():
    fails, _ = failing(99)
    both = join_k("both", 2)
    ok = Node(same.func, name="ok")
    async with create(same.to(fails, ok), fails.to(both), ok.to(both), plugins=[Decides(Drop())]) as flow:
        error = await error_of(flow)
    assert error.code == FlowErrorCode.JOIN_STARVED
    assert "fails" in error.message
