"""What stands in a real SQLite store when a flow has stopped."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from support import Database, Told, children, comes, first, made, moods, second, threads, two_nodes

from penguiflow import (
    ExportRequest,
    Node,
    NodePolicy,
    create,
    hookimpl,
    subflow,
)
from penguiflow_mlflow import MlflowMetrics, Options, plugin

ASKS = 5_000


async def test_ten_thousand_node_runs_in_are_ten_thousand_rows_out(database: Database):
    metrics = made(database.uri)
    async with two_nodes(metrics) as flow:
        for number in range(ASKS):
            assert await flow.ask(number) == (number + 1) * 2
    report, run = metrics.report, metrics.report.run_id
    assert (report.status, report.dropped_events, report.dropped_metrics) == ("FINISHED", 0, 0)
    assert report.events == ASKS * 5
    for key in ("latency_ms", "queue_wait_ms"):
        rows = [database.series(run, f"node/{name}/{key}") for name in ("first", "second")]
        assert sum(map(len, rows)) == 2 * ASKS
        assert [[step for _, step in series] for series in rows] == [list(range(ASKS))] * 2
    latest = database.latest(run)
    assert latest["node/first/success"] == latest["node/second/attempts"] == latest["trace/completed"] == ASKS
    assert latest["trace/hops_total"] == 2 * ASKS
    assert database.count(run) == report.metrics


def test_each_way_to_end_is_counted_by_node_and_by_trace(told: Told):
    latest = told.database.latest(told.report.run_id)
    of_nodes = {key: value for key, value in latest.items() if key.startswith("node/") and not key.endswith("_ms")}
    assert of_nodes == {
        "node/way/success": 6,
        "node/way/attempts": 6,
        "node/moody/success": 2,
        "node/moody/failed": 1,
        "node/moody/attempts": 1 + 3 + 4,
        "node/moody/errors": 2 + 4,
        "node/moody/retries": 2 + 3,
        "node/slow/timeouts": 1,
        "node/slow/failed": 1,
        "node/slow/attempts": 1,
        "node/sleepy/cancelled": 1,
        "node/sleepy/attempts": 1,
    }
    outcomes = ("completed", "failed", "cancelled", "expired")
    assert [latest[f"trace/{key}"] for key in outcomes] == [2, 2, 1, 1]
    assert (latest["trace/tokens_total"], latest["trace/cost_total"]) == (10, 0.5)


def test_first_chunks_are_timed_once_for_each_node_run_and_trace(told: Told):
    database, run = told.database, told.report.run_id
    for key, whole in (("node/moody", "latency_ms"), ("trace", "latency_ms")):
        spoke = database.series(run, f"{key}/first_chunk_ms")
        assert len(spoke) == 2, "of the two that wrote chunks"
        assert 0 <= max(spoke)[0] <= max(database.series(run, f"{key}/{whole}"))[0]


async def test_the_run_says_what_ran_and_with_which_policies(database: Database, tmp_path: Path):
    class Draws:
        @hookimpl
        def export_graph(self, request: ExportRequest) -> str | None:
            return f"a drawing of {request.graph.name}" if request.format == "mermaid" else None

    inner = create(first, name="inner")
    patient = Node(second.func, "patient", NodePolicy(timeout_s=3, max_retries=2, retry_on=(ValueError, OSError)))
    metrics = made(database.uri, tags={"team": "birds"}, run_name="monday", experiment="zoo")
    flow = create(subflow("nested", inner).to(patient), name="outer", plugins=[metrics, Draws()])
    async with flow:
        await flow.ask(1)
    run = metrics.report.run_id
    assert database.params(run) == {
        "flow": "outer",
        "nodes": "2",
        "edges": "1",
        "node/nested/policy": "subflow: default policy",
        "node/nested/inner/first/policy": "node: default policy",
        "node/patient/policy": "node: timeout_s=3.0, max_retries=2, retry_on=(ValueError, OSError)",
    }
    tags = database.tags(run)
    assert (tags["team"], tags["penguiflow.flow"], tags["mlflow.runName"]) == ("birds", "outer", "monday")
    assert len(tags["penguiflow.graph_hash"]) == 16
    assert (tags["penguiflow.dropped_events"], tags["penguiflow.events"]) == ("0", str(metrics.report.events))
    assert {"node/nested/latency_ms", "node/patient/latency_ms"} <= database.keys(run)
    assert "node/nested/inner/first/latency_ms" in database.keys(run), "as the param of that node is called"
    assert database.artifact(run, "flow.mmd") == "a drawing of outer"
    assert database.query("select name from experiments where name != 'Default'") == [("zoo",)]


async def test_any_name_of_a_flow_gives_an_experiment_of_its_own(database: Database):
    long, odd = "penguins " * 70, "flock \udce9"
    names = [f"{long}north", f"{long}south", odd]
    metrics = {name: made(database.uri, mode="trace" if name == odd else "window") for name in names}
    for name in names:
        async with two_nodes(metrics[name], name) as flow:
            await flow.ask(1)
    reports = [metrics[name].report for name in names]
    assert [(report.status, report.dropped_metrics) for report in reports] == [("FINISHED", 0)] * 3
    experiments = [name for (name,) in database.query("select name from experiments where experiment_id != 0")]
    assert len(set(experiments)) == 3
    assert sorted(name[:200] for name in experiments)[1:] == [long[:200]] * 2
    assert all(name.startswith("flock ?-") or len(name) == 250 for name in experiments)
    assert all(len(name) <= 250 for name, _ in database.runs().values())
    flocks = [database.tags(report.run_id)["penguiflow.flow"] for report in reports]
    assert flocks == [f"{long}north", f"{long}south", "flock ?"]


NESTED = """
    import asyncio, json, sys
    import mlflow
    from penguiflow import create, node
    from penguiflow_mlflow import Options, plugin

    @node
    async def same(x): return x

    async def ask(**options):
        metrics = plugin(Options(tracking_uri=sys.argv[1], stop_s=100, **options))
        async with create(same, name="inner", plugins=[metrics]) as flow:
            await flow.ask(1)
        return metrics.report.run_id

    mlflow.set_tracking_uri(sys.argv[1])
    mlflow.set_experiment("study")
    with mlflow.start_run() as outer:
        runs = [asyncio.run(ask()), asyncio.run(ask(experiment="other"))]
    print(json.dumps([outer.info.run_id, *runs, asyncio.run(ask())]))
