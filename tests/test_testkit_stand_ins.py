"""`simulate_error` and `FakeNode`: another body in a node's place, for as long as a test needs it."""

from __future__ import annotations

import inspect
import math
import traceback
import unittest
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any
from unittest.mock import Mock

import pytest
from pydantic import BaseModel

from penguiflow import (
    Context,
    FlowError,
    FlowErrorCode,
    Message,
    Node,
    create,
    join_k,
    node,
    predicate_router,
    router,
    subflow,
)
from penguiflow.testkit import (
    FakeNode,
    FlowKit,
    SimulatedError,
    assert_node_sequence,
    assert_outcome,
    assert_retries,
    record,
    run_many,
    run_one,
    run_outputs,
    run_stream,
    simulate_error,
    virtual_time,
)


class Doc(BaseModel):
    text: str


@node(max_retries=2, backoff_base=0)
async def tries(x: int) -> int:
    return x + 1


@node(max_retries=2, backoff_base=0, timeout_s=3)
async def patient(x: int, ctx: Context) -> int:
    return x + ctx.attempt


@node
async def search(x: str) -> Doc:
    return Doc(text=x)


@node
async def counts(x: int) -> AsyncIterator[int]:
    for number in range(x):
        yield number


@node
async def plain(x: Any) -> Any:
    return x


# --- simulated errors -----------------------------------------------------------------------------


def test_the_first_calls_fail_and_the_rest_reach_the_node():
    flow = create(tries)
    with simulate_error(tries, fail_times=2) as simulated:
        assert run_one(flow, 1) == 2
    assert (simulated.calls, simulated.failures) == (3, 2)
    assert_retries(flow, "tries", 2)
    assert run_one(flow, 1) == 2
    assert_retries(flow, "tries", 0)


def test_what_fails_too_often_fails_for_good_with_the_errors_own_type():
    with simulate_error(tries, math.inf), pytest.raises(FlowError) as caught:
        run_one(create(tries), 1)
    assert isinstance(caught.value.unwrap(), SimulatedError)


@pytest.mark.parametrize("exc", [KeyError("k"), KeyError, lambda: KeyError("made")])
def test_what_is_raised_is_up_to_the_test(exc: Any):
    with simulate_error(plain, exc=exc), pytest.raises(FlowError) as caught:
        run_one(create(plain), 1)
    assert type(caught.value.unwrap()) is KeyError


async def test_a_flow_that_runs_already_has_the_stand_in_too():
    async with create(tries.to(plain)) as flow:
        with simulate_error(tries) as simulated:
            assert await flow.ask(1) == 2
        assert await flow.ask(1) == 2
    assert (simulated.calls, simulated.failures) == (2, 1)


def test_single_attempts_fail_in_every_run():
    flow = create(patient)
    with simulate_error(patient, on_attempt=[0, 1]) as simulated:
        assert run_many(flow, [1, 2]) == [3, 4]
    assert (simulated.calls, simulated.failures) == (6, 4)
    with simulate_error(tries, on_attempt=1) as simulated:
        assert run_one(create(tries), 1) == 2
    assert simulated.failures == 0
    with simulate_error(tries, 1, on_attempt=0):
        assert run_many(create(tries), [1, 2]) == [2, 3]


async def test_attempts_of_a_node_without_a_context_are_known_only_if_it_began_before_the_flow():
    async with create(tries) as flow:
        with simulate_error(tries, on_attempt=0), pytest.raises(FlowError, match="has to begin before the flow starts"):
            await flow.ask(1)


def test_a_failing_call_may_hang_until_the_nodes_own_limit():
    flow = create(patient)
    with virtual_time() as clock, simulate_error(patient, timeout=True, latency_s=1):
        assert run_one(flow, 1) == 2
    assert clock.elapsed == 4
    assert_retries(flow, "patient", 1)


def test_latency_holds_up_every_call():
    with virtual_time() as clock, simulate_error(plain, 0, latency_s=10) as simulated:
        assert run_one(create(plain), 1) == 1
    assert (clock.elapsed, simulated.failures) == (10, 0)


