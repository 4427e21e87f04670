"""What differs between two policies: their rules, and where cases go."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from penguiflow_policy._cases import Case, Outcome
from penguiflow_policy._policy import Policy
from penguiflow_policy._problems import shown


def differences(old: Policy, new: Policy, cases: Sequence[Case] = ()) -> list[str]:
    """A line for each difference; none if there is no difference."""
    before, after = old.in_use.document.data, new.in_use.document.data
    return [*_settings(before, after), *_rules(before, after), *_decisions(old, new, cases)]


def _settings(before: Any, after: Any) -> Iterator[str]:
    for key in dict.fromkeys((*before, *after)):
        if key not in ("rules", "description") and _same(before.get(key)) != _same(after.get(key)):
            yield f"~ {key}: {_value(before.get(key))} -> {_value(after.get(key))}"


def _rules(before: Any, after: Any) -> Iterator[str]:
    old = {rule["name"]: rule for rule in before["rules"]}
    new = {rule["name"]: rule for rule in after["rules"]}
    yield from (f"- {name}" for name in old if name not in new)
    yield from (f"+ {name}" for name in new if name not in old)
    for name in new:
        if name in old:
            yield from _fields(name, old[name], new[name])
    stayed = [name for name in old if name in new]
    now = [name for name in new if name in old]
    moved = _moved(stayed, now)
    yield from (f"~ {name}: moved to place {list(new).index(name) + 1}" for name in now if name in moved)


def _fields(name: str, old: Any, new: Any) -> Iterator[str]:
    for key in dict.fromkeys((*old, *new)):
        if key != "description" and _same(old.get(key)) != _same(new.get(key)):
            yield f"~ {name}.{key}: {_value(old.get(key))} -> {_value(new.get(key))}"


def _same(value: Any) -> Any:
    """A value with its single items as lists: both ways to write them mean the same."""
    if isinstance(value, dict):
        return {key: _same(item) for key, item in value.items()}
    return value if isinstance(value, list) else [value]


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return "nothing" if value is None else shown(value)


def _moved(old: Sequence[str], new: Sequence[str]) -> set[str]:
    """The names that don't keep their order: all but the longest row that does."""
    place = {name: index for index, name in enumerate(old)}
    lengths: list[int] = []
    before: list[int | None] = []
    for index, name in enumerate(new):
        best = max(
            (earlier for earlier in range(index) if place[new[earlier]] < place[name]),
            key=lambda earlier: lengths[earlier],
            default=None,
        )
        before.append(best)
        lengths.append(1 + (lengths[best] if best is not None else 0))
    kept: set[str] = set()
    at = max(range(len(new)), key=lambda index: lengths[index], default=None)
    while at is not None:
        kept.add(new[at])
        at = before[at]
    return set(new) - kept


def _decisions(old: Policy, new: Policy, cases: Sequence[Case]) -> Iterator[str]:
    for case in cases:
        was, now = Outcome(old.rules, case), Outcome(new.rules, case)
        if sorted(was.targets) != sorted(now.targets):
            yield f"! {case.name}: {was} -> {now}"
