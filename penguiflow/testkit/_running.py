"""Run a flow for a test: start it, send messages in, stop it, and say what happened if that fails.

Rules: what isn't async makes an event loop of its own and leaves none behind; inside a running loop it says which twin
to await. A flow that runs already is used as it is. A failure carries the timeline of its trace as a note.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, NamedTuple, TypeVar

from penguiflow import FlowError, PenguiFlow, StreamChunk
from penguiflow.testkit import _limits
from penguiflow.testkit._loops import Deadlock
from penguiflow.testkit._timeline import drawn
from penguiflow.testkit._watching import recorder_of, watch, watching

ResultT = TypeVar("ResultT")


class Streamed(NamedTuple):
    """What a stream gave.

    Attributes:
        chunks: Its chunks, in order.
        result: What came out in the end.
    """

    chunks: list[StreamChunk]
    result: Any

    @property
    def text(self) -> str:
        """The texts of the chunks, one after the other."""
        return "".join(chunk.text for chunk in self.chunks)


def run_one(flow: PenguiFlow, message: Any, *, timeout_s: float | None = None, within_s: float | None = None) -> Any:
    """Send one message through a flow: `assert run_one(flow, Query(text="hi")) == Answer(...)`.

    The flow is started for it and stopped after it, in an event loop of its own.

    Args:
        flow: The flow.
        message: A payload, or a `Message` that brings its envelope.
        timeout_s: Seconds until the trace expires, as in `flow.ask`.
        within_s: Seconds after which the test gives up; by default what the marker `flow_timeout` says, else 30, and in
            virtual time none.

    Returns:
        What `flow.ask` returns.

    Raises:
        AssertionError: it took longer than `within_s`; the text says what the trace waits for.
        FlowError: the trace did not complete; its notes have the timeline.
        RuntimeError: an event loop is running: await `arun_one`.
    """
    return alone("run_one", lambda: arun_one(flow, message, timeout_s=timeout_s, within_s=within_s))


def run_many(
    flow: PenguiFlow,
    messages: Iterable[Any],
    *,
    timeout_s: float | None = None,
    within_s: float | None = None,
    return_errors: bool = False,
) -> list[Any]:
    """Send several messages through a flow at once, each in a trace of its own.

    Args:
        flow: The flow.
        messages: Payloads, or `Message`s.
        timeout_s: Seconds until each trace expires.
        within_s: Seconds after which the test gives up.
        return_errors: Put the `FlowError` of a trace that did not complete in the place of its output.

    Returns:
        Their outputs, in the order of the messages.

    Raises:
        FlowError: one did not complete, and `return_errors` isn't set.
        RuntimeError: an event loop is running: await `arun_many`.
    """
    given = list(messages)
    options = {"timeout_s": timeout_s, "within_s": within_s}
    return alone("run_many", lambda: arun_many(flow, given, return_errors=return_errors, **options))


def run_stream(
    flow: PenguiFlow, message: Any, *, timeout_s: float | None = None, within_s: float | None = None
) -> Streamed:
    """Send one message through and read all of its chunks: `chunks, result = run_stream(flow, "hi")`.

    Args:
        flow: The flow.
        message: A payload, or a `Message`.
        timeout_s: Seconds until the trace expires.
        within_s: Seconds after which the test gives up.

    Raises:
        FlowError: the trace did not complete.
        RuntimeError: an event loop is running: await `arun_stream`.
    """
    return alone("run_stream", lambda: arun_stream(flow, message, timeout_s=timeout_s, within_s=within_s))


def run_outputs(
    flow: PenguiFlow, message: Any, *, timeout_s: float | None = None, within_s: float | None = None
) -> list[Any]:
    """Send one message through a flow with several exits, or none that answers.

    Args:
        flow: The flow.
        message: A payload, or a `Message`.
        timeout_s: Seconds until the trace expires.
        within_s: Seconds after which the test gives up.

    Returns:
        All outputs, in the order they left.

    Raises:
        FlowError: the trace did not complete.
        RuntimeError: an event loop is running: await `arun_outputs`.
    """
    return alone("run_outputs", lambda: arun_outputs(flow, message, timeout_s=timeout_s, within_s=within_s))


async def arun_one(
    flow: PenguiFlow, message: Any, *, timeout_s: float | None = None, within_s: float | None = None
) -> Any:
    """`run_one` inside a running loop."""
    async with _open(flow, within_s):
        return await flow.ask(message, timeout_s)


async def arun_many(
    flow: PenguiFlow,
    messages: Iterable[Any],
    *,
    timeout_s: float | None = None,
    within_s: float | None = None,
    return_errors: bool = False,
) -> list[Any]:
    """`run_many` inside a running loop."""

    async def asked(message: Any) -> Any:
        try:
            return await flow.ask(message, timeout_s)
        except FlowError as error:
            if not return_errors:
                raise
            return error

    async with _open(flow, within_s):
        tasks = [asyncio.ensure_future(asked(message)) for message in messages]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def arun_stream(
    flow: PenguiFlow, message: Any, *, timeout_s: float | None = None, within_s: float | None = None
) -> Streamed:
    """`run_stream` inside a running loop."""
    async with _open(flow, within_s), flow.stream(message, timeout_s) as stream:
        return Streamed([chunk async for chunk in stream], stream.result)


async def arun_outputs(
    flow: PenguiFlow, message: Any, *, timeout_s: float | None = None, within_s: float | None = None
) -> list[Any]:
    """`run_outputs` inside a running loop."""
    async with _open(flow, within_s):
        return await flow.start(message, timeout_s).results()


def alone(name: str, make: Callable[[], Coroutine[Any, Any, ResultT]]) -> ResultT:
    """Run a coroutine in a loop of its own.

    Raises:
        RuntimeError: a loop runs already.
    """
    refuse_running_loop(name, f"await a{name}(...)")
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        try:
            return runner.run(make())
        except Deadlock as exc:
            for flow in watching.values():
                exc.add_note(_limits.stuck(flow))
            raise


def refuse_running_loop(name: str, instead: str) -> None:
    """Say what to do instead, if an event loop is running."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise RuntimeError(f"{name} makes an event loop of its own, and one is running here: {instead}")


@asynccontextmanager
async def _open(flow: PenguiFlow, within_s: float | None) -> AsyncIterator[None]:
    """A flow that is watched and runs, for no longer than it may take."""
    if not isinstance(flow, PenguiFlow):
        raise TypeError(f"give the flow, as create(...) makes it, not {flow!r:.80}")
    with watch(flow), _noted(flow):
        async with _limits.within(within_s, [flow]), _started(flow):
            yield


@asynccontextmanager
async def _started(flow: PenguiFlow) -> AsyncIterator[None]:
    if flow.running:
        yield
        return
    async with flow:
        yield


@contextmanager
def _noted(flow: PenguiFlow) -> Iterator[None]:
    """Whatever fails says what happened until then."""
    recorder = recorder_of(flow)
    before = len(recorder.trace_ids)
    try:
        yield
    except Exception as exc:
        known = recorder.trace_ids
        failed = getattr(exc, "trace_id", None)
        trace_id = failed if failed in known else known[-1] if len(known) > before else None
        if trace_id is not None and not isinstance(exc, AssertionError):
            exc.add_note(drawn(recorder.trace(trace_id)))
        raise
