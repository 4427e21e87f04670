"""How long a plugin keeps the loop, judged so that a busy machine makes no difference.

Rules: of several rounds the best counts. The limits are those of an ordinary machine; a slower one, as a yardstick
of plain Python shows right before each round, gets as much more time.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

YARDSTICK_US = 240.0  # what `_yardstick` took on the server on which the limits were set, with CPython 3.11


@dataclass(frozen=True, slots=True)
class Round:
    """One round of events.

    Attributes:
        median_us: What an event took, in the middle.
        longest_us: What the longest took.
        longest: The type of that event.
    """

    median_us: float
    longest_us: float
    longest: str


def measured(took_us: Sequence[tuple[float, str]], slowness: float) -> Round:
    """A round's figures, as they would be on an ordinary machine."""
    longest_us, longest = max(took_us)
    middle = statistics.median(us for us, _ in took_us)
    return Round(middle / slowness, longest_us / slowness, longest)


def slowness() -> float:
    """How many times slower this machine is now than an ordinary one; at least 1."""
    return max(1.0, min(_yardstick() for _ in range(5)) / YARDSTICK_US)


def _yardstick() -> float:
    started = time.perf_counter_ns()
    seen: dict[str, int] = {}
    for number in range(1000):
        key = f"key {number % 10}"
        seen[key] = seen.get(key, 0) + number
    return (time.perf_counter_ns() - started) / 1e3
