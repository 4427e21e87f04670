"""Plugins that start and stop with a flow, in time or not at all."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from penguiflow import (
    Context,
    FlowEvent,
    PenguiFlow,
    create,
    hookimpl,
    node,
    subflow,
)
from tests.utils.distributions import Site
from tests.utils.flowtestkit import Recorder, clock, in_time, quiet
from tests.utils.lives import GRACE_S, STOP_S, Life, exits, is_cancelled, is_deaf, raises, raises_beside_exception
from tests.utils.nodes import forever, same


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


# --- in order -------------------------------------------------------------------------------------


@in_time
async def test_a_plugin_starts_before_the_first_event_and_stops_after_the_last():
    diary: list[str] = []
    flow = create(same, plugins=[Life(diary)])
    for _ in range(2):
        async with flow:
            diary.append("open")
            assert await flow.ask(1) == 1
        assert diary == [
            "life starts",
            "life has started",
            "life: flow_start",
            "open",
            "life: trace_start",
            "life: node_start",
            "life: node_success",
            "life: trace_finish",
            "life: flow_stop",
            "life stops",
            "life has stopped",
        ]
        diary.clear()


@in_time
async def test_messages_wait_until_the_plugins_have_started_and_start_gets_the_flow():
    given: list[PenguiFlow] = []

    class Slow:
        async def start(self, flow: PenguiFlow) -> None:
            await asyncio.sleep(3)
            given.append(flow)

        @hookimpl
        def on_event(self, event: FlowEvent) -> None:
            assert given

    flow = create(same, plugins=[Slow()])
    flow.run()
    assert await flow.ask(1) == 1
    assert (given, clock()) == ([flow], pytest.approx(1003))
    await flow.stop()


@in_time
async def test_plugins_start_one_by_one_and_stop_at_the_same_time():
    diary: list[str] = []
    pause = lambda: asyncio.sleep(2)  # noqa: E731
    async with create(same, plugins=[Life(diary, name, pause, pause) for name in "ab"]):
        assert clock() == pytest.approx(1004)
        assert [line for line in diary if "start" in line and "flow" not in line] == [
            "a starts",
            "a has started",
            "b starts",
            "b has started",
        ]
        diary.clear()
    assert [line for line in diary if "flow" not in line] == ["b stops", "a stops", "b has stopped", "a has stopped"]
    assert clock() == pytest.approx(1006)


@in_time
async def test_resources_open_after_the_plugins_started_and_close_before_they_stop():
    diary: list[str] = []

    class Resource:
        async def __aenter__(self) -> None:
            diary.append("opened")

        async def __aexit__(self, *_: object) -> None:
            diary.append("closed")

    async with create(same, plugins=[Life(diary)], resources=lambda: Resource()):
        pass
    assert diary == [
        "life starts",
        "life has started",
        "life: flow_start",
        "opened",
        "life: flow_stop",
        "closed",
        "life stops",
        "life has stopped",
    ]


@in_time
async def test_what_goes_wrong_in_a_plugins_own_task_is_shown_to_observers():
    recorder, error = Recorder(), ValueError("the file is no TOML")
    flow = create(same, plugins=[Life([])], on_event=recorder)
    flow.report("life", "reload", error)  # nobody observes: no harm
    async with flow:
        flow.report("life", "reload", error)
        (event,) = recorder.of("plugin_error")
    assert event.error is error
    assert (event.flow_name, event.extra["plugin"], event.extra["hook"]) == ("flow", "life", "reload")


@in_time
async def test_one_of_start_and_stop_is_enough():
    diary: list[str] = []

    class Starts:
        async def start(self, flow: PenguiFlow) -> None:
            diary.append("started")

        @hookimpl
        def on_event(self, event: FlowEvent) -> None:
            pass

    class Stops:
        async def stop(self, flow: PenguiFlow) -> None:
            diary.append("stopped")

        @hookimpl
        def on_event(self, event: FlowEvent) -> None:
            pass

    async with create(same, plugins=[Starts(), Stops()]):
        assert diary == ["started"]
    assert diary == ["started", "stopped"]


@in_time
async def test_an_installed_plugin_starts_and_stops_in_each_of_two_flows(site: Site):
    before = asyncio.all_tasks()
    site.add(
        "lively",
        """
        import asyncio
        from penguiflow import hookimpl

        class Lively:
            async def start(self, flow):
                self.task = asyncio.create_task(asyncio.Event().wait())

            async def stop(self, flow):
                self.task.cancel()

            @hookimpl
            def on_event(self, event):
                pass

        def plugin():
            return Lively()
        """,
    )
    one, two = create(same, name="one"), create(same, name="two")
    async with one, two:
        assert len(asyncio.all_tasks() - before) == 2 * 2  # a keeper and a task each
        assert await asyncio.gather(one.ask(1), two.ask(2)) == [1, 2]
    await quiet()
    assert asyncio.all_tasks() == before


# --- a stop that fails ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("way", "said", "seconds"),
    [
        (raises, "OSError: no", 0),
        (raises_beside_exception, "Odd: no", 0),
        (exits, "SystemExit: 1", 0),
        (is_cancelled, "CancelledError: stop(flow) was cancelled", 0),
        (forever, "TimeoutError: stop(flow) took longer than 5 s", STOP_S),
        (is_deaf, "TimeoutError: stop(flow) took longer than 5 s", STOP_S + GRACE_S),
    ],
)
@in_time
async def test_one_that_does_not_stop_does_not_hold_the_flow(caplog, way: Any, said: str, seconds: float):
    before = asyncio.all_tasks()
    diary: list[str] = []
    recorder = Recorder()
    flow = create(same, plugins=[Life(diary, "bad", None, way), Life(diary, "good")], on_event=recorder)
    async with flow:
        assert await flow.ask(1) == 1
    assert clock() == pytest.approx(1000 + seconds)
    assert "good has stopped" in diary
    assert errors(caplog) == [f"plugin 'bad' could not be stopped: {said}"]
    (event,) = recorder.of("plugin_error")
    assert dict(event.extra) == {"plugin": "bad", "hook": "stop", "quarantined": False}
    assert not flow.running
    await asyncio.sleep(200)
    assert asyncio.all_tasks() == before


@in_time
async def test_several_that_hang_cost_the_time_of_one():
    async with create(same, plugins=[Life([], name, None, is_deaf) for name in "abc"]):
        pass
    assert clock() == pytest.approx(1000 + STOP_S + GRACE_S)
    await asyncio.sleep(200)


@in_time
async def test_the_time_limits_are_settings(site: Site):
    site.configure("[plugins]\nstart_timeout_s = 2\nstop_timeout_s = 1")
    async with create(same, plugins=[Life([], "a", forever), Life([], "b", None, forever)]):
        assert clock() == pytest.approx(1002)
    assert clock() == pytest.approx(1003)


@pytest.mark.parametrize(
    ("said", "asked", "allowed"),
    [(None, 20, 20), (None, 20.5, 20.5), (None, 1, STOP_S), (None, "20", STOP_S), (2, 20, 2), (STOP_S, 20, STOP_S)],
)
@in_time
async def test_a_plugin_may_ask_for_more_time_to_stop_and_the_deployment_has_the_last_word(
    site: Site, said: float | None, asked: Any, allowed: float
):
    if said is not None:
        site.configure(f"[plugins]\nstop_timeout_s = {said}")
    life = Life([], "asks", None, forever)
    life.stop_timeout_s = asked
    async with create(same, plugins=[life]):
        pass
    assert clock() == pytest.approx(1000 + allowed)


@in_time
async def test_a_plugin_that_stops_its_own_flow_does_not_hold_it():
    before = asyncio.all_tasks()
    flow: PenguiFlow

    async def stops_it() -> None:
        await flow.stop()

    flow = create(same, plugins=[Life([], "a", None, stops_it)])
    async with flow:
        pass
    assert clock() == pytest.approx(1000 + STOP_S + GRACE_S)
    await quiet()
    assert asyncio.all_tasks() == before


# --- whose plugins start --------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["playbook", "factory", "subflow"])
@in_time
async def test_the_plugins_of_a_flow_inside_a_flow_are_not_started(way: str):
    outer, within = [], []

    def inner() -> PenguiFlow:
        return create(same, plugins=[Life(within)], name="inner")

    kept = inner()

    @node
    async def calls(x: int, ctx: Context) -> int:
        return await ctx.call_playbook(inner if way == "factory" else kept, x)

    async with create(subflow("calls", kept) if way == "subflow" else calls, plugins=[Life(outer)]) as flow:
        assert await flow.ask(1) == 1
    assert within == []
    assert [line for line in outer if ":" not in line] == [
        "life starts",
        "life has started",
        "life stops",
        "life has stopped",
    ]


# --- wrong ones -----------------------------------------------------------------------------------


async def no_flow(self: Any) -> None:
    pass


@pytest.mark.parametrize("life", ["start", "stop"])
@pytest.mark.parametrize("function", [lambda self, flow: None, no_flow, 3.5], ids=["sync", "no flow", "a number"])
def test_a_start_or_stop_that_is_none_is_refused(life: str, function: Any):
    class Watch:
        @hookimpl
        def on_event(self, event: FlowEvent) -> None:
            pass

    create(same, plugins=[Watch()])
    plugin = Watch()
    setattr(plugin, life, 3.5)  # in the object itself, whose class is known already
    for wrong in (plugin, type("Wrong", (Watch,), {life: function})()):
        with pytest.raises(TypeError, match=f"{life} is async: write `async def {life}\\(self, flow\\)`"):
            create(same, plugins=[wrong])
