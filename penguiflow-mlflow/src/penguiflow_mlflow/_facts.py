"""What stays the same in a run: the flow's graph as tags, params and files.

Rules: everything comes from the public graph, in its order, so the same flow gives the same text each time.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import platform
import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from typing import Any

import penguiflow
from penguiflow import Graph, GraphNode, NodePolicy, PenguiFlow
from penguiflow_mlflow.writer.keys import safe_path

_ENDINGS = {"mermaid": "mmd", "dot": "gv", "graphviz": "gv"}


def graph_hash(graph: Graph) -> str:
    """Sixteen hexadecimal digits that change with the graph's nodes, their types, and its edges."""
    return hashlib.sha256(json.dumps(_shape(graph)).encode()).hexdigest()[:16]


def _shape(graph: Graph) -> list[Any]:
    nodes = [
        [node.name, node.kind, node.takes, node.gives, node.join_k, _shape(node.subgraph) if node.subgraph else None]
        for node in graph.nodes
    ]
    return [graph.name, nodes, [[edge.source, edge.target] for edge in graph.edges]]


def tags(flow: PenguiFlow) -> dict[str, str]:
    """Which program, and which graph. The process that writes adds user and host: asking for these may take a while."""
    return {
        "mlflow.source.name": sys.argv[0] or "python",
        "mlflow.source.type": "LOCAL",
        "penguiflow.flow": flow.name,
        "penguiflow.graph_hash": graph_hash(flow.graph),
        "penguiflow.version": penguiflow.__version__,
        "penguiflow.mlflow_version": version("penguiflow-mlflow"),
        "penguiflow.python": platform.python_version(),
        "penguiflow.pid": str(os.getpid()),
    }


def active_run() -> str | None:
    """The id of the MLflow run that this thread is in, or else of the one that `MLFLOW_RUN_ID` names."""
    mlflow = sys.modules.get("mlflow")  # where nobody has imported it, there is no run
    active = getattr(mlflow, "active_run", None)
    run = active() if active is not None else None
    return os.environ.get("MLFLOW_RUN_ID") or None if run is None else str(run.info.run_id)


def params(flow: PenguiFlow) -> dict[str, str]:
    """The graph's size, and each node's kind and policy, by its path (`subflow/node`)."""
    graph = flow.graph
    found = {"flow": graph.name, "nodes": str(len(graph.nodes)), "edges": str(len(graph.edges))}
    for path, node in _all(graph, ""):
        found[f"node/{safe_path(path)}/policy"] = f"{node.kind}: {policy_text(node.policy)}"
    return found


def _all(graph: Graph, prefix: str) -> Iterator[tuple[str, GraphNode]]:
    for node in graph.nodes:
        yield prefix + node.name, node
        if node.subgraph is not None:
            yield from _all(node.subgraph, f"{prefix}{node.name}/{node.subgraph.name}/")


def policy_text(policy: NodePolicy) -> str:
    """What a policy changes, as `timeout_s=10.0, max_retries=3`."""
    usual = NodePolicy()
    changed = [
        f"{field.name}={_value(getattr(policy, field.name))}"
        for field in dataclasses.fields(policy)
        if getattr(policy, field.name) != getattr(usual, field.name)
    ]
    return ", ".join(changed) or "default policy"


def _value(value: Any) -> str:
    if isinstance(value, tuple):
        return "(" + ", ".join(_value(item) for item in value) + ")"
    return value.__name__ if isinstance(value, type) else str(value)


def diagrams(flow: PenguiFlow, formats: Iterable[str]) -> dict[str, str | bytes]:
    """The graph in those of the formats that a plugin exports, by file name."""
    files = {}
    for wanted in formats:
        try:
            files[f"flow.{_ENDINGS.get(wanted, wanted)}"] = flow.export(wanted)
        except LookupError:
            continue
    return files
