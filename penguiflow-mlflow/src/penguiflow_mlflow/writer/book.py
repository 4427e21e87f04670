"""Collects the figures of one MLflow run until they are written.

Rules: each key has steps of its own, from 0, that only rise. What isn't a finite number never gets in. Totals are
written when they have changed, and not at each change.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, Protocol

MOST_KEYS = 10_000


class Row(NamedTuple):
    """One value of a metric; `ts` in milliseconds since the epoch."""

    key: str
    value: float
    ts: int
    step: int


class Sink(Protocol):
    """Takes figures; `ts` in seconds since the epoch."""

    def point(self, key: str, value: float, ts: float) -> None:
        """A value of its own, as how long something took."""

    def add(self, key: str, amount: float, ts: float) -> None:
        """Adds to a total, as of errors."""


class Book:
    """The figures of one run.

    Attributes:
        refused: Values that couldn't be taken: they weren't finite numbers, or had one key too many.
    """

    def __init__(self) -> None:
        self._rows: list[Row] = []
        self._steps: dict[str, int] = {}
        self._totals: dict[str, float] = {}
        self._changed: dict[str, float] = {}
        self.refused: int = 0

    def point(self, key: str, value: float, ts: float) -> None:
        number = finite(value)
        if number is None or (key not in self._steps and len(self._steps) >= MOST_KEYS):
            self.refused += 1
            return
        step = self._steps.get(key, 0)
        self._steps[key] = step + 1
        self._rows.append(Row(key, number, int(ts * 1e3), step))

    def add(self, key: str, amount: float, ts: float) -> None:
        if key not in self._totals and len(self._totals) >= MOST_KEYS:
            self.refused += 1
            return
        self._totals[key] = self._totals.get(key, 0) + amount
        self._changed[key] = ts

    def rows(self) -> list[Row]:
        """What has come since the last time."""
        changed, self._changed = self._changed, {}
        for key, ts in changed.items():
            self.point(key, self._totals[key], ts)
        rows, self._rows = self._rows, []
        return rows


def finite(value: object) -> float | None:
    """The value as a number that every store can keep, if it is one."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def quantile(ordered: Sequence[float], part: float) -> float:
    """The value that this part of the ordered values doesn't exceed."""
    return ordered[max(0, math.ceil(part * len(ordered)) - 1)]
