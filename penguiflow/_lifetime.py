"""A flow's run from its start to its end: resources are opened, traces drained, strays given up.

Rules: resources are entered and left in one task of their own, as those made of cancel scopes demand. Stopping first
refuses new messages, then lets what was accepted finish, as long as `drain_s` allows; then it cancels.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import AsyncExitStack
from typing import Any

from penguiflow._errors import FlowStateError
from penguiflow._floes import OVERFLOW
from penguiflow._lifecycle import GRACE_S, cancel, rest
from penguiflow._loading import PluginRecord
from penguiflow._nested import enter_resources
from penguiflow._observe import flow_event
from penguiflow._plan import Plan
from penguiflow._plugin_lives import PluginLives
from penguiflow._run import Run

log = logging.getLogger("penguiflow")

CLOSE_S = 1.0  # how long a stop that is cancelled may still take to close resources


class Lifetime:
    """One run, and the task that keeps its resources open."""

    def __init__(self, flow: Any, plan: Plan, run: Run, unstarted: dict[int, PluginRecord]) -> None:
        self.plan: Plan = plan
        self.run: Run = run
        self.epoch: float = time.time() - run.clock()
        self._over = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._hurries: list[asyncio.TimerHandle] = []
        subflows = [station for station in run.stations if station.subflow is not None]
        self._lives = PluginLives(flow, run, plan.plugins, unstarted)
        if plan.resources is not None or subflows or self._lives:
            run.ready = asyncio.Event()
            self._keeper = run.loop.create_task(self._keep())
            run.openers.add(self._keeper)
        self._said_start = False
        if not self._lives:
            self._say_start()

    async def _keep(self) -> None:
        """Start the plugins, open the resources, and undo both in reverse."""
        run = self.run
        assert run.ready is not None
        async with AsyncExitStack() as stack:
            try:
                if self._lives:
                    stack.push_async_callback(self._lives.stop)
                    await self._lives.start()
                    self._say_start()
                await enter_resources(self.plan, run, stack)
            except BaseException as exc:
                run.broken = exc
                self._say_stop()  # while the plugins haven't stopped
                raise
            finally:
                run.ready.set()
                run.openers.clear()
            run.ready = None
            await self._over.wait()

    def _say_start(self) -> None:
        self._said_start = True
        flow_event("flow_start", self.run, self.epoch)

    def _say_stop(self) -> None:
        """Once, if the start was said."""
        if self._said_start:
            self._said_start = False
            flow_event("flow_stop", self.run, self.epoch)

    async def ready(self) -> None:
        """Wait until the resources are open.

        Raises:
            Exception: whatever opening them raised.
            FlowStateError: somebody has stopped the flow meanwhile.
        """
        run = self.run
        if run.ready is not None:
            await run.ready.wait()
        if isinstance(run.broken, Exception):
            raise run.broken
        if run.draining or run.broken is not None:
            raise FlowStateError(f"flow {run.name!r} was stopped while it was being entered")

    async def stop(self, drain_s: float | None) -> None:
        """Drain, cancel what is left, close."""
        run = self.run
        run.draining = True
        _turn_away(run)
        run.rookery.widen(OVERFLOW + len(run.traces))
        for trace in tuple(run.traces.values()):
            if trace.reader is not None:
                trace.reader.widen(OVERFLOW)
            if not trace.strands:
                rest(trace)
        try:
            await self._drained(drain_s)
        finally:
            await self._end()

    async def _drained(self, drain_s: float | None) -> None:
        run = self.run
        if run.traces and (drain_s is None or drain_s > 0):
            idle = asyncio.Event()
            run.idle.append(idle.set)
            try:
                async with asyncio.timeout(drain_s):
                    await idle.wait()
            except TimeoutError:
                log.warning("flow %r still had %d traces after %s s: cancelled", run.name, len(run.traces), drain_s)

    async def _end(self) -> None:
        run = self.run
        self.cancel_all()
        if run.traces:
            idle = asyncio.Event()
            run.idle.append(idle.set)
            await idle.wait()
        await self._strays()
        for timer in self._hurries:
            timer.cancel()
        self._say_stop()
        run.rookery.close()
        await self._closed()

    def hurry(self, drain_s: float | None) -> None:
        """Give a stop that is under way no more than `drain_s` from now on."""
        if drain_s is not None:
            self._hurries.append(self.run.call_later(drain_s, self.cancel_all))

    async def hasten(self, stopping: asyncio.Task[None]) -> None:
        """Whoever stops the flow is cancelled himself: end it now, and close what there is to be closed.

        He may be cancelled again meanwhile; anyio does so in each turn of the loop, while which a virtual clock stands.
        """
        self.cancel_all()
        clock = self.run.clock
        until, patience = clock() + CLOSE_S, time.monotonic() + CLOSE_S
        while not stopping.done() and clock() < until:
            try:
                await asyncio.wait([stopping], timeout=until - clock())
            except asyncio.CancelledError:
                if time.monotonic() > patience:
                    break
        if not stopping.done():
            stopping.cancel()
            log.error("flow %r was cancelled while it closed its resources, and gave them up", self.run.name)
        elif not stopping.cancelled() and stopping.exception() is not None:
            log.error("flow %r could not close its resources", self.run.name, exc_info=stopping.exception())

    def cancel_all(self) -> None:
        """Cancel every trace that is still live."""
        for trace in tuple(self.run.traces.values()):
            cancel(trace)

    async def _strays(self) -> None:
        """Cancel once more what swallowed its cancellation, and wait a moment for it."""
        strays = tuple(self.run.strays)
        for task in strays:
            task.cancel()
        if strays:
            _, left = await asyncio.wait(strays, timeout=GRACE_S)
            if left:
                log.warning("flow %r leaves %d nodes behind that ignore cancellation", self.run.name, len(left))

    async def _closed(self) -> None:
        self._over.set()
        keeper, self._keeper = self._keeper, None
        if keeper is None:
            return
        if self.run.ready is not None and not self.run.ready.is_set():
            keeper.cancel()  # it is still opening them
        try:
            await asyncio.wait([keeper])
        except asyncio.CancelledError:
            keeper.cancel()
            raise
        finally:
            if self.run.ready is not None:
                self.run.ready.set()  # who was cancelled before his first step can't say so himself
        error = None if keeper.cancelled() else keeper.exception()
        if error is not None:
            raise error


def _turn_away(run: Run) -> None:
    """Whoever waits for a slot learns that there won't be one."""
    while run.queue:
        waiter, _ = run.queue.popleft()
        if not waiter.done():
            waiter.set_exception(FlowStateError(f"flow {run.name!r} was stopped while this message waited to enter"))
