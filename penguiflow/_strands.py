"""Carries messages through nodes: one task per strand, one await per hop.

Rules: a chain runs as direct awaits inside one strand; a fan-out adds strands; all are equal, and the last one out
settles the trace. Before each run the budget and the deadline are looked at, and every 256 runs the loop gets its turn.
"""

from __future__ import annotations

import asyncio
from contextvars import Context as Variables
from contextvars import copy_context
from typing import Any

from penguiflow._attempts import Surfaced, run_node
from penguiflow._binding import checked
from penguiflow._control import controls, judged, judged_memory
from penguiflow._errors import FlowError, FlowErrorCode, PluginError, said
from penguiflow._exits import routes, surface
from penguiflow._floes import deliver, let_in, push, release
from penguiflow._lifecycle import cancel, decide, expire, fail, left
from penguiflow._messages import Message, StreamChunk, is_of
from penguiflow._models import WM
from penguiflow._observe import announce, closed, started
from penguiflow._parcel import Output, Parcel
from penguiflow._reports import deliver_error, log_failure
from penguiflow._rooms import Strand
from penguiflow._run import Run
from penguiflow._trace import CHILD, FAILED, Trace, current_trace

_TURN = 255
_SPECIAL = frozenset({Message, StreamChunk, Surfaced, type(None)})  # outputs that don't simply go to the next node


def spawn(parcel: Parcel, variables: Variables | None = None) -> None:
    """Run a parcel, whose lane is taken, in a strand of its own."""
    trace = parcel._trace
    strand = Strand()
    trace.strands[strand] = None
    strand.task = trace.run.loop.create_task(_carried(trace.run, trace, strand, parcel), context=variables)


def begin(trace: Trace, parcels: list[Parcel]) -> None:
    """Start a trace: its parcels take their places at once, and its root strand sets them going."""
    strand = trace.root = Strand()
    trace.strands[strand] = None
    if len(parcels) == 1 and parcels[0]._station.join is None:  # nothing can stand in its way: no need to `push`
        trace.busy[parcels[0]._station.index] = 1
        trace.unbegun = parcels
    else:
        trace.unbegun = [pushed for pushed in map(push, parcels) if isinstance(pushed, Parcel)]
    if trace.run.dispatch.listeners and trace.mode != CHILD:
        trace.context = copy_context()
    strand.task = trace.run.loop.create_task(_carried(trace.run, trace, strand, None), context=trace.context)


def join_in(parcel: Parcel) -> None:
    """Run a parcel that came from outside, whose lane is taken: not before the trace has begun."""
    trace = parcel._trace
    if trace.unbegun is None:
        spawn(parcel, None if trace.context is None else trace.context.copy())
    else:
        trace.unbegun.append(parcel)


def _begun(trace: Trace, parcels: list[Parcel]) -> Parcel | None:
    """Announce the trace and set its first parcels going; the one to go on with, if any."""
    if trace.context is not None:
        announce(trace, inside=True)
    trace.unbegun = None
    for parcel in parcels[1:]:
        spawn(parcel)
    return parcels[0] if parcels else None


async def _opened(trace: Trace) -> bool:
    """Whether the flow's resources are there, once that is known."""
    root = trace.run.root
    if root.ready is not None:
        await root.ready.wait()
    if root.broken is not None:
        what = (
            "plugins could not be started" if isinstance(root.broken, PluginError) else "resources could not be opened"
        )
        text = f"the flow's {what}: {type(root.broken).__name__}: {root.broken}"
        error = _of_no_node(trace, text, root.broken)
        fail(trace, error)
        deliver_error(trace, error)
    return root.broken is None


