"""Where the vertices of each layer stand beside each other: near those they are linked with, never too close.

Rules: the order is kept. For one layer, the best places are a weighted isotonic regression of where each vertex wants
to be, which pooling adjacent violators finds exactly; sweeps over the layers, down and up, make them agree. After
that, what leads from one vertex to one other is made straight where there is room.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

SWEEPS = 8
STRAIGHT = 8.0
"""How strongly two vertices are linked between which a line should be straight."""

Reach = Sequence[tuple[float, float]]
"""How much room each vertex needs before and after its place."""

Near = Sequence[Sequence[tuple[int, float]]]
"""For each vertex, those that it is linked with and how strongly."""


def columns(layers: Sequence[Sequence[int]], reach: Reach, up: Near, down: Near) -> list[float]:
    """The `u` of each vertex.

    Args:
        layers: The vertices of each layer, in order.
        reach: How much room each vertex needs before and after its `u`.
        up: The neighbours in the layer above.
        down: The neighbours in the layer below.
    """
    places = _swept(layers, reach, up, down)
    runs, bounds = _runs(layers, places, up, down), _bounds(layers, reach, places)
    for run in [*runs, *reversed(runs)]:
        _straighten(run, bounds, places)
    return places


def _swept(layers: Sequence[Sequence[int]], reach: Reach, up: Near, down: Near) -> list[float]:
    places = [0.0] * len(reach)
    for layer in layers:
        offsets = _offsets(layer, reach)
        for vertex, offset in zip(layer, offsets, strict=True):
            places[vertex] = offset - offsets[-1] / 2
    for sweep in range(SWEEPS):
        for layer in layers:
            _settle(layer, reach, places, up)
        for layer in reversed(layers):
            _settle(layer, reach, places, down)
        if sweep >= SWEEPS - 2:
            both = [[*above, *below] for above, below in zip(up, down, strict=True)]
            for layer in layers:
                _settle(layer, reach, places, both)
    return places


def _runs(layers: Sequence[Sequence[int]], places: Sequence[float], up: Near, down: Near) -> list[list[int]]:
    """The longest ways on which each vertex leads to one, or to one above all; from the left to the right."""
    begun: dict[int, list[int]] = {}
    runs = []
    for layer in layers:
        for vertex in layer:
            above = _partner(up[vertex])
            if above is not None and _partner(down[above]) == vertex:
                begun[vertex] = begun[above]
            else:
                begun[vertex] = []
                runs.append(begun[vertex])
            begun[vertex].append(vertex)
    return sorted((run for run in runs if len(run) > 1), key=lambda run: sum(map(places.__getitem__, run)) / len(run))


def _partner(near: Sequence[tuple[int, float]]) -> int | None:
    """The only neighbour that pulls, or the only one that asks for a straight line."""
    for least in (1.0, STRAIGHT):
        pulling = [other for other, weight in near if weight >= least]
        if len(pulling) == 1:
            return pulling[0]
    return None


def _straighten(run: Sequence[int], bounds: Callable[[int], tuple[float, float]], places: list[float]) -> None:
    """Give as many vertices in a row as possible the same place."""
    part: list[int] = []
    low, high = -math.inf, math.inf
    for vertex in run:
        least, most = bounds(vertex)
        if max(low, least) > min(high, most):
            _align(part, low, high, places)
            part, low, high = [], -math.inf, math.inf
        part.append(vertex)
        low, high = max(low, least), min(high, most)
    _align(part, low, high, places)


def _align(part: Sequence[int], low: float, high: float, places: list[float]) -> None:
    middle = sum(places[vertex] for vertex in part) / len(part)
    for vertex in part:
        places[vertex] = min(max(middle, low), high)


def _bounds(
    layers: Sequence[Sequence[int]], reach: Reach, places: Sequence[float]
) -> Callable[[int], tuple[float, float]]:
    """For a vertex, between which places it may stand while its neighbours stay."""
    beside = {
        vertex: (layer[place - 1] if place else None, layer[place + 1] if place + 1 < len(layer) else None)
        for layer in layers
        for place, vertex in enumerate(layer)
    }

    def bounds(vertex: int) -> tuple[float, float]:
        before, after = beside[vertex]
        low = -math.inf if before is None else places[before] + reach[before][1] + reach[vertex][0]
        high = math.inf if after is None else places[after] - reach[after][0] - reach[vertex][1]
        return min(low, places[vertex]), max(high, places[vertex])

    return bounds


def _offsets(layer: Sequence[int], reach: Reach) -> list[float]:
    """Where the vertices stand if they are as close as they may be."""
    offsets = [0.0] if layer else []
    for vertex, following in itertools.pairwise(layer):
        offsets.append(offsets[-1] + reach[vertex][1] + reach[following][0])
    return offsets


def _settle(layer: Sequence[int], reach: Reach, places: list[float], near: Near) -> None:
    offsets, middle = _offsets(layer, reach), places[0]  # what is linked with nothing goes below the first vertex
    wanted, weights = [], []
    for vertex, offset in zip(layer, offsets, strict=True):
        weight = sum(weight for _, weight in near[vertex])
        pull = sum(places[other] * weight for other, weight in near[vertex])
        wanted.append((pull / weight if weight else middle) - offset)
        weights.append(weight or 0.1)
    for vertex, offset, place in zip(layer, offsets, _isotonic(wanted, weights), strict=True):
        places[vertex] = place + offset


def _isotonic(wanted: Sequence[float], weights: Sequence[float]) -> list[float]:
    """The values nearest to `wanted`, by weighted squares, that never fall."""
    pools: list[tuple[float, float, int]] = []
    for value, weight in zip(wanted, weights, strict=True):
        count = 1
        while pools and pools[-1][0] > value:
            before, heavy, many = pools.pop()
            value = (before * heavy + value * weight) / (heavy + weight)
            weight, count = heavy + weight, many + count
        pools.append((value, weight, count))
    return [value for value, _, count in pools for _ in range(count)]
