"""A drawing as SVG: one file with its own style, light or dark as the reader's system is.

Rules: every text says how long it may be, so that another font can't spill it. Boxes, clusters and links carry their
ids and names as data, for pages and tests.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import TypeAlias

from penguiflow_viz import model
from penguiflow_viz.formats.colours import ink, style
from penguiflow_viz.layout import Layout, Rect, Route, laid_out
from penguiflow_viz.layout.sizes import SLANT, SMALL, SMALL_LINE, Line, lines
from penguiflow_viz.model import Box, Cluster, Drawing, Link
from penguiflow_viz.text import width

Shape: TypeAlias = str

LEGEND = 22.0


def svg(drawing: Drawing, direction: str, theme: str) -> str:
    """The drawing as an SVG document."""
    return _written(drawing, direction, f'class="pf pf-{theme}" role="img"', f"<style>{style()}</style>")


def embedded(drawing: Drawing, direction: str) -> str:
    """The drawing as an element of a page that has the style already."""
    return _written(drawing, direction, 'role="group"', "")


def _written(drawing: Drawing, direction: str, attributes: str, styled: str) -> str:
    layout = laid_out(drawing, direction)
    return "".join(f"{line}\n" for line in _document(drawing, layout, attributes, styled))


def _document(drawing: Drawing, layout: Layout, attributes: str, styled: str) -> Iterator[str]:
    wide, high = _size(drawing, layout)
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" {attributes} width="{wide:.0f}" '
        f'height="{high:.0f}" viewBox="0 0 {wide:.0f} {high:.0f}" aria-label="{_attribute(_summary(drawing))}">'
    )
    yield styled
    yield f'<rect class="pf-page" width="{wide:.0f}" height="{high:.0f}"/>'
    depths = drawing.depths()
    for cluster in drawing.clusters[1:]:
        yield from _cluster(cluster, layout.clusters[cluster.id], depths[cluster.id])
    for link in drawing.links:
        yield from _link(link, layout.routes[link.id])
    for box in drawing.boxes:
        yield from _box(box, layout.boxes[box.id])
    for link in drawing.links:
        yield from _tag(link, layout.routes[link.id])
    for place, text in enumerate(drawing.legend):
        yield _text(Line(text, SMALL, False, width(text, SMALL), SMALL_LINE), 16, layout.height + 12 + place * LEGEND)
    yield "</svg>"


def _size(drawing: Drawing, layout: Layout) -> tuple[float, float]:
    widest = max((width(text, SMALL) + 32 for text in drawing.legend), default=0.0)
    return max(layout.width, widest), layout.height + LEGEND * len(drawing.legend)


def _summary(drawing: Drawing) -> str:
    nodes = [box.label for box in drawing.boxes if box.kind not in (model.OPENSEA, model.ROOKERY)]
    return f"Flow {drawing.root.label}: {len(nodes)} nodes"


def _cluster(cluster: Cluster, rect: Rect, depth: int) -> Iterator[str]:
    states = f"{_states(cluster)}{'' if depth % 2 else ' pf-even'}"
    yield f'<g id="{cluster.id}" class="pf-cluster pf-{cluster.kind}{states}"{_data(cluster)}>'
    yield _title(cluster.tooltip)
    yield _rect(rect, 10, cluster)
    y = rect.y + 8
    for line in lines(cluster):
        yield _text(line, rect.x + 12, y + line.height / 2)
        y += line.height
    yield "</g>"


def _box(box: Box, rect: Rect) -> Iterator[str]:
    yield f'<g id="{box.id}" class="pf-box pf-{box.kind}{_states(box)}"{_data(box)}>'
    yield _title(box.tooltip)
    yield _shape(box, rect)
    text = lines(box)
    y = rect.y + (rect.h - sum(line.height for line in text)) / 2
    for line in text:
        yield _text(line, rect.x + rect.w / 2, y + line.height / 2, "middle", ink(box.fill))
        y += line.height
    yield "</g>"


def _shape(box: Box, rect: Rect) -> str:
    x, y, w, h = rect
    if box.kind == model.ROUTER:
        return _polygon(((x, y + h / 2), (x + w / 2, y), (x + w, y + h / 2), (x + w / 2, y + h)), box)
    if box.kind == model.JOIN:
        return _polygon(((x, y), (x + w, y), (x + w - SLANT, y + h), (x + SLANT, y + h)), box)
    round_ = h / 2 if box.kind in (model.OPENSEA, model.ROOKERY) else 7
    return _rect(rect, round_, box)


def _rect(rect: Rect, round_: float, item: Box | Cluster) -> str:
    x, y, w, h = rect
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}" rx="{round_:.1f}"{_fill(item)}/>'


def _polygon(points: tuple[tuple[float, float], ...], box: Box) -> str:
    return f'<polygon points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in points)}"{_fill(box)}/>'


def _link(link: Link, route: Route) -> Iterator[str]:
    states = _states(link) + (" pf-back" if link.back else "")
    ends = f' data-source="{link.source}" data-target="{link.target}"'
    yield f'<g id="{link.id}" class="pf-link pf-{link.kind}{states}"{ends}>'
    if link.tooltip:
        yield _title(link.tooltip)
    wide = "" if link.width == 1 else f' style="stroke-width:{1.4 * link.width:.2f}px"'
    yield f'<path d="{_path(route)}"{wide}/>'
    yield f'<path class="pf-head" d="{_head(route, link.width)}"/>'
    yield "</g>"


def _path(route: Route) -> str:
    steps = [f"M{route.start[0]:.1f} {route.start[1]:.1f}"]
    for step in route.steps:
        letter = "L" if len(step.points) == 1 else "C"
        steps.append(letter + " ".join(f"{x:.1f} {y:.1f}" for x, y in step.points))
    return "".join(steps)


def _head(route: Route, wide: float) -> str:
    """An arrowhead from where the way ends to its tip."""
    (x, y), (tx, ty) = route.steps[-1].points[-1], route.tip
    length = ((tx - x) ** 2 + (ty - y) ** 2) ** 0.5 or 1.0
    across = 3.6 + 0.9 * (wide - 1)
    dx, dy = (ty - y) / length * across, (x - tx) / length * across
    return f"M{tx:.1f} {ty:.1f}L{x + dx:.1f} {y + dy:.1f}L{x - dx:.1f} {y - dy:.1f}Z"


def _tag(link: Link, route: Route) -> Iterator[str]:
    if link.label and route.label is not None:
        (x, y), wide = route.label, width(link.label, SMALL)
        yield f'<g class="pf-tag{_states(link)}" data-link="{link.id}">'
        yield f'<rect x="{x - wide / 2 - 3:.1f}" y="{y - 8:.1f}" width="{wide + 6:.1f}" height="16" rx="4"/>'
        yield _text(Line(link.label, SMALL, False, wide, SMALL_LINE), x, y, "middle")
        yield "</g>"


def _text(line: Line, x: float, y: float, anchor: str = "start", ink: str = "") -> str:
    kind = "pf-name" if line.bold else "pf-small"
    middle = ' text-anchor="middle"' if anchor == "middle" else ""
    fit = f' textLength="{line.width:.1f}" lengthAdjust="spacingAndGlyphs"' if line.width > 1 else ""
    colour = f' style="fill:{ink}"' if ink else ""
    place = f'x="{x:.1f}" y="{y:.1f}" dy="0.35em"'
    return f'<text class="{kind}" {place}{middle}{fit}{colour}>{escape(line.text, False)}</text>'


def _title(tooltip: tuple[str, ...]) -> str:
    return f"<title>{escape(chr(10).join(tooltip), False)}</title>"


def _states(item: Box | Cluster | Link) -> str:
    return (" pf-cycle" if item.cycle is not None or _back(item) else "") + (" pf-faded" if item.faded else "")


def _back(item: Box | Cluster | Link) -> bool:
    return isinstance(item, Link) and item.back


def _data(item: Box | Cluster) -> str:
    return f' data-name="{_attribute(item.label)}"'


def _fill(item: Box | Cluster) -> str:
    if not item.fill:
        return ""
    if isinstance(item, Cluster):  # what stands in it has to be seen
        return f' style="fill:{item.fill};fill-opacity:.16;stroke:{item.fill};stroke-width:2.4px"'
    return f' style="fill:{item.fill}"'


def _attribute(text: str) -> str:
    return escape(text, True)
