"""Scenarios of flows inside nodes, and of flows that start, stop and hold resources."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from penguiflow import Context, FlowError, Message, PenguiFlow, create, hookimpl, node, subflow
from tests.races.harness import Scenario
from tests.races.scenes_of_messages import slow_last
from tests.races.scenes_of_nodes import (
    MOMENT,
    ask,
    ask_in_vain_for,
    cleans_up,
    fails_once,
    itself,
    naps,
    same,
    swallows,
)
from tests.races.scenes_of_readers import TIGHT, hears, hold, stream, tells

# --- flows inside nodes ---------------------------------------------------------------------------


@asynccontextmanager
async def slow_resources() -> AsyncIterator[str]:
    await asyncio.sleep(1)
    try:
        yield "resources"
    finally:
        await asyncio.sleep(0.05)


@asynccontextmanager
async def broken_resources() -> AsyncIterator[str]:
    await asyncio.sleep(1)
    raise OSError("nothing there")
    yield "never"


@asynccontextmanager
async def stubborn_resources() -> AsyncIterator[str]:
    """They break after a while, and take a moment over being given up."""
    try:
        await asyncio.sleep(1)
        yield "resources"
    finally:
        await asyncio.sleep(0.05)


def plays(inner: PenguiFlow, timeout: float | None = None) -> Any:
    """A node that runs `inner` as a playbook."""

    @node
    async def player(x: str, ctx: Context) -> Any:
        return await ctx.call_playbook(inner, timeout=timeout)

    return player


def plays_in_vain(inner: PenguiFlow) -> Any:
    """A node whose playbook takes too long."""

    @node
    async def player(x: str, ctx: Context) -> Any:
        try:
            await ctx.call_playbook(inner, timeout=0.5)
        except FlowError:
            await asyncio.sleep(1)
            return x

    return player


def asks(options: dict[str, Any]) -> PenguiFlow:
    """A node that asks another flow, which it runs itself."""

    @node
    async def asker(x: str) -> Any:
        async with create(naps.to(cleans_up)) as other:
            return await other.ask(x)

    return create(asker, **options)


def gives_many(options: dict[str, Any]) -> PenguiFlow:
    """A subflow that gives more outputs than the floe after it holds."""

    @node
    async def counts(x: str, ctx: Context) -> Any:
        for i in range(3):
            await ctx.emit((i, x))
        return (3, x)

    return create(subflow("inner", create(counts)).to(slow_last), **options, **TIGHT)


# --- flows that start and stop --------------------------------------------------------------------


def times_out(inner: PenguiFlow) -> Any:
    """A node whose own time is up while its playbook runs, which takes a moment over that."""

    @node(timeout_s=0.5)
    async def player(x: str, ctx: Context) -> Any:
        return await ctx.call_playbook(inner)

    return player


@node
async def uses(x: str, ctx: Context) -> Any:
    await asyncio.sleep(1)
    return x if ctx.resources == "resources" else None


async def live_and_ask(flow: PenguiFlow, message: Message[Any]) -> Any:
    """Enter the flow, ask it, leave it: only what went wrong in between counts."""
    async with flow:
        return (await flow.ask(message)).payload


async def ask_at_once(flow: PenguiFlow, message: Message[Any]) -> Any:
    """Ask while the resources are being opened, and stop."""
    flow.run()
    try:
        return (await flow.ask(message)).payload
    finally:
        await flow.stop()


async def ask_while_entering(flow: PenguiFlow, message: Message[Any]) -> Any:
    """Ask a flow that somebody else is entering."""

    async def live() -> None:
        async with flow:
            await handle.result()

    living = asyncio.ensure_future(live())
    try:
        await asyncio.sleep(0.001)  # by now it runs, and opens its resources
        handle = flow.start(message)
        result = (await handle.result()).payload
        await living
        return result
    finally:
        living.cancel()
        await outlast(living)


async def find_broken(flow: PenguiFlow, message: Message[Any]) -> Any:
    """Enter a flow whose resources can't be opened."""
    try:
        async with flow:
            return "entered"
    except OSError:
        return "broken"


async def leave_at_once(flow: PenguiFlow, message: Message[Any]) -> Any:
    """Leave a flow at once that has much to do."""
    async with flow:
        handle = flow.start(message)
    return (await handle.result()).payload


async def outlast(task: asyncio.Task[Any]) -> None:
    """Wait for the end of a task, even if one is cancelled meanwhile."""
    cancelled = False
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            cancelled = True
    if cancelled:
        raise asyncio.CancelledError


async def give_up_entering(flow: PenguiFlow, message: Message[Any]) -> Any:
    """Give up entering a flow while its resources are being opened."""

    async def enter() -> None:
        async with flow:
            raise AssertionError("it takes longer")

    entering = asyncio.ensure_future(enter())
    try:
        await asyncio.sleep(0.5)
    finally:
        entering.cancel()
        await outlast(entering)
    return message.payload


async def stop_hard(flow: PenguiFlow, message: Message[Any]) -> Any:
    """Stop a flow while a node runs that takes its time over it."""
    flow.run()
    handle = flow.start(message)
    try:
        await asyncio.sleep(0.5)
    finally:
        await flow.stop(0)
    try:
        return (await handle.result()).payload
    except FlowError as error:
        return error.code


async def stop_in_vain(flow: PenguiFlow, message: Message[Any]) -> Any:
    """Stop a flow, and give that up: it stops at once."""
    flow.run()
    flow.emit_nowait(message)
    await asyncio.sleep(0.1)
    stopping = asyncio.ensure_future(flow.stop())
    try:
        await asyncio.sleep(0.2)
    finally:
        stopping.cancel()
        await outlast(stopping)
    return message.payload


