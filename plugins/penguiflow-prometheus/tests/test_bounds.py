"""What the metrics take has limits, and no name or number breaks a scrape."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import tracemalloc

import pytest
from prometheus_client import CollectorRegistry
from promkit.flows import pour, tell
from promkit.scrapes import scraped, scraped_plainly
from pydantic import ValidationError

from penguiflow import Budget, Context, FlowError, FlowEvent, Message, Node, create, hookimpl, node
from penguiflow_prometheus import Options, Prometheus
from penguiflow_prometheus.bench import growth


async def test_error_types_beyond_the_limit_share_a_label(registry: CollectorRegistry):
    @node
    async def inventive(number: int) -> None:
        raise type(f"Error{number}", (Exception,), {})

    options = Options(max_error_types=3)
    async with create(inventive, name="errors", plugins=[Prometheus(options, registry=registry)]) as flow:
        for number in (0, 1, 2, 3, 4, 1):
            with pytest.raises(FlowError):
                await flow.ask(number)
    expected = {("Error0",): 1, ("Error1",): 2, ("Error2",): 1, ("(other)",): 2}
    assert scraped(registry).by("penguiflow_node_errors_total", "error_type") == expected
    assert scraped(registry).by("penguiflow_trace_errors_total", "error_type") == expected


async def test_flows_and_nodes_beyond_the_limits_share_a_label(registry: CollectorRegistry):
    options = Options(max_flows=2, max_nodes=3)
    for number in range(5):
        made = Prometheus(options, registry=registry)
        async with create(tell, name=f"flow {number}", plugins=[made]) as flow:
            await flow.ask(1)
    seen = scraped(registry)
    assert seen.by("penguiflow_traces_total", "flow") == {("flow 0",): 1, ("flow 1",): 1, ("(other)",): 3}
    assert seen.by("penguiflow_node_runs_total", "flow", "node") == {
        ("flow 0", "tell"): 1,
        ("flow 1", "tell"): 1,
        ("flow 2", "tell"): 1,
        ("(other)", "(other)"): 2,
    }


async def test_the_limits_hold_for_all_flows_of_a_registry_together(registry: CollectorRegistry):
    options = Options(max_flows=2, max_nodes=3, max_error_types=2)

    @node
    async def inventive(number: int) -> None:
        raise type(f"Error{number}", (Exception,), {})

    async with contextlib.AsyncExitStack() as stack:
        for number in range(6):
            made = Prometheus(options, registry=registry)
            flow = create(inventive, name=f"flow {number}", plugins=[made])
            await stack.enter_async_context(flow)
            with pytest.raises(FlowError):
                await flow.ask(number)
        seen = scraped(registry)
    assert seen.by("penguiflow_traces_total", "flow") == {("flow 0",): 1, ("flow 1",): 1, ("(other)",): 4}
    assert seen.by("penguiflow_node_runs_total", "flow") == {
        ("flow 0",): 1,
        ("flow 1",): 1,
        ("flow 2",): 1,
        ("(other)",): 3,
    }
    assert seen.by("penguiflow_node_errors_total", "flow", "error_type") == {
        ("flow 0", "Error0"): 1,
        ("flow 1", "Error1"): 1,
        ("flow 2", "(other)"): 1,
        ("(other)", "(other)"): 3,
    }
    assert seen.by("penguiflow_flows_running", "flow")[("(other)",)] == 4


async def test_plugins_beyond_the_limit_share_a_label(registry: CollectorRegistry, caplog: pytest.LogCaptureFixture):
    class Clumsy:
        event_types = ("flow_start",)

        def __init__(self, name: str) -> None:
            self.name = name

        @hookimpl
        def on_event(self, event: FlowEvent) -> None:
            raise RuntimeError("stumbled")

    counts = Prometheus(Options(max_error_types=2), registry=registry)
    async with create(tell, name="clumsy", plugins=[counts, *(Clumsy(f"clumsy {number}") for number in range(5))]):
        expected = {("clumsy 0",): 1, ("clumsy 1",): 1, ("(other)",): 3}
        assert scraped(registry).by("penguiflow_plugin_errors_total", "plugin") == expected
    assert "stumbled" in caplog.text


async def test_flows_that_come_and_go_leave_one_set_of_metrics(registry: CollectorRegistry):
    async def once() -> int:
        async with create(tell, name="short", plugins=[Prometheus(registry=registry)]) as flow:
            await flow.ask(1)
        return len(scraped(registry).samples)

    sizes = {await once() for _ in range(20)}
    assert len(sizes) == 1
    assert scraped(registry).value("penguiflow_traces_total", flow="short", outcome="completed") == 20


async def test_flows_that_come_and_go_take_no_memory(registry: CollectorRegistry):
    async def cycles(count: int) -> None:
        for _ in range(count):
            async with create(tell, name="short", plugins=[Prometheus(registry=registry)]) as flow:
                await flow.ask(1)
        gc.collect()

    await cycles(20)
    tracemalloc.start()
    try:
        await cycles(20)
        before, _ = tracemalloc.get_traced_memory()
        await cycles(100)
        assert tracemalloc.get_traced_memory()[0] - before < 50_000
    finally:
        tracemalloc.stop()


async def test_ten_times_the_traces_take_no_more_memory():
    assert await growth(traces=2000) < 30_000


async def test_traces_that_are_cancelled_while_they_wait_take_no_memory_either(registry: CollectorRegistry):
    @node
    async def stuck(number: int) -> None:
        await asyncio.Event().wait()

    async with create(pour.to(stuck), name="cancelled", plugins=[Prometheus(registry=registry)]) as flow:

        async def storms(count: int) -> None:
            for _ in range(count):
                handles = [flow.start(8) for _ in range(20)]
                for _ in range(5):
                    await asyncio.sleep(0)
                await asyncio.gather(*(handle.cancel() for handle in handles))

        await storms(5)
        tracemalloc.start()
        try:
            await storms(5)
            before, _ = tracemalloc.get_traced_memory()
            await storms(50)
            assert tracemalloc.get_traced_memory()[0] - before < 50_000
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize("name", ['a "quoted" name', "back\\slash", "line\nbreak", "naïve 🐧", "lone \ud800", "{x=1}"])
async def test_any_name_of_a_flow_or_node_can_be_scraped(registry: CollectorRegistry, name: str):
    async with create(Node(tell.func, name=name), name=name, plugins=[Prometheus(registry=registry)]) as flow:
        await flow.ask(1)
    shown = name.encode("utf-8", "replace").decode()
    for seen in (scraped(registry), scraped_plainly(registry)):
        assert seen.by("penguiflow_node_runs_total", "flow", "node") == {(shown, shown): 1}


async def test_two_names_that_are_written_alike_share_their_series(registry: CollectorRegistry):
    for name in ("lone \ud800", "lone \udfff"):
        async with create(tell, name=name, plugins=[Prometheus(registry=registry)]) as flow:
            await flow.ask(1)
    assert scraped(registry).by("penguiflow_traces_total", "flow") == {("lone ?",): 2}


@pytest.mark.parametrize(("trace_id", "fits"), [("x" * 120, True), ("x" * 121, False), ("a\\b\nc", True)])
async def test_a_trace_id_that_does_not_fit_an_exemplar_is_left_out(
    registry: CollectorRegistry, trace_id: str, fits: bool
):
    async with create(tell, name="ids", plugins=[Prometheus(registry=registry)]) as flow:
        await flow.ask(Message(payload=1, trace_id=trace_id))
    found = scraped(registry).exemplars("penguiflow_trace_duration_seconds_bucket")
    shown = trace_id.encode("utf-8", "replace").decode()
    assert [exemplar.labels["trace_id"] for exemplar in found] == ([shown] if fits else [])


@pytest.mark.parametrize(("tokens", "cost"), [(float("inf"), float("inf")), (10**400, 1e308)])
async def test_an_endless_amount_leaves_the_sums_finite(registry: CollectorRegistry, tokens: float, cost: float):
    @node
    async def spend(number: int, ctx: Context) -> None:
        ctx.spend(tokens=tokens, cost=cost)  # type: ignore[arg-type]

    async with create(spend, name="rich", plugins=[Prometheus(registry=registry)]) as flow:
        await flow.ask(1)
        await flow.ask(1)
    for name in ("tokens", "cost"):
        assert scraped(registry).value(f"penguiflow_trace_{name}_total", flow="rich") == pytest.approx(2e100)


async def test_an_error_type_of_any_length_is_a_short_label(registry: CollectorRegistry):
    @node
    async def wordy(number: int) -> None:
        raise FlowError(code="X" * 1000, message="too much")

    async with create(wordy, name="wordy", plugins=[Prometheus(registry=registry)]) as flow:
        with pytest.raises(FlowError):
            await flow.ask(1)
    assert scraped(registry).by("penguiflow_node_errors_total", "error_type") == {("X" * 100,): 1}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"buckets": [1.0, 1.0]}, "rise"),
        ({"buckets": [2.0, 1.0]}, "rise"),
        ({"buckets": []}, "at least 1"),
        ({"buckets": [0.0, 1.0]}, "above 0"),
        ({"buckets": [float("nan")]}, "above 0"),
        ({"buckets": [float("inf")]}, "above 0"),
        ({"prefix": "1st"}, "prefix"),
        ({"prefix": "a-b"}, "prefix"),
        ({"max_nodes": 0}, "max_nodes"),
        ({"bukets": [1.0]}, "bukets"),
    ],
)
def test_wrong_options_are_refused(options: dict, said: str):
    with pytest.raises(ValidationError, match=said):
        Options(**options)


def test_an_infinite_last_bucket_is_understood():
    assert Options(buckets=(1.0, float("inf"))) == Options(buckets=(1.0,))


async def test_a_deadline_is_an_error_type_too(registry: CollectorRegistry):
    async with create(tell, name="spent", plugins=[Prometheus(registry=registry)]) as flow:
        with pytest.raises(FlowError):
            await flow.ask(Message(payload=1, budget=Budget(hops=0)))
    assert scraped(registry).by("penguiflow_trace_errors_total", "error_type") == {("HOP_BUDGET_EXHAUSTED",): 1}
