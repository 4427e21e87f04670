"""The tools of the races: shuffled steps, exact injections, and where tasks are suspended."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from penguiflow.testkit import is_step
from tests.utils.awaits import points, suspended
from tests.utils.interleaving import ShufflingLoop

Main = Callable[[ShufflingLoop], Awaitable[Any]]


def run(main: Main, seed: int | None = None) -> Any:
    loop = ShufflingLoop(seed)
    try:
        return loop.run_until_complete(main(loop))
    finally:
        loop.close()


async def steps_of_five(loop: ShufflingLoop) -> str:
    """The order in which five tasks take three steps each."""
    order: list[str] = []

    async def work(name: str) -> None:
        for _ in range(3):
            order.append(name)
            await asyncio.sleep(0)

    await asyncio.gather(*(work(name) for name in "abcde"))
    return "".join(order)


# --- the order ------------------------------------------------------------------------------------


def test_without_a_seed_steps_come_in_their_natural_order():
    assert run(steps_of_five) == "abcde" * 3


@pytest.mark.parametrize("seed", range(5))
def test_the_same_seed_gives_the_same_order(seed: int):
    assert run(steps_of_five, seed) == run(steps_of_five, seed)


def test_different_seeds_give_different_orders():
    orders = {run(steps_of_five, seed) for seed in range(20)}
    assert len(orders) > 15
    assert all(sorted(order) == sorted("abcde" * 3) for order in orders)
    assert {order[0] for order in orders} == set("abcde")


@pytest.mark.parametrize("seed", range(20))
def test_plain_callbacks_keep_their_order(seed: int):
    called: list[int] = []

    async def idle() -> None:
        for _ in range(3):
            await asyncio.sleep(0)

    async def main(loop: ShufflingLoop) -> None:
        tasks = []
        for i in range(9):
            loop.call_soon(called.append, i)
            tasks.append(asyncio.ensure_future(idle()))
        await asyncio.gather(*tasks)

    run(main, seed)
    assert called == list(range(9))


@pytest.mark.parametrize("seed", range(20))
def test_a_plain_callback_keeps_its_place_among_the_steps(seed: int):
    """Steps change places with steps: as many come before a callback as would in the natural order."""

    async def main(loop: ShufflingLoop) -> int:
        async def idle() -> None:
            pass

        before = [asyncio.ensure_future(idle()) for _ in range(3)]
        taken: list[int] = []
        start = loop.steps
        loop.call_soon(lambda: taken.append(loop.steps - start))
        after = [asyncio.ensure_future(idle()) for _ in range(3)]
        await asyncio.gather(*before, *after)
        return taken[0]

    assert run(main, seed) == run(main) == 4  # three, and the one that gathers them


def test_wakeups_are_shuffled_as_first_steps_are():
    async def main(loop: ShufflingLoop) -> str:
        order: list[str] = []
        event = asyncio.Event()

        async def wait(name: str) -> None:
            await event.wait()
            order.append(name)

        tasks = [asyncio.ensure_future(wait(name)) for name in "abcde"]
        await asyncio.sleep(1)
        event.set()
        await asyncio.gather(*tasks)
        return "".join(order)

    assert run(main) == "abcde"
    assert len({run(main, seed) for seed in range(10)}) > 5


def test_only_steps_of_tasks_are_steps():
    async def main(loop: ShufflingLoop) -> None:
        task = asyncio.ensure_future(asyncio.sleep(0))
        assert not any(map(is_step, (task.cancel, loop.stop, print, lambda: None, task.set_name)))
        await task

    run(main)


# --- injections -----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [None, 1, 2])
@pytest.mark.parametrize("after", range(8))
def test_what_is_injected_happens_once_between_the_right_two_steps(after: int, seed: int | None):
    async def main(loop: ShufflingLoop) -> None:
        log: list[str] = []

        async def work() -> None:
            for _ in range(5):
                log.append("step")
                await asyncio.sleep(0)

        tasks = [asyncio.ensure_future(work()) for _ in range(3)]
        loop.inject(after, lambda: log.append("action"))
        await asyncio.wait(tasks)
        assert log.index("action") == after
        assert log.count("action") == 1

    run(main, seed)


def test_every_task_is_suspended_and_none_is_current_when_it_happens():
    async def main(loop: ShufflingLoop) -> None:
        seen: list[Any] = []
        event = asyncio.Event()
        task = asyncio.ensure_future(event.wait())
        loop.inject(1, lambda: seen.append((asyncio.current_task(), suspended(task) != [])))
        await asyncio.sleep(1)
        event.set()
        await task
        assert seen == [(None, True)]

    run(main)


def test_what_is_made_at_once_takes_its_first_step_at_once_as_does_what_it_makes():
    async def main(loop: ShufflingLoop) -> None:
        log: list[str] = []

        async def inner() -> None:
            log.append("inner")
            await asyncio.sleep(0)
            log.append("inner again")

        async def outer() -> None:
            task = asyncio.ensure_future(inner())
            log.append("outer")
            await task
            log.append("outer again")

        async def bystander() -> None:
            log.append("bystander")

        def act() -> None:
            tasks.append(loop.at_once(outer()))
            log.append("acted")

        tasks = [asyncio.ensure_future(bystander())]
        loop.inject(0, act)
        await asyncio.sleep(1)
        await asyncio.gather(*tasks)
        assert log == ["outer", "inner", "acted", "bystander", "inner again", "outer again"]

    run(main)


def test_a_woken_task_is_not_run_by_what_is_made_at_once():
    async def main(loop: ShufflingLoop) -> None:
        log: list[str] = []
        event = asyncio.Event()

        async def waits() -> None:
            await event.wait()
            log.append("woken")

        async def wakes() -> None:
            event.set()

        def act() -> None:
            loop.at_once(wakes())
            log.append("acted")

        task = asyncio.ensure_future(waits())
        loop.inject(1, act)
        await task
        assert log == ["acted", "woken"]

    run(main)


def test_timers_ring_early_and_once_if_they_are_set_for_that_time():
    async def main(loop: ShufflingLoop) -> None:
        rung: list[str] = []
        for when, name in ((5, "far"), (20, "farther"), (50, "too far")):
            loop.call_later(when, rung.append, name)
        loop.call_later(7, rung.append, "never").cancel()
        before = loop.time()
        assert loop.ring(before + 4, before + 40) == 2
        assert (rung, loop.time()) == (["far", "farther"], before)
        assert loop.ring(before + 4, before + 40) == 0
        await asyncio.sleep(100)
        assert rung == ["far", "farther", "too far"]

    run(main)


def test_a_family_is_what_a_task_has_made():
    async def main(loop: ShufflingLoop) -> None:
        async def makes(depth: int) -> list[str | None]:
            task = asyncio.current_task()
            assert task is not None
            inner = await asyncio.ensure_future(makes(depth - 1)) if depth else []
            return [loop.family(task), *inner]

        mine, other = asyncio.ensure_future(makes(2)), asyncio.ensure_future(makes(1))
        loop.found(other, "other")
        assert await mine == [None] * 3
        assert await other == ["other"] * 2

    run(main)


# --- where tasks are suspended --------------------------------------------------------------------


SOURCE = """
class Thing:
    async def wait(self):
        await one()
        async with limit:
            await one()
        async for item in items:
            pass

    def plain(self):
        async def inner():
            await two()
            return [item async for item in items]
        return inner
