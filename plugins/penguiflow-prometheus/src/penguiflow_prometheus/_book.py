"""The ledgers of a registry, and the collector that shows their sums in it.

Rules: a registry has one book for each prefix, which all flows of the process share, since a name can be registered
only once. A flow borrows a ledger while it runs: ledgers are as many as flows that ran at the same time. A process that
was forked begins anew: what its parent counted is the parent's.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterable
from itertools import chain
from typing import NamedTuple
from weakref import WeakKeyDictionary

from prometheus_client import CollectorRegistry, Metric

from penguiflow import PenguiFlow
from penguiflow_prometheus._cells import Ledger, Limits, Names
from penguiflow_prometheus._exposition import described, exposed
from penguiflow_prometheus._families import Totals, totals, waiting
from penguiflow_prometheus._ferry import Ferry
from penguiflow_prometheus._loads import Asked, ask


class Shape(NamedTuple):
    """What all flows that share a book agree on."""

    buckets: tuple[float, ...]
    exemplars: bool


class Book:
    """The ledgers under one prefix: a collector, as `prometheus_client` calls it."""

    def __init__(self, prefix: str, shape: Shape) -> None:
        self.prefix: str = prefix
        self.shape: Shape = shape
        self._begin()

    def _begin(self) -> None:
        self._pid: int = os.getpid()
        self._lock: threading.RLock = threading.RLock()  # the garbage collector may give a ledger back at any point
        self._ledgers: list[Ledger] = []
        self._idle: list[Ledger] = []
        self._names: Names = Names()
        self._watched: WeakKeyDictionary[PenguiFlow, Asked] = WeakKeyDictionary()
        self._ferry: Ferry = Ferry(self.prefix, self.totals)

    def _after_fork(self) -> None:
        if self._pid != os.getpid():
            self._begin()

    def claim(self, flow: PenguiFlow) -> bool:
        """Whether a flow that starts is the caller's to count; `False` if somebody else counts it here already."""
        self._after_fork()
        with self._lock:
            if flow in self._watched:
                return False
            self._watched[flow] = Asked(flow.graph, asyncio.get_running_loop())
            return True

    def release(self, flow: PenguiFlow) -> None:
        """A flow that was claimed has stopped."""
        with self._lock:
            self._watched.pop(flow, None)

    def lend(self, limits: Limits) -> Ledger:
        """A ledger that nobody else writes to until it is given back."""
        self._after_fork()
        with self._lock:
            if self._idle:
                ledger = self._idle.pop()
                ledger.limits = limits
            else:
                ledger = Ledger(self.shape.buckets, limits, self._names)
                self._ledgers.append(ledger)
            return ledger

    def take_back(self, ledger: Ledger) -> None:
        """What is in a ledger stays, and the next flow adds to it."""
        ledger.rest()
        with self._lock:
            if ledger in self._ledgers:  # not one of the parent process
                self._idle.append(ledger)

    @property
    def ferry(self) -> Ferry:
        """What carries this book's sums to other processes, in the multiprocess mode."""
        self._after_fork()
        return self._ferry

    def totals(self) -> Totals:
        """What all ledgers hold at this moment."""
        self._after_fork()
        with self._lock:
            ledgers, watched = self._ledgers[:], list(self._watched.items())
        ask(watched)
        rows = (waiting(self._names, flow.name, asked.nodes(), asked.entering) for flow, asked in watched)
        return totals(ledgers, chain.from_iterable(rows))

    def describe(self) -> Iterable[Metric]:
        """The metrics without their values: their names are taken."""
        return described(self.prefix)

    def collect(self) -> Iterable[Metric]:
        """The metrics at this moment."""
        return exposed(self.prefix, self.totals(), self.shape.exemplars)


# What is registered outlives any flow, and a registry doesn't tell what it holds.
_books: WeakKeyDictionary[CollectorRegistry, dict[str, Book]] = WeakKeyDictionary()
_lock = threading.Lock()


def book_of(registry: CollectorRegistry, prefix: str, shape: Shape) -> Book:
    """The registry's book for a prefix, made and registered if there is none.

    Raises:
        ValueError: somebody else's metrics have these names, or the book has another shape.
    """
    with _lock:
        books = _books.setdefault(registry, {})
        book = books.get(prefix)
        if book is None:
            book = Book(prefix, shape)
            try:
                registry.register(book)
            except ValueError as exc:
                text = f"the registry has other metrics of these names ({exc}): set another prefix than {prefix!r}"
                raise ValueError(text) from exc
            books[prefix] = book
        elif book.shape != shape:
            raise ValueError(
                f"the metrics {prefix}_* are in this registry already, with {book.shape} instead of {shape}: give all "
                "flows the same options, or another prefix"
            )
        return book


def books() -> list[Book]:
    """All books of the process."""
    with _lock:
        return [book for found in _books.values() for book in found.values()]
