"""Nodes that many tests need: quick, slow, stuck, failing, generous."""

from __future__ import annotations

import asyncio
from typing import Any

from penguiflow import Context, node


async def forever(x: Any = None) -> None:
    await asyncio.Event().wait()


@node
async def same(x: Any) -> Any:
    return x


@node
async def stuck(x: Any) -> None:
    await forever()


@node
async def nap(seconds: float) -> float:
    await asyncio.sleep(seconds)
    return seconds


@node(max_retries=1, backoff_base=1e5)
async def backs_off(x: Any) -> None:
    raise ValueError(x)


@node
async def pours(x: Any, ctx: Context) -> None:
    for i in range(9):
        await ctx.emit(i)
