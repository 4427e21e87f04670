"""How messages enter: a slot among the traces in flight, a trace, and its first parcels.

Rules: a message is accepted when its trace is registered, and from then on the trace ends in exactly one way. A trace
that a node of the same flow waits for runs on its root's slot, so that no limit can make a flow wait for itself.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterable
from typing import Any

from penguiflow._chunks import numbered
from penguiflow._context import Context
from penguiflow._errors import FlowError, FlowErrorCode, FlowStateError
from penguiflow._exits import reader_of
from penguiflow._floes import full_text, has_place, push
from penguiflow._lifecycle import expire, free_slot, pass_deadline
from penguiflow._messages import Message, StreamChunk, new_trace_id
from penguiflow._models import WM
from penguiflow._parcel import Parcel
from penguiflow._run import Run
from penguiflow._station import Station
from penguiflow._strands import begin, join_in
from penguiflow._trace import EMIT, START, Ledger, Trace, called_from, current_trace


def caller_in(run: Run) -> Trace | None:
    """The trace that calls from inside a node of this run, directly or through other flows."""
    trace = scope = current_trace.get()
    while trace is not None:
        if trace.run.root is run and trace.outcome is None:
            return scope
        trace = trace.parent
    return None


def _live_caller() -> Trace | None:
    """The trace whose node calls, perhaps of another flow: it waits for the new one."""
    caller = current_trace.get()
    return caller if caller is not None and caller.outcome is None else None


def admitted(run: Run, message: Any, mode: str, timeout_s: float | None) -> Trace | None:
    """A trace for this message; `None` if every slot is taken.

    Raises:
        FlowStateError: the flow is stopping.
        ValueError: the message's trace is live already, or the time-out is negative.
    """
    caller = caller_in(run) if current_trace.get() is not None else None
    _refuse(run, message, timeout_s, caller)
    if caller is not None and mode not in (EMIT, START):
        return _opened(run, message, mode, timeout_s, slot=False, parent=caller)
    bound = run.max_traces if caller is None else 2 * run.max_traces
    if run.used >= bound or (run.queue and caller is None):
        return None
    run.used += 1
    return _opened(run, message, mode, timeout_s, slot=True)


async def waited(run: Run, message: Any, mode: str, timeout_s: float | None) -> Trace:
    """`admitted`, waiting for a slot until the message's deadline.

    Raises:
        FlowError: `DEADLINE_EXCEEDED` before there was a slot.
        asyncio.QueueFull: a node of this flow emits more traces than there will ever be slots for.
    """
    if caller_in(run) is not None:
        raise asyncio.QueueFull(
            f"{run.used} traces are in flight, twice max_traces: a node that waits here might wait for itself"
        )
    limit = _deadline(run, message, timeout_s)
    slot: asyncio.Future[None] = run.loop.create_future()
    run.queue.append(slot)
    try:
        async with asyncio.timeout_at(limit):
            await slot
    except TimeoutError:
        give_back(run, slot)
        raise FlowError(
            trace_id=message.trace_id if isinstance(message, Message) else None,
            code=FlowErrorCode.DEADLINE_EXCEEDED,
            message=f"the deadline passed while all {run.max_traces} places for traces were taken (max_traces)",
        ) from None
    except asyncio.CancelledError:
        give_back(run, slot)
        raise
    left = None if limit is None or timeout_s is None else max(0.0, limit - run.loop.time())
    try:
        _refuse(run, message, None, None)
        return _opened(run, message, mode, left, slot=True)
    except BaseException:
        give_back(run, slot)
        raise


def give_back(run: Run, slot: asyncio.Future[None]) -> None:
    """Whoever waited for a slot went away, perhaps with the slot in hand."""
    if slot.cancelled() or not slot.done():
        slot.cancel()
    elif slot.exception() is None:
        free_slot(run)


def _refuse(run: Run, message: Any, timeout_s: float | None, caller: Trace | None) -> None:
    if run.draining and caller is None:
        raise FlowStateError(f"flow {run.name!r} is stopping and takes no more messages: call run() after stop()")
    if timeout_s is not None and not timeout_s >= 0:
        raise ValueError(f"timeout_s is a number of seconds from 0 on, not {timeout_s!r}")
    if isinstance(message, Message) and message.trace_id in run.traces:
        raise ValueError(
            f"trace {message.trace_id!r} is live already: `emit` joins a live trace; for a new one leave trace_id out"
        )


def _deadline(run: Run, message: Any, timeout_s: float | None) -> float | None:
    """When the message expires, in the loop's time. Here alone the wall clock is read."""
    now = run.loop.time()
    limit = math.inf if timeout_s is None else now + timeout_s
    if isinstance(message, Message) and message.deadline_s is not None:
        limit = min(limit, now + message.deadline_s - time.time())
    return None if limit == math.inf else limit


