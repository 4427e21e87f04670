"""Times a plugin's hooks while a flow runs with it, and watches over what doesn't come back.

Rules: what is timed is what the event loop waits for. Hooks that have had their time are no longer called, so that a
probe always ends; one that hangs is found by a thread, which says where it hangs.
"""

from __future__ import annotations

import contextlib
import inspect
import statistics
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

from penguiflow import PenguiFlow
from penguiflow.cli.speech import theirs

ENOUGH_S = 4.0
_TICK_S = 0.05
_GRACE_S = 1.0  # a busy machine holds up everybody

Stuck = Callable[[str, float, str | None], None]


class Watchdog:
    """A thread that sees when the main thread stays in one stage for too long.

    Args:
        stuck: Called with the stage, its limit, and the file and line, from that thread.
    """

    def __init__(self, stuck: Stuck) -> None:
        self._stuck: Stuck = stuck
        self._stages: list[tuple[str, float, float]] = []
        self._main: int = threading.get_ident()
        threading.Thread(target=self._watch, daemon=True, name="penguiflow-doctor").start()

    @contextlib.contextmanager
    def stage(self, doing: str, seconds: float) -> Iterator[None]:
        """What the main thread does, and how long that may take."""
        self._stages.append((doing, seconds, time.monotonic() + seconds + _GRACE_S))
        try:
            yield
        finally:
            self._stages.pop()

    def _watch(self) -> None:
        while True:
            time.sleep(_TICK_S)
            for doing, seconds, deadline in reversed(self._stages[:]):
                if time.monotonic() > deadline:
                    self._stuck(doing, seconds, self._place())
                    return

    def _place(self) -> str | None:
        frame = sys._current_frames().get(self._main)
        frames = theirs([] if frame is None else traceback.extract_stack(frame))
        return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else None


class Stopwatch:
    """Times the hooks of one plugin.

    Args:
        watchdog: Who looks after a hook that doesn't come back.
        limit_s: After how many seconds one doesn't.
    """

    def __init__(self, watchdog: Watchdog, limit_s: float) -> None:
        self.times: dict[tuple[str, str], list[float]] = {}
        self.waits: dict[str, float] = {}
        self._spent: float = 0.0
        self._watchdog: Watchdog = watchdog
        self._limit_s: float = limit_s

    def attach(self, flow: PenguiFlow, plugin: Any) -> None:
        """Put itself between the flow and the plugin, before the flow runs."""
        for hook, impls in flow.plan.dispatch.impls.items():
            for impl in impls:
                if impl.owner is plugin:
                    impl.call = self._timed(hook, impl.call)

    def _timed(self, hook: str, call: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def timed(given: Any) -> Any:
            if self._spent > ENOUGH_S:
                return None
            kind = getattr(given, "event_type", "")
            started = time.perf_counter()
            try:
                with self._watchdog.stage(f"{hook}({kind})", self._limit_s):
                    answer = call(given)
            finally:
                took = time.perf_counter() - started
                self._spent += took
                self.times.setdefault((hook, kind), []).append(took)
            if inspect.isawaitable(answer):
                return self._awaited(hook, answer)
            return answer

        return timed

    async def _awaited(self, hook: str, answer: Any) -> Any:
        started = time.perf_counter()
        try:
            return await answer
        finally:
            self.waits[hook] = max(self.waits.get(hook, 0.0), time.perf_counter() - started)

    def typical(self) -> dict[str, float]:
        """The median of each hook, in milliseconds."""
        hooks = dict.fromkeys(hook for hook, _ in self.times)
        each = {hook: [t for (h, _), times in self.times.items() if h == hook for t in times] for hook in hooks}
        return {hook: statistics.median(times) * 1e3 for hook, times in each.items()}

    def worst(self) -> dict[str, tuple[float, str]]:
        """The median of each hook for what takes it longest, in milliseconds, and what that is."""
        found: dict[str, tuple[float, str]] = {}
        for (hook, kind), times in self.times.items():
            found[hook] = max(found.get(hook, (0.0, "")), (statistics.median(times) * 1e3, kind))
        return found
