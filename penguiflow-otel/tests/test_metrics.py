"""What is measured, and of whom."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import weakref
from dataclasses import dataclass
from pathlib import Path

import pytest
from opentelemetry import metrics as api_metrics
from opentelemetry import trace as api
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from seeing import Measured, ids

from penguiflow import Context, FlowError, Message, create, node, predicate_router, subflow
from penguiflow.testkit import virtual_time
from penguiflow_otel import Options, Telemetry

FLOW, NODE = "penguiflow.flow.name", "penguiflow.node.name"
OUTCOME, ERROR = "penguiflow.outcome", "error.type"


@node
async def first(x: int) -> int:
    return x


@node
async def picky(x: int) -> int:
    if x < 0:
        raise ValueError("negative")
    return x


@node(max_retries=2, backoff_base=0.001)
async def flaky(x: int, ctx: Context) -> int:
    if ctx.attempt < x:
        await asyncio.sleep(0.01)
        raise KeyError("again")
    return x


async def test_durations_are_counted_by_outcome_and_error(measured, telemetry):
    async with create(first.to(picky), name="f", plugins=[telemetry()]) as flow:
        await asyncio.gather(*(flow.ask(x) for x in (1, 2, -1)), return_exceptions=True)
        await asyncio.gather(flow.ask(3, timeout_s=0), return_exceptions=True)
    assert measured.counts("penguiflow.workflow.duration", FLOW, OUTCOME, ERROR) == {
        ("f", "completed", None): 2,
        ("f", "failed", "ValueError"): 1,
        ("f", "expired", "DEADLINE_EXCEEDED"): 1,
    }
    assert measured.counts("penguiflow.node.duration", FLOW, NODE, OUTCOME, ERROR) == {
        ("f", "first", "completed", None): 3,
        ("f", "picky", "completed", None): 2,
        ("f", "picky", "failed", "ValueError"): 1,
    }


@virtual_time
async def test_durations_are_seconds_in_buckets_that_tell_milliseconds_from_seconds(measured, telemetry):
    @node
    async def waits(x: int) -> int:
        await asyncio.sleep(0.03)
        return x

    async with create(waits, plugins=[telemetry()]) as flow:
        await flow.ask(1)
    for name in ("penguiflow.node.duration", "penguiflow.workflow.duration"):
        (point,) = measured.points(name)
        assert point.sum == pytest.approx(0.03)
        bounds = list(point.explicit_bounds)
        assert bounds == sorted(bounds)
        assert (bounds[0], bounds[-1]) == (0.0005, 300)


async def test_workflows_agents_and_tools_are_measured_as_the_conventions_say_too(measured, telemetry):
    plugin = telemetry(agents={"first"}, tools={"picky"})
    async with create(first.to(picky), name="f", plugins=[plugin]) as flow:
        await flow.ask(1)
    agents = [dict(point.attributes) for point in measured.points("gen_ai.invoke_agent.duration")]
    assert agents == [
        {"gen_ai.agent.name": "f", "gen_ai.operation.name": "invoke_workflow"},
        {"gen_ai.agent.name": "first", "gen_ai.operation.name": "invoke_agent"},
    ]
    (tool,) = measured.points("gen_ai.execute_tool.duration")
    assert dict(tool.attributes) == {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "picky",
        "gen_ai.tool.type": "function",
    }
    assert tool.explicit_bounds[0] == 0.01


@virtual_time
async def test_retries_are_counted_and_attempts_timed(measured, telemetry):
    async with create(flaky, plugins=[telemetry()]) as flow:
        await flow.ask(0)
        await flow.ask(2)
    assert measured.counts("penguiflow.retries", NODE, ERROR) == {("flaky", "KeyError"): 2}
    assert measured.counts("penguiflow.attempt.duration", NODE, OUTCOME, ERROR) == {
        ("flaky", "completed", None): 1,
        ("flaky", "failed", "KeyError"): 2,
    }
    async with create(flaky, name="other", plugins=[telemetry()]) as flow:
        with pytest.raises(FlowError):
            await flow.ask(9)
    assert measured.counts("penguiflow.attempt.duration", FLOW, OUTCOME)["other", "failed"] == 3
    failed = next(p for p in measured.points("penguiflow.attempt.duration") if p.attributes[OUTCOME] == "failed")
    assert failed.sum == pytest.approx(0.02)


@virtual_time
async def test_what_waits_is_timed_and_what_need_not_wait_is_not(measured, telemetry):
    @node(max_concurrency=1)
    async def narrow(x: int) -> int:
        await asyncio.sleep(0.01)
        return x

    async with create(narrow, plugins=[telemetry()]) as flow:
        await asyncio.gather(*(flow.ask(x) for x in range(3)))
    (point,) = measured.points("penguiflow.queue.wait.duration")
    assert point.count == 2
    assert point.sum == pytest.approx(0.01 + 0.02)
    assert dict(point.attributes) == {FLOW: "flow", NODE: "narrow"}


async def test_what_is_under_way_is_counted_when_it_is_collected(measured, telemetry):
    running, go = asyncio.Semaphore(0), asyncio.Event()

    @node
    async def emits(x: int, ctx: Context) -> None:
        for number in range(4):
            await ctx.emit(number)

    @node
    async def waits(x: int) -> int:
        running.release()
        await go.wait()
        return x

    inner = create(emits.to(waits), name="inner")
    async with create(subflow("sub", inner), name="top", plugins=[telemetry()]) as flow:
        handles = [flow.start(n) for n in range(2)]
        for _ in range(2):
            await running.acquire()
        await asyncio.sleep(0)
        during = [
            measured.counts(f"penguiflow.{name}", FLOW) for name in ("workflow.active", "node.active", "queue.depth")
        ]
        go.set()
        for handle in handles:
            await handle.results()
    assert during == [{"top": 2}, {"top": 4}, {"top": 6}]
    for name in ("workflow.active", "node.active", "queue.depth"):
        assert sum(measured.counts(f"penguiflow.{name}", FLOW).values()) == 0


async def test_flows_of_one_name_are_counted_together(measured, telemetry):
    running, go = asyncio.Semaphore(0), asyncio.Event()

    @node
    async def waits(x: int) -> int:
        running.release()
        await go.wait()
        return x

    async with create(waits, plugins=[telemetry()]) as one, create(waits, plugins=[telemetry()]) as two:
        handles = [one.start(1), two.start(2), two.start(3)]
        for _ in handles:
            await running.acquire()
        assert measured.counts("penguiflow.workflow.active", FLOW) == {"flow": 3}
        go.set()
        for handle in handles:
            await handle.result()


@virtual_time
async def test_chunks_and_the_time_to_the_first_are_measured(measured, telemetry):
    @node
    async def writes(x: int, ctx: Context) -> int:
        await asyncio.sleep(0.02)
        for number in range(x):
            await ctx.emit_chunk(str(number))
        return x

    async with create(writes, plugins=[telemetry()]) as flow:
        async with flow.stream(5) as stream:
            assert len([chunk async for chunk in stream]) == 5
        await flow.ask(0)
    assert measured.counts("penguiflow.chunks", FLOW, NODE) == {("flow", "writes"): 5}
    (point,) = measured.points("penguiflow.workflow.time_to_first_chunk")
    assert point.count == 1
    assert point.sum == pytest.approx(0.02)


async def test_what_a_router_drops_is_counted(measured, telemetry):
    choose = predicate_router("choose", lambda message: "first" if message.payload else ())
    async with create(choose.to(first), plugins=[telemetry()]) as flow:
        for x in (0, 1, 0):
            await flow.ask(x)
    assert measured.counts("penguiflow.route.dropped", NODE) == {"choose": 2}


async def test_no_id_is_an_attribute_of_a_metric(measured, telemetry):
    """Whatever is measured of a thousand traces has as many series as what is measured of ten."""

    async def weather(traces: int) -> None:
        choose = predicate_router("choose", lambda message: "flaky" if message.payload != 5 else ())
        async with create(choose.to(flaky), flaky.to(picky), plugins=[telemetry()]) as flow:
            for x in range(traces):
                await asyncio.gather(flow.ask(Message(payload=x % 4, trace_id=f"trace-{x}")), return_exceptions=True)

    await weather(10)
    few = {name: len(points) for name, points in measured.all().items()}
    await weather(300)
    assert {name: len(points) for name, points in measured.all().items()} == few
    for points in measured.all().values():
        for point in points:
            assert set(point.attributes) <= {
                FLOW, NODE, OUTCOME, ERROR, "gen_ai.agent.name", "gen_ai.operation.name",
            }  # fmt: skip
            assert not any("trace-" in str(value) for value in point.attributes.values())


async def test_exemplars_point_at_the_span(measured, seen, telemetry):
    async with create(first, name="f", plugins=[telemetry()]) as flow:
        await flow.ask(1)
    collected = measured.all()  # once: exemplars are those since the last time
    for name, span in (
        ("penguiflow.node.duration", "invoke_node first"),
        ("penguiflow.workflow.duration", "invoke_workflow f"),
    ):
        ((point,), wanted) = collected[name], ids(seen.one(span))
        (exemplar,) = point.exemplars
        assert (exemplar.trace_id, exemplar.span_id) == (wanted.trace_id, wanted.span_id)


async def test_metrics_need_no_spans_and_spans_no_metrics(measured, seen):
    only_metrics = Telemetry(Options(spans=False, meter_provider=measured.provider))
    async with create(flaky, plugins=[only_metrics]) as flow:
        await flow.ask(1)
    assert measured.counts("penguiflow.node.duration", NODE) == {"flaky": 1}
    assert measured.counts("penguiflow.attempt.duration", NODE) == {"flaky": 2}
    assert seen.spans == ()
    only_spans = Telemetry(Options(metrics=False, tracer_provider=seen.provider))
    async with create(flaky, plugins=[only_spans]) as flow:
        await flow.ask(0)
    assert seen.tree() == ["invoke_workflow flow", "  invoke_node flaky"]
    assert only_metrics.under_way() == only_spans.under_way() == {}


async def test_spans_beyond_the_cap_are_counted_and_not_made(measured, seen, telemetry):
    @node(allow_cycle=True)
    async def again(x: int, ctx: Context) -> int | None:
        assert api.get_current_span().get_span_context().is_valid
        await ctx.emit(x - 1 if x else 0, to="again" if x else "first")
        return None

    async with create(again.to(again, first), plugins=[telemetry(max_spans=5)]) as flow:
        await flow.ask(20)
    assert len(seen.of("invoke_node again")) == 5
    assert dict(seen.one("invoke_workflow flow").attributes)["penguiflow.spans.dropped"] == 17
    assert measured.counts("penguiflow.spans.dropped", FLOW) == {"flow": 17}
    assert measured.counts("penguiflow.node.duration", NODE) == {"again": 21, "first": 1}


async def test_a_trace_whose_every_span_is_beyond_the_cap_nests_what_is_made_in_it(seen, telemetry):
    tracer = seen.provider.get_tracer("user")

    @node
    async def calls(x: int) -> int:
        with tracer.start_as_current_span("GET /"):
            return x

    async with create(first.to(calls), plugins=[telemetry(max_spans=1)]) as flow:
        await flow.ask(1)
    assert seen.tree() == ["invoke_workflow flow", "  invoke_node first", "  GET /"]


async def test_an_attempt_beyond_the_cap_nests_what_is_made_in_it_below_the_run(seen, telemetry):
    tracer = seen.provider.get_tracer("user")

    @node
    async def calls(x: int) -> int:
        with tracer.start_as_current_span("GET /"):
            return x

    book = create(calls, name="book")

    @node(max_retries=1, backoff_base=0)
    async def tries(x: int, ctx: Context) -> int:
        if ctx.attempt == 0:
            raise KeyError
        return await ctx.call_playbook(book, x)

    async with create(tries, plugins=[telemetry(max_spans=2, attempts=True)]) as flow:
        await flow.ask(1)
    assert seen.tree() == ["invoke_workflow flow", "  invoke_node tries", "    attempt tries", "    GET /"]


async def test_a_provider_keeps_no_flow_alive(measured: Measured, telemetry):
    plugin = telemetry()
    left = weakref.ref(plugin)
    async with create(first, plugins=[plugin]) as flow:
        await flow.ask(1)
    del flow, plugin
    gc.collect()
    assert left() is None
    assert measured.counts("penguiflow.workflow.active", FLOW) == {}


FORKS = """
import asyncio
import os

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from seeing import Measured

