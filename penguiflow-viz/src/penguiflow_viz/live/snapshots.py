"""What the page is told: the flow's drawing once, snapshots of what goes on, and one trace at a time.

Rules: a snapshot is bounded, whatever the flow does, and made only when somebody looks; the flow goes on while it is
made. All who look get the same text.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any, TypeVar

from penguiflow import FlowStateError, Load, NodeLoad, PenguiFlow
from penguiflow_viz import model
from penguiflow_viz.formats.json import document
from penguiflow_viz.formats.svg import embedded
from penguiflow_viz.formats.waterfall import embedded_waterfall
from penguiflow_viz.model import Box, Cluster, Drawing
from penguiflow_viz.reading import drawing_of
from penguiflow_viz.record import NodeRecord, Recorder, TraceRecord
from penguiflow_viz.record.facts import entered
from penguiflow_viz.text import elided

MOST_LIVE, MOST_ENDED, MOST_MISHAPS = 60, 60, 20
MOST_LINES = 40
MOST_WEIGHED = 40
AT_ONCE, WEIGHED_AT_ONCE, LINES_AT_ONCE = 40, 8, 40
"""How many nodes, links or traces are told, nodes weighed, and lines drawn before the flow goes on."""
NOTHING = NodeLoad(0, 0)
SHARE = 25
"""Snapshots take at most one in so many parts of the time, and traces another."""
ItemT = TypeVar("ItemT")


class Snapshots:
    """Makes the texts that the page reads.

    Args:
        flow: The flow that runs.
        recorder: What keeps what happens in it.
        interval_s: Seconds from one snapshot to the next, at least.
        clock: The time in seconds, for the intervals.
    """

    def __init__(
        self, flow: PenguiFlow, recorder: Recorder, interval_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._flow = flow
        self._recorder = recorder
        self._interval_s = interval_s
        self._clock = clock
        self._drawing = drawing_of(flow.graph)
        self._boxes = _boxes(self._drawing)
        self._links = _links(self._drawing)
        self._drawings: dict[str, str] = {}
        self._drawn, self._made, self._telling = asyncio.Lock(), asyncio.Lock(), asyncio.Lock()
        self._quantiles: dict[str, tuple[float, ...] | None] = {}
        self._turn = 0
        self._told: dict[tuple[str, float], tuple[float, str]] = {}
        self._text = ""
        self._due = self._rests = 0.0

    async def drawing(self, direction: str) -> str:
        """The flow's drawing, as SVG and as data. It is made once, and in a thread: a large one takes a while."""
        async with self._drawn:
            if direction not in self._drawings:
                self._drawings[direction] = await asyncio.to_thread(self._draw, direction)
        return self._drawings[direction]

    def _draw(self, direction: str) -> str:
        return json.dumps({"svg": embedded(self._drawing, direction), "data": document(self._drawing)})

    async def current(self, fresh: bool = False) -> str:
        """What goes on: the last snapshot or, when its time has come or a `fresh` one is wanted, a new one.

        As long as nothing changes, it is the very same text.
        """
        async with self._made:
            if fresh or self._clock() >= self._due or not self._text:
                await self._make()
        return self._text

    async def _make(self) -> None:
        text, took = await self._gathered(self._pieces())
        self._text = self._text if text == self._text else text
        self._due = self._clock() + max(self._interval_s, SHARE * took)

    async def _gathered(self, pieces: Iterator[str]) -> tuple[str, float]:
        """The pieces as one text, and how many seconds they took together. The flow goes on in between."""
        parts: list[str] = []
        took, part = 0.0, None
        while part is not None or not parts:
            begun = self._clock()
            part = next(pieces, None)
            took += self._clock() - begun
            parts.append(part or "")
            await asyncio.sleep(0)
        return "".join(parts), took

    @property
    def wait_s(self) -> float:
        """Seconds until there will be a new one."""
        return max(self._due - self._clock(), 0.01)

    def _pieces(self) -> Iterator[str]:
        """A snapshot, in pieces each of which takes a fraction of a millisecond."""
        recorder = self._recorder
        try:
            load = self._flow.load()
        except FlowStateError:  # it has just stopped
            load = Load(0, 0, 0, {})
        live, ended = recorder.live, recorder.ended
        head = {
            "at": time.time() if live else None,  # until when those in flight last
            "totals": {
                "in flight": load.traces,
                "entering": load.entering,
                "unfetched": load.unfetched,
                "waiting": sum(node.waiting for node in load.nodes.values()),
                "started": recorder.started,
                **recorder.finished,
                "errors": recorder.errors,
            },
            "unlisted": max(load.traces - min(len(live), MOST_LIVE), 0),
            "mishaps": [list(mishap) for mishap in list(recorder.mishaps)[: -MOST_MISHAPS - 1 : -1]],
        }
        yield f"{_written(head)[:-1]},"
        yield from self._weigh()
        yield from _joined("nodes", "{}", self._boxes, lambda boxes: self._nodes(boxes, load))
        yield ","
        yield from _joined("links", "[]", self._links, lambda links: [self._carried(*ends) for ends in links])
        yield ","
        traces = (*live[:MOST_LIVE], *ended[:MOST_ENDED])
        yield from _joined("traces", "[]", traces, lambda some: [_listed(trace) for trace in some])
        yield "}"

    def _nodes(self, boxes: Sequence[tuple[str, str]], load: Load) -> dict[str, Any]:
        records = self._recorder.nodes
        return {
            id: _counts(records.get(node_id), load.nodes.get(node_id, NOTHING), self._quantiles.get(node_id))
            for id, node_id in boxes
            if node_id in records or node_id in load.nodes
        }

    def _weigh(self) -> Iterator[str]:
        """Take the quantiles of a few nodes: of each in its turn, as they are most of what a snapshot costs."""
        for place in range(self._turn, self._turn + min(MOST_WEIGHED, len(self._boxes))):
            node_id = self._boxes[place % len(self._boxes)][1]
            record = self._recorder.nodes.get(node_id)
            if record is not None:
                self._quantiles[node_id] = record.quantiles(0.5, 0.95)
            if not place % WEIGHED_AT_ONCE:
                yield ""
        self._turn += MOST_WEIGHED

    def _carried(self, source: str, target: str, leaves: bool) -> int:
        """How many messages went along a link."""
        if leaves:
            record = self._recorder.nodes.get(source)
            return 0 if record is None else record.ended["success"]
        record = self._recorder.nodes.get(target)
        if record is None:
            return 0
        if source:
            return record.inputs.get(source, 0)
        return sum(count for came, count in record.inputs.items() if not came or entered(record, came))

    async def trace(self, trace_id: str, wide: float) -> str:
        """One trace over time, `wide` pixels wide, and what it waits for; all who ask within an interval get the same.

        Raises:
            LookupError: it isn't kept.
        """
        async with self._telling:
            now = self._clock()
            self._told = {key: told for key, told in self._told.items() if told[0] > now}
            if (trace_id, wide) not in self._told:
                found = self._recorder.trace(trace_id)
                await asyncio.sleep(max(self._rests - now, 0.0))
                text, took = await self._gathered(self._trace(found, wide))
                done = self._clock()
                self._told[trace_id, wide] = done + self._interval_s, text
                self._rests = done + SHARE * took
            return self._told[trace_id, wide][1]

    def _trace(self, found: TraceRecord, wide: float) -> Iterator[str]:
        lines: tuple[str, ...] = ()
        if found.ended is None:
            with suppress(KeyError, FlowStateError):  # it has just ended
                lines = self._flow.explain(found.trace_id).waits_for[:MOST_LINES]
        yield f"{_written({'trace': _listed(found), 'waits': lines})[:-1]},"
        yield '"svg":"'
        drawn = embedded_waterfall(found, time.time(), wide)
        while some := "".join(islice(drawn, LINES_AT_ONCE)):
            yield _written(some)[1:-1]
        yield '"}'


