"""What is said of a node or flow: a few short lines to stand below its name, and everything for who asks.

Rules: what is as usual isn't said. Whatever people typed is made visible first.
"""

from __future__ import annotations

from collections.abc import Iterator

from penguiflow import Graph, GraphNode, NodePolicy
from penguiflow_viz.text import elided, visible

_USUAL = NodePolicy()


def shown(name: str) -> str:
    """A name as it stands in a drawing."""
    return elided(visible(name))


def details(node: GraphNode, inputs: int) -> Iterator[str]:
    """Short lines: a join's k, who decides a router, time limits, retries and concurrency."""
    if node.join_k is not None:
        yield f"k = {node.join_k} of {inputs}"
    if node.decided_by:
        yield f"asks {', '.join(map(shown, node.decided_by))}"
    marks = [*_limits(node), *_runs(node.policy)]
    if marks:
        yield " · ".join(marks)


def _limits(node: GraphNode) -> Iterator[str]:
    limit = node.policy.timeout_s if node.join_timeout_s is None else node.join_timeout_s
    if limit is not None:
        yield f"≤ {limit:g} s"
    if node.policy.max_retries:
        yield _counted(node.policy.max_retries, "retry", "retries")


def _runs(policy: NodePolicy) -> Iterator[str]:
    if policy.max_concurrency is not None:
        yield f"{policy.max_concurrency} at once"
    if policy.per_trace_concurrency != 1:
        yield f"{policy.per_trace_concurrency} per trace"


def tooltip(node: GraphNode, inputs: int, cycle: int | None) -> Iterator[str]:
    """All that is known of a node, a line each."""
    yield f"{visible(node.name)} ({node.kind})"
    if node.doc:
        yield visible(node.doc)
    yield from _types(node)
    if node.join_k is not None:
        yield f"gathers {node.join_k} messages of {_counted(inputs, 'predecessor', 'predecessors')}"
    if node.join_timeout_s is not None:
        yield f"gives up after {node.join_timeout_s:g} s"
    if node.kind == "router":
        yield f"decided by {', '.join(map(visible, node.decided_by)) or 'nobody: all successors'}"
    if node.playbooks:
        yield f"calls {', '.join(visible(playbook.name) for playbook in node.playbooks)}"
    if node.kind == "controller":
        yield "runs in a loop, until it returns something else than a WM"
    elif cycle is not None:
        yield f"on cycle {cycle}"
    yield from _policy(node.policy)


def _policy(policy: NodePolicy) -> Iterator[str]:
    if policy.timeout_s is not None:
        yield f"time limit {policy.timeout_s:g} s an attempt"
    if policy.max_retries:
        yield f"{_counted(policy.max_retries, 'retry', 'retries')} on {_exceptions(policy)}, {_backoff(policy)}"
    if policy.retry_after_emit:
        yield "retries after it has emitted, too"
    if policy.max_concurrency is not None:
        yield f"{_counted(policy.max_concurrency, 'run', 'runs')} at a time over all traces"
    if policy.per_trace_concurrency != 1:
        yield f"{policy.per_trace_concurrency} runs at a time within a trace"
    if policy.validate != _USUAL.validate:
        yield f"validates {policy.validate}"


def _exceptions(policy: NodePolicy) -> str:
    several = policy.retry_on if isinstance(policy.retry_on, tuple) else (policy.retry_on,)
    return " or ".join(visible(cls.__name__) for cls in several)


def _backoff(policy: NodePolicy) -> str:
    longest = "" if policy.max_backoff is None else f", at most {policy.max_backoff:g} s"
    jitter = f", jitter {policy.jitter:g}" if policy.jitter else ""
    return f"after {policy.backoff_base:g} s, then times {policy.backoff_mult:g}{longest}{jitter}"


def _types(node: GraphNode) -> Iterator[str]:
    if node.takes:
        yield f"takes {visible(node.takes)}"
    if node.gives:
        yield f"gives {visible(node.gives)}"


def flow_tooltip(graph: Graph, kind: str, node: GraphNode | None) -> Iterator[str]:
    """All that is known of a flow; `node` is the one that a subflow stands for."""
    yield f"{visible(graph.name if node is None else node.name)} ({kind})"
    if node is not None:
        yield f"flow {visible(graph.name)}"
        yield from _types(node)
    yield f"{_counted(len(graph.nodes), 'node', 'nodes')}, {_counted(len(graph.edges), 'edge', 'edges')}"


def _counted(count: int, one: str, several: str) -> str:
    return f"{count} {one if count == 1 else several}"
