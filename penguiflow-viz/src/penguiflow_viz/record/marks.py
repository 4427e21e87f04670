"""What was recorded, as marks over a drawing: colours by time, counts, errors, traffic.

Rules: reads, never changes. A node's colour says how long its runs took together, as a share of the node that took
longest; an edge's width how many messages went along it. What a trace didn't touch stands back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

from penguiflow import OPEN_SEA, ROOKERY, Graph, GraphNode
from penguiflow_viz.overlay import LinkMark, NodeMark, Overlay
from penguiflow_viz.record.facts import SUCCESS, NodeRecord, RunRecord, TraceRecord, entered
from penguiflow_viz.text import elided

WIDEST = 2.5
"""How much wider than an edge without traffic the busiest is."""

# From nothing to the longest time: legible under dark text up to the last but one, under white from there.
_HEAT = ((0xFF, 0xF8, 0xE1), (0xFF, 0xD8, 0x8A), (0xF9, 0x9B, 0x45), (0xC8, 0x38, 0x1E))


class Recorded(Protocol):
    """What is read of a recorder."""

    started: int
    finished: dict[str, int]

    @property
    def nodes(self) -> Mapping[str, NodeRecord]:
        """What is known of each node."""
        ...

    def trace(self, trace_id: str | None = None) -> TraceRecord:
        """A trace."""
        ...


def overlaid(recorder: Recorded, graph: Graph, trace_id: str | None) -> Overlay:
    """The overlay of all that was recorded, or of one trace."""
    if trace_id is None:
        ended = ", ".join(f"{count} {outcome}" for outcome, count in recorder.finished.items() if count)
        legend = f"{_counted(recorder.started, 'trace')}{f': {ended}' if ended else ''}"
        return _overlay(graph, dict(recorder.nodes), legend, alone=False)
    trace = recorder.trace(trace_id)
    return _overlay(graph, summed(trace), _ending(trace), alone=True)


def summed(trace: TraceRecord) -> dict[str, NodeRecord]:
    """A trace's runs added up, node by node, as a recorder adds up all traces."""
    found: dict[str, NodeRecord] = {}
    for run in trace.runs.values():
        node = found.get(run.node.node_id)
        if node is None:
            node = found[run.node.node_id] = NodeRecord(
                run.node.node_id, run.node.name, run.node.flow, max(len(trace.runs), 1)
            )
        _add(node, run, trace)
    return found


def _add(node: NodeRecord, run: RunRecord, trace: TraceRecord) -> None:
    node.runs += 1
    node.waited_ms += run.waited_ms
    node.retries += run.retries
    node.chunks += run.chunks
    node.timeouts += sum(attempt.timeout for attempt in run.attempts)
    node.errors += sum(not attempt.timeout for attempt in run.attempts)
    node.last_error = run.attempts[-1].error if run.attempts else node.last_error
    for parent in run.parents or ("",):
        came = trace.runs.get(parent)
        source = came.node.node_id if came is not None else parent and "?"
        node.inputs[source] = node.inputs.get(source, 0) + 1
    if run.ended is None:
        node.running += 1
        return
    node.ended[run.outcome] += 1
    took = (run.ended - run.began) * 1e3
    node.busy_ms += took
    if run.outcome in ("success", "failed"):
        node.latencies.append(took)


def _ending(trace: TraceRecord) -> str:
    how = trace.outcome or "still under way"
    took = "" if trace.ended is None else f" after {duration((trace.ended - trace.began) * 1e3)}"
    partly = f", without the {trace.gone} runs that ended first" if trace.gone else ""
    return f"trace {elided(trace.trace_id, 60)}: {how}{took}{partly}"


def _overlay(graph: Graph, records: Mapping[str, NodeRecord], told: str, alone: bool) -> Overlay:
    every = tuple(_nodes(graph))
    leaves = [records[node.node_id].busy_ms for node in every if node.subgraph is None and node.node_id in records]
    longest = max(leaves, default=0.0)
    nodes = {node.node_id: _mark(node, records.get(node.node_id), longest, alone) for node in every}
    traffic = _traffic(graph, records)
    most = max(traffic.values(), default=0)
    links = {ends: _link(count, most, alone, ends[1].endswith(f"/{ROOKERY}")) for ends, count in traffic.items()}
    key = (f"Colour: time in the node, from none to {duration(longest)}. Width of edges: messages.",) if longest else ()
    return Overlay(nodes, links, (told, *key))


def _mark(node: GraphNode, record: NodeRecord | None, longest: float, alone: bool) -> NodeMark:
    if record is None:
        return NodeMark(faded=alone and node.subgraph is None)
    fill = heat(record.busy_ms / longest) if longest and node.subgraph is None else ""
    return NodeMark(fill, tuple(badges(record)), tuple(told_of(record)))


def _link(count: int, most: int, alone: bool, leaves: bool) -> LinkMark:
    if not count:
        return LinkMark(width=0.7, faded=alone, tooltip=() if leaves else ("no messages",))
    width = 1.0 + WIDEST * (count / most) ** 0.5 if most else 1.0
    said = f"{_counted(count, 'run')} ended well here" if leaves else _counted(count, "message")
    return LinkMark(width, "" if leaves else f"{count:,}", (said,))


