"""How the sides of a row are timed.

Rules: all sides are open in one event loop and take turns, round by round, each time with another one first; so noise
of the machine hits all of them. Before each turn garbage is collected, and collection stays enabled. What is reported
is the median over the rounds of the ratio within a round, with its quartiles.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

from benchmarks.baselines import Ask
from benchmarks.work import Problem, WrongAnswer

Opened = Callable[[], AbstractAsyncContextManager[Ask]]
Drive = Callable[[Ask, list[Any]], Awaitable[list[Any]]]


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        name: What `--only` takes.
        title: What a person reads.
        requests: What to send, given how many.
        drive: How to send it.
        check: What is wrong with the answers, if anything.
        sides: How each side is opened; one of them is "ours".
        against: The side that ours is compared with.
        at_most: The ratio that is allowed.
        count: Requests in one turn.
        least: The fewest that make sense, for a smoke run.
        units: Parts of a request (chunks) that its time is divided by.
    """

    name: str
    title: str
    requests: Callable[[int], list[Any]]
    drive: Drive
    check: Callable[[Sequence[Any]], Problem]
    sides: Mapping[str, Opened]
    against: str
    at_most: float
    count: int
    least: int = 4
    units: int = 1


@dataclass
class Figures:
    """What was measured of a row: microseconds of each side in each round."""

    row: Row
    rounds: dict[str, list[float]] = field(default_factory=dict)
    wrong: str | None = None

    def median(self, side: str) -> float | None:
        """Microseconds, if the side is there."""
        return statistics.median(self.rounds[side]) if self.rounds.get(side) else None

    def ratios(self) -> list[float]:
        """Ours against the other side, in each round."""
        return [o / other for o, other in zip(self.rounds["ours"], self.rounds[self.row.against], strict=True)]

    def quartiles(self) -> tuple[float, float, float]:
        """Lower quartile, median and upper quartile of the ratios."""
        low, middle, high = statistics.quantiles(self.ratios(), n=4, method="inclusive")
        return low, middle, high

    @property
    def ok(self) -> bool:
        """Whether the answers are right and the median is within what is allowed."""
        return self.wrong is None and self.quartiles()[1] <= self.row.at_most


# --- ways to send requests --------------------------------------------------------------------------


async def one_at_a_time(ask: Ask, requests: list[Any]) -> list[Any]:
    return [await ask(request) for request in requests]


def in_flight(width: int) -> Drive:
    """So many clients, each of which sends its share one at a time."""

    async def drive(ask: Ask, requests: list[Any]) -> list[Any]:
        shares = [requests[start::width] for start in range(min(width, len(requests)))]
        answers = await asyncio.gather(*(one_at_a_time(ask, share) for share in shares))
        found: list[Any] = [None] * len(requests)
        for start, share in enumerate(answers):
            found[start::width] = share
        return found

    return drive


def at_once(width: int) -> Drive:
    """Batches of so many, each sent all at once."""

    async def drive(ask: Ask, requests: list[Any]) -> list[Any]:
        found: list[Any] = []
        for start in range(0, len(requests), width):
            found += await asyncio.gather(*(ask(request) for request in requests[start : start + width]))
        return found

    return drive


# --- timing -----------------------------------------------------------------------------------------


async def timed(row: Row, side: str, ask: Ask, count: int) -> float:
    """One turn: microseconds a unit.

    Raises:
        WrongAnswer: the side did not do the work.
    """
    requests = row.requests(count)
    gc.collect()
    started = time.perf_counter()
    answers = await row.drive(ask, requests)
    seconds = time.perf_counter() - started
    problem = row.check(answers) if len(answers) == count else f"{len(answers)} answers to {count} requests"
    if problem:
        raise WrongAnswer(f"{side}: {problem}")
    return seconds / (count * row.units) * 1e6


async def _taking_turns(row: Row, figures: Figures, rounds: int, count: int) -> None:
    async with AsyncExitStack() as stack:
        asks = {side: await stack.enter_async_context(opened()) for side, opened in row.sides.items()}
        for side, ask in asks.items():
            await timed(row, side, ask, row.least)  # nobody's first request counts
            figures.rounds[side] = []
        order = list(asks)
        for _ in range(rounds):
            for side in order:
                figures.rounds[side].append(await timed(row, side, asks[side], count))
            order = [*order[1:], order[0]]


def measured(row: Row, rounds: int, share: float) -> Figures:
    """Measure a row, with this share of its requests in each turn. A wrong answer is noted in the figures."""
    figures = Figures(row)
    try:
        asyncio.run(_taking_turns(row, figures, rounds, max(row.least, round(row.count * share))))
    except WrongAnswer as problem:
        figures.wrong = str(problem)
    return figures
