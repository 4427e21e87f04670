"""Our side: the same bodies as nodes of a flow, written as a user would write it, with nothing switched off."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import pairwise
from typing import Any

from benchmarks.baselines import Ask
from benchmarks.work import BODIES, BRANCHES, STEPS, WrongAnswer, items, nap, split, think, total
from penguiflow import Context, FlowEvent, Node, PenguiFlow, create, hookimpl, join_k

EVENTS = 2 + 2 * len(STEPS)  # of a request through the chain: its trace starts and finishes, and so does each node


def chain_of(steps: list[Node], **options: Any) -> PenguiFlow:
    """A flow of these nodes in a row."""
    last = steps[-1]
    return create(*(a.to(b) for a, b in pairwise(steps)), last.to(), **options)


@asynccontextmanager
async def our_chain() -> AsyncIterator[Ask]:
    async with chain_of([Node(step) for step in STEPS]) as flow:
        yield flow.ask


@asynccontextmanager
async def our_loop() -> AsyncIterator[Ask]:
    controller = Node(think, allow_cycle=True)
    async with create(controller.to(controller)) as flow:
        yield flow.ask


@asynccontextmanager
async def our_fan_out() -> AsyncIterator[Ask]:
    start, end, join = Node(split), Node(total), join_k("join", BRANCHES)
    branches = [Node(body, name=f"branch{place}") for place, body in enumerate(BODIES)]
    async with create(start.to(*branches), *(branch.to(join) for branch in branches), join.to(end)) as flow:
        yield flow.ask


async def pour(words: list[str], ctx: Context) -> None:
    for word in words:
        await ctx.emit_chunk(word)


@asynccontextmanager
async def our_stream() -> AsyncIterator[Ask]:
    async with create(Node(pour)) as flow:

        async def ask(words: Any) -> list[str]:
            async with flow.stream(words) as stream:
                return [chunk.text async for chunk in stream]

        yield ask


@asynccontextmanager
async def our_nap() -> AsyncIterator[Ask]:
    async with create(Node(nap)) as flow:
        yield flow.ask


# --- with listeners ---------------------------------------------------------------------------------


class Listener:
    """An observer that counts what it sees."""

    def __init__(self) -> None:
        self.seen = 0

    @hookimpl
    def on_event(self, event: FlowEvent) -> None:
        self.seen += 1


def chain_heard_by(count: int) -> Callable[[], AbstractAsyncContextManager[Ask]]:
    """The chain with so many listeners: one as `on_event=`, more as plugins. Each must see every event."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[Ask]:
        listeners = [Listener() for _ in range(count)]
        how: dict[str, Any] = {"on_event": listeners[0].on_event} if count == 1 else {"plugins": listeners}
        async with chain_of([Node(step) for step in STEPS], **how) as flow:
            yield flow.ask
            before = [listener.seen for listener in listeners]
            for item in items(10):
                await flow.ask(item)
        seen = [listener.seen - seen for listener, seen in zip(listeners, before, strict=True)]
        if seen != [10 * EVENTS + 1] * count:  # 1: the flow's own stop
            raise WrongAnswer(f"{10 * EVENTS + 1} events, of which the listeners saw {seen}")

    return opened
