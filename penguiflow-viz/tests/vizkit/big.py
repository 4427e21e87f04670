"""Large flows, the same each time."""

from __future__ import annotations

import random

from penguiflow import Node, PenguiFlow, create
from vizkit.flows import same


def big(count: int, seed: int = 1) -> PenguiFlow:
    """`count` nodes, each led to from one of the dozen before it, and every third from farther back as well."""
    chance = random.Random(seed)
    nodes = [Node(same, f"step_{place:03d}") for place in range(count)]
    after: list[dict[int, None]] = [{} for _ in nodes]
    for place in range(1, count):
        after[chance.randrange(max(0, place - 12), place)][place] = None
        if chance.random() < 0.35:
            after[chance.randrange(max(0, place - 40), place)][place] = None
    return create(*(node.to(*map(nodes.__getitem__, after[place])) for place, node in enumerate(nodes)), name="big")
