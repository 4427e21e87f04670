"""Races on purpose: the testkit's loop that shuffles steps, which also lets something happen exactly between two.

Rules: what is injected happens when a step is over, so every task is suspended where it is, and it happens once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

from penguiflow import testkit
from penguiflow.testkit import is_step


class _Step:
    """One step of a task, which tells the loop when it is over."""

    __slots__ = ("callback", "over")

    def __init__(self, callback: Callable[..., object], over: Callable[[], None]) -> None:
        self.callback = callback
        self.over = over

    def __call__(self, *args: Any) -> None:
        self.callback(*args)
        self.over()


class _Timer:
    """A timer's callback, which the loop can let ring early."""

    __slots__ = ("args", "callback", "context")

    def __init__(self, callback: Callable[..., object], args: tuple[Any, ...], context: Context | None) -> None:
        self.callback = callback
        self.args = args
        self.context = copy_context() if context is None else context

    def __call__(self) -> None:
        self.callback(*self.args)


class ShufflingLoop(testkit.ShufflingLoop):
    """A loop that shuffles, counts steps, and lets things happen between them.

    Attributes:
        steps: How many steps tasks have taken.
    """

    def __init__(self, seed: int | None = None) -> None:
        self.steps = 0
        self._timers: WeakKeyDictionary[asyncio.TimerHandle, _Timer] = WeakKeyDictionary()
        self._families: WeakKeyDictionary[asyncio.Task[Any], str] = WeakKeyDictionary()
        self._known: WeakSet[asyncio.Task[Any]] = WeakSet()  # those that have been given a step
        self._due: int | None = None
        self._action: Callable[[], object] = lambda: None
        self._variables = Context()
        self._at_once: list[tuple[_Step, tuple[Any, ...], Context]] | None = None
        super().__init__(seed)

    def inject(self, after: int, action: Callable[[], object]) -> None:
        """Call `action` when so many more steps have been taken, the one under way counted as none."""
        assert asyncio.current_task(self) is not None, "inject from inside a task: its own step is the first to end"
        self._due, self._action, self._variables = self.steps + after + 1, action, copy_context()

    def at_once(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Make a task that takes its first step now, as do those that it makes in it; only between two steps."""
        assert asyncio.current_task(self) is None, "a task takes its step: inject what shall happen between two"
        self._at_once = []
        try:
            task = self.create_task(coroutine)
            for step, args, variables in self._at_once:  # grows as they make others
                variables.run(step.callback, *args)
        finally:
            self._at_once = None
        return task

    def ring(self, after: float, before: float) -> int:
        """Let every timer that is set for some time between the two ring now, the earliest first; how many there were.

        The clock stays, so no other timer becomes due.
        """
        due = [(handle.when(), handle) for handle in self._timers if after < handle.when() < before]
        rung = 0
        for _, handle in sorted(due, key=lambda entry: entry[0]):
            if not handle.cancelled():
                timer = self._timers[handle]
                handle.cancel()
                timer.context.run(timer)
                rung += 1
        return rung

    def found(self, task: asyncio.Task[Any], family: str) -> None:
        """Give a family's name to a task and, from now on, to what it makes, and what that makes."""
        self._families[task] = family

    def family(self, task: asyncio.Task[Any]) -> str | None:
        """The family that a task belongs to."""
        return self._families.get(task)

    def create_task(self, coro: Any, **options: Any) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = super().create_task(coro, **options)
        maker = asyncio.current_task(self)
        if maker is not None and maker in self._families:
            self._families[task] = self._families[maker]
        return task

    def call_soon(  # type: ignore[override]  # what it is given, it hands on
        self, callback: Any, *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        if not is_step(callback):
            return super().call_soon(callback, *args, context=context)
        step = _Step(callback, self._stepped)
        task = callback.__self__
        first = task not in self._known
        self._known.add(task)
        if first and self._at_once is not None:
            variables = copy_context() if context is None else context
            self._at_once.append((step, args, variables))
            return asyncio.Handle(step, args, self, variables)
        handle = super().call_soon(step, *args, context=context)
        self.shuffle(handle)
        return handle

    def call_at(  # type: ignore[override]
        self, when: float, callback: Any, *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        timer = _Timer(callback, args, context)
        handle = super().call_at(when, timer, context=timer.context)
        self._timers[handle] = timer
        return handle

    def _stepped(self) -> None:
        self.steps += 1
        if self.steps == self._due:
            self._variables.run(self._action)
