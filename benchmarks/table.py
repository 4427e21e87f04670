"""The figures as text, and as plain data for `--json`."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.growth import Growth
from benchmarks.measure import Figures
from benchmarks.memory import AT_MOST, Memory
from benchmarks.rivals import Rival

OK, SHORT, WRONG = "ok", "short", "WRONG"
HEAD = ("us a unit of work", "floor", "queue", "ours", "ratio", "quartiles", "at most", "")


def machine() -> str:
    """What the figures were measured on."""
    return f"{_processor()}, {os.cpu_count()} cores, {platform.python_implementation()} {platform.python_version()}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def verdict(measured: Figures | Memory | Growth) -> str:
    """Whether a figure is what it should be."""
    if getattr(measured, "wrong", None):
        return WRONG
    return OK if measured.ok else SHORT


# --- as text ----------------------------------------------------------------------------------------


def main_table(found: Sequence[Figures]) -> Iterable[str]:
    """The table of the work."""
    yield from aligned([HEAD, *map(_line, found)])
    for figures in found:
        if figures.wrong:
            yield f"wrong answers in {figures.row.name}: {figures.wrong}"


def _line(figures: Figures) -> tuple[str, ...]:
    row = figures.row
    if figures.wrong:
        return (row.title, "", "", "", "", "", "", WRONG)
    low, middle, high = figures.quartiles()
    if row.against == "without":
        ratio, spread = f"{_more(middle)} %", f"{_more(low)} .. {_more(high)} %"
        allowed = f"{_more(row.at_most)} % of {_number(figures.median('without'))}"
    else:
        ratio, spread = f"{middle:.2f}", f"{low:.2f} .. {high:.2f}"
        allowed = f"{row.at_most:.2f} x {row.against}"
    sides = (_number(figures.median(side)) for side in ("floor", "queue", "ours"))
    return (row.title, *sides, ratio, spread, allowed, verdict(figures))


def _more(ratio: float) -> str:
    return f"{(ratio - 1) * 100:+.0f}"


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def memory_table(found: Sequence[Memory]) -> Iterable[str]:
    """What traces in flight take."""
    head = ("bytes a trace in flight", "traced", "resident", "at most", "objects left", "bytes left in all", "")
    yield from aligned([head, *map(_memory_line, found)])


def _memory_line(memory: Memory) -> tuple[str, ...]:
    resident = "" if memory.resident is None else f"{memory.resident:,.0f}"
    what = f"{memory.count:,} {memory.kind}"
    left = f"{max(0, memory.objects)}", f"{memory.kept:,}"
    return (what, f"{memory.traced:,.0f}", resident, f"{AT_MOST:,}", *left, verdict(memory))


def growth_table(found: Sequence[Growth]) -> Iterable[str]:
    """Whether it stays flat."""
    yield from aligned([("growth, us", "at each size", "ratio", "at most", ""), *map(_growth_line, found)], left=2)
    for growth in found:
        if growth.wrong:
            yield f"wrong answers in {growth.name}: {growth.wrong}"


def _growth_line(growth: Growth) -> tuple[str, ...]:
    if growth.wrong:
        return (growth.title, "", "", "", WRONG)
    sizes = ", ".join(f"{size}: {_number(value)}" for size, value in growth.medians().items())
    allowed = f"{growth.at_most:.2f}" + (" (bare tasks)" if growth.beside else "")
    return (growth.title, sizes, f"{growth.ratio:.2f}", allowed, verdict(growth))


def rivals_table(rivals: Sequence[Rival], ours: Sequence[Figures]) -> Iterable[str]:
    """The peers' microseconds under ours, for the work that both do."""
    rows = {figures.row.name: figures.median("ours") for figures in ours if figures.row.against != "without"}
    lines = [("us a unit of work", *rows, ""), ("ours", *map(_number, rows.values()), "")]
    for rival in rivals:
        lines.append((rival.title, *(_number(rival.figures.get(name)) or "-" for name in rows), ""))
    yield from aligned(lines)
    for rival in rivals:
        for problem in rival.problems:
            yield f"{rival.title}: {problem}"


def aligned(lines: Sequence[Sequence[str]], left: int = 1) -> Iterable[str]:
    """Columns of equal width: the first `left` and the last to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = [
            cell.ljust(width) if place < left or place == len(line) - 1 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()


# --- as data ----------------------------------------------------------------------------------------


def data(
    rows: Sequence[Figures], memory: Sequence[Memory], growth: Sequence[Growth], rivals: Sequence[Rival]
) -> Mapping[str, Any]:
    """All raw numbers, for `--json`."""
    return {
        "machine": machine(),
        "rows": {figures.row.name: _row_data(figures) for figures in rows},
        "memory": [asdict(case) | {"at_most": AT_MOST, "verdict": verdict(case)} for case in memory],
        "growth": {case.name: _growth_data(case) for case in growth},
        "peers": {rival.name: asdict(rival) for rival in rivals},
    }


def _row_data(figures: Figures) -> Mapping[str, Any]:
    row = figures.row
    known: dict[str, Any] = {"title": row.title, "against": row.against, "at_most": row.at_most}
    known |= {"microseconds": figures.rounds, "verdict": verdict(figures), "wrong": figures.wrong}
    return known if figures.wrong else known | {"ratios": figures.ratios(), "quartiles": figures.quartiles()}


def _growth_data(growth: Growth) -> Mapping[str, Any]:
    known: dict[str, Any] = asdict(growth) | {"verdict": verdict(growth)}
    return known if growth.wrong else known | {"ratio": growth.ratio, "at_most": growth.at_most}
