"""The example does what its README says, and so does the module that measures."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from collector import collecting

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
EXAMPLE = ROOT / "examples" / "otel"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the examples and nothing else: what they import is what is installed."""
    place = tmp_path_factory.mktemp("place")
    for name in ("otel", "docs_assistant"):
        shutil.copytree(ROOT / "examples" / name, place / "examples" / name)
    return place


def run(place: Path, *arguments: str, **environment: str) -> str:
    """What a process of its own prints, with every installed plugin at work."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("PENGUIFLOW_", "OTEL_", "OPENAI_"))
    }
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=place,
        env={**kept, **environment},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_the_example_draws_the_tree_from_a_file(place: Path):
    assert run(place, "-m", "examples.otel", "--no-times") == (EXAMPLE / "expected_tree.txt").read_text(
        encoding="utf-8"
    )
    assert len((place / "spans.jsonl").read_text(encoding="utf-8").splitlines()) == 14


def test_a_file_that_the_example_can_t_write_is_a_sentence(place: Path):
    command = [sys.executable, "-m", "examples.otel", "--file", "nowhere/spans.jsonl"]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=100)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith("No such file or directory: 'nowhere/spans.jsonl'")


def test_the_example_draws_the_same_tree_from_what_a_collector_gets(place: Path):
    expected = (EXAMPLE / "expected_tree.txt").read_text(encoding="utf-8")
    assert run(place, "-m", "examples.otel", "--no-times", "--otlp") == expected


def test_the_example_sends_to_the_collector_that_the_environment_names(place: Path):
    with collecting() as collector:
        run(place, "-m", "examples.otel", "--otlp", OTEL_EXPORTER_OTLP_ENDPOINT=collector.url)
    drawn = (EXAMPLE / "expected_tree.txt").read_text(encoding="utf-8").splitlines()[1:]
    assert collector.tree() == [re.sub(r"  \(.*", "", line) for line in drawn]


def test_the_demo_keeps_its_spans(place: Path):
    said = run(place, "-m", "examples.docs_assistant", "--keep", "kept", "what is a decorator?")
    spans = [json.loads(line) for line in (place / "kept" / "spans.jsonl").read_text(encoding="utf-8").splitlines()]
    assert re.search(
        rf"^  {re.escape(str(Path('kept', 'spans.jsonl')))} +{len(spans)} OpenTelemetry", said, re.MULTILINE
    )
    assert [span["name"] for span in spans if not span["parent_id"]] == ["invoke_workflow docs_assistant"]


def test_the_spans_of_the_flow_that_is_seen_four_ways(place: Path):
    example = ROOT / "examples" / "observability"
    expected = (example / "expected_all.txt").read_text(encoding="utf-8")
    told, promised = (
        text.partition("# OpenTelemetry\n")[2] for text in (run(place, str(example / "main.py")), expected)
    )
    assert told == promised != ""


def test_the_figures_are_measured_on_answers_that_are_right():
    code = f"""
import asyncio, runpy
bench = runpy.run_path({str(HERE.parent / "benchmarks" / "__main__.py")!r}, run_name="bench")
found = asyncio.run(bench["measure"](rounds=1, requests=10))
bench["show"](found)
"""
    printed = run(HERE, "-c", code, PENGUIFLOW_PLUGINS="")
    for side in ("plugin, no SDK", "sampled out", "recording spans", "recording spans and metrics"):
        assert re.search(rf"^{side} +-?\d+\.\d +-?\d+\.\d +\d+", printed, re.MULTILINE), printed
