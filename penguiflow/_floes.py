"""Moves messages: into a node's lane, into its waiting room, or into the queue for a place there.

Rules: what happens to a message is decided in one synchronous step, `push`: run it, keep it back, or line up where the
floe is full. Only then does anybody wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextvars import copy_context
from typing import Any, Final

from penguiflow._exits import surface, surface_nowait
from penguiflow._joins import fires, gather
from penguiflow._parcel import Parcel
from penguiflow._rooms import Room
from penguiflow._station import Station
from penguiflow._trace import Trace

OVERFLOW: Final = 1024  # how many messages beyond its size a floe on a cycle may hold before it fails

RUNS, PARKS, QUEUES, BURSTS = range(4)


def push(parcel: Parcel, loops: bool = False) -> Parcel | asyncio.Future[bool] | None:
    """Take a message to its node: the parcel to run now, `None` if it is kept back, a future if the floe is full.

    The future's result says whether the message was accepted in the end. With `loops`, whoever pushes may be what the
    floe waits for, as on a cycle.

    Raises:
        asyncio.QueueFull: the floe is on a cycle and at its limit.
    """
    trace, index = parcel._trace, parcel._station.index
    place = _place(parcel, loops)
    if parcel._station.join is not None and place not in (QUEUES, BURSTS):
        joined = gather(parcel)
        if joined is None:
            return None
        parcel = joined
    if place == RUNS:
        trace.busy[index] = trace.busy.get(index, 0) + 1
        return parcel
    if place == BURSTS:
        raise asyncio.QueueFull(full_text(parcel))
    parcel._since = trace.run.clock()
    room = _room(trace, index)
    if loops:
        room.let_in(parcel._edge, gather)  # nobody overtakes who lines up
    outside = parcel._edge < 0 and trace.context is not None
    variables = trace.context.copy() if outside and trace.context is not None else copy_context()
    if place == PARKS:
        room.park(parcel, variables)
        return None
    accepted: asyncio.Future[bool] = trace.run.loop.create_future()
    room.queue(parcel, variables, accepted)
    return accepted


def _place(parcel: Parcel, loops: bool = False) -> int:
    """What there is for a message at its node: a lane, a place to wait, a queue for a place, or nothing any more."""
    trace, station, edge = parcel._trace, parcel._station, parcel._edge
    room = None if trace.rooms is None else trace.rooms.get(station.index)
    if not fires(parcel) and not (room and room.queued(edge)):
        return PARKS  # in the join
    if trace.busy.get(station.index, 0) < station.lanes and not (room and room.items):
        return RUNS
    if room is None:
        return PARKS
    count, size = room.counts.get(edge, 0), trace.run.queue_maxsize
    if count < size and not room.queued(edge):
        return PARKS
    if not (loops or _on_cycle(parcel)):
        return QUEUES
    return PARKS if count < size + OVERFLOW else BURSTS


def _on_cycle(parcel: Parcel) -> bool:
    cycle = parcel._station.cycle
    return cycle is not None and parcel._edge >= 0 and cycle == parcel._trace.run.stations[parcel._edge].cycle


def _room(trace: Trace, index: int) -> Room:
    if trace.rooms is None:
        trace.rooms = {}
    if index not in trace.rooms:
        trace.rooms[index] = Room()
    return trace.rooms[index]


def full_text(parcel: Parcel) -> str:
    """That a floe is full, for an error."""
    trace, station = parcel._trace, parcel._station
    source = trace.run.stations[parcel._edge].name if parcel._edge >= 0 else "OpenSea"
    waiting, cycle = trace.waiting_for(station.index), "; it is on a cycle, where waiting would never end"
    text = f"the floe {source} -> {station.name} holds {waiting} messages of this trace"
    return text + cycle if _on_cycle(parcel) else text


def has_place(parcel: Parcel) -> bool:
    """Whether `push` would neither wait nor raise."""
    return _place(parcel) in (RUNS, PARKS)


def release(trace: Trace, station: Station) -> None:
    """A run of the node is over: its lane passes to what waits longest, or is free."""
    index = station.index
    room = None if trace.rooms is None else trace.rooms.get(index)
    if room is not None and room.items:
        parcel, variables = room.next(gather)
        trace.run.kernel.spawn(parcel, variables)
        return
    running = trace.busy[index] - 1
    if running:
        trace.busy[index] = running
    else:
        del trace.busy[index]


def deliver(
    parcel: Parcel, stations: tuple[Station, ...], value: Any
) -> tuple[Parcel | None, list[asyncio.Future[bool]]]:
    """Take a value to each of `stations`, or to none: one parcel to go on with, if any, and the full floes to wait for.

    Raises:
        asyncio.QueueFull: a floe is on a cycle and at its limit.
    """
    following: Parcel | None = None
    full: list[asyncio.Future[bool]] = []
    parcels: list[Parcel] = parcel.onward(stations, value)
    if parcel._station.cycle is not None:
        _refuse_burst(parcels)
    for onward in parcels:
        pushed = push(onward)
        if isinstance(pushed, Parcel):
            if following is None:
                following = pushed
            else:
                parcel._trace.run.kernel.spawn(pushed)
        elif pushed is not None:
            full.append(pushed)
    if following is not None and full:
        parcel._trace.run.kernel.spawn(following)
        following = None
    return following, full


def _refuse_burst(parcels: Iterable[Parcel]) -> None:
    for parcel in parcels:
        if _place(parcel) == BURSTS:
            raise asyncio.QueueFull(full_text(parcel))


async def let_in(full: list[asyncio.Future[bool]]) -> None:
    """Wait until every full floe has taken its message in; whoever gives up withdraws those that still line up."""
    try:
        for accepted in full:
            await accepted
    except asyncio.CancelledError:
        for accepted in full:
            accepted.cancel()
        raise


async def send(parcel: Parcel, value: Any, stations: tuple[Station, ...], leaves: bool) -> None:
    """Emit a value from inside a node, waiting where a floe or Rookery is full."""
    following, full = deliver(parcel, stations, value)
    if following is not None:
        parcel._trace.run.kernel.spawn(following)
    await let_in(full)
    if leaves:
        await surface(parcel, value)


def send_nowait(parcel: Parcel, value: Any, stations: tuple[Station, ...], leaves: bool) -> None:
    """Emit a value to all of its targets, or to none.

    Raises:
        asyncio.QueueFull: a floe, or Rookery, is full.
    """
    run = parcel._trace.run
    parcels: list[Parcel] = parcel.onward(stations, value)
    for onward in parcels:
        if not has_place(onward):
            raise asyncio.QueueFull(full_text(onward))
    if leaves and not surface_nowait(parcel, value):
        raise asyncio.QueueFull(f"Rookery holds {run.queue_maxsize} messages: fetch some, or use `await emit`")
    for onward in parcels:
        pushed = push(onward)
        if isinstance(pushed, Parcel):
            run.kernel.spawn(pushed)
