"""`python -m benchmarks`: the table of figures, what traces in flight take, and whether costs stay flat.

The exit status is 1 if an answer is wrong and, with `--strict`, if a figure is short.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from benchmarks import growth, measure, memory, rivals, rows, table
from benchmarks.profile import profiled
from benchmarks.work import WrongAnswer

ROUNDS, QUICK_ROUNDS = 15, 3
QUICK_SHARE = 0.02
EXTRAS = ("memory", *growth.CASES)


def _rounds(text: str) -> int:
    """Two at least: quartiles need them."""
    if not text.isdigit() or int(text) < 2:
        raise argparse.ArgumentTypeError(f"a whole number from 2 on, not {text!r}")
    return int(text)


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    names = [row.name for row in rows.ROWS]
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Figures, in ratios to what is by hand.")
    parser.add_argument("--only", metavar="ROW", action="append", choices=[*names, *EXTRAS], help="one row; repeatable")
    parser.add_argument("--quick", action="store_true", help="a smoke run of a few seconds; its figures mean little")
    parser.add_argument("--peers", action="store_true", help="also other frameworks, each in its own environment")
    parser.add_argument("--rounds", type=_rounds, metavar="N", help=f"rounds of a row ({ROUNDS})")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write all raw numbers there")
    parser.add_argument("--strict", action="store_true", help="exit with 1 if a figure is short")
    parser.add_argument("--profile", metavar="ROW", choices=names, help="show where the time of a row goes instead")
    return parser.parse_args(given)


class Session:
    """One run: what was asked for, what was found, what went wrong."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.wanted: set[str] = set(options.only or [*(row.name for row in rows.ROWS), *EXTRAS])
        self.share = QUICK_SHARE if options.quick else 1.0
        self.rounds = options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS)
        self.sizes = memory.QUICK_SIZES if options.quick else memory.SIZES
        self.peer_seconds = 0.1 if options.quick else 1.5
        self.figures: list[measure.Figures] = []
        self.memory: list[memory.Memory] = []
        self.growth: list[growth.Growth] = []
        self.rivals: list[rivals.Rival] = []
        self.broken: list[str] = []

    def work(self) -> None:
        """The rows of the table."""
        for row in rows.ROWS:
            if row.name in self.wanted:
                _progress(row.title)
                self.figures.append(measure.measured(row, self.rounds, self.share))
        _show(table.main_table, self.figures)

    def lasting(self) -> None:
        """Memory and growth."""
        if "memory" in self.wanted:
            for kind in memory.KINDS:
                for size in self.sizes:
                    _progress(f"memory: {size:,} {kind}")
                    self._remember(kind, size)
            _show(table.memory_table, self.memory)
        for name in growth.CASES:
            if name in self.wanted:
                _progress(growth.CASES[name][0])
                self.growth.append(growth.measured(name, self.share))
        _show(table.growth_table, self.growth)

    def _remember(self, kind: str, size: int) -> None:
        try:
            self.memory.append(memory.measured(kind, size))
        except WrongAnswer as error:
            self.broken.append(str(error))
            print(f"wrong: {error}")

    def peers(self) -> None:
        """Other frameworks."""
        _progress("peers")
        for rival in rivals.measured(self.peer_seconds):
            _progress(rival.title)
            self.rivals.append(rival)
        _show(lambda found: table.rivals_table(found, self.figures), self.rivals)

    def verdicts(self) -> list[str]:
        """Of every figure."""
        found: list[measure.Figures | memory.Memory | growth.Growth] = [*self.figures, *self.memory, *self.growth]
        return [table.verdict(measured) for measured in found]

    def status(self, strict: bool) -> int:
        """The exit status."""
        verdicts = self.verdicts()
        wrong = bool(self.broken) or table.WRONG in verdicts
        return int(wrong or (strict and table.SHORT in verdicts))


Found = TypeVar("Found")


def _show(lines: Callable[[Sequence[Found]], Iterable[str]], found: Sequence[Found]) -> None:
    _progress("")
    if found:
        print("", *lines(found), sep="\n", flush=True)


def _progress(text: str) -> None:
    """What is being measured, on a terminal only."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def main(given: Sequence[str] | None = None) -> int:
    """Measure and print; the exit status."""
    options = _arguments(given)
    if options.profile:
        row = next(row for row in rows.ROWS if row.name == options.profile)
        print(*profiled(row, max(row.least, round(row.count * (QUICK_SHARE if options.quick else 1)))), sep="\n")
        return 0
    session = Session(options)
    print(f"{table.machine()}; default event loop, medians of {session.rounds} rounds", flush=True)
    session.work()
    session.lasting()
    if options.peers:
        session.peers()
    if options.json:
        found = table.data(session.figures, session.memory, session.growth, session.rivals)
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return session.status(options.strict)


if __name__ == "__main__":
    sys.exit(main())
