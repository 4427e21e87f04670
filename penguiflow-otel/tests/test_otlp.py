"""Over the wire: what a collector gets, and what a dead one does to a flow."""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from collector import collecting
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from zoo import FAILED, check, flow_of, split

from penguiflow import FlowError, Headers, Message, Node, NodePolicy, create, node, predicate_router, subflow
from penguiflow_otel import Options, Telemetry


async def test_a_collector_gets_the_tree_of_the_trace_with_errors_and_links():
    with collecting() as collector:
        provider = TracerProvider(resource=Resource({"service.name": "zoo"}), shutdown_on_exit=False)
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{collector.url}/v1/traces")))
        reader = PeriodicExportingMetricReader(OTLPMetricExporter(f"{collector.url}/v1/metrics"), 60_000)
        meters = MeterProvider([reader], shutdown_on_exit=False)
        async with flow_of(Telemetry(Options(tracer_provider=provider, meter_provider=meters))) as flow:
            with pytest.raises(FlowError):
                await flow.ask(1)
        await asyncio.to_thread(provider.shutdown)
        await asyncio.to_thread(meters.shutdown)
    check(collector.tree())
    spans = {span.name: span for span in collector.spans}
    assert len({span.trace_id for span in collector.spans}) == 1
    wanted = {spans["invoke_node left"].span_id, spans["invoke_node right"].span_id}
    assert {link.span_id for link in spans["invoke_node join"].links} == wanted
    assert [event.name for event in spans["invoke_node left"].events] == ["penguiflow.retry"]
    failed = {name for name, span in spans.items() if span.status.code == span.status.STATUS_CODE_ERROR}
    assert failed == FAILED
    (resource,) = collector.traces[0].resource_spans
    assert {a.key: a.value.string_value for a in resource.resource.attributes}["service.name"] == "zoo"
    assert resource.scope_spans[0].scope.name == "penguiflow_otel"
    measured = {
        metric.name
        for request in collector.metrics
        for resource in request.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }
    assert {"penguiflow.workflow.duration", "penguiflow.node.duration", "penguiflow.retries"} <= measured


async def test_what_utf_8_cannot_say_is_replaced_and_costs_no_export():
    odd = "of\udce9"
    began, held = asyncio.Event(), asyncio.Event()

    async def raises(x: int) -> int:
        raise ValueError(f"no such file: b{odd}.txt")

    async def waits(x: int) -> int:
        began.set()
        await held.wait()
        return x

    with collecting() as collector:
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{collector.url}/v1/traces")))
        reader = PeriodicExportingMetricReader(OTLPMetricExporter(f"{collector.url}/v1/metrics"), 60_000)
        meters = MeterProvider([reader], shutdown_on_exit=False)
        options = Options(tracer_provider=provider, meter_provider=meters, attempts=True)
        policy = NodePolicy(max_retries=1, backoff_base=0)
        inner = create(Node(raises, policy=policy, name=f"raises {odd}"), name=f"inner {odd}")
        choose = predicate_router("choose", lambda message: f"{'deep' if message.payload else 'waits'} {odd}")
        nodes = choose.to(subflow(f"deep {odd}", inner), Node(waits, name=f"waits {odd}"))
        async with create(nodes, name=f"flow {odd}", plugins=[Telemetry(options)]) as flow:
            with pytest.raises(FlowError):
                await flow.ask(Message(payload=1, headers=Headers(tenant=odd, topic=odd)))
            handle = flow.start(0)
            await began.wait()
            await asyncio.to_thread(meters.force_flush)
            held.set()
            await handle.result()
        await asyncio.to_thread(provider.shutdown)
        await asyncio.to_thread(meters.shutdown)
    tree = [line.strip() for line in collector.tree()]
    assert tree == [
        "invoke_workflow flow of?",
        "invoke_node choose",
        "attempt choose",
        "invoke_node deep of?",
        "attempt deep of?",
        "invoke_node raises of?",
        "attempt raises of?",
        "attempt raises of?",
        "invoke_workflow flow of?",
        "invoke_node choose",
        "attempt choose",
        "invoke_node waits of?",
        "attempt waits of?",
    ]
    (raised,) = [span for span in collector.spans if span.name == "invoke_node raises of?"]
    assert raised.status.message == "ValueError: no such file: bof?.txt"
    flows = {
        attribute.value.string_value
        for request in collector.metrics
        for resource in request.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in (*metric.histogram.data_points, *metric.sum.data_points)
        for attribute in point.attributes
        if attribute.key == "penguiflow.flow.name"
    }
    assert flows == {"flow of?", "inner of?"}


# --- a dead collector -----------------------------------------------------------------------------


@contextmanager
def refusing() -> Iterator[str]:
    """A port that nobody listens at."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}/v1/traces"


@contextmanager
def silent() -> Iterator[str]:
    """A port that takes connections and never says a word."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen(16)
        yield f"http://127.0.0.1:{held.getsockname()[1]}/v1/traces"


@contextmanager
def unavailable() -> Iterator[str]:
    """A server that answers 503."""
    with collecting(503) as collector:
        yield f"{collector.url}/v1/traces"


def provider_of(exporter: SpanExporter) -> TracerProvider:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(
        BatchSpanProcessor(exporter, max_queue_size=256, max_export_batch_size=64, schedule_delay_millis=5)
    )
    return provider


@node
async def naps(x: int) -> int:
    await asyncio.sleep(0.002)
    return x + 1


def without_core() -> float:
    """Seconds that this process's threads were ready to run and had no core. One that has the lock stops all."""
    waits = (path.read_text().split()[1] for path in Path("/proc/self/task").glob("*/schedstat"))
    return sum(int(wait) for wait in waits) / 1e9


@contextmanager
def watched() -> Iterator[list[float]]:
    """By how many seconds the loop was late each time, apart from the time that the machine gave to others."""
    lags: list[float] = []
    loop = asyncio.get_running_loop()

    async def watch() -> None:
        while True:
            due, idle = loop.time() + 0.001, without_core()
            await asyncio.sleep(0.001)
            lags.append(loop.time() - due - (without_core() - idle))

    gc.collect()
    gc.freeze()  # what other tests have left is no part of this
    watcher = asyncio.create_task(watch())
    try:
        yield lags
    finally:
        watcher.cancel()
        gc.unfreeze()


async def asked(provider: TracerProvider) -> tuple[float, float]:
    """Seconds that `stop` took after 100 requests, and by how many the loop was late at most."""
    flow = create(split.to(naps), plugins=[Telemetry(Options(tracer_provider=provider, metrics=False))])
    with watched() as lags:
        flow.run()
        for x in range(100):
            assert await flow.ask(x) == x + 1
        began = time.perf_counter()
        await flow.stop()
        stopped = time.perf_counter() - began
    return stopped, max(lags)


@pytest.mark.parametrize("dead", [refusing, silent, unavailable], ids=lambda dead: dead.__name__)
async def test_a_dead_collector_holds_neither_the_loop_nor_the_stop(dead, caplog):
    caplog.set_level(logging.CRITICAL)
    with dead() as url:
        exporter = OTLPSpanExporter(url, timeout=1)
        provider = provider_of(exporter)
        rounds = [await asked(provider) for _ in range(4)]
        exporter.shutdown()
        await asyncio.to_thread(provider.shutdown)
    assert max(stopped for stopped, _ in rounds) < 0.5
    # The worst of a whole round, with dozens of exports. One must do: now and then the machine itself stands still.
    assert min(late for _, late in rounds) < 0.010
