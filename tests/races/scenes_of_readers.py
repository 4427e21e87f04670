"""Scenarios of those who read a trace, or wait for it, while it goes: streams, handles, chunks."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from penguiflow import (
    Context,
    FlowError,
    FlowStateError,
    Message,
    PenguiFlow,
    StreamChunk,
    create,
    emit_stream_events,
    node,
    stream_flow,
)
from tests.races.harness import Scenario, plain
from tests.races.scenes_of_nodes import MOMENT, ask, cleans_up, itself, naps

TIGHT = {"queue_maxsize": 1}


@node
async def chatters(x: str, ctx: Context) -> str:
    """More than 256 chunks at once, which nobody reads."""
    for _ in range(257):
        await ctx.emit_chunk("x")
    return x


@node
async def tells(x: str, ctx: Context) -> str:
    for text in ("a", "b", "c"):
        await ctx.emit_chunk(text)
    await asyncio.sleep(1)
    return x


@node
async def tells_named(x: str, ctx: Context) -> str:
    for text in ("a", "b", "c"):
        await ctx.emit_chunk(text, to="hears")
    return x


@node
async def hears(x: str | StreamChunk) -> Any:
    await asyncio.sleep(1)
    return None if isinstance(x, StreamChunk) else x


@node
async def deaf(x: Any) -> None:
    """Makes `to=` a choice."""


@node
async def retells(x: str, ctx: Context) -> str:
    async def source() -> Any:
        for text in ("a", "b"):
            await asyncio.sleep(1)
            yield text

    assert await emit_stream_events(source(), ctx) == "ab"
    return x


@node
async def retells_at_once(x: str, ctx: Context) -> str:
    async def source() -> Any:
        for text in ("a", "b", "c"):
            yield text

    await emit_stream_events(source(), ctx)
    return x


async def stream(flow: PenguiFlow, message: Message[Any]) -> Any:
    async with flow.stream(message) as chunks:
        texts = []
        async for chunk in chunks:
            texts.append(chunk.text)
            await asyncio.sleep(1)
    return texts, chunks.result.payload


async def stream_flowing(flow: PenguiFlow, message: Message[Any]) -> Any:
    found = [item async for item in stream_flow(flow, message, include_final=True)]
    return [chunk.text for chunk in found[:-1]], found[-1].payload


async def leave(flow: PenguiFlow, message: Message[Any]) -> Any:
    """Leave a stream early, whose trace takes a moment to end."""
    async with flow.stream(message) as chunks:
        async for chunk in chunks:
            return chunk.text


async def leave_flowing(flow: PenguiFlow, message: Message[Any]) -> Any:
    flowing = stream_flow(flow, message)
    try:
        async for chunk in flowing:
            return chunk.text
    finally:
        await flowing.aclose()


@node
async def tells_and_cleans_up(x: str, ctx: Context) -> str:
    try:
        await ctx.emit_chunk(x)
        await asyncio.sleep(3)
    finally:
        await asyncio.sleep(0.05)
    return x


async def iterate(flow: PenguiFlow, message: Message[Any]) -> Any:
    found = []
    async for item in flow.start(message):
        found.append(item.text if isinstance(item, StreamChunk) else item.payload)
        await asyncio.sleep(1)
    return found


async def hold(flow: PenguiFlow, message: Message[Any]) -> Any:
    return (await flow.start(message).result()).payload


async def cancel_it(flow: PenguiFlow, message: Message[Any]) -> Any:
    """Cancel a started trace, which takes a moment to end."""
    handle = flow.start(message)
    await asyncio.sleep(0.5)
    cancelled = await handle.cancel()
    try:
        await handle.result()
    except FlowError:
        return cancelled


async def cancel_by_id(flow: PenguiFlow, message: Message[Any]) -> Any:
    handle = flow.start(message)
    await asyncio.sleep(0.5)
    return await flow.cancel(handle.trace_id)


def live(flow: PenguiFlow, message: Message[Any]) -> bool:
    try:
        return flow.explain(message.trace_id) is not None
    except KeyError:
        return False


async def chunks_to_reader(flow: PenguiFlow, message: Message[Any]) -> Any:
    """Put chunks into a live trace faster than its reader reads them, for as long as it goes on."""

    async def write() -> None:
        with suppress(FlowStateError):
            for _ in range(3):
                if live(flow, message):
                    await flow.emit_chunk("x", message)

    handle, found = flow.start(message), []
    writing = asyncio.ensure_future(write())
    try:
        async for item in handle:
            await asyncio.sleep(2)
            found.append(plain(item))
        await writing
        return [item for item in found if item != "x"]
    finally:
        writing.cancel()
        await asyncio.wait([writing])
        _ = writing.cancelled() or writing.exception()  # the reader has his own


TOO_LATE = dict.fromkeys(("cancel", "deadline", "stop"), lambda cancelled: cancelled is False)

SCENES = {
    "slot for stream": Scenario(lambda **o: create(tells, **o), stream, lambda x: (["a", "b", "c"], x), lag=5, slots=1),
    "many chunks": Scenario(lambda **o: create(chatters, **o), ask, itself),
    "stream": Scenario(lambda **o: create(tells, **o, **TIGHT), stream, lambda x: (["a", "b", "c"], x), lag=5),
    "stream_flow": Scenario(lambda **o: create(retells, **o), stream_flowing, lambda x: (["a", "b", ""], x)),
    "retold": Scenario(
        lambda **o: create(retells_at_once, **o, **TIGHT), stream, lambda x: (["a", "b", "c", ""], x), lag=5
    ),
    "left early": Scenario(lambda **o: create(tells_and_cleans_up, **o), leave, itself, **MOMENT),
    "flow left early": Scenario(lambda **o: create(tells_and_cleans_up, **o), leave_flowing, itself, **MOMENT),
    "chunks to nodes": Scenario(lambda **o: create(tells.to(hears), **o, **TIGHT), ask, itself),
    "chunks to one": Scenario(lambda **o: create(tells_named.to(hears, deaf), **o, **TIGHT), hold, itself),
    "iterated": Scenario(lambda **o: create(tells, **o, **TIGHT), iterate, lambda x: ["a", "b", "c", x], lag=5),
    "handle": Scenario(lambda **o: create(naps, **o), hold, itself),
    "cancel": Scenario(
        lambda **o: create(cleans_up, **o), cancel_it, lambda _: True, alters=TOO_LATE, lag=0.5, **MOMENT
    ),
    "cancel by id": Scenario(
        lambda **o: create(cleans_up, **o), cancel_by_id, lambda _: True, alters=TOO_LATE, lag=0.5, **MOMENT
    ),
    "chunks to reader": Scenario(
        lambda **o: create(tells, **o, **TIGHT), chunks_to_reader, lambda x: ["a", "b", "c", x], lag=20
    ),
}
