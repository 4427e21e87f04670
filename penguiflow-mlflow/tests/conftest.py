"""Real stores, each in a folder of its own; nothing of the machine's own settings counts."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import Database, Server


@pytest.fixture(autouse=True)
def _own_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith(("MLFLOW_", "PENGUIFLOW_")):
            monkeypatch.delenv(name)
    settings = tmp_path / "settings.toml"
    # The tests give objects: an installed plugin would write beside them.
    settings.write_text('[plugins]\nblock = ["mlflow"]\nstart_timeout_s = 120\nstop_timeout_s = 120\n')
    monkeypatch.setenv("PENGUIFLOW_CONFIG", str(settings))
    monkeypatch.chdir(tmp_path)


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


@pytest.fixture
def server(database: Database, tmp_path: Path) -> Iterator[Server]:
    """A running `mlflow server` over that store."""
    with Server(database.path, tmp_path / "server.log") as running:
        yield running
