"""Which figures go into which MLflow run: one run for the process, a summary per window, or a run per trace.

Rules: each start of a flow has one main run, with its tags, params and files. What the other runs are is said here and
nowhere else. A trace's run is written when the trace has ended, in one go, so that none is left half told.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Mapping
from typing import Any, Protocol

from penguiflow_mlflow.writer.book import Book
from penguiflow_mlflow.writer.reading import Reader
from penguiflow_mlflow.writer.store import Store
from penguiflow_mlflow.writer.windows import Window

MOST_TRACES = 10_000  # that are kept until they end
MOST_NOTES = 10_000  # of one trace
STATUS = {"completed": "FINISHED", "failed": "FAILED", "cancelled": "KILLED", "expired": "FAILED"}


class Mode(Protocol):
    """Takes notes, and writes what they say.

    Attributes:
        refused: Values that no store would take.
        lost: Notes that nothing was made of.
    """

    lost: int

    @property
    def refused(self) -> int: ...

    def take(self, notes: list[Any]) -> None:
        """Read notes, and write what is due."""

    def due(self) -> float | None:
        """When `take` wants to be called even if there are no notes (by `time.monotonic`)."""

    def close(self) -> None:
        """Write what is left."""


class PerProcess:
    """Everything goes into the main run."""

    def __init__(self, store: Store, run: str, hello: Mapping[str, Any]) -> None:
        self._store, self._run = store, run
        self._reader, self._book = Reader(hello["flow"]), Book()
        self.lost: int = 0

    @property
    def refused(self) -> int:
        return self._book.refused

    def take(self, notes: list[Any]) -> None:
        for note in notes:
            self._reader.read(note, self._book)
        self._store.rows(self._run, self._book.rows())

    def due(self) -> float | None:
        return None

    def close(self) -> None:
        pass


class PerWindow:
    """A summary of every window goes into the main run."""

    def __init__(self, store: Store, run: str, hello: Mapping[str, Any]) -> None:
        self._store, self._run = store, run
        self._reader, self._book = Reader(hello["flow"]), Book()
        self._window = Window(self._book)
        self._seconds: float = hello["window_s"]
        self._end: float = time.monotonic() + self._seconds
        self.lost: int = 0

    @property
    def refused(self) -> int:
        return self._book.refused

    def take(self, notes: list[Any]) -> None:
        for note in notes:
            self._reader.read(note, self._window)
        if time.monotonic() >= self._end:
            self._end = max(self._end + self._seconds, time.monotonic())
            self.close()

    def due(self) -> float | None:
        return self._end

    def close(self) -> None:
        self._store.rows(self._run, self._window.rows(time.time()))


class PerTrace:
    """Each trace has a run of its own, nested in the main run; the totals over all traces stand in that."""

    def __init__(self, store: Store, run: str, hello: Mapping[str, Any]) -> None:
        self._store, self._run, self._flow = store, run, hello["flow"]
        self._tags = {key: value for key, value in hello["tags"].items() if not key.startswith("mlflow.")}
        self._user = hello["tags"].get("mlflow.user", "unknown")
        self._reader, self._totals = Reader(hello["flow"]), Book()
        self._open: dict[str, list[Any]] = {}
        self._refused: int = 0
        self.lost: int = 0

    @property
    def refused(self) -> int:
        return self._refused + self._totals.refused

    def take(self, notes: list[Any]) -> None:
        for note in notes:
            trace = note[2]
            kept = self._open.get(trace)
            if kept is None:
                self._make_room()
                kept = self._open[trace] = []
            if note[0] == "trace_finish":
                del self._open[trace]
                self._write(trace, [*kept, note], STATUS.get(note[3], "FAILED"))
            elif len(kept) < MOST_NOTES:
                kept.append(note)
            else:
                self.lost += 1
        self._store.rows(self._run, self._totals.rows())

    def _make_room(self) -> None:
        """Forget the oldest trace, if there are too many: its end seems to be among the events that were dropped."""
        if len(self._open) >= MOST_TRACES:
            self.lost += len(self._open.pop(next(iter(self._open))))

    def due(self) -> float | None:
        return None

    def close(self) -> None:
        """Traces that have no end are written as far as they are known: the events of their ends were dropped."""
        while self._open:
            trace = next(iter(self._open))
            self._write(trace, self._open.pop(trace), "KILLED")
        self._store.rows(self._run, self._totals.rows())

    def _write(self, trace: str, notes: list[Any], status: str) -> None:
        last = notes[-1]
        began = last[1] - last[5] / 1e3 if last[0] == "trace_finish" else notes[0][1]
        tags = {
            **self._tags,
            "mlflow.user": self._user,
            "mlflow.parentRunId": self._run,
            "penguiflow.trace_id": trace,
            **_ending(last),
        }
        book = Book()
        for note in notes:
            self._reader.read(note, Both(book, self._totals))
        rows = book.rows()
        self._refused += book.refused
        run = self._store.run(f"{self._flow} {trace[:8]}", tags, began)
        if run is None:
            self._store.dropped += len(rows)
            return
        self._store.rows(run, rows)
        self._store.end(run, status, {}, last[1])


def _ending(note: Any) -> dict[str, str]:
    if note[0] != "trace_finish":
        return {}
    return {"penguiflow.outcome": note[3]} | ({} if note[4] is None else {"penguiflow.error": note[4]})


class Both:
    """A sink whose points go to a trace's book, and whose totals also to that of all."""

    def __init__(self, own: Book, totals: Book) -> None:
        self.point = own.point
        self._own, self._totals = own, totals

    def add(self, key: str, amount: float, ts: float) -> None:
        self._own.add(key, amount, ts)
        self._totals.add(key, amount, ts)


MODES: Mapping[str, type[PerProcess] | type[PerWindow] | type[PerTrace]] = {
    "process": PerProcess,
    "window": PerWindow,
    "trace": PerTrace,
}


class Table:
    """The latest traces, as a table that MLflow shows."""

    name = "traces.json"
    columns = ("trace_id", "ended", "outcome", "error", "latency_ms", "hops", "tokens", "cost")

    def __init__(self, most: int) -> None:
        self._rows: deque[tuple[Any, ...]] = deque(maxlen=most)

    def __bool__(self) -> bool:
        return bool(self._rows)

    def take(self, notes: list[Any]) -> None:
        """Enter the traces that have ended."""
        for kind, ts, trace, outcome, error, took, used in notes:
            if kind == "trace_finish":
                ended = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(ts))
                self._rows.append((trace, ended, outcome, error or "", took, *used))

    def text(self) -> str:
        """The table in the form of MLflow's own."""
        return json.dumps({"columns": self.columns, "data": list(self._rows)}, default=str)

    def tags(self) -> dict[str, str]:
        """What tells MLflow's pages that the file is a table."""
        return {"mlflow.loggedArtifacts": json.dumps([{"path": self.name, "type": "table"}])}
