"""Joins: any k messages of a trace become one.

Rules: what a join holds belongs to the trace and ends with it. The k messages are listed by the order of the
predecessors, then of arrival; their `meta` is merged in that order, later wins.
"""

from __future__ import annotations

from typing import Any

from penguiflow._lifecycle import fail, rest, starvation
from penguiflow._parcel import Parcel
from penguiflow._reports import deliver_error
from penguiflow._rooms import Bucket
from penguiflow._trace import Trace


def fires(parcel: Parcel) -> bool:
    """Whether a node will be run for this message: always, but for a join that isn't full with it."""
    join, joins = parcel._station.join, parcel._trace.joins
    if join is None or parcel._gathered:
        return True
    bucket = None if joins is None else joins.get(parcel._station.index)
    return (0 if bucket is None else len(bucket.items)) + 1 >= join.k


def gather(parcel: Parcel) -> Parcel | None:
    """Add a message to its join; the joined message once there are k. Any other message is as it was."""
    trace, station = parcel._trace, parcel._station
    if station.join is None or parcel._gathered:
        return parcel
    if trace.joins is None:
        trace.joins = {}
    bucket = trace.joins.setdefault(station.index, Bucket())
    bucket.items.append(parcel)
    if len(bucket.items) < station.join.k:
        if bucket.timer is None:
            _wait(trace, station.index, bucket)
        return None
    if bucket.timer is not None:
        bucket.timer.cancel()
        bucket.timer = None
    parts, bucket.items = sorted(bucket.items, key=_order), []
    bucket.fired += 1
    return _joined(parcel, parts)


def _wait(trace: Trace, index: int, bucket: Bucket) -> None:
    join = trace.run.stations[index].join
    if join is not None and join.timeout_s is not None and not trace.surplus(index):
        bucket.timer = trace.run.call_later(join.timeout_s, _give_up, trace, index, bucket)


def _order(parcel: Parcel) -> int:
    """Where a message stands among the predecessors (in the order of the nodes); sorting is stable."""
    return parcel._edge


def _joined(last: Parcel, parts: list[Parcel]) -> Parcel:
    metas = [part._meta for part in parts if part._meta is not None]
    meta: dict[str, Any] | None = None
    for part in metas:
        meta = {**(meta or {}), **part}
    joined = type(last)(
        last._trace,
        last._station,
        [part._payload for part in parts],
        None,
        parts[0]._headers,
        meta,
        last._edge,
        tuple(parent for part in parts for parent in part._parents),
    )
    joined._gathered = True
    return joined


def _give_up(trace: Trace, index: int, bucket: Bucket) -> None:
    """The join's own time-out."""
    bucket.timer = None
    if trace.outcome is not None or not bucket.items:
        return
    room = (trace.rooms or {}).get(index)
    if room is not None and any(room.queued(edge) for edge in tuple(room.queues)):
        _wait(trace, index, bucket)  # what it waits for has come, and stands in line for a place
        return
    error = starvation(trace, index)
    bucket.items.clear()
    fail(trace, error)
    deliver_error(trace, error)
    if trace.outcome is None and not trace.strands:
        rest(trace)
