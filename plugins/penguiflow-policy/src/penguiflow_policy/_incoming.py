"""What a router's messages may hold: as it says itself, otherwise as those before it say.

Rules: a router passes on what it gets, and one that says nothing gets stream chunks too. Where a message enters, where
a node's output goes unchecked, or where somebody says nothing, nobody knows.
"""

from __future__ import annotations

from typing import Any

from penguiflow import WM, FinalAnswer, Graph, GraphNode, StreamChunk
from penguiflow_policy._types import members, unknown

Payloads = tuple[Any, ...]
NOBODY_KNOWS: Payloads = ()


def incoming(graph: Graph, name: str) -> Payloads:
    """The types of payload that a router gets, in their order; none if nobody knows."""
    found: list[Any] = []
    says_nothing: list[str] = []
    routers = [name]
    for router in routers:  # and those before it, as long as they say nothing themselves
        taken = members(graph.node(router).takes_type)
        if taken and not unknown(taken):
            found += taken
            continue
        says_nothing.append(router)
        before = [graph.node(other) for other in graph.predecessors(router)]
        routers += [node.name for node in before if node.kind == "router" and node.name not in routers]
        found += [kind for node in before if node.kind != "router" for kind in _given(node)]
    if unknown(found) or set(says_nothing) & set(graph.entries):
        return NOBODY_KNOWS
    return tuple({id(kind): kind for kind in (*found, *([StreamChunk] if says_nothing else []))}.values())


def _given(node: GraphNode) -> Payloads:
    """The types of what a node that is no router gives; `Any` if nobody knows."""
    if not _checked(node):
        return (Any,)
    given = members(node.gives_type)
    if node.kind == "controller":  # keeps its WM, and sends its answer away
        given = tuple(
            member for member in given if not (isinstance(member, type) and issubclass(member, WM | FinalAnswer))
        )
    return given or (Any,)


def _checked(node: GraphNode) -> bool:
    """Whether what a node returns is held against what it says; of a subflow, what its last nodes return."""
    if node.subgraph is not None:
        return all(_checked(node.subgraph.node(name)) for name in node.subgraph.exits)
    return node.policy.validate in ("both", "out")