from penguiflow import create, node
from penguiflow_otel import Options, Telemetry

reader = InMemoryMetricReader()
measured = Measured(MeterProvider([reader], shutdown_on_exit=False), reader)


@node
async def forks(x: int) -> None:
    child = os.fork()
    if child:
        os.waitpid(child, 0)
    print(f"{child != 0} {measured.counts('penguiflow.workflow.active')}", flush=True)
    if not child:
        os._exit(0)


async def main() -> None:
    async with create(forks, plugins=[Telemetry(Options(meter_provider=measured.provider, spans=False))]) as flow:
        await flow.ask(1)


asyncio.run(main())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_counts_nothing_of_its_parent():
    done = subprocess.run(
        [sys.executable, "-c", FORKS],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["False {}", "True {(): 1}"]


async def test_a_provider_is_not_kept_alive_by_flows_that_measured_into_it():
    provider = MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False)
    left = weakref.ref(provider)
    async with create(first, plugins=[Telemetry(Options(meter_provider=provider))]) as flow:
        await flow.ask(1)
    provider.shutdown()
    del flow, provider
    gc.collect()
    assert left() is None


async def test_a_provider_that_cannot_be_hashed_is_as_good_as_any(measured: Measured):
    @dataclass
    class Proxy(api_metrics.MeterProvider):
        provider: MeterProvider

        def get_meter(self, *args, **kwargs):
            return self.provider.get_meter(*args, **kwargs)

    for _ in range(2):
        async with create(first, plugins=[Telemetry(Options(meter_provider=Proxy(measured.provider)))]) as flow:
            assert "failed" not in [record.status for record in flow.plugins]
            await flow.ask(1)
    assert measured.counts("penguiflow.node.duration", NODE) == {"first": 2}


async def test_an_error_in_a_subflow_counts_for_each_node_it_passes(measured, telemetry):
    async with create(subflow("sub", create(picky, name="inner")), name="top", plugins=[telemetry()]) as flow:
        with pytest.raises(FlowError):
            await flow.ask(-1)
    assert measured.counts("penguiflow.node.duration", FLOW, NODE, ERROR) == {
        ("inner", "picky", "ValueError"): 1,
        ("top", "sub", "ValueError"): 1,
    }
