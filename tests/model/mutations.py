"""Ways to break the kernel, one law each: what the model has to notice.

Rules: a mutation is a small patch of the source, and the old text stands there exactly once. Whoever changes the
kernel so that it doesn't any more writes the mutation anew; each of them stands for a mistake that is easily made.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple


class Mutation(NamedTuple):
    """One mistake.

    Attributes:
        name: What goes wrong.
        law: Which law that breaks.
        module: The module of the kernel that it is in.
        old: What stands there.
        new: What the mistake is.
    """

    name: str
    law: int
    module: str
    old: str
    new: str


MUTATIONS = (
    Mutation(
        "who waits for a trace is not woken",
        1,
        "_lifecycle",
        "for waiter in waiters or ():",
        "for waiter in ():",
    ),
    Mutation(
        "a trace that is cancelled where nothing runs never settles",
        1,
        "_lifecycle",
        "    else:\n        settle(trace)\n",
        "",
    ),
    Mutation(
        "a node run that is left behind never ends",
        1,
        "_lifecycle",
        "        interrupted(strand.parcel)\n",
        "",
    ),
    Mutation(
        "an emit that waited for a full floe is lost",
        1,
        "_rooms",
        "                self.park(let_in, entry.variables)\n",
        "                pass\n",
    ),
    Mutation(
        "what nobody has fetched is lost when the flow runs again",
        1,
        "_runnable",
        "            self._rookery.drain_to(run.rookery)\n",
        "            pass\n",
    ),
    Mutation(
        "what waits for a node is taken from the wrong end",
        2,
        "_rooms",
        "parcel, variables = self.items.popleft()",
        "parcel, variables = self.items.pop()",
    ),
    Mutation(
        "a node that returns nothing keeps its lane",
        2,
        "_strands",
        "    if value is None:\n        release(trace, station)\n",
        "    if value is None:\n",
    ),
    Mutation(
        "a run takes no lane",
        2,
        "_floes",
        "trace.busy.get(station.index, 0) < station.lanes and",
        "trace.busy.get(station.index, 0) < 9 and",
    ),
    Mutation(
        "a floe takes in more than it holds",
        3,
        "_floes",
        "if count < size and not room.queued(edge):",
        "if not room.queued(edge):",
    ),
    Mutation(
        "Rookery and streams take in more than they hold",
        3,
        "_channel",
        "if len(self._items) >= self._maxsize or self._putters:",
        "if self._putters:",
    ),
    Mutation(
        "a trace that fails keeps its place in flight",
        3,
        "_lifecycle",
        "    if trace.slot:\n",
        "    if trace.slot and trace.outcome != FAILED:\n",
    ),
    Mutation(
        "a nested ask waits for a limit that its own trace holds",
        3,
        "_attempts",
        "if limit is None or trace.inside(limit):",
        "if limit is None:",
    ),
    Mutation(
        "cancelling reaches one branch only",
        4,
        "_lifecycle",
        "for strand in tuple(trace.strands):",
        "for strand in tuple(trace.strands)[:1]:",
    ),
    Mutation(
        "an asker who is cancelled leaves his trace behind",
        4,
        "_flow",
        "                cancel(trace)\n                raise",
        "                raise",
    ),
    Mutation(
        "a stream that is left early goes on",
        4,
        "_handle",
        "            cancel(trace)\n            await settled(trace)",
        "            pass",
    ),
    Mutation(
        "one hop too many",
        5,
        "_trace",
        "self.hops > budget.hops:",
        "self.hops > budget.hops + 1:",
    ),
    Mutation(
        "a deadline sets no timer",
        5,
        "_arrival",
        "trace.timer = run.call_at(arrival.limit, pass_deadline, trace)",
        "trace.timer = None",
    ),
    Mutation(
        "an error that was to be delivered is not",
        6,
        "_strands",
        "        if trace.run.emit_errors:\n",
        "        if False:\n",
    ),
    Mutation(
        "an attempt that has emitted is retried",
        7,
        "_attempts",
        "return hopeless or (parcel._emitted and not parcel._station.policy.retry_after_emit)",
        "return hopeless",
    ),
    Mutation(
        "a stream restarts without a mark",
        7,
        "_chunks",
        "parcel._stream_ids[name] = True",
        "parcel._stream_ids[name] = False",
    ),
    Mutation(
        "branches share their meta",
        8,
        "_parcel",
        "None if meta is None else meta.copy(), edge, parents)",
        "meta, edge, parents)",
    ),
    Mutation(
        "a join keeps the last meta only",
        8,
        "_joins",
        "meta = {**(meta or {}), **part}",
        "meta = {**part}",
    ),
    Mutation(
        "a join loses the headers",
        8,
        "_joins",
        "        parts[0]._headers,\n",
        "        None,\n",
    ),
    Mutation(
        "a chunk's number repeats",
        9,
        "_chunks",
        "streams[name] = number + 1",
        "streams[name] = number",
    ),
    Mutation(
        "a subflow's chunks pass by the nodes that take them",
        9,
        "_chunks",
        "trace.forwards and trace.caller is not None:",
        "False:",
    ),
    Mutation(
        "a join keeps what it has given",
        10,
        "_joins",
        "parts, bucket.items = sorted(bucket.items, key=_order), []",
        "parts = sorted(bucket.items, key=_order)",
    ),
    Mutation(
        "a trace completes with a join unfilled",
        10,
        "_lifecycle",
        "        missing = starved(trace)\n",
        "        missing = None\n",
    ),
    Mutation(
        "each trace leaves something behind",
        12,
        "_lifecycle",
        "    run.traces.pop(trace.id, None)\n",
        "    run.traces.pop(trace.id, None)\n    run.idle.append(lambda: trace)\n",
    ),
    Mutation(
        "what waits for a result keeps the trace's error",
        12,
        "_results",
        "    trace.error = None  # its traceback is about to hold this frame: no cycle may remain\n",
        "    trace.run.idle.append(lambda: error)\n",
    ),
)


def mutated(folder: Path, kernel: Path, mutation: Mutation) -> None:
    """Write a copy of the kernel with one mistake in it.

    Raises:
        ValueError: the mistake's place is not there any more, or is there more than once.
    """
    copy = folder / kernel.name
    shutil.copytree(kernel, copy, ignore=shutil.ignore_patterns("__pycache__"))
    source = copy / f"{mutation.module}.py"
    text = source.read_text(encoding="utf-8")
    if text.count(mutation.old) != 1:
        raise ValueError(f"{source.name} has {mutation.old!r} {text.count(mutation.old)} times")
    source.write_text(text.replace(mutation.old, mutation.new), encoding="utf-8")
