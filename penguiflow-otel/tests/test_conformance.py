"""What every plugin of PenguiFlow has to stand: as it is found installed, and with an SDK at work."""

from __future__ import annotations

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from penguiflow.testkit import PluginConformance
from penguiflow_otel import Options, Telemetry


class TestInstalled(PluginConformance):
    entry_point = "otel"
    module = "penguiflow_otel"
    import_ms = 400.0  # half of it is OpenTelemetry's own interface


class TestRecording(PluginConformance):
    """With the SDK behind it, an event takes as long as the SDK takes for a span."""

    on_event_us = 150.0
    on_event_longest_us = 20_000.0

    @pytest.fixture(autouse=True)
    def providers(self):
        self.spans = TracerProvider(shutdown_on_exit=False)
        self.spans.add_span_processor(BatchSpanProcessor(InMemorySpanExporter()))
        self.meters = MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False)
        yield
        self.spans.shutdown()
        self.meters.shutdown()

    def make(self) -> Telemetry:
        return Telemetry(Options(tracer_provider=self.spans, meter_provider=self.meters, attempts=True, payloads=True))
