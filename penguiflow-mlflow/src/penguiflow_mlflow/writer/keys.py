"""Names and texts that MLflow takes.

Rules: a name that is safe stays as it is. One that had to be changed ends with digits of its own, so that two names
never become one; the same name always becomes the same key.
"""

from __future__ import annotations

import hashlib
import posixpath
import re

LONGEST = 250  # what MLflow takes
LONGEST_PATH = 200  # of a node, which leaves room for what is said of it
_FOREIGN = re.compile(r"[^\w.\- /]")


def safe(name: str, longest: int = LONGEST) -> str:
    """The key for a name: letters, digits, `_`, `-`, `.`, spaces and single slashes, at most `longest` long."""
    parts = [_part(part) for part in _FOREIGN.sub("_", name).split("/")]
    clean = "/".join(parts)
    if clean == name and len(name) <= longest:
        return name
    return posixpath.normpath(f"{clean[: longest - 9]}-{_digits(name)}")


def safe_path(path: str) -> str:
    """The part of a key that stands for a node."""
    return safe(path, LONGEST_PATH)


def title(name: str) -> str:
    """A name for people, of an experiment or a run: any text that isn't too long, and that UTF-8 can encode."""
    clean = plain(name)
    if clean == name and len(name) <= LONGEST:
        return name
    return f"{clean[: LONGEST - 9]}-{_digits(name)}"


def plain(text: str) -> str:
    """A text, with what UTF-8 can't encode replaced."""
    return text.encode("utf-8", "replace").decode()


def _digits(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]


def _part(part: str) -> str:
    """A part of a path that is neither empty nor points elsewhere."""
    return "_" if part.strip(". ") == "" else part
