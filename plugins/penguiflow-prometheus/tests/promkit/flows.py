"""Flows in which much happens, and a second observer that counts it in its own way."""

from __future__ import annotations

import asyncio
from collections import Counter

from penguiflow import Context, FlowError, FlowEvent, Node, PenguiFlow, create, hookimpl, node


class Ledger:
    """Every event as it is, in a list: slow, and hard to get wrong."""

    name = "truth"

    def __init__(self) -> None:
        self.events: list[FlowEvent] = []

    @hookimpl
    def on_event(self, event: FlowEvent) -> None:
        self.events.append(event)

    def count(self, kind: str, *fields: str) -> Counter[tuple[str, ...]]:
        """How many events of a type there were, by some of their fields."""
        return Counter(
            tuple(str(event.extra.get(name) if name in event.extra else getattr(event, name)) for name in fields)
            for event in self.events
            if event.event_type == kind
        )


@node(max_retries=2, backoff_base=0.0)
async def sift(number: int, ctx: Context) -> int:
    """Every fifth number fails for good, every third once."""
    if number % 5 == 0:
        raise ValueError(f"{number} is divisible by 5")
    if number % 3 == 0 and ctx.attempt == 0:
        raise ConnectionError(f"{number} is divisible by 3")
    return number


@node
async def tell(number: int, ctx: Context) -> str:
    """Writes as many chunks as the number's last digit."""
    ctx.spend(tokens=10, cost=0.25)
    for step in range(number % 10):
        await ctx.emit_chunk("ab" * step)
    return f"told {number}"


@node(timeout_s=0.001)
async def linger(number: int) -> None:
    await asyncio.Event().wait()


@node
async def pour(count: int, ctx: Context) -> None:
    """Emits so many numbers, without waiting."""
    for number in range(count):
        await ctx.emit(number)


class Tap:
    """A node `drip` that holds the number 1 until it is opened, so that those after it wait."""

    def __init__(self) -> None:
        self.holds = asyncio.Event()
        self.opened = asyncio.Event()
        self.node = Node(self._drip, name="drip")

    async def _drip(self, number: int) -> int:
        if number == 1:
            self.holds.set()
            await self.opened.wait()
        return number


def busy(plugins: list[object], name: str = "busy") -> PenguiFlow:
    """Retries, failures, chunks and spending."""
    return create(sift.to(tell), name=name, plugins=plugins)


async def use(flow: PenguiFlow, numbers: range) -> None:
    """Ask for each number, one after the other."""
    for number in numbers:
        try:
            await flow.ask(number)
        except FlowError:
            assert number % 5 == 0
