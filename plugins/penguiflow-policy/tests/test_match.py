"""The index finds what going through the rules one by one finds, and an explanation tells what was decided."""

from __future__ import annotations

import re
from typing import Any

import pytest
from desk import policy, request
from hypothesis import given, settings
from hypothesis import strategies as st

from penguiflow_policy import ConditionError

WORDS = st.sampled_from(["x", "y", "z"])
SCALARS = st.one_of(WORDS, st.integers(0, 2), st.booleans(), st.none(), st.sampled_from([0.0, 1.0, 1.5]))
FIELDS: dict[str, Any] = {
    "tenant": WORDS,
    "topic": st.one_of(WORDS, st.none()),
    "priority": st.integers(0, 2),
    "payload.k": SCALARS,
    "payload.n.m": SCALARS,
    "meta.k": SCALARS,
    "hour": st.integers(0, 1),
    "proposed": st.sampled_from(["a", "b", "c"]),
}


@st.composite
def matches(draw: Any) -> dict[str, Any]:
    names = draw(st.lists(st.sampled_from(list(FIELDS)), unique=True, max_size=3))
    return {name: draw(st.lists(FIELDS[name], min_size=1, max_size=3)) for name in names}


ACTIONS = st.sampled_from(
    [
        {"route": "a"},
        {"route": ["b", "c"]},
        {"add": "c"},
        {"remove": "a"},
        {"drop": True},
        {"abstain": True},
        {"split": {"a": 50, "b": 50}, "by": "tenant"},
        {"canary": {"to": "b", "percent": 40}, "by": "meta.k"},
    ]
)
CONDITIONS = st.sampled_from(
    [None, None, "priority > 0", "payload.k == 'x'", "has(meta.k) && meta.k == 1", "'a' in proposed"]
)
SKIP = "skip"


@st.composite
def policies(draw: Any) -> Any:
    rules = []
    for place in range(draw(st.integers(0, 6))):
        parts = {"name": f"r{place}", "match": draw(matches()), **draw(ACTIONS)}
        condition = draw(CONDITIONS)
        if condition:
            parts |= {
                "when": f"({condition}) && priority >= -{place}",
                "on_error": draw(st.sampled_from([SKIP, "fail"])),
            }
        else:
            parts["match"]["payload.only"] = [f"p{place}"]  # or it might hide one after it, which is refused
        rules.append(parts)
    default = draw(st.sampled_from(["keep", "drop", ["a"]]))
    return rules, default


VALUES = st.one_of(SCALARS, st.lists(SCALARS, max_size=2), st.just({"x": 1}))
PAYLOADS = st.one_of(
    st.fixed_dictionaries(
        {},
        optional={
            "k": VALUES,
            "n": st.one_of(VALUES, st.fixed_dictionaries({"m": VALUES})),
            "only": st.sampled_from(["p0", "p1", "p2"]),
        },
    ),
    st.none(),
    st.just("text"),
)


def is_same(value: Any, wanted: Any) -> bool:
    return isinstance(value, bool) == isinstance(wanted, bool) and value == wanted


def read(name: str, payload: Any, meta: dict[str, Any], headers: dict[str, Any], proposed: tuple[str, ...]) -> Any:
    first, _, rest = name.partition(".")
    if first == "proposed":
        return list(proposed)
    if first == "hour":
        return 0
    if not rest:
        return headers[name]
    value = payload if first == "payload" else meta
    for step in rest.split("."):
        value = value.get(step) if isinstance(value, dict) else None
    return value


@settings(max_examples=150, deadline=None)
@given(
    policies(),
    PAYLOADS,
    st.fixed_dictionaries({}, optional={"k": VALUES}),
    st.fixed_dictionaries({"tenant": WORDS, "topic": FIELDS["topic"], "priority": st.integers(0, 2)}),
    st.lists(st.sampled_from(["a", "b", "c"]), unique=True).map(tuple),
)
def test_the_index_finds_the_rules_that_fit_and_an_explanation_is_the_decision(
    drawn: Any, payload: Any, meta: dict[str, Any], headers: dict[str, Any], proposed: tuple[str, ...]
):
    rules, default = drawn
    made = policy(*rules, default=default, clock=lambda: 0.0)
    asked = request(payload, meta=meta, proposed=proposed, **headers)
    found = made.rules.candidates(asked, 0.0)
    for place, rule in enumerate(rules):
        fits = True
        for name, wanted in rule["match"].items():
            value = read(name, payload, meta, headers, proposed)
            values = value if isinstance(value, list) else [value]
            fits = fits and any(is_same(item, want) for item in values for want in wanted if not isinstance(item, dict))
        assert bool(found >> place & 1) is fits, rule
    explained = made.explain_request(asked)
    if explained.error is not None:
        with pytest.raises(ConditionError, match=re.escape(explained.error)):
            made.select(asked)
        return
    decision = made.select(asked)
    assert explained.decision == decision
    assert explained.rule == (None if decision is None else decision.rule)
    tried = {step.rule: step.result for step in explained.tried}
    if decision is not None and decision.rule != "default":
        assert tried[decision.rule] == "decides"
        assert explained.tried[-1].rule == decision.rule
    changing = tuple(name for name in tried if tried[name].startswith(("adds", "removes")))
    if decision is not None and decision.modified_by:
        assert changing == decision.modified_by


def test_an_explanation_names_the_field_that_does_not_fit():
    made = policy(
        {"name": "vip", "match": {"topic": ["t"], "tenant": ["acme", "zoo"]}, "route": "a"},
        {"name": "big", "when": "payload.size > 5", "route": "b"},
        {"name": "share", "canary": {"to": "b", "percent": 0}},
        {"name": "audit", "add": "c"},
        {"name": "rest", "route": "b"},
    )
    text = str(made.explain({"size": 3}, node="desk"))
    assert text.splitlines() == [
        f"goes to b, c: rest, changed by audit (policy {made.version})",
        "  vip: topic is null, not 't'",
        "  big: its condition is false",
        "  share: the key is not in its share",
        "  audit: adds c",
        "  rest: decides",
    ]
    assert "the message fails" in str(made.explain({}, node="desk"))
    assert "doesn't speak of router 'x'" in str(policy(routers=["desk"]).explain(1, node="x"))
