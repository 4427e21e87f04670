"""How much a run has to do: what runs and what waits, node by node. Rules: reads, never changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from penguiflow._run import Run
from penguiflow._station import Station
from penguiflow._trace import Trace


class NodeLoad(NamedTuple):
    """What a node has to do.

    Attributes:
        running: Runs under way, pauses between attempts included; at most its `max_concurrency`.
        waiting: Messages that wait for it: in its floes or before them, in a join, or for a place under its
            `max_concurrency`.
    """

    running: int
    waiting: int


@dataclass(frozen=True, slots=True)
class Load:
    """What a running flow has to do, at one moment.

    Attributes:
        traces: Traces in flight.
        entering: Messages that wait for one of them to end, since there are `max_traces`.
        unfetched: Outputs in Rookery that nobody has fetched.
        nodes: By the nodes' ids, those of subflows and playbooks included; a node that isn't named has nothing to do.
    """

    traces: int
    entering: int
    unfetched: int
    nodes: Mapping[str, NodeLoad]


def loaded(run: Run) -> Load:
    """Add up what the traces of a run do."""
    running: Counter[Station] = Counter()
    waiting: Counter[Station] = Counter()
    for trace in (nested for outer in run.traces.values() for nested in outer.whole()):
        running.update(strand.parcel._station for strand in trace.strands if strand.parcel is not None)
        waiting.update(_waiting(trace))
    nodes: dict[str, NodeLoad] = {}
    for station in dict.fromkeys((*running, *waiting)):
        most = running[station] if station.limit is None else min(running[station], station.limit)
        # A playbook that is made anew for each trace has stations of its own.
        before = nodes.get(station.node_id, NodeLoad(0, 0))
        late = running[station] - most + waiting[station]
        nodes[station.node_id] = NodeLoad(before.running + most, before.waiting + late)
    return Load(len(run.traces), len(run.queue), len(run.rookery), nodes)


def _waiting(trace: Trace) -> Iterator[Station]:
    """The node of each message that waits."""
    for parcel in trace.unbegun or ():
        yield parcel._station
    stations = trace.run.stations
    for index, room in (trace.rooms or {}).items():
        lined_up = sum(not entry.accepted.done() for queue in room.queues.values() for entry in queue)
        for _ in range(len(room.items) + lined_up):
            yield stations[index]
    for index, bucket in (trace.joins or {}).items():
        for _ in bucket.items:
            yield stations[index]
