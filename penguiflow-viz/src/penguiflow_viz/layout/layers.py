"""Which layer everything stands in, and in which order: a layered graph, its order found by igraph.

Rules: vertices are numbers. A layer that would be too wide is broken into rows. Arcs lead down, never up; one over
several layers passes a dummy vertex in each between, which those that go far to one vertex share.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from penguiflow_viz.layout.trunks import FAR, Arc, ways

WIDEST = 2_400.0
"""How many pixels wide the boxes of a layer are together, at most."""


@dataclass(frozen=True, slots=True)
class Layered:
    """Layers of vertices.

    Attributes:
        ranks: The layer of each vertex; the dummies come after those that were given.
        layers: The vertices of each layer, in order.
        chains: For each arc the vertices on its way, both ends included.
        hops: The pairs of vertices in neighbouring layers that are linked, each once.
        tags: For each arc the dummy where its label goes.
        trunks: The dummies that several arcs share.
        columns: The pairs of vertices that should stand one below the other, though nothing links them.
    """

    ranks: list[int]
    layers: list[list[int]]
    chains: list[list[int]]
    hops: list[Arc]
    tags: dict[int, int]
    trunks: set[int]
    columns: list[Arc]


def layered(
    across: Sequence[float], arcs: Sequence[Arc], looks: Sequence[Hashable], first: int, last: int, step: int
) -> Layered:
    """Put vertices into layers, at least `step` apart: `first` on top, `last` at the bottom.

    Args:
        across: How much room each vertex takes along its layer, in pixels.
        arcs: What leads from vertex to vertex.
        looks: How each arc looks: only those that look alike may share dummies.
        first: The vertex on top.
        last: The one at the bottom.
        step: How many layers are between one and the next that vertices may be in, plus one.
    """
    ranks = _ranks(len(across), arcs, first, last, step)
    rows = _broken(ranks, across, step)
    found = ways(arcs, looks, ranks, step, 1 if rows else FAR)  # rows leave no room for many lanes
    chains = [found.chains[number] for number in range(len(arcs))]
    hops = list(dict.fromkeys(pair for chain in chains for pair in itertools.pairwise(chain)))
    layers = _ordered(found.ranks, hops)
    return Layered(found.ranks, layers, chains, hops, found.tags, found.trunks, _columns(rows, layers, len(across)))


def _ranks(count: int, arcs: Sequence[Arc], first: int, last: int, step: int) -> list[int]:
    after: list[list[int]] = [[] for _ in range(count)]
    before: list[list[int]] = [[] for _ in range(count)]
    for source, target in arcs:
        after[source].append(target)
        before[target].append(source)
    order = _topological(after, before)
    ranks = [0] * count
    for vertex in order:
        if vertex != first:
            ranks[vertex] = max((ranks[source] + step for source in before[vertex]), default=step)
    ranks[last] = max(rank for vertex, rank in enumerate(ranks) if vertex != last) + step
    for vertex in reversed(order):  # what has more to lead to than comes in goes down to it
        if vertex not in (first, last) and len(after[vertex]) > len(before[vertex]):
            ranks[vertex] = min(ranks[target] for target in after[vertex]) - step
    return ranks


def _broken(ranks: list[int], across: Sequence[float], step: int) -> list[range]:
    """Break layers that are too wide into rows, as text is broken into lines; the ranks of each that was broken."""
    members: dict[int, list[int]] = {}
    for vertex, rank in enumerate(ranks):
        members.setdefault(rank, []).append(vertex)
    broken: list[range] = []
    more = 0
    for rank in sorted(members):
        wide, begun = sum(across[vertex] for vertex in members[rank]), 0.0
        rows = min(math.ceil(wide / WIDEST), len(members[rank]))
        for vertex in members[rank]:
            ranks[vertex] = rank + more + min(int(begun / wide * rows), rows - 1) * step
            begun += across[vertex]
        if rows > 1:
            broken.append(range(rank + more, rank + more + rows * step, step))
            more += (rows - 1) * step
    return broken


def _columns(rows: Sequence[range], layers: Sequence[Sequence[int]], count: int) -> list[Arc]:
    """What stands in the same place of one row and the next."""
    items = [[[vertex for vertex in layers[rank] if vertex < count] for rank in ranks] for ranks in rows]
    return [
        pair
        for block in items
        for above, below in itertools.pairwise(block)
        for pair in zip(above, below, strict=False)
    ]


def _topological(after: Sequence[Sequence[int]], before: Sequence[Sequence[int]]) -> list[int]:
    missing = [len(sources) for sources in before]
    order = [vertex for vertex, count in enumerate(missing) if not count]
    for vertex in order:
        for target in after[vertex]:
            missing[target] -= 1
            if not missing[target]:
                order.append(target)
    return order


def _ordered(ranks: Sequence[int], hops: Sequence[Arc]) -> list[list[int]]:
    igraph: Any = import_module("igraph")  # here, since it takes longer to import than all else of the plugin
    graph = igraph.Graph(n=len(ranks), edges=hops, directed=True)
    placed = graph.layout_sugiyama(layers=list(ranks), maxiter=100)
    layers: list[list[int]] = [[] for _ in range(max(ranks) + 1)]
    for vertex, rank in enumerate(ranks):
        layers[rank].append(vertex)
    for layer in layers:
        layer.sort(key=lambda vertex: (placed[vertex][0], vertex))
    return layers
