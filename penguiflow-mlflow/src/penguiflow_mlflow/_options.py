"""What a deployment may set, in the table `[plugins.options.mlflow]`."""

from __future__ import annotations

import os
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Mode = Literal["process", "window", "trace"]


class Options(BaseModel):
    """Where to write, and what.

    Attributes:
        tracking_uri: Where MLflow keeps its runs, as `sqlite:///mlflow.db` or the address of a server. By default what
            `MLFLOW_TRACKING_URI` says when the flow is built; with neither, nothing is written.
        experiment: The name of the experiment. By default what `MLFLOW_EXPERIMENT_ID` or `MLFLOW_EXPERIMENT_NAME` says,
            or else the flow's name.
        run_name: The name of the run. By default the flow's name.
        mode: `process` writes each figure into one run for each start of the flow; `window` writes into that run a
            summary of every `window_s` seconds; `trace` makes a run for each trace, nested in that run.
        window_s: Seconds that a summary covers.
        tags: Tags of the run, beside those of the plugin.
        trace_table: How many of the latest traces the run lists in the artifact `traces.json`; 0 for none.
        diagrams: The formats in which the flow's graph is kept as an artifact, where a plugin exports them.
        queue_size: How many events may wait to be written. Those that come when it is full are dropped, and counted.
        flush_s: Seconds after which what waits is written, if there are no 1,000 events before.
        retries: How often a batch is tried again while the store can't be reached, before it is dropped.
        backoff_s: Seconds before the first of these tries; each further wait is twice as long.
        wait_s: Seconds that the start of the flow may wait for the store to be open. 0 doesn't wait: what happens
            meanwhile is kept in the queue. Keep it under the deployment's `start_timeout_s`, which is 10.
        stop_s: Seconds that the flow's stop may take, at most, to write what is left; also to wait for a store that is
            still being opened. A `stop_timeout_s` in the deployment's settings must be longer.
        python: The interpreter of the process that writes. By default the one that runs the flow.
    """

    model_config = ConfigDict(extra="forbid")

    tracking_uri: str | None = None
    experiment: str | None = Field(default=None, min_length=1)
    run_name: str | None = Field(default=None, min_length=1)
    mode: Mode = "process"
    window_s: float = Field(default=60.0, gt=0, allow_inf_nan=False)
    tags: dict[str, str] = {}
    trace_table: int = Field(default=1000, ge=0)
    diagrams: tuple[str, ...] = ("mermaid", "svg")
    queue_size: int = Field(default=50_000, ge=1)
    flush_s: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    retries: int = Field(default=5, ge=0)
    backoff_s: float = Field(default=0.25, ge=0, allow_inf_nan=False)
    wait_s: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    stop_s: float = Field(default=30.0, gt=0, allow_inf_nan=False)
    python: str | None = None

    def where(self) -> str | None:
        """The tracking URI that counts now, if there is one."""
        return self.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or None
