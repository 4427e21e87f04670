"""examples/testkit_demo: its tests pass, and the recorded one is what the command writes."""

from __future__ import annotations

import os
import re
from pathlib import Path

from tests.utils.programs import ROOT, ran

DEMO = ROOT / "examples" / "testkit_demo"


def run(*command: str) -> str:
    return ran(*command, cwd=ROOT, timeout=120).stdout


def untimed(source: str) -> str:
    """A recorded test without how long things took, and without how it is laid out."""
    source = re.sub(r"\d+\.\d+", "0.0", re.sub(r"after [\d.]+ s", "after a while", source))
    return re.sub(r",(?=[)\]])", "", re.sub(r"\s+", "", source))


def test_the_demos_tests_pass():
    assert "6 passed" in run("-m", "pytest", "-q", "-p", "no:cacheprovider", str(DEMO))


def test_the_recorded_test_is_what_the_command_writes(tmp_path: Path):
    target, message = "examples/testkit_demo/desk.py:desk", '{"text": "Why does it rain?"}'
    written = tmp_path / "test_recorded.py"
    run("-m", "penguiflow", "record", target, "--input", message, "-o", str(written))
    source = written.read_text(encoding="utf-8").replace(f' / "{os.path.relpath(DEMO, tmp_path)}"', "")
    assert untimed(source) == untimed((DEMO / "test_recorded.py").read_text(encoding="utf-8"))
