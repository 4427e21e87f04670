"""Two people ask for a long report, and one of them changes her mind: her work stops, his doesn't notice."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from penguiflow import Context, FlowEvent, TraceCancelled, create, node


class Upstream:
    """Stands for a model's server: it answers when told to, and counts the calls that are open."""

    def __init__(self) -> None:
        self.open = 0
        self.both_call = asyncio.Event()
        self.may_answer = asyncio.Event()

    async def complete(self, prompt: str) -> str:
        self.open += 1
        if self.open == 2:
            self.both_call.set()
        try:
            await self.may_answer.wait()
            return f"a report on {prompt}"
        finally:
            self.open -= 1  # what a real client does here is close the connection


upstream = Upstream()


@asynccontextmanager
async def connected() -> AsyncIterator[Upstream]:
    yield upstream  # a real one is opened here, and closed after the flow has stopped


@node
async def outline(subject: str) -> str:
    return f"{subject}, in three parts"


@node
async def write(prompt: str, ctx: Context) -> str:
    return str(await ctx.resources.complete(prompt))


@node
async def tell(subject: str, ctx: Context) -> int:
    try:
        for number in range(1_000_000):
            await ctx.emit_chunk(f"{subject} {number}, ")
    finally:
        print("\nthe storyteller was stopped")
    return 1_000_000


def shown(event: FlowEvent) -> None:
    if event.event_type in ("trace_cancel_start", "node_cancelled", "trace_finish"):
        print(f"  {event.event_type}", event.node_name or event.outcome or "")


async def cancel_a_trace() -> None:
    async with create(outline.to(write), on_event=shown, resources=connected) as flow:
        hers, his = flow.start("penguins"), flow.start("seals")
        await upstream.both_call.wait()
        print("calls to the model:", upstream.open)

        print("cancelled:", await flow.cancel(hers.trace_id))
        print("calls to the model:", upstream.open)
        print("cancelled again:", await flow.cancel(hers.trace_id))
        try:
            await hers.result()
        except TraceCancelled as error:
            print("she gets:", error.code)

        upstream.may_answer.set()
        print("he gets:", await his.result())


async def leave_a_stream() -> None:
    async with create(tell.to()) as flow, flow.stream("penguin") as story:
        async for chunk in story:
            print(chunk.text, end="")
            if chunk.seq == 2:
                break  # leaving the block cancels the trace, and with it the call that the node waits for


async def main() -> None:
    await cancel_a_trace()
    await leave_a_stream()


if __name__ == "__main__":
    asyncio.run(main())
