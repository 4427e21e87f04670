"""The plugin: notes what happens, and starts and stops what writes it.

Rules: on the event loop an event becomes a small tuple in a bounded queue, and nothing else happens. MLflow is never
imported in the flow's process.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys

from penguiflow import FlowEvent, PenguiFlow, hookimpl
from penguiflow_mlflow import _facts as facts
from penguiflow_mlflow._courier import Courier
from penguiflow_mlflow._mailbox import Mailbox, node_note, trace_note
from penguiflow_mlflow._options import Options
from penguiflow_mlflow._report import Report

log = logging.getLogger("penguiflow_mlflow")

ENDS = ("node_success", "node_failed", "node_cancelled", "node_expired")
EVENTS = ("node_start", *ENDS, "node_error", "node_timeout", "node_retry", "stream_chunk", "trace_finish")
LAST_S = 3.0  # of the time to stop, is for ending the run
HINT = (
    "no metrics go to MLflow, as nobody says where: set MLFLOW_TRACKING_URI, or tracking_uri in "
    "[plugins.options.mlflow], as in tracking_uri = 'sqlite:///mlflow.db' "
    "(PENGUIFLOW_PLUGINS_BLOCK=mlflow silences this)"
)


class MlflowMetrics:
    """One for each flow.

    Attributes:
        event_types: The events that it is shown; none if nobody says where to write.
        waiting: How many events are still in the queue.
        stop_timeout_s: How long its stop may take, in seconds; the flow asks.
        report: What became of the events of the flow's last start; the last sums once the flow has stopped.
    """

    name = "mlflow"
    api_version = "2"

    def __init__(self, options: Options) -> None:
        self._options: Options = options
        self._uri: str | None = options.where()
        self.stop_timeout_s: float = options.stop_s + 1
        self.event_types: tuple[str, ...] = EVENTS if self._uri else ()
        self._box = Mailbox(0)  # takes nothing: the flow isn't running
        self._talking: dict[str, set[str]] = {}  # by trace, the node runs that have written a chunk
        self._courier: Courier | None = None
        self._running = False
        self._over = asyncio.Event()

    @property
    def report(self) -> Report:
        return Report() if self._courier is None else self._courier.report()

    @property
    def waiting(self) -> int:
        return len(self._box)

    @hookimpl
    def on_event(self, event: FlowEvent) -> None:
        """Leave a note."""
        kind = event.event_type
        if kind == "trace_finish":
            self._talking.pop(event.trace_id, None)  # type: ignore[arg-type]
            self._box.put(trace_note(event))
            return
        if kind == "stream_chunk":
            if self._talks_already(event):
                return
        elif self._talking and kind in ENDS:
            self._quiet(event)
        self._box.put(node_note(event))

    def _talks_already(self, event: FlowEvent) -> bool:
        """Whether this isn't the first chunk of its node run: only the first is of interest."""
        talking = self._talking.setdefault(event.trace_id or "", set())
        run = event.invocation_id or ""
        if run in talking:
            return True
        talking.add(run)
        return False

    def _quiet(self, event: FlowEvent) -> None:
        talking = self._talking.get(event.trace_id or "")
        if talking is not None:
            talking.discard(event.invocation_id or "")

    async def start(self, flow: PenguiFlow) -> None:
        """Begin a run. What comes while MLflow opens its store waits in the queue."""
        if self._uri is None:
            log.info("%s", HINT)
            return
        if self._running:
            raise RuntimeError("this object is in another flow that runs: make one for each flow, with plugin(...)")
        options, loop = self._options, asyncio.get_running_loop()
        opened, self._over = asyncio.Event(), asyncio.Event()
        over = self._over

        def say(*events: asyncio.Event) -> None:
            with contextlib.suppress(RuntimeError):  # a loop that is closed has nobody who waits
                for event in events:
                    loop.call_soon_threadsafe(event.set)

        self._talking.clear()
        self._box = Mailbox(options.queue_size)
        self._courier = Courier(
            self._box,
            self._hello(flow, self._uri),
            options.python or sys.executable or "python",
            options.flush_s,
            opened=lambda: say(opened),
            ended=lambda: say(opened, over),
        )
        self._courier.start()
        self._running = True
        if options.wait_s:
            await self._wait(opened, self._courier)

    async def _wait(self, opened: asyncio.Event, courier: Courier) -> None:
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._options.wait_s):
                    await opened.wait()
        except asyncio.CancelledError:
            courier.kill()  # who isn't started isn't stopped
            self._running = False
            raise

    def _hello(self, flow: PenguiFlow, uri: str) -> dict[str, object]:
        options = self._options
        return {
            "uri": uri,
            "flow": flow.name,
            "experiment": options.experiment,
            "parent": facts.active_run(),
            "run_name": options.run_name or flow.name,
            "tags": {**facts.tags(flow), **options.tags},
            "params": facts.params(flow),
            "files": facts.diagrams(flow, options.diagrams),
            "mode": options.mode,
            "window_s": options.window_s,
            "table": options.trace_table,
            "retries": options.retries,
            "backoff_s": options.backoff_s,
        }

    async def stop(self, flow: PenguiFlow) -> None:
        """Have what is left written, and the run ended, within `stop_s`."""
        courier, seconds = self._courier, self._options.stop_s
        if courier is None or not self._running:
            return
        self._running = False
        courier.finish(seconds - min(seconds / 4, LAST_S))
        try:
            async with asyncio.timeout(seconds):
                await self._over.wait()
        except TimeoutError:
            courier.kill()
            await self._over.wait()
        finally:
            courier.kill()  # nothing, once it is over; all that is left to do, when this is cancelled
        courier.join(1.0)  # it has said its last word
        report = courier.report()
        lost = report.status is None or report.dropped_events or report.dropped_metrics
        log.log(logging.WARNING if lost else logging.INFO, "%s", report)


def plugin(options: Options) -> MlflowMetrics:
    """What the entry point names: makes the plugin of one flow."""
    return MlflowMetrics(options)
