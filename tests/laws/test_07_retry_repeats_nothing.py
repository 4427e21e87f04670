"""Law 7: a retry repeats nothing that an attempt has handed on, and a stream that restarts says so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from penguiflow import (
    Context,
    FlowError,
    FlowErrorCode,
    Message,
    Node,
    NodePolicy,
    Retry,
    StreamChunk,
    create,
    hookimpl,
    node,
    subflow,
)
from tests.utils.flowtestkit import Recorder, quiet, virtual_time


class Sink:
    """A last node that keeps what it was given."""

    def __init__(self) -> None:
        self.got: list[Any] = []
        self.node = Node(self._take, name="sink")

    async def _take(self, item: Any) -> None:
        self.got.append(item)


class RetryOnce:
    """A plugin that wants every failure tried again, once."""

    def __init__(self) -> None:
        self.asked = 0

    @hookimpl
    def on_error(self, error: FlowError) -> Retry | None:
        self.asked += 1
        return Retry() if self.asked == 1 else None


def retried(func: Any, **fields: Any) -> Node:
    return Node(func, policy=NodePolicy(**{"max_retries": 3, "backoff_base": 0.1, **fields}))


async def failure(flow: Any, message: Any = 1) -> FlowError:
    with pytest.raises(FlowError) as caught:
        await flow.ask(message)
    return caught.value


async def chunks_of(flow: Any, message: Any = 1) -> list[StreamChunk]:
    async with flow.stream(message) as stream:
        return [chunk async for chunk in stream]


# --- emit and yield deliver at once ---------------------------------------------------------------


@virtual_time
async def test_emit_delivers_while_its_node_still_runs():
    sink, go_on = Sink(), asyncio.Event()

    @node
    async def source(x: int, ctx: Context) -> None:
        await ctx.emit(x)
        await go_on.wait()

    async with create(source.to(sink.node)) as flow:
        handle = flow.start(1)
        await quiet()
        assert sink.got == [1]
        go_on.set()
        await handle.result()


@virtual_time
async def test_yield_delivers_while_its_node_still_runs():
    sink, go_on = Sink(), asyncio.Event()

    @node
    async def source(x: int) -> AsyncIterator[int]:
        yield x
        await go_on.wait()
        yield x + 1

    async with create(source.to(sink.node)) as flow:
        handle = flow.start(1)
        await quiet()
        assert sink.got == [1]
        go_on.set()
        await handle.result()
    assert sink.got == [1, 2]


# --- what has emitted is not retried --------------------------------------------------------------


async def emits(x: int, ctx: Context) -> None:
    await ctx.emit(x)
    raise ValueError("after the emit")


async def emits_nowait(x: int, ctx: Context) -> None:
    ctx.emit_nowait(x)
    raise ValueError("after the emit")


async def emits_to_rookery(x: int, ctx: Context) -> None:
    await ctx.emit(x, to="Rookery")
    raise ValueError("after the emit")


async def yields(x: int) -> AsyncIterator[int]:
    yield x
    raise ValueError("after the yield")


@pytest.mark.parametrize("func", [emits, emits_nowait, emits_to_rookery, yields], ids=lambda f: f.__name__)
@virtual_time
async def test_an_attempt_that_has_emitted_is_not_retried(func: Any):
    sink, recorder = Sink(), Recorder()
    async with create(retried(func).to(sink.node), on_event=recorder) as flow:
        await flow.emit(1)
    assert sink.got == ([] if func is emits_to_rookery else [1])
    assert recorder.types("node_retry", "node_failed") == ["node_failed"]
    assert recorder.of("node_failed")[0].attempt == 0


@virtual_time
async def test_an_attempt_that_has_emitted_and_timed_out_is_not_retried():
    sink, attempts = Sink(), []

    async def slow(x: int, ctx: Context) -> None:
        attempts.append(ctx.attempt)
        await ctx.emit(x)
        await asyncio.sleep(10)

    async with create(retried(slow, timeout_s=1).to(sink.node)) as flow:
        assert (await failure(flow)).code == FlowErrorCode.NODE_TIMEOUT
    assert (attempts, sink.got) == ([0], [1])


@virtual_time
async def test_an_invalid_item_after_a_good_one_is_not_retried():
    sink, attempts = Sink(), []

    async def source(x: int) -> AsyncIterator[int]:
        attempts.append(x)
        yield 1
        yield "no number"  # type: ignore[misc]

    async with create(retried(source).to(sink.node), emit_errors_to_rookery=True) as flow:
        await flow.emit(1)
        assert (await flow.fetch()).code == FlowErrorCode.VALIDATION
    assert (attempts, sink.got) == ([1], [1])


@virtual_time
async def test_retry_after_emit_retries_what_has_emitted():
    sink = Sink()

    async def source(x: int, ctx: Context):
        await ctx.emit(x)
        if ctx.attempt == 0:
            raise ValueError

    async with create(retried(source, retry_after_emit=True).to(sink.node)) as flow:
        await flow.start(1).results()
    assert sink.got == [1, 1]


@virtual_time
async def test_a_plugin_cannot_retry_what_has_emitted():
    sink, plugin = Sink(), RetryOnce()
    async with create(Node(emits).to(sink.node), plugins=[plugin], emit_errors_to_rookery=True) as flow:
        await flow.emit(1)
        assert (await flow.fetch()).code == FlowErrorCode.NODE_EXCEPTION
    assert (sink.got, plugin.asked) == ([1], 1)


@virtual_time
async def test_a_refused_emit_does_not_count_as_emitted():
    sink = Sink()

    async def unknown(x: int, ctx: Context) -> int:
        if ctx.attempt == 0:
            with pytest.raises(FlowError, match="no successor"):
                ctx.emit_nowait(x, to="nobody")
            with pytest.raises(FlowError, match="no successor"):
                await ctx.emit(x, to="nobody")
            raise ValueError
        return x

    async with create(retried(unknown).to(sink.node)) as flow:
        await flow.ask(1)
    assert sink.got == [1]


@virtual_time
async def test_an_emit_nowait_refused_by_a_full_floe_may_be_tried_again():
    got, attempts = [], []

    async def slow(x: int):
        await asyncio.sleep(1)
        got.append(x)

    async def source(x: int, ctx: Context):
        attempts.append((x, ctx.attempt))
        ctx.emit_nowait(x)

    async with create(retried(source, backoff_base=1.5).to(Node(slow)), queue_maxsize=1) as flow:
        for number in range(3):
            await flow.emit(Message(payload=number, trace_id="t"))
            await quiet()
    assert got == [0, 1, 2]
    assert attempts == [(0, 0), (1, 0), (2, 0), (2, 1)]


# --- what has not emitted is retried, and delivered once ------------------------------------------


@virtual_time
async def test_a_retried_node_delivers_its_output_once():
    sink, attempts = Sink(), []

    async def source(x: int, ctx: Context) -> int:
        attempts.append(ctx.attempt)
        if ctx.attempt < 2:
            raise ValueError
        return x

    async with create(retried(source).to(sink.node)) as flow:
        await flow.ask(1)
    assert (attempts, sink.got) == ([0, 1, 2], [1])


@virtual_time
async def test_an_emit_counts_for_its_own_attempt_alone():
    sink, attempts = Sink(), []

    async def source(x: int, ctx: Context) -> None:
        attempts.append(ctx.attempt)
        if ctx.attempt == 1:
            await ctx.emit(x)
        raise ValueError

    async with create(retried(source).to(sink.node), emit_errors_to_rookery=True) as flow:
        await flow.emit(1)
        assert (await flow.fetch()).metadata["attempts"] == 2
    assert (attempts, sink.got) == ([0, 1], [1])


@virtual_time
async def test_every_attempt_is_given_the_same_message():
    seen = []

    async def source(message: Message[int], ctx: Context) -> int:
        seen.append((message.payload, message.trace_id, dict(message.meta)))
        if ctx.attempt < 2:
            raise ValueError
        return message.payload

    async with create(retried(source)) as flow:
        await flow.ask(Message(payload=4, trace_id="t", meta={"k": "v"}))
    assert seen == [(4, "t", {"k": "v"})] * 3


# --- streams restart ------------------------------------------------------------------------------


@virtual_time
async def test_a_restarted_stream_counts_on_and_marks_the_first_chunk_of_each_attempt():
    async def source(x: int, ctx: Context) -> None:
        await ctx.emit_chunk("a")
        await ctx.emit_chunk("b")
        if ctx.attempt < 2:
            raise ValueError

    async with create(retried(source)) as flow:
        chunks = await chunks_of(flow)
    assert [chunk.seq for chunk in chunks] == [0, 1, 2, 3, 4, 5]
    assert [chunk.text for chunk in chunks] == ["a", "b"] * 3
    assert [chunk.meta.get("restart") for chunk in chunks] == [None, None, True, None, True, None]


@virtual_time
async def test_the_restart_mark_waits_for_the_first_attempt_that_writes():
    async def source(x: int, ctx: Context) -> None:
        if ctx.attempt != 1:
            await ctx.emit_chunk("a", meta={"own": ctx.attempt})
        if ctx.attempt < 2:
            raise ValueError

    async with create(retried(source)) as flow:
        chunks = await chunks_of(flow)
    assert [(chunk.seq, chunk.meta) for chunk in chunks] == [(0, {"own": 0}), (1, {"own": 2, "restart": True})]


@virtual_time
async def test_a_stream_that_the_failed_attempt_never_wrote_to_does_not_restart():
    async def source(x: int, ctx: Context) -> None:
        await ctx.emit_chunk("a", stream_id="one")
        if ctx.attempt == 0:
            raise ValueError
        await ctx.emit_chunk("b", stream_id="two")

    async with create(retried(source)) as flow:
        chunks = await chunks_of(flow)
    assert [(c.stream_id, c.seq, c.meta) for c in chunks] == [
        ("one", 0, {}),
        ("one", 1, {"restart": True}),
        ("two", 0, {}),
    ]


@virtual_time
async def test_a_meta_given_for_a_restarting_chunk_stays_the_callers():
    given: dict[str, Any] = {"own": 1}

    async def source(x: int, ctx: Context) -> None:
        await ctx.emit_chunk("a", meta=given)
        if ctx.attempt == 0:
            raise ValueError

    async with create(retried(source)) as flow:
        assert (await chunks_of(flow))[1].meta == {"own": 1, "restart": True}
    assert given == {"own": 1}


@node
async def speak(x: int, ctx: Context) -> int:
    await ctx.emit_chunk("word")
    return x


@pytest.mark.parametrize("depth", [1, 2])
@virtual_time
async def test_a_stream_restarts_when_the_retried_node_streams_through_a_playbook(depth: int):
    playbook = create(speak) if depth == 1 else create(subflow("inner", create(speak)))

    async def source(x: int, ctx: Context) -> int:
        await ctx.call_playbook(playbook, x)
        if ctx.attempt == 0:
            raise ValueError
        return x

    async with create(retried(source)) as flow:
        chunks = await chunks_of(flow)
    assert [(chunk.seq, chunk.meta) for chunk in chunks] == [(0, {}), (1, {"restart": True})]
