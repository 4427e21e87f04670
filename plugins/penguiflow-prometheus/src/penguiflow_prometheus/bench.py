"""Measures what the plugin costs the event loop: `python -m penguiflow_prometheus.bench`.

Rules: what an event takes is the best of several rounds of the same recorded events. Lag is how much later than asked a
timer fires, while a real flow sends events at a steady rate: without the plugin, with it, and with it while another
thread writes all metrics down over and over, as scrapes do. A timer is also late when the machine has no core to spare,
so the system is asked how long the loop's thread waited for one (Linux only); `its own` is the worst without that.
"""

from __future__ import annotations

import argparse
import asyncio
import threading
import time
import tracemalloc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest

from penguiflow import Context, FlowEvent, Node, PenguiFlow, create, node
from penguiflow_prometheus import Prometheus

TICK_S = 0.001  # of the timer whose lateness is the loop's lag
BATCH_S = 0.002  # the flow is asked for so long, and then the loop may rest
SCRAPE_EVERY_S = 0.5
WAITS = Path("/proc/thread-self/schedstat")
CROWD = 100  # nodes that have been counted before the lag is measured: a scrape then writes thousands of lines


@node
async def first(number: int) -> int:
    return number + 1


@node
async def second(number: int) -> int:
    return number * 2


@node
async def third(number: int, ctx: Context) -> int:
    await ctx.emit_chunk("chunk")
    return number - 1


@dataclass(frozen=True, slots=True)
class Lag:
    """How late a timer fired, in milliseconds, while so many events a second came, and so many scrapes in all.

    `own_ms` is the worst without the time that the loop's thread had no core.
    """

    events_per_s: float
    median_ms: float
    p99_ms: float
    worst_ms: float
    own_ms: float
    scrapes: int


def chain(plugins: Sequence[Prometheus], seen: list[FlowEvent] | None = None) -> PenguiFlow:
    """Three nodes, the last of which writes a chunk: nine events a trace."""
    on_event = None if seen is None else seen.append
    return create(first.to(second), second.to(third), name="bench", plugins=plugins, on_event=on_event)


async def recorded(traces: int) -> list[FlowEvent]:
    """The events of so many traces."""
    seen: list[FlowEvent] = []
    async with chain([], seen) as flow:
        for number in range(traces):
            await flow.ask(number)
    return [event for event in seen if event.trace_id is not None]


async def event_us(rounds: int = 30) -> dict[str, float]:
    """Microseconds that `on_event` takes: by type, and (`"all"`) over all events as they come."""
    events = await recorded(200)
    kinds = sorted({event.event_type for event in events})
    by_kind = {kind: [event for event in events if event.event_type == kind] for kind in kinds} | {"all": events}
    found = dict.fromkeys(by_kind, float("inf"))
    made = Prometheus(registry=CollectorRegistry())
    async with create(first, name="idle", plugins=[made]):
        _timed(made, events)
        for _ in range(rounds):
            for kind, same in by_kind.items():
                found[kind] = min(found[kind], _timed(made, same))
    return found


def _timed(made: Prometheus, events: Sequence[FlowEvent]) -> float:
    on_event = made.on_event
    started = time.perf_counter()
    for event in events:
        on_event(event)
    return (time.perf_counter() - started) / len(events) * 1e6


