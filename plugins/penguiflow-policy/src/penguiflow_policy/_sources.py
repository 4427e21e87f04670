"""Where a policy is read from: a file, a variable of the environment, text, or a dictionary."""

from __future__ import annotations

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


def from_file(path: str | os.PathLike[str]) -> Source:
    """A file. What it is written in, its ending says.

    Raises:
        PolicyError: nobody knows that ending.
    """
    file = Path(path)
    ending = file.suffix.lower()
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
        return READERS[ending](checked_size(_encoded(text), name), name)

    return Source(name, load)


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def from_env(variable: str, environ: Mapping[str, str]) -> Source:
    """A variable that holds JSON (it begins with `{`), YAML, or the path of a file.

    Raises:
        PolicyError: the variable isn't set, or is empty.
    """
    name = f"${variable}"
    if _is_path(text := _held(variable, environ).strip()):
        if Path(text).suffix.lower() not in READERS:
            raise refused(name, f"it holds no policy, and no path of a file that ends in {', '.join(READERS)}")
        return from_file(text)

    def load() -> Document:
        now = _held(variable, environ)
        return READERS[".json" if now.lstrip().startswith("{") else ".yaml"](checked_size(_encoded(now), name), name)

    return Source(name, load)


def _is_path(text: str) -> bool:
    return not text.startswith("{") and "\n" not in text and ":" not in text.replace(":\\", "").replace(":/", "")


def _held(variable: str, environ: Mapping[str, str]) -> str:
    value = environ.get(variable)
    if value is None or not value.strip():
        raise refused(f"${variable}", "the variable isn't set: give it a policy as JSON or YAML, or the path of a file")
    return value


def from_dict(data: Mapping[str, Any]) -> Source:
    """A mapping, of which a copy is taken.

    Raises:
        PolicyError: it is too deep or too large.
        TypeError: it is none.
    """
    if not isinstance(data, Mapping):
        raise TypeError(f"a policy is a mapping with the key 'rules', not {type(data).__name__}")
    check_bounds(data, "policy")
    held = _plain(data)
    return Source("policy", lambda: Document(held, "policy"))


def _plain(value: Any) -> Any:
    """A copy, in which mappings are dictionaries and tuples are lists."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
