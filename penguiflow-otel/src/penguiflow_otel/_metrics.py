"""The instruments, and what is measured with them when something is over.

Rules: durations are in seconds. No attribute is an id: flows, nodes, outcomes and errors are what there is few of. What
counts things under way is read when metrics are collected, and costs nothing before.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from threading import Lock
from typing import Protocol
from weakref import WeakSet, finalize

from opentelemetry.context import Context
from opentelemetry.metrics import CallbackOptions, Histogram, Meter, MeterProvider, Observation

from penguiflow import FlowEvent
from penguiflow_otel import _names as names
from penguiflow_otel._errors import error_type
from penguiflow_otel._infos import Infos
from penguiflow_otel._scopes import NodeInfo, TraceScope
from penguiflow_otel._texts import clean

# What flows take: from a fraction of a millisecond to minutes.
BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
# What the conventions advise.
AGENT_BUCKETS = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2, 102.4, 204.8, 409.6)
TOOL_BUCKETS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)

_OUTCOMES = {
    "node_success": "completed",
    "node_failed": "failed",
    "node_cancelled": "cancelled",
    "node_expired": "expired",
}


class Counted(Protocol):
    """Who knows what is under way."""

    def under_way(self) -> Mapping[str, tuple[int, int, int]]:
        """Traces, node runs and waiting messages, by flow."""


class _Observed:
    """All plugins that measure into one provider. Its callbacks outlive them, so they are held weakly."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        self._plugins: WeakSet[Counted] = WeakSet()
        self._lock: Lock = Lock()

    def add(self, plugin: Counted) -> None:
        with self._lock:
            self._plugins.add(plugin)

    def read(self, place: int) -> Iterable[Observation]:
        with self._lock:
            plugins = list(self._plugins)
        sums: dict[str, int] = {}
        for plugin in plugins:
            for flow, numbers in plugin.under_way().items():
                sums[flow] = sums.get(flow, 0) + numbers[place]
        return [Observation(number, {names.FLOW: flow}) for flow, number in sorted(sums.items())]

    def workflows(self, options: CallbackOptions) -> Iterable[Observation]:
        return self.read(0)

    def nodes(self, options: CallbackOptions) -> Iterable[Observation]:
        return self.read(1)

    def depth(self, options: CallbackOptions) -> Iterable[Observation]:
        return self.read(2)


# An instrument with a callback can be registered once in a provider, and not be taken back: this outlives the flows. It
# goes by the provider's id, because there are providers that can't be hashed (Logfire's).
_observed: dict[int, _Observed] = {}
_lock = Lock()


def _forget() -> None:
    """In a forked process: what the parent has under way goes on there, and a lock may be held by a thread of its."""
    global _lock
    _lock = Lock()
    for observed in _observed.values():
        observed.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def _seconds(meter: Meter, name: str, text: str, buckets: tuple[float, ...] = BUCKETS) -> Histogram:
    return meter.create_histogram(name, unit="s", description=text, explicit_bucket_boundaries_advisory=buckets)


class Instruments:
    """What one plugin measures with."""

    def __init__(self, provider: MeterProvider, meter: Meter, plugin: Counted) -> None:
        self.workflow: Histogram = _seconds(meter, names.WORKFLOW_DURATION, "How long traces took.")
        self.node: Histogram = _seconds(meter, names.NODE_DURATION, "How long node runs took, with their retries.")
        self.attempt: Histogram = _seconds(
            meter, names.ATTEMPT_DURATION, "How long attempts took, of node runs whose first attempt failed."
        )
        self.wait: Histogram = _seconds(meter, names.QUEUE_WAIT, "How long messages waited that had to wait.")
        self.first_chunk: Histogram = _seconds(
            meter, names.TIME_TO_FIRST_CHUNK, "How long it took until a trace's first chunk."
        )
        self.conventions: dict[str, Histogram] = {
            names.AGENT_DURATION: _seconds(
                meter, names.AGENT_DURATION, "How long workflows and agents took.", AGENT_BUCKETS
            ),
            names.TOOL_DURATION: _seconds(meter, names.TOOL_DURATION, "How long tools took.", TOOL_BUCKETS),
        }
        self.retries = meter.create_counter(names.RETRIES, "{retry}", "Attempts beyond the first.")
        self.chunks = meter.create_counter(names.CHUNK_COUNT, "{chunk}", "Stream chunks that nodes wrote.")
        self.routes_dropped = meter.create_counter(
            names.ROUTES_DROPPED, "{message}", "Messages that a router sent to nobody."
        )
        self.spans_dropped = meter.create_counter(
            names.DROPPED_SPANS, "{span}", "Spans that traces would have had beyond max_spans."
        )
        self._observe(provider, meter, plugin)

    def _observe(self, provider: MeterProvider, meter: Meter, plugin: Counted) -> None:
        with _lock:
            observed = _observed.get(id(provider))
            if observed is None:
                observed = _observed[id(provider)] = _Observed()
                finalize(provider, _observed.pop, id(provider), None).atexit = False
                for name, callback, unit, text in (
                    (names.ACTIVE_WORKFLOWS, observed.workflows, "{trace}", "Traces under way."),
                    (names.ACTIVE_NODES, observed.nodes, "{run}", "Node runs under way."),
                    (names.QUEUE_DEPTH, observed.depth, "{message}", "Messages that wait for a node or in a join."),
                ):
                    meter.create_observable_up_down_counter(name, [callback], unit, text)
        observed.add(plugin)

    def measure_trace(self, event: FlowEvent, scope: TraceScope, infos: Infos) -> None:
        """A trace is over."""
        flow, seconds, context = clean(event.flow_name), (event.latency_ms or 0.0) / 1e3, scope.context
        attributes = {names.FLOW: flow, names.OUTCOME: event.outcome or ""}
        convention = {names.GEN_AI_OPERATION: names.INVOKE_WORKFLOW, names.GEN_AI_AGENT: flow}
        if event.outcome in ("failed", "expired"):
            attributes[names.ERROR_TYPE] = convention[names.ERROR_TYPE] = error_type(event.error)
        self.workflow.record(seconds, attributes, context)
        self.conventions[names.AGENT_DURATION].record(seconds, convention, context)
        if scope.first_chunk is not None:
            self.first_chunk.record(scope.first_chunk, {names.FLOW: flow}, context)
        for node_id, count in (scope.chunks or {}).items():
            info = infos.get(node_id)
            if info is not None:
                self.chunks.add(count, info.place, context)
        if scope.dropped:
            self.spans_dropped.add(scope.dropped, {names.FLOW: flow}, context)

    def measure_run(self, event: FlowEvent, info: NodeInfo, scope: TraceScope, context: Context) -> None:
        """A node run is over."""
        seconds, outcome = (event.latency_ms or 0.0) / 1e3, _OUTCOMES[event.event_type]
        failure = {names.ERROR_TYPE: error_type(event.error)} if outcome in ("failed", "expired") else {}
        attributes = info.completed if outcome == "completed" else {**info.place, names.OUTCOME: outcome, **failure}
        self.node.record(seconds, attributes, context)
        if info.duration is not None:
            self.conventions[info.duration].record(seconds, {**info.convention, **failure}, context)
        began = scope.retried.pop(event.invocation_id or "", None) if scope.retried else None
        if began is not None:  # an attempt that failed has been measured then
            self.attempt.record(max(0.0, event.ts - began), attributes, context)
