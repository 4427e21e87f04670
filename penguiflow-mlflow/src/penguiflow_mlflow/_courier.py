"""Carries notes from the mailbox to the process that writes, in a thread of its own.

Rules: the event loop only sets events; whatever may block (starting the process, its pipes, its death) is done in two
threads, which end with that process. One batch is under way at a time, so that what waits, waits in the mailbox.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from penguiflow_mlflow._mailbox import BATCH, Mailbox
from penguiflow_mlflow._report import Report
from penguiflow_mlflow.writer import frames

log = logging.getLogger("penguiflow_mlflow")

_SCRIPT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from penguiflow_mlflow.writer.main import main; main()"
)
_DEFAULTS = {
    # MLflow's own are made for people who wait: 120 s an answer, seven tries, minutes between. The writer has its own.
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "GIT_PYTHON_REFRESH": "quiet",
}


class Courier:
    """The two threads and the process.

    Args:
        box: Where the notes are.
        hello: What the process has to know first.
        python: The interpreter that it runs on.
        flush_s: Seconds after which an incomplete batch goes out.
        opened: Called, in a thread, when MLflow's run is open.
        ended: Called, in a thread, when all is over.
    """

    def __init__(
        self,
        box: Mailbox,
        hello: dict[str, Any],
        python: str,
        flush_s: float,
        opened: Callable[[], None],
        ended: Callable[[], None],
    ) -> None:
        self._box = box
        self._hello = hello
        self._python = python
        self._flush_s = flush_s
        self._opened = opened
        self._ended = ended
        self._process: subprocess.Popen[bytes] | None = None
        self._free = False  # whether the process can take a batch
        self._under_way = 0  # notes of a batch that it hasn't settled
        self._gone = False  # whether it says no more
        self._killed = False
        self._ended_well = False
        self._seconds: float | None = None  # what it may still take, once the flow stops
        self._lock = threading.Lock()
        self._replies: dict[str, Any] = {}
        self._problem: str | None = None
        self._writer = threading.Thread(target=self._write, name="penguiflow-mlflow-writer", daemon=True)
        self._listener = threading.Thread(target=self._listen, name="penguiflow-mlflow-listener", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._writer.start()

    def finish(self, seconds: float) -> None:
        """Write what is left and end, in so many seconds."""
        self._seconds = seconds
        self._box.wake.set()

    def kill(self) -> None:
        """End now."""
        with self._lock:
            self._killed = True
            if self._process is not None and self._process.returncode is None:
                _end(self._process)

    def join(self, seconds: float) -> None:
        """Wait for the thread, after `ended` was called."""
        self._writer.join(seconds)

    def report(self) -> Report:
        """The sums so far; the last ones once `ended` was called."""
        box, told = self._box, self._replies
        return Report(
            run_id=told.get("run_id"),
            status=told.get("status"),
            events=box.came,
            dropped_events=box.dropped + told.get("dropped_events", 0) + (self._under_way if self._gone else 0),
            metrics=told.get("metrics", 0),
            dropped_metrics=told.get("dropped_metrics", 0),
            problem=self._problem or told.get("problem"),
        )

    # --- the writer's thread ----------------------------------------------------------------------

    def _write(self) -> None:
        try:
            process = self._begun()
            if process is not None:
                self._listener.start()
                with contextlib.suppress(OSError):  # it has died: the listener knows more
                    self._deliver(process)
                self._closed(process)
        except Exception as exc:
            self._trouble(f"{type(exc).__name__}: {exc}")
            self.kill()
        finally:
            self._box.close()
            self._ended()

    def _begun(self) -> subprocess.Popen[bytes] | None:
        command = [self._python, "-W", "ignore", "-c", _SCRIPT, json.dumps([str(path) for path in sys.path])]
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={
                    **_DEFAULTS,
                    **os.environ,
                    "MLFLOW_CONFIGURE_LOGGING": "false",
                    "MLFLOW_TRACKING_URI": self._hello["uri"],
                },
                start_new_session=True,  # Ctrl-C is for the flow: this process ends when the flow has stopped
            )
        except OSError as exc:
            self._trouble(
                f"the process that writes can't be started with {self._python!r}: {exc}. Set the option python"
            )
            return None
        with self._lock:
            self._process = process
            if self._killed:
                _end(process)
        return process

    def _deliver(self, process: subprocess.Popen[bytes]) -> None:
        """Send batches until the flow stops or the process is gone."""
        self._send(process, frames.packed(frames.HELLO, self._hello))
        box, hurried, due = self._box, False, time.monotonic() + self._flush_s
        while not self._gone:
            box.wake.wait(max(0.0, due - time.monotonic()) if self._free else self._flush_s)
            box.wake.clear()
            stopping = self._seconds is not None
            if stopping and not hurried:
                hurried = True
                self._send(process, frames.packed(frames.HURRY, self._seconds))
            if not self._free:
                continue
            if len(box) >= BATCH or stopping or time.monotonic() >= due:
                due = time.monotonic() + self._flush_s
                notes = box.take()
                if notes:
                    self._free = False
                    self._under_way = len(notes)
                    self._send(process, frames.packed(frames.NOTES, notes, box.came, box.dropped))
                elif stopping:
                    self._send(process, frames.packed(frames.END, box.came, box.dropped))
                    return

    def _send(self, process: subprocess.Popen[bytes], frame: bytes) -> None:
        assert process.stdin is not None
        process.stdin.write(frame)
        process.stdin.flush()

    def _closed(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        with contextlib.suppress(OSError):
            process.stdin.close()
        self._listener.join()
        process.wait()
        if not self._ended_well and self._problem is None:
            self._trouble(self._cut_off(process.returncode))

    def _cut_off(self, code: int) -> str:
        if not self._killed:
            return f"the process that writes ended too early, with code {code}"
        if "run_id" in self._replies:
            return "the time to stop was over, and MLflow had not answered"
        return frames.TOO_LATE

    # --- the listener's thread --------------------------------------------------------------------

    def _listen(self) -> None:
        process = self._process
        assert process is not None
        assert process.stdout is not None
        try:
            with process.stdout:
                for line in process.stdout:
                    self._heard(json.loads(line))
        except Exception as exc:
            self._trouble(f"what the process that writes said can't be understood: {exc!r}")
            self.kill()
        finally:
            self._gone = True
            self._box.wake.set()

    def _heard(self, reply: dict[str, Any]) -> None:
        reply = {name: hidden(value) if isinstance(value, str) else value for name, value in reply.items()}
        kind = reply.pop("kind")
        if kind == frames.LOG:
            log.log(reply["level"], "%s", reply["text"])
            return
        if kind == frames.OFF:
            self._trouble(reply["text"])
            return
        self._replies.update(reply)
        if kind == frames.OPEN:
            log.info("metrics go to the MLflow run %s at %s", reply["run_id"], hidden(self._hello["uri"]))
            self._opened()
        self._under_way = 0  # first: once it is free, the other thread counts the next batch
        self._free = True
        self._ended_well = kind == frames.ENDED
        self._box.wake.set()

    def _trouble(self, text: str) -> None:
        self._problem = text
        log.error("no more metrics go to MLflow: %s", text)


def hidden(text: str) -> str:
    """The text without the names and passwords of addresses in it."""
    text = re.sub(r"://[^\s'\"]*@", "://***@", text)
    return re.sub(r"(?i)([?&][a-z_]*(?:password|passwd|pwd|secret|token|key)=)[^&\s'\"]*", r"\1***", text)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill a process, and what it has started: that would hold its pipes open."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (AttributeError, ProcessLookupError, PermissionError):  # Windows has no groups
        process.kill()
