"""A flow with one of everything: a fan-out, a retry, a join, a loop, and a subflow in which a node fails."""

from __future__ import annotations

import asyncio

from penguiflow import Context, PenguiFlow, create, join_k, node, subflow
from penguiflow_otel import Telemetry


@node
async def split(x: int) -> int:
    return x


@node(max_retries=1, backoff_base=0)
async def left(x: int, ctx: Context) -> int:
    if ctx.attempt == 0:
        raise ValueError("not yet")
    return x


@node
async def right(x: int) -> int:
    await asyncio.sleep(0.005)
    return x


@node(allow_cycle=True)
async def counts(numbers: list[int], ctx: Context) -> None:
    if len(numbers) < 4:
        await ctx.emit([*numbers, 0], to="counts")
    else:
        await ctx.emit(sum(numbers), to="sub")


@node
async def refuses(x: int) -> int:
    raise LookupError("nothing there")


def flow_of(plugin: Telemetry) -> PenguiFlow:
    """The flow, with this plugin."""
    join, sub = join_k("join", 2), subflow("sub", create(refuses, name="inner"))
    return create(
        split.to(left, right), left.to(join), right.to(join), join.to(counts), counts.to(counts, sub),
        name="zoo", plugins=[plugin],
    )  # fmt: skip


def check(lines: list[str]) -> None:
    """These are the spans of one of its traces, as a tree."""
    assert lines[:2] == ["invoke_workflow zoo", "  invoke_node split"]
    assert sorted(lines[2:4]) == ["  invoke_node left", "  invoke_node right"]
    assert lines[4:] == [
        "  invoke_node join",
        "  invoke_node counts",
        "  invoke_node counts",
        "  invoke_node counts",
        "  invoke_node sub",
        "    invoke_node refuses",
    ]


FAILED = {"invoke_workflow zoo", "invoke_node sub", "invoke_node refuses"}