async def _carried(run: Run, trace: Trace, strand: Strand, parcel: Parcel | None) -> None:
    """A strand: run one node after the other, as long as what one returns goes to just one other.

    One coroutine for the whole way, since its cost is what a hop costs: a node adds the await of its own function.
    """
    current_trace.set(trace)
    ledger, busy = trace.ledger, trace.busy
    try:
        if trace.unbegun is not None and (run.root.ready is None or await _opened(trace)):
            parcel = _begun(trace, trace.unbegun)
        while parcel is not None:
            strand.parcel = parcel
            station = parcel._station
            ledger.hops += 1
            if not ledger.hops & _TURN:
                await asyncio.sleep(0)
            if trace.outcome is not None or (trace.limited and _ran_out(trace, parcel)):
                return
            try:
                if station.plain:
                    observed = run.dispatch.listeners
                    if observed:
                        started(parcel)
                    try:
                        value = await station.call(parcel)
                        if value.__class__ not in station.out_classes and station.check is not None:
                            value = checked(station, parcel, value)
                    except BaseException as exc:
                        value = await run_node(parcel, exc)
                    else:
                        if observed:
                            closed(parcel, "node_success")
                else:
                    value = await run_node(parcel)
            except FlowError as error:
                await _failed(trace, parcel, error)
                return
            if trace.outcome is not None:
                return
            if station.controller:
                if is_of(value, WM) and not trace.waiting_for(station.index):
                    parcel = _again(trace, parcel, value)
                    continue
            elif value.__class__ in station.out_classes or _SPECIAL.isdisjoint(value.__class__.__mro__):
                sole = station.sole
                if sole is not None and trace.rooms is None and sole.index not in busy:
                    busy[sole.index] = 1
                    parcel = parcel.successor(sole, value)
                    if busy[station.index] == 1:  # nothing waits anywhere: this is `release`, without the call
                        del busy[station.index]
                    else:
                        busy[station.index] -= 1
                    continue
                if station.leaf and trace.collects:
                    trace.outputs.append(Output(value, None, parcel._headers, parcel._meta))
                    release(trace, station)
                    return
            parcel = await _sent_on(trace, parcel, value)
    except BaseException as exc:
        _struck(trace, exc)
        if isinstance(exc, asyncio.CancelledError | KeyboardInterrupt | SystemExit):
            raise
    finally:
        left(trace, strand)


def _struck(trace: Trace, exc: BaseException) -> None:
    """Something other than a node's own failure ends a strand, and with it the trace."""
    if isinstance(exc, asyncio.CancelledError):
        cancel(trace)  # does nothing unless the task was cancelled by somebody else, such as the loop's own shutdown
        return
    error = _of_no_node(trace, f"{type(exc).__name__} ended the trace: {said(exc)}", exc)
    try:
        if trace.outcome is None:
            log_failure(trace, error)
            deliver_error(trace, error)
    finally:
        decide(trace, FAILED, error)


def _of_no_node(trace: Trace, text: str, cause: BaseException) -> FlowError:
    return FlowError(trace_id=trace.id, code=FlowErrorCode.NODE_EXCEPTION, message=text, original_exc=cause)


def _ran_out(trace: Trace, parcel: Parcel) -> bool:
    station, ledger = parcel._station, trace.ledger
    if station.controller and is_of(parcel._payload, WM):
        controls(trace)
    code = ledger.overdrawn()
    if code is not None:
        ledger.hops -= 1
        expire(trace.owner, code, parcel)
    now = trace.run.clock()
    if trace.deadline is not None and now >= trace.deadline:
        expire(_timed_out(trace, now), FlowErrorCode.DEADLINE_EXCEEDED, parcel)
    return trace.outcome is not None


def _timed_out(trace: Trace, now: float) -> Trace:
    """The outermost trace whose deadline has passed."""
    while trace.mode == CHILD and trace.parent is not None:
        if trace.parent.deadline is None or now < trace.parent.deadline:
            break
        trace = trace.parent
    return trace


async def _failed(trace: Trace, parcel: Parcel, error: FlowError) -> None:
    fail(trace, error)
    if trace.outcome is None:
        if trace.run.emit_errors:
            await surface(parcel, error)
        release(trace, parcel._station)


async def _sent_on(trace: Trace, parcel: Parcel, value: Any) -> Parcel | None:
    station = parcel._station
    if station.controller and not isinstance(value, Surfaced):
        value = judged(trace, parcel, value)
    if trace.outcome is not None:
        return None
    if value is None:
        release(trace, station)
        return None
    if isinstance(value, Surfaced):
        await surface(parcel, value.error)
        release(trace, station)
        return None
    targets, leaves = parcel._targets or routes(station, value)
    if leaves:
        await surface(parcel, value)
    if targets == (station,) and not trace.waiting_for(station.index):
        again: Parcel = parcel.onward(targets, value)[0]
        return again  # the loop keeps its lane
    following: Parcel | None
    try:
        following, full = deliver(parcel, targets, value)
    except asyncio.QueueFull as exc:
        await _failed(trace, parcel, _overflow(trace, parcel, exc))
        return None
    if full:
        await let_in(full)
    if trace.outcome is not None:
        return None
    release(trace, station)
    return following


def _again(trace: Trace, parcel: Parcel, memory: WM) -> Parcel | None:
    """The next round of a loop, which keeps its lane."""
    fresh = judged_memory(trace, parcel, memory)
    if fresh is None:
        return None
    again: Parcel = parcel.successor(parcel._station, fresh)
    return again


def _overflow(trace: Trace, parcel: Parcel, exc: asyncio.QueueFull) -> FlowError:
    return FlowError(
        trace_id=trace.id,
        node_name=parcel._station.name,
        node_id=parcel._station.node_id,
        code=FlowErrorCode.NODE_EXCEPTION,
        message=str(exc),
        original_exc=exc,
    )
