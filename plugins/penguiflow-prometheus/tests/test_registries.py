"""Registries, and the flows that share one."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import threading
import weakref
from pathlib import Path

import pytest
from prometheus_client import REGISTRY, CollectorRegistry, Counter
from promkit.flows import Tap, busy, pour, sift, tell, use
from promkit.scrapes import read, scraped

from penguiflow import FlowError, FlowEvent, PenguiFlow, PluginError, create, node
from penguiflow_prometheus import Options, Prometheus


async def test_the_default_registry_has_the_metrics_beside_its_others():
    async with create(tell, name="default registry", plugins=[Prometheus()]) as flow:
        await flow.ask(1)
    seen = scraped(REGISTRY)
    assert seen.value("penguiflow_traces_total", flow="default registry", outcome="completed") == 1
    assert seen.by("python_info", "implementation")


async def test_a_prefix_begins_all_names(registry: CollectorRegistry):
    async with create(tell, plugins=[Prometheus(Options(prefix="shop"), registry=registry)]) as flow:
        await flow.ask(1)
    assert {metric.name.split("_")[0] for metric in scraped(registry).metrics} == {"shop"}


async def test_two_flows_at_once_are_counted_apart_in_one_registry(registry: CollectorRegistry):
    one, two = (busy([Prometheus(registry=registry)], name) for name in ("one", "two"))
    async with one, two:
        await asyncio.gather(use(one, range(30)), use(two, range(10)))
    found = scraped(registry).by("penguiflow_traces_started_total", "flow")
    assert found == {("one",): 30, ("two",): 10}


async def test_two_flows_of_one_name_are_added_up(registry: CollectorRegistry):
    one, two = (busy([Prometheus(registry=registry)]) for _ in range(2))
    async with one, two:
        await asyncio.gather(use(one, range(30)), use(two, range(10)))
        assert scraped(registry).value("penguiflow_flows_running", flow="busy") == 2
    assert scraped(registry).by("penguiflow_traces_started_total", "flow") == {("busy",): 40}
    assert len(scraped(registry).exemplars("penguiflow_node_errors_total")) == 2


async def test_one_object_may_watch_two_flows_of_a_loop(registry: CollectorRegistry):
    made = Prometheus(registry=registry)
    one, two = busy([made], "one"), busy([made], "two")
    async with one:
        async with two:
            await asyncio.gather(use(one, range(30)), use(two, range(10)))
        await use(one, range(5))
    assert scraped(registry).by("penguiflow_traces_started_total", "flow") == {("one",): 35, ("two",): 10}


def test_flows_in_several_threads_lose_no_count(registry: CollectorRegistry):
    def run() -> None:
        async def asked() -> None:
            async with create(tell, name="threads", plugins=[Prometheus(registry=registry)]) as flow:
                for _ in range(300):
                    await flow.ask(1)

        asyncio.run(asked())

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        scraped(registry)
    for thread in threads:
        thread.join()
    seen = scraped(registry)
    assert seen.value("penguiflow_traces_total", flow="threads", outcome="completed") == 1200
    assert seen.value("penguiflow_stream_chunks_total", flow="threads", node="tell") == 1200


def test_an_object_that_watches_one_loop_refuses_another(registry: CollectorRegistry, caplog: pytest.LogCaptureFixture):
    made = Prometheus(registry=registry)

    async def other() -> None:
        async with create(tell, name="other", plugins=[made]) as flow:
            await flow.ask(1)

    async def first() -> None:
        async with create(tell, name="first", plugins=[made]):
            await asyncio.to_thread(asyncio.run, other())

    asyncio.run(first())
    assert "give each loop a Prometheus() of its own" in caplog.text
    assert not [key for key in scraped(registry).by("penguiflow_traces_total", "flow") if key == ("other",)]


def test_counters_go_on_when_a_flow_runs_again_in_another_loop(registry: CollectorRegistry):
    flow = create(tell, name="again", plugins=[Prometheus(registry=registry)])

    async def once() -> None:
        async with flow:
            await flow.ask(1)

    asyncio.run(once())
    asyncio.run(once())
    assert scraped(registry).value("penguiflow_traces_total", flow="again", outcome="completed") == 2


@pytest.mark.parametrize("again", [True, False], ids=["the flow runs again", "the flow is forgotten"])
def test_a_flow_whose_loop_ended_before_it_was_stopped_leaves_nothing_active(registry: CollectorRegistry, again: bool):
    async def never_stopped(flow: PenguiFlow, tap: Tap) -> None:
        flow.run()
        flow.start(3)
        await tap.holds.wait()
        await asyncio.sleep(0)
        seen = scraped(registry)
        assert seen.by("penguiflow_node_runs_active", "node") == {("drip",): 1}
        assert seen.by("penguiflow_messages_waiting", "flow") == {("lost",): 1}

    async def stopped(flow: PenguiFlow) -> None:
        async with flow:
            assert scraped(registry).value("penguiflow_flows_running", flow="lost") == 1
            flow.start(0)

    def use_it() -> None:
        tap = Tap()
        flow = create(pour.to(tap.node), name="lost", plugins=[Prometheus(registry=registry)])
        asyncio.run(never_stopped(flow, tap))
        if again:
            asyncio.run(stopped(flow))

    use_it()
    gc.collect()
    seen = scraped(registry)
    for name in ("traces_active", "node_runs_active", "node_queue_depth", "messages_waiting", "flows_running"):
        assert {sample.value for sample in seen.samples if sample.name == f"penguiflow_{name}"} == {0}, name
    assert seen.value("penguiflow_traces_started_total", flow="lost", mode="start") == (2 if again else 1)


@pytest.mark.parametrize("again", [True, False], ids=["the flow runs again", "the flow is forgotten"])
def test_a_loop_that_is_closed_with_all_that_runs_in_it_leaves_nothing_active(again: bool):
    script = (
        "import asyncio, gc\n"
        "from promkit.flows import Tap, pour\n"
        "from prometheus_client import REGISTRY, generate_latest\n"
        "from penguiflow import create\n"
        "from penguiflow_prometheus import Prometheus\n"
        "async def unfinished(flow, tap):\n"
        "    flow.run()\n"
        "    flow.start(3)\n"
        "    await tap.holds.wait()\n"
        "async def stopped(flow):\n"
        "    async with flow:\n"
        "        await flow.start(1).results()\n"
        "def use_it():\n"
        "    tap, loop = Tap(), asyncio.new_event_loop()\n"
        "    flow = create(pour.to(tap.node), name='lost', plugins=[Prometheus()])\n"
        "    loop.run_until_complete(unfinished(flow, tap))\n"
        "    loop.close()\n"
        f"    if {again}:\n"
        "        asyncio.run(stopped(flow))\n"
        "use_it()\n"
        "gc.collect()\n"
        "print(generate_latest(REGISTRY).decode())\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, env=environment)
    assert done.returncode == 0, done.stderr
    seen = read(done.stdout)
    for name in ("traces_active", "node_runs_active", "node_queue_depth", "messages_waiting", "flows_running"):
        assert {sample.value for sample in seen.samples if sample.name == f"penguiflow_{name}"} == {0}, name
    assert seen.value("penguiflow_traces_started_total", flow="lost", mode="start") == (2 if again else 1)


async def test_what_comes_after_stop_is_not_counted(registry: CollectorRegistry):
    made, seen = Prometheus(registry=registry), list[FlowEvent]()
    async with create(tell, name="over", plugins=[made], on_event=seen.append) as flow:
        await flow.ask(1)
    before = scraped(registry).samples
    for event in seen:
        made.on_event(event)
    assert scraped(registry).samples == before


async def test_of_two_exemplars_of_a_series_the_later_is_shown(registry: CollectorRegistry):
    one, two = (create(sift, name="busy", plugins=[Prometheus(registry=registry)]) for _ in range(2))
    async with one, two:
        for flow in (one, two, one):
            last = flow.start(5)
            with pytest.raises(FlowError):
                await last.result()
            (exemplar,) = scraped(registry).exemplars("penguiflow_trace_errors_total")
            assert exemplar.labels == {"trace_id": last.trace_id}


async def test_metrics_of_the_same_name_are_refused_with_the_way_out(
    registry: CollectorRegistry, caplog: pytest.LogCaptureFixture
):
    Counter("penguiflow_traces", "Somebody else's.", registry=registry)
    async with create(tell, plugins=[Prometheus(registry=registry)]) as flow:
        assert await flow.ask(1) == "told 1"
    assert "set another prefix than 'penguiflow'" in caplog.text
    async with create(tell, plugins=[Prometheus(Options(prefix="flows"), registry=registry)]) as flow:
        await flow.ask(1)
    assert scraped(registry).value("flows_traces_total", flow="flow", outcome="completed") == 1


async def test_other_buckets_under_the_same_prefix_are_refused(
    registry: CollectorRegistry, caplog: pytest.LogCaptureFixture
):
    async with create(tell, name="one", plugins=[Prometheus(registry=registry)]):
        async with create(tell, name="two", plugins=[Prometheus(Options(buckets=(1.0,)), registry=registry)]) as flow:
            assert await flow.ask(1) == "told 1"
    assert "give all flows the same options, or another prefix" in caplog.text
    assert ("two",) not in scraped(registry).by("penguiflow_traces_total", "flow")


async def test_a_registry_can_be_forgotten_with_all_that_was_counted():
    registry = CollectorRegistry()
    gone = weakref.ref(registry)
    async with create(tell, name="forgotten", plugins=[Prometheus(registry=registry)]) as flow:
        await flow.ask(1)
    del registry, flow
    gc.collect()
    assert gone() is None


async def test_an_object_and_the_installed_plugin_count_a_flow_once(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("PENGUIFLOW_PLUGINS")
    for number in (1, 2):
        async with create(tell, name="both", plugins=[Prometheus()]) as flow:
            assert [r.name for r in flow.plugins if r.status == "loaded"] == ["prometheus", "prometheus"]
            await flow.ask(1)
        assert scraped(REGISTRY).value("penguiflow_traces_total", flow="both", outcome="completed") == number
    async with create(tell, name="alone") as flow:
        await flow.ask(1)
    assert scraped(REGISTRY).value("penguiflow_traces_total", flow="alone", outcome="completed") == 1


async def test_two_objects_with_prefixes_of_their_own_both_count(registry: CollectorRegistry):
    plugins = [Prometheus(Options(prefix=prefix), registry=registry) for prefix in ("one", "two")]
    async with create(tell, name="both", plugins=plugins) as flow:
        await flow.ask(1)
    for prefix in ("one", "two"):
        assert scraped(registry).value(f"{prefix}_traces_total", flow="both", outcome="completed") == 1


async def test_an_object_that_would_count_half_of_its_flows_twice_refuses(
    registry: CollectorRegistry, caplog: pytest.LogCaptureFixture
):
    shared = Prometheus(registry=registry)
    async with create(tell, name="one", plugins=[shared]):
        async with create(tell, name="two", plugins=[Prometheus(registry=registry), shared]) as two:
            await two.ask(1)
    assert "give each a Prometheus() of its own" in caplog.text
    assert scraped(registry).value("penguiflow_traces_total", flow="two", outcome="completed") == 1


async def test_an_object_that_sits_out_in_one_flow_counts_no_other_meanwhile(
    registry: CollectorRegistry, caplog: pytest.LogCaptureFixture
):
    shared = Prometheus(registry=registry)
    two = create(tell, name="two", plugins=[shared])
    async with create(tell, name="one", plugins=[Prometheus(registry=registry), shared]) as one:
        async with two:
            await two.ask(1)
        await one.ask(1)
    assert "give each a Prometheus() of its own" in caplog.text
    assert scraped(registry).by("penguiflow_traces_total", "flow") == {("one",): 1}
    async with two:
        await two.ask(1)
    assert scraped(registry).by("penguiflow_traces_total", "flow") == {("one",): 1, ("two",): 1}


async def test_an_installed_plugin_takes_its_options_from_the_deployment(tmp_path, monkeypatch: pytest.MonkeyPatch):
    settings = tmp_path / "production.toml"
    settings.write_text('[plugins.options.prometheus]\nprefix = "deployed"\nbuckets = [0.5, 1]\n')
    monkeypatch.delenv("PENGUIFLOW_PLUGINS")
    monkeypatch.setenv("PENGUIFLOW_CONFIG", str(settings))
    async with create(tell, name="shop", plugins=["prometheus"]) as flow:
        await flow.ask(1)
    found = scraped(REGISTRY).by("deployed_trace_duration_seconds_bucket", "le")
    assert list(found) == [("0.5",), ("1.0",), ("+Inf",)]
    settings.write_text("[plugins.options.prometheus]\nbuckets = [1, 0.5]\n")
    with pytest.raises(PluginError, match=r"buckets rise"):
        create(tell, name="shop", plugins=["prometheus"])


async def test_what_a_node_that_ignored_its_end_does_later_harms_nothing(registry: CollectorRegistry):
    may_end, over = asyncio.Event(), asyncio.Event()

    @node
    async def deaf(number: int, ctx) -> None:
        while not may_end.is_set():
            try:
                await may_end.wait()
            except asyncio.CancelledError:
                continue
        over.set()

    flow = create(deaf, name="deaf", plugins=[Prometheus(registry=registry)])
    async with flow:
        handle = flow.start(1)
        await asyncio.sleep(0)
        await handle.cancel()
    may_end.set()
    await over.wait()
    await asyncio.sleep(0)
    seen = scraped(registry)
    assert seen.by("penguiflow_node_runs_total", "outcome") == {("cancelled",): 1}
    assert not seen.by("penguiflow_node_runs_active", "node")
