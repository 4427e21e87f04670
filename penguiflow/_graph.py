"""The shape of a flow as others see it: immutable, ordered, public.

Rules: nodes stand in the order they were first named, edges in the order they were drawn, so that whatever a person
sees of a graph is the same text each time.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from penguiflow._node import JoinRole, Node, NodePolicy, RouterRole, SubflowRole, called
from penguiflow._registry import ModelRegistry
from penguiflow._types import UNKNOWN, spelled
from penguiflow._wiring import Wiring

MAX_PLAYBOOKS_DEEP = 50


@dataclass(frozen=True, slots=True)
class GraphNode:
    """A node as a diagram needs it.

    Attributes:
        name: Unique within its graph.
        node_id: Unique over nested graphs: `flow/subflow/node`.
        kind: `node`, `controller` (it has an edge to itself), `router`, `join` or `subflow`.
        policy: Its time limits, retries and concurrency.
        takes: The annotation of its message as text; empty if unknown.
        gives: The annotation of what it returns as text; empty if unknown.
        takes_type: The annotation of its message itself; `Any` if unknown.
        gives_type: The annotation of what it returns itself; `Any` if unknown.
        join_k: How many messages a join gathers.
        join_timeout_s: Seconds from its first message on, after which a join gives up.
        decided_by: Who decides where a router's message goes, in the order asked: its predicate (or `"type"`), its
            policy, the deployment's plugins.
        playbooks: The graphs of the playbooks that it declares. One that would stand inside itself has a name, and no
            nodes.
        subgraph: The graph of a subflow.
        doc: The first line of its function's docstring.
    """

    name: str
    node_id: str
    kind: str
    policy: NodePolicy
    takes: str = ""
    gives: str = ""
    join_k: int | None = None
    subgraph: Graph | None = None
    doc: str = ""
    join_timeout_s: float | None = None
    decided_by: tuple[str, ...] = ()
    playbooks: tuple[Graph, ...] = ()
    takes_type: Any = field(default=Any, hash=False, repr=False)
    gives_type: Any = field(default=Any, hash=False, repr=False)


@dataclass(frozen=True, slots=True)
class Edge:
    """A floe: messages go from `source` to `target` (names of nodes)."""

    source: str
    target: str


@dataclass(frozen=True, slots=True)
class Graph:
    """A flow's graph.

    Attributes:
        name: The flow's name.
        nodes: In the order they were first named.
        edges: In the order they were drawn, grouped by source.
        entries: The nodes that OpenSea leads to.
        exits: The nodes that lead to Rookery, having no successor but themselves.
    """

    name: str
    nodes: tuple[GraphNode, ...]
    edges: tuple[Edge, ...]
    entries: tuple[str, ...]
    exits: tuple[str, ...]

    def node(self, name: str) -> GraphNode:
        """The node of that name.

        Raises:
            KeyError: there is none; the text lists those there are.
        """
        for found in self.nodes:
            if found.name == name:
                return found
        raise KeyError(f"no node {name!r} in {self.name!r}: it has {', '.join(n.name for n in self.nodes)}")

    def successors(self, name: str) -> tuple[str, ...]:
        """The names of the nodes that `name` leads to, in the order drawn."""
        return tuple(edge.target for edge in self.edges if edge.source == name)

    def predecessors(self, name: str) -> tuple[str, ...]:
        """The names of the nodes that lead to `name`, in the order of the nodes."""
        return tuple(edge.source for edge in self.edges if edge.target == name)


class Around(NamedTuple):
    """What a nested flow's graph takes from the flow around it.

    Attributes:
        plugins: Those that decide where routers' messages go.
        planned: From a playbook to its plan and registry.
        within: The playbooks that it stands in, outermost first.
    """

    plugins: tuple[str, ...]
    planned: Callable[[Any], tuple[Any, ModelRegistry]]
    within: tuple[Any, ...] = ()


def described(wiring: Wiring, name: str, registry: ModelRegistry, prefix: str, around: Around) -> Graph:
    """The public graph of a wiring."""
    path = f"{prefix}{name}"
    return Graph(
        name,
        tuple(_described(wiring, i, path, registry, around) for i in range(len(wiring.nodes))),
        tuple(
            Edge(wiring.nodes[source].name, wiring.nodes[target].name)
            for source, targets in enumerate(wiring.successors)
            for target in targets
        ),
        tuple(wiring.nodes[i].name for i in wiring.entries),
        tuple(node.name for i, node in enumerate(wiring.nodes) if set(wiring.successors[i]) <= {i}),
    )


def _described(wiring: Wiring, place: int, path: str, registry: ModelRegistry, around: Around) -> GraphNode:
    node, role = wiring.nodes[place], wiring.nodes[place].role
    wants, gives = registry.models(node)
    func = node.func.func if isinstance(node.func, functools.partial) else node.func
    doc = (getattr(func, "__doc__", None) or "").strip().partition("\n")[0]
    inside = f"{path}/{node.name}/"
    return GraphNode(
        name=node.name,
        node_id=f"{path}/{node.name}",
        kind=_kind(node, place in wiring.successors[place]),
        policy=node.policy,
        takes=spelled(wants),
        gives=spelled(gives),
        join_k=role.k if isinstance(role, JoinRole) else None,
        subgraph=role.flow.plan.graph(ModelRegistry(), inside, around) if isinstance(role, SubflowRole) else None,
        doc=doc if role is None else "",
        join_timeout_s=role.timeout_s if isinstance(role, JoinRole) else None,
        decided_by=(*_deciders(role), *around.plugins) if isinstance(role, RouterRole) else (),
        playbooks=tuple(_playbook(playbook, inside, around) for playbook in node.playbooks),
        takes_type=Any if wants is UNKNOWN else wants,
        gives_type=Any if gives is UNKNOWN else gives,
    )


def _playbook(playbook: Any, prefix: str, around: Around) -> Graph:
    plan, registry = around.planned(playbook)
    if playbook in around.within:
        return Graph(plan.name, (), (), (), ())
    if len(around.within) >= MAX_PLAYBOOKS_DEEP:
        raise RecursionError(
            f"playbook {plan.name!r} stands more than {MAX_PLAYBOOKS_DEEP} playbooks deep: one that calls itself is "
            "declared by the same function each time, not by a new lambda"
        )
    graph: Graph = plan.graph(registry, prefix, around._replace(within=(*around.within, playbook)))
    return graph


def _deciders(role: RouterRole) -> Iterator[str]:
    if role.by_type or role.propose is not None:
        yield "type" if role.by_type else called(role.propose)
    if role.policy is not None:
        yield called(role.policy)


def _kind(node: Node, controls: bool) -> str:
    kinds: Mapping[type, str] = {JoinRole: "join", RouterRole: "router", SubflowRole: "subflow"}
    return kinds.get(type(node.role), "controller" if controls else "node")
