"""How messages are let in: what they bring, and a slot among the traces in flight.

Rules: here alone the wall clock is read, once for each message. A trace that a node waits for, of this flow or another,
runs on its root's slot, so that flows never wait for each other with every slot taken.
"""

from __future__ import annotations

import asyncio
import math
import time
from contextlib import suppress
from typing import Any

from penguiflow._errors import FlowError, FlowErrorCode, FlowStateError
from penguiflow._lifecycle import free_slot, pass_deadline
from penguiflow._messages import Message, is_of, new_trace_id
from penguiflow._run import Run
from penguiflow._trace import ASK, EMIT, START, STREAM, Ledger, Trace, current_trace


class Arrival:
    """A message at the door.

    Attributes:
        message: What was given: a payload or a `Message`.
        enveloped: Whether it is a `Message`.
        now: When it came, in the loop's time.
        wall: When it came, in epoch seconds.
        limit: When its trace expires, in the loop's time; `None` if never.
    """

    __slots__ = ("enveloped", "limit", "message", "now", "wall")

    def __init__(self, run: Run, message: Any, timeout_s: float | None = None) -> None:
        self.message: Any = message
        self.enveloped: bool = is_of(message, Message)
        self.now: float = run.clock()
        self.wall: float = time.time()
        self.limit: float | None = None
        if timeout_s is not None:
            if not timeout_s >= 0:
                raise ValueError(f"timeout_s is a number of seconds from 0 on, not {timeout_s!r}")
            self.limit = None if timeout_s == math.inf else self.now + timeout_s
        if self.enveloped and message.deadline_s is not None:
            deadline = self.now + message.deadline_s - self.wall
            self.limit = deadline if self.limit is None else min(self.limit, deadline)

    @property
    def trace_id(self) -> str | None:
        """The trace that it names."""
        return self.message.trace_id if self.enveloped else None

    def live(self, run: Run) -> Trace | None:
        """The trace that it would join."""
        return run.traces.get(self.message.trace_id) if self.enveloped else None


def caller_in(run: Run) -> Trace | None:
    """The trace that calls from inside a node of this run, directly or through other flows."""
    trace = scope = current_trace.get()
    while trace is not None:
        if trace.run.root is run and trace.outcome is None:
            return scope
        trace = trace.parent
    return None


def _live_caller() -> Trace | None:
    """The trace whose node calls, perhaps of another flow: it waits for the new one."""
    caller = current_trace.get()
    return caller if caller is not None and caller.outcome is None else None


def admitted(run: Run, arrival: Arrival, mode: str) -> Trace | None:
    """A trace for this message; `None` if every slot is taken.

    Raises:
        FlowStateError: the flow is stopping, or the caller is who opens it.
        ValueError: the message's trace is live already.
    """
    caller = current_trace.get()
    if caller is not None:
        _refuse(run, arrival)
        caller = _live_caller()
        if caller is not None and mode not in (EMIT, START):
            return _opened(run, arrival, mode, caller)
    elif run.draining or arrival.enveloped or run.openers:
        _refuse(run, arrival)
        if mode in (ASK, STREAM) and asyncio.current_task() in run.openers:
            raise FlowStateError(
                f"flow {run.name!r} is still being opened, and what opens it can't wait for its answer: "
                "ask in a task of its own, or once the flow runs"
            )
    bound = run.max_traces if caller is None else 2 * run.max_traces  # who sets a trace going holds a place itself
    if run.used >= bound or (run.queue and caller is None):
        return None
    run.used += 1
    return _opened(run, arrival, mode)


def admitted_now(run: Run, arrival: Arrival, mode: str) -> Trace:
    """`admitted` for those who won't wait.

    Raises:
        asyncio.QueueFull: every slot is taken.
    """
    trace = admitted(run, arrival, mode)
    if trace is None:
        raise asyncio.QueueFull(_full_text(run))
    return trace


def _full_text(run: Run) -> str:
    """That every slot is taken, for an error, and what does help whoever calls."""
    if _live_caller() is not None:
        return (
            f"{run.used} traces are in flight, twice max_traces, and a node that waits for a place might wait for "
            "itself: wait for a trace that it has started, or use `await ask`, which needs no place of its own"
        )
    taken = "1 trace is" if run.used == 1 else f"{run.used} traces are"
    return f"{taken} in flight, and max_traces is {run.max_traces}: wait for one, or use `await emit` or `await ask`"


async def waited(run: Run, arrival: Arrival, mode: str) -> Trace:
    """`admitted`, waiting for a slot until the message's deadline.

    Raises:
        FlowError: `DEADLINE_EXCEEDED` before there was a slot.
        asyncio.QueueFull: a node emits more traces than there are slots for, and may hold what they wait for.
    """
    if _live_caller() is not None:
        raise asyncio.QueueFull(_full_text(run))
    slot: asyncio.Future[None] = run.loop.create_future()
    waiting = (slot, run.max_traces)
    run.queue.append(waiting)
    try:
        async with asyncio.timeout_at(arrival.limit):
            await slot
    except TimeoutError:
        _give_back(run, waiting)
        raise FlowError(
            trace_id=arrival.trace_id,
            code=FlowErrorCode.DEADLINE_EXCEEDED,
            message=f"the deadline passed while all {run.max_traces} places for traces were taken (max_traces)",
        ) from None
    except asyncio.CancelledError:
        _give_back(run, waiting)
        raise
    try:
        _refuse(run, arrival)
    except BaseException:
        _give_back(run, waiting)
        raise
    return _opened(run, arrival, mode)


def _give_back(run: Run, waiting: tuple[asyncio.Future[None], int]) -> None:
    """Whoever waited for a slot went away, perhaps with the slot in hand."""
    slot = waiting[0]
    if slot.cancelled() or not slot.done():
        slot.cancel()
        with suppress(ValueError):
            run.queue.remove(waiting)
    elif slot.exception() is None:
        free_slot(run)


def refuse_late(run: Run) -> None:
    """A flow that is stopping takes nothing from outside any more; what its own nodes send goes on.

    Raises:
        FlowStateError: it is stopping, and no node of it calls.
    """
    if run.draining and caller_in(run) is None:
        raise FlowStateError(f"flow {run.name!r} is stopping and takes no more messages: call run() after stop()")


def _refuse(run: Run, arrival: Arrival) -> None:
    refuse_late(run)
    if arrival.live(run) is not None:
        raise ValueError(
            f"trace {arrival.trace_id!r} is live already: `emit` joins a live trace; a new one needs an id of its own, "
            "as a bare payload gets it; inside a node, `ctx.call_playbook` stays in the trace"
        )


def _opened(run: Run, arrival: Arrival, mode: str, caller: Trace | None = None) -> Trace:
    """Register the trace; without a caller that waits for it, a slot has been taken for it."""
    parent = _live_caller() if mode == START else caller
    message = arrival.message
    trace = Trace(run, mode, message.trace_id if arrival.enveloped else new_trace_id(), parent)
    trace.slot = caller is None
    trace.ts = arrival.wall
    if arrival.enveloped:
        trace.wants_message = True
        trace.headers = message.headers
        trace.budget = message.budget
        trace.ts = message.ts
    trace.ledger = Ledger(trace.budget)
    trace.started = arrival.now
    trace.epoch = arrival.wall - arrival.now
    run.traces[trace.id] = trace
    if arrival.limit is not None:
        trace.deadline = arrival.limit
        trace.deadline_s = trace.epoch + arrival.limit
        trace.timer = run.call_at(arrival.limit, pass_deadline, trace)
    trace.limited = trace.budget is not None or arrival.limit is not None
    return trace
