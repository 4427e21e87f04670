"""Faults of the published 2.0 package that users met, each as the promise that is kept here instead.

The package's quickstart and habits are kept where they matter: a registry of payload models, nodes of `(message, ctx)`,
`run`, `emit` and `fetch`. Other files test each promise at length; this one is the list.
"""

from __future__ import annotations

import asyncio
import gc
import os
import pickle
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from penguiflow import (
    WM,
    Context,
    FinalAnswer,
    FlowError,
    FlowErrorCode,
    Headers,
    Message,
    ModelRegistry,
    Node,
    StreamChunk,
    TraceCancelled,
    create,
    format_sse_event,
    join_k,
    node,
    subflow,
)
from tests.utils.flowtestkit import clock, in_time, quiet
from tests.utils.nodes import nap, same, stuck
from tests.utils.sse import parse_sse


class Query(BaseModel):
    text: str


class Topic(BaseModel):
    name: str


# --- what goes in, and what comes out -------------------------------------------------------------


async def triage(message: Message, ctx: Context) -> Message:
    return message.model_copy(update={"payload": Topic(name=message.payload.text)})


async def pack(message: Message, ctx: Context) -> Message:
    return message.model_copy(update={"payload": f"[{message.payload.name}]"})


async def bare_triage(query: Query, ctx: Context) -> Topic:
    return Topic(name=query.text)


async def bare_pack(topic: Topic, ctx: Context) -> str:
    return f"[{topic.name}]"


@pytest.mark.parametrize("functions", [(triage, pack), (bare_triage, bare_pack)], ids=["messages", "payloads"])
@in_time
async def test_the_quickstart_answers(functions: Any):
    first, second = (Node(func, name=name) for func, name in zip(functions, ("triage", "pack"), strict=True))
    registry = ModelRegistry()
    registry.register("triage", Query, Topic)
    registry.register("pack", Topic, str)
    flow = create(first.to(second))
    flow.run(registry=registry)
    await flow.emit(Message(payload=Query(text="metrics"), headers=Headers(tenant="acme")))
    answer = await flow.fetch()
    assert (answer.payload if isinstance(answer, Message) else answer) == "[metrics]"
    await flow.stop()


@in_time
async def test_a_final_answer_ends_the_controller_at_once():
    runs: list[int] = []

    @node(allow_cycle=True)
    async def controller(memory: WM, ctx: Context) -> WM | FinalAnswer:
        runs.append(memory.hops)
        return FinalAnswer(text="done") if memory.hops == 2 else memory

    async with create(controller.to(controller)) as flow:
        await flow.emit(Message(payload=WM(query="q")))
        assert await flow.fetch() == FinalAnswer(text="done")
        await quiet()
    assert runs == [0, 1, 2]


@in_time
async def test_two_clients_do_not_swap_their_answers():
    async with create(nap.to(same)) as flow:
        slow, fast = asyncio.create_task(flow.ask(2.0)), asyncio.create_task(flow.ask(1.0))
        assert (await slow, await fast) == (2.0, 1.0)


@in_time
async def test_a_timed_out_fetch_steals_nothing():
    @node
    async def left(x: int) -> tuple[str, int]:
        return "left", x

    @node
    async def right(x: int) -> tuple[str, int]:
        return "right", x

    async with create(same.to(left, right)) as flow:
        for source in (None, left, [left, right]):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(flow.fetch_any(source), 1)
        for number in range(3):
            await flow.emit(number)
            found = [await asyncio.wait_for(flow.fetch_any(), 1) for _ in range(2)]
            assert sorted(found) == [("left", number), ("right", number)]


@in_time
async def test_a_bare_payload_keeps_its_trace_and_its_error_comes_out():
    @node
    async def fails(x: str, ctx: Context) -> None:
        raise ValueError(x)

    async with create(same.to(fails), emit_errors_to_rookery=True) as flow:
        trace_id = await flow.emit("bare")
        error = await flow.fetch()
        assert (error.trace_id, error.node_name, error.code) == (trace_id, "fails", FlowErrorCode.NODE_EXCEPTION)
        assert repr(error.original_exc) == "ValueError('bare')"