def _nodes(graph: Graph) -> Iterator[GraphNode]:
    """The nodes of a graph, of its subflows and of its playbooks."""
    for node in graph.nodes:
        yield node
        for inner in (*filter(None, (node.subgraph,)), *node.playbooks):
            yield from _nodes(inner)


def _graphs(graph: Graph) -> Iterator[Graph]:
    yield graph
    for node in graph.nodes:
        for inner in (*filter(None, (node.subgraph,)), *node.playbooks):
            yield from _graphs(inner)


def _traffic(graph: Graph, records: Mapping[str, NodeRecord]) -> dict[tuple[str, str], int]:
    """How many messages went along each link, by the ids of its ends."""
    counts: dict[tuple[str, str], int] = {}
    for inner in _graphs(graph):
        ids = {node.name: node.node_id for node in inner.nodes}
        path = "" if not inner.nodes else inner.nodes[0].node_id.removesuffix(inner.nodes[0].name)
        for name in inner.entries:
            counts[f"{path}{OPEN_SEA}", ids[name]] = _entering(records.get(ids[name]))
        for edge in inner.edges:
            record = records.get(ids[edge.target])
            counts[ids[edge.source], ids[edge.target]] = 0 if record is None else record.inputs.get(ids[edge.source], 0)
        for name in inner.exits:
            record = records.get(ids[name])
            counts[ids[name], f"{path}{ROOKERY}"] = 0 if record is None else record.ended[SUCCESS]
    return counts


def _entering(record: NodeRecord | None) -> int:
    if record is None:
        return 0
    return sum(count for source, count in record.inputs.items() if not source or entered(record, source))


def badges(record: NodeRecord) -> Iterator[str]:
    """A few short lines to stand in a node's box."""
    counts = [_counted(record.runs, "run")]
    if record.running:
        counts.append(f"{record.running:,} running")
    quantiles = record.quantiles(0.5, 0.95)
    if quantiles is not None:
        low, high = map(duration, quantiles)
        counts.append(low if len(record.latencies) == 1 else f"p50 {low} · p95 {high}")
    yield " · ".join(counts)
    wrong = [f"{count:,} {_plural(what, count)}" for what, count in _mishaps(record) if count]
    if wrong:
        yield " · ".join(wrong)


def _mishaps(record: NodeRecord) -> Iterator[tuple[str, int]]:
    yield "error", record.errors
    yield "time-out", record.timeouts
    yield "retry", record.retries
    for outcome in ("failed", "cancelled", "expired"):
        yield outcome, record.ended[outcome]
    yield "dropped", record.dropped


def told_of(record: NodeRecord) -> Iterator[str]:
    """All that is known, a line each."""
    ended = ", ".join(f"{count:,} {outcome}" for outcome, count in record.ended.items() if count)
    going = f", {record.running:,} under way" if record.running else ""
    yield f"{_counted(record.runs, 'run')}{f': {ended}' if ended else ''}{going}"
    quantiles = record.quantiles(0.5, 0.95, 1.0)
    if quantiles is not None:
        low, high, longest = map(duration, quantiles)
        yield f"p50 {low}, p95 {high}, longest {longest} (of {_counted(len(record.latencies), 'run')})"
    yield f"{duration(record.busy_ms)} in all, messages waited {duration(record.waited_ms)}"
    for what, count in (("error", record.errors), ("time-out", record.timeouts), ("retry", record.retries)):
        if count:
            yield f"{count:,} {_plural(what, count)}"
    if record.chunks:
        yield _counted(record.chunks, "chunk")
    if record.deepest:
        yield f"at most {_counted(record.deepest, 'message')} of one trace waited"
    if record.last_error:
        yield f"latest error: {record.last_error}"


def heat(share: float) -> str:
    """The colour of a share from 0 to 1 of the longest time, as `#rrggbb`; small shares are told apart, too."""
    place = min(max(share, 0.0), 1.0) ** 0.5 * (len(_HEAT) - 1)
    step = min(int(place), len(_HEAT) - 2)
    mixed = (a + (b - a) * (place - step) for a, b in zip(_HEAT[step], _HEAT[step + 1], strict=True))
    return "#" + "".join(f"{round(part):02x}" for part in mixed)


def duration(milliseconds: float) -> str:
    """A time in the unit that suits it."""
    if milliseconds < 0.9995:
        return f"{milliseconds * 1e3:.0f} µs"
    if milliseconds < 999.5:
        return f"{milliseconds:.3g} ms"
    seconds = milliseconds / 1e3
    if seconds < 99.95:
        return f"{seconds:.3g} s"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s"


def _counted(count: int, what: str) -> str:
    return f"{count:,} {_plural(what, count)}"


def _plural(what: str, count: int) -> str:
    if count == 1 or what in ("failed", "cancelled", "expired", "dropped"):
        return what
    return f"{what[:-1]}ies" if what.endswith("try") else f"{what}s"
