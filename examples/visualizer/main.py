"""A help desk drawn in every format: `python main.py [FOLDER]`."""

import sys
from pathlib import Path

from pydantic import BaseModel

from penguiflow import (
    WM,
    Context,
    FinalAnswer,
    Message,
    PenguiFlow,
    RoutingRequest,
    create,
    join_k,
    node,
    predicate_router,
    subflow,
)
from penguiflow_viz import FORMATS


class Question(BaseModel):
    text: str


@node(timeout_s=5)
async def read(question: Question) -> Question:
    """Take out what is no question."""
    return question


def by_topic(message: Message) -> list[str]:
    return ["orders", "search"] if "order" in message.payload.text else ["search", "think"]


def at_night(request: RoutingRequest) -> list[str] | None:
    return None


topic = predicate_router("topic", by_topic, policy=at_night)


@node(max_retries=3, timeout_s=2, max_concurrency=8)
async def fetch(question: Question) -> str:
    return "an order"


@node
async def tell(order: str) -> str:
    return order


@node
async def rank(question: Question) -> str:
    return "a page"


def library() -> PenguiFlow:
    """The playbook that `search` calls."""
    return create(rank, name="library")


@node(playbooks=[library])
async def search(question: Question, ctx: Context) -> str:
    """Look it up."""
    found: str = await ctx.call_playbook(library, question)
    return found


@node(allow_cycle=True)
async def think(state: WM) -> WM | FinalAnswer:
    """Go round until there is an answer."""
    return FinalAnswer(text="forty-two")


@node
async def draft(findings: list[str]) -> str:
    return " ".join(findings)


@node(allow_cycle=True)
async def review(text: str) -> str:
    return text


@node
async def improve(text: str) -> str:
    return text


@node
async def send(text: str) -> str:
    return text


def help_desk() -> PenguiFlow:
    """One of everything that can be drawn."""
    orders = subflow("orders", create(fetch.to(tell), name="order_desk"))
    both = join_k("both", 2, timeout_s=10)
    return create(
        read.to(topic),
        topic.to(orders, search, think),
        orders.to(both),
        search.to(both),
        think.to(think, both),
        both.to(draft),
        draft.to(review),
        review.to(improve, send),
        improve.to(review),
        name="help_desk",
    )


ENDINGS = {"mermaid": "mmd", "dot": "dot", "svg": "svg", "html": "html", "json": "json"}


def write(file: Path, drawn: str | bytes) -> None:
    file.write_bytes(drawn if isinstance(drawn, bytes) else drawn.encode("utf-8"))
    print(file.name)


def main(folder: Path) -> None:
    flow = help_desk()
    folder.mkdir(parents=True, exist_ok=True)
    for format in FORMATS:
        write(folder / f"help_desk.{ENDINGS[format]}", flow.export(format))
    write(folder / "help_desk_wide.svg", flow.export("svg", direction="LR", theme="dark"))


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "drawn"))
