"""Reads metrics back as text, with the parsers of `prometheus_client`."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from prometheus_client.samples import Exemplar

Labels = tuple[str, ...]


class Scrape:
    """What a scrape shows, by the names of samples."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self.metrics = list(metrics)
        self.samples = [sample for metric in self.metrics for sample in metric.samples]

    def by(self, name: str, *labels: str) -> dict[Labels, float]:
        """The values of a sample, by some of its labels; those that are 0 are left out."""
        found: dict[Labels, float] = {}
        for sample in self.samples:
            if sample.name == name and sample.value:
                key = tuple(sample.labels[label] for label in labels)
                assert key not in found, f"{labels} don't tell the series of {name} apart"
                found[key] = sample.value
        return found

    def value(self, name: str, **labels: str) -> float:
        """The value of one series."""
        (found,) = [s.value for s in self.samples if s.name == name and s.labels == labels]
        return found

    def exemplars(self, name: str) -> list[Exemplar]:
        """The exemplars of a sample."""
        return [sample.exemplar for sample in self.samples if sample.name == name and sample.exemplar is not None]


def scraped(registry: CollectorRegistry) -> Scrape:
    """A registry as OpenMetrics, there and back."""
    return Scrape(parse_openmetrics(openmetrics.generate_latest(registry).decode()))


def read(text: str) -> Scrape:
    """Text in the plain format."""
    return Scrape(parse_text(text))


def scraped_plainly(registry: CollectorRegistry) -> Scrape:
    """A registry in the plain format, there and back."""
    return read(generate_latest(registry).decode())