@pytest.mark.parametrize("shape", ["fan-out", "two entries"])
@in_time
async def test_branches_do_not_share_their_meta(shape: str):
    seen: dict[str, dict[str, Any]] = {}

    def branch(name: str) -> Node:
        async def run(message: Message, ctx: Context) -> Message:
            message.meta["by"] = name
            await asyncio.sleep(1)
            seen[name] = dict(message.meta)
            return message

        return Node(run, name=name)

    given = {"by": "nobody"}
    branches = branch("left"), branch("right")
    async with create(*([same.to(*branches)] if shape == "fan-out" else branches)) as flow:
        await flow.start(Message(payload=1, meta=given)).results()
    assert {name: meta["by"] for name, meta in seen.items()} == {"left": "left", "right": "right"}
    assert given == {"by": "nobody"}


# --- time and order -------------------------------------------------------------------------------


@in_time
async def test_fast_traces_do_not_wait_behind_a_slow_one():
    async with create(nap.to(same)) as flow:
        slow = flow.start(100.0)
        await quiet()
        begun = clock()
        assert await asyncio.gather(*(flow.ask(1.0) for _ in range(50))) == [1.0] * 50
        assert clock() - begun == pytest.approx(1.0)
        assert await slow.result() == 100.0


@in_time
async def test_a_deadline_preempts_a_running_node():
    async with create(stuck) as flow:
        begun = clock()
        with pytest.raises(FlowError) as caught:
            await flow.ask(Message(payload=1, deadline_s=time.time() + 5))
        assert caught.value.code == FlowErrorCode.DEADLINE_EXCEEDED
        assert clock() - begun == pytest.approx(5, abs=0.5)


@in_time
async def test_a_wiring_error_is_not_retried_and_makes_no_duplicates():
    runs, got = [], []

    async def keeps(x: int, ctx: Context) -> None:
        got.append(x)

    there, stranger = Node(keeps, name="there"), Node(keeps, name="stranger")

    @node(max_retries=3, backoff_base=0.01)
    async def miswired(x: int, ctx: Context) -> None:
        runs.append(ctx.attempt)
        await ctx.emit(x, to=there)
        await ctx.emit(x, to=stranger)

    async with create(miswired.to(there)) as flow:
        with pytest.raises(FlowError) as caught:
            await flow.ask(1)
        assert caught.value.code == FlowErrorCode.ROUTING
        await quiet()
    assert runs == [0]
    assert len(got) <= 1


# --- chunks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", ["line", "relay", "two writers"])
@in_time
async def test_emit_chunk_goes_on_while_somebody_drains(shape: str):
    async def talks(message: Message, ctx: Context) -> None:
        for number in range(30):
            await ctx.emit_chunk(str(number), parent=message)

    @node
    async def relays(message: Message, ctx: Context) -> None:
        await ctx.emit_chunk(message.payload.text, parent=message)

    first, second = Node(talks, name="first"), Node(talks, name="second")
    last = relays if shape == "relay" else same
    edges = [first.to(last), second.to(last)] if shape == "two writers" else [first.to(last)]
    async with create(*edges, queue_maxsize=1) as flow:
        await flow.emit(Message(payload="x"))
        found = [await flow.fetch() for _ in range(30 * len(edges))]
    assert sorted(int(chunk.text) for chunk in found) == sorted([*range(30)] * len(edges))


@in_time
async def test_two_nodes_on_one_stream_never_repeat_a_number():
    def talker(name: str) -> Node:
        async def talks(message: Message, ctx: Context) -> None:
            for _ in range(3):
                await ctx.emit_chunk(name, parent=message)

        return Node(talks, name=name)

    first, second = talker("first"), talker("second")
    got: list[StreamChunk] = []

    @node
    async def keeps(chunk: StreamChunk, ctx: Context) -> None:
        got.append(chunk)

    async with create(same.to(first, second), first.to(keeps), second.to(keeps)) as flow:
        assert await flow.ask(1) is None
    assert [chunk.seq for chunk in got] == list(range(6))
    assert {chunk.stream_id for chunk in got} == {got[0].stream_id}


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_newline_in_a_chunk_neither_breaks_its_event_nor_makes_another(end: str):
    text = end.join(["first", "data: second", "", "event: admin", "id: 9", "data: forged", "", ""])
    chunk = StreamChunk(stream_id=f"s{end}id: 7", seq=0, text=text)
    events, _ = parse_sse(format_sse_event(chunk) + format_sse_event(StreamChunk(stream_id="s", seq=1, text="next")))
    assert events == [
        {"event": "chunk", "data": "\n".join(text.split(end)), "id": "sid: 7:0"},
        {"event": "chunk", "data": "next", "id": "s:1"},
    ]


# --- cancelling and stopping ----------------------------------------------------------------------


