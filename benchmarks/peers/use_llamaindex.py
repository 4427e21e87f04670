"""LlamaIndex Workflows: a `Workflow` for each row, whose steps pass typed events."""

from __future__ import annotations

import asyncio
from typing import Any

from harness import BRANCHES, HOPS, NAP_S, main, ready, texts
from workflows import Context, Workflow, step
from workflows.events import Event, StartEvent, StopEvent


class Request(StartEvent):
    n: int


class Firsted(Event):
    n: int
    path: list[str]


class Seconded(Event):
    n: int
    path: list[str]


class Chain(Workflow):
    @step
    async def first(self, ev: Request) -> Firsted:
        return Firsted(n=ev.n, path=["first"])

    @step
    async def second(self, ev: Firsted) -> Seconded:
        return Seconded(n=ev.n, path=[*ev.path, "second"])

    @step
    async def third(self, ev: Seconded) -> StopEvent:
        return StopEvent(result=(ev.n, [*ev.path, "third"]))


class Nap(Workflow):
    @step
    async def nap(self, ev: Request) -> StopEvent:
        await asyncio.sleep(NAP_S)
        return StopEvent(result=(ev.n, ["nap"]))


class Memory(Event):
    query: str
    facts: list[str]


class Loop(Workflow):
    @step
    async def begin(self, ev: Request) -> Memory:
        return Memory(query=str(ev.n), facts=[])

    @step
    async def think(self, ev: Memory) -> Memory | StopEvent:
        facts = [*ev.facts, "a fact"]
        return Memory(query=ev.query, facts=facts) if len(facts) < HOPS else StopEvent(result=ev.query)


class Branch(Event):
    n: int
    place: int


class Part(Event):
    value: int


class FanOut(Workflow):
    @step
    async def split(self, ctx: Context, ev: Request) -> Branch | None:
        for place in range(BRANCHES):
            ctx.send_event(Branch(n=ev.n, place=place))
        return None

    @step(num_workers=BRANCHES)
    async def branch(self, ev: Branch) -> Part:
        return Part(value=ev.n + ev.place)

    @step
    async def total(self, ctx: Context, ev: Part) -> StopEvent | None:
        parts = ctx.collect_events(ev, [Part] * BRANCHES)
        return None if parts is None else StopEvent(result=sum(part.value for part in parts))


class Chunk(Event):
    text: str


class Stream(Workflow):
    @step
    async def pour(self, ctx: Context, ev: Request) -> StopEvent:
        for text in texts(ev.n):
            ctx.write_event_to_stream(Chunk(text=text))
        return StopEvent(result=None)


def asking(workflow: Workflow) -> Any:
    async def ask(n: int) -> Any:
        return await workflow.run(start_event=Request(n=n))

    return ready(ask)


def streaming() -> Any:
    workflow = Stream(timeout=None)

    async def ask(n: int) -> list[str]:
        handler = workflow.run(start_event=Request(n=n))
        heard = [event.text async for event in handler.stream_events() if isinstance(event, Chunk)]
        await handler
        return heard

    return ready(ask)


if __name__ == "__main__":
    main(
        {
            "chain": asking(Chain(timeout=None)),
            "chain-64": asking(Chain(timeout=None)),
            "loop": asking(Loop(timeout=None)),
            "fan-out": asking(FanOut(timeout=None)),
            "stream": streaming(),
            "nap-256": asking(Nap(timeout=None)),
        }
    )
