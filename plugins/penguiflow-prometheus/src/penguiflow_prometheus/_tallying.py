"""Adds events to the cells of a ledger.

Rules: each function does for one type of event what can be done in a microsecond or two, on the event loop. What is
kept of a trace, when it began, goes when it finishes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from penguiflow import FlowError, FlowEvent
from penguiflow_prometheus._cells import OTHER, FlowCells, Ledger, Names, NodeCells, Tally, Timing

LONGEST_TYPE = 100  # characters of an error type's label
DEEPEST = 20  # errors inside errors, as those of flows inside flows
LARGEST = 1e100  # tokens or money: a sum that became infinite would stay so


class Watch:
    """What is kept while flows run, and the ledger that their events go to."""

    __slots__ = ("begun", "ledger")

    def __init__(self, ledger: Ledger) -> None:
        self.ledger: Ledger = ledger
        # the traces that have written no chunk yet, by outermost flow and id: flows may share both plugin and id
        self.begun: dict[tuple[str, str | None], tuple[float, FlowCells]] = {}

    def leave(self) -> Ledger:
        """Give the ledger up. What comes later, as the last words of a node that ignored its end, isn't shown."""
        ledger, self.ledger = self.ledger, Ledger(self.ledger.bounds, self.ledger.limits, Names())
        self.begun.clear()
        return ledger

    def see(self, event: FlowEvent) -> None:
        """Add an event."""
        _SEEN[event.event_type](self, event)

    def first(self, event: FlowEvent) -> tuple[float, FlowCells] | None:
        """When a chunk's trace began, and the cells of its flow, if this is its first chunk.

        A node's id begins with the outermost flow's name, which may have slashes of its own.
        """
        node_id = event.node_id or ""
        end = node_id.find("/")
        while end != -1:
            begun = self.begun.pop((node_id[:end], event.trace_id), None)
            if begun is not None:
                return begun
            end = node_id.find("/", end + 1)
        return None

    def flow(self, event: FlowEvent) -> FlowCells:
        """The cells of the event's flow."""
        cells = self.ledger.flows.get(event.flow_name)
        return self.ledger.new_flow(event.flow_name) if cells is None else cells

    def node(self, event: FlowEvent) -> NodeCells:
        """The cells of the event's node."""
        key = (event.flow_name, event.node_name)
        cells = self.ledger.nodes.get(key)
        return self.ledger.new_node(*key) if cells is None else cells

    def timing(self, timings: dict[str, Timing], key: str) -> Timing:
        """The histogram of a key."""
        timing = timings.get(key)
        if timing is None:
            timing = timings[key] = Timing(self.ledger.bounds)
        return timing

    def count_error(self, tallies: dict[str, Tally], event: FlowEvent) -> None:
        """Count an event's error by its type."""
        kind = self.ledger.error_type(error_type(event.error))
        if kind not in tallies:
            tallies[kind] = Tally()
        tallies[kind].add(event.trace_id, event.ts)


def error_type(error: BaseException | None) -> str:
    """What an error's label says: the class of what a node raised, or the code of what the kernel found."""
    for _ in range(DEEPEST):
        if not isinstance(error, FlowError):
            return type(error).__name__[:LONGEST_TYPE]
        if error.original_exc is None:
            break
        error = error.original_exc
    return str(getattr(error, "code", type(error).__name__))[:LONGEST_TYPE]


def _node_start(watch: Watch, event: FlowEvent) -> None:
    node = watch.node(event)
    node.active += 1
    node.queue_wait.add((event.queue_wait_ms or 0.0) / 1e3, event.trace_id, event.ts)


def _node_end(watch: Watch, event: FlowEvent) -> None:
    node = watch.node(event)
    node.active -= 1
    timing = node.runs.get(event.event_type)
    if timing is None:
        timing = watch.timing(node.runs, event.event_type)
    timing.add((event.latency_ms or 0.0) / 1e3, event.trace_id, event.ts)


def _node_error(watch: Watch, event: FlowEvent) -> None:
    watch.count_error(watch.node(event).errors, event)


def _node_retry(watch: Watch, event: FlowEvent) -> None:
    watch.node(event).retries += 1


def _stream_chunk(watch: Watch, event: FlowEvent) -> None:
    node = watch.node(event)
    node.chunks += 1
    node.characters += event.extra["length"]
    begun = watch.first(event) if watch.begun else None
    if begun is None:
        return
    since, flow = begun
    if flow.first_chunk is None:
        flow.first_chunk = Timing(watch.ledger.bounds)
    flow.first_chunk.add(event.ts - since, event.trace_id, event.ts)


def _trace_start(watch: Watch, event: FlowEvent) -> None:
    flow, mode = watch.flow(event), event.extra["mode"]
    flow.started[mode] = flow.started.get(mode, 0) + 1
    flow.active[mode] = flow.active.get(mode, 0) + 1
    watch.begun[event.flow_name, event.trace_id] = event.ts, flow


def _trace_finish(watch: Watch, event: FlowEvent) -> None:
    flow, extra, outcome = watch.flow(event), event.extra, str(event.outcome)
    flow.active[extra["mode"]] = flow.active.get(extra["mode"], 0) - 1
    flow.hops += extra["hops"]
    flow.tokens += min(extra["tokens"], LARGEST)
    flow.cost += min(extra["cost"], LARGEST)
    watch.timing(flow.ended, outcome).add((event.latency_ms or 0.0) / 1e3, event.trace_id, event.ts)
    watch.begun.pop((event.flow_name, event.trace_id), None)
    if event.error is not None and outcome != "cancelled":
        watch.count_error(flow.failures, event)


def _plugin_error(watch: Watch, event: FlowEvent) -> None:
    errors, key = watch.flow(event).plugin_errors, (str(event.extra["plugin"]), str(event.extra["hook"]))
    if key not in errors and len(errors) >= watch.ledger.limits.error_types:
        key = (OTHER, OTHER)
    errors[key] = errors.get(key, 0) + 1


def _flow_start(watch: Watch, event: FlowEvent) -> None:
    flow = watch.flow(event)
    flow.ran = True
    flow.running += 1


def _flow_stop(watch: Watch, event: FlowEvent) -> None:
    watch.flow(event).running -= 1


_SEEN: Mapping[str, Callable[[Watch, FlowEvent], None]] = {
    "flow_start": _flow_start,
    "flow_stop": _flow_stop,
    "trace_start": _trace_start,
    "trace_finish": _trace_finish,
    "node_start": _node_start,
    "node_success": _node_end,
    "node_failed": _node_end,
    "node_cancelled": _node_end,
    "node_expired": _node_end,
    "node_error": _node_error,
    "node_timeout": _node_error,
    "node_retry": _node_retry,
    "stream_chunk": _stream_chunk,
    "plugin_error": _plugin_error,
}
EVENT_TYPES = tuple(_SEEN)
