"""The reference text as passages, each small enough to quote and whole enough to be understood alone.

CPython carries its language reference as plain text (`pydoc_data.topics`, what `help("with")` shows). Rules:

- a passage is one paragraph with the code, list or table that it introduces, and what refers back to it;
- it keeps its headings, and its entry (`str.split`, `object.__slots__`) where it documents a name;
- grammar, notes and version history are passages of their own kind, so that ranking can hold them back;
- text that stands in several topics is kept once, in the most specific of them;
- footnotes and link lists are dropped.
"""

from __future__ import annotations

import builtins
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from examples.docs_assistant.markup import (
    ASIDE,
    ITEM,
    Block,
    Group,
    dedented,
    groups_of,
    indented_blocks,
    inline,
    item_blocks,
    looks_like_code,
    nested_blocks,
    row_blocks,
    take_indented,
)

PassageKind = Literal["prose", "grammar", "note", "version"]

_SPLIT_ABOVE = 2200  # characters: a longer list is cut into one passage an item
_MERGE_BELOW = 1000  # characters: what a paragraph that refers back may grow to

_ADORNMENT = re.compile(r"([*=\-~^])\1{2,}")
_REFERS_BACK = re.compile(
    r"(?:[a-z(]|(?:This|These|That|It|They|However|Otherwise|Therefore|Thus|Hence|Such|Here|Also|For example"
    r"|For instance|Example|The following (?:code|example)|In (?:this|that|either|both|such|other words)"
    r"|Without|Note that|Conversely|Similarly|As such|But|Because of this)\b)"
)
_NAME = re.compile(r"[A-Za-z_][\w.]*")
_CALLED = re.compile(r"[\w. ]+\(")


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of the reference that can be quoted.

    `position` counts within the section (0 leads it); `entry` is the documented name, empty for running text.
    """

    number: int
    topic: str
    headings: tuple[str, ...]
    entry: str
    kind: PassageKind
    position: int
    blocks: tuple[Block, ...]

    @property
    def title(self) -> str:
        """What the passage is about, in the words of the reference."""
        return self.entry or self.headings[-1]

    @property
    def section(self) -> tuple[str, str, str]:
        """Passages with an equal section are neighbours on one subject."""
        return self.topic, self.headings[-1], self.entry

    @property
    def text(self) -> str:
        return "\n\n".join(block.text for block in self.blocks)


@dataclass(slots=True)
class _Piece:
    """A passage before it has its place."""

    kind: PassageKind
    entry: str
    blocks: list[Block] = field(default_factory=list)

    def size(self) -> int:
        return sum(len(block.text) for block in self.blocks)


def read_passages(topics: Mapping[str, str]) -> list[Passage]:
    """All passages of `topics`, numbered in order, each text once."""
    passages: list[Passage] = []
    seen: set[str] = set()
    for topic in sorted(topics, key=lambda name: (len(topics[name]), _is_alias(name, topics[name]), name)):
        for passage in _topic_passages(topic, topics[topic]):
            fingerprint = re.sub(r"\W+", " ", passage.text)
            if fingerprint not in seen:
                seen.add(fingerprint)
                passages.append(replace(passage, number=len(passages)))
    return passages


def _is_alias(topic: str, text: str) -> bool:
    """`else` holds the text of `if`: of two equal topics, the one that the heading names is the source."""
    return topic not in text.partition("\n")[0]


def _topic_passages(topic: str, text: str) -> Iterator[Passage]:
    for headings, lines in _sections(text):
        positions: dict[tuple[str, str], int] = {}
        for piece in _pieces(lines, entry=""):
            if not piece.blocks:
                continue
            position = positions.get((piece.entry, piece.kind), 0)
            positions[piece.entry, piece.kind] = position + 1
            yield Passage(0, topic, headings, piece.entry, piece.kind, position, tuple(piece.blocks))


def _sections(text: str) -> Iterator[tuple[tuple[str, ...], list[str]]]:
    """Headings are a line over an adornment; the adornment's character gives the level."""
    lines = [*text.splitlines(), ""]
    path: list[tuple[str, str]] = []
    body: list[str] = []
    for place, line in enumerate(lines):
        if place and _is_heading(lines[place - 1], line):
            if path:
                yield _titles(path), _without_footnotes(body[:-1])
            level = line[0]
            while level in [mark for _, mark in path]:
                path.pop()
            path.append((inline([lines[place - 1]]), level))
            body = []
        else:
            body.append(line)
    if path:
        yield _titles(path), _without_footnotes(body)


def _is_heading(line: str, below: str) -> bool:
    return (
        bool(line.strip())
        and not line.startswith(" ")
        and _ADORNMENT.fullmatch(below) is not None
        and len(below) >= len(line) - 1
    )


def _titles(path: list[tuple[str, str]]) -> tuple[str, ...]:
    return tuple(title for title, _ in path)


def _without_footnotes(lines: list[str]) -> list[str]:
    start = next((place for place, line in enumerate(lines) if line.startswith("-[ Footnotes ]-")), len(lines))
    return lines[:start]


