"""Drawings of the code, made when the site is built: a flow, a run of it, that run over time, the kernel's layers.

Rules: nothing is drawn by hand. The run is a real one, so its figures differ from build to build. Each drawing is made
light and dark, and leads to itself, where it has its full size and its tooltips.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from examples.docs_assistant.flow import build_flow
from examples.docs_assistant.models import Question
from penguiflow import ExportRequest, Message, PenguiFlow
from penguiflow_viz import Box, Cluster, Drawing, Link, Recorder, Viz
from penguiflow_viz.formats.svg import svg
from tests.utils.layers import LAYERS, imported_by

THEMES = ("light", "dark")
QUESTION = "how does a with statement swallow an exception?"


def drawings() -> Iterator[tuple[str, str]]:
    """Each drawing, by the name of its file."""
    flow, recorder = ran()
    layers = layered()
    for theme in THEMES:
        yield f"assistant-{theme}.svg", _drawn(flow, "svg", theme=theme)
        yield f"assistant-ran-{theme}.svg", _drawn(flow, "svg", theme=theme, overlay=recorder)
        yield f"assistant-over-time-{theme}.svg", _drawn(flow, "waterfall", theme=theme, overlay=recorder)
        yield f"layers-{theme}.svg", svg(layers, "TB", theme)


def ran() -> tuple[PenguiFlow, Recorder]:
    """The documentation assistant, after it has been asked something."""
    recorder = Recorder()
    flow = build_flow(on_event=recorder.on_event)

    async def ask() -> None:
        async with flow:
            await flow.ask(Message(payload=Question(text=QUESTION)))

    asyncio.run(ask())
    return flow, recorder


def _drawn(flow: PenguiFlow, format: str, **options: Any) -> str:
    drawn = Viz().export_graph(ExportRequest(flow.graph, format, options))
    assert drawn is not None
    return drawn


def layered() -> Drawing:
    """The layers of the kernel with their modules, the highest first; an arrow from one to what it imports.

    What follows from other arrows isn't drawn.
    """
    layers = list(reversed(LAYERS))
    home = {module: layer for layer, modules in LAYERS.items() for module in modules}
    below = {
        layer: {home[name] for module in LAYERS[layer] for name in imported_by(module)} - {layer} for layer in layers
    }
    ids = {layer: f"n{place}" for place, layer in enumerate(layers)}
    boxes = [Box(ids[layer], layer, layer, layer, "node", "c0", badges=_rows(LAYERS[layer])) for layer in layers]
    pairs = [(one, other) for one in layers for other in layers if other in below[one] - _reached(below, one)]
    links = [Link(f"e{n}", ids[one], ids[other], "c0", "floe") for n, (one, other) in enumerate(pairs)]
    whole = Cluster("c0", "", "penguiflow", "penguiflow", "flow", "", ids[layers[0]], ids[layers[-1]])
    return Drawing("penguiflow", (whole,), tuple(boxes), tuple(links))


def _reached(below: dict[str, set[str]], layer: str) -> set[str]:
    """The layers that one reaches through another."""
    found: set[str] = set()
    todo = [further for next_one in below[layer] for further in below[next_one]]
    while todo:
        one = todo.pop()
        if one not in found:
            found.add(one)
            todo += below[one]
    return found


def _rows(modules: tuple[str, ...], in_a_row: int = 3) -> tuple[str, ...]:
    return tuple(" · ".join(modules[start : start + in_a_row]) for start in range(0, len(modules), in_a_row))


# --- on a page ------------------------------------------------------------------------------------


class Drawn(SphinxDirective):
    """`{drawing} NAME`: the light and the dark one, of which the reader sees one; below it, the text as a caption."""

    required_arguments = 1
    has_content = True
    option_spec: ClassVar[dict[str, Any]] = {
        "alt": directives.unchanged_required,
        "class": directives.class_option,
    }

    def run(self) -> list[nodes.Node]:
        up = "../" * self.env.docname.count("/")
        alt = escape(self.options["alt"])
        images = [
            f'<a class="only-{theme}" href="{up}_static/{self.arguments[0]}-{theme}.svg">'
            f'<img alt="{alt}" src="{up}_static/{self.arguments[0]}-{theme}.svg"></a>'
            for theme in THEMES
        ]
        figure = nodes.container(
            "", nodes.raw("", "".join(images), format="html"), classes=["drawing", *self.options.get("class", [])]
        )
        figure += self.parse_content_to_nodes()
        return [figure]


def draw(app: Sphinx) -> None:
    folder = _folder(app)
    for name, text in drawings():
        (folder / name).write_text(text, encoding="utf-8")


def _folder(app: Sphinx) -> Path:
    return Path(app.confdir) / "_build" / "drawings"


def setup(app: Sphinx) -> dict[str, Any]:
    _folder(app).mkdir(parents=True, exist_ok=True)
    app.add_directive("drawing", Drawn)
    app.connect("builder-inited", draw)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
