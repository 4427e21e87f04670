"""A real backend shows the trace's own tree: Arize Phoenix, over OTLP/HTTP, asked through its REST API.

It takes minutes to install, so it isn't among the tests that run by themselves: `pytest -m backend`. An installation
that is there already is used if `PENGUIFLOW_OTEL_PHOENIX` names its `phoenix` command.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from zoo import FAILED, check, flow_of

from penguiflow import FlowError
from penguiflow_otel import Options, Telemetry

PATIENCE_S = 120

pytestmark = pytest.mark.backend


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Phoenix, in an environment of its own."""
    given = os.environ.get("PENGUIFLOW_OTEL_PHOENIX")
    if given is not None:
        return given
    place = tmp_path_factory.mktemp("phoenix") / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
    subprocess.run([str(place / "bin" / "pip"), "install", "--quiet", "arize-phoenix"], check=True)
    return str(place / "bin" / "phoenix")


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@pytest.fixture
def phoenix(command: str, tmp_path: Path) -> Iterator[str]:
    """Where a server listens that has nothing in it."""
    port, url = free_port(), ""
    settings = {
        "PHOENIX_HOST": "127.0.0.1",
        "PHOENIX_PORT": str(port),
        "PHOENIX_GRPC_PORT": str(free_port()),
        "PHOENIX_TELEMETRY_ENABLED": "false",
        "PHOENIX_WORKING_DIR": str(tmp_path),
    }
    with (tmp_path / "server.log").open("w") as log:
        server = subprocess.Popen([command, "serve"], env={**os.environ, **settings}, stdout=log, stderr=log)
    try:
        url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + PATIENCE_S
        while not answers(url):
            assert server.poll() is None, (tmp_path / "server.log").read_text()
            assert time.monotonic() < deadline, "the server doesn't come up"
            time.sleep(0.2)
        yield url
    finally:
        server.terminate()
        server.wait(30)


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz").is_success
    except httpx.TransportError:
        return False


def stored(url: str, number: int) -> list[dict[str, Any]]:
    """The spans that the backend has, once it has so many: it takes them in when it has time."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        got = httpx.get(f"{url}/v1/projects/default/spans", params={"limit": 1000})
        spans: list[dict[str, Any]] = got.json()["data"] if got.is_success else []
        if len(spans) >= number:
            return spans
        assert time.monotonic() < deadline, f"{len(spans)} of {number} spans came: {got.text[:500]}"
        time.sleep(0.2)


def tree(spans: list[dict[str, Any]]) -> list[str]:
    below: dict[str | None, list[dict[str, Any]]] = {}
    for span in sorted(spans, key=lambda span: span["start_time"]):
        below.setdefault(span["parent_id"], []).append(span)

    def lines(parent: str | None, depth: int) -> list[str]:
        found = []
        for span in below.get(parent, []):
            found += ["  " * depth + span["name"], *lines(span["context"]["span_id"], depth + 1)]
        return found

    return lines(None, 0)


async def test_the_backend_shows_the_tree_of_the_trace(phoenix: str):
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{phoenix}/v1/traces")))
    async with flow_of(Telemetry(Options(tracer_provider=provider))) as flow:
        with pytest.raises(FlowError):
            await flow.ask(1)
    await asyncio.to_thread(provider.shutdown)
    spans = await asyncio.to_thread(stored, phoenix, 10)
    check(tree(spans))
    assert len({span["context"]["trace_id"] for span in spans}) == 1
    assert {span["name"] for span in spans if span["status_code"] == "ERROR"} == FAILED
    (refused,) = [span for span in spans if span["name"] == "invoke_node refuses"]
    assert refused["attributes"]["error.type"] == "LookupError"
    assert [event["name"] for event in refused["events"]] == ["exception"]
    rounds = [span for span in spans if span["name"] == "invoke_node counts"]
    assert sorted(span["attributes"]["penguiflow.iteration"] for span in rounds) == [1, 2, 3]
