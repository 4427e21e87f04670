"""What our tests need of time: a loop whose clock jumps to the next timer, so that waiting costs nothing.

Rules: the clock jumps only when nothing can run and nothing from outside (a socket, a thread) is due. So a tiny sleep
returns exactly when every other task is blocked: `quiet()`.
"""

from __future__ import annotations

import asyncio
import functools
import selectors
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

from penguiflow import FlowEvent


class _JumpingSelector(selectors.DefaultSelector):
    """Instead of waiting for the next timer, moves the clock to it."""

    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None and not self.loop.outside and len(self.get_map()) <= 1:  # its own wake-up pipe alone
            raise RuntimeError("every task is blocked, no timer is set and nothing is due from outside: a deadlock")
        if timeout is None or timeout <= 0 or self.loop.outside:
            return super().select(timeout)
        ready = super().select(0)
        if not ready:
            self.loop.now += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop that waits in no time at all."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.outside = 0
        selector = _JumpingSelector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self.now

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        future = super().run_in_executor(executor, func, *args)
        self.outside += 1
        future.add_done_callback(self._came_back)
        return future

    def _came_back(self, _: object) -> None:
        self.outside -= 1


def virtual_time(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run an async test on a `VirtualLoop`; an hour there takes as long as what happens in it."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            runner.run(test(*args, **kwargs))

    return run


def in_time(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """`virtual_time`, where a test that waits for something that never comes fails after a million virtual seconds."""

    @functools.wraps(test)
    async def guarded(*args: Any, **kwargs: Any) -> None:
        await asyncio.wait_for(test(*args, **kwargs), 1e6)

    return virtual_time(guarded)


async def quiet() -> None:
    """Wait until every other task is blocked (on a `VirtualLoop`)."""
    assert isinstance(asyncio.get_running_loop(), VirtualLoop), "decorate the test with @virtual_time"
    await asyncio.sleep(1e-6)


def clock() -> float:
    """The loop's time in seconds."""
    return asyncio.get_running_loop().time()


class Recorder:
    """Keeps the events that it is called with: give it as `on_event=`."""

    def __init__(self) -> None:
        self.events: list[FlowEvent] = []

    def __call__(self, event: FlowEvent) -> None:
        self.events.append(event)

    def types(self, *kinds: str) -> list[str]:
        """The event types in order; only `kinds`, if some are given."""
        return [e.event_type for e in self.events if not kinds or e.event_type in kinds]

    def of(self, kind: str) -> list[FlowEvent]:
        """The events of one type."""
        return [e for e in self.events if e.event_type == kind]

    def runs(self) -> list[str]:
        """The nodes in the order in which they started."""
        return [e.node_name or "" for e in self.of("node_start")]

    def assert_lawful(self) -> None:
        """Every trace that started finished once, and every node run that started ended once, in time."""
        starts = Counter(e.trace_id for e in self.of("trace_start"))
        finishes = Counter(e.trace_id for e in self.of("trace_finish"))
        assert starts == finishes, f"{starts} traces started, {finishes} finished"
        assert all(count == 1 for count in finishes.values()), finishes
        begun = Counter(e.invocation_id for e in self.of("node_start"))
        ends = ("node_success", "node_failed", "node_cancelled", "node_expired")
        ended = Counter(e.invocation_id for e in self.events if e.event_type in ends)
        assert begun == ended, f"{begun} node runs started, {ended} ended"
        assert all(count == 1 for count in ended.values()), ended
        over: set[str | None] = set()
        for event in self.events:
            if event.event_type == "trace_finish":
                over.add(event.trace_id)
            elif event.event_type.startswith("node_"):
                assert event.trace_id not in over, f"{event} after the end of its trace"
