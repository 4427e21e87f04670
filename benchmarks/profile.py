"""Where the time of a row goes: how often each function is called, and how much of the time is its own.

Rules: the calls for each request are exact. The microseconds are cProfile's, which adds its own to every call: read
them against each other, not against the table.
"""

from __future__ import annotations

import asyncio
import cProfile
import pstats
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

from benchmarks.measure import Row, timed
from benchmarks.table import aligned
from benchmarks.work import WrongAnswer

TOP = 25


async def _profiled(row: Row, count: int) -> cProfile.Profile:
    profiler = cProfile.Profile()
    async with row.sides["ours"]() as ask:
        await timed(row, "ours", ask, count)
        requests = row.requests(count)
        profiler.enable()
        answers = await row.drive(ask, requests)
        profiler.disable()
    problem = row.check(answers)
    if problem:
        raise WrongAnswer(problem)
    return profiler


def profiled(row: Row, count: int) -> Iterable[str]:
    """The functions that took the most time of our side of a row, a line each."""
    stats = cast(Any, pstats.Stats(asyncio.run(_profiled(row, count))))
    found: Mapping[tuple[str, int, str], tuple[int, int, float, float, object]] = stats.stats
    most = sorted(found.items(), key=lambda entry: -entry[1][2])
    units = count * row.units
    known = sum(entry[1][2] for entry in most)
    lines = [("function", "calls a unit", "own us a unit", "share")]
    for place, (_, calls, own, _, _) in most[:TOP]:
        lines.append((_where(*place), f"{calls / units:.2f}", f"{own / units * 1e6:.2f}", f"{own / known:.0%}"))
    yield f"{row.title}: {count:,} requests"
    yield from aligned([(*line, "") for line in lines])
    yield f"{sum(entry[1][1] for entry in most) / units:.1f} calls a unit, in {len(most)} functions"


def _where(path: str, line: int, function: str) -> str:
    return function if path == "~" else f"{function} ({'/'.join(Path(path).parts[-2:])}:{line})"
