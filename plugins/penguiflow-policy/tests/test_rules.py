"""What rules do: the first that holds decides, others change what comes out."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

import pytest
from desk import flow_of, policy, request, rule, targets
from pydantic import BaseModel

from penguiflow import FlowEvent, Headers, Message
from penguiflow_policy import ConditionError, Decision, Policy


def test_the_first_rule_that_holds_decides():
    made = policy(rule("x", match={"tenant": "x"}, route="a"), rule("y", match={"topic": "t"}, route=["b", "c"]))
    assert targets(made.select(request(tenant="x", topic="t"))) == ["a"]
    assert targets(made.select(request(tenant="z", topic="t"))) == ["b", "c"]
    assert made.select(request(tenant="z")) is None


@pytest.mark.parametrize(
    ("rules", "settings", "expected"),
    [
        ([{"add": "c"}], {}, ["a", "b", "c"]),
        ([{"remove": ["a", "x"]}], {}, ["b"]),
        ([{"add": "c"}, {"route": "b"}], {}, ["b", "c"]),
        ([{"add": "c"}, {"remove": "c"}, {"route": "b"}], {}, ["b"]),
        ([{"remove": "c"}, {"add": "c"}, {"route": "b"}], {}, ["b", "c"]),
        ([{"remove": ["a", "b"]}], {}, []),
        ([{"add": "c"}, {"drop": True}], {}, []),
        ([{"add": "c"}, {"abstain": True}], {}, None),
        ([{"add": "c"}], {"default": "b"}, ["b", "c"]),
        ([{"add": "c"}], {"default": "drop"}, []),
        ([{"add": "c"}], {"default": "keep"}, ["a", "b", "c"]),
        ([], {"default": ["c", "b"]}, ["c", "b"]),
        ([], {"default": "drop"}, []),
        ([], {}, None),
    ],
)
def test_actions_do_what_they_say(rules: list[dict[str, Any]], settings: dict[str, Any], expected: list[str] | None):
    made = policy(*(rule(f"r{place}", **parts) for place, parts in enumerate(rules)), **settings)
    assert targets(made.select(request(proposed=("a", "b")))) == expected


def test_a_decision_says_which_rules_it_comes_from():
    made = policy(rule("audit", add="c"), rule("vip", route="a"))
    found = made.select(request())
    assert isinstance(found, Decision)
    assert (found.rule, found.modified_by, found.version) == ("vip", ("audit",), made.version)
    assert found.detail == {"rule": "vip", "policy_version": made.version, "modified_by": ["audit"]}


class Colour(Enum):
    RED = "red"


class Model(BaseModel):
    kind: str
    inner: dict[str, Any] = {}


@dataclass(slots=True)
class Slotted:
    kind: str


class Pair(NamedTuple):
    kind: str


@pytest.mark.parametrize(
    "payload",
    [{"kind": "red"}, Model(kind="red"), Slotted("red"), Pair("red"), {"kind": Colour.RED}, {"kind": ["blue", "red"]}],
)
def test_a_payload_of_any_kind_is_matched_by_its_fields(payload: Any):
    assert policy(rule(match={"payload.kind": "red"})).select(request(payload)) is not None


@pytest.mark.parametrize(
    "payload", [None, 7, "red", ["red"], {"kind": {"red": 1}}, {"kind": [["red"]]}, {"other": "red"}]
)
def test_a_payload_without_the_field_does_not_match(payload: Any):
    assert policy(rule(match={"payload.kind": "red"})).select(request(payload)) is None


def test_every_field_can_be_matched():
    wanted = {
        "tenant": "acme",
        "topic": "t",
        "priority": 3,
        "node": "desk",
        "flow": "flow",
        "trace_id": "trace",
        "proposed": "b",
        "hour": 5,
        "meta.lang.code": "de",
        "payload.x": None,
    }
    made = policy(rule(match=wanted), clock=lambda: 5 * 3600.0)
    fitting = {"meta": {"lang": {"code": "de"}}, "tenant": "acme", "topic": "t", "priority": 3}
    assert made.select(request({}, **fitting)) is not None
    for change in ({"tenant": "x"}, {"topic": None}, {"priority": 4}, {"meta": {}}):
        assert made.select(request({}, **{**fitting, **change})) is None
    for change in ({"node": "x"}, {"flow": "x"}, {"trace_id": "x"}, {"proposed": ("a",)}):
        assert made.select(request({}, **fitting, **change)) is None


def test_true_is_not_one():
    made = policy(rule("true", match={"payload.x": True}, route="a"), rule("one", match={"payload.x": 1}, route="b"))
    assert targets(made.select(request({"x": True}))) == ["a"]
    assert targets(made.select(request({"x": 1}))) == ["b"]
    assert targets(made.select(request({"x": 1.0}))) == ["b"]


def test_a_property_of_a_payload_is_never_called():
    class Trap:
        def __init__(self) -> None:
            self.kind = "red"

        @property
        def bomb(self) -> str:
            raise SystemExit("called")

    made = policy(rule("bomb", match={"payload.bomb": "x"}), rule("when", match={"payload.kind": "red"}, route="b"))
    assert targets(made.select(request(Trap()))) == ["b"]
    asks = policy(rule(when="has(payload.bomb) && payload.bomb == 'x'"))
    assert asks.select(request(Trap())) is None


def test_the_hour_is_that_of_the_timezone():
    noon_in_berlin = 1_784_541_600.0  # 2026-07-20 10:00 UTC
    for settings, hour in (({}, 10), ({"timezone": "Europe/Berlin"}, 12), ({"timezone": "America/St_Johns"}, 7)):
        made = policy(
            rule(match={"hour": hour}),
            rule("when", when=f"hour == {hour + 1}"),
            clock=lambda: noon_in_berlin,
            **settings,
        )
        found = made.select(request())
        assert found is not None
        assert found.rule == "rule"


def test_a_policy_speaks_of_its_flows_and_routers_only():
    made = policy(rule(route="a"), flows=["one", "two"], routers="desk")
    assert made.select(request(flow="one")) is not None
    assert made.select(request(flow="three")) is None
    assert made.select(request(flow="one", node="other")) is None


async def test_a_router_and_a_deployment_decide_with_the_same_policy_and_the_event_tells_the_rule():
    made = Policy.from_yaml("rules: [{name: vip, match: {tenant: acme}, route: b}, {name: junk, drop: true}]")
    for options in ({"policy": made}, {"plugins": [made]}):
        events: list[FlowEvent] = []
        async with flow_of(on_event=events.append, **options) as flow:
            vip = await flow.ask(Message(payload="x", headers=Headers(tenant="acme")))
            assert vip.payload == "x"
            assert await flow.start("x").results() == []
        told = [event for event in events if event.event_type.startswith("route_")]
        assert [event.event_type for event in told] == ["route_decided", "route_dropped"]
        assert [event.extra["rule"] for event in told] == ["vip", "junk"]
        assert {event.extra["policy_version"] for event in told} == {made.version}


def test_a_condition_without_an_answer_fails_the_message_unless_it_may_be_skipped(caplog: pytest.LogCaptureFixture):
    strict = policy(rule("r", when="payload.x > 1"))
    with pytest.raises(ConditionError, match="the condition of rule 'r' has no answer: a key or field that it names"):
        strict.select(request({}))
    for lenient in (
        policy(rule("r", when="payload.x > 1", on_error="skip")),
        policy(rule("r", when="payload.x > 1"), on_error="skip"),
    ):
        caplog.clear()
        assert [lenient.select(request({})) for _ in range(3)] == [None] * 3
        assert targets(lenient.select(request({"x": 2}))) == ["a"]
        assert len(caplog.records) == 1
        assert lenient.rules.skipped == {"r": 3}
