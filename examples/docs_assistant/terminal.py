"""What the user sees: Markdown wrapped as it streams in, then sources, the search, and what it all cost.

Rules: plain standard library. Colour only on a terminal, and not when NO_COLOR is set; width from the terminal, at most
100. A word is printed as soon as it is complete, so the stream stays a stream.
"""

from __future__ import annotations

import re
import shutil
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

_WIDEST, _NARROWEST = 100, 40
_STYLES = {"bold": "1", "dim": "2", "italic": "3", "code": "36", "head": "1;34"}
_PREFIX = re.compile(r"(?P<indent> *)(?P<bullet>(?:[-*]|\d{1,3}\.|[IVX]{1,4}\.) )?")
_HELD_BACK = re.compile(r" *(?:`{1,2}|[-*]|(?:\d{1,3}|[IVX]{1,4})\.?)?")  # could yet become a fence or a list item


class Screen:
    """A text stream with a width, and with styles if it can show them."""

    def __init__(self, out: TextIO, environment: Mapping[str, str]) -> None:
        self.out = out
        self.width = max(_NARROWEST, min(_WIDEST, shutil.get_terminal_size((_WIDEST, 24)).columns))
        self._colour = out.isatty() and not environment.get("NO_COLOR") and environment.get("TERM") != "dumb"

    @property
    def colour(self) -> bool:
        return self._colour

    def styled(self, style: str, text: str) -> str:
        return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if self._colour and text else text

    def write(self, text: str) -> None:
        self.out.write(text)
        self.out.flush()

    def line(self, text: str = "") -> None:
        self.write(f"{text}\n")


class MarkdownStream:
    """Shows Markdown while it comes in, piece by piece.

    Of Markdown it knows what answers use: paragraphs, lists, fenced code, `code`, *italics* and **bold**.
    """

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._waiting = ""  # what can't be shown before more has come in
        self._column = 0
        self._hang = 0  # where a wrapped line continues
        self._line_started = False
        self._in_fence = False
        self._blank_due = False
        self._in_code = False
        self.shown_anything = False

    def feed(self, text: str) -> None:
        self._waiting += text
        while self._advance():
            pass

    def finish(self) -> None:
        """Shows what still waits, and ends the line."""
        if self._waiting:
            self.feed("\n")
        if self._column:
            self._newline()

    def _advance(self) -> bool:
        if not self._waiting:
            return False
        if self._in_fence or (self._waiting.lstrip(" ").startswith("```") and not self._line_started):
            return self._fence_line()
        if not self._line_started:
            return self._start_line()
        return self._word()

    def _fence_line(self) -> bool:
        line, end, rest = self._waiting.partition("\n")
        if not end:
            return False
        self._waiting = rest
        if line.lstrip(" ").startswith("```"):
            self._in_fence = not self._in_fence
            self._blank_due = self._blank_due or self.shown_anything
        else:
            self._settle_blank()
            self._show(f"    {line}".rstrip(), style="code")
            self._newline()
        return True

    def _start_line(self) -> bool:
        if self._waiting.startswith("\n"):
            self._blank_due = self.shown_anything
            self._waiting = self._waiting[1:]
            return True
        if _HELD_BACK.fullmatch(self._waiting):
            return False
        prefix = _PREFIX.match(self._waiting)
        assert prefix is not None
        self._settle_blank()
        self._waiting = self._waiting[prefix.end() :]
        self._show(prefix[0])
        self._hang = len(prefix[0])
        self._line_started = True
        return True

    def _word(self) -> bool:
        word = re.match(r"\S+(?=\s)", self._waiting)
        if word:
            self._wrap(word[0])
            self._waiting = self._waiting[word.end() :]
            return True
        if self._waiting.startswith("\n"):
            self._newline()
            self._waiting = self._waiting[1:]
            return True
        if self._waiting[0].isspace():
            self._waiting = self._waiting.lstrip(" \t\r") if self._waiting.strip(" \t\r") else ""
            return bool(self._waiting)
        return False

    def _wrap(self, word: str) -> None:
        pieces = self._styled_pieces(word)
        length = sum(len(text) for _, text in pieces)
        space = 1 if self._column > self._hang else 0
        if space and self._column + space + length > self._screen.width:
            self._screen.write("\n" + " " * self._hang)
            self._column, space = self._hang, 0
        self._show(" " * space)
        for style, text in pieces:
            self._show(text, style)

    def _styled_pieces(self, word: str) -> list[tuple[str, str]]:
        """The word cut where its style changes. Without colours its marks are its style, so they stay."""
        if not self._screen.colour:
            return [("", word)]
        pieces: list[tuple[str, str]] = []
        for place, part in enumerate(word.split("`")):
            self._in_code = self._in_code != (place > 0)
            if self._in_code:
                pieces.append(("code", part))
            else:
                pieces.extend(_emphasis(part))
        return [(style, text) for style, text in pieces if text]

    def _show(self, text: str, style: str = "") -> None:
        self._screen.write(self._screen.styled(style, text) if style else text)
        self._column += len(text)
        self.shown_anything = self.shown_anything or bool(text.strip())

    def _newline(self) -> None:
        self._screen.write("\n")
        self._column, self._hang, self._line_started, self._in_code = 0, 0, False, False

    def _settle_blank(self) -> None:
        if self._blank_due:
            self._screen.write("\n")
            self._blank_due = False


