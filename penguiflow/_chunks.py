"""Stream chunks: numbered per stream, sent to the nodes that take them or straight to the trace's reader.

Rules: `seq` counts on over retries, nodes and subflows, since it belongs to the trace. The first chunk that a new
attempt writes to a stream that an earlier one wrote to carries `meta["restart"]`.
"""

from __future__ import annotations

from typing import Any

from penguiflow._channel import Channel
from penguiflow._exits import named, reader_of
from penguiflow._floes import send
from penguiflow._messages import StreamChunk, check_text, new_chunk
from penguiflow._observe import node_event
from penguiflow._parcel import Parcel
from penguiflow._trace import Trace


def made(
    parcel: Parcel, text: str, stream_id: str | None, seq: int | None, done: bool, meta: dict[str, Any] | None
) -> StreamChunk:
    """The next chunk that a node writes."""
    trace = parcel._trace
    name = trace.id if stream_id is None else stream_id
    if text.__class__ is not str:
        check_text(text)
    marks = parcel._stream_ids
    if (marks is None or marks.get(name) is not False or trace.caller is not None) and _first_of_attempt(parcel, name):
        meta = {**(meta or {}), "restart": True}
    if seq is None and (streams := (trace.top or trace).streams) is not None:
        number = streams.get(name, 0)  # `numbered`, without the call: all but a stream's first chunk come by here
        streams[name] = number + 1
    else:
        number = numbered(trace, name, seq)
    chunk = new_chunk(name, number, text, done, meta)
    if trace.run.dispatch.listeners:
        extra = {"stream_id": name, "seq": number, "done": done, "length": len(text)}
        node_event("stream_chunk", parcel, extra=extra)
    return chunk


def _first_of_attempt(parcel: Parcel | None, name: str) -> bool:
    """Note that a node, and those that it runs inside, write to a stream; whether one of them does so anew."""
    anew = False
    while parcel is not None:
        marks = parcel._stream_ids
        if marks is None:
            parcel._stream_ids = {name: False}
        elif marks.get(name) is not False:
            anew = anew or name in marks
            marks[name] = False
        parcel = parcel._trace.caller
    return anew


def numbered(trace: Trace, stream_id: str, seq: int | None) -> int:
    """The chunk's number: the stream's next, or the caller's own, from which the stream then counts on.

    Raises:
        ValueError: the caller's number is negative.
    """
    owner = trace.top or trace
    streams = owner.streams
    if streams is None:
        streams = owner.streams = {}
    if seq is None:
        seq = streams.get(stream_id, 0)
    elif not isinstance(seq, int) or seq < 0:
        raise ValueError(f"seq counts chunks from 0, and {seq!r} is no such number: leave it out to count on")
    streams[stream_id] = seq + 1
    return seq


def restart(parcel: Parcel) -> None:
    """A new attempt begins: what it writes first to each stream used so far voids what is there."""
    for name in parcel._stream_ids or ():
        parcel._stream_ids[name] = True  # type: ignore[index]


def way_out(parcel: Parcel) -> tuple[Parcel, Channel | None]:
    """Who passes a chunk on: a node with successors that take it, or else the channel of the trace's reader."""
    trace = parcel._trace
    while not parcel._station.chunk_targets and trace.forwards and trace.caller is not None:
        parcel, trace = trace.caller, trace.caller._trace
    return parcel, None if parcel._station.chunk_targets else reader_of(trace)


async def pass_on(parcel: Parcel, chunk: StreamChunk, to: Any) -> None:
    """Take a chunk to the nodes that it goes to, waiting where a floe is full."""
    station = parcel._station
    if to is None:
        await send(parcel, chunk, station.chunk_targets, False)
    else:
        targets, leaves = named(station, to, station.successors)
        await send(parcel, chunk, targets, leaves)
