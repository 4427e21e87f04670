"""Text that can be exported.

Rules: what is exported is UTF-8. Names and errors may hold what isn't (a file's name that Python read as it could), and
one such character would cost an exporter its whole batch: it is replaced with `?` in all that is told, never in what is
looked up.
"""

from __future__ import annotations


def clean(text: str) -> str:
    """The text, with what UTF-8 can't encode replaced."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def is_clean(text: str) -> bool:
    """Whether UTF-8 can encode all of it."""
    return text.isascii() or clean(text) == text
