"""Sums up the values of a stretch of time, instead of keeping each.

Rules: counts, sums and the extremes are exact. Quantiles are those of all values as long as a window has no more than
`SAMPLES` of a key, and of a fair sample of them beyond that.
"""

from __future__ import annotations

import random

from penguiflow_mlflow.writer.book import MOST_KEYS, Book, Row, finite, quantile

SAMPLES = 5_000


class Window:
    """A sink that writes `count`, `mean`, `p50`, `p95` and `max` of each key into a book, once per window."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._values: dict[str, _Values] = {}
        self._random = random.Random(0)

    def point(self, key: str, value: float, ts: float) -> None:
        number = finite(value)
        if number is None or (key not in self._values and len(self._values) >= MOST_KEYS):
            self._book.refused += 1
        else:
            self._values.setdefault(key, _Values()).take(number, self._random)

    def add(self, key: str, amount: float, ts: float) -> None:
        self._book.add(key, amount, ts)

    def rows(self, ts: float) -> list[Row]:
        """The window's summary, at the time it ends; a new window begins."""
        values, self._values = self._values, {}
        for key, found in values.items():
            for name, number in found.summary().items():
                self._book.point(f"{key}/{name}", number, ts)
        return self._book.rows()


class _Values:
    def __init__(self) -> None:
        self._count, self._sum, self._max = 0, 0.0, float("-inf")
        self._sample: list[float] = []

    def take(self, value: float, chance: random.Random) -> None:
        self._count += 1
        self._sum += value
        self._max = max(self._max, value)
        if len(self._sample) < SAMPLES:
            self._sample.append(value)
        elif (place := chance.randrange(self._count)) < SAMPLES:
            self._sample[place] = value

    def summary(self) -> dict[str, float]:
        ordered = sorted(self._sample)
        return {
            "count": float(self._count),
            "mean": self._sum / self._count,
            "p50": quantile(ordered, 0.5),
            "p95": quantile(ordered, 0.95),
            "max": self._max,
        }
