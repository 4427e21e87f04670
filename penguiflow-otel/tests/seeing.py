"""Spans and metrics as tests look at them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanContext


def ids(span: ReadableSpan) -> SpanContext:
    """The ids of a span, which every span has."""
    assert span.context is not None
    return span.context


def said(span: ReadableSpan) -> dict[str, Any]:
    """A span's attributes."""
    return dict(span.attributes or {})


def tree(spans: Iterable[ReadableSpan]) -> list[str]:
    """Spans as lines, each below its parent and indented, in the order in which they began."""
    ordered = sorted(spans, key=lambda span: span.start_time or 0)
    known = {ids(span).span_id for span in ordered}
    below: dict[int | None, list[ReadableSpan]] = {}
    for span in ordered:
        parent = span.parent.span_id if span.parent is not None and span.parent.span_id in known else None
        below.setdefault(parent, []).append(span)

    def lines(parent: int | None, depth: int) -> list[str]:
        found = []
        for span in below.get(parent, []):
            found += ["  " * depth + span.name, *lines(ids(span).span_id, depth + 1)]
        return found

    return lines(None, 0)


class Seen:
    """What was exported."""

    def __init__(self, provider: TracerProvider, exporter: InMemorySpanExporter) -> None:
        self.provider: TracerProvider = provider
        self.exporter: InMemorySpanExporter = exporter

    @property
    def spans(self) -> Sequence[ReadableSpan]:
        """All of them, in the order in which they ended."""
        return self.exporter.get_finished_spans()

    def of(self, name: str) -> list[ReadableSpan]:
        """Those of one name, in the order in which they ended."""
        return [span for span in self.spans if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        """The only one of its name."""
        (span,) = self.of(name)
        return span

    def tree(self) -> list[str]:
        """All as a tree."""
        return tree(self.spans)


class Measured:
    """What was measured."""

    def __init__(self, provider: MeterProvider, reader: InMemoryMetricReader) -> None:
        self.provider: MeterProvider = provider
        self.reader: InMemoryMetricReader = reader

    def points(self, name: str) -> list[Any]:
        """The data points of a metric, in the order of their attributes."""
        data = self.reader.get_metrics_data()
        found: list[Any] = []
        for resource in data.resource_metrics if data is not None else ():
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    found += metric.data.data_points if metric.name == name else []
        return sorted(found, key=lambda point: sorted(point.attributes.items()))

    def all(self) -> dict[str, list[Any]]:
        """Every metric's data points, by its name."""
        data = self.reader.get_metrics_data()
        return {
            metric.name: list(metric.data.data_points)
            for resource in (data.resource_metrics if data is not None else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def counts(self, name: str, *by: str) -> dict[Any, float]:
        """How many measurements, or what sum, a metric has for each value of these attributes."""
        sums: dict[Any, float] = {}
        for point in self.points(name):
            key = tuple(point.attributes.get(attribute) for attribute in by)
            number = point.count if hasattr(point, "count") else point.value
            label = key[0] if len(by) == 1 else key
            sums[label] = sums.get(label, 0) + number
        return sums
