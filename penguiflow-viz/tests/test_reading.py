"""What is said of a node, a router, a join, a loop, a subflow and a playbook."""

from __future__ import annotations

from pydantic import BaseModel
from vizkit.flows import same

from penguiflow import Node, NodePolicy, PenguiFlow, create, join_k, node, predicate_router, router, subflow
from penguiflow_viz import Box, Drawing, Link, drawing_of


class Query(BaseModel):
    text: str


def by_size(message: object) -> list[str]:
    return []


def policy(request: object) -> None:
    return None


def drawn(*adjacencies: object, name: str = "flow") -> Drawing:
    return drawing_of(create(*adjacencies, name=name, allow_cycles=True).graph)  # type: ignore[arg-type]


def box(drawing: Drawing, name: str) -> Box:
    return next(box for box in drawing.boxes if box.name == name)


def link(drawing: Drawing, source: str, target: str) -> Link:
    names = {item.id: item.name for item in [*drawing.boxes, *drawing.clusters]}
    return next(link for link in drawing.links if (names[link.source], names[link.target]) == (source, target))


def test_a_usual_node_has_a_name_and_nothing_else():
    assert box(drawn(Node(same, "plain")), "plain").details == ()


def test_a_policy_is_short_in_the_label_and_whole_in_the_tooltip():
    chosen = NodePolicy(
        timeout_s=2.5,
        max_retries=3,
        retry_on=(OSError, ValueError),
        backoff_base=0.1,
        max_backoff=60,
        jitter=0.5,
        max_concurrency=4,
        per_trace_concurrency=2,
        retry_after_emit=True,
        validate="in",
    )
    found = box(drawn(Node(same, "busy", chosen)), "busy")
    assert found.details == ("≤ 2.5 s · 3 retries · 4 at once · 2 per trace",)
    assert found.tooltip == (
        "busy (node)",
        "Give what comes.",
        "takes Any",
        "gives Any",
        "time limit 2.5 s an attempt",
        "3 retries on OSError or ValueError, after 0.1 s, then times 2, at most 60 s, jitter 0.5",
        "retries after it has emitted, too",
        "4 runs at a time over all traces",
        "2 runs at a time within a trace",
        "validates in",
    )


def test_types_are_in_the_tooltip():
    @node
    async def ask(query: Query) -> str:
        return query.text

    assert box(drawn(ask), "ask").tooltip == ("ask (node)", "takes Query", "gives str")


def test_a_router_says_who_decides():
    found = box(drawn(predicate_router("r", by_size, policy=policy).to(Node(same, "a"))), "r")
    assert (found.kind, found.details) == ("router", ("asks by_size, policy",))
    assert "decided by by_size, policy" in found.tooltip
    found = box(drawn(router("r").to(Node(same, "a"))), "r")
    assert found.details == ()
    assert "decided by nobody: all successors" in found.tooltip


def test_a_join_has_its_k_and_its_limit():
    a, b, join = Node(same, "a"), Node(same, "b"), join_k("j", 2, timeout_s=5)
    found = box(drawn(a.to(join), b.to(join)), "j")
    assert (found.kind, found.details) == ("join", ("k = 2 of 2", "≤ 5 s"))
    assert found.tooltip[-2:] == ("gathers 2 messages of 2 predecessors", "gives up after 5 s")


def test_loops_and_longer_cycles_are_told_apart():
    a, b, c, d = (Node(same, name) for name in "abcd")
    drawing = drawn(a.to(a, b), b.to(c), c.to(b, d), d.to(d))
    assert [box(drawing, name).kind for name in "abcd"] == ["controller", "node", "node", "controller"]
    assert [box(drawing, name).cycle for name in "abcd"] == [None, 1, 1, None]
    labels = {(s, t): link(drawing, s, t).label for s, t in ("aa", "ab", "bc", "cb", "cd", "dd")}
    assert labels == {
        ("a", "a"): "loop",
        ("a", "b"): "",
        ("b", "c"): "",
        ("c", "b"): "cycle 1",
        ("c", "d"): "",
        ("d", "d"): "loop",
    }
    assert [found.back for found in drawing.links if found.label] == [True, True, True]
    assert link(drawing, "b", "c").cycle == link(drawing, "c", "b").cycle == 1


def test_cycles_of_inner_flows_have_numbers_of_their_own():
    def ring(name: str, *more: Node) -> PenguiFlow:
        a, b = Node(same, f"{name} a"), Node(same, f"{name} b")
        return create(a.to(b), b.to(a, *more), name=name, allow_cycles=True)

    drawing = drawing_of(ring("outer", subflow("sub", ring("inner"))).graph)
    numbers = [box(drawing, name).cycle for name in ("outer a", "outer b", "inner a", "inner b")]
    assert numbers == [1, 1, 2, 2]


def test_a_subflow_is_a_cluster_that_its_links_lead_to():
    a, b = Node(same, "a"), Node(same, "b")
    sub = subflow("sub", create(Node(same, "inner"), name="nested"))
    drawing = drawn(a.to(sub), sub.to(b))
    outer, inner = drawing.clusters
    assert (inner.kind, inner.name, inner.details, inner.parent) == ("subflow", "sub", ("flow nested",), outer.id)
    assert inner.node_id == "flow/sub"
    assert box(drawing, "inner").node_id == "flow/sub/nested/inner"
    assert [found.node_id for found in drawing.boxes if found.cluster == inner.id] == [
        "flow/sub/nested/OpenSea",
        "flow/sub/nested/inner",
        "flow/sub/nested/Rookery",
    ]
    assert link(drawing, "a", "sub").target == link(drawing, "sub", "b").source == inner.id


def test_subflows_nest_to_any_depth():
    flow = create(Node(same, "core"), name="level 0")
    for level in range(1, 30):
        flow = create(subflow(f"sub {level}", flow), name=f"level {level}")
    drawing = drawing_of(flow.graph)
    assert [cluster.parent for cluster in drawing.clusters] == ["", *(f"c{place}" for place in range(29))]


def test_a_playbook_is_a_cluster_that_its_node_calls():
    library = create(Node(same, "find"), name="library")
    drawing = drawn(Node(same, "ask", playbooks=[library, lambda: library]))
    assert [cluster.kind for cluster in drawing.clusters] == ["flow", "playbook", "playbook"]
    called = [found for found in drawing.links if found.kind == "calls"]
    assert [(found.source, found.target, found.label) for found in called] == [
        (box(drawing, "ask").id, "c1", "calls"),
        (box(drawing, "ask").id, "c2", "calls"),
    ]
    assert box(drawing, "find").node_id == "flow/ask/library/find"
    assert "calls library, library" in box(drawing, "ask").tooltip


def test_a_playbook_that_calls_itself_is_drawn_once():
    def again() -> PenguiFlow:
        return create(Node(same, "ask", playbooks=[again]), name="again")

    drawing = drawing_of(again().graph)
    assert [(cluster.kind, cluster.name) for cluster in drawing.clusters] == [("flow", "again"), ("playbook", "again")]
    assert [found.tooltip for found in drawing.boxes if found.kind == "playbook"] == [("again (drawn above)",)]


def test_a_long_name_is_whole_in_the_tooltip():
    name = "start" + "x" * 500 + "end"
    found = box(drawn(Node(same, name)), name)
    assert len(found.label) == 120
    assert found.tooltip[0] == f"{name} (node)"
