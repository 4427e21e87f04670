"""What flows add up while they run.

Rules: a ledger has one writer at a time, the event loop of the flow that holds it, so adding locks nothing; whoever
reads does so from any thread, and copies before looking. A ledger holds one cell for each thing that it has seen, up to
its limits, so what it takes does not grow with the number of events, and no event is ever dropped.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Iterable
from typing import NamedTuple

OTHER = "(other)"  # no name in Python looks so


class Mark(NamedTuple):
    """The trace that was counted last: an exemplar."""

    trace_id: str | None
    value: float
    ts: float


class Timing:
    """A histogram of seconds."""

    __slots__ = ("bounds", "counts", "marks", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds: tuple[float, ...] = bounds
        self.counts: list[int] = [0] * (len(bounds) + 1)
        self.marks: list[Mark | None] = [None] * (len(bounds) + 1)
        self.total: float = 0.0

    def add(self, seconds: float, trace_id: str | None, ts: float) -> None:
        """Count one duration."""
        place = bisect_left(self.bounds, seconds)
        self.counts[place] += 1
        self.total += seconds
        self.marks[place] = Mark(trace_id, seconds, ts)

    def merge(self, other: Timing) -> None:
        """Add what another histogram of the same bounds holds at this moment."""
        self.counts = [mine + more for mine, more in zip(self.counts, other.counts[:], strict=True)]
        self.marks = [later(mine, more) for mine, more in zip(self.marks, other.marks[:], strict=True)]
        self.total += other.total

    @property
    def count(self) -> int:
        """How many durations it has counted."""
        return sum(self.counts[:])


class Tally:
    """A number with an exemplar."""

    __slots__ = ("mark", "value")

    def __init__(self) -> None:
        self.value: float = 0
        self.mark: Mark | None = None

    def add(self, trace_id: str | None, ts: float) -> None:
        """Count one."""
        self.value += 1
        self.mark = Mark(trace_id, 1, ts)


def later(one: Mark | None, other: Mark | None) -> Mark | None:
    """The later of two marks."""
    if one is None or other is None:
        return one or other
    return other if other.ts > one.ts else one


class FlowCells:
    """What is added up for a flow: what `ended` by outcome, `started` and `active` by mode, `failures` by error type.

    `ran` says that it ran by itself, and not only inside others.
    """

    __slots__ = (
        "active",
        "cost",
        "ended",
        "failures",
        "first_chunk",
        "hops",
        "plugin_errors",
        "ran",
        "running",
        "started",
        "tokens",
    )

    def __init__(self) -> None:
        self.ran: bool = False
        self.running: int = 0
        self.started: dict[str, int] = {}
        self.active: dict[str, int] = {}
        self.ended: dict[str, Timing] = {}
        self.failures: dict[str, Tally] = {}
        self.hops: int = 0
        self.tokens: float = 0
        self.cost: float = 0.0
        self.first_chunk: Timing | None = None
        self.plugin_errors: dict[tuple[str, str], int] = {}


class NodeCells:
    """What is added up for a node. `runs` are by the type of the event that ended them, `errors` by error type."""

    __slots__ = ("active", "characters", "chunks", "errors", "queue_wait", "retries", "runs")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.active: int = 0
        self.queue_wait: Timing = Timing(bounds)
        self.runs: dict[str, Timing] = {}
        self.errors: dict[str, Tally] = {}
        self.retries: int = 0
        self.chunks: int = 0
        self.characters: int = 0


class Limits(NamedTuple):
    """How many labels a ledger makes."""

    flows: int
    nodes: int
    error_types: int


class Names:
    """The names that have labels of their own, in all ledgers of a book: limits hold for what a scrape shows."""

    __slots__ = ("_lock", "error_types", "flows", "nodes")

    def __init__(self) -> None:
        self._lock: threading.Lock = threading.Lock()
        self.flows: set[object] = set()
        self.nodes: set[object] = set()
        self.error_types: set[object] = set()

    def admit(self, known: set[object], name: object, most: int) -> bool:
        """Whether a name is among those known, or there is room for it."""
        with self._lock:
            if name not in known and len(known) < most:
                known.add(name)
            return name in known


class Ledger:
    """The cells of one flow after the other, kept for the life of the process, since counters never go back."""

    __slots__ = ("bounds", "error_types", "flows", "limits", "names", "nodes")

    def __init__(self, bounds: tuple[float, ...], limits: Limits, names: Names) -> None:
        self.bounds: tuple[float, ...] = bounds
        self.limits: Limits = limits
        self.names: Names = names
        self.flows: dict[str, FlowCells] = {}
        self.nodes: dict[tuple[str, str | None], NodeCells] = {}
        self.error_types: set[str] = set()

    def new_flow(self, name: str) -> FlowCells:
        """The cells of a flow that has none of its own."""
        if not self.names.admit(self.names.flows, name, self.limits.flows):
            name = OTHER
        return self.flows.get(name) or self.flows.setdefault(name, FlowCells())

    def new_node(self, flow_name: str, node_name: str | None) -> NodeCells:
        """The cells of a node that has none of its own."""
        key: tuple[str, str | None] = (flow_name, node_name)
        if not self.names.admit(self.names.nodes, key, self.limits.nodes):
            key = (OTHER, OTHER)
        return self.nodes.get(key) or self.nodes.setdefault(key, NodeCells(self.bounds))

    def expect(self, flow_name: str, node_names: Iterable[str]) -> None:
        """Make the cells of nodes before anything happens: what goes from nothing to 1 has no rate."""
        for name in node_names:
            if (flow_name, name) not in self.nodes:
                self.new_node(flow_name, name)

    def error_type(self, name: str) -> str:
        """The label of an error type."""
        if name not in self.error_types:
            if not self.names.admit(self.names.error_types, name, self.limits.error_types):
                return OTHER
            self.error_types.add(name)
        return name

    def rest(self) -> None:
        """Nothing runs any more: what shows the present is 0, what counts stays."""
        for flow in self.flows.values():
            flow.running = 0
            flow.active = dict.fromkeys(flow.active, 0)
        for node in self.nodes.values():
            node.active = 0
