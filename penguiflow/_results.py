"""What a trace came to, for those who wait for it.

Rules: outputs are given as they were asked for: payloads, or messages if the flow was asked with one. A failed
trace's error is raised; an output that is an error is given in lists, and raised where one output is expected.
"""

from __future__ import annotations

import asyncio
from typing import Any, NoReturn

from penguiflow._errors import FlowError, TraceCancelled
from penguiflow._parcel import Output, enveloped
from penguiflow._trace import COMPLETED, Trace


def end_of(trace: Trace) -> asyncio.Future[None]:
    """A future that is done when a trace, which has not yet settled, has."""
    finished: asyncio.Future[None] = trace.run.loop.create_future()
    if trace.waiters is None:
        trace.waiters = [finished]
    else:
        trace.waiters.append(finished)
    return finished


async def settled(trace: Trace) -> None:
    """Wait until a trace has settled."""
    if trace.settled:
        return
    finished = end_of(trace)
    try:
        await finished
    except asyncio.CancelledError:
        if trace.waiters is not None:
            trace.waiters.remove(finished)
        raise


def failure(trace: Trace) -> FlowError | None:
    """The error to raise; `None` if the trace completed, or ended with an answer all the same."""
    if trace.outcome == COMPLETED or trace.answered:
        return None
    return trace.error or TraceCancelled(trace.id)


def outputs(trace: Trace) -> list[Any]:
    """Everything that left the trace at Rookery, in order."""
    if trace.spilled:
        _refuse_spilled()
    return [_given(trace, output) for output in trace.outputs]


def output(trace: Trace) -> Any:
    """The one output; `None` if there was none.

    Raises:
        ValueError: there were several.
        FlowError: it is an error, which a plugin wanted delivered.
    """
    if trace.spilled:
        _refuse_spilled()
    if len(trace.outputs) > 1:
        last = ", ".join(repr(station.name) for station in trace.run.stations if not station.targets)
        raise ValueError(
            f"the trace left {len(trace.outputs)} outputs, and one was asked for: gather them with a join_k "
            f"(what leads out: {last}), or take them all with `await flow.start(message).results()`"
        )
    if not trace.outputs:
        return None
    found = trace.outputs[0]
    if isinstance(found.payload, FlowError):
        error = found.payload.twin()
        del trace
        try:
            raise error
        finally:
            del error
    return found.payload if not trace.wants_message else _given(trace, found)


def _refuse_spilled() -> NoReturn:
    raise ValueError("the outputs were given to who iterates over the handle, and are too many to be kept as well")


def _given(trace: Trace, found: Output) -> Any:
    if not trace.wants_message:
        return found.payload
    return enveloped(trace, found.payload, found.raw, found.headers, found.meta)


def taken(trace: Trace) -> Any:
    """The output of a trace that nobody else asks.

    Raises:
        FlowError: the trace did not complete.
        ValueError: there are several outputs.
    """
    if trace.outcome == COMPLETED:
        return output(trace)
    error = failure(trace)
    if error is None:
        return output(trace)
    trace.error = None  # its traceback is about to hold this frame: no cycle may remain
    try:
        raise error
    finally:
        del error
