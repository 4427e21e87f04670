"""The page of the live view: one text, with its style and script inside. It asks only where it came from."""

from __future__ import annotations

import base64
import functools
import hashlib
from importlib import resources
from string import Template

from penguiflow_viz.formats.colours import style
from penguiflow_viz.formats.waterfall import waterfall_style


@functools.cache
def written() -> str:
    """The page."""
    return Template(_part("live.html")).substitute(
        style=style() + waterfall_style() + _part("live.css"), script=_part("live.js")
    )


@functools.cache
def policy() -> str:
    """What the page may do: run its own script, and ask its own server."""
    digest = base64.b64encode(hashlib.sha256(_part("live.js").encode()).digest()).decode()
    return (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def _part(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
