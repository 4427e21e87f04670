"""Installed plugins in a running flow: who is asked first, and what becomes of one that misbehaves."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest

from penguiflow import (
    Context,
    FlowError,
    FlowErrorCode,
    Node,
    PenguiFlow,
    RoutingRequest,
    create,
    hookimpl,
    join_k,
    node,
    predicate_router,
    router,
    subflow,
)
from tests.utils.distributions import OBSERVER, POLICIES, Site, policy
from tests.utils.flowtestkit import Recorder, clock, in_time
from tests.utils.nodes import same


def sink(name: str) -> Node:
    async def gives_its_name(x: Any) -> str:
        return name

    return Node(gives_its_name, name=name)


def routed(*plugins: Any, **options: Any) -> PenguiFlow:
    return create(router("choose").to(*map(sink, "abc")), plugins=plugins, **options)


class Policy:
    """Keeps what it is asked, and answers."""

    def __init__(self, name: str, answer: Any = None) -> None:
        self.name, self.answer = name, answer
        self.asked: list[tuple[str, ...]] = []

    @hookimpl
    def resolve_route(self, request: RoutingRequest) -> Any:
        self.asked.append(request.proposed_names)
        return self.answer(request) if callable(self.answer) else self.answer


# --- a flow and its results -----------------------------------------------------------------------


def busy_flow() -> PenguiFlow:
    """A flow in which nearly everything happens: a route, a retry, a fan-out, a join, chunks, an error, a subflow."""

    @node(max_retries=1, backoff_base=0.01)
    async def doubles(x: int, ctx: Context) -> int:
        if ctx.attempt == 0:
            raise ConnectionError("once")
        await ctx.emit_chunk("half")
        return x * 2

    @node
    async def fails(x: int) -> int:
        raise ValueError(x)

    @node
    async def adds(xs: list[int]) -> int:
        return sum(xs)

    odd = predicate_router("odd", lambda message: "fails" if message.payload % 2 else ["doubles", "inner"])
    both = join_k("both", 2)
    inner = subflow("inner", create(same, name="within"))
    return create(odd.to(fails, doubles, inner), doubles.to(both), inner.to(both), both.to(adds), adds)


async def results() -> tuple[list[Any], list[str], float]:
    """What the flow answers, the runs of its nodes, and how long that takes."""
    flow, answers, began = busy_flow(), [], clock()
    async with flow:
        for number in range(8):
            try:
                answers.append(await flow.ask(number))
            except FlowError as error:
                answers.append((error.code, error.node_name, repr(error.original_exc)))
        async with flow.stream(2) as stream:
            answers.append([chunk.text async for chunk in stream])
        handles = [flow.start(number) for number in range(0, 20, 2)]
        answers += [await handle.result() for handle in handles]
    return answers, [record.status for record in flow.plugins], clock() - began


RAISES = """
    import asyncio
    from penguiflow import hookimpl

    class Raises:
        async def start(self, flow):
            raise OSError("start")

        async def stop(self, flow):
            raise OSError("stop")

        @hookimpl
        def on_event(self, event):
            raise RuntimeError(event.event_type)

        @hookimpl
        def on_error(self, error):
            raise RuntimeError(error)

        @hookimpl
        def export_graph(self, request):
            raise RuntimeError(request.format)

    def plugin():
        return Raises()
