"""What the real Mermaid, the real Graphviz and our own SVG show is the flow, for random flows with hostile names."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from vizkit.browser import Mermaid
from vizkit.expected import arrows_of, nodes_of, paths_of, squeezed
from vizkit.flows import flows
from vizkit.known import crossroads, every_name
from vizkit.programs import SVG, Dot

from penguiflow import PenguiFlow
from penguiflow_viz import (
    Drawing,
    LinkMark,
    NodeMark,
    Overlay,
    drawing_of,
    flow_to_dot,
    flow_to_html,
    flow_to_json,
    flow_to_mermaid,
    flow_to_svg,
)
from penguiflow_viz.layout import DIRECTIONS
from penguiflow_viz.overlay import laid_over

# Looking for a smaller flow that fails takes minutes if each has to be rendered.
QUICKLY = settings(phases=[Phase.explicit, Phase.generate])

ALL_NAMES = every_name('"</title><!--\n%%{')


def texts(drawing: Drawing) -> dict[str, str]:
    """What has to be read on each box and cluster."""
    items = [*drawing.boxes, *drawing.clusters[1:]]
    return {item.id: squeezed(" ".join((item.label, *item.details))) for item in items}


def ends(drawing: Drawing) -> list[tuple[str, str]]:
    return sorted((link.source, link.target) for link in drawing.links)


@given(flows())
@example(ALL_NAMES)
def test_a_drawing_has_the_nodes_and_edges_of_the_flow_and_no_others(flow: PenguiFlow):
    drawing = drawing_of(flow.graph)
    paths = paths_of(drawing)
    drawn = [(paths[item.id], item.kind) for item in [*drawing.boxes, *drawing.clusters[1:]]]
    assert Counter(drawn) == Counter(nodes_of(flow.graph))
    assert Counter((paths[s], paths[t]) for s, t in ends(drawing)) == Counter(arrows_of(flow.graph))


@QUICKLY
@given(flows())
@example(ALL_NAMES)
def test_mermaid_shows_the_flow(mermaid: Mermaid, flow: PenguiFlow):
    drawing = drawing_of(flow.graph)
    seen = mermaid.draw(flow_to_mermaid(flow))
    boxes = {re.fullmatch(r"m\d+-flowchart-(\w+)-\d+", id)[1]: (read(text), at) for id, text, at in seen["nodes"]}
    clusters = {id.partition("-")[2]: (read(text), at) for id, text, at in seen["clusters"]}
    assert {id: text for id, (text, _) in {**boxes, **clusters}.items()} == texts(drawing)
    assert sorted(tuple(id.split("_")[1:3]) for id in seen["edges"]) == ends(drawing)
    around = {box.id: box.cluster for box in drawing.boxes} | {c.id: c.parent for c in drawing.clusters}
    for id, (_, at) in {**boxes, **clusters}.items():
        if around[id] != drawing.root.id:
            assert within(at, clusters[around[id]][1])
    assert (seen["title"], seen["scripts"]) == ("", 0)


def read(text: str) -> str:
    """A label as it is read, without the joiner that keeps Mermaid from taking it for something else."""
    return squeezed(text.replace("\u2060", ""))


def within(inner: list[float], outer: list[float]) -> bool:
    """Whether the middle of a rectangle is inside another; Mermaid lets borders stick out by a pixel or two."""
    x, y = (inner[0] + inner[2]) / 2, (inner[1] + inner[3]) / 2
    return outer[0] < x < outer[2] and outer[1] < y < outer[3]


@QUICKLY
@given(flows())
@example(ALL_NAMES)
def test_graphviz_shows_the_flow(tmp_path: Path, flow: PenguiFlow):
    drawing = drawing_of(flow.graph)
    seen = Dot(flow_to_dot(flow), tmp_path)
    assert seen.complaints == ""
    assert {id: squeezed(text) for id, text in seen.labels.items()} == texts(drawing)
    cut = {cluster.id: cluster for cluster in drawing.clusters}
    expected = [(cut[s].rookery if s in cut else s, cut[t].opensea if t in cut else t) for s, t in ends(drawing)]
    assert seen.arrows == sorted(expected)
    assert seen.inside == {cluster.id: boxes_in(drawing, cluster.id) for cluster in drawing.clusters[1:]}


def boxes_in(drawing: Drawing, cluster: str) -> set[str]:
    found = {box.id for box in drawing.boxes if box.cluster == cluster}
    return found.union(*(boxes_in(drawing, inner.id) for inner in drawing.clusters if inner.parent == cluster))


@settings(max_examples=settings().max_examples // 2)
@given(flows(), st.sampled_from(DIRECTIONS))
@example(ALL_NAMES, "LR")
def test_svg_shows_the_flow(flow: PenguiFlow, direction: str):
    drawing = drawing_of(flow.graph)
    groups = list(ElementTree.fromstring(flow_to_svg(flow, direction)).iter(f"{SVG}g"))
    shown = {g.get("id"): g for g in groups if "pf-box" in g.get("class") or "pf-cluster" in g.get("class")}
    assert {id: unbroken(lines(g)) for id, g in shown.items()} == {
        id: unbroken(text) for id, text in texts(drawing).items()
    }
    arrows = [(g.get("data-source"), g.get("data-target")) for g in groups if "pf-link" in g.get("class")]
    assert sorted(arrows) == ends(drawing)
    told = {id: g.findtext(f"{SVG}title") for id, g in shown.items()}
    assert told == {item.id: "\n".join(item.tooltip) for item in [*drawing.boxes, *drawing.clusters[1:]]}


def lines(group: ElementTree.Element) -> str:
    return " ".join(text.text or "" for text in group.iter(f"{SVG}text"))


def unbroken(text: str) -> str:
    """The text without white space: a long name is broken into lines."""
    return "".join(text.split())


@settings(max_examples=settings().max_examples // 4)
@given(flows())
@example(ALL_NAMES)
def test_json_and_the_page_have_the_names_as_they_were_given(flow: PenguiFlow):
    document = json.loads(flow_to_json(flow))
    drawing = drawing_of(flow.graph)
    assert [box["name"] for box in document["boxes"]] == [box.name for box in drawing.boxes]
    assert [(link["source"], link["target"]) for link in document["links"]] == [
        (link.source, link.target) for link in drawing.links
    ]
    page = flow_to_html(flow)
    assert page.count("<script") == page.count("</script") == 2
    assert json.loads(page.partition('id="data">')[2].partition("</script>")[0]) == document
    page.encode("utf-8")


BACK = Overlay(
    {name: NodeMark("#7f0000", faded=True) for name in ("crossroads/ask", "crossroads/which", "crossroads/deep")},
    {("crossroads/which", "crossroads/think"): LinkMark(4, faded=True)},
)


def test_mermaid_fades_what_stands_back(mermaid: Mermaid):
    flow = crossroads()
    drawing = laid_over(drawing_of(flow.graph), BACK)
    faded = sorted(item.id for item in (*drawing.boxes, *drawing.clusters) if item.faded)
    links = [(link.source, link.target) for link in drawing.links if link.faded]
    assert len(faded) == 3
    seen = mermaid.draw(flow_to_mermaid(flow, overlay=BACK))
    assert sorted(re.search(r"\b[nc]\d+\b", id)[0] for id in seen["faded"]) == faded
    assert [(tuple(id.split("_")[1:3]), *look) for id, *look in seen["faded_edges"]] == [
        (*links, "6px", "rgb(194, 65, 12)")
    ]


def test_graphviz_fades_what_stands_back(tmp_path: Path):
    flow = crossroads()
    drawing = laid_over(drawing_of(flow.graph), BACK)
    Dot(flow_to_dot(flow, overlay=BACK), tmp_path)
    groups = list(ElementTree.parse(tmp_path / "flow.svg").iter(f"{SVG}g"))
    faded = [g for g in groups if g.get("class") in ("node", "cluster", "edge") and is_faint(g)]
    items = [g.findtext(f"{SVG}title", "").removeprefix("cluster_") for g in faded if g.get("class") != "edge"]
    assert sorted(items) == sorted(item.id for item in (*drawing.boxes, *drawing.clusters) if item.faded)
    assert [g.get("id") for g in faded if g.get("class") == "edge"] == [link.id for link in drawing.links if link.faded]


def is_faint(part: ElementTree.Element) -> bool:
    """Whether a text or a line is hardly to be seen, or something in it is."""
    opaque = "fill-opacity" if part.tag == f"{SVG}text" else "stroke-opacity"
    return float(part.get(opaque, 1)) < 0.3 or any(map(is_faint, part))
