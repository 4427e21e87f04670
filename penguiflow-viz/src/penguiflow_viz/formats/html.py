"""A drawing as one page to look around in: pan, zoom, search, details, light and dark.

Rules: the page asks the network for nothing, and its own policy forbids it to. What people typed stands in it as
text, or in a block of JSON in which no `<` is left.
"""

from __future__ import annotations

import base64
import hashlib
import json
from html import escape
from importlib import resources
from string import Template

from penguiflow_viz.formats.colours import style
from penguiflow_viz.formats.json import document
from penguiflow_viz.formats.svg import embedded
from penguiflow_viz.model import Drawing


def html(drawing: Drawing, direction: str, theme: str) -> str:
    """The drawing as an HTML document."""
    script = _part("page.js")
    return Template(_part("page.html")).substitute(
        title=escape(drawing.root.label),
        theme=theme,
        style=style() + _part("page.css"),
        policy=f"'sha256-{_hash(script)}'",
        drawing=embedded(drawing, direction),
        data=_data(drawing),
        script=script,
    )


def _part(name: str) -> str:
    return resources.files("penguiflow_viz.formats").joinpath("page", name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")


def _data(drawing: Drawing) -> str:
    """The drawing as JSON that can't end the element that it stands in."""
    return json.dumps(document(drawing), separators=(",", ":")).replace("<", "\\u003c")