"""

HOSTILE: dict[str, tuple[str, str]] = {
    "raises in every hook": (RAISES.replace("start(self", "begin(self"), "loaded"),
    "cannot start": (RAISES, "failed"),
    "blocks": (
        OBSERVER.replace("self.seen.append(event.event_type)", "__import__('time').sleep(0.05)").replace(
            "def __init__(self):", "event_types = ['trace_finish', 'node_retry']\n        def __init__(self):"
        ),
        "loaded",
    ),
    "answers": (OBSERVER.replace("self.seen.append(event.event_type)", "return 'an answer'"), "loaded"),
    "cannot be imported": ("import no_such_module", "failed"),
    "exits": ("raise SystemExit(1)", "failed"),
    "is newer": (OBSERVER.replace("class Observer:", "class Observer:\n        api_version = '3.1'"), "incompatible"),
    "wants options": (OBSERVER.replace("plugin():", "plugin(options: dict[int, int]):"), "failed"),
    "reroutes": (policy("()"), "failed"),
}


@pytest.mark.parametrize("case", HOSTILE)
@in_time
async def test_a_flow_does_the_same_with_a_hostile_plugin_as_with_none(site: Site, monkeypatch, case: str):
    code, status = HOSTILE[case]
    site.configure("[plugins.options.hostile]\nx = 1" if case == "wants options" else "")
    monkeypatch.setenv("PENGUIFLOW_PLUGINS", "")
    without = await results()
    monkeypatch.delenv("PENGUIFLOW_PLUGINS")
    site.add("hostile", code)
    site.add("unnamed", policy("()"), POLICIES)
    monkeypatch.syspath_prepend(str(site.folder.parent))  # another import path, so that it is scanned again
    with_it = await results()
    assert with_it[0] == without[0]
    assert with_it[2] == pytest.approx(without[2])
    assert with_it[1] == ["available", status]


@in_time
async def test_a_flow_does_the_same_with_two_plugins_of_one_name(site: Site, monkeypatch):
    monkeypatch.setenv("PENGUIFLOW_PLUGINS", "")
    without = await results()
    monkeypatch.delenv("PENGUIFLOW_PLUGINS")
    site.add("first", entry="twin")
    site.add("second", entry="twin")
    monkeypatch.syspath_prepend(str(site.folder.parent))
    with_them = await results()
    assert (with_them[0], with_them[1]) == (without[0], ["failed", "failed"])


# --- who decides ----------------------------------------------------------------------------------


@in_time
async def test_installing_a_policy_changes_no_route_until_it_is_named(site: Site, monkeypatch):
    site.add("acme-routes", policy("'b'"), POLICIES, entry="acme")

    async def outputs(*plugins: Any) -> list[str]:
        async with routed(*plugins) as flow:
            return sorted(await flow.start(1).results())

    assert await outputs() == ["a", "b", "c"]
    assert await outputs("acme") == ["b"]
    assert await outputs("acme-routes:acme") == ["b"]
    monkeypatch.setenv("PENGUIFLOW_POLICIES", "acme")
    assert await outputs() == ["b"]
    monkeypatch.delenv("PENGUIFLOW_POLICIES")
    site.configure("[plugins]\npolicies = ['acme']")
    assert await outputs() == ["b"]
    monkeypatch.setenv("PENGUIFLOW_POLICIES", "")
    assert await outputs("acme") == ["a", "b", "c"]


LOGS = """
    import builtins
    from penguiflow import hookimpl, Replace

    class Handler:
        @hookimpl{options}
        def on_error(self, error):
            error.metadata.setdefault("asked", []).append({name!r})
            {answer}

    def plugin():
        return Handler()
