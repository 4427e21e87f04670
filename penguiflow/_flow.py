"""`PenguiFlow`: a flow that can be run, asked, streamed from and stopped.

Rules: this is the surface. Each method says what its arguments mean, checks the flow's state, and asks those who know.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from penguiflow import _entry as entry
from penguiflow._arrival import Arrival, admitted, admitted_now, caller_in, waited
from penguiflow._channel import Channel, ChannelClosed
from penguiflow._errors import FlowStateError
from penguiflow._explain import Explanation, explained
from penguiflow._graph import Graph
from penguiflow._handle import FlowStream, TraceHandle, cancelled
from penguiflow._hooks import ExportRequest
from penguiflow._lifecycle import cancel
from penguiflow._lifetime import Lifetime
from penguiflow._messages import Message, StreamChunk, check_text, new_chunk
from penguiflow._nested import Runtime
from penguiflow._node import Node
from penguiflow._plan import Plan
from penguiflow._registry import ModelRegistry
from penguiflow._results import settled, taken
from penguiflow._run import Run
from penguiflow._station import Station
from penguiflow._trace import ASK, START, STREAM, Trace

To = str | Node | Iterable[str | Node] | None


class PenguiFlow:
    """A flow. Made by `create`; runs in one event loop at a time, and may run again after `stop`."""

    def __init__(self, plan: Plan) -> None:
        self.plan: Plan = plan
        self._registry = ModelRegistry()
        self._life: Lifetime | None = None
        self._stopping: asyncio.Task[None] | None = None
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
    def plugins(self) -> tuple[str, ...]:
        """The names of the plugins given to `create`, in the order they are asked."""
        return self.plan.dispatch.names

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
        self._life = Lifetime(self.plan, run)

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
        if self._stopping is None:
            self._stopping = asyncio.get_running_loop().create_task(self._stop(self._life, drain_s))
        else:
            self._life.hurry(drain_s)
        try:
            await asyncio.shield(self._stopping)
        except asyncio.CancelledError:
            if self._life is not None and self._stopping is not None:
                self._life.cancel_all()
                await asyncio.wait([self._stopping])
            raise

    async def _stop(self, life: Lifetime, drain_s: float | None) -> None:
        try:
            await life.stop(drain_s)
        finally:
            self._life = self._stopping = None

    async def __aenter__(self) -> PenguiFlow:
        self.run()
        try:
            await self._life.ready()  # type: ignore[union-attr]
        except BaseException:
            life, self._life = self._life, None
            await life.abort()  # type: ignore[union-attr]
            raise
        return self

    async def __aexit__(self, exc_type: object, exc: BaseException | None, traceback: object) -> None:
        await self.stop(drain_s=None if exc is None else 0)

    async def ask(self, message: Any, timeout_s: float | None = None) -> Any:
        """Send one message through and wait for what comes out.

        Args:
            message: A payload, or a `Message` that brings its envelope.
            timeout_s: Seconds until the trace expires.

        Returns:
            The output: a payload, or a `Message` if that was given; `None` if nothing came out.

        Raises:
            FlowError: the trace did not complete; its `code` says why.
            FlowStateError: the flow isn't running.
            ValueError: several outputs came out, or the message's trace is live already.
        """
        run = self._require()
        arrival = Arrival(run, message, timeout_s)
        trace = admitted(run, arrival, ASK) or await waited(run, arrival, ASK)
        entry.started(trace, arrival, run.entries)
        try:
            await settled(trace)
        except asyncio.CancelledError:
            cancel(trace)
            raise
        return taken(trace)

    def stream(self, message: Any, timeout_s: float | None = None) -> FlowStream:
        """Send one message through and read its chunks as they come: `async with flow.stream(x) as s`.

        Entering it raises what `ask` raises before a trace starts; leaving it early cancels the trace.
        """

        async def opened() -> Trace:
            run = self._require()
            arrival = Arrival(run, message, timeout_s)
            trace = admitted(run, arrival, STREAM) or await waited(run, arrival, STREAM)
            trace.reader = Channel(run.queue_maxsize)
            entry.started(trace, arrival, run.entries)
            return trace

        return FlowStream(opened)

    def start(self, message: Any, timeout_s: float | None = None) -> TraceHandle:
        """Send one message through without waiting.
        Raises:
            asyncio.QueueFull: `max_traces` traces are in flight.
            FlowStateError: the flow isn't running.
            ValueError: the message's trace is live already.
        """
        run = self._require()
        arrival = Arrival(run, message, timeout_s)
        trace = admitted_now(run, arrival, START)
        trace.reader = Channel(run.queue_maxsize)
        entry.started(trace, arrival, run.entries)
        return TraceHandle(trace)

    async def emit(self, message: Any, to: To = None) -> str:
        """Put a message in and go on; what comes out is found with `fetch`. A live trace's id joins that trace.

        Args:
            message: A payload, or a `Message` that brings its envelope.
            to: Nodes, or names, to enter at instead of the flow's entries.

        Returns:
            The id of its trace.

        Raises:
            FlowStateError: the flow isn't running.
            ValueError: there is no such node.
        """
        run = self._require()
        return await entry.emitted(run, message, self._places(run, to))

    def emit_nowait(self, message: Any, to: To = None) -> str:
        """`emit` that never waits.

        Raises:
            asyncio.QueueFull: `max_traces` traces are in flight, or a floe of the live trace is full.
        """
        run = self._require()
        return entry.emitted_nowait(run, message, self._places(run, to))

    async def emit_chunk(
        self,
        text: str,
        parent: Message[Any],
        *,
        stream_id: str | None = None,
        seq: int | None = None,
        done: bool = False,
        meta: dict[str, Any] | None = None,
        to: To = None,
    ) -> StreamChunk:
        """Put a chunk in `parent`'s trace: at the entries that admit one, else for its reader, or at Rookery."""
        check_text(text)
        piece = new_chunk(stream_id or parent.trace_id, 0, text, done, meta)
        run = self._require()
        return await entry.chunk(run, parent, piece, seq, None if to is None else self._places(run, to))

    async def fetch(self, from_: To = None) -> Any:
        """The next output of the emitted traces, as its node returned it. Outputs of different traces come in any
        order.

        Args:
            from_: Only what these nodes returned.

        Raises:
            FlowStateError: the flow isn't running, and nothing is left.
            TraceCancelled: the only trace that could have given something was cancelled.
            ValueError: there is no such node.
        """
        if self._rookery is None:
            raise FlowStateError(f"flow {self.name!r} is not running: `async with flow:` or `flow.run()` first")
        self._require_loop()
        try:
            return await self._rookery.get(None if from_ is None else self.plan.names(from_))
        except ChannelClosed:
            raise FlowStateError(f"flow {self.name!r} has stopped, and nothing is left to fetch") from None

    async def fetch_any(self, from_: To = None) -> Any:
        """The same as `fetch`."""
        return await self.fetch(from_)

    async def cancel(self, trace_id: str) -> bool:
        """Cancel a trace, with all that runs and waits in it.

        Returns:
            `True` when the trace has settled, `False` if no such trace is live.
        """
        trace = self._live(trace_id)
        return False if trace is None else await cancelled(trace)

    def explain(self, trace_id: str) -> Explanation:
        """What a live trace waits for.

        Raises:
            KeyError: no such trace is live.
        """
        trace = self._live(trace_id)
        if trace is None:
            raise KeyError(f"no trace {trace_id!r} is live in flow {self.name!r}: it has ended, or never was")
        return explained(trace)

    def export(self, format: str, **options: Any) -> str | bytes:
        """The graph as text, written by a plugin.

        Raises:
            LookupError: no plugin knows the format; the text names the package to install.
        """
        found = self.plan.dispatch.export(ExportRequest(self.graph, format, options))
        if found is None:
            raise LookupError(f"no plugin exports {format!r}: pip install penguiflow-viz")
        return found

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
        if self._life is None:
            raise FlowStateError(f"flow {self.name!r} is not running: `async with flow:` or `flow.run()` first")
        self._require_loop()
        return self._life.run

    def _require_loop(self) -> None:
        if self._life is not None and asyncio._get_running_loop() is not self._life.run.loop:
            raise FlowStateError(f"flow {self.name!r} runs in another event loop: stop it there, or use one flow each")

    def __repr__(self) -> str:
        return f"<PenguiFlow {self.name}: {len(self.plan.wiring.nodes)} nodes>"
