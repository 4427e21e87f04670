"""Events: what their fields say, how they look in a log, and when nobody pays for them."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Iterator
from typing import Any

import pytest

from penguiflow import (
    EVENT_TYPES,
    Budget,
    Context,
    FlowError,
    FlowEvent,
    Headers,
    Message,
    Node,
    NodePolicy,
    Replace,
    create,
    hookimpl,
    node,
    router,
    subflow,
)
from tests.utils.flowtestkit import Recorder, quiet, virtual_time

OWNERS = ("flow_name", "node_name", "node_id", "trace_id", "invocation_id", "parent_invocation_ids", "attempt")
DEPTHS = ("queue_depth_in", "queue_depth_out", "queue_depth", "trace_pending", "trace_inflight")
FIELDS = ("event_type", "ts", *OWNERS, "latency_ms", "queue_wait_ms", *DEPTHS, "outcome", "error", "message", "extra")
TYPES = {
    "flow": ("start", "stop"),
    "trace": ("start", "finish", "cancel_start", "cancel_finish"),
    "node": ("start", "success", "error", "timeout", "retry", "attempt", "failed", "cancelled", "expired"),
    "route": ("decided", "dropped"),
    "stream": ("chunk",),
    "plugin": ("error",),
}


@node
async def first(x: int) -> int:
    return x


@node
async def second(x: int) -> int:
    return x + 1


@node
async def third(x: int) -> int:
    return x


class Silence:
    """Takes an error back, and breaks before that."""

    @hookimpl
    def on_error(self, error: FlowError) -> Replace:
        raise RuntimeError("broken")


@virtual_time
async def everything(recorder: Any) -> None:
    """A flow in which every type of event happens."""

    async def flaky(x: int, ctx: Context) -> int:
        await ctx.emit_chunk("x")
        if x == 1 and ctx.attempt == 0:
            raise ValueError("flaky")
        await asyncio.sleep({2: 5, 3: 500}.get(x, 0))
        if x == 4:
            raise KeyError("lost")
        return x

    tries = Node(flaky, policy=NodePolicy(max_retries=1, timeout_s=100, backoff_base=1))
    slow = Node(flaky, name="slow", policy=NodePolicy(timeout_s=1, max_retries=1, backoff_base=0))
    choose = router("choose", lambda request: () if request.message.payload == 5 else "last")
    last = Node(second.func, name="last")
    plugins = [Silence()]
    async with create(tries.to(choose), choose.to(last), plugins=plugins, on_event=recorder, name="zoo") as flow:
        for x in (0, 1, 4, 5):
            await asyncio.gather(flow.ask(x), return_exceptions=True)
        await asyncio.gather(flow.ask(3, timeout_s=10), return_exceptions=True)
        handle = flow.start(3)
        await quiet()
        await handle.cancel()
    async with create(slow, on_event=recorder) as flow:
        await asyncio.gather(flow.ask(2), return_exceptions=True)


def test_every_type_of_event_happens_and_has_every_field():
    recorder = Recorder()
    everything(recorder)
    assert {event.event_type for event in recorder.events} == set(EVENT_TYPES)
    for event in recorder.events:
        assert [name for name in FIELDS if not hasattr(event, name)] == []
        assert event.queue_depth == event.queue_depth_in + event.queue_depth_out
    recorder.assert_lawful()


def test_the_types_are_those_of_the_contract():
    assert set(EVENT_TYPES) == {f"{what}_{how}" for what, hows in TYPES.items() for how in hows}


def test_every_payload_is_json_and_says_only_what_is_known():
    recorder = Recorder()
    everything(recorder)
    for event in recorder.events:
        payload = event.to_payload()
        json.dumps(payload)
        assert (payload["event"], payload["ts"], payload["flow_name"]) == (event.event_type, event.ts, event.flow_name)
        assert "message" not in payload
        assert None not in payload.values()
        if event.error is not None:
            assert payload["error"] == f"{type(event.error).__name__}: {event.error}"
        assert payload.items() >= dict(event.extra).items()


# --- fields ---------------------------------------------------------------------------------------


@virtual_time
async def test_node_events_say_where_when_and_after_whom():
    recorder = Recorder()
    before = time.time()
    async with create(first.to(second), on_event=recorder, name="zoo") as flow:
        sent = Message(payload=1, trace_id="t", headers=Headers(tenant="x"), meta={"k": 1})
        await flow.ask(sent)
    one, two = recorder.of("node_start")
    assert (one.flow_name, one.node_name, one.node_id, one.trace_id) == ("zoo", "first", "zoo/first", "t")
    assert one.invocation_id != two.invocation_id
    assert (one.parent_invocation_ids, two.parent_invocation_ids) == ((), (one.invocation_id,))
    assert one.message is not None
    assert (one.message.payload, one.message.headers.tenant, one.message.meta) == (1, "x", {"k": 1})
    assert all(before - 1 <= event.ts <= time.time() + 1 for event in recorder.events)
    assert [event.invocation_id for event in recorder.of("node_success")] == [one.invocation_id, two.invocation_id]


@virtual_time
async def test_who_asks_for_ids_at_once_and_who_asks_later_are_told_the_same():
    seen = []

    def ids(event: FlowEvent) -> Any:
        return event.parent_invocation_ids, event.invocation_id

    def at_once(event: FlowEvent) -> None:
        seen.append((event, ids(event) if event.node_name != "second" else None))

    async with create(first.to(second), second.to(third), on_event=at_once) as flow:
        await flow.ask(1)
    assert [told for event, told in seen if told and told != ids(event)] == []
    runs = [ids(event) for event, _ in seen if event.event_type == "node_start"]
    assert [parents for parents, _ in runs] == [(), *((run,) for _, run in runs[:-1])]
    assert len({run for _, run in runs}) == 3


@virtual_time
async def test_latency_and_waiting_are_milliseconds():
    @node
    async def slow(x: int, ctx: Context):
        await asyncio.sleep(2)

    @node
    async def fan(x: int, ctx: Context):
        for number in range(3):
            await ctx.emit(number)
        await asyncio.sleep(0.5)

    recorder = Recorder()
    async with create(fan.to(slow), on_event=recorder) as flow:
        await flow.ask(1)
    starts = [event for event in recorder.of("node_start") if event.node_name == "slow"]
    assert [round(event.queue_wait_ms or 0) for event in starts] == [0, 2000, 4000]
    ends = [event for event in recorder.of("node_success") if event.node_name == "slow"]
    assert [round(event.latency_ms or 0) for event in ends] == [2000] * 3
    assert round(recorder.of("trace_finish")[0].latency_ms or 0) == 6000
    assert [event.queue_depth_in for event in starts] == [2, 1, 0]
    done = next(event for event in recorder.of("node_success") if event.node_name == "fan")
    assert (done.queue_depth_out, done.trace_pending, done.queue_depth) == (2, 2, 2)
    assert starts[-1].trace_inflight >= 1


@virtual_time
async def test_a_retried_run_is_one_invocation_with_attempts():
    recorder = Recorder()

    async def flaky(x: int, ctx: Context) -> int:
        if ctx.attempt < 2:
            raise ValueError("no")
        return x

    policy = NodePolicy(max_retries=2, backoff_base=3, backoff_mult=2)
    async with create(Node(flaky, policy=policy), on_event=recorder) as flow:
        await flow.ask(1)
    again = ["node_error", "node_retry", "node_attempt"]
    kinds = ["node_start", *again, *again, "node_success"]
    events = [event for event in recorder.events if event.event_type.startswith("node_")]
    assert [event.event_type for event in events] == kinds
    assert len({event.invocation_id for event in events}) == 1
    assert [event.attempt for event in events] == [0, 0, 0, 1, 1, 1, 2, 2]
    assert [event.extra["delay_s"] for event in recorder.of("node_retry")] == [3, 6]
    assert isinstance(recorder.of("node_error")[0].error, ValueError)


@virtual_time
async def test_an_attempt_that_fails_says_how_long_it_took_and_the_run_how_long_all_of_them_did():
    recorder = Recorder()

    @node(max_retries=2, backoff_base=3, backoff_mult=2, timeout_s=5)
    async def flaky(x: int, ctx: Context) -> int:
        await asyncio.sleep((2, 9, 1)[ctx.attempt])
        if ctx.attempt < 2:
            raise ValueError("no")
        return x

    async with create(flaky, on_event=recorder) as flow:
        await flow.ask(1)
    failed = [event for event in recorder.events if event.event_type in ("node_error", "node_timeout")]
    assert [(event.event_type, round(event.latency_ms or 0)) for event in failed] == [
        ("node_error", 2000),
        ("node_timeout", 5000),
    ]
    assert round(recorder.of("node_success")[0].latency_ms or 0) == 2000 + 3000 + 5000 + 6000 + 1000
    began = recorder.of("node_start")[0].ts
    attempts = [(event.attempt, round(event.ts - began)) for event in recorder.of("node_attempt")]
    assert attempts == [(1, 2 + 3), (2, 2 + 3 + 5 + 6)]


@virtual_time
async def test_trace_finish_says_how_it_ended_and_what_it_cost():
    recorder = Recorder()

    @node
    async def spends(x: int, ctx: Context):
        ctx.spend(tokens=x, cost=0.5)

    async with create(spends, on_event=recorder) as flow:
        await flow.ask(3)
        with pytest.raises(FlowError) as caught:
            await flow.ask(Message(payload=9, budget=Budget(tokens=5)))
    one, two = recorder.of("trace_finish")
    assert (one.outcome, one.error, one.extra["tokens"], one.extra["cost"]) == ("completed", None, 3, 0.5)
    assert (two.outcome, two.error) == ("expired", caught.value)


@virtual_time
async def test_trace_start_shows_the_message_that_begins_the_trace():
    recorder = Recorder()

    @node
    async def waits(x: int):
        await asyncio.sleep(9)

    async with create(waits, on_event=recorder) as flow:
        await flow.ask(Message(payload=1, headers=Headers(tenant="x"), meta={"k": 1}))
        await flow.start(2).cancel()  # before its first step
        await flow.emit(3)
    began = [event.message for event in recorder.of("trace_start")]
    assert [message.payload for message in began if message] == [1, 2, 3]
    assert began[0] is not None
    assert (began[0].headers.tenant, began[0].meta) == ("x", {"k": 1})
    assert [event.message for event in recorder.of("trace_finish")] == [None] * 3


@virtual_time
async def test_events_of_a_subflow_name_it_and_have_its_node_as_parent():
    recorder = Recorder()
    inner = create(second, name="inner")
    async with create(first.to(subflow("sub", inner)), on_event=recorder, name="zoo") as flow:
        await flow.ask(1)
        ids = {event.node_name: event for event in recorder.of("node_start")}
        assert (ids["second"].flow_name, ids["sub"].flow_name) == ("inner", "zoo")
        assert ids["second"].parent_invocation_ids == (ids["sub"].invocation_id,)
        assert len({event.trace_id for event in recorder.events if event.trace_id}) == 1
        graph = flow.graph.node("sub").subgraph
        assert graph is not None
        assert ids["second"].node_id == graph.node("second").node_id
    assert len(recorder.of("trace_start")) == 1


@virtual_time
async def test_one_flow_in_two_places_has_two_ids_in_the_graph_as_in_events():
    inner = create(second, name="inner")
    recorder = Recorder()
    async with create(subflow("a", inner).to(subflow("b", inner)), on_event=recorder) as flow:
        await flow.ask(1)
        subgraphs = [flow.graph.node(name).subgraph for name in "ab"]
    seen = [event.node_id for event in recorder.of("node_start") if event.node_name == "second"]
    assert len(set(seen)) == 2
    assert [graph.node("second").node_id for graph in subgraphs if graph] == seen


# --- the log --------------------------------------------------------------------------------------


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "penguiflow.events"]


def test_every_event_can_be_logged(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG, "penguiflow.events")
    recorder = Recorder()
    everything(recorder)
    assert len(logged(caplog)) == len(recorder.events)
    records = [record for record in caplog.records if record.name == "penguiflow.events"]
    assert [record.event for record in records] == recorder.types()  # type: ignore[attr-defined]
    assert not any("raised in on_event" in record.getMessage() for record in caplog.records)


class Told(str):
    """A router's answer that says more than where to."""

    detail = {"rule": "vip", "message": "because", "args": (1,), "name": "ada", "asctime": "now"}


