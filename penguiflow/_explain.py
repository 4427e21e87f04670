"""What a trace waits for, in words. Rules: reads, never changes; the same state gives the same text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from penguiflow._rooms import Strand
from penguiflow._trace import Trace


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a trace is doing.

    Attributes:
        trace_id: The trace.
        status: `live`, or `ending` once it has been decided how it ends.
        waits_for: A sentence for each thing that it waits for, in the order of the nodes.
    """

    trace_id: str
    status: str
    waits_for: tuple[str, ...]

    def __str__(self) -> str:
        return "\n  - ".join([f"trace {self.trace_id} is {self.status}", *self.waits_for])


def explained(trace: Trace) -> Explanation:
    """Explain a trace that has not settled."""
    status = "live" if trace.outcome is None else "ending"
    return Explanation(trace.id, status, tuple(_lines(trace)))


def _lines(trace: Trace) -> Iterator[str]:
    """What it and each trace nested in it waits for, however deep, those in the order of their names."""
    todo = [("", trace)]
    while todo:
        prefix, one = todo.pop()
        yield from (prefix + line for line in _waits(one))
        nested = sorted(one.children or (), key=lambda child: child.run.name, reverse=True)
        todo += [(f"{prefix}{child.run.name}: ", child) for child in nested]


def _waits(trace: Trace) -> list[str]:
    lines = []
    stations = trace.run.stations
    for station in stations:
        index = station.index
        strands = [s for s in trace.strands if s.parcel is not None and s.parcel._station is station]
        lines += [_running(strand, station.name) for strand in strands]
        room = (trace.rooms or {}).get(index)
        if room is not None:
            for edge, count in sorted(room.counts.items()):
                source = stations[edge].name if edge >= 0 else "OpenSea"
                full = count >= trace.run.queue_maxsize
                if count:
                    lines.append(
                        f"{count} messages wait on {source} -> {station.name}" + (", a full floe" if full else "")
                    )
        bucket = (trace.joins or {}).get(index)
        if bucket is not None and bucket.items and station.join is not None and not trace.surplus(index):
            came = {parcel._edge for parcel in bucket.items}
            absent = [stations[i].name for i in station.predecessors if i not in came]
            none = f", none from {', '.join(absent)}" if absent else ""
            lines.append(f"join {station.name!r} has {len(bucket.items)} of {station.join.k}{none}")
    if not trace.strands and not lines:
        lines.append("nothing runs and nothing waits")
    return lines


def _running(strand: Strand, name: str) -> str:
    attempt = strand.parcel.attempt if strand.parcel is not None else 0
    return f"node {name!r} is running" + (f" (attempt {attempt + 1})" if attempt else "")
