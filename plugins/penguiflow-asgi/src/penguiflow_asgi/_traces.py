"""The traces that are served: whose they are, who reads them, and how long they wait for somebody.

Rules: a tenant finds his own traces and no others; to him the others don't exist. One reader at a time; a client that
comes back takes over from its own lost connection. A trace that nobody reads is cancelled when its time is up. A trace
holds a place among its tenant's until its last event was read or its time is up, so what is kept is bounded. While
they drain no trace begins; each goes on for its reader, and is cancelled when it takes too long.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from contextlib import suppress
from typing import Any

from penguiflow import FlowStateError, Message, PenguiFlow, TraceHandle
from penguiflow_asgi._events import Events, Kept, Telling
from penguiflow_asgi._limits import Limits
from penguiflow_asgi._problems import Problem, log, no_room

_REMEMBERED = 1_000


class Served:
    """One trace, and who reads it."""

    def __init__(self, tenant: str, handle: TraceHandle) -> None:
        self.tenant: str = tenant
        self.handle: TraceHandle = handle
        self.events: Events | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.reader: asyncio.Future[None] | None = None  # done when its reader has to go
        self.fixed: bool = False  # whether its reader can't be made to go
        self.free = asyncio.Event()
        self.free.set()

    @property
    def trace_id(self) -> str:
        """The trace's id."""
        return self.handle.trace_id


