"""Rules that can never decide, because an earlier one always does.

Rules: an earlier rule hides a later one if it decides by itself, has no condition or the very same one, and fits
whatever the later one fits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from penguiflow_policy._index import key_of
from penguiflow_policy._rules import Rule


def unreachable(rules: Sequence[Rule]) -> Iterator[tuple[int, str]]:
    """The places of rules that are never reached, with a sentence about each."""
    for place, rule in enumerate(rules):
        if rule.condition is not None and rule.condition.source.strip() == "false":
            yield place, f"rule {rule.name!r} is never reached: its condition is false"
            continue
        for earlier in rules[:place]:
            if _hides(earlier, rule):
                yield (
                    place,
                    f"rule {rule.name!r} is never reached: {earlier.name!r} decides all that it fits; move it up",
                )
                break


def _hides(earlier: Rule, later: Rule) -> bool:
    if not _decides(earlier) or not set(earlier.match) <= set(later.match):
        return False
    if earlier.condition is not None and (
        later.condition is None or earlier.condition.source != later.condition.source
    ):
        return False
    return all(
        {key_of(value) for value in later.match[name]} <= {key_of(value) for value in values}
        for name, values in earlier.match.items()
    )


def _decides(rule: Rule) -> bool:
    if rule.kind == "canary":
        return rule.percent >= 100
    return rule.kind in ("route", "split", "drop", "abstain")
