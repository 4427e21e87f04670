"""Rules that can never decide, because an earlier one always does.

Rules: an earlier rule hides a later one if it decides by itself, has no condition or the very same one, and fits
whatever the later one fits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from penguiflow_policy._index import key_of
from penguiflow_policy._rules import Rule

Wanted = Mapping[str, frozenset[Any]]


def unreachable(rules: Sequence[Rule]) -> Iterator[tuple[int, str]]:
    """The places of rules that are never reached, with a sentence about each."""
    wanted = [{name: frozenset(map(key_of, values)) for name, values in rule.match.items()} for rule in rules]
    for place, rule in enumerate(rules):
        if rule.condition is not None and rule.condition.source.strip() == "false":
            yield place, f"rule {rule.name!r} is never reached: its condition is false"
            continue
        for before, earlier in enumerate(rules[:place]):
            if _hides(earlier, wanted[before], rule, wanted[place]):
                yield (
                    place,
                    f"rule {rule.name!r} is never reached: {earlier.name!r} decides all that it fits; move it up",
                )
                break


def _hides(earlier: Rule, admitted: Wanted, later: Rule, wanted: Wanted) -> bool:
    if not _decides(earlier) or not admitted.keys() <= wanted.keys():
        return False
    if earlier.condition is not None and not _same_condition(earlier, later):
        return False
    return all(wanted[name] <= values for name, values in admitted.items())


def _same_condition(earlier: Rule, later: Rule) -> bool:
    return (earlier.condition and earlier.condition.source) == (later.condition and later.condition.source)


def _decides(rule: Rule) -> bool:
    if rule.kind == "canary":
        return rule.percent >= 100
    return rule.kind in ("route", "split", "drop", "abstain")
