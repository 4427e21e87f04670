"""README.md is a program: every Python block in it runs, and prints what the block after it shows."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```python\n(?P<code>.*?)^```\n(?:\n```text\n(?P<output>.*?)^```\n)?", re.DOTALL | re.MULTILINE)
BLOCKS = [(match["code"], match["output"]) for match in BLOCK.finditer(README)]


def lines(code):
    return [line for line in code.splitlines() if line.strip()]


def test_every_python_block_is_found():
    assert BLOCKS
    assert len(BLOCKS) == README.count("```python")


def test_the_first_example_is_short():
    assert len(lines(BLOCKS[0][0])) <= 12


@pytest.mark.parametrize(("code", "output"), BLOCKS, ids=lambda value: lines(value or "-")[-1])
def test_block_runs_and_prints_what_it_shows(code, output):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        stdin=subprocess.DEVNULL,
        encoding="utf-8",
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == (output or "")


@pytest.mark.parametrize("target", re.findall(r"\]\((?!https?:|#)([^)#]+)", README))
def test_link_leads_somewhere(target):
    assert (ROOT / target).exists()


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\bmake ([a-z-]+)", README))))
def test_command_exists(target):
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