def _pieces(lines: Iterable[str], entry: str) -> Iterator[_Piece]:
    """Running text cut up. Indented text belongs to the paragraph above it: code, or an entry's body."""
    current = _Piece("prose", entry)
    asides: list[_Piece] = []  # an aside doesn't cut the passage that it stands in, so it waits for its end
    groups = groups_of(lines)
    while groups:
        group = groups.pop(0)
        body = take_indented(groups)
        if aside := ASIDE.match(group[0]):
            asides.extend(_aside(aside["label"], group, body, entry))
        elif not _is_paragraph(group):
            grammar, others = _grammar_apart(_blocks(group, body))
            current.blocks.extend(others)
            asides.extend(_Piece("grammar", entry, [block]) for block in grammar)
        elif names := _entry_names(group, body):
            yield from [*_cut(current), *asides]
            current, asides = _Piece("prose", entry), []
            yield from _entry([_qualified(name, entry) for name in names], group, body)
        else:
            grammar, others = _grammar_apart(indented_blocks(body))
            paragraph = inline(group)
            if not _continues(current, paragraph):
                yield from [*_cut(current), *asides]
                current, asides = _Piece("prose", entry), []
            if grammar and not others:
                paragraph = _announcing_nothing(paragraph)
            current.blocks.extend([Block("text", paragraph)] if paragraph else [])
            current.blocks.extend(others)
            asides.extend(_Piece("grammar", entry, [block]) for block in grammar)
    yield from [*_cut(current), *asides]


def _grammar_apart(blocks: Iterable[Block]) -> tuple[list[Block], list[Block]]:
    found = list(blocks)
    grammar = [block for block in found if block.kind == "grammar"]
    return grammar, [block for block in found if block.kind != "grammar"]


def _is_paragraph(group: Group) -> bool:
    return not (group[0].startswith((" ", "+--", ">>>")) or ITEM.match(group[0]))


def _blocks(group: Group, body: list[Group]) -> Iterator[Block]:
    """What belongs to the passage under way, whatever it is: a list, a table, code."""
    if ITEM.match(group[0]):
        return item_blocks(group, body, depth=0)
    if group[0].startswith("+--"):
        return row_blocks(group, depth=0)
    return indented_blocks([group, *body])


def _announcing_nothing(paragraph: str) -> str:
    """The grammar under a paragraph is a passage of its own, so the paragraph no longer points at it."""
    told, stop, last = paragraph.rpartition(". ")
    if re.search("syntax|grammar|general form", last, re.IGNORECASE):
        return f"{told}{stop}".strip()
    return paragraph.removesuffix(":").removesuffix(".") + "."


def _continues(current: _Piece, paragraph: str) -> bool:
    if not current.blocks:
        return True
    last = current.blocks[-1]
    if (last.kind == "text" and last.text.endswith(":")) or paragraph[:1].islower():
        return True
    return bool(_REFERS_BACK.match(paragraph)) and current.size() + len(paragraph) < _MERGE_BELOW


def _cut(piece: _Piece) -> Iterator[_Piece]:
    """A list too long to be quoted becomes one passage an item, so that the right item can be found."""
    if piece.size() <= _SPLIT_ABOVE or not any(block.kind == "item" for block in piece.blocks):
        yield piece
        return
    part = _Piece(piece.kind, piece.entry)
    for block in piece.blocks:
        if block.kind == "item" and block.depth == 0 and part.blocks:
            yield part
            part = _Piece(piece.kind, piece.entry)
        part.blocks.append(block)
    yield part


def _aside(label: str, group: Group, body: list[Group], entry: str) -> Iterator[_Piece]:
    if label == "See also":
        return
    kind: PassageKind = "version" if "version" in label else "note"
    said = inline([ASIDE.sub("", group[0], count=1), *group[1:]])
    grammar, others = _grammar_apart(nested_blocks(body, depth=0))
    blocks = [*([Block("text", said)] if said else []), *others]
    if blocks:
        blocks[0] = replace(blocks[0], text=f"{label}: {blocks[0].text}")
    yield _Piece(kind, entry, blocks)
    yield from (_Piece("grammar", entry, [block]) for block in grammar)


def _entry_names(group: Group, body: list[Group]) -> list[str]:
    """The names that a signature (`str.split(sep=None)`) or a term over its indented definition documents."""
    head, inner = _head_and_inner(group)
    if inner:  # a definition list: the term, then its text in the same group
        return [inline(head)] if len(head) == 1 and not head[0].endswith((".", ":", ",")) else []
    if not body or looks_like_code(body[0]):
        return []
    if any(line.endswith((".", ",", ":", ";", "?", "!")) for line in head):
        return []
    return [_signature_name(line) for line in head]


def _head_and_inner(group: Group) -> tuple[list[str], list[str]]:
    return [line for line in group if line[0] != " "], [line for line in group if line[0] == " "]


def _signature_name(line: str) -> str:
    words = re.sub(r"^((class|classmethod|static|async|await|property|exception)\s+)+", "", line)
    if command := re.match(r"(\w)\((\w+)\)(?=\s|$)", words):  # pdb writes `l(ist)`
        return command[1] + command[2]
    name = _NAME.match(words)
    return name[0] if name and re.match(r"\(|$| \[", words[name.end() :]) else inline([words])


def _qualified(name: str, owner: str) -> str:
    """A method documented inside its class is `dict.get`; `len(d)` there is still the built-in function."""
    owner = owner.partition(" ")[0]
    if not owner or not name.isidentifier() or hasattr(builtins, name):
        return name
    return f"{owner}.{name}"


def _entry(names: list[str], group: Group, body: list[Group]) -> Iterator[_Piece]:
    head, inner = _head_and_inner(group)
    called = any(_CALLED.match(line) for line in head) and not names[0].endswith(")")
    signature = [Block("signature", "\n".join(head))] if called else []
    for piece in _pieces(dedented([inner, *body] if inner else body), entry=" ".join(dict.fromkeys(names))):
        if piece.blocks and piece.kind == "prose":
            piece.blocks, signature = [*signature, *piece.blocks], []
        yield piece
