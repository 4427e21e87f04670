"""Log records know the span that they were made in."""

from __future__ import annotations

import asyncio
import io
import logging

import pytest
from seeing import ids

from penguiflow import create, node
from penguiflow_otel import SpanFilter

log = logging.getLogger("app")


@node
async def says(x: int) -> int:
    log.warning("in a node")
    await asyncio.sleep(0)
    log.warning("still there")
    return x


@node
async def silent(x: int) -> int:
    return x


@pytest.fixture(autouse=True)
def factory():
    """Every test gives the factory of records back as it was."""
    before = logging.getLogRecordFactory()
    yield
    assert logging.getLogRecordFactory() is before


async def test_records_made_in_a_node_carry_its_trace_and_span(seen, telemetry, caplog):
    async with create(silent.to(says), plugins=[telemetry()]) as flow:
        await asyncio.gather(*(flow.ask(x) for x in range(5)))
        log.warning("outside")
    inside = [record for record in caplog.records if record.name == "app" and record.getMessage() != "outside"]
    spans = {
        format(ids(span).span_id, "016x"): format(ids(span).trace_id, "032x") for span in seen.of("invoke_node says")
    }
    assert len(spans) == 5
    found = [(record.otelSpanID, record.otelTraceID) for record in inside]
    assert sorted(found) == sorted([*spans.items()] * 2)
    assert {record.otelTraceSampled for record in inside} == {True}
    (outside,) = [record for record in caplog.records if record.getMessage() == "outside"]
    assert (outside.otelTraceID, outside.otelSpanID, outside.otelTraceSampled) == ("0", "0", False)


async def test_the_factory_of_records_is_given_back_by_the_last_flow_that_stops(telemetry, caplog):
    before = logging.getLogRecordFactory()
    one, two = create(says, plugins=[telemetry()]), create(says, plugins=[telemetry()])
    async with one:
        async with two:
            assert logging.getLogRecordFactory() is not before
        await one.ask(1)
    assert logging.getLogRecordFactory() is before
    assert all(hasattr(record, "otelTraceID") for record in caplog.records if record.name == "app")


async def test_records_are_stamped_until_the_last_flow_that_shares_the_plugin_stops(telemetry, caplog):
    before, shared = logging.getLogRecordFactory(), telemetry()
    async with create(says, name="one", plugins=[shared]) as one:
        async with create(silent, name="two", plugins=[shared]) as two:
            await two.ask(1)
        await one.ask(1)
    assert logging.getLogRecordFactory() is before
    records = [record for record in caplog.records if record.name == "app"]
    assert [hasattr(record, "otelTraceID") for record in records] == [True, True]


async def test_a_factory_that_somebody_has_put_on_top_stays(telemetry, caplog):
    before = logging.getLogRecordFactory()

    def theirs(*args, **kwargs):
        record = inner(*args, **kwargs)
        record.theirs = True
        return record

    flow = create(says, plugins=[telemetry()])
    async with flow:
        inner = logging.getLogRecordFactory()
        logging.setLogRecordFactory(theirs)
    try:
        log.warning("after")
        assert logging.getLogRecordFactory() is theirs
    finally:
        logging.setLogRecordFactory(before)
    (record,) = caplog.records
    assert record.theirs
    assert not hasattr(record, "otelTraceID")


async def test_records_that_are_stamped_already_are_left_alone(telemetry, caplog):
    before = logging.getLogRecordFactory()

    def stamps(*args, **kwargs):
        record = before(*args, **kwargs)
        record.otelTraceID = "theirs"
        return record

    logging.setLogRecordFactory(stamps)
    try:
        async with create(says, plugins=[telemetry()]) as flow:
            await flow.ask(1)
    finally:
        logging.setLogRecordFactory(before)
    assert {record.otelTraceID for record in caplog.records if record.name == "app"} == {"theirs"}


async def test_logs_are_left_alone_if_that_is_wanted(telemetry, caplog):
    async with create(says, plugins=[telemetry(logs=False)]) as flow:
        await flow.ask(1)
    assert not any(hasattr(record, "otelTraceID") for record in caplog.records)


async def test_a_handler_with_the_filter_can_always_name_the_span(telemetry):
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.addFilter(SpanFilter())
    handler.setFormatter(logging.Formatter("%(message)s trace=%(otelTraceID)s span=%(otelSpanID)s"))
    log.addHandler(handler)
    try:
        log.warning("before")
        async with create(says, plugins=[telemetry(logs=False)]) as flow:
            await flow.ask(1)
    finally:
        log.removeHandler(handler)
    before, inside, _ = out.getvalue().splitlines()
    assert before == "before trace=0 span=0"
    assert len(inside) == len("in a node trace= span=") + 32 + 16
