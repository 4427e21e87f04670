"""The work that every side does: payloads, node bodies, and how answers are checked.

Rules: the bodies do next to nothing, so that a figure is about what carries the messages. All sides run the same bodies
on the same payloads, made before the clock starts. An answer tells which request it is of and which bodies it went
through; one that tells something else makes the whole figure void.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from pydantic import BaseModel

from penguiflow import WM, FinalAnswer

BRANCHES = 8
HOPS = 50
CHUNKS = 10_000
NAP_S = 0.01
WAITING = 64  # how many items a queue holds, on every side


class Item(BaseModel):
    """A request: its number, and the bodies that it went through."""

    n: int
    path: list[str] = []


class WrongAnswer(Exception):
    """A side did not do the work: its figure is void."""


# --- bodies -----------------------------------------------------------------------------------------


async def first(item: Item) -> Item:
    item.path.append("first")
    return item


async def second(item: Item) -> Item:
    item.path.append("second")
    return item


async def third(item: Item) -> Item:
    item.path.append("third")
    return item


STEPS = (first, second, third)


async def nap(item: Item) -> Item:
    await asyncio.sleep(NAP_S)
    item.path.append("nap")
    return item


async def think(memory: WM) -> WM | FinalAnswer:
    facts = memory.facts
    facts.append("a fact")
    return memory if len(facts) < HOPS else FinalAnswer(text=memory.query)


async def split(number: int) -> int:
    return number


def branch_body(place: int) -> Callable[[int], Any]:
    """One of the bodies of the fan-out: each adds something of its own."""

    async def branch(number: int) -> int:
        return number + place

    return branch


BODIES = tuple(branch_body(place) for place in range(BRANCHES))


async def total(parts: list[int]) -> int:
    return sum(parts)


# --- requests and their answers ---------------------------------------------------------------------

Problem = str | None  # what is wrong with the answers; nothing if they are right


def items(count: int) -> list[Item]:
    return [Item(n=n, path=[]) for n in range(count)]


def memories(count: int) -> list[WM]:
    return [WM(query=str(n), budget_hops=None) for n in range(count)]


def numbers(count: int) -> list[int]:
    return list(range(count))


def streams(count: int) -> list[list[str]]:
    """What each stream is to say, in its own words."""
    return [[f"{n}:{i} " for i in range(CHUNKS)] for n in range(count)]


def went(*path: str) -> Callable[[Sequence[Any]], Problem]:
    """A check that each item came back as its own answer, and went through these bodies."""

    def check(answers: Sequence[Any]) -> Problem:
        return _differing(
            answers, lambda n, answer: isinstance(answer, Item) and (answer.n, answer.path) == (n, [*path])
        )

    return check


def final_answers(answers: Sequence[Any]) -> Problem:
    return _differing(answers, lambda n, answer: isinstance(answer, FinalAnswer) and answer.text == str(n))


def totals(answers: Sequence[Any]) -> Problem:
    return _differing(answers, lambda n, answer: answer == BRANCHES * n + sum(range(BRANCHES)))


def texts(answers: Sequence[Any]) -> Problem:
    wanted = streams(len(answers))
    return _differing(answers, lambda n, answer: answer == wanted[n])


def _differing(answers: Sequence[Any], right: Callable[[int, Any], bool]) -> Problem:
    wrong = [n for n, answer in enumerate(answers) if not right(n, answer)]
    return f"{len(wrong)} of {len(answers)}, first {wrong[0]}: {answers[wrong[0]]!r:.100}" if wrong else None
