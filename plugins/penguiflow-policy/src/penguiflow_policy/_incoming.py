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
    found = _got(graph, graph.node(name), ())
    return NOBODY_KNOWS if unknown(found) else tuple({id(each): each for each in found}.values())


def _got(graph: Graph, router: GraphNode, behind: tuple[str, ...]) -> Payloads:
    """The same of a router in front of those `behind`, which are on the way already; with `Any` if nobody knows."""
    taken = members(router.takes_type)
    if taken and not unknown(taken):
        return taken
    if router.name in graph.entries:
        return (Any,)
    behind = (*behind, router.name)
    before = [graph.node(name) for name in graph.predecessors(router.name) if name not in behind]
    given = [_given(graph, node, behind) for node in before]
    return (*(member for payloads in given for member in payloads), StreamChunk) if all(given) else (Any,)


def _given(graph: Graph, node: GraphNode, behind: tuple[str, ...]) -> Payloads:
    if node.kind == "router":
        return _got(graph, node, behind)
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
