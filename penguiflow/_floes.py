"""Moves messages: into a node's lane, into its waiting room, out at Rookery, and chunks to whoever reads them.

Rules: what happens to a message is decided in one synchronous step, `push`: run it, keep it back, or line up where the
floe is full. Only then does anybody wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextvars import copy_context
from typing import Any, Final, NamedTuple

from penguiflow._channel import Channel
from penguiflow._errors import FlowError, FlowErrorCode
from penguiflow._joins import gather
from penguiflow._messages import Message, StreamChunk
from penguiflow._models import WM, FinalAnswer
from penguiflow._node import ROOKERY, Node
from penguiflow._parcel import Output, Parcel, enveloped
from penguiflow._rooms import Room
from penguiflow._station import Station
from penguiflow._trace import CHILD, EMIT, START, Trace

OVERFLOW: Final = 1024  # how many messages beyond its size a floe on a cycle may hold before it fails


def push(parcel: Parcel, wait: bool = True) -> Parcel | asyncio.Future[bool] | None:
    """Take a message to its node: the parcel to run now, `None` if it is kept back, a future if the floe is full.

    The future's result says whether the message was accepted in the end.

    Raises:
        asyncio.QueueFull: the floe is full and `wait` is false, or the floe is on a cycle and at its limit.
    """
    if parcel._station.join is not None and not parcel._gathered:
        joined = gather(parcel)
        if joined is None:
            return None
        parcel = joined
    trace, station = parcel._trace, parcel._station
    index = station.index
    room = None if trace.rooms is None else trace.rooms.get(index)
    running = trace.busy.get(index, 0)
    if running < station.lanes and not (room and room.items):
        trace.busy[index] = running + 1
        return parcel
    return _keep(parcel, _room(trace, index), wait)


def _room(trace: Trace, index: int) -> Room:
    if trace.rooms is None:
        trace.rooms = {}
    if index not in trace.rooms:
        trace.rooms[index] = Room()
    return trace.rooms[index]


def _keep(parcel: Parcel, room: Room, wait: bool) -> asyncio.Future[bool] | None:
    trace, edge = parcel._trace, parcel._edge
    parcel._since = trace.run.loop.time()
    if not _full(parcel, room):
        room.park(parcel, copy_context())
        return None
    if _on_cycle(parcel):
        if room.counts[edge] < OVERFLOW + trace.run.queue_maxsize:
            room.park(parcel, copy_context())
            return None
        raise asyncio.QueueFull(_full_text(parcel, room) + "; it is on a cycle, where waiting would never end")
    if not wait:
        raise asyncio.QueueFull(_full_text(parcel, room))
    accepted: asyncio.Future[bool] = trace.run.loop.create_future()
    room.queue(parcel, copy_context(), accepted)
    return accepted


def _full(parcel: Parcel, room: Room) -> bool:
    return room.counts.get(parcel._edge, 0) >= parcel._trace.run.queue_maxsize or room.queued(parcel._edge)


def _on_cycle(parcel: Parcel) -> bool:
    return parcel._edge >= 0 and parcel._station.cyclic and parcel._trace.run.stations[parcel._edge].cyclic


def _full_text(parcel: Parcel, room: Room) -> str:
    source = parcel._trace.run.stations[parcel._edge].name if parcel._edge >= 0 else "OpenSea"
    return (
        f"the floe {source} -> {parcel._station.name} holds {room.counts.get(parcel._edge, 0)} messages of this trace"
    )


def has_place(trace: Trace, station: Station, edge: int) -> bool:
    """Whether `push` from that edge would neither wait nor raise."""
    room = trace.rooms.get(station.index) if trace.rooms else None
    if station.join is not None or room is None or not (room.items or room.queues):
        return True
    return room.counts.get(edge, 0) < trace.run.queue_maxsize and not room.queued(edge)


def release(trace: Trace, station: Station) -> None:
    """A run of the node is over: its lane passes to what waits longest, or is free."""
    index = station.index
    room = None if trace.rooms is None else trace.rooms.get(index)
    if room is not None and room.items:
        parcel, variables = room.next()
        trace.run.kernel.spawn(parcel, variables)
        return
    running = trace.busy[index] - 1
    if running:
        trace.busy[index] = running
    else:
        del trace.busy[index]


def deliver(parcel: Parcel, stations: tuple[Station, ...], value: Any) -> tuple[Any, list[asyncio.Future[bool]]]:
    """Take a value to each of `stations`: one parcel to go on with, if any, and the full floes to wait for."""
    following: Any = None
    full: list[asyncio.Future[bool]] = []
    for onward in parcel.onward(stations, value):
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


async def send(parcel: Parcel, value: Any, stations: tuple[Station, ...], leaves: bool) -> None:
    """Emit a value from inside a node, waiting where a floe or Rookery is full."""
    following, full = deliver(parcel, stations, value)
    if following is not None:
        parcel._trace.run.kernel.spawn(following)
    for accepted in full:
        await accepted
    if leaves:
        await surface(parcel, value)


def send_nowait(parcel: Parcel, value: Any, stations: tuple[Station, ...], leaves: bool) -> None:
    """Emit a value to all of its targets, or to none.

    Raises:
        asyncio.QueueFull: a floe, or Rookery, is full.
    """
    trace = parcel._trace
    parcels = parcel.onward(stations, value)
    for onward in parcels:
        if not (has_place(trace, onward._station, onward._edge) or _on_cycle(onward)):
            raise asyncio.QueueFull(_full_text(onward, _room(trace, onward._station.index)))
    if leaves and not _surface_nowait(parcel, value):
        raise asyncio.QueueFull(f"Rookery holds {trace.run.queue_maxsize} messages: fetch some, or use `await emit`")
    for onward in parcels:
        pushed = push(onward, wait=False)
        if isinstance(pushed, Parcel):
            trace.run.kernel.spawn(pushed)


def routes(station: Station, value: Any) -> tuple[tuple[Station, ...], bool]:
    """Where a node's output goes by itself: to which nodes, and whether to Rookery."""
    payload = value.payload if isinstance(value, Message) else value
    if isinstance(payload, StreamChunk):
        return station.chunk_targets, not station.chunk_targets
    if not station.controller:
        return station.targets, not station.targets
    if isinstance(payload, FinalAnswer):
        return (), True
    if isinstance(payload, WM):
        return (station,), False
    others = tuple(s for s in station.targets if s is not station)
    return others, not others


