"""The soak itself: a small one adds up, and what is broken on purpose is reported."""

from __future__ import annotations

import logging
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.soak import Campaign, Sample, grown, report
from benchmarks.soak_callers import OUTCOMES, Case, Tally
from penguiflow import FlowEvent

ROOT = Path(__file__).parents[1]


def soaked(*arguments: str, kernel: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """A soak in a process of its own, with the kernel that stands in a folder."""
    command = [sys.executable, "-m", "benchmarks.soak", "--patience", "2", *arguments]
    environment = {**os.environ, "PYTHONPATH": f"{kernel}{os.pathsep}{ROOT}"}
    return subprocess.run(
        command, cwd=kernel, env=environment, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL
    )


def numbers(line: str) -> list[int]:
    return [int(number.replace(",", "")) for number in re.findall(r"(?<= )[\d,]+(?= |$)", line)]


def test_a_small_soak_adds_up():
    done = soaked("--traces", "5000", "--seed", "3")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    lines = done.stdout.splitlines()
    start, end = (next(i for i, line in enumerate(lines) if line.startswith(word)) for word in ("flow", "callers"))
    rows = [numbers(line) for line in lines[start + 1 : end]]
    assert len(rows) == 9
    assert all(handed - refused == accepted == sum(ends) for handed, refused, accepted, *ends in rows)
    sums = [sum(column) for column in zip(*rows, strict=True)]
    assert (
        sums == numbers(lines[end].removeprefix("callers saw")) == numbers(lines[end + 1].removeprefix("events said"))
    )
    assert sums[0] == 5000
    assert all(sums[1:]), "some of everything happened: refusals, and all four outcomes"


# --- what is broken is found ----------------------------------------------------------------------


class Forgetful(Tally):
    """Misses an event once in a while, counts one twice, or hears another outcome."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how

    def ending(self, event: FlowEvent) -> None:
        if event.trace_id == "3e8":
            if self.how == "forgets":
                return
            if self.how == "twice":
                super().ending(event)
            else:
                event.outcome = next(outcome for outcome in OUTCOMES if outcome != event.outcome)
        super().ending(event)


class Miscounting(Tally):
    """Counts what one caller saw as something else."""

    def saw(self, case: Case, outcome: str, mistake: str) -> None:
        super().saw(case, outcome, mistake)
        if case.trace_id == "3e8":
            self.seen[case.shape.name, outcome] -= 1


@pytest.mark.parametrize(
    ("tally", "words"),
    [
        (Forgetful("forgets"), "the events said nothing"),
        (Forgetful("twice"), "trace 3e8 finished twice"),
        (Forgetful("mishears"), "the events said"),
        (Miscounting(), "callers saw"),
    ],
    ids=["forgotten", "twice", "misheard", "miscounted"],
)
async def test_one_wrong_count_in_thousands_is_reported(tally: Tally, words: str, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.CRITICAL, "penguiflow")
    result = await Campaign(2000, 1, tally=tally, patience_s=2).run()
    assert any(words in problem for problem in result.problems), result.problems
    assert "WRONG:" in report(result)


BROKEN = {
    "settles in silence": ('        trace_event("trace_finish", trace)', "        pass", "the events said nothing"),
    "wakes nobody": ("    for waiter in waiters or ():", "    for waiter in ():", "nothing has ended for 2 s"),
    "cancels as completed": (
        "decide(trace, CANCELLED, TraceCancelled(trace.id))",
        "decide(trace, COMPLETED, None)",
        "the events said completed",
    ),
    "keeps every trace": (
        "    trace.settled = True\n",
        "    trace.settled = True\n    log.__dict__.setdefault('kept', []).append(trace)\n",
        "objects grew by",
    ),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_kernel_that_settles_wrongly_is_found_out(fault: str, tmp_path: Path):
    right, wrong, words = BROKEN[fault]
    shutil.copytree(ROOT / "penguiflow", tmp_path / "penguiflow", ignore=shutil.ignore_patterns("__pycache__"))
    module = tmp_path / "penguiflow" / "_lifecycle.py"
    source = module.read_text(encoding="utf-8")
    assert source.count(right) == 1, "the kernel says it in other words now: plant the fault anew"
    module.write_text(source.replace(right, wrong), encoding="utf-8")
    done = soaked("--traces", "2000", kernel=tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert words in done.stdout.partition("WRONG:")[2], done.stdout


def test_growth_is_measured_from_a_fifth_of_the_way_on():
    flat = [Sample(traces, 40.0, 4, 30_000) for traces in range(10)]
    assert grown([Sample(0, 20.0, 1, 9), *flat[1:]]) == []
    (memory,) = grown([*flat[:9], Sample(9, 50.0, 4, 30_000)])
    assert memory.startswith("RSS in MiB grew by 10.0")
    assert [text.split()[0] for text in grown([*flat[:9], Sample(9, 40.0, 5, 40_000)])] == ["tasks", "objects"]
