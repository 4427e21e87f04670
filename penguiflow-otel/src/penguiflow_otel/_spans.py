"""Begins and ends spans, and makes them current.

Rules: a trace's span is the child of whatever is current where the trace begins or, where nothing is, of the context
that the message carries; with both, it links to the latter. A node's span is the child of what the node runs in, never
of the node before it. It is current while the node runs: afterwards its container is, but only where the node's span
still is what was made current, so an end that is told from elsewhere disturbs nobody. Contexts are set, not reset by
their tokens: a token is of no use in a copy of its context, and whatever a node's own code has left attached goes with
the run. A trace that isn't sampled has no spans of nodes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opentelemetry.context import Context, attach, get_current
from opentelemetry.trace import Link, Span, SpanContext, Status, StatusCode, Tracer, set_span_in_context

from penguiflow import FlowError, FlowEvent, Message
from penguiflow_otel import _names as names
from penguiflow_otel._errors import cause, class_name, error_type, exception_event, text_of
from penguiflow_otel._options import Options
from penguiflow_otel._payloads import Payloads
from penguiflow_otel._propagation import carried_if_any, carries, span_context
from penguiflow_otel._scopes import NodeInfo, NodeScope, TraceScope, container_of, current_scope
from penguiflow_otel._texts import clean

CANCELLED: Mapping[str, Any] = {names.OUTCOME: "cancelled"}


class Spans:
    """The spans of one flow.

    Args:
        tracer: What makes them.
        options: Which, and what they say.
    """

    def __init__(self, tracer: Tracer, options: Options) -> None:
        self._tracer: Tracer = tracer
        self._attempts: bool = options.attempts
        self._most: int = options.max_spans
        self._messages: bool = options.exception_messages
        self._workflow_span: str = options.workflow_span
        self._flows: dict[str, tuple[str, dict[str, Any]]] = {}
        self._payloads: Payloads | None = Payloads(options.redact, options.payload_limit) if options.payloads else None

    # traces

    def begin_trace(self, event: FlowEvent) -> TraceScope:
        """Begin a trace's span, and make it current."""
        before = get_current()
        message = event.message
        base, links = (before, None) if message is None else _parent(message, before)
        name, attributes = self._of_trace(event, message)
        span = self._tracer.start_span(name, base, attributes=attributes, links=links)
        context = set_span_in_context(span, base)
        trace = TraceScope((event.flow_name, event.trace_id), span, context, event.ts)
        trace.before = before, current_scope.get()
        attach(context)
        current_scope.set(trace)
        return trace

    def _of_trace(self, event: FlowEvent, message: Message[Any] | None) -> tuple[str, dict[str, Any]]:
        """The name and the attributes of a trace's span."""
        flow = event.flow_name
        if flow not in self._flows:
            told = clean(flow)
            named = {names.GEN_AI_AGENT: told, names.GEN_AI_WORKFLOW: told, names.FLOW: told}
            static = {names.GEN_AI_OPERATION: names.INVOKE_WORKFLOW, **named}
            self._flows[flow] = clean(self._workflow_span.format(flow=told, node="")), static
        name, static = self._flows[flow]
        attributes = {**static, names.TRACE: event.trace_id, names.MODE: event.extra["mode"]}
        if message is None:
            return name, attributes
        headers = message.headers
        attributes[names.TENANT] = clean(headers.tenant)
        if headers.topic is not None:
            attributes[names.TOPIC] = clean(headers.topic)
        if headers.priority:
            attributes[names.PRIORITY] = headers.priority
        if self._payloads is not None:
            attributes[names.PAYLOAD] = self._payloads.text(message.payload)
        return name, attributes

    def end_trace(self, event: FlowEvent, trace: TraceScope) -> None:
        """End a trace's span, and what is left in it."""
        self._end_nodes(trace)
        span = trace.span
        if trace.recording and span is not None:
            span.set_attributes(_outcome(event, trace))
            if event.outcome in ("failed", "expired"):
                self._fail(span, event.error)
        if span is not None:
            span.end()
        before, trace.before = trace.before, None
        if before is not None and current_scope.get() is trace:
            attach(before[0])
            current_scope.set(before[1])

    def abandon(self, trace: TraceScope) -> None:
        """End the spans of a trace whose end will never be told."""
        self._end_nodes(trace)
        if trace.span is not None:
            trace.span.end()

    def _end_nodes(self, trace: TraceScope) -> None:
        for scope in list(trace.open.values()):
            self._end(scope, CANCELLED)
        trace.open.clear()

    # node runs

    def begin_node(self, event: FlowEvent, info: NodeInfo, trace: TraceScope) -> NodeScope:
        """Begin the span of a node run, and make it current."""
        parents = event.parent_invocation_ids
        container = container_of(trace, info, parents) if info.outer else trace
        counts = container.counts
        if counts is None:
            counts = container.counts = {}
        iteration = counts[info.node_id] = counts.get(info.node_id, 0) + 1
        invocation = event.invocation_id or ""
        span, context = None, container.context
        if self._room(trace):
            attributes = info.attributes
            if iteration > 1 or event.queue_wait_ms or self._payloads is not None:
                attributes = self._of_run(event, info, iteration)
            links = _links(trace, parents) if len(parents) > 1 else None
            span = self._tracer.start_span(info.span_name, context, attributes=attributes, links=links)
            context = set_span_in_context(span, context)
            trace.contexts[invocation] = span.get_span_context()
        scope = trace.open[invocation] = NodeScope(info, container, span, context, event.ts)
        if self._attempts:
            self.begin_attempt(event, scope, trace)
        attach(scope.context)
        current_scope.set(scope)
        return scope

    def _of_run(self, event: FlowEvent, info: NodeInfo, iteration: int) -> dict[str, Any]:
        """The attributes of a run that has more to say than the first one of its node."""
        attributes = {**info.attributes, names.ITERATION: iteration}
        if event.queue_wait_ms:
            attributes[names.WAIT] = event.queue_wait_ms / 1e3
        if self._payloads is not None and event.message is not None:
            attributes[names.PAYLOAD] = self._payloads.text(event.message.payload)
        return attributes

    def _room(self, trace: TraceScope) -> bool:
        """Whether the trace may have another span. Either way it is counted."""
        if trace.spans < self._most:
            trace.spans += 1
            return True
        trace.dropped += 1
        return False

    def end_node(self, event: FlowEvent, scope: NodeScope) -> None:
        """End the span of a node run, and make its container's current again."""
        kind, span = event.event_type, scope.span
        if span is None or kind == "node_success":
            self._end(scope, None)
        elif kind == "node_cancelled":
            self._end(scope, CANCELLED)
        else:
            outcome = "expired" if kind == "node_expired" else "failed"
            span.set_attribute(names.OUTCOME, outcome)
            self._fail(span, event.error, raised=_raised_here(event))
            if scope.attempt is not None:  # it didn't fail by itself: time or budget ran out
                self._fail(scope.attempt, event.error)
            self._end(scope, None)

    def _end(self, scope: NodeScope, attributes: Mapping[str, Any] | None) -> None:
        span, container = scope.span, scope.container
        if scope.attempt is not None:
            if attributes is not None:
                scope.attempt.set_attributes(attributes)
            scope.attempt.end()
            scope.attempt = None
        if span is not None:
            if scope.chunks:
                span.set_attributes({names.CHUNKS: scope.chunks, names.FIRST_CHUNK: scope.first_chunk or 0.0})
            if attributes is not None:
                span.set_attributes(attributes)
            span.end()
        if current_scope.get() is scope:
            attach(container.context)
            current_scope.set(container)

    # attempts

    def begin_attempt(self, event: FlowEvent, scope: NodeScope, trace: TraceScope) -> None:
        """Begin the span of an attempt, and make it current."""
        if scope.span is None or not self._room(trace):
            return
        attributes: dict[str, Any] = {**scope.info.place, names.ATTEMPT: event.attempt}
        scope.attempt = self._tracer.start_span(scope.info.attempt_name, scope.own, attributes=attributes)
        scope.context = set_span_in_context(scope.attempt, scope.own)
        if current_scope.get() is scope:
            attach(scope.context)

    def fail_attempt(self, event: FlowEvent, scope: NodeScope) -> None:
        """An attempt has failed: its own span says so, the run's doesn't."""
        span, scope.attempt = scope.attempt, None
        if span is not None:
            self._fail(span, event.error)
            span.end()
            scope.context = scope.own
            if current_scope.get() is scope:
                attach(scope.own)

    def note_retry(self, event: FlowEvent, scope: NodeScope) -> None:
        """Another attempt follows: an event on the run's span."""
        if scope.span is not None:
            noted = {
                names.ATTEMPT: event.attempt,
                names.NEXT_ATTEMPT: event.extra["next_attempt"],
                names.BACKOFF: event.extra["delay_s"],
                names.ERROR_TYPE: error_type(event.error),
            }
            scope.span.add_event(names.RETRY, noted)

    def note_route(self, event: FlowEvent, scope: NodeScope) -> None:
        """A router has chosen: its span says whom, and who decided it."""
        if scope.span is not None:
            targets = [clean(str(target)) for target in event.extra["targets"]]
            scope.span.set_attributes({names.TARGETS: targets, names.DECIDED_BY: event.extra["decided_by"]})

    # errors

    def _fail(self, span: Span, error: BaseException | None, raised: bool = False) -> None:
        """Mark a span as failed; with `raised`, the exception comes from here, and is shown here."""
        kind = error_type(error)
        span.set_attribute(names.ERROR_TYPE, kind)
        if error is None:
            span.set_status(Status(StatusCode.ERROR))
            return
        origin = cause(error)
        text = text_of(origin) if self._messages else ""
        if origin is not error and text:
            text = f"{class_name(origin)}: {text}"
        span.set_status(Status(StatusCode.ERROR, text or None))
        if raised:
            span.add_event(names.EXCEPTION, exception_event(origin, self._messages))


