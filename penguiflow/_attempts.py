"""Runs a node to its end: limits, attempts, time-outs, back-off, and what `on_error` decides.

Rules: it returns what the node returned and delivers nothing, so a retry repeats nothing. Whatever fails for good
is raised as a `FlowError`. A place under `max_concurrency` is held while an attempt runs, not while it backs off.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any

from penguiflow._binding import checked
from penguiflow._chunks import restart
from penguiflow._dispatch import is_stray
from penguiflow._errors import FlowError, FlowErrorCode, said
from penguiflow._hooks import Drop, Emit, Replace, Retry
from penguiflow._node import NodePolicy
from penguiflow._observe import closed, interrupted, node_event, started
from penguiflow._parcel import Parcel
from penguiflow._trace import Trace

LONGEST_S = 1e9  # seconds, where back-off has grown beyond counting


class Surfaced:
    """The node's output is an error that a plugin wants delivered at Rookery."""

    __slots__ = ("error",)

    def __init__(self, error: FlowError) -> None:
        self.error: FlowError = error


async def run_node(parcel: Parcel, failure: BaseException | None = None) -> Any:
    """Run a node, retries included; with `failure`, go on after a first attempt that ended so.

    Raises:
        FlowError: it failed for good.
        asyncio.CancelledError: its trace has ended.
    """
    try:
        value = await _attempts(parcel, failure)
    except FlowError as error:
        closed(parcel, "node_failed", error)
        raise
    except BaseException as exc:
        if _ended_from_outside(parcel, exc):
            interrupted(parcel)
        else:
            closed(parcel, "node_failed", exc)
        raise
    finally:
        failure = None  # its traceback holds this frame: no cycle may remain
    closed(parcel, "node_success")
    return value


async def _attempts(parcel: Parcel, failure: BaseException | None) -> Any:
    error: FlowError | None = None
    try:
        while True:
            if failure is None:
                try:
                    return await _attempt(parcel)
                except (Exception, asyncio.CancelledError) as exc:
                    failure = exc
            if not isinstance(failure, Exception) and _is_ours(parcel._trace, failure):
                raise failure
            error = _final(parcel, failure)
            if parcel._trace.outcome is not None:
                raise error
            _attempt_failed(parcel, error)
            delay = _delay(parcel, error, failure)
            if delay is None:
                decision = await _decision(parcel, error)
                if not isinstance(decision, Retry) or _must_not_repeat(parcel, error):
                    return _followed(parcel, decision, error)
                delay = max(0.0, decision.after_s)
            failure = None
            await _back_off(parcel, delay, error)
    finally:
        failure = error = None  # their tracebacks hold this frame: no cycle may remain


def _is_ours(trace: Trace, exc: BaseException) -> bool:
    """Whether the exception ends the task, and is no `CancelledError` out of something that the node awaited."""
    return trace.outcome is not None or not is_stray(exc)


def _ended_from_outside(parcel: Parcel, exc: BaseException) -> bool:
    return isinstance(exc, asyncio.CancelledError) or parcel._trace.outcome is not None


async def _attempt(parcel: Parcel) -> Any:
    trace = parcel._trace
    limit = trace.run.limits.get(parcel._station.index)
    if limit is None or trace.inside(limit):
        return await _timed(parcel)
    if limit.locked() and not parcel._since:
        parcel._since = trace.run.clock()
    async with limit:
        trace.held = held = trace.held or []
        held.append(limit)
        try:
            return await _timed(parcel)
        finally:
            held.remove(limit)


async def _timed(parcel: Parcel) -> Any:
    station = parcel._station
    run = parcel._trace.run
    if run.dispatch.listeners:
        if not parcel._number:
            started(parcel)
        else:
            parcel._attempted = now = run.clock()
            node_event("node_attempt", parcel, now)
    if station.timeout_s is None:
        return checked(station, parcel, await _once(parcel))
    try:
        async with asyncio.timeout(station.timeout_s) as timer:
            value = await _once(parcel)
    except TimeoutError as exc:
        if not timer.expired():
            raise
        raise _timeout(parcel, station.timeout_s) from exc
    if timer.expired():  # the node swallowed it
        raise _timeout(parcel, station.timeout_s)
    return checked(station, parcel, value)


async def _once(parcel: Parcel) -> Any:
    station = parcel._station
    if station.subflow is not None:
        return await parcel._trace.run.kernel.subflow(parcel)
    if not station.generates:
        return await station.call(parcel)
    items = station.call(parcel)
    try:
        async for item in items:
            if item is not None:
                await parcel.emit(checked(station, parcel, item))  # type: ignore[attr-defined]
    finally:
        await items.aclose()
    return None


def _timeout(parcel: Parcel, seconds: float) -> FlowError:
    return _error(
        parcel,
        FlowErrorCode.NODE_TIMEOUT,
        f"node {parcel._station.name!r} took longer than its timeout_s of {seconds:g} s",
    )


