"""Ways to follow a trace: `TraceHandle` for one that was started, `FlowStream` for one that is read as it goes.

Rules: what isn't read makes the node that writes it wait, up to the moment somebody says that he won't read: by
asking for the result alone, by leaving, or by letting the handle go. Whoever waits does so in the trace's own loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Any

from penguiflow._channel import EMPTY, Channel, ChannelClosed
from penguiflow._errors import FlowStateError
from penguiflow._lifecycle import cancel
from penguiflow._messages import StreamChunk
from penguiflow._reports import log_unheard
from penguiflow._results import failure, output, outputs, settled
from penguiflow._trace import CANCELLED, Trace, called_from

_ENTER = "enter the stream first: `async with flow.stream(x) as s`"


class TraceHandle:
    """A trace under way.

    Iterate over it to get all it yields, chunks and outputs in their order, or await `result()` or `results()`: after
    the last of them, or while another task iterates. A handle that is let go lets the trace run on, and nobody reads
    its chunks.
    """

    __slots__ = ("_reading", "_trace")

    def __init__(self, trace: Trace) -> None:
        self._trace: Trace = trace
        self._reading: bool = False

    @property
    def trace_id(self) -> str:
        """The trace's id, as in events and errors."""
        return self._trace.id

    @property
    def outcome(self) -> str | None:
        """`completed`, `failed`, `cancelled` or `expired`; `None` while it goes on."""
        return self._trace.outcome if self._trace.settled else None

    async def result(self) -> Any:
        """The output: a payload, or a `Message` if the trace was started with one; `None` if there is none.

        Raises:
            FlowError: the trace did not complete.
            FlowStateError: the trace goes on in another event loop.
            ValueError: there are several outputs.
        """
        await self._finished()
        return output(self._trace)

    async def results(self) -> list[Any]:
        """All outputs, in the order they left.

        Raises:
            FlowError: the trace did not complete.
            FlowStateError: the trace goes on in another event loop.
        """
        await self._finished()
        return outputs(self._trace)

    async def cancel(self) -> bool:
        """Cancel the trace, and wait until it has settled.

        A `finally` may take 0.1 s; what takes longer is left to end by itself.

        Returns:
            `True` when the trace has settled, `False` if it had ended already.

        Raises:
            FlowStateError: the trace goes on in another event loop.
        """
        _require_loop(self._trace)
        return await cancelled(self._trace)

    async def _finished(self) -> None:
        _require_loop(self._trace)
        if not self._reading:
            self._ignore()
        await settled(self._trace)
        self._trace.heard = True
        _raise_failure(self._trace)

    def _ignore(self) -> None:
        if self._trace.reader is not None:
            self._trace.reader.discard()

    def __aiter__(self) -> AsyncIterator[Any]:
        _require_loop(self._trace)
        if self._reading:
            raise FlowStateError("this handle is being read already: one reader gets everything, two would share it")
        self._reading = self._trace.iterated = True
        return _Reading(self._trace, self._ignore)

    def __del__(self) -> None:
        trace = self._trace
        if trace.settled:
            log_unheard(trace)
        elif not self._reading:
            trace.forsaken = not trace.heard
            self._ignore()

    def __repr__(self) -> str:
        return f"<TraceHandle {self.trace_id} {self.outcome or 'live'}>"


class _Reading:
    """One pass over what a trace yields. Whoever stops early makes nobody wait."""

    __slots__ = ("_ignore", "_trace")

    def __init__(self, trace: Trace, ignore: Callable[[], None]) -> None:
        self._trace: Trace = trace
        self._ignore: Callable[[], None] = ignore

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        channel = self._trace.reader
        assert channel is not None
        try:
            return await channel.get()
        except ChannelClosed:
            pass
        self._trace.heard = True
        _raise_failure(self._trace)
        raise StopAsyncIteration

    def __del__(self) -> None:
        if not self._trace.settled:
            self._trace.forsaken, self._trace.iterated = True, False
            self._ignore()


class FlowStream:
    """A trace that is read chunk by chunk: `async with flow.stream(x) as s: async for chunk in s: ...`.

    Leaving the block early cancels the trace.
    """

    def __init__(self, open_trace: Callable[[], Any]) -> None:
        self._open: Callable[[], Any] = open_trace
        self._trace: Trace | None = None
        self._channel: Channel | None = None

    @property
    def trace_id(self) -> str:
        """The trace's id, as in events and errors."""
        return self._entered().id

    @property
    def result(self) -> Any:
        """The output, once the stream has ended: a payload, or a `Message` if the flow was asked with one.

        Raises:
            FlowStateError: the stream goes on.
            FlowError: the trace did not complete.
            ValueError: there are several outputs.
        """
        trace = self._entered()
        if not trace.settled:
            raise FlowStateError("the result is there when the stream has ended: iterate to its end first")
        trace.heard = True
        _raise_failure(trace)
        return output(trace)

    async def __aenter__(self) -> FlowStream:
        if self._trace is not None:
            raise FlowStateError("this stream was entered before: call flow.stream() again for another one")
        self._trace = await self._open()
        self._channel = self._entered().reader
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        trace = self._entered()
        _require_loop(trace)
        if not trace.settled:
            cancel(trace)
            await settled(trace)
        log_unheard(trace)

    def __aiter__(self) -> FlowStream:
        _require_loop(self._entered())
        return self

    async def __anext__(self) -> StreamChunk:
        channel = self._channel
        if channel is None:
            raise FlowStateError(_ENTER)
        chunk: Any = channel.take()
        try:
            return chunk if chunk is not EMPTY else await channel.get()  # type: ignore[no-any-return]
        except ChannelClosed:
            pass
        self._entered().heard = True
        _raise_failure(self._entered())
        raise StopAsyncIteration

    def _entered(self) -> Trace:
        if self._trace is None:
            raise FlowStateError(_ENTER)
        return self._trace


async def cancelled(trace: Trace) -> bool:
    """Cancel a trace and wait until it has settled, except from inside it."""
    from_inside = called_from(trace)
    done = cancel(trace) or (trace.outcome == CANCELLED and not trace.settled)
    if not (trace.settled or from_inside):
        await settled(trace)
    return done


def _require_loop(trace: Trace) -> None:
    """What a trace has come to can be asked anywhere; until then its futures belong to its loop."""
    if not trace.settled and asyncio._get_running_loop() is not trace.run.loop:
        raise FlowStateError(
            f"trace {trace.id!r} runs in another event loop: wait for it there, from a thread with "
            "`asyncio.run_coroutine_threadsafe`"
        )


def _raise_failure(trace: Trace) -> None:
    error = failure(trace)
    if error is not None:
        try:
            raise error.twin()
        finally:
            del error, trace
