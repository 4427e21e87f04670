"""The published penguiflow 2.0.0. It has no `ask`: a reader of Rookery hands each answer to its asker by hand.

A typed node there refuses a `Message` (it checks the envelope against the payload's model), so the chain sends bare
items.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from harness import BRANCHES, CHUNKS, NAP_S, Opened, main, texts
from penguiflow.types import Headers
from pydantic import BaseModel

from penguiflow import Message, ModelRegistry, Node, NodePolicy, StreamChunk, create, join_k

PLAIN = NodePolicy(validate="none")


class Item(BaseModel):
    n: int
    path: list[str] = []


async def first(item: Item, ctx: Any) -> Item:
    return Item(n=item.n, path=[*item.path, "first"])


async def second(item: Item, ctx: Any) -> Item:
    return Item(n=item.n, path=[*item.path, "second"])


async def third(item: Item, ctx: Any) -> Item:
    return Item(n=item.n, path=[*item.path, "third"])


async def nap(item: Item, ctx: Any) -> Item:
    await asyncio.sleep(NAP_S)
    return Item(n=item.n, path=["nap"])


def asking(
    flow: Any, request: Callable[[int], Any], key: Callable[[Any], int], answer: Callable[[Any], Any], registry: Any
) -> Opened:
    @asynccontextmanager
    async def opened() -> AsyncIterator[Any]:
        waiting: dict[int, asyncio.Future[Any]] = {}

        async def hand_out() -> None:
            while True:
                out = await flow.fetch()
                asker = waiting.pop(key(out), None)
                if asker is not None:
                    asker.set_result(answer(out))

        async def ask(n: int) -> Any:
            waiting[n] = asyncio.get_running_loop().create_future()
            found = waiting[n]
            await flow.emit(request(n))
            return await found

        flow.run(registry=registry)
        reader = asyncio.create_task(hand_out())
        yield ask
        reader.cancel()
        await flow.stop()

    return opened


def of_items(*bodies: Any) -> Opened:
    nodes = [Node(body, name=body.__name__) for body in bodies]
    registry = ModelRegistry()
    for node in nodes:
        registry.register(node.name, Item, Item)
    flow = create(*(a.to(b) for a, b in zip(nodes, [*nodes[1:], None], strict=True) if b), nodes[-1].to())
    return asking(
        flow,
        lambda n: Item(n=n),
        lambda out: out.n,
        lambda out: (out.n, out.path),
        registry,
    )


def fanning_out() -> Opened:
    def branch(place: int) -> Node:
        async def body(message: Message, ctx: Any) -> Message:
            return message.model_copy(update={"payload": (message.payload, message.payload + place)})

        return Node(body, name=f"branch{place}", policy=PLAIN)

    async def split(message: Message, ctx: Any) -> Message:
        return message

    async def total(message: Message, ctx: Any) -> tuple[int, int]:
        return message.payload[0][0], sum(value for _, value in message.payload)

    start, join, end = (
        Node(split, name="split", policy=PLAIN),
        join_k("join", BRANCHES),
        Node(total, name="total", policy=PLAIN),
    )
    branches = [branch(place) for place in range(BRANCHES)]
    flow = create(start.to(*branches), *(b.to(join) for b in branches), join.to(end), end.to())
    return asking(
        flow,
        lambda n: Message(payload=n, headers=Headers(tenant="bench")),
        lambda out: out[0],
        lambda out: out[1],
        None,
    )


@asynccontextmanager
async def streaming() -> AsyncIterator[Any]:
    async def pour(message: Message, ctx: Any) -> None:
        for text in message.payload:
            await ctx.emit_chunk(parent=message, text=text)

    flow = create(Node(pour, name="pour", policy=PLAIN).to())
    flow.run()

    async def ask(n: int) -> list[str]:
        await flow.emit(Message(payload=texts(n), headers=Headers(tenant="bench")))
        heard: list[str] = []
        while len(heard) < CHUNKS:
            out = await flow.fetch()
            chunk = out.payload if isinstance(out, Message) else out
            if isinstance(chunk, StreamChunk):
                heard.append(chunk.text)
        return heard

    yield ask
    await flow.stop()


if __name__ == "__main__":
    chain = of_items(first, second, third)
    main(
        {
            "chain": chain,
            "chain-64": of_items(first, second, third),
            "loop": "no figure: a controller runs on, and gives answers, after its final answer",
            "fan-out": fanning_out(),
            "stream": streaming,
            "nap-256": of_items(nap),
        }
    )