@in_time
async def test_cancel_does_not_wait_out_the_back_off():
    @node(max_retries=1, backoff_base=1e5)
    async def picky(x: str, ctx: Context) -> str:
        if x == "bad":
            raise ValueError(x)
        return x

    async with create(picky) as flow:
        trace_id = await flow.emit("bad")
        await quiet()
        begun = clock()
        assert await flow.cancel(trace_id)
        await flow.emit("good")
        assert await flow.fetch() == "good"
        assert clock() == begun


@in_time
async def test_cancel_releases_a_waiting_fetch():
    async with create(stuck) as flow:
        trace_id = await flow.emit(1)
        fetching = asyncio.create_task(flow.fetch())
        await quiet()
        assert await flow.cancel(trace_id)
        with pytest.raises(TraceCancelled):
            await asyncio.wait_for(fetching, 1)


@in_time
async def test_cancel_loses_no_other_trace():
    async with create(same.to(nap), max_traces=100) as flow:
        ids = [await flow.emit(1.0 + place / 100) for place in range(60)]
        await asyncio.sleep(0.5)
        assert all(await asyncio.gather(*(flow.cancel(trace_id) for trace_id in ids[::2])))
        found = [await asyncio.wait_for(flow.fetch(), 10) for _ in ids[1::2]]
    assert found == [1.0 + place / 100 for place in range(1, 60, 2)]


@in_time
async def test_stop_finishes_what_was_accepted():
    async with create(nap.to(same)) as flow:
        for seconds in (1.0, 2.0, 3.0):
            await flow.emit(seconds)
    assert [await flow.fetch() for _ in range(3)] == [1.0, 2.0, 3.0]


# --- flows in flows -------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["subflow", "playbook", "broken factory"])
@in_time
async def test_an_error_inside_a_nested_flow_does_not_hang_the_parent(way: str):
    @node
    async def fails(x: int, ctx: Context) -> None:
        raise ValueError(x)

    def factory() -> Any:
        if way == "broken factory":
            raise ValueError(1)
        return create(fails)

    @node(name="parent")
    async def calls(message: Message, ctx: Context) -> Any:
        return await ctx.call_playbook(factory, message)

    parent = subflow("parent", create(fails)) if way == "subflow" else calls
    async with create(parent) as flow:
        begun = clock()
        with pytest.raises(FlowError) as caught:
            await flow.ask(1)
        assert clock() == begun
    assert repr(caught.value.original_exc) == "ValueError(1)"


# --- what stays, and what is seen -----------------------------------------------------------------


@in_time
async def test_joins_keep_nothing_of_a_trace_that_ended():
    class Load:
        pass

    async with create(same.to(join_k("both", 2))) as flow:
        kept = []
        for ending in ("starved", "cancelled", "expired"):
            load = Load()
            kept.append(weakref.ref(load))
            if ending == "starved":
                with pytest.raises(FlowError, match="1 of 2"):
                    await flow.ask(load)
            else:
                deadline = time.time() + 5 if ending == "expired" else None
                trace_id = await flow.emit(Message(payload=load, deadline_s=deadline))
                await quiet()
                await (flow.cancel(trace_id) if ending == "cancelled" else asyncio.sleep(10))
            del load
        gc.collect()
        assert [ref() for ref in kept] == [None] * 3


DIAGRAM = """
from penguiflow import *
def named(name):
    async def run(x): ...
    return Node(run, name=name)
first, last, both = named("first"), named("last"), join_k("both", 5)
branches = [named(name) for name in ("zebra", "yak", "auk", "penguin", "emu")]
flow = create(first.to(*branches), *(branch.to(both) for branch in branches), both.to(last))
print(flow.graph)
"""


def test_the_source_of_diagrams_is_the_same_in_every_process():
    def printed(seed: str) -> str:
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parents[1])}
        command = [sys.executable, "-W", "error", "-c", DIAGRAM]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60).stdout

    assert printed("0").count("Edge(") == 11
    assert {printed(seed) for seed in ("1", "2", "random")} == {printed("0")}


def test_a_flow_error_can_be_pickled_whatever_is_behind_it():
    class Unpicklable(Exception):
        def __init__(self) -> None:
            super().__init__("broke")
            self.lock = threading.Lock()

    for cause in (ValueError("no"), Unpicklable(), None):
        error = FlowError(trace_id="t", node_name="n", code="NODE_EXCEPTION", message="no", original_exc=cause)
        twin = pickle.loads(pickle.dumps(error))
        assert (type(twin), str(twin), twin.code, twin.trace_id) == (FlowError, "no", "NODE_EXCEPTION", "t")
        assert str(cause or "") in str(twin.original_exc or "")
