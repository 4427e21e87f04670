"""What the tests share: flows, and eyes on what MLflow has kept."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from penguiflow import Budget, Context, FlowError, Message, PenguiFlow, create, node, predicate_router
from penguiflow_mlflow import MlflowMetrics, Options, Report, plugin

PATIENCE_S = 60.0


@node
async def first(number: int) -> int:
    return number + 1


@node
async def second(number: int) -> int:
    return number * 2


def made(uri: str, **options: Any) -> MlflowMetrics:
    """The plugin with time to write everything."""
    return plugin(Options(tracking_uri=uri, **{"stop_s": 100.0, "wait_s": PATIENCE_S, **options}))


def two_nodes(metrics: MlflowMetrics, name: str = "two nodes") -> PenguiFlow:
    return create(first.to(second), name=name, plugins=[metrics])


@node(max_retries=3, backoff_base=0)
async def moody(mood: str, ctx: Context) -> str:
    """Succeeds at once (`calm`), at the third attempt (`torn`) or never (`sour`)."""
    if mood == "sour" or (mood == "torn" and ctx.attempt < 2):
        raise ValueError(mood)
    ctx.spend(tokens=5, cost=0.25)
    await ctx.emit_chunk("first")
    await ctx.emit_chunk("second")
    return mood


def by_mood(mood: str) -> str:
    return {"late": "slow", "cancelled": "sleepy"}.get(mood, "moody")


async def moods(metrics: MlflowMetrics) -> dict[str, str]:
    """A flow in which every way to end happens once; what became of each trace."""
    held, ids = asyncio.Event(), {}

    @node
    async def sleepy(mood: str) -> None:
        held.set()
        await asyncio.Event().wait()

    @node(timeout_s=0.01)
    async def slow(mood: str) -> None:
        await asyncio.Event().wait()

    way = predicate_router("way", by_mood)
    async with create(way.to(moody, sleepy, slow), name="moods", plugins=[metrics]) as flow:
        for mood in ("calm", "torn", "sour", "late"):
            handle = flow.start(mood)
            ids[mood] = handle.trace_id
            with contextlib.suppress(FlowError):
                await handle.result()
        handle = flow.start("cancelled")
        ids["cancelled"] = handle.trace_id
        await held.wait()
        await handle.cancel()
        handle = flow.start(Message(payload="calm", budget=Budget(hops=1)))
        ids["expired"] = handle.trace_id
        with pytest.raises(FlowError, match="hop budget"):
            await handle.result()
    return ids


def until(seen: Callable[[], Any], what: str) -> Any:
    """What another process has done at last."""
    end = time.monotonic() + PATIENCE_S
    while not (found := seen()):
        assert time.monotonic() < end, f"{what} didn't happen in {PATIENCE_S:g} s"
        time.sleep(0.05)
    return found


async def comes(seen: Callable[[], Any], what: str) -> Any:
    """The same, while the loop goes on."""
    end = time.monotonic() + PATIENCE_S
    while not (found := seen()):
        assert time.monotonic() < end, f"{what} didn't happen in {PATIENCE_S:g} s"
        await asyncio.sleep(0.02)
    return found


def threads() -> list[str]:
    """The threads of the plugin."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("penguiflow-mlflow")]


def children(server: Server | None = None) -> list[int]:
    """The processes that this one has started and that haven't been waited for, without a server of the tests."""
    listed = [path.read_text() for path in Path("/proc/self/task").glob("*/children")]
    found = [int(pid) for text in listed for pid in text.split()]
    return [pid for pid in found if server is None or pid != server.pid]


class Database:
    """The file of a SQLite store, read without MLflow."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.uri = f"sqlite:///{path}"

    def query(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        with contextlib.closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True, timeout=30)) as connection:
            return connection.execute(sql, values).fetchall()

    def series(self, run: str | None, key: str) -> list[tuple[float, int]]:
        """Values and steps of a metric, by step."""
        return self.query("select value, step from metrics where run_uuid = ? and key = ? order by step", run, key)

    def keys(self, run: str | None) -> set[str]:
        return {key for (key,) in self.query("select distinct key from metrics where run_uuid = ?", run)}

    def latest(self, run: str | None) -> dict[str, float]:
        """The last value of each metric."""
        return dict(self.query("select key, value from latest_metrics where run_uuid = ?", run))

    def count(self, run: str | None) -> int:
        return int(self.query("select count(*) from metrics where run_uuid = ?", run)[0][0])

    def tags(self, run: str | None) -> dict[str, str]:
        return dict(self.query("select key, value from tags where run_uuid = ?", run))

    def params(self, run: str | None) -> dict[str, str]:
        return dict(self.query("select key, value from params where run_uuid = ?", run))

    def runs(self) -> dict[str, tuple[str, str]]:
        """Name and status of each run."""
        found = self.query("select run_uuid, name, status from runs order by start_time, run_uuid")
        return {run: (name, status) for run, name, status in found}

    def status(self, run: str | None) -> str:
        return str(self.query("select status from runs where run_uuid = ?", run)[0][0])

    def artifact(self, run: str | None, name: str) -> str:
        (where,) = self.query("select artifact_uri from runs where run_uuid = ?", run)[0]
        return Path(where.removeprefix("file://"), name).read_text()

    def metrics(self) -> int:
        return int(self.query("select count(*) from metrics")[0][0])


class Told(NamedTuple):
    """A flow in which every way to end has happened once: where it stands, the plugin's report, the traces by mood."""

    database: Database
    report: Report
    ids: dict[str, str]


def full() -> bool:
    """Whether the full MLflow is installed, and not only its client."""
    return importlib.util.find_spec("sklearn") is not None and importlib.util.find_spec("huey") is not None


class Server:
    """A real `mlflow server`. With MLflow's client alone, it runs on gunicorn instead of uvicorn."""

    def __init__(self, path: Path) -> None:
        self.database = Database(path)
        self._log = path.with_name("server.log")
        with contextlib.closing(socket.socket()) as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        command = [sys.executable, "-W", "ignore", "-m", "mlflow", "server", "--workers", "1"]
        command += ["--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--backend-store-uri", self.database.uri]
        command += ["--artifacts-destination", str(self.database.path.parent / "artifacts")]
        if not full():
            command += ["--gunicorn-opts", "--log-level warning"]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self.database.path.parent,
                stdout=log,
                stderr=log,
                env={
                    **os.environ,
                    "MLFLOW_DISABLE_TELEMETRY": "true",
                    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
                    "PYTHONWARNINGS": "ignore",
                },
                start_new_session=True,
            )
        until(self._answers, f"the start of mlflow server (see {self._log})")

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._log.read_text()
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def get(self, path: str) -> Any:
        """What its REST API says."""
        with urllib.request.urlopen(f"{self.uri}/api/2.0/mlflow/{path}", timeout=30) as answer:
            return json.load(answer)

    def kill(self) -> None:
        """As a machine that goes down."""
        self.signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()
            self._process = None

    def signal(self, number: int) -> None:
        """To the server and its workers."""
        if self._process is not None:
            os.killpg(self._process.pid, number)
