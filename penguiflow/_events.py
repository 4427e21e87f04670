"""What observers see: `FlowEvent` and the names of its types.

Rules: an event is built only when somebody listens to its type. It is a snapshot: nothing in it changes afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from penguiflow._messages import Message

FLOW_EVENTS = ("flow_start", "flow_stop")
TRACE_EVENTS = ("trace_start", "trace_finish", "trace_cancel_start", "trace_cancel_finish")
NODE_EVENTS = (
    "node_start",
    "node_success",
    "node_error",
    "node_timeout",
    "node_retry",
    "node_attempt",
    "node_failed",
    "node_cancelled",
    "node_expired",
)
OTHER_EVENTS = ("route_decided", "route_dropped", "stream_chunk", "plugin_error")
EVENT_TYPES = (*FLOW_EVENTS, *TRACE_EVENTS, *NODE_EVENTS, *OTHER_EVENTS)

NOTHING: Mapping[str, Any] = {}
NO_DEPTHS = (0, 0, 0)


def numbered(trace_id: str | None, number: int) -> str:
    """The id of a trace's invocation of that number."""
    return f"{trace_id}.{number}"


class Place(NamedTuple):
    """Where something happens. One for each node of a run, and one for the run itself: events share them."""

    flow_name: str
    node_name: str | None = None
    node_id: str | None = None


class FlowEvent:
    """One thing that happened. Read-only by convention; new fields may be added, none is ever taken away.

    Attributes:
        event_type: One of `penguiflow.EVENT_TYPES`.
        ts: When (epoch seconds).
        trace_id: The trace that it belongs to, if any.
        attempt: Counts a run's attempts from 0.
        latency_ms: How long the run (or, on attempt events, the attempt; on `trace_finish`, the trace) took.
        queue_wait_ms: How long the message waited for the node.
        trace_inflight: Strands of this trace under way: each carries one message.
        outcome: On `trace_finish`: `completed`, `failed`, `cancelled` or `expired`.
        error: The exception, where there is one.
        extra: What only some types have (`seq`, `targets`, `delay_s`, ...).
    """

    __slots__ = (
        "_depths",
        "_invocation",
        "_parents",
        "_place",
        "_source",
        "attempt",
        "error",
        "event_type",
        "extra",
        "latency_ms",
        "outcome",
        "queue_wait_ms",
        "trace_id",
        "trace_inflight",
        "ts",
    )

    def __init__(
        self,
        event_type: str,
        ts: float,
        place: Place,
        trace_id: str | None = None,
        invocation_id: str | None = None,
        parent_invocation_ids: tuple[str, ...] = (),
        attempt: int = 0,
        latency_ms: float | None = None,
        queue_wait_ms: float | None = None,
        depths: tuple[int, int, int] = NO_DEPTHS,
        trace_inflight: int = 0,
        outcome: str | None = None,
        error: BaseException | None = None,
        message: Any = None,
        extra: Mapping[str, Any] = NOTHING,
    ) -> None:
        self.event_type: str = event_type
        self.ts: float = ts
        self._place: Place = place
        self.trace_id: str | None = trace_id
        self._invocation: Any = invocation_id  # or the parcel that knows it
        self._parents: tuple[str | int, ...] = parent_invocation_ids
        self.attempt: int = attempt
        self.latency_ms: float | None = latency_ms
        self.queue_wait_ms: float | None = queue_wait_ms
        self._depths: tuple[int, int, int] = depths
        self.trace_inflight: int = trace_inflight
        self.outcome: str | None = outcome
        self.error: BaseException | None = error
        self._source: Any = message
        self.extra: Mapping[str, Any] = extra

    @property
    def flow_name(self) -> str:
        """The flow that it happened in; a subflow's own name inside a subflow."""
        return self._place.flow_name

    @property
    def node_name(self) -> str | None:
        """The node that it happened in, if any."""
        return self._place.node_name

    @property
    def node_id(self) -> str | None:
        """That node's id, unique over nested flows (`flow/subflow/node`)."""
        return self._place.node_id

    @property
    def invocation_id(self) -> str | None:
        """Names one run of a node, retries included."""
        known = self._invocation
        return known if known is None or known.__class__ is str else known._invocation

    @property
    def parent_invocation_ids(self) -> tuple[str, ...]:
        """The runs whose outputs this run consumes: several at a join, none at the entry."""
        trace = self.trace_id
        return tuple([i if isinstance(i, str) else numbered(trace, i) for i in self._parents])

    @property
    def queue_depth_in(self) -> int:
        """Messages of this trace that wait for the node."""
        return self._depths[0]

    @property
    def queue_depth_out(self) -> int:
        """Messages of this trace that wait for the node's successors."""
        return self._depths[1]

    @property
    def trace_pending(self) -> int:
        """Messages of this trace that wait anywhere."""
        return self._depths[2]

    @property
    def message(self) -> Message[Any] | None:
        """The message that the node runs on, or that begins the trace, with its envelope; `None` on other events."""
        source = self._source
        return source if source is None or isinstance(source, Message) else source.message

    @property
    def queue_depth(self) -> int:
        """`queue_depth_in + queue_depth_out`."""
        return self._depths[0] + self._depths[1]

    def to_payload(self) -> dict[str, Any]:
        """The event as a dictionary for logs: no message, the error as text, and only what is known."""
        payload: dict[str, Any] = {"event": self.event_type}
        for name in _PAYLOAD_FIELDS:
            value = getattr(self, name)
            if value is not None and value != ():
                payload[name] = value
        if self.error is not None:
            payload["error"] = f"{type(self.error).__name__}: {self.error}"
        return payload | dict(self.extra)

    def __repr__(self) -> str:
        where = f" {self.node_name}" if self.node_name else ""
        return f"<FlowEvent {self.event_type}{where} trace={self.trace_id}>"


_PAYLOAD_FIELDS = (
    "ts",
    "flow_name",
    "node_name",
    "node_id",
    "trace_id",
    "invocation_id",
    "parent_invocation_ids",
    "attempt",
    "latency_ms",
    "queue_wait_ms",
    "queue_depth_in",
    "queue_depth_out",
    "queue_depth",
    "trace_pending",
    "trace_inflight",
    "outcome",
)
