"""The plugin: answers `export_graph` for the formats it knows.

Rules: an option that isn't known is an error, not ignored. Nothing is kept from one export to the next.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from penguiflow import ExportRequest, Graph, hookimpl
from penguiflow_viz.formats.colours import THEMES
from penguiflow_viz.formats.dot import dot
from penguiflow_viz.formats.html import html
from penguiflow_viz.formats.json import as_json
from penguiflow_viz.formats.mermaid import mermaid
from penguiflow_viz.formats.svg import svg
from penguiflow_viz.formats.waterfall import waterfall
from penguiflow_viz.layout import DIRECTIONS
from penguiflow_viz.model import Drawing
from penguiflow_viz.overlay import MakesOverlay, Overlay, laid_over
from penguiflow_viz.reading import drawing_of
from penguiflow_viz.record import Recorder

FORMATS = ("mermaid", "dot", "svg", "html", "json")
"""What a graph can be drawn as."""
WATERFALL = "waterfall"
"""What a trace can be drawn as."""

_OPTIONS = {
    "mermaid": ("direction", "overlay", "trace_id"),
    "dot": ("direction", "overlay", "trace_id"),
    "svg": ("direction", "theme", "overlay", "trace_id"),
    "html": ("direction", "theme", "overlay", "trace_id"),
    "json": ("overlay", "trace_id"),
    WATERFALL: ("theme", "overlay", "trace_id"),
}


class Viz:
    """Draws flows. Holds no state."""

    name = "viz"
    api_version = "2"

    @hookimpl
    def export_graph(self, request: ExportRequest) -> str | None:
        """The graph as text; `None` to a format that isn't ours."""
        if request.format not in _OPTIONS:
            return None
        return exported(request.graph, request.format, request.options)


def plugin() -> Viz:
    """What the entry point names: makes the plugin of one flow."""
    return Viz()


def exported(graph: Graph, format: str, options: Mapping[str, Any]) -> str:
    """A graph as text.

    Raises:
        ValueError: an option that the format doesn't have, or a value that it can't take.
    """
    for name in options:
        if name not in _OPTIONS[format]:
            raise ValueError(f"{format} has no option {name!r}: it has {', '.join(_OPTIONS[format])}")
    direction = _chosen("direction", options.get("direction", "TB"), DIRECTIONS)
    theme = _chosen("theme", options.get("theme", "auto"), THEMES)
    if format == WATERFALL:
        return _waterfall(options, theme)
    drawing = _overlaid(drawing_of(graph), graph, options)
    if format == "json":
        return as_json(drawing)
    if format in ("mermaid", "dot"):
        return {"mermaid": mermaid, "dot": dot}[format](drawing, direction)
    return {"svg": svg, "html": html}[format](drawing, direction, theme)


def _chosen(name: str, value: Any, known: tuple[str, ...]) -> str:
    value = "TB" if value == "TD" else value  # Mermaid has both names
    if value not in known:
        raise ValueError(f"{name} is one of {', '.join(known)}, not {value!r:.80}")
    return str(value)


def _waterfall(options: Mapping[str, Any], theme: str) -> str:
    recorder = options.get("overlay")
    if not isinstance(recorder, Recorder):
        raise ValueError(f"waterfall shows a trace that was recorded: give overlay=recorder, not {recorder!r:.80}")
    return waterfall(_kept(recorder.trace, options.get("trace_id")), theme)


def _overlaid(drawing: Drawing, graph: Graph, options: Mapping[str, Any]) -> Drawing:
    overlay, trace_id = options.get("overlay"), options.get("trace_id")
    if overlay is None and trace_id is not None:
        raise ValueError("trace_id= picks a trace out of an overlay: give overlay= as well")
    if isinstance(overlay, MakesOverlay) and not isinstance(overlay, type):
        overlay = _kept(overlay.overlay, graph, trace_id)
    if overlay is None:
        return drawing
    if not isinstance(overlay, Overlay):
        raise ValueError(f"overlay is an Overlay, or something that makes one, not {overlay!r:.80}")
    return laid_over(drawing, overlay)


def _kept(find: Callable[..., Any], *of: Any) -> Any:
    """What is found; a trace that isn't kept is a wrong option as others are."""
    try:
        return find(*of)
    except LookupError as exc:
        raise ValueError(exc.args[0] if exc.args else "") from exc
