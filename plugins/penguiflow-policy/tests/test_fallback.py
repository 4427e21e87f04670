"""Fallbacks: a target that fails too often is left alone for a while."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from desk import policy, request, rule, same, targets

from penguiflow import FlowError, Node, create, router, subflow
from penguiflow_policy import Policy, PolicyError
from penguiflow_policy._health import Health

FALLBACK = {"to": "b", "error_rate": 0.5, "window_s": 10, "min_runs": 4}


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def counted(health: Health, failed: int, runs: int) -> None:
    for place in range(runs):
        health.count("flow", "a", failed=place < failed)


def test_a_rate_is_that_of_the_last_seconds():
    clock = Clock()
    health = Health(clock)
    health.watch([10])
    counted(health, 3, 4)
    assert health.rate("flow", "a", 10, 4) == 0.75
    assert health.rate("flow", "a", 10, 5) == 0.0
    assert health.rate("flow", "other", 10, 1) == 0.0
    clock.now += 10
    counted(health, 0, 4)
    assert health.rate("flow", "a", 10, 4) == pytest.approx(3 / 8)
    clock.now += 5
    assert health.rate("flow", "a", 10, 4) == pytest.approx(1.5 / 6)
    clock.now += 100
    assert health.rate("flow", "a", 10, 1) == 0.0


def test_only_windows_that_a_rule_asks_for_are_kept():
    health = Health(Clock())
    health.watch([10, 20])
    counted(health, 4, 4)
    health.watch([20])
    assert (health.rate("flow", "a", 10, 1), health.rate("flow", "a", 20, 1)) == (0.0, 1.0)


async def test_a_failing_target_is_replaced_until_its_failures_are_past():
    broken = True

    async def a(message: Any) -> Any:
        if broken:
            raise ConnectionError("down")
        return "a"

    async def b(message: Any) -> Any:
        return "b"

    made = policy(rule("r", route="a", fallback=FALLBACK))
    desk = router("desk", policy=made)
    flow = create(desk.to(Node(a), Node(b)), plugins=[made.companion])
    async with flow:
        for _ in range(4):
            with pytest.raises(FlowError):
                await flow.ask(1)
        assert [await flow.ask(1) for _ in range(10)] == ["b"] * 10
    explained = made.explain(1, node="desk")
    assert explained.decision == ("b",)


def test_what_stands_in_is_named_once_and_only_failing_targets_are_replaced():
    made = policy(rule("r", route=["a", "c", "b"], fallback=FALLBACK))
    asked = request()
    assert targets(made.select(asked)) == ["a", "c", "b"]
    for _ in range(4):
        made.on_event(event("a", "node_failed"))
        made.on_event(event("c", "node_success"))
    assert targets(made.select(asked)) == ["b", "c"]


def event(node: str, kind: str) -> Any:
    return type("Event", (), {"flow_name": "flow", "node_name": node, "event_type": kind})()


def test_a_run_that_its_deadline_ends_is_a_failure():
    made = policy(rule("r", route="a", fallback=FALLBACK))
    for _ in range(4):
        made.on_event(event("a", "node_expired"))
    assert targets(made.select(request())) == ["b"]


def test_a_cancelled_run_is_no_failure():
    made = policy(rule("r", route="a", fallback=FALLBACK))
    for _ in range(10):
        made.on_event(event("a", "node_cancelled"))
    assert targets(made.select(request())) == ["a"]


def test_events_cost_only_those_who_have_a_fallback():
    assert policy(rule("r")).event_types == ()
    assert "node_failed" in policy(rule("r", route="a", fallback=FALLBACK)).event_types
    assert "node_failed" in Policy.from_dict({"rules": [rule("r")]}, observe=True).event_types


def test_a_fallback_that_comes_later_needs_errors_to_be_counted_already():
    made, other = policy(rule("r")), policy(rule("r", route="a", fallback=FALLBACK))
    with pytest.raises(PolicyError, match="this policy began without: start it with observe = true"):
        made.replace(other)
    observing = Policy.from_dict({"rules": [rule("r")]}, observe=True)
    assert observing.replace(other) is True


async def test_a_policy_that_nobody_counts_errors_for_says_so_once(caplog: pytest.LogCaptureFixture):
    made = policy(rule("r", route="a", fallback=FALLBACK))
    async with create(router("desk", policy=made).to(Node(same, "a"), Node(same, "b"))) as flow:
        caplog.set_level(logging.WARNING)
        assert [await flow.ask(1) for _ in range(3)] == [1] * 3
    (record,) = caplog.records
    assert "plugins=[policy.companion]" in record.getMessage()


async def test_what_fails_in_one_flow_is_sound_in_another_that_has_the_same_policy():
    async def broken(message: Any) -> Any:
        raise ConnectionError("down")

    made = policy(rule("r", route="a", fallback=FALLBACK))
    one, two = (
        create(router("desk", policy=made).to(Node(a, "a"), Node(same, "b")), name=name, plugins=[made.companion])
        for name, a in (("one", broken), ("two", same))
    )
    async with one, two:
        for _ in range(4):
            with pytest.raises(FlowError):
                await one.ask(1)
        assert await one.ask(1) == await two.ask(1) == 1
        assert [targets(made.select(request(flow=flow))) for flow in ("one", "two")] == [["b"], ["a"]]


async def test_a_target_within_a_subflow_is_counted_for_its_router():
    async def broken(message: Any) -> Any:
        raise ConnectionError("down")

    made = policy(rule("r", route="a", fallback=FALLBACK), flows="inner")
    inner = create(router("desk").to(Node(broken, "a"), Node(same, "b")), name="inner")
    async with create(subflow("sub", inner).to(), name="outer", plugins=[made]) as flow:
        for _ in range(4):
            with pytest.raises(FlowError):
                await flow.ask(1)
        assert await flow.ask(1) == 1


async def test_rates_are_right_when_many_messages_are_under_way_at_once():
    """Four of ten runs fail, whatever the order in which they end: that is not half, and is two fifths."""
    everybody = asyncio.Barrier(500)

    async def sometimes(message: Any) -> Any:
        await everybody.wait()
        if message % 10 < 4:
            raise ConnectionError("down")
        return message

    for rate, chosen in ((0.41, ["a"]), (0.4, ["b"])):
        made = policy(rule("r", route="a", fallback={**FALLBACK, "error_rate": rate, "window_s": 1000}))
        desk = router("desk", policy=made).to(Node(sometimes, "a"), Node(same, "b"))
        async with create(desk, plugins=[made.companion]) as flow:
            answers = await asyncio.gather(*(flow.ask(place) for place in range(500)), return_exceptions=True)
            assert sum(isinstance(answer, FlowError) for answer in answers) == 200
        assert targets(made.select(request())) == chosen
