"""The soak: a million traces through every kind of flow, most with some misfortune, and at the end the sums.

    python -m benchmarks.soak --traces 1000000 --seed 1

Rules: every message handed in was refused or accepted; every accepted one ended once, as completed, failed, cancelled
or expired; what its caller saw is what the events said, and what that misfortune must lead to; and nothing grew. If
anything is off, it says so and exits with status 1.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import random
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.soak_callers import OUTCOMES, Callers, Case, Tally
from benchmarks.soak_flows import Load, Shape, shapes
from penguiflow import FlowEvent, hookimpl

WORKERS = 192  # messages under way at a time, storms apart
STAGES = 10
PATIENCE_S = 30.0
QUARANTINE_AFTER = 10  # failures in a row, says the kernel
STORM = (150, 400)  # messages
LOSSES = 997  # of so many events, one makes the unsteady listener raise

# What may grow between 20 % and 100 % of the traces.
RSS_MIB, OBJECTS, TASKS = 8.0, 2000, 0


class Doomed:
    """A listener that always raises: quarantined in each run, and there again in the next."""

    event_types = ("node_start", "node_success")

    def __init__(self) -> None:
        self.raised = 0

    @hookimpl
    def on_event(self, event: FlowEvent) -> None:
        self.raised += 1
        raise RuntimeError("doomed")


class Unsteady:
    """A listener that raises once in a while."""

    event_types = ("trace_start", "trace_finish", "node_error", "node_cancelled")

    def __init__(self) -> None:
        self.raised = 0
        self._heard = 0

    @hookimpl
    def on_event(self, event: FlowEvent) -> None:
        self._heard += 1
        if self._heard % LOSSES == 0:
            self.raised += 1
            raise RuntimeError("unsteady")


@dataclass(frozen=True, slots=True)
class Sample:
    """What there is while nothing is under way."""

    traces: int
    rss_mib: float
    tasks: int
    objects: int


@dataclass(slots=True)
class Result:
    """What a campaign came to; `problems` is empty if all is well."""

    traces: int
    seed: int
    tally: Tally
    names: list[str]
    samples: list[Sample] = field(default_factory=list)
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    problems: list[str] = field(default_factory=list)


# --- what befalls whom ----------------------------------------------------------------------------


def drawn(rng: random.Random, shape: Shape, number: int) -> Case:
    """A message with its misfortune, and how it must end."""
    way, place, dice = rng.choice(shape.ways), rng.choice(shape.places), rng.random()
    if dice < 0.50:
        return Case(shape, Load(number), way, "far deadline" if dice < 0.05 else "", ("completed",))
    if dice < 0.60:
        return Case(shape, Load(number, "fail", place), way, "", ("failed",), "NODE_EXCEPTION")
    if dice < 0.72:
        return Case(shape, Load(number, "retry" if dice < 0.67 else "slow", place), way, "", ("completed",))
    if dice < 0.78 and shape.own:
        outcome, code = shape.own_end
        return Case(shape, Load(number, shape.own, 1 if shape.own == "timeout" else -1), way, "", (outcome,), code)
    fate = "hang" if dice < 0.97 else "swallow" if dice < 0.9999 else "deaf"
    if way == "storm":
        return Case(shape, Load(number, fate, place), way, "", ("cancelled",))
    ender = rng.choice(("deadline", "cancel") if way in ("emit", "start") else ("deadline", "cancel", "vanish"))
    return Case(shape, Load(number, fate, place), way, ender, ("expired" if ender == "deadline" else "cancelled",))


def stormed(rng: random.Random, shape: Shape, numbers: range) -> tuple[list[Case], list[bool]]:
    """Many messages, and which of them will be cancelled: all that hang, and most others, if they live that long."""
    cases, victims = [], []
    for number in numbers:
        case = drawn(rng, shape, number)
        victims.append(case.ends == ("cancelled",) or rng.random() < 0.6)
        if victims[-1] and case.ends != ("cancelled",):
            case = Case(shape, case.load, case.way, case.ender, (*case.ends, "cancelled"), case.code)
        cases.append(case)
    return cases, victims


# --- the campaign ---------------------------------------------------------------------------------


class Campaign:
    """So many traces, in ten stages with a look at memory after each."""

    def __init__(self, traces: int, seed: int, *, tally: Tally | None = None, patience_s: float = PATIENCE_S) -> None:
        self.tally: Tally = tally or Tally()
        self.doomed, self.unsteady = Doomed(), Unsteady()
        self.callers = Callers(self.tally)
        self.shapes: list[Shape] = shapes([self.tally, self.unsteady], self.doomed)
        self.result = Result(traces, seed, self.tally, [shape.name for shape in self.shapes])
        self._rng = random.Random(seed)
        self._patience_s = patience_s
        self._idle = 0  # tasks while nothing is under way
        self._runs = 0  # of the flow that the doomed listener hears
        self._one_storm = asyncio.Lock()

    async def run(self) -> Result:
        """Hand everything in, and compare."""
        begun, begun_cpu, result = time.monotonic(), time.process_time(), self.result
        *lasting, renewed = self.shapes
        stack = AsyncExitStack()
        try:
            for shape in lasting:
                await stack.enter_async_context(shape.flow)
            fetching = asyncio.create_task(self._fetch())
            for stage in range(STAGES):
                numbers = range(result.traces * stage // STAGES, result.traces * (stage + 1) // STAGES)
                async with renewed.flow:
                    self._runs += 1
                    self._idle = len(asyncio.all_tasks())
                    await self._stage(numbers)
                    result.samples.append(await self._sample(numbers.stop))
            fetching.cancel()
        except Stuck as stuck:
            result.problems.append(str(stuck))
        with suppress(TimeoutError):
            await asyncio.wait_for(stack.aclose(), self._patience_s)
        show_progress(None)
        result.seconds, result.cpu_seconds = time.monotonic() - begun, time.process_time() - begun_cpu
        result.problems += [*self._mistakes(), *grown(result.samples)]
        return result

    async def _fetch(self) -> None:
        (rookery,) = [shape for shape in self.shapes if shape.ways == ("emit",)]
        await self.callers.fetch(rookery.flow)

    async def _stage(self, numbers: range) -> None:
        jobs = self._jobs(numbers)
        workers = [asyncio.create_task(self._work(jobs)) for _ in range(WORKERS)]
        pending, done, patient = set(workers), -1, time.monotonic()
        while pending:
            finished, pending = await asyncio.wait(pending, timeout=0.5)
            for worker in finished:
                worker.result()
            show_progress(self.tally.done / self.result.traces)
            if self.tally.done != done:
                done, patient = self.tally.done, time.monotonic()
            elif pending and time.monotonic() - patient > self._patience_s:
                raise Stuck(self._stuck())

    def _jobs(self, numbers: range) -> Iterator[Case | tuple[list[Case], list[bool]]]:
        """Single messages of every kind, now and then a storm."""
        singles = [shape for shape in self.shapes if shape.ways != ("storm",)]
        (stormy,) = [shape for shape in self.shapes if shape.ways == ("storm",)]
        rng, number = self._rng, numbers.start
        while number < numbers.stop:
            if rng.random() < 1 / 2000 or number == numbers.start:
                size = min(rng.randint(*STORM), len(numbers) // 2)
                some = numbers[number - numbers.start :][:size]
                yield stormed(rng, stormy, some)
                number = some.stop
            else:
                yield drawn(rng, rng.choice(singles), number)
                number += 1

    async def _work(self, jobs: Iterator[Case | tuple[list[Case], list[bool]]]) -> None:
        for job in jobs:
            if isinstance(job, Case):
                await self.callers.play(job)
            else:
                async with self._one_storm:
                    await self.callers.storm(*job, turns=job[0][0].load.number % 60)

    async def _sample(self, traces: int) -> Sample:
        for _ in range(50):  # nodes that ignored their cancellation still run for a moment
            if len(asyncio.all_tasks()) <= self._idle:
                break
            await asyncio.sleep(0.01)
        gc.collect()
        return Sample(traces, rss_mib(), len(asyncio.all_tasks()), len(gc.get_objects()))

    def _stuck(self) -> str:
        waiting = self.tally.waiting
        trace_id, shape = next(iter(waiting.items()))
        try:
            why = f"trace {trace_id} of {shape.name!r}: {shape.flow.explain(trace_id)}"
        except KeyError as gone:
            why = str(gone.args[0])
        return f"{len(waiting)} callers wait, and nothing has ended for {self._patience_s:g} s; {why}"

    def _mistakes(self) -> list[str]:
        tally = self.tally
        found = list(tally.problems)
        if tally.wrong > len(found):
            found.append(f"... and {tally.wrong - len(found)} more like these")
        for name in self.result.names:
            found += unequal(tally, name)
        if tally.ended:
            trace_id, outcome = next(iter(tally.ended.items()))
            found.append(f"{len(tally.ended)} traces ended a second time, or unseen, such as {trace_id} ({outcome})")
        kinds = tally.kinds
        over = {kind: kinds[kind] for kind in ("node_success", "node_failed", "node_cancelled", "node_expired")}
        if kinds["node_start"] != sum(over.values()):
            found.append(f"{kinds['node_start']} node runs started, and {sum(over.values())} ended: {over}")
        raised = self.doomed.raised + self.unsteady.raised
        if kinds["plugin_error"] != raised:
            found.append(f"listeners raised {raised} times, and {kinds['plugin_error']} times it was reported")
        if self.doomed.raised != self._runs * QUARANTINE_AFTER:
            found.append(f"the doomed listener was called {self.doomed.raised} times in {self._runs} runs")
        return found


class Stuck(Exception):
    """Nothing moves any more."""


def unequal(tally: Tally, name: str) -> list[str]:
    """What doesn't add up in one kind of flow."""
    accepted = tally.handed[name] - tally.refused[name]
    seen = {outcome: tally.seen[name, outcome] for outcome in OUTCOMES}
    said = {outcome: tally.finished[name, outcome] for outcome in OUTCOMES}
    found = []
    if accepted != sum(seen.values()):
        found.append(f"{name}: {accepted} messages were accepted, and callers saw {sum(seen.values())} ends: {seen}")
    if accepted != tally.started[name]:
        found.append(f"{name}: {accepted} messages were accepted, and {tally.started[name]} traces started")
    if seen != said:
        found.append(f"{name}: callers saw {seen}, the events said {said}")
    return found


