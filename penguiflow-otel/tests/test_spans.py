"""The span tree is the trace's own."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
from typing import Any

import pytest
from opentelemetry.trace import SpanKind, StatusCode, get_current_span
from seeing import ids, said

import penguiflow
from penguiflow import Context, Headers, Message, create, hookimpl, join_k, node, predicate_router, subflow
from penguiflow.testkit import virtual_time


def test_this_is_our_penguiflow():
    assert hasattr(penguiflow, "hookimpl")


@node
async def first(x: int) -> int:
    return x + 1


@node
async def second(x: int) -> int:
    return x * 2


@node
async def third(x: int) -> int:
    return x


async def test_a_trace_is_a_span_and_each_node_run_a_child(seen, telemetry):
    async with create(first.to(second), name="math", plugins=[telemetry()]) as flow:
        assert await flow.ask(20) == 42
    assert seen.tree() == ["invoke_workflow math", "  invoke_node first", "  invoke_node second"]
    assert {span.kind for span in seen.spans} == {SpanKind.INTERNAL}
    assert {span.status.status_code for span in seen.spans} == {StatusCode.UNSET}


async def test_spans_say_what_the_conventions_and_the_flow_have_to_say(seen, telemetry):
    message = Message(payload=20, trace_id="t", headers=Headers(tenant="acme", topic="sums", priority=2))
    async with create(first.to(second), name="math", plugins=[telemetry()]) as flow:
        await flow.ask(message)
    assert said(seen.one("invoke_workflow math")) == {
        "gen_ai.operation.name": "invoke_workflow",
        "gen_ai.agent.name": "math",
        "gen_ai.workflow.name": "math",
        "penguiflow.flow.name": "math",
        "penguiflow.trace.id": "t",
        "penguiflow.mode": "ask",
        "penguiflow.tenant": "acme",
        "penguiflow.topic": "sums",
        "penguiflow.priority": 2,
        "penguiflow.outcome": "completed",
        "penguiflow.hops": 2,
    }
    assert said(seen.one("invoke_node first")) == {
        "penguiflow.flow.name": "math",
        "penguiflow.node.name": "first",
        "penguiflow.iteration": 1,
    }


async def test_a_span_made_in_a_node_is_below_the_node(seen, telemetry):
    tracer = seen.provider.get_tracer("user")

    @node
    async def calls(x: int) -> int:
        with tracer.start_as_current_span("GET /"):
            await asyncio.sleep(0)
        return x

    @node
    async def writes(x: int):
        with tracer.start_as_current_span("before"):
            yield x
        with tracer.start_as_current_span("after"):
            await asyncio.sleep(0)

    async with create(calls.to(writes), writes.to(third), plugins=[telemetry()]) as flow:
        await flow.ask(1)
    assert seen.tree() == [
        "invoke_workflow flow",
        "  invoke_node calls",
        "    GET /",
        "  invoke_node writes",
        "    before",
        "    after",
        "  invoke_node third",
    ]


async def test_the_trace_is_a_child_of_the_callers_span_which_stays_current(seen, telemetry):
    tracer = seen.provider.get_tracer("user")
    async with create(first.to(second), plugins=[telemetry()]) as flow:
        with tracer.start_as_current_span("handle request") as request:
            await flow.ask(1)
            assert get_current_span() is request
            await asyncio.gather(flow.ask(1), flow.ask(2))
            assert get_current_span() is request
    assert seen.tree() == [
        "handle request",
        *["  invoke_workflow flow", "    invoke_node first", "    invoke_node second"] * 3,
    ]


async def test_a_trace_without_a_caller_is_a_root(seen, telemetry):
    async with create(first, plugins=[telemetry()]) as flow:
        await asyncio.gather(*(flow.ask(x) for x in range(3)))
        assert not get_current_span().get_span_context().is_valid
    traces = {ids(span).trace_id for span in seen.of("invoke_workflow flow")}
    assert len(traces) == 3
    assert [span.parent for span in seen.of("invoke_workflow flow")] == [None] * 3


async def test_nodes_of_a_fan_out_are_siblings_and_a_join_links_to_each_input(seen, telemetry):
    @node
    async def split(x: int) -> int:
        return x

    join = join_k("join", 3)
    branches = [penguiflow.Node(first.func, name=name) for name in ("a", "b", "c")]
    async with create(
        split.to(*branches), *(b.to(join) for b in branches), join.to(node(total)), plugins=[telemetry()]
    ) as flow:
        assert await flow.ask(1) == 6
    lines = seen.tree()
    assert lines[:2] == ["invoke_workflow flow", "  invoke_node split"]
    assert lines[-2:] == ["  invoke_node join", "  invoke_node total"]
    assert sorted(lines[2:-2]) == ["  invoke_node a", "  invoke_node b", "  invoke_node c"]
    linked = [link.context.span_id for link in seen.one("invoke_node join").links]
    assert linked == [ids(seen.one(f"invoke_node {name}")).span_id for name in "abc"]
    assert [span.name for span in seen.spans if span.links] == ["invoke_node join"]


async def total(numbers: list[int]) -> int:
    return sum(numbers)


async def test_a_node_that_emits_is_no_parent_of_the_nodes_that_take_it(seen, telemetry):
    @node
    async def emits(x: int, ctx: Context) -> None:
        for number in range(3):
            await ctx.emit(number)
        await asyncio.sleep(0.01)

    async with create(emits.to(first), first.to(second), plugins=[telemetry()]) as flow:
        handle = flow.start(1)
        await handle.results()
    lines = seen.tree()
    assert lines[:2] == ["invoke_workflow flow", "  invoke_node emits"]
    assert sorted(lines[2:]) == ["  invoke_node first"] * 3 + ["  invoke_node second"] * 3


async def test_a_node_that_emits_in_a_subflow_is_no_parent_of_the_nodes_that_take_it(seen, telemetry):
    @node
    async def emits(x: int, ctx: Context) -> None:
        await ctx.emit(x)
        await ctx.emit(x + 1)

    inner = create(emits.to(first), name="inner")
    async with create(subflow("sub", inner), name="top", plugins=[telemetry()]) as flow:
        await flow.start(1).results()
    assert seen.tree() == [
        "invoke_workflow top",
        "  invoke_node sub",
        "    invoke_node emits",
        "    invoke_node first",
        "    invoke_node first",
    ]


async def test_rounds_of_a_loop_are_numbered(seen, telemetry):
    @node(allow_cycle=True)
    async def again(x: int, ctx: Context) -> int | None:
        if x < 4:
            await ctx.emit(x + 1, to="again")
            return None
        await ctx.emit(x, to="second")
        return None

    async with create(again.to(again, second), plugins=[telemetry()]) as flow:
        assert await flow.ask(1) == 8
    rounds = [said(span)["penguiflow.iteration"] for span in seen.of("invoke_node again")]
    assert rounds == [1, 2, 3, 4]
    assert said(seen.one("invoke_node second"))["penguiflow.iteration"] == 1
    assert {line.count("  ") for line in seen.tree()[1:]} == {1}


async def test_a_subflow_is_below_the_node_that_stands_for_it(seen, telemetry):
    inner = create(first.to(second), name="inner")
    middle = create(subflow("sub", inner).to(third), name="middle")
    async with create(subflow("outer", middle), name="top", plugins=[telemetry()]) as flow:
        assert await flow.ask(1) == 4
    assert seen.tree() == [
        "invoke_workflow top",
        "  invoke_node outer",
        "    invoke_node sub",
        "      invoke_node first",
        "      invoke_node second",
        "    invoke_node third",
    ]
    assert said(seen.one("invoke_node first"))["penguiflow.flow.name"] == "inner"
    assert said(seen.one("invoke_node first"))["penguiflow.node.id"] == "top/outer/middle/sub/inner/first"


async def test_playbooks_are_below_the_run_that_calls_them(seen, telemetry):
    book = create(first.to(second), name="book")

    @node
    async def calls(x: int, ctx: Context) -> int:
        return sum(await asyncio.gather(*(ctx.call_playbook(book, n) for n in range(x))))

    async with create(calls.to(third), name="top", plugins=[telemetry()]) as flow:
        assert await flow.ask(2) == 6
    lines = seen.tree()
    assert lines[:2] == ["invoke_workflow top", "  invoke_node calls"]
    assert sorted(lines[2:-1]) == ["    invoke_node first"] * 2 + ["    invoke_node second"] * 2
    assert lines[-1] == "  invoke_node third"


async def test_a_playbook_called_in_a_context_of_its_own_is_below_its_caller_all_the_same(seen, telemetry):
    book = create(first, name="book")

    @node
    async def calls(x: int, ctx: Context) -> int:
        apart = asyncio.get_running_loop().create_task(ctx.call_playbook(book, x), context=contextvars.Context())
        return await apart

    async with create(calls, name="top", plugins=[telemetry()]) as flow:
        await flow.ask(1)
    assert seen.tree() == ["invoke_workflow top", "  invoke_node calls", "    invoke_node first"]


async def test_between_two_nodes_the_traces_span_is_current_and_after_them_none(seen, telemetry):
    found: list[str] = []

    class Looks:
        event_types = ("node_start", "node_success", "trace_finish")

        @hookimpl
        def on_event(self, event):
            current = get_current_span()
            found.append(f"{event.event_type}: {getattr(current, 'name', None)}")

    async with create(first.to(second), plugins=[telemetry(), Looks()]) as flow:
        await flow.ask(1)
    assert found == [
        "node_start: invoke_node first",
        "node_success: invoke_workflow flow",
        "node_start: invoke_node second",
        "node_success: invoke_workflow flow",
        "trace_finish: None",
    ]


async def test_traces_that_each_begin_the_next_one_hold_on_to_none_before_them(seen, telemetry):
    over = asyncio.Event()

    @node
    async def begins(x: int) -> int:
        if x:
            flow.start(x - 1)
        else:
            kept.extend(thing for thing in gc.get_objects() if type(thing).__name__ == "TraceScope")
            over.set()
        return x

    kept: list[object] = []
    flow = create(begins, plugins=[telemetry()])
    async with flow:
        flow.start(100)
        await over.wait()
    assert len(kept) <= 3
    assert len(seen.of("invoke_workflow flow")) == 101


async def test_rounds_are_counted_anew_in_each_run_of_a_subflow(seen, telemetry):
    inner = create(first, name="inner")

    @node
    async def calls(x: int, ctx: Context) -> int:
        await ctx.call_playbook(inner, x)
        return await ctx.call_playbook(inner, x)

    async with create(calls, plugins=[telemetry()]) as flow:
        await flow.ask(1)
        await flow.ask(1)
    assert [said(span)["penguiflow.iteration"] for span in seen.of("invoke_node first")] == [1, 2, 1, 2]


async def test_a_flow_asked_inside_a_node_is_below_that_node(seen, telemetry):
    async with create(first, name="other", plugins=[telemetry()]) as other:

        @node
        async def asks(x: int) -> int:
            return await other.ask(x)

        async with create(asks.to(second), name="top", plugins=[telemetry()]) as flow:
            await flow.ask(1)
    assert seen.tree() == [
        "invoke_workflow top",
        "  invoke_node asks",
        "    invoke_workflow other",
        "      invoke_node first",
        "  invoke_node second",
    ]


async def test_two_flows_may_share_the_plugin_and_even_a_trace_id(seen, telemetry):
    shared = telemetry()
    async with create(first, name="other", plugins=[shared]) as other:

        @node
        async def asks(x: int, ctx: Context) -> int:
            answer: Message[Any] = await other.ask(Message(payload=x, trace_id=ctx.trace_id))
            return answer.payload

        async with create(asks.to(second), name="top", plugins=[shared]) as flow:
            await flow.ask(1)
    assert seen.tree() == [
        "invoke_workflow top",
        "  invoke_node asks",
        "    invoke_workflow other",
        "      invoke_node first",
        "  invoke_node second",
    ]
    assert shared.under_way() == {}


async def test_a_flow_that_stops_leaves_the_traces_of_those_it_shares_the_plugin_with_alone(seen, measured, telemetry):
    shared, began, gate = telemetry(), asyncio.Event(), asyncio.Event()

    @node
    async def waits(x: int) -> int:
        began.set()
        await gate.wait()
        return x

    async with create(waits.to(second), name="long", plugins=[shared]) as long:
        handle = long.start(1)
        await began.wait()
        async with create(first, name="short", plugins=[shared]) as short:
            await short.ask(1)
        assert shared.under_way() == {"long": (1, 1, 0)}
        gate.set()
        await handle.result()
    assert seen.tree() == [
        "invoke_workflow long",
        "  invoke_node waits",
        "  invoke_node second",
        "invoke_workflow short",
        "  invoke_node first",
    ]
    assert said(seen.one("invoke_workflow long"))["penguiflow.outcome"] == "completed"
    assert measured.counts("penguiflow.workflow.duration", "penguiflow.flow.name") == {"long": 1, "short": 1}
    assert shared.under_way() == {}


def test_a_flow_that_nobody_has_stopped_is_in_no_later_ones_way(seen, telemetry):
    shared = telemetry()
    left = create(first, name="left", plugins=[shared])

    async def leaves_it() -> None:
        left.run()
        await left.ask(1)

    async def asks() -> None:
        async with create(second, name="next", plugins=[shared]) as flow:
            await flow.ask(1)

    before = logging.getLogRecordFactory()
    asyncio.run(leaves_it())
    asyncio.run(asks())
    assert seen.tree() == [
        "invoke_workflow left",
        "  invoke_node first",
        "invoke_workflow next",
        "  invoke_node second",
    ]
    assert logging.getLogRecordFactory() is before


async def test_a_router_says_whom_it_chose_and_who_decided(seen, telemetry):
    choose = predicate_router("choose", lambda message: "second" if message.payload > 1 else ())
    async with create(choose.to(second, third), plugins=[telemetry()]) as flow:
        await flow.ask(2)
        await flow.ask(1)
    chosen = [said(span) for span in seen.of("invoke_node choose")]
    assert [s["penguiflow.route.targets"] for s in chosen] == [("second",), ()]
    assert [s["penguiflow.route.decided_by"] for s in chosen] == ["router", "router"]


@virtual_time
async def test_a_message_that_waited_says_how_long(seen, telemetry):
    @node(max_concurrency=1)
    async def narrow(x: int) -> int:
        await asyncio.sleep(0.02)
        return x

    async with create(narrow, plugins=[telemetry()]) as flow:
        await asyncio.gather(flow.ask(1), flow.ask(2))
    waits = [said(span).get("penguiflow.queue.wait") for span in seen.of("invoke_node narrow")]
    assert waits == [None, pytest.approx(0.02)]


async def test_a_message_that_came_before_its_trace_had_begun_is_in_the_trace(seen, telemetry):
    async with create(first.to(second), plugins=[telemetry()]) as flow:
        flow.emit_nowait(Message(payload=1, trace_id="t"))
        flow.emit_nowait(Message(payload=2, trace_id="t"))
        flow.emit_nowait(Message(payload=3, trace_id="t"))
        await flow.fetch()
        await flow.fetch()
        await flow.fetch()
    assert sorted(seen.tree()) == sorted(["invoke_workflow flow", *["  invoke_node first", "  invoke_node second"] * 3])


async def test_what_a_node_leaves_attached_ends_with_its_run(seen, telemetry):
    from opentelemetry import baggage, context

    held: list[object] = []

    @node
    async def attaches(x: int) -> int:
        context.attach(baggage.set_baggage("k", "v"))
        return x

    @node
    async def looks(x: int) -> int:
        held.append(baggage.get_baggage("k"))
        return x

    async with create(attaches.to(looks), plugins=[telemetry()]) as flow:
        await flow.ask(1)
    assert held == [None]


async def test_each_flow_run_begins_anew(seen, telemetry):
    flow = create(first, plugins=[telemetry()])
    for _ in range(2):
        async with flow:
            await flow.ask(1)
    assert seen.tree() == ["invoke_workflow flow", "  invoke_node first"] * 2
