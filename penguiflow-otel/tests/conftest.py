"""What the tests look through: spans and metrics that were exported into memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from seeing import Measured, Seen

from penguiflow_otel import Options, Telemetry


@pytest.fixture(autouse=True)
def nothing_is_found_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plugin is installed here: tests say themselves when they want it found."""
    monkeypatch.setenv("PENGUIFLOW_PLUGINS", "")


@pytest.fixture
def seen() -> Iterator[Seen]:
    """Spans, as they are exported."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield Seen(provider, exporter)
    provider.shutdown()


@pytest.fixture
def measured() -> Iterator[Measured]:
    """Metrics, as they are collected."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    yield Measured(provider, reader)
    provider.shutdown()


@pytest.fixture
def telemetry(seen: Seen, measured: Measured) -> Callable[..., Telemetry]:
    """Makes the plugin, with these providers."""

    def made(**options: object) -> Telemetry:
        given = {"tracer_provider": seen.provider, "meter_provider": measured.provider, **options}
        return Telemetry(Options(**given))  # type: ignore[arg-type]

    return made
