"""The reference's plain text as blocks: paragraphs, list items, code, grammar, signatures.

Rules: text is one line of Markdown, code keeps its lines. What a line is follows from its indent and from how it
starts, never from the topic that it stands in. Tables become lists of rows: a terminal can show those at any width.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

BlockKind = Literal["text", "item", "code", "grammar", "remark", "signature"]
Group = list[str]
"""Lines between two blank lines."""

ITEM = re.compile(r"(?P<marker>[*•]|\d{1,2}\.|[IVX]+\.)\s+(?=\S)")
ASIDE = re.compile(
    r"\*{0,2}(?P<label>Note|Programmer\S{1,2} note|Warning|Tip|Important|CPython implementation detail"
    r"|See also|(?:Changed|New|Added) in version [\d.]+|Deprecated since version [^:]+|Availability)"
    r"\s*[:.]\*{0,2}(?=\s|$)"
)
_GRAMMAR = re.compile(r"^\s*[a-z_0-9]+\s*(::=|:\s+[\"'\[(|!a-z])", re.MULTILINE)
_CODE_START = re.compile(
    r"(\".*\"\s+#|>>>|\.\.\. |@|def |class |async |import |from \w+ import|with |for |while |try:|if |return "
    r"|print\()"
)
_SENTENCE_START = re.compile(r"[A-Z\"“*(_`]")
_SENTENCE_SIGNS = re.compile(r"[a-z”\")*][.:]$|[a-z]{2,} [a-z]{2,} [a-z]{2,}")
_FOOTNOTE = re.compile(r"(\.)? \[\d+\](?=[\s.,;:)]|$)(?(1)\.?)")
_QUOTED = re.compile(r'(?<![\w"])"(""|\{[^{}]*\}|"[^"\s]+"|[^"]+|"[^"]*"[^"]*)"(?![\w"]|(?<!s")s)')


@dataclass(frozen=True, slots=True)
class Block:
    """A piece of a passage.

    `depth` is how far it is nested in a list, `marker` is an item's number or dash. A `remark` is a note
    inside a list item, a `signature` shows how a documented name is called.
    """

    kind: BlockKind
    text: str
    depth: int = 0
    marker: str = ""


def groups_of(lines: Iterable[str]) -> list[Group]:
    """The lines between blank lines; a list written without blank lines is taken apart."""
    groups: list[Group] = []
    fresh = True
    for line in lines:
        if not line.strip():
            fresh = True
            continue
        if fresh or (ITEM.match(line) and ITEM.match(groups[-1][0])):
            groups.append([])
        groups[-1].append(line.rstrip())
        fresh = False
    return groups


def take_indented(groups: list[Group]) -> list[Group]:
    """Removes and returns the indented groups at the front: they belong to what stood before them."""
    taken = []
    while groups and groups[0][0].startswith(" "):
        taken.append(groups.pop(0))
    return taken


def item_blocks(group: Group, body: list[Group], depth: int) -> Iterator[Block]:
    mark = ITEM.match(group[0])
    assert mark is not None, group
    marker = mark["marker"] if mark["marker"][0].isalnum() else "-"
    yield Block("item", inline([group[0][mark.end() :], *group[1:]]), depth, marker)
    yield from nested_blocks(body, depth + 1)


def nested_blocks(groups: list[Group], depth: int) -> Iterator[Block]:
    """What stands inside a list item or an aside, dedented one step."""
    rest = groups_of(dedented(groups))
    while rest:
        group = rest.pop(0)
        body = take_indented(rest)
        if ASIDE.match(group[0]):
            yield Block("remark", inline([line for lines in [group, *body] for line in lines]), depth)
        elif ITEM.match(group[0]):
            yield from item_blocks(group, body, depth)
        elif group[0].startswith((" ", ">>>")) or "::=" in group[0]:
            yield from indented_blocks([group, *body], depth)
        else:
            yield Block("text", inline(group), depth)
            yield from indented_blocks(body, depth)


def indented_blocks(groups: list[Group], depth: int = 0) -> Iterator[Block]:
    """Code stays as it is, blank lines and tracebacks included; the rest is text, grammar or a list."""
    code: list[Group] = []
    for group in groups:
        if looks_like_code(group) or (code and not _starts_something_else(group[0].lstrip())):
            code.append(group)
            continue
        yield from _code_block(code, depth)
        code = []
        lines = dedented([group])
        if lines[0].startswith("+--"):
            yield from row_blocks(lines, depth)
        elif _GRAMMAR.match(lines[0]):
            yield Block("grammar", "\n".join(lines).rstrip(), depth)
        elif ITEM.match(lines[0]):
            yield from item_blocks(lines, [], depth)
        else:
            yield Block("text", inline(lines), depth)
    yield from _code_block(code, depth)


def _code_block(groups: list[Group], depth: int) -> Iterator[Block]:
    if groups:
        yield Block("code", "\n".join(dedented(groups)).rstrip(), depth)


def row_blocks(lines: Group, depth: int) -> Iterator[Block]:
    """The rows of a grid table as items, without its header and its column of note numbers."""
    columns = list(pairwise(place for place, mark in enumerate(lines[0]) if mark == "+"))
    rows: list[list[str]] = [["" for _ in columns]]
    header: list[str] = []
    for line in lines[1:]:
        if line.startswith(("+-", "|=", "+=")):
            header = header or (rows[-1] if "=" in line else [])
            rows.append(["" for _ in columns])
        elif line:
            cells = [line[left + 1 : right].strip() for left, right in columns]
            rows[-1] = [f"{above} {cell}" for above, cell in zip(rows[-1], cells, strict=True)]
    for row in rows:
        named = zip(row, header or row, strict=True)
        shown = [inline([cell]) for cell, name in named if name.strip() != "Notes"]
        if row != header and any(shown):
            yield Block("item", " — ".join(cell for cell in shown if cell), depth, "-")


def looks_like_code(group: Group) -> bool:
    """Prose starts with a capital and reads in sentences; code does neither, or shows its own signs."""
    lines = dedented([group])
    text = "\n".join(lines).rstrip()
    if _starts_something_else(lines[0]) or "::=" in text:
        return False
    if _GRAMMAR.match(text) and '"' in lines[0] and not text.endswith(":"):
        return False
    if _CODE_START.match(text):
        return True
    return not (_SENTENCE_START.match(text) and _SENTENCE_SIGNS.search(text))


def _starts_something_else(line: str) -> bool:
    return bool(line.startswith(("+--", "|")) or ITEM.match(line) or ASIDE.match(line) or "::=" in line)


def dedented(groups: list[Group]) -> list[str]:
    """The lines of all groups, a blank line between them, without the indent that they share."""
    return textwrap.dedent("\n\n".join("\n".join(group) for group in groups)).splitlines()


def inline(lines: Iterable[str]) -> str:
    """One line of Markdown: words cut at a line end are joined, quoted code becomes `` `code` ``."""
    text = re.sub(r"(?<=[a-z])-\s*\n\s*(?=[a-z])", "-", "\n".join(lines))
    text = re.sub(r"\s+", " ", text).strip()
    text = _QUOTED.sub(_as_code, _FOOTNOTE.sub(r"\1", text))
    return re.sub(r"\*\*([^*`]+)\*\*", r"\1", text)


def _as_code(match: re.Match[str]) -> str:
    code = match[1]
    return f"`` {code} ``" if "`" in code else f"`{code}`"
