"""What is wrong with a layout, as a person would see it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from penguiflow_viz import Drawing
from penguiflow_viz.layout import Layout, Rect, Route
from penguiflow_viz.text import width

Point = tuple[float, float]
POINTS = 12


def flaws(drawing: Drawing, layout: Layout) -> Iterator[str]:
    """Overlaps, links through boxes, what sticks out, and arrows that point at nothing; a sentence each."""
    rects = layout.boxes | layout.clusters
    for cluster in drawing.clusters:
        inside = [box.id for box in drawing.boxes if box.cluster == cluster.id]
        inside += [inner.id for inner in drawing.clusters if inner.parent == cluster.id]
        room = layout.clusters.get(cluster.id, Rect(0, 0, layout.width, layout.height))
        yield from (f"{id} sticks out of {cluster.id}" for id in inside if not contains(room, rects[id]))
        pairs = itertools.combinations(inside, 2)
        yield from (f"{a} and {b} overlap" for a, b in pairs if meet(rects[a], rects[b]))
        for link in drawing.links:
            if link.cluster == cluster.id:
                yield from _link(link.id, link.source, link.target, layout.routes[link.id], inside, rects)
                yield from (f"{link.id} leaves {cluster.id}" for _ in _outside(layout.routes[link.id], room))
    yield from _labels(drawing, layout)


def _link(id: str, source: str, target: str, route: Route, items: list[str], rects: dict[str, Rect]) -> Iterator[str]:
    if not near(route.start, rects[source]) or not near(route.tip, rects[target]):
        yield f"{id} doesn't lead from {source} to {target}"
    if _turns_back(route):
        yield f"{id} goes past its end, and turns back"
    pieces = [(around(piece), piece) for piece in steps(route)]
    whole = around([point for _, piece in pieces for point in piece])
    for item in items:
        rect = rects[item]
        if item not in (source, target) and touch(whole, rect):
            if any(holds(rect, point) for room, piece in pieces if touch(room, rect) for point in piece):
                yield f"{id} passes through {item}"


def _turns_back(route: Route) -> bool:
    """Whether the way comes to its arrowhead from the side of its tip."""
    way = [route.start, *(point for step in route.steps for point in step.points)]
    end = way[-1]
    before = next((point for point in reversed(way) if point != end), end)
    return (end[0] - before[0]) * (route.tip[0] - end[0]) + (end[1] - before[1]) * (route.tip[1] - end[1]) < 0


def _outside(route: Route, room: Rect) -> Iterator[Point]:
    outside = (point for point in points(route) if not contains(room, Rect(*point, 0, 0)))
    yield from itertools.islice(outside, 1)


def _labels(drawing: Drawing, layout: Layout) -> Iterator[str]:
    labels = {}
    for link in drawing.links:
        at = layout.routes[link.id].label
        if link.label and at is None:
            yield f"{link.id} has no place for its label"
        elif link.label and at is not None:
            wide = width(link.label, 11)
            labels[link.id] = Rect(at[0] - wide / 2, at[1] - 6, wide, 12)
    for id, label in labels.items():
        yield from (f"the label of {id} covers {box}" for box, rect in layout.boxes.items() if meet(label, rect))
    for a, b in itertools.combinations(labels, 2):
        if meet(labels[a], labels[b]):
            yield f"the labels of {a} and {b} overlap"


def contains(outer: Rect, inner: Rect) -> bool:
    return (
        inner.x > outer.x - 0.5
        and inner.y > outer.y - 0.5
        and inner.x + inner.w < outer.x + outer.w + 0.5
        and inner.y + inner.h < outer.y + outer.h + 0.5
    )


def meet(a: Rect, b: Rect) -> bool:
    return min(a.x + a.w, b.x + b.w) - max(a.x, b.x) > 0.5 and min(a.y + a.h, b.y + b.h) - max(a.y, b.y) > 0.5


def holds(rect: Rect, point: Point) -> bool:
    return rect.x + 1 < point[0] < rect.x + rect.w - 1 and rect.y + 1 < point[1] < rect.y + rect.h - 1


def near(point: Point, rect: Rect) -> bool:
    return rect.x - 1 < point[0] < rect.x + rect.w + 1 and rect.y - 1 < point[1] < rect.y + rect.h + 1


def around(points: list[Point]) -> Rect:
    """The smallest rectangle with these points in it."""
    xs, ys = [x for x, _ in points], [y for _, y in points]
    return Rect(min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys))


def touch(a: Rect, b: Rect) -> bool:
    return a.x <= b.x + b.w and b.x <= a.x + a.w and a.y <= b.y + b.h and b.y <= a.y + a.h


def points(route: Route) -> list[Point]:
    """Points on the way, close together."""
    return [point for piece in steps(route) for point in piece]


def steps(route: Route) -> Iterator[list[Point]]:
    """Points on each step of the way, and its tip."""
    here = route.start
    for step in route.steps:
        yield list(_on(here, step.points))
        here = step.points[-1]
    yield [here, route.tip]


def _on(here: Point, given: tuple[Point, ...]) -> Iterator[Point]:
    first, second, end = given if len(given) == 3 else (here, given[0], given[0])
    for place in range(POINTS + 1):
        t = place / POINTS
        parts = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3)
        x, y = (
            sum(part * point[axis] for part, point in zip(parts, (here, first, second, end), strict=True))
            for axis in (0, 1)
        )
        yield x, y
