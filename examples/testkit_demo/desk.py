"""A help desk: a question is looked up in a library that is sometimes away, and answered word by word."""

import asyncio

from pydantic import BaseModel

from penguiflow import Context, create, node

LIBRARY = {"penguins": "They huddle to keep warm.", "rain": "Warm air rises, cools, and lets go of its water."}


class Question(BaseModel):
    text: str


class Found(BaseModel):
    topic: str
    text: str


class Answer(BaseModel):
    text: str


@node
async def triage(question: Question) -> Question:
    return Question(text=question.text.strip().lower())


@node(max_retries=2, backoff_base=30, timeout_s=60)
async def search(question: Question) -> Found:
    await asyncio.sleep(5)  # the library is far away
    for topic, text in LIBRARY.items():
        if topic in question.text:
            return Found(topic=topic, text=text)
    raise LookupError(f"nothing about {question.text!r}")


@node
async def reply(found: Found, ctx: Context) -> Answer:
    for word in found.text.split():
        await ctx.emit_chunk(f"{word} ")
    return Answer(text=found.text)


desk = create(triage.to(search), search.to(reply), name="desk")
