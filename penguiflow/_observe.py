"""Builds events and shows them to the observers.

Rules: callers ask first whether anybody listens; nothing is built otherwise. Node events are sent from the node's own
task, trace events in the context of the trace's root task, so what an observer attaches there nests.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penguiflow._events import NO_DEPTHS, NOTHING, FlowEvent
from penguiflow._parcel import Parcel
from penguiflow._run import Run
from penguiflow._station import Station
from penguiflow._trace import CANCELLED, EXPIRED, Trace

_blank = FlowEvent.__new__  # a third quicker than a call with fifteen arguments, and events are what observing costs
_TERMINAL = {EXPIRED: "node_expired", CANCELLED: "node_cancelled"}


def node_event(
    kind: str,
    parcel: Parcel,
    now: float | None = None,
    latency_ms: float | None = None,
    wait_ms: float | None = None,
    error: BaseException | None = None,
    extra: Mapping[str, Any] = NOTHING,
) -> None:
    """Send an event about a node run."""
    trace, station = parcel._trace, parcel._station
    run = trace.run
    listeners = run.dispatch.listeners.get(kind)
    if listeners is None:
        return
    if now is None:
        now = run.clock()
    event = _blank(FlowEvent)
    event.event_type = kind
    event.ts = trace.epoch + now
    event._place = station.place
    event.trace_id = trace.id
    event._invocation = parcel
    event._parents = parcel._parents
    event.attempt = parcel.attempt
    event.latency_ms = latency_ms
    event.queue_wait_ms = wait_ms
    event._depths = NO_DEPTHS if trace.rooms is None and trace.joins is None else _depths(trace, station)
    event.trace_inflight = len(trace.strands)
    event.outcome = None
    event.error = error
    event._source = parcel
    event.extra = extra
    for impl in listeners:  # `Dispatch.send`, without the call: six of ten events come by here
        try:
            impl.call(event)
            impl.failures = 0
        except BaseException as exc:
            run.dispatch.failed(impl, "on_event", exc, run.name)


def _depths(trace: Trace, station: Station) -> tuple[int, int, int]:
    after = sum(trace.waiting_for(successor.index) for successor in station.successors)
    return trace.waiting_for(station.index), after, trace.pending()


def started(parcel: Parcel) -> None:
    """A node run begins: name it, and say so."""
    trace = parcel._trace
    owner = trace.top or trace
    owner.runs += 1
    parcel._number = owner.runs
    parcel._started = now = trace.run.clock()
    node_event("node_start", parcel, now, None, (now - parcel._since) * 1e3 if parcel._since else 0.0)


def closed(parcel: Parcel, kind: str, error: BaseException | None = None) -> None:
    """A node run is over, by itself or, if that was decided meanwhile, by its trace's outcome: say so once."""
    if not parcel._number or parcel._closed:
        return
    trace = parcel._trace
    if trace.outcome is not None:
        kind, error = _TERMINAL.get(trace.outcome, "node_cancelled"), trace.error
    parcel._closed = True
    now = trace.run.clock()
    node_event(kind, parcel, now, (now - parcel._started) * 1e3, None, error)


def interrupted(parcel: Parcel) -> None:
    """A node run was ended from outside, by its trace's outcome."""
    closed(parcel, "node_cancelled")


def announce(trace: Trace, inside: bool = False) -> None:
    """A trace begins: say so once, with the message that begins it."""
    if not trace.announced:
        trace.announced = True
        trace_event("trace_start", trace, inside, trace.unbegun[0] if trace.unbegun else None)


def trace_event(kind: str, trace: Trace, inside: bool = False, source: Parcel | None = None) -> None:
    """Send an event about a trace, in the context of its root task; `inside` says that this is that task."""
    run = trace.run
    listeners = run.dispatch.listeners.get(kind)
    if listeners is None:
        return
    now = run.clock()
    event = _blank(FlowEvent)
    event.event_type = kind
    event.ts = trace.epoch + now
    event._place = run.place
    event.trace_id = trace.id
    event._invocation = event.queue_wait_ms = None
    event._source = source
    event._parents = ()
    event.attempt = 0
    event._depths = NO_DEPTHS if trace.rooms is None and trace.joins is None else (0, 0, trace.pending())
    event.trace_inflight = len(trace.strands)
    if kind == "trace_finish":
        ledger = trace.ledger
        event.latency_ms = (now - trace.started) * 1e3
        event.outcome = trace.outcome
        event.error = trace.error
        event.extra = {"mode": trace.mode, "hops": ledger.hops, "tokens": ledger.tokens, "cost": ledger.cost}
    else:
        event.latency_ms = event.outcome = event.error = None
        event.extra = {"mode": trace.mode}
    if inside or trace.context is None:
        run.dispatch.send(event, listeners)
        return
    try:
        trace.context.run(run.dispatch.send, event, listeners)
    except RuntimeError as exc:
        if "cannot enter context" not in str(exc):
            raise
        run.dispatch.send(event, listeners)  # this is that task all the same


def flow_event(kind: str, run: Run, epoch: float) -> None:
    """Send an event about the flow."""
    listeners = run.dispatch.listeners.get(kind)
    if listeners is not None:
        run.dispatch.send(FlowEvent(kind, epoch + run.clock(), run.place), listeners)
