"""Law 5: deadlines and budgets stop work before it starts and while it runs, and clock jumps don't matter."""

import asyncio
import time
from contextlib import asynccontextmanager
from typing import Any

import pytest

from penguiflow import (
    Budget,
    Context,
    FlowError,
    FlowErrorCode,
    Message,
    create,
    hookimpl,
    join_k,
    map_concurrent,
    node,
    router,
    subflow,
)
from tests.utils.flowtestkit import Recorder, clock, in_time
from tests.utils.nodes import backs_off, forever, pours, same, stuck

HOPS, TOKENS, COST = (FlowErrorCode(f"{kind}_BUDGET_EXHAUSTED") for kind in ("HOP", "TOKEN", "COST"))
LATE = FlowErrorCode.DEADLINE_EXCEEDED


@node
async def plays(x, ctx: Context):
    await ctx.call_playbook(create(subflow("sub", create(backs_off))), timeout=1e5)


@node
async def maps(x):
    await map_concurrent(range(3), forever)


@node
async def yields(x):
    yield 1
    await forever()


class Undecided:
    """A plugin that takes its time over every error."""

    @hookimpl
    async def on_error(self, error):
        await forever()


SCENES: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "running": ([stuck], {}),
    "back-off": ([backs_off], {}),
    "emit": ([pours.to(stuck)], {"queue_maxsize": 1}),
    "held back": ([pours.to(stuck)], {}),
    "limit": ([node(name="limited", max_concurrency=1)(forever)], {}),
    "generator": ([yields], {}),
    "map": ([maps], {}),
    "playbook": ([plays], {}),
    "subflow": ([subflow("outer", create(subflow("inner", create(pours.to(stuck), queue_maxsize=1))))], {}),
    "router": ([router("route", forever).to(same)], {}),
    "decision": ([node(name="fails")(backs_off.func)], {"plugins": [Undecided()]}),
}


@pytest.mark.parametrize("given", ["timeout_s", "deadline_s"])
@pytest.mark.parametrize("scene", SCENES)
@in_time
async def test_a_deadline_preempts_whatever_the_trace_is_doing(scene, given, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 5000.0)
    seen = Recorder()
    edges, options = SCENES[scene]
    async with create(*edges, **options, on_event=seen) as flow:
        other = flow.start("other")
        message = Message(payload="x", deadline_s=5005.0 if given == "deadline_s" else None)
        with pytest.raises(FlowError) as caught:
            await flow.ask(message, timeout_s=5 if given == "timeout_s" else None)
        assert caught.value.code == LATE
        assert caught.value.trace_id == message.trace_id
        assert clock() == pytest.approx(1005, abs=1e-6)
        assert other.outcome is None
        await other.cancel()
    assert [e.outcome for e in seen.of("trace_finish")] == ["expired", "cancelled"]
    seen.assert_lawful()


@pytest.mark.parametrize("how", ["timeout_s", "deadline_s", "emit"])
@in_time
async def test_a_deadline_that_has_passed_lets_nothing_start(how):
    seen = Recorder()
    async with create(same, on_event=seen, emit_errors_to_rookery=True) as flow:
        message = Message(payload="x", deadline_s=None if how == "timeout_s" else time.time() - 1)
        if how == "emit":
            await flow.emit(message)
            assert (await flow.fetch()).code == LATE
        else:
            with pytest.raises(FlowError) as caught:
                await flow.ask(message, timeout_s=0 if how == "timeout_s" else None)
            assert caught.value.code == LATE
    assert seen.types("node_start", "trace_start", "trace_finish") == ["trace_start", "trace_finish"]
    assert seen.of("trace_finish")[0].outcome == "expired"


@in_time
async def test_a_deadline_that_was_meant_as_a_time_from_now_on_is_told_as_such():
    async with create(same) as flow:
        with pytest.raises(
            FlowError, match=r"in 1970, as deadline_s is in epoch seconds: timeout_s= takes a time"
        ) as e:
            await flow.ask(Message(payload=1, deadline_s=5))
    assert e.value.code == LATE


