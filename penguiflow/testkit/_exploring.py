"""`explore`: the same messages through a flow in many orders of its tasks' steps, until a claim breaks.

Rules: each run has a fresh loop in virtual time, and `random` starts from the run's seed, so that a seed fails the same
way again. The first run has the natural order: what fails there needs no luck. An error that a task dies of unseen
breaks a run as well.
"""

from __future__ import annotations

import asyncio
import inspect
import random
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

from penguiflow import Node, PenguiFlow
from penguiflow.testkit._clock import Clock
from penguiflow.testkit._recording import copied
from penguiflow.testkit._running import arun_many, refuse_running_loop
from penguiflow.testkit._shuffling import ShufflingLoop
from penguiflow.testkit._virtual import VirtualTime

Scenario: TypeAlias = Callable[[PenguiFlow], Awaitable[Any]]


class BrokenOrder(AssertionError):
    """A claim broke in some order of steps.

    Attributes:
        seed: The seed of that order; `None` if it is the natural one.
    """

    def __init__(self, text: str, seed: int | None) -> None:
        super().__init__(text)
        self.seed: int | None = seed

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (str(self), self.seed))


def explore(
    flow: PenguiFlow | Callable[[], PenguiFlow],
    message: Any = None,
    check: Callable[..., Any] | None = None,
    *,
    scenario: Scenario | None = None,
    runs: int = 200,
    seed: int = 0,
) -> int:
    """Look for races: run a flow in many orders of its tasks' steps, and see whether a claim holds in each.

    Args:
        flow: The flow, or a function that makes a new one for each run: what a node keeps for itself is fresh then.
        message: What is sent, in each run a copy of it; of a list, each item in a trace of its own, all at once.
        check: Called after each run with the output (of a list, with the outputs in the order of the messages). It
            asserts what shall hold, or returns `False`.
        scenario: An async function of the running flow, instead of `message` and `check`. It asserts by itself.
        runs: How many orders.
        seed: The first seed; they go up by one.

    Returns:
        How many runs there were, if no claim broke.

    Raises:
        BrokenOrder: a claim broke, the flow failed, or a task of the nodes' own died of an error. It
            names the seed: `explore(..., seed=17, runs=1)` breaks again.
        RuntimeError: an event loop is running: a test that explores isn't async.
        ValueError: `runs` is below 1.
    """
    __tracebackhide__ = True
    if runs < 1:
        raise ValueError(f"runs is a whole number from 1 on, not {runs!r}")
    if (scenario is None) == (check is None and message is None):
        raise TypeError("give message= and check=, or scenario=")
    refuse_running_loop("explore", "let the test be a plain function, or run explore in a thread")
    act = scenario or _sending(message, check)
    for number in range(runs + 1):
        chosen = None if number == 0 else seed + number - 1
        made = _made(flow)
        try:
            _run(made, act, chosen)
        except BaseException as exc:
            if not _is_failure(exc):
                raise
            raise _broken(exc, chosen, number, runs) from exc
    return runs


def _made(flow: PenguiFlow | Callable[[], PenguiFlow]) -> PenguiFlow:
    if isinstance(flow, PenguiFlow):
        return flow
    if isinstance(flow, Node) or not callable(flow):
        raise TypeError(f"give the flow, or a function that makes one, not {flow!r:.80}")
    made = flow()
    if not isinstance(made, PenguiFlow):
        raise TypeError(f"give the flow, or a function that makes one: it made {made!r:.80}")
    return made


def _sending(message: Any, check: Callable[..., Any] | None) -> Scenario:
    messages = message if isinstance(message, list) else [message]

    async def act(flow: PenguiFlow) -> None:
        outputs = await arun_many(flow, map(copied, messages))
        answer = None if check is None else check(outputs if isinstance(message, list) else outputs[0])
        if inspect.isawaitable(answer):
            answer = await answer
        if answer is False:
            raise AssertionError(f"the check returned False for {outputs!r:.500}")

    return act


def _run(flow: PenguiFlow, act: Scenario, seed: int | None) -> None:
    async def main() -> None:
        async with flow:
            await act(flow)

    lost: list[dict[str, Any]] = []
    with VirtualTime() as clock, _seeded(seed), asyncio.Runner(loop_factory=_factory(seed, clock, lost)) as runner:
        runner.run(main())
    if lost:
        error = lost[0].get("exception")
        raise AssertionError(f"{lost[0]['message']}{'' if error is None else f': {error!r}'}") from error


def _factory(seed: int | None, clock: Clock, lost: list[dict[str, Any]]) -> Callable[[], asyncio.AbstractEventLoop]:
    def made() -> asyncio.AbstractEventLoop:
        loop = ShufflingLoop(seed, clock)
        loop.set_exception_handler(lambda _, context: lost.append(context))
        return loop

    return made


def _is_failure(exc: BaseException) -> bool:
    """Whether it is for who explores: an error, or what pytest.fail and pytest.raises raise, not a skip or Ctrl-C."""
    if isinstance(exc, BaseExceptionGroup):
        return all(map(_is_failure, exc.exceptions))
    pytest: Any = sys.modules.get("pytest")
    return isinstance(exc, Exception) or (pytest is not None and isinstance(exc, pytest.fail.Exception))


@contextmanager
def _seeded(seed: int | None) -> Iterator[None]:
    before = random.getstate()
    random.seed(seed or 0)
    try:
        yield
    finally:
        random.setstate(before)


def _broken(exc: BaseException, seed: int | None, number: int, runs: int) -> BrokenOrder:
    what = f"{type(exc).__name__}: {exc}" if str(exc) else type(exc).__name__
    if seed is None:
        text = f"it breaks in the natural order already: {what}"
    else:
        text = (
            f"seed {seed} breaks (order {number} of {runs}): {what}\nthe same again: explore(..., seed={seed}, runs=1)"
        )
    return BrokenOrder("\n".join([text, *getattr(exc, "__notes__", ())]), seed)
