"""The flows that a plugin is tried in.

Rules: `weather` sends every type of event whenever `everything` is run in it, however slow the machine or the plugin:
no outcome hangs on who is first. What goes in and comes out is plain data.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Iterable, Sequence
from typing import Any

from pydantic import BaseModel

from penguiflow import (
    Budget,
    Context,
    FlowError,
    FlowEvent,
    Headers,
    Message,
    Node,
    PenguiFlow,
    create,
    hookimpl,
    join_k,
    node,
    predicate_router,
    router,
    subflow,
)

AT_A_TIME = 12  # how many traces of each kind a storm has
EACH = 250  # chunks that a node writes before the kernel gives the loop a turn
BURST = 5_000  # chunks that are written before it turns


class Case(BaseModel):
    """What the flow `weather` is asked. `kind` names the node that it goes to."""

    kind: str
    words: list[str] = ["fair", "and", "mild"]


class Watch:
    """Sees every event, for those who wait for one."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()
        self._running: dict[str, asyncio.Event] = {}

    def __call__(self, event: FlowEvent) -> None:
        self.seen[event.event_type] += 1
        if event.event_type == "node_start" and event.node_name in self._running:
            self._running[event.node_name].set()

    async def running(self, name: str) -> None:
        """Wait until a node runs that hasn't yet."""
        await self._running.setdefault(name, asyncio.Event()).wait()

    def forget(self, name: str) -> None:
        """From now on, wait for the node anew."""
        self._running[name] = asyncio.Event()


class BreaksOnce:
    """Raises when the flow starts, so that a `plugin_error` is sent."""

    name = "breaks once (on purpose)"
    event_types = ("flow_start",)

    @hookimpl
    def on_event(self, event: FlowEvent) -> None:
        raise RuntimeError("raised on purpose, to show the others a plugin_error")


# --- weather: every type of event -----------------------------------------------------------------


@node
async def plain(case: Case) -> str:
    return " ".join(case.words)


@node
async def fork(case: Case) -> list[str]:
    return case.words


@node
async def upper(words: list[str]) -> str:
    return " ".join(words).upper()


@node
async def last(words: list[str]) -> str:
    return words[-1]


@node(max_retries=1, backoff_base=0.0)
async def flaky(case: Case, ctx: Context) -> str:
    if ctx.attempt == 0:
        raise ConnectionError("the first attempt fails on purpose")
    return "at the second attempt"


@node(timeout_s=0.01)
async def slow(case: Case) -> None:
    await asyncio.Event().wait()


@node
async def broken(case: Case) -> None:
    raise ValueError("raised on purpose")


@node
async def stuck(case: Case) -> None:
    await asyncio.Event().wait()


@node(max_retries=1, backoff_base=3600.0)
async def backing(case: Case) -> None:
    raise ConnectionError("raised on purpose")


@node
async def spender(case: Case, ctx: Context) -> None:
    ctx.spend(tokens=2)


@node
async def talker(case: Case, ctx: Context) -> str:
    for word in case.words:
        await ctx.emit_chunk(word, meta={"length": len(word)})
    return f"{len(case.words)} words"


def weather(plugins: Sequence[Any], watch: Watch, name: str = "weather") -> PenguiFlow:
    """A flow in which everything happens that can happen."""
    playbook = create(Node(plain.func, name="called"), name="playbook")

    @node
    async def caller(case: Case, ctx: Context) -> str:
        return str(await ctx.call_playbook(playbook, case))

    both = join_k("both", 2)
    nested = subflow("nested", create(Node(plain.func, name="inner"), name="within"))
    kinds = (plain, fork, flaky, slow, broken, stuck, backing, spender, talker, caller, nested)
    names = [kind.name for kind in kinds]
    choose = predicate_router("choose", lambda message: message.payload.kind if message.payload.kind in names else ())
    return create(
        choose.to(*kinds),
        fork.to(upper, last),
        upper.to(both),
        last.to(both),
        name=name,
        queue_maxsize=8,
        plugins=plugins,
        on_event=watch,
    )


ENVELOPED = ("plain", "caller", "nested")  # asked with a Message too: its meta reaches each node, and comes back
ASKED = ("plain", "fork", "flaky", "slow", "broken", "caller", "nested", "nowhere")


