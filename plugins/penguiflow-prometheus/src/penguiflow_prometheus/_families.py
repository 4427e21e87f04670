"""The metrics: their names, labels and words, and how they come out of ledgers.

Rules: names, labels and order are stable, and new ones are only added. What several ledgers hold under the same labels
is added up. A label is always text that can be written down.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Literal, NamedTuple

from penguiflow_prometheus._cells import OTHER, FlowCells, Ledger, Names, NodeCells, Tally, Timing, later
from penguiflow_prometheus._slices import sliced

COUNTER: Literal["counter"] = "counter"
GAUGE: Literal["gauge"] = "gauge"
HISTOGRAM: Literal["histogram"] = "histogram"


class Family(NamedTuple):
    """One metric. `name` goes without the prefix, and a counter's without `_total`."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    text: str


_FLOW = ("flow",)
_NODE = ("flow", "node")

FLOWS_RUNNING = Family("flows_running", GAUGE, _FLOW, "Flows that run now.")
TRACES_STARTED = Family("traces_started", COUNTER, ("flow", "mode"), "Traces that began, by how they were asked for.")
TRACES_ACTIVE = Family("traces_active", GAUGE, ("flow", "mode"), "Traces that are under way now.")
TRACES = Family("traces", COUNTER, ("flow", "outcome"), "Traces that ended, by outcome.")
TRACE_SECONDS = Family("trace_duration_seconds", HISTOGRAM, ("flow", "outcome"), "How long traces took.")
TRACE_ERRORS = Family("trace_errors", COUNTER, ("flow", "error_type"), "Traces that failed or expired, by error type.")
HOPS = Family("trace_hops", COUNTER, _FLOW, "Node runs that ended traces have counted.")
TOKENS = Family("trace_tokens", COUNTER, _FLOW, "Tokens that ended traces have spent.")
COST = Family("trace_cost", COUNTER, _FLOW, "Money that ended traces have spent, in the currency of the budgets.")
ENTERING = Family("messages_entering", GAUGE, _FLOW, "Messages that wait for a trace to end, as there are max_traces.")
WAITING = Family("messages_waiting", GAUGE, _FLOW, "Messages that wait for the flow's nodes now.")
FIRST_CHUNK = Family("stream_first_chunk_seconds", HISTOGRAM, _FLOW, "From the start of a trace to its first chunk.")
PLUGIN_ERRORS = Family("plugin_errors", COUNTER, ("flow", "plugin", "hook"), "Exceptions that plugins raised.")
NODE_RUNS = Family("node_runs", COUNTER, (*_NODE, "outcome"), "Node runs that ended, retries included, by outcome.")
NODE_ACTIVE = Family("node_runs_active", GAUGE, _NODE, "Node runs that are under way now.")
NODE_SECONDS = Family("node_duration_seconds", HISTOGRAM, (*_NODE, "outcome"), "How long node runs took.")
QUEUE_WAIT = Family("node_queue_wait_seconds", HISTOGRAM, _NODE, "How long messages waited for their node.")
QUEUE_DEPTH = Family("node_queue_depth", GAUGE, _NODE, "Messages that wait for the node now.")
NODE_ERRORS = Family("node_errors", COUNTER, (*_NODE, "error_type"), "Attempts of nodes that failed, by error type.")
NODE_RETRIES = Family("node_retries", COUNTER, _NODE, "Attempts of nodes that followed a failed one.")
CHUNKS = Family("stream_chunks", COUNTER, _NODE, "Stream chunks that nodes wrote.")
CHARACTERS = Family("stream_characters", COUNTER, _NODE, "Characters of those chunks.")

FAMILIES = (
    FLOWS_RUNNING,
    TRACES_STARTED,
    TRACES_ACTIVE,
    TRACES,
    TRACE_SECONDS,
    TRACE_ERRORS,
    HOPS,
    TOKENS,
    COST,
    ENTERING,
    WAITING,
    FIRST_CHUNK,
    PLUGIN_ERRORS,
    NODE_RUNS,
    NODE_ACTIVE,
    NODE_SECONDS,
    QUEUE_WAIT,
    QUEUE_DEPTH,
    NODE_ERRORS,
    NODE_RETRIES,
    CHUNKS,
    CHARACTERS,
)

MODES = ("ask", "stream", "start", "emit")
OUTCOMES = ("completed", "failed", "cancelled", "expired")
RUN_OUTCOMES = {
    "node_success": "success",
    "node_failed": "failed",
    "node_cancelled": "cancelled",
    "node_expired": "expired",
}

