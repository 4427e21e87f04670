"""Corners where two promises meet."""

from __future__ import annotations

import asyncio
import gc
import logging
import weakref
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Annotated, Any, Protocol, TypedDict

import pytest
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from penguiflow import (
    CycleError,
    Emit,
    FlowError,
    FlowErrorCode,
    FlowEvent,
    Message,
    Node,
    NodePolicy,
    Replace,
    Retry,
    TraceCancelled,
    create,
    hookimpl,
    node,
    predicate_router,
    subflow,
)
from tests.utils.flowtestkit import Recorder, clock, quiet, virtual_time


class Query(BaseModel):
    text: str


class Decides:
    """Answers every error with the same decision."""

    def __init__(self, decision: Any) -> None:
        self.decision = decision
        self.asked = 0

    @hookimpl
    async def on_error(self, error: FlowError) -> Any:
        self.asked += 1
        return await self.decision() if callable(self.decision) else self.decision


@node
async def same(x: Any) -> Any:
    return x


@node
async def fails(x: Any) -> Any:
    raise ValueError(x)


async def forever(x: Any = None) -> Any:
    await asyncio.Event().wait()


# --- routing ----------------------------------------------------------------------------------------------------------


@virtual_time
async def test_a_router_that_cannot_decide_sends_nothing_whatever_a_plugin_replaces():
    def breaks(message: Message[Any]) -> str:
        raise KeyError("no rule")

    seen = Recorder()
    choose = predicate_router("choose", breaks)
    left, right = Node(same.func, name="left"), Node(same.func, name="right")
    async with create(choose.to(left, right), plugins=[Decides(Replace("spare"))], on_event=seen) as flow:
        with pytest.raises(FlowError) as caught:
            await flow.ask("x")
    assert caught.value.code == FlowErrorCode.ROUTING
    assert seen.runs() == ["choose"]


def test_an_async_predicate_is_refused():
    with pytest.raises(TypeError, match="the predicate is a plain function"):
        predicate_router("choose", forever)


def test_a_cycle_is_shown_as_it_runs():
    a, b, c = (Node(same.func, name=name) for name in "abc")
    with pytest.raises(CycleError, match="'a' -> 'c' -> 'b' -> 'a'"):
        create(a.to(c), c.to(b), b.to(a), Node(same.func, name="d").to(a))


# --- what a node is given ---------------------------------------------------------------------------------------------


@virtual_time
async def test_an_observer_that_reads_the_message_changes_nothing():
    got: list[Any] = []

    @node
    async def gives(x: int) -> dict[str, str]:
        return {"text": "hi"}

    @node
    async def takes(message: Message[Query]) -> None:
        got.append((type(message.payload), isinstance(message, Message[Query])))

    def read(event: FlowEvent) -> None:
        assert event.message is None or event.message.trace_id == event.trace_id

    async with create(gives.to(takes), on_event=read) as flow:
        await flow.ask(1)
    assert got == [(Query, True)]


class Options(TypedDict):
    text: str


class Speaks(Protocol):
    text: str


@pytest.mark.parametrize("wanted", [Options, Speaks, Annotated[Query, BeforeValidator(lambda text: Query(text=text))]])
@virtual_time
async def test_structural_and_validating_annotations_are_never_called_disjoint(wanted: Any):
    async def gives(x: Any):
        return x

    async def takes(x: Any):
        return x

    gives.__annotations__["return"] = dict if wanted is Options else str
    takes.__annotations__["x"] = wanted
    create(Node(gives).to(Node(takes)))


@pytest.mark.parametrize("optional", [False, True])
@virtual_time
async def test_a_union_of_messages_is_given_the_envelope(optional: bool):
    async def takes(message: Any) -> str:
        return f"{type(message.payload).__name__} {message.headers.tenant}"

    takes.__annotations__["message"] = Message[Query] | None if optional else Message[Query] | Message[int]
    async with create(Node(takes)) as flow:
        assert await flow.ask(Query(text="x")) == "Query default"
        if not optional:
            assert await flow.ask(3) == "int default"


