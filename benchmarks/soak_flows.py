"""The flows that the soak torments, and what their nodes do at the bidding of what they carry.

Rules: a load says which misfortune befalls it, and at which place of its flow; so how its trace must end is known
beforehand, and its answer, which has its number in it, is nobody else's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from penguiflow import (
    WM,
    Context,
    FinalAnswer,
    Message,
    Node,
    NodePolicy,
    PenguiFlow,
    create,
    join_k,
    node,
    predicate_router,
    subflow,
)

TIMEOUT_S = 0.003
DEAF_S = 0.15
PIECES = 6
LOOPS = 3


@dataclass(frozen=True, slots=True)
class Load:
    """What a trace carries.

    Attributes:
        number: Names it, and stands in its answer.
        fate: What befalls it: `ok`, `fail`, `retry`, `slow`, `hang`, `swallow`, `deaf`, and `timeout`, `starve`,
            `spent` or `nowhere` in the one flow that knows it.
        place: Where.
    """

    number: int
    fate: str = "ok"
    place: int = 0


class Mishap(Exception):
    """What nodes raise."""


async def act(load: Load, ctx: Context, place: int) -> None:
    """Suffer the load's fate, if this is the place."""
    if load.fate == "ok" or load.place != place:
        return
    if load.fate == "fail" or (load.fate == "retry" and ctx.attempt < 2):
        raise Mishap(load.number)
    if load.fate == "slow":
        await asyncio.sleep(0.001)
    elif load.fate in ("hang", "timeout"):
        await asyncio.Event().wait()
    elif load.fate == "swallow":
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
    elif load.fate == "deaf":
        await _deaf()


async def _deaf() -> None:
    """Wait for a cancellation, and ignore it and any other for a while."""
    loop = asyncio.get_running_loop()
    with suppress(asyncio.CancelledError):
        await asyncio.Event().wait()
    over = loop.time() + DEAF_S
    while loop.time() < over:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(over - loop.time())


def acting(name: str, place: int, **policy: Any) -> Node[..., Any]:
    """A node that suffers what befalls its place, and passes the load on."""

    async def passes(load: Load, ctx: Context) -> Load:
        await act(load, ctx, place)
        return load

    return Node(passes, name, _retrying(**policy))


def last(name: str, place: int) -> Node[..., Any]:
    """The last node of a flow: answers with the flow's name and the load's number."""

    async def answers(load: Load, ctx: Context) -> str:
        await act(load, ctx, place)
        return f"{name} {load.number}"

    return Node(answers, "last", _retrying())


def _retrying(**policy: Any) -> NodePolicy:
    return NodePolicy(max_retries=2, backoff_base=0.0005, retry_on=Mishap, **policy)


def gathered(name: str, place: int) -> Node[..., Any]:
    """Answers for a join: every branch must have brought the same load."""

    async def answers(loads: list[Load], ctx: Context) -> str:
        await act(loads[0], ctx, place)
        return " ".join([name, *(str(load.number) for load in loads)])

    return Node(answers, "last", _retrying())


# --- the shapes -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """One kind of flow.

    Attributes:
        flow: The flow.
        ways: How messages are handed in: `ask`, `start`, `stream`, `emit` or `storm`.
        places: Where misfortunes can happen.
        answer: From a number to the right answer.
        own: The fate that only this kind knows.
        own_end: How that fate ends: outcome and error code.
        payload: From a load to what the flow takes.
    """

    flow: PenguiFlow
    ways: tuple[str, ...]
    places: tuple[int, ...]
    answer: Callable[[int], Any]
    own: str = ""
    own_end: tuple[str, str] = ("failed", "")
    payload: Callable[[Load], Any] = lambda load: load

    @property
    def name(self) -> str:
        """The flow's name, as events have it."""
        return self.flow.name


EVERY_WAY = ("ask", "ask", "start", "stream")


def shapes(plugins: Sequence[Any], doomed: Any) -> list[Shape]:
    """One flow of each kind; `doomed` is a plugin that will be quarantined, beside the others."""
    return [
        chain("chain", plugins),
        fan(plugins),
        loop(plugins),
        stream(plugins),
        nested(plugins),
        routed(plugins),
        rookery(plugins),
        storm(plugins),
        chain("quarantine", [*plugins, doomed]),
    ]


def chain(name: str, plugins: Sequence[Any]) -> Shape:
    """Three nodes in a line, the second with a time limit."""
    first, timed = acting("first", 0), acting("timed", 1, timeout_s=TIMEOUT_S)
    flow = create(first.to(timed), timed.to(last(name, 2)), name=name, plugins=plugins)
    return Shape(flow, EVERY_WAY, (0, 2), lambda n: f"{name} {n}", "timeout", ("failed", "NODE_TIMEOUT"))


def fan(plugins: Sequence[Any]) -> Shape:
    """Three branches that meet again; a load may starve the join."""

    async def drops(load: Load, ctx: Context) -> Load | None:
        await act(load, ctx, 3)
        return None if load.fate == "starve" else load

    split, both = acting("split", 0), join_k("both", 3)
    branches = [acting("left", 1), acting("right", 2), Node(drops, "picky", _retrying())]
    edges = [split.to(*branches), *(branch.to(both) for branch in branches), both.to(gathered("fan", 4))]
    flow = create(*edges, name="fan", plugins=plugins)
    return Shape(flow, EVERY_WAY, (0, 1, 2, 3, 4), lambda n: f"fan {n} {n} {n}", "starve", ("failed", "JOIN_STARVED"))


