"""The process that writes: takes batches of notes from the flow's process and hands them to MLflow.

Rules: it takes a batch, writes it, and says so; then comes the next. It ends when the flow says so, or when the flow's
process is gone. Standard output belongs to the replies, so whatever prints is sent elsewhere.
"""

from __future__ import annotations

import getpass
import logging
import marshal
import os
import queue
import signal
import socket
import sys
import threading
import time
from typing import Any, BinaryIO

from penguiflow_mlflow.writer import frames
from penguiflow_mlflow.writer.deadline import Deadline
from penguiflow_mlflow.writer.modes import MODES, Mode, Table
from penguiflow_mlflow.writer.store import Late, Store

ORPHAN_S = 10.0  # how long it goes on when the flow's process has died
MOST_LOGGED = 100
NICE = 5  # the flow comes first

Frame = tuple[Any, ...]


class Replies(logging.Handler):
    """Says things to the flow's process; also what is logged here."""

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__(logging.WARNING)
        self._stream = stream
        self._logged: set[str] = set()

    def send(self, kind: str, **content: Any) -> None:
        """One reply. Nobody listens any more once the flow's process is gone."""
        try:
            self._stream.write(frames.spoken(kind, **content))
            self._stream.flush()
        except OSError:
            pass

    def say(self, level: int, text: str) -> None:
        """Something for the log."""
        self.send(frames.LOG, level=level, text=text)

    def emit(self, record: logging.LogRecord) -> None:
        """What MLflow logs, once: it may have the same to say at each try."""
        text = f"{record.name}: {record.getMessage()}"
        if text not in self._logged and len(self._logged) < MOST_LOGGED:
            self._logged.add(text)
            self.say(record.levelno, text)


class Inbox:
    """The frames that come, read in a thread, so that a deadline is heard while MLflow keeps the other one waiting."""

    def __init__(self, stream: BinaryIO, deadline: Deadline) -> None:
        self._stream, self._deadline = stream, deadline
        self._frames: queue.SimpleQueue[Frame | None] = queue.SimpleQueue()
        threading.Thread(target=self._read, name="penguiflow-mlflow-inbox", daemon=True).start()

    def get(self, until: float | None = None) -> Frame | None:
        """The next frame; `None` if there will be none.

        Raises:
            queue.Empty: it is `until` (by `time.monotonic`), and none has come.
        """
        return self._frames.get(timeout=None if until is None else max(0.0, until - time.monotonic()))

    def _read(self) -> None:
        while (frame := frames.unpacked(self._stream)) is not None:
            if frame[0] == frames.HURRY:
                self._deadline.within(frame[1])
            else:
                self._frames.put(frame)
            if frame[0] == frames.END:
                return
        self._frames.put(None)
        self._deadline.within(ORPHAN_S)
        time.sleep(2 * ORPHAN_S)
        os._exit(1)  # MLflow never answered


class Writer:
    """Serves one start of a flow."""

    def __init__(self, hello: dict[str, Any], inbox: Inbox, replies: Replies, deadline: Deadline) -> None:
        self._hello, self._inbox, self._replies, self._deadline = hello, inbox, replies, deadline
        self._store = Store(hello["uri"], deadline, hello["retries"], hello["backoff_s"], replies.say)
        self._table = Table(hello["table"])
        self._skipped = 0  # notes that came too late
        self._came = self._refused = 0  # as counted by the flow's process
        self._run = ""
        self._mode: Mode

    def serve(self) -> None:
        """Open the store, write what comes, end the run."""
        self._open()
        status = self._write()
        self._end(status)

    def _open(self) -> None:
        hello, store = self._hello, self._store
        hello["tags"] = {"mlflow.user": _user(), "penguiflow.host": socket.gethostname(), **hello["tags"]}
        store.open(hello["experiment"], hello["flow"], hello["parent"])
        nested = {} if store.parent is None else {"mlflow.parentRunId": store.parent}
        self._run = store.main_run(hello["run_name"], {**hello["tags"], **nested})
        self._replies.send(frames.OPEN, run_id=self._run, experiment_id=store.experiment_id)
        self._mode = MODES[hello["mode"]](store, self._run, hello)
        store.params(self._run, hello["params"])
        for name, content in hello["files"].items():
            store.file(self._run, name, content)

    def _write(self) -> str:
        """Write batches until the last; the status that the run ends with."""
        while True:
            try:
                frame = self._inbox.get(self._mode.due())
            except queue.Empty:
                self._mode.take([])
                continue
            if frame is None:
                return "KILLED"
            *notes, self._came, self._refused = frame[1:]
            if frame[0] == frames.END:
                return "FINISHED"
            self._take([marshal.loads(note) for note in notes[0]])
            self._replies.send(frames.TAKEN, **self._sums())

    def _take(self, notes: list[Any]) -> None:
        self._table.take(notes)
        if self._deadline.passed():
            self._skipped += len(notes)
        else:
            self._mode.take(notes)

    def _sums(self) -> dict[str, Any]:
        store, mode = self._store, self._mode
        return {
            "metrics": store.written,
            "dropped_metrics": store.dropped + mode.refused,
            "dropped_events": self._skipped + mode.lost,
            "problem": store.problem,
        }

    def _end(self, status: str) -> None:
        self._mode.close()
        tags = {}
        if self._table and self._store.file(self._run, Table.name, self._table.text()):
            tags = self._table.tags()
        sums = self._sums()
        tags |= {
            "penguiflow.events": str(self._came),
            "penguiflow.dropped_events": str(self._refused + sums["dropped_events"]),
            "penguiflow.dropped_metrics": str(sums["dropped_metrics"]),
        }
        ended = self._store.end(self._run, status, tags)
        self._replies.send(frames.ENDED, status=status if ended else None, **self._sums())


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return "unknown"


def main() -> None:
    """Serve the flow's process at the other end of standard input and output."""
    for name in ("SIGINT", "SIGTERM"):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    if hasattr(os, "nice"):
        os.nice(NICE)
    replies = Replies(os.fdopen(os.dup(1), "wb"))
    os.dup2(2, 1)
    logging.getLogger().addHandler(replies)
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # each try is no news: the store says what came of them
    deadline = Deadline()
    inbox = Inbox(sys.stdin.buffer, deadline)
    hello = inbox.get()
    if hello is not None:
        try:
            Writer(hello[1], inbox, replies, deadline).serve()
        except Late:
            replies.send(frames.OFF, text=frames.TOO_LATE)
        except Exception as exc:
            replies.send(frames.OFF, text=f"{type(exc).__name__}: {exc}"[:1000])
    os._exit(0)  # MLflow may have left threads that nothing waits for
