"""How often the nodes of each flow fail: counts over the last seconds, as events tell them.

Rules: a window is the present count and the part of the one before that still lies in it, so reading it takes no time.
A run that ends by a deadline counts as failed, one that is cancelled doesn't count.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from penguiflow import FlowEvent

EVENTS = ("node_success", "node_failed", "node_expired")


@dataclass(slots=True)
class _Window:
    begin: float
    runs: int = 0
    failed: int = 0
    runs_before: int = 0
    failed_before: int = 0

    def turn(self, now: float, seconds: float) -> None:
        past = now - self.begin
        if past < seconds:
            return
        recent = past < 2 * seconds
        self.runs_before, self.failed_before = (self.runs, self.failed) if recent else (0, 0)
        self.runs = self.failed = 0
        self.begin = self.begin + seconds if recent else now


class Health:
    """The error rates of nodes, each over windows of the lengths that are asked for.

    Args:
        clock: Seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._windows: dict[float, dict[tuple[str, str], _Window]] = {}

    def watch(self, lengths: Iterable[float]) -> None:
        """Count over windows of these lengths (seconds) from now on, and over no others."""
        self._windows = {seconds: self._windows.get(seconds, {}) for seconds in sorted(set(lengths))}

    def on_event(self, event: FlowEvent) -> None:
        """Count the end of a node's run."""
        if event.node_name is not None and event.event_type in EVENTS:
            self.count(event.flow_name, event.node_name, failed=event.event_type != "node_success")

    def count(self, flow: str, node: str, *, failed: bool) -> None:
        """Count a run of a flow's node."""
        now = self._clock()
        for seconds, nodes in self._windows.items():
            window = nodes.get((flow, node))
            if window is None:
                window = nodes[flow, node] = _Window(now)
            window.turn(now, seconds)
            window.runs += 1
            window.failed += failed

    def rate(self, flow: str, node: str, seconds: float, min_runs: int) -> float:
        """The part of a node's runs that failed, from 0 to 1; 0 with fewer than `min_runs` runs."""
        window = self._windows.get(seconds, {}).get((flow, node))
        if window is None:
            return 0.0
        now = self._clock()
        window.turn(now, seconds)
        left = 1.0 - (now - window.begin) / seconds
        runs = window.runs + window.runs_before * left
        failed = window.failed + window.failed_before * left
        return failed / runs if runs and runs >= min_runs else 0.0
