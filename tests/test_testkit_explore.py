"""`explore`: races that the natural order hides are found within 200 orders, and again by their seed."""

from __future__ import annotations

import asyncio
import os
import pickle
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from penguiflow import Context, Node, PenguiFlow, create, node
from penguiflow.testkit import BrokenOrder, ShufflingLoop, explore, simulate_error
from tests.utils.nodes import same

# --- three broken nodes ---------------------------------------------------------------------------


def lost_update() -> PenguiFlow:
    """Reads, lets others run, and writes what it has read: right only if the other one has been faster."""
    total = 0

    async def add(amount: int) -> int:
        nonlocal total
        for _ in range(amount):
            await asyncio.sleep(0)
        seen = total
        await asyncio.sleep(0)
        total = seen + amount
        return total

    return create(Node(add))


def check_then_act() -> PenguiFlow:
    """Looks whether something is there, and makes it twice if another had the same idea just then."""
    made: list[str] = []

    async def prepare(name: str, ctx: Context) -> str:
        for _ in range(3 if name == "late" else 0):
            await asyncio.sleep(0)
        if not made:
            await asyncio.sleep(0)
            made.append(name)
        assert len(made) == 1, made
        return name

    return create(Node(prepare))


def shared_scratch() -> PenguiFlow:
    """Keeps what belongs to one message where all can reach it, from one node to the next."""
    scratch: dict[str, str] = {}

    async def put(name: str) -> str:
        scratch["name"] = name
        return name

    async def take(name: str) -> str:
        await asyncio.sleep(0)
        return scratch["name"]

    first, then = Node(put), Node(take)
    return create(first.to(then))


def sums_up(outputs: list[int]) -> bool:
    return max(outputs) == 5


def own_names(outputs: list[str]) -> None:
    assert outputs == ["early", "late"]


async def one_after_the_other(flow: PenguiFlow) -> None:
    """A client that leaves little room for the race: only some orders hit it."""
    early = asyncio.ensure_future(flow.ask("early"))
    for _ in range(6):
        await asyncio.sleep(0)
    late = asyncio.ensure_future(flow.ask("late"))
    own_names(list(await asyncio.gather(early, late)))


PLANTED: dict[str, tuple[Callable[[], PenguiFlow], dict[str, Any]]] = {
    "lost update": (lost_update, {"message": [1, 4], "check": sums_up}),
    "check, then act": (check_then_act, {"message": ["early", "late"], "check": own_names}),
    "shared scratch": (shared_scratch, {"scenario": one_after_the_other}),
}


@pytest.mark.parametrize("race", PLANTED)
def test_a_planted_race_is_found_within_200_orders_though_the_natural_one_hides_it(race: str):
    flow, options = PLANTED[race]
    with pytest.raises(BrokenOrder) as caught:
        explore(flow, **options)
    assert caught.value.seed is not None
    assert 0 <= caught.value.seed < 200
    again = []
    for _ in range(2):
        with pytest.raises(BrokenOrder) as repeated:
            explore(flow, **options, runs=1, seed=caught.value.seed)
        again.append(repeated.value)
    assert [error.seed for error in again] == [caught.value.seed] * 2
    assert str(again[0].__cause__) == str(again[1].__cause__) == str(caught.value.__cause__)


@pytest.mark.parametrize("start", [1000, 20_000])
def test_it_takes_no_lucky_seed(start: int):
    for flow, options in PLANTED.values():
        with pytest.raises(BrokenOrder):
            explore(flow, **options, seed=start)


# --- races of other shapes ------------------------------------------------------------------------


def early_signal() -> PenguiFlow:
    """Tells that something is there before it is."""
    ready, box = asyncio.Event(), []

    async def fill(name: str) -> str:
        ready.set()
        await asyncio.sleep(0)
        box.append(name)
        return name

    async def use(name: str) -> str:
        await ready.wait()
        await asyncio.sleep(0)
        return box[0]

    first, left, right = Node(same.func), Node(fill), Node(use)
    return create(first.to(left, right))


def task_not_awaited() -> PenguiFlow:
    """Hopes that two turns of the loop are enough for a task of its own."""

    async def hope(x: int) -> int:
        found: list[int] = []

        async def look() -> None:
            await asyncio.sleep(0)
            found.append(x)

        looking = asyncio.ensure_future(look())
        for _ in range(2):
            await asyncio.sleep(0)
        answer = found[0]
        await looking
        return answer

    return create(Node(hope))


