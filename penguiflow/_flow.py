"""`PenguiFlow`: a flow that can be run, asked, streamed from and stopped.

Rules: this is the surface. Each method says what its arguments mean, checks the flow's state, and asks those who know.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, overload

from penguiflow import _entry as entry
from penguiflow._arrival import Arrival, admitted, admitted_now, waited
from penguiflow._channel import Channel, ChannelClosed
from penguiflow._errors import FlowStateError
from penguiflow._events import EVENT_TYPES, FlowEvent
from penguiflow._handle import FlowStream, TraceHandle, cancelled
from penguiflow._hooks import ExportRequest
from penguiflow._impls import watcher
from penguiflow._lifecycle import cancel
from penguiflow._messages import Message, StreamChunk, check_text, new_chunk
from penguiflow._results import end_of, taken
from penguiflow._runnable import Runnable, To
from penguiflow._trace import ASK, START, STREAM, Trace

if TYPE_CHECKING:
    from penguiflow._explain import Explanation
    from penguiflow._load import Load

TextFormat = Literal["mermaid", "dot", "svg", "html", "json", "waterfall"]  # what penguiflow-viz writes


class PenguiFlow(Runnable):
    """A flow. Made by `create`; runs in one event loop at a time, and may run again after `stop`."""

    async def ask(self, message: Any, timeout_s: float | None = None) -> Any:
        """Send one message through and wait for what comes out.

        Args:
            message: A payload, or a `Message` that brings its envelope.
            timeout_s: Seconds until the trace expires.

        Returns:
            The output, as a payload or, if that was given, a `Message`; `None` if nothing came out.

        Raises:
            FlowError: the trace did not complete; its `code` says why.
            FlowStateError: the flow isn't running.
            ValueError: several outputs came out, or the message's trace is live already.
        """
        run = self._require()
        arrival = Arrival(run, message, timeout_s)
        trace = admitted(run, arrival, ASK) or await waited(run, arrival, ASK)
        entry.started(trace, arrival, run.entries)
        if not trace.settled:
            try:
                await end_of(trace)
            except asyncio.CancelledError:
                cancel(trace)
                raise
        return taken(trace)

    def stream(self, message: Any, timeout_s: float | None = None, *, to: To = None) -> FlowStream:
        """Send one message through and read its chunks as they come: `async with flow.stream(x) as s`.

        Entering it raises what `ask` raises before a trace starts; leaving it early cancels the trace. `to` names nodes
        to enter at instead of the flow's entries.
        """

        async def opened() -> Trace:
            run = self._require()
            stations = self._places(run, to)
            arrival = Arrival(run, message, timeout_s)
            trace = admitted(run, arrival, STREAM) or await waited(run, arrival, STREAM)
            trace.reader = Channel(run.queue_maxsize)
            entry.started(trace, arrival, stations)
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
            FlowStateError: the flow isn't running, or is stopping and no node of it calls.
            ValueError: there is no such node.
            asyncio.QueueFull: a node emits, and twice `max_traces` traces are in flight.
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
        """Cancel a trace, with all that runs and waits in it, and wait until it has settled.

        A `finally` may take 0.1 s; what takes longer is left to end by itself.

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
        from penguiflow._explain import explained  # few programs ask

        trace = self._live(trace_id)
        if trace is None:
            raise KeyError(f"no trace {trace_id!r} is live in flow {self.name!r}: it has ended, or never was")
        return explained(trace)

    def report(self, plugin: str, what: str, error: BaseException) -> None:
        """Tell the flow's observers, in a `plugin_error`, that something went wrong in a plugin's own task.

        Args:
            plugin: The plugin's name.
            what: What it was doing, as `reload`.
            error: What went wrong.
        """
        if self._life is not None:
            extra = {"plugin": plugin, "hook": what, "failures": 1, "quarantined": False}
            self._life.run.dispatch.report(error, self.name, extra, None)

    def load(self) -> Load:
        """What runs and what waits now, node by node. It looks at each trace in flight.

        Raises:
            FlowStateError: the flow isn't running.
        """
        from penguiflow._load import loaded  # few programs ask

        return loaded(self._require())

    @contextmanager
    def watch(
        self, on_event: Callable[[FlowEvent], None], event_types: Collection[str] = EVENT_TYPES
    ) -> Iterator[None]:
        """Show a function the events of the running flow, while the block lasts: `with flow.watch(print):`.

        Args:
            on_event: What the hook `on_event` is for a plugin: synchronous and quick. Of what is under way already it
                has missed the beginning.
            event_types: The types that it wants.

        Raises:
            FlowStateError: the flow isn't running.
            TypeError: `on_event` is async, or no function; or there is no such type of event.
        """
        dispatch, observer = self._require().dispatch, watcher(on_event, event_types)
        dispatch.listen(observer)
        try:
            yield
        finally:
            dispatch.unlisten(observer)

    @overload
    def export(self, format: TextFormat, **options: Any) -> str: ...

    @overload
    def export(self, format: str, **options: Any) -> str | bytes: ...

    def export(self, format: str, **options: Any) -> str | bytes:
        """The graph as text, written by a plugin.

        Args:
            format: `"mermaid"`, `"dot"`, ...: whatever a plugin knows.
            options: What the plugin takes besides.

        Raises:
            LookupError: no plugin knows the format, and the text says who was asked, or names the package to install;
                or one can't write it with these options, and the text says why.
        """
        written = self.plan.dispatch.export(ExportRequest(self.graph, format, options))
        if written is None:
            from penguiflow._exporting import nobody_exports  # only where nobody does

            raise LookupError(nobody_exports(format, self.plugins))
        return written
