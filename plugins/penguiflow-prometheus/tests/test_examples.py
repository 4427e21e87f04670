"""The example prints what it says, and its dashboard has an answer to each of its questions."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from promkit.server import Server, program, prometheus

EXAMPLE = Path(__file__).parents[3] / "examples" / "prometheus"
DASHBOARD = json.loads((EXAMPLE / "dashboard.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
QUESTIONS = [(panel["title"], target["expr"]) for panel in PANELS for target in panel["targets"]]


def environment() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not key.startswith("PENGUIFLOW_")}


def test_the_example_prints_what_is_expected():
    done = subprocess.run(
        [sys.executable, str(EXAMPLE / "main.py")], capture_output=True, text=True, timeout=60, env=environment()
    )
    assert done.stdout == (EXAMPLE / "expected.txt").read_text()
    assert done.returncode == 0


def test_the_counters_of_the_flow_that_is_seen_four_ways(tmp_path: Path):
    example = EXAMPLE.parent / "observability"
    command = [sys.executable, str(example / "main.py")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, env=environment())
    assert done.returncode == 0, done.stderr
    expected = (example / "expected_all.txt").read_text(encoding="utf-8")
    told, promised = (text.partition("# Prometheus\n")[2].partition("# ")[0] for text in (done.stdout, expected))
    assert told == promised != ""


@pytest.fixture(scope="module")
def shop() -> Iterator[int]:
    """The example while it sells; its port."""
    command = [sys.executable, str(EXAMPLE / "main.py"), "--serve", "0"]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored below a shell's background job
    ) as process:
        assert process.stdout is not None
        try:
            said = process.stdout.readline()
            yield int(re.fullmatch(r"metrics at http://127.0.0.1:(\d+)/metrics\n", said)[1])
        finally:
            process.send_signal(signal.SIGINT)
            assert process.stdout.read() == "closed\n"
    assert process.returncode == 0


@pytest.fixture(scope="module")
def server(shop: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with prometheus(tmp_path_factory.mktemp("shop"), shop) as running:
        running.scraped_again()
        yield running


def asked(expression: str) -> str:
    """An expression as Grafana sends it with its variables at "All"."""
    return expression.replace("$__rate_interval", "1m").replace("$flow", ".*").replace("$node", ".*")


@pytest.mark.parametrize(("title", "expression"), QUESTIONS, ids=[title for title, _ in QUESTIONS])
def test_each_question_of_the_dashboard_has_an_answer(server: Server, title: str, expression: str):
    found = server.answer(asked(expression))
    assert all(value >= 0 for _, value in found), found


def test_the_variables_of_the_dashboard_find_the_flow_and_its_nodes(server: Server):
    values = {}
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            selector, label = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"]).groups()
            series = server.get("series", **{"match[]": asked(selector)})
            values[variable["name"]] = sorted({one[label] for one in series})
    assert values == {"flow": ["shop"], "node": ["fetch", "pack", "sell"]}


def test_legends_use_labels_that_the_answers_have(server: Server):
    for panel in PANELS:
        for target in panel["targets"]:
            wanted = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
            for labels, _ in server.answer(asked(target["expr"])):
                assert wanted == set(labels), panel["title"]


def test_each_panel_has_a_place_and_a_number_of_its_own():
    numbers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(numbers)) == len(numbers)
    taken: dict[tuple[int, int], Any] = {}
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert taken.setdefault((x, y), panel["id"]) == panel["id"]


def test_only_the_chosen_data_source_is_asked():
    uids = {panel["datasource"]["uid"] for panel in PANELS}
    uids |= {target["datasource"]["uid"] for panel in PANELS for target in panel["targets"]}
    assert uids == {"${datasource}"}


def test_the_configuration_of_prometheus_is_sound():
    command = [program("promtool"), "check", "config", str(EXAMPLE / "prometheus.yml")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