def changed_while_read() -> PenguiFlow:
    """Iterates over what another message changes."""
    members = {"early": 0}

    async def visit(name: str) -> str:
        if name == "late":
            for _ in range(2):
                await asyncio.sleep(0)
            members[name] = 1
            return name
        for member in members:
            await asyncio.sleep(0)
            del member
        return name

    return create(Node(visit))


def lock_order() -> PenguiFlow:
    """Takes two locks in the order that suits it: another one has the second, and waits for the first."""
    locks = {"a": asyncio.Lock(), "b": asyncio.Lock()}

    async def both(order: str) -> str:
        for _ in range(6 if order == "ba" else 0):
            await asyncio.sleep(0)
        async with locks[order[0]]:
            await asyncio.sleep(0)
            async with locks[order[1]]:
                return order

    return create(Node(both))


def unseen_failure() -> PenguiFlow:
    """What its task fails with, nobody hears."""
    users: set[int] = set()

    async def enter(x: int) -> int:
        async def check() -> None:
            for _ in range(4 * x):
                await asyncio.sleep(0)
            users.add(x)
            await asyncio.sleep(0)
            assert users == {x}
            users.discard(x)

        await asyncio.wait([asyncio.ensure_future(check())])
        return x

    return create(Node(enter))


OTHERS: dict[str, tuple[Callable[[], PenguiFlow], Any, str]] = {
    "early signal": (early_signal, "x", "IndexError"),
    "task not awaited": (task_not_awaited, 1, "IndexError"),
    "changed while read": (changed_while_read, ["early", "late"], "dictionary changed size"),
    "lock order": (lock_order, ["ab", "ba"], "a deadlock"),
    "unseen failure": (unseen_failure, [0, 1], "Task exception was never retrieved: AssertionError"),
}


def found_in(race: str, seen: list[str] | None = None, **options: Any) -> BrokenOrder:
    flow, message, _ = OTHERS[race]
    messages = message if isinstance(message, list) else [message]

    async def scenario(running: PenguiFlow) -> None:
        with running.watch(
            lambda event: None if seen is None else seen.append(f"{event.event_type} {event.node_name}")
        ):
            await asyncio.gather(*(running.start(message).results() for message in messages))

    with pytest.raises(BrokenOrder) as caught:
        explore(flow, scenario=scenario, **options)
    return caught.value


@pytest.mark.parametrize("race", OTHERS)
def test_races_of_other_shapes_are_found_and_found_again(race: str):
    found = found_in(race)
    assert found.seed is not None
    assert OTHERS[race][2] in str(found)
    again = found_in(race, seed=found.seed, runs=1)
    assert (again.seed, str(again).partition("\n")[0]) == (
        found.seed,
        str(found).partition("\n")[0].replace(f"order {found.seed + 1} of 200", "order 1 of 1"),
    )


def test_a_seed_breaks_the_same_way_in_another_process_with_other_hashes():
    """What it prints is the seed and the whole order of events in the run that broke."""
    script = "from tests.test_testkit_explore import told; print(told())"
    said = {
        subprocess.run(
            [sys.executable, "-c", script],
            cwd=Path(__file__).parents[1],
            env={**os.environ, "PYTHONHASHSEED": hashes},
            capture_output=True,
            encoding="utf-8",
            timeout=60,
            check=True,
        ).stdout
        for hashes in ("1", "2")
    }
    assert said == {f"{told()}\n"}


def told() -> str:
    """The orders of events in which each of the races is found."""
    seen: list[str] = []
    for race in OTHERS:
        seen.append(race)
        seen.append(str(found_in(race, seen).seed))
    return " ".join(seen)


# --- what it says ---------------------------------------------------------------------------------


def test_what_never_breaks_is_run_as_often_as_asked():
    seen: list[int] = []
    assert explore(create(same), 3, seen.append, runs=20) == 20
    assert seen == [3] * 21  # and once in the natural order


def test_what_breaks_without_luck_is_said_so():
    with pytest.raises(
        BrokenOrder, match="it breaks in the natural order already: AssertionError: the check returned"
    ) as e:
        explore(create(same), 3, lambda output: output == 4)
    assert e.value.seed is None
    with (
        simulate_error(same, 99),
        pytest.raises(BrokenOrder, match="natural order already: FlowError: node") as e,
    ):
        explore(create(same), 3)
    assert "trace " in str(e.value)


