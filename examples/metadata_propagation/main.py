"""What travels beside a payload: ids, headers and notes, over branches, a join and a flow inside the flow."""

import asyncio
import json

from pydantic import BaseModel

from penguiflow import Context, FlowEvent, Headers, Message, create, join_k, node, subflow


class Question(BaseModel):
    text: str


class Found(BaseModel):
    where: str
    hits: int


@node
async def understand(question: Question, ctx: Context) -> Question:
    ctx.meta["language"] = "en"  # travels on with whatever this node returns
    return question


@node
async def search_web(question: Question, ctx: Context) -> Found:
    ctx.meta["web"] = {"engine": "gannet", "ms": 120}  # this branch has a copy of its own
    return Found(where="web", hits=2)


@node
async def read_archive(question: Question, ctx: Context) -> Found:
    ctx.meta["archive"] = {"shelf": 7}
    assert "web" not in ctx.meta
    return Found(where="archive", hits=len(question.text))


archive = subflow("archive", create(read_archive, name="archive flow"))
both = join_k("both", 2)


@node
async def conclude(found: Message[list[Found]]) -> Message[str]:
    """One that takes and returns the envelope itself."""
    text = ", ".join(f"{one.hits} from the {one.where}" for one in found.payload)
    return Message(payload=text, headers=found.headers, meta={**found.meta, "confidence": 0.9})


def logged(event: FlowEvent) -> None:
    """Every event knows its message, so a log line can carry the tenant."""
    if event.event_type == "node_success" and event.message is not None:
        print(f"  {event.message.headers.tenant}: {event.node_id}")


async def main() -> None:
    flow = create(
        understand.to(search_web, archive),
        search_web.to(both),
        archive.to(both),
        both.to(conclude),
        name="library",
        on_event=logged,
    )
    asked = Message(
        payload=Question(text="how deep?"),
        headers=Headers(tenant="zoo", topic="penguins", priority=2),
        trace_id="request-17",
        meta={"user": "ada"},
    )
    async with flow:
        answer = await flow.ask(asked)
    print(answer.payload)
    print(answer.trace_id, answer.headers)
    print(json.dumps(answer.meta, indent=1))
    print("the question's own notes are as they were:", asked.meta)


if __name__ == "__main__":
    asyncio.run(main())
