"""Builds events and shows them to the observers.

Rules: callers ask first whether anybody listens; nothing is built otherwise. Node events are sent from the node's own
task, trace events in the context of the trace's root task, so what an observer attaches there nests.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from penguiflow._errors import FlowError
from penguiflow._events import FlowEvent
from penguiflow._parcel import Parcel
from penguiflow._run import Run
from penguiflow._trace import CANCELLED, EXPIRED, Trace

_NOTHING: Mapping[str, Any] = {}
_TERMINAL = {EXPIRED: "node_expired", CANCELLED: "node_cancelled"}


def node_event(
    kind: str,
    parcel: Parcel,
    *,
    now: float | None = None,
    latency_ms: float | None = None,
    wait_ms: float | None = None,
    error: BaseException | None = None,
    extra: Mapping[str, Any] = _NOTHING,
) -> None:
    """Send an event about a node run."""
    trace, station = parcel._trace, parcel._station
    run = trace.run
    if kind not in run.dispatch.listeners:
        return
    depth_in = depth_out = pending = 0
    if trace.rooms is not None or trace.joins is not None:
        depth_in = trace.waiting_for(station.index)
        depth_out = sum(trace.waiting_for(s.index) for s in station.successors)
        pending = trace.pending()
    run.dispatch.send(
        FlowEvent(
            kind,
            trace.epoch + (run.loop.time() if now is None else now),
            run.name,
            station.name,
            station.node_id,
            trace.id,
            parcel._id,
            parcel._parents,
            parcel.attempt,
            latency_ms,
            wait_ms,
            depth_in,
            depth_out,
            pending,
            len(trace.strands),
            None,
            error,
            parcel,
            extra,
        )
    )


def started(parcel: Parcel) -> None:
    """A node run begins: name it, and say so."""
    trace = parcel._trace
    owner = trace.owner
    owner.runs += 1
    parcel._id = f"{trace.id}.{owner.runs}"
    parcel._started = now = trace.run.loop.time()
    wait = (now - parcel._since) * 1e3 if parcel._since else 0.0
    node_event("node_start", parcel, now=now, wait_ms=wait)


def ended(kind: str, parcel: Parcel, error: BaseException | None = None) -> None:
    """A node run is over: say so once."""
    if parcel._id is None or parcel._closed:
        return
    parcel._closed = True
    now = parcel._trace.run.loop.time()
    node_event(kind, parcel, now=now, latency_ms=(now - parcel._started) * 1e3, error=error)


def closed(parcel: Parcel, kind: str, error: FlowError | None = None) -> None:
    """A node run is over by itself, or by its trace's outcome if that was decided meanwhile."""
    if parcel._trace.outcome is None:
        ended(kind, parcel, error)
    else:
        interrupted(parcel)


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