@virtual_time
async def test_a_union_of_message_and_payload_checks_both():
    got: list[str] = []

    @node
    async def takes(x: Message[Query] | Annotated[int, Field(gt=3)]) -> None:
        got.append(type(x.payload if isinstance(x, Message) else x).__name__)

    async with create(takes) as flow:
        for fits in (Message(payload=Query(text="x")), Query(text="x"), 5):
            await flow.ask(fits)
        for unfit in (Message(payload="junk"), 1, "junk"):
            with pytest.raises(FlowError) as caught:
                await flow.ask(unfit)
            assert caught.value.code == FlowErrorCode.VALIDATION
    assert got == ["Query", "Query", "int"]


@virtual_time
async def test_fields_that_a_message_kind_allows_survive_a_node():
    class Open(Message[int]):
        model_config = ConfigDict(extra="allow")

    async with create(same.to(Node(same.func, name="next"))) as flow:
        out = await flow.ask(Open(payload=1, stamp="seal"))  # type: ignore[call-arg]
    assert out.stamp == "seal"


def test_a_method_of_no_object_is_no_node():
    class Service:
        async def run(self, query: str) -> str:
            return query

    with pytest.raises(TypeError, match=r"Node\(thing\.run\)"):
        Node(Service.run)
    assert Node(Service().run).name == "run"


@virtual_time
async def test_yielding_none_emits_nothing():
    @node
    async def some(x: int):
        yield None
        yield x

    async with create(some) as flow:
        assert await flow.start(1).results() == [1]


# --- attempts ---------------------------------------------------------------------------------------------------------


@virtual_time
async def test_more_retries_than_back_off_can_count_end_in_the_nodes_own_error():
    policy = NodePolicy(max_retries=1100, backoff_base=0)
    async with create(Node(fails.func, policy=policy)) as flow:
        with pytest.raises(FlowError) as caught:
            await flow.ask("x")
    assert isinstance(caught.value.original_exc, ValueError)
    assert caught.value.metadata["attempts"] == 1101


@pytest.mark.parametrize("after_s", [-1, None, float("nan")])
def test_a_retry_waits_a_number_of_seconds(after_s: Any):
    with pytest.raises(ValueError, match=r"Retry\(after_s"):
        Retry(after_s=after_s)


@virtual_time
async def test_what_a_plugin_puts_in_place_is_checked_like_the_nodes_own_output(caplog):
    @node
    async def counts(x: str) -> int:
        raise ValueError(x)

    recorder = Recorder()
    async with create(counts, plugins=[Decides(Replace("no number"))], on_event=recorder) as flow:
        with pytest.raises(FlowError) as caught:
            await flow.ask("x")
    assert isinstance(caught.value.original_exc, ValueError), "the node's own failure stays what is told"
    (event,) = recorder.of("plugin_error")
    assert (event.error.code, event.extra["hook"]) == (FlowErrorCode.VALIDATION, "on_error")
    assert "node 'counts' was replaced by str, which isn't what it promises" in caplog.text
    async with create(counts, plugins=[Decides(Replace("no number")), Decides(Replace("7"))]) as flow:
        assert await flow.ask("x") == 7, "the next one is asked, and what it puts in place is converted as ever"


@virtual_time
async def test_a_plugin_whose_own_wait_is_cancelled_is_passed_over():
    async def stray() -> Any:
        task = asyncio.ensure_future(forever())
        task.cancel()
        await task

    async with create(fails, plugins=[Decides(stray)]) as flow:
        with pytest.raises(FlowError) as caught:
            await flow.ask("x")
    assert isinstance(caught.value.original_exc, ValueError)


@virtual_time
async def test_a_plugin_that_never_decides_is_no_longer_asked():
    plugin = Decides(forever)
    async with create(fails, plugins=[plugin]) as flow:
        for _ in range(12):
            with pytest.raises(FlowError):
                await flow.ask("x")
        assert plugin.asked == 10
        assert clock() == pytest.approx(1100)


