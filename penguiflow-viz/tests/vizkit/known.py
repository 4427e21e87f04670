"""Flows that are the same each time: one of everything, all hostile names, and large ones."""

from __future__ import annotations

import itertools
import random

from penguiflow import Node, NodePolicy, PenguiFlow, create, join_k, predicate_router, subflow
from vizkit.flows import same
from vizkit.hostile import NAMES, OWNED, usable


def crossroads() -> PenguiFlow:
    """Every kind of node."""
    ask = Node(same, "ask", NodePolicy(timeout_s=10, max_retries=3))
    which = predicate_router("which", lambda message: [])
    look = Node(same, "look", playbooks=[create(Node(same, "find"), name="library")])
    think, both, tell = Node(same, "think"), join_k("both", 2), Node(same, OWNED)
    deep = subflow("deep", create(Node(same, "deeper"), name="inner"))
    return create(
        ask.to(which),
        which.to(look, think, deep),
        look.to(both),
        think.to(think, both),
        deep.to(both),
        both.to(tell),
        tell.to(ask),
        name="crossroads",
        allow_cycles=True,
    )


def every_name(title: str) -> PenguiFlow:
    """Every hostile name at once, in a chain."""
    nodes = [Node(same, name) for name in NAMES if usable(name)]
    return create(*(a.to(b) for a, b in itertools.pairwise(nodes)), name=title)


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
