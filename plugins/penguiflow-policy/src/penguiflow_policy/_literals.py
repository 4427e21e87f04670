"""What a condition may hand to the functions that search texts: only what stands in the condition itself.

Rules: a text to look for, a regular expression and a timezone are literals, never a message's: one of them is searched
for in time that grows with both lengths, one is a program, and one is opened as a file. A regular expression is judged
by its size with its repetitions written out.
"""

from __future__ import annotations

import re
from zoneinfo import ZoneInfo

MAX_PARTS = 200

_OF_A_TIME = ("Date", "DayOfMonth", "DayOfWeek", "DayOfYear", "FullYear", "Hours", "Milliseconds", "Minutes", "Month")
ZONED = frozenset(f"get{part}" for part in (*_OF_A_TIME, "Seconds"))
SEARCHING = ("contains", "matches")

_QUOTED = re.compile(r"""([rRbB]*)('{3}|"{3}|'|")(.*)\2""", re.DOTALL)
_CODED = re.compile(r"(?:[^\\]|\\[^xXuU0-7])*")
_PART = re.compile(
    r"""
    (?P<times>\{(?P<least>\d{1,9})(?P<comma>,)?(?P<most>\d{1,9})?\})
  | (?P<property>\\[pP](?:\{[^}]*\}|.))
  | (?P<one>\\. | \[\^?\]?(?:\\.|\[:\^?[a-z]+:\]|[^\]\\])*\])
  | (?P<open>\() | (?P<close>\))
  | (?P<free>[*+?^$|])
  | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_OFFSET = re.compile(r"[-+]?\d\d:\d\d")
_A_PROPERTY = 10  # a class of Unicode is a program by itself


def misused(function: str, literal: str) -> str:
    """What is wrong with a literal as the argument of one of these functions; empty if nothing is."""
    found = _QUOTED.fullmatch(literal)
    if found is None:
        return "this is no text"
    prefix, _, text = found.groups()
    if "r" not in prefix.lower():
        if _CODED.fullmatch(text) is None:
            return "write its characters as they are, not as codes"
        text = re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL)
    if function in ZONED:
        return "" if _OFFSET.fullmatch(text) or _is_zone(text) else "there is no such timezone"
    return too_large(text) if function == "matches" else ""


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (OSError, ValueError, LookupError):
        return False
    return True


def too_large(pattern: str) -> str:
    """Why a regular expression takes too long; empty if it doesn't."""
    if r"\Q" in pattern:
        return r"a regular expression has no \Q here: put a \ before each sign"
    parts = _parts(pattern)
    if parts > MAX_PARTS:
        return f"a regular expression has at most {MAX_PARTS} parts, its {{n}} written out, and this has {parts}"
    return ""


def _parts(pattern: str) -> int:
    """How many parts it has with its repetitions written out; rather too many than too few."""
    outside: list[int] = []
    total = last = 0
    for found in _PART.finditer(pattern):
        kind = found.lastgroup
        if kind == "times" or found["times"]:
            times = max(int(found["least"]) + bool(found["comma"]), int(found["most"] or 0), 1)
            total, last = total + last * (times - 1), last * times
        elif kind == "open":
            outside.append(total)
            total = last = 0
        elif kind == "close" and outside:
            last = total
            total += outside.pop()
        elif kind != "free":
            last = _A_PROPERTY if kind == "property" else 1
            total += last
    return total + sum(outside)
