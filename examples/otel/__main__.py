"""`python -m examples.otel [--otlp] [QUESTION]`: the documentation assistant, and the spans of its trace as a tree.

The assistant knows nothing of this: the plugin is installed, and finds the SDK that is set up here. Spans go to a file;
with `--otlp` they go over OTLP/HTTP to the collector that `OTEL_EXPORTER_OTLP_ENDPOINT` names, or else to one of this
script's own.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter

from examples.docs_assistant.flow import build_flow
from examples.docs_assistant.models import Question
from examples.otel.collector import collecting
from examples.otel.trees import Row, drawn, read
from penguiflow import FinalAnswer

QUESTION = "what is the difference between a list and a tuple?"


async def ask(question: str) -> FinalAnswer:
    """Ask the assistant, and read its stream to the end."""
    async with build_flow() as flow, flow.stream(Question(text=question)) as stream:
        async for _ in stream:
            pass
        answer: FinalAnswer = stream.result
    return answer


def answered(question: str, exporter: SpanExporter) -> FinalAnswer:
    """Ask the assistant in a process whose spans go to this exporter."""
    provider = TracerProvider(resource=Resource.create({"service.name": "docs-assistant"}))
    provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    answer = asyncio.run(ask(question))
    provider.shutdown()  # sends what is left
    return answer


def to_file(question: str, path: Path) -> tuple[FinalAnswer, list[Row]]:
    """Write the spans to a file, and read them from there."""
    with path.open("w", encoding="utf-8") as file:
        exporter = ConsoleSpanExporter(out=file, formatter=lambda span: f"{span.to_json(indent=None)}\n")
        answer = answered(question, exporter)
    return answer, read(path)


def over_otlp(question: str) -> tuple[FinalAnswer, list[Row]]:
    """Send the spans to a collector; those that this script's own has got."""
    if "OTEL_EXPORTER_OTLP_ENDPOINT" in os.environ:
        return answered(question, OTLPSpanExporter()), []
    with collecting() as collector:
        return answered(question, OTLPSpanExporter(f"{collector.url}/v1/traces")), collector.rows


def show(answer: FinalAnswer, rows: Iterable[Row], times: bool) -> None:
    """Print where the answer comes from, and the tree."""
    print(f"{len(answer.text.split())} words from {', '.join(answer.citations)}" if times else "answered")
    for line in drawn(rows, times):
        print(line)


def main(arguments: Sequence[str] | None = None) -> int:
    """Ask, and print the tree."""
    parser = argparse.ArgumentParser(prog="python -m examples.otel", description=__doc__)
    parser.add_argument("question", nargs="?", default=QUESTION)
    parser.add_argument("--otlp", action="store_true", help="send the spans over OTLP/HTTP")
    parser.add_argument("--file", type=Path, default=Path("spans.jsonl"), help="where they are written (spans.jsonl)")
    parser.add_argument("--no-times", action="store_true", help="print nothing that differs from run to run")
    args = parser.parse_args(arguments)
    try:
        answer, rows = over_otlp(args.question) if args.otlp else to_file(args.question, args.file)
    except OSError as trouble:
        parser.error(str(trouble))
    show(answer, rows, times=not args.no_times)
    return 0


if __name__ == "__main__":
    sys.exit(main())
