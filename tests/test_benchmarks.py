"""The benchmarks: every row runs, and no figure stands beside a wrong answer. Nothing here is timed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import growth, memory, rivals, rows, table
from benchmarks.__main__ import main
from benchmarks.baselines import Ask
from benchmarks.measure import Figures, Row
from benchmarks.work import Item

ROOT = Path(__file__).parents[1]
CHAIN = rows.ROWS[0]


@asynccontextmanager
async def lying() -> AsyncIterator[Ask]:
    """A side that is quick because it does nothing."""

    async def ask(item: Item) -> Item:
        return item

    yield ask


def quick(*arguments: str) -> int:
    return main(["--quick", "--rounds", "2", *arguments])


def use(monkeypatch: pytest.MonkeyPatch, *found: Row) -> None:
    monkeypatch.setattr(rows, "ROWS", found)


def test_a_quick_run_has_every_row_of_the_table(tmp_path: Path):
    raw = tmp_path / "figures.json"
    command = [sys.executable, "-m", "benchmarks", "--quick", "--rounds", "2", "--json", str(raw)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    for title in [*(row.title for row in rows.ROWS), *(case[0] for case in growth.CASES.values())]:
        assert sum(line.startswith(f"{title}  ") for line in done.stdout.splitlines()) == 1, title
    found = json.loads(raw.read_text(encoding="utf-8"))
    assert list(found["rows"]) == [row.name for row in rows.ROWS]
    assert all(len(times) == 2 for row in found["rows"].values() for times in row["microseconds"].values())
    assert [(case["kind"], case["count"]) for case in found["memory"]] == [
        (kind, size) for kind in memory.KINDS for size in memory.QUICK_SIZES
    ]
    assert list(found["growth"]) == list(growth.CASES)
    assert {case["objects"] > 0 for case in found["memory"]} == {False}, "a trace left something"


@pytest.mark.parametrize("side", ["floor", "queue", "ours"])
def test_a_wrong_answer_of_any_side_voids_the_figure(
    side: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    use(monkeypatch, replace(CHAIN, sides={**CHAIN.sides, side: lying}))
    assert quick("--only", "chain") == 1
    printed = capsys.readouterr().out
    assert table.WRONG in printed
    assert f"wrong answers in chain: {side}: " in printed
    assert "path=[]" in printed


def wrongs() -> list[Any]:
    """For each row, answers that aren't right."""
    return [(row, answers) for row in rows.ROWS for answers in ([None], ["0"], [Item(n=0, path=["first"])])]


@pytest.mark.parametrize(("row", "answers"), wrongs(), ids=lambda found: getattr(found, "name", None))
def test_every_check_can_fail(row: Row, answers: Sequence[Any]):
    assert row.check(answers) is not None


def test_answers_that_were_swapped_are_wrong():
    items = [Item(n=n, path=["first", "second", "third"]) for n in range(2)]
    assert CHAIN.check(items) is None
    assert CHAIN.check(items[::-1]) is not None


def test_a_listener_that_misses_events_voids_the_figure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr("benchmarks.flows.EVENTS", 9)
    assert quick("--only", "listeners-3") == 1
    assert "events, of which the listeners saw" in capsys.readouterr().out


def test_growth_checks_its_answers(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(growth, "STEPS", growth.STEPS[:2])
    monkeypatch.setattr(growth, "same", growth.STEPS[0])
    assert quick("--only", "length") == 1
    assert "wrong answers in length" in capsys.readouterr().out


def test_a_short_figure_fails_a_strict_run_only(monkeypatch: pytest.MonkeyPatch):
    use(monkeypatch, replace(CHAIN, at_most=0.0))
    assert quick("--only", "chain") == 0
    assert quick("--only", "chain", "--strict") == 1


def test_the_ratio_is_the_median_of_the_rounds_ratios():
    figures = Figures(replace(CHAIN, at_most=2.0), {"queue": [1.0, 10.0, 1.0], "ours": [2.0, 10.0, 3.0]})
    assert figures.ratios() == [2.0, 1.0, 3.0]
    assert figures.quartiles() == (1.5, 2.0, 2.5)
    assert table.verdict(figures) == table.OK


@pytest.mark.parametrize("rounds", ["0", "1", "few"])
def test_fewer_than_two_rounds_are_refused(rounds: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main(["--quick", "--rounds", rounds])
    assert "a whole number from 2 on" in capsys.readouterr().err


def test_a_profile_names_functions_and_their_calls(capsys: pytest.CaptureFixture[str]):
    assert quick("--profile", "chain") == 0
    printed = capsys.readouterr().out
    assert "_run_once (asyncio/base_events.py:" in printed
    assert "calls a unit" in printed


# --- peers, with none installed ---------------------------------------------------------------------


def test_every_peer_has_a_script_and_pinned_requirements():
    for name, package in rivals.PEERS.items():
        assert (rivals.SCRIPTS / f"use_{name}.py").exists()
        pins = (rivals.SCRIPTS / f"requirements-{name}.txt").read_text(encoding="utf-8").splitlines()
        assert all("==" in pin for pin in pins)
        assert any(pin.startswith(f"{package}==") for pin in pins)


def test_a_peer_that_fails_is_shown_with_its_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "requirements-broken.txt").write_text("broken==1\n", encoding="utf-8")
    (tmp_path / "use_broken.py").write_text("raise SystemExit('no such thing')\n", encoding="utf-8")
    use(monkeypatch, CHAIN)
    monkeypatch.setattr(rivals, "PEERS", {"broken": "broken"})
    monkeypatch.setattr(rivals, "SCRIPTS", tmp_path)
    monkeypatch.setattr(rivals, "ENVIRONMENTS", tmp_path / "environments")
    monkeypatch.setattr(rivals, "_environment", lambda name, pins: Path(sys.executable))
    assert quick("--only", "chain", "--peers") == 0
    assert "broken 1: failed: no such thing" in capsys.readouterr().out
