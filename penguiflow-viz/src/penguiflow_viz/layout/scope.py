"""One cluster laid out by itself: its boxes, the clusters in it as single items, and the links between them.

Rules: a link never passes through an item. Through a layer it runs straight, in a lane of its own; only between layers
does it move sideways. A link that closes a cycle is laid out the other way round, and drawn as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from penguiflow_viz.layout.columns import STRAIGHT, columns
from penguiflow_viz.layout.layers import layered
from penguiflow_viz.layout.shapes import Point, Rect, Route, Step
from penguiflow_viz.model import Link

LANE = 6.0
BETWEEN = 14.0
HEAD = 7.0
LOOP = 26.0
JOIN = 0.2
"""How strongly a trunk pulls at what joins it: hardly."""
COLUMN = 4.0
"""How strongly what stands in one row pulls at what stands in the next."""


@dataclass(frozen=True, slots=True)
class Item:
    """A box, or a cluster with all that is in it.

    Attributes:
        id: The box's or cluster's.
        across: How much room it takes along a layer.
        along: How much it takes from layer to layer.
        flat: How far links may spread where they meet it.
        inset: How deep inside its rectangle its border is where a link meets it, so far from its middle.
        side: The same at its side, where a link that leads back to it leaves and arrives.
    """

    id: str
    across: float
    along: float
    flat: float
    inset: Callable[[float], float]
    side: Callable[[float], float]


@dataclass(frozen=True, slots=True)
class Scope:
    """A cluster's contents, laid out from (0, 0) on.

    Attributes:
        rects: Where each item is.
        routes: The way of each link.
        across: How much room there is along a layer.
        along: How much there is from the first layer to the last.
    """

    rects: dict[str, Rect]
    routes: dict[str, Route]
    across: float
    along: float


def arranged(
    items: Sequence[Item], links: Sequence[Link], first: str, last: str, label: Callable[[Link], tuple[float, float]]
) -> Scope:
    """Lay out items and links; `first` and `last` are the flow's ends, `label` says how much room a link's label takes
    across and along.
    """
    return _Arrangement(items, links, label).scope(first, last)


class _Arrangement:
    def __init__(
        self, items: Sequence[Item], links: Sequence[Link], label: Callable[[Link], tuple[float, float]]
    ) -> None:
        self.items = items
        self.place = {item.id: number for number, item in enumerate(items)}
        self.loops = [link for link in links if link.source == link.target]
        self.links = [link for link in links if link.source != link.target]
        self.label = label

    def scope(self, first: str, last: str) -> Scope:
        labelled = any(link.label for link in self.links)
        arcs = [self._arc(link) for link in self.links]
        looks = [(link.kind, link.back, link.cycle) for link in self.links]
        across = [item.across + 2 * BETWEEN for item in self.items]
        self.graph = layered(across, arcs, looks, self.place[first], self.place[last], 2 if labelled else 1)
        self.tags = {self.graph.tags[number]: link for number, link in enumerate(self.links) if link.label}
        self.u = columns(self.graph.layers, self._reach(), *self._near())
        self._shift()
        self.bands = self._bands(labelled)
        self.ports = self._ports()
        routes = {link.id: self._route(number, link) for number, link in enumerate(self.links)}
        routes |= {link.id: self._loop(link) for link in self.loops}
        rects = {item.id: self._rect(number) for number, item in enumerate(self.items)}
        return Scope(rects, routes, self.across, self.bands[-1][1])

    def _arc(self, link: Link) -> tuple[int, int]:
        source, target = self.place[link.source], self.place[link.target]
        return (target, source) if link.back else (source, target)

    # --- along the layers

    def _reach(self) -> list[tuple[float, float]]:
        looping = {link.source: LOOP + self.label(link)[0] for link in self.loops}
        reach = [
            (item.across / 2 + BETWEEN, item.across / 2 + BETWEEN + looping.get(item.id, 0.0)) for item in self.items
        ]
        for vertex in range(len(self.items), len(self.graph.ranks)):
            tag = self.tags.get(vertex)
            room = LANE if tag is None else max(self.label(tag)[0] / 2 + 4, LANE)
            reach.append((room, room))
        self.reach = reach
        return reach

    def _near(self) -> tuple[list[list[tuple[int, float]]], list[list[tuple[int, float]]]]:
        up: list[list[tuple[int, float]]] = [[] for _ in self.graph.ranks]
        down: list[list[tuple[int, float]]] = [[] for _ in self.graph.ranks]
        for above, below in self.graph.hops:
            dummies = (above >= len(self.items)) + (below >= len(self.items))
            shared = (above in self.graph.trunks) + (below in self.graph.trunks)
            weight = JOIN if shared == 1 else (1.0, 2.0, STRAIGHT)[dummies]
            down[above].append((below, weight))
            up[below].append((above, weight))
        for above, below in self.graph.columns:
            down[above].append((below, COLUMN))
            up[below].append((above, COLUMN))
        return up, down

    def _shift(self) -> None:
        left = min(u - before for u, (before, _) in zip(self.u, self.reach, strict=True))
        self.u = [u - left for u in self.u]
        self.across = max(u + after for u, (_, after) in zip(self.u, self.reach, strict=True))

    # --- from layer to layer

    def _bands(self, labelled: bool) -> list[tuple[float, float]]:
        """Where each layer begins and ends."""
        bands: list[tuple[float, float]] = []
        widest = self._widest()
        least = 18.0 if labelled else 36.0
        for rank, layer in enumerate(self.graph.layers):
            height = max((self._along(vertex) for vertex in layer), default=0.0)
            start = 0.0 if not bands else bands[-1][1] + max(least, min(0.07 * widest[rank - 1], 160.0))
            bands.append((start, start + height))
        return bands

    def _widest(self) -> list[float]:
        """How far links move sideways at most below each layer."""
        widest = [0.0] * len(self.graph.layers)
        for above, below in self.graph.hops:
            rank = self.graph.ranks[above]
            widest[rank] = max(widest[rank], abs(self.u[above] - self.u[below]))
        return widest

    def _along(self, vertex: int) -> float:
        if vertex < len(self.items):
            return self.items[vertex].along
        tag = self.tags.get(vertex)
        return 0.0 if tag is None else self.label(tag)[1]

    def _rect(self, vertex: int) -> Rect:
        item, (start, end) = self.items[vertex], self._band(vertex)
        return Rect(self.u[vertex] - item.across / 2, (start + end - item.along) / 2, item.across, item.along)

    # --- links

    def _ports(self) -> dict[tuple[int, int, bool], float]:
        """How far beside the middle each arc meets its upper and its lower item."""
        ports: dict[tuple[int, int, bool], float] = {}
        for far in (False, True):
            meeting: list[dict[int, list[int]]] = [{} for _ in self.items]
            for number, chain in enumerate(self.graph.chains):
                item, beside = (chain[0], chain[1]) if far else (chain[-1], chain[-2])
                meeting[item].setdefault(beside, []).append(number)
            for vertex, lanes in enumerate(meeting):
                room = min(16.0, max(self.items[vertex].flat, 0.0) / max(len(lanes) - 1, 1))
                for rank, beside in enumerate(sorted(lanes, key=lambda beside: (self.u[beside], beside))):
                    for number in lanes[beside]:  # those that share a trunk share its end
                        ports[vertex, number, far] = (rank - (len(lanes) - 1) / 2) * room
        return ports

    def _route(self, number: int, link: Link) -> Route:
        chain = self.graph.chains[number]
        start, end = self._meeting(chain[0], number, True), self._meeting(chain[-1], number, False)
        lanes = [(start[0], start[1], self._band(chain[0])[1])]
        lanes += [(self.u[vertex], *band) for vertex in chain[1:-1] if _thick(band := self._band(vertex))]
        lanes.append((end[0], self._band(chain[-1])[0], end[1]))
        if link.back:
            lanes = [(u, below, above) for u, above, below in reversed(lanes)]
        return _way(lanes, self._middle(self.graph.tags[number]) if link.label else None)

    def _band(self, vertex: int) -> tuple[float, float]:
        return self.bands[self.graph.ranks[vertex]]

    def _middle(self, vertex: int) -> Point:
        start, end = self._band(vertex)
        return self.u[vertex], (start + end) / 2

    def _meeting(self, vertex: int, number: int, far: bool) -> Point:
        """Where an arc meets an item's border."""
        item, rect, beside = self.items[vertex], self._rect(vertex), self.ports[vertex, number, far]
        inset = item.inset(beside)
        return self.u[vertex] + beside, (rect.y + rect.h - inset) if far else (rect.y + inset)

    def _loop(self, link: Link) -> Route:
        """From an item's side back to it."""
        item, rect = self.items[self.place[link.source]], self._rect(self.place[link.source])
        u, v = rect.x + rect.w, rect.y + rect.h / 2
        rise = min(rect.h / 4, 9.0)
        start, tip = (u - item.side(-rise), v - rise), (u - item.side(rise), v + rise)
        out = u + LOOP
        curve = Step(((out, v - 2.6 * rise), (out, v + 2.6 * rise), (tip[0] + HEAD, tip[1] + 2)))
        return Route(start, (curve,), tip, (out + 2 + self.label(link)[0] / 2 - 6, v))


