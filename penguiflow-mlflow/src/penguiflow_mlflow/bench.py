"""Measures what the plugin costs the event loop: `python -m penguiflow_mlflow.bench`.

A real flow sends events at a steady rate, bare and with the plugin in turn, while a timer of a millisecond notes how
late it comes: while MLflow opens its store, while metrics are written, and while the flow stops. The store is a new
SQLite file unless `--uri` names another.

Rules: a timer is also late when the machine has no core to spare, so the system is asked how long the loop's thread
waited for one (Linux only). What is left is what it did itself, or waited for: Python's lock, a pipe.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import statistics
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, chdir, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from penguiflow import FlowEvent, PenguiFlow, create, node
from penguiflow_mlflow import MlflowMetrics, Options, Report, plugin
from penguiflow_mlflow._options import Mode
from penguiflow_mlflow._plugin import EVENTS

TICK_S = 0.005
PATIENCE_S = 60.0
WAITS = Path("/proc/thread-self/schedstat")
EVENTS_PER_ASK = 7  # three nodes that start and end, and the end of the trace


@node
async def first(number: int) -> int:
    return number + 1


@node
async def second(number: int) -> int:
    return number * 2


@node
async def third(number: int) -> int:
    return number - 1


@dataclass(frozen=True, slots=True)
class Lag:
    """How late a timer came, in milliseconds. `own_ms` is the worst without the time that the thread had no core."""

    median_ms: float
    p99_ms: float
    worst_ms: float
    own_ms: float


@dataclass(frozen=True, slots=True)
class Figures:
    """One measurement.

    Attributes:
        events_per_s: The rate that was reached.
        bare: The loop's lag without the plugin.
        with_plugin: The loop's lag with it, over its whole life.
        opened_s: After how many seconds the store was open.
        waited: The most events that waited at once.
        digested_per_s: Events a second that the writing process took, once the store was open.
        drained_s: How long the flow's stop took.
        report: What became of the events.
    """

    events_per_s: float
    bare: Lag
    with_plugin: Lag
    opened_s: float
    waited: int
    digested_per_s: float
    drained_s: float
    report: Report


def microseconds(uri: str, rounds: int = 20) -> float:
    """What `on_event` takes for an event, in the middle of all rounds; every type of event in its usual share."""
    return asyncio.run(_microseconds(uri, rounds))


async def _microseconds(uri: str, rounds: int) -> float:
    made, seen = plugin(Options(tracking_uri=uri, experiment="bench", stop_s=0.1)), list[FlowEvent]()

    def note(event: FlowEvent) -> None:
        if event.event_type in EVENTS:
            seen.append(event)

    async with create(first.to(second), second.to(third), name="bench", on_event=note) as flow:
        for number in range(100):
            await flow.ask(number)
    took = []
    flow = create(first, name="bench", plugins=[made])
    async with flow:
        for _ in range(rounds):
            started = time.perf_counter()
            for event in seen:
                made.on_event(event)
            took.append((time.perf_counter() - started) * 1e6 / len(seen))
            await asyncio.sleep(0.01)
    return statistics.median(took)


def measured(uri: str, rate: float = 20_000, seconds: float = 10, mode: Mode = "process") -> Figures:
    """Send events at a rate: bare, for so many seconds; then with the plugin, as long after MLflow is open."""
    return asyncio.run(_measured(uri, rate, seconds, mode))


async def _measured(uri: str, rate: float, seconds: float, mode: Mode) -> Figures:
    async with _lag() as bare:
        async with create(first.to(second), second.to(third), name="bench") as flow:
            await _asked(flow, rate, lambda passed: passed > seconds)
    made = plugin(Options(tracking_uri=uri, experiment="bench", mode=mode))
    opened_s = 0.0

    def over(passed: float) -> bool:
        nonlocal opened_s
        if not opened_s and made.report.run_id:
            opened_s = passed
        return passed > PATIENCE_S or (opened_s > 0 and passed > opened_s + seconds)

    async with _lag() as lag:
        async with create(first.to(second), second.to(third), name="bench", plugins=[made]) as flow:
            reached, waited = await _asked(flow, rate, over, made)
            settled, stopping = made.report.events - made.report.dropped_events - made.waiting, time.perf_counter()
    drained_s = time.perf_counter() - stopping
    return Figures(reached, _summary(bare), _summary(lag), opened_s, waited, settled / seconds, drained_s, made.report)


@asynccontextmanager
async def _lag() -> AsyncIterator[list[tuple[float, float]]]:
    """How late the timer came each time, and how long the thread had no core meanwhile; in milliseconds."""
    lags: list[tuple[float, float]] = []

    async def probe() -> None:
        clock = asyncio.get_running_loop().time
        while True:
            due, idle = clock() + 0.001, _without_core()
            await asyncio.sleep(0.001)
            lags.append(((clock() - due) * 1e3, _without_core() - idle))

    task = asyncio.create_task(probe())
    try:
        yield lags
    finally:
        task.cancel()


async def _asked(
    flow: PenguiFlow, rate: float, over: Callable[[float], bool], made: MlflowMetrics | None = None
) -> tuple[float, int]:
    """Ask at a steady rate; the events per second that came of it, and the most that waited in the plugin."""
    started, asked, waited = time.perf_counter(), 0, 0
    while not over(passed := time.perf_counter() - started):
        due = int(passed * rate / EVENTS_PER_ASK)
        for number in range(asked, due):
            await flow.ask(number)
        asked = due
        waited = max(waited, made.waiting if made is not None else 0)
        await asyncio.sleep(TICK_S)
    return asked * EVENTS_PER_ASK / (time.perf_counter() - started), waited


def _without_core() -> float:
    """How many milliseconds this thread was ready to run and wasn't let; 0 where the system doesn't say."""
    try:
        return int(WAITS.read_text().split()[1]) / 1e6
    except OSError:
        return 0.0


def _summary(lags: Sequence[tuple[float, float]]) -> Lag:
    ordered = sorted(late for late, _ in lags)
    own = max(late - min(late, waited) for late, waited in lags)
    return Lag(statistics.median(ordered), ordered[int(len(ordered) * 0.99)], ordered[-1], own)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description="What penguiflow-mlflow costs the event loop.")
    parser.add_argument("--uri", help="the tracking store (a new SQLite file)")
    parser.add_argument("--rate", type=float, default=20_000, help="events a second (20000)")
    parser.add_argument("--mode", choices=get_args(Mode), default="process", help="what is kept (process)")
    parser.add_argument("--seconds", type=float, default=10, help="how long (10)")
    given = parser.parse_args()
    logging.getLogger("penguiflow_mlflow").setLevel(
        logging.CRITICAL
    )  # the first figure needs no store, and waits for none
    # MLflow keeps the artifacts of a SQLite store in the current folder.
    with tempfile.TemporaryDirectory() as folder, nullcontext() if given.uri else chdir(folder):
        uri = given.uri or f"sqlite:///{Path(folder, 'mlflow.db')}"
        threads = threading.active_count()
        print(f"on_event, microseconds an event          {microseconds(uri):8.2f}   (5 at most)")
        found = measured(uri, given.rate, given.seconds, given.mode)
        print(f"events a second, asked for and reached   {given.rate:8.0f} {found.events_per_s:8.0f}")
        print("loop lag in milliseconds                   median      p99    worst  its own   (15 at most)")
        for name, lag in (("bare", found.bare), ("with the plugin", found.with_plugin)):
            print(f"  {name:<37} {lag.median_ms:10.2f} {lag.p99_ms:8.2f} {lag.worst_ms:8.2f} {lag.own_ms:8.2f}")
        print(f"store open after, seconds                {found.opened_s:8.1f}")
        print(f"most events that waited                  {found.waited:8d}")
        print(f"events a second that were taken          {found.digested_per_s:8.0f}")
        print(f"stop took, seconds                       {found.drained_s:8.1f}")
        print(f"threads left after stop                  {threading.active_count() - threads:8d}")
        print(found.report, found.report.problem or "", sep="\n")


if __name__ == "__main__":
    main()
