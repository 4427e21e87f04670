"""Whether a request costs the same however many there are, and however long the flow is.

Rules: only our side, against itself. The sizes of a row take turns in rounds, as the sides of the table do; what
counts is the largest median against the smallest and, in a long row, the last against the first. Many tasks at once
cost the interpreter itself more each (its garbage collector and its caches), so how a bare task for each request grows
is measured as well, and is what is allowed. A chain's cost a node is that of what it has beyond one node, so that the
price of a request, paid once, isn't divided by its length.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
import time
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

from benchmarks.baselines import Ask
from benchmarks.flows import chain_of
from benchmarks.measure import Drive, in_flight, one_at_a_time
from benchmarks.work import STEPS, Item, WrongAnswer, items, went
from penguiflow import Node

WIDTHS = (1, 10, 100, 1_000, 10_000)
LENGTHS = (10, 100, 1_000)
MESSAGES = 1_000_000
ROUNDS = 5


@dataclass
class Growth:
    """Microseconds at each size, in each round.

    Attributes:
        limit: What the ratio may be.
        in_time: Whether the sizes follow each other in one run: what counts is then the last against the first.
        beside: Those of bare tasks, if they set the limit.
    """

    name: str
    title: str
    limit: float
    in_time: bool = False
    sizes: dict[str, list[float]] = field(default_factory=dict)
    beside: dict[str, list[float]] = field(default_factory=dict)
    wrong: str | None = None

    def medians(self) -> dict[str, float]:
        """Microseconds at each size."""
        return {size: statistics.median(found) for size, found in self.sizes.items()}

    @property
    def ratio(self) -> float:
        """The largest against the smallest, or the last against the first."""
        medians = [*self.medians().values()]
        return medians[-1] / medians[0] if self.in_time else max(medians) / min(medians)

    @property
    def at_most(self) -> float:
        """What `ratio` may be."""
        bare = [statistics.median(found) for found in self.beside.values()]
        return max(self.limit, max(bare) / min(bare)) if bare else self.limit

    @property
    def ok(self) -> bool:
        """Whether the answers are right and it stays as flat as it should."""
        return self.wrong is None and self.ratio <= self.at_most


async def _timed(ask: Ask, count: int, drive: Drive = one_at_a_time, path: tuple[str, ...] = ()) -> float:
    """Microseconds a request.

    Raises:
        WrongAnswer: they aren't the answers to what was asked.
    """
    requests = items(count)
    gc.collect()
    started = time.perf_counter()
    answers = await drive(ask, requests)
    seconds = time.perf_counter() - started
    problem = went(*path)(answers)
    if problem:
        raise WrongAnswer(problem)
    return seconds / count * 1e6


async def _in_flight(growth: Growth, share: float) -> None:
    widths = [width for width in WIDTHS if width <= max(100, max(WIDTHS) * share)]
    path = tuple(step.__name__ for step in STEPS)
    async with chain_of([Node(step) for step in STEPS], max_traces=max(widths)) as flow:
        await _timed(flow.ask, 100, path=path)
        for _ in range(ROUNDS):
            for width in widths:
                for ask, sizes in ((flow.ask, growth.sizes), (_bare_task, growth.beside)):
                    spent = await _timed(ask, max(widths), in_flight(width), path)
                    sizes.setdefault(f"{width:,}", []).append(spent)


async def _bare_task(item: Item) -> Item:
    """The least that gives every request a task of its own, and really has them all in flight."""
    return await asyncio.create_task(_steps(item))


async def _steps(item: Item) -> Item:
    await asyncio.sleep(0)
    for step in STEPS:
        item = await step(item)
    return item


async def same(item: Item) -> Item:
    return item


async def _nodes(growth: Growth, share: float) -> None:
    lengths = [length for length in LENGTHS if length <= max(100, max(LENGTHS) * share)]
    hops = max(lengths) * 20
    async with AsyncExitStack() as stack:
        asks: dict[int, Ask] = {}
        for length in (1, *lengths):
            nodes = [Node(same, name=f"n{place}") for place in range(length)]
            flow = await stack.enter_async_context(chain_of(nodes))
            asks[length] = flow.ask
            await _timed(flow.ask, 1)
        for _ in range(ROUNDS):
            alone = await _timed(asks[1], hops // 10)
            for length in lengths:
                spent = await _timed(asks[length], hops // length)
                growth.sizes.setdefault(f"{length:,}", []).append((spent - alone) / (length - 1))


async def _messages(growth: Growth, share: float) -> None:
    tenth = round(MESSAGES * share) // 10
    path = tuple(step.__name__ for step in STEPS)
    drive = in_flight(64)
    async with chain_of([Node(step) for step in STEPS]) as flow:
        await _timed(flow.ask, 1000, drive, path)
        tenths = [await _in_parts(flow.ask, tenth, drive, path) for _ in range(10)]
    growth.sizes[f"first {tenth:,}"], growth.sizes[f"last of {10 * tenth:,}"] = tenths[0], tenths[-1]


async def _in_parts(ask: Ask, count: int, drive: Drive, path: tuple[str, ...]) -> list[float]:
    """`count` requests in ten parts, so that the benchmark doesn't hold them all, and their answers, at once."""
    return [await _timed(ask, count // 10, drive, path) for _ in range(10)]


CASES: dict[str, tuple[str, float, Callable[[Growth, float], Coroutine[Any, Any, None]]]] = {
    "width": ("chain, a request, with so many in flight", 1.5, _in_flight),
    "length": ("chain of so many nodes, a node", 1.5, _nodes),
    "messages": ("chain, a request, in a long row", 1.15, _messages),
}


def measured(name: str, share: float) -> Growth:
    """Measure one case, at this share of its size. A wrong answer is noted in what comes back."""
    title, at_most, case = CASES[name]
    growth = Growth(name, title, at_most, in_time=case is _messages)
    try:
        asyncio.run(case(growth, share))
    except WrongAnswer as problem:
        growth.wrong = str(problem)
    return growth
