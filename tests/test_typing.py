"""The public API is typed as its users expect."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import penguiflow

ROOT = Path(__file__).parents[1]
OPTIONS = ("--strict", "--config-file=", "--explicit-package-bases", "--no-error-summary")
API = Path("tests", "typing", "api.py")


def mypy(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mypy", *OPTIONS, "--cache-dir", str(tmp_path), *arguments],
        cwd=ROOT,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        encoding="utf-8",
        timeout=300,
    )


def test_the_public_api_type_checks_strictly(tmp_path: Path):
    done = mypy(tmp_path, str(API))
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


def test_the_typed_api_uses_the_whole_surface():
    text = (ROOT / API).read_text(encoding="utf-8")
    left_out = {"DEFAULT_MAX_TRACES", "DEFAULT_QUEUE_MAXSIZE", "EVENT_TYPES", "OPEN_SEA", "FlowStateError"}
    missing = [name for name in penguiflow.__all__ if not re.search(rf"\b{name}\b", text)]
    assert set(missing) <= left_out | {"__version__"}
