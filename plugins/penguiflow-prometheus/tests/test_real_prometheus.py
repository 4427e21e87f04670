"""Debian's Prometheus scrapes a flow, and what it answers is what the flow did."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from promkit.flows import Ledger, busy, tell, use
from promkit.server import Server, program, prometheus

from penguiflow import FlowError, Message, create, node
from penguiflow_prometheus import MetricsServer, Prometheus, start_http_server


@pytest.fixture(scope="module")
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture(scope="module")
def shown(registry: CollectorRegistry) -> Iterator[MetricsServer]:
    with start_http_server(0, registry=registry) as server:
        yield server


@pytest.fixture(scope="module")
def server(shown: MetricsServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with prometheus(tmp_path_factory.mktemp("prometheus"), shown.port) as running:
        yield running


def test_promtool_finds_nothing_to_say_about_the_metrics(tmp_path: Path):
    registry = CollectorRegistry()

    async def everything() -> None:
        async with busy([Prometheus(registry=registry)]) as flow:
            await use(flow, range(30))
            flow.start(2)

    asyncio.run(everything())
    text = generate_latest(registry)
    assert text.count(b"# TYPE") >= 19
    done = subprocess.run([program("promtool"), "check", "metrics"], input=text, capture_output=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


async def test_promql_gives_the_true_counts(server: Server, registry: CollectorRegistry):
    truth = Ledger()
    async with busy([Prometheus(registry=registry), truth], "counted") as flow:
        await use(flow, range(40))
        await asyncio.to_thread(server.scraped_again)
        await use(flow, range(40, 100))
    await asyncio.to_thread(server.scraped_again)
    in_flow = '{flow="counted"}'

    def answers(promql: str, *labels: str) -> dict[tuple[str, ...], float]:
        return server.by(promql.replace("{}", in_flow), *labels)

    assert answers("penguiflow_traces_total{}", "outcome") == {("completed",): 80, ("failed",): 20}
    assert answers("sum by (outcome) (penguiflow_trace_duration_seconds_count{})", "outcome") == {
        ("completed",): 80,
        ("failed",): 20,
    }
    assert answers("penguiflow_node_runs_total{}", "node", "outcome") == {
        ("sift", "success"): 80,
        ("sift", "failed"): 20,
        ("tell", "success"): 80,
    }
    assert answers("penguiflow_node_errors_total{}", "error_type") == {
        ("ValueError",): 60,
        ("ConnectionError",): truth.count("node_retry")[()] - 40,
    }
    assert answers("penguiflow_node_retries_total{}", "node") == {("sift",): truth.count("node_retry")[()]}
    assert answers("penguiflow_stream_chunks_total{}", "node") == {("tell",): truth.count("stream_chunk")[()]}
    assert server.number("sum(penguiflow_node_runs_active) + sum(penguiflow_traces_active)") == 0
    ended = [event.latency_ms / 1e3 for event in truth.events if event.event_type == "trace_finish"]
    total = server.number(f"sum(penguiflow_trace_duration_seconds_sum{in_flow})")
    assert total == pytest.approx(sum(ended))


async def test_increase_sees_the_first_events_of_a_flow_too(server: Server, registry: CollectorRegistry):
    async with busy([Prometheus(registry=registry)], "grows") as flow:
        await asyncio.to_thread(server.scraped_again)
        began = time.time()
        await use(flow, range(1, 6))
        await asyncio.to_thread(server.scraped_again)
        range_s = int(time.time() - began) + 2
        for outcome, count in (("completed", 4), ("failed", 1)):
            series = f'penguiflow_traces_total{{flow="grows", outcome="{outcome}"}}'
            assert server.number(f"{series} @ {began}") == 0
            assert server.number(f"{series} - {series} @ {began}") == count
            grown = server.number(f"increase({series}[{range_s}s])")
            assert count * 0.75 <= grown <= count * 2  # Prometheus extrapolates to the ends of the range
        assert (
            server.number('increase(penguiflow_node_runs_total{flow="grows", node="tell", outcome="success"}[1m])') > 0
        )


async def test_exemplars_can_be_queried_and_lead_to_the_trace(server: Server, registry: CollectorRegistry):
    began = time.time() - 1
    async with busy([Prometheus(registry=registry)], "traced") as flow:
        failing = flow.start(5)
        with pytest.raises(FlowError):
            await failing.result()
        told = flow.start(2)
        await told.result()
        await asyncio.to_thread(server.scraped_again)
    for promql, trace_id in (
        ('penguiflow_trace_errors_total{flow="traced"}', failing.trace_id),
        ('penguiflow_node_duration_seconds_bucket{flow="traced",node="tell"}', told.trace_id),
        ('penguiflow_trace_duration_seconds_bucket{flow="traced",outcome="failed"}', failing.trace_id),
    ):
        (series,) = server.get("query_exemplars", query=promql, start=began, end=time.time() + 1)
        assert [exemplar["labels"] for exemplar in series["exemplars"]] == [{"trace_id": trace_id}]


@pytest.mark.parametrize("odd", ['a "quoted" name', "back\\slash", "line\nbreak", "naïve 🐧", "{x=1}"])
async def test_names_of_any_kind_arrive_as_they_are(server: Server, registry: CollectorRegistry, odd: str):
    async with create(tell, name=odd, plugins=[Prometheus(registry=registry)]) as flow:
        await flow.ask(Message(payload=1, trace_id=odd))  # an exemplar, which must not spoil the scrape either
        await asyncio.to_thread(server.scraped_again)
    assert server.by("penguiflow_traces_total", "flow")[(odd,)] == 1


async def test_active_gauges_rise_and_are_0_after_a_storm_of_cancellations(server: Server, registry: CollectorRegistry):
    running = asyncio.Semaphore(0)

    @node
    async def stuck(number: int) -> None:
        running.release()
        await asyncio.Event().wait()

    async with create(stuck, name="storm", plugins=[Prometheus(registry=registry)]) as flow:
        handles = [flow.start(number) for number in range(500)]
        for _ in handles:
            await running.acquire()
        await asyncio.to_thread(server.wait, 'sum(penguiflow_traces_active{flow="storm"})', 500)
        await asyncio.to_thread(server.wait, 'penguiflow_node_runs_active{flow="storm"}', 500)
        await asyncio.gather(*(handle.cancel() for handle in handles))
        await asyncio.to_thread(server.wait, 'sum(penguiflow_traces_active{flow="storm"})', 0)
        await asyncio.to_thread(server.wait, 'penguiflow_node_runs_active{flow="storm"}', 0)
    assert server.by('penguiflow_traces_total{flow="storm"}', "outcome") == {("cancelled",): 500}