async def fetch_to_the_end(flow: PenguiFlow, message: Message[Any]) -> Any:
    """Fetch what never comes from a flow that is stopped."""
    flow.run()
    fetching = asyncio.ensure_future(flow.fetch())
    try:
        await asyncio.sleep(0.5)
        await flow.stop()
        await asyncio.wait([fetching], timeout=0.5)
        return type(fetching.exception()).__name__ if fetching.done() else "still waiting"
    finally:
        fetching.cancel()
        await flow.stop()
        await outlast(fetching)
        _ = fetching.cancelled() or fetching.exception()


EXPIRED = {"deadline": lambda code: code == "DEADLINE_EXCEEDED"}


class Lives:
    """A plugin that takes its time over its start and its stop, and over being given up."""

    def __init__(self, pause: float) -> None:
        self.pause = pause

    async def start(self, flow: PenguiFlow) -> None:
        try:
            await asyncio.sleep(self.pause)
        finally:
            await asyncio.sleep(0.05)

    stop = start

    @hookimpl
    def on_event(self, event: Any) -> None:
        pass


SLOW = {"resources": slow_resources}
LAG = {"keeps": True, "lag": 1.5, "patience": 1.5}

SCENES = {
    "playbook": Scenario(lambda **o: create(plays(create(naps.to(cleans_up))).to(same), **o), ask, itself, **MOMENT),
    "limited playbook": Scenario(lambda **o: create(plays(create(fails_once), 9), **o), ask, itself),
    "late playbook": Scenario(lambda **o: create(plays_in_vain(create(cleans_up)), **o), ask, itself, **MOMENT),
    "playbook cut short": Scenario(
        lambda **o: create(times_out(create(cleans_up)), **o),
        ask_in_vain_for,
        lambda _: ("NODE_TIMEOUT", 0.55),
        **MOMENT,
    ),
    "playbook with resources": Scenario(lambda **o: create(plays(create(uses, **SLOW)), **o), ask, itself, **MOMENT),
    "playbook that swallows": Scenario(lambda **o: create(plays(create(swallows)), **o), ask, itself, patience=0.11),
    "playbook that streams": Scenario(
        lambda **o: create(plays(create(tells)), **o, **TIGHT), stream, lambda x: (["a", "b", "c"], x), lag=5
    ),
    "subflow": Scenario(
        lambda **o: create(subflow("out", create(subflow("in", create(naps.to(cleans_up))))).to(same), **o),
        ask,
        itself,
        **MOMENT,
    ),
    "subflow of many": Scenario(lambda **o: gives_many(o), ask, itself),
    "chunks of a subflow": Scenario(
        lambda **o: create(subflow("inner", create(tells)).to(hears), **o, **TIGHT), hold, itself
    ),
    "nested ask": Scenario(lambda **o: asks(o), ask, itself, **MOMENT),
    "life": Scenario(lambda **o: create(naps.to(cleans_up), **o), live_and_ask, itself, **LAG),
    "life with resources": Scenario(lambda **o: create(uses, **o, **SLOW), live_and_ask, itself, **LAG),
    "resources of a subflow": Scenario(
        lambda **o: create(subflow("inner", create(uses, **SLOW)), **o), live_and_ask, itself, **LAG
    ),
    "asked early": Scenario(lambda **o: create(uses, **o, **SLOW), ask_at_once, itself, **LAG),
    "broken": Scenario(
        lambda **o: create(uses, resources=broken_resources, **o),
        find_broken,
        lambda _: "broken",
        raised=OSError,
        **LAG,
    ),
    "given up": Scenario(lambda **o: create(uses, resources=stubborn_resources, **o), give_up_entering, itself, **LAG),
    "left at once": Scenario(lambda **o: create(uses, **o, **SLOW), leave_at_once, itself, **LAG),
    "stopped hard": Scenario(
        lambda **o: create(cleans_up, **o), stop_hard, lambda _: "TRACE_CANCELLED", alters=EXPIRED, **LAG
    ),
    "stopped in vain": Scenario(lambda **o: create(cleans_up, **o), stop_in_vain, itself, **LAG),
    "closed in vain": Scenario(lambda **o: create(cleans_up, **o, **SLOW), stop_in_vain, itself, **LAG),
    "asked while entering": Scenario(
        lambda **o: create(subflow("inner", create(uses, **SLOW)), plugins=[Lives(1)], **o),
        ask_while_entering,
        itself,
        **LAG,
    ),
    "asked while plugins are late": Scenario(
        lambda **o: create(naps, plugins=[Lives(999)], **o), ask_while_entering, itself, **LAG
    ),
    "plugins": Scenario(lambda **o: create(naps, plugins=[Lives(1)], **o), live_and_ask, itself, **LAG),
    "plugins given up": Scenario(lambda **o: create(naps, plugins=[Lives(999)], **o), give_up_entering, itself, **LAG),
    "late plugins": Scenario(lambda **o: create(naps, plugins=[Lives(999)], **o), live_and_ask, itself, **LAG),
    "fetched to the end": Scenario(lambda **o: create(naps, **o), fetch_to_the_end, lambda _: "FlowStateError", **LAG),
    "stray": Scenario(lambda **o: create(swallows, **o), stop_hard, lambda _: "TRACE_CANCELLED", alters=EXPIRED, **LAG),
}
