"""LangGraph: a `StateGraph` for each row, run by `ainvoke`; chunks by the custom stream mode."""

from __future__ import annotations

import asyncio
import operator
from typing import Annotated, Any, TypedDict

from harness import BRANCHES, HOPS, NAP_S, main, ready, texts
from langgraph.graph import END, START, StateGraph
from langgraph.types import StreamWriter


class Item(TypedDict):
    n: int
    path: Annotated[list[str], operator.add]


async def first(state: Item) -> dict[str, Any]:
    return {"path": ["first"]}


async def second(state: Item) -> dict[str, Any]:
    return {"path": ["second"]}


async def third(state: Item) -> dict[str, Any]:
    return {"path": ["third"]}


async def nap(state: Item) -> dict[str, Any]:
    await asyncio.sleep(NAP_S)
    return {"path": ["nap"]}


def of_items(*bodies: Any) -> Any:
    graph = StateGraph(Item).add_sequence(list(bodies)).add_edge(START, bodies[0].__name__).compile()

    async def ask(n: int) -> tuple[int, list[str]]:
        state = await graph.ainvoke({"n": n, "path": []})
        return state["n"], state["path"]

    return ready(ask)


class Memory(TypedDict, total=False):
    query: str
    facts: Annotated[list[str], operator.add]
    answer: str


def looping() -> Any:
    async def think(state: Memory) -> Memory:
        if len(state["facts"]) + 1 < HOPS:
            return {"facts": ["a fact"]}
        return {"answer": state["query"]}

    def again(state: Memory) -> str:
        return END if "answer" in state else "think"

    graph = StateGraph(Memory).add_node("think", think).add_edge(START, "think")
    compiled = graph.add_conditional_edges("think", again, ["think", END]).compile()

    async def ask(n: int) -> str:
        state = await compiled.ainvoke({"query": str(n), "facts": []}, {"recursion_limit": HOPS + 10})
        return state["answer"]

    return ready(ask)


class Parts(TypedDict, total=False):
    n: int
    parts: Annotated[list[int], operator.add]
    total: int


def fanning_out() -> Any:
    def branch(place: int) -> Any:
        async def body(state: Parts) -> Parts:
            return {"parts": [state["n"] + place]}

        return body

    async def split(state: Parts) -> Parts:
        return {}

    async def total(state: Parts) -> Parts:
        return {"total": sum(state["parts"])}

    graph = StateGraph(Parts).add_node("split", split).add_node("sum", total)
    for place in range(BRANCHES):
        graph.add_node(f"branch{place}", branch(place)).add_edge("split", f"branch{place}")
    graph.add_edge(START, "split").add_edge([f"branch{place}" for place in range(BRANCHES)], "sum").add_edge("sum", END)
    compiled = graph.compile()

    async def ask(n: int) -> int:
        state = await compiled.ainvoke({"n": n, "parts": []})
        return state["total"]

    return ready(ask)


class Words(TypedDict):
    words: list[str]


def streaming() -> Any:
    async def pour(state: Words, writer: StreamWriter) -> dict[str, Any]:
        for word in state["words"]:
            writer(word)
        return {}

    graph = StateGraph(Words).add_node("pour", pour).add_edge(START, "pour").compile()

    async def ask(n: int) -> list[str]:
        return [chunk async for chunk in graph.astream({"words": texts(n)}, stream_mode="custom")]

    return ready(ask)


if __name__ == "__main__":
    main(
        {
            "chain": of_items(first, second, third),
            "chain-64": of_items(first, second, third),
            "loop": looping(),
            "fan-out": fanning_out(),
            "stream": streaming(),
            "nap-256": of_items(nap),
        }
    )
