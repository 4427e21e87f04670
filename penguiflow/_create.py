"""`create`: from nodes and edges to a flow. Rules: whatever is wrong is said here, before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from penguiflow._dispatch import Dispatch
from penguiflow._errors import GraphError
from penguiflow._events import FlowEvent
from penguiflow._flow import PenguiFlow
from penguiflow._host import plugged
from penguiflow._node import Adjacency, Node, RouterRole
from penguiflow._plan import Plan, Resources
from penguiflow._registry import ModelRegistry
from penguiflow._wiring import wire

DEFAULT_QUEUE_MAXSIZE = 64
DEFAULT_MAX_TRACES = 1024


def create(
    *adjacencies: Adjacency | Node | tuple[Node, Sequence[Node]],
    name: str = "flow",
    queue_maxsize: int = DEFAULT_QUEUE_MAXSIZE,
    max_traces: int = DEFAULT_MAX_TRACES,
    allow_cycles: bool = False,
    emit_errors_to_rookery: bool = False,
    plugins: Sequence[Any] = (),
    on_event: Callable[[FlowEvent], None] | None = None,
    resources: Resources | None = None,
) -> PenguiFlow:
    """Make a flow of nodes and edges: `create(a.to(b, c), b.to(d), c.to(d))`.

    Args:
        adjacencies: What `a.to(b)` returns, or a node that stands alone.
        name: The flow's name, as in events and diagrams.
        queue_maxsize: How many messages each floe of a trace, each stream and Rookery hold.
        max_traces: How many traces may be in flight. One that a node asks for runs on the place of the trace it is in.
        allow_cycles: Allow every cycle, whatever its nodes say.
        emit_errors_to_rookery: Deliver the errors of emitted traces at Rookery instead of only logging them.
        plugins: Objects with methods marked by `hookimpl`, and names of plugins that are installed. What is installed
            as a plugin loads by itself, unless the deployment says otherwise; a policy loads only when it is named.
        on_event: A function that sees every event.
        resources: A function that returns an async context manager; entered when the flow starts, left when it has
            stopped, its value at `ctx.resources`.

    Raises:
        GraphError: the graph can't run; the text lists every problem. `CycleError` if one is a forbidden cycle.
        PluginError: a plugin that was named or required can't be used, or a setting of plugins is wrong.
        TypeError: a plugin, or an argument, is of the wrong kind.
        ValueError: a limit below 1, or an empty name.
    """
    for label, value in (("queue_maxsize", queue_maxsize), ("max_traces", max_traces)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{label} is a whole number from 1 on, not {value!r}")
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f"a flow's name is a non-empty string, not {name!r}")
    if resources is not None and (not callable(resources) or hasattr(resources, "__aenter__")):
        raise TypeError("resources= takes a function that returns an async context manager, not the manager itself")
    if not isinstance(plugins, Sequence) or isinstance(plugins, str):
        raise TypeError(f"plugins= takes a list of plugin objects and names, not {plugins!r:.80}: write plugins=[...]")
    wiring = wire(adjacencies, allow_cycles)
    chosen = plugged(plugins, on_event)
    plan = Plan(
        name,
        wiring,
        chosen,
        Dispatch(chosen.tiers, chosen.settings.decision_timeout_s, chosen.settings.quarantine_after),
        queue_maxsize,
        max_traces,
        emit_errors_to_rookery,
        resources,
    )
    problems = _objections(plan)
    if problems:
        raise GraphError(problems)
    return PenguiFlow(plan)


def _objections(plan: Plan) -> list[str]:
    """What those who route, and look at graphs, have against this one."""
    policies: dict[int, tuple[Any, list[str]]] = {}  # each once, with the routers that ask it
    for node in plan.wiring.nodes:
        if isinstance(node.role, RouterRole) and hasattr(node.role.policy, "check_graph"):
            policies.setdefault(id(node.role.policy), (node.role.policy, []))[1].append(node.name)
    asked: list[tuple[Any, tuple[str, ...] | None]] = []
    asked += [(policy.check_graph, tuple(names)) for policy, names in policies.values()]
    owners = [impl.owner for impl in plan.dispatch.impls["resolve_route"]]
    asked += [(owner.check_graph, None) for owner in owners if hasattr(owner, "check_graph")]
    if not asked:
        return []
    graph = plan.graph(ModelRegistry())
    return list(dict.fromkeys(str(problem) for check, names in asked for problem in check(graph, names)))
