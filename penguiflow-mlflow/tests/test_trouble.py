"""What goes wrong around a flow never reaches it, and what is lost is counted."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from support import Database, children, comes, first, made, second, threads, two_nodes, until

from penguiflow import create
from penguiflow_mlflow import MlflowMetrics, Options, Report, plugin

NOBODY = "http://127.0.0.1:9"  # a port that nothing listens on


async def answered(metrics: MlflowMetrics, asks: int = 100) -> float:
    """A flow that gives the right answers, whatever becomes of its metrics; how long it took to stop."""
    async with two_nodes(metrics) as flow:
        for number in range(asks):
            assert await flow.ask(number) == (number + 1) * 2
        stopping = time.monotonic()
    return time.monotonic() - stopping


async def test_without_an_address_nothing_is_written_and_one_line_says_how(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO, logger="penguiflow_mlflow")
    metrics = plugin(Options())
    async with create(first, plugins=[metrics]) as flow:
        await flow.ask(1)
        assert not threads()
        assert not children()
    (line,) = [record.getMessage() for record in caplog.records if record.name == "penguiflow_mlflow"]
    assert "MLFLOW_TRACKING_URI" in line
    assert "tracking_uri" in line
    assert metrics.event_types == ()
    assert metrics.report == Report()
    assert os.listdir(tmp_path) == ["settings.toml"]


async def test_an_installed_plugin_is_turned_on_by_mlflows_own_variables(
    database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    settings = tmp_path / "deployment.toml"
    settings.write_text("[plugins]\nstop_timeout_s = 120\n[plugins.options.mlflow]\nstop_s = 100\n")
    monkeypatch.setenv("PENGUIFLOW_CONFIG", str(settings))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", database.uri)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "penguins")
    async with create(first.to(second), name="installed") as flow:
        for number in range(100):
            await flow.ask(number)
    ((run, (name, status)),) = database.runs().items()
    assert (name, status) == ("installed", "FINISHED")
    assert database.latest(run)["trace/completed"] == 100
    assert database.query("select name from experiments where name != 'Default'") == [("penguins",)]


def test_the_flows_own_process_never_imports_mlflow(database: Database):
    script = """
        import asyncio, json, sys
        from penguiflow import create, node
        from penguiflow_mlflow import Options, plugin

        @node
        async def same(x): return x

        async def main():
            metrics = plugin(Options(tracking_uri=sys.argv[1], stop_s=100))
            async with create(same, plugins=[metrics]) as flow:
                await flow.ask(1)
            heavy = ("mlflow", "sqlalchemy", "alembic", "requests")
            print(json.dumps([metrics.report.status, [name for name in heavy if name in sys.modules]]))

        asyncio.run(main())
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), database.uri], capture_output=True, check=True, timeout=120
    )
    assert json.loads(done.stdout) == ["FINISHED", []]
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("patience_s", [0.0, 1.5])
async def test_a_store_that_nobody_serves_neither_holds_the_flow_nor_its_stop(
    patience_s: float, caplog: pytest.LogCaptureFixture
):
    metrics = made(NOBODY, stop_s=1.0, wait_s=patience_s)
    assert await answered(metrics) < 1.5
    report = metrics.report
    assert (report.run_id, report.status, report.metrics) == (None, None, 0)
    assert report.events == report.dropped_events == 500
    assert not threads()
    assert not children()
    assert "500 events, 0 metrics written, 500 events and 0 metrics dropped" in caplog.text


@pytest.mark.parametrize(("listens", "says"), [(False, "refused"), (True, "timed out")])
async def test_a_stop_does_not_wait_for_a_store_that_does_not_answer_and_says_what_was_wrong(
    listens: bool, says: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "9")
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        if listens:
            nobody.listen()
        metrics = made(f"http://127.0.0.1:{nobody.getsockname()[1]}", wait_s=0)
        assert await answered(metrics) < 2 * 9, "it isn't tried again"
    assert says in str(metrics.report.problem)
    assert metrics.report.dropped_events == metrics.report.events


async def test_a_queue_that_is_full_drops_what_comes_and_counts_it():
    metrics = made(NOBODY, stop_s=0.2, wait_s=0.0, queue_size=40)
    async with two_nodes(metrics) as flow:
        for number in range(100):
            await flow.ask(number)
            assert metrics.waiting <= 40
        assert metrics.report.dropped_events >= 500 - 40
    assert metrics.report.events == metrics.report.dropped_events == 500