# --- memory, and what is printed ------------------------------------------------------------------


def rss_mib() -> float:
    """The memory that the process holds now (where nobody tells, the most that it has held)."""
    with suppress(OSError):
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / 2 ** (20 if sys.platform == "darwin" else 10)


def grown(samples: list[Sample]) -> list[str]:
    """What grew between 20 % and 100 % of the traces by more than it may."""
    if len(samples) < STAGES:
        return []
    early, late = samples[STAGES // 5 - 1], samples[-1]
    changes = (
        ("RSS in MiB", late.rss_mib - early.rss_mib, RSS_MIB),
        ("tasks", late.tasks - early.tasks, TASKS),
        ("objects", late.objects - early.objects, OBJECTS),
    )
    return [f"{what} grew by {by:,.1f} from 20 % on, more than {most:,}" for what, by, most in changes if by > most]


def show_progress(part: float | None) -> None:
    """One line on a terminal, and nothing elsewhere; `None` wipes it."""
    if sys.stderr.isatty():
        print("\r\x1b[K" if part is None else f"\r{part:6.1%}", end="", file=sys.stderr, flush=True)


def report(result: Result) -> str:
    """The sums as a table, the samples, and the verdict."""
    tally, each = result.tally, result.cpu_seconds / result.traces * 1e6
    lines = [
        f"{result.traces:,} messages, seed {result.seed}, {tally.kinds['node_start']:,} node runs",
        f"{result.seconds:.1f} s, {result.cpu_seconds:.1f} of the processor: {each:.0f} us a message",
        "",
        row("flow", "handed in", "refused", "accepted", *OUTCOMES),
    ]
    for name in result.names:
        handed, refused = tally.handed[name], tally.refused[name]
        seen = [tally.seen[name, outcome] for outcome in OUTCOMES]
        lines.append(row(name, handed, refused, handed - refused, *seen))
    handed, refused = tally.handed.total(), tally.refused.total()
    for title, counts in (("callers saw", tally.seen), ("events said", tally.finished)):
        sums = [sum(counts[name, outcome] for name in result.names) for outcome in OUTCOMES]
        lines.append(row(title, handed, refused, handed - refused, *sums))
    lines += ["", row("after", "RSS MiB", "tasks", "objects")]
    lines += [row(f"{s.traces:,}", f"{s.rss_mib:.1f}", s.tasks, s.objects) for s in result.samples]
    if result.problems:
        return "\n".join([*lines, "", "WRONG:", *(f"  - {problem}" for problem in result.problems)])
    verdict = "Every accepted message ended once, as its caller saw it and as it had to, and nothing grew."
    return "\n".join([*lines, "", verdict])


def row(name: str, *cells: object) -> str:
    """One line of a table."""
    texts = (f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in cells)
    return f"{name:12}" + "".join(f"{text:>11}" for text in texts)


def main(arguments: list[str] | None = None) -> int:
    """Run a campaign and print what it came to; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description="A campaign of faults.")
    parser.add_argument("--traces", type=int, default=1_000_000, help="how many messages (1000000)")
    parser.add_argument("--seed", type=int, default=1, help="of everything random (1)")
    parser.add_argument("--patience", type=float, default=PATIENCE_S, help="seconds without any end that are too many")
    given = parser.parse_args(arguments)
    if given.traces < 2000:
        parser.error("the sums need 2000 traces or more")
    logging.getLogger("penguiflow").setLevel(logging.CRITICAL)  # every misfortune is logged, and this has many

    async def campaign() -> Result:
        return await Campaign(given.traces, given.seed, patience_s=given.patience).run()

    result = asyncio.run(campaign())
    print(report(result))
    return 1 if result.problems else 0


if __name__ == "__main__":
    sys.exit(main())
