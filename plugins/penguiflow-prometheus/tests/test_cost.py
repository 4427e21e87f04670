"""What it costs the event loop. `python -m penguiflow_prometheus.bench` prints the same figures."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import threading

from prometheus_client import CollectorRegistry
from promkit.flows import busy, use

from penguiflow_prometheus import Prometheus
from penguiflow_prometheus.bench import Lag, event_us, lag

ROUNDS = 5  # the best counts: what else runs on the machine is not what is measured


def test_an_event_takes_at_most_5_microseconds():
    found = asyncio.run(event_us())
    assert set(found) == {"node_start", "node_success", "stream_chunk", "trace_start", "trace_finish", "all"}
    assert max(found.values()) <= 5, found


def test_the_loop_lags_less_than_15_ms_at_20_000_events_a_second():
    def best(seen: list[Lag]) -> float:
        return min(one.p99_ms for one in seen)

    seen: list[Lag] = []
    while len(seen) < ROUNDS and (not seen or best(seen) >= 15):
        seen.append(asyncio.run(lag(20_000, 1)))
    assert best(seen) < 15, seen
    assert max(one.events_per_s for one in seen) > 15_000, seen


async def test_no_thread_works_beside_the_loop():
    before = threading.enumerate()
    async with busy([Prometheus(registry=CollectorRegistry())]) as flow:
        await use(flow, range(10))
        assert threading.enumerate() == before
    assert threading.enumerate() == before


def test_the_bench_prints_its_figures():
    command = [sys.executable, "-m", "penguiflow_prometheus.bench", "--seconds", "0.2", "--rate", "2000"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"^  \w+ +\d+\.\d\d$", done.stdout, re.MULTILINE)) == 6
    assert len(re.findall(r"median +\d+\.\d\d  p99 +\d+\.\d\d  worst +\d+\.\d\d", done.stdout)) == 3
