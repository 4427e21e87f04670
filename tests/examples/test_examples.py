"""Every example that says what it prints is run, and prints just that.

One that imports a distribution beside the kernel is run by that distribution's tests.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOREIGN = re.compile(r"^\s*(from|import) penguiflow_", re.MULTILINE)
EXAMPLES = sorted(
    path.parent
    for path in ROOT.glob("examples/*/expected.txt")
    if not FOREIGN.search((path.parent / "main.py").read_text(encoding="utf-8"))
)


def test_examples_are_found():
    assert "quickstart" in [example.name for example in EXAMPLES]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_example_prints_what_it_promises(example):
    done = subprocess.run(
        [sys.executable, "-W", "error", "main.py"],
        cwd=example,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        stdin=subprocess.DEVNULL,
        encoding="utf-8",
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == (example / "expected.txt").read_text(encoding="utf-8")
    assert done.stderr == ""


def test_every_example_explains_itself():
    mains = sorted(ROOT.glob("examples/*/main.py"))
    assert mains
    assert [main.parent.name for main in mains if not (main.parent / "README.md").is_file()] == []