"""


def test_every_await_of_a_source_is_a_point_with_a_name_of_its_own(tmp_path: Path):
    path = tmp_path / "module.py"
    path.write_text(SOURCE, encoding="utf-8")
    assert points([path]) == {
        (str(path), 4): "module.Thing.wait: await one()",
        (str(path), 5): "module.Thing.wait: async with limit:",
        (str(path), 6): "module.Thing.wait: await one() #2",
        (str(path), 7): "module.Thing.wait: async for item in items:",
        (str(path), 12): "module.Thing.plain.inner: await two()",
        (str(path), 13): "module.Thing.plain.inner: return [item async for item in items]",
    }


def test_a_task_is_suspended_in_all_functions_on_its_way_generators_included():
    async def main(loop: ShufflingLoop) -> None:
        event = asyncio.Event()
        lock = asyncio.Lock()

        async def innermost() -> None:
            async with lock:
                await event.wait()

        async def yields() -> Any:
            await innermost()
            yield 1

        async def reads() -> None:
            async for _ in yields():
                pass

        mine = {line: name.split(": ")[1] for (_, line), name in points([Path(__file__)]).items()}
        task = asyncio.ensure_future(reads())
        await asyncio.sleep(1)
        found = [mine[line] for path, line in suspended(task) if path == __file__]
        assert found == ["async for _ in yields():", "await innermost()", "await event.wait()"]
        event.set()
        await task
        assert suspended(task) == []

    run(main)