def _raised_here(event: FlowEvent) -> bool:
    """Whether it was this node that raised, and not one inside it."""
    error = event.error
    return isinstance(error, FlowError) and error.original_exc is not None and error.node_id == event.node_id


def _parent(message: Message[Any], current: Context) -> tuple[Context, list[Link] | None]:
    """What a trace's span is a child of, and what it links to."""
    meta = message.meta
    if not meta or not carries(meta):
        return current, None
    here = span_context(current)
    if here is None:
        return carried_if_any(meta, current), None
    there = span_context(carried_if_any(meta, Context()))
    return current, None if there is None or there.span_id == here.span_id else [Link(there)]


def _links(trace: TraceScope, parents: tuple[str, ...]) -> list[Link]:
    """To each run whose output is gathered here."""
    known: dict[str, SpanContext] = {}
    for parent in parents:
        if parent in trace.contexts:
            known[parent] = trace.contexts[parent]
    return [Link(context) for context in known.values()]


def _outcome(event: FlowEvent, trace: TraceScope) -> dict[str, Any]:
    extra = event.extra
    said: dict[str, Any] = {names.OUTCOME: event.outcome or "", names.HOPS: extra["hops"]}
    if extra["tokens"]:
        said[names.TOKENS] = extra["tokens"]
    if extra["cost"]:
        said[names.COST] = extra["cost"]
    if trace.chunks:
        said[names.CHUNKS] = sum(trace.chunks.values())
        said[names.FIRST_CHUNK] = trace.first_chunk or 0.0
    if trace.dropped:
        said[names.SPANS_DROPPED] = trace.dropped
    return said
