"""One message on its way to one node: what a node run starts from, and what its context is made of.

Rules: one parcel per node run. The envelope is kept in parts, and a `Message` is made only for those who ask. `_meta`
belongs to this branch alone: whoever makes a parcel copies it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from penguiflow._events import numbered
from penguiflow._messages import Headers, Message, built, is_of
from penguiflow._station import Station
from penguiflow._trace import Trace

NO_HEADERS = Headers.model_construct()


class Output(NamedTuple):
    """What left at Rookery, in the parts of its envelope."""

    payload: Any
    raw: Message[Any] | None
    headers: Headers | None
    meta: dict[str, Any] | None


def enveloped(
    trace: Trace,
    payload: Any,
    raw: Message[Any] | None,
    headers: Headers | None,
    meta: dict[str, Any] | None,
    model: type[Message[Any]] = Message,
) -> Message[Any]:
    """A message of a trace: what its author set, with the trace's own id, deadline and budget."""
    values = {
        "payload": payload,
        "headers": headers or NO_HEADERS,
        "trace_id": trace.id,
        "ts": trace.ts if raw is None else raw.ts,
        "deadline_s": trace.deadline_s,
        "meta": {} if meta is None else meta,
        "budget": trace.budget,
    }
    if raw is not None and (raw.__pydantic_extra__ or raw.__pydantic_private__):
        return raw.model_copy(update=values)
    if raw is not None:
        values = dict(raw.__dict__) | values
        model = type(raw) if issubclass(type(raw), model) else model
    return built(model if len(model.model_fields) <= len(values) else Message, values)


class Parcel:
    """A value, its envelope, and the node that it goes to."""

    __slots__ = (
        "_attempted",
        "_closed",
        "_edge",
        "_emits",
        "_emitted",
        "_gathered",
        "_headers",
        "_id",
        "_message",
        "_meta",
        "_number",
        "_parents",
        "_payload",
        "_raw",
        "_since",
        "_started",
        "_station",
        "_stream_ids",
        "_targets",
        "_trace",
        "attempt",
    )

    def __init__(
        self,
        trace: Trace,
        station: Station,
        payload: Any,
        raw: Message[Any] | None,
        headers: Headers | None,
        meta: dict[str, Any] | None,
        edge: int,
        parents: tuple[str | int, ...],
    ) -> None:
        self._trace: Trace = trace
        self._station: Station = station
        self._payload: Any = payload
        self._raw: Message[Any] | None = raw  # the message that the node before returned, if it returned one
        self._headers: Headers | None = headers
        self._meta: dict[str, Any] | None = meta
        self._edge: int = edge  # the index of the node before; -1 for OpenSea
        self._parents: tuple[str | int, ...] = parents  # ids of invocations or, of those never asked for, numbers
        self.attempt: int = 0
        self._message: Message[Any] | None = None
        self._number: int = 0  # counts the trace's invocations from 1, once an observer has seen it start
        self._id: str | None = None  # the invocation's id, once somebody has asked for it
        self._emits: int = 0  # how often it has emitted, chunks included
        self._emitted: bool = False  # whether the attempt under way has emitted
        self._stream_ids: dict[str, bool] | None = None  # streams written to: does the next chunk restart it?
        self._targets: tuple[tuple[Station, ...], bool] | None = None  # where a router sends it
        self._closed: bool = False  # whether its terminal event is out
        self._gathered: bool = False  # whether a join has put it together
        self._started: float = 0.0  # when an observer saw it start
        self._attempted: float = 0.0  # when the attempt under way began, if it isn't the first
        self._since: float = 0.0  # when it began to wait, in the loop's time

    @property
    def message(self) -> Message[Any]:
        """The message with its envelope. Its `meta` is this branch's own: what a node writes there travels on."""
        return self._message or self._enveloped(Message)

    @property
    def _invocation(self) -> str | None:
        """Names this run of the node, if an observer has seen it start. Made only for those who ask, and once."""
        if self._id is None and self._number:
            self._id = numbered(self._trace.id, self._number)
        return self._id

    def _enveloped(self, model: type[Message[Any]]) -> Message[Any]:
        if self._meta is None:
            self._meta = {}
        self._message = enveloped(self._trace, self._payload, self._raw, self._headers, self._meta, model)
        return self._message

    def opened(self, value: Any) -> tuple[Any, Message[Any] | None, Headers | None, dict[str, Any] | None]:
        """What a node returned, in parts: payload, the message if it was one, headers and meta of the branch."""
        if not is_of(value, Message):
            return value, None, self._headers, self._meta
        headers = value.headers if "headers" in value.model_fields_set else self._headers
        meta = self._meta
        if value.meta is not meta:
            meta = {**(meta or {}), **value.meta}
        return value.payload, value, headers, meta

    def onward(self, stations: tuple[Station, ...], value: Any) -> list[Any]:
        """Parcels with `value` for each of `stations`, each with a `meta` of its own."""
        payload, raw, headers, meta = self.opened(value)
        parents = (self._id or self._number,) if self._number else ()
        make = type(self)
        edge = self._station.index
        return [
            make(self._trace, s, payload, raw, headers, None if meta is None else meta.copy(), edge, parents)
            for s in stations
        ]

    def successor(self, station: Station, value: Any) -> Any:
        """`onward` for a single payload that is no message: the common case."""
        meta = self._meta
        return type(self)(
            self._trace,
            station,
            value,
            None,
            self._headers,
            None if meta is None else meta.copy(),
            self._station.index,
            (self._id or self._number,) if self._number else (),
        )