def test_generators_joins_routers_and_subflows_fail_too():
    with simulate_error(counts), pytest.raises(FlowError, match="node 'counts' raised SimulatedError"):
        run_outputs(create(counts), 3)
    with simulate_error(counts, 0):
        assert run_outputs(create(counts), 3) == [0, 1, 2]

    both = join_k("both", 1)
    with simulate_error(both), pytest.raises(FlowError, match="node 'both' raised SimulatedError"):
        run_one(create(plain.to(both)), 3)

    route = predicate_router("route", lambda message: ["a"], policy=lambda request: ["b"])
    a, b = Node(plain.func, "a"), Node(plain.func, "b")
    flow = create(route.to(a, b))
    with simulate_error(route, fail_times=1) as simulated, pytest.raises(FlowError, match="'route' could not decide"):
        run_one(flow, 3)
    assert simulated.calls == 1
    with simulate_error(route, 0):
        assert run_one(flow, 3) == 3
    assert_node_sequence(flow, ["route", "b"])

    sub = subflow("sub", create(tries, name="inner"))
    outer = create(sub, name="outer")
    with simulate_error(sub), pytest.raises(FlowError, match="node 'sub' raised SimulatedError"):
        run_one(outer, 1)
    with simulate_error(sub, 0):
        assert run_one(outer, 1) == 2
    with simulate_error("sub/inner/tries", flow=outer):
        assert run_one(outer, 1) == 2


def test_a_generator_behind_a_stand_in_is_closed_before_its_run_is_over():
    order: list[str] = []

    async def endless(x: int) -> AsyncIterator[int]:
        try:
            while True:
                yield x
        finally:
            order.append("closed")

    async def fails(x: int) -> None:
        raise ValueError(x)

    source = Node(endless)
    flow = create(source.to(Node(fails)), on_event=lambda event: order.append(event.event_type))
    for work in (lambda: run_one(flow, 1), lambda: record(flow, 1)):
        order.clear()
        with simulate_error(source, 0), suppress(FlowError):
            work()
        assert order.index("closed") < order.index("node_cancelled") < order.index("trace_finish")


def test_a_simulation_that_reaches_no_node_fails_the_test():
    with pytest.raises(AssertionError, match="node 'tries' was never called while its error was simulated"):
        with simulate_error(tries):
            run_one(create(plain), 1)
    with pytest.raises(ZeroDivisionError), simulate_error(tries):
        run_one(create(plain), 1 / 0)


def test_a_stand_in_goes_whatever_happened():
    before = (tries.func, tries.shape, tries.role)
    with pytest.raises(ZeroDivisionError), simulate_error(tries), FakeNode(create(tries), "tries", returns=1):
        assert tries.func is not before[0]
        raise ZeroDivisionError
    assert (tries.func, tries.shape, tries.role) == before


def test_stand_ins_go_in_any_order():
    flow, before = create(tries), (tries.func, tries.shape, tries.role)
    first, second = FakeNode(flow, "tries", returns=7), simulate_error(tries, fail_times=0)
    first.__enter__()
    second.__enter__()
    assert run_one(flow, 1) == 7
    first.__exit__(None, None, None)
    assert run_one(flow, 1) == 2
    assert (second.calls, len(first.calls)) == (2, 1)
    second.__exit__(None, None, None)
    assert (tries.func, tries.shape, tries.role) == before


def test_a_stand_in_stands_in_one_place_at_a_time():
    simulated = simulate_error(tries, fail_times=0)
    with simulated:
        with pytest.raises(RuntimeError, match="this stand-in for 'tries' is in its place already"), simulated:
            pass
        assert run_one(create(tries), 1) == 2
    with simulated:
        assert run_one(create(tries), 1) == 2


async def test_what_a_kit_has_put_in_place_a_block_takes_over_once():
    flow, before = create(router("way").to(tries, plain)), (tries.func, tries.shape, tries.role)
    with FlowKit() as kit:
        simulated, fake = kit.simulate_error(tries, fail_times=0), kit.fake(flow, "way", to="tries")
        async with flow:
            with fake as taken, simulated, kit.watch(flow) as seen:
                assert taken is fake  # although a router's place is taken only before its flow starts
                with pytest.raises(RuntimeError, match="this stand-in for 'tries' is in its place already"), simulated:
                    pass
                assert await flow.ask(1) == 2
        assert (tries.func, tries.shape, tries.role) == before
        with simulated:
            assert tries.func is not before[0]
        with pytest.raises(RuntimeError, match="nothing of this Recorder is left to end: `with` is for what"), seen:
            pass
    assert (simulated.calls, len(fake.calls), len(seen.trace_ids)) == (1, 1, 1)


def test_a_block_that_outlives_its_kit_ends_what_it_has_taken_over():
    kit = FlowKit()
    with kit.simulate_error(tries) as simulated:
        kit.close()
        assert run_one(create(tries), 1) == 2
    assert (simulated.calls, simulated.failures) == (2, 1)
    assert run_one(create(tries), 1) == 2
    assert simulated.calls == 2


