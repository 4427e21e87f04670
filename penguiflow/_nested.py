"""Flows inside nodes: playbooks, and subflows that stand in a graph.

Rules: a nested run is part of its caller's trace: same id, deadline, ledger, plugins and reader. It ends with its
caller at the latest, and its failure is raised in the node that called it.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress
from typing import Any

from penguiflow._errors import FlowError, TraceCancelled
from penguiflow._lifecycle import decide, pass_deadline
from penguiflow._messages import Message
from penguiflow._node import SubflowRole
from penguiflow._parcel import Output, Parcel
from penguiflow._plan import Plan, opened, planned
from penguiflow._registry import ModelRegistry
from penguiflow._results import settled
from penguiflow._run import Run
from penguiflow._station import Station
from penguiflow._strands import begin, spawn
from penguiflow._trace import CANCELLED, CHILD, Trace

_INHERITED = ("ledger", "deadline", "deadline_s", "budget", "epoch", "ts", "headers", "limited")


def nested_run(outer: Run, station: Station) -> Run:
    """The run of a subflow node: one for all traces, so that its limits hold over them."""
    assert station.subflow is not None
    if station.index not in outer.nested:
        plan: Plan = station.subflow.flow.plan
        outer.nested[station.index] = plan.start(
            outer.kernel, ModelRegistry(), outer.dispatch, outer, f"{station.node_id}/"
        )
    return outer.nested[station.index]


def _playbook_run(parcel: Parcel, plan: Plan, registry: ModelRegistry, lasting: bool) -> Run:
    """The run of a playbook: one for all traces if it is always the same flow without resources of its own."""
    outer, station = parcel._trace.run, parcel._station
    kept = outer.playbooks.setdefault(plan, {}) if lasting else {}
    if station.index not in kept:
        kept[station.index] = plan.start(outer.kernel, registry, outer.dispatch, outer, f"{station.node_id}/")
    return kept[station.index]


async def run_nested(
    parcel: Parcel, run: Run, value: Any, *, forwards: bool = False, timeout: float | None = None
) -> list[Output]:
    """Run a value through a nested flow, in the trace of the node that asks for it.

    Raises:
        FlowError: it failed, or took longer than `timeout` seconds.
    """
    trace = _child(parcel, run, forwards)
    if timeout is not None:
        limit = run.clock() + timeout
        if trace.deadline is None or limit < trace.deadline:
            trace.deadline = limit
            trace.limited = True
            trace.timer = run.call_at(limit, pass_deadline, trace)
    begin(trace, _entering(trace, parcel, value))
    try:
        await settled(trace)
    except asyncio.CancelledError:
        decide(trace, CANCELLED, TraceCancelled(trace.id))
        while not trace.settled:  # what it cleans up ends before its caller goes on, for as long as its grace lasts
            with suppress(asyncio.CancelledError):
                await settled(trace)
        raise
    return _outputs(trace)


def _child(parcel: Parcel, run: Run, forwards: bool) -> Trace:
    outer = parcel._trace
    trace = Trace(run, CHILD, outer.id, outer)
    for name in _INHERITED:
        setattr(trace, name, getattr(outer, name))
    trace.caller = parcel
    trace.top = outer.owner
    trace.forwards = forwards
    if outer.children is None:
        outer.children = {}
    outer.children[trace] = None
    return trace


def _entering(trace: Trace, parcel: Parcel, value: Any) -> list[Parcel]:
    payload, raw, headers, meta = parcel.opened(value)
    parents = (parcel._id or parcel._number,) if parcel._number else ()
    make = type(parcel)
    return [
        make(trace, station, payload, raw, headers, None if meta is None else dict(meta), -1, parents)
        for station in trace.run.entries
    ]


def _outputs(trace: Trace) -> list[Output]:
    outputs, answered = trace.outputs, trace.answered
    error, trace.error = trace.error, None
    del trace
    if error is not None and not answered:
        try:
            raise error
        finally:
            del error
    return outputs


async def playbook(parcel: Parcel, flow: Any, message: Any, timeout: float | None) -> Any:
    """Run a playbook; see `Context.call_playbook`."""
    if timeout is not None and not timeout > 0:
        raise ValueError(f"a playbook's timeout is a positive number of seconds, not {timeout!r}")
    plan, registry = planned(flow)
    opens = _opens_resources(plan)
    run = _playbook_run(parcel, plan, registry, lasting=not opens and hasattr(flow, "plan"))
    async with AsyncExitStack() as stack:
        if opens:
            await enter_resources(plan, run, stack)
        return _single(parcel, plan, await run_nested(parcel, run, message, timeout=timeout))


def _opens_resources(plan: Plan) -> bool:
    subflows = [node.role.flow.plan for node in plan.wiring.nodes if isinstance(node.role, SubflowRole)]
    return plan.resources is not None or any(_opens_resources(nested) for nested in subflows)


async def enter_resources(plan: Plan, run: Run, stack: AsyncExitStack) -> None:
    """Open the resources of a flow, and of the subflows in it."""
    if plan.resources is not None:
        run.resources = await stack.enter_async_context(opened(plan.resources))
    for station in run.stations:
        if station.subflow is not None:
            nested = nested_run(run, station)
            nested.resources = run.resources
            await enter_resources(station.subflow.flow.plan, nested, stack)


def _single(parcel: Parcel, plan: Plan, outputs: list[Output]) -> Any:
    _raise_delivered(outputs)
    if len(outputs) > 1:
        raise ValueError(f"playbook {plan.name!r} gave {len(outputs)} outputs: join them into one inside it")
    if not outputs:
        return None
    if outputs[0].meta:
        parcel._meta = parcel._meta if parcel._meta is not None else {}
        parcel._meta.update(outputs[0].meta)
    return outputs[0].payload


async def subflow(parcel: Parcel) -> Any:
    """A subflow node's body: what the flow gives is what the node gives."""
    role = parcel._station.subflow
    assert role is not None
    run = nested_run(parcel._trace.run, parcel._station)
    value = parcel._payload if parcel._raw is None else parcel.message
    outputs = await run_nested(parcel, run, value, forwards=True)
    results = [_returned(parcel, output) for output in outputs if not isinstance(output.payload, FlowError)]
    last = results.pop() if results and len(results) == len(outputs) else None
    for result in results:
        await parcel.emit(result)  # type: ignore[attr-defined]
    _raise_delivered(outputs)
    return last


def _raise_delivered(outputs: list[Output]) -> None:
    """Raise an error that a plugin wants delivered: it is none of the caller's outputs."""
    for output in outputs:
        if isinstance(output.payload, FlowError):
            raise output.payload.twin()


def _returned(parcel: Parcel, output: Output) -> Any:
    if output.raw is None and not output.meta:
        return output.payload
    meta = {**(parcel._meta or {}), **(output.meta or {})}
    changes = {"payload": output.payload, "meta": meta}
    if output.headers is not None:
        changes["headers"] = output.headers
    return Message(**changes)


class Runtime:
    """What the layers below ask of the runtime (`Kernel`)."""

    spawn = staticmethod(spawn)
    playbook = staticmethod(playbook)
    subflow = staticmethod(subflow)