def _thick(band: tuple[float, float]) -> bool:
    """Whether there is something in a layer that a link has to keep clear of."""
    return band[1] > band[0]


def _way(lanes: Sequence[tuple[float, float, float]], label: Point | None) -> Route:
    """Straight through the lanes, each at a `u` from one `v` to another, and in curves from one to the next, the last
    of which ends where the arrowhead begins.
    """
    sign = 1.0 if lanes[-1][2] >= lanes[0][1] else -1.0
    steps: list[Step] = []
    start, tip = (lanes[0][0], lanes[0][1]), (lanes[-1][0], lanes[-1][2])
    *before, (last, into, _) = lanes
    base = tip[1] - sign * HEAD
    here = start
    for u, above, below in [*before, (last, sign * min(sign * into, sign * base), tip[1])]:
        if u != here[0] or above != here[1]:
            half = (here[1] + above) / 2
            straight = abs(u - here[0]) < 0.5
            steps.append(Step(((u, above),)) if straight else Step(((here[0], half), (u, half), (u, above))))
        here = (u, below)
        steps.append(Step((here,)))
    steps[-1] = Step(((tip[0], base),))
    return Route(start, tuple(_joined(start, steps)), tip, label)


def _joined(start: Point, steps: Sequence[Step]) -> Iterator[Step]:
    """The same with what goes straight on as one line."""
    here, line = start, None
    for step in steps:
        straight = len(step.points) == 1 and step.points[0][0] == here[0]
        if line is not None and not straight:
            yield line
        line = step if straight else None
        if not straight:
            yield step
        here = step.points[-1]
    if line is not None:
        yield line