@virtual_time
async def test_an_error_inside_a_nested_flow_does_not_stop_the_outer_retries():
    tries: list[int] = []

    @node
    async def takes(number: int) -> int:
        return number

    @node(max_retries=2, backoff_base=0)
    async def calls(x: str, ctx: Any) -> Any:
        tries.append(ctx.attempt)
        return await ctx.call_playbook(create(takes), "no number")

    async with create(calls) as flow:
        with pytest.raises(FlowError):
            await flow.ask("x")
    assert tries == [0, 1, 2]


# --- nested flows -----------------------------------------------------------------------------------------------------


@virtual_time
async def test_what_a_nested_flow_cleans_up_ends_before_its_caller_goes_on():
    order: list[str] = []

    @node
    async def inner(x: Any) -> Any:
        try:
            await forever()
        finally:
            await asyncio.sleep(0.05)
            order.append("inner")

    @node
    async def outer(x: Any, ctx: Any) -> Any:
        try:
            return await ctx.call_playbook(create(inner), x)
        finally:
            order.append("outer")

    seen = Recorder()
    async with create(outer, on_event=seen) as flow:
        handle = flow.start(1)
        await quiet()
        assert await handle.cancel()
        assert order == ["inner", "outer"]
        assert clock() == pytest.approx(1000.05)
    seen.assert_lawful()


@virtual_time
async def test_resources_of_a_subflow_inside_a_playbook_are_opened_and_closed():
    log: list[str] = []

    @asynccontextmanager
    async def opened():
        log.append("open")
        yield "db"
        log.append("closed")

    @node
    async def uses(x: Any, ctx: Any) -> Any:
        return ctx.resources

    playbook = create(subflow("sub", create(uses, resources=opened)))

    @node
    async def calls(x: Any, ctx: Any) -> Any:
        return await ctx.call_playbook(playbook, x)

    async with create(calls) as flow:
        assert await flow.ask(1) == "db"
        assert log == ["open", "closed"]


@virtual_time
async def test_an_error_that_a_plugin_wants_delivered_is_no_output_of_a_nested_flow():
    got: list[Any] = []

    @node
    async def after(x: Any) -> None:
        got.append(x)

    flow = create(subflow("sub", create(fails)).to(after), plugins=[Decides(Emit())])
    async with flow:
        with pytest.raises(FlowError):
            await flow.ask("x")
    assert got == []


@virtual_time
async def test_a_node_may_wait_for_a_trace_that_it_started_under_its_own_limit():
    @node(max_concurrency=1)
    async def deep(n: int) -> int:
        return await flow.start(n - 1).result() + 1 if n else 0

    async with create(deep) as flow:
        assert await flow.ask(3) == 3


# --- nothing grows, nothing is lost -----------------------------------------------------------------------------------


@virtual_time
async def test_traces_that_expire_before_a_full_rookery_leave_nothing_there():
    async with create(same, queue_maxsize=2) as flow:
        for i in range(20):
            await flow.emit(Message(payload=i, deadline_s=Message(payload=0).ts + 5))
        await asyncio.sleep(10)
        assert [await flow.fetch() for _ in range(2)]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await flow.fetch()


@node
async def calls_in_time(x: Any, ctx: Any) -> Any:
    return await ctx.call_playbook(INNER, x, timeout=1e5)


INNER = create(same)
WAYS = {"ask": same, "fail": fails, "emit": fails, "late": Node(forever), "nested": calls_in_time}


@pytest.mark.parametrize("way", WAYS)
@virtual_time
async def test_a_settled_trace_needs_no_garbage_collector(way: str):
    async with create(WAYS[way]) as flow:

        async def once() -> None:
            try:
                if way == "emit":
                    await flow.emit("x")
                    await quiet()
                else:
                    await flow.ask("x", timeout_s=1 if way == "late" else None)
            except FlowError:
                pass

        logging.getLogger("penguiflow").setLevel(logging.CRITICAL)
        try:
            await once()
            gc.collect()
            gc.disable()
            for _ in range(50):
                await once()
            assert gc.collect() < 50
        finally:
            gc.enable()
            logging.getLogger("penguiflow").setLevel(logging.NOTSET)


