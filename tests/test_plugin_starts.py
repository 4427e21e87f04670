"""Plugins that can't be started, and flows that are given up while theirs start."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from penguiflow import (
    FlowError,
    PluginError,
    RoutingRequest,
    create,
    hookimpl,
    router,
)
from tests.utils.distributions import Site
from tests.utils.flowtestkit import Recorder, clock, in_time, quiet
from tests.utils.lives import GRACE_S, START_S, Life, exits, is_cancelled, is_deaf, raises, raises_beside_exception
from tests.utils.nodes import forever, same


class RoutingLife(Life):
    @hookimpl
    def resolve_route(self, request: RoutingRequest) -> None:
        pass


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


# --- a start that fails ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("way", "said", "seconds"),
    [
        (raises, "OSError: no", 0),
        (raises_beside_exception, "Odd: no", 0),
        (exits, "SystemExit: 1", 0),
        (is_cancelled, "CancelledError: start(flow) was cancelled", 0),
        (forever, "TimeoutError: start(flow) took longer than 10 s", START_S),
        (is_deaf, "TimeoutError: start(flow) took longer than 10 s", START_S + GRACE_S),
    ],
)
@in_time
async def test_one_that_cannot_be_started_is_left_out_of_this_run(caplog, way: Any, said: str, seconds: float):
    bad, good = [], []
    recorder = Recorder()
    plugins = [Life(bad, "bad", way), Life(good, "good")]
    flow = create(same, plugins=plugins, on_event=recorder)
    async with flow:
        assert clock() == pytest.approx(1000 + seconds)
        assert await flow.ask(1) == 1
    assert bad == ["bad starts"]  # it sees nothing, and isn't stopped
    assert good[-1] == "good has stopped"
    assert errors(caplog) == [f"plugin 'bad' could not be started: {said}"]
    assert [(record.name, record.status) for record in flow.plugins] == [("bad", "failed"), ("good", "loaded")]
    assert flow.plugins[0].reason == f"start(flow): {said}"
    (event,) = recorder.of("plugin_error")
    assert dict(event.extra) == {"plugin": "bad", "hook": "start", "quarantined": True}
    assert f"{type(event.error).__name__}: {event.error}" == said
    plugins[0].starts = None
    async with flow:
        pass
    assert bad[-1] == "bad has stopped"  # another run, another chance
    await asyncio.sleep(200)


@in_time
async def test_one_that_asks_its_own_flow_while_it_starts_is_told_at_once(caplog):
    async def asks() -> None:
        await flow.ask(1)

    async def streams() -> None:
        async with flow.stream(1) as chunks:
            [chunk async for chunk in chunks]

    flow = create(same, name="shop", plugins=[Life([], "a", asks), Life([], "b", streams)])
    async with flow:
        assert clock() == 1000
        assert await flow.ask(1) == 1
    said = "FlowStateError: flow 'shop' is still being opened, and what opens it can't wait for its answer"
    assert [record.reason.startswith(f"start(flow): {said}") for record in flow.plugins] == [True, True]
    assert len(errors(caplog)) == 2


@pytest.mark.parametrize("way", ["raise OSError", "raise SystemExit", "await asyncio.Event().wait()"])
@pytest.mark.parametrize("variable", ["PENGUIFLOW_PLUGINS_REQUIRE", "code", None])
@in_time
async def test_one_that_was_named_or_required_has_to_start(site: Site, monkeypatch, way: str, variable: str | None):
    before = asyncio.all_tasks()
    site.add(
        "lively",
        f"""
        import asyncio
        from penguiflow import hookimpl

        class Lively:
            async def start(self, flow):
                {way}

            @hookimpl
            def on_event(self, event):
                pass

        def plugin():
            return Lively()
        """,
    )
    if variable is not None and variable != "code":
        monkeypatch.setenv(variable, "lively")
    diary: list[str] = []
    flow = create(same, plugins=[Life(diary), *(["lively"] if variable == "code" else [])])
    if variable is None:
        async with flow:
            assert await flow.ask(1) == 1
        return
    with pytest.raises(PluginError, match="plugin 'lively' could not be started"):
        async with flow:
            raise AssertionError
    assert diary == ["life starts", "life has started", "life stops", "life has stopped"]
    assert not flow.running
    await quiet()
    assert asyncio.all_tasks() == before


@in_time
async def test_another_plugin_of_a_required_ones_name_need_not_start(site: Site, monkeypatch):
    site.add(
        "lively",
        "from penguiflow import hookimpl\nclass L:\n    @hookimpl\n    def on_event(self, event): pass\nplugin = L",
    )
    monkeypatch.setenv("PENGUIFLOW_PLUGINS_REQUIRE", "lively")
    async with create(same, plugins=[Life([], "lively", raises)]) as flow:
        assert await flow.ask(1) == 1


@in_time
async def test_no_flow_starts_without_a_plugin_that_routes():
    """Left out, its messages would go elsewhere: routing fails closed."""
    flow = create(router("choose").to(same), plugins=[RoutingLife([], "policy", raises)])
    with pytest.raises(PluginError, match="plugin 'policy' could not be started: OSError: no"):
        async with flow:
            raise AssertionError


@in_time
async def test_who_asks_a_flow_whose_plugin_cannot_start_is_told():
    flow = create(router("choose").to(same), plugins=[RoutingLife([], "policy", raises)])
    flow.run()
    with pytest.raises((FlowError, PluginError)) as caught:
        await flow.ask(1)
    assert "plugin 'policy' could not be started" in str(caught.value)
    assert "resources" not in str(caught.value)
    with pytest.raises(PluginError):
        await flow.stop()


@in_time
async def test_resources_that_cannot_be_opened_stop_the_plugins_after_the_last_event():
    diary: list[str] = []

    def resources() -> Any:
        raise OSError("no database")

    with pytest.raises(OSError, match="no database"):
        async with create(same, plugins=[Life(diary)], resources=resources):
            raise AssertionError
    assert diary == [
        "life starts",
        "life has started",
        "life: flow_start",
        "life: flow_stop",
        "life stops",
        "life has stopped",
    ]


# --- cancelled, stopped while starting ------------------------------------------------------------


@in_time
async def test_who_enters_may_be_cancelled_while_plugins_start():
    before = asyncio.all_tasks()
    diary: list[str] = []

    async def tidies() -> None:
        try:
            await forever()
        finally:
            await asyncio.sleep(0.05)
            diary.append("b tidied")

    recorder = Recorder()
    flow = create(same, plugins=[Life(diary, "a"), Life(diary, "b", tidies)], on_event=recorder)

    async def enter() -> None:
        async with flow:
            raise AssertionError

    task = asyncio.create_task(enter())
    await quiet()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert diary == ["a starts", "a has started", "b starts", "b tidied", "a stops", "a has stopped"]
    assert recorder.events == []  # what never started never stopped
    assert asyncio.all_tasks() == before


@in_time
async def test_a_flow_may_be_stopped_while_its_plugins_start():
    before = asyncio.all_tasks()
    diary: list[str] = []
    flow = create(same, plugins=[Life(diary, "a"), Life(diary, "b", forever)])
    flow.run()
    await quiet()
    await flow.stop()
    assert diary == ["a starts", "a has started", "b starts", "a stops", "a has stopped"]
    assert clock() < 1001
    assert asyncio.all_tasks() == before


@in_time
async def test_the_next_run_begins_with_a_clean_record():
    life = Life([], "moody", raises)
    flow = create(same, plugins=[life])
    async with flow:
        pass
    assert flow.plugins[0].status == "failed"
    life.starts = None
    async with flow:
        assert flow.plugins[0].status == "loaded"