def loop(plugins: Sequence[Any]) -> Shape:
    """A controller that goes round a few times; a load may come with too small a budget."""

    @node(max_retries=2, backoff_base=0.0005, retry_on=Mishap)
    async def think(memory: WM, ctx: Context) -> WM | FinalAnswer:
        load: Load = memory.facts[0]
        await act(load, ctx, memory.hops)
        return FinalAnswer(text=f"loop {load.number}") if memory.hops == LOOPS else memory

    def memory(load: Load) -> WM:
        return WM(query=str(load.number), facts=[load], budget_hops=2 if load.fate == "spent" else 8)

    flow = create(think.to(think), name="loop", plugins=plugins, allow_cycles=True)
    end = ("expired", "")
    return Shape(flow, EVERY_WAY, (0, 1, 2), lambda n: FinalAnswer(text=f"loop {n}"), "spent", end, memory)


def stream(plugins: Sequence[Any]) -> Shape:
    """A node that streams, to a reader who is sometimes slow, through a floe of two places."""

    @node(max_retries=2, backoff_base=0.0005, retry_on=Mishap)
    async def talk(load: Load, ctx: Context) -> str:
        for piece in range(PIECES):
            if piece == PIECES // 2:
                await act(load, ctx, 0)
            await ctx.emit_chunk(f"{load.number}.{piece}")
        return f"stream {load.number}"

    flow = create(talk, name="stream", plugins=plugins, queue_maxsize=2)
    return Shape(flow, ("stream", "stream", "stream", "ask", "start"), (0,), lambda n: f"stream {n}")


def nested(plugins: Sequence[Any]) -> Shape:
    """A subflow, then a playbook that a node calls."""
    within = create(acting("inner", 1).to(acting("innermost", 2)), name="within")
    playbook = create(acting("play", 3), name="playbook")

    @node
    async def calls(load: Load, ctx: Context) -> Load:
        played: Load = await ctx.call_playbook(playbook, load)
        return played

    first, sub = acting("first", 0), subflow("sub", within)
    flow = create(first.to(sub), sub.to(calls), calls.to(last("nested", 4)), name="nested", plugins=plugins)
    return Shape(flow, EVERY_WAY, (0, 1, 2, 3, 4), lambda n: f"nested {n}")


TARGETS = ("north", "east", "south")


def routed(plugins: Sequence[Any]) -> Shape:
    """A router to three nodes; every fourth load is dropped, and some are sent where there is nobody."""

    def target(message: Message) -> str | None:
        load: Load = message.payload
        if load.fate == "nowhere":
            return "nowhere"
        return TARGETS[load.number % 4] if load.number % 4 < 3 else None

    def end(name: str) -> Node[..., Any]:
        async def answers(load: Load, ctx: Context) -> str:
            await act(load, ctx, 1)
            return f"{name} {load.number}"

        return Node(answers, name, _retrying())

    first, pick = acting("first", 0), predicate_router("pick", target)
    flow = create(first.to(pick), pick.to(*map(end, TARGETS)), name="router", plugins=plugins)

    def answer(number: int) -> str | None:
        return f"{TARGETS[number % 4]} {number}" if number % 4 < 3 else None

    return Shape(flow, EVERY_WAY, (0,), answer, "nowhere", ("failed", "ROUTING"))


def rookery(plugins: Sequence[Any]) -> Shape:
    """A chain whose outputs and errors all come out at a Rookery of eight places."""
    first, timed = acting("first", 0), acting("timed", 1, timeout_s=TIMEOUT_S)
    edges = [first.to(timed), timed.to(last("rookery", 2))]
    flow = create(*edges, name="rookery", plugins=plugins, queue_maxsize=8, emit_errors_to_rookery=True)
    return Shape(flow, ("emit",), (0, 2), lambda n: f"rookery {n}", "timeout", ("failed", "NODE_TIMEOUT"))


def storm(plugins: Sequence[Any]) -> Shape:
    """Branches with a limit over all traces, a subflow and a full floe, cancelled by the hundred."""

    @node(max_retries=2, backoff_base=0.0005, retry_on=Mishap)
    async def pours(load: Load, ctx: Context) -> Load:
        await act(load, ctx, 3)
        for _ in range(2):
            await ctx.emit(load)
        return load

    @node
    async def drains(load: Load) -> None:
        await asyncio.sleep(0)

    within, both = create(acting("inner", 2), name="storm within"), join_k("both", 3)
    split, limited, sub = acting("split", 0), acting("limited", 1, max_concurrency=40), subflow("sub", within)
    straight = acting("straight", 3)
    edges = [split.to(limited, sub, straight, pours), pours.to(drains)]
    edges += [limited.to(both), sub.to(both), straight.to(both), both.to(gathered("storm", 4))]
    flow = create(*edges, name="storm", plugins=plugins, queue_maxsize=1, max_traces=200)
    return Shape(flow, ("storm",), (0, 1, 2, 3, 4), lambda n: f"storm {n} {n} {n}")
