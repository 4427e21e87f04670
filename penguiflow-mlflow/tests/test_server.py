"""A real `mlflow server`: everything arrives there, and the flow doesn't mind what becomes of it."""

from __future__ import annotations

import asyncio
import signal
import time

import pytest
from support import Server, children, comes, made, threads, two_nodes

ASKS = 5_000


async def test_ten_thousand_node_runs_in_are_ten_thousand_rows_at_the_server(server: Server):
    metrics = made(server.uri)
    async with two_nodes(metrics) as flow:
        for number in range(ASKS):
            await flow.ask(number)
    report, run = metrics.report, metrics.report.run_id
    assert (report.status, report.dropped_events, report.dropped_metrics) == ("FINISHED", 0, 0)
    for name in ("first", "second"):
        series = server.database.series(run, f"node/{name}/latency_ms")
        assert [step for _, step in series] == list(range(ASKS))
    shown = server.get(f"runs/get?run_id={run}")["run"]
    assert shown["info"]["status"] == "FINISHED"
    latest = {metric["key"]: metric["value"] for metric in shown["data"]["metrics"]}
    assert latest["trace/completed"] == ASKS
    history = server.get(f"metrics/get-history?run_id={run}&metric_key=trace/latency_ms")["metrics"]
    assert len(history) == ASKS
    listed = server.get(f"artifacts/list?run_id={run}")["files"]
    assert [file["path"] for file in listed] == ["traces.json"]


async def test_a_server_that_comes_back_gets_the_rest(server: Server):
    metrics = made(server.uri, retries=30, backoff_s=0.2, flush_s=0.2)
    async with two_nodes(metrics) as flow:
        await flow.ask(1)
        await comes(lambda: metrics.report.metrics, "the first metrics")
        server.kill()
        for number in range(200):
            await flow.ask(number)
        await asyncio.to_thread(server.start)
    report = metrics.report
    assert (report.status, report.dropped_events, report.dropped_metrics) == ("FINISHED", 0, 0)
    assert len(server.database.series(report.run_id, "node/first/latency_ms")) == 201
    assert server.database.latest(report.run_id)["trace/completed"] == 201


async def test_a_server_that_never_answers_does_not_hold_the_stop(server: Server):
    metrics = made(server.uri, stop_s=1.0, flush_s=0.1)
    async with two_nodes(metrics) as flow:
        server.signal(signal.SIGSTOP)
        try:
            assert await flow.ask(1) == 4
            stopping = time.monotonic()
            await flow.stop()
        finally:
            server.signal(signal.SIGCONT)
    assert time.monotonic() - stopping < 2.0
    assert metrics.report.status is None
    assert metrics.report.dropped_events == metrics.report.events == 5, "no answer, so nobody knows"
    assert not threads()
    assert not children(server)


async def test_two_flows_at_once_at_one_server(server: Server):
    both = [made(server.uri, experiment="shared") for _ in range(2)]
    first, second = (two_nodes(metrics, f"flow {number}") for number, metrics in enumerate(both))
    async with first, second:
        for number in range(300):
            await asyncio.gather(first.ask(number), second.ask(number))
    for metrics in both:
        assert (metrics.report.status, metrics.report.dropped_events) == ("FINISHED", 0)
        assert len(server.database.series(metrics.report.run_id, "node/second/latency_ms")) == 300
    assert len({metrics.report.run_id for metrics in both}) == 2


async def test_a_server_that_is_killed_costs_metrics_and_nothing_else(server: Server, caplog: pytest.LogCaptureFixture):
    metrics = made(server.uri, stop_s=3.0, retries=1, backoff_s=0.1, flush_s=0.2)
    async with two_nodes(metrics) as flow:
        for number in range(100):
            await flow.ask(number)
        await comes(lambda: metrics.report.metrics, "the first metrics")
        server.kill()
        for number in range(100):
            assert await flow.ask(number) == (number + 1) * 2
        await comes(lambda: metrics.report.dropped_metrics, "the first loss")
        stopping = time.monotonic()
    assert time.monotonic() - stopping < 4.0
    report = metrics.report
    assert report.status is None, "nobody was there to end the run at"
    assert report.dropped_metrics > 0
    assert server.database.count(report.run_id) == report.metrics
    assert not threads()
    assert not children(server)
    assert caplog.text.count("doesn't take metrics") == 1, "said once, and not for each batch"
