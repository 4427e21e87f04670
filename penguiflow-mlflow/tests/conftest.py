"""Real stores, each in a folder of its own; nothing of the machine's own settings counts."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import Database, Server, Told, made, moods


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    own_settings(monkeypatch, tmp_path)


def own_settings(patch: pytest.MonkeyPatch, folder: Path) -> None:
    for name in list(os.environ):
        if name.startswith(("MLFLOW_", "PENGUIFLOW_")):
            patch.delenv(name)
    settings = folder / "settings.toml"
    # The tests give objects: an installed plugin would write beside them.
    settings.write_text('[plugins]\nblock = ["mlflow"]\nstart_timeout_s = 120\nstop_timeout_s = 120\n')
    patch.setenv("PENGUIFLOW_CONFIG", str(settings))
    patch.chdir(folder)


@pytest.fixture(scope="session")
def _template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database that MLflow has made: making it takes seconds, and once is enough."""
    path = tmp_path_factory.mktemp("template") / "mlflow.db"
    script = "import sys, mlflow; mlflow.MlflowClient(sys.argv[1]).search_experiments()"
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, f"sqlite:///{path}"],
        check=True,
        cwd=path.parent,
        env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"},
        timeout=120,
    )
    return path


@pytest.fixture
def database(_template: Path, tmp_path: Path) -> Database:
    """An empty store in a SQLite file."""
    return Database(Path(shutil.copy(_template, tmp_path / "mlflow.db")))


@pytest.fixture(scope="session")
def _server(_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    server = Server(Path(shutil.copy(_template, folder / "mlflow.db")))
    yield server
    server.kill()


@pytest.fixture
def server(_server: Server) -> Server:
    """An `mlflow server` that runs, over a store of its own. The tests share it, and may kill it."""
    if _server.pid is None:
        _server.start()
    return _server


@pytest.fixture(scope="session")
def told(_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Told:
    folder = tmp_path_factory.mktemp("told")
    database = Database(Path(shutil.copy(_template, folder / "mlflow.db")))
    with pytest.MonkeyPatch.context() as patch:
        own_settings(patch, folder)
        metrics = made(database.uri, trace_table=4)
        ids = asyncio.run(moods(metrics))
    return Told(database, metrics.report, ids)
