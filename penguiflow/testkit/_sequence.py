"""What order of node runs a test expects, and whether a trace kept to it.

Rules: a list is one thing after the other; `parallel` is things in any order that keeps each one's own; `times` is a
thing again and again; `...` is whatever runs. Whether a sequence fits is decided run by run: what is left to expect
after one run is an expectation again (a derivative), so a mismatch is found at the very run that doesn't fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import EllipsisType
from typing import TypeAlias, Union

Expected: TypeAlias = Union[str, EllipsisType, "Sequence[Expected]", "Steps"]
"""A node's name, `...`, a list of what comes one after the other, or what `parallel` and `times` make."""


class Steps:
    """An expected order of node runs."""

    def complete(self) -> bool:
        """Whether nothing more has to run."""
        raise NotImplementedError

    def after(self, name: str) -> Steps | None:
        """What is expected after a run of this node; `None` if it must not run now."""
        raise NotImplementedError

    def allowed(self) -> list[str]:
        """The names of the nodes that may run now."""
        raise NotImplementedError


@dataclass(frozen=True)
class _Nothing(Steps):
    def complete(self) -> bool:
        return True

    def after(self, name: str) -> Steps | None:
        return None

    def allowed(self) -> list[str]:
        return []

    def __str__(self) -> str:
        return "nothing"


NOTHING = _Nothing()


@dataclass(frozen=True)
class _One(Steps):
    name: str

    def complete(self) -> bool:
        return False

    def after(self, name: str) -> Steps | None:
        return NOTHING if name == self.name else None

    def allowed(self) -> list[str]:
        return [self.name]

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class _Whatever(Steps):
    def complete(self) -> bool:
        return True

    def after(self, name: str) -> Steps | None:
        return self

    def allowed(self) -> list[str]:
        return ["anything"]

    def __str__(self) -> str:
        return "..."


@dataclass(frozen=True)
class _Then(Steps):
    first: Steps
    rest: Steps

    def complete(self) -> bool:
        return self.first.complete() and self.rest.complete()

    def after(self, name: str) -> Steps | None:
        begun = self.first.after(name)
        within = None if begun is None else then(begun, self.rest)
        past = self.rest.after(name) if self.first.complete() else None
        return either(within, past)

    def allowed(self) -> list[str]:
        return [*self.first.allowed(), *(self.rest.allowed() if self.first.complete() else ())]

    def __str__(self) -> str:
        parts, left = [str(self.first)], self.rest
        while isinstance(left, _Then):  # however long it is
            parts.append(str(left.first))
            left = left.rest
        return " -> ".join([*parts, str(left)])


@dataclass(frozen=True)
class _Either(Steps):
    options: tuple[Steps, ...]

    def complete(self) -> bool:
        return any(option.complete() for option in self.options)

    def after(self, name: str) -> Steps | None:
        return either(*(option.after(name) for option in self.options))

    def allowed(self) -> list[str]:
        return [name for option in self.options for name in option.allowed()]

    def __str__(self) -> str:
        return f"({' or '.join(map(str, self.options))})"


@dataclass(frozen=True)
class _Beside(Steps):
    one: Steps
    other: Steps

    def complete(self) -> bool:
        return self.one.complete() and self.other.complete()

    def after(self, name: str) -> Steps | None:
        one, other = self.one.after(name), self.other.after(name)
        return either(
            None if one is None else beside(one, self.other), None if other is None else beside(self.one, other)
        )

    def allowed(self) -> list[str]:
        return [*self.one.allowed(), *self.other.allowed()]

    def __str__(self) -> str:
        return f"({self.one} | {self.other})"


@dataclass(frozen=True)
class _Times(Steps):
    what: Steps
    least: int
    most: int | None

    def complete(self) -> bool:
        return not self.least or self.what.complete()

    def after(self, name: str) -> Steps | None:
        begun = self.what.after(name) if self.most != 0 else None
        return None if begun is None else then(begun, self._fewer())

    def _fewer(self) -> Steps:
        most = None if self.most is None else self.most - 1
        return NOTHING if most == 0 else _Times(self.what, max(0, self.least - 1), most)

    def allowed(self) -> list[str]:
        return self.what.allowed() if self.most != 0 else []

    def __str__(self) -> str:
        most = "or more" if self.most is None else f"to {self.most}"
        count = f"{self.least}" if self.least == self.most else f"{self.least} {most}"
        return f"({self.what}) {count} times"


def then(first: Steps, rest: Steps) -> Steps:
    """One after the other."""
    return rest if first == NOTHING else first if rest == NOTHING else _Then(first, rest)


def either(*options: Steps | None) -> Steps | None:
    """One of those that are possible, each once."""
    possible = [option for option in options if option is not None]
    if len(possible) < 2:
        return possible[0] if possible else None
    found: dict[Steps, None] = {}
    for option in possible:
        found.update(dict.fromkeys(option.options if isinstance(option, _Either) else (option,)))
    kept = tuple(found)
    return kept[0] if len(kept) == 1 else _Either(kept)


def beside(one: Steps, other: Steps) -> Steps:
    """Both, in any order that keeps each one's own."""
    return other if one == NOTHING else one if other == NOTHING else _Beside(one, other)


def parallel(*branches: Expected) -> Steps:
    """Branches that run beside each other: `["split", parallel("left", ["right", "more"]), "join"]`.

    Args:
        branches: Each a name, or a list of what comes one after the other.
    """
    found: Steps = NOTHING
    for branch in branches:
        found = beside(found, steps(branch))
    return found


def times(what: Expected, least: int, most: int | None = None) -> Steps:
    """A thing that runs again and again: `times("loop", 3)`, `times(["plan", "act"], 1, 5)`.

    Args:
        what: A name, or a list of what comes one after the other.
        least: How often, or how often at least.
        most: How often at most; by default just as often as `least`.

    Raises:
        ValueError: a negative number, or fewer at most than at least.
    """
    limit = least if most is None else most
    if least < 0 or limit < least:
        raise ValueError(f"times({what!r}, {least}, {most}): least is a number from 0 on, and most no smaller")
    return NOTHING if limit == 0 else _Times(steps(what), least, limit)


def any_times(what: Expected, least: int = 0) -> Steps:
    """A thing that runs however often it likes, but `least` times at least."""
    if least < 0:
        raise ValueError(f"any_times({what!r}, {least}): least is a number from 0 on")
    return _Times(steps(what), least, None)


def steps(expected: Expected) -> Steps:
    """What a test wrote, as steps.

    Raises:
        TypeError: it is nothing that can be expected.
    """
    if isinstance(expected, Steps):
        return expected
    if isinstance(expected, str):
        return _One(expected)
    if expected is ...:
        return _Whatever()
    if not isinstance(expected, list | tuple):
        raise TypeError(f"expect a node's name, ..., a list of them, parallel(...) or times(...), not {expected!r:.80}")
    found: Steps = NOTHING
    for part in reversed(expected):
        found = then(steps(part), found)
    return found


def mismatch(expected: Expected, names: Sequence[str]) -> str | None:
    """Why these runs aren't what was expected; `None` if they are."""
    left = steps(expected)
    for place, name in enumerate(names):
        following = left.after(name)
        if following is None:
            return f"run {place + 1} is {name}, where {_spelled(left)} was expected"
        left = following
    return None if left.complete() else f"it ended after run {len(names)}, where {_spelled(left)} was expected"


def _spelled(left: Steps) -> str:
    names = list(dict.fromkeys(left.allowed()))
    if left.complete():
        names.append("the end")
    return " or ".join(names) or "the end"
