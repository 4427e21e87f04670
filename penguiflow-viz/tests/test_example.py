"""`examples/visualizer` writes what its README promises, and its page works."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

from selenium import webdriver
from vizkit.programs import Dot

EXAMPLE = Path(__file__).parents[2] / "examples" / "visualizer"


def drawn(folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLE / "main.py"), str(folder)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_the_example_writes_every_format(tmp_path: Path):
    said = drawn(tmp_path / "drawn")
    assert said == (EXAMPLE / "expected_files.txt").read_text(encoding="utf-8")
    assert said in (EXAMPLE / "README.md").read_text(encoding="utf-8")
    assert sorted(path.name for path in (tmp_path / "drawn").iterdir()) == sorted(said.split())
    ElementTree.parse(tmp_path / "drawn" / "help_desk.svg")
    assert len(Dot((tmp_path / "drawn" / "help_desk.dot").read_text(encoding="utf-8"), tmp_path).arrows) == 21


def test_the_demo_keeps_its_drawings(tmp_path: Path):
    shutil.copytree(EXAMPLE.parent / "docs_assistant", tmp_path / "examples" / "docs_assistant")
    command = [sys.executable, "-m", "examples.docs_assistant", "--keep", "kept", "what is a decorator?"]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PENGUIFLOW_", "OPENAI_"))}
    done = subprocess.run(command, cwd=tmp_path, env=kept, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    for name, node in (("flow.svg", "understand"), ("question-1.svg", "retrieve")):
        assert str(Path("kept", name)) in done.stdout
        assert node in "".join(ElementTree.parse(tmp_path / "kept" / name).getroot().itertext())


def test_its_page_opens(browser: webdriver.Chrome, tmp_path: Path):
    drawn(tmp_path)
    browser.get_log("browser")
    browser.get((tmp_path / "help_desk.html").as_uri())
    assert browser.title == "help_desk"
    assert browser.get_log("browser") == []
