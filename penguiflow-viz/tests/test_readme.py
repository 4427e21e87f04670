"""Each Python block of the README runs, and prints what stands below it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def test_the_blocks_run_and_print_what_they_promise(capsys: pytest.CaptureFixture[str]):
    blocks = re.findall(r"```python\n(.*?)```\n(?:\n```text\n(.*?)```)?", README, re.DOTALL)
    names: dict[str, Any] = {"__name__": "readme"}
    for code, promised in blocks:
        exec(compile(code, "README.md", "exec"), names)
        assert not promised or capsys.readouterr().out.rstrip("\n") == promised.rstrip("\n")
    assert len(blocks) == 4
    assert "120 runs · 2 errors" in names["svg"]
