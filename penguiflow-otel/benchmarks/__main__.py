"""What a node costs more with telemetry: `python penguiflow-otel/benchmarks`, where the distribution and an SDK are.

Rules: all sides take turns, in one process, with the same flow; each answer is checked, and so is what was exported.
The figure is the median over the rounds of what the event loop's own thread spends (CPU time, which other processes
don't inflate), less the same flow without the plugin, for each node. A trace's own span is spread over its nodes. The
wall clock stands beside it.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased

from penguiflow import Node, PenguiFlow, create, node
from penguiflow_otel import Options, Telemetry

NODES = 10


class Counts(SpanExporter):
    """Counts what it is given, and throws it away."""

    def __init__(self) -> None:
        self.spans = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Take spans."""
        self.spans += len(spans)
        return SpanExportResult.SUCCESS


@dataclass
class Side:
    """One way of running the flow, and what was measured of it."""

    name: str
    plugins: list[Telemetry]
    most: float | None = None
    by_hand: Callable[[int], None] | None = None
    spans: int = 0
    exported: Callable[[], int] | None = None
    cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)


def chain(plugins: Sequence[Telemetry], by_hand: Callable[[int], None] | None = None) -> PenguiFlow:
    """Ten nodes in a row, each of which adds one, perhaps in a span made by hand."""

    def step(name: str) -> Node[..., Any]:
        @node(name=name)
        async def add(x: int) -> int:
            return x + 1

        @node(name=name)
        async def add_in_a_span(x: int) -> int:
            if by_hand is not None:
                by_hand(x)
            return x + 1

        return add if by_hand is None else add_in_a_span

    steps = [step(f"n{i}") for i in range(NODES)]
    return create(*(a.to(b) for a, b in pairwise(steps)), name="chain", plugins=plugins)


def recording() -> tuple[TracerProvider, Callable[[], int]]:
    """A provider that records every span, and how many it has exported."""
    exporter, provider = Counts(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=100_000, schedule_delay_millis=1000))

    def exported() -> int:
        provider.force_flush()
        return exporter.spans

    return provider, exported


def in_vain() -> TracerProvider:
    """A provider that sends every span to a port that nobody listens at, and never gives up."""
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    exporter = OTLPSpanExporter("http://127.0.0.1:1/v1/traces", timeout=1)
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter, max_export_batch_size=64, schedule_delay_millis=5))
    return provider


def sides() -> list[Side]:
    """Those that take turns; the first is the flow alone."""
    if type(trace.get_tracer_provider()).__module__.startswith("opentelemetry.sdk"):
        sys.exit("an SDK is configured in this process: unset OTEL_* and run it without opentelemetry-instrument")
    spans, exported = recording()
    both, both_exported = recording()
    bare, bare_exported = recording()
    meters = MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False)
    off = TracerProvider(sampler=ParentBased(ALWAYS_OFF), shutdown_on_exit=False)
    tracer = bare.get_tracer("by hand")

    def by_hand(x: int) -> None:
        attributes: dict[str, str | int] = {"a": "chain", "b": "n", "c": "chain/n", "d": "id", "e": x}
        with tracer.start_as_current_span("node", attributes=attributes):
            pass

    def telemetry(spans: TracerProvider, meters: MeterProvider | None = None) -> list[Telemetry]:
        return [Telemetry(Options(tracer_provider=spans, meter_provider=meters, metrics=meters is not None))]

    return [
        Side("no plugin", []),
        Side("plugin, no SDK", [Telemetry(Options())], most=5),
        Side("sampled out", telemetry(off), most=10),
        Side(
            "recording spans",
            telemetry(spans),
            most=50,
            spans=NODES + 1,
            exported=exported,
        ),
        Side(
            "recording spans and metrics",
            telemetry(both, meters),
            most=50,
            spans=NODES + 1,
            exported=both_exported,
        ),
        Side("recording spans, collector dead", telemetry(in_vain())),
        Side("no plugin, a span by hand in each node", [], by_hand=by_hand, spans=NODES, exported=bare_exported),
    ]


async def measure(rounds: int, requests: int) -> list[Side]:
    """Let all sides run in turn."""
    os.environ["PENGUIFLOW_PLUGINS"] = ""  # none but those given
    found = sides()
    flows = [chain(side.plugins, side.by_hand) for side in found]
    for flow in flows:
        flow.run()
    for turn in range(rounds + 1):
        for side, flow in zip(found, flows, strict=True):
            cpu, wall = time.thread_time(), time.perf_counter()
            for x in range(requests):
                answer = await flow.ask(x)
                if answer != x + NODES:
                    sys.exit(f"{side.name}: {x} became {answer}, not {x + NODES}")
            if turn:  # the first is for warming up
                side.cpu.append((time.thread_time() - cpu) / requests / NODES * 1e6)
                side.wall.append((time.perf_counter() - wall) / requests / NODES * 1e6)
            if side.exported is not None and side.exported() != side.spans * requests * (turn + 1):
                sys.exit(f"{side.name}: {side.exported()} spans came, not {side.spans * requests * (turn + 1)}")
    for flow in flows:
        await flow.stop()
    return found


def show(found: Sequence[Side]) -> None:
    """Print the table."""
    base_cpu, base_wall = statistics.median(found[0].cpu), statistics.median(found[0].wall)
    print(f"microseconds a node, on top of {base_cpu:.1f} (a chain of {NODES} nodes, one trace at a time)")
    print(f"{'':40}{'CPU of the loop':>16}{'wall clock':>12}{'at most':>9}")
    for side in found[1:]:
        cpu, wall = statistics.median(side.cpu) - base_cpu, statistics.median(side.wall) - base_wall
        most = "" if side.most is None else f"{side.most:g}"
        over = side.most is not None and cpu > side.most
        print(f"{side.name:40}{cpu:>16.1f}{wall:>12.1f}{most:>9}{'  missed' if over else ''}")


def main() -> int:
    """Measure, and print."""
    parser = argparse.ArgumentParser(prog="penguiflow-otel/benchmarks", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=15, help="how often each side has its turn")
    parser.add_argument("--requests", type=int, default=150, help="how many traces a turn has")
    args = parser.parse_args()
    show(asyncio.run(measure(args.rounds, args.requests)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
