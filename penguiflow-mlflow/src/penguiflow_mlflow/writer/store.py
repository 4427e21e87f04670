"""MLflow's store, by MLflow's own client.

Rules: a call that fails is tried again a few times, unless trying again can't help, and then given up and counted. The
first failure and the first success after it are said, not each. When the deadline has passed nothing is tried twice.
"""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from penguiflow_mlflow.writer import fresh
from penguiflow_mlflow.writer.book import Row
from penguiflow_mlflow.writer.deadline import Deadline
from penguiflow_mlflow.writer.keys import plain, safe, title
from penguiflow_mlflow.writer.lock import alone

if TYPE_CHECKING:
    from mlflow import MlflowClient

BATCH = 1_000  # what MLflow takes at once
LONGEST_PAUSE_S = 30.0
LONGEST_VALUE = 5_000
SILENCE_S = 8.0  # a server that takes so long to fail doesn't answer at all
MOST_SAID = 20

# What MLflow answers to a call that will never be right.
_FINAL = {
    "BAD_REQUEST",
    "CUSTOMER_UNAUTHORIZED",
    "ENDPOINT_NOT_FOUND",
    "FEATURE_DISABLED",
    "INVALID_PARAMETER_VALUE",
    "PERMISSION_DENIED",
    "RESOURCE_DOES_NOT_EXIST",
    "UNAUTHENTICATED",
}
ResultT = TypeVar("ResultT")


class Late(Exception):
    """The time for writing is over."""


