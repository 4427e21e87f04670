"""What is shown over HTTP, by a real server and to a real client."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import httpx
import pytest
import uvicorn
from prometheus_client import REGISTRY, CollectorRegistry, Gauge
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from promkit.flows import busy, tell, use
from promkit.scrapes import Scrape, read

from penguiflow import create
from penguiflow_prometheus import Prometheus, metrics_app, start_http_server

OPENMETRICS = {"accept": "application/openmetrics-text; version=1.0.0"}


@asynccontextmanager
async def served(registry: CollectorRegistry | None) -> AsyncIterator[httpx.AsyncClient]:
    """The application in uvicorn, in this loop, and a client of it."""
    config = uvicorn.Config(metrics_app(registry), port=0, log_level="error", lifespan="on", ws="none")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:
        assert not serving.done()
        await asyncio.sleep(0.005)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            yield client
    finally:
        server.should_exit = True
        await serving


@pytest.fixture
def own_server(registry: CollectorRegistry) -> Iterator[httpx.Client]:
    with start_http_server(0, registry=registry) as server:
        with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", trust_env=False) as client:
            yield client


async def test_the_application_shows_the_metrics_in_both_formats(registry: CollectorRegistry):
    async with busy([Prometheus(registry=registry)]) as flow, served(registry) as client:
        await use(flow, range(10))
        plain = await client.get("/metrics")
        full = await client.get("/metrics", headers=OPENMETRICS)
    assert plain.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert plain.headers["content-encoding"] == "gzip"
    assert int(plain.headers["content-length"]) < len(plain.content)
    assert read(plain.text).value("penguiflow_traces_total", flow="busy", outcome="completed") == 8
    assert full.headers["content-type"].startswith("application/openmetrics-text")
    seen = Scrape(parse_openmetrics(full.text))
    assert seen.value("penguiflow_traces_total", flow="busy", outcome="completed") == 8
    assert seen.exemplars("penguiflow_node_errors_total")


async def test_a_client_that_takes_no_gzip_gets_none(registry: CollectorRegistry):
    async with busy([Prometheus(registry=registry)]), served(registry) as client:
        answer = await client.get("/metrics", headers={"accept-encoding": "identity"})
    assert "content-encoding" not in answer.headers
    assert "penguiflow_flows_running" in answer.text


async def test_some_metrics_can_be_asked_for_by_name(registry: CollectorRegistry):
    async with busy([Prometheus(registry=registry)]) as flow, served(registry) as client:
        await use(flow, range(10))
        answer = await client.get("/metrics", params={"name[]": ["penguiflow_traces_total", "nonsense"]})
    assert {sample.name for sample in read(answer.text).samples} == {"penguiflow_traces_total"}


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("OPTIONS", 200), ("POST", 405), ("DELETE", 405)])
async def test_the_application_is_only_read(registry: CollectorRegistry, method: str, status: int):
    async with busy([Prometheus(registry=registry)]), served(registry) as client:
        answer = await client.request(method, "/metrics")
    assert answer.status_code == status
    assert b"penguiflow" not in answer.content
    if method == "HEAD":
        assert int(answer.headers["content-length"]) > 0
    else:
        assert answer.headers["allow"] == "GET, HEAD, OPTIONS"


async def test_without_a_registry_the_default_one_is_shown():
    async with create(tell, name="shown", plugins=[Prometheus()]) as flow, served(None) as client:
        await flow.ask(1)
        answer = await client.get("/metrics")
    assert read(answer.text).value("penguiflow_traces_total", flow="shown", outcome="completed") == 1
    assert "python_info" in answer.text


async def test_a_socket_is_turned_away(registry: CollectorRegistry):
    sent = []

    async def send(message) -> None:
        sent.append(message)

    async def receive():
        return {"type": "websocket.connect"}

    await metrics_app(registry)({"type": "websocket"}, receive, send)
    assert [message["type"] for message in sent] == ["websocket.close"]


async def test_the_loop_goes_on_while_metrics_are_written_down(registry: CollectorRegistry):
    asked, may_answer = threading.Event(), threading.Event()

    def slow() -> float:
        asked.set()
        assert may_answer.wait(10)
        return 1.0

    Gauge("slow", "Takes its time.", registry=registry).set_function(slow)
    async with create(tell, name="going on", plugins=[Prometheus(registry=registry)]) as flow:
        async with served(registry) as client:
            scrape = asyncio.create_task(client.get("/metrics"))
            await asyncio.to_thread(asked.wait, 10)
            assert await flow.ask(3) == "told 3"
            may_answer.set()
            assert read((await scrape).text).value("slow") == 1


def test_the_server_for_scripts_shows_the_metrics_until_it_is_closed(registry: CollectorRegistry):
    async def asked() -> None:
        async with busy([Prometheus(registry=registry)]) as flow:
            await use(flow, range(10))

    before = threading.enumerate()
    with start_http_server(0, registry=registry) as server:
        asyncio.run(asked())
        url = f"http://127.0.0.1:{server.port}/metrics"
        answer = httpx.get(url, trust_env=False)
        assert read(answer.text).value("penguiflow_traces_total", flow="busy", outcome="completed") == 8
    with pytest.raises(httpx.ConnectError):
        httpx.get(url, trust_env=False)
    until = time.monotonic() + 5
    while threading.enumerate() != before and time.monotonic() < until:
        time.sleep(0.01)  # the thread of the last request
    assert threading.enumerate() == before


def test_the_server_for_scripts_speaks_openmetrics_too(own_server: httpx.Client, registry: CollectorRegistry):
    async def asked() -> None:
        async with busy([Prometheus(registry=registry)]) as flow:
            await use(flow, range(10))

    asyncio.run(asked())
    assert Scrape(parse_openmetrics(own_server.get("/metrics", headers=OPENMETRICS).text)).exemplars(
        "penguiflow_trace_errors_total"
    )


def test_a_port_that_is_taken_is_an_error_at_once(registry: CollectorRegistry):
    with start_http_server(0, registry=registry) as server, pytest.raises(OSError, match="in use"):
        start_http_server(server.port, registry=registry)


def test_by_default_only_this_machine_is_answered():
    with start_http_server(0, registry=REGISTRY) as server:
        assert server.addr == "127.0.0.1"
