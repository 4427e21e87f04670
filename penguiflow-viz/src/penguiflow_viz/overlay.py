"""What happened in a flow, laid over its drawing: colours, badges and traffic, as plain data.

Rules: a mark names a node by its id in the flow's events (`flow/node`, `flow/subflow/inner/node`; the ends of a flow
are `flow/OpenSea` and `flow/Rookery`), and a link by the ids of both its nodes. Marks for what isn't drawn are ignored.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar, runtime_checkable

from penguiflow import Graph
from penguiflow_viz.model import Box, Cluster, Drawing, Link
from penguiflow_viz.text import visible

MarkedT = TypeVar("MarkedT", bound=Box | Cluster)


@dataclass(frozen=True, slots=True)
class NodeMark:
    """What is laid over a node.

    Attributes:
        fill: A colour as `#rrggbb`; empty for the usual one. Its text is made dark or light to fit.
        badges: Short lines below the node's own.
        tooltip: Lines after the node's own.
        faded: Whether it stands back.

    Raises:
        ValueError: the colour is written in another way.
    """

    fill: str = ""
    badges: tuple[str, ...] = ()
    tooltip: tuple[str, ...] = ()
    faded: bool = False

    def __post_init__(self) -> None:
        if self.fill and not re.fullmatch("#[0-9a-fA-F]{6}", self.fill):
            raise ValueError(f"a colour is written as #rrggbb, not {self.fill!r:.80}")


@dataclass(frozen=True, slots=True)
class LinkMark:
    """What is laid over a link.

    Attributes:
        width: How wide it is drawn, 1 being usual; from 0.5 to 5.
        label: What is written on it, after its own label.
        tooltip: Lines of its tooltip.
        faded: Whether it stands back.
    """

    width: float = 1.0
    label: str = ""
    tooltip: tuple[str, ...] = ()
    faded: bool = False


@dataclass(frozen=True, slots=True)
class Overlay:
    """Marks for nodes and links, and lines that say what they mean.

    Attributes:
        nodes: Marks by the nodes' ids.
        links: Marks by the ids of the source and the target.
        legend: Lines below the drawing.
    """

    nodes: Mapping[str, NodeMark] = field(default_factory=dict)
    links: Mapping[tuple[str, str], LinkMark] = field(default_factory=dict)
    legend: tuple[str, ...] = ()


@runtime_checkable
class MakesOverlay(Protocol):
    """What `overlay=` takes besides an `Overlay`: something that makes one for a graph."""

    def overlay(self, graph: Graph, trace_id: str | None = None) -> Overlay:
        """The overlay of all that was seen, or of one trace."""
        ...


def laid_over(drawing: Drawing, overlay: Overlay) -> Drawing:
    """The drawing with its marks."""
    ids = {box.id: box.node_id for box in drawing.boxes} | {c.id: c.node_id for c in drawing.clusters if c.node_id}
    return replace(
        drawing,
        boxes=tuple(_marked(box, overlay.nodes.get(box.node_id)) for box in drawing.boxes),
        clusters=tuple(_marked(cluster, overlay.nodes.get(cluster.node_id)) for cluster in drawing.clusters),
        links=tuple(
            _traced(link, overlay.links.get((ids.get(link.source, ""), ids.get(link.target, ""))))
            for link in drawing.links
        ),
        legend=tuple(map(visible, overlay.legend)),
    )


def _marked(item: MarkedT, mark: NodeMark | None) -> MarkedT:
    if mark is None:
        return item
    return replace(
        item,
        fill=mark.fill,
        badges=tuple(map(visible, mark.badges)),
        tooltip=(*item.tooltip, *map(visible, mark.tooltip)),
        faded=mark.faded,
    )


def _traced(link: Link, mark: LinkMark | None) -> Link:
    if mark is None:
        return link
    label = " · ".join(part for part in (link.label, visible(mark.label)) if part)
    width = min(max(mark.width, 0.5), 5.0)
    tooltip = (*link.tooltip, *map(visible, mark.tooltip))
    return replace(link, width=width, label=label, tooltip=tooltip, faded=mark.faded)
