"""How traces end: decided at once, settled when the last strand is out.

Rules: deciding and settling are synchronous, so there is no half-ended trace. A decision cancels every other strand of
the trace and of what is nested in it; a strand that doesn't come out within `GRACE_S` is left behind, and whatever it
still returns is dropped. Nothing here cancels the task that it is called from before that task suspends.
"""

from __future__ import annotations

import asyncio
import logging

from penguiflow._errors import FlowError, FlowErrorCode, TraceCancelled
from penguiflow._models import FinalAnswer
from penguiflow._observe import announce, interrupted, trace_event
from penguiflow._parcel import Output, Parcel
from penguiflow._reports import deliver_ending, deliver_error, log_failure, log_late, log_unheard
from penguiflow._rooms import Bucket, Strand
from penguiflow._run import Run
from penguiflow._trace import CANCELLED, CHILD, COMPLETED, EMIT, EXPIRED, FAILED, START, Trace

log = logging.getLogger("penguiflow")

GRACE_S = 0.1
_LONG_AGO = 1e6  # epoch seconds, in January 1970

_USED_UP = {
    FlowErrorCode.DEADLINE_EXCEEDED: "the deadline passed",
    FlowErrorCode.HOP_BUDGET_EXHAUSTED: "the hop budget is used up",
    FlowErrorCode.TOKEN_BUDGET_EXHAUSTED: "the token budget is used up",
    FlowErrorCode.COST_BUDGET_EXHAUSTED: "the cost budget is used up",
}


def decide(trace: Trace, outcome: str, error: FlowError | None) -> bool:
    """End a trace; `False` if it has ended already."""
    if trace.outcome is not None:
        return False
    trace.outcome = outcome
    trace.error = error
    if outcome == CANCELLED and trace.mode != CHILD and trace.run.dispatch.listeners:
        announce(trace)
        trace_event("trace_cancel_start", trace)
    found = trace.whole()
    fresh = {trace, *(nested for nested in found if nested.outcome is None)}
    for nested in fresh:
        nested.outcome, nested.error = outcome, error
    levels: dict[Trace, int] = {}
    for nested in reversed(found):  # what is nested settles first
        levels[nested] = 1 + max((levels[child] for child in nested.children or ()), default=0)
        if nested in fresh:
            _end(nested, GRACE_S * levels[nested])
    return True


def _end(trace: Trace, grace_s: float) -> None:
    """Empty a trace and cancel what runs in it: it settles when that is out, at the latest after `grace_s`."""
    _empty(trace)
    _cancel_strands(trace)
    if trace.strands:
        trace.grace = trace.run.call_later(grace_s, settle, trace)
    else:
        settle(trace)


def _empty(trace: Trace) -> None:
    for room in (trace.rooms or {}).values():
        room.clear()
    for bucket in (trace.joins or {}).values():
        if bucket.timer is not None:
            bucket.timer.cancel()
    trace.joins = None


def _cancel_strands(trace: Trace) -> None:
    current = asyncio.current_task()
    for strand in tuple(trace.strands):
        task = strand.task
        if task is current and task is not None:
            trace.run.loop.call_soon(_cancel_late, trace, strand)
        elif task is not None:
            if strand.parcel is None:  # it never ran: its `finally` won't either
                trace.strands.pop(strand, None)
            task.cancel()


def _cancel_late(trace: Trace, strand: Strand) -> None:
    if strand in trace.strands and strand.task is not None:
        strand.task.cancel()


def left(trace: Trace, strand: Strand) -> None:
    """A strand is out. The last one settles the trace."""
    trace.strands.pop(strand, None)
    strand.task = None  # a cancelled task keeps its traceback, and that would keep the strand
    if not trace.strands and not trace.settled:
        if strand is trace.root:
            trace.context = None  # what settles it is the root task itself
        if trace.outcome is None and trace.error is None and trace.joins is None:
            trace.outcome = COMPLETED
            settle(trace)
        else:
            rest(trace)


def rest(trace: Trace) -> None:
    """Nothing of the trace runs any more: settle it, unless a join of an emitted trace may still be filled."""
    if trace.outcome is None:
        missing = starved(trace)
        if missing is None:
            trace.outcome = COMPLETED if trace.error is None else FAILED
        elif trace.mode == EMIT and trace.error is None and not trace.run.draining:
            return
        else:
            trace.outcome = FAILED
            trace.error = trace.error or missing
            if trace.error is missing:
                log_failure(trace, missing)
                deliver_error(trace, missing)
            _empty(trace)
    settle(trace)


def starved(trace: Trace) -> FlowError | None:
    """What the first unfilled join waits for, if one does."""
    for index, bucket in sorted((trace.joins or {}).items()):
        if bucket.items and not trace.surplus(index):
            return starvation(trace, index)
    return None


def starvation(trace: Trace, index: int) -> FlowError:
    """The error of a join that isn't filled, naming what came and what is missing."""
    station = trace.run.stations[index]
    bucket = (trace.joins or {}).get(index, Bucket())
    items, lists = bucket.items, bucket.fired
    assert station.join is not None
    came = {parcel._edge for parcel in items}
    absent = [trace.run.stations[i].name for i in station.predecessors if i not in came]
    missing = f", left over after {lists} list{'' if lists == 1 else 's'}" if lists else ""
    if absent:
        missing += f", none from {', '.join(absent)}"
    elif not lists and station.join.k > (count := len(station.predecessors)):
        missing = f": {count} nodes lead to it" if count > 1 else ": 1 node leads to it"
    return FlowError(
        trace_id=trace.id,
        node_name=station.name,
        node_id=station.node_id,
        code=FlowErrorCode.JOIN_STARVED,
        message=f"join {station.name!r} got {len(items)} of {station.join.k}{missing}",
        metadata={"received": len(items), "k": station.join.k, "missing": absent, "lists": lists},
    )


