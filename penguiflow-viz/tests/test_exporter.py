"""The exporter: its formats and options, the shortcuts, the command line, and what every plugin has to stand."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from typer.testing import CliRunner
from vizkit.known import crossroads

import penguiflow
import penguiflow_viz
from penguiflow import ExportRequest, Graph, create, node, subflow
from penguiflow.cli.app import app
from penguiflow.testkit import PluginConformance
from penguiflow_viz import (
    FORMATS,
    NodeMark,
    Overlay,
    Recorder,
    Viz,
    flow_to_dot,
    flow_to_html,
    flow_to_json,
    flow_to_mermaid,
    flow_to_svg,
)

SHORTCUTS = {
    "mermaid": flow_to_mermaid,
    "dot": flow_to_dot,
    "svg": flow_to_svg,
    "html": flow_to_html,
    "json": flow_to_json,
}


class TestViz(PluginConformance):
    entry_point = "viz"


@node
async def same(x: int) -> int:
    return x


class Marks:
    """Says which trace it was asked for."""

    def overlay(self, graph: Graph, trace_id: str | None = None) -> Overlay:
        return Overlay({graph.nodes[0].node_id: NodeMark(badges=(f"trace {trace_id}",))})


def test_penguiflow_is_ours():
    assert hasattr(penguiflow, "hookimpl")


@pytest.mark.parametrize("format", FORMATS)
def test_a_flow_exports_what_the_shortcut_writes(format: str):
    flow = crossroads()
    assert flow.export(format) == SHORTCUTS[format](flow)


@pytest.mark.parametrize("format", [format for format in FORMATS if format != "json"])
def test_a_direction_is_taken(format: str):
    flow = crossroads()
    assert flow.export(format, direction="LR") == SHORTCUTS[format](flow, "LR")
    assert flow.export(format, direction="TD") == flow.export(format, direction="TB") == flow.export(format)
    assert len({flow.export(format, direction=direction) for direction in ("TB", "BT", "LR", "RL")}) == 4


@pytest.mark.parametrize("format", ["svg", "html"])
def test_a_theme_is_taken(format: str):
    flow = crossroads()
    texts = [flow.export(format, theme=theme) for theme in ("auto", "light", "dark")]
    assert texts[0] == flow.export(format)
    assert [f'class="pf pf-{theme}"' in text for theme, text in zip(("auto", "light", "dark"), texts, strict=True)] == [
        True
    ] * 3


@pytest.mark.parametrize("format", FORMATS)
def test_an_overlay_is_taken_or_made(format: str):
    flow = crossroads()
    overlay = Overlay({"crossroads/ask": NodeMark(badges=("trace t1",))})
    text = flow.export(format, overlay=Marks(), trace_id="t1")
    assert text == flow.export(format, overlay=overlay) == SHORTCUTS[format](flow, overlay=Marks(), trace_id="t1")
    assert "trace t1" in text
    assert "trace None" in flow.export(format, overlay=Marks())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"direction": "UP"}, "direction is one of TB, BT, LR, RL, not 'UP'"),
        ({"direction": ["LR"]}, r"direction is one of TB, BT, LR, RL, not \['LR'\]"),
        ({"theme": "pink"}, "theme is one of auto, light, dark, not 'pink'"),
        ({"colour": "red"}, "svg has no option 'colour': it has direction, theme, overlay, trace_id"),
        ({"overlay": 5}, "overlay is an Overlay, or something that makes one, not 5"),
        ({"overlay": Recorder}, "overlay is an Overlay, or something that makes one, not <class '.*Recorder'>"),
        ({"trace_id": "t"}, "trace_id= picks a trace out of an overlay: give overlay= as well"),
        (
            {"overlay": Recorder(), "trace_id": "t"},
            "no trace 't' is kept: 0 are in flight, and of the last that ended 0",
        ),
    ],
    ids=["direction", "list", "theme", "unknown", "overlay", "class", "trace", "no such trace"],
)
def test_a_wrong_option_is_said_to_who_asked_alone(
    options: dict[str, Any], said: str, caplog: pytest.LogCaptureFixture
):
    with pytest.raises(LookupError, match=f"plugin 'viz' can't export 'svg': ValueError: {said}"):
        create(same).export("svg", **options)
    assert not caplog.records


def test_a_nested_flow_has_another_ground_than_what_is_around_it_however_deep():
    flow = create(same, name="f0")
    for depth in range(9):
        flow = create(subflow(f"s{depth}", flow), name=f"f{depth + 1}")
    assert re.findall(r'class="pf-cluster pf-subflow( pf-even)?"', flow_to_svg(flow)) == (["", " pf-even"] * 5)[:9]
    assert re.findall(r'bgcolor="(.*?)"', flow_to_dot(flow)) == (["#f6f7f9", "#ffffff"] * 5)[:9]


def test_other_formats_are_left_to_others():
    assert Viz().export_graph(ExportRequest(create(same).graph, "png")) is None
    with pytest.raises(LookupError, match="no plugin exports 'png': 'viz' knows no such format$"):
        create(same).export("png")


def test_a_flow_is_drawn_from_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "drawn_shop.py").write_text(
        dedent("""
            from penguiflow import create, node

            @node
            async def same(x: int) -> int:
                return x

            flow = create(same, name="shop")
        """)
    )
    done = CliRunner().invoke(app, ["graph", "drawn_shop:flow", "--format", "svg", "-o", "f.svg"])
    assert (done.exit_code, done.output) == (0, "")
    assert (tmp_path / "f.svg").read_text(encoding="utf-8").startswith('<svg xmlns="http://www.w3.org/2000/svg"')
    done = CliRunner().invoke(app, ["graph", "drawn_shop:flow", "--option", "direction=LR"])
    assert (done.exit_code, done.output.splitlines()[:2]) == (0, ["%% shop", "flowchart LR"])
    done = CliRunner().invoke(app, ["graph", "drawn_shop:flow", "--option", "direction=UP"])
    assert done.exit_code == 1
    assert done.output.endswith("direction is one of TB, BT, LR, RL, not 'UP'\n")


def test_json_has_a_version_and_says_all_there_is():
    document = json.loads(flow_to_json(crossroads()))
    assert list(document) == ["version", "name", "clusters", "boxes", "links", "legend"]
    assert document["version"] == 1


def test_the_plugin_brings_no_layout_library_until_something_is_laid_out():
    code = (
        "import sys, penguiflow_viz; from penguiflow import create, node\n"
        "@node\nasync def same(x: int) -> int: return x\n"
        "create(same).export('mermaid'); assert 'igraph' not in sys.modules\n"
        "create(same).export('svg'); assert 'igraph' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_every_public_name_says_what_it_is():
    for name in penguiflow_viz.__all__:
        thing = getattr(penguiflow_viz, name)
        assert isinstance(thing, tuple) or inspect.getdoc(thing), name
