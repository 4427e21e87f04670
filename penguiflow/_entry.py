"""How messages enter: into a new trace, or into one that is live.

Rules: a message is accepted when its trace is registered, and from then on the trace ends in exactly one way. What
joins a live trace takes its place in order, even before the trace has taken its first step. While the flow stops,
nothing joins one but what its own nodes send.
"""

from __future__ import annotations

import asyncio
from typing import Any

from penguiflow._arrival import Arrival, admitted, admitted_now, refuse_late, waited
from penguiflow._channel import ChannelClosed
from penguiflow._chunks import numbered
from penguiflow._context import Context
from penguiflow._errors import FlowErrorCode, FlowStateError
from penguiflow._exits import reader_of
from penguiflow._floes import full_text, has_place, let_in, push
from penguiflow._lifecycle import expire
from penguiflow._messages import Message, StreamChunk, is_of
from penguiflow._models import WM
from penguiflow._parcel import Parcel
from penguiflow._run import Run
from penguiflow._station import Station
from penguiflow._strands import begin, join_in
from penguiflow._trace import EMIT, Trace, called_from


def _entering(trace: Trace, arrival: Arrival, stations: tuple[Station, ...]) -> list[Parcel]:
    """The first parcels of a message, each with a `meta` of its own."""
    message = arrival.message
    if not arrival.enveloped:
        return [Context(trace, station, message, None, trace.headers, None, -1, ()) for station in stations]
    return [
        Context(trace, station, message.payload, message, message.headers, dict(message.meta), -1, ())
        for station in stations
    ]


def started(trace: Trace, arrival: Arrival, stations: tuple[Station, ...]) -> None:
    """Set a trace going, unless its deadline has passed already."""
    if trace.deadline is not None and trace.deadline <= trace.run.clock():
        first = _entering(trace, arrival, stations)[0]
        trace.controlled = is_of(first._payload, WM) and any(station.controller for station in stations)
        expire(trace, FlowErrorCode.DEADLINE_EXCEEDED, first)
    else:
        begin(trace, _entering(trace, arrival, stations))


async def _joined(trace: Trace, arrival: Arrival, stations: tuple[Station, ...]) -> None:
    """Add a message to a live trace, waiting where a floe is full; whoever gives up withdraws what still lines up.

    Raises:
        FlowError: the trace ended before the message was accepted.
        FlowStateError: the trace is ending, or the flow is stopping.
    """
    refuse_late(trace.run)
    full = _pushed(trace, _entering(trace, arrival, stations), loops=called_from(trace))
    await let_in(full)
    if not all(accepted.result() for accepted in full):
        raise trace.error or FlowStateError(f"trace {trace.id!r} ended before the message was accepted")


def _joined_nowait(trace: Trace, arrival: Arrival, stations: tuple[Station, ...]) -> None:
    """Add a message to a live trace now.

    Raises:
        asyncio.QueueFull: a floe is full.
        FlowStateError: the trace is ending, or the flow is stopping.
    """
    refuse_late(trace.run)
    parcels = _entering(trace, arrival, stations)
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
    if trace is None:
        refuse_late(run)
    piece.seq = (seq or 0) if trace is None else numbered(trace, piece.stream_id, seq)
    stations = tuple(s for s in run.entries if s.takes_chunks()) if to is None else to
    if stations:
        await emitted(run, parent.model_copy(update={"payload": piece}), stations)
        return piece
    channel = run.rookery if trace is None else reader_of(trace)
    try:
        if channel is not None:
            await channel.put(piece)
    except ChannelClosed:
        over = f"flow {run.name!r} was stopped" if channel is run.rookery else f"trace {parent.trace_id!r} ended"
        raise FlowStateError(f"{over} while this chunk waited for room") from None
    return piece


async def emitted(run: Run, message: Any, stations: tuple[Station, ...]) -> str:
    """Put a message into its live trace, or into a new one, waiting for room; the trace's id."""
    arrival = Arrival(run, message)
    trace = arrival.live(run)
    if trace is not None:
        await _joined(trace, arrival, stations)
    else:
        trace = admitted(run, arrival, EMIT) or await waited(run, arrival, EMIT)
        started(trace, arrival, stations)
    return trace.id


def emitted_nowait(run: Run, message: Any, stations: tuple[Station, ...]) -> str:
    """`emitted` that never waits.

    Raises:
        asyncio.QueueFull: there is no slot for the trace, or no place in it.
    """
    arrival = Arrival(run, message)
    trace = arrival.live(run)
    if trace is not None:
        _joined_nowait(trace, arrival, stations)
    else:
        trace = admitted_now(run, arrival, EMIT)
        started(trace, arrival, stations)
    return trace.id
