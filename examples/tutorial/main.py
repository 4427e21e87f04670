"""A documentation assistant in the small: docs/tutorial.md builds it step by step."""

import asyncio

from pydantic import BaseModel

from penguiflow import Context, create, join_k, node

MANUAL = {
    "ask": "`flow.ask` sends one message and waits for the answer.",
    "stream": "`flow.stream` hands out chunks while a node still writes.",
    "cancel": "`flow.cancel` ends a trace, with all that runs in it.",
}
FORUM = {
    "ask": "Use `ask` when you want one answer.",
    "cancel": "Leaving a stream early cancels, too.",
}


class Question(BaseModel):
    text: str


class Page(BaseModel):
    source: str
    text: str


class Answer(BaseModel):
    text: str
    sources: list[str]


@node
async def read(question: Question) -> Question:
    return Question(text=question.text.lower().strip("?! "))


@node(timeout_s=2, max_retries=2, retry_on=(ConnectionError, TimeoutError))
async def search_manual(question: Question) -> Page:
    return look_up("manual", MANUAL, question)


@node(timeout_s=2)
async def search_forum(question: Question) -> Page:
    return look_up("forum", FORUM, question)


def look_up(source: str, pages: dict[str, str], question: Question) -> Page:
    found = [text for word, text in pages.items() if word in question.text]
    return Page(source=source, text=" ".join(found))


both = join_k("both", 2)


@node
async def answer(pages: list[Page], ctx: Context) -> Answer:
    """Say what was found, a word at a time."""
    found = [page for page in pages if page.text]
    if not found:
        raise LookupError("neither the manual nor the forum knows of that")
    words = [word for page in found for word in page.text.split()]
    for word in words:
        await asyncio.sleep(0.01)  # a model would take its time as well
        await ctx.emit_chunk(word + " ")
    return Answer(text=" ".join(words), sources=[page.source for page in found])


assistant = create(
    read.to(search_manual, search_forum),
    search_manual.to(both),
    search_forum.to(both),
    both.to(answer),
    name="assistant",
)


async def main() -> None:
    async with assistant as flow, flow.stream(Question(text="How do I cancel a request?")) as stream:
        async for chunk in stream:
            print(chunk.text, end="", flush=True)
        print(f"({', '.join(stream.result.sources)})")


if __name__ == "__main__":
    asyncio.run(main())
