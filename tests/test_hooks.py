"""Observers, routers and exporters: who is called when, in which order, and what becomes of one that misbehaves."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import pytest

from penguiflow import (
    Drop,
    ExportRequest,
    FlowError,
    FlowErrorCode,
    FlowEvent,
    GraphError,
    Node,
    PenguiFlow,
    RoutingRequest,
    TraceCancelled,
    create,
    hookimpl,
    join_k,
    node,
    predicate_router,
    router,
)
from tests.utils.flowtestkit import Recorder, clock, quiet, virtual_time

MANY = 30


class Observer:
    """Shows each event to a function."""

    def __init__(self, see: Callable[[FlowEvent], Any], name: str = "observer", types: Any = None) -> None:
        self.see, self.name, self.event_types = see, name, types

    @hookimpl
    def on_event(self, event: FlowEvent) -> None:
        return self.see(event)


class Router:
    """Answers as a function of the request does."""

    def __init__(self, answer: Callable[[RoutingRequest], Any], name: str = "policy") -> None:
        self.answer, self.name = answer, name
        self.requests: list[RoutingRequest] = []

    @hookimpl
    def resolve_route(self, request: RoutingRequest) -> Any:
        self.requests.append(request)
        return self.answer(request)


class Exporter:
    def __init__(self, answer: Callable[[ExportRequest], Any], name: str = "exporter") -> None:
        self.answer, self.name = answer, name

    @hookimpl
    def export_graph(self, request: ExportRequest) -> Any:
        return self.answer(request)


def breaks(_: Any) -> Any:
    raise RuntimeError("broken plugin")


async def breaks_later(_: Any) -> Any:
    await asyncio.sleep(0)
    raise RuntimeError("broken plugin")


class Odd(BaseException):
    pass


def breaks_oddly(_: Any) -> Any:
    raise Odd("broken plugin")


async def never(_: Any) -> Any:
    await asyncio.Event().wait()


@node
async def same(x: Any) -> Any:
    return x


def sinks(*names: str) -> list[Node]:
    def make(name: str) -> Node:
        async def sink(x: Any) -> str:
            return name

        return Node(sink, name=name)

    return [make(name) for name in names]


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


# --- observers ------------------------------------------------------------------------------------


@virtual_time
async def test_callback_and_plugins_see_every_event_in_the_order_given():
    seen: list[str] = []
    plugins = [Observer(lambda event, tag=tag: seen.append(tag)) for tag in "ab"]  # type: ignore[misc]
    recorder = Recorder()

    def callback(event: FlowEvent) -> None:
        seen.append("callback")
        recorder(event)

    async with create(same, plugins=plugins, on_event=callback) as flow:
        await flow.ask(1)
    assert recorder.types() == [
        "flow_start",
        "trace_start",
        "node_start",
        "node_success",
        "trace_finish",
        "flow_stop",
    ]
    assert seen == ["a", "b", "callback"] * 6


@virtual_time
async def test_tryfirst_and_trylast_move_a_plugin():
    seen: list[str] = []

    class First:
        @hookimpl(tryfirst=True)
        def on_event(self, event: FlowEvent) -> None:
            seen.append("first")

    class Last:
        @hookimpl(trylast=True)
        def on_event(self, event: FlowEvent) -> None:
            seen.append("last")

    plugins = [Last(), Observer(lambda e: seen.append("a")), First(), Observer(lambda e: seen.append("b"))]
    async with create(same, plugins=plugins):
        assert seen == ["first", "a", "b", "last"]


@virtual_time
async def test_event_types_are_all_that_a_plugin_is_shown():
    wanted, everything = Recorder(), Recorder()
    plugin = Observer(wanted, types=("node_success", "flow_stop"))
    async with create(same, plugins=[plugin], on_event=everything) as flow:
        await flow.ask(1)
    assert wanted.types() == ["node_success", "flow_stop"]
    assert len(everything.events) == 6


@virtual_time
async def test_an_observer_that_raises_is_logged_by_name_and_harms_nobody(caplog: pytest.LogCaptureFixture):
    recorder = Recorder()
    async with create(same, plugins=[Observer(breaks, "bad")], on_event=recorder) as flow:
        assert await flow.ask(1) == 1
    recorder.assert_lawful()
    assert set(errors(caplog)) == {"plugin 'bad' raised in on_event: RuntimeError('broken plugin')"}
    (first, *_) = recorder.of("plugin_error")
    assert (first.flow_name, repr(first.error)) == ("flow", "RuntimeError('broken plugin')")
    assert first.extra == {"plugin": "bad", "hook": "on_event", "failures": 1, "quarantined": False}


@virtual_time
async def test_an_observer_that_raises_ten_times_in_a_row_is_no_longer_called(caplog: pytest.LogCaptureFixture):
    calls: list[str] = []

    def see(event: FlowEvent) -> None:
        calls.append(event.event_type)
        raise RuntimeError

    recorder = Recorder()
    flow = create(same, plugins=[Observer(see, "bad")], on_event=recorder)
    async with flow:
        for _ in range(MANY):
            assert await flow.ask(1) == 1
    assert len(calls) == 10
    assert [event.extra["quarantined"] for event in recorder.of("plugin_error")] == [False] * 9 + [True]
    last = errors(caplog)[-1]
    assert last.startswith("plugin 'bad' raised")
    assert last.endswith("10 times in a row: it gets no more events")
    async with flow:
        assert len(calls) == 11  # a new run, a new chance


@virtual_time
async def test_a_success_in_between_keeps_an_observer_out_of_quarantine():
    calls: list[int] = []

    def see(event: FlowEvent) -> None:
        calls.append(1)
        if len(calls) % 10:
            raise RuntimeError

    async with create(same, plugins=[Observer(see)]) as flow:
        for _ in range(MANY):
            await flow.ask(1)
    assert len(calls) == 2 + 4 * MANY


@virtual_time
async def test_two_observers_that_break_do_not_keep_each_other_breaking():
    async with create(same, plugins=[Observer(breaks, "a"), Observer(breaks, "b")]) as flow:
        async with asyncio.timeout(60):
            assert [await flow.ask(number) for number in range(MANY)] == list(range(MANY))


@virtual_time
async def test_what_an_observer_returns_is_ignored():
    async with create(same, plugins=[Observer(lambda event: Drop()), Observer(lambda event: False)]) as flow:
        assert await flow.ask(1) == 1


current: ContextVar[str] = ContextVar("current", default="none")


@virtual_time
async def test_what_is_attached_at_a_start_is_current_inside_and_can_be_detached_at_the_end(
    caplog: pytest.LogCaptureFixture,
):
    tokens: dict[str, Any] = {}
    inside: list[str] = []

    def span(event: FlowEvent) -> None:
        kind, key = event.event_type, event.invocation_id or event.trace_id or ""
        if kind in ("node_start", "trace_start"):
            tokens[key] = current.set(f"{current.get()}/{event.node_name or 'trace'}")
        elif kind in ("node_success", "node_failed", "node_cancelled", "node_expired", "trace_finish"):
            current.reset(tokens.pop(key))

    @node
    async def looks(x: str) -> str:
        inside.append(current.get())
        await asyncio.sleep({"waits": 100}.get(x, 0))
        if x == "fails":
            raise ValueError
        return x

    @node
    async def late(x: str):
        await asyncio.sleep(5)

    other, both = Node(looks.func, name="other"), join_k("both", 2)
    async with create(looks.to(other, late), other.to(both), on_event=span) as flow:
        for way in ("ok", "fails"):
            await asyncio.gather(flow.ask(way), return_exceptions=True)
        trace_id = await flow.emit("ok")
        await asyncio.sleep(10)
        assert await flow.cancel(trace_id)  # nothing of it runs: it waits in the join
        with pytest.raises(FlowError):
            await flow.ask("waits", timeout_s=1)
        handle = flow.start("waits")
        await quiet()
        await handle.cancel()
    assert (tokens, errors(caplog), current.get()) == ({}, [], "none")
    assert set(inside) == {"none/trace/looks", "none/trace/other"}


# --- routers --------------------------------------------------------------------------------------


def routed(*plugins: Any, make: Any = router, **options: Any) -> PenguiFlow:
    choose = make("choose")
    return create(choose.to(*sinks("a", "b", "c")), plugins=plugins, **options)


async def answer_b(_: Any) -> str:
    return "b"


@pytest.mark.parametrize(
    ("answer", "given"),
    [
        (lambda request: "b", ["b"]),
        (answer_b, ["b"]),
        (lambda request: ["c", "a"], ["a", "c"]),
        (lambda request: request.proposed[1:], ["b", "c"]),
        (lambda request: (), []),
        (lambda request: None, ["a", "b", "c"]),
    ],
    ids=["name", "async", "names", "nodes", "drop", "none"],
)
@virtual_time
async def test_a_deployments_answer_decides_the_route(answer: Any, given: list[str]):
    recorder = Recorder()
    async with routed(Router(answer), on_event=recorder) as flow:
        assert sorted(await flow.start(1).results()) == given
    assert recorder.types("route_decided", "route_dropped") == (["route_decided"] if given else ["route_dropped"])
    event = (recorder.of("route_decided") or recorder.of("route_dropped"))[0]
    assert sorted(event.extra["targets"]) == given
    assert event.node_name == "choose"


class Told(list[str]):
    """An answer that says which rule it comes from."""

    detail: Any = {"rule": "vip", "targets": "not these"}


@pytest.mark.parametrize("asked", ["policy", "plugin"])
@virtual_time
async def test_what_an_answer_tells_of_itself_is_shown_in_the_event(asked: str):
    recorder = Recorder()
    told = lambda request: Told(["b"])  # noqa: E731
    make = lambda name: router(name, policy=told if asked == "policy" else None)  # noqa: E731
    plugins = [Router(told)] if asked == "plugin" else []
    async with routed(*plugins, make=make, on_event=recorder) as flow:
        assert await flow.ask(1) == "b"
    (event,) = recorder.of("route_decided")
    assert event.extra == {"rule": "vip", "targets": ["b"], "decided_by": "policy"}


@pytest.mark.parametrize("detail", [7, property(lambda self: 1 / 0)], ids=["no mapping", "raises"])
@virtual_time
async def test_an_overruled_answer_tells_nothing_and_a_detail_that_is_none_is_no_harm(detail: Any):
    recorder = Recorder()
    make = lambda name: router(name, policy=lambda request: Told(["a"]))  # noqa: E731
    odd = type("Odd", (Told,), {"detail": detail})
    async with routed(Router(lambda r: odd(["c"])), make=make, on_event=recorder) as flow:
        assert await flow.ask(1) == "c"
    assert dict(recorder.of("route_decided")[0].extra) == {"targets": ["c"], "decided_by": "policy"}


class Strict:
    """Routes, and looks at graphs first."""

    def __init__(self, *problems: str) -> None:
        self.problems = problems
        self.asked: list[tuple[Any, Any]] = []

    def check_graph(self, graph: Any, routers: Any) -> Any:
        self.asked.append((graph.name, routers))
        return self.problems

    def select(self, request: RoutingRequest) -> None:
        return None

    @hookimpl
    def resolve_route(self, request: RoutingRequest) -> None:
        return None


def test_what_routes_may_look_at_the_graph_and_refuse_it():
    policy, plugin = Strict("no 'a'", "both"), Strict("both", "no 'b'")
    one, two = router("one", policy=policy), router("two", policy=policy)
    with pytest.raises(GraphError) as caught:
        create(one.to(two), two.to(*sinks("a")), plugins=[plugin], name="desk")
    assert caught.value.problems == ("no 'a'", "both", "no 'b'")
    assert (policy.asked, plugin.asked) == ([("desk", ("one", "two"))], [("desk", None)])


@virtual_time
async def test_a_graph_that_nobody_has_anything_against_is_built():
    async with routed(Strict(), make=lambda name: router(name, policy=Strict())) as flow:
        assert sorted(await flow.start(1).results()) == ["a", "b", "c"]


@virtual_time
async def test_the_first_plugin_with_an_opinion_wins_after_predicate_and_policy():
    silent, second, third = (
        Router(lambda r: None, "silent"),
        Router(lambda r: "c", "second"),
        Router(lambda r: "a", "third"),
    )
    make = lambda name: predicate_router(name, lambda m: ["a", "b"], policy=lambda r: ["b"])  # noqa: E731
    async with routed(silent, second, third, make=make) as flow:
        assert await flow.ask(1) == "c"
    assert [request.proposed_names for request in silent.requests + second.requests] == [("b",), ("b",)]
    assert third.requests == []


@pytest.mark.parametrize("answer", [breaks, breaks_later, breaks_oddly, never, lambda request: "nobody"])
@virtual_time
async def test_a_router_plugin_that_breaks_is_late_or_wrong_fails_that_message(answer: Any, caplog):
    fallback = Router(lambda request: "a", "fallback")
    async with routed(Router(answer, "bad"), fallback) as flow:
        with pytest.raises(FlowError) as caught:
            await flow.ask(1)
    assert (caught.value.code, caught.value.node_name) == (FlowErrorCode.ROUTING, "choose")
    assert fallback.requests == []
    if answer is never:
        assert 1000 < clock() < 1100
        assert isinstance(caught.value.original_exc, TimeoutError)
    elif answer in (breaks, breaks_later):
        assert isinstance(caught.value.original_exc, RuntimeError)
        assert "plugin 'bad'" in str(caught.value.original_exc.__notes__)
        assert "plugin 'bad' raised in resolve_route: RuntimeError('broken plugin')" in errors(caplog)
    elif answer is breaks_oddly:
        assert isinstance(caught.value.original_exc.__cause__, Odd)
        assert "plugin 'bad'" in str(caught.value.original_exc.__notes__)


@virtual_time
async def test_a_router_plugin_is_never_quarantined():
    recorder, plugin = Recorder(), Router(lambda r: breaks(r) if r.message.payload < MANY else "b", "bad")
    async with routed(plugin, on_event=recorder) as flow:
        for number in range(MANY):
            with pytest.raises(FlowError) as caught:
                await flow.ask(number)
            assert caught.value.code == FlowErrorCode.ROUTING
        assert await flow.ask(MANY) == "b"
    assert {event.extra["hook"] for event in recorder.of("plugin_error")} == {"resolve_route"}
    assert len(recorder.of("plugin_error")) == MANY


@virtual_time
async def test_cancelling_reaches_a_router_plugin_that_decides():
    async with routed(Router(never)) as flow:
        handle = flow.start(1)
        await quiet()
        assert await handle.cancel()
        assert clock() < 1001
        with pytest.raises(TraceCancelled):
            await handle.result()


# --- exporters ------------------------------------------------------------------------------------


def test_the_first_exporter_with_an_answer_wins_and_gets_the_options():
    asked: list[ExportRequest] = []

    def first(request: ExportRequest) -> str | None:
        asked.append(request)
        return "one" if request.format == "mermaid" else None

    flow = create(same, plugins=[Exporter(first), Exporter(lambda request: f"two {request.format}")])
    assert flow.export("mermaid", direction="LR") == "one"
    assert flow.export("dot") == "two dot"
    assert (asked[0].graph, dict(asked[0].options)) == (flow.graph, {"direction": "LR"})


def test_an_exporter_that_raises_is_passed_over_and_logged(caplog: pytest.LogCaptureFixture):
    assert create(same, plugins=[Exporter(breaks, "bad"), Exporter(lambda request: b"")]).export("png") == b""
    assert errors(caplog) == ["plugin 'bad' raised in export_graph: RuntimeError('broken plugin')"]


def test_wrong_options_are_said_and_count_against_no_exporter(caplog: pytest.LogCaptureFixture):
    def exported(request: ExportRequest) -> str:
        if request.options:
            raise ValueError("it has no options")
        return "drawn"

    flow = create(same, plugins=[Exporter(exported, "good")])
    for _ in range(30):
        with pytest.raises(LookupError, match="plugin 'good' can't export 'png': ValueError: it has no options"):
            flow.export("png", colour="red")
    assert (flow.export("png"), errors(caplog)) == ("drawn", [])


INSTALL = "install penguiflow-viz, or mend the name of the format"


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([], INSTALL),
        (["acme"], f"'acme' knows no such format; {INSTALL}"),
        (["acme", "other"], f"'acme' and 'other' know no such format; {INSTALL}"),
        (["acme", "viz"], "'acme' and 'viz' know no such format"),
    ],
)
def test_a_format_that_nobody_exports_is_an_error_that_says_who_was_asked_and_what_to_install(
    names: list[str], said: str
):
    plugins = [Observer(breaks, "watch"), *(Exporter(lambda request: None, name) for name in names)]
    with pytest.raises(LookupError) as caught:
        create(same, plugins=plugins).export("png")
    assert caught.value.args == (f"no plugin exports 'png': {said}",)


def test_an_export_that_fails_says_why():
    with pytest.raises(LookupError, match="plugin 'bad' can't export 'png': RuntimeError: broken plugin") as caught:
        create(same, plugins=[Exporter(lambda request: None), Exporter(breaks, "bad")]).export("png")
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_a_flow_lists_its_plugins_in_the_order_they_are_asked():
    flow = create(same, plugins=[Router(breaks, "r"), Observer(breaks, "o"), Exporter(breaks, "e")])
    assert [(record.name, record.status) for record in flow.plugins] == [(name, "loaded") for name in "roe"]
    assert create(same).plugins == ()


def test_the_marked_method_of_a_plugin_may_be_the_callback():
    observer = Observer(lambda event: None)
    assert create(same, on_event=observer.on_event).plugins == ()


def test_an_exporter_that_answers_with_neither_text_nor_bytes_is_passed_over(caplog: pytest.LogCaptureFixture):
    plugins = [Exporter(lambda request: {"nodes": []}, "bad"), Exporter(lambda request: "good")]
    assert create(same, plugins=plugins).export("json") == "good"
    assert "export_graph answers text, bytes or None, not {'nodes': []}" in errors(caplog)[0]


class Yields:
    @hookimpl
    def on_event(self, event: FlowEvent) -> Any:
        yield


class YieldsAsync:
    @hookimpl
    async def on_event(self, event: FlowEvent) -> Any:
        yield


@pytest.mark.parametrize(("plugin", "says"), [(Yields(), "would never run"), (YieldsAsync(), "write `def on_event`")])
def test_a_hook_that_yields_and_so_never_runs_is_refused(plugin: Any, says: str):
    with pytest.raises(TypeError, match=says):
        create(same, plugins=[plugin])
