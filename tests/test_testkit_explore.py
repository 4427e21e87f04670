"""`explore`: races that the natural order hides are found within 200 orders, and again by their seed."""

from __future__ import annotations

import asyncio
import pickle
import random
from collections.abc import Callable
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
        ({"message": 1, "scenario": one_after_the_other}, TypeError, "give message= and check=, or scenario="),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, Any], kind: type[Exception], text: str):
    with pytest.raises(kind, match=text):
        explore(create(same), **options)
