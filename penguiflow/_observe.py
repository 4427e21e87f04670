"""Builds events and shows them to the observers.

Rules: callers ask first whether anybody listens; nothing is built otherwise. Node events are sent from the node's own
task, trace events in the context of the trace's root task, so what an observer attaches there nests.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from penguiflow._events import FlowEvent
from penguiflow._parcel import Parcel
from penguiflow._trace import CANCELLED, EXPIRED, Run, Trace

_TERMINAL = {EXPIRED: "node_expired", CANCELLED: "node_cancelled"}


def node_event(
    kind: str,
    parcel: Parcel,
    *,
    latency: float | None = None,
    wait: float | None = None,
    error: BaseException | None = None,
    extra: dict[str, Any] | None = None,
) -> None:
    """Send an event about a node run; `latency` and `wait` in seconds."""
    trace, station = parcel._trace, parcel._station
    run = trace.run
    if kind not in run.dispatch.listeners:
        return
    quiet = trace.rooms is None and trace.joins is None
    event = FlowEvent(
        kind,
        trace.epoch + run.loop.time(),
        run.name,
        station.name,
        station.node_id,
        trace.id,
        parcel._id,
        parcel._parents,
        parcel.attempt,
        None if latency is None else latency * 1e3,
        None if wait is None else wait * 1e3,
        0 if quiet else trace.waiting_for(station.index),
        0 if quiet else sum(trace.waiting_for(s.index) for s in station.successors),
        0 if quiet else trace.pending(),
        len(trace.strands),
        None,
        error,
        parcel,
        extra or {},
    )
    run.dispatch.send(event)


def started(parcel: Parcel) -> None:
    """A node run begins: name it, and say so."""
    trace = parcel._trace
    owner = trace.ledger.owner
    owner.runs += 1
    parcel._id = f"{trace.id}.{owner.runs}"
    parcel._started = now = trace.run.loop.time()
    node_event("node_start", parcel, wait=now - parcel._since if parcel._since else 0.0)


def ended(kind: str, parcel: Parcel, error: BaseException | None = None) -> None:
    """A node run is over: say so once."""
    if parcel._id is None or parcel._closed:
        return
    parcel._closed = True
    node_event(kind, parcel, latency=parcel._trace.run.loop.time() - parcel._started, error=error)


def interrupted(parcel: Parcel) -> None:
    """A node run was ended from outside, by its trace's outcome."""
    ended(_TERMINAL.get(parcel._trace.outcome or "", "node_cancelled"), parcel, parcel._trace.error)


def announce(trace: Trace) -> None:
    """A trace begins: say so once."""
    if not trace.announced:
        trace.announced = True
        trace_event("trace_start", trace)


def trace_event(kind: str, trace: Trace) -> None:
    """Send an event about a trace, in the context of its root task."""
    run = trace.run
    if kind not in run.dispatch.listeners:
        return
    finished = kind == "trace_finish"
    event = FlowEvent(
        kind,
        trace.epoch + run.loop.time(),
        run.name,
        trace_id=trace.id,
        latency_ms=(run.loop.time() - trace.started) * 1e3 if finished else None,
        trace_pending=trace.pending(),
        trace_inflight=len(trace.strands),
        outcome=trace.outcome if finished else None,
        error=trace.error if finished else None,
        extra={
            "mode": trace.mode,
            "hops": trace.ledger.hops,
            "tokens": trace.ledger.tokens,
            "cost": trace.ledger.cost,
        },
    )
    _in_root(trace, run.dispatch.send, event)


def _in_root(trace: Trace, send: Callable[[FlowEvent], None], event: FlowEvent) -> None:
    if trace.context is None:
        send(event)
        return
    try:
        trace.context.run(send, event)
    except RuntimeError as exc:
        if "cannot enter context" not in str(exc):
            raise
        send(event)  # this is the root task itself


def flow_event(kind: str, run: Run, epoch: float) -> None:
    """Send an event about the flow."""
    if kind in run.dispatch.listeners:
        run.dispatch.send(FlowEvent(kind, epoch + run.loop.time(), run.name))
