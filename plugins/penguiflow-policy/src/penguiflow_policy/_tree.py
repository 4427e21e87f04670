"""A document with the places of its parts, built from events without recursion.

Rules: every reader (YAML, JSON) turns its text into events, and this makes plain data of them: dictionaries with text
as keys, lists, text, numbers, truth values and `None`. Depth is bounded, a key stands once, and the first thing that
is wrong with the form ends it.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from penguiflow_policy._problems import PolicyError, Problem, shown, spelled

MAX_BYTES = 1 << 20
MAX_DEPTH = 16
MAX_PARTS = 50_000
MAX_BITS = 1024  # of a whole number: Python writes no very long one in decimal

Path = tuple[str | int, ...]


class Mark(NamedTuple):
    """A place in a text.

    Attributes:
        line: Counted from 1.
        column: Counted from 1.
        style: How a scalar is written: empty for plain, otherwise its quote, `|` or `>`.
    """

    line: int
    column: int
    style: str = ""


class Event(NamedTuple):
    """A piece of a document: `{`, `[`, `end`, or `=` with a value."""

    kind: str
    mark: Mark
    value: Any = None


@dataclass(slots=True)
class Document:
    """What was read.

    Attributes:
        data: As plain Python.
        source: What messages call it: the file, or the variable.
        text: As it was written; empty if it never was text.
        marks: Where each part stands, by its path.
        keys: Where the key of each part stands.
    """

    data: Any
    source: str
    text: str = ""
    marks: dict[Path, Mark] = field(default_factory=dict)
    keys: dict[Path, Mark] = field(default_factory=dict)

    def problem(self, text: str, path: Path = (), key: bool = False) -> Problem:
        """A problem with the part at `path`, or with its key."""
        mark = self.mark(path, key)
        line, column = (None, None) if mark is None else (mark.line, mark.column)
        return Problem(text, self.source, spelled(path), line, column)

    def mark(self, path: Path, key: bool = False) -> Mark | None:
        """Where a part stands; if that isn't known, what it stands in."""
        first = self.keys if key else self.marks
        if path in first:
            return first[path]
        while path and path not in self.marks:
            path = path[:-1]
        return self.marks.get(path)

    def at(self, path: Path) -> Any:
        """The part at a path; `None` if there is none."""
        found = self.data
        for step in path:
            if not _has(found, step):
                return None
            found = found[step]
        return found

    def written(self, path: Path) -> Path:
        """A path without those of its last steps that aren't there."""
        found = self.data
        for place, step in enumerate(path):
            if not _has(found, step):
                return path[:place]
            found = found[step]
        return path


def _has(value: Any, step: str | int) -> bool:
    if isinstance(value, dict):
        return step in value
    return isinstance(value, list) and isinstance(step, int) and 0 <= step < len(value)


def refused(source: str, text: str, line: int | None = None, column: int | None = None) -> PolicyError:
    """The error of a text that can't be read at all."""
    return PolicyError([Problem(text, source, "", line, column)])


def checked_size(raw: bytes, source: str) -> str:
    """The text of a file.

    Raises:
        PolicyError: it is too long, or no UTF-8.
    """
    if len(raw) > MAX_BYTES:
        raise refused(
            source, f"it is longer than {MAX_BYTES >> 10} KiB, and a policy may not be: split it, or match on lists"
        )
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise refused(source, f"it is no UTF-8 text (byte {exc.start}): save it as UTF-8") from None


def check_bounds(data: Any, source: str) -> None:
    """Refuse data that no builder has counted: what is too deep, too much, or nothing that JSON could hold.

    Raises:
        PolicyError: it is.
    """
    todo: list[tuple[Any, int]] = [(data, 1)]
    parts = 0
    while todo:
        value, depth = todo.pop()
        parts += 1
        if depth > MAX_DEPTH or parts > MAX_PARTS:
            raise refused(source, f"it is nested more than {MAX_DEPTH} deep or has more than {MAX_PARTS} values")
        if isinstance(value, datetime.datetime | datetime.date | datetime.time):
            raise refused(source, f"{value} is a date, and no rule has one: put it in quotes")
        if isinstance(value, int) and value.bit_length() > MAX_BITS:
            raise refused(source, f"it has a number of more than {MAX_BITS} bits, and no rule needs one")
        inside = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
        todo.extend((item, depth + 1) for item in inside)


class Builder:
    """Makes a document of events."""

    def __init__(self, source: str, text: str) -> None:
        self._document = Document(None, source, text)
        self._open: list[tuple[Any, Path, Any]] = []  # container, its path, the key that waits for its value
        self._filled = False

    def built(self, events: Iterable[Event]) -> Document:
        """The document.

        Raises:
            PolicyError: it is nested too deeply, has a key twice, or one that is no text.
        """
        for kind, mark, value in events:
            if kind == "end":
                self._open.pop()
            elif kind == "=":
                self._scalar(value, mark)
            else:
                self._container({} if kind == "{" else [], mark)
        return self._document

    def _container(self, container: Any, mark: Mark) -> None:
        if self._wants_key():
            raise self._refused("a key is text, not a table or list", mark)
        path = self._put(container, mark)
        if len(self._open) >= MAX_DEPTH:
            raise self._refused(f"it is nested more than {MAX_DEPTH} deep, and no rule is", mark)
        self._open.append((container, path, None))

    def _scalar(self, value: Any, mark: Mark) -> None:
        if not self._wants_key():
            self._put(value, mark)
            return
        container, path, _ = self._open[-1]
        if not isinstance(value, str):
            raise self._refused(f"a key is text, not {shown(value)}: put it in quotes", mark)
        if value in container:
            raise self._refused(f"the key {shown(value)} stands here twice: leave one out", mark)
        self._document.keys[(*path, value)] = mark
        self._open[-1] = (container, path, value)

    def _wants_key(self) -> bool:
        return bool(self._open) and isinstance(self._open[-1][0], dict) and self._open[-1][2] is None

    def _put(self, value: Any, mark: Mark) -> Path:
        document = self._document
        if not self._open:
            document.data = value
            document.marks[()] = mark
            return ()
        container, path, key = self._open[-1]
        if isinstance(container, dict):
            container[key] = value
            self._open[-1] = (container, path, None)
        else:
            key = len(container)
            container.append(value)
        document.marks[(*path, key)] = mark
        if len(document.marks) > MAX_PARTS:
            raise self._refused(f"it has more than {MAX_PARTS} values, and no policy needs them: split it", mark)
        return (*path, key)

    def _refused(self, text: str, mark: Mark) -> PolicyError:
        return refused(self._document.source, text, mark.line, mark.column)
