"""Sums as the metrics of `prometheus_client`.

Rules: only its public families are used. A family without a row is left out. An exemplar that is too long for the
format is left out too: the lines of a scrape stand or fall together.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.samples import Exemplar
from prometheus_client.utils import floatToGoString

from penguiflow_prometheus._cells import Mark, Tally, Timing
from penguiflow_prometheus._families import COUNTER, FAMILIES, HISTOGRAM, Family, Totals, written
from penguiflow_prometheus._slices import Samples, sliced

EXEMPLAR_LABEL = "trace_id"
LINES_OF_HISTOGRAM = 20
LONGEST_EXEMPLAR = 128  # characters of its names and values, says OpenMetrics


def described(prefix: str) -> list[Metric]:
    """All metrics, without values."""
    return [Metric(f"{prefix}_{family.name}", family.text, family.kind) for family in FAMILIES]


def exposed(prefix: str, totals: Totals, exemplars: bool) -> Iterator[Metric]:
    """The metrics that have values."""
    for family, rows in totals.items():
        if rows:
            metric = _metric(f"{prefix}_{family.name}", family, rows, exemplars)
            metric.samples = Samples(metric.samples)
            yield metric


def _metric(name: str, family: Family, rows: Mapping[tuple[str, ...], Tally | Timing], exemplars: bool) -> Metric:
    if family.kind == HISTOGRAM:
        return _histogram(name, family, rows, exemplars)
    if family.kind == COUNTER:
        counter = CounterMetricFamily(name, family.text, labels=family.labels)
        for labels, tally in sliced(rows.items()):
            assert isinstance(tally, Tally)
            counter.add_metric(labels, tally.value, exemplar=_exemplar(tally.mark, exemplars))
        return counter
    gauge = GaugeMetricFamily(name, family.text, labels=family.labels)
    for labels, tally in sliced(rows.items()):
        assert isinstance(tally, Tally)
        gauge.add_metric(labels, tally.value)
    return gauge


def _histogram(
    name: str, family: Family, rows: Mapping[tuple[str, ...], Tally | Timing], exemplars: bool
) -> HistogramMetricFamily:
    histogram = HistogramMetricFamily(name, family.text, labels=family.labels)
    for labels, timing in sliced(rows.items(), LINES_OF_HISTOGRAM):
        assert isinstance(timing, Timing)
        histogram.add_metric(labels, _buckets(timing, exemplars), timing.total)
    return histogram


def _buckets(timing: Timing, exemplars: bool) -> list[tuple[str, float] | tuple[str, float, Exemplar]]:
    found: list[tuple[str, float] | tuple[str, float, Exemplar]] = []
    for bound, count, mark in zip(bounds(timing), accumulate(timing.counts), timing.marks, strict=True):
        exemplar = _exemplar(mark, exemplars)
        found.append((bound, count) if exemplar is None else (bound, count, exemplar))
    return found


def bounds(timing: Timing) -> Iterable[str]:
    """A histogram's upper bounds as they are written down."""
    return map(floatToGoString, (*timing.bounds, float("inf")))


def _exemplar(mark: Mark | None, wanted: bool) -> Exemplar | None:
    if mark is None or not wanted or not mark.trace_id:
        return None
    trace_id = written(mark.trace_id)
    if len(EXEMPLAR_LABEL) + len(trace_id) > LONGEST_EXEMPLAR:
        return None
    return Exemplar({EXEMPLAR_LABEL: trace_id}, mark.value, mark.ts)
