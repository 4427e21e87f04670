"""The state of a run: its traces, and for each what runs, what waits and what came out.

Rules: all state about one trace is in one object; nothing here acts. `outcome` is `None` while a trace lives and is set
once; `settled` follows when its last strand is out, and then nobody waits on it any more.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextvars import Context as Variables
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from penguiflow._channel import Channel
from penguiflow._dispatch import Dispatch
from penguiflow._errors import FlowError, FlowErrorCode
from penguiflow._messages import Budget, Headers

if TYPE_CHECKING:
    from penguiflow._parcel import Output, Parcel
    from penguiflow._station import Station

ASK, STREAM, START, EMIT, CHILD = "ask", "stream", "start", "emit", "child"
COMPLETED, FAILED, CANCELLED, EXPIRED = "completed", "failed", "cancelled", "expired"


class Kernel(Protocol):
    """What the layers below the runtime ask of it."""

    def spawn(self, parcel: Parcel, variables: Variables | None = None) -> None:
        """Run a parcel, whose lane is taken, in a strand of its own."""

    async def playbook(self, parcel: Parcel, flow: Any, message: Any, timeout: float | None) -> Any:
        """Run another flow inside a node."""

    async def subflow(self, parcel: Parcel) -> Any:
        """Run the flow that a subflow node stands for."""


class Ledger:
    """What a trace has used up, with its branches, loops and subflows."""

    __slots__ = ("budget", "cost", "hops", "owner", "tokens")

    def __init__(self, owner: Trace, budget: Budget | None) -> None:
        self.owner = owner
        self.budget = budget
        self.hops = 0
        self.tokens = 0
        self.cost = 0.0

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


class Strand:
    """One task of a trace. `parcel` is what it carries; `None` before its first step."""

    __slots__ = ("parcel", "task")

    def __init__(self) -> None:
        self.task: asyncio.Task[None] | None = None
        self.parcel: Parcel | None = None


class Waiting(NamedTuple):
    """An emit that waits for a place in a full floe."""

    parcel: Parcel
    variables: Variables
    accepted: asyncio.Future[bool]


class Room:
    """What waits for one node of one trace, in order of arrival; and per floe, who waits to get in."""

    __slots__ = ("counts", "items", "queues")

    def __init__(self) -> None:
        self.items: deque[tuple[Parcel, Variables]] = deque()
        self.counts: dict[int, int] = {}
        self.queues: dict[int, deque[Waiting]] = {}

    def park(self, parcel: Parcel, variables: Variables) -> None:
        """Let a parcel in."""
        self.items.append((parcel, variables))
        self.counts[parcel._edge] = self.counts.get(parcel._edge, 0) + 1

    def next(self) -> tuple[Parcel, Variables]:
        """Let the longest waiting parcel out, and the first in its floe's queue in."""
        parcel, variables = self.items.popleft()
        edge = parcel._edge
        self.counts[edge] -= 1
        queue = self.queues.get(edge)
        while queue:
            entry = queue.popleft()
            if not entry.accepted.done():
                self.park(entry.parcel, entry.variables)
                entry.accepted.set_result(True)
                break
        return parcel, variables

    def queue(self, parcel: Parcel, variables: Variables, accepted: asyncio.Future[bool]) -> None:
        """Line up for a full floe."""
        self.queues.setdefault(parcel._edge, deque()).append(Waiting(parcel, variables, accepted))

    def queued(self, edge: int) -> bool:
        """Whether anybody lines up for this floe."""
        queue = self.queues.get(edge)
        while queue and queue[0].accepted.done():
            queue.popleft()
        return bool(queue)

    def clear(self) -> int:
        """Throw away what waits, and send home who lines up; returns how many messages that were."""
        count = len(self.items)
        self.items.clear()
        self.counts.clear()
        for queue in self.queues.values():
            for entry in queue:
                if not entry.accepted.done():
                    entry.accepted.set_result(False)
                    count += 1
        self.queues.clear()
        return count


class Bucket:
    """What a join holds in one trace."""

    __slots__ = ("fired", "items", "timer")

    def __init__(self) -> None:
        self.items: list[Parcel] = []
        self.fired = 0
        self.timer: asyncio.TimerHandle | None = None


class Hold:
    """A run of a node with `max_concurrency` occupies one of its places."""

    __slots__ = ("active", "limit")

    def __init__(self, limit: asyncio.Semaphore) -> None:
        self.limit = limit
        self.active = True


