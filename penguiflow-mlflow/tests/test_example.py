"""The example prints what its file says, and the module that measures finds what was promised."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from support import Database

EXAMPLE = Path(__file__).parents[2] / "examples" / "mlflow_metrics"


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
