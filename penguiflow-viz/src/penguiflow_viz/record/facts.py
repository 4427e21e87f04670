"""What a recorder keeps of nodes, of runs and of traces.

Rules: the recorder alone writes, anybody may read. Times are epoch seconds, durations milliseconds. Nothing here holds
a message, an exception or anything else that belongs to the flow, so keeping a record keeps nothing alive.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

SUCCESS, FAILED, CANCELLED, EXPIRED = "success", "failed", "cancelled", "expired"


class NodeRecord:
    """A node, over all traces.

    Attributes:
        node_id: Its id in the flow's events.
        name: Its name.
        flow: The flow that it stands in.
        runs: Runs that have begun.
        running: Runs that have begun and not ended.
        ended: Ended runs by outcome: `success`, `failed`, `cancelled`, `expired`.
        errors: Attempts that raised.
        timeouts: Attempts that took longer than they may.
        retries: Attempts that followed another.
        chunks: Chunks that it wrote.
        dropped: Messages that it, being a router, sent nowhere.
        busy_ms: How long its ended runs took, together.
        waited_ms: How long messages waited for it, together.
        deepest: The most messages of one trace that were seen waiting for it.
        inputs: Messages that it took, by the id of the node whose run they came from; `""` for messages from outside.
        latencies: Milliseconds of the latest runs that ended well or failed.
        last_error: What the latest failed attempt raised.
    """

    __slots__ = (
        "busy_ms",
        "chunks",
        "deepest",
        "dropped",
        "ended",
        "errors",
        "flow",
        "inputs",
        "last_error",
        "latencies",
        "name",
        "node_id",
        "retries",
        "running",
        "runs",
        "timeouts",
        "waited_ms",
    )

    def __init__(self, node_id: str, name: str, flow: str, window: int) -> None:
        self.node_id: str = node_id
        self.name: str = name
        self.flow: str = flow
        self.runs: int = 0
        self.running: int = 0
        self.ended: dict[str, int] = {SUCCESS: 0, FAILED: 0, CANCELLED: 0, EXPIRED: 0}
        self.errors: int = 0
        self.timeouts: int = 0
        self.retries: int = 0
        self.chunks: int = 0
        self.dropped: int = 0
        self.busy_ms: float = 0.0
        self.waited_ms: float = 0.0
        self.deepest: int = 0
        self.inputs: dict[str, int] = {}
        self.latencies: deque[float] = deque(maxlen=window)
        self.last_error: str = ""

    def quantiles(self, *shares: float) -> tuple[float, ...] | None:
        """The latencies that these shares of the latest runs did not exceed (nearest rank); `None` before the first.

        `quantiles(0.5, 0.95)` are p50 and p95, in milliseconds.
        """
        ordered = sorted(self.latencies)
        return tuple(ordered[max(math.ceil(share * len(ordered)), 1) - 1] for share in shares) if ordered else None


class Attempt(NamedTuple):
    """An attempt that did not succeed.

    Attributes:
        began: When it began.
        ended: When it ended.
        timeout: Whether it took longer than it may; otherwise it raised.
        error: What it raised.
    """

    began: float
    ended: float
    timeout: bool
    error: str


class RunRecord:
    """One run of a node: an invocation, with its attempts.

    Attributes:
        invocation_id: Its id in the flow's events.
        node: The node.
        parents: The ids of the runs that its messages came from. Of what enters a subflow or playbook, the run that
            calls it.
        began: When it began.
        ended: When it ended; `None` while it goes on.
        waited_ms: How long its message had waited.
        outcome: `success`, `failed`, `cancelled` or `expired`; empty while it goes on.
        error: Why it failed.
        attempts: Attempts that did not succeed, the first `MOST_ATTEMPTS` of them.
        retries: How many attempts followed another.
        resumed: When the last of those began, or will.
        chunks: How many chunks it wrote.
        ticks: When it wrote the first `MOST_TICKS` of them.
        last_chunk: When it wrote the last.
    """

    # Defaults of the class, since most runs keep most of them: making a record is most of what a recorder costs.
    ended: float | None = None
    outcome: str = ""
    error: str = ""
    attempts: tuple[Attempt, ...] = ()
    retries: int = 0
    resumed: float = 0.0
    chunks: int = 0
    ticks: list[float] | None = None
    last_chunk: float = 0.0

    def __init__(
        self, invocation_id: str, node: NodeRecord, parents: tuple[str, ...], began: float, waited_ms: float
    ) -> None:
        self.invocation_id: str = invocation_id
        self.node: NodeRecord = node
        self.parents: tuple[str, ...] = parents
        self.began: float = began
        self.waited_ms: float = waited_ms

    def inside(self, other: RunRecord) -> bool:
        """Whether the other run calls the flow that this one enters."""
        return entered(self.node, other.node.node_id)


MOST_ATTEMPTS = 20
MOST_TICKS = 50


def entered(node: NodeRecord, source: str) -> bool:
    """Whether messages from the node `source` enter the flow of this node: its caller, or the subflow's own node."""
    return node.node_id == f"{source}/{node.flow}/{node.name}"


class TraceRecord:
    """One trace.

    Attributes:
        trace_id: Its id.
        flow: The flow.
        mode: How it came in: `ask`, `stream`, `start` or `emit`; empty if that was not seen.
        began: When it began.
        ended: When it ended; `None` while it goes on.
        outcome: `completed`, `failed`, `cancelled` or `expired`; empty while it goes on.
        error: Why it did not complete.
        runs: Its runs by their ids, in the order they began. If there are too many, those that ended first are gone.
        gone: How many those are.
        running: How many runs go on.
        errors: Attempts that raised, or took too long; what comes up through a subflow or playbook counts once.
        failed_in: The id of the node where the latest of them was.
        failed_with: What it raised there.
        retries: Attempts that followed another.
        chunks: Chunks that its nodes wrote.
        hops: How many node runs it has used up, once it has ended.
        tokens: How many tokens.
        cost: How much money.
    """

    mode: str = ""
    ended: float | None = None
    outcome: str = ""
    error: str = ""
    gone: int = 0
    running: int = 0
    errors: int = 0
    failed_in: str = ""
    failed_with: str = ""
    retries: int = 0
    chunks: int = 0
    hops: int = 0
    tokens: int = 0
    cost: float = 0.0

    def __init__(self, trace_id: str, flow: str, began: float) -> None:
        self.trace_id: str = trace_id
        self.flow: str = flow
        self.began: float = began
        self.runs: dict[str, RunRecord] = {}

    def drop_oldest(self) -> bool:
        """Forget the run that ended first, or nearly so; `False` if the oldest ones all go on."""
        for _ in range(min(len(self.runs), 8)):
            first = next(iter(self.runs))
            run = self.runs.pop(first)
            if run.ended is not None:
                self.gone += 1
                return True
            self.runs[first] = run  # it goes on: let it stand behind the others
        return False

    def now_in(self) -> Iterator[str]:
        """The names of nodes that run, the latest run first."""
        return (run.node.name for run in reversed(self.runs.values()) if run.ended is None)