async def test_what_is_not_written_when_time_is_over_is_dropped_and_the_run_is_ended(database: Database):
    metrics = made(database.uri, stop_s=8.0, mode="trace")  # MLflow takes its time for a run
    async with two_nodes(metrics) as flow:
        for number in range(8_000):
            await flow.ask(number)
        stopping = time.monotonic()
    assert time.monotonic() - stopping < 9.0
    report = metrics.report
    assert report.status == database.status(report.run_id) == "FINISHED"
    assert report.events == 40_000
    assert 0 < report.dropped_events < 40_000
    assert database.metrics() == report.metrics > 0
    assert database.tags(report.run_id)["penguiflow.dropped_events"] == str(report.dropped_events)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"python": "/no/such/python"}, "Set the option python"),
        ({"tracking_uri": "gopher://hole"}, "gopher"),
        ({"tracking_uri": "postgresql://127.0.0.1:9/x"}, "psycopg"),
        ({"tracking_uri": "sqlite://"}, "in memory"),
        ({"tracking_uri": "sqlite:///:memory:"}, "in memory"),
    ],
)
async def test_what_can_never_work_is_said_once_and_turns_metrics_off(
    options: dict[str, str], says: str, caplog: pytest.LogCaptureFixture
):
    metrics = plugin(Options(**{"tracking_uri": NOBODY, "wait_s": 60, **options}))
    assert await answered(metrics) < 1.0
    (line,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert "no more metrics go to MLflow" in line
    assert says in line
    assert metrics.report.dropped_events == metrics.report.events


async def test_a_writing_process_that_dies_is_noticed(database: Database, caplog: pytest.LogCaptureFixture):
    metrics = made(database.uri)
    async with two_nodes(metrics) as flow:
        await flow.ask(1)
        (pid,) = children()
        os.kill(pid, signal.SIGKILL)
        await comes(lambda: "ended too early, with code -9" in caplog.text, "the note of its death")
        assert await flow.ask(2) == 6
    assert metrics.report.status is None
    assert metrics.report.events == 10
    assert not children()


async def test_a_start_that_is_cancelled_leaves_nothing_behind(tmp_path: Path):
    metrics = made(NOBODY, wait_s=60)
    starting = asyncio.ensure_future(metrics.start(create(first)))
    await comes(children, "the start of the writing process")
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    await comes(lambda: not threads(), "the end of the threads")
    assert not children()


async def test_a_stop_that_is_cancelled_leaves_nothing_behind():
    metrics, flow = made(NOBODY, wait_s=0.0), create(first)
    await metrics.start(flow)
    await comes(children, "the start of the writing process")
    stopping = asyncio.ensure_future(metrics.stop(flow))
    await asyncio.sleep(0)
    stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopping
    await comes(lambda: not threads(), "the end of the threads")
    assert not children()


def test_the_run_of_a_flow_that_was_killed_is_ended_as_killed(database: Database):
    script = """
        import asyncio, sys
        from penguiflow import create, node
        from penguiflow_mlflow import Options, plugin

        @node
        async def same(x): return x

        async def main():
            metrics = plugin(Options(tracking_uri=sys.argv[1], wait_s=60, flush_s=0.1))
            async with create(same, plugins=[metrics]) as flow:
                await flow.ask(1)
                while not metrics.report.metrics:
                    await asyncio.sleep(0.05)
                print(metrics.report.run_id, flush=True)
                await asyncio.Event().wait()

        asyncio.run(main())
    """
    flow = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script), database.uri], stdout=subprocess.PIPE)
    assert flow.stdout is not None
    with flow.stdout:
        run = flow.stdout.readline().decode().strip()
    flow.kill()
    flow.wait()
    until(lambda: database.status(run) == "KILLED", "the end of the run")
    assert database.latest(run)["trace/completed"] == 1


@pytest.mark.parametrize(
    "uri", ["http://me:secret@127.0.0.1:9", "postgresql://me:secret@127.0.0.1:9/x", "http://127.0.0.1:9/?token=secret"]
)
async def test_names_and_passwords_in_an_address_are_never_logged(uri: str, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    metrics = made(uri, stop_s=1.0, wait_s=3.0, backoff_s=0.1)
    await answered(metrics)
    assert "penguiflow_mlflow" in {record.name for record in caplog.records}
    assert "secret" not in caplog.text
    assert "secret" not in str(metrics.report.problem)


async def test_one_object_in_two_flows_at_once_is_refused(database: Database, caplog: pytest.LogCaptureFixture):
    metrics = made(database.uri)
    async with two_nodes(metrics, "first") as flow:
        async with two_nodes(metrics, "second") as other:
            assert await other.ask(1) == 4
        assert "make one for each flow" in caplog.text
        assert await flow.ask(1) == 4
    assert metrics.report.status == "FINISHED"
    assert [name for name, _ in database.runs().values()] == ["first"]
