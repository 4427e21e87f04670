"""Nodes and who leads to whom, and everything that can be wrong with that.

Rules: every problem is reported at once, each with a hint. What can't be resolved is unknown, not wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from penguiflow._errors import CycleError, GraphError
from penguiflow._models import WM, FinalAnswer
from penguiflow._node import Adjacency, JoinRole, Node
from penguiflow._types import UNKNOWN, compatible, members, only_chunks, spelled


class Wiring(NamedTuple):
    """Nodes and who leads to whom, checked. Indices stand for nodes, in the order they were first named."""

    nodes: tuple[Node, ...]
    successors: tuple[tuple[int, ...], ...]
    predecessors: tuple[tuple[int, ...], ...]
    entries: tuple[int, ...]
    cycles: dict[int, int]  # for a node that a message can come back to, which of the graph's cycles it is on


def wire(adjacencies: Iterable[Any], allow_cycles: bool) -> Wiring:
    """Check a graph and index it.

    Raises:
        GraphError: it can't run; the text lists every problem. `CycleError` if one of them is a forbidden cycle.
        TypeError: something else than nodes and adjacencies was given.
    """
    pairs = [_adjacency(item) for item in adjacencies]
    nodes = list(dict.fromkeys(n for node, successors in pairs for n in (node, *successors)))
    index = {node: place for place, node in enumerate(nodes)}
    after: list[dict[int, None]] = [{} for _ in nodes]
    for node, successors in pairs:
        after[index[node]].update((index[successor], None) for successor in successors)
    before: list[list[int]] = [[] for _ in nodes]
    for source, targets in enumerate(after):
        for target in targets:
            before[target].append(source)
    entries = [i for i, sources in enumerate(before) if set(sources) <= {i}] or ([0] if nodes else [])
    cycles = [group for group in _groups(after) if len(group) > 1 or group[0] in after[group[0]]]
    wiring = Wiring(
        tuple(nodes),
        tuple(tuple(targets) for targets in after),
        tuple(tuple(sources) for sources in before),
        tuple(entries),
        {i: number for number, group in enumerate(cycles) for i in group},
    )
    _check(wiring, allow_cycles)
    return wiring


def _adjacency(item: Any) -> Adjacency:
    if isinstance(item, Node):
        return item.to()
    if isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], Node):
        return item[0].to(*item[1])
    raise TypeError(f"create() takes nodes and a.to(b, ...), not {item!r:.80}")


def _groups(after: Sequence[Iterable[int]]) -> list[list[int]]:
    """Strongly connected components (Tarjan, without recursion), each and all in the order of the nodes."""
    order: dict[int, int] = {}
    low: dict[int, int] = {}
    path: list[int] = []
    on_path: set[int] = set()
    found: list[list[int]] = []
    for root in range(len(after)):
        work = [(root, iter(after[root]))] if root not in order else []
        while work:
            place, rest = work[-1]
            if place not in order:
                order[place] = low[place] = len(order)
                path.append(place)
                on_path.add(place)
            for target in rest:
                if target not in order:
                    work.append((target, iter(after[target])))
                    break
                if target in on_path:
                    low[place] = min(low[place], order[target])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[place])
                if low[place] == order[place]:
                    cut = path.index(place)
                    found.append(sorted(path[cut:]))
                    on_path.difference_update(path[cut:])
                    del path[cut:]
    return sorted(found)


def _check(wiring: Wiring, allow_cycles: bool) -> None:
    if not wiring.nodes:
        raise GraphError(["it has no node: create(a.to(b)) draws an edge, create(a) stands alone"])
    cycles = [] if allow_cycles else list(_forbidden_cycles(wiring))
    problems = [*_same_names(wiring), *_bad_joins(wiring), *_unreachable(wiring), *cycles, *_mismatches(wiring)]
    if problems:
        raise (CycleError if cycles else GraphError)(problems)


def _same_names(wiring: Wiring) -> Iterable[str]:
    names = [node.name for node in wiring.nodes]
    for name in dict.fromkeys(names):
        if (count := names.count(name)) > 1:
            yield f"{count} nodes are named {name!r}: give each its own, as in Node(func, name={name + '_2'!r})"


def _bad_joins(wiring: Wiring) -> Iterable[str]:
    for place, node in enumerate(wiring.nodes):
        if isinstance(node.role, JoinRole) and not wiring.predecessors[place]:
            yield f"join {node.name!r} has no input: draw an edge to it, as in a.to({node.name})"


def _unreachable(wiring: Wiring) -> Iterable[str]:
    seen: set[int] = set()
    ahead = list(wiring.entries)
    while ahead:
        if (place := ahead.pop()) not in seen:
            seen.add(place)
            ahead.extend(wiring.successors[place])
    for place, node in enumerate(wiring.nodes):
        if place not in seen:
            yield f"no message can reach {node.name!r}: draw an edge to it from a node that messages reach"


def _forbidden_cycles(wiring: Wiring) -> Iterable[str]:
    allowed = {i for i, node in enumerate(wiring.nodes) if node.allow_cycle}
    kept = [
        [] if source in allowed else [t for t in targets if t not in allowed]
        for source, targets in enumerate(wiring.successors)
    ]
    for group in _groups(kept):
        if len(group) > 1 or group[0] in kept[group[0]]:
            path = " -> ".join(repr(wiring.nodes[i].name) for i in _round(group, kept))
            yield f"{path} is a cycle: allow it with Node(..., allow_cycle=True) on one of them, or allow_cycles=True"


def _round(group: list[int], after: Sequence[Sequence[int]]) -> list[int]:
    """A shortest way round from the group's first node back to it."""
    start = group[0]
    ways = [[start]]
    for way in ways:
        for target in after[way[-1]]:
            if target == start:
                return [*way, start]
            if target in group and all(target not in other for other in ways):
                ways.append([*way, target])
    return [*group, start]


def _mismatches(wiring: Wiring) -> Iterable[str]:
    for source, targets in enumerate(wiring.successors):
        for target in targets:
            giver, taker = wiring.nodes[source], wiring.nodes[target]
            gives, wants = _output(giver, source in targets), taker.shape.wants
            if source == target or taker.policy.validate in ("out", "none") or only_chunks(wants):
                continue
            if not compatible(gives, wants):
                yield (
                    f"{giver.name!r} gives {spelled(gives)}, but {taker.name!r} takes {spelled(wants)}: "
                    f"change one annotation, or put a node between them that converts"
                )


def _output(node: Node, controls: bool) -> Any:
    """What a node's successors may get of it. A controller keeps its `WM` and sends its `FinalAnswer` away."""
    gives = node.shape.gives
    if not controls or gives is UNKNOWN:
        return gives
    rest = [m for m in members(gives) if not (isinstance(m, type) and issubclass(m, WM | FinalAnswer))]
    return UNKNOWN if len(rest) != len(members(gives)) and not rest else gives
