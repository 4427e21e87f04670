"""Where a node's output goes: to which nodes, and out at Rookery to whoever waits there.

Rules: by itself a controller's memory goes round again, a final answer leaves, chunks go where they are taken, and
anything else to every successor or, with none, to Rookery.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from typing import Any, NamedTuple

from penguiflow._channel import Channel
from penguiflow._errors import FlowError, FlowErrorCode
from penguiflow._messages import Message, StreamChunk, is_of
from penguiflow._models import WM, FinalAnswer
from penguiflow._names import meant
from penguiflow._node import ROOKERY, Node
from penguiflow._parcel import Output, Parcel, enveloped
from penguiflow._station import Station
from penguiflow._trace import CHILD, EMIT, START, Trace


def routes(station: Station, value: Any) -> tuple[tuple[Station, ...], bool]:
    """Where a node's output goes by itself: to which nodes, and whether to Rookery."""
    payload = value.payload if is_of(value, Message) else value
    if is_of(payload, StreamChunk):
        return station.chunk_targets, not station.chunk_targets
    if not station.controller:
        return station.targets, not station.targets
    if is_of(payload, FinalAnswer):
        return (), True
    if is_of(payload, WM):
        return (station,), False
    others = tuple(s for s in station.targets if s is not station)
    return others, not others


def named(station: Station, to: Any, known: Iterable[Station]) -> tuple[tuple[Station, ...], bool]:
    """The targets that somebody named: nodes, names or `ROOKERY`, one or several.

    Raises:
        FlowError: `ROUTING`; a target isn't among `known`.
    """
    by_name = {s.name: s for s in known}
    wanted = [to] if isinstance(to, str | Node) else list(to)
    if isinstance(to, Set):  # it has no order of its own: theirs is the order drawn
        wanted.sort(key=lambda target: _place(target, by_name))
    found: dict[Station, None] = {}
    leaves = False
    for target in wanted:
        name = target.name if isinstance(target, Node) else target
        if name == ROOKERY:
            leaves = True
        elif name in by_name and (not isinstance(target, Node) or by_name[name].node is target):
            found[by_name[name]] = None
        else:
            near = "" if name in by_name else meant(str(name), by_name)
            raise FlowError(
                node_name=station.name,
                node_id=station.node_id,
                code=FlowErrorCode.ROUTING,
                message=f"{station.name!r} has no successor {name!r}: it leads to {_list(by_name)}{near}",
                metadata={"target": str(name), "successors": list(by_name)},
            )
    return tuple(found), leaves


def _place(target: Any, by_name: dict[str, Station]) -> tuple[int, str]:
    name = target.name if isinstance(target, Node) else str(target)
    return (list(by_name).index(name) if name in by_name else len(by_name)), name


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
        _kept(parcel._trace, way.output)


def _kept(trace: Trace, output: Output) -> None:
    """Keep an output for the end; of those that somebody reads as they come, no more than a floe holds."""
    if trace.spilled or (trace.iterated and len(trace.outputs) >= trace.run.queue_maxsize):
        trace.outputs.clear()
        trace.spilled = True
    else:
        trace.outputs.append(output)


def surface_nowait(parcel: Parcel, value: Any) -> bool:
    """`surface` if there is room now; whether there was."""
    way = _exit(parcel, value)
    if way.channel is not None and not way.channel.offer(way.item, parcel._station.name):
        return False
    if way.output is not None:
        _kept(parcel._trace, way.output)
    return True


def _exit(parcel: Parcel, value: Any) -> Exit:
    trace = parcel._trace
    payload, raw, headers, meta = parcel.opened(value)
    if is_of(payload, StreamChunk):
        return Exit(reader_of(trace), payload, None)
    meta = None if meta is None else meta.copy()  # the node may go on writing to its own
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
