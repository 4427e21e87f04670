"""The ways of arcs through the layers: a lane of its own for each, but a trunk where many go far to one vertex.

Rules: arcs share a trunk only if they look alike and have the same end, so that it can't be mistaken where one leads.
Outside the trunk an arc has a lane of its own, and a place for its label if labels are wanted. Sharing keeps the number
of dummies small: without it, a few hundred arcs over a few hundred layers are tens of thousands.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

Arc = tuple[int, int]

MANY = 6
"""How many arcs have to go far before they share a trunk."""
FAR = 4
"""How many layers of boxes they have to pass."""


@dataclass(slots=True)
class Ways:
    """The ways of all arcs.

    Attributes:
        ranks: The layer of each vertex; dummies are added to it.
        chains: For each arc, by its number, the vertices on its way, both ends included.
        tags: For each arc the dummy where its label goes; none if the arc passes no layer.
        trunks: The dummies that several arcs share.
    """

    ranks: list[int]
    chains: dict[int, list[int]] = field(default_factory=dict)
    tags: dict[int, int] = field(default_factory=dict)
    trunks: set[int] = field(default_factory=set)

    def dummy(self, rank: int) -> int:
        """A new vertex in a layer."""
        self.ranks.append(rank)
        return len(self.ranks) - 1

    def alone(self, number: int, arc: Arc) -> None:
        """A lane for one arc."""
        source, target = arc
        between = [self.dummy(rank) for rank in range(self.ranks[source] + 1, self.ranks[target])]
        self.chains[number] = [source, *between, target]
        if between:
            self.tags[number] = between[len(between) // 2]

    def gathered(self, arcs: dict[int, Arc], step: int) -> None:
        """A trunk for arcs to the same vertex: each joins it below a lane of its own."""
        end = self.ranks[next(iter(arcs.values()))[1]]
        first = min(self.ranks[source] for source, _ in arcs.values()) + step
        trunk = self._trunk(first, end)
        for number, (source, target) in arcs.items():
            start = self.ranks[source]
            shared = [trunk[rank] for rank in range(start + step, end)]
            self.chains[number] = [source, *self._own(number, start + 1, start + step), *shared, target]

    def scattered(self, arcs: dict[int, Arc], step: int) -> None:
        """A trunk for arcs from the same vertex: each leaves it above a lane of its own."""
        start = self.ranks[next(iter(arcs.values()))[0]]
        last = max(self.ranks[target] for _, target in arcs.values()) - step
        trunk = self._trunk(start + 1, last + 1)
        for number, (source, target) in arcs.items():
            end = self.ranks[target]
            shared = [trunk[rank] for rank in range(start + 1, end - step + 1)]
            self.chains[number] = [source, *shared, *self._own(number, end - step + 1, end), target]

    def _trunk(self, first: int, end: int) -> dict[int, int]:
        trunk = {rank: self.dummy(rank) for rank in range(first, end)}
        self.trunks.update(trunk.values())
        return trunk

    def _own(self, number: int, first: int, end: int) -> list[int]:
        """A lane outside the trunk, where labels go; none if no labels are wanted."""
        lane = [self.dummy(rank) for rank in range(first, end)]
        if lane:
            self.tags[number] = lane[0]
        return lane


def ways(arcs: Sequence[Arc], looks: Sequence[Hashable], ranks: list[int], step: int, far: int = FAR) -> Ways:
    """Lead each arc through the layers; `looks` says which of them look alike, `far` what is far."""
    found = Ways(ranks)
    left = dict(enumerate(arcs))
    distant = {number: arc for number, arc in left.items() if ranks[arc[1]] - ranks[arc[0]] > far * step}
    for end, lead in ((1, found.gathered), (0, found.scattered)):
        groups: dict[Hashable, dict[int, Arc]] = {}
        for number, arc in distant.items():
            groups.setdefault((arc[end], looks[number]), {})[number] = arc
        for group in groups.values():
            if len(group) >= MANY:
                lead(group, step)
                for number in group:
                    del distant[number], left[number]
    for number, arc in left.items():
        found.alone(number, arc)
    return found
