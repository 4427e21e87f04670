"""An application that knows nothing of telemetry, started with `opentelemetry-instrument`."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from collector import collecting

APPLICATION = """
import asyncio
import logging
import sys

import httpx

from penguiflow import create, node


@node
async def fetch(url: str) -> str:
    async with httpx.AsyncClient() as client:
        text = (await client.get(url)).text
    logging.getLogger("app").warning("fetched")
    return text


@node
async def shout(text: str) -> str:
    return text.upper()


async def main() -> None:
    logging.basicConfig(format="%(message)s %(otelTraceID)s %(otelSpanID)s")
    async with create(fetch.to(shout), name="app") as flow:
        print(await flow.ask(sys.argv[1]))


asyncio.run(main())
"""


class Greets(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("X-Traceparent", self.headers.get("traceparent", ""))
        self.end_headers()
        self.wfile.write(self.headers.get("traceparent", "none").encode())

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def serving() -> Iterator[str]:
    """A server that answers with the `traceparent` that it was sent."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Greets)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_flows_nodes_and_http_calls_are_one_tree_with_no_line_of_code(tmp_path: Path):
    (tmp_path / "app.py").write_text(APPLICATION, encoding="utf-8")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PENGUIFLOW_", "OTEL_"))}
    with collecting() as collector, serving() as url:
        settings = {
            "OTEL_SERVICE_NAME": "app",
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_LOGS_EXPORTER": "none",
        }
        command = [str(Path(sys.executable).parent / "opentelemetry-instrument"), sys.executable, "app.py", url]
        done = subprocess.run(
            command, cwd=tmp_path, env={**kept, **settings}, capture_output=True, text=True, timeout=100
        )
        assert done.returncode == 0, done.stderr
    assert collector.tree() == ["invoke_workflow app", "  invoke_node fetch", "    GET", "  invoke_node shout"]
    spans = {span.name: span for span in collector.spans}
    _, trace_id, span_id, _ = done.stdout.strip().lower().split("-")
    assert (trace_id, span_id) == (spans["GET"].trace_id.hex(), spans["GET"].span_id.hex())
    said = next(line for line in done.stderr.splitlines() if line.startswith("fetched"))
    assert said == f"fetched {spans['invoke_node fetch'].trace_id.hex()} {spans['invoke_node fetch'].span_id.hex()}"
    measured = {
        metric.name
        for request in collector.metrics
        for resource in request.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }
    assert "penguiflow.node.duration" in measured
