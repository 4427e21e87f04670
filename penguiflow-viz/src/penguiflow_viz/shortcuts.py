"""A flow drawn without asking its plugins: one function for each format."""

from __future__ import annotations

from typing import Any

from penguiflow import PenguiFlow
from penguiflow_viz.exporter import exported
from penguiflow_viz.overlay import MakesOverlay, Overlay


def _drawn(flow: PenguiFlow, format: str, **options: Any) -> str:
    return exported(flow.graph, format, {name: value for name, value in options.items() if value is not None})


def flow_to_mermaid(
    flow: PenguiFlow,
    direction: str = "TB",
    *,
    overlay: Overlay | MakesOverlay | None = None,
    trace_id: str | None = None,
) -> str:
    """The flow as a Mermaid flowchart.

    Args:
        flow: The flow; it need not run.
        direction: `TB` (or `TD`), `BT`, `LR` or `RL`.
        overlay: What happened in it.
        trace_id: One trace of the overlay.

    Raises:
        ValueError: the direction is none of these.
    """
    return _drawn(flow, "mermaid", direction=direction, overlay=overlay, trace_id=trace_id)


def flow_to_dot(
    flow: PenguiFlow,
    direction: str = "TB",
    *,
    overlay: Overlay | MakesOverlay | None = None,
    trace_id: str | None = None,
) -> str:
    """The flow as a DOT digraph, for Graphviz. Arguments and errors as in `flow_to_mermaid`."""
    return _drawn(flow, "dot", direction=direction, overlay=overlay, trace_id=trace_id)


def flow_to_svg(
    flow: PenguiFlow,
    direction: str = "TB",
    *,
    theme: str = "auto",
    overlay: Overlay | MakesOverlay | None = None,
    trace_id: str | None = None,
) -> str:
    """The flow as an SVG document. `theme` is `auto` (as the reader's system), `light` or `dark`."""
    return _drawn(flow, "svg", direction=direction, theme=theme, overlay=overlay, trace_id=trace_id)


def flow_to_html(
    flow: PenguiFlow,
    direction: str = "TB",
    *,
    theme: str = "auto",
    overlay: Overlay | MakesOverlay | None = None,
    trace_id: str | None = None,
) -> str:
    """The flow as one page with pan, zoom, search and details. `theme` is what it begins with."""
    return _drawn(flow, "html", direction=direction, theme=theme, overlay=overlay, trace_id=trace_id)


def flow_to_json(
    flow: PenguiFlow, *, overlay: Overlay | MakesOverlay | None = None, trace_id: str | None = None
) -> str:
    """The flow as JSON: clusters, boxes and links, as `Drawing` has them."""
    return _drawn(flow, "json", overlay=overlay, trace_id=trace_id)
