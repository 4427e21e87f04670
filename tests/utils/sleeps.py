"""Notes each real sleep that is too long: a blocking one, and an event loop that waited for a timer in vain.

Rules: what counts is what was waited for, not how long a busy machine took. Waiting for something that then happens is
no sleep. Other processes aren't looked at.
"""

from __future__ import annotations

import functools
import selectors
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

LONGEST_S = 0.05


@contextmanager
def noted() -> Iterator[list[str]]:
    """The sleeps of a block that took longer than they may, as they come."""
    too_long: list[str] = []
    kind: Any = selectors.DefaultSelector
    before = time.sleep, kind.select
    time.sleep, kind.select = _sleeping(before[0], too_long), _waiting(before[1], too_long)
    try:
        yield too_long
    finally:
        time.sleep, kind.select = before


def _sleeping(sleep: Callable[[Any], None], too_long: list[str]) -> Callable[[Any], None]:
    @functools.wraps(sleep)
    def counted(seconds: Any) -> None:
        if seconds > LONGEST_S:
            too_long.append(f"time.sleep({seconds:g})")
        sleep(seconds)

    return counted


def _waiting(select: Callable[..., Any], too_long: list[str]) -> Callable[..., Any]:
    @functools.wraps(select)
    def counted(self: Any, timeout: float | None = None) -> Any:
        ready = select(self, timeout)
        if timeout is not None and timeout > LONGEST_S and not ready:
            too_long.append(f"a loop that waited {timeout:g} s for a timer")
        return ready

    return counted
