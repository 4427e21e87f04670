"""The commands that make a PNG of a flow: run as the page has them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[1] / "howto" / "draw-a-flow.md"
APP = """
from penguiflow import create, node

@node
async def triage(text: str) -> str:
    return text

@node
async def pack(text: str) -> str:
    return text

flow = create(triage.to(pack), name="desk")
"""


def commands() -> list[str]:
    section = PAGE.read_text(encoding="utf-8").partition("## As PNG")[2].partition("\n## ")[0]
    return re.findall(r"^\$ (.*)$", section, re.MULTILINE)


def size(picture: Path) -> tuple[int, int]:
    """Width and height of a PNG, which stand in its first chunk."""
    data = picture.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")


@pytest.mark.parametrize(("tool", "file"), [("dot", "flow.png"), ("chromium", "browser.png")])
def test_the_commands_for_a_png_give_one(tool: str, file: str, tmp_path: Path):
    if shutil.which(tool) is None:
        (pytest.fail if "CI" in os.environ else pytest.skip)(f"{tool} is missing: make system")
    (tmp_path / "app.py").write_text(APP, encoding="utf-8")
    environ = {**os.environ, "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
    for command in commands():
        if tool == "dot" or "| dot" not in command:
            line = command.replace("chromium", "chromium --no-sandbox --disable-gpu")  # tests may run as root
            if tool == "chromium" or "chromium" not in command:
                subprocess.run(line, shell=True, cwd=tmp_path, env=environ, check=True, timeout=60, capture_output=True)
    found = size(tmp_path / file)
    assert min(found) > 100
    assert tool == "dot" or found == (1280, 960)  # twice the window
