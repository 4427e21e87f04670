"""Streams: chunks are counted and have no spans, and a stream that is left ends what belongs to it."""

from __future__ import annotations

import asyncio
import gc
import logging
from contextlib import suppress

import pytest
from opentelemetry import context, trace
from seeing import said

from penguiflow import Context, FlowError, create, node, subflow
from penguiflow.testkit import virtual_time

NUMBER = 1000


@virtual_time
async def test_chunks_are_counted_on_the_node_and_the_trace_and_have_no_spans(seen, telemetry):
    @node
    async def writes(x: int, ctx: Context) -> int:
        await asyncio.sleep(0.02)
        for number in range(x):
            await ctx.emit_chunk(str(number))
        return x

    async with create(subflow("sub", create(writes, name="inner")), name="f", plugins=[telemetry()]) as flow:
        async with flow.stream(50) as stream:
            assert len([chunk async for chunk in stream]) == 50
            assert stream.result == 50
    assert seen.tree() == ["invoke_workflow f", "  invoke_node sub", "    invoke_node writes"]
    for name in ("invoke_node writes", "invoke_workflow f"):
        span = said(seen.one(name))
        assert span["penguiflow.chunks"] == 50
        assert span["penguiflow.time_to_first_chunk"] == pytest.approx(0.02)
    assert "penguiflow.chunks" not in said(seen.one("invoke_node sub"))
    assert said(seen.one("invoke_workflow f"))["penguiflow.mode"] == "stream"


async def test_streams_that_are_cancelled_timed_out_or_abandoned_end_their_spans(seen, telemetry, caplog):
    """A thousand, with spans of the user's own that are open when it happens."""
    tracer = seen.provider.get_tracer("user")

    @node
    async def fetches(x: int, ctx: Context):
        with tracer.start_as_current_span("fetch"):
            for number in range(1000):
                await ctx.emit_chunk(str(number))
                with tracer.start_as_current_span("item"):
                    await asyncio.sleep(0 if number % 5 else 0.001)
                if number % 3 == 0:
                    yield number

    @node
    async def takes(x: int, ctx: Context) -> int:
        with tracer.start_as_current_span("take"):
            await asyncio.sleep(0.001)
        return x

    plugin = telemetry()
    inner = create(fetches.to(takes), name="inner")
    caplog.set_level(logging.WARNING)
    callers_context = context.get_current()
    async with create(subflow("sub", inner), name="f", plugins=[plugin], max_traces=NUMBER) as flow:

        async def left_early(x: int) -> None:
            async with flow.stream(x) as stream:
                async for chunk in stream:
                    if chunk.seq >= x % 7:
                        break

        async def late(x: int) -> None:
            with suppress(FlowError):
                await flow.ask(x, timeout_s=0.001 * (x % 9))

        async def cancelled(x: int) -> None:
            handle = flow.start(x)
            for _ in range(x % 6):
                await asyncio.sleep(0)
            await handle.cancel()

        async def abandoned(x: int) -> None:
            asker = asyncio.create_task(flow.ask(x))
            await asyncio.sleep(0.001 * (x % 4))
            asker.cancel()
            with suppress(asyncio.CancelledError):
                await asker

        async def unread(x: int) -> None:
            async def read() -> None:
                async with flow.stream(x) as stream:
                    async for _ in stream:
                        await asyncio.sleep(0)

            reader = asyncio.create_task(read())
            await asyncio.sleep(0.001 * (x % 5))
            reader.cancel()
            with suppress(asyncio.CancelledError):
                await reader

        ways = (left_early, late, cancelled, abandoned, unread)
        for begin in range(0, NUMBER, 50):
            await asyncio.gather(*(ways[x % len(ways)](x) for x in range(begin, begin + 50)))
            assert context.get_current() is callers_context
        assert plugin.under_way() == {}
    gc.collect()
    told = [record.getMessage() for record in caplog.records]
    assert not [text for text in told if "detach" in text or "raised in on_event" in text]
    assert not [text for text in told if "ended span" in text], "a span was ended twice or written to after its end"
    assert len(seen.of("invoke_workflow f")) == NUMBER
    assert all(span.end_time is not None for span in seen.spans)
    outcomes = {said(span)["penguiflow.outcome"] for span in seen.of("invoke_workflow f")}
    assert outcomes == {"cancelled", "expired"}
    below = {"fetch": "invoke_node fetches", "item": "fetch", "take": "invoke_node takes"}
    names = {span.context.span_id: span.name for span in seen.spans}
    for span in seen.spans:
        if span.name in below:
            assert names[span.parent.span_id] == below[span.name]


async def test_a_node_that_swallows_its_cancellation_ends_with_its_trace(seen, telemetry, caplog):
    tracer = seen.provider.get_tracer("user")
    started, go, done = asyncio.Event(), asyncio.Event(), asyncio.Event()
    current: list[str] = []

    @node
    async def stubborn(x: int) -> int:
        started.set()
        while not go.is_set():
            with suppress(asyncio.CancelledError):
                await go.wait()
        with tracer.start_as_current_span("late"):
            current.append(trace.get_current_span().name)  # type: ignore[attr-defined]
        done.set()
        return x

    plugin = telemetry()
    async with create(stubborn, plugins=[plugin]) as flow:
        handle = flow.start(1)
        await started.wait()
        await handle.cancel()
        assert plugin.under_way() == {}
        assert said(seen.one("invoke_node stubborn"))["penguiflow.outcome"] == "cancelled"
        go.set()
        await done.wait()
    assert current == ["late"]
    assert "detach" not in caplog.text