class Trace:
    """One trace, or one run of a subflow inside a trace."""

    __slots__ = (
        "announced",
        "budget",
        "busy",
        "children",
        "context",
        "controlled",
        "deadline",
        "deadline_s",
        "epoch",
        "error",
        "final",
        "grace",
        "headers",
        "holds",
        "id",
        "joins",
        "ledger",
        "limited",
        "mode",
        "outcome",
        "outlet",
        "outputs",
        "parent",
        "reader",
        "rooms",
        "root_task",
        "run",
        "runs",
        "settled",
        "slot",
        "started",
        "strands",
        "streams",
        "timer",
        "ts",
        "waiters",
        "wants_message",
    )

    def __init__(self, run: Run, mode: str, trace_id: str, parent: Trace | None) -> None:
        self.run = run
        self.mode = mode
        self.id = trace_id
        self.parent = parent
        self.outcome: str | None = None
        self.error: FlowError | None = None
        self.settled = False
        self.slot = False
        self.announced = False
        self.limited = False  # whether a deadline or a budget must be looked at
        self.strands: set[Strand] = set()
        self.busy: dict[int, int] = {}
        self.rooms: dict[int, Room] | None = None
        self.joins: dict[int, Bucket] | None = None
        self.children: set[Trace] | None = None
        self.outputs: list[Output] = []
        self.final: Any = None  # the answer of a controller that ran out
        self.controlled = False  # whether a controller loop runs in it
        self.reader: Channel | None = None
        self.streams: dict[str, int] | None = None
        self.waiters: list[asyncio.Future[None]] | None = None
        self.holds: tuple[Hold, ...] = ()
        self.deadline: float | None = None  # in the loop's time
        self.timer: asyncio.TimerHandle | None = None
        self.grace: asyncio.TimerHandle | None = None
        self.root_task: asyncio.Task[None] | None = None
        self.context: Variables | None = None
        self.started = 0.0
        self.epoch = 0.0
        self.ts: float | None = None
        self.outlet: Parcel | None = None  # the subflow node that a nested run's chunks leave by
        self.runs = 0
        self.headers: Headers | None = None
        self.deadline_s: float | None = None
        self.budget: Budget | None = None
        self.wants_message = False
        self.ledger: Ledger

    @property
    def live(self) -> bool:
        """Whether it goes on."""
        return self.outcome is None

    def pending(self) -> int:
        """How many of its messages wait anywhere."""
        waiting = sum(len(room.items) for room in self.rooms.values()) if self.rooms else 0
        return waiting + (sum(len(bucket.items) for bucket in self.joins.values()) if self.joins else 0)

    def waiting_for(self, index: int) -> int:
        """How many of its messages wait for a node."""
        if self.joins is not None and index in self.joins:
            return len(self.joins[index].items)
        return len(self.rooms[index].items) if self.rooms and index in self.rooms else 0


class Run:
    """One run of a flow: from `run()` to the end of `stop()`, on one loop. A subflow has one inside its parent's."""

    def __init__(
        self,
        name: str,
        stations: tuple[Station, ...],
        entries: tuple[Station, ...],
        dispatch: Dispatch,
        kernel: Kernel,
        *,
        queue_maxsize: int,
        max_traces: int,
        emit_errors: bool = False,
        parent: Run | None = None,
    ) -> None:
        self.name = name
        self.stations = stations
        self.entries = entries
        self.dispatch = dispatch
        self.kernel = kernel
        self.queue_maxsize = queue_maxsize
        self.max_traces = max_traces
        self.emit_errors = emit_errors
        self.root: Run = self if parent is None else parent.root
        self.loop = asyncio.get_running_loop()
        self.traces: dict[str, Trace] = {}
        self.used = 0
        self.queue: deque[asyncio.Future[None]] = deque()
        self.rookery = Channel(queue_maxsize)
        self.limits = {s.index: asyncio.Semaphore(s.limit) for s in stations if s.limit is not None}
        self.strays: set[asyncio.Task[None]] = set()
        self.resources: Any = None if parent is None else parent.resources
        self.ready: asyncio.Event | None = None
        self.broken: BaseException | None = None
        self.draining = False
        self.idle: list[Callable[[], None]] = []
        self.nested: dict[Any, Run] = {}
        self.kept: list[Any] = []


current_trace: ContextVar[Trace | None] = ContextVar("penguiflow_trace", default=None)
current_holds: ContextVar[tuple[Hold, ...]] = ContextVar("penguiflow_holds", default=())