def _emphasis(text: str) -> list[tuple[str, str]]:
    pieces: list[tuple[str, str]] = []
    at = 0
    for match in re.finditer(r"\*\*([^*]+)\*\*|\*([^*\s]+)\*", text):
        pieces += [("", text[at : match.start()]), ("bold", match[1]) if match[1] else ("italic", match[2])]
        at = match.end()
    return [*pieces, ("", text[at:])]


@dataclass(slots=True)
class Timings:
    """How long each node ran, run by run, in the order in which they first started."""

    nodes: dict[str, list[float]] = field(default_factory=dict)
    nested: set[str] = field(default_factory=set)  # nodes of a playbook: their time is part of their caller's

    def start(self, node: str, nested: bool) -> None:
        self.nodes.setdefault(node, [])
        if nested:
            self.nested.add(node)

    def add(self, node: str, milliseconds: float) -> None:
        self.nodes.setdefault(node, []).append(milliseconds)


def show_sources(screen: Screen, citations: Sequence[str], answered_by: str) -> None:
    screen.line(screen.styled("head", "Sources"))
    for number, citation in enumerate(citations, 1):
        screen.line(f"  [{number}] {citation}")
    for line in textwrap.wrap(f"Answered by {answered_by}.", screen.width - 2):
        screen.line(screen.styled("dim", f"  {line}"))


def show_search(screen: Screen, route: str, hops: Sequence[Mapping[str, Any]]) -> None:
    """Each time round the loop: what was looked for, how sure the judge was, and what was decided."""
    screen.line(screen.styled("head", f"Search (route: {route})"))
    for number, hop in enumerate(hops, 1):
        screen.line(f"  hop {number}  {hop['query']}")
        screen.line(screen.styled("dim", f"         confidence {hop['confidence']:.2f}: {hop['decision']}"))


def show_costs(
    screen: Screen, timings: Timings, steps: Sequence[Mapping[str, Any]], hops: int, total_ms: float
) -> None:
    """One line per node: runs, time, tokens read or written, and what it did last."""
    tokens: dict[str, int] = {}
    did: dict[str, str] = {}
    for step in steps:
        tokens[step["step"]] = tokens.get(step["step"], 0) + step["tokens"]
        did[step["step"]] = step["did"]
    rows = [
        (
            f"  {name}" if name in timings.nested else name,
            str(len(times)),
            f"{sum(times):.1f}",
            f"{tokens.get(name, 0):,}" if tokens.get(name) else "",
            did.get(name, ""),
        )
        for name, times in timings.nodes.items()
    ]
    runs = str(sum(len(times) for times in timings.nodes.values()))
    total = (
        "total",
        runs,
        f"{total_ms:.1f}",
        f"{sum(tokens.values()):,}",
        f"{hops} hop{'' if hops == 1 else 's'}",
    )
    show_table(screen, ("node", "runs", "ms", "tokens", "what it did"), rows, total)


def show_sights(screen: Screen, sights: Sequence[tuple[Path, str]], more: str) -> None:
    """The files that a run has left, and the command that installs what would show more, if there is any."""
    if sights:
        screen.line(screen.styled("head", "Where to look"))
        width = max(len(str(file)) for file, _ in sights)
        for file, shows in sights:
            screen.line(f"  {str(file).ljust(width)}  {shows}".replace("\n", "\n" + " " * (width + 4)))
    if more:
        screen.line(f"To see {'more' if sights else 'what happened'}: {more}")


def show_table(screen: Screen, head: Sequence[str], rows: Sequence[Sequence[str]], total: Sequence[str]) -> None:
    """Columns as wide as they need to be, the last cut to the screen; numbers to the right."""
    cells = [head, *rows, total]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head) - 1)]
    room = max(12, screen.width - sum(widths) - 3 * len(widths))
    rule = "-" * min(screen.width, sum(widths) + 3 * len(widths) + max(min(room, len(row[-1])) for row in cells))

    def line(row: Sequence[str]) -> str:
        numbers = [value.rjust(width) for value, width in zip(row[1:-1], widths[1:], strict=True)]
        last = row[-1] if len(row[-1]) <= room else row[-1][: room - 3] + "..."
        return "   ".join([row[0].ljust(widths[0]), *numbers, last]).rstrip()

    screen.line(screen.styled("head", line(head)))
    screen.line(screen.styled("dim", rule))
    for row in rows:
        screen.line(line(row))
    screen.line(screen.styled("dim", rule))
    screen.line(screen.styled("bold", line(total)))
