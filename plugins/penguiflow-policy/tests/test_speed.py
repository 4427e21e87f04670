"""How the cost of a decision grows: this thread's own time, the best of several rounds, as others may be at work. What
one costs in microseconds, `python benchmarks` measures.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from desk import policy, request, rule

ROUNDS, CALLS = 20, 500

PAYLOAD = {"text": "hello there", "items": [1, 2, 3], "user": {"age": 44}, "kind": "k7"}
ASKED = request(PAYLOAD, meta={"lang": "de", "score": 0.5}, tenant="t99", topic="billing", priority=3)


def microseconds(call: Callable[[], Any]) -> float:
    rounds = []
    for _ in range(ROUNDS):
        began = time.thread_time()
        for _ in range(CALLS):
            call()
        rounds.append((time.thread_time() - began) / CALLS * 1e6)
    return min(rounds)


def test_a_decision_over_1000_match_rules_takes_hardly_longer():
    few, many = (policy(*(rule(f"r{i}", match={"tenant": f"t{i}"}) for i in range(count))) for count in (100, 1000))
    assert microseconds(lambda: many.select(ASKED)) <= 3 * microseconds(lambda: few.select(ASKED)) + 10


@pytest.mark.parametrize("kind", ["split", "canary"])
def test_a_share_costs_a_few_times_what_a_route_costs(kind: str):
    parts: dict[str, Any] = {"split": {"a": 50, "b": 50}} if kind == "split" else {"canary": {"to": "a", "percent": 50}}
    route, share = policy(rule("r", route="a")), policy(rule("r", by="tenant", **parts))
    assert microseconds(lambda: share.select(ASKED)) <= 10 * microseconds(lambda: route.select(ASKED)) + 10


def test_a_large_payload_that_no_condition_looks_at_costs_nothing():
    made = policy(rule(when="payload.user.age > 50"))
    large = request({**PAYLOAD, "blob": list(range(100_000))})
    assert microseconds(lambda: made.select(large)) <= 1.5 * microseconds(lambda: made.select(ASKED)) + 5


def test_the_benchmark_compares_what_it_says_and_prints_its_figures():
    folder = Path(__file__).parents[1] / "benchmarks"
    command = [sys.executable, str(folder), "--rounds", "2", "--requests", "5"]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=60)
    assert done.returncode in (0, 1), done.stderr  # so few rounds say nothing about the figures
    assert done.stderr == ""
    assert [line.split(" ", 1)[1].lstrip().split(":")[0] for line in done.stdout.splitlines()] == [
        "a router's hop without a policy",
        "a decision over 100 match rules",
        "a decision over 10 conditions, all of them asked",
    ]
