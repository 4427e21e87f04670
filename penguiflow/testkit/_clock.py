"""A clock that jumps: the time of virtual loops, and the wall clock that goes with it.

Rules: it moves when a loop finds that nothing but a timer can happen, or when a test moves it. While something outside
is under way it moves as real time does. Once it is let go, it goes on from where it is, in real time, so that no loop
ever sees time run backwards.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from penguiflow.testkit._lending import Lendable

START = 1000.0  # small, so that a sum of delays is exact for long

real_monotonic = time.monotonic
real_time = time.time


class Clock(Lendable):
    """The time of one `virtual_time` block.

    Args:
        starts_at: What `time.time()` says at first (epoch seconds); by default what it is.
    """

    def __init__(self, starts_at: float | None = None) -> None:
        super().__init__()
        self.holds: int = 0
        self._now: float = START
        self._wall: float = (real_time() if starts_at is None else starts_at) - START
        self._let_go: float | None = None

    @property
    def now(self) -> float:
        """The time of the loops, in seconds."""
        return self._now if self._let_go is None else self._now + real_monotonic() - self._let_go

    @property
    def elapsed(self) -> float:
        """How many seconds have passed since the beginning, up to the end of `virtual_time`."""
        return self._now - START

    @property
    def virtual(self) -> bool:
        """Whether it still jumps."""
        return self._let_go is None

    def time(self) -> float:
        """The wall clock, in epoch seconds: what `time.time()` says meanwhile, and the real one afterwards."""
        return self._wall + self.now if self.virtual else real_time()

    def time_ns(self) -> int:
        """The same in nanoseconds."""
        return int(self.time() * 1e9)

    def advance(self, seconds: float) -> None:
        """Move it on. Timers that become due ring when the loop has its next turn.

        Raises:
            ValueError: a negative number.
        """
        if not seconds >= 0:
            raise ValueError(f"a clock only goes forward: advance({seconds!r})")
        self._now += seconds

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Let it go as real time does, while the block lasts.

        For what a loop can't see: an answer of a thread or process that you have started yourself.
        """
        self.holds += 1
        try:
            yield
        finally:
            self.holds -= 1

    def let_go(self) -> None:
        """From now on it goes in real time."""
        self._let_go = real_monotonic()
