"""`flow.load()`: what runs and what waits, node by node, at the moment it is asked."""

from __future__ import annotations

import asyncio

import pytest

from penguiflow import FlowStateError, Message, Node, NodeLoad, NodePolicy, create, join_k, subflow
from tests.utils.flowtestkit import quiet, virtual_time


def gated(name: str, gate: asyncio.Event, policy: NodePolicy | None = None) -> Node:
    """A node that waits for `gate`."""

    async def held(x: int) -> int:
        await gate.wait()
        return x

    return Node(held, name, policy)


async def same(x: int) -> int:
    return x


@virtual_time
async def test_it_tells_what_runs_and_how_many_traces_are_in_flight():
    gate = asyncio.Event()
    async with create(gated("slow", gate), name="f") as flow:
        assert (flow.load().traces, flow.load().nodes) == (0, {})
        asks = [asyncio.ensure_future(flow.ask(x)) for x in range(3)]
        await quiet()
        assert (flow.load().traces, flow.load().nodes) == (3, {"f/slow": NodeLoad(3, 0)})
        gate.set()
        await asyncio.gather(*asks)
        assert (flow.load().traces, flow.load().nodes) == (0, {})


@virtual_time
async def test_messages_on_a_floe_and_before_a_full_one_wait_for_their_node():
    gate = asyncio.Event()

    async def five(x: int):
        for item in range(5):
            yield item

    flow = create(Node(five, "five").to(slow := gated("slow", gate)), slow, name="f", queue_maxsize=2)
    async with flow:
        handle = flow.start(0)
        await quiet()
        assert flow.load().nodes == {"f/five": NodeLoad(1, 0), "f/slow": NodeLoad(1, 3)}
        gate.set()
        assert len(await handle.results()) == 5


@virtual_time
async def test_runs_beyond_max_concurrency_wait():
    gate = asyncio.Event()
    async with create(gated("slow", gate, NodePolicy(max_concurrency=2)), name="f") as flow:
        asks = [asyncio.ensure_future(flow.ask(x)) for x in range(5)]
        await quiet()
        assert flow.load().nodes == {"f/slow": NodeLoad(2, 3)}
        gate.set()
        await asyncio.gather(*asks)


@virtual_time
async def test_what_a_join_holds_waits_for_it():
    gate = asyncio.Event()
    first, slow, both = Node(same, "first"), gated("slow", gate), join_k("both", 2)
    async with create(first.to(both), slow.to(both), name="f") as flow:
        asked = asyncio.ensure_future(flow.ask(1))
        await quiet()
        assert flow.load().nodes == {"f/slow": NodeLoad(1, 0), "f/both": NodeLoad(0, 1)}
        gate.set()
        await asked


@virtual_time
async def test_subflows_and_playbooks_are_told_by_their_own_ids():
    gate = asyncio.Event()

    async def calls(x: int, ctx) -> int:
        return await ctx.call_playbook(lambda: create(gated("deep", gate), name="book"), x)

    inner = create(Node(calls, "calls"), name="inner")
    async with create(subflow("part", inner), name="f") as flow:
        asks = [asyncio.ensure_future(flow.ask(x)) for x in range(2)]
        await quiet()
        assert flow.load().nodes == {
            "f/part": NodeLoad(2, 0),
            "f/part/inner/calls": NodeLoad(2, 0),
            "f/part/inner/calls/book/deep": NodeLoad(2, 0),
        }
        gate.set()
        await asyncio.gather(*asks)


@virtual_time
async def test_what_waits_to_enter_and_what_nobody_fetches_is_told():
    gate = asyncio.Event()
    async with create(gated("slow", gate), name="f", max_traces=1) as flow:
        asks = [asyncio.ensure_future(flow.ask(x)) for x in range(3)]
        await quiet()
        assert (flow.load().traces, flow.load().entering) == (1, 2)
        gate.set()
        await asyncio.gather(*asks)
        await flow.emit(Message(payload=1))
        await quiet()
        assert (flow.load().entering, flow.load().unfetched) == (0, 1)


@virtual_time
async def test_a_trace_that_has_not_taken_its_first_step_waits():
    async with create(Node(same, "same"), name="f") as flow:
        handle = flow.start(1)
        assert flow.load().nodes == {"f/same": NodeLoad(0, 1)}
        await handle.result()


@virtual_time
async def test_a_flow_that_does_not_run_has_no_load():
    with pytest.raises(FlowStateError, match="is not running"):
        create(Node(same, "same")).load()
