"""The plugin: takes a flow's events to spans and metrics.

Rules: what the process has no SDK for is looked for once a trace, and nothing else is done for it. What ends is
forgotten at once: the end of a trace is the last that is told of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from weakref import WeakKeyDictionary

from opentelemetry import metrics, trace
from opentelemetry.context import get_current

from penguiflow import FlowEvent, PenguiFlow, hookimpl
from penguiflow_otel import _names as names
from penguiflow_otel._errors import error_type
from penguiflow_otel._infos import Infos
from penguiflow_otel._logs import LogStamps
from penguiflow_otel._metrics import Instruments
from penguiflow_otel._options import Options
from penguiflow_otel._scopes import NodeInfo, NodeScope, TraceScope
from penguiflow_otel._spans import Spans
from penguiflow_otel._texts import clean
from penguiflow_otel._version import __version__

SCOPE = "penguiflow_otel"

Handler = Callable[[FlowEvent], None]


class Telemetry:
    """Spans, metrics and log correlation of a flow. Flows may share one.

    Args:
        options: What is wanted; by default all but payloads and spans of attempts.
        discovered: Whether it was found installed, and not given to `create`. It stands back for one that was given.
    """

    name = "otel"
    api_version = "2"
    event_types = (
        "trace_start",
        "trace_finish",
        "node_start",
        "node_success",
        "node_failed",
        "node_cancelled",
        "node_expired",
        "node_error",
        "node_timeout",
        "node_retry",
        "node_attempt",
        "route_decided",
        "route_dropped",
        "stream_chunk",
    )

    def __init__(self, options: Options | None = None, *, discovered: bool = False) -> None:
        self._options: Options = options or Options()
        self._discovered: bool = discovered
        self._infos: Infos = Infos(self._options)
        self._traces: dict[tuple[str, str | None], TraceScope] = {}
        self._spans: Spans | None = None
        self._instruments: Instruments | None = None
        self._stamps: LogStamps = LogStamps()
        self._flows: WeakKeyDictionary[PenguiFlow, asyncio.AbstractEventLoop] = WeakKeyDictionary()  # that have started
        self._looked_at: tuple[object, object] = (None, None)
        self._idle: dict[str, Handler] = {"trace_start": self._look}
        self._busy: dict[str, Handler] = {
            "trace_start": self._trace_start,
            "trace_finish": self._trace_finish,
            "node_start": self._node_start,
            "node_success": self._node_end,
            "node_failed": self._node_end,
            "node_cancelled": self._node_end,
            "node_expired": self._node_end,
            "node_error": self._node_error,
            "node_timeout": self._node_error,
            "node_retry": self._node_retry,
            "node_attempt": self._node_attempt,
            "route_decided": self._route_decided,
            "route_dropped": self._route_dropped,
            "stream_chunk": self._stream_chunk,
        }
        self._handlers: dict[str, Handler] = self._idle

    async def start(self, flow: PenguiFlow) -> None:
        """Find the SDK, if there is one."""
        given = [record for record in flow.plugins if record.group is None and record.name == self.name]
        if self._discovered and given:
            self._handlers = {}
            return
        self._flows[flow] = asyncio.get_running_loop()
        self._bind()

    async def stop(self, flow: PenguiFlow) -> None:
        """Give back what belongs to the process. What providers hold is theirs to send."""
        self._flows.pop(flow, None)
        # one that nobody has stopped ended with its loop
        others = {other.name for other, loop in list(self._flows.items()) if not loop.is_closed()}
        if not others:
            self._stamps.end()
        # nothing, unless the plugin was put in quarantine
        left = [scope for scope in list(self._traces.values()) if scope.key[0] not in others]
        for scope in left:
            del self._traces[scope.key]
            if self._spans is not None:
                self._spans.abandon(scope)

    @hookimpl
    def on_event(self, event: FlowEvent) -> None:
        """Take an event to where it belongs."""
        handler = self._handlers.get(event.event_type)
        if handler is not None:
            handler(event)

    def under_way(self) -> Mapping[str, tuple[int, int, int]]:
        """Traces, node runs and waiting messages, by flow. Called from the threads that collect metrics."""
        sums: dict[str, tuple[int, int, int]] = {}
        for scope in list(self._traces.values()):
            flow = clean(scope.key[0])
            traces, nodes, pending = sums.get(flow, (0, 0, 0))
            waiting = sum(list(scope.pending.values()))
            sums[flow] = (traces + 1, nodes + scope.active, pending + waiting)
        return sums

    # binding

    def _bind(self) -> None:
        """Take up the providers, those given or those that the application has set."""
        options = self._options
        self._looked_at = trace.get_tracer_provider(), metrics.get_meter_provider()
        self._spans = self._instruments = None
        if options.spans:
            provider = options.tracer_provider or trace.get_tracer_provider()
            tracer = provider.get_tracer(SCOPE, __version__)
            if not (_is_of_the_api(provider) or isinstance(tracer, trace.NoOpTracer)):
                self._spans = Spans(tracer, options)
                if options.logs:
                    self._stamps.begin()
        if options.metrics:
            meters = options.meter_provider or metrics.get_meter_provider()
            meter = meters.get_meter(SCOPE, __version__)
            if not (_is_of_the_api(meters) or isinstance(meter, metrics.NoOpMeter)):
                self._instruments = Instruments(meters, meter, self)
        if self._spans is None and self._instruments is None:
            self._handlers = self._idle
        elif (self._spans is None and options.spans) or (self._instruments is None and options.metrics):
            self._handlers = {**self._busy, **self._idle}
        else:
            self._handlers = self._busy

    def _look(self, event: FlowEvent) -> None:
        """Whether there is an SDK now, or the half of it that was missing."""
        spans, meters = self._looked_at
        if trace.get_tracer_provider() is not spans or metrics.get_meter_provider() is not meters:
            self._bind()
        if self._handlers is not self._idle:
            self._trace_start(event)

    # traces

    def _trace_start(self, event: FlowEvent) -> None:
        spans = self._spans
        scope = (
            TraceScope((event.flow_name, event.trace_id), None, get_current(), event.ts)
            if spans is None
            else spans.begin_trace(event)
        )
        self._traces[scope.key] = scope

    def _trace_finish(self, event: FlowEvent) -> None:
        scope = self._traces.pop((event.flow_name, event.trace_id), None)
        if scope is None:
            return
        if self._spans is not None:
            self._spans.end_trace(event, scope)
        if self._instruments is not None:
            self._instruments.measure_trace(event, scope, self._infos)

    # node runs

    def _node_start(self, event: FlowEvent) -> None:
        info = self._infos.get(event.node_id) or self._infos.of(event)
        scope = self._traces.get((info.root, event.trace_id))
        if scope is None:
            return  # it began before anybody looked
        scope.active += 1
        pending = event.trace_pending
        if pending or scope.pending:
            scope.pending[event.flow_name] = pending
        context = scope.context
        if scope.recording and self._spans is not None:
            context = self._spans.begin_node(event, info, scope).own
        if event.queue_wait_ms and self._instruments is not None:
            self._instruments.wait.record(event.queue_wait_ms / 1e3, info.place, context)

    def _node_end(self, event: FlowEvent) -> None:
        info = self._infos.get(event.node_id) or self._infos.of(event)
        scope = self._traces.get((info.root, event.trace_id))
        if scope is None:
            return
        scope.active -= 1
        pending = event.trace_pending
        if pending or scope.pending:
            scope.pending[event.flow_name] = pending
        run = scope.open.pop(event.invocation_id or "", None)
        if run is not None and self._spans is not None:
            self._spans.end_node(event, run)
        if self._instruments is not None:
            self._instruments.measure_run(event, info, scope, scope.context if run is None else run.own)

    # attempts

    def _under_way(self, event: FlowEvent) -> tuple[NodeInfo, TraceScope | None, NodeScope | None]:
        """The node, the trace and, if it has a span, the run that an event is about."""
        info = self._infos.of(event)
        scope = self._traces.get((info.root, event.trace_id))
        return info, scope, None if scope is None else scope.open.get(event.invocation_id or "")

    def _node_error(self, event: FlowEvent) -> None:
        info, scope, run = self._under_way(event)
        if scope is None:
            return
        if scope.retried:
            scope.retried.pop(event.invocation_id or "", None)
        context = scope.context if run is None else run.context
        if run is not None and self._spans is not None:
            self._spans.fail_attempt(event, run)
        if self._instruments is not None:
            attributes = {**info.place, names.OUTCOME: "failed", names.ERROR_TYPE: error_type(event.error)}
            self._instruments.attempt.record((event.latency_ms or 0.0) / 1e3, attributes, context)

    def _node_retry(self, event: FlowEvent) -> None:
        info, scope, run = self._under_way(event)
        if scope is None:
            return
        if self._instruments is not None:
            attributes = {**info.place, names.ERROR_TYPE: error_type(event.error)}
            self._instruments.retries.add(1, attributes, scope.context if run is None else run.own)
        if run is not None and self._spans is not None:
            self._spans.note_retry(event, run)

    def _node_attempt(self, event: FlowEvent) -> None:
        _, scope, run = self._under_way(event)
        if scope is None:
            return
        if scope.retried is None:
            scope.retried = {}
        scope.retried[event.invocation_id or ""] = event.ts
        if run is not None and self._spans is not None and self._options.attempts:
            self._spans.begin_attempt(event, run, scope)

    # routes and chunks

    def _route_decided(self, event: FlowEvent) -> None:
        _, _, run = self._under_way(event)
        if run is not None and self._spans is not None:
            self._spans.note_route(event, run)

    def _route_dropped(self, event: FlowEvent) -> None:
        self._route_decided(event)
        if self._instruments is not None:
            self._instruments.routes_dropped.add(1, self._infos.of(event).place)

    def _stream_chunk(self, event: FlowEvent) -> None:
        info = self._infos.of(event)
        scope = self._traces.get((info.root, event.trace_id))
        if scope is None:
            return
        chunks = scope.chunks
        if chunks is None:
            chunks = scope.chunks = {}
            scope.first_chunk = max(0.0, event.ts - scope.began)
        chunks[info.node_id] = chunks.get(info.node_id, 0) + 1
        run = scope.open.get(event.invocation_id or "")
        if run is not None:
            if not run.chunks:
                run.first_chunk = max(0.0, event.ts - run.began)
            run.chunks += 1


def _is_of_the_api(provider: object) -> bool:
    """Whether a provider is one of the API's own, which make nothing."""
    return type(provider).__module__.startswith(("opentelemetry.trace", "opentelemetry.metrics"))
