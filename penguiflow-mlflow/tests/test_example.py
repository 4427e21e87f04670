"""The example prints what its file says, and the module that measures finds what was promised."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

from support import Database

EXAMPLES = Path(__file__).parents[2] / "examples"
EXAMPLE = EXAMPLES / "mlflow_metrics"


def test_the_example_prints_what_its_file_says(database: Database):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(EXAMPLE / "main.py"), database.uri],
        env={**os.environ, "MLFLOW_CONFIGURE_LOGGING": "false"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == (EXAMPLE / "expected.txt").read_text()


def test_the_figures_of_the_flow_that_is_seen_four_ways(tmp_path: Path):
    example = EXAMPLES / "observability"
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PENGUIFLOW_", "MLFLOW_"))}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(example / "main.py")],
        cwd=tmp_path,
        env={**kept, "MLFLOW_CONFIGURE_LOGGING": "false"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    expected = (example / "expected_all.txt").read_text(encoding="utf-8")
    told, promised = (text.partition("# MLflow\n")[2].partition("# ")[0] for text in (done.stdout, expected))
    assert told == promised != ""


def test_the_demo_keeps_its_figures(tmp_path: Path):
    shutil.copytree(EXAMPLES / "docs_assistant", tmp_path / "examples" / "docs_assistant")
    command = [sys.executable, "-m", "examples.docs_assistant", "--keep", "kept", "what is a decorator?"]
    ours = ("PENGUIFLOW_", "OPENAI_", "MLFLOW_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    done = subprocess.run(command, cwd=tmp_path, env=kept, capture_output=True, text=True, timeout=120)
    store = f"sqlite:///{Path('kept', 'mlflow.db')}"
    told = f"MLflow makes the tables of the new store {store}, which takes it some seconds\n"
    assert (done.returncode, done.stderr) == (0, told)
    assert f"{sys.executable} -m mlflow server --backend-store-uri {store}" in done.stdout
    assert not (tmp_path / "mlruns").exists()
    with contextlib.closing(sqlite3.connect(tmp_path / "kept" / "mlflow.db")) as database:
        (runs,) = database.execute("SELECT value FROM latest_metrics WHERE key = 'node/answer/success'").fetchall()
    assert runs == (1.0,)