def _opened(
    run: Run, message: Any, mode: str, timeout_s: float | None, slot: bool, parent: Trace | None = None
) -> Trace:
    enveloped = isinstance(message, Message)
    if parent is None and mode not in (EMIT, START):
        parent = _live_caller()
    trace = Trace(run, mode, message.trace_id if enveloped else new_trace_id(), parent)
    trace.slot = slot
    if enveloped:
        trace.wants_message = True
        trace.headers = message.headers
        trace.budget = message.budget
        trace.deadline_s = message.deadline_s
        trace.ts = message.ts
    else:
        trace.ts = time.time()
    trace.ledger = Ledger(trace, trace.budget)
    if run.dispatch.listeners:
        trace.started = run.loop.time()
        trace.epoch = time.time() - trace.started
    run.traces[trace.id] = trace
    if timeout_s is not None or trace.deadline_s is not None:
        _limit(trace, message, timeout_s)
    trace.limited = trace.budget is not None or trace.deadline is not None
    return trace


def _limit(trace: Trace, message: Any, timeout_s: float | None) -> None:
    limit = _deadline(trace.run, message, timeout_s)
    if limit is None:
        return
    trace.deadline = limit
    trace.deadline_s = time.time() + limit - trace.run.loop.time()
    trace.timer = trace.run.loop.call_at(limit, pass_deadline, trace)


def entering(trace: Trace, message: Any, stations: Iterable[Station]) -> list[Parcel]:
    """The first parcels of a message, each with a `meta` of its own."""
    if not isinstance(message, Message):
        return [Context(trace, station, message, None, trace.headers, None, -1, ()) for station in stations]
    return [
        Context(trace, station, message.payload, message, message.headers, dict(message.meta), -1, ())
        for station in stations
    ]


def started(trace: Trace, message: Any, stations: tuple[Station, ...]) -> None:
    """Set a trace going, unless its deadline has passed already."""
    if trace.deadline is not None and trace.deadline <= trace.run.loop.time():
        payload = message.payload if isinstance(message, Message) else message
        trace.controlled = isinstance(payload, WM) and any(station.controller for station in stations)
        expire(trace, FlowErrorCode.DEADLINE_EXCEEDED, entering(trace, message, stations)[0])
    else:
        begin(trace, entering(trace, message, stations))


async def joined(trace: Trace, message: Any, stations: tuple[Station, ...]) -> None:
    """Add a message to a live trace, waiting where a floe is full.

    Raises:
        FlowError: the trace ended before the message was accepted.
        FlowStateError: the trace is ending.
    """
    full = _pushed(trace, entering(trace, message, stations), loops=called_from(trace))
    for accepted in full:
        if not await accepted:
            raise trace.error or FlowStateError(f"trace {trace.id!r} ended before the message was accepted")


def joined_nowait(trace: Trace, message: Any, stations: tuple[Station, ...]) -> None:
    """Add a message to a live trace now.

    Raises:
        asyncio.QueueFull: a floe is full.
    """
    parcels = entering(trace, message, stations)
    for parcel in parcels:
        if not has_place(parcel):
            raise asyncio.QueueFull(full_text(parcel))
    _pushed(trace, parcels)


def _pushed(trace: Trace, parcels: list[Parcel], loops: bool = False) -> list[asyncio.Future[bool]]:
    if trace.outcome is not None:
        raise FlowStateError(f"trace {trace.id!r} is ending: emit the message with another trace id")
    full = []
    for parcel in parcels:
        pushed = push(parcel, loops)
        if isinstance(pushed, Parcel):
            join_in(pushed)
        elif pushed is not None:
            full.append(pushed)
    return full


async def chunk(
    run: Run, parent: Message[Any], piece: StreamChunk, seq: int | None, to: tuple[Station, ...] | None
) -> StreamChunk:
    """Put a stream chunk in from outside: to the nodes that take it, to the live trace's reader, or to Rookery."""
    trace = run.traces.get(parent.trace_id)
    piece.seq = (seq or 0) if trace is None else numbered(trace, piece.stream_id, seq)
    stations = tuple(s for s in run.entries if s.takes_chunks()) if to is None else to
    if stations:
        await emitted(run, parent.model_copy(update={"payload": piece}), stations)
        return piece
    channel = run.rookery if trace is None else reader_of(trace)
    if channel is not None:
        await channel.put(piece)
    return piece


async def emitted(run: Run, message: Any, stations: tuple[Station, ...]) -> str:
    """Put a message into its live trace, or into a new one, waiting for room; the trace's id."""
    trace = live(run, message)
    if trace is not None:
        await joined(trace, message, stations)
    else:
        trace = admitted(run, message, EMIT, None) or await waited(run, message, EMIT, None)
        started(trace, message, stations)
    return trace.id


def emitted_nowait(run: Run, message: Any, stations: tuple[Station, ...]) -> str:
    """`emitted` that never waits.

    Raises:
        asyncio.QueueFull: there is no slot for the trace, or no place in it.
    """
    trace = live(run, message)
    if trace is not None:
        joined_nowait(trace, message, stations)
    else:
        trace = admitted_now(run, message, EMIT)
        started(trace, message, stations)
    return trace.id


def admitted_now(run: Run, message: Any, mode: str, timeout_s: float | None = None) -> Trace:
    """`admitted` for those who won't wait.

    Raises:
        asyncio.QueueFull: every slot is taken.
    """
    trace = admitted(run, message, mode, timeout_s)
    if trace is None:
        raise asyncio.QueueFull(
            f"{run.max_traces} traces are in flight (max_traces): wait for one, or use `await emit` or `await ask`"
        )
    return trace


def live(run: Run, message: Any) -> Trace | None:
    """The trace that a message would join."""
    return run.traces.get(message.trace_id) if isinstance(message, Message) else None
