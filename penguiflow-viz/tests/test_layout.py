"""Nothing overlaps, no link passes through a box, clusters hold what is in them: in every direction, for any flow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vizkit.flows import flows, same
from vizkit.geometry import flaws, holds, near, points
from vizkit.known import big, configured, hub, leaving, opening, reporting, returning

from penguiflow import Node, PenguiFlow, create, join_k, predicate_router, subflow
from penguiflow_viz import Drawing, LinkMark, NodeMark, Overlay, drawing_of
from penguiflow_viz.layout import DIRECTIONS, Rect, laid_out
from penguiflow_viz.layout.sizes import lines, size
from penguiflow_viz.overlay import laid_over


def drawn(flow: PenguiFlow, marked: bool) -> Drawing:
    """A flow's drawing, with a label on each link if it is marked."""
    drawing = drawing_of(flow.graph)
    if not marked:
        return drawing
    ids = {item.id: item.node_id for item in [*drawing.boxes, *drawing.clusters]}
    labels = {(ids[link.source], ids[link.target]): LinkMark(label="7") for link in drawing.links}
    return laid_over(drawing, Overlay({}, labels))


@given(flows(), st.sampled_from(DIRECTIONS))
def test_a_layout_has_no_flaws(flow: PenguiFlow, direction: str):
    drawing = drawing_of(flow.graph)
    assert list(flaws(drawing, laid_out(drawing, direction))) == []


@settings(max_examples=settings().max_examples // 2)
@given(flows())
def test_a_layout_with_an_overlay_has_no_flaws(flow: PenguiFlow):
    drawing = drawing_of(flow.graph)
    ids = {item.id: item.node_id for item in [*drawing.boxes, *drawing.clusters]}
    nodes = dict.fromkeys(ids.values(), NodeMark(badges=("12345 runs", "p50 1.23 ms, p95 4.56 ms")))
    links = {(ids[link.source], ids[link.target]): LinkMark(label="1234 messages") for link in drawing.links}
    marked = laid_over(drawing, Overlay(nodes, links))
    assert list(flaws(marked, laid_out(marked, "TB"))) == []


@pytest.mark.parametrize("direction", ["TB", "RL"])
@pytest.mark.parametrize("marked", [False, True], ids=["bare", "marked"])
@pytest.mark.parametrize("make", [reporting, configured, leaving, returning])
def test_where_many_go_far_they_share_a_trunk_and_nothing_is_covered(
    make: Callable[[int], PenguiFlow], marked: bool, direction: str
):
    drawing = drawn(make(20), marked)
    layout = laid_out(drawing, direction)
    assert list(flaws(drawing, layout)) == []
    ends = Counter(end for route in layout.routes.values() for end in (route.start, route.tip))
    assert max(ends.values()) > 10


@settings(max_examples=settings().max_examples // 4)
@given(flows(), st.sampled_from(DIRECTIONS))
def test_rows_have_no_flaws_in_any_flow(monkeypatch: pytest.MonkeyPatch, flow: PenguiFlow, direction: str):
    monkeypatch.setattr("penguiflow_viz.layout.layers.WIDEST", 150.0)
    drawing = drawing_of(flow.graph)
    assert list(flaws(drawing, laid_out(drawing, direction))) == []


@pytest.mark.parametrize("direction", ["TB", "RL"])
@pytest.mark.parametrize("marked", [False, True], ids=["bare", "marked"])
@pytest.mark.parametrize("make", [hub, opening])
def test_a_layer_that_is_too_wide_is_broken_into_rows(make: Callable[[int], PenguiFlow], marked: bool, direction: str):
    drawing = drawn(make(120), marked)
    layout = laid_out(drawing, direction)
    assert list(flaws(drawing, layout)) == []
    assert max(layout.width, layout.height) < 4 * min(layout.width, layout.height)


def test_500_nodes_have_no_flaws():
    drawing = drawing_of(big(500).graph)
    assert list(flaws(drawing, laid_out(drawing, "TB"))) == []


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_layers_follow_the_direction(direction: str):
    a, b, c = (Node(same, name) for name in "abc")
    drawing = drawing_of(create(a.to(b), b.to(c)).graph)
    layout = laid_out(drawing, direction)
    axis = 0 if direction in ("LR", "RL") else 1
    places = [layout.boxes[box.id].middle[axis] for box in drawing.boxes]
    assert places == sorted(places, reverse=direction in ("BT", "RL"))
    across = {round(layout.boxes[box.id].middle[1 - axis], 3) for box in drawing.boxes}
    assert len(across) == 1, "a chain is a straight line"


def test_a_link_that_leads_back_keeps_clear_of_the_one_that_leads_there():
    a, b = Node(same, "a"), Node(same, "b")
    drawing = drawing_of(create(a.to(b), b.to(a), allow_cycles=True).graph)
    layout = laid_out(drawing, "TB")
    there, back = (layout.routes[link.id] for link in drawing.links if link.cycle)
    assert min(abs(p[0] - q[0]) + abs(p[1] - q[1]) for p in points(there) for q in points(back)) > 3
    assert back.start[1] > back.tip[1]


def test_a_loop_leads_from_a_nodes_border_back_to_it():
    flow = create(
        *(node.to(node) for node in (Node(same, "node"), predicate_router("router", lambda m: []))),
        *(node.to(node) for node in (subflow("flow", create(Node(same, "inner"))),)),
        allow_cycles=True,
    )
    drawing = drawing_of(flow.graph)
    router = next(box.id for box in drawing.boxes if box.kind == "router")
    for direction in DIRECTIONS:
        layout = laid_out(drawing, direction)
        for link in drawing.links:
            if link.source == link.target:
                rect, way = (layout.boxes | layout.clusters)[link.source], points(layout.routes[link.id])
                inside = in_diamond if link.source == router else holds
                assert not any(inside(rect, point) for point in way)
                assert near(way[0], rect)
                assert near(way[-1], rect)


def in_diamond(rect: Rect, point: tuple[float, float]) -> bool:
    x, y = rect.middle
    return abs(point[0] - x) / (rect.w / 2) + abs(point[1] - y) / (rect.h / 2) < 0.97


def test_a_routers_text_stands_inside_its_diamond_and_a_joins_inside_its_sides():
    chooser = predicate_router("which_of_the_many_ways_to_go", lambda m: [])
    a, b = Node(same, "a"), Node(same, "b")
    join = join_k("all_of_what_there_is_to_wait_for", 2, timeout_s=5)
    drawing = drawing_of(create(chooser.to(a, b), a.to(join), b.to(join)).graph)
    router, joined = (next(box for box in drawing.boxes if box.kind == kind) for kind in ("router", "join"))
    w, h = size(router)
    wide, high = max(line.width for line in lines(router)), sum(line.height for line in lines(router))
    assert wide / w + high / h <= 1
    assert max(line.width for line in lines(joined)) + 24 <= size(joined)[0]


def test_flaws_are_found():
    a, b, c = (Node(same, name) for name in "abc")
    drawing = drawing_of(create(a.to(b), b.to(c), a.to(c)).graph)
    layout = laid_out(drawing, "TB")
    middle = layout.boxes["n1"]
    layout.boxes["n1"] = Rect(layout.boxes["n0"].x, layout.boxes["n0"].y, middle.w, middle.h)
    found = list(flaws(drawing, layout))
    assert "n0 and n1 overlap" in found
    assert any("doesn't lead from" in flaw for flaw in found)
    layout.boxes["n1"] = Rect(*(r - 20 for r in layout.routes["e2"].tip), 40, 40)
    assert any("passes through n1" in flaw for flaw in flaws(drawing, layout))
