"""The README is true: its code runs, its options are the options, its table has the metrics."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry
from promkit.flows import busy, use
from promkit.scrapes import scraped

from penguiflow_prometheus import Options, Prometheus

README = (Path(__file__).parent.parent / "README.md").read_text()


def test_the_code_prints_what_the_readme_says():
    blocks = re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", README, re.DOTALL)
    assert blocks
    environment = {key: value for key, value in os.environ.items() if key != "PENGUIFLOW_PLUGINS"}
    for code, printed in blocks:
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=environment)
        assert (done.stdout, done.stderr) == (printed, "")


def test_the_options_are_all_there_with_their_defaults():
    (block,) = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    said = tomllib.loads(block)["plugins"]["options"]["prometheus"]
    assert list(said) == list(Options.model_fields)
    assert Options(**said).model_dump(exclude={"buckets"}) == Options().model_dump(exclude={"buckets"})


async def test_the_table_has_each_metric_with_its_type():
    class Registry(CollectorRegistry):
        def register(self, collector: Any) -> None:
            described.update((metric.name, metric.type) for metric in collector.describe())
            super().register(collector)

    described: dict[str, str] = {}
    async with busy([Prometheus(registry=Registry())]):
        rows = re.findall(r"^\| (`penguiflow_.*?) \| (\w+) \|", README, re.MULTILINE)
    said = {name.removesuffix("_total"): kind for names, kind in rows for name in re.findall(r"`(.*?)`", names)}
    assert said == described


async def test_the_labels_in_the_table_are_those_of_the_metrics():
    registry = CollectorRegistry()
    async with busy([Prometheus(registry=registry)]) as flow:
        await use(flow, range(6))
    rows = re.findall(r"^\| `(penguiflow_\w+)`.*? \| \w+ \| ([\w, ]+) \|", README, re.MULTILINE)
    said = {name.removesuffix("_total"): set(labels.split(", ")) for name, labels in rows}
    for metric in scraped(registry).metrics:
        if metric.name in said:
            assert {label for sample in metric.samples for label in sample.labels} - {"le"} == said[metric.name]
    assert len(said) > 15