class Traces:
    """All the traces of one flow that clients know of."""

    def __init__(self, flow: PenguiFlow, limits: Limits, telling: Telling) -> None:
        self.flow: PenguiFlow = flow
        self.limits: Limits = limits
        self.telling: Telling = telling
        self._tenants: dict[str, dict[str, Served]] = {}
        self._over: OrderedDict[str, tuple[str, str]] = OrderedDict()
        self._ending: set[asyncio.Task[bool]] = set()
        self._emptied: asyncio.Event | None = None  # while they drain

    def check_running(self) -> None:
        """Refuse whoever comes while nothing runs.

        Raises:
            Problem: the flow isn't running.
        """
        if self._emptied is not None or not self.flow.running:
            raise no_room(
                503,
                f"flow {self.flow.name!r} isn't running: it is stopping, or the app's lifespan never ran "
                "(mounted in another app, that one needs it: lifespan=app.lifespan)",
                self.limits.retry_after_s,
            )

    def start(self, tenant: str, message: Message[Any], timeout_s: float | None) -> Served:
        """Begin a trace. Somebody has to `take` it within `attach_s`.

        Raises:
            Problem: there is no room for it, or the flow isn't running.
        """
        self.check_running()
        mine = self._tenants.get(tenant, {})
        if len(mine) >= self.limits.traces_per_tenant:
            text = f"you have {len(mine)} traces, as many as you may have at once: read, cancel or wait for one"
            raise no_room(429, text, self.limits.retry_after_s)
        try:
            handle = self.flow.start(message, timeout_s)
        except asyncio.QueueFull:
            text = f"flow {self.flow.name!r} has no room for another trace: try again later"
            raise no_room(503, text, self.limits.retry_after_s) from None
        except FlowStateError:
            self.check_running()
            raise
        served = Served(tenant, handle)
        self._tenants.setdefault(tenant, {})[handle.trace_id] = served
        self._wait(served, self.limits.attach_s)
        return served

    def find(self, tenant: str, trace_id: str) -> Served:
        """A trace of this tenant's.

        Raises:
            Problem: he has none of that id.
        """
        found = self._tenants.get(tenant, {}).get(trace_id)
        if found is None:
            raise Problem(404, "you have no such trace: it has ended, or never was")
        return found

    def state(self, tenant: str, trace_id: str) -> dict[str, Any]:
        """What a trace is doing, or how it ended.

        Raises:
            Problem: the tenant has none of that id.
        """
        over = self._over.get(trace_id)
        if over is not None and over[0] == tenant:
            return {"trace_id": trace_id, "state": over[1], "waits_for": []}
        outcome = self.find(tenant, trace_id).handle.outcome
        if outcome is not None:
            return {"trace_id": trace_id, "state": outcome, "waits_for": []}
        told = self.flow.explain(trace_id)
        return {"trace_id": trace_id, "state": told.status, "waits_for": list(told.waits_for)}

    def events(self, served: Served) -> Events:
        """The events of a trace. From now on it is read, and no result can be asked of its handle."""
        if served.events is None:
            limits = self.limits
            kept = Kept(limits.replay_events, limits.replay_bytes) if limits.linger_s else Kept(0, 0)
            served.events = Events(served.handle, kept, self.telling)
        return served.events

    async def take(self, served: Served, over: bool = False, fixed: bool = False) -> asyncio.Future[None]:
        """Become the reader of a trace; the future is done when somebody else takes over.

        Args:
            served: The trace.
            over: Whether a reader that there may be has to go.
            fixed: Whether nobody can take over.

        Raises:
            Problem: it is being read, or was forgotten meanwhile.
        """
        while served.reader is not None:
            if not over or served.fixed:
                raise Problem(409, "this trace is being read already: a trace has one reader at a time")
            if not served.reader.done():
                served.reader.set_result(None)
            await served.free.wait()
        self.find(served.tenant, served.trace_id)
        if served.timer is not None:
            served.timer.cancel()
        served.fixed = fixed
        served.free.clear()
        served.reader = asyncio.get_running_loop().create_future()
        return served.reader

    async def leave(self, served: Served, linger: bool = False) -> None:
        """Its reader is gone: end the trace, at once or, with `linger`, after a while."""
        evicted = served.reader is not None and served.reader.done()
        served.reader = None
        served.free.set()
        if evicted:  # who comes may be gone before he is here
            self._wait(served, max(self.limits.linger_s, self.limits.attach_s))
        elif linger and self.limits.linger_s and self.flow.running and self._emptied is None:
            self._wait(served, self.limits.linger_s)
        else:
            await self.cancel(served)

    async def cancel(self, served: Served) -> None:
        """End a trace, if it hasn't ended; whoever reads it is told."""
        if served.reader is None:
            self._forget(served)
        await served.handle.cancel()
        self._remember(served)

    def open(self) -> None:
        """Let traces begin: again, if they were drained."""
        self._emptied = None

    async def drain(self) -> None:
        """Let no trace begin, and those end that somebody reads. Who is late is cancelled, and its reader told."""
        self._emptied = asyncio.Event()
        await self.close()
        if await self._empty(self._emptied, self.limits.drain_s):
            return
        late = self._all()
        log.warning("%d traces still went on after %s s: cancelled", len(late), self.limits.drain_s)
        await asyncio.gather(*(self.cancel(served) for served in late))
        await self._empty(self._emptied, self.limits.idle_s)

    async def _empty(self, emptied: asyncio.Event, seconds: float | None) -> bool:
        if self._tenants:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await emptied.wait()
        return not self._tenants

    async def close(self) -> None:
        """Cancel what nobody reads: nobody can come back for it."""
        for served in self._all():
            if served.reader is None:
                await self.cancel(served)
        if self._ending:
            await asyncio.wait(self._ending)

    def _all(self) -> list[Served]:
        return [served for mine in self._tenants.values() for served in mine.values()]

    def _wait(self, served: Served, seconds: float) -> None:
        served.timer = asyncio.get_running_loop().call_later(seconds, self._expired, served)

    def _expired(self, served: Served) -> None:
        self._forget(served)
        task = asyncio.get_running_loop().create_task(served.handle.cancel())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
        task.add_done_callback(lambda _: self._remember(served))

    def _forget(self, served: Served) -> None:
        if served.timer is not None:
            served.timer.cancel()
        mine = self._tenants.get(served.tenant, {})
        if mine.pop(served.trace_id, None) is not None and not mine:
            del self._tenants[served.tenant]
        if self._emptied is not None and not self._tenants:
            self._emptied.set()

    def _remember(self, served: Served) -> None:
        """How it ended, for those who ask for its state."""
        if served.handle.outcome is not None:
            self._over[served.trace_id] = (served.tenant, served.handle.outcome)
            if len(self._over) > _REMEMBERED:
                self._over.popitem(last=False)