def _error(parcel: Parcel, code: str, message: str, original: BaseException | None = None) -> FlowError:
    return FlowError(
        trace_id=parcel._trace.id,
        node_name=parcel._station.name,
        node_id=parcel._station.node_id,
        code=code,
        message=message,
        original_exc=original,
        metadata={"attempts": parcel.attempt + 1},
    )


def _final(parcel: Parcel, exc: BaseException) -> FlowError:
    """The failure as a `FlowError`. One that is of this trace, or of none, stays what it is; where it happened is
    written on a copy, since a node may raise the same object again, in another trace.
    """
    if isinstance(exc, FlowError) and exc.trace_id in (None, parcel._trace.id):
        error = exc.twin() if exc.trace_id is None else exc
        error.trace_id = parcel._trace.id
        error.node_name = error.node_name or parcel._station.name
        error.node_id = error.node_id or parcel._station.node_id
        error.metadata.setdefault("attempts", parcel.attempt + 1)
        return error
    text = f"node {parcel._station.name!r} raised {type(exc).__name__}: {said(exc) or '(it says no more)'}"
    return _error(parcel, FlowErrorCode.NODE_EXCEPTION, text, exc)


def _attempt_failed(parcel: Parcel, error: FlowError) -> None:
    run = parcel._trace.run
    if run.dispatch.listeners:
        if not parcel._number:
            started(parcel)
        kind = "node_timeout" if error.code == FlowErrorCode.NODE_TIMEOUT else "node_error"
        now = run.clock()
        took = (now - (parcel._attempted or parcel._started)) * 1e3
        node_event(kind, parcel, now, took, None, error.original_exc or error)


def _delay(parcel: Parcel, error: FlowError, exc: BaseException) -> float | None:
    """Seconds to wait before the next attempt; `None` if there is none."""
    policy: NodePolicy = parcel._station.policy
    if parcel.attempt >= policy.max_retries or _must_not_repeat(parcel, error):
        return None
    cause = TimeoutError() if error.code == FlowErrorCode.NODE_TIMEOUT else exc
    if not (_is_among(policy.retry_on, cause) or _is_among(policy.retry_on, error.original_exc)):
        return None
    try:
        delay = policy.backoff_base * policy.backoff_mult**parcel.attempt
    except OverflowError:
        delay = LONGEST_S if policy.backoff_base else 0.0
    if policy.max_backoff is not None:
        delay = min(delay, policy.max_backoff)
    return delay * (1 - policy.jitter * random.random())


def _is_among(kinds: Any, exc: BaseException | None) -> bool:
    """Whether an exception is of these kinds or, of a group, each that is in it."""
    if isinstance(exc, BaseExceptionGroup) and not isinstance(exc, kinds):
        return all(_is_among(kinds, inner) for inner in exc.exceptions)
    return isinstance(exc, kinds)


def _must_not_repeat(parcel: Parcel, error: FlowError) -> bool:
    """Whether another attempt would fail the same way, or repeat what this one has emitted."""
    own = error.node_id == parcel._station.node_id
    hopeless = own and (error.code == FlowErrorCode.ROUTING or error.metadata.get("side") == "in")
    return hopeless or (parcel._emitted and not parcel._station.policy.retry_after_emit)


async def _decision(parcel: Parcel, error: FlowError) -> Any:
    run, station = parcel._trace.run, parcel._station
    if not run.dispatch.handles_errors:
        return None

    def fitted(payload: Any) -> Any:
        return payload if station.router is not None else checked(station, parcel, payload, "was replaced by")

    return await run.dispatch.on_error(_as_this_nodes(parcel, error), run.name, fitted)


def _as_this_nodes(parcel: Parcel, error: FlowError) -> FlowError:
    """The failure as one of this node, which is what can be decided about, wherever in the flows inside it it began."""
    station, attempts = parcel._station, parcel.attempt + 1
    origin = {} if error.node_id == station.node_id else {"origin": error.node_id}
    if not origin and error.metadata.get("attempts") == attempts:
        return error
    here = error.twin()
    here.node_name, here.node_id = station.name, station.node_id
    here.metadata = {**error.metadata, "attempts": attempts, **origin}
    return here


def _followed(parcel: Parcel, decision: Any, error: FlowError) -> Any:
    if isinstance(decision, Replace) and parcel._station.router is None:
        return decision.payload
    if not isinstance(decision, Drop | Emit):  # a router that couldn't decide has no successor to send anything to
        try:
            raise error
        finally:
            del error
    closed(parcel, "node_failed", error)
    return None if isinstance(decision, Drop) else Surfaced(error)


async def _back_off(parcel: Parcel, delay: float, error: FlowError) -> None:
    if parcel._trace.run.dispatch.listeners:
        node_event("node_retry", parcel, error=error, extra={"delay_s": delay, "next_attempt": parcel.attempt + 1})
    await asyncio.sleep(delay)
    parcel.attempt += 1
    parcel._emitted = False
    restart(parcel)
