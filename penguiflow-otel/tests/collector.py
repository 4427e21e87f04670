"""A collector on loopback: takes OTLP over HTTP, and keeps what it was sent."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

_DECODE = {"gzip": gzip.decompress, "deflate": zlib.decompress, None: bytes}


class Collector:
    """What came in.

    Args:
        status: The HTTP status that it answers.
    """

    def __init__(self, status: int = 200) -> None:
        self.traces: list[ExportTraceServiceRequest] = []
        self.metrics: list[ExportMetricsServiceRequest] = []
        self.requests: int = 0
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                body = _DECODE[self.headers.get("Content-Encoding")](body)
                collector.requests += 1
                if status == 200 and self.path == "/v1/traces":
                    collector.traces.append(ExportTraceServiceRequest.FromString(body))
                elif status == 200 and self.path == "/v1/metrics":
                    collector.metrics.append(ExportMetricsServiceRequest.FromString(body))
                self.send_response(status)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    @property
    def spans(self) -> list[Span]:
        """All spans, in the order in which they came."""
        return [
            span
            for request in self.traces
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def tree(self) -> list[str]:
        """The spans as lines, each below its parent and indented, in the order in which they began."""
        below: dict[bytes, list[Span]] = {}
        for span in sorted(self.spans, key=lambda span: span.start_time_unix_nano):
            below.setdefault(span.parent_span_id, []).append(span)

        def lines(parent: bytes, depth: int) -> list[str]:
            found = []
            for span in below.get(parent, []):
                found += ["  " * depth + span.name, *lines(span.span_id, depth + 1)]
            return found

        return lines(b"", 0)


@contextmanager
def collecting(status: int = 200) -> Iterator[Collector]:
    """A collector that runs."""
    collector = Collector(status)
    thread = Thread(target=collector.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield collector
    finally:
        collector.server.shutdown()
        collector.server.server_close()
        thread.join()
