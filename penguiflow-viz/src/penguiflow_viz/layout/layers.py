"""Which layer everything stands in, and in which order: a layered graph, its order found by igraph.

Rules: vertices are numbers. Arcs lead down, never up; one over several layers passes a dummy vertex in each between.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

Arc = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Layered:
    """Layers of vertices.

    Attributes:
        ranks: The layer of each vertex; the dummies come after those that were given.
        layers: The vertices of each layer, in order.
        chains: For each arc the vertices on its way, both ends included.
    """

    ranks: list[int]
    layers: list[list[int]]
    chains: list[list[int]]


def layered(count: int, arcs: Sequence[Arc], first: int, last: int, step: int) -> Layered:
    """Put `count` vertices into layers, `step` layers apart at least: `first` on top, `last` at the bottom."""
    ranks = _ranks(count, arcs, first, last, step)
    chains = []
    for source, target in arcs:
        between = range(ranks[source] + 1, ranks[target])
        chains.append([source, *range(len(ranks), len(ranks) + len(between)), target])
        ranks.extend(between)
    return Layered(ranks, _ordered(ranks, chains), chains)


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


def _ordered(ranks: Sequence[int], chains: Sequence[Sequence[int]]) -> list[list[int]]:
    igraph: Any = import_module("igraph")  # here, since it takes longer to import than all else of the plugin
    edges = [pair for chain in chains for pair in itertools.pairwise(chain)]
    graph = igraph.Graph(n=len(ranks), edges=edges, directed=True)
    placed = graph.layout_sugiyama(layers=list(ranks), maxiter=100)
    layers: list[list[int]] = [[] for _ in range(max(ranks) + 1)]
    for vertex, rank in enumerate(ranks):
        layers[rank].append(vertex)
    for layer in layers:
        layer.sort(key=lambda vertex: (placed[vertex][0], vertex))
    return layers