"""


def handler(name: str, options: str = "", answer: str = "") -> str:
    return LOGS.format(name=name, options=options, answer=answer)


class Handler:
    def __init__(self, name: str) -> None:
        self.name = name

    @hookimpl
    def on_error(self, error: FlowError) -> None:
        error.metadata.setdefault("asked", []).append(self.name)


class FirstHandler(Handler):
    @hookimpl(tryfirst=True)
    def on_error(self, error: FlowError) -> None:
        super().on_error(error)


class LastHandler(Handler):
    @hookimpl(trylast=True)
    def on_error(self, error: FlowError) -> None:
        super().on_error(error)


@in_time
async def test_named_policies_are_asked_first_then_objects_then_what_loads_by_itself(site: Site, monkeypatch):
    """`tryfirst` and `trylast` move one among its like, and never before or behind the others."""
    for name, group in (("p1", POLICIES), ("p2", POLICIES), ("p3", POLICIES), ("z1", ""), ("z2", ""), ("z3", "")):
        options = {"p1": "(trylast=True)", "z3": "(tryfirst=True)", "p2": "(trylast=True)"}.get(name, "")
        site.add(name, handler(name, options), *([group] if group else []))
    monkeypatch.setenv("PENGUIFLOW_POLICIES", "p2,p1,p3")

    @node
    async def fails(x: int) -> int:
        raise ValueError

    objects = [
        LastHandler("o1"),
        LastHandler("o2"),
        Handler("o3"),
        FirstHandler("o4"),
        Handler("o5"),
        FirstHandler("o6"),
    ]
    async with create(fails, plugins=objects) as flow:
        with pytest.raises(FlowError) as caught:
            await flow.ask(1)
    assert caught.value.metadata["asked"] == ["p3", "p2", "p1", "o4", "o6", "o3", "o5", "o1", "o2", "z3", "z1", "z2"]


@in_time
async def test_the_first_answer_counts_and_nobody_after_it_is_asked(site: Site, monkeypatch):
    site.add("silent", policy("None"), POLICIES)
    site.add("acme", policy("['b', 'c']"), POLICIES)
    monkeypatch.setenv("PENGUIFLOW_POLICIES", "silent,acme")
    later = Policy("later", "a")
    recorder = Recorder()
    async with routed(later, on_event=recorder) as flow:
        assert sorted(await flow.start(1).results()) == ["b", "c"]
    assert later.asked == []
    assert recorder.of("route_decided")[0].extra["decided_by"] == "acme"


# --- policies that misbehave ----------------------------------------------------------------------

BAD_POLICIES = {
    "raises": "def resolve_route(self, request):\n            if request.message.payload == 3: raise OSError('no')",
    "raises later": (
        "async def resolve_route(self, request):\n            await asyncio.sleep(1)\n"
        "            if request.message.payload == 3: raise OSError('no')"
    ),
    "late": (
        "async def resolve_route(self, request):\n"
        "            await asyncio.sleep(9 if request.message.payload == 3 else 1)"
    ),
    "late and deaf": (
        "async def resolve_route(self, request):\n            try:\n"
        "                await asyncio.sleep(9 if request.message.payload == 3 else 1)\n"
        "            except asyncio.CancelledError:\n                return 'a'"
    ),
    "wrong": "def resolve_route(self, request):\n            return 'nobody' if request.message.payload == 3 else None",
}


@pytest.mark.parametrize("case", BAD_POLICIES)
@in_time
async def test_a_policy_that_raises_or_is_late_fails_that_message_and_only_it(site: Site, case: str):
    code = f"""
    import asyncio
    from penguiflow import hookimpl

    class Policy:
        @hookimpl
        {BAD_POLICIES[case]}

    def plugin():
        return Policy()
    """
    site.add("acme", code, POLICIES)
    site.configure("[plugins]\npolicies = ['acme']\ndecision_timeout_s = 2.5")
    flow = create(router("choose").to(*map(sink, "a")))
    async with flow:
        answers = await asyncio.gather(*(flow.ask(number) for number in range(8)), return_exceptions=True)
        assert clock() <= 1000 + 2.6
    failed = answers.pop(3)
    assert answers == ["a"] * 7
    assert isinstance(failed, FlowError)
    assert (failed.code, failed.node_name) == (FlowErrorCode.ROUTING, "choose")
    if case.startswith("late"):
        assert isinstance(failed.original_exc, TimeoutError)


@in_time
async def test_a_handler_that_is_late_is_passed_over(site: Site):
    site.add(
        "late",
        handler("late")
        .replace("def on_error", "async def on_error")
        .replace("error.metadata", "await __import__('asyncio').sleep(99); error.metadata"),
    )
    site.add("later", handler("later", answer="return Replace(5)"))
    site.configure("[plugins]\ndecision_timeout_s = 3")

    @node
    async def fails(x: int) -> int:
        raise ValueError

    async with create(fails) as flow:
        assert await flow.ask(1) == 5
        assert clock() == pytest.approx(1003)


@in_time
async def test_after_how_many_failures_one_is_no_longer_called_is_a_setting(site: Site, caplog):
    site.add("bad", RAISES.replace("start(self", "begin(self"))
    site.configure("[plugins]\nquarantine_after = 3")
    recorder = Recorder()
    async with create(same, on_event=recorder) as flow:
        for number in range(5):
            assert await flow.ask(number) == number
    assert [event.extra["quarantined"] for event in recorder.of("plugin_error")][:3] == [False, False, True]
    assert len([r for r in caplog.records if "raised in on_event" in r.getMessage()]) == 3


# --- flows in flows -------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["playbook", "factory", "subflow"])
@in_time
async def test_a_flow_inside_a_flow_uses_its_parents_plugins_and_not_its_own(site: Site, way: str):
    site.add(
        "watch",
        OBSERVER.replace("def plugin():", "MADE = []\n\n    def plugin():").replace(
            "return Observer()", "MADE.append(Observer())\n        return MADE[-1]"
        ),
    )
    ours, theirs = Policy("ours", "b"), Policy("theirs", "a")
    seen, unseen = Recorder(), Recorder()

    def inner() -> PenguiFlow:
        return create(router("choose").to(*map(sink, "ab")), plugins=[theirs], on_event=unseen, name="inner")

    kept = inner()

    @node
    async def calls(x: int, ctx: Context) -> str:
        return await ctx.call_playbook(inner if way == "factory" else kept, x)

    async with create(subflow("calls", kept) if way == "subflow" else calls, plugins=[ours], on_event=seen) as flow:
        assert await flow.ask(1) == "b"
        assert await flow.ask(1) == "b"
    assert (ours.asked, theirs.asked) == ([("a", "b")] * 2, [])
    assert [event.node_name for event in seen.of("route_decided")] == ["choose"] * 2
    assert unseen.events == []
    watching = [made.seen.count("route_decided") for made in sys.modules["watch"].MADE if made.seen]
    assert watching == [2]


@pytest.mark.parametrize("raised", [asyncio.CancelledError, SystemExit, type("Panic", (BaseException,), {})])
@in_time
async def test_an_observer_that_raises_beside_exception_harms_nobody(raised: type[BaseException]):
    class Observer:
        @hookimpl
        def on_event(self, event: Any) -> None:
            raise raised

    recorder = Recorder()
    async with create(same, plugins=[Observer()], on_event=recorder) as flow:
        assert await flow.ask(1) == 1
    assert recorder.of("trace_finish")[0].outcome == "completed"


@in_time
async def test_a_policy_that_exits_fails_its_message_and_only_that():
    async with routed(Policy("exits", lambda request: sys.exit(3) if request.message.payload else "a")) as flow:
        with pytest.raises(FlowError) as caught:
            await flow.ask(1)
        assert caught.value.code == FlowErrorCode.ROUTING
        assert await flow.ask(0) == "a"


@in_time
async def test_an_answer_that_names_nobody_is_told_with_the_plugin_that_gave_it():
    async with routed(Policy("canary", "answer_v3")) as flow:
        with pytest.raises(FlowError, match="so answered the plugin 'canary'"):
            await flow.ask(1)
