"""Which rules a message's fields fit, found at once for all of them.

Rules: a set of rules is a number with a bit for each. For each field there is a table from a value to the rules that
admit it, so a message costs one look-up for each field that any rule names, however many rules there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, tzinfo
from typing import Any

from penguiflow import RoutingRequest
from penguiflow_policy._fields import Getter, bare, getter

# Python holds True and 1 for one key, and a policy doesn't.
_TRUE, _FALSE = object(), object()
_PLAIN = frozenset((str, int, float, type(None)))
_MANY = (list, tuple, set, frozenset)


def key_of(value: Any) -> Any:
    """What a table is asked for."""
    return (_TRUE if value else _FALSE) if value.__class__ is bool else value


def fits(value: Any, wanted: Iterable[Any]) -> bool:
    """Whether a field's value is among those wanted; of a list, whether any of its items is."""
    keys = [key_of(item) for item in wanted]
    values = value if isinstance(value, _MANY) else (value,)
    return any(key_of(bare(item)) in keys for item in values)


class Index:
    """Finds candidates.

    Args:
        matches: For each rule the values that its fields may have.
        zone: Whose hour it is.
    """

    def __init__(self, matches: Sequence[Mapping[str, Sequence[Any]]], zone: tzinfo = UTC) -> None:
        self._all: int = (1 << len(matches)) - 1
        names = list(dict.fromkeys(name for match in matches for name in match))
        self._tables: list[tuple[Getter, dict[Any, int], int]] = [
            (getter(name, zone), *_table(name, matches)) for name in names
        ]

    def candidates(self, request: RoutingRequest, now: float) -> int:
        """The rules that the message's fields fit: bit `i` for rule `i`."""
        found = self._all
        for read, table, indifferent in self._tables:
            value = read(request, now)
            if value.__class__ in _PLAIN:
                found &= table.get(value, indifferent)
            else:
                found &= _several(value, table, indifferent)
            if not found:
                break
        return found


def _several(value: Any, table: Mapping[Any, int], indifferent: int) -> int:
    values = value if isinstance(value, _MANY) else (value,)
    found = indifferent
    for item in values:
        try:
            found |= table.get(key_of(bare(item)), 0)
        except TypeError:  # a table or list: no rule can name it
            continue
    return found


def _table(name: str, matches: Sequence[Mapping[str, Sequence[Any]]]) -> tuple[dict[Any, int], int]:
    table: dict[Any, int] = {}
    indifferent = 0
    for place, match in enumerate(matches):
        if name not in match:
            indifferent |= 1 << place
        for value in match.get(name, ()):
            table[key_of(value)] = table.get(key_of(value), 0) | 1 << place
    return {value: rules | indifferent for value, rules in table.items()}, indifferent
