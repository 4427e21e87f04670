"""A drawing as one page to look around in, which needs nothing else."""

from __future__ import annotations

from penguiflow_viz.formats.svg import svg
from penguiflow_viz.model import Drawing


def html(drawing: Drawing, direction: str, theme: str) -> str:
    """The drawing as an HTML document."""
    return f"<!doctype html><meta charset=utf-8>{svg(drawing, direction, theme)}"
