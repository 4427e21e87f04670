"""Scenarios of messages that wait: for a slot, a floe, a join, a reader, Rookery."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from penguiflow import (
    ROOKERY,
    WM,
    Context,
    Emit,
    FinalAnswer,
    FlowError,
    FlowErrorCode,
    FlowStateError,
    Message,
    PenguiFlow,
    TraceCancelled,
    create,
    hookimpl,
    join_k,
    node,
)
from tests.races.harness import BASKET, Scenario, plain
from tests.races.scenes_of_nodes import ask, itself, naps, same, turns
from tests.races.scenes_of_readers import TIGHT, hears, live

# --- floes, joins, loops --------------------------------------------------------------------------


@node
async def pours(x: str, ctx: Context) -> Any:
    for i in range(3):
        await ctx.emit((i, x))
    return (3, x)


@node
async def quick(pair: Any) -> Any:
    return pair


@node
async def slow_last(pair: Any) -> Any:
    await asyncio.sleep(2)
    return pair[1] if pair[0] == 3 else None


@node
async def gives_up(x: str, ctx: Context) -> None:
    """Gives up a message that waits at two full floes: it isn't sent."""
    await ctx.emit((0, x))
    await ctx.emit((1, x))
    try:
        async with asyncio.timeout(0.5):
            await ctx.emit((2, x))
    except TimeoutError:
        await ctx.emit((3, x))


@node
async def slow(pair: Any) -> Any:
    await asyncio.sleep(1)
    return pair


@node
async def slow_too(pair: Any) -> Any:
    await asyncio.sleep(1)
    return pair


def given(x: str) -> list[Any]:
    return [(0, x), (0, x), (1, x), (1, x), (3, x), (3, x)]


async def start_and_sort(flow: PenguiFlow, message: Message[Any]) -> Any:
    return sorted(await start_and_list(flow, message))


@node
async def pours_much(x: str, ctx: Context) -> None:
    """More than 256 messages at once, none of which has to wait."""
    for i in range(257):
        await ctx.emit(f"{x}{i}", to=ROOKERY)


@node
async def thinks(memory: WM) -> WM | FinalAnswer:
    await asyncio.sleep(1)
    return memory if memory.hops < 2 else FinalAnswer(text=memory.query)


@node
async def remembers(x: str) -> WM:
    return WM(query=x)  # a controller's memory is made in the flow, where a client sends a text


async def ask_text(flow: PenguiFlow, message: Message[Any]) -> Any:
    return (await ask(flow, message)).text


async def start_and_count(flow: PenguiFlow, message: Message[Any]) -> Any:
    found = [m.payload for m in await flow.start(message).results()]
    return found[0], len(found)


def gathers(options: dict[str, Any]) -> PenguiFlow:
    both = join_k("both", 2)

    @node
    async def first(pair: list[Any]) -> Any:
        await asyncio.sleep(1)
        return pair[0]

    return create(same.to(naps, turns), naps.to(both), turns.to(both), both.to(first), **options)


# --- Rookery, and messages from outside -----------------------------------------------------------


class Delivers:
    """A plugin that wants every error delivered."""

    @hookimpl
    async def on_error(self, error: Any) -> Any:
        return Emit()


async def emit(flow: PenguiFlow, message: Message[Any]) -> Any:
    """Emit, and let it wait a while before everything is fetched."""
    await flow.emit(message)
    await asyncio.sleep(5)
    return await fetch_all(flow)


async def emit_and_wait(flow: PenguiFlow, message: Message[Any]) -> Any:
    await flow.emit(message)
    try:
        async with asyncio.timeout(50):
            BASKET.get().append(plain(await flow.fetch_any()))
    except (TimeoutError, TraceCancelled, FlowStateError):
        return []
    return await fetch_all(flow)


async def fetch_all(flow: PenguiFlow) -> list[Any]:
    found = BASKET.get()
    try:
        while True:
            async with asyncio.timeout(50):
                found.append(plain(await flow.fetch()))
    except (TimeoutError, TraceCancelled, FlowStateError):
        return found


async def start_and_list(flow: PenguiFlow, message: Message[Any]) -> Any:
    """What `emit` gives, for whoever must not fetch what others emitted."""
    try:
        return [plain(found) for found in await flow.start(message).results()]
    except FlowError as error:
        if error.code == FlowErrorCode.NODE_EXCEPTION:
            return [message.payload, error.code]
        raise


async def both(first: Coroutine[Any, Any, Any], second: Coroutine[Any, Any, Any]) -> Any:
    """Run two at a time; what the second gives."""
    task = asyncio.ensure_future(second)
    try:
        await first
        return await task
    finally:
        task.cancel()
        await asyncio.wait([task])


async def emit_into(flow: PenguiFlow, message: Message[Any]) -> Any:
    """Emit more into a live trace than its floe holds."""

    async def write() -> None:
        await flow.emit(message)
        for _ in range(3):
            if live(flow, message):
                await flow.emit(message)

    return await both(write(), fetch_all(flow))


async def ask_for_list(flow: PenguiFlow, message: Message[Any]) -> Any:
    return [await ask(flow, message)]


async def start_four(flow: PenguiFlow, message: Message[Any]) -> Any:
    """What `emit_into` gives."""
    return 4 * await start_and_list(flow, message)


async def chunks_into_trace(flow: PenguiFlow, message: Message[Any]) -> Any:
    """Put chunks into a live trace, at nodes that take them, faster than they do."""
    await flow.emit(message)
    for _ in range(3):
        if live(flow, message):
            await flow.emit_chunk("x", message)
    return await fetch_all(flow)


