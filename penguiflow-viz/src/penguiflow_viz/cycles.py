"""Which edges go round: strongly connected components, and the edges that close them.

Rules: nodes are numbers, and everything comes in their order. Nothing recurses, so a long chain is no deep stack.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

Edges = Sequence[Sequence[int]]


def components(after: Edges) -> list[list[int]]:
    """The strongly connected components that a message can go round in, each and all in the order of the nodes."""
    order = _postorder(after, range(len(after)), {})
    before: list[list[int]] = [[] for _ in after]
    for source, targets in enumerate(after):
        for target in targets:
            before[target].append(source)
    seen: dict[int, None] = {}
    found = []
    for root in reversed(order):
        if root not in seen:
            group = sorted(_postorder(before, [root], seen))
            if len(group) > 1 or root in after[root]:
                found.append(group)
    return sorted(found)


def closing(after: Edges, entries: Iterable[int]) -> set[tuple[int, int]]:
    """The edges that lead back to a node on the way from an entry: without them, nothing goes round."""
    found: set[tuple[int, int]] = set()
    _postorder(after, [*entries, *range(len(after))], {}, found)
    return found


def _postorder(
    after: Edges, roots: Iterable[int], seen: dict[int, None], back: set[tuple[int, int]] | None = None
) -> list[int]:
    """Depth first from each root; nodes in the order they were left. `back` gathers edges to a node still entered."""
    left: list[int] = []
    for root in roots:
        if root in seen:
            continue
        seen[root] = None
        path, entered = [(root, iter(after[root]))], {root}
        while path:
            place, rest = path[-1]
            for target in rest:
                if target not in seen:
                    seen[target] = None
                    entered.add(target)
                    path.append((target, iter(after[target])))
                    break
                if back is not None and target in entered:
                    back.add((place, target))
            else:
                path.pop()
                entered.discard(place)
                left.append(place)
    return left
