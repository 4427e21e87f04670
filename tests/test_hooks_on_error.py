"""`on_error`: what a plugin may decide when a node has failed for good, and what becomes of one that misbehaves."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest

from penguiflow import (
    Context,
    Drop,
    Emit,
    FlowError,
    FlowErrorCode,
    Node,
    NodePolicy,
    Replace,
    Retry,
    TraceCancelled,
    create,
    hookimpl,
    node,
    subflow,
)
from tests.utils.flowtestkit import Recorder, clock, quiet, virtual_time


class Handler:
    """Decides as a function of the error does."""

    def __init__(self, decide: Callable[[FlowError], Any], name: str = "handler") -> None:
        self.decide, self.name = decide, name
        self.errors: list[FlowError] = []

    @hookimpl
    def on_error(self, error: FlowError) -> Any:
        self.errors.append(error)
        return self.decide(error)


def breaks(_: Any) -> Any:
    raise RuntimeError("broken plugin")


def breaks_oddly(_: Any) -> Any:
    raise type("Odd", (BaseException,), {})("broken plugin")


async def breaks_later(_: Any) -> Any:
    await asyncio.sleep(0)
    raise RuntimeError("broken plugin")


async def never(_: Any) -> Any:
    await asyncio.Event().wait()


@node
async def same(x: Any) -> Any:
    return x


@node
async def good(x: Any) -> str:
    return "good"


@node
async def fails(x: Any) -> Any:
    raise ValueError(x)


@virtual_time
async def test_on_error_is_asked_once_the_retries_are_used_up():
    handler = Handler(lambda error: None)
    tries = Node(fails.func, policy=NodePolicy(max_retries=2))
    async with create(tries, plugins=[handler]) as flow:
        with pytest.raises(FlowError) as caught:
            await flow.ask(1)
    (error,) = handler.errors
    assert error is caught.value
    assert (error.code, error.metadata["attempts"]) == (FlowErrorCode.NODE_EXCEPTION, 3)
    assert isinstance(error.original_exc, ValueError)


async def replace_later(_: Any) -> Replace:
    await asyncio.sleep(1)
    return Replace("spare")


@pytest.mark.parametrize("decide", [lambda error: Replace("spare"), replace_later], ids=["sync", "async"])
@virtual_time
async def test_replace_goes_on_with_another_payload(decide: Any):
    recorder = Recorder()
    async with create(fails.to(same), plugins=[Handler(decide)], on_event=recorder) as flow:
        assert await flow.ask(1) == "spare"
    assert recorder.runs() == ["fails", "same"]
    recorder.assert_lawful()


@virtual_time
async def test_retry_runs_the_node_again_after_a_while():
    attempts: list[int] = []

    async def flaky(x: int, ctx: Context) -> int:
        attempts.append(ctx.attempt)
        if ctx.attempt < 3:
            raise ValueError
        return x

    recorder = Recorder()
    async with create(Node(flaky), plugins=[Handler(lambda error: Retry(after_s=7))], on_event=recorder) as flow:
        assert await flow.ask(1) == 1
    assert (attempts, round(clock())) == ([0, 1, 2, 3], 1021)
    assert [event.extra["delay_s"] for event in recorder.of("node_retry")] == [7, 7, 7]
    recorder.assert_lawful()


@virtual_time
async def test_drop_and_emit_end_one_branch_and_leave_the_others():
    for decision, left in ((Drop(), ["good"]), (Emit(), ["FlowError", "good"])):
        recorder = Recorder()
        plugins = [Handler(lambda error, decision=decision: decision)]  # type: ignore[misc]
        async with create(same.to(fails, good), plugins=plugins, on_event=recorder) as flow:
            results = await flow.start(1).results()
            await flow.emit(1)
            fetched = [await flow.fetch() for _ in left]
        for found in (results, fetched):
            assert sorted("FlowError" if isinstance(x, FlowError) else x for x in found) == left
        assert {event.outcome for event in recorder.of("trace_finish")} == {"completed"}
        recorder.assert_lawful()


@virtual_time
async def test_an_emitted_error_is_raised_to_who_asks_for_one_output():
    async with create(fails, plugins=[Handler(lambda error: Emit())]) as flow:
        with pytest.raises(FlowError, match="ValueError: 1"):
            await flow.ask(1)


@pytest.mark.parametrize("bad", [breaks, breaks_later, breaks_oddly, never, lambda error: "retry"])
@virtual_time
async def test_an_error_handler_that_breaks_is_passed_over_and_logged(bad: Any, caplog: pytest.LogCaptureFixture):
    recorder = Recorder()
    plugins = [Handler(bad, "bad"), Handler(lambda error: Replace("spare"))]
    async with create(fails, plugins=plugins, on_event=recorder) as flow:
        for _ in range(30):
            assert await flow.ask(1) == "spare"
    assert recorder.of("plugin_error")[0].extra["plugin"] == "bad"
    failures = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert failures
    assert all(text.startswith("plugin 'bad' raised in on_error") for text in failures)
    recorder.assert_lawful()


@virtual_time
async def test_cancelling_reaches_an_error_handler_that_decides():
    async with create(fails.to(same), plugins=[Handler(never)]) as flow:
        handle = flow.start(1)
        await quiet()
        assert await handle.cancel()
        assert clock() < 1001
        with pytest.raises(TraceCancelled):
            await handle.result()


@virtual_time
async def test_the_first_decision_wins():
    second = Handler(lambda error: Replace("second"))
    plugins = [Handler(lambda error: None), Handler(lambda error: Replace("first")), second]
    async with create(fails, plugins=plugins) as flow:
        assert await flow.ask(1) == "first"
    assert second.errors == []


@virtual_time
async def test_on_error_is_not_asked_about_a_trace_that_was_cut_short():
    handler = Handler(lambda error: Replace("spare"))

    @node
    async def waits(x: Any):
        await asyncio.Event().wait()

    async with create(waits, plugins=[handler]) as flow:
        handle = flow.start(1)
        await quiet()
        await handle.cancel()
        with pytest.raises(FlowError) as caught:
            await flow.ask(1, timeout_s=1)
    assert caught.value.code == FlowErrorCode.DEADLINE_EXCEEDED
    assert handler.errors == []


# --- flows inside nodes ---------------------------------------------------------------------------

INNER = create(fails, name="inner")


async def calls(x: Any, ctx: Context) -> Any:
    return await ctx.call_playbook(INNER, x)


@pytest.mark.parametrize("outer", [Node(calls, "outer"), subflow("outer", INNER)], ids=["playbook", "subflow"])
@virtual_time
async def test_a_failure_inside_is_asked_about_at_each_level_with_that_levels_name_and_count(outer: Any):
    handler, recorder = Handler(lambda error: Retry(1) if error.metadata["attempts"] < 3 else None), Recorder()
    async with create(outer, name="desk", plugins=[handler], on_event=recorder) as flow:
        with pytest.raises(FlowError) as caught:
            await asyncio.wait_for(flow.ask(1), 60)
    asked = [(error.node_name, error.metadata["attempts"]) for error in handler.errors]
    inside = [("fails", 1), ("fails", 2), ("fails", 3)]
    assert asked == [*inside, ("outer", 1), *inside, ("outer", 2), *inside, ("outer", 3)]
    assert {error.node_id for error in handler.errors} == {"desk/outer", "desk/outer/inner/fails"}
    assert {error.metadata.get("origin") for error in handler.errors} == {None, "desk/outer/inner/fails"}
    assert {type(error.original_exc) for error in handler.errors} == {ValueError}
    error = caught.value
    assert (error.node_id, error.metadata) == ("desk/outer/inner/fails", {"attempts": 3})
    recorder.assert_lawful()


@virtual_time
async def test_a_playbook_that_takes_too_long_is_asked_about_as_its_callers_failure():
    async def waits(x: Any) -> None:
        await asyncio.Event().wait()

    async def impatient(x: Any, ctx: Context) -> Any:
        return await ctx.call_playbook(slow, x, timeout=1)

    slow, handler = create(Node(waits), name="slow"), Handler(lambda error: Replace("spare"))
    async with create(Node(impatient), plugins=[handler]) as flow:
        assert await flow.ask(1) == "spare"
    (error,) = handler.errors
    assert (error.node_name, error.code) == ("impatient", FlowErrorCode.DEADLINE_EXCEEDED)
    assert (error.metadata["attempts"], error.metadata["origin"]) == (1, "flow/impatient/slow/waits")


@virtual_time
async def test_an_error_that_a_node_raises_again_is_counted_again():
    same_error = FlowError(code="MINE", message="the same each time")

    async def stubborn(x: Any) -> None:
        raise same_error

    handler = Handler(lambda error: Retry(1) if error.metadata["attempts"] < 3 else None)
    async with create(Node(stubborn), plugins=[handler]) as flow:
        with pytest.raises(FlowError, match="the same each time"):
            await asyncio.wait_for(flow.ask(1), 60)
    assert [error.metadata["attempts"] for error in handler.errors] == [1, 2, 3]
