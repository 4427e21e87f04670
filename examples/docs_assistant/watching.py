"""What a run leaves behind for who wants a closer look: drawings, spans, and figures in MLflow.

Rules: each needs a distribution beside the kernel. What is installed is used, what isn't is named, and the flow itself
knows nothing of any of them.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from penguiflow import PenguiFlow

SETTINGS = Path(__file__).with_name("watched.toml")  # MLflow may take its time when the flow stops


def python(*arguments: str) -> str:
    """This Python with these arguments, to be typed where another environment is active, or none."""
    path, here = Path(sys.executable), Path.cwd()
    return shlex.join([str(path.relative_to(here) if path.is_relative_to(here) else path), *arguments])


def install(*distributions: str) -> str:
    """The command that installs these of this tree beside the kernel."""
    return python("-m", "pip", "install", "-e", ".", *distributions)


class Sight(NamedTuple):
    """Something to look at. `shows` says what it is, in one line or more."""

    file: Path
    shows: str


Look = Callable[[PenguiFlow, Sequence[str]], Iterator[Sight]]  # from a flow that has stopped, and its traces


@dataclass
class Watch:
    """Watches flows, and writes what it saw into a folder.

    Attributes:
        plugins: What the flow is to be given.
        missing: What could be installed to see more.
    """

    folder: Path
    plugins: list[Any] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    _looks: list[Look] = field(default_factory=list)
    _open: ExitStack = field(default_factory=ExitStack)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for old in self.folder.glob("question-*.svg"):  # there may have been more questions
            old.unlink()
        ways = (
            ("./penguiflow-viz", self._drawings),
            ("./penguiflow-otel[sdk]", self._spans),
            ("./penguiflow-mlflow", self._figures),
        )
        for needs, way in ways:
            try:
                way()
            except ImportError:
                self.missing.append(needs)

    def sights(self, flow: PenguiFlow, traces: Sequence[str]) -> list[Sight]:
        """Write everything down, once the flow has stopped."""
        self._open.close()
        return [sight for look in self._looks for sight in look(flow, traces) if sight.file.exists()]

    def more(self) -> str:
        """The command that installs what is missing; empty if nothing is."""
        return install(*self.missing) if self.missing else ""

    def _drawings(self) -> None:
        from penguiflow_viz import Recorder

        recorder = Recorder()

        def drawn(flow: PenguiFlow, traces: Sequence[str]) -> Iterator[Sight]:
            whole = self._written("flow.svg", flow.export("svg", overlay=recorder))
            yield Sight(whole, "the flow, and over it what ran: open it in a browser")
            for number, trace in enumerate(traces, 1):
                waterfall = flow.export("waterfall", overlay=recorder, trace_id=trace)
                yield Sight(self._written(f"question-{number}.svg", waterfall), f"question {number} over time")

        self.plugins.append(recorder)
        self._looks.append(drawn)

    def _written(self, name: str, text: str | bytes) -> Path:
        file = self.folder / name
        file.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
        return file

    def _spans(self) -> None:
        from opentelemetry import trace
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter

        import penguiflow_otel  # noqa: F401  (an installed plugin is found by the flow)

        path = self.folder / "spans.jsonl"
        file = self._open.enter_context(path.open("w", encoding="utf-8"))
        provider = TracerProvider(resource=Resource.create({"service.name": "docs-assistant"}))
        exporter = ConsoleSpanExporter(out=file, formatter=lambda span: f"{span.to_json(indent=None)}\n")
        provider.add_span_processor(BatchSpanProcessor(exporter))
        trace.set_tracer_provider(provider)
        self._open.callback(provider.shutdown)  # sends what is left, before the file is closed

        def told(flow: PenguiFlow, traces: Sequence[str]) -> Iterator[Sight]:
            count = len(path.read_text(encoding="utf-8").splitlines())
            yield Sight(path, f"{count} OpenTelemetry spans, an object on each line")

        self._looks.append(told)

    def _figures(self) -> None:
        import penguiflow_mlflow  # noqa: F401  (an installed plugin is found by the flow)

        store = self.folder / "mlflow.db"
        ours = f"sqlite:///{store}"
        uri = os.environ.setdefault("MLFLOW_TRACKING_URI", ours)
        os.environ.setdefault("PENGUIFLOW_CONFIG", str(SETTINGS))

        def kept(flow: PenguiFlow, traces: Sequence[str]) -> Iterator[Sight]:
            if uri == ours:
                serve = python("-m", "mlflow", "server", "--backend-store-uri", uri)
                yield Sight(store, f"figures, for MLflow's pages:\n{install('./penguiflow-mlflow[server]')}\n{serve}")

        self._looks.append(kept)
