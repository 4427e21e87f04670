"""What a note says in figures.

Rules: a node's figures stand under `node/<its path>/`, a trace's under `trace/`. Times are in milliseconds. A node run
counts once, by how it ended; what is remembered of one that hasn't ended yet is bounded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from penguiflow_mlflow.writer.book import Sink
from penguiflow_mlflow.writer.keys import safe_path

MOST_OPEN = 100_000  # node runs, or traces, whose end may still come

_ENDS = {
    "node_success": "success",
    "node_failed": "failed",
    "node_cancelled": "cancelled",
    "node_expired": "expired",
}
_ATTEMPTS = {"node_error": "errors", "node_timeout": "timeouts", "node_retry": "retries"}


class Reader:
    """Reads the notes of one flow."""

    def __init__(self, flow: str) -> None:
        self._prefix = f"{flow}/"
        self._paths: dict[str, str] = {}
        self._started: dict[str, float] = {}  # node runs, when
        self._spoke: dict[str, float] = {}  # traces, when their first chunk came
        self._kinds: dict[str, Callable[[Any, Sink], None]] = {
            "node_start": self._start,
            "stream_chunk": self._chunk,
            "trace_finish": self._finish,
            **dict.fromkeys(_ENDS, self._end),
            **dict.fromkeys(_ATTEMPTS, self._attempt),
        }

    def read(self, note: tuple[Any, ...], sink: Sink) -> None:
        """Enter into the sink what a note says."""
        self._kinds[note[0]](note, sink)

    def _path(self, node_id: str) -> str:
        path = self._paths.get(node_id)
        if path is None:
            _limit(self._paths)
            path = self._paths[node_id] = f"node/{safe_path(node_id.removeprefix(self._prefix))}"
        return path

    def _start(self, note: Any, sink: Sink) -> None:
        _, ts, _, node_id, run, waited, _ = note
        _limit(self._started)
        self._started[run] = ts
        sink.point(f"{self._path(node_id)}/queue_wait_ms", waited, ts)

    def _end(self, note: Any, sink: Sink) -> None:
        kind, ts, _, node_id, run, took, attempt = note
        self._started.pop(run, None)
        path = self._path(node_id)
        sink.point(f"{path}/latency_ms", took, ts)
        sink.add(f"{path}/{_ENDS[kind]}", 1, ts)
        sink.add(f"{path}/attempts", attempt + 1, ts)

    def _attempt(self, note: Any, sink: Sink) -> None:
        sink.add(f"{self._path(note[3])}/{_ATTEMPTS[note[0]]}", 1, note[1])

    def _chunk(self, note: Any, sink: Sink) -> None:
        _, ts, trace, node_id, run, _, _ = note
        if trace not in self._spoke:
            _limit(self._spoke)
            self._spoke[trace] = ts
        started = self._started.get(run)
        if started is not None:
            sink.point(f"{self._path(node_id)}/first_chunk_ms", max(0.0, ts - started) * 1e3, ts)

    def _finish(self, note: Any, sink: Sink) -> None:
        _, ts, trace, outcome, _, took, (hops, tokens, cost) = note
        sink.point("trace/latency_ms", took, ts)
        spoke = self._spoke.pop(trace, None)
        if spoke is not None:
            sink.point("trace/first_chunk_ms", max(0.0, took - (ts - spoke) * 1e3), ts)
        for name, used in (("hops", hops), ("tokens", tokens), ("cost", cost)):
            if used or name == "hops":
                sink.point(f"trace/{name}", used, ts)
                sink.add(f"trace/{name}_total", used, ts)
        sink.add(f"trace/{outcome}", 1, ts)


def _limit(known: dict[str, Any]) -> None:
    """Forget the oldest where there are too many."""
    if len(known) >= MOST_OPEN:
        del known[next(iter(known))]
