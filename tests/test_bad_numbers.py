"""Bad numbers: policies, limits, budgets and seconds out of range are refused by name, and so is what is no number."""

from __future__ import annotations

import math
import time
from typing import Any

import pytest
from pydantic import ValidationError

from penguiflow import (
    Budget,
    Context,
    FlowError,
    FlowErrorCode,
    Message,
    Node,
    NodePolicy,
    PenguiFlow,
    create,
    join_k,
    map_concurrent,
    node,
    stream_flow,
)
from tests.utils.flowtestkit import Recorder, virtual_time

NAN = math.nan


@node
async def same(x: Any) -> Any:
    return x


async def failing(flow: PenguiFlow, message: Any = 1, **options: Any) -> FlowError:
    with pytest.raises(FlowError) as caught:
        await flow.ask(message, **options)
    return caught.value


def test_an_unknown_policy_field_is_a_type_error_that_lists_the_fields():
    with pytest.raises(TypeError, match=r"no field 'timeout': it has validate, timeout_s, max_retries"):
        node(timeout=5)(same.func)
    with pytest.raises((TypeError, ValidationError), match="timeout"):
        NodePolicy(timeout=5)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"either policy= or its fields, not both: timeout_s"):
        node(policy=NodePolicy(), timeout_s=5)(same.func)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("validate", "sometimes"),
        ("timeout_s", 0),
        ("timeout_s", -1),
        ("timeout_s", NAN),
        ("timeout_s", math.inf),
        ("max_retries", -1),
        ("max_retries", 1.5),
        ("backoff_base", -0.1),
        ("backoff_base", NAN),
        ("backoff_mult", 0.5),
        ("max_backoff", -1),
        ("max_backoff", NAN),
        ("retry_on", ValueError()),
        ("retry_on", "ValueError"),
        ("jitter", 1.5),
        ("jitter", NAN),
        ("max_concurrency", 0),
        ("per_trace_concurrency", 0),
    ],
)
def test_a_policy_value_out_of_range_is_refused_by_name(field: str, value: Any):
    with pytest.raises(ValidationError, match=field):
        NodePolicy(**{field: value})
    with pytest.raises(ValueError, match=field):
        node(**{field: value})


def test_a_policy_that_is_none_of_ours_is_refused():
    for wrong in ({"timeout_s": 5}, 5, "fast"):
        with pytest.raises(TypeError, match="NodePolicy"):
            Node(same.func, policy=wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [0, -1, 1.5, True, NAN, "64", None])
@pytest.mark.parametrize("option", ["queue_maxsize", "max_traces"])
def test_a_limit_of_the_flow_is_a_whole_number_from_1_on(option: str, value: Any):
    with pytest.raises(ValueError, match=f"{option} is a whole number from 1 on, not"):
        create(same, **{option: value})


@pytest.mark.parametrize("field", ["hops", "tokens", "cost"])
@pytest.mark.parametrize("value", [-1, NAN])
def test_a_budget_is_no_less_than_nothing(field: str, value: Any):
    with pytest.raises(ValidationError, match=field):
        Budget(**{field: value})


def test_an_unknown_budget_is_refused():
    with pytest.raises(ValidationError, match="seconds"):
        Budget(seconds=5)  # type: ignore[call-arg]


@pytest.mark.parametrize("k", [0, -1, 1.5, True, "2"])
def test_a_joins_k_is_a_whole_number_from_1_on(k: Any):
    with pytest.raises(ValueError, match="join 'j': k is a whole number from 1 on, not"):
        join_k("j", k)


@pytest.mark.parametrize("seconds", [0, -1, NAN])
@virtual_time
async def test_seconds_below_nothing_are_refused_everywhere(seconds: float):
    with pytest.raises(ValueError, match="timeout_s is a positive number of seconds, not"):
        join_k("j", 2, timeout_s=seconds)

    async def calls(x: int, ctx: Context):
        with pytest.raises(ValueError, match="timeout is a positive number of seconds, not"):
            await ctx.call_playbook(create(same), x, timeout=seconds)

    async with create(Node(calls)) as flow:
        await flow.ask(1)
        if seconds == 0:
            assert (await failing(flow, timeout_s=0)).code == FlowErrorCode.DEADLINE_EXCEEDED
            return
        refused = pytest.raises(ValueError, match="timeout_s is a number of seconds from 0 on, not")
        with refused:
            await flow.ask(1, timeout_s=seconds)
        with refused:
            flow.start(1, timeout_s=seconds)
        with refused:
            async with flow.stream(1, timeout_s=seconds):
                pass
        with refused:
            await anext(stream_flow(flow, 1, timeout=seconds))
        with pytest.raises(ValueError, match="drain_s is a number of seconds from 0 on, not"):
            await flow.stop(drain_s=seconds)
        assert flow.running


@virtual_time
async def test_a_deadline_in_the_past_expires_before_any_node_runs():
    recorder = Recorder()
    async with create(same, on_event=recorder) as flow:
        error = await failing(flow, Message(payload=1, deadline_s=time.time() - 1))
        assert error.code == FlowErrorCode.DEADLINE_EXCEEDED
        assert "the deadline passed" in str(error)
        assert recorder.runs() == []
    recorder.assert_lawful()


@pytest.mark.parametrize("deadline", [NAN, math.inf, -math.inf])
def test_a_deadline_is_a_number(deadline: float):
    with pytest.raises(ValidationError, match="deadline_s"):
        Message(payload=1, deadline_s=deadline)


@pytest.mark.parametrize("spent", [{"tokens": -1}, {"cost": -0.5}, {"cost": NAN}, {"tokens": NAN}], ids=str)
@virtual_time
async def test_what_is_spent_is_a_number_from_0_on(spent: dict[str, Any]):
    async def spends(x: int, ctx: Context):
        ctx.spend(**spent)

    async with create(Node(spends)) as flow:
        error = await failing(flow, Message(payload=1, budget=Budget(tokens=5, cost=5)))
    assert isinstance(error.original_exc, ValueError)
    assert "spend() reports what was used" in str(error)


@pytest.mark.parametrize("limit", [0, -1])
@virtual_time
async def test_map_concurrent_needs_a_worker(limit: int):
    async def worker(x: int) -> int:
        return x

    with pytest.raises(ValueError, match="max_concurrency is a whole number from 1 on, not"):
        await map_concurrent([1], worker, max_concurrency=limit)
