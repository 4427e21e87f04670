"""Many traces at once: each span has the right parent, and nothing is left."""

from __future__ import annotations

import asyncio
import gc
import random
from contextlib import suppress
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from seeing import ids, said

from penguiflow import Context, FlowError, Message, create, join_k, node, predicate_router, subflow
from penguiflow_otel import Telemetry

AT_ONCE = 256


class Notes:
    """What nodes themselves know: in which trace and node they run, and which span is current there."""

    def __init__(self) -> None:
        self.runs: list[tuple[str, str, int]] = []

    def note(self, ctx: Context) -> None:
        self.runs.append((ctx.trace_id, ctx.node_name, trace.get_current_span().get_span_context().span_id))


def crowd(notes: Notes, plugins: list[Telemetry]):
    """A flow with a fan-out, a join, a loop, a router and a subflow with a playbook in it, which may fail anywhere."""

    @node
    async def begin(x: int, ctx: Context) -> int:
        notes.note(ctx)
        await asyncio.sleep(random.random() * 0.002)
        return x

    def branch(name: str):
        @node(name=name, max_retries=1, backoff_base=0.0005)
        async def runs(x: int, ctx: Context) -> int:
            notes.note(ctx)
            await asyncio.sleep(random.random() * 0.002)
            notes.note(ctx)
            if x % 11 == 3 and ctx.attempt == 0:
                raise ValueError("again")
            if x % 13 == 5:
                raise KeyError("for good")
            return x

        return runs

    @node(allow_cycle=True)
    async def loops(numbers: list[int], ctx: Context) -> list[int] | int:
        notes.note(ctx)
        if len(numbers) < 4:
            await ctx.emit([*numbers, numbers[0]], to="loops")
            return None  # type: ignore[return-value]
        await ctx.emit(numbers[0], to="route")
        return None  # type: ignore[return-value]

    @node
    async def step(x: int, ctx: Context) -> int:
        notes.note(ctx)
        await asyncio.sleep(0)
        return x

    book = create(step, name="book")

    @node
    async def reads(x: int, ctx: Context) -> int:
        notes.note(ctx)
        got = await asyncio.gather(*(ctx.call_playbook(book, x) for _ in range(2)))
        notes.note(ctx)
        return got[0]

    @node
    async def plain(x: int, ctx: Context) -> int:
        notes.note(ctx)
        return x

    a, b = branch("a"), branch("b")
    join = join_k("join", 2)
    route = predicate_router("route", lambda m: "sub" if m.payload % 2 else "plain")
    sub = subflow("sub", create(reads, name="inner"))
    return create(
        begin.to(a, b), a.to(join), b.to(join), join.to(loops), loops.to(loops, route), route.to(sub, plain),
        name="crowd", plugins=plugins, max_traces=AT_ONCE,
    )  # fmt: skip


CONTAINER = {"step": "invoke_node reads", "reads": "invoke_node sub"}


def check(spans: list[ReadableSpan], notes: Notes) -> None:
    """Every span has the parent that the flow's own shape gives it, in the same trace."""
    known = {ids(span).span_id: span for span in spans}
    for span in spans:
        attributes = said(span)
        if span.name.startswith("invoke_workflow"):
            assert span.parent is None
            continue
        parent = known[span.parent.span_id]
        assert parent.name == CONTAINER.get(attributes["penguiflow.node.name"], "invoke_workflow crowd")
        assert ids(parent).trace_id == ids(span).trace_id
        assert parent.start_time <= span.start_time <= span.end_time <= parent.end_time
        if span.name == "invoke_node join":
            linked = sorted(known[link.context.span_id].name for link in span.links)
            assert linked == ["invoke_node a", "invoke_node b"]
            assert {link.context.trace_id for link in span.links} == {ids(span).trace_id}
    flow_trace = {ids(s).trace_id: said(s)["penguiflow.trace.id"] for s in spans if s.parent is None}
    assert len(set(flow_trace.values())) == len(flow_trace)
    for trace_id, name, span_id in notes.runs:
        assert known[span_id].name == f"invoke_node {name}"
        assert flow_trace[ids(known[span_id]).trace_id] == trace_id


async def test_parents_are_right_with_256_traces_at_once(seen, telemetry):
    notes, plugin = Notes(), telemetry()
    async with crowd(notes, [plugin]) as flow:
        await asyncio.gather(*(flow.ask(x) for x in range(AT_ONCE)), return_exceptions=True)
        assert plugin.under_way() == {}
    assert len(seen.of("invoke_workflow crowd")) == AT_ONCE
    assert len(seen.of("invoke_node join")) > AT_ONCE // 2
    check(list(seen.spans), notes)


async def test_ten_thousand_traces_of_every_outcome_leave_nothing_open(seen, telemetry):
    notes, plugin = Notes(), telemetry()
    started: set[int] = set()
    ended: set[int] = set()
    seen.provider.add_span_processor(Ledger(started, ended))
    async with crowd(notes, [plugin]) as flow:

        async def one(x: int) -> None:
            way = x % 10
            with suppress(FlowError, asyncio.CancelledError):
                if way == 0:
                    await flow.ask(x, timeout_s=random.random() * 0.004)
                elif way == 1:
                    handle = flow.start(x)
                    await asyncio.sleep(random.random() * 0.004)
                    await handle.cancel()
                elif way == 2:
                    async with flow.stream(x):
                        await asyncio.sleep(0)
                elif way == 3:
                    await flow.ask(Message(payload=x, meta={"traceparent": "not one"}))
                else:
                    await flow.ask(x)

        for begin in range(0, 10_000, AT_ONCE):
            await asyncio.gather(*(one(x) for x in range(begin, min(begin + AT_ONCE, 10_000))))
            check(list(seen.spans), notes)
            seen.exporter.clear()
            notes.runs.clear()
        assert plugin.under_way() == {}
    assert len(started) > 50_000
    assert started == ended
    held = [thing for thing in gc.get_objects() if type(thing).__name__ in ("TraceScope", "NodeScope")]
    assert held == []


class Ledger:
    """Who began and who ended, by span id."""

    def __init__(self, started: set[int], ended: set[int]) -> None:
        self.started, self.ended = started, ended

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        self.started.add(span.get_span_context().span_id)

    def on_end(self, span: ReadableSpan) -> None:
        assert ids(span).span_id not in self.ended
        self.ended.add(ids(span).span_id)

    def _on_ending(self, span: Any) -> None:
        pass

    def shutdown(self) -> None:
        pass

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return True