async def lag(rate: float, seconds: float, *, plugin: bool = True, scraped: bool = False) -> Lag:
    """The loop's lag at so many events a second."""
    registry = CollectorRegistry()
    await _crowd(registry)
    ticks: list[tuple[float, float]] = []
    async with chain([Prometheus(registry=registry)] if plugin else []) as flow:
        await flow.ask(0)
        with _scrapes(registry if scraped else None) as scrapes:
            ticking = asyncio.create_task(_tick(ticks))
            reached = await _load(flow, rate, seconds)
            ticking.cancel()
    late = sorted(lag for lag, _ in ticks)
    own = max(lag - min(lag, idle) for lag, idle in ticks)
    return Lag(reached, late[len(late) // 2], late[int(len(late) * 0.99)], late[-1], own, len(scrapes))


async def _crowd(registry: CollectorRegistry) -> None:
    nodes = [Node(first.func, name=f"node {number}") for number in range(CROWD)]
    steps = [one.to(other) for one, other in pairwise(nodes)]
    async with create(*steps, name="crowd", plugins=[Prometheus(registry=registry)]) as flow:
        await flow.ask(0)


async def _tick(ticks: list[tuple[float, float]]) -> None:
    """Note how late a timer came each time, and how long the thread had no core meanwhile; in milliseconds."""
    loop = asyncio.get_running_loop()
    while True:
        due, idle = loop.time() + TICK_S, _without_core()
        await asyncio.sleep(TICK_S)
        ticks.append(((loop.time() - due) * 1e3, _without_core() - idle))


def _without_core() -> float:
    """How many milliseconds this thread was ready to run and wasn't let; 0 where the system doesn't say."""
    try:
        return int(WAITS.read_text().split()[1]) / 1e6
    except OSError:
        return 0.0


async def _load(flow: PenguiFlow, rate: float, seconds: float) -> float:
    """Ask at a steady rate; the events a second that came of it."""
    per_trace = len(await recorded(1))
    started, sent = time.perf_counter(), 0
    while (passed := time.perf_counter() - started) < seconds:
        pause = time.perf_counter() + BATCH_S
        while sent < passed * rate and time.perf_counter() < pause:
            await flow.ask(sent)
            sent += per_trace
        await asyncio.sleep(TICK_S)
    return sent / (time.perf_counter() - started)


@contextmanager
def _scrapes(registry: CollectorRegistry | None) -> Iterator[list[int]]:
    """Write a registry down, over and over; the lengths of what was written."""
    over, lengths = threading.Event(), list[int]()

    def scrape() -> None:
        while registry is not None and not over.wait(SCRAPE_EVERY_S):
            lengths.append(len(generate_latest(registry)))

    thread = threading.Thread(target=scrape)
    thread.start()
    try:
        yield lengths
    finally:
        over.set()
        thread.join()


async def growth(traces: int) -> int:
    """Bytes by which so many traces make the metrics grow, once each kind of event has been seen."""
    registry = CollectorRegistry()
    async with chain([Prometheus(registry=registry)]) as flow:
        await _asked(flow, 1000)
        tracemalloc.start()
        try:
            await _asked(flow, 100)
            before, _ = tracemalloc.get_traced_memory()
            await _asked(flow, traces)
            return tracemalloc.get_traced_memory()[0] - before
        finally:
            tracemalloc.stop()


async def _asked(flow: PenguiFlow, traces: int) -> None:
    for number in range(traces):
        await flow.ask(number)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="python -m penguiflow_prometheus.bench", description=main.__doc__)
    parser.add_argument("--rate", type=float, default=20_000, help="events a second (20000)")
    parser.add_argument("--seconds", type=float, default=5, help="of each measurement of lag (5)")
    chosen = parser.parse_args()
    print("microseconds that an event takes on the loop")
    for kind, took in asyncio.run(event_us()).items():
        print(f"  {kind:13} {took:6.2f}")
    print(f"lag of the loop in milliseconds, {chosen.rate:,.0f} events a second asked for")
    for name, plugin, scraped in (("no plugin", False, False), ("plugin", True, False), ("and scrapes", True, True)):
        seen = asyncio.run(lag(chosen.rate, chosen.seconds, plugin=plugin, scraped=scraped))
        print(
            f"  {name:13} median {seen.median_ms:5.2f}  p99 {seen.p99_ms:5.2f}  worst {seen.worst_ms:5.2f}  "
            f"its own {seen.own_ms:5.2f}  ({seen.events_per_s:,.0f} events a second, {seen.scrapes} scrapes)"
        )
    print(f"bytes that 5,000 more traces take: {asyncio.run(growth(5000)):,}")


if __name__ == "__main__":
    main()
