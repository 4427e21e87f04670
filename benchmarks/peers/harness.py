"""What the peers' scripts share: the same requests, the same checks, the same ways to send them as in the table.

Rules: the standard library alone, since each peer has an environment of its own. A script says for each row how to ask:
a number goes in, and out comes what the row's check wants. Each row has its time; a row that fails says why.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any, NamedTuple

BRANCHES = 8
HOPS = 50
CHUNKS = 10_000
NAP_S = 0.01
LIMIT_S = 60  # of a row, before it counts as hanging

Ask = Callable[[Any], Awaitable[Any]]
Opened = Callable[[], AbstractAsyncContextManager[Ask]]


class Work(NamedTuple):
    """How a row is sent and checked."""

    width: int  # clients; 0 for batches of 256 at once
    count: int  # requests in a round
    units: int
    answer: Callable[[int], Any]


WORK = {
    "chain": Work(1, 100, 1, lambda n: (n, ["first", "second", "third"])),
    "chain-64": Work(64, 256, 1, lambda n: (n, ["first", "second", "third"])),
    "loop": Work(1, 10, 1, str),
    "fan-out": Work(1, 30, 1, lambda n: BRANCHES * n + sum(range(BRANCHES))),
    "stream": Work(1, 1, CHUNKS, lambda n: texts(n)),
    "nap-256": Work(0, 256, 1, lambda n: (n, ["nap"])),
}


def texts(n: int) -> list[str]:
    """What the stream of request `n` says."""
    return [f"{n}:{i} " for i in range(CHUNKS)]


def ready(ask: Ask) -> Opened:
    """For a peer that needs no opening."""
    return lambda: nullcontext(ask)


async def _client(ask: Ask, numbers: list[int]) -> dict[int, Any]:
    return {n: await ask(n) for n in numbers}


async def _turn(work: Work, ask: Ask) -> float:
    """One round: microseconds a unit."""
    width = work.width or work.count
    shares = [list(range(start, work.count, width)) for start in range(width)]
    gc.collect()
    started = time.perf_counter()
    found = [await _client(ask, shares[0])] if width == 1 else await asyncio.gather(*(_client(ask, s) for s in shares))
    seconds = time.perf_counter() - started
    answers = {n: answer for client in found for n, answer in client.items()}
    for n in range(work.count):
        if answers[n] != work.answer(n):
            raise ValueError(f"wrong answer to request {n}: {answers[n]!r:.100}")
    return seconds / (work.count * work.units) * 1e6


async def _measured(work: Work, opened: Opened, seconds: float) -> float:
    async with opened() as ask:
        await _turn(work, ask)
        rounds: list[float] = []
        end = time.perf_counter() + seconds
        while len(rounds) < 3 or time.perf_counter() < end:
            rounds.append(await _turn(work, ask))
    return statistics.median(rounds)


def main(rows: dict[str, Opened | str]) -> None:
    """Measure the rows; a text instead of a way to ask says why a row can't be done."""
    logging.disable(logging.CRITICAL)
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    figures: dict[str, float] = {}
    problems: dict[str, str] = {}
    for row, opened in rows.items():
        if isinstance(opened, str):
            problems[row] = opened
            continue
        try:
            figures[row] = asyncio.run(asyncio.wait_for(_measured(WORK[row], opened, seconds), LIMIT_S))
        except Exception as error:
            problems[row] = f"failed: {type(error).__name__}: {error}"[:200]
    print(json.dumps({"figures": figures, "problems": problems}))
