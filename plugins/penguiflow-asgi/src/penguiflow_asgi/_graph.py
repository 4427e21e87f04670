"""A flow's graph as JSON."""

from __future__ import annotations

from typing import Any

from penguiflow import Graph, GraphNode


def graph_json(graph: Graph) -> dict[str, Any]:
    """The graph as JSON values: nodes, edges, and where messages enter and leave."""
    return {
        "name": graph.name,
        "nodes": [_node(node) for node in graph.nodes],
        "edges": [{"source": edge.source, "target": edge.target} for edge in graph.edges],
        "entries": list(graph.entries),
        "exits": list(graph.exits),
    }


def _node(node: GraphNode) -> dict[str, Any]:
    return {
        "name": node.name,
        "node_id": node.node_id,
        "kind": node.kind,
        "takes": node.takes,
        "gives": node.gives,
        "join_k": node.join_k,
        "doc": node.doc,
        "subgraph": None if node.subgraph is None else graph_json(node.subgraph),
    }
