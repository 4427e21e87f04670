"""Shadow policies: what a candidate would have done, without it doing anything."""

from __future__ import annotations

import logging
import pickle
from pathlib import Path

import pytest
from desk import flow_of, policy, request, rule, targets

from penguiflow import FlowEvent, Headers, Message
from penguiflow_policy import ConditionError, Decision, Options, plugin


def test_differences_are_counted_and_listed_and_the_live_policy_decides():
    live = policy(rule("x", match={"tenant": "x"}, route="a"), rule("rest", route=["b", "c"]))
    shadow = live.shadow(policy(rule("y", match={"tenant": "y"}, route="a"), rule("all", route=["c", "b"])))
    assert shadow is not None
    for tenant in ("x", "y", "z", "z"):
        assert live.select(request(tenant=tenant)) is not None
    assert (shadow.agreed, shadow.differed, shadow.failed) == (2, 2, 0)
    assert shadow.by_rules == {("x", "all"): 1, ("rest", "y"): 1}
    assert [str(found) for found in shadow.differences] == ["desk: a (x) -> c, b (all)", "desk: b, c (rest) -> a (y)"]
    assert str(shadow).splitlines()[0] == "2 the same, 2 different, 0 of them failed"


def test_no_opinion_is_the_same_as_the_proposal():
    live = policy()
    shadow = live.shadow(policy(rule("all", route=["b", "a"])))
    assert shadow is not None
    live.select(request(proposed=("a", "b")))
    live.select(request(proposed=("a", "b", "c")))
    assert (shadow.agreed, shadow.differed) == (1, 1)
    assert str(shadow.differences[0]) == "desk: no opinion -> b, a (all)"


def test_a_candidate_that_fails_harms_nothing_and_is_told():
    live = policy(rule("r"))
    shadow = live.shadow(policy(rule("bad", when="payload.x == 1")))
    assert shadow is not None
    assert targets(live.select(request({}))) == ["a"]
    assert (shadow.differed, shadow.failed) == (1, 1)
    assert "the condition of rule 'bad' has no answer" in str(shadow.differences[0])


def test_a_candidate_that_trips_over_a_payload_harms_nothing():
    class Odd(dict[str, object]):
        def get(self, key: str, default: object = None) -> object:
            raise RuntimeError("no")

    live = policy(rule("r"))
    shadow = live.shadow(policy(rule("s", match={"payload.x": 1})))
    assert shadow is not None
    assert targets(live.select(request(Odd()))) == ["a"]
    assert shadow.differences[0].candidate_rule == "RuntimeError"


def test_only_the_last_differences_are_kept():
    live = policy(rule("r"))
    shadow = live.shadow(policy(rule("s", route="b")))
    assert shadow is not None
    for place in range(250):
        live.select(request(trace_id=f"t{place}"))
    assert shadow.differed == 250
    assert [found.trace_id for found in shadow.differences] == [f"t{place}" for place in range(150, 250)]


def test_a_new_candidate_is_counted_anew_and_none_ends_it():
    live, candidate = policy(rule("r")), policy(rule("s", route="b"))
    shadow = live.shadow(candidate)
    assert shadow is not None
    live.select(request())
    assert (shadow.differed, shadow.version) == (1, candidate.version)
    candidate.replace(policy(rule("t", route="a")))
    live.select(request())
    assert (shadow.agreed, shadow.differed, shadow.version) == (1, 0, candidate.version)
    assert live.shadow(None) is None
    live.select(request())
    assert shadow.agreed == 1


async def test_a_deployment_names_a_candidate_by_its_file(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    live, candidate = tmp_path / "live.yaml", tmp_path / "candidate.yaml"
    live.write_text("rules: [{name: r, route: a}]", encoding="utf-8")
    candidate.write_text("rules: [{name: s, route: zzz}]", encoding="utf-8")
    made = plugin(Options(file=str(live), shadow=str(candidate)))
    async with flow_of(plugins=[made]) as flow:
        assert await flow.ask(1) == 1
    assert "the candidate doesn't suit flow 'flow'" in caplog.text


def test_a_message_that_the_live_policy_fails_is_compared_as_well():
    live = policy(rule("bad", when="payload.x == 1"))
    shadow = live.shadow(policy(rule("good", route="b")))
    assert shadow is not None
    with pytest.raises(ConditionError):
        live.select(request({}))
    assert (shadow.agreed, shadow.differed, shadow.failed) == (0, 1, 0)
    assert str(shadow.differences[0]).endswith("isn't there: ask has(...) first) -> b (good)")


def test_two_policies_that_both_have_no_answer_are_no_difference():
    live = policy(rule("bad", when="payload.x == 1"))
    shadow = live.shadow(policy(rule("bad too", when="payload.y == 1")))
    assert shadow is not None
    with pytest.raises(ConditionError):
        live.select(request({}))
    assert (shadow.agreed, shadow.differed, shadow.failed) == (1, 0, 0)


async def test_a_deployment_sees_differences_in_events_and_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    (tmp_path / "live.yaml").write_text("rules: [{name: r, match: {tenant: acme}, route: a}]", encoding="utf-8")
    (tmp_path / "new.yaml").write_text("rules: [{name: s, route: b}]", encoding="utf-8")
    (tmp_path / "deployment.toml").write_text(
        "[plugins]\npolicies = ['policy']\n[plugins.options.policy]\n"
        f"file = '{tmp_path / 'live.yaml'}'\nshadow = '{tmp_path / 'new.yaml'}'\n",
        encoding="utf-8",
    )
    monkeypatch.setenv("PENGUIFLOW_CONFIG", str(tmp_path / "deployment.toml"))
    caplog.set_level(logging.INFO, "penguiflow_policy")
    events: list[FlowEvent] = []
    async with flow_of(on_event=events.append) as flow:
        for tenant in ("acme", "acme", "zoo"):
            await flow.start(Message(payload=1, headers=Headers(tenant=tenant))).results()
    told = [event.extra.get("shadow") for event in events if event.event_type == "route_decided"]
    assert told == ["b (s)", "b (s)", None]  # where the live policy has no opinion, its answer carries nothing
    first, second, last = (record.getMessage() for record in caplog.records)
    assert first.endswith("differs: desk: a (r) -> b (s)")
    assert second.endswith("differs: desk: no opinion -> b (s)")
    assert last.endswith("0 the same, 3 different, 0 of them failed\n  2 x r -> s\n  1 x no opinion -> s")


def test_a_policy_is_no_candidate_of_itself():
    one, two = policy(rule("r")), policy(rule("s"))
    one.shadow(two)
    for live, candidate in ((one, one), (two, one)):
        with pytest.raises(ValueError, match="another policy, which has no candidate itself"):
            live.shadow(candidate)


def test_a_decision_with_its_shadow_can_be_pickled():
    found = Decision(("a",), "r", "v", ("m",), "b (s)")
    copied = pickle.loads(pickle.dumps(found))
    assert copied == found
    assert copied.detail == {"rule": "r", "policy_version": "v", "modified_by": ["m"], "shadow": "b (s)"}