@in_time
async def test_a_deadline_stops_what_waits_before_it_is_scheduled():
    ran: list[float] = []

    @node
    async def work(x: float):
        ran.append(x)
        await asyncio.sleep(2)

    @node
    async def fan(x):
        for i in range(5):
            yield float(i)

    async with create(fan.to(work)) as flow:
        with pytest.raises(FlowError):
            await flow.ask("x", timeout_s=5)
        await asyncio.sleep(10)
    assert ran == [0.0, 1.0, 2.0]


@pytest.mark.parametrize(("timeout_s", "left", "expected"), [(5, 9, 5), (9, 5, 5), (None, 3, 3), (3, None, 3)])
@in_time
async def test_the_earlier_of_two_deadlines_counts(timeout_s, left, expected, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 5000.0)
    async with create(stuck) as flow:
        with pytest.raises(FlowError):
            await flow.ask(Message(payload=1, deadline_s=left and 5000.0 + left), timeout_s=timeout_s)
        assert clock() == pytest.approx(1000 + expected)


@in_time
async def test_a_deadline_passes_while_resources_are_opened():
    @asynccontextmanager
    async def slow():
        await asyncio.sleep(10)
        yield

    flow = create(same, resources=slow)
    flow.run()
    with pytest.raises(FlowError) as caught:
        await flow.ask("x", timeout_s=5)
    assert (caught.value.code, clock()) == (LATE, 1005)
    assert await flow.ask("x") == "x"
    await flow.stop()


@pytest.mark.parametrize("how", ["stream", "iterate", "result", "fetch"])
@in_time
async def test_every_waiter_learns_of_the_deadline_when_it_passes(how):
    async with create(stuck, emit_errors_to_rookery=True) as flow:
        with pytest.raises(FlowError) as caught:
            if how == "stream":
                async with flow.stream("x", timeout_s=5) as stream:
                    assert [chunk async for chunk in stream] == []
            elif how == "fetch":
                await flow.emit(Message(payload="x", deadline_s=time.time() + 5))
                raise await flow.fetch()
            elif how == "result":
                await flow.start("x", timeout_s=5).result()
            else:
                assert [item async for item in flow.start("x", timeout_s=5)] == []
        assert caught.value.code == LATE
        assert clock() == pytest.approx(1005, abs=0.01)


@in_time
async def test_deadline_left_is_what_a_node_has_left():
    left: list = []

    @node
    async def look(x, ctx: Context):
        left.append(ctx.deadline_left)
        return x

    @node
    async def calls(x, ctx: Context):
        await asyncio.sleep(1)
        await ctx.call_playbook(create(look), x, timeout=2)
        await ctx.call_playbook(create(look), x, timeout=50)
        return await ctx.call_playbook(create(look), x)

    async with create(calls.to(sub := subflow("sub", create(look))), sub.to(look)) as flow:
        assert await flow.ask("x", timeout_s=10) == "x"
        assert left == [pytest.approx(seconds) for seconds in (2, 9, 9, 9, 9)]
        assert await flow.ask("x") == "x"
        assert left[5:] == [pytest.approx(2), pytest.approx(50), None, None, None]


@in_time
async def test_a_playbooks_own_timeout_is_an_error_in_its_node_and_the_trace_goes_on():
    @node
    async def calls(x, ctx: Context):
        with pytest.raises(FlowError) as caught:
            await ctx.call_playbook(create(stuck), x, timeout=5)
        return caught.value.code

    async with create(calls) as flow:
        assert await flow.ask("x", timeout_s=10) == LATE
        assert clock() == pytest.approx(1005)


@node
async def left(x):
    return x


@node
async def right(x):
    return x


@node(max_retries=3, backoff_base=0)
async def flaky(x, ctx: Context):
    if ctx.attempt < 3:
        raise ValueError(x)
    return x


@node
async def calls_chain(x, ctx: Context):
    return await ctx.call_playbook(create(left.to(right)), x)


BOTH = join_k("both", 2)
COUNTED: dict[str, tuple[int, list[Any]]] = {
    "chain": (3, [same.to(left), left.to(right)]),
    "branches": (4, [same.to(left, right), left.to(BOTH), right.to(BOTH)]),
    "subflow": (3, [subflow("sub", create(left.to(right)))]),
    "playbook": (3, [calls_chain]),
    "retries": (1, [flaky]),
    "router": (2, [router("route").to(left)]),
}


