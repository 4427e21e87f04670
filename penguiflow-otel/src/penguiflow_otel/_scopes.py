"""What is known of traces and node runs under way.

Rules: plain state. A scope is what spans stand in: a trace, or the run of a node. The scope that code runs in is in a
context variable of its own, beside OpenTelemetry's context: it says which node a nested flow runs in, and whether the
span that is current is still the one that was made current. What has ended holds on to nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, NamedTuple, Union

from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanContext


class NodeInfo(NamedTuple):
    """What is the same for all runs of a node.

    Attributes:
        node_id: The node's id over nested flows.
        outer: The id of the node that its flow runs in; empty if it runs in none.
        root: The name of the outermost flow.
        span_name: What its spans are called.
        attempt_name: What spans of its attempts are called.
        attributes: What the span of its first run says.
        place: What each of its measurements says: the flow and the node.
        completed: The same for a run that gave its output.
        convention: What the conventions have its spans and measurements say: of an agent or a tool.
        duration: The metric of the conventions that its runs count in besides: as an agent, as a tool, or none.
    """

    node_id: str
    outer: str
    root: str
    span_name: str
    attempt_name: str
    attributes: Mapping[str, Any]
    place: Mapping[str, str]
    completed: Mapping[str, str]
    convention: Mapping[str, str]
    duration: str | None


class TraceScope:
    """A trace under way.

    Attributes:
        key: The outermost flow and the trace's id.
        recording: Whether spans are made.
        context: OpenTelemetry's context with the trace's span in it.
        before: What was current before: OpenTelemetry's context and the scope.
        counts: How often each node has run, outside of nested flows.
        spans: How many spans of nodes and attempts were made.
        dropped: How many more there would have been.
        contexts: The spans of node runs, by invocation: a join links to those that it waited for.
        open: The node runs under way, by invocation.
        began: When the trace began (epoch seconds).
        active: How many node runs are under way.
        pending: How many messages wait, by flow: an event knows that of its own, which may run inside of others.
        chunks: How many chunks nodes have written, by the node's id.
        first_chunk: Seconds from the beginning to the first.
        retried: When further attempts of runs began, by invocation (epoch seconds).
    """

    __slots__ = (
        "active",
        "before",
        "began",
        "chunks",
        "context",
        "contexts",
        "counts",
        "dropped",
        "first_chunk",
        "key",
        "open",
        "pending",
        "recording",
        "retried",
        "span",
        "spans",
    )

    def __init__(self, key: tuple[str, str | None], span: Span | None, context: Context, began: float) -> None:
        self.key: tuple[str, str | None] = key
        self.span: Span | None = span
        self.recording: bool = span is not None and span.is_recording()
        self.context: Context = context
        self.before: tuple[Context, Scope | None] | None = None
        self.counts: dict[str, int] | None = None
        self.spans: int = 0
        self.dropped: int = 0
        self.contexts: dict[str, SpanContext] = {}
        self.open: dict[str, NodeScope] = {}
        self.began: float = began
        self.active: int = 0
        self.pending: dict[str, int] = {}
        self.chunks: dict[str, int] | None = None
        self.first_chunk: float | None = None
        self.retried: dict[str, float] | None = None


class NodeScope:
    """A node run under way.

    Attributes:
        info: The node.
        container: What it runs in: the trace or, in a nested flow, a node run.
        span: Its span; `None` if the trace has too many.
        own: OpenTelemetry's context with that span in it.
        context: The same or, with spans of attempts, that with the attempt's.
        attempt: The span of the attempt under way.
        counts: How often each node of the flows that run in it has run.
        began: When it began (epoch seconds).
        chunks: How many chunks it has written.
        first_chunk: Seconds from its beginning to the first.
    """

    __slots__ = (
        "attempt",
        "began",
        "chunks",
        "container",
        "context",
        "counts",
        "first_chunk",
        "info",
        "own",
        "span",
    )

    def __init__(self, info: NodeInfo, container: Scope, span: Span | None, own: Context, began: float) -> None:
        self.info: NodeInfo = info
        self.container: Scope = container
        self.span: Span | None = span
        self.own: Context = own
        self.context: Context = own
        self.attempt: Span | None = None
        self.counts: dict[str, int] | None = None
        self.began: float = began
        self.chunks: int = 0
        self.first_chunk: float | None = None


Scope = Union[TraceScope, NodeScope]  # noqa: UP007  # it is evaluated, and the names come later

current_scope: ContextVar[Scope | None] = ContextVar("penguiflow_otel_scope", default=None)


def container_of(trace: TraceScope, info: NodeInfo, parents: tuple[str, ...]) -> Scope:
    """What a run of this node of a nested flow runs in, as seen from where it starts.

    A flow inside a node starts in that node's own context, so the way up from the current scope comes by the node. A
    message that waited before its trace's first step starts in a context without a scope; then its parent knows.
    """
    scope = current_scope.get()
    while isinstance(scope, NodeScope):
        if scope.info.node_id == info.outer:
            return scope
        scope = scope.container
    callers = [trace.open[parent] for parent in parents if parent in trace.open]
    return next((caller for caller in callers if caller.info.node_id == info.outer), trace)