class Store:
    """One tracking store.

    Args:
        uri: Where it is.
        deadline: When all must be over.
        retries: How often a call is repeated.
        backoff_s: Seconds before the first repetition; each further wait is twice as long.
        say: Takes a level of logging and a sentence.

    Attributes:
        experiment_id: The experiment, once the store is open.
        parent: The run that the flow's run is nested in, if there is one.
        written: Metric values that the store has taken.
        dropped: Those that it hasn't.
        problem: The last failure.
    """

    def __init__(
        self, uri: str, deadline: Deadline, retries: int, backoff_s: float, say: Callable[[int, str], None]
    ) -> None:
        self._uri = uri
        self._deadline = deadline
        self._retries = retries
        self._backoff_s = backoff_s
        self._say = say
        self._down = False
        self._pause = 0.0  # before the next call, while it is down
        self._said: set[str] = set()
        self._client: MlflowClient
        self.experiment_id: str = ""
        self.parent: str | None = None
        self.written: int = 0
        self.dropped: int = 0
        self.problem: str | None = None

    def open(self, experiment: str | None, otherwise: str, parent: str | None) -> None:
        """Import MLflow and find, or make, the experiment. The store may take as long as it likes to come up, while the
        flow runs; once that stops, it is tried once more.

        Args:
            experiment: Its name, if somebody has said it.
            otherwise: Its name, if MLflow's variables say none.
            parent: A run that this store may have: the flow's run then belongs into it, and into its experiment.

        Raises:
            Exception: it never will: an address that means nothing, no permission, a missing driver; or it didn't.
            Late: the deadline passed.
        """
        with alone(self._uri, self._deadline):
            self._client, self.experiment_id = self._patiently(lambda: self._opened(experiment, otherwise, parent))

    def _patiently(self, call: Callable[[], ResultT]) -> ResultT:
        pause, last_tries = max(self._backoff_s, 0.1), 2
        while True:
            began = time.monotonic()
            try:
                result = call()
            except Exception as exc:
                last_tries -= self._deadline.near
                if not _passing(exc) or last_tries == 0 or self._silent(began):
                    raise
                self._fails(exc, f"the store at {self._uri} can't be opened, and is tried again")
            else:
                self._up()
                return result
            self._deadline.rest(pause)
            pause = min(LONGEST_PAUSE_S, pause * 2)
            self._in_time()

    def _opened(self, experiment: str | None, otherwise: str, parent: str | None) -> tuple[MlflowClient, str]:
        from mlflow import MlflowClient

        fresh.make(self._uri, _touched, lambda text: self._say(logging.WARNING, text))
        client = MlflowClient(tracking_uri=self._uri)
        home = None if parent is None else self._home(client, parent)
        if home is not None:
            self.parent = parent
            if experiment is None:
                return client, home
        name = experiment or os.environ.get("MLFLOW_EXPERIMENT_NAME") or None
        if name is None and (number := os.environ.get("MLFLOW_EXPERIMENT_ID")):
            return client, str(client.get_experiment(number).experiment_id)
        name = name or title(otherwise)
        found = client.get_experiment_by_name(name)
        if found is None:
            try:
                return client, str(client.create_experiment(name))
            except Exception:
                found = client.get_experiment_by_name(name)  # somebody else may have made it meanwhile
                if found is None:
                    raise
        if found.lifecycle_stage != "active":
            raise ValueError(f"the experiment {name!r} is deleted: restore it, or set another name")
        return client, str(found.experiment_id)

    def _home(self, client: MlflowClient, run: str) -> str | None:
        """The experiment of a run; `None` if this store doesn't have it."""
        try:
            return str(client.get_run(run).info.experiment_id)
        except Exception as exc:
            if _passing(exc):
                raise
            self._say(logging.WARNING, f"the run {run} isn't in {self._uri}: the flow's run is not nested in it")
            return None

    def main_run(self, name: str, tags: Mapping[str, str]) -> str:
        """Make the run of this start of the flow; its id. Waits for the store, and raises, as `open` does."""
        return self._patiently(lambda: self._begun(name, tags, time.time()))

    def run(self, name: str, tags: Mapping[str, str], ts: float) -> str | None:
        """Make a run that began at `ts` (epoch seconds); its id, if it could be made."""
        try:
            self._in_time()
            return self._tried(lambda: self._begun(name, tags, ts))
        except Exception as exc:
            self._fails(exc, f"a run couldn't be made at {self._uri}")
            return None

    def _begun(self, name: str, tags: Mapping[str, str], ts: float) -> str:
        short = {safe(key): _cut(value) for key, value in tags.items()}
        made = self._client.create_run(self.experiment_id, int(ts * 1e3), short, run_name=title(name))
        return str(made.info.run_id)

    def params(self, run: str, params: Mapping[str, str]) -> None:
        """Set what stays the same in a run."""
        from mlflow.entities import Param

        given = [Param(safe(key), _cut(value)) for key, value in params.items()]
        try:
            self._tried(lambda: self._client.log_batch(run, params=given))
        except Exception as exc:
            self._fails(exc, f"the params of the run {run} couldn't be set")

    def rows(self, run: str, rows: Sequence[Row]) -> None:
        """Write values. What can't be written is counted."""
        from mlflow.entities import Metric

        for start in range(0, len(rows), BATCH):
            batch = [Metric(row.key, row.value, row.ts, row.step) for row in rows[start : start + BATCH]]
            try:
                self._in_time()
                self._tried(lambda batch=batch: self._client.log_batch(run, metrics=batch))  # type: ignore[misc]
                self.written += len(batch)
            except Exception as exc:
                self.dropped += len(batch)
                self._fails(exc, f"the store at {self._uri} doesn't take metrics: they are dropped")

    def file(self, run: str, name: str, content: str | bytes) -> bool:
        """Keep a file with the run; whether that went well. Not tried when the store is down and time is over."""
        try:
            if self._down:
                self._in_time()
            with tempfile.TemporaryDirectory(prefix="penguiflow-mlflow-") as folder:
                path = Path(folder, name)
                path.write_bytes(plain(content).encode() if isinstance(content, str) else content)
                self._tried(lambda: self._client.log_artifact(run, str(path)))
        except Exception as exc:
            self._fails(exc, f"the artifact {name} couldn't be kept")
            return False
        return True

    def end(self, run: str, status: str, tags: Mapping[str, str], ts: float | None = None) -> bool:
        """End a run at `ts` (epoch seconds; now, by default); whether that went well. Not tried, as `file`, in vain."""
        from mlflow.entities import RunTag

        last = [RunTag(key, _cut(value)) for key, value in tags.items()]
        ended = None if ts is None else int(ts * 1e3)
        try:
            if self._down:
                self._in_time()
            self._tried(lambda: self._client.log_batch(run, tags=last))
            self._tried(lambda: self._client.set_terminated(run, status, ended))
        except Exception as exc:
            self._fails(exc, f"the run {run} couldn't be ended")
            return False
        return True

    def _in_time(self) -> None:
        if self._deadline.passed():
            raise Late("the flow has stopped, and the time for writing is over")

    def _tried(self, call: Callable[[], ResultT]) -> ResultT:
        """Call, and call again where that may help. While the store is down, wait before, and call only once."""
        if self._down:
            self._deadline.rest(self._pause)
            self._pause = min(LONGEST_PAUSE_S, self._pause * 2)
        tries = 1 if self._down else self._retries + 1
        for again in range(tries):
            began = time.monotonic()
            try:
                result = call()
            except Exception as exc:
                if again + 1 == tries or not _passing(exc) or self._silent(began) or self._deadline.passed():
                    raise
                self._deadline.pause(min(LONGEST_PAUSE_S, self._backoff_s * 2**again))
            else:
                break
        self._up()
        return result

    def _silent(self, began: float) -> bool:
        """Whether a call has failed because nobody answers. If the flow stops, that is the end of all writing."""
        silent = self._deadline.near and time.monotonic() - began > SILENCE_S
        if silent:
            self._deadline.within(0)
        return silent

    def _up(self) -> None:
        if self._down:
            self._down = False
            self._say(logging.WARNING, f"the store at {self._uri} is back")

    def _fails(self, exc: Exception, text: str) -> None:
        text = f"{text} ({type(exc).__name__}: {str(exc).partition(chr(10))[0][:300]})"
        self.problem = text
        news = not self._down if _passing(exc) else text not in self._said
        if _passing(exc):
            self._pause = self._pause if self._down else max(0.1, self._backoff_s * 2**self._retries)
            self._down = True
        elif len(self._said) < MOST_SAID:
            self._said.add(text)
        if news:
            self._say(logging.WARNING, text)


def _touched(uri: str) -> None:
    """Have MLflow open a store."""
    from mlflow import MlflowClient

    MlflowClient(tracking_uri=uri).search_experiments(max_results=1)


def _cut(value: object) -> str:
    """A value of a tag or param."""
    return plain(str(value)[:LONGEST_VALUE])


def _passing(exc: Exception) -> bool:
    """Whether the same call may go well later."""
    if isinstance(exc, Late | ImportError | ValueError | TypeError | AttributeError):
        return False
    return getattr(exc, "error_code", None) not in _FINAL
