"""Rectangles, ways, and how both are turned from layers into a direction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

DIRECTIONS = ("TB", "BT", "LR", "RL")

Point = tuple[float, float]


class Rect(NamedTuple):
    """A rectangle: its upper left corner and its size."""

    x: float
    y: float
    w: float
    h: float

    @property
    def middle(self) -> Point:
        """Its middle."""
        return self.x + self.w / 2, self.y + self.h / 2


class Step(NamedTuple):
    """A part of a way: a straight line to a point, or a curve over two others."""

    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Route:
    """The way of a link.

    Attributes:
        start: Where it begins.
        steps: A straight line (one point) or a curve (three) after the other.
        tip: Where its arrow points; the way ends a little before.
        label: The middle of its label.
    """

    start: Point
    steps: tuple[Step, ...]
    tip: Point
    label: Point | None = None


class Turn(NamedTuple):
    """From `u` and `v` to `x` and `y`, in a drawing of this size."""

    direction: str
    length: float
    """How far `v` goes."""

    @property
    def sideways(self) -> bool:
        """Whether layers stand beside each other."""
        return self.direction in ("LR", "RL")

    def point(self, point: Point) -> Point:
        """A point, turned."""
        u, v = point
        if self.direction in ("BT", "RL"):
            v = self.length - v
        return (v, u) if self.sideways else (u, v)

    def rect(self, rect: Rect) -> Rect:
        """A rectangle, turned."""
        first, second = self.point((rect.x, rect.y)), self.point((rect.x + rect.w, rect.y + rect.h))
        x, y = min(first[0], second[0]), min(first[1], second[1])
        return Rect(x, y, abs(first[0] - second[0]), abs(first[1] - second[1]))

    def route(self, route: Route) -> Route:
        """A way, turned."""
        return Route(
            self.point(route.start),
            tuple(Step(tuple(map(self.point, step.points))) for step in route.steps),
            self.point(route.tip),
            None if route.label is None else self.point(route.label),
        )


def moved(route: Route, by: Point) -> Route:
    """A way, moved."""

    def there(point: Point) -> Point:
        return point[0] + by[0], point[1] + by[1]

    return Route(
        there(route.start),
        tuple(Step(tuple(map(there, step.points))) for step in route.steps),
        there(route.tip),
        None if route.label is None else there(route.label),
    )
