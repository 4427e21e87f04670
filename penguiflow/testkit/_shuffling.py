"""A virtual loop that runs the ready steps of tasks in an order drawn from a seed.

Rules: only steps of tasks change places, and only with each other among those that are ready; plain callbacks keep
their order and their places. The same seed gives the same order.
"""

from __future__ import annotations

import asyncio
import random
from contextvars import Context
from typing import Any
from weakref import WeakSet

from penguiflow.testkit._clock import Clock
from penguiflow.testkit._loops import VirtualLoop

_STEPS = ("TaskStepMethWrapper", "task_wakeup", "__step", "__wakeup")  # of tasks written in C, and in Python


class ShufflingLoop(VirtualLoop):
    """A `VirtualLoop` that shuffles.

    Args:
        seed: What the order is drawn from; with `None`, steps come in the natural one.
        clock: The clock that it goes by; by default one of its own.
    """

    def __init__(self, seed: int | None = None, clock: Clock | None = None) -> None:
        self._drawn = None if seed is None else random.Random(seed)
        self._waiting: WeakSet[asyncio.Handle] = WeakSet()  # handles that are steps
        super().__init__(clock)

    def call_soon(  # type: ignore[override]  # what it is given, it hands on
        self, callback: Any, *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """As ever, but that a task's step may change places with another that is ready."""
        handle = super().call_soon(callback, *args, context=context)
        if is_step(callback):
            self.shuffle(handle)
        return handle

    def shuffle(self, handle: asyncio.Handle) -> None:
        """Let a step that was added last change places with one of those that are ready, itself included."""
        self._waiting.add(handle)
        if self._drawn is None:
            return
        ready = self._ready  # type: ignore[attr-defined]  # every loop of asyncio has it
        places = [place for place, other in enumerate(ready) if other in self._waiting]
        other = self._drawn.choice(places)
        ready[other], ready[-1] = ready[-1], ready[other]


def is_step(callback: Any) -> bool:
    """Whether a callback is a task's next step."""
    if not isinstance(getattr(callback, "__self__", None), asyncio.Task):
        return False
    name = getattr(callback, "__name__", type(callback).__name__)
    return name.removeprefix("_Task") in _STEPS
