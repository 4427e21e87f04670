"""Law 12, context variables: a node's reach its successors through the trace, and never the asker."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import Any

import pytest

from penguiflow import Context, Node, NodePolicy, create, node
from tests.utils.flowtestkit import virtual_time

who: ContextVar[str] = ContextVar("who", default="nobody")


@node
async def same(x: str) -> str:
    return x


@node
async def sets(x: str) -> str:
    who.set(f"node {x}")
    return x


@node
async def looks(x: str) -> str:
    return who.get()


@pytest.mark.parametrize("way", ["ask", "start", "stream", "emit"])
@virtual_time
async def test_a_nodes_variables_reach_its_successors_and_never_the_asker(way: str):
    async with create(sets.to(looks)) as flow:
        who.set("asker")
        if way == "ask":
            got = await flow.ask("a")
        elif way == "start":
            got = await flow.start("a").result()
        elif way == "stream":
            async with flow.stream("a") as stream:
                assert [chunk async for chunk in stream] == []
                got = stream.result
        else:
            await flow.emit("a")
            got = await flow.fetch()
        assert (got, who.get()) == ("node a", "asker")
        async with create(looks) as other:
            assert await other.ask("b") == "asker"


@virtual_time
async def test_a_nodes_variables_reach_no_other_branch_and_no_nested_flow_reaches_its_caller():
    async def nested(x: str, ctx: Context) -> str:
        who.set("caller")
        assert await ctx.call_playbook(create(sets.to(looks)), x) == "node a"
        return who.get()

    async def slow(x: str) -> str:
        await asyncio.sleep(1)
        return who.get()

    async with create(same.to(sets, Node(slow), Node(nested))) as flow:
        assert await flow.start("a").results() == ["a", "caller", "nobody"]


@pytest.mark.parametrize("limit", [{"max_concurrency": 1}, {"per_trace_concurrency": 1}], ids=str)
@virtual_time
async def test_what_waits_for_a_place_keeps_its_own_variables(limit: dict[str, Any]):
    async def busy(x: str, ctx: Context) -> str:
        await asyncio.sleep(1)
        before = who.get()
        who.set("whoever ran before")
        return f"{x}: {before}"

    async def fan(x: str, ctx: Context) -> None:
        for name in "bcd":
            who.set(f"{x}{name}")
            await ctx.emit(f"{x}{name}")

    async with create(Node(fan).to(Node(busy, policy=NodePolicy(**limit)))) as flow:
        results = await asyncio.gather(*(flow.start(x).results() for x in "xy"))
    assert [text for result in results for text in result] == [f"{x}{b}: {x}{b}" for x in "xy" for b in "bcd"]