_written = json.JSONEncoder(separators=(",", ":")).encode


def _joined(name: str, around: str, items: Sequence[ItemT], told: Callable[[Sequence[ItemT]], Any]) -> Iterator[str]:
    """A member of a JSON object, a piece for each so many items; `told` says what they are, as a list or a dict."""
    yield f'"{name}":{around[0]}'
    separator = ""
    for place in range(0, len(items), AT_ONCE):
        text = _written(told(items[place : place + AT_ONCE]))[1:-1]
        if text:
            yield f"{separator}{text}"
            separator = ","
    yield around[1]


def _boxes(drawing: Drawing) -> tuple[tuple[str, str], ...]:
    """The ids in the drawing, and those in events, of everything that has runs."""
    items: list[Box | Cluster] = [*drawing.clusters[1:], *drawing.boxes]
    return tuple((item.id, item.node_id) for item in items if item.node_id)


def _links(drawing: Drawing) -> tuple[tuple[str, str, bool], ...]:
    """The ends of each link by their ids in events, from OpenSea `""`, and whether it leads to Rookery."""
    ids = dict(_boxes(drawing)) | {box.id: "" for box in drawing.boxes if box.kind == model.OPENSEA}
    return tuple(
        (ids.get(link.source, "?"), ids.get(link.target, "?"), link.kind == model.EXIT) for link in drawing.links
    )


def _counts(record: NodeRecord | None, load: NodeLoad, quantiles: tuple[float, ...] | None) -> dict[str, Any]:
    counts: dict[str, Any] = {"running": load.running, "waiting": load.waiting}
    if record is not None:
        counts |= {
            "runs": record.runs,
            "errors": record.errors + record.timeouts,
            "retries": record.retries,
            "failed": record.ended["failed"],
            "chunks": record.chunks,
            "busy": round(record.busy_ms, 3),
            "error": record.last_error,
        }
        if quantiles is not None:
            counts["p50"], counts["p95"] = (round(value, 4) for value in quantiles)
    return counts


def _listed(trace: TraceRecord) -> dict[str, Any]:
    """A trace in the list."""
    return {
        "id": trace.trace_id,
        "mode": trace.mode,
        "outcome": trace.outcome,
        "began": trace.began,
        "ended": trace.ended,
        "runs": len(trace.runs) + trace.gone,
        "errors": trace.errors,
        "retries": trace.retries,
        "now": [elided(name, 40) for name in islice(trace.now_in(), min(trace.running, 2))],
        "error": elided(trace.error, 160),
    }
