"""`penguiflow graph`: a flow's graph as an installed exporter writes it."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from penguiflow import PenguiFlow
from penguiflow.cli.speech import USAGE, WRONG, Complaint, document, show


def options_of(pairs: Iterable[str]) -> dict[str, Any]:
    """`key=value` as keywords; a value that is JSON, such as `true` or `3`, is taken as that.

    Raises:
        Complaint: one isn't `key=value`.
    """
    options: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not (equals and key.isidentifier()) or key in ("format", "self"):
            raise Complaint(f"--option {pair!r}: write key=value", USAGE)
        try:
            options[key] = json.loads(text)
        except ValueError:
            options[key] = text
    return options


def drawn(flow: PenguiFlow, format: str, options: dict[str, Any]) -> str | bytes:
    """The graph as text.

    Raises:
        Complaint: no plugin knows the format.
    """
    try:
        return flow.export(format, **options)
    except LookupError as exc:
        raise Complaint(str(exc), WRONG) from None


def delivered(written: str | bytes, format: str, output: Path | None, as_json: bool) -> None:
    """Put the graph where it was wanted.

    Raises:
        Complaint: the file can't be written.
    """
    if output is not None:
        try:
            output.write_bytes(written if isinstance(written, bytes) else written.encode("utf-8"))
        except OSError as exc:
            raise Complaint(f"{output} can't be written: {exc}", WRONG) from None
        if as_json:
            show(document({"format": format, "file": str(output)}))
    elif as_json:
        text = written if isinstance(written, str) else base64.b64encode(written).decode("ascii")
        show(document({"format": format, "text" if isinstance(written, str) else "base64": text}))
    elif isinstance(written, bytes):
        sys.stdout.buffer.write(written)
        sys.stdout.flush()
    else:
        show(written.removesuffix("\n"))
