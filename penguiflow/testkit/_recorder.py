"""`Recorder`: keeps the events of each trace, as many as it may.

Rules: events stand in the order in which they came. Of too many traces the oldest is forgotten as a whole, of a trace
with too many events its oldest events; `dropped` says how many events that were. A trace whose id is used again, once
it has finished, takes the place of the one before.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from typing import TypeAlias

from penguiflow import FlowEvent
from penguiflow.testkit._lending import Lendable

Numbered: TypeAlias = tuple[int, FlowEvent]

ENDS = ("node_success", "node_failed", "node_cancelled", "node_expired")


class Recorder(Lendable):
    """Keeps the events that it is called with: give it as `on_event=`, or let `watch(flow)` make one.

    Args:
        max_traces: How many traces it keeps.
        max_events: How many events it keeps of each, and of what belongs to no trace.

    Raises:
        ValueError: a limit below 1.

    Attributes:
        dropped: How many events it has forgotten.
    """

    def __init__(self, max_traces: int = 256, max_events: int = 10_000) -> None:
        if max_traces < 1 or max_events < 1:
            raise ValueError(f"a recorder keeps at least one trace and one event, not {max_traces} and {max_events}")
        super().__init__()
        self.dropped: int = 0
        self._max_traces: int = max_traces
        self._max_events: int = max_events
        self._count: int = 0
        self._traces: dict[str, deque[Numbered]] = {}
        self._others: deque[Numbered] = deque()

    def __call__(self, event: FlowEvent) -> None:
        """Keep an event."""
        kept = self._others if event.trace_id is None else self._kept(event.trace_id, event.event_type)
        self._count += 1
        kept.append((self._count, event))
        if len(kept) > self._max_events:
            kept.popleft()
            self.dropped += 1

    def _kept(self, trace_id: str, kind: str) -> deque[Numbered]:
        known = self._traces.get(trace_id)
        if known and kind == "trace_start" and known[-1][1].event_type == "trace_finish":
            del self._traces[trace_id]  # another trace, whose sender gave it the same name
        if trace_id not in self._traces:
            if len(self._traces) >= self._max_traces:
                self.dropped += len(self._traces.pop(next(iter(self._traces))))
            self._traces[trace_id] = deque()
        return self._traces[trace_id]

    @property
    def events(self) -> list[FlowEvent]:
        """Every event, of all traces and of none."""
        return _in_order([*self._others, *(numbered for kept in self._traces.values() for numbered in kept)])

    @property
    def trace_ids(self) -> tuple[str, ...]:
        """The traces, in the order in which they were first heard of."""
        return tuple(self._traces)

    def trace(self, trace_id: str | None = None) -> list[FlowEvent]:
        """The events of one trace; without an id, of the one that began last.

        Raises:
            LookupError: nothing is known of such a trace.
        """
        if not self._traces:
            raise LookupError("no trace has been recorded yet: nothing was sent into the flow while it was watched")
        wanted = next(reversed(self._traces)) if trace_id is None else trace_id
        if wanted not in self._traces:
            raise LookupError(f"no trace {wanted!r} has been recorded: there are {', '.join(self._traces)}")
        return [event for _, event in self._traces[wanted]]

    def clear(self) -> None:
        """Forget everything."""
        self._traces.clear()
        self._others.clear()
        self.dropped = 0

    def types(self, *kinds: str) -> list[str]:
        """The event types in order; only `kinds`, if some are given."""
        return [e.event_type for e in self.events if not kinds or e.event_type in kinds]

    def of(self, kind: str) -> list[FlowEvent]:
        """The events of one type."""
        return [e for e in self.events if e.event_type == kind]

    def runs(self) -> list[str]:
        """The nodes in the order in which they started."""
        return [e.node_name or "" for e in self.of("node_start")]

    def assert_lawful(self) -> None:
        """Check that every trace that started finished once, and every node run that started ended once, in time.

        Raises:
            AssertionError: one didn't.
        """
        wrong = unlawful(self.events)
        if wrong:
            raise AssertionError("\n".join(wrong))


def _in_order(numbered: Iterable[Numbered]) -> list[FlowEvent]:
    return [event for _, event in sorted(numbered, key=lambda pair: pair[0])]


def unlawful(events: list[FlowEvent]) -> list[str]:
    """What events say that must not be: beginnings and ends that don't match, and what goes on after the end."""
    starts = Counter(e.trace_id for e in events if e.event_type == "trace_start")
    finishes = Counter(e.trace_id for e in events if e.event_type == "trace_finish")
    begun = Counter(e.invocation_id for e in events if e.event_type == "node_start")
    ended = Counter(e.invocation_id for e in events if e.event_type in ENDS)
    names = {e.invocation_id: f"a run of {e.node_name!r}" for e in events if e.node_name}
    traces = {trace: f"trace {trace}" for trace in (*starts, *finishes)}
    wrong = [*_unmatched(starts, finishes, traces), *_unmatched(begun, ended, names)]
    over: set[str | None] = set()
    for event in events:
        if event.event_type == "trace_finish":
            over.add(event.trace_id)
        elif event.event_type.startswith("node_") and event.trace_id in over:
            wrong.append(f"{event.event_type} of {event.node_name!r} came after the end of its trace")
    return wrong


def _unmatched(begun: Counter[str | None], ended: Counter[str | None], names: dict[str | None, str]) -> Iterable[str]:
    for key in dict.fromkeys((*begun, *ended)):
        if (begun[key], ended[key]) != (1, 1):
            yield f"{names[key]} began {_times(begun[key])} and ended {_times(ended[key])}"


def _times(count: int) -> str:
    return {0: "never", 1: "once", 2: "twice"}.get(count, f"{count} times")
