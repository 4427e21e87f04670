"""Haystack: components in a `Pipeline`, run by `run_async`; a loop through a `BranchJoiner`, chunks by `stream`.

It reads annotations as they are, not as text.
"""

import asyncio
from itertools import pairwise
from typing import Any

from harness import BRANCHES, HOPS, NAP_S, main, ready, texts
from haystack import Pipeline, component
from haystack.components.joiners import BranchJoiner
from haystack.core.component.types import Variadic
from haystack.dataclasses import StreamingChunk
from pydantic import BaseModel


class Item(BaseModel):
    n: int
    path: list[str] = []


class Memory(BaseModel):
    query: str
    facts: list[str] = []


@component
class Step:
    def __init__(self, name: str, seconds: float = 0) -> None:
        self.name = name
        self.seconds = seconds

    @component.output_types(item=Item)
    def run(self, item: Item) -> dict[str, Any]:
        return {"item": Item(n=item.n, path=[*item.path, self.name])}

    @component.output_types(item=Item)
    async def run_async(self, item: Item) -> dict[str, Any]:
        if self.seconds:
            await asyncio.sleep(self.seconds)
        return {"item": Item(n=item.n, path=[*item.path, self.name])}


def of_items(*steps: Step) -> Any:
    pipeline = Pipeline()
    for step in steps:
        pipeline.add_component(step.name, step)
    for source, target in pairwise(steps):
        pipeline.connect(f"{source.name}.item", f"{target.name}.item")
    first, last = steps[0].name, steps[-1].name

    async def ask(n: int) -> tuple[int, list[str]]:
        found = await pipeline.run_async({first: {"item": Item(n=n)}})
        item = found[last]["item"]
        return item.n, item.path

    return ready(ask)


@component
class Think:
    @component.output_types(again=Memory, answer=str)
    def run(self, memory: Memory) -> dict[str, Any]:
        facts = [*memory.facts, "a fact"]
        return {"again": Memory(query=memory.query, facts=facts)} if len(facts) < HOPS else {"answer": memory.query}

    @component.output_types(again=Memory, answer=str)
    async def run_async(self, memory: Memory) -> dict[str, Any]:
        return self.run(memory)


def looping() -> Any:
    pipeline = Pipeline(max_runs_per_component=HOPS + 10)
    pipeline.add_component("joiner", BranchJoiner(Memory))
    pipeline.add_component("think", Think())
    pipeline.connect("joiner", "think.memory")
    pipeline.connect("think.again", "joiner")

    async def ask(n: int) -> str:
        found = await pipeline.run_async({"joiner": {"value": Memory(query=str(n))}})
        return found["think"]["answer"]

    return ready(ask)


@component
class Add:
    def __init__(self, place: int) -> None:
        self.place = place

    @component.output_types(number=int)
    def run(self, number: int) -> dict[str, Any]:
        return {"number": number + self.place}

    @component.output_types(number=int)
    async def run_async(self, number: int) -> dict[str, Any]:
        return self.run(number)


@component
class Total:
    @component.output_types(total=int)
    def run(self, numbers: Variadic[int]) -> dict[str, Any]:
        return {"total": sum(numbers)}

    @component.output_types(total=int)
    async def run_async(self, numbers: Variadic[int]) -> dict[str, Any]:
        return self.run(numbers)


def fanning_out() -> Any:
    pipeline = Pipeline()
    pipeline.add_component("split", Add(0))
    pipeline.add_component("total", Total())
    for place in range(BRANCHES):
        pipeline.add_component(f"branch{place}", Add(place))
        pipeline.connect("split.number", f"branch{place}.number")
        pipeline.connect(f"branch{place}.number", "total.numbers")

    async def ask(n: int) -> int:
        found = await pipeline.run_async({"split": {"number": n}}, concurrency_limit=BRANCHES)
        return found["total"]["total"]

    return ready(ask)


@component
class Pour:
    @component.output_types(count=int)
    def run(self, words: list[str], streaming_callback: Any = None) -> dict[str, Any]:
        for word in words:
            streaming_callback(StreamingChunk(content=word))
        return {"count": len(words)}

    @component.output_types(count=int)
    async def run_async(self, words: list[str], streaming_callback: Any = None) -> dict[str, Any]:
        for word in words:
            await streaming_callback(StreamingChunk(content=word))
        return {"count": len(words)}


def streaming() -> Any:
    pipeline = Pipeline()
    pipeline.add_component("pour", Pour())

    async def ask(n: int) -> list[str]:
        return [chunk.content async for chunk in pipeline.stream({"pour": {"words": texts(n)}})]

    return ready(ask)


if __name__ == "__main__":
    main(
        {
            "chain": of_items(Step("first"), Step("second"), Step("third")),
            "chain-64": of_items(Step("first"), Step("second"), Step("third")),
            "loop": looping(),
            "fan-out": fanning_out(),
            "stream": streaming(),
            "nap-256": of_items(Step("nap", NAP_S)),
        }
    )
