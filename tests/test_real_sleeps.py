"""No test sleeps for longer than 50 ms in real time: `conftest.py` looks at each, and these see that it does."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from penguiflow import create
from penguiflow.testkit import run_one, virtual_time
from tests.utils.nodes import nap
from tests.utils.sleeps import LONGEST_S, noted


def in_virtual_time() -> None:
    with virtual_time():
        run_one(create(nap), 100.0)


def for_something_that_comes() -> None:
    async def main() -> None:
        loop, come = asyncio.get_running_loop(), asyncio.Event()
        timer = threading.Timer(0.06, loop.call_soon_threadsafe, [come.set])
        timer.start()
        await asyncio.wait_for(come.wait(), 20)
        timer.join()

    asyncio.run(main())


@pytest.mark.parametrize(
    "work",
    [lambda: time.sleep(0.01), lambda: asyncio.run(asyncio.sleep(0.03)), in_virtual_time, for_something_that_comes],
)
def test_what_is_no_long_sleep_is_not_told(work: Callable[[], Any]):
    with noted() as too_long:
        work()
    assert too_long == []


@pytest.mark.parametrize(
    ("work", "said"),
    [
        (lambda: time.sleep(0.06), "time.sleep(0.06)"),
        (lambda: asyncio.run(asyncio.sleep(0.06)), "a loop that waited 0.06"),
        (lambda: run_one(create(nap), 0.06), "a loop that waited 0.06"),
    ],
)
@pytest.mark.sleeps
def test_a_long_sleep_is_told(work: Callable[[], Any], said: str):
    with noted() as too_long:
        work()
    assert len(too_long) == 1
    assert too_long[0].startswith(said.rstrip("6"))


def test_every_test_is_looked_at(request: pytest.FixtureRequest):
    assert "no_long_sleep" in request.fixturenames
    assert LONGEST_S == 0.05
