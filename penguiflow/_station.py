"""A node as it stands in one flow: how it is called, what is checked, and where its output goes.

Rules: everything that the signature, the policy and the graph decide is decided here, once, at build time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from penguiflow._binding import binder, caller, checker, quick_outputs, revalidates
from penguiflow._events import Place
from penguiflow._node import JoinRole, Node, NodePolicy, RouterRole, SubflowRole
from penguiflow._types import adapter, admits_chunk, is_message, members, only_chunks, spelled

Check = Callable[[Any], Any]
Call = Callable[[Any], Any]


class Station:
    """A node in its place.

    Attributes:
        bind: From a parcel, the argument that the node's function takes; raises `FlowError` if it doesn't fit.
        call: From a parcel, the awaitable (or async generator) that runs the node once.
        out_classes: The classes that the node promises, where their instances need no check and go the common way.
        sole: The one node that every common output goes to, if there is just one.
        leaf: Whether every output leaves at Rookery.
        check: What the node returned, checked; `None` where there is nothing to check.
        promises: What the node's annotation says that it returns, where that is never `None`.
        place: Where it is, for events.
        plain: Whether a run needs no limit, no time-out, no role: the quick way.
    """

    __slots__ = (
        "bind",
        "call",
        "check",
        "chunk_targets",
        "controller",
        "cycle",
        "generates",
        "index",
        "join",
        "lanes",
        "leaf",
        "limit",
        "name",
        "node",
        "node_id",
        "out_classes",
        "place",
        "plain",
        "policy",
        "predecessors",
        "promises",
        "router",
        "sole",
        "subflow",
        "successors",
        "targets",
        "timeout_s",
        "wants",
    )

    def __init__(self, node: Node[..., Any], index: int, flow_name: str, node_id: str, wants: Any, gives: Any) -> None:
        policy = node.policy
        self.node: Node[..., Any] = node
        self.index: int = index
        self.name: str = node.name
        self.node_id: str = node_id
        self.place: Place = Place(flow_name, node.name, node_id)
        self.policy: NodePolicy = policy
        self.lanes: int = policy.per_trace_concurrency
        self.limit: int | None = policy.max_concurrency
        self.timeout_s: float | None = policy.timeout_s
        self.wants: Any = wants
        role = node.role
        self.join: JoinRole | None = role if isinstance(role, JoinRole) else None
        self.router: RouterRole | None = role if isinstance(role, RouterRole) else None
        self.subflow: SubflowRole | None = role if isinstance(role, SubflowRole) else None
        self.generates: bool = node.shape.generates
        special = self.router is not None or self.subflow is not None or self.generates
        self.plain: bool = not special and self.limit is None and self.timeout_s is None
        self.bind: Call = binder(self, wants)
        own = self.subflow is not None and gives is node.shape.gives  # what leaves a flow has been checked in it
        self.check: Check | None = None if own else checker(self, gives)
        self.call: Call = caller(node, self.bind, self._quick_class(wants))
        self.out_classes: frozenset[type] = quick_outputs(gives) if self.check is not None else frozenset()
        surprised = self.check is not None and role is None and not self.generates
        self.promises: str = spelled(gives) if surprised and type(None) not in members(gives) else ""
        self.cycle: int | None = None
        self.controller: bool = False
        self.successors: tuple[Station, ...] = ()
        self.predecessors: tuple[int, ...] = ()
        self.targets: tuple[Station, ...] = ()
        self.chunk_targets: tuple[Station, ...] = ()
        self.sole: Station | None = None
        self.leaf: bool = False

    def connect(self, successors: tuple[Station, ...], predecessors: tuple[int, ...], cycle: int | None) -> None:
        """Say where the node's output goes."""
        self.successors = successors
        self.predecessors = predecessors
        self.cycle = cycle
        self.controller = self in successors
        self.targets = tuple(s for s in successors if not only_chunks(s.wants))
        others = tuple(s for s in self.targets if s is not self)
        self.leaf = not self.targets and not self.controller and self.router is None
        chain = len(others) == 1 and not self.controller and self.router is None and others[0].join is None
        self.sole = others[0] if chain else None

    def _quick_class(self, wants: Any) -> type | None:
        """The class whose instances need no check at all, if there is one."""
        if self.policy.validate in ("out", "none") or not isinstance(wants, type) or is_message(wants):
            return None
        if wants is object or adapter(wants) is None:
            return None
        return None if revalidates(wants) else wants

    def target(self, name: str) -> Station | None:
        """The successor of that name."""
        return next((s for s in self.successors if s.name == name), None)

    def connect_chunks(self) -> None:
        """Say where its chunks go, once every node is connected."""
        self.chunk_targets = tuple(s for s in self.successors if s is not self and s.takes_chunks())

    def takes_chunks(self, seen: tuple[Station, ...] = ()) -> bool:
        """Whether stream chunks go to it. A join gathers outputs, not the pieces of one; a router passes on what its
        successors take.
        """
        if self.join is not None or not admits_chunk(self.wants):
            return False
        if self.router is None:
            return True
        return any(s.takes_chunks((*seen, self)) for s in self.successors if s is not self and s not in seen)

    def __repr__(self) -> str:
        return f"<Station {self.node_id}>"
