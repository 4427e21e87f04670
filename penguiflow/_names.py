"""Names of plugins as people write them: compared, looked up, and guessed at where one is mistyped."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field


def key_of(name: str) -> str:
    """A name as it is compared: in `distribution:name`, the distribution may be written as package indexes allow."""
    distribution, colon, rest = name.partition(":")
    return f"{re.sub(r'[-_.]+', '-', distribution).lower()}:{rest}" if colon else name


def same_distribution(name: str, other: str) -> bool:
    """Whether package indexes take these for the same distribution."""
    return key_of(f"{name}:") == key_of(f"{other}:")


@dataclass(frozen=True, slots=True)
class Names:
    """Names of plugins, and where they were written down. One may say `distribution:name`."""

    names: tuple[str, ...]
    source: str
    _places: Mapping[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        places = {key_of(name): place for place, name in reversed(list(enumerate(self.names)))}
        object.__setattr__(self, "_places", places)

    def place(self, keys: tuple[str, ...]) -> int:
        """Where a plugin of these names stands; behind the last if nowhere."""
        places = self._places
        return min(places.get(key, len(self.names)) for key in keys) if places else 0

    def have(self, keys: tuple[str, ...]) -> bool:
        """Whether one of a plugin's names stands here."""
        return any(key in self._places for key in keys)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)


def meant(name: str, known: Iterable[str]) -> str:
    """`: did you mean ...?` if a known name is close to this one."""
    alike = close(name, known)
    return f": did you mean {alike[0]!r}?" if alike else ""


def close(name: str, known: Iterable[str], at_least: float = 0.6) -> list[str]:
    """The known name that is closest to this one, if it is close at all: from 0 for nothing in common to 1."""
    import difflib  # only where something is wrong

    return difflib.get_close_matches(name, list(known), n=1, cutoff=at_least)
