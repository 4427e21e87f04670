"""Where the vertices of each layer stand beside each other: near those they are linked with, never too close.

Rules: the order is kept. For one layer, the best places are a weighted isotonic regression of where each vertex wants
to be, which pooling adjacent violators finds exactly; sweeps over the layers, down and up, make them agree.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

SWEEPS = 8

Near = Sequence[Sequence[tuple[int, float]]]
"""For each vertex, those that it is linked with and how strongly."""


def columns(layers: Sequence[Sequence[int]], reach: Sequence[tuple[float, float]], up: Near, down: Near) -> list[float]:
    """The `u` of each vertex.

    Args:
        layers: The vertices of each layer, in order.
        reach: How much room each vertex needs before and after its `u`.
        up: The neighbours in the layer above.
        down: The neighbours in the layer below.
    """
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


def _offsets(layer: Sequence[int], reach: Sequence[tuple[float, float]]) -> list[float]:
    """Where the vertices stand if they are as close as they may be."""
    offsets = [0.0]
    for vertex, following in itertools.pairwise(layer):
        offsets.append(offsets[-1] + reach[vertex][1] + reach[following][0])
    return offsets


def _settle(layer: Sequence[int], reach: Sequence[tuple[float, float]], places: list[float], near: Near) -> None:
    offsets = _offsets(layer, reach)
    wanted, weights = [], []
    for vertex, offset in zip(layer, offsets, strict=True):
        weight = sum(weight for _, weight in near[vertex])
        pull = sum(places[other] * weight for other, weight in near[vertex])
        wanted.append((pull / weight if weight else places[vertex]) - offset)
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