@virtual_time
async def test_a_playbooks_time_limit_keeps_nothing_once_it_is_met():
    load = Query(text="heavy")
    kept = weakref.ref(load)
    asyncio.get_running_loop().call_later(1e4, int)  # behind it a cancelled timer lingers
    async with create(calls_in_time) as flow:
        assert await flow.ask(load) is load
        del load
        gc.collect()
        assert kept() is None


@virtual_time
async def test_the_error_of_a_trace_whose_handle_is_gone_is_logged(caplog: pytest.LogCaptureFixture):
    async with create(fails) as flow:
        flow.start("lost")
        await quiet()
    assert [r.levelname for r in caplog.records if "ValueError: lost" in r.getMessage()] == ["ERROR"]


@virtual_time
async def test_a_block_that_is_cancelled_on_its_way_out_has_closed_its_resources():
    log: list[str] = []

    @asynccontextmanager
    async def opened():
        yield
        log.append("closed")

    async def block() -> None:
        async with create(Node(forever), resources=opened) as flow:
            flow.start(1)

    task = asyncio.create_task(block())
    await quiet()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert log == ["closed"]


@virtual_time
async def test_a_message_to_no_node_is_refused():
    async with create(same) as flow:
        with pytest.raises(ValueError, match="to= names no node"):
            await flow.emit("x", to=[])
        assert await flow.ask("y") == "y"


@virtual_time
async def test_a_node_that_streams_without_ever_waiting_gives_the_loop_its_turn():
    turns = 0

    def turn() -> None:
        nonlocal turns
        turns += 1
        asyncio.get_running_loop().call_soon(turn) if turns < 10_000 else None

    @node
    async def talks(x: Any, ctx: Any) -> None:
        for _ in range(10_000):
            await ctx.emit_chunk("x")

    async with create(talks) as flow:
        asyncio.get_running_loop().call_soon(turn)
        await flow.ask(1)
    assert turns > 30


# --- order and context ------------------------------------------------------------------------------------------------


@virtual_time
async def test_a_trace_cancelled_before_its_first_step_is_announced_first():
    seen = Recorder()
    async with create(same, on_event=seen) as flow:
        handle = flow.start(1)
        assert await handle.cancel()
        with pytest.raises(TraceCancelled):
            await handle.result()
    wanted = ["trace_start", "trace_cancel_start", "trace_cancel_finish", "trace_finish"]
    assert seen.types("trace_start", "trace_cancel_start", "trace_cancel_finish", "trace_finish") == wanted


@virtual_time
async def test_branches_are_cancelled_in_the_order_in_which_they_began():
    names = [f"n{i}" for i in range(8)]
    seen = Recorder()
    async with create(same.to(*(Node(forever, name=name) for name in names)), on_event=seen) as flow:
        handle = flow.start(1)
        await quiet()
        await handle.cancel()
    assert [event.node_name for event in seen.of("node_cancelled")] == names


SPAN: ContextVar[str] = ContextVar("span", default="none")


@virtual_time
async def test_a_message_that_joins_a_trace_runs_in_the_traces_context_and_not_the_emitters():
    spans: list[str] = []

    def attach(event: FlowEvent) -> None:
        if event.event_type == "trace_start":
            SPAN.set("trace")

    @node
    async def look(x: Any) -> None:
        spans.append(SPAN.get())
        await asyncio.sleep(1)

    async with create(look, on_event=attach) as flow:
        message = Message(payload=1)
        handle = flow.start(message)
        await quiet()
        SPAN.set("emitter")
        await flow.emit(message)
        await handle.results()
    assert spans == ["trace", "trace"]
