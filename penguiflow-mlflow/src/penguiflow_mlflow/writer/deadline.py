"""How long the writing process may go on: for ever, until the flow says that it stops, or is gone.

Rules: whoever waits here wakes up as soon as the end comes in sight.
"""

from __future__ import annotations

import threading
import time


class Deadline:
    """The end of all writing. It may be set from another thread, and only ever comes nearer."""

    def __init__(self) -> None:
        self._at = float("inf")
        self._set = threading.Event()

    def within(self, seconds: float) -> None:
        """End in so many seconds."""
        self._at = min(self._at, time.monotonic() + seconds)
        self._set.set()

    @property
    def near(self) -> bool:
        """Whether there is an end at all: the flow stops, or is gone."""
        return self._set.is_set()

    def passed(self) -> bool:
        """Whether it is over."""
        return time.monotonic() >= self._at

    def rest(self, seconds: float) -> None:
        """Wait so long, unless the end is in sight: then there is no time to lose."""
        self._set.wait(seconds)

    def pause(self, seconds: float) -> None:
        """Wait before another try: so long, and no longer than the deadline allows."""
        until = time.monotonic() + seconds
        if not self._set.wait(seconds):
            return
        time.sleep(max(0.0, min(until, self._at) - time.monotonic()))
