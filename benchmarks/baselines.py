"""The sides that ours is compared with: bare code, and a pipeline of workers with an `asyncio.Queue` for each edge.

Rules: each is what a careful person writes by hand for this one job. The pipelines are bounded, keep each answer with
its request by a future, and survive an exception and an asker who is gone; they have no time limits, retries or joins.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

from benchmarks.work import BODIES, STEPS, WAITING, first, nap, second, split, think, third, total
from penguiflow import WM

Ask = Callable[[Any], Awaitable[Any]]
Job = tuple[Any, asyncio.Future[Any]]
Jobs = asyncio.Queue[Job]


# --- bare code --------------------------------------------------------------------------------------


@asynccontextmanager
async def bare_chain() -> AsyncIterator[Ask]:
    async def ask(item: Any) -> Any:
        return await third(await second(await first(item)))

    yield ask


@asynccontextmanager
async def bare_loop() -> AsyncIterator[Ask]:
    async def ask(memory: Any) -> Any:
        while isinstance(memory, WM):
            memory = await think(memory)
        return memory

    yield ask


@asynccontextmanager
async def bare_fan_out() -> AsyncIterator[Ask]:
    async def ask(number: Any) -> Any:
        number = await split(number)
        return await total(list(await asyncio.gather(*(body(number) for body in BODIES))))

    yield ask


@asynccontextmanager
async def bare_stream() -> AsyncIterator[Ask]:
    async def pour(words: Iterable[str]) -> AsyncIterator[str]:
        for word in words:
            yield word

    async def ask(words: Any) -> list[str]:
        return [word async for word in pour(words)]

    yield ask


@asynccontextmanager
async def bare_nap() -> AsyncIterator[Ask]:
    yield nap


# --- a queue for each edge --------------------------------------------------------------------------


@asynccontextmanager
async def queued_chain() -> AsyncIterator[Ask]:
    inboxes: list[Jobs] = [asyncio.Queue(WAITING) for _ in STEPS]
    outboxes = [*inboxes[1:], None]
    stages = zip(STEPS, inboxes, outboxes, strict=True)
    workers = [asyncio.create_task(_work(step, inbox, outbox)) for step, inbox, outbox in stages]
    yield _asking(inboxes[0])
    await _end(workers)


async def _work(step: Ask, inbox: Jobs, outbox: Jobs | None) -> None:
    while True:
        item, answer = await inbox.get()
        try:
            item = await step(item)
        except Exception as error:
            if not answer.done():
                answer.set_exception(error)
            continue
        if outbox is not None:
            await outbox.put((item, answer))
        elif not answer.done():
            answer.set_result(item)


@asynccontextmanager
async def queued_loop() -> AsyncIterator[Ask]:
    inbox: Jobs = asyncio.Queue(WAITING)
    worker = asyncio.create_task(_think_on(inbox))
    yield _asking(inbox)
    await _end([worker])


async def _think_on(inbox: Jobs) -> None:
    while True:
        memory, answer = await inbox.get()
        try:
            thought = await think(memory)
        except Exception as error:
            if not answer.done():
                answer.set_exception(error)
            continue
        if isinstance(thought, WM):
            await inbox.put((thought, answer))
        elif not answer.done():
            answer.set_result(thought)


@asynccontextmanager
async def queued_stream() -> AsyncIterator[Ask]:
    async def pour(words: Iterable[str], outbox: asyncio.Queue[str | None]) -> None:
        for word in words:
            await outbox.put(word)
        await outbox.put(None)

    async def ask(words: Any) -> list[str]:
        inbox: asyncio.Queue[str | None] = asyncio.Queue(WAITING)
        writer = asyncio.create_task(pour(words, inbox))
        heard = []
        while (word := await inbox.get()) is not None:
            heard.append(word)
        await writer
        return heard

    yield ask


def _asking(inbox: Jobs) -> Ask:
    async def ask(item: Any) -> Any:
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        await inbox.put((item, answer))
        return await answer

    return ask


async def _end(workers: list[asyncio.Task[None]]) -> None:
    for worker in workers:
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)