Row = tuple[Family, tuple[str, ...], float | Tally | Timing]
Totals = dict[Family, dict[tuple[str, ...], Tally | Timing]]


def totals(ledgers: Iterable[Ledger], more: Iterable[Row] = ()) -> Totals:
    """What all ledgers hold at this moment, and more rows; each family's in the order of their labels."""
    found: Totals = {family: {} for family in FAMILIES}
    for family, labels, value in sliced(chain(more, *map(_rows, ledgers))):
        _add(found[family], tuple(map(written, labels)), value)
    return {family: dict(sorted(rows.items())) for family, rows in found.items()}


def waiting(names: Names, flow: str, nodes: Mapping[tuple[str, str], int], entering: int) -> Iterator[Row]:
    """The rows of what waits in a flow that runs: for each node, by the names of its own flow and its own."""
    labels = (flow if flow in names.flows else OTHER,)
    yield ENTERING, labels, entering
    yield WAITING, labels, sum(nodes.values())
    for key, count in nodes.items():
        yield QUEUE_DEPTH, key if key in names.nodes else (OTHER, OTHER), count


def written(label: str) -> str:
    """A label as text that has an encoding."""
    return label.encode("utf-8", "replace").decode("utf-8")


def _add(rows: dict[tuple[str, ...], Tally | Timing], labels: tuple[str, ...], value: float | Tally | Timing) -> None:
    sum_ = rows.get(labels)
    if isinstance(value, Timing):
        if not isinstance(sum_, Timing):
            sum_ = rows[labels] = Timing(value.bounds)
        sum_.merge(value)
        return
    if not isinstance(sum_, Tally):
        sum_ = rows[labels] = Tally()
    if isinstance(value, Tally):
        sum_.mark = later(sum_.mark, value.mark)
        value = value.value
    sum_.value += value


def _rows(ledger: Ledger) -> Iterator[Row]:
    # A copy takes the whole of a dictionary at once, while the loop may add to it.
    for name, flow in ledger.flows.copy().items():
        yield from _flow_rows(name, flow)
    for (flow_name, node_name), node in ledger.nodes.copy().items():
        yield from _node_rows((flow_name, str(node_name)), node)


def _flow_rows(name: str, flow: FlowCells) -> Iterator[Row]:
    labels = (name,)
    if flow.ran:
        yield from _rows_of_what_ran(name, flow)
    for outcome, timing in flow.ended.copy().items():
        yield TRACES, (name, outcome), timing.count
        yield TRACE_SECONDS, (name, outcome), timing
    yield from ((TRACE_ERRORS, (name, kind), tally) for kind, tally in flow.failures.copy().items())
    if flow.first_chunk is not None:
        yield FIRST_CHUNK, labels, flow.first_chunk
    yield from ((PLUGIN_ERRORS, (name, *key), count) for key, count in flow.plugin_errors.copy().items())


def _rows_of_what_ran(name: str, flow: FlowCells) -> Iterator[Row]:
    """What a flow has from its start, zeros included: a rate needs a number from before the first event."""
    labels = (name,)
    yield FLOWS_RUNNING, labels, flow.running
    yield from ((TRACES_STARTED, (name, mode), flow.started.get(mode, 0)) for mode in MODES)
    yield from ((TRACES_ACTIVE, (name, mode), flow.active.get(mode, 0)) for mode in MODES)
    yield from ((TRACES, (name, outcome), 0) for outcome in OUTCOMES)
    yield HOPS, labels, flow.hops
    yield TOKENS, labels, flow.tokens
    yield COST, labels, flow.cost
    yield ENTERING, labels, 0
    yield WAITING, labels, 0


def _node_rows(key: tuple[str, str], node: NodeCells) -> Iterator[Row]:
    yield from ((NODE_RUNS, (*key, outcome), 0) for outcome in RUN_OUTCOMES.values())
    for kind, timing in node.runs.copy().items():
        yield NODE_RUNS, (*key, RUN_OUTCOMES[kind]), timing.count
        yield NODE_SECONDS, (*key, RUN_OUTCOMES[kind]), timing
    yield NODE_ACTIVE, key, node.active
    yield QUEUE_WAIT, key, node.queue_wait
    yield QUEUE_DEPTH, key, 0
    yield from ((NODE_ERRORS, (*key, kind), tally) for kind, tally in node.errors.copy().items())
    yield NODE_RETRIES, key, node.retries
    if node.chunks:
        yield CHUNKS, key, node.chunks
        yield CHARACTERS, key, node.characters
