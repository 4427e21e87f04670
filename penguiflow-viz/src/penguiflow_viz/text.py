"""Text as it is shown: nothing invisible, nothing endless, and how wide it is.

Rules: what a reader can't see, or what would turn the text around it, is written as Python would escape it. Widths
are those of Helvetica, and of what is metrically the same (Arial, Liberation Sans), in units of the font's size.
"""

from __future__ import annotations

import unicodedata

LONGEST = 120
WRAP = 30

_HIDDEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
_JOINER = "\u200d"  # holds emoji together

# Advance widths from space to tilde, in thousandths.
_WIDTHS = (
    "278 278 355 556 556 889 667 191 333 333 389 584 278 333 278 278 556 556 556 556 556 556 556 556 556 556 278 278 "
    "584 584 584 556 1015 667 667 722 722 667 611 778 722 278 500 667 556 833 722 778 667 778 722 667 611 722 667 944 "
    "667 667 611 278 278 278 469 556 333 556 556 500 556 556 278 556 556 222 222 500 222 833 556 556 556 556 333 500 "
    "278 556 500 722 500 500 500 334 260 334 584"
)
_NARROW = {chr(32 + place): int(width) / 1000 for place, width in enumerate(_WIDTHS.split())}


def visible(text: str) -> str:
    """The text in one line, with everything in it to be seen."""
    return "".join(_shown(char) for char in text)


def _shown(char: str) -> str:
    if char == _JOINER or unicodedata.category(char) not in _HIDDEN:
        return char
    return char.encode("unicode_escape").decode("ascii")


def elided(text: str, longest: int = LONGEST) -> str:
    """The text, its middle left out if it is longer than `longest` characters."""
    if len(text) <= longest:
        return text
    tail = longest // 3
    return f"{text[: longest - tail - 1]}…{text[-tail:]}"


def width(text: str, size: float, bold: bool = False) -> float:
    """How wide the text is, in pixels, in a font of `size` pixels."""
    return sum(map(_width, text)) * size * (1.07 if bold else 1.0)


def _width(char: str) -> float:
    known = _NARROW.get(char)
    if known is not None:
        return known
    if unicodedata.combining(char) or char == _JOINER or unicodedata.category(char) in ("Mn", "Me"):
        return 0.0
    return 1.05 if unicodedata.east_asian_width(char) in ("W", "F") else 0.667


def wrapped(text: str, limit: int = WRAP) -> tuple[str, ...]:
    """The text in lines of about `limit` characters, cut after a space, a mark or between words where possible."""
    lines = []
    while len(text) > limit:
        cut = max((text.rfind(mark, limit // 2, limit) for mark in " _-./:,"), default=-1) + 1
        cut = cut or _safe(text, limit)
        lines.append(text[:cut].rstrip())
        text = text[cut:].lstrip()
    return (*lines, text) if text or not lines else tuple(lines)


def _safe(text: str, place: int) -> int:
    """A place near this one that tears no character from its marks."""
    while 1 < place < len(text) and (unicodedata.combining(text[place]) or _JOINER in text[place - 1 : place + 1]):
        place -= 1
    return place