async def everything(flow: PenguiFlow, watch: Watch) -> list[Any]:
    """Let everything happen once; what came out of it, in a fixed order."""
    outputs: list[Any] = [await outcome(flow.ask(Case(kind=kind))) for kind in ASKED]
    for kind in ENVELOPED:
        answer = await flow.ask(Message[Any](payload=Case(kind=kind), headers=Headers(tenant="acme"), meta={"by": [1]}))
        outputs.append((answer.payload, answer.headers.model_dump(), answer.meta))
    limited = Message[Any](payload=Case(kind="spender"), budget=Budget(tokens=1))
    outputs.append(await outcome(flow.ask(limited)))
    async with flow.stream(Case(kind="talker")) as stream:
        outputs += [(chunk.seq, chunk.text, chunk.meta) async for chunk in stream]
        outputs.append(stream.result)
    watch.forget("stuck")
    handle = flow.start(Case(kind="stuck"))
    await watch.running("stuck")
    await handle.cancel()
    outputs.append(await outcome(handle.result()))
    await flow.emit(Case(kind="plain"))
    outputs.append(await flow.fetch())
    return outputs


async def outcome(answer: Awaitable[Any]) -> Any:
    """What comes of a question: the answer, or the code of its error."""
    try:
        return await answer
    except FlowError as error:
        return str(error.code)


async def storm(flow: PenguiFlow) -> None:
    """Cancel many traces, in every state that one can be in: new, waiting, running, backing off, reading, ended."""
    kinds = ("stuck", "backing", "broken", "plain", "fork", "talker", "caller", "nested")
    for turns in (0, 1, 10):
        handles = [flow.start(Case(kind=kind, words=["word"] * 20)) for _ in range(AT_A_TIME) for kind in kinds]
        for _ in range(turns):
            await asyncio.sleep(0)
        await asyncio.gather(*(handle.cancel() for handle in handles))
        await asyncio.gather(*(outcome(handle.results()) for handle in handles))


# --- a crossroads: what a policy decides ----------------------------------------------------------


def crossroads(plugins: Sequence[Any], names: Iterable[str]) -> PenguiFlow:
    """A flow with one router, which proposes all of these successors."""
    return create(router("choose").to(*map(_sink, names)), name="crossroads", plugins=plugins)


def _sink(name: str) -> Node[..., Any]:
    async def sink(payload: Any) -> str:
        return name

    return Node(sink, name=name)


async def routed(flow: PenguiFlow, payloads: Iterable[Any]) -> None:
    """Send all of these through, one after the other.

    Raises:
        FlowError: one could not be routed.
    """
    for payload in payloads:
        await flow.start(payload).results()


async def routing_storm(flow: PenguiFlow, payloads: Iterable[Any]) -> None:
    """Cancel many traces while a router decides."""
    for turns in (0, 1, 3):
        handles = [flow.start(payload) for payload in payloads for _ in range(AT_A_TIME)]
        for _ in range(turns):
            await asyncio.sleep(0)
        await asyncio.gather(*(handle.cancel() for handle in handles))
        await asyncio.gather(*(outcome(handle.results()) for handle in handles))


# --- failures: what an error handler decides ------------------------------------------------------


def failures(plugins: Sequence[Any], at_most: int) -> PenguiFlow:
    """A flow that fails, in the way that its message names."""

    @node(timeout_s=0.01)
    async def fails(kind: str, ctx: Context) -> str:
        if ctx.attempt > at_most:
            return "too many"
        if kind == "late":
            await asyncio.Event().wait()
        if kind == "unfit":
            return 5  # type: ignore[return-value]
        if kind == "own":
            raise FlowError(code="OWN", message="an error of the node's own")
        raise {"value": ValueError("a value"), "lookup": KeyError("key"), "bare": Exception()}[kind]

    return create(fails, name="failures", plugins=plugins)


FAILURES = ("value", "lookup", "bare", "late", "unfit", "own")


# --- a burst: many events, and a loop that doesn't turn -------------------------------------------


@node
async def pours(count: int, ctx: Context) -> int:
    for _ in range(count):
        await ctx.emit_chunk("x")
    time.sleep(0.001)  # noqa: ASYNC251  # a loop that is kept busy is the point
    return count


async def burst(plugins: Sequence[Any]) -> None:
    """Send thousands of events without letting another task run."""
    async with create(pours, name="burst", plugins=plugins, queue_maxsize=BURST) as flow:
        handles = [flow.start(EACH) for _ in range(BURST // EACH)]
        for handle in handles:
            await handle.result()
