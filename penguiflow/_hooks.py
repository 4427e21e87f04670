"""The four hooks, the objects they are given, and the decisions they may return. All that a plugin imports.

Rules: each hook takes one object, so that it grows by fields and not by arguments. The objects are read-only by
convention. pluggy declares and orders; the kernel freezes the result and calls plain functions.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias, runtime_checkable

import pluggy

from penguiflow._errors import FlowError
from penguiflow._events import FlowEvent
from penguiflow._graph import Graph
from penguiflow._messages import Message
from penguiflow._node import Node

PROJECT = "penguiflow"

hookspec: pluggy.HookspecMarker = pluggy.HookspecMarker(PROJECT)
hookimpl: pluggy.HookimplMarker = pluggy.HookimplMarker(PROJECT)
"""Marks a method as the implementation of a hook: `@hookimpl def on_event(self, event): ...`."""

Targets: TypeAlias = str | Node | Iterable[str | Node] | None
"""What routing answers with: names or nodes; `()` to drop the message; `None` for no opinion."""


@dataclass(frozen=True, slots=True)
class RoutingRequest:
    """A router asks where its message should go.

    Attributes:
        message: The message, with its envelope.
        node_name: The router.
        proposed: The successors that stand proposed so far, in the order drawn.
        trace_id: The message's trace.
        flow_name: The flow that the router stands in.
    """

    message: Message[Any]
    node_name: str
    proposed: tuple[Node, ...]
    trace_id: str
    flow_name: str

    @property
    def proposed_names(self) -> tuple[str, ...]:
        """The names of the proposed successors."""
        return tuple(node.name for node in self.proposed)


@runtime_checkable
class RoutingPolicy(Protocol):
    """What a router's `policy=` is: an object that may change what the router proposes."""

    def select(self, request: RoutingRequest) -> Targets | Awaitable[Targets]:
        """Names or nodes among the router's successors; `()` drops the message; `None` keeps the proposal."""
        ...


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """Somebody wants a flow's graph as text.

    Attributes:
        graph: The graph.
        format: `"mermaid"`, `"dot"`, ...; an exporter that doesn't know it returns `None`.
        options: What the caller gave besides.
    """

    graph: Graph
    format: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Retry:
    """Run the node once more, after `after_s` seconds."""

    after_s: float = 0.0

    def __post_init__(self) -> None:
        if not (isinstance(self.after_s, int | float) and self.after_s >= 0):
            raise ValueError(f"Retry(after_s=...) is a number of seconds from 0 on, not {self.after_s!r}")


@dataclass(frozen=True, slots=True)
class Replace:
    """Go on as if the node had returned `payload`."""

    payload: Any


@dataclass(frozen=True, slots=True)
class Emit:
    """End this branch by delivering the error itself at Rookery; the other branches go on."""


@dataclass(frozen=True, slots=True)
class Drop:
    """End this branch with no output; the other branches go on."""


ErrorDecision: TypeAlias = Retry | Replace | Emit | Drop


class HookSpecs:
    """What a plugin may implement."""

    @hookspec
    def on_event(self, event: FlowEvent) -> None:
        """Watch. A plain function, called in the node's own task: be quick, and never block. The result is ignored."""

    @hookspec
    def resolve_route(self, request: RoutingRequest) -> Targets | Awaitable[Targets]:
        """Decide where a router's message goes, after its own predicate and policy. May be async. The first answer
        that isn't `None` wins; `()` drops the message. An exception fails that message with `ROUTING`.
        """

    @hookspec
    def on_error(self, error: FlowError) -> ErrorDecision | Awaitable[ErrorDecision | None] | None:
        """Decide what follows a node's final failure. May be async. The first answer that isn't `None` wins. A failure
        in a playbook or subflow comes up again, as one of the node that it runs in, unless it was dealt with inside.
        """

    @hookspec
    def export_graph(self, request: ExportRequest) -> str | bytes | None:
        """Write a graph in `request.format`. The first answer that isn't `None` wins."""


HOOKS = ("on_event", "resolve_route", "on_error", "export_graph")
ASYNC_HOOKS = ("resolve_route", "on_error")
