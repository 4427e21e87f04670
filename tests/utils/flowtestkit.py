"""The public testkit, and what only our own tests need beside it.

Rules: whatever a user may want of it is in `penguiflow.testkit`; here are shorter ways to say it.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any

from penguiflow.testkit import *  # noqa: F403  # the kit under one roof
from penguiflow.testkit import Recorder, VirtualLoop, quiet, virtual_time

__all__ = ["Recorder", "VirtualLoop", "clock", "in_time", "quiet", "virtual_time"]


def in_time(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """`virtual_time`, where a test that waits for something that never comes fails after a million virtual seconds."""

    @functools.wraps(test)
    async def guarded(*args: Any, **kwargs: Any) -> None:
        await asyncio.wait_for(test(*args, **kwargs), 1e6)

    return virtual_time(guarded)


def clock() -> float:
    """The loop's time in seconds."""
    return asyncio.get_running_loop().time()
