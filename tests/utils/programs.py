"""Runs this Python on something, as a person would: in a process of its own, with every warning an error."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
_FOREIGN = re.compile(r"^\s*(from|import) penguiflow_", re.MULTILINE)


def foreign(code: str) -> bool:
    """Whether it imports a distribution beside the kernel."""
    return _FOREIGN.search(code) is not None


def ran(
    *arguments: str, cwd: Path | None = None, timeout: float = 60, **environ: str
) -> subprocess.CompletedProcess[str]:
    """What `python ...` did. Fails with what it said if it didn't end well."""
    done = subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8", **environ},
        capture_output=True,
        stdin=subprocess.DEVNULL,
        encoding="utf-8",
        timeout=timeout,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done
