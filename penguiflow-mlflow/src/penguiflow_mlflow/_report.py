"""What became of a run's events."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Report:
    """The sums of one run of a flow. Each event was written, dropped, or is still in the queue.

    Attributes:
        run_id: The MLflow run; `None` if none could be made.
        status: How that run was ended (`FINISHED`); `None` if it couldn't be.
        events: Events that the flow sent.
        dropped_events: Those that nothing was made of: the queue was full, or the time to stop was over.
        metrics: Metric values that MLflow has taken.
        dropped_metrics: Those that it refused or that couldn't be delivered.
        problem: The last thing that went wrong, as a sentence.
    """

    run_id: str | None = None
    status: str | None = None
    events: int = 0
    dropped_events: int = 0
    metrics: int = 0
    dropped_metrics: int = 0
    problem: str | None = None

    def __str__(self) -> str:
        run = f"MLflow run {self.run_id}" if self.run_id else "no MLflow run was made"
        text = (
            f"{run}: {self.events} events, {self.metrics} metrics written, "
            f"{self.dropped_events} events and {self.dropped_metrics} metrics dropped"
        )
        if self.run_id and not self.status:
            text += "; the run could not be ended, and MLflow may still show it as running"
        return text
