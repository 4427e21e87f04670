"""A trace's runs as the rows of a waterfall: who called whom, and what each did when.

Rules: a row stands below the run that it is nested in, and rows of one flow stand in the order they began. What is
still under way lasts until `now`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from penguiflow_viz.record.facts import RunRecord, TraceRecord

WORKS, ERROR, TIMEOUT, PAUSE = "works", "error", "timeout", "pause"


class Row(NamedTuple):
    """A run in a waterfall.

    Attributes:
        run: The run.
        depth: In how many flows it is nested.
        calls: Whether other runs are nested in it.
    """

    run: RunRecord
    depth: int
    calls: bool


class Piece(NamedTuple):
    """What a run did for a while: `works` (an attempt that succeeded, or goes on), `error` or `timeout` (one that did
    not), or `pause` (between two).
    """

    kind: str
    began: float
    ended: float


def rows(trace: TraceRecord) -> list[Row]:
    """The rows of a trace."""
    runs = sorted(trace.runs.values(), key=_began)
    callers: dict[str, RunRecord | None] = {}
    nested: dict[str, list[RunRecord]] = {}
    for run in runs:
        caller = callers[run.invocation_id] = _caller(run, trace.runs, callers)
        nested.setdefault("" if caller is None else caller.invocation_id, []).append(run)
    found: list[Row] = []
    waiting = [(run, 0) for run in reversed(nested.get("", []))]
    while waiting:
        run, depth = waiting.pop()
        inside = nested.get(run.invocation_id, [])
        found.append(Row(run, depth, bool(inside)))
        waiting += [(inner, depth + 1) for inner in reversed(inside)]
    return found


def _began(run: RunRecord) -> float:
    return run.began


def _caller(run: RunRecord, runs: dict[str, RunRecord], callers: dict[str, RunRecord | None]) -> RunRecord | None:
    """The run of a subflow's node, or of who calls the playbook, that a run is nested in."""
    for parent in run.parents:
        came = runs.get(parent)
        if came is not None and came is not run:
            return came if run.inside(came) else callers.get(parent)
    return None


def pieces(run: RunRecord, now: float) -> Iterator[Piece]:
    """What a run did, piece by piece."""
    ended = now if run.ended is None else run.ended
    at = run.began
    for attempt in run.attempts:
        if attempt.began > at and at > run.began:
            yield Piece(PAUSE, at, attempt.began)
        yield Piece(TIMEOUT if attempt.timeout else ERROR, max(attempt.began, at), attempt.ended)
        at = attempt.ended
    if not run.attempts:
        yield Piece(WORKS, at, ended)
    elif run.resumed >= at:
        yield Piece(PAUSE, at, min(run.resumed, ended))
        if ended > run.resumed:
            yield Piece(WORKS, run.resumed, ended)


def latest(trace: TraceRecord) -> float:
    """The last moment that is known of a trace: its end or, while it goes on, the last thing that happened."""
    if trace.ended is not None:
        return trace.ended
    moments = [trace.began]
    for run in trace.runs.values():
        moments += [run.began, run.ended or run.began, run.last_chunk, *(attempt.ended for attempt in run.attempts)]
    return max(moments)
