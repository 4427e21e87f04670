"""Same flow, same bytes, whatever the process and its hash seed; and a large flow is quick and can be read."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
from vizkit.known import big, configured, leaving, reporting, returning
from vizkit.programs import SVG

from penguiflow import PenguiFlow
from penguiflow_viz import FORMATS, flow_to_svg

PRINTS = """
import hashlib
from penguiflow import create
from penguiflow import PenguiFlow
from penguiflow_viz import FORMATS
from vizkit.known import big, crossroads, every_name

for flow in (crossroads(), every_name("all"), big(60)):
    for format in FORMATS:
        print(hashlib.sha256(flow.export(format).encode()).hexdigest())
"""


def printed(seed: str) -> str:
    here = Path(__file__).parent
    environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(here)}
    done = subprocess.run(
        [sys.executable, "-c", PRINTS], env=environment, capture_output=True, text=True, timeout=120, check=True
    )
    return done.stdout


def test_every_format_is_the_same_in_every_process():
    first, second = printed("0"), printed("4242")
    assert len(set(first.split())) == 3 * len(FORMATS)
    assert first == second


@pytest.mark.parametrize("format", FORMATS)
def test_an_export_is_the_same_twice(format: str):
    flow = big(60)
    assert flow.export(format) == flow.export(format) == big(60).export(format)


@pytest.mark.parametrize(
    ("make", "count"), [(big, 500), (reporting, 499), (configured, 499), (leaving, 250), (returning, 500)]
)
def test_500_nodes_take_less_than_two_seconds(make: Callable[[int], PenguiFlow], count: int):
    flow = make(count)
    assert len(flow.graph.nodes) == 500
    assert any(seconds_of(flow) < 2 for _ in range(3)), "a busy machine may need a second and a third time"


def seconds_of(flow: PenguiFlow) -> float:
    begun = time.process_time()
    flow.export("svg")
    return time.process_time() - begun


def test_500_nodes_can_be_read():
    flow = big(500)
    root = ElementTree.fromstring(flow_to_svg(flow))
    names = [text.text for text in root.iter(f"{SVG}text") if text.get("class") == "pf-name"]
    assert names == [node.name for node in flow.graph.nodes]
    assert float(root.get("width", 0)) < 6000, "at its own size, letters are 13 pixels high"