@pytest.mark.parametrize("graph", COUNTED)
@in_time
async def test_the_hop_budget_counts_node_runs_and_no_more_are_started(graph):
    runs, edges = COUNTED[graph]
    seen = Recorder()
    async with create(*edges, on_event=seen) as flow:
        await flow.ask(Message(payload=1, budget=Budget(hops=runs)))
        assert len(seen.of("node_start")) == runs
        with pytest.raises(FlowError) as caught:
            await flow.ask(Message(payload=1, budget=Budget(hops=runs - 1)))
    assert caught.value.code == HOPS
    assert len(seen.of("node_start")) == runs + runs - 1
    assert [e.outcome for e in seen.of("trace_finish")] == ["completed", "expired"]
    seen.assert_lawful()


@in_time
async def test_the_hop_budget_ends_a_loop():
    runs = 0

    @node(allow_cycle=True)
    async def there(x):
        nonlocal runs
        runs += 1
        return x

    async with create(there.to(same), same.to(there)) as flow:
        with pytest.raises(FlowError) as caught:
            await flow.ask(Message(payload=1, budget=Budget(hops=1001)))
    assert (caught.value.code, runs) == (HOPS, 501)


@pytest.mark.parametrize("graph", ["one", "chain", "branches", "subflow", "playbook", "retries"])
@pytest.mark.parametrize(("kind", "code"), [("tokens", TOKENS), ("cost", COST)])
@in_time
async def test_what_is_spent_counts_once_for_the_whole_trace(graph, kind, code):
    async def spend(x, ctx: Context):
        for _ in range(4 if graph == "one" else 2):
            ctx.spend(**{kind: 10})
        if graph == "retries" and not ctx.attempt:
            raise ValueError(x)
        return x

    first, second = node(name="first", max_retries=1)(spend), node(name="second")(spend)
    chain = create(first.to(second))

    @node
    async def calls(x, ctx: Context):
        return await ctx.call_playbook(chain, x)

    graphs: dict[str, list[Any]] = {
        "chain": [first.to(second)],
        "branches": [same.to(first, second)],
        "playbook": [calls],
    }
    graphs |= {"subflow": [subflow("sub", chain)]}
    async with create(*graphs.get(graph, [first])) as flow:
        await flow.start(Message(payload=1, budget=Budget(**{kind: 40}))).results()
        await flow.start(1).results()
        with pytest.raises(FlowError) as caught:
            await flow.start(Message(payload=1, budget=Budget(**{kind: 39}))).results()
    assert caught.value.code == code


@in_time
async def test_spending_too_much_stops_the_other_branches_at_once():
    seen, delivered, raised = Recorder(), [], []

    @node
    async def spends(x, ctx: Context):
        await asyncio.sleep(1)
        with pytest.raises(FlowError):
            ctx.spend(tokens=11)
        raised.append(str(ctx.attempt))
        await ctx.emit("on credit")
        return "on credit"

    @node
    async def after(x):
        delivered.append(x)

    async with create(same.to(spends, stuck), spends.to(after), on_event=seen) as flow:
        with pytest.raises(FlowError) as caught:
            await flow.ask(Message(payload="x", budget=Budget(tokens=10)))
        assert caught.value.code == TOKENS
        assert clock() == pytest.approx(1001)
    assert (raised, delivered) == (["0"], [])
    assert sorted(str(e.node_name) for e in seen.of("node_expired")) == ["spends", "stuck"]


@in_time
async def test_traces_share_no_budget_and_a_nested_ask_has_its_own():
    @node
    async def spends(x: int, ctx: Context):
        ctx.spend(tokens=10, cost=0.5)
        return await flow.ask(x - 1) if x else "done"

    async with create(spends) as flow:
        messages = [Message(payload=2, budget=Budget(hops=1, tokens=10, cost=0.5)) for _ in range(3)]
        assert [m.payload for m in await asyncio.gather(*map(flow.ask, messages))] == ["done"] * 3


@pytest.mark.parametrize("given", [{"tokens": -1}, {"cost": -0.5}])
@in_time
async def test_nothing_is_given_back_to_a_budget(given):
    @node
    async def refunds(x, ctx: Context):
        ctx.spend(**given)

    async with create(refunds) as flow:
        with pytest.raises(FlowError) as caught:
            await flow.ask("x")
        assert isinstance(caught.value.original_exc, ValueError)
