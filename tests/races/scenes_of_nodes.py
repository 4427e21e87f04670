"""Scenarios of what a node run can wait for: itself, limits, retries, decisions, routes, other tasks, its generator."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from penguiflow import (
    ROOKERY,
    Context,
    FlowError,
    FlowErrorCode,
    Message,
    PenguiFlow,
    Retry,
    create,
    hookimpl,
    map_concurrent,
    node,
    predicate_router,
    router,
)
from tests.races.harness import Scenario, complain
from tests.utils.flowtestkit import clock


async def ask(flow: PenguiFlow, message: Message[Any]) -> Any:
    return (await flow.ask(message)).payload


async def ask_in_vain(flow: PenguiFlow, message: Message[Any]) -> Any:
    """Ask what fails; the code it fails with."""
    try:
        return await flow.ask(message)
    except FlowError as error:
        if error.code in (FlowErrorCode.TRACE_CANCELLED, FlowErrorCode.DEADLINE_EXCEEDED):
            raise
        return error.code


async def ask_in_vain_for(flow: PenguiFlow, message: Message[Any]) -> Any:
    """Ask what fails; the code it fails with, and after how long."""
    before = clock()
    return await ask_in_vain(flow, message), round(clock() - before, 2)


def itself(payload: str) -> str:
    return payload


@node
async def same(x: Any) -> Any:
    return x


@node
async def naps(x: Any) -> Any:
    await asyncio.sleep(1)
    return x


@node
async def turns(x: Any) -> Any:
    for _ in range(3):
        await asyncio.sleep(0)
    return x


@node(max_retries=1, backoff_base=2)
async def fails_once(x: Any, ctx: Context) -> Any:
    await asyncio.sleep(1)
    if ctx.attempt == 0:
        raise ValueError(x)
    return x


@node(timeout_s=3, max_retries=1, backoff_base=1)
async def late_once(x: Any, ctx: Context) -> Any:
    await asyncio.sleep(10 if ctx.attempt == 0 else 1)
    return x


@node(max_concurrency=1)
async def one_at_a_time(x: Any) -> Any:
    await asyncio.sleep(2)
    return x


@node(max_concurrency=1, max_retries=1, backoff_base=1, timeout_s=5)
async def one_at_a_time_and_fails_once(x: Any, ctx: Context) -> Any:
    await asyncio.sleep(2)
    if ctx.attempt == 0:
        raise ValueError(x)
    return x


@node
async def cleans_up(x: Any) -> Any:
    """Takes a moment over its cancellation, which its trace waits for."""
    try:
        await asyncio.sleep(1)
    finally:
        await asyncio.sleep(0.05)
    return x


@node
async def swallows(x: Any) -> Any:
    """Takes longer over its cancellation than its trace waits."""
    try:
        await asyncio.sleep(1)
    except asyncio.CancelledError:
        await asyncio.sleep(5)
    return x


@node
async def yields(x: str) -> AsyncIterator[Any]:
    for i in range(4):
        await asyncio.sleep(1)
        yield (i, x)


@node
async def last(pair: Any) -> Any:
    await asyncio.sleep(2)
    return pair[1] if pair[0] == 3 else None


@node
async def yields_nonsense(x: Any) -> AsyncIterator[int]:
    try:
        await asyncio.sleep(1)
        yield "no number"  # type: ignore[misc]
    finally:
        await asyncio.sleep(0.05)


@node
async def closes_slowly(x: str) -> AsyncIterator[Any]:
    """Yields to a full floe; cancelled there, it takes a moment to close."""
    try:
        for i in range(4):
            yield (i, x)
    finally:
        await asyncio.sleep(0.05)


@node
async def maps(x: Any) -> Any:
    async def work(seconds: int) -> int:
        await asyncio.sleep(seconds)
        return seconds

    assert await map_concurrent([3, 1, 2], work, max_concurrency=2) == [3, 1, 2]
    return x


@node
async def maps_in_vain(x: Any) -> Any:
    """However `map_concurrent` ends, no worker is left, though each takes a moment over it."""
    at_work: set[int] = set()

    async def work(seconds: int) -> None:
        at_work.add(seconds)
        try:
            try:
                await asyncio.sleep(seconds)
                raise ValueError(seconds)
            finally:
                await asyncio.sleep(0.05)
        finally:
            at_work.remove(seconds)

    try:
        await map_concurrent([1, 2, 3], work)
    except ValueError as error:
        return x if error.args == (1,) else error.args
    finally:
        if at_work:
            complain(f"workers {at_work} are still at work")


class Decides:
    """A plugin that takes its time over every error, and lets it be tried again once."""

    @hookimpl
    async def on_error(self, error: Any) -> Any:
        await asyncio.sleep(1)
        return Retry(after_s=2) if error.metadata["attempts"] == 1 else None


class Routes:
    """A plugin that takes its time over every route."""

    @hookimpl
    async def resolve_route(self, request: Any) -> Any:
        await asyncio.sleep(1)
        return "naps"


async def takes_its_time(request: Any) -> Any:
    await asyncio.sleep(1)
    return ["same", "naps"]


@node
async def fails_at_first(x: Any, ctx: Context) -> Any:
    await asyncio.sleep(0)
    if ctx.attempt == 0:
        raise ValueError(x)
    return x


@node(name="fails")
async def always_fails(x: Any) -> Any:
    await asyncio.sleep(1)
    raise ValueError(x)


def long_way(options: dict[str, Any]) -> PenguiFlow:
    """A loop of more than 256 node runs, which never waits."""

    @node
    async def counts(x: str) -> Any:
        return [x]

    @node
    async def more(x: list[Any]) -> list[Any]:
        return [*x, None]

    def chosen(x: list[Any]) -> str:
        return "more" if len(x) < 140 else ROOKERY

    way = predicate_router("way", chosen)
    return create(counts.to(more), more.to(way), way.to(more), allow_cycles=True, **options)


async def ask_for_first(flow: PenguiFlow, message: Message[Any]) -> Any:
    found = await ask(flow, message)
    return found[0], len(found)


MOMENT = {"patience": 0.06}  # where something takes its time over its end

SCENES = {
    "chain": Scenario(lambda **o: create(same.to(naps), naps.to(turns), **o), ask, itself),
    "long way": Scenario(lambda **o: long_way(o), ask_for_first, lambda x: (x, 140)),
    "retry": Scenario(lambda **o: create(fails_once.to(same), **o), ask, itself),
    "failure": Scenario(lambda **o: create(always_fails, **o), ask_in_vain, lambda _: "NODE_EXCEPTION"),
    "time-out": Scenario(lambda **o: create(late_once.to(same), **o), ask, itself),
    "limit": Scenario(lambda **o: create(one_at_a_time.to(same), **o), ask, itself),
    "limited retry": Scenario(lambda **o: create(one_at_a_time_and_fails_once, **o), ask, itself),
    "clean-up": Scenario(lambda **o: create(cleans_up.to(same), **o), ask, itself, **MOMENT),
    "swallowed": Scenario(lambda **o: create(swallows.to(same), **o), ask, itself, patience=0.11),
    "generator": Scenario(lambda **o: create(yields.to(last), **{**o, "queue_maxsize": 1}), ask, itself),
    "bad generator": Scenario(
        lambda **o: create(yields_nonsense, **o), ask_in_vain_for, lambda _: ("VALIDATION", 1.05), **MOMENT
    ),
    "slow to close": Scenario(
        lambda **o: create(closes_slowly.to(last), **{**o, "queue_maxsize": 1}), ask, itself, **MOMENT
    ),
    "map": Scenario(lambda **o: create(maps.to(same), **o), ask, itself),
    "map in vain": Scenario(lambda **o: create(maps_in_vain.to(same), **o), ask, itself, **MOMENT),
    "decision": Scenario(lambda **o: create(fails_at_first, plugins=[Decides()], **o), ask, itself),
    "policy": Scenario(
        lambda **o: create(router("way", takes_its_time).to(same, naps), plugins=[Routes()], **o), ask, itself
    ),
}
