"""The cells hold what the library's own metrics would, whoever of several flows has added it."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram
from promkit.flows import tell
from promkit.scrapes import Scrape, scraped

from penguiflow import FlowEvent, create
from penguiflow_prometheus import Options, Prometheus

BOUNDS = st.lists(st.sampled_from([0.001, 0.25, 0.5, 1.0, 3.0, 1e4]), min_size=1, unique=True).map(sorted).map(tuple)
MILLISECONDS = st.one_of(st.sampled_from([0.0, 1.0, 250.0, 500.0, 1000.0, 3000.0]), st.floats(0, 1e9))


async def ended() -> FlowEvent:
    """The end of a node run, whose duration may be changed."""
    seen: list[FlowEvent] = []
    async with create(tell, name="one", on_event=seen.append) as flow:
        await flow.ask(1)
    return next(event for event in seen if event.event_type == "node_success")


async def counted(flows: list[list[float]], options: Options, registry: CollectorRegistry) -> None:
    """Have each of several flows, which run at the same time, count durations in milliseconds."""
    event = await ended()
    async with AsyncExitStack() as stack:
        for durations in flows:
            made = Prometheus(options, registry=registry)
            await stack.enter_async_context(create(tell, name="one", plugins=[made]))
            for event.latency_ms in durations:
                made.on_event(event)


def shape(seen: Scrape, name: str) -> dict[str, float]:
    """A histogram's buckets and count."""
    buckets = {sample.labels["le"]: sample.value for sample in seen.samples if sample.name == f"{name}_bucket"}
    return buckets | {"count": sum(s.value for s in seen.samples if s.name == f"{name}_count")}


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(flows=st.lists(st.lists(MILLISECONDS, min_size=1, max_size=20), min_size=1, max_size=3), bounds=BOUNDS)
def test_a_histogram_is_the_one_that_prometheus_client_would_have(flows: list[list[float]], bounds: tuple[float, ...]):
    registry, reference = CollectorRegistry(), CollectorRegistry()
    asyncio.run(counted(flows, Options(buckets=bounds), registry))
    theirs = Histogram("theirs", "The same.", buckets=bounds, registry=reference)
    for durations in flows:
        for duration in durations:
            theirs.observe(duration / 1e3)
    seen = scraped(registry)
    assert shape(seen, "penguiflow_node_duration_seconds") == shape(scraped(reference), "theirs")
    total = seen.value("penguiflow_node_duration_seconds_sum", flow="one", node="tell", outcome="success")
    assert total == pytest.approx(sum(sum(durations) for durations in flows) / 1e3)
