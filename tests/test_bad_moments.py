"""Bad moments: before `run`, after `stop`, twice, outside a loop or in another; wrong plugins and resources."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest

from penguiflow import (
    Context,
    FlowError,
    FlowEvent,
    FlowStateError,
    FlowStream,
    Message,
    Node,
    PenguiFlow,
    TraceHandle,
    create,
    hookimpl,
    node,
)
from tests.utils.flowtestkit import quiet, virtual_time

CALLS: dict[str, Callable[[PenguiFlow], Coroutine[Any, Any, Any]]] = {
    "ask": lambda flow: flow.ask(1),
    "start": lambda flow: plainly(flow.start, 1),
    "stream": lambda flow: flow.stream(1).__aenter__(),
    "emit": lambda flow: flow.emit(1),
    "emit_nowait": lambda flow: plainly(flow.emit_nowait, 1),
    "emit_chunk": lambda flow: flow.emit_chunk("x", Message(payload=1)),
    "fetch": lambda flow: flow.fetch(),
    "fetch_any": lambda flow: flow.fetch_any(),
}


async def plainly(call: Callable[..., Any], *args: Any) -> Any:
    return call(*args)


@node
async def same(x: Any) -> Any:
    return x


# --- before, after, twice -------------------------------------------------------------------------


@pytest.mark.parametrize("call", CALLS)
@virtual_time
async def test_before_run_a_call_says_how_to_run(call: str):
    with pytest.raises(FlowStateError, match=r"'zoo' is not running: `async with flow:` or `flow\.run\(\)` first"):
        await CALLS[call](create(same, name="zoo"))


@pytest.mark.parametrize("call", CALLS)
@virtual_time
async def test_after_stop_a_call_says_that_the_flow_does_not_run(call: str):
    async with create(same, name="zoo") as flow:
        pass
    text = "'zoo' has stopped, and nothing is left to fetch" if "fetch" in call else "'zoo' is not running"
    with pytest.raises(FlowStateError, match=text):
        await CALLS[call](flow)


@pytest.mark.parametrize("call", [name for name in CALLS if "fetch" not in name])
@virtual_time
async def test_while_the_flow_stops_new_messages_are_refused(call: str):
    @node
    async def slow(x: int):
        await asyncio.sleep(5)

    async with create(slow, name="zoo") as flow:
        handle = flow.start(1)
        stopping = asyncio.ensure_future(flow.stop())
        await quiet()
        with pytest.raises(
            FlowStateError, match=r"'zoo' is stopping and takes no more .*: call run\(\) after stop\(\)"
        ):
            await CALLS[call](flow)
        await stopping
        assert handle.outcome == "completed"


JOINING: dict[str, Callable[[PenguiFlow, Message[int]], Coroutine[Any, Any, Any]]] = {
    "emit": lambda flow, message: flow.emit(message),
    "emit_nowait": lambda flow, message: plainly(flow.emit_nowait, message),
}


@pytest.mark.parametrize("call", JOINING)
@virtual_time
async def test_while_the_flow_stops_a_live_trace_takes_nothing_more_from_outside(call: str):
    taken: list[int] = []

    @node
    async def slow(x: int):
        taken.append(x)
        await asyncio.sleep(5)

    async with create(slow, name="zoo", queue_maxsize=1) as flow:
        await JOINING[call](flow, Message(payload=1, trace_id="t"))
        await JOINING[call](flow, Message(payload=2, trace_id="t"))  # it waits its turn, in a floe that is full now
        stopping = asyncio.ensure_future(flow.stop())
        await quiet()
        with pytest.raises(FlowStateError, match="'zoo' is stopping and takes no more messages"):
            await JOINING[call](flow, Message(payload=3, trace_id="t"))
        await stopping
        assert taken == [1, 2]


@pytest.mark.parametrize("call", JOINING)
@virtual_time
async def test_while_the_flow_stops_a_node_still_sends_into_its_own_trace_by_the_flow(call: str):
    @node
    async def three(x: int, ctx: Context) -> int | None:
        await asyncio.sleep(5)
        if x < 3:
            await JOINING[call](flow, ctx.message.model_copy(update={"payload": x + 1}))
            return None
        return x

    async with create(three, name="zoo") as flow:
        await flow.emit(Message(payload=1, trace_id="t"))
        await flow.stop()
        assert await flow.fetch() == 3


@virtual_time
async def test_while_the_flow_stops_a_live_trace_still_takes_chunks():
    @node
    async def slow(x: int):
        await asyncio.sleep(5)

    async with create(slow) as flow, flow.stream(message := Message(payload=1)) as stream:
        stopping = asyncio.ensure_future(flow.stop())
        await quiet()
        await flow.emit_chunk("late", message)
        assert [chunk.text async for chunk in stream] == ["late"]
        await stopping


@virtual_time
async def test_stop_cancel_and_explain_of_a_flow_that_does_not_run():
    flow = create(same, name="zoo")
    await flow.stop()
    assert await flow.cancel("t") is False
    with pytest.raises(KeyError, match="no trace 't' is live in flow 'zoo': it has ended, or never was"):
        flow.explain("t")
    async with flow:
        assert await flow.cancel("t") is False
        await flow.stop()
        await flow.stop()


@virtual_time
async def test_a_second_run_is_refused_and_harms_nothing():
    async with create(same, name="zoo") as flow:
        with pytest.raises(FlowStateError, match=r"'zoo' is running already: `await flow\.stop\(\)` first"):
            flow.run()
        with pytest.raises(FlowStateError, match="running already"):
            async with flow:
                pass
        assert await flow.ask(1) == 1


def test_run_outside_a_loop_says_where_to_call_it():
    flow = create(same)
    with pytest.raises(FlowStateError, match=r"runs in an event loop: call run\(\) inside `async def`"):
        flow.run()
    assert not flow.running


def test_start_and_emit_nowait_outside_a_loop_are_state_errors():
    flow, loop = create(same), asyncio.new_event_loop()
    try:
        loop.run_until_complete(plainly(flow.run))
        for call in (flow.start, flow.emit_nowait):
            with pytest.raises(FlowStateError, match="loop"):
                call(1)
        loop.run_until_complete(flow.stop())
    finally:
        loop.close()


@virtual_time
async def test_a_node_cannot_stop_the_flow_that_it_runs_in():
    async def stops(x: int):
        await flow.stop()

    async with create(Node(stops)) as flow:
        with pytest.raises(FlowError, match="a node can't stop the flow that it runs in: it would wait for itself"):
            await flow.ask(1)


# --- another loop ---------------------------------------------------------------------------------


@pytest.mark.parametrize("call", [*CALLS, "stop", "cancel"])
def test_a_call_from_another_loop_says_so(call: str):
    calls = {**CALLS, "stop": lambda flow: flow.stop(), "cancel": lambda flow: flow.cancel("t")}
    flow, home, away = create(same, name="zoo"), asyncio.new_event_loop(), asyncio.new_event_loop()
    try:
        home.run_until_complete(plainly(flow.run))
        home.run_until_complete(flow.emit(Message(payload="kept", trace_id="t")))
        with pytest.raises(
            FlowStateError, match="'zoo' runs in another event loop: stop it there, or use one flow each"
        ):
            away.run_until_complete(asyncio.wait_for(calls[call](flow), 0.1))
        assert home.run_until_complete(asyncio.wait_for(flow.fetch(), 5)).payload == "kept"
        assert home.run_until_complete(flow.ask(2)) == 2
        home.run_until_complete(flow.stop())
    finally:
        home.close()
        away.close()


FOLLOWING: dict[str, Callable[[TraceHandle, FlowStream], Coroutine[Any, Any, Any]]] = {
    "result": lambda handle, stream: handle.result(),
    "results": lambda handle, stream: handle.results(),
    "cancel": lambda handle, stream: handle.cancel(),
    "iterate": lambda handle, stream: all_of(handle),
    "read": lambda handle, stream: all_of(stream),
    "leave": lambda handle, stream: stream.__aexit__(None, None, None),
}


async def all_of(items: Any) -> list[Any]:
    return [item async for item in items]


@pytest.mark.parametrize("call", FOLLOWING)
def test_a_trace_is_followed_in_its_own_loop_only_and_takes_no_harm_from_another(call: str):
    @node
    async def slow(x: int, ctx: Context) -> int:
        await asyncio.sleep(0.01)
        await ctx.emit_chunk("here")
        return x

    async def opened() -> tuple[TraceHandle, FlowStream]:
        flow.run()
        return flow.start(1), await flow.stream(2).__aenter__()

    async def ended() -> tuple[list[Any], list[str], int]:
        items, chunks = await all_of(handle), await all_of(stream)
        await flow.stop()
        return items[1:], [chunk.text for chunk in chunks], stream.result

    flow = create(slow)
    with asyncio.Runner() as home, asyncio.Runner() as away:
        handle, stream = home.run(opened())
        with pytest.raises(
            FlowStateError, match=f"trace '({handle.trace_id}|{stream.trace_id})' runs in another event"
        ):
            away.run(FOLLOWING[call](handle, stream))
        assert home.run(ended()) == ([1], ["here"], 2)


def test_a_handle_of_a_trace_that_has_ended_gives_its_result_in_any_loop():
    async def done() -> TraceHandle:
        async with create(same) as flow:
            return flow.start(1)

    handle = asyncio.run(done())
    assert asyncio.run(handle.result()) == 1
    assert asyncio.run(handle.cancel()) is False


# --- plugins --------------------------------------------------------------------------------------


class Fine:
    @hookimpl
    def on_event(self, event: FlowEvent) -> None: ...


class Unmarked:
    def on_event(self, event: FlowEvent) -> None: ...


class Misspelled:
    @hookimpl
    def on_events(self, event: FlowEvent) -> None: ...


class WrongArgument:
    @hookimpl
    def on_event(self, evt: FlowEvent) -> None: ...


class AsyncObserver:
    @hookimpl
    async def on_event(self, event: FlowEvent) -> None: ...


class AsyncExporter:
    @hookimpl
    async def export_graph(self, request: Any) -> str:
        return ""


class Wrapper:
    @hookimpl(wrapper=True)
    def on_event(self, event: FlowEvent) -> Any:
        return (yield)


class OldWrapper:
    @hookimpl(hookwrapper=True)
    def on_event(self, event: FlowEvent) -> Any:
        yield


class WrongTypes:
    event_types = ("node_begin",)

    @hookimpl
    def on_event(self, event: FlowEvent) -> None: ...


@pytest.mark.parametrize(
    ("plugin", "text"),
    [
        (Fine, r"plugin 'type' is a class: give an instance, as in plugins=\[Fine\(\)\]|Fine.*is a class"),
        (5, r"plugin 'int' implements no hook: mark a method .* with @hookimpl"),
        (None, r"implements no hook"),
        (Unmarked(), r"plugin 'Unmarked' implements no hook: mark a method on_event, .* with @hookimpl"),
        (Misspelled(), r"plugin 'Misspelled': there is no hook 'on_events': there are on_event, resolve_route"),
        (WrongArgument(), r"plugin 'WrongArgument'"),
        (AsyncObserver(), r"plugin 'AsyncObserver': on_event is not async: write `def on_event`, without `async`"),
        (AsyncExporter(), r"plugin 'AsyncExporter': export_graph is not async: write `def export_graph`"),
        (Wrapper(), r"plugin 'Wrapper': on_event can't be a wrapper: write a plain `@hookimpl def on_event`"),
        (OldWrapper(), r"on_event can't be a wrapper"),
        (WrongTypes(), r"plugin 'WrongTypes' wants events of type 'node_begin': there are flow_start"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_wrong_plugin_is_refused_by_name_with_the_right_line(plugin: Any, text: str):
    with pytest.raises(TypeError, match=text):
        create(same, plugins=[plugin])


def test_a_wrong_argument_of_a_hook_shows_the_corrected_line():
    with pytest.raises(TypeError, match=r"write `@?(hookimpl )?def on_event\(self, event\)`"):
        create(same, plugins=[WrongArgument()])


def test_plugins_stand_in_a_sequence():
    with pytest.raises(TypeError, match=r"plugins="):
        create(same, plugins=Fine())  # type: ignore[arg-type]


async def async_callback(event: FlowEvent) -> None: ...


@pytest.mark.parametrize(
    ("callback", "text"),
    [
        (async_callback, r"on_event= takes a plain function: write `def on_event\(event\)`, not `async def`"),
        (5, r"on_event= takes a function of one event, not 5"),
        (Fine(), r"on_event= takes a function of one event, not .*"),
    ],
    ids=["async", "int", "plugin"],
)
def test_a_wrong_callback_is_refused_with_the_right_line(callback: Any, text: str):
    with pytest.raises(TypeError, match=text):
        create(same, on_event=callback)


# --- resources ------------------------------------------------------------------------------------


@asynccontextmanager
async def opened():
    yield "open"


@contextmanager
def opened_in_sync():
    yield "open"


@pytest.mark.parametrize("thing", [5, "db"], ids=str)
def test_resources_are_a_function(thing: Any):
    with pytest.raises(TypeError, match="resources= takes a function that returns an async context manager"):
        create(same, resources=thing)


def test_a_manager_instead_of_its_factory_is_refused():
    with pytest.raises(TypeError, match="not the manager itself"):
        create(same, resources=opened())  # type: ignore[arg-type]


@pytest.mark.parametrize("factory", [lambda: 5, opened_in_sync, dict], ids=["int", "sync", "dict"])
@virtual_time
async def test_a_factory_of_something_else_says_what_resources_are(factory: Any):
    flow = create(same, resources=factory)
    with pytest.raises(TypeError, match="resources= takes a function that returns an async context manager"):
        async with flow:
            pass
    assert not flow.running


# --- streams --------------------------------------------------------------------------------------


@virtual_time
async def test_a_stream_is_entered_once_and_before_anything_else():
    async def talks(x: int, ctx: Context) -> int:
        await ctx.emit_chunk("x")
        return x

    async with create(Node(talks)) as flow:
        stream = flow.stream(1)
        for use in (lambda: stream.trace_id, lambda: stream.result, stream.__aiter__):
            with pytest.raises(FlowStateError, match=r"enter the stream first: `async with flow\.stream\(x\) as s`"):
                use()
        async with stream:
            with pytest.raises(FlowStateError, match="the result is there when the stream has ended: iterate to its"):
                _ = stream.result
            assert [chunk.text async for chunk in stream] == ["x"]
            assert stream.result == 1
        with pytest.raises(FlowStateError, match=r"was entered before: call flow\.stream\(\) again"):
            await stream.__aenter__()


@virtual_time
async def test_a_handle_has_one_reader():
    async with create(same) as flow:
        handle = flow.start(1)
        assert [item async for item in handle] == [1]
        with pytest.raises(FlowStateError, match="read already: one reader gets everything"):
            aiter(handle)
        assert await handle.result() == 1
