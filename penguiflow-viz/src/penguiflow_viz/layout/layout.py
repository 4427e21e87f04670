"""A whole drawing laid out: each cluster by itself, from the inside out, then put where it stands."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from penguiflow_viz.layout.scope import Item, Scope, arranged
from penguiflow_viz.layout.shapes import Point, Rect, Route, Turn, moved
from penguiflow_viz.layout.sizes import SMALL, flat, inset, lines, side, size
from penguiflow_viz.model import Box, Cluster, Drawing, Link
from penguiflow_viz.text import width

MARGIN = 16.0
PAD = 14.0


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything goes, in pixels.

    Attributes:
        boxes: By their ids.
        clusters: By their ids; the whole flow has none.
        routes: The ways of the links, by their ids.
        width: Of the whole drawing.
        height: Of the whole drawing.
    """

    boxes: dict[str, Rect]
    clusters: dict[str, Rect]
    routes: dict[str, Route]
    width: float
    height: float


def laid_out(drawing: Drawing, direction: str) -> Layout:
    """Lay a drawing out."""
    return _Layouter(drawing, direction).layout()


class _Layouter:
    def __init__(self, drawing: Drawing, direction: str) -> None:
        self.drawing = drawing
        self.direction = direction
        self.sideways = direction in ("LR", "RL")
        self.scopes: dict[str, Scope] = {}
        self.boxes: dict[str, Rect] = {}
        self.clusters: dict[str, Rect] = {}
        self.routes: dict[str, Route] = {}

    def layout(self) -> Layout:
        for cluster in reversed(self.drawing.clusters):  # what is inside comes after what is around it
            self.scopes[cluster.id] = self._scope(cluster)
        self._put(self.drawing.root, (MARGIN, MARGIN))
        root = self.scopes[self.drawing.root.id]
        across, along = root.across + 2 * MARGIN, root.along + 2 * MARGIN
        turn = Turn(self.direction, along)
        return Layout(
            {key: turn.rect(rect) for key, rect in self.boxes.items()},
            {key: turn.rect(rect) for key, rect in self.clusters.items()},
            {key: turn.route(route) for key, route in self.routes.items()},
            *((along, across) if self.sideways else (across, along)),
        )

    def _scope(self, cluster: Cluster) -> Scope:
        items = [self._box(box) for box in self.drawing.boxes if box.cluster == cluster.id]
        items += [self._cluster(inner) for inner in self.drawing.clusters if inner.parent == cluster.id]
        links = [link for link in self.drawing.links if link.cluster == cluster.id]
        return arranged(items, links, cluster.opensea, cluster.rookery, self._label)

    def _box(self, box: Box) -> Item:
        w, h = size(box)
        across, along = (h, w) if self.sideways else (w, h)
        sideways = self.sideways
        return Item(
            box.id, across, along, flat(box, sideways), partial(inset, box, sideways), partial(side, box, sideways)
        )

    def _cluster(self, cluster: Cluster) -> Item:
        across, along = self._outer(cluster)
        return Item(cluster.id, across, along, across * 0.5, _nothing, _nothing)

    def _outer(self, cluster: Cluster) -> tuple[float, float]:
        scope, title = self.scopes[cluster.id], lines(cluster)
        high, wide = sum(line.height for line in title) + 6, max(line.width for line in title) + 2 * PAD
        if self.sideways:
            return scope.across + high + 2 * PAD, max(scope.along + 2 * PAD, wide)
        return max(scope.across + 2 * PAD, wide), scope.along + high + 2 * PAD

    def _label(self, link: Link) -> tuple[float, float]:
        if not link.label:
            return 0.0, 0.0
        wide, high = width(link.label, SMALL) + 8, 16.0
        return (high, wide) if self.sideways else (wide, high)

    def _put(self, cluster: Cluster, at: Point) -> None:
        scope = self.scopes[cluster.id]
        for key, route in scope.routes.items():
            self.routes[key] = moved(route, at)
        rects = {key: Rect(rect.x + at[0], rect.y + at[1], rect.w, rect.h) for key, rect in scope.rects.items()}
        self.boxes |= {box.id: rects[box.id] for box in self.drawing.boxes if box.cluster == cluster.id}
        for inner in self.drawing.clusters:
            if inner.parent == cluster.id:
                self.clusters[inner.id] = rects[inner.id]
                self._put(inner, self._inside(inner, rects[inner.id]))

    def _inside(self, cluster: Cluster, rect: Rect) -> Point:
        """Where a cluster's contents begin: beside or below its title, in the middle."""
        scope = self.scopes[cluster.id]
        high = sum(line.height for line in lines(cluster)) + 6
        if self.sideways:
            return rect.x + high + PAD, rect.y + (rect.h - scope.along) / 2
        below = high if self.direction == "TB" else 0.0
        return rect.x + (rect.w - scope.across) / 2, rect.y + below + PAD


def _nothing(beside: float) -> float:
    return 0.0
