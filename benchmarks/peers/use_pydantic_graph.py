"""pydantic-graph: steps, decisions and joins put together by a `GraphBuilder`."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

from harness import BRANCHES, HOPS, NAP_S, main, ready
from pydantic import BaseModel
from pydantic_graph import GraphBuilder, StepContext, reduce_list_append


class Item(BaseModel):
    n: int
    path: list[str] = []


class Memory(BaseModel):
    query: str
    facts: list[str] = []


class Answer(BaseModel):
    text: str


async def first(ctx: StepContext[None, None, Item]) -> Item:
    ctx.inputs.path.append("first")
    return ctx.inputs


async def second(ctx: StepContext[None, None, Item]) -> Item:
    ctx.inputs.path.append("second")
    return ctx.inputs


async def third(ctx: StepContext[None, None, Item]) -> Item:
    ctx.inputs.path.append("third")
    return ctx.inputs


async def nap(ctx: StepContext[None, None, Item]) -> Item:
    await asyncio.sleep(NAP_S)
    ctx.inputs.path.append("nap")
    return ctx.inputs


def of_items(*bodies: Any) -> Any:
    g = GraphBuilder(name="items", input_type=Item, output_type=Item, auto_instrument=False)
    steps = [g.start_node, *(g.step(body) for body in bodies), g.end_node]
    for source, target in pairwise(steps):
        g.add_edge(source, target)
    graph = g.build()

    async def ask(n: int) -> tuple[int, list[str]]:
        item = await graph.run(inputs=Item(n=n, path=[]))
        return item.n, item.path

    return ready(ask)


def looping() -> Any:
    g = GraphBuilder(name="loop", input_type=Memory, output_type=Answer, auto_instrument=False)

    @g.step
    async def think(ctx: StepContext[None, None, Memory]) -> Memory | Answer:
        memory = ctx.inputs
        memory.facts.append("a fact")
        return memory if len(memory.facts) < HOPS else Answer(text=memory.query)

    g.add(
        g.edge_from(g.start_node).to(think),
        g.edge_from(think).to(
            g.decision().branch(g.match(Memory).to(think)).branch(g.match(Answer).to(g.end_node)),
        ),
    )
    graph = g.build()

    async def ask(n: int) -> str:
        return (await graph.run(inputs=Memory(query=str(n), facts=[]))).text

    return ready(ask)


def fanning_out() -> Any:
    g = GraphBuilder(name="fan-out", input_type=int, output_type=int, auto_instrument=False)

    def branch(place: int) -> Any:
        async def body(ctx: StepContext[None, None, int]) -> int:
            return ctx.inputs + place

        return g.step(body, node_id=f"branch{place}")

    @g.step
    async def split(ctx: StepContext[None, None, int]) -> int:
        return ctx.inputs

    @g.step
    async def total(ctx: StepContext[None, None, list[int]]) -> int:
        return sum(ctx.inputs)

    join = g.join(reduce_list_append, initial_factory=list[int])
    branches = [branch(place) for place in range(BRANCHES)]
    g.add(
        g.edge_from(g.start_node).to(split),
        g.edge_from(split).to(*branches),
        g.edge_from(*branches).to(join),
        g.edge_from(join).to(total),
        g.edge_from(total).to(g.end_node),
    )
    graph = g.build()

    async def ask(n: int) -> int:
        return await graph.run(inputs=n)

    return ready(ask)


if __name__ == "__main__":
    main(
        {
            "chain": of_items(first, second, third),
            "chain-64": of_items(first, second, third),
            "loop": looping(),
            "fan-out": fanning_out(),
            "stream": "a step has no way to hand out chunks to the caller",
            "nap-256": of_items(nap),
        }
    )
