"""A flow of two nodes: asked once, then streamed."""

import asyncio

from pydantic import BaseModel

from penguiflow import Context, create, node


class Query(BaseModel):
    text: str


class Topic(BaseModel):
    name: str
    text: str


class Packed(BaseModel):
    answer: str


@node(timeout_s=10, max_retries=3)
async def triage(query: Query) -> Topic:
    return Topic(name="birds" if "penguin" in query.text else "other", text=query.text)


@node
async def pack(topic: Topic, ctx: Context) -> Packed:
    words = f"[{topic.name}] {topic.text}".split()
    for word in words:
        await ctx.emit_chunk(word + " ")
    return Packed(answer=" ".join(words))


async def main() -> None:
    async with create(triage.to(pack)) as flow:
        print(await flow.ask(Query(text="why do penguins huddle?")))
        async with flow.stream(Query(text="why does it rain?")) as stream:
            async for chunk in stream:
                print(chunk.text, end="")
            print("->", stream.result)


if __name__ == "__main__":
    asyncio.run(main())
