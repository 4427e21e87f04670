"""Splits and canaries: even, sticky, the same for ever, and moving no more keys than they must."""

from __future__ import annotations

import datetime
import math
import os
import subprocess
import sys
import uuid
from collections import Counter
from decimal import Decimal
from typing import Any

import pytest
from desk import policy, request, rule, targets
from hypothesis import given, settings
from hypothesis import strategies as st

KEYS = 100_000
CODE = """
from desk import policy, request, rule
made = policy(rule('ab', split={'a': 60, 'b': 30, 'c': 10}, by='tenant'))
print(''.join(made.select(request(tenant=f't{i}'))[0] for i in range(2000)))
"""


def drawn(made: Any, count: int, prefix: str = "t") -> list[str | None]:
    found = (made.select(request(tenant=f"{prefix}{place}")) for place in range(count))
    return [None if decision is None else decision[0] for decision in found]


def within(count: int, share: float, of: int, sigmas: float = 4.5) -> bool:
    """Whether a count is as far from its expectation as chance makes it: beyond is one case in 100,000."""
    return abs(count - share * of) <= sigmas * math.sqrt(of * share * (1 - share))


def test_shares_over_100000_keys_are_what_they_should_be():
    made = policy(rule("ab", split={"a": 60, "b": 30, "c": 10}, by="tenant"))
    counted = Counter(drawn(made, KEYS))
    assert sum(counted.values()) == KEYS
    for name, share in (("a", 0.6), ("b", 0.3), ("c", 0.1)):
        assert within(counted[name], share, KEYS), (name, counted)
    canary = policy(rule("new", canary={"to": "b", "percent": 2.5}, by="tenant"))
    assert within(Counter(drawn(canary, KEYS))["b"], 0.025, KEYS)


def test_a_key_may_be_a_number_too_long_to_be_written_in_decimal():
    made = policy(rule("ab", split={"a": 50, "b": 50}, by="payload.x"))
    first, again = (targets(made.select(request({"x": 10**5000}, trace_id=trace))) for trace in ("one", "other"))
    assert first == again
    assert first is not None


def test_two_rules_draw_independently_unless_they_share_a_salt():
    names = {"by": "tenant", "split": {"a": 50, "b": 50}}
    one, two = (drawn(policy(rule(name, **names)), 10_000) for name in ("one", "two"))
    assert within(sum(a == b for a, b in zip(one, two, strict=True)), 0.5, 10_000)
    salted = [drawn(policy(rule(name, salt="s", **names)), 1000) for name in ("one", "two")]
    assert salted[0] == salted[1]


def test_a_key_keeps_its_arm_over_restarts_and_hash_seeds():
    printed = set()
    for seed in ("0", "1", "random"):
        done = subprocess.run(
            [sys.executable, "-c", CODE],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.path.dirname(__file__)},
            capture_output=True,
            encoding="utf-8",
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        printed.add(done.stdout)
    assert len(printed) == 1
    # Written down once: a change here moves the customers of every deployment.
    assert printed.pop().startswith(FIRST)


FIRST = "aababbaaaababaabcabaaacbabcbaaaabbaaabab"


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.integers(0, 100), min_size=3, max_size=3).filter(lambda w: sum(w) > 0),
    st.integers(0, 2),
    st.integers(1, 50),
)
def test_when_a_weight_grows_keys_move_to_that_arm_only(weights: list[int], grown: int, by: int):
    names = ("a", "b", "c")

    def shares(amounts: list[float]) -> dict[str, float]:
        whole = sum(amounts)
        return {name: amount * 100 / whole for name, amount in zip(names, amounts, strict=True)}

    after = [weight + by * (place == grown) for place, weight in enumerate(weights)]
    old, new = (drawn(policy(rule("r", split=shares(w), by="tenant")), 300) for w in (weights, after))
    assert {now for before, now in zip(old, new, strict=True) if before != now} <= {names[grown]}


def test_a_canary_that_grows_keeps_those_it_has():
    before: set[int] = set()
    for percent in (0, 1, 5, 20, 50, 100):
        made = policy(rule("r", canary={"to": "b", "percent": percent}, by="tenant"))
        now = {place for place, arm in enumerate(drawn(made, 2000)) if arm == "b"}
        assert before <= now
        before = now
    assert len(before) == 2000


def test_outside_a_canarys_share_the_next_rule_is_asked():
    made = policy(rule("new", canary={"to": "b", "percent": 50}, by="tenant"), rule("old", route="a"))
    assert set(drawn(made, 100)) == {"a", "b"}


@pytest.mark.parametrize("by", ["tenant", "topic", "trace_id", "meta.user", "payload.user.id"])
def test_a_share_holds_on_to_its_key_and_to_nothing_else(by: str):
    made = policy(rule("r", split={"a": 50, "b": 50}, by=by))
    found = set()
    for place in range(40):
        given_ = {"tenant": f"t{place}", "topic": f"t{place}", "trace_id": f"t{place}"}
        if by in given_:
            given_[by] = "same"
        meta = {"user": "same" if by == "meta.user" else place}
        payload = {"user": {"id": "same" if by == "payload.user.id" else place}}
        found.add(tuple(made.select(request(payload, meta=meta, **given_)) or ()))
    assert len(found) == 1


@pytest.mark.parametrize(
    "keys",
    [
        [uuid.UUID(int=place) for place in range(40)],
        [Decimal(place) for place in range(40)],
        [datetime.date(2026, 1, 1 + place % 28) for place in range(40)],
        list(range(40)),
    ],
)
def test_a_key_of_any_plain_kind_is_held_on_to_and_is_the_same_as_its_text(keys: list[Any]):
    made = policy(rule("r", split={"a": 50, "b": 50}, by="payload.user"))
    for forms in ([(key, str(key)) for key in keys], [(1, 1.0), (7, 7.0)]):
        for row in forms:
            asked = [request({"user": form}, trace_id=f"t{place}") for form in row for place in range(9)]
            assert len({tuple(made.select(each) or ()) for each in asked}) == 1
    assert len({tuple(made.select(request({"user": key})) or ()) for key in keys}) == 2


def test_a_message_without_the_key_is_drawn_by_its_trace():
    made = policy(rule("r", split={"a": 50, "b": 50}, by="meta.user"))
    arms = [targets(made.select(request(trace_id=f"t{place}"))) for place in range(200)]
    assert {tuple(arm or ()) for arm in arms} == {("a",), ("b",)}
    assert arms == [targets(made.select(request(trace_id=f"t{place}"))) for place in range(200)]


def test_an_arm_without_weight_gets_nothing():
    assert set(drawn(policy(rule("r", split={"a": 100, "b": 0}, by="tenant")), 1000)) == {"a"}
