"""A flow that ran, drawn with what happened: `python recorded.py [FOLDER]`."""

import asyncio
import sys
from pathlib import Path

from penguiflow import Context, Message, PenguiFlow, create, join_k, node, subflow
from penguiflow_viz import Recorder


@node(max_retries=2, backoff_base=0.01)
async def search(question: str, ctx: Context) -> str:
    await asyncio.sleep(0.01)
    if ctx.attempt == 0 and "rare" in question:
        raise ConnectionError("the index is down")
    return f"pages on {question}"


@node
async def remember(question: str) -> str:
    await asyncio.sleep(0.03)
    return f"what was said of {question}"


@node(timeout_s=1)
async def write(findings: list[str], ctx: Context) -> str:
    answer = " and ".join(findings)
    for word in answer.split():
        await asyncio.sleep(0.002)
        await ctx.emit_chunk(f"{word} ")
    return answer


def desk(recorder: Recorder) -> PenguiFlow:
    both = join_k("both", 2)
    research = create(search.to(both), remember.to(both), name="research")
    return create(subflow("find", research).to(write), name="desk", plugins=[recorder])


async def ask(flow: PenguiFlow) -> None:
    async with flow:
        for number, question in enumerate(["penguins", "a rare penguin", "ice"]):
            await flow.ask(Message(payload=question, trace_id=f"question-{number}"))


def main(folder: Path) -> None:
    recorder = Recorder()
    flow = desk(recorder)
    asyncio.run(ask(flow))
    folder.mkdir(parents=True, exist_ok=True)
    drawings = {
        "desk_ran.svg": flow.export("svg", overlay=recorder),
        "desk_ran.mmd": flow.export("mermaid", overlay=recorder),
        "question-1.svg": flow.export("svg", overlay=recorder, trace_id="question-1", direction="LR"),
        "question-1_waterfall.svg": flow.export("waterfall", overlay=recorder, trace_id="question-1"),
    }
    for name, drawn in drawings.items():
        assert isinstance(drawn, str)
        (folder / name).write_text(drawn, encoding="utf-8")
        print(name)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "drawn"))