def named(station: Station, to: Any, known: Iterable[Station]) -> tuple[tuple[Station, ...], bool]:
    """The targets that somebody named: nodes, names or `ROOKERY`, one or several.

    Raises:
        FlowError: `ROUTING`; a target isn't among `known`.
    """
    wanted = [to] if isinstance(to, str | Node) else list(to)
    by_name = {s.name: s for s in known}
    found: dict[Station, None] = {}
    leaves = False
    for target in wanted:
        name = target.name if isinstance(target, Node) else target
        if name == ROOKERY:
            leaves = True
        elif name in by_name and (not isinstance(target, Node) or by_name[name].node is target):
            found[by_name[name]] = None
        else:
            raise FlowError(
                node_name=station.name,
                node_id=station.node_id,
                code=FlowErrorCode.ROUTING,
                message=f"{station.name!r} has no successor {name!r}: it leads to {_list(by_name)}",
                metadata={"target": str(name), "successors": list(by_name)},
            )
    return tuple(found), leaves


def _list(names: Iterable[str]) -> str:
    return ", ".join([*names, ROOKERY])


class Exit(NamedTuple):
    """How a value leaves: who gets it at once, as what, and what the trace keeps for its waiters."""

    channel: Channel | None
    item: Any
    output: Output | None


async def surface(parcel: Parcel, value: Any) -> None:
    """Let a value leave the flow at Rookery, waiting for room."""
    way, tag = _exit(parcel, value), parcel._station.name
    if way.channel is not None and not way.channel.offer(way.item, tag):
        await way.channel.put(way.item, tag)
    if way.output is not None:
        parcel._trace.outputs.append(way.output)


def _surface_nowait(parcel: Parcel, value: Any) -> bool:
    way = _exit(parcel, value)
    if way.channel is not None and not way.channel.offer(way.item, parcel._station.name):
        return False
    if way.output is not None:
        parcel._trace.outputs.append(way.output)
    return True


def _exit(parcel: Parcel, value: Any) -> Exit:
    trace = parcel._trace
    payload, raw, headers, meta = parcel.opened(value)
    if isinstance(payload, StreamChunk):
        return Exit(reader_of(trace), payload, None)
    if trace.mode == EMIT:
        item = payload if raw is None else enveloped(trace, payload, raw, headers, meta)
        return Exit(trace.run.rookery, item, None)
    output = Output(payload, raw, headers, meta)
    if trace.mode != START:
        return Exit(None, None, output)
    item = enveloped(trace, payload, raw, headers, meta) if trace.wants_message else payload
    return Exit(trace.reader, item, output)


def reader_of(trace: Trace) -> Channel | None:
    """Who reads the chunks of a trace that no node takes; `None`: nobody."""
    while trace.mode == CHILD and trace.parent is not None:
        trace = trace.parent
    return trace.run.rookery if trace.mode == EMIT else trace.reader
