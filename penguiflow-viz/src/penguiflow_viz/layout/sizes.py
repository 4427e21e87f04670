"""How large boxes are: as large as their text wants them.

Rules: a name is broken into lines of about 30 characters. Sizes are those of the drawing, never turned.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from penguiflow_viz import model
from penguiflow_viz.model import Box, Cluster
from penguiflow_viz.text import width, wrapped

NAME, SMALL = 13.0, 11.0
"""Font sizes of names, and of everything else."""
NAME_LINE, SMALL_LINE = 17.0, 15.0
SLANT = 12.0
"""By how much a join is narrower at its far side, on each side."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of text in a box.

    Attributes:
        text: What it says.
        size: Its font's size.
        bold: Whether it is a name.
        width: How wide it is.
        height: From this line to the next.
    """

    text: str
    size: float
    bold: bool
    width: float
    height: float


def lines(item: Box | Cluster) -> tuple[Line, ...]:
    """The lines of a box, or of a cluster's title."""
    bold = item.kind not in (model.OPENSEA, model.ROOKERY)
    size = NAME if bold else SMALL
    names = [Line(text, size, bold, width(text, size, bold), NAME_LINE) for text in wrapped(item.label)]
    rest = [text for detail in (*item.details, *item.badges) for text in wrapped(detail, 40)]
    return (*names, *(Line(text, SMALL, False, width(text, SMALL), SMALL_LINE) for text in rest))


def size(box: Box) -> tuple[float, float]:
    """How wide and high a box is."""
    text = lines(box)
    wide, high = max(line.width for line in text), sum(line.height for line in text)
    if box.kind == model.ROUTER:  # the text's corners touch the diamond's sides
        tall = high + 44
        return max(wide / (1 - high / tall), 60.0) + 16, tall
    if box.kind == model.JOIN:
        return max(wide + 28 + 2 * SLANT, 84.0), high + 16
    if box.kind in (model.OPENSEA, model.ROOKERY):
        return wide + 28, high + 8
    return max(wide + 28, 72.0), high + 16


def inset(box: Box, sideways: bool, u: float) -> float:
    """How deep the box's border lies inside its rectangle, where a link `u` beside the middle meets it."""
    w, h = size(box)
    across, along = (h, w) if sideways else (w, h)
    if box.kind == model.ROUTER:
        return along / 2 * min(abs(u) / (across / 2), 1.0)
    if box.kind == model.JOIN and sideways:
        return SLANT * (u + across / 2) / across
    if box.kind in (model.OPENSEA, model.ROOKERY) and sideways:
        round_part = across / 2
        return round_part - math.sqrt(max(round_part**2 - u**2, 0.0))
    return 0.0


def side(box: Box, sideways: bool, v: float) -> float:
    """How deep the border lies inside the rectangle at the side where links that lead back to the box leave and
    arrive, `v` below the middle.
    """
    w, h = size(box)
    across, along = (h, w) if sideways else (w, h)
    if box.kind == model.ROUTER:
        return across / 2 * min(abs(v) / (along / 2), 1.0)
    if box.kind == model.JOIN and not sideways:
        return SLANT * (v + along / 2) / along
    return 0.0


def flat(box: Box, sideways: bool) -> float:
    """How far links may spread along the side of a box that they meet."""
    w, h = size(box)
    if box.kind == model.ROUTER:
        return 0.5 * (h if sideways else w)
    if sideways:
        return h - 14
    if box.kind in (model.OPENSEA, model.ROOKERY):
        return w - h
    return w - 20 - (2 * SLANT if box.kind == model.JOIN else 0)
