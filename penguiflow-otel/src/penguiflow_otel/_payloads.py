"""Payloads as text, for those who asked to have them recorded.

Rules: nothing that `redact` hasn't seen is recorded; if it fails, or the payload can't be written down, that is said in
the payload's place. A flow never fails for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic_core import to_json


class Payloads:
    """Writes payloads down.

    Args:
        redact: What to call with each payload first.
        limit: How many characters are kept.
    """

    def __init__(self, redact: Callable[[Any], Any] | None, limit: int) -> None:
        self._redact: Callable[[Any], Any] | None = redact
        self._limit: int = limit

    def text(self, payload: Any) -> str:
        """The payload as JSON; what JSON doesn't know as `repr` shows it."""
        try:
            seen = payload if self._redact is None else self._redact(payload)
        except Exception as exc:
            return f"(not recorded: redact raised {type(exc).__name__})"
        try:
            text = to_json(seen, fallback=repr).decode()
        except Exception as exc:
            return f"(not recorded: {type(exc).__name__})"
        return text if len(text) <= self._limit else f"{text[: self._limit]}... ({len(text)} characters)"
