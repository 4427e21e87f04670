"""One flow. What happens when its model fails, and which model is asked, is decided by each deployment."""

import asyncio

from penguiflow import FlowError, create, node, router


@node
async def question(text: str) -> str:
    return text.strip()


model = router("model")  # proposes both models, and so asks both, unless a deployment chooses


@node
async def large(text: str) -> str:
    raise ConnectionError("the large model is overloaded")


@node
async def small(text: str) -> str:
    return f"small model: {text.lower()}"


async def main() -> None:
    flow = create(question.to(model), model.to(large, small), name="answers")
    print("hooks:", ", ".join(f"{r.name} ({r.reason})" for r in flow.plugins if r.status == "loaded") or "none")
    async with flow:
        handle = flow.start("Where do penguins sleep?")
        try:
            for answer in await handle.results():
                print(answer)
        except FlowError as error:
            print(f"{error.code}: {error.message}")


if __name__ == "__main__":
    asyncio.run(main())