@simulate_error(tries)
def test_above_a_test_it_holds_for_the_test():
    flow = create(tries)
    run_one(flow, 1)
    assert_retries(flow, "tries", 1)


@pytest.mark.parametrize("number", [1, 2])
@simulate_error(tries)
async def test_above_an_async_test_it_starts_afresh_each_time(number: int):
    async with create(tries) as flow:
        assert await flow.ask(number) == number + 1


def test_a_test_below_it_stays_what_it_was():
    @simulate_error(tries)
    async def test(a: int, b: str = "x") -> None:
        """Says so."""

    assert inspect.iscoroutinefunction(test)
    assert list(inspect.signature(test).parameters) == ["a", "b"]
    assert (test.__name__, test.__doc__) == ("test", "Says so.")


@pytest.mark.parametrize("base", [object, unittest.TestCase])
@pytest.mark.parametrize(
    ("above", "name"),
    [
        (virtual_time, "@virtual_time"),
        (virtual_time(starts_at=0.0), "@virtual_time"),
        (simulate_error(tries), "@simulate_error"),
    ],
)
def test_above_a_class_it_would_hide_the_tests_in_it(above: Any, name: str, base: type):
    with pytest.raises(TypeError, match=f"{name} stands above a test, not above a class: decorate each test of TestIt"):
        above(type("TestIt", (base,), {"test": lambda self: None}))


def test_a_node_that_fails_so_can_be_built_in():
    failing = simulate_error(tries, fail_times=1).node
    assert (failing.name, failing.policy) == (tries.name, tries.policy)
    flow = create(failing)
    assert run_one(flow, 1) == 2
    assert_retries(flow, "tries", 1)
    other = create(tries)
    assert run_one(other, 1) == 2
    assert_retries(other, "tries", 0)


@pytest.mark.parametrize(
    ("call", "kind", "text"),
    [
        (lambda: simulate_error("tries"), TypeError, r"say which flow the node is in: simulate_error\('tries', flow="),
        (lambda: simulate_error("nope", flow=create(tries)), LookupError, "has no node 'nope': it has tries"),
        (lambda: simulate_error(tries, -1), ValueError, "numbers from 0 on, not -1 and 0"),
        (lambda: simulate_error(tries, latency_s=math.nan), ValueError, "not None and nan"),
        (lambda: simulate_error(tries, exc="boom"), TypeError, "exc= takes an exception"),
        (lambda: simulate_error(print), TypeError, "give a node, not <built-in"),
        (lambda: simulate_error("tries", flow=tries), TypeError, "give the flow, as create"),
    ],
)
def test_what_makes_no_sense_is_refused(call: Any, kind: type[Exception], text: str):
    with pytest.raises(kind, match=text):
        call()


# --- fakes ----------------------------------------------------------------------------------------


def test_a_fake_answers_and_notes_what_it_was_asked():
    flow = create(search, name="library")
    with FakeNode(flow, "search", returns=Doc(text="found")) as fake:
        answer = run_one(flow, Message(payload="q", trace_id="t"))
    assert answer.payload == Doc(text="found")
    assert fake.messages == ["q"]
    assert fake.calls == [("q", "t", 0)]
    assert run_one(flow, "q") == Doc(text="q")


def test_a_fakes_answer_is_checked_like_the_nodes_own():
    with FakeNode(create(search), "search", returns={"text": 7}) as fake, pytest.raises(FlowError) as caught:
        run_one(create(search), "q")
    assert caught.value.code == FlowErrorCode.VALIDATION
    assert len(fake.calls) == 1


def test_results_come_one_after_the_other_and_no_further():
    flow = create(tries)
    with FakeNode(flow, "tries", results=[ConnectionError, 7, ValueError("x"), 8]) as fake:
        assert [run_one(flow, 1), run_one(flow, 2)] == [7, 8]
    assert [call.attempt for call in fake.calls] == [0, 1, 0, 1]
    one = create(search)
    with FakeNode(one, "search", results=[Doc(text="a")]):
        run_one(one, "x")
        with pytest.raises(FlowError, match="the fake 'search' was called 2 times, and has 1 results"):
            run_one(one, "y")


@pytest.mark.parametrize(
    "func",
    [
        lambda x: x * 2,
        lambda x, ctx: x * (ctx.attempt + 2),
        lambda x, ctx=None: x * (ctx.attempt + 2),
        lambda x, factor=2: x * factor,
        Mock(return_value=2, spec=[]),
        tries.func,
    ],
    ids=["one", "two", "named", "default", "mock", "async"],
)
def test_a_fake_may_be_any_function(func: Any):
    with FakeNode(flow := create(plain), "plain", func=func):
        assert run_one(flow, 1) == 2


