"""Where a policy is read from: a file, a variable of the environment, text, or a dictionary."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from penguiflow_policy._problems import Problem, UnreadableError, meant
from penguiflow_policy._reading import READERS
from penguiflow_policy._tree import MAX_BYTES, Document, check_bounds, checked_size, refused


@dataclass(frozen=True, slots=True)
class Source:
    """Where a policy comes from.

    Attributes:
        name: What messages call it.
        load: Reads it, again each time.
        path: Its file, if it has one.
    """

    name: str
    load: Callable[[], Document]
    path: Path | None = None


def from_file(path: str | os.PathLike[str], suffix: str | None = None) -> Source:
    """A file. What it is written in, its ending says.

    Raises:
        PolicyError: nobody knows that ending.
    """
    file = Path(path)
    ending = (suffix or file.suffix).lower()
    if ending not in READERS:
        raise refused(str(file), f"a policy's file ends in {', '.join(READERS)}, and this in {ending or 'nothing'}")

    def load() -> Document:
        return READERS[ending](checked_size(_bytes(file), str(file)), str(file))

    return Source(str(file), load, file)


def _bytes(file: Path) -> bytes:
    try:
        if not file.exists():
            beside = [other.name for other in sorted(file.parent.glob("*")) if other.suffix.lower() in READERS]
            beside = [name for name in beside if name != file.name]  # a link that leads nowhere
            raise refused(str(file), f"there is no such file{meant(file.name, beside) if beside else ''}")
        if not file.is_file():
            raise refused(str(file), "this is no file")
        with file.open("rb") as opened:
            return opened.read(MAX_BYTES + 1)
    except OSError as exc:
        raise UnreadableError([Problem(f"it can't be read: {exc.strerror}", str(file))]) from None


def from_text(text: str, ending: str, name: str) -> Source:
    """Text: YAML, JSON or TOML, as a file with this ending would hold."""
    if not isinstance(text, str):
        raise TypeError(f"a policy's text is a str, not {type(text).__name__}")

    def load() -> Document:
        return READERS[ending](checked_size(text.encode("utf-8", "replace"), name), name)

    return Source(name, load)


def from_env(variable: str, environ: Mapping[str, str]) -> Source:
    """A variable that holds JSON (it begins with `{`), YAML, or the path of a file.

    Raises:
        PolicyError: the variable isn't set, or is empty.
    """
    value = environ.get(variable)
    if value is None or not value.strip():
        raise refused(f"${variable}", "the variable isn't set: give it a policy as JSON or YAML, or the path of a file")
    text = value.strip()
    if text.startswith("{"):
        return from_text(value, ".json", f"${variable}")
    if "\n" not in text and ":" not in text.replace(":\\", "").replace(":/", ""):
        return from_file(text)
    return from_text(value, ".yaml", f"${variable}")


def from_dict(data: Mapping[str, Any]) -> Source:
    """A mapping, of which a copy is taken.

    Raises:
        PolicyError: it is too deep or too large.
        TypeError: it is none.
    """
    if not isinstance(data, Mapping):
        raise TypeError(f"a policy is a mapping with the key 'rules', not {type(data).__name__}")
    check_bounds(dict(data), "policy")
    held = copy.deepcopy(dict(data))
    return Source("policy", lambda: Document(held, "policy"))
