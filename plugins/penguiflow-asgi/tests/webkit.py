"""A real server in the test's own loop, and the flows that tests serve."""

from __future__ import annotations

import asyncio
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx
import uvicorn
from pydantic import BaseModel, Field

from penguiflow import Context, FlowError, Message, create, node
from penguiflow_asgi.serving import Server


class Ask(BaseModel):
    """What tests ask: texts to stream, and how it shall go on."""

    words: list[str] = Field(default_factory=list)
    forever: bool = False
    fail: str | None = None
    code: str | None = None
    restart: bool = False
    outputs: int = 1


class Answer(BaseModel):
    text: str
    tenant: str = ""
    traceparent: str | None = None


class Watch:
    """What the node saw: who runs, how many chunks were taken, how many were cancelled."""

    def __init__(self) -> None:
        self.running: int = 0
        self.cancelled: int = 0
        self.chunks: int = 0
        self.trace_ids: list[str] = []
        self.started = asyncio.Event()


def speaking(watch: Watch | None = None, **options: Any):
    """A flow of one node that does what it is asked."""
    seen = watch or Watch()

    @node(max_retries=1, backoff_base=0.001, retry_on=(ConnectionError,))
    async def speak(message: Message[Ask], ctx: Context) -> Any:
        ask = message.payload
        seen.running += 1
        seen.trace_ids.append(ctx.trace_id)
        try:
            return await spoken(ask, message, ctx)
        except asyncio.CancelledError:
            seen.cancelled += 1
            raise
        finally:
            seen.running -= 1

    async def spoken(ask: Ask, message: Message[Ask], ctx: Context) -> Any:
        seen.started.set()
        for word in ask.words:
            await ctx.emit_chunk(word)
            seen.chunks += 1
        if ask.restart and ctx.attempt == 0:
            raise ConnectionError("once more")
        if ask.forever:
            await asyncio.Event().wait()
        if ask.code is not None:
            raise FlowError(code=ask.code, message="not today")
        if ask.fail is not None:
            raise LookupError(ask.fail)
        for _ in range(ask.outputs - 1):
            await ctx.emit(Answer(text="another"))
        if ask.outputs == 0:
            return None
        return Answer(
            text="".join(ask.words),
            tenant=message.headers.tenant,
            traceparent=ctx.meta.get("traceparent"),
        )

    return create(speak, name="speaking", **options)


@asynccontextmanager
async def serving(app: Any, drains: bool = False, **options: Any) -> AsyncIterator[str]:
    """Serve an app on a free port, by uvicorn itself or by ours that drains; its address."""
    config = uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=2, **options)
    server = Server(config, [app]) if drains else uvicorn.Server(config)
    # asyncio sends small answers at once only where the protocol is named: without, each waits for 40 ms.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen(2048)
    task = asyncio.create_task(server.serve([listener]))
    try:
        while not server.started:
            if task.done():
                await task
            await asyncio.sleep(0.005)
        async with asyncio.timeout(60):  # a test that hangs says where
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await task
        listener.close()


@asynccontextmanager
async def client(url: str, token: str | None = None) -> AsyncIterator[httpx.AsyncClient]:
    """A client that isn't limited itself."""
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=url, headers=headers, limits=limits, timeout=30, trust_env=False) as made:
        yield made


@asynccontextmanager
async def in_a_process(command: Callable[[int], Sequence[str]], **options: Any) -> AsyncIterator[tuple[int, Process]]:
    """A server that `python` with these arguments is, for a free port, once it listens there; it says nothing wrong."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = await asyncio.create_subprocess_exec(sys.executable, *command(port), stderr=PIPE, **options)
    assert process.stderr is not None
    try:
        async with asyncio.timeout(30):
            while True:
                try:
                    (await asyncio.open_connection("127.0.0.1", port))[1].close()
                    break
                except OSError:
                    await asyncio.sleep(0.05)
        yield port, process
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        said = await process.stderr.read()
        await process.wait()
    assert said == b""


async def until(condition: Any, seconds: float = 5.0) -> None:
    """Wait for a state of the service that nothing announces."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.002)
