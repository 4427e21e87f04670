"""One flow, seen four ways. Its code names none of them: what is installed is found when the flow is built."""

import asyncio
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from penguiflow import Context, FlowError, PenguiFlow, create, node

STORE = "sqlite:///mlflow.db"
QUESTIONS = ("why does it rain?", "where do unicorns live?")


@node(max_retries=2, backoff_base=0.01, retry_on=ConnectionError)
async def look_up(question: str, ctx: Context) -> list[str]:
    """A library that is away at first, and has no book on unicorns."""
    if ctx.attempt == 0 and "rain" in question:
        raise ConnectionError("the library is away")
    if "unicorns" in question:
        raise LookupError("no such book")
    return ["warm", "air", "rises"]


@node
async def answer(words: list[str], ctx: Context) -> str:
    for word in words:
        await ctx.emit_chunk(word + " ")
    ctx.spend(tokens=len(words), cost=0.25)
    return " ".join(words)


def desk() -> PenguiFlow:
    return create(look_up.to(answer), name="desk")


async def ask_all() -> None:
    async with desk() as flow:
        for question in QUESTIONS:
            try:
                await flow.ask(question)
            except FlowError as error:
                print(f"{question} {error}")


def log_to_terminal() -> None:
    """The kernel's own: each event is a record of this logger."""
    logging.basicConfig(stream=sys.stdout, format="%(levelname)s %(name)s %(message)s")
    logging.getLogger("penguiflow.events").setLevel(logging.DEBUG)


class Spans:
    """What an application sets up for OpenTelemetry, here to keep spans in memory."""

    title, plugin, needs = "OpenTelemetry", "otel", "'./penguiflow-otel[sdk]'"

    def __init__(self) -> None:
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

        self.kept = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self.kept))
        trace.set_tracer_provider(provider)

    def lines(self) -> Iterator[str]:
        spans = self.kept.get_finished_spans()
        for span in sorted(spans, key=lambda span: span.start_time or 0):
            failed = span.attributes.get("error.type") if span.attributes else None
            yield f"{'  ' if span.parent else ''}{span.name}{f'  (error: {failed})' if failed else ''}"


class Counters:
    """What a service shows to Prometheus."""

    title, plugin, needs = "Prometheus", "prometheus", "./plugins/penguiflow-prometheus"

    def lines(self) -> Iterator[str]:
        from prometheus_client import generate_latest

        shown = ("penguiflow_traces_total", "penguiflow_node_runs_total", "penguiflow_node_retries_total")
        for line in generate_latest().decode().splitlines():
            if line.startswith(tuple(f"{name}{{" for name in shown)) and not line.endswith(" 0.0"):
                yield line


class Figures:
    """What stands in MLflow afterwards; the plugin itself has MLflow in a process of its own."""

    title, plugin, needs = "MLflow", "mlflow", "./penguiflow-mlflow"

    def __init__(self) -> None:
        os.environ.setdefault("PENGUIFLOW_CONFIG", str(Path(__file__).with_name("settings.toml")))
        os.environ.setdefault("MLFLOW_TRACKING_URI", STORE)
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

    def lines(self) -> Iterator[str]:
        from mlflow import MlflowClient  # only here: the flow's process doesn't need it

        client = MlflowClient()
        experiment = client.get_experiment_by_name("desk")
        run = client.search_runs([experiment.experiment_id], max_results=1)[0]
        for key, value in sorted(run.data.metrics.items()):
            if key.endswith(("attempts", "retries", "failed", "completed", "_total")):
                yield f"{key} {value:g}"


SINKS: tuple[type[Counters | Figures | Spans], ...] = (Counters, Figures, Spans)


def main() -> None:
    log_to_terminal()
    installed = {record.name for record in desk().plugins if record.status == "loaded"}
    sinks = {kind: kind() for kind in SINKS if kind.plugin in installed}
    print("# Logs")
    asyncio.run(ask_all())
    for kind in SINKS:
        print(f"# {kind.title}")
        for line in sinks[kind].lines() if kind in sinks else [f"not installed: pip install . {kind.needs}"]:
            print(line)


if __name__ == "__main__":
    main()
