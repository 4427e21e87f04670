"""Long work in slices, between which the interpreter is free for others.

An event loop needs the interpreter each time that it wakes up, and Python lets it wait 5 ms for one that a busy thread
holds; while thousands of lines are written, these add up. Rules: where a loop runs in the very thread that works, there
is nobody to make way for, so it doesn't pause.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from prometheus_client.samples import Sample

LINES = 50  # a slice: half a millisecond of work
PAUSE_S = 0.0001  # long enough for another thread to wake up and take the interpreter

ItemT = TypeVar("ItemT")


def sliced(items: Iterable[ItemT], lines: int = 1) -> Iterator[ItemT]:
    """The items, with a pause after each slice; `lines` is how many of them an item makes."""
    in_a_slice, pausing = max(1, LINES // lines), not in_a_loop()
    for number, item in enumerate(items, 1):
        yield item
        if pausing and number % in_a_slice == 0:
            time.sleep(PAUSE_S)


class Samples(list[Sample]):
    """Samples that are read in slices."""

    def __iter__(self) -> Iterator[Sample]:
        return sliced(super().__iter__())


def in_a_loop(loop: asyncio.AbstractEventLoop | None = None) -> bool:
    """Whether this thread runs an event loop, or the one that is given."""
    try:
        running = asyncio.get_running_loop()
    except RuntimeError:
        return False
    return loop is None or running is loop
