"""What must hold: after each step, and at the end.

Rules: it reads what the world and the machine have noted, and the flow's public surface; it changes nothing.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import re
from collections import Counter
from typing import TYPE_CHECKING

from tests.model.shapes import FlowShape

if TYPE_CHECKING:
    from tests.model.machine import FlowMachine
    from tests.model.senders import Record

GRACE_S = 0.5
_FLOE = re.compile(r"(\d+) messages wait on (\S+) -> (\S+?)(?:,|$)")
_OUTCOMES = {
    "TRACE_CANCELLED": "cancelled",
    "DEADLINE_EXCEEDED": "expired",
    "HOP_BUDGET_EXHAUSTED": "expired",
    "TOKEN_BUDGET_EXHAUSTED": "expired",
    "COST_BUDGET_EXHAUSTED": "expired",
}


def hold_now(machine: FlowMachine) -> None:
    """What holds whenever nothing can run."""
    world = machine.world
    outside = [trace for trace in world.live() if trace not in world.inside]
    if len(outside) > machine.shape.traces:
        world.wrong(f"law 3: {len(outside)} traces in flight, and max_traces is {machine.shape.traces}")
    for record in machine.senders.tasks.values():
        if record is not None and record.patient and record.trace in world.finished and record.how != "emit":
            world.wrong(f"law 1: {record.how} {record.key} waits for {record.trace}, which has ended")
    for record in machine.records.values():
        _in_time(machine, record)
    for trace in world.live():
        _floes(machine, trace)
    _rookery(machine)


def _in_time(machine: FlowMachine, record: Record) -> None:
    world, ended = machine.world, machine.world.times.get(record.trace, machine.loop.time())
    if record.limit is not None and record.trace in world.modes and ended > record.since + record.limit + GRACE_S:
        world.wrong(f"law 5: {record.trace} goes on past its deadline")
    if record.hops is not None and world.hops[record.trace] > record.hops:
        world.wrong(f"law 5: {record.trace} ran {world.hops[record.trace]} nodes, and may run {record.hops}")


def _floes(machine: FlowMachine, trace: str) -> None:
    """Floes are bounded, those on cycles and what nodes emit into their own trace apart."""
    sizes = {node.name: flow for flow in machine.shape.flows() for node in flow.nodes}
    for line in machine.world.flow.explain(trace).waits_for:
        for count, source, target in _FLOE.findall(line):
            flow: FlowShape = sizes[target]
            if source != "OpenSea" and not flow.cyclic() and source != target and int(count) > flow.queue:
                machine.world.wrong(f"law 3: {line}, and queue_maxsize is {flow.queue}")


def _rookery(machine: FlowMachine) -> None:
    """Of emitted traces that are over, no more is left at Rookery than it holds."""
    if machine.stopped:
        return
    left = -sum(_number(item) in _emitted(machine) for _, item in machine.fetched)
    for record in _emitted(machine).values():
        left += record.told.outputs.total() + record.told.pieces.total()
    if left > machine.shape.queue:
        machine.world.wrong(f"law 3: {left} messages at Rookery, and queue_maxsize is {machine.shape.queue}")


def _emitted(machine: FlowMachine) -> dict[int, Record]:
    return {
        key: record
        for key, record in machine.records.items()
        if record.how in ("emit", "nowait") and record.sure and machine.world.finished.get(record.trace) == "completed"
    }


def _number(item: str) -> int:
    """Which record an output belongs to."""
    found = re.search(r"\bt(\d+)\b", item)
    return int(found[1]) if found else -1


def all_ended(machine: FlowMachine) -> None:
    """Whatever must end by itself has ended, before the flow stops."""
    for trace in machine.world.live():
        waits = machine.world.flow.explain(trace)
        machine.world.wrong(f"law 1: nothing disturbs {trace}, and it doesn't end: {waits}")
    for record in machine.senders.tasks.values():
        if record is not None:
            machine.world.wrong(f"law 1: {record.how} {record.key} still waits: {record}")


def hold_at_the_end(machine: FlowMachine) -> None:
    """What holds when the flow has stopped."""
    world = machine.world
    if world.open or world.visits:
        world.wrong(f"law 1: at the end {list(world.open)} and {list(world.visits)} run")
    if missing := set(world.modes) ^ set(world.finished):
        world.wrong(f"law 1: {sorted(missing)} didn't start and finish")
    for record in machine.records.values():
        _right_outcome(machine, record)
        _as_foretold(machine, record)
    for trace, outcome in world.asked:
        _fits(machine, trace, outcome)
    _accounts(machine)
    _errors(machine)
    _cleared_up(machine)


# --- outcomes -------------------------------------------------------------------------------------


def _right_outcome(machine: FlowMachine, record: Record) -> None:
    if record.how == "join":
        return
    if not record.outcome and record.trace in machine.world.modes:
        machine.world.wrong(f"law 1: nobody learned what came of {record}")
    if record.outcome == "refused" and record.trace in machine.world.modes:
        machine.world.wrong(f"law 1: {record} was refused, and its trace ran")
    _fits(machine, record.trace, record.outcome)


def _fits(machine: FlowMachine, trace: str, outcome: str) -> None:
    """What its waiter learned is how a trace ended."""
    ended = machine.world.finished.get(trace)
    kind, _, rest = outcome.partition(" ")
    allowed: tuple[str | None, ...] = ("completed", "failed", "cancelled", "expired", None)
    if kind == "value":
        allowed = ("completed", "expired")
    elif kind == "several":
        allowed = ("completed",)
    elif kind == "error":
        allowed = (_OUTCOMES.get(rest, "failed"), "completed", *((None,) if rest == "DEADLINE_EXCEEDED" else ()))
    elif kind == "accepted":
        allowed = ("completed", "failed", "cancelled", "expired")
    if ended not in allowed:
        machine.world.wrong(f"law 1: whoever waited for {trace} learned {outcome!r}, and it ended as {ended}")


def _as_foretold(machine: FlowMachine, record: Record) -> None:
    """What nothing disturbed has come to what it must come to."""
    told, world = record.told, machine.world
    if not record.sure or record.how == "join" or record.outcome == "refused":
        return
    ended = world.finished.get(record.trace)
    if ended != ("failed" if told.starves else "completed"):
        world.wrong(f"law 1: {record} is foretold, and ended as {ended}")
    if told.starves:
        if record.how in ("ask", "stream") and record.outcome != "error JOIN_STARVED":
            world.wrong(f"law 10: {record} starves, and its waiter learned {record.outcome!r}")
        return
    tags, pieces = record.tags, record.pieces
    if record.how in ("emit", "nowait"):
        got = [item for _, item in machine.fetched if _number(item) == record.key]
        tags = [item for item in got if not item.startswith("chunk ")]
        pieces = [item.removeprefix("chunk ") for item in got if item.startswith("chunk ")]
    if record.outcome == "several":
        if record.hidden != told.outputs.total():
            world.wrong(f"law 8: {record} had {record.hidden} outputs")
    elif record.outcome != "dropped":
        tags = [item for item in tags if item != "nothing" or record.how not in ("ask", "stream")]
        if len(tags) != told.outputs.total() or (told.exact and Counter(tags) != told.outputs):
            world.wrong(f"law 4: {record} came to {sorted(tags)}, and {sorted(told.outputs.elements())} is foretold")
    if record.how in ("emit", "nowait", "stream") and told.exact and Counter(pieces) != told.pieces:
        world.wrong(f"law 9: {record} gave the chunks {sorted(pieces)}, not {sorted(told.pieces.elements())}")


# --- accounts -------------------------------------------------------------------------------------


def _accounts(machine: FlowMachine) -> None:
    """In a trace that completed, every load that a node handed over has come where it goes, once."""
    world = machine.world
    outputs = Counter(item for _, item in machine.fetched)
    for record in machine.records.values():
        outputs.update(record.tags)
    senders = [record for record in machine.records.values() if record.how != "join"]
    whole = {record.trace for record in senders if record.outcome in ("value", "accepted")}
    for trace, sent in world.sent.items():
        if world.finished.get(trace) != "completed" or trace in world.short:
            continue
        received = world.received.get(trace, Counter())
        for serial, load in sent.items():
            for target in load.targets:
                if not received[target, serial]:
                    world.wrong(f"law 1: {target} never got {load.path}, and {trace} completed")
            if load.leaves and trace in whole and not outputs[load.path]:
                world.wrong(f"law 1: {load.path} never came out, and {trace} completed")
    for path, count in world.made.items():
        if outputs[path] > count:
            world.wrong(f"law 1: {path} came out {outputs[path]} times, and was made {count} times")


def _errors(machine: FlowMachine) -> None:
    """With `emit_errors_to_rookery`, whatever ends an emitted trace is found there."""
    if not machine.shape.errors:
        return
    told = {trace for trace, _ in machine.fetched}
    answers = sum(item == "no answer" for _, item in machine.fetched)
    for record in machine.records.values():
        ended = machine.world.finished.get(record.trace)
        if record.how in ("emit", "nowait") and ended not in ("completed", None) and record.trace not in told:
            if ended == "expired" and answers:
                continue
            machine.world.wrong(f"law 6: {record} ended as {ended}, and Rookery had no error of it")


# --- nothing stays --------------------------------------------------------------------------------


def nothing_left(machine: FlowMachine) -> None:
    """Of traces that have settled nothing is left while the flow runs."""
    gc.collect()
    left = [load for ref in machine.world.watched if (load := ref()) is not None]
    if left:
        machine.world.wrong(f"law 12: {left} are left")
    gc.freeze()  # what is left is not the flow's: the next collection needn't look at it


def _cleared_up(machine: FlowMachine) -> None:
    if tasks := asyncio.all_tasks(machine.loop):
        machine.world.wrong(f"law 12: {tasks} are left")
    for name, before in zip(("penguiflow", "penguiflow.events"), machine.handlers, strict=True):
        if logging.getLogger(name).handlers != before:
            machine.world.wrong(f"law 12: log handlers of {name} are left")
