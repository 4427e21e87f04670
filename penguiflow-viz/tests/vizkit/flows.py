"""Random flows: any kinds of nodes, cycles, subflows and playbooks to some depth, with hostile names."""

from __future__ import annotations

from typing import Any

from hypothesis import reject
from hypothesis import strategies as st

from penguiflow import GraphError, Node, NodePolicy, PenguiFlow, create, join_k, predicate_router, router, subflow
from vizkit.hostile import names


async def same(x: Any) -> Any:
    """Give what comes."""
    return x


def policies() -> st.SearchStrategy[NodePolicy]:
    return st.builds(
        NodePolicy,
        timeout_s=st.sampled_from([None, None, 0.5, 10]),
        max_retries=st.sampled_from([0, 0, 1, 3]),
        max_concurrency=st.sampled_from([None, None, 4]),
        per_trace_concurrency=st.sampled_from([1, 1, 2]),
    )


@st.composite
def flows(draw: st.DrawFn, most: int = 6, depth: int = 2) -> PenguiFlow:
    """A flow of up to `most` nodes, with flows inside up to `depth` deep."""
    chosen = draw(st.lists(names(), min_size=1, max_size=most, unique=True))
    nodes = [draw(_nodes(name, place, depth)) for place, name in enumerate(chosen)]
    places = range(len(nodes))
    ahead = [(draw(st.integers(0, place - 1)), place) for place in places[1:] if draw(st.integers(0, 9))]
    more = draw(st.lists(st.tuples(st.sampled_from(places), st.sampled_from(places)), max_size=len(nodes)))
    try:
        return create(
            *(node.to(*(nodes[t] for s, t in [*ahead, *more] if s == place)) for place, node in enumerate(nodes)),
            name=draw(names()),
            allow_cycles=True,
        )
    except GraphError:  # a join without input, or a node that only its own cycle reaches
        reject()


@st.composite
def _nodes(draw: st.DrawFn, name: str, place: int, depth: int) -> Node:
    kinds = ["node", "node", "node", "node", "node", "router", "predicate"]
    kinds += ["join"] * (place > 0) + ["subflow", "caller"] * (depth > 0)
    match draw(st.sampled_from(kinds)):
        case "router":
            return router(name)
        case "predicate":
            return predicate_router(name, lambda message: [])
        case "join":
            return join_k(name, draw(st.integers(1, 4)), draw(st.sampled_from([None, 2.5])))
        case "subflow":
            return subflow(name, draw(flows(2, depth - 1)))
        case "caller":
            return Node(same, name, playbooks=draw(st.lists(flows(2, depth - 1), min_size=1, max_size=2)))
    return Node(same, name, draw(policies()))
