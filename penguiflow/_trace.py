"""The state of a run: its traces, and for each what runs, what waits and what came out.

Rules: all state about one trace is in one object; nothing here acts. `outcome` is `None` while a trace lives and is set
once; `settled` follows when its last strand is out, and then nobody waits on it any more.
"""

from __future__ import annotations

import asyncio
from contextvars import Context as Variables
from contextvars import ContextVar
from typing import TYPE_CHECKING

from penguiflow._channel import Channel
from penguiflow._errors import FlowError, FlowErrorCode
from penguiflow._messages import Budget, Headers
from penguiflow._rooms import Bucket, Room, Strand
from penguiflow._run import Run

if TYPE_CHECKING:
    from penguiflow._parcel import Output, Parcel

ASK, STREAM, START, EMIT, CHILD = "ask", "stream", "start", "emit", "child"
COMPLETED, FAILED, CANCELLED, EXPIRED = "completed", "failed", "cancelled", "expired"


class Ledger:
    """What a trace has used up, with its branches, loops and subflows."""

    __slots__ = ("budget", "cost", "hops", "tokens")

    def __init__(self, budget: Budget | None) -> None:
        self.budget: Budget | None = budget
        self.hops: int = 0
        self.tokens: int = 0
        self.cost: float = 0.0

    def overdrawn(self) -> FlowErrorCode | None:
        """Which limit has been passed, if one has."""
        budget = self.budget
        if budget is None:
            return None
        if budget.hops is not None and self.hops > budget.hops:
            return FlowErrorCode.HOP_BUDGET_EXHAUSTED
        if budget.tokens is not None and self.tokens > budget.tokens:
            return FlowErrorCode.TOKEN_BUDGET_EXHAUSTED
        if budget.cost is not None and self.cost > budget.cost:
            return FlowErrorCode.COST_BUDGET_EXHAUSTED
        return None


class Trace:
    """One trace, or one run of a subflow inside a trace."""

    __slots__ = (
        "announced",
        "answered",
        "budget",
        "busy",
        "caller",
        "children",
        "collects",
        "context",
        "controlled",
        "deadline",
        "deadline_s",
        "epoch",
        "error",
        "forsaken",
        "forwards",
        "grace",
        "headers",
        "heard",
        "held",
        "id",
        "iterated",
        "joins",
        "ledger",
        "limited",
        "mode",
        "outcome",
        "outputs",
        "parent",
        "reader",
        "rooms",
        "root",
        "run",
        "runs",
        "settled",
        "slot",
        "spilled",
        "started",
        "strands",
        "streams",
        "timer",
        "top",
        "ts",
        "unbegun",
        "waiters",
        "wants_message",
    )

    def __init__(self, run: Run, mode: str, trace_id: str, parent: Trace | None) -> None:
        self.run: Run = run
        self.mode: str = mode
        self.unbegun: list[Parcel] | None = None  # the first parcels, until the root strand takes its first step
        self.collects: bool = mode not in (EMIT, START)  # whether outputs are only kept for the end
        self.id: str = trace_id
        self.parent: Trace | None = parent
        self.outcome: str | None = None
        self.error: FlowError | None = None
        self.settled: bool = False
        self.slot: bool = False
        self.announced: bool = False
        self.limited: bool = False  # whether a deadline or a budget must be looked at
        self.strands: dict[Strand, None] = {}  # in the order they began
        self.busy: dict[int, int] = {}
        self.rooms: dict[int, Room] | None = None
        self.joins: dict[int, Bucket] | None = None
        self.children: dict[Trace, None] | None = None
        self.outputs: list[Output] = []
        self.top: Trace | None = None  # of a nested run: the trace that it is part of
        self.iterated: bool = False  # whether somebody reads its outputs as they come
        self.spilled: bool = False  # whether there were too many of them to be kept as well
        self.heard: bool = False  # whether somebody has asked for its end
        self.forsaken: bool = False  # whether nobody can any more
        self.answered: bool = False  # whether a controller that ran out has left an answer
        self.controlled: bool = False  # whether a controller loop runs in it
        self.reader: Channel | None = None
        self.streams: dict[str, int] | None = None
        self.waiters: list[asyncio.Future[None]] | None = None
        self.held: list[asyncio.Semaphore] | None = None  # places under `max_concurrency` that its runs occupy
        self.deadline: float | None = None  # in the loop's time
        self.timer: asyncio.TimerHandle | None = None
        self.grace: asyncio.TimerHandle | None = None
        self.context: Variables | None = None
        self.root: Strand | None = None  # the first, which runs in `context`
        self.started: float = 0.0
        self.epoch: float = 0.0
        self.ts: float | None = None
        self.caller: Parcel | None = None  # the node that a nested run runs in
        self.forwards: bool = False  # whether a nested run's chunks go where its caller's would
        self.runs: int = 0
        self.headers: Headers | None = None
        self.deadline_s: float | None = None
        self.budget: Budget | None = None
        self.wants_message: bool = False
        self.ledger: Ledger

    @property
    def owner(self) -> Trace:
        """The trace itself or, of a nested run, the one that it is part of."""
        return self.top or self

    def whole(self) -> list[Trace]:
        """It and what is nested in it, however deep: each before what is nested in that."""
        found = [self]
        for trace in found:
            found += trace.children or ()
        return found

    def inside(self, limit: asyncio.Semaphore) -> bool:
        """Whether a trace that waits for this one occupies a place under the limit."""
        outer = self.parent
        while outer is not None:
            if outer.held and limit in outer.held:
                return True
            outer = outer.parent
        return False

    def surplus(self, index: int) -> bool:
        """Whether what a join holds came after it was filled, by some of the nodes before it: nobody misses it."""
        station, bucket = self.run.stations[index], (self.joins or {}).get(index)
        if station.join is None or bucket is None:
            return False
        return bucket.fired > 0 and station.join.k < len(station.predecessors)

    def pending(self) -> int:
        """How many of its messages wait anywhere."""
        waiting = sum(len(room.items) for room in self.rooms.values()) if self.rooms else 0
        return waiting + (sum(len(bucket.items) for bucket in self.joins.values()) if self.joins else 0)

    def waiting_for(self, index: int) -> int:
        """How many of its messages wait for a node."""
        if self.rooms is None and self.joins is None:
            return 0
        if self.joins is not None and index in self.joins:
            return len(self.joins[index].items)
        return len(self.rooms[index].items) if self.rooms and index in self.rooms else 0


current_trace: ContextVar[Trace | None] = ContextVar("penguiflow_trace", default=None)


def called_from(trace: Trace) -> bool:
    """Whether a node of this trace calls, or of one that it waits for."""
    caller = current_trace.get()
    while caller is not None and caller is not trace:
        caller = caller.parent
    return caller is trace
