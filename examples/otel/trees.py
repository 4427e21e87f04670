"""Spans as a tree, wherever they were read: a file of JSON lines, or OTLP as a collector gets it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Row:
    """A span.

    Attributes:
        span_id: Its id.
        parent_id: Its parent's; `None` for a root.
        name: What it is called.
        start_s: When it began (epoch seconds).
        took_s: How many seconds it took.
        failed: Whether it is an error.
        attributes: What it says.
    """

    span_id: str
    parent_id: str | None
    name: str
    start_s: float
    took_s: float
    failed: bool
    attributes: dict[str, Any] = field(default_factory=dict)


def read(path: Path) -> list[Row]:
    """The spans in a file, a JSON object each, as the SDK writes them."""
    return [_row(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def _row(span: dict[str, Any]) -> Row:
    start, end = (datetime.fromisoformat(span[key]).timestamp() for key in ("start_time", "end_time"))
    return Row(
        span["context"]["span_id"],
        span["parent_id"],
        span["name"],
        start,
        end - start,
        span["status"]["status_code"] == "ERROR",
        span["attributes"],
    )


def drawn(rows: Iterable[Row], times: bool = True) -> Iterator[str]:
    """A line for each span, below its parent and in the order in which they began."""
    below: dict[str | None, list[Row]] = {}
    for row in sorted(rows, key=lambda row: row.start_s):
        below.setdefault(row.parent_id, []).append(row)
    yield from _lines(below, None, "", times)


def _lines(below: dict[str | None, list[Row]], parent: str | None, indent: str, times: bool) -> Iterator[str]:
    for row in below.get(parent, []):
        text = f"{indent}{row.name}{_noted(row)}"
        yield f"{text:<60}{row.took_s * 1e3:>10.1f} ms" if times else text
        yield from _lines(below, row.span_id, indent + "  ", times)


def _noted(row: Row) -> str:
    notes = []
    if row.attributes.get("penguiflow.iteration", 1) > 1:
        notes.append(f"round {row.attributes['penguiflow.iteration']}")
    if "penguiflow.route.targets" in row.attributes:
        notes.append(f"to {', '.join(row.attributes['penguiflow.route.targets'])}")
    if row.attributes.get("penguiflow.chunks"):
        notes.append("streamed")
    if row.failed:
        notes.append(f"error: {row.attributes.get('error.type', '?')}")
    return f"  ({'; '.join(notes)})" if notes else ""