"""


def test_the_run_of_a_flow_inside_a_run_is_nested_in_it(database: Database):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(NESTED), database.uri],
        env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_CONFIGURE_LOGGING": "false"},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    outer, *runs = json.loads(done.stdout)
    names = dict(database.query("select run_uuid, e.name from runs join experiments e using (experiment_id)"))
    assert [names[run] for run in (outer, *runs)] == ["study", "study", "other", "study"], "as MLflow itself has it"
    assert [database.tags(run).get("mlflow.parentRunId") for run in runs] == [outer, outer, None]


async def test_a_run_that_the_environment_names_is_the_parent_if_the_store_has_it(
    database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    found = []
    for _ in range(2):
        metrics = made(database.uri, experiment=None if found else "job")
        async with two_nodes(metrics) as flow:
            await flow.ask(1)
        found.append(metrics.report.run_id)
        monkeypatch.setenv("MLFLOW_RUN_ID", str(found[0]))
    assert database.tags(found[1])["mlflow.parentRunId"] == found[0]
    assert len(database.query("select distinct experiment_id from runs")) == 1
    monkeypatch.setenv("MLFLOW_RUN_ID", "f" * 32)
    metrics = made(database.uri)
    async with two_nodes(metrics) as flow:
        await flow.ask(1)
    assert (metrics.report.status, metrics.report.problem) == ("FINISHED", None)
    assert "mlflow.parentRunId" not in database.tags(metrics.report.run_id)
    assert "not nested" in caplog.text


def test_the_latest_traces_are_a_table_that_mlflow_shows(told: Told):
    database, run, ids = told.database, told.report.run_id, told.ids
    table = json.loads(database.artifact(run, "traces.json"))
    place = {name: table["columns"].index(name) for name in ("trace_id", "outcome", "error", "tokens")}
    found = {row[place["trace_id"]]: (row[place["outcome"]], row[place["error"]]) for row in table["data"]}
    assert found == {
        ids["sour"]: ("failed", "NODE_EXCEPTION"),
        ids["late"]: ("failed", "NODE_TIMEOUT"),
        ids["cancelled"]: ("cancelled", "TRACE_CANCELLED"),
        ids["expired"]: ("expired", "HOP_BUDGET_EXHAUSTED"),
    }
    shown = json.loads(database.tags(run)["mlflow.loggedArtifacts"])
    assert shown == [{"path": "traces.json", "type": "table"}]


async def test_names_that_mlflow_would_refuse_are_made_safe_and_stay_apart(database: Database):
    names = ["a/../b", "a//b", "/a", "what? now!", "what: now;", "größe", " ", "x" * 300, "x" * 301, "plain"]
    names = [name for name in names if name.strip()]
    metrics = made(database.uri)
    previous = first
    chain = []
    for name in names:
        following = Node(second.func, name)
        chain.append(previous.to(following))
        previous = following
    async with create(*chain, name="odd / names", plugins=[metrics]) as flow:
        await flow.ask(1)
    report = metrics.report
    assert (report.dropped_metrics, report.problem) == (0, None)
    latencies = [key for key in database.keys(report.run_id) if key.startswith("node/") and key.endswith("latency_ms")]
    assert len({key.removesuffix("latency_ms") for key in latencies}) >= len(names) - 1
    assert {"node/größe/latency_ms", "node/plain/latency_ms"} <= set(latencies)
    assert database.count(report.run_id) == report.metrics


async def test_a_window_is_summed_up_instead_of_kept(database: Database):
    metrics = made(database.uri, mode="window", window_s=3600)
    async with two_nodes(metrics) as flow:
        for number in range(500):
            await flow.ask(number)
    run = metrics.report.run_id
    latest = database.latest(run)
    for name in ("first", "second"):
        at = f"node/{name}/latency_ms"
        assert latest[f"{at}/count"] == latest[f"node/{name}/success"] == 500
        assert 0 <= latest[f"{at}/p50"] <= latest[f"{at}/p95"] <= latest[f"{at}/max"]
        assert latest[f"{at}/mean"] <= latest[f"{at}/max"]
    assert metrics.report.metrics == database.count(run) == len(latest), "one row for each key, as there was one window"


async def test_windows_end_also_when_nothing_happens(database: Database):
    metrics = made(database.uri, mode="window", window_s=0.2)
    async with two_nodes(metrics) as flow:
        await flow.ask(1)
        await comes(database.metrics, "the end of a window")
        await flow.ask(1)
    series = database.series(metrics.report.run_id, "node/first/latency_ms/count")
    assert series == [(1.0, 0), (1.0, 1)]


async def test_each_trace_has_a_run_of_its_own_when_that_is_asked_for(database: Database):
    metrics = made(database.uri, mode="trace")
    ids = await moods(metrics)
    parent = metrics.report.run_id
    nested = {database.tags(run)["penguiflow.trace_id"]: run for run in database.runs() if run != parent}
    assert set(nested) == set(ids.values())
    statuses = {mood: database.status(nested[trace]) for mood, trace in ids.items()}
    assert statuses == {
        "calm": "FINISHED",
        "torn": "FINISHED",
        "sour": "FAILED",
        "late": "FAILED",
        "cancelled": "KILLED",
        "expired": "FAILED",
    }
    torn = nested[ids["torn"]]
    assert database.tags(torn)["mlflow.parentRunId"] == parent
    assert database.latest(torn)["node/moody/retries"] == 2
    assert database.tags(nested[ids["sour"]])["penguiflow.error"] == "NODE_EXCEPTION"
    assert database.latest(parent)["node/moody/retries"] == 5
    (began, ended) = database.query("select start_time, end_time from runs where run_uuid = ?", torn)[0]
    assert abs(ended - began - database.latest(torn)["trace/latency_ms"]) <= 2


async def test_two_flows_at_once_in_a_store_that_neither_has_seen(tmp_path: Path):
    database = Database(tmp_path / "new.db")
    both = [made(database.uri, experiment="shared") for _ in range(2)]

    async def asked(metrics: MlflowMetrics, asks: int) -> None:
        async with two_nodes(metrics, f"asked {asks}") as flow:
            for number in range(asks):
                await flow.ask(number)

    await asyncio.gather(asked(both[0], 300), asked(both[1], 700))
    for metrics, asks in zip(both, (300, 700), strict=True):
        report = metrics.report
        assert (report.status, report.dropped_events, report.dropped_metrics) == ("FINISHED", 0, 0), report.problem
        assert len(database.series(report.run_id, "node/first/latency_ms")) == asks
        assert database.latest(report.run_id)["trace/completed"] == asks


async def test_a_first_short_script_loses_nothing_where_the_deployment_sets_no_time_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "settings.toml").write_text('[plugins]\nblock = ["mlflow"]')
    database = Database(tmp_path / "new folder" / "mlflow.db")
    metrics = plugin(Options(tracking_uri=database.uri, stop_s=100))  # the default, for a machine that is very busy
    async with two_nodes(metrics) as flow:
        for number in range(10):
            await flow.ask(number)
    report = metrics.report
    assert (report.status, report.events, report.dropped_events, report.dropped_metrics) == ("FINISHED", 50, 0, 0)
    assert database.latest(report.run_id)["trace/completed"] == 10
    usual = plugin(Options(tracking_uri=database.uri))
    assert usual.stop_timeout_s > Options().stop_s >= 30, "or the flow would cancel it"


async def test_a_stop_while_mlflow_makes_its_tables_leaves_no_file_that_never_opens(tmp_path: Path):
    database = Database(tmp_path / "new.db")
    hasty = made(database.uri, wait_s=0, stop_s=0.2)
    async with two_nodes(hasty) as flow:
        await flow.ask(1)
        await comes(lambda: [*tmp_path.glob(".new.db.*.part")], "the beginning of the tables")
    assert hasty.report.dropped_events == hasty.report.events == 5
    assert not database.path.exists()
    patient = made(database.uri)
    async with two_nodes(patient) as flow:
        await flow.ask(1)
    assert (patient.report.status, patient.report.dropped_events) == ("FINISHED", 0), patient.report.problem
    assert [name for name in os.listdir(tmp_path) if "new" in name] == ["new.db"], "nothing is left lying about"


def test_a_flow_that_runs_again_in_another_loop_has_another_run(database: Database):
    metrics, found = made(database.uri), []
    flow = two_nodes(metrics)

    async def once() -> None:
        async with flow:
            await flow.ask(1)
        found.append(metrics.report.run_id)

    asyncio.run(once())
    asyncio.run(once())
    assert [database.latest(run)["trace/completed"] for run in found] == [1, 1]
    assert len(set(found)) == 2


async def test_after_stop_no_thread_and_no_process_is_left(database: Database):
    metrics = made(database.uri)
    async with two_nodes(metrics) as flow:
        await flow.ask(1)
        assert sorted(threads()) == ["penguiflow-mlflow-listener", "penguiflow-mlflow-writer"]
        assert children()
    assert not threads()
    assert not children()
    assert metrics.report.status == "FINISHED"