def test_the_error_names_the_seed_the_order_and_how_to_see_it_again():
    flow, options = PLANTED["lost update"]
    with pytest.raises(BrokenOrder) as caught:
        explore(flow, **options, seed=500)
    seed = caught.value.seed
    assert seed is not None
    assert str(caught.value).startswith(
        f"seed {seed} breaks (order {seed - 499} of 200): AssertionError: the check retu"
    )
    assert f"the same again: explore(..., seed={seed}, runs=1)" in str(caught.value)
    twin = pickle.loads(pickle.dumps(caught.value))
    assert (twin.seed, str(twin)) == (seed, str(caught.value))


@pytest.mark.parametrize("grouped", [False, True])
def test_what_pytest_itself_fails_with_breaks_a_run_and_a_skip_does_not(grouped: bool):
    async def raises(exc: type[BaseException] | None) -> None:
        with pytest.raises(ValueError, match="never"):
            if exc is not None:
                raise exc

    async def scenario(flow: PenguiFlow) -> None:
        if not grouped:
            return await raises(None)
        async with asyncio.TaskGroup() as group:
            group.create_task(raises(None))

    with pytest.raises(BrokenOrder, match="(?i)did not raise|ExceptionGroup"):
        explore(create(same), scenario=scenario)
    with pytest.raises(pytest.skip.Exception):
        explore(create(same), scenario=lambda flow: raises(pytest.skip.Exception))


def test_random_starts_from_the_seed_and_is_given_back():
    drawn: list[list[float]] = [[], []]

    @node
    async def draws(x: int) -> int:
        drawn[x].append(random.random())
        return x

    random.seed(5)
    before = random.getstate()
    for number in range(2):
        explore(create(draws), number, lambda output: None, runs=5)
    assert random.getstate() == before
    assert drawn[0] == drawn[1]
    assert len(set(drawn[0][1:])) == 5


def test_each_run_is_sent_what_nobody_has_changed():
    async def adds(items: Any) -> int:
        items.append(len(items))
        return len(items)

    assert explore(create(Node(adds)), [[0], [0, 1]], lambda lengths: lengths == [2, 3], runs=3) == 3


def test_a_check_may_be_async_and_a_list_is_sent_at_once():
    async def check(outputs: list[int]) -> None:
        await asyncio.sleep(100)
        assert outputs == [1, 2]

    assert explore(create(same), [1, 2], check, runs=3) == 3


def test_every_order_of_two_steps_comes_up_and_callbacks_keep_theirs():
    async def main() -> str:
        order: list[str] = []

        async def step(name: str) -> None:
            order.append(name)

        loop = asyncio.get_running_loop()
        loop.call_soon(order.append, "1")
        tasks = [asyncio.ensure_future(step("a"))]
        loop.call_soon(order.append, "2")
        tasks.append(asyncio.ensure_future(step("b")))
        await asyncio.gather(*tasks)
        return "".join(order)

    def run(seed: int | None) -> str:
        with asyncio.Runner(loop_factory=lambda: ShufflingLoop(seed)) as runner:
            return runner.run(main())

    assert run(None) == "1a2b"
    assert {run(seed) for seed in range(20)} == {"1a2b", "1b2a"}
    assert [run(seed) for seed in range(5)] == [run(seed) for seed in range(5)]


# --- what it refuses ------------------------------------------------------------------------------


async def test_it_needs_loops_of_its_own():
    with pytest.raises(RuntimeError, match="explore makes an event loop of its own, and one is running here"):
        explore(create(same), 1)


@pytest.mark.parametrize(
    ("options", "kind", "text"),
    [
        ({"message": 1, "runs": 0}, ValueError, "runs is a whole number from 1 on, not 0"),
        ({}, TypeError, "give message= and check=, or scenario="),
        ({"flow": same, "message": 1}, TypeError, "give the flow, or a function that makes one, not <Node same>"),
        ({"flow": lambda: 5, "message": 1}, TypeError, "give the flow, or a function that makes one: it made 5"),
        ({"message": 1, "scenario": one_after_the_other}, TypeError, "give message= and check=, or scenario="),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, Any], kind: type[Exception], text: str):
    with pytest.raises(kind, match=text):
        explore(**{"flow": create(same), **options})
