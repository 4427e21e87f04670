"""A researcher that could go on for ever: what stops it, and what its caller gets then."""

import asyncio
import time

from penguiflow import WM, Budget, Context, FinalAnswer, FlowError, Message, create, node


@node(allow_cycle=True)
async def research(memory: WM, ctx: Context) -> WM | FinalAnswer:
    """Look one thing up and go round again. `ctx.spend` says what it cost."""
    ctx.spend(tokens=400, cost=0.002)
    facts = [*memory.facts, f"fact {len(memory.facts) + 1}"]
    if len(facts) == 5:
        return FinalAnswer(text=f"done after {len(facts)} facts", citations=facts)
    return memory.model_copy(update={"facts": facts})


@node
async def look_up(question: str, ctx: Context) -> str:
    left = ctx.deadline_left
    print("  the lookup knows how long it may take:", left is not None and 0 < left <= 0.2)
    await asyncio.sleep(60)
    return "too late for anybody"


async def hops() -> None:
    """`budget_hops` is the controller's own limit: it runs out with an answer, not with an exception."""
    async with create(research.to(research)) as flow:
        print("8 hops:", (await flow.ask(WM(query="penguins"))).text)
        print("3 hops:", (await flow.ask(WM(query="penguins", budget_hops=3))).text)


async def budgets() -> None:
    """A `Budget` holds for the whole trace: over branches, loops, subflows and playbooks."""
    async with create(research.to(research)) as flow:
        for budget in (Budget(tokens=5000), Budget(tokens=1000), Budget(cost=0.005)):
            asked = Message(payload=WM(query="penguins"), budget=budget)
            answer = (await flow.ask(asked)).payload
            limits = ", ".join(f"{name}={value}" for name, value in budget if value is not None)
            print(f"{limits}: {answer.text}")


async def deadlines() -> None:
    """A deadline preempts what runs. It is a moment on the caller's clock, so it crosses processes."""
    async with create(look_up) as flow:
        try:
            await flow.ask(Message(payload="penguins", deadline_s=time.time() + 0.2))
        except FlowError as error:
            print("a deadline in 0.2 s:", error.code, "in", error.node_name)
        try:
            await flow.ask(Message(payload="penguins", deadline_s=time.time() - 1))
        except FlowError as error:
            print("a deadline in the past:", error.code, "before any node ran")
        try:
            await flow.ask("penguins", timeout_s=0.2)
        except FlowError as error:
            print("timeout_s=0.2:", error.code)


async def main() -> None:
    await hops()
    await budgets()
    await deadlines()


if __name__ == "__main__":
    asyncio.run(main())
