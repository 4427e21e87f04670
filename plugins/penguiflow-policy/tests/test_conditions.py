"""Conditions: what they see, what they may be, what becomes of one that has no answer."""

from __future__ import annotations

import datetime
import decimal
import json
import uuid
from dataclasses import dataclass
from typing import Any

import pytest
from desk import policy, request, rule, targets
from pydantic import BaseModel

from penguiflow_policy import ConditionError, PolicyError


def holds(condition: str, payload: Any = None, **parts: Any) -> bool:
    return policy(rule(when=condition), clock=lambda: 13 * 3600.0).select(request(payload, **parts)) is not None


class Customer(BaseModel):
    name: str
    since: datetime.date
    balance: decimal.Decimal = decimal.Decimal("7.50")


@dataclass
class Order:
    number: uuid.UUID
    customer: Customer
    lines: tuple[int, ...]


ORDER = Order(uuid.UUID(int=7), Customer(name="Pingu", since=datetime.date(2020, 1, 1)), (1, 2, 3))


@pytest.mark.parametrize(
    "condition",
    [
        "tenant == 'acme' && topic == 't' && priority == 3",
        "node == 'desk' && flow == 'flow' && trace_id == 'trace' && hour == 13",
        "'b' in proposed && size(proposed) == 3",
        "meta.lang == 'de' && !has(meta.other)",
        "payload.customer.name.startsWith('Pin')",
        "payload.customer.since < '2021' && payload.customer.balance == '7.50'",
        "payload.number.endsWith('07')",
        "payload.lines.exists(n, n > 2) && payload.lines.all(n, n < 4)",
        "size(payload.lines) == 3 && payload.lines.exists_one(n, n == 2)",
        "payload['lines'][0] == 1",
        "payload.customer.name.matches('^P.*u$')",
        "proposed.exists(p, p == 'c' && tenant == 'acme')",
        "timestamp('2026-01-01T00:00:00Z') < timestamp('2027-01-01T00:00:00Z')",
        "meta.lang == 'de' ? true : payload.nothing",
    ],
)
def test_a_condition_sees_the_message_as_json_shows_it(condition: str):
    assert holds(condition, ORDER, meta={"lang": "de"}, tenant="acme", topic="t", priority=3)
    assert not holds(f"!({condition})", ORDER, meta={"lang": "de"}, tenant="acme", topic="t", priority=3)


def test_a_message_without_a_topic_has_an_empty_one():
    assert holds("topic == ''")


@pytest.mark.parametrize("payload", [7, "text", [1, 2], None, {"a": 1}, {}])
def test_any_payload_can_be_compared(payload: Any):
    text = (
        {7: "7", "text": "'text'", None: "null"}.get(payload) if not isinstance(payload, list | dict) else str(payload)
    )
    assert holds(f"payload == {text}", payload)


@pytest.mark.parametrize(
    ("condition", "said", "column"),
    [
        ("tenant == 5", "`==` can't be used with (string, int)", 8),
        ("priority + 'x' == 1", "`+` can't be used with (int, string)", 10),
        ("tenat == 'x'", "there is no 'tenat' here: did you mean 'tenant'?", 1),
        ("size(hour) == 1", "`size` can't be used with (int)", 5),
        ("tenant", "a condition is true or false, and this is text", 1),
        ("payload.lines.map(x, x) == []", "`map` makes a new list, and a condition only asks", 15),
        ("size(payload.lines.filter(x, x > 1)) == 1", "`filter` makes a new list, and a condition only asks", 20),
        ("tenant ==", "mismatched input '<EOF>'", 10),
        ("tenant = 'x'", "token recognition error at: '= '", 8),
        ("tenant == 'x", "has no meaning in a condition", 11),
        ("nofunc(1)", "there is no 'nofunc' here", 7),
        ("google.protobuf.Any{} == 1", "messages of protocol buffers can't be made", 1),
        ("true && ⌘", "'⌘' has no meaning in a condition", 9),
        ("payload.a.exists(x, payload.b.exists(y, x == y))", "`payload` stands inside `exists`", 21),
        ("payload.a.exists(x, x.exists(y, y))", "`exists` stands inside `exists`", 23),
        ("payload.a.all(x, x in meta.b)", "`meta` stands inside `all`", 23),
        ("(" * 40 + "true" + ")" * 40, "it is nested too deeply", 1),
        (" || ".join(["tenant == 'xxxxxxxx'"] * 60), "a condition has at most 1000 characters", 1),
        ("1 + " * 17 + "1 == 1", "a condition has at most 16 `+`", 67),
    ],
)
def test_a_condition_that_makes_no_sense_or_costs_too_much_is_refused(condition: str, said: str, column: int):
    with pytest.raises(PolicyError) as caught:
        policy(rule(when=condition))
    (problem,) = caught.value.problems
    assert said in problem.text
    assert f"(column {column} of the condition)" in problem.text


