"""The multiprocess mode of `prometheus_client`: several processes write to files, and any of them shows the sums.

Rules: the loop adds to cells as ever; a thread of the process carries what has come to them into the files, every so
often and when the last flow stops. The files have no exemplars.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import os
import threading
from collections.abc import Callable
from typing import Any

from prometheus_client import values

from penguiflow_prometheus._cells import Tally, Timing
from penguiflow_prometheus._exposition import bounds
from penguiflow_prometheus._families import COUNTER, GAUGE, Family, Totals
from penguiflow_prometheus._slices import sliced

log = logging.getLogger("penguiflow_prometheus")

DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"
OLD_DIRECTORY = "prometheus_multiproc_dir"  # as `prometheus_client` called it once, and still takes it
GAUGES_OF = "livesum"  # added up over the processes that live: `mark_process_dead` takes one out

Key = tuple[str, tuple[str, ...]]


def multiprocess() -> bool:
    """Whether `prometheus_client` found the variable of the multiprocess mode when it was imported.

    Raises:
        ValueError: the variable names no directory.
    """
    if values.ValueClass is values.MutexValue:
        return False
    if not os.path.isdir(directory()):
        raise ValueError(f"{DIRECTORY} names the directory of the multiprocess mode: make {directory()!r} first")
    return True


def directory() -> str:
    """Where the processes' files are."""
    return os.environ.get(DIRECTORY) or os.environ.get(OLD_DIRECTORY, "")


class _Trip:
    """A thread that carries until it is told that it is over."""

    def __init__(self, carry: Callable[[], None], interval_s: float) -> None:
        self._carry: Callable[[], None] = carry
        self._interval_s: float = interval_s
        self._said: str | None = None
        self._over: threading.Event = threading.Event()
        self._ended: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._thread: threading.Thread = threading.Thread(target=self._run, name="penguiflow-prometheus", daemon=True)
        self._thread.start()

    async def end(self) -> None:
        """Carry once more, and end the thread."""
        self._over.set()
        await asyncio.shield(asyncio.wrap_future(self._ended))
        self._thread.join()  # it has nothing left to do

    def _run(self) -> None:
        while not self._over.wait(self._interval_s):
            self._carry_or_say()
        self._carry_or_say()
        self._ended.set_result(None)

    def _carry_or_say(self) -> None:
        said = None
        try:
            self._carry()
        except Exception as exc:
            said = f"metrics can't be written to {directory()!r}: {type(exc).__name__}: {exc}"
        if said is not None and said != self._said:
            log.error("%s", said)
        self._said = said


class Ferry:
    """Carries sums into the files of its process.

    Args:
        prefix: What the names of the metrics begin with.
        totals: What there is to carry.
    """

    def __init__(self, prefix: str, totals: Callable[[], Totals]) -> None:
        self._prefix: str = prefix
        self._totals: Callable[[], Totals] = totals
        self._lock: threading.Lock = threading.Lock()  # held for long: never taken by a loop
        self._aboard: threading.Lock = threading.Lock()
        self._carried: dict[Key, float] = {}
        self._files: dict[Key, Any] = {}  # values of `prometheus_client`, whose methods have no types
        self._flows: int = 0
        self._trip: _Trip | None = None

    def board(self, interval_s: float) -> None:
        """One more flow runs: from the first one on, the files are brought up to date every so many seconds."""
        with self._aboard:
            if self._trip is None:
                self._trip = _Trip(self.carry, interval_s)
            self._flows += 1

    async def leave(self) -> None:
        """One flow less. With the last one the files are complete, and the thread is gone."""
        with self._aboard:
            if self._trip is None:
                return  # it boarded in the parent process
            self._flows -= 1
            if self._flows:
                return
            trip, self._trip = self._trip, None
        await trip.end()

    def carry(self) -> None:
        """Bring the files up to date."""
        with self._lock:
            for family, rows in self._totals().items():
                for labels, sum_ in sliced(rows.items()):
                    self._carry(family, labels, sum_)

    def _carry(self, family: Family, labels: tuple[str, ...], sum_: Tally | Timing) -> None:
        name = f"{self._prefix}_{family.name}"
        if isinstance(sum_, Timing):
            self._put(family, name, f"{name}_sum", family.labels, labels, sum_.total)
            for bound, count in zip(bounds(sum_), sum_.counts, strict=True):
                self._put(family, name, f"{name}_bucket", (*family.labels, "le"), (*labels, bound), count)
        else:
            sample = f"{name}_total" if family.kind == COUNTER else name
            self._put(family, name, sample, family.labels, labels, sum_.value)

    def _put(
        self, family: Family, name: str, sample: str, names: tuple[str, ...], labels: tuple[str, ...], value: float
    ) -> None:
        key = (sample, labels)
        known = self._carried.get(key)
        if value == known:
            return
        if known is None:
            self._files[key] = values.ValueClass(
                family.kind, name, sample, names, labels, family.text, multiprocess_mode=GAUGES_OF
            )
        if family.kind == GAUGE:
            self._files[key].set(value)
        else:
            self._files[key].inc(value - (known or 0))  # a process before this one may have had its number
        self._carried[key] = value
