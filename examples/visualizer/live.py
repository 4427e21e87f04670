"""A flow to look at while it runs: `penguiflow-viz live live.py:bakery --input 3 --every 0.5`."""

import asyncio
import random

from penguiflow import Context, PenguiFlow, create, join_k, node


@node
async def knead(loaves: int) -> int:
    await asyncio.sleep(random.uniform(0.1, 0.4))
    return loaves


@node(max_concurrency=2, max_retries=2, backoff_base=0.2)
async def bake(loaves: int) -> str:
    """Two ovens, one of which is old."""
    await asyncio.sleep(random.uniform(0.5, 1.5))
    if random.random() < 0.2:
        raise RuntimeError("the oven went out")
    return f"{loaves} loaves"


@node
async def label(loaves: int, ctx: Context) -> str:
    for number in range(loaves):
        await asyncio.sleep(0.2)
        await ctx.emit_chunk(f"label {number}")
    return f"{loaves} labels"


@node
async def sell(parts: list[str]) -> str:
    await asyncio.sleep(0.1)
    return " with ".join(parts)


def bakery() -> PenguiFlow:
    done = join_k("done", 2)
    return create(knead.to(bake, label), bake.to(done), label.to(done), done.to(sell), name="bakery")
