"""`Recorder`: an observer that keeps what overlays, waterfalls and the live view show.

Rules: what it keeps is bounded, whatever the flow does: traces that ended longest ago go first, then the runs of a
trace that ended first; totals go on. An event costs it a few dictionary look-ups; everything else is done when somebody
reads.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from typing import NamedTuple

from penguiflow import FlowEvent, Graph, hookimpl
from penguiflow_viz.overlay import Overlay
from penguiflow_viz.record.facts import (
    CANCELLED,
    EXPIRED,
    FAILED,
    MOST_ATTEMPTS,
    MOST_TICKS,
    SUCCESS,
    Attempt,
    NodeRecord,
    RunRecord,
    TraceRecord,
)
from penguiflow_viz.record.marks import overlaid

LONGEST_ERROR = 300
MOST_ERRORS = 50
MOST_NODES = 10_000
MOST_INPUTS = 1_000
OUTCOMES = ("completed", "failed", "cancelled", "expired")


class Mishap(NamedTuple):
    """An attempt that failed.

    Attributes:
        ts: When.
        trace_id: In which trace.
        node_id: Which node.
        node: The node's name.
        error: What it raised.
    """

    ts: float
    trace_id: str
    node_id: str
    node: str
    error: str


class Recorder:
    """Keeps what happens in a flow: `create(..., plugins=[recorder])`, or `with flow.watch(recorder.on_event)`.

    Args:
        max_traces: How many traces that have ended it keeps.
        max_runs: How many runs it keeps of a trace; the latest ones.
        max_runs_in_all: How many runs it keeps of all traces.
        max_live: Of how many traces in flight it keeps more than totals.
        window: From how many latest runs of a node p50 and p95 are taken.

    Attributes:
        started: Traces that have begun.
        finished: Traces that have ended, by outcome.
        errors: Attempts that failed, in all; what comes up through a subflow or playbook counts once.
        mishaps: The latest of them.
        stopped: Whether the flow has stopped since.

    Raises:
        ValueError: a limit is below 1.
    """

    name = "recorder"
    api_version = "2"
    event_types = (
        "flow_start",
        "flow_stop",
        "trace_start",
        "trace_finish",
        "node_start",
        "node_success",
        "node_error",
        "node_timeout",
        "node_retry",
        "node_attempt",
        "node_failed",
        "node_cancelled",
        "node_expired",
        "route_dropped",
        "stream_chunk",
    )

    def __init__(
        self,
        *,
        max_traces: int = 200,
        max_runs: int = 1_000,
        max_runs_in_all: int = 50_000,
        max_live: int = 10_000,
        window: int = 500,
    ) -> None:
        limits = {
            "max_traces": max_traces,
            "max_runs": max_runs,
            "max_runs_in_all": max_runs_in_all,
            "max_live": max_live,
            "window": window,
        }
        for name, limit in limits.items():
            if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
                raise ValueError(f"{name} is a whole number from 1 on, not {limit!r}")
        self._max_traces = max_traces
        self._max_runs = max_runs
        self._max_in_all = max_runs_in_all
        self._max_live = max_live
        self._window = window
        self._nodes: dict[str, NodeRecord] = {}
        self._live: dict[str, TraceRecord] = {}
        self._ended: OrderedDict[str, TraceRecord] = OrderedDict()
        self._kept = 0
        self.started: int = 0
        self.finished: dict[str, int] = dict.fromkeys(OUTCOMES, 0)
        self.errors: int = 0
        self.mishaps: deque[Mishap] = deque(maxlen=MOST_ERRORS)
        self.stopped: bool = False
        self._handlers: dict[str, Callable[[FlowEvent], None]] = {
            "flow_start": self._flow_start,
            "flow_stop": self._flow_stop,
            "trace_start": self._trace_start,
            "trace_finish": self._trace_finish,
            "node_start": self._node_start,
            "node_success": self._node_success,
            "node_error": self._attempt_failed,
            "node_timeout": self._attempt_failed,
            "node_retry": self._node_retry,
            "node_attempt": self._node_attempt,
            "node_failed": self._node_failed,
            "node_cancelled": self._node_ended,
            "node_expired": self._node_ended,
            "route_dropped": self._route_dropped,
            "stream_chunk": self._stream_chunk,
        }

    @hookimpl
    def on_event(self, event: FlowEvent) -> None:
        """Keep an event."""
        kind = event.event_type
        if kind == "node_start":  # most events are one of these two: spare them the look-up
            self._node_start(event)
        elif kind == "node_success":
            self._node_success(event)
        elif kind in self._handlers:
            self._handlers[kind](event)

    # --- what is read

    @property
    def nodes(self) -> Mapping[str, NodeRecord]:
        """What is known of each node that has run, by its id, in the order they first ran."""
        return self._nodes

    @property
    def live(self) -> tuple[TraceRecord, ...]:
        """The traces in flight, the oldest first."""
        return tuple(self._live.values())

    @property
    def ended(self) -> tuple[TraceRecord, ...]:
        """The traces that have ended and are kept, the latest first."""
        return tuple(reversed(self._ended.values()))

    def trace(self, trace_id: str | None = None) -> TraceRecord:
        """A trace; without an id, the one that began last.

        Raises:
            LookupError: none is kept, or none of this id; the text says how many are.
        """
        if trace_id is not None:
            found = self._live.get(trace_id) or self._ended.get(trace_id)
        else:
            both = (*self._ended.values(), *self._live.values())
            found = max(both, key=lambda trace: trace.began, default=None)
        if found is None:
            which = "no trace" if trace_id is None else f"no trace {trace_id!r:.80}"
            raise LookupError(
                f"{which} is kept: {len(self._live)} are in flight, and of the last that ended {len(self._ended)} are "
                f"kept (max_traces={self._max_traces})"
            )
        return found

    def overlay(self, graph: Graph, trace_id: str | None = None) -> Overlay:
        """What is laid over a drawing of the graph: all that happened, or one trace.

        Raises:
            LookupError: the trace isn't kept.
        """
        return overlaid(self, graph, trace_id)

    # --- events

    def _flow_start(self, event: FlowEvent) -> None:
        self.stopped = False
        name = event.flow_name  # another flow may be in the midst of its run
        for trace_id in [id for id, trace in self._live.items() if trace.flow == name]:  # whose end was not seen
            self._put_away(self._live.pop(trace_id))
        for node in self._nodes.values():
            if node.node_id.startswith(f"{name}/"):
                node.running = 0

    def _flow_stop(self, event: FlowEvent) -> None:
        self.stopped = True

    def _trace_start(self, event: FlowEvent) -> None:
        self.started += 1
        trace = self._live.get(event.trace_id or "") or self._begun(event)
        if trace is not None:
            trace.mode = event.extra.get("mode", "")

    def _begun(self, event: FlowEvent) -> TraceRecord | None:
        if event.trace_id is None or len(self._live) >= self._max_live:
            return None
        self._live[event.trace_id] = trace = TraceRecord(event.trace_id, event.flow_name, event.ts)
        return trace

    def _trace_finish(self, event: FlowEvent) -> None:
        outcome = event.outcome or "completed"
        self.finished[outcome] += 1
        trace = self._live.pop(event.trace_id or "", None)
        if trace is None:
            return
        trace.outcome = outcome
        trace.ended = ended = event.ts
        began = ended - (event.latency_ms or 0.0) / 1e3
        if began < trace.began:  # its beginning was not seen
            trace.began = began
        if event.error is not None:
            trace.error = _told(event.error)
        extra = event.extra
        trace.hops = extra.get("hops", 0)
        if extra.get("tokens") or extra.get("cost"):
            trace.tokens, trace.cost = extra.get("tokens", 0), extra.get("cost", 0.0)
        self._put_away(trace)

    def _put_away(self, trace: TraceRecord) -> None:
        ended = self._ended
        if trace.trace_id in ended:
            self._kept -= len(ended.pop(trace.trace_id).runs)
        ended[trace.trace_id] = trace
        if len(ended) > self._max_traces:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        self._kept -= len(self._ended.popitem(last=False)[1].runs)

    def _node_start(self, event: FlowEvent) -> None:
        node = self._nodes.get(event.node_id or "") or self._met(event)
        if node is None:
            return
        node.runs += 1
        node.running += 1
        waited = event.queue_wait_ms or 0.0
        if waited:
            node.waited_ms += waited
            depth = event.queue_depth_in + 1  # with this one
            if depth > node.deepest:
                node.deepest = depth
        trace = self._live.get(event.trace_id or "") or self._begun(event)
        if trace is None:
            return
        runs, inputs, parents = trace.runs, node.inputs, event.parent_invocation_ids
        for parent in parents or _OUTSIDE:
            came = runs.get(parent)
            source = came.node.node_id if came is not None else "?" if parent else ""
            if source in inputs:
                inputs[source] += 1
            elif len(inputs) < MOST_INPUTS:
                inputs[source] = 1
        roomy = len(runs) < self._max_runs and self._kept < self._max_in_all  # nearly always: spare the call
        if roomy or self._room(trace):
            invocation = event.invocation_id or ""
            runs[invocation] = RunRecord(invocation, node, parents, event.ts, waited)
            trace.running += 1
            self._kept += 1

    def _met(self, event: FlowEvent) -> NodeRecord | None:
        node_id = event.node_id
        if node_id is None or len(self._nodes) >= MOST_NODES:
            return None
        self._nodes[node_id] = node = NodeRecord(node_id, event.node_name or "", event.flow_name, self._window)
        return node

    def _room(self, trace: TraceRecord) -> bool:
        """Whether another run of the trace can be kept, after making room for it."""
        if len(trace.runs) >= self._max_runs:
            if not trace.drop_oldest():
                return False
            self._kept -= 1
        while self._kept >= self._max_in_all:
            if self._ended:
                self._forget_oldest()
            elif trace.drop_oldest():
                self._kept -= 1
            else:
                return False
        return True

    def _run(self, event: FlowEvent) -> tuple[TraceRecord | None, RunRecord | None]:
        trace_id = event.trace_id or ""
        trace = self._live.get(trace_id) or self._ended.get(trace_id)
        return trace, None if trace is None else trace.runs.get(event.invocation_id or "")

    def _node_success(self, event: FlowEvent) -> None:
        trace = self._live.get(event.trace_id or "")
        run = None if trace is None else trace.runs.get(event.invocation_id or "")
        if trace is not None and run is not None:
            trace.running -= 1
            run.ended = event.ts
            run.outcome = SUCCESS
            node: NodeRecord | None = run.node
        else:
            node = self._nodes.get(event.node_id or "")
        if node is not None:
            node.running -= node.running > 0
            node.ended[SUCCESS] += 1
            latency = event.latency_ms or 0.0
            node.busy_ms += latency
            node.latencies.append(latency)

    def _node_failed(self, event: FlowEvent) -> None:
        node = self._nodes.get(event.node_id or "")
        if node is not None:
            node.latencies.append(event.latency_ms or 0.0)
        self._node_ended(event)

    def _node_ended(self, event: FlowEvent) -> None:
        node = self._nodes.get(event.node_id or "")
        if node is None:
            return
        if node.running:
            node.running -= 1
        outcome = _OUTCOMES.get(event.event_type, FAILED)
        node.ended[outcome] += 1
        node.busy_ms += event.latency_ms or 0.0
        trace, run = self._run(event)
        if trace is not None and run is not None:
            trace.running -= 1
            run.ended = event.ts
            run.outcome = outcome
            if event.error is not None:
                run.error = _told(event.error)

    def _attempt_failed(self, event: FlowEvent) -> None:
        node = self._nodes.get(event.node_id or "")
        if node is None:
            return
        late = event.event_type == "node_timeout"
        error = "" if event.error is None else _told(event.error)
        node.errors += not late
        node.timeouts += late
        node.last_error = error
        trace, run = self._run(event)
        if trace is None or not _came_up(trace, node, error):
            self.errors += 1
            self.mishaps.append(Mishap(event.ts, event.trace_id or "", node.node_id, node.name, error))
        if trace is not None and not _came_up(trace, node, error):
            trace.errors += 1
            trace.failed_in, trace.failed_with = node.node_id, error
        if run is not None and len(run.attempts) < MOST_ATTEMPTS:
            began = event.ts - (event.latency_ms or 0.0) / 1e3
            run.attempts = (*run.attempts, Attempt(began, event.ts, late, error))

    def _node_retry(self, event: FlowEvent) -> None:
        node = self._nodes.get(event.node_id or "")
        if node is not None:
            node.retries += 1
        trace, run = self._run(event)
        if trace is not None:
            trace.retries += 1
        if run is not None:
            run.retries += 1
            run.resumed = event.ts + event.extra.get("delay_s", 0.0)

    def _node_attempt(self, event: FlowEvent) -> None:
        _, run = self._run(event)
        if run is not None:
            run.resumed = event.ts  # later than its pause was meant to end, if it waited for a place

    def _route_dropped(self, event: FlowEvent) -> None:
        node = self._nodes.get(event.node_id or "")
        if node is not None:
            node.dropped += 1

    def _stream_chunk(self, event: FlowEvent) -> None:
        node = self._nodes.get(event.node_id or "")
        if node is None:
            return
        node.chunks += 1
        trace = self._live.get(event.trace_id or "")
        if trace is None:
            return
        trace.chunks += 1
        run = trace.runs.get(event.invocation_id or "")
        if run is not None:
            run.chunks += 1
            run.last_chunk = event.ts
            if run.ticks is None:
                run.ticks = [event.ts]
            elif len(run.ticks) < MOST_TICKS:
                run.ticks.append(event.ts)


def _came_up(trace: TraceRecord, node: NodeRecord, error: str) -> bool:
    """Whether a node failed with what a node inside it has failed with."""
    return error == trace.failed_with and trace.failed_in.startswith(f"{node.node_id}/")


_OUTSIDE = ("",)
_OUTCOMES = {"node_failed": FAILED, "node_cancelled": CANCELLED, "node_expired": EXPIRED}


def _told(error: BaseException) -> str:
    """An exception in a line that isn't endless."""
    try:
        text = f"{type(error).__name__}: {error}"
    except Exception:
        text = f"{type(error).__name__}, which can't be shown"
    return text if len(text) <= LONGEST_ERROR else f"{text[: LONGEST_ERROR - 1]}…"
