"""Which layer everything stands in, and in which order: a layered graph, its order found by igraph.

Rules: vertices are numbers. Arcs lead down, never up; one over several layers passes a dummy vertex in each between,
which those that go far to one vertex share.
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from penguiflow_viz.layout.trunks import Arc, ways


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
    """

    ranks: list[int]
    layers: list[list[int]]
    chains: list[list[int]]
    hops: list[Arc]
    tags: dict[int, int]
    trunks: set[int]


def layered(count: int, arcs: Sequence[Arc], looks: Sequence[Hashable], first: int, last: int, step: int) -> Layered:
    """Put `count` vertices into layers, at least `step` apart: `first` on top, `last` at the bottom.

    Only arcs of the same looks may share dummies.
    """
    found = ways(arcs, looks, _ranks(count, arcs, first, last, step), step)
    chains = [found.chains[number] for number in range(len(arcs))]
    hops = list(dict.fromkeys(pair for chain in chains for pair in itertools.pairwise(chain)))
    return Layered(found.ranks, _ordered(found.ranks, hops), chains, hops, found.tags, found.trunks)


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