def overflows(options: dict[str, Any]) -> PenguiFlow:
    """A node on a cycle that fills its floe to the limit, and whose error finds Rookery full."""

    @node
    async def floods(x: str, ctx: Context) -> Any:
        await ctx.emit(x, to=ROOKERY)
        for i in range(1026):
            await ctx.emit(i)
        return "too much"

    @node
    async def swims(x: Any) -> None:
        if x == 0:
            await asyncio.sleep(8)

    return create(
        floods.to(swims), swims.to(floods), allow_cycles=True, emit_errors_to_rookery=True, **options, **TIGHT
    )


@node
async def leaks(x: str, ctx: Context) -> Any:
    """One output that fills Rookery, and then an error."""
    await ctx.emit(x, to=ROOKERY)
    raise ValueError(x)


@node
async def wraps(x: str, ctx: Context) -> Any:
    await ctx.emit(x, to=ROOKERY)
    return Message(payload="wrapped")


@node(name="thinks")
async def concludes(memory: WM, ctx: Context) -> Any:
    await ctx.emit(memory.query, to=ROOKERY)
    return FinalAnswer(text="so")


@node
async def pours_out(x: str, ctx: Context) -> Any:
    for i in range(3):
        await ctx.emit((i, x), to=ROOKERY)
    return (3, x)


def some_of(*wanted: Any) -> Any:
    """Whether a client got no more than these."""
    return lambda found: isinstance(found, list) and all(item in wanted or unfinished(item) for item in found)


def unfinished(text: Any) -> bool:
    """Whether this is what a controller that ran out of time leaves."""
    return isinstance(text, str) and text.startswith("No final answer: the deadline passed")


def cut_short(*wanted: Any) -> dict[str, Any]:
    return dict.fromkeys(("cancel", "deadline", "stop"), some_of(*wanted))


def thinking(*nodes: Any, **options: Any) -> PenguiFlow:
    return create(remembers.to(*nodes), *(n.to(n) for n in nodes), allow_cycles=True, **options)


ERRORS_OUT = {"emit_errors_to_rookery": True}
GONE = dict.fromkeys(("cancel", "deadline"), ("FlowStateError",))
PAIRS = [(i, "subject") for i in range(4)]

SCENES = {
    "slot for ask": Scenario(lambda **o: create(naps, **o), ask, itself, slots=1),
    "slot for emit": Scenario(
        lambda **o: create(naps, **o),
        emit_and_wait,
        lambda x: [x],
        other=ask_for_list,
        slots=1,
        lag=60,
        keeps_all=True,
        alters=cut_short("subject"),
    ),
    "emit given up": Scenario(lambda **o: create(gives_up.to(slow, slow_too), **o, **TIGHT), start_and_sort, given),
    "full floe": Scenario(lambda **o: create(pours.to(quick), quick.to(slow_last), **o, **TIGHT), ask, itself),
    "join": Scenario(lambda **o: gathers(o), ask, itself),
    "much": Scenario(lambda **o: create(pours_much, **o), start_and_count, lambda x: (f"{x}0", 257)),
    "controller": Scenario(lambda **o: thinking(thinks, **o), ask_text, itself, alters={"deadline": unfinished}),
    "Rookery": Scenario(
        lambda **o: create(pours_out, **o, **TIGHT),
        emit,
        lambda x: [(i, x) for i in range(4)],
        other=start_and_list,
        lag=60,
        keeps_all=True,
        alters=cut_short(*PAIRS),
    ),
    "wrapped": Scenario(
        lambda **o: create(wraps, **o, **TIGHT),
        emit,
        lambda x: [x, "wrapped"],
        other=start_and_list,
        lag=60,
        keeps_all=True,
        alters=cut_short("subject", "wrapped"),
    ),
    "conclusion": Scenario(
        lambda **o: thinking(concludes, **o, **TIGHT),
        emit,
        lambda x: [x, "so"],
        other=start_and_list,
        lag=60,
        keeps_all=True,
        alters=cut_short("subject", "so"),
    ),
    "error out": Scenario(
        lambda **o: create(leaks, **o, **TIGHT, **ERRORS_OUT),
        emit,
        lambda x: [x, "NODE_EXCEPTION"],
        other=start_and_list,
        lag=60,
        keeps_all=True,
        alters=cut_short("subject", "NODE_EXCEPTION", "TRACE_CANCELLED", "DEADLINE_EXCEEDED"),
    ),
    "error delivered": Scenario(
        lambda **o: create(leaks, **o, **TIGHT, plugins=[Delivers()]),
        emit,
        lambda x: [x, "NODE_EXCEPTION"],
        other=start_and_list,
        lag=60,
        keeps_all=True,
        alters=cut_short("subject", "NODE_EXCEPTION"),
    ),
    "overflow": Scenario(
        lambda **o: overflows(o),
        emit,
        lambda x: [x, "NODE_EXCEPTION"],
        other=start_and_list,
        lag=60,
        alters=cut_short("subject", "NODE_EXCEPTION", "TRACE_CANCELLED", "DEADLINE_EXCEEDED"),
        steps=range(13, 18),
        again=start_and_list,
    ),
    "emit into": Scenario(
        lambda **o: create(naps, **o, **TIGHT),
        emit_into,
        lambda x: [x] * 4,
        other=start_four,
        lag=60,
        alters=cut_short("subject"),
        errors=GONE,
    ),
    "chunks into": Scenario(
        lambda **o: create(hears, **o, **TIGHT),
        chunks_into_trace,
        lambda x: [x],
        other=start_and_list,
        lag=60,
        alters=cut_short("subject"),
        errors=GONE,
    ),
}
