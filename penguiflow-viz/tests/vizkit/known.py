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


def _chain(count: int) -> list[Node]:
    return [Node(same, f"s{place}") for place in range(count)]


def reporting(count: int) -> PenguiFlow:
    """A chain in which each node reports to the same one."""
    nodes, log = _chain(count), Node(same, "log")
    return create(*(a.to(b, log) for a, b in itertools.pairwise(nodes)), nodes[-1].to(log), name="reporting")


def configured(count: int) -> PenguiFlow:
    """A chain in which each node is led to from the same one."""
    nodes, root = _chain(count), Node(same, "root")
    return create(root.to(*nodes), *(a.to(b) for a, b in itertools.pairwise(nodes)), name="configured")


def leaving(count: int) -> PenguiFlow:
    """A chain in which each node leads to one more, where messages leave."""
    nodes = _chain(count)
    ends = [node.to(Node(same, f"end of {node.name}")) for node in nodes]
    return create(*(a.to(b) for a, b in itertools.pairwise(nodes)), *ends, name="leaving")


def returning(count: int) -> PenguiFlow:
    """A chain in which each node leads back to the first."""
    nodes = _chain(count)
    back = [node.to(nodes[0]) for node in nodes]
    return create(*(a.to(b) for a, b in itertools.pairwise(nodes)), *back, name="returning", allow_cycles=True)


def hub(count: int) -> PenguiFlow:
    """A node that leads to many, each of which leads to the same one."""
    first, last = Node(same, "hub"), Node(same, "gather")
    nodes = [Node(same, f"worker_{place:03d}") for place in range(count)]
    return create(first.to(*nodes), *(node.to(last) for node in nodes), name="hub")


def opening(count: int) -> PenguiFlow:
    """Many nodes at which messages enter, and leave."""
    return create(*(Node(same, f"door_{place:03d}") for place in range(count)), name="opening")