def settle(trace: Trace) -> None:
    """A trace is over: free what it holds and wake who waits for it."""
    if trace.settled:
        return
    trace.settled = True
    if trace.timer is not None:
        trace.timer.cancel()
    if trace.grace is not None:
        trace.grace.cancel()
    if trace.children:
        for nested in reversed(trace.whole()[1:]):
            settle(nested)
    for strand in trace.strands:
        _abandon(trace, strand)
    if trace.mode == CHILD:
        if trace.parent is not None and trace.parent.children is not None:
            trace.parent.children.pop(trace, None)
    else:
        _unregister(trace)
    _wake(trace)


def _abandon(trace: Trace, strand: Strand) -> None:
    """Leave a strand behind that swallows its cancellation. The flow keeps hold of it until it ends."""
    strays, task = trace.run.root.strays, strand.task
    if task is not None and not task.done():
        strays.add(task)
        task.add_done_callback(strays.discard)
    if strand.parcel is not None:
        name = strand.parcel._station.name
        log.warning("node %r still runs %g s after its trace ended: what it returns is dropped", name, GRACE_S)
        interrupted(strand.parcel)


def _unregister(trace: Trace) -> None:
    run = trace.run
    run.traces.pop(trace.id, None)
    if run.dispatch.listeners:
        announce(trace)
        if trace.outcome == CANCELLED:
            trace_event("trace_cancel_finish", trace)
        trace_event("trace_finish", trace)
    if trace.outcome in (CANCELLED, EXPIRED) and trace.mode in (EMIT, START):
        deliver_ending(trace)
    if trace.forsaken:
        log_unheard(trace)
    if trace.slot:
        trace.slot = False
        if run.queue:
            free_slot(run)
        else:
            run.used -= 1
    if not run.traces:
        for callback in run.idle:
            callback()


def free_slot(run: Run) -> None:
    """A place for a trace is free: whoever waits longest gets it."""
    run.used -= 1
    for waiting in tuple(run.queue):
        waiter, bound = waiting
        if waiter.done():
            run.queue.remove(waiting)
        elif run.used < bound:
            run.queue.remove(waiting)
            run.used += 1
            waiter.set_result(None)
            return


def _wake(trace: Trace) -> None:
    waiters, trace.waiters = trace.waiters, None
    for waiter in waiters or ():
        if not waiter.done():
            waiter.set_result(None)
    if trace.reader is not None:
        trace.reader.close()
    trace.rooms = trace.joins = trace.context = trace.root = trace.unbegun = None
    trace.timer = trace.grace = trace.parent = trace.top = trace.caller = None
    trace.busy.clear()
    if trace.mode == EMIT:
        trace.error = None  # nobody asks for it any more, and its traceback holds the trace


def cancel(trace: Trace) -> bool:
    """Cancel a trace; `False` if it has ended already."""
    return decide(trace, CANCELLED, TraceCancelled(trace.id))


def expire(trace: Trace, code: FlowErrorCode, parcel: Parcel | None = None) -> FlowError:
    """A trace ran out of time, hops, tokens or money. A controller's trace ends with an answer that says so.

    `parcel` is what was under way, or about to be; by default what the trace's first strand carries.
    """
    if parcel is None or parcel._trace is not trace:
        parcel = next((strand.parcel for strand in trace.strands if strand.parcel is not None), parcel)
    station = None if parcel is None else parcel._station
    error = FlowError(
        trace_id=trace.id,
        node_name=None if station is None else station.name,
        node_id=None if station is None else station.node_id,
        code=code,
        message=f"{_USED_UP[code]}: {_spent(trace)}",
        metadata={"hops": trace.ledger.hops, "tokens": trace.ledger.tokens, "cost": trace.ledger.cost},
    )
    if trace.outcome is None:
        log_failure(trace, error)
        if trace.controlled:
            _answer(trace, parcel, f"No final answer: {error.message}.")
    decide(trace, EXPIRED, error)
    return error


def _answer(trace: Trace, parcel: Parcel | None, text: str) -> None:
    headers, meta = (trace.headers, None) if parcel is None else (parcel._headers, parcel._meta)
    trace.outputs = [Output(FinalAnswer(text=text), None, headers, meta)]
    trace.answered = True


def _spent(trace: Trace) -> str:
    ledger = trace.ledger
    if trace.deadline_s is not None and trace.deadline_s < _LONG_AGO:
        return "in 1970, as deadline_s is in epoch seconds: timeout_s= takes a time from now on"
    parts = [f"{ledger.hops} node run{'' if ledger.hops == 1 else 's'}"]
    parts += [f"{ledger.tokens} tokens"] if ledger.tokens else []
    parts += [f"cost {ledger.cost:g}"] if ledger.cost else []
    return f"after {', '.join(parts)}"


def pass_deadline(trace: Trace) -> None:
    """The deadline's timer."""
    expire(trace, FlowErrorCode.DEADLINE_EXCEEDED)


def fail(trace: Trace, error: FlowError) -> None:
    """A node failed for good. In an emitted trace the other branches go on; any other trace ends."""
    if trace.outcome is None:
        log_failure(trace, error)
        if trace.mode != EMIT:
            decide(trace, FAILED, error)
        trace.error = trace.error or error
    elif trace.error is not error:
        log_late(trace, error)
    if trace.error is not None and trace.error is not error:
        trace.error.add_note(f"also: {error.message}")