@virtual_time
async def test_a_detail_named_like_a_part_of_a_log_record_is_logged_under_a_name_beside_it(
    caplog: pytest.LogCaptureFixture,
):
    caplog.set_level(logging.DEBUG, "penguiflow.events")
    async with create(router("way", policy=lambda request: Told("first")).to(first)) as flow:
        assert await flow.ask(1) == 1
    assert not any("raised in on_event" in record.getMessage() for record in caplog.records)
    [decided] = [vars(r) for r in caplog.records if r.getMessage() == "route_decided way"]
    assert (decided["rule"], decided["name"]) == ("vip", "penguiflow.events")
    assert {key: decided[f"{key}_"] for key in ("message", "args", "name", "asctime")} == {
        "message": "because",
        "args": (1,),
        "name": "ada",
        "asctime": "now",
    }


@pytest.fixture
def records_with_a_trace_id() -> Iterator[None]:
    """A log that writes ids into each record, as those that correlate logs do."""
    before = logging.getLogRecordFactory()

    def made(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = before(*args, **kwargs)
        record.trace_id = "of the log"
        return record

    logging.setLogRecordFactory(made)
    yield
    logging.setLogRecordFactory(before)


@virtual_time
async def test_what_a_log_writes_into_every_record_stays(caplog: Any, records_with_a_trace_id: None):
    caplog.set_level(logging.DEBUG, "penguiflow.events")
    async with create(first) as flow:
        await flow.ask(Message(payload=1, trace_id="t"))
    found = [vars(r) for r in caplog.records if r.getMessage() == "node_start first"]
    assert [(r["trace_id"], r["trace_id_"]) for r in found] == [("of the log", "t")]


@virtual_time
async def test_events_are_logged_if_the_logger_is_enabled_when_the_flow_starts(caplog: pytest.LogCaptureFixture):
    flow = create(first)
    async with flow:
        caplog.set_level(logging.DEBUG, "penguiflow.events")
        await flow.ask(1)
        assert logged(caplog) == []
    async with flow:
        await flow.ask(1)
    assert logged(caplog) == [
        "flow_start flow",
        "trace_start flow",
        "node_start first",
        "node_success first",
        "trace_finish flow",
        "flow_stop flow",
    ]


@virtual_time
async def test_failures_are_logged_though_nobody_asked_for_events(caplog: pytest.LogCaptureFixture):
    @node
    async def fails(x: int):
        raise ValueError("broken")

    async with create(fails) as flow:
        trace_id = await flow.emit(1)
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert trace_id in record.getMessage()
    assert "node 'fails' raised ValueError: broken" in record.getMessage()
    assert record.exc_info
    assert logged(caplog) == []


@virtual_time
async def test_a_plugin_that_breaks_with_no_listener_builds_no_event(monkeypatch: pytest.MonkeyPatch):
    built: list[str] = []
    init = FlowEvent.__init__

    def counted(self: FlowEvent, event_type: str, *args: Any, **kwargs: Any) -> None:
        built.append(event_type)
        init(self, event_type, *args, **kwargs)

    monkeypatch.setattr(FlowEvent, "__init__", counted)

    @node
    async def fails(x: int):
        raise ValueError

    async with create(fails, plugins=[Silence()]) as flow:
        with pytest.raises(FlowError):
            await flow.ask(1)
    assert built == []
