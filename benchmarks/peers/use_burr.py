"""Burr: actions over a state, an application for each request (that is where its state lives) over a shared graph."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from itertools import pairwise
from typing import Any

from burr.core import ApplicationBuilder, GraphBuilder, State, action, expr
from burr.core.action import streaming_action
from burr.core.parallelism import MapActions
from harness import BRANCHES, HOPS, NAP_S, main, ready, texts


@action(reads=["path"], writes=["path"])
async def first(state: State) -> State:
    return state.append(path="first")


@action(reads=["path"], writes=["path"])
async def second(state: State) -> State:
    return state.append(path="second")


@action(reads=["path"], writes=["path"])
async def third(state: State) -> State:
    return state.append(path="third")


@action(reads=["path"], writes=["path"])
async def nap(state: State) -> State:
    await asyncio.sleep(NAP_S)
    return state.append(path="nap")


def application(graph: Any, entry: str, **state: Any) -> Any:
    return ApplicationBuilder().with_graph(graph).with_state(**state).with_entrypoint(entry).build()


def of_items(**actions: Any) -> Any:
    names = list(actions)
    builder = GraphBuilder().with_actions(**actions)
    if len(names) > 1:
        builder = builder.with_transitions(*pairwise(names))
    graph = builder.build()

    async def ask(n: int) -> tuple[int, list[str]]:
        _, _, state = await application(graph, names[0], n=n, path=[]).arun(halt_after=[names[-1]])
        return state["n"], state["path"]

    return ready(ask)


@action(reads=["facts"], writes=["facts", "done"])
async def think(state: State) -> State:
    return state.append(facts="a fact").update(done=len(state["facts"]) + 1 >= HOPS)


@action(reads=["query"], writes=["answer"])
async def answer(state: State) -> State:
    return state.update(answer=state["query"])


def looping() -> Any:
    graph = (
        GraphBuilder()
        .with_actions(think=think, answer=answer)
        .with_transitions(("think", "answer", expr("done")), ("think", "think"))
        .build()
    )

    async def ask(n: int) -> str:
        made = application(graph, "think", query=str(n), facts=[], done=False)
        _, _, state = await made.arun(halt_after=["answer"])
        return state["answer"]

    return ready(ask)


@action(reads=["n"], writes=["n"])
async def split(state: State) -> State:
    return state.update(n=state["n"])


@action(reads=["n"], writes=["part"])
async def branch(state: State, place: int) -> State:
    return state.update(part=state["n"] + place)


class Branches(MapActions):
    """The eight branches over one state, joined in `reduce`."""

    def is_async(self) -> bool:
        return True

    async def actions(self, state: State, context: Any, inputs: Any) -> AsyncGenerator[Any, None]:
        for place in range(BRANCHES):
            yield branch.bind(place=place)

    async def reduce(self, state: State, states: Any) -> State:
        return state.update(parts=[part["part"] async for part in states])

    @property
    def reads(self) -> list[str]:
        return ["n"]

    @property
    def writes(self) -> list[str]:
        return ["parts"]


@action(reads=["parts"], writes=["total"])
async def total(state: State) -> State:
    return state.update(total=sum(state["parts"]))


def fanning_out() -> Any:
    graph = (
        GraphBuilder()
        .with_actions(split=split, branches=Branches(), total=total)
        .with_transitions(("split", "branches"), ("branches", "total"))
        .build()
    )

    async def ask(n: int) -> int:
        _, _, state = await application(graph, "split", n=n).arun(halt_after=["total"])
        return state["total"]

    return ready(ask)


@streaming_action(reads=["words"], writes=["text"])
async def pour(state: State) -> AsyncGenerator[tuple[dict[str, Any], State | None], None]:
    for word in state["words"]:
        yield {"text": word}, None
    yield {"text": ""}, state.update(text="done")


def streaming() -> Any:
    graph = GraphBuilder().with_actions(pour=pour).build()

    async def ask(n: int) -> list[str]:
        _, stream = await application(graph, "pour", words=texts(n)).astream_result(halt_after=["pour"])
        heard = [chunk["text"] async for chunk in stream]
        await stream.get()
        return heard

    return ready(ask)


if __name__ == "__main__":
    main(
        {
            "chain": of_items(first=first, second=second, third=third),
            "chain-64": of_items(first=first, second=second, third=third),
            "loop": looping(),
            "fan-out": fanning_out(),
            "stream": streaming(),
            "nap-256": of_items(nap=nap),
        }
    )
