"""What is left when a flow has stopped: tasks, threads, timers, open files of the event loop.

Rules: only what is seen from outside counts, through the public interfaces of `asyncio` and `threading`.
"""

from __future__ import annotations

import asyncio
import selectors
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

GRACE_S = 0.5  # for threads that were told to end


class WatchedLoop(asyncio.SelectorEventLoop):
    """An event loop whose timers and open files can be listed."""

    def __init__(self) -> None:
        self._files = selectors.DefaultSelector()
        self._timers: list[asyncio.TimerHandle] = []
        super().__init__(self._files)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        handle = super().call_at(when, callback, *args, context=context)
        self._timers.append(handle)
        return handle

    def timers(self) -> list[str]:
        """The timers that are still to fire."""
        return [repr(t) for t in self._timers if not t.cancelled() and t.when() > self.time()]

    def files(self) -> set[int]:
        """The files that the loop waits for."""
        return {key.fd for key in self._files.get_map().values()}


async def left_in_loop(run: Callable[[], Awaitable[object]]) -> list[str]:
    """What of `run` is left in the loop after it has returned; a sentence each."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, WatchedLoop)
    tasks, files = asyncio.all_tasks(), loop.files()
    await run()
    left = [f"the task {task.get_coro()!r}" for task in asyncio.all_tasks() - tasks]
    left += [f"the timer {timer}" for timer in loop.timers()]
    left += [f"the open file {fd} that the loop waits for" for fd in sorted(loop.files() - files)]
    return left


def threads_left(before: list[threading.Thread]) -> list[str]:
    """The threads that are left of those started since `before`."""
    until = time.monotonic() + GRACE_S
    new = [thread for thread in threading.enumerate() if thread not in before]
    for thread in new:
        thread.join(max(0.0, until - time.monotonic()))
    return [f"the thread {thread.name!r}" for thread in new if thread.is_alive()]
