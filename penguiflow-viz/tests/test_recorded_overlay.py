"""What was recorded, over drawings: counts, colours, traffic, one trace's way."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from vizkit.browser import Mermaid
from vizkit.hostile import NAMES, usable
from vizkit.programs import SVG, Dot

from penguiflow import (
    Context,
    FlowError,
    Message,
    Node,
    NodePolicy,
    PenguiFlow,
    create,
    join_k,
    predicate_router,
    subflow,
)
from penguiflow_viz import Recorder, drawing_of


async def same(x: Any) -> Any:
    return x


def assistant(recorder: Recorder) -> PenguiFlow:
    """A flow with a subflow, a join, a router, retries and a playbook."""

    async def search(x: str, ctx: Context) -> str:
        if x == "flaky" and ctx.attempt == 0:
            raise ConnectionError("down")
        return x

    async def slow(x: str) -> str:
        await asyncio.sleep(0.02)
        return x

    book = create(Node(same, "page"), name="book")

    async def calls(x: Any, ctx: Context) -> Any:
        return await ctx.call_playbook(book, x)

    both = join_k("both", 2)
    search_node = Node(search, "search", NodePolicy(max_retries=1, backoff_base=0.001, jitter=0))
    inner = create(search_node.to(both), Node(slow, "recall").to(both), name="inner")
    part, choose = (
        subflow("part", inner),
        predicate_router("choose", lambda m: "short" if "short" in m.payload else "long"),
    )
    return create(
        part.to(choose),
        choose.to(Node(same, "short"), Node(calls, "long", playbooks=[book])),
        name="f",
        plugins=["viz", recorder],
    )


async def ran(recorder: Recorder) -> PenguiFlow:
    async with assistant(recorder) as flow:
        for text in ("a", "b", "flaky", "short"):
            await flow.ask(Message(payload=text, trace_id=text))
    return flow


def document(flow: PenguiFlow, **options: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(flow.export("json", **options))
    return found


def by_node(drawn: dict[str, Any]) -> dict[str, Any]:
    return {item["node_id"]: item for item in [*drawn["boxes"], *drawn["clusters"]] if item["node_id"]}


def labels(drawn: dict[str, Any]) -> dict[tuple[str, str], str]:
    ids = {item["id"]: item["node_id"] or item["name"] for item in [*drawn["boxes"], *drawn["clusters"]]}
    return {(ids[link["source"]], ids[link["target"]]): link["label"] for link in drawn["links"]}


async def test_counts_and_traffic_are_those_of_the_run():
    flow = await ran(recorder := Recorder())
    drawn = document(flow, overlay=recorder)
    nodes = by_node(drawn)
    assert nodes["f/part/inner/search"]["badges"][0].startswith("4 runs · p50 ")
    assert nodes["f/part/inner/search"]["badges"][1] == "1 error · 1 retry"
    assert nodes["f/short"]["badges"][0].startswith("1 run · ")
    assert nodes["f/part"]["badges"][0].startswith("4 runs")
    traffic = labels(drawn)
    assert traffic["f/OpenSea", "f/part"] == "4"
    assert traffic["f/part", "f/choose"] == "4"
    assert traffic["f/choose", "f/long"] == "3"
    assert traffic["f/choose", "f/short"] == "1"
    assert traffic["f/part/inner/OpenSea", "f/part/inner/search"] == "4"
    assert traffic["f/part/inner/recall", "f/part/inner/both"] == "4"
    assert traffic["f/long/book/OpenSea", "f/long/book/page"] == "3"
    assert drawn["legend"][0] == "4 traces: 4 completed"


async def test_the_longest_node_has_the_deepest_colour_and_the_busiest_edge_is_the_widest():
    flow = await ran(recorder := Recorder())
    drawn = document(flow, overlay=recorder)
    nodes = by_node(drawn)
    busy = {id: node.busy_ms for id, node in recorder.nodes.items() if id != "f/part"}
    assert [id for id, item in nodes.items() if item["fill"] == "#c8381e"] == [max(busy, key=busy.get)]
    assert nodes["f/part"]["fill"] == ""
    ranked = sorted(busy, key=busy.get)
    assert [int(nodes[id]["fill"][3:5], 16) for id in ranked] == sorted(
        (int(nodes[id]["fill"][3:5], 16) for id in ranked), reverse=True
    )
    widths = {(link["source"], link["target"]): link["width"] for link in drawn["links"]}
    ids = {item["node_id"]: item["id"] for item in [*drawn["boxes"], *drawn["clusters"]]}
    assert widths[ids["f/choose"], ids["f/long"]] > widths[ids["f/choose"], ids["f/short"]] > 1


async def test_one_trace_shows_its_way_and_lets_the_rest_stand_back():
    flow = await ran(recorder := Recorder())
    drawn = document(flow, overlay=recorder, trace_id="short")
    faded = {id for id, item in by_node(drawn).items() if item["faded"]}
    assert faded == {"f/long", "f/long/book/page"}
    traffic = labels(drawn)
    assert (traffic["f/choose", "f/short"], traffic["f/choose", "f/long"]) == ("1", "")
    assert re.match(r"trace short: completed after [\d.]+ ms", drawn["legend"][0])
    tree = ElementTree.fromstring(flow.export("svg", overlay=recorder, trace_id="short"))
    dim = [
        g.get("data-name") for g in tree.iter(f"{SVG}g") if "pf-box" in g.get("class") and "pf-faded" in g.get("class")
    ]
    assert dim == ["long", "page"]


async def test_svg_html_and_tooltips_tell_the_badges():
    flow = await ran(recorder := Recorder())
    tree = ElementTree.fromstring(flow.export("svg", overlay=recorder))
    (box,) = [g for g in tree.iter(f"{SVG}g") if g.get("data-name") == "search"]
    text = [line.text for line in box.iter(f"{SVG}text")]
    assert text[0] == "search"
    assert "1 error · 1 retry" in text
    assert "latest error: ConnectionError: down" in box.findtext(f"{SVG}title")
    page = flow.export("html", overlay=recorder, trace_id="flaky")
    assert "1 error" in page
    assert "trace flaky: completed" in page


async def test_a_trace_that_is_not_kept_is_an_error_that_says_so():
    flow = await ran(recorder := Recorder())
    with pytest.raises(LookupError, match="no trace 'nobody' is kept"):
        flow.export("svg", overlay=recorder, trace_id="nobody")


async def hostile(recorder: Recorder) -> PenguiFlow:
    """Every hostile name as a node, that also fails with its name, in a trace of that name."""

    async def named(x: str) -> str:
        raise ValueError(x)

    def node(name: str) -> Node:
        async def fails(x: str) -> str:
            return await named(name)

        return Node(fails, name)

    names = [name for name in NAMES if usable(name)]
    nodes = [node(name) for name in names]
    gate = predicate_router("gate", lambda m: m.payload)
    async with create(gate.to(*nodes), name="hostile", plugins=["viz", recorder]) as flow:
        for name in names:
            with pytest.raises(FlowError):
                await flow.ask(Message(payload=name, trace_id=f"trace {name.encode('utf-8', 'replace').decode()}"))
    return flow


async def test_the_real_mermaid_and_graphviz_read_overlays_with_hostile_errors(mermaid: Mermaid, tmp_path: Path):
    flow = await hostile(recorder := Recorder())
    drawing = drawing_of(flow.graph)
    seen = await asyncio.to_thread(mermaid.draw, flow.export("mermaid", overlay=recorder))
    assert len(seen["nodes"]) == len(drawing.boxes)
    assert sum("1 error" in text for _, text, _ in seen["nodes"]) == len(flow.graph.nodes) - 1
    assert (seen["title"], seen["scripts"]) == ("", 0)
    dot = Dot(flow.export("dot", overlay=recorder), tmp_path)
    assert (dot.complaints, len(dot.arrows)) == ("", len(drawing.links))
    assert sum("1 error" in text for text in dot.labels.values()) == len(flow.graph.nodes) - 1


async def test_every_waterfall_and_svg_of_hostile_names_is_well_formed():
    flow = await hostile(recorder := Recorder())
    assert len(recorder.ended) == len(flow.graph.nodes) - 1
    ElementTree.fromstring(flow.export("svg", overlay=recorder))
    for trace in recorder.ended:
        tree = ElementTree.fromstring(flow.export("waterfall", overlay=recorder, trace_id=trace.trace_id))
        assert len(tree.findall(f"{SVG}g")) == 2


async def test_the_same_record_gives_the_same_bytes():
    flow = await ran(recorder := Recorder())
    for format in ("mermaid", "dot", "svg", "html", "json", "waterfall"):
        assert flow.export(format, overlay=recorder) == flow.export(format, overlay=recorder)


async def test_a_recorder_that_saw_nothing_is_no_error():
    flow = assistant(recorder := Recorder())
    drawn = document(flow, overlay=recorder)
    assert [item["badges"] for item in by_node(drawn).values()] == [[]] * len(by_node(drawn))
    assert drawn["legend"][0] == "0 traces"
