"""What is wrong with a policy: every problem at once, each with its place and a suggestion.

Rules: a problem shows what stands in the file as it is written there, never what a variable of the environment holds,
and no more than a few words of it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

LONGEST = 60
MOST = 100


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        text: A sentence, with the suggestion at its end.
        source: The file, or what else the policy was read from.
        path: Where in the policy, as `rules[2].route`; empty for the whole of it.
        line: Counted from 1; `None` where the source has no lines.
        column: Counted from 1, in characters.
    """

    text: str
    source: str = "policy"
    path: str = ""
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        place = self.source if self.line is None else f"{self.source}:{self.line}:{self.column}"
        return f"{place}: {self.path}: {self.text}" if self.path else f"{place}: {self.text}"


class PolicyError(ValueError):
    """A policy can't be used.

    Attributes:
        problems: Everything that is wrong, in the order in which it stands in the source; of more than 100, the first.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)[:MOST]
        count = len(problems)
        title = "the policy has a problem:" if count == 1 else f"the policy has {count} problems:"
        if count > MOST:
            title = f"the policy has more than {MOST} problems, the first of them:"
        super().__init__("\n  - ".join([title, *map(str, self.problems)]))

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.problems,))


class UnreadableError(PolicyError):
    """There is a file, and the system doesn't let it be read: perhaps the next time it does."""


def shown(value: object) -> str:
    """A value as a problem shows it: as it would be written, cut if it is long."""
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "a list"
    words = {"None": "null", "True": "true", "False": "false"}
    text = repr(value)
    text = text if isinstance(value, str) else words.get(text, text)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def meant(word: object, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown word: which was meant, or which there are."""
    names = list(dict.fromkeys(known))
    close = difflib.get_close_matches(str(word)[:200], names, n=1)
    if close:
        return f": did you mean {close[0]!r}?"
    if not names:
        return ": there are none"
    listed = ", ".join(names[:12])
    return f": there are {listed}" + (f" and {len(names) - 12} more" if len(names) > 12 else "")


def spelled(path: Sequence[str | int]) -> str:
    """A path as a person would write it: `rules[2].route`."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text
