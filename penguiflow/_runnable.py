"""`Runnable`: what of a flow isn't about messages: its name and graph, and running and stopping it.

Rules: a flow runs in one event loop at a time, and every call says so that comes from another.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from threading import get_ident
from typing import Any, Self

from penguiflow._arrival import caller_in
from penguiflow._channel import Channel
from penguiflow._dispatch import is_stray
from penguiflow._errors import FlowStateError
from penguiflow._graph import Graph
from penguiflow._lifetime import Lifetime
from penguiflow._loading import PluginRecord
from penguiflow._nested import Runtime
from penguiflow._node import Node
from penguiflow._plan import Plan
from penguiflow._registry import ModelRegistry
from penguiflow._run import Run
from penguiflow._station import Station
from penguiflow._trace import Trace

To = str | Node | Iterable[str | Node] | None


class Runnable:
    """A flow that can be run and stopped, again and again."""

    def __init__(self, plan: Plan) -> None:
        self.plan: Plan = plan
        self._registry = ModelRegistry()
        self._life: Lifetime | None = None
        self._stopping: asyncio.Task[None] | None = None
        self._unstarted: dict[int, PluginRecord] = {}  # by the id of the record that it stands for
        self._rookery: Channel | None = None

    @property
    def name(self) -> str:
        """The flow's name, as in events and diagrams."""
        return self.plan.name

    @property
    def graph(self) -> Graph:
        """The flow's graph: immutable, and the same each time."""
        return self.plan.graph(self._registry)

    @property
    def nodes(self) -> tuple[Node[..., Any], ...]:
        """The flow's nodes, in the order of its graph."""
        return self.plan.wiring.nodes

    @property
    def plugins(self) -> tuple[PluginRecord, ...]:
        """What became of each plugin: those given to `create`, then those installed. One that could not be started
        in the last run is `failed`.
        """
        return tuple(self._unstarted.get(id(record), record) for record in self.plan.plugins.records)

    @property
    def running(self) -> bool:
        """Whether the flow takes messages."""
        return self._life is not None and not self._life.run.draining

    def run(self, registry: ModelRegistry | None = None) -> None:
        """Start taking messages, in the event loop that runs now.

        Args:
            registry: Models by node name, where annotations don't say or shall not count.

        Raises:
            FlowStateError: it runs already, or no event loop does.
        """
        if self._life is not None and not self._life.run.loop.is_closed():
            raise FlowStateError(f"flow {self.name!r} is running already: `await flow.stop()` first")
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            raise FlowStateError("a flow runs in an event loop: call run() inside `async def`") from None
        self._registry = registry or ModelRegistry()
        run = self.plan.start(Runtime(), self._registry, self.plan.dispatch.started())
        if self._rookery is not None:
            self._rookery.drain_to(run.rookery)
        self._rookery = run.rookery
        self._stopping = None
        self._unstarted = {}
        self._life = Lifetime(self, self.plan, run, self._unstarted)

    async def stop(self, drain_s: float | None = None) -> None:
        """Take no more messages, finish the accepted ones, and end. What is left in Rookery can still be fetched.

        Args:
            drain_s: Seconds that traces may take to finish before they are cancelled; `None` for as long as it takes.

        Raises:
            FlowStateError: called from inside a node of this flow, which it would wait for.
        """
        if drain_s is not None and not drain_s >= 0:
            raise ValueError(f"drain_s is a number of seconds from 0 on, not {drain_s!r}")
        if self._life is None or self._life.run.loop.is_closed():
            self._life = None
            return
        if caller_in(self._require()) is not None:
            raise FlowStateError("a node can't stop the flow that it runs in: it would wait for itself")
        life, stopping = self._life, self._stopping
        if stopping is None:
            self._stopping = stopping = asyncio.get_running_loop().create_task(self._stop(life, drain_s))
        else:
            life.hurry(drain_s)
        try:
            await asyncio.shield(stopping)
        except asyncio.CancelledError as exc:
            if is_stray(exc):
                return  # the flow has ended: somebody else who stopped it was cancelled, and gave up what still closed
            await life.hasten(stopping)
            raise

    async def _stop(self, life: Lifetime, drain_s: float | None) -> None:
        try:
            await life.stop(drain_s)
        finally:
            self._life = self._stopping = None

    async def __aenter__(self) -> Self:
        self.run()
        life: Lifetime = self._life  # type: ignore[assignment]
        try:
            await life.ready()
        except BaseException:
            if self._life is life:
                with suppress(Exception):  # what is being raised already, perhaps
                    await self.stop(None if self._stopping else 0)
            raise
        return self

    async def __aexit__(self, exc_type: object, exc: BaseException | None, traceback: object) -> None:
        await self.stop(drain_s=None if exc is None else 0)

    def _live(self, trace_id: str) -> Trace | None:
        self._require_loop()
        return None if self._life is None else self._life.run.traces.get(trace_id)

    def _places(self, run: Run, to: Any) -> tuple[Station, ...]:
        if to is None:
            return run.entries
        names = self.plan.names(to)
        if not names:
            raise ValueError("to= names no node: leave it out to enter at the flow's entries")
        return tuple(station for station in run.stations if station.name in names)

    def _require(self) -> Run:
        life = self._life
        if life is None:
            raise FlowStateError(f"flow {self.name!r} is not running: `async with flow:` or `flow.run()` first")
        run = life.run
        if not (get_ident() == run.thread and run.loop.is_running()):  # quicker than the question itself
            self._require_loop()
        return run

    def _require_loop(self) -> None:
        if self._life is not None and asyncio._get_running_loop() is not self._life.run.loop:
            raise FlowStateError(f"flow {self.name!r} runs in another event loop: stop it there, or use one flow each")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}: {len(self.plan.wiring.nodes)} nodes>"
