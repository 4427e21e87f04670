"""TOML, and where its parts stand.

Rules: Python's own parser reads it. It keeps no positions, so the lines are read once more for the keys that begin
them; what stands within a line is found by its line.
"""

from __future__ import annotations

import re
import tomllib

from penguiflow_policy._tree import MAX_DEPTH, Document, Mark, Path, check_bounds, refused

MAX_CHARACTERS = 1 << 18  # its parser takes time that grows faster than the text
_HEADER = re.compile(r"\s*(\[\[?)([^\[\]#]+)\]\]?\s*(#.*)?")
_KEY = re.compile(
    r"""\s*((?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*'))*)\s*=\s*"""
)
_PART = re.compile(r"""[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*'""")
_NAMING = re.compile(
    r"""(?P<dot>\.)|(?P<part>[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*'|[ \t]+)|(?P<other>[^."'A-Za-z0-9_ \t-]+|["'])"""
)
_ERROR = re.compile(r"(.*) \(at line (\d+), column (\d+)\)")


def read(text: str, source: str) -> Document:
    """The document that a TOML text holds.

    Raises:
        PolicyError: it is no TOML.
    """
    if len(text) > MAX_CHARACTERS:
        raise refused(source, f"it is longer than {MAX_CHARACTERS >> 10} KiB, and TOML may not be: use YAML or JSON")
    if _dotted_deep(text):
        raise refused(source, f"it has a name of more than {MAX_DEPTH} parts with dots, and no rule has")
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        found = _ERROR.fullmatch(str(exc))
        if found is None:
            raise refused(source, "it is no TOML: it ends too early") from None
        raise refused(source, f"it is no TOML: {found[1][:100]}", int(found[2]), int(found[3])) from None
    except (RecursionError, ValueError):
        raise refused(source, "it is nested too deeply, or has a number that is too long") from None
    check_bounds(data, source)
    document = Document(data, source, text)
    _mark(document)
    return document


def _dotted_deep(text: str) -> bool:
    """Whether a name has very many parts: the parser would take memory that grows with their square."""
    parts = 0
    for token in _NAMING.finditer(text):
        if token.lastgroup == "dot":
            parts += 1
            if parts >= MAX_DEPTH:
                return True
        elif token.lastgroup == "other":
            parts = 0
    return False


def _mark(document: Document) -> None:
    table: Path = ()
    document.marks[()] = Mark(1, 1)
    counts: dict[Path, int] = {}
    quoted = ""
    for number, line in enumerate(document.text.split("\n"), 1):
        if quoted:
            quoted = "" if line.count(quoted) % 2 else quoted
            continue
        header, key = _HEADER.fullmatch(line), _KEY.match(line)
        if header is not None:
            table = _entered(_parts(header[2]), header[1] == "[[", counts)
            document.marks.setdefault(table, Mark(number, line.index("[") + 1))
        elif key is not None:
            path = (*table, *_parts(key[1]))
            document.keys.setdefault(path, Mark(number, key.start(1) + 1))
            style = line[key.end() : key.end() + 1]
            document.marks.setdefault(path, Mark(number, key.end() + 1, style if style in "\"'" else ""))
        quoted = next((mark for mark in ('"""', "'''") if line.count(mark) % 2), "")


def _parts(text: str) -> Path:
    return tuple(part.strip("\"'") for part in _PART.findall(text))


def _entered(parts: Path, one_more: bool, counts: dict[Path, int]) -> Path:
    """The path of a table's header, with the place of each list of tables that it goes through."""
    path: Path = ()
    for place, part in enumerate(parts):
        path = (*path, part)
        if one_more and place == len(parts) - 1:
            counts[path] = counts.get(path, -1) + 1
        if path in counts:
            path = (*path, counts[path])
    return path