def test_a_fake_may_be_named_by_the_node_itself():
    flow = create(plain.to(tries))
    with FakeNode(flow, tries, func=int) as fake:  # a built-in one, without a signature
        assert run_one(flow, 1) == 1
    assert fake.messages == [1]
    with pytest.raises(LookupError, match="has no node <Node search>: it has plain, tries"):
        FakeNode(flow, search, returns=1)


def test_an_error_that_a_fake_raises_again_and_again_does_not_grow():
    error = KeyError("k")
    lengths = []
    with FakeNode(flow := create(plain), "plain", raises=error):
        for _ in range(3):
            with pytest.raises(FlowError):
                run_one(flow, 1)
            lengths.append(len(traceback.extract_tb(error.__traceback__)))
    assert lengths == lengths[:1] * 3


def test_a_fake_may_raise_take_its_time_and_write_chunks():
    flow = create(plain)
    with FakeNode(flow, "plain", raises=KeyError("k")), pytest.raises(FlowError, match="KeyError"):
        run_one(flow, 1)
    with virtual_time() as clock, FakeNode(flow, "plain", returns=2, latency_s=5, chunks=["a", "b"]):
        assert run_stream(flow, 1).text == "ab"
    assert clock.elapsed == 5


def test_any_node_can_be_replaced_by_its_name():
    flow = create(counts.to(plain))
    with FakeNode(flow, "counts", returns=[7, 8]):
        assert run_outputs(flow, 1) == [7, 8]

    both = join_k("both", 1)
    joined = create(plain.to(both))
    with FakeNode(joined, "both", func=lambda items: [*items, "more"]):
        assert run_one(joined, 1) == [1, "more"]

    a, b = Node(plain.func, "a"), Node(plain.func, "b")
    for route in (router("route"), predicate_router("route", lambda message: ["a"])):
        routed = create(route.to(a, b))
        with FakeNode(routed, "route", to="b") as fake:
            assert run_one(routed, 1) == 1
        assert_node_sequence(routed, ["route", "b"])
        assert [message.payload for message in fake.messages] == [1]
        with FakeNode(routed, "route", func=lambda message: ["a"] if message.payload else ["b"]):
            run_one(routed, 1)
        assert_node_sequence(routed, ["route", "a"])
        with FakeNode(routed, "route", raises=KeyError), pytest.raises(FlowError, match="could not decide"):
            run_one(routed, 1)
        assert_outcome(routed, "failed", code="ROUTING")

    outer = create(subflow("sub", create(tries, name="inner")), name="outer")
    with FakeNode(outer, "sub", returns=9):
        assert run_one(outer, 1) == 9
    assert_node_sequence(outer, ["sub"], nested=True)
    with FakeNode(outer, "sub/inner/tries", returns=9):
        assert run_one(outer, 1) == 9
    assert_node_sequence(outer, ["sub", "sub/inner/tries"], nested=True)
    assert run_one(outer, 1) == 2


async def test_a_running_flow_has_the_fake_at_once_but_for_routers_and_subflows():
    sub = subflow("sub", create(tries, name="inner"))
    async with create(plain.to(sub)) as flow:
        with FakeNode(flow, "plain", returns=5) as fake:
            assert await flow.ask(1) == 6
        assert fake.calls == [(1, None, None)]
        with pytest.raises(RuntimeError, match="'sub' is a subflow, and flow 'flow' runs already"):
            with FakeNode(flow, "sub", returns=1):
                pass
        with FakeNode(flow, "plain", returns=5, chunks="a"), pytest.raises(FlowError, match="needs a context for chu"):
            await flow.ask(1)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({}, "say once what the fake 'plain' does: one of returns, results, raises, func, to"),
        ({"returns": 1, "raises": KeyError}, "say once"),
        ({"to": "a"}, "'plain' is no router: to= is for routers"),
    ],
)
def test_a_fake_does_one_thing(options: dict[str, Any], text: str):
    with pytest.raises(TypeError, match=text):
        FakeNode(create(plain), "plain", **options)


@pytest.mark.parametrize("latency_s", [-1, math.nan])
def test_a_fake_takes_no_negative_time(latency_s: float):
    with pytest.raises(ValueError, match="latency_s is a number of seconds from 0 on, not"):
        FakeNode(create(plain), "plain", returns=1, latency_s=latency_s)


def test_a_fake_router_chooses():
    flow = create(router("route").to(plain))
    with pytest.raises(TypeError, match="'route' is a router: say to=, raises= or func="):
        FakeNode(flow, "route", returns=1)
