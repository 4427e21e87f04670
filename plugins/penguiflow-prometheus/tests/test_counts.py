"""What is counted is what happened, as a second observer saw it."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest
from prometheus_client import CollectorRegistry
from promkit.flows import Ledger, Tap, busy, linger, pour, sift, tell, use
from promkit.scrapes import Scrape, scraped, scraped_plainly

from penguiflow import (
    Budget,
    Context,
    FlowError,
    FlowEvent,
    Message,
    Node,
    create,
    hookimpl,
    join_k,
    node,
    subflow,
)
from penguiflow_prometheus import Options, Prometheus


def as_floats(counted: dict) -> dict:
    return {key: float(value) for key, value in counted.items()}


async def test_traces_nodes_errors_and_retries_are_what_happened(registry: CollectorRegistry):
    truth = Ledger()
    async with busy([Prometheus(registry=registry), truth]) as flow:
        await use(flow, range(60))
    seen = scraped(registry)
    assert seen.by("penguiflow_traces_started_total", "flow", "mode") == {("busy", "ask"): 60}
    assert seen.by("penguiflow_traces_total", "outcome") == as_floats(truth.count("trace_finish", "outcome"))
    assert seen.by("penguiflow_node_runs_total", "node", "outcome") == {
        ("sift", "failed"): 12,
        ("sift", "success"): 48,
        ("tell", "success"): 48,
    }
    assert seen.by("penguiflow_node_retries_total", "node") == as_floats(truth.count("node_retry", "node_name"))
    assert sum(truth.count("node_error").values()) == 12 * 3 + 16
    assert seen.by("penguiflow_node_errors_total", "node", "error_type") == {
        ("sift", "ConnectionError"): 16,
        ("sift", "ValueError"): 36,
    }
    assert seen.by("penguiflow_trace_errors_total", "error_type") == {("ValueError",): 12}
    assert seen.value("penguiflow_trace_hops_total", flow="busy") == 60 + 48


async def test_histograms_hold_the_durations_of_the_events(registry: CollectorRegistry):
    truth = Ledger()
    async with busy([Prometheus(Options(buckets=(0.0001, 0.001, 3600)), registry=registry), truth]) as flow:
        await use(flow, range(1, 5))
    seen = scraped(registry)
    took = [e.latency_ms / 1e3 for e in truth.events if e.event_type == "node_success" and e.node_name == "tell"]
    labels = {"flow": "busy", "node": "tell", "outcome": "success"}
    for text, bound in (("0.0001", 0.0001), ("0.001", 0.001), ("3600.0", 3600.0), ("+Inf", float("inf"))):
        within = sum(one <= bound for one in took)
        assert seen.value("penguiflow_node_duration_seconds_bucket", le=text, **labels) == within
    assert seen.value("penguiflow_node_duration_seconds_sum", **labels) == pytest.approx(sum(took))
    waited = [e.queue_wait_ms / 1e3 for e in truth.events if e.event_type == "node_start" and e.node_name == "tell"]
    total = seen.value("penguiflow_node_queue_wait_seconds_sum", flow="busy", node="tell")
    assert total == pytest.approx(sum(waited))
    assert seen.value("penguiflow_node_queue_wait_seconds_count", flow="busy", node="tell") == 4
    traces = [e.latency_ms / 1e3 for e in truth.events if e.event_type == "trace_finish"]
    total = seen.value("penguiflow_trace_duration_seconds_sum", flow="busy", outcome="completed")
    assert total == pytest.approx(sum(traces))


async def test_a_duration_on_a_bound_belongs_to_that_bucket(registry: CollectorRegistry):
    made = Prometheus(Options(buckets=(1.0, 2.0)), registry=registry)
    seen: list[FlowEvent] = []
    async with create(tell, name="exact", on_event=seen.append) as flow:
        await flow.ask(1)
    (ended,) = [event for event in seen if event.event_type == "node_success"]
    async with create(tell, name="exact", plugins=[made]):
        for ms in (999.0, 1000.0, 1001.0, 2000.0, 2001.0):
            ended.latency_ms = ms
            made.on_event(ended)
    found = scraped(registry)
    buckets = {le: found.by("penguiflow_node_duration_seconds_bucket", "le")[(le,)] for le in ("1.0", "2.0", "+Inf")}
    assert buckets == {"1.0": 2, "2.0": 4, "+Inf": 5}


async def test_chunks_tokens_and_cost_are_added_up(registry: CollectorRegistry):
    truth = Ledger()
    async with busy([Prometheus(registry=registry), truth]) as flow:
        async with flow.stream(7) as stream:
            texts = [chunk.text async for chunk in stream]
        await flow.ask(4)
    seen = scraped(registry)
    assert len(texts) == 7
    assert seen.by("penguiflow_traces_started_total", "mode") == {("stream",): 1, ("ask",): 1}
    assert seen.value("penguiflow_stream_chunks_total", flow="busy", node="tell") == 7 + 4
    characters = sum(int(length) * count for (length,), count in truth.count("stream_chunk", "length").items())
    assert seen.value("penguiflow_stream_characters_total", flow="busy", node="tell") == characters == 42 + 12
    assert seen.value("penguiflow_trace_tokens_total", flow="busy") == 20
    assert seen.value("penguiflow_trace_cost_total", flow="busy") == 0.5
    firsts = [e.ts for e in truth.events if e.event_type == "stream_chunk" and e.extra["seq"] == 0]
    starts = [e.ts for e in truth.events if e.event_type == "trace_start"]
    waited = sum(first - start for first, start in zip(firsts, starts, strict=True))
    assert seen.value("penguiflow_stream_first_chunk_seconds_count", flow="busy") == 2
    assert seen.value("penguiflow_stream_first_chunk_seconds_sum", flow="busy") == pytest.approx(waited)


async def test_a_time_limit_and_a_budget_are_counted_by_their_codes(registry: CollectorRegistry):
    async with create(linger, name="late", plugins=[Prometheus(registry=registry)]) as flow:
        with pytest.raises(FlowError):
            await flow.ask(1)
    async with create(tell, name="poor", plugins=[Prometheus(registry=registry)]) as flow:
        with pytest.raises(FlowError):
            await flow.ask(Message(payload=1, budget=Budget(tokens=5)))
    seen = scraped(registry)
    assert seen.by("penguiflow_node_errors_total", "flow", "error_type") == {("late", "NODE_TIMEOUT"): 1}
    assert seen.by("penguiflow_trace_errors_total", "flow", "error_type") == {
        ("late", "NODE_TIMEOUT"): 1,
        ("poor", "TOKEN_BUDGET_EXHAUSTED"): 1,
    }
    assert seen.by("penguiflow_node_runs_total", "flow", "outcome") == {("late", "failed"): 1, ("poor", "expired"): 1}
    assert seen.by("penguiflow_traces_total", "flow", "outcome") == {("late", "failed"): 1, ("poor", "expired"): 1}


async def test_an_error_from_deep_inside_keeps_its_type(registry: CollectorRegistry):
    deepest = create(sift, name="deepest")

    @node
    async def calls(number: int, ctx: Context) -> int:
        return int(await ctx.call_playbook(deepest, number))

    outer = create(
        subflow("nested", create(calls, name="inner")), name="outer", plugins=[Prometheus(registry=registry)]
    )
    async with outer as flow:
        with pytest.raises(FlowError):
            await flow.ask(5)
    seen = scraped(registry)
    assert seen.by("penguiflow_trace_errors_total", "flow", "error_type") == {("outer", "ValueError"): 1}
    assert seen.by("penguiflow_node_errors_total", "flow", "node", "error_type") == {
        ("deepest", "sift", "ValueError"): 3,
        ("inner", "calls", "ValueError"): 1,
        ("outer", "nested", "ValueError"): 1,
    }


async def test_an_error_that_is_its_own_cause_is_counted(registry: CollectorRegistry):
    @node
    async def circular(number: int) -> None:
        error = FlowError(code="ROUND", message="and round")
        error.original_exc = error
        raise error

    async with create(circular, name="circular", plugins=[Prometheus(registry=registry)]) as flow:
        with pytest.raises(FlowError):
            await flow.ask(1)
    assert scraped(registry).by("penguiflow_trace_errors_total", "error_type") == {("ROUND",): 1}


async def test_gauges_show_what_runs_and_are_0_after_a_storm_of_cancellations(registry: CollectorRegistry):
    begun = asyncio.Semaphore(0)

    @node(max_retries=1, backoff_base=3600.0)
    async def stuck(number: int) -> None:
        begun.release()
        if number % 4 == 0:
            raise ConnectionError("back off")
        await asyncio.Event().wait()

    async with create(sift.to(stuck), name="storm", plugins=[Prometheus(registry=registry)]) as flow:
        handles = [flow.start(number) for number in range(1, 400) if number % 5 and number % 3]
        for _ in handles:
            await begun.acquire()
        seen = scraped(registry)
        assert seen.by("penguiflow_traces_active", "flow", "mode") == {("storm", "start"): len(handles)}
        assert seen.by("penguiflow_node_runs_active", "node") == {("stuck",): len(handles)}
        assert seen.by("penguiflow_flows_running", "flow") == {("storm",): 1}
        handles += [flow.start(1) for _ in range(100)]  # cancelled before their first step
        await asyncio.gather(*(handle.cancel() for handle in handles))
        nothing_is_active(scraped(registry))
        assert scraped(registry).value("penguiflow_traces_total", flow="storm", outcome="cancelled") == len(handles)
        assert not scraped(registry).by("penguiflow_trace_errors_total", "error_type")
    assert "TRACE_CANCELLED" not in str(scraped(registry).metrics)
    assert not scraped(registry).by("penguiflow_flows_running", "flow")


def nothing_is_active(seen: Scrape) -> None:
    for name in ("traces_active", "node_runs_active", "node_queue_depth", "messages_waiting", "messages_entering"):
        shown = [sample for sample in seen.samples if sample.name == f"penguiflow_{name}"]
        assert shown
        assert {sample.value for sample in shown} == {0}, shown


async def test_messages_that_wait_are_shown_and_are_gone_with_their_trace(registry: CollectorRegistry):
    tap = Tap()
    flow = create(pour.to(tap.node), name="tap", plugins=[Prometheus(registry=registry)], queue_maxsize=8)
    async with flow:
        first, second = flow.start(6), flow.start(6)
        await tap.holds.wait()
        await asyncio.sleep(0)
        seen = scraped(registry)
        assert seen.by("penguiflow_node_queue_depth", "node") == {("drip",): 8}
        assert seen.by("penguiflow_messages_waiting", "flow") == {("tap",): 8}
        await first.cancel()
        assert scraped(registry).by("penguiflow_node_queue_depth", "node") == {("drip",): 4}
        tap.opened.set()
        await second.results()
        nothing_is_active(scraped(registry))


async def test_what_waits_for_a_place_is_shown_to_a_scrape_from_another_thread(registry: CollectorRegistry):
    begun, may_end = asyncio.Event(), asyncio.Event()

    @node(max_concurrency=1)
    async def narrow(number: int) -> int:
        begun.set()
        await may_end.wait()
        return number

    plugins = [Prometheus(registry=registry)]
    odd = Node(narrow.func, "nar/row", narrow.policy)
    async with create(odd, name="narrow", plugins=plugins, max_traces=4) as flow:
        handles = [asyncio.ensure_future(flow.ask(number)) for number in range(10)]
        await begun.wait()
        seen = await asyncio.to_thread(scraped, registry)
        assert seen.by("penguiflow_node_queue_depth", "flow", "node") == {("narrow", "nar/row"): 3}
        assert seen.by("penguiflow_messages_waiting", "flow") == {("narrow",): 3}
        assert seen.by("penguiflow_messages_entering", "flow") == {("narrow",): 6}
        may_end.set()
        await asyncio.gather(*handles)
        nothing_is_active(await asyncio.to_thread(scraped, registry))


async def test_a_loop_that_is_busy_holds_no_scrape_and_shows_what_it_showed_last(registry: CollectorRegistry):
    tap = Tap()
    flow = create(pour.to(tap.node), name="busy", plugins=[Prometheus(registry=registry)], queue_maxsize=8)
    async with flow:
        handle = flow.start(6)
        await tap.holds.wait()
        await asyncio.sleep(0)
        await asyncio.to_thread(scraped, registry)
        with ThreadPoolExecutor(1) as threads:
            seen = threads.submit(scraped, registry).result(30)  # blocks the loop
        assert seen.by("penguiflow_node_queue_depth", "node") == {("drip",): 4}
        await handle.cancel()
        nothing_is_active(await asyncio.to_thread(scraped, registry))


async def test_what_a_join_holds_counts_as_waiting(registry: CollectorRegistry):
    came, may_come = asyncio.Event(), asyncio.Event()

    @node
    async def fork(number: int) -> int:
        return number

    @node
    async def quick(number: int) -> int:
        return number

    @node
    async def slow(number: int) -> int:
        await may_come.wait()
        return number

    @node
    async def slower(number: int) -> int:
        came.set()
        await may_come.wait()
        return number

    both = join_k("both", 3)
    flow = create(
        fork.to(quick, slow, slower),
        quick.to(both),
        slow.to(both),
        slower.to(both),
        name="joins",
        plugins=[Prometheus(registry=registry)],
    )
    async with flow:
        handle = flow.start(1)
        await came.wait()
        assert scraped(registry).by("penguiflow_messages_waiting", "flow") == {("joins",): 1}
        may_come.set()
        await handle.result()
        nothing_is_active(scraped(registry))


async def test_what_a_join_holds_is_gone_when_its_trace_starves(registry: CollectorRegistry):
    @node
    async def fork(number: int) -> int:
        return number

    @node
    async def one(number: int) -> int:
        return number

    @node
    async def two(number: int) -> int:
        return number

    @node
    async def silent(number: int) -> None:
        return None

    all_three = join_k("all_three", 3)
    steps = (fork.to(one, two, silent), *(step.to(all_three) for step in (one, two, silent)))
    async with create(*steps, name="starved", plugins=[Prometheus(registry=registry)]) as flow:
        with pytest.raises(FlowError, match="2 of 3"):
            await flow.ask(1)
        nothing_is_active(scraped(registry))
    assert scraped(registry).by("penguiflow_trace_errors_total", "error_type") == {("JOIN_STARVED",): 1}


async def test_the_nodes_of_subflows_and_playbooks_have_their_own_flow_as_a_label(registry: CollectorRegistry):
    inner = create(Node(tell.func, name="deep"), name="inner")
    called = create(Node(tell.func, name="read"), name="playbook")

    @node
    async def caller(number: int, ctx: Context) -> str:
        return str(await ctx.call_playbook(called, number))

    @node
    async def number_of(text: str) -> int:
        return int(text.removeprefix("told "))

    nested = subflow("nested", inner)
    flow = create(caller.to(number_of), number_of.to(nested), name="outer", plugins=[Prometheus(registry=registry)])
    async with flow:
        async with flow.stream(2) as stream:
            assert len([chunk async for chunk in stream]) == 4
            assert stream.result == "told 2"
    seen = scraped(registry)
    assert seen.by("penguiflow_node_runs_total", "flow", "node") == {
        ("outer", "caller"): 1,
        ("outer", "number_of"): 1,
        ("outer", "nested"): 1,
        ("inner", "deep"): 1,
        ("playbook", "read"): 1,
    }
    assert seen.by("penguiflow_traces_total", "flow") == {("outer",): 1}
    assert seen.by("penguiflow_stream_first_chunk_seconds_count", "flow") == {("outer",): 1}
    nothing_is_active(seen)


async def test_first_chunks_belong_to_the_trace_of_their_flow_though_another_flow_has_one_of_the_same_id(
    registry: CollectorRegistry,
):
    shared, truth = Prometheus(registry=registry), Ledger()

    @node
    async def writes(x: int, ctx: Context) -> int:
        await ctx.emit_chunk("one")
        return x

    inner = create(writes, name="by/inner")

    @node
    async def quiet(x: int) -> int:
        return x

    async with create(writes, name="asked", plugins=[shared, truth]) as asked:
        async with create(quiet, name="silent", plugins=[shared, truth]) as silent:

            @node
            async def asks(message: Message[int], ctx: Context) -> int:
                await silent.ask(message)
                await asked.ask(message)
                return 1

            deep = subflow("deep", inner)
            async with create(asks.to(deep), name="top/most", plugins=[shared, truth]) as flow:
                await flow.ask(1)
    seen = scraped(registry)
    assert seen.by("penguiflow_stream_first_chunk_seconds_count", "flow") == {("asked",): 1, ("top/most",): 1}
    began = {e.flow_name: e.ts for e in truth.events if e.event_type == "trace_start"}
    wrote = [e.ts for e in truth.events if e.event_type == "stream_chunk"]
    for name, ts in zip(("asked", "top/most"), wrote, strict=True):
        waited = seen.value("penguiflow_stream_first_chunk_seconds_sum", flow=name)
        assert waited == pytest.approx(ts - began[name])


async def test_what_waits_in_a_subflow_is_shown_at_its_node_and_for_the_flow_that_runs(registry: CollectorRegistry):
    tap = Tap()
    inner = create(pour.to(tap.node), name="inner")
    async with create(subflow("nested", inner), name="outer", plugins=[Prometheus(registry=registry)]) as flow:
        handle = flow.start(4)
        await tap.holds.wait()
        seen = scraped(registry)
        assert seen.by("penguiflow_messages_waiting", "flow") == {("outer",): 2}
        assert seen.by("penguiflow_node_queue_depth", "flow", "node") == {("inner", "drip"): 2}
        assert seen.by("penguiflow_node_runs_active", "node") == {("nested",): 1, ("drip",): 1}
        tap.opened.set()
        await handle.results()
        nothing_is_active(scraped(registry))
    assert [sample.labels["flow"] for sample in scraped(registry).samples if "flows_running" in sample.name] == [
        "outer"
    ]


async def test_a_flow_and_its_nodes_are_shown_at_0_before_anything_happens(registry: CollectorRegistry):
    inner = create(Node(tell.func, name="deep"), name="inner")
    flow = create(sift.to(subflow("nested", inner)), name="outer", plugins=[Prometheus(registry=registry)])
    async with flow:
        seen = scraped(registry)
    for outcome in ("completed", "failed", "cancelled", "expired"):
        assert seen.value("penguiflow_traces_total", flow="outer", outcome=outcome) == 0
    for place in (("outer", "sift"), ("outer", "nested"), ("inner", "deep")):
        labels = dict(zip(("flow", "node"), place, strict=True))
        assert seen.value("penguiflow_node_retries_total", **labels) == 0
        for outcome in ("success", "failed", "cancelled", "expired"):
            assert seen.value("penguiflow_node_runs_total", outcome=outcome, **labels) == 0
    assert seen.by("penguiflow_flows_running", "flow") == {("outer",): 1}


async def test_failures_of_other_plugins_are_counted(registry: CollectorRegistry, caplog: pytest.LogCaptureFixture):
    class Clumsy:
        name = "clumsy"
        event_types = ("node_start",)

        @hookimpl
        def on_event(self, event: FlowEvent) -> None:
            raise RuntimeError("stumbled")

    async with create(tell, name="hurt", plugins=[Prometheus(registry=registry), Clumsy()]) as flow:
        await flow.ask(1)
        await flow.ask(1)
    found = scraped(registry).by("penguiflow_plugin_errors_total", "flow", "plugin", "hook")
    assert found == {("hurt", "clumsy", "on_event"): 2}
    assert "stumbled" in caplog.text


async def test_exemplars_name_the_last_trace_that_was_counted(registry: CollectorRegistry):
    async with busy([Prometheus(registry=registry)]) as flow:
        await flow.start(1).result()
        failed = flow.start(5)
        with pytest.raises(FlowError):
            await failed.result()
        told = flow.start(2)
        await told.result()
    seen = scraped(registry)
    (of_errors,) = seen.exemplars("penguiflow_node_errors_total")
    assert of_errors.labels == {"trace_id": failed.trace_id}
    assert [exemplar.labels["trace_id"] for exemplar in seen.exemplars("penguiflow_trace_errors_total")] == [
        failed.trace_id
    ]
    in_buckets = seen.exemplars("penguiflow_node_duration_seconds_bucket")
    assert told.trace_id in {exemplar.labels["trace_id"] for exemplar in in_buckets}
    assert all(exemplar.value >= 0 and exemplar.timestamp for exemplar in in_buckets)


async def test_exemplars_can_be_left_out(registry: CollectorRegistry):
    async with busy([Prometheus(Options(exemplars=False), registry=registry)]) as flow:
        await use(flow, range(6))
    seen = scraped(registry)
    assert seen.value("penguiflow_traces_total", flow="busy", outcome="completed") == 4
    assert not [sample for sample in seen.samples if sample.exemplar is not None]


async def test_both_text_formats_say_the_same(registry: CollectorRegistry):
    async with busy([Prometheus(registry=registry)]) as flow:
        await use(flow, range(12))
    plain, full = scraped_plainly(registry), scraped(registry)
    assert {(s.name, tuple(s.labels.items()), s.value) for s in plain.samples} == {
        (s.name, tuple(s.labels.items()), s.value) for s in full.samples
    }
    assert len(plain.samples) > 100
