"""What a trace in flight takes, and what is left of it: `python -m benchmarks.memory asked 1000` measures one case.

Rules: each case runs in a process of its own, so that no other measurement's memory is used again. The resident size
comes first, then Python's own account of it (`tracemalloc`), which would change the former. Every trace waits in
the second of two nodes. An asked one counts with the asker's own task.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import subprocess
import sys
import tracemalloc
import weakref
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.work import Item, WrongAnswer, first, items, went
from penguiflow import Node, PenguiFlow, create

AT_MOST = 8 * 1024  # bytes a trace
LEFT_AT_MOST = 64 * 1024  # bytes in all, however many traces: the flow's own run is in it
KINDS = ("asked", "emitted")
SIZES = (1_000, 100_000)
QUICK_SIZES = (100, 1_000)
ROOT = Path(__file__).parents[1]


@dataclass
class Memory:
    """Bytes for each trace in flight, and what is left after all of them.

    Attributes:
        kind: "asked" or "emitted".
        count: How many were in flight together.
        resident: By the process's resident size; `None` where the system doesn't tell it.
        traced: By `tracemalloc`.
        objects: How many more objects the garbage collector knows afterwards.
        kept: Bytes that `tracemalloc` still knows afterwards, all in all.
    """

    kind: str
    count: int
    resident: float | None
    traced: float
    objects: int
    kept: int

    @property
    def ok(self) -> bool:
        """Whether a trace takes no more than is allowed, and leaves nothing."""
        return max(self.traced, self.resident or 0) <= AT_MOST and self.objects <= 0 and self.kept <= LEFT_AT_MOST


def measured(kind: str, count: int) -> Memory:
    """Measure one case in a process of its own.

    Raises:
        WrongAnswer: it failed; the text has its last words.
    """
    command = [sys.executable, "-m", "benchmarks.memory", kind, str(count)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    if done.returncode:
        raise WrongAnswer(f"memory of {count} {kind} traces: {done.stderr[-1000:]}")
    return Memory(**json.loads(done.stdout))


# --- in that process --------------------------------------------------------------------------------


class Crowd:
    """A flow, and as many traces in it as one wants, all waiting."""

    def __init__(self, kind: str, count: int) -> None:
        self.kind, self.count = kind, count
        self.gate = asyncio.Event()
        self.arrived = 0
        self.left = 0
        self.all_here = asyncio.Event()

    def flow(self) -> PenguiFlow:
        async def wait(item: Item) -> Item | None:
            self.arrived += 1
            if self.arrived == self.count:
                self.all_here.set()
            await self.gate.wait()
            self.left += 1
            return item if self.kind == "asked" else None

        return create(Node(first).to(Node(wait)), max_traces=max(self.count, 10))

    async def fill_and_empty(self, flow: PenguiFlow, look: Callable[[], Any]) -> Any:
        """Bring them all in, look, and let them all out again; what was seen."""
        self.arrived = self.left = 0
        self.gate.clear()
        self.all_here.clear()
        askers = []
        for item in items(self.count):
            if self.kind == "asked":
                askers.append(asyncio.create_task(flow.ask(item)))
            else:
                flow.emit_nowait(item)
        await self.all_here.wait()
        gc.collect()
        seen = look()
        self.gate.set()
        self._check(await asyncio.gather(*askers))
        return seen

    def _check(self, answers: list[Any]) -> None:
        problem = went("first")(answers) if self.kind == "asked" else None
        if problem or len(answers) not in (0, self.count):
            raise WrongAnswer(problem or f"{len(answers)} answers to {self.count} requests")


def _resident() -> int | None:
    if not Path("/proc/self/statm").exists():
        return None
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _traced() -> int:
    return tracemalloc.get_traced_memory()[0]


def _kept() -> int:
    """What is still there, without asyncio's own set of all tasks: its table keeps the size that it once grew to."""
    theirs = tracemalloc.Filter(False, weakref.WeakSet.__init__.__code__.co_filename)
    left = tracemalloc.take_snapshot().filter_traces([theirs])
    return sum(statistic.size for statistic in left.statistics("filename"))


async def _settled(flow: PenguiFlow) -> None:
    """Every emitted trace has ended when a drained stop returns; the flow then runs again."""
    await flow.stop(drain_s=60)
    gc.collect()
    flow.run()


async def _measure(kind: str, count: int) -> Memory:
    crowd = Crowd(kind, count)
    flow = crowd.flow()
    flow.run()
    crowd.count = 10
    await crowd.fill_and_empty(flow, int)  # what is made once counts for nobody
    await _settled(flow)
    crowd.count = count
    before = _resident()
    objects = len(gc.get_objects())
    after = await crowd.fill_and_empty(flow, _resident)
    resident = None if before is None else (after - before) / count
    await _settled(flow)
    objects = len(gc.get_objects()) - objects
    tracemalloc.start()
    traced = await crowd.fill_and_empty(flow, _traced)
    await _settled(flow)
    memory = Memory(kind, count, resident, traced / count, objects, _kept())
    tracemalloc.stop()
    await flow.stop()
    return memory


if __name__ == "__main__":
    print(json.dumps(asdict(asyncio.run(_measure(sys.argv[1], int(sys.argv[2]))))))