@pytest.mark.parametrize(
    ("condition", "payload", "said"),
    [
        ("payload.x == 1", {}, "a key or field that it names isn't there: ask has(...) first"),
        ("payload.x == 1", 7, "what it looks at is of another kind than it expects"),
        ("payload.x", {"x": "secret-text"}, "what it looks at is of another kind than it expects"),
        ("payload.x", {"x": 5}, "it is a int, and neither true nor false"),
        ("payload.x + 1 == 1", {"x": 2**63 - 1}, "a number gets too large"),
        ("payload.x.all(i, i >= 0)", {"x": list(range(20_000))}, "it goes over too many items"),
        ("payload.x.matches('(')", {"x": "a"}, "what it looks at is of another kind than it expects"),
        ("1 / payload.x == 1", {"x": 0}, "what it looks at is of another kind than it expects"),
    ],
)
def test_a_condition_without_an_answer_says_why_and_shows_nothing_of_the_message(
    condition: str, payload: Any, said: str
):
    with pytest.raises(ConditionError) as caught:
        policy(rule("r", when=condition)).select(request(payload))
    assert said in str(caught.value)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_circular_payload_is_no_harm():
    loop: dict[str, Any] = {}
    loop["x"] = loop
    with pytest.raises(ConditionError, match="can't be shown as JSON"):
        policy(rule(when="payload.x == 1")).select(request(loop))


def test_only_the_fields_that_conditions_name_are_shown_to_them():
    class Costly:
        pass

    touched: list[str] = []

    class Watched(dict[str, Any]):
        def get(self, key: str, default: Any = None) -> Any:
            touched.append(key)
            return super().get(key, default)

    assert holds("payload.a == 1 && payload.b.c == 2", Watched(a=1, b={"c": 2}, huge=Costly()))
    assert touched == ["a", "b"]


def test_conditions_of_rules_that_do_not_match_are_not_asked():
    made = policy(rule("never", match={"tenant": "x"}, when="payload.nothing == 1"), rule("all", route="b"))
    found = made.select(request({}))
    assert found is not None
    assert found.rule == "all"


@pytest.mark.parametrize(
    ("payload", "condition", "holds"),
    [
        ({"x": 10**40, "y": 1}, "payload.y == 1", True),
        ({"x": 10**40, "y": 1}, "payload.x > 1 && payload.y == 1", True),
        ({"x": -(10**400), "y": 1}, "payload.x < -1.0e300", True),
        ({"x": [{"z": 2**64}], "y": 1}, "payload.y == 1 && payload.x[0].z > 1", True),
        ({"x": 2**64 - 1, "y": 1}, "payload.x == 18446744073709551615u", True),
        ({"x": "\ud800", "y": 1}, "payload.y == 1 && payload.x != ''", True),
        ({"x": {"z": "\ud800"}, "y": 1}, "payload.y == 1 && size(payload.x) == 1", True),
        ({"x": "🐧 é", "y": 10**40}, "payload.x == '🐧 é' && payload.y > 1", True),
        ({"x": "INVALID_ARGUMENT: Integer value"}, "payload.x", None),
    ],
)
def test_what_the_evaluator_can_not_hold_leaves_no_condition_without_an_answer(
    payload: Any, condition: str, holds: bool | None
):
    made = policy(rule(when=condition), rule("other", when="has(payload.x) && payload.x != 0"))
    if holds is None:
        with pytest.raises(ConditionError, match="of another kind"):
            made.select(request(payload))
    else:
        assert (made.select(request(payload)).rule == "rule") is holds  # type: ignore[union-attr]


def test_a_tenant_of_half_characters_is_one_like_any_other():
    made = policy(rule(when="tenant == 'x'"), rule("rest", route="b"))
    assert targets(made.select(request(tenant="\ud800"))) == ["b"]


@pytest.mark.parametrize("value", [0, 0.0, "", False, None, [], {}])
def test_a_field_that_is_empty_is_there(value: Any):
    made = policy(rule(when=f"has(payload.x) && payload.x == {json.dumps(value)}"))
    assert made.select(request({"x": value})) is not None
    assert made.select(request({})) is None
