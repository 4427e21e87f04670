"""A drawing as JSON: what is drawn, and nothing of how.

Rules: names stand as they were given, and keys have one order.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from penguiflow_viz.model import Drawing

VERSION = 1


def document(drawing: Drawing) -> dict[str, Any]:
    """The drawing as plain dicts and lists."""
    return {"version": VERSION, **dataclasses.asdict(drawing)}


def as_json(drawing: Drawing) -> str:
    """The drawing as an indented document in ASCII."""
    return json.dumps(document(drawing), indent=2) + "\n"
