"""`flow.watch`: somebody looks at a flow that runs already, and leaves again."""

from __future__ import annotations

import asyncio
import logging

import pytest

from penguiflow import FlowEvent, FlowStateError, Node, create
from tests.utils.flowtestkit import quiet, virtual_time


async def same(x: int) -> int:
    return x


def plain(**options):
    return create(Node(same, "same"), name="f", **options)


@virtual_time
async def test_a_watcher_sees_the_events_of_its_block_and_no_others():
    seen: list[str] = []
    async with plain() as flow:
        await flow.ask(1)
        with flow.watch(lambda event: seen.append(event.event_type)):
            await flow.ask(2)
        await flow.ask(3)
    assert seen == ["trace_start", "node_start", "node_success", "trace_finish"]


@virtual_time
async def test_a_watcher_gets_the_types_that_it_asks_for_beside_the_plugins():
    seen: list[tuple[str, str]] = []
    async with plain(on_event=lambda event: seen.append(("plugin", event.event_type))) as flow:
        with flow.watch(lambda event: seen.append(("watcher", event.event_type)), ("node_start",)):
            await flow.ask(1)
    assert [kind for who, kind in seen if who == "watcher"] == ["node_start"]
    assert [kind for who, kind in seen if who == "plugin"][1:5] == [
        "trace_start",
        "node_start",
        "node_success",
        "trace_finish",
    ]


@virtual_time
async def test_a_run_that_began_unseen_ends_unseen_and_its_trace_in_sight():
    gate, seen = asyncio.Event(), []

    async def slow(x: int) -> int:
        await gate.wait()
        return x

    async with create(Node(slow, "slow").to(after := Node(same, "after")), after, name="f") as flow:
        asked = asyncio.ensure_future(flow.ask(1))
        await quiet()
        with flow.watch(lambda event: seen.append((event.event_type, event.node_name))):
            gate.set()
            assert await asked == 1
    assert [kind for kind, name in seen if name == "slow"] == []
    assert [kind for kind, name in seen if name == "after"] == ["node_start", "node_success"]
    assert seen[-1] == ("trace_finish", None)


@virtual_time
async def test_a_watcher_that_leaves_in_the_middle_leaves_no_trace_behind():
    gate, seen = asyncio.Event(), []

    async def slow(x: int) -> int:
        await gate.wait()
        return x

    async with create(Node(slow, "slow"), name="f") as flow:
        with flow.watch(lambda event: seen.append(event.event_type)):
            asked = asyncio.ensure_future(flow.ask(1))
            await quiet()
        gate.set()
        assert await asked == 1
    assert seen == ["trace_start", "node_start"]


@virtual_time
async def test_a_watcher_that_raises_harms_nobody(caplog: pytest.LogCaptureFixture):
    def broken(event: FlowEvent) -> None:
        raise RuntimeError("no")

    async with plain() as flow:
        with flow.watch(broken), caplog.at_level(logging.CRITICAL, "penguiflow"):
            assert [await flow.ask(x) for x in range(20)] == list(range(20))


@virtual_time
async def test_a_wrong_watcher_is_refused_with_the_reason():
    async def late(event: FlowEvent) -> None:
        raise AssertionError("never called")

    async with plain() as flow:
        with pytest.raises(TypeError, match="async"), flow.watch(late):
            pass
        with pytest.raises(TypeError, match="'node_begin'"), flow.watch(print, ("node_begin",)):
            pass
    with pytest.raises(FlowStateError, match="is not running"), plain().watch(print):
        pass
