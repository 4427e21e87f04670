"""`PluginConformance`: a good plugin passes every check, and each broken promise fails the check that looks for it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import textwrap
import unittest
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from penguiflow import EVENT_TYPES, ErrorDecision, ExportRequest, FlowError, FlowEvent, Retry, RoutingRequest, hookimpl
from penguiflow.testkit import PluginConformance
from tests.utils import broken_plugins as broken

ROOT = Path(__file__).parents[1]
CHECKS = [name for name in vars(PluginConformance) if name.startswith("test_")]
BUILT = "test_it_can_be_built_into_a_flow_and_started"
IMPORT = "test_importing_it_is_cheap"


class Good:
    """Implements every hook, and keeps every promise."""

    name = "good"

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()
        self.extras: dict[str, set[str]] = {}

    async def start(self, flow: Any) -> None:
        self.task = asyncio.create_task(asyncio.Event().wait())

    async def stop(self, flow: Any) -> None:
        self.task.cancel()
        await asyncio.wait([self.task])

    @hookimpl
    def on_event(self, event: FlowEvent) -> None:
        self.seen[event.event_type] += 1

    @hookimpl
    async def resolve_route(self, request: RoutingRequest) -> tuple[str, ...] | None:
        await asyncio.sleep(0)
        return request.proposed_names[:1] if isinstance(request.message.payload, str) else None

    @hookimpl
    def on_error(self, error: FlowError) -> ErrorDecision | None:
        return None

    @hookimpl
    def export_graph(self, request: ExportRequest) -> str | None:
        return f"graph {request.graph.name}" if request.format == "mermaid" else None


def suite(made: Any, **attributes: Any) -> PluginConformance:
    """The checks of a plugin, as its author would inherit them."""
    return type("TestPlugin", (PluginConformance,), {"make": lambda self: made(), **attributes})()


def verdicts(checks: PluginConformance, names: Sequence[str] = CHECKS) -> dict[str, str]:
    """The checks that fail, and what they say."""
    failed = {}
    for name in names:
        try:
            getattr(checks, name)()
        except AssertionError as exc:
            failed[name] = str(exc)
        except unittest.SkipTest:
            pass
    return failed


def test_a_good_plugin_passes_every_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    module(tmp_path, monkeypatch, "good_module", "VALUE = 1")
    checks = suite(Good, module="good_module")
    for name in CHECKS:
        getattr(checks, name)()


def test_every_type_of_event_occurs():
    made: list[Good] = []
    checks = suite(lambda: made.append(Good()) or made[-1])
    checks.test_it_survives_every_type_of_event()
    assert [kind for kind in EVENT_TYPES if not made[-1].seen[kind]] == []


def test_a_plugin_without_a_hook_passes_the_checks_of_that_hook():
    class Exporter:
        @hookimpl
        def export_graph(self, request: ExportRequest) -> None: ...

    assert verdicts(suite(Exporter)) == {}


def test_a_retry_that_is_wanted_later_is_not_waited_for():
    attempts: list[int] = []

    class Patient:
        @hookimpl
        def on_error(self, error: FlowError) -> ErrorDecision | None:
            attempts.append(error.metadata["attempts"])
            return Retry(after_s=3600) if attempts[-1] < 4 else None

    assert verdicts(suite(Patient)) == {}
    assert max(attempts) == 4  # within the few seconds that each failure has


ONE_EACH = [
    (broken.WrongArgument, BUILT, "write `def on_event(self, event)`"),
    (broken.NoStart, BUILT, "start(flow) raised ConnectionError: no collector"),
    (broken.KnowsNoFlowEvents, "test_it_survives_every_type_of_event", "on_event(plugin_error) raised AssertionError"),
    (broken.Busy, "test_on_event_is_quick", "microseconds per event, and 50 are allowed"),
    (broken.SleepsAtTheEnd, "test_on_event_is_quick", "ms for a flow_stop, and 10 are allowed"),
    (broken.Meddles, "test_it_changes_no_result", "'fair and mild (seen)', without it 'fair and mild'"),
    (broken.Annotates, "test_it_changes_no_result", "{'by': [1], 'seen': True}), without it"),
    (broken.RoutesNowhere, "test_routes_are_ones_that_the_router_has", "'nowhere'"),
    (broken.RaisesInRouting, "test_routes_are_ones_that_the_router_has", "raised TypeError"),
    (broken.DecidesInWords, "test_what_follows_an_error_is_a_decision", "on_error(error) answered 'retry'"),
    (broken.NeverGivesUp, "test_what_follows_an_error_is_a_decision", "Retry to one failure more than 100 times"),
    (broken.KeepsFewRuns, "test_a_storm_of_cancellations_is_survived", "raised KeyError"),
    (broken.SwallowsCancellation, "test_a_storm_of_cancellations_is_survived", "was cancelled, and went on"),
    (broken.OneFlowAtATime, "test_two_flows_at_once_do_not_meet", "on_event(flow_start) raised"),
    (broken.KeepsItsLoop, "test_a_second_event_loop_is_like_the_first", "Event loop is closed"),
    (broken.StartsInOneFlowAtATime, "test_two_flows_at_once_do_not_meet", "another flow has it"),
    (broken.StartsOnce, "test_a_second_event_loop_is_like_the_first", "a second time"),
    (broken.LeavesATask, "test_stop_leaves_nothing_behind", "the task <coroutine object Event.wait"),
    (broken.LeavesAThread, "test_stop_leaves_nothing_behind", "the thread 'exporter' is left"),
    (broken.LeavesATimer, "test_stop_leaves_nothing_behind", "the timer <TimerHandle"),
    (broken.LeavesASocket, "test_stop_leaves_nothing_behind", "the open file"),
    (broken.HangsInStop, "test_stop_leaves_nothing_behind", "end within 0.05 seconds"),
    (broken.FullQueue, "test_a_burst_of_events_is_survived", "raised Full"),
    (broken.ExportsADict, "test_an_export_is_text_bytes_or_none", "export_graph('json') answered {'nodes': []}"),
    (broken.ExportsAnything, "test_an_export_is_text_bytes_or_none", "None to a request.format that you don't know"),
]


@pytest.fixture
def _loose_ends():
    broken.LeavesAThread.over.clear()
    yield
    broken.LeavesAThread.over.set()
    while broken.LeavesASocket.sockets:
        broken.LeavesASocket.sockets.pop().close()


@pytest.mark.usefixtures("_loose_ends")
@pytest.mark.parametrize(("plugin", "check", "says"), ONE_EACH, ids=lambda value: getattr(value, "__name__", ""))
def test_a_broken_promise_fails_the_one_check_that_looks_for_it(plugin: Any, check: str, says: str):
    others_import_the_same = [name for name in CHECKS if name != IMPORT]
    failed = verdicts(suite(plugin, stop_s=0.05), others_import_the_same)
    assert list(failed) == [check]
    assert says in failed[check]


def test_importing_the_broken_plugins_breaks_no_promise():
    assert verdicts(suite(broken.Meddles), [IMPORT]) == {}


def test_every_check_can_fail():
    assert {check for _, check, _ in ONE_EACH} | {IMPORT} == set(CHECKS)


# --- what an import costs -------------------------------------------------------------------------


def module(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, code: str) -> None:
    (folder / f"{name}.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(str(folder))


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("import time; time.sleep(0.05)", "ms, and 25 are allowed"),
        ("import threading; threading.Thread(target=str, name='eager').start()", "starts a thread (eager)"),
        ("import asyncio; asyncio.new_event_loop().close()", "starts an event loop"),
        ("import a_module_that_is_not_there", "No module named 'a_module_that_is_not_there'"),
    ],
    ids=["slow", "thread", "loop", "broken"],
)
def test_an_import_that_costs_or_starts_something_fails_that_check(
    code: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    module(tmp_path, monkeypatch, "acme_plugin", code)
    failed = verdicts(suite(Good, module="acme_plugin", import_ms=25.0))
    assert list(failed) == [IMPORT]
    assert says in failed[IMPORT]


# --- as its author uses it ------------------------------------------------------------------------


PLUGIN = """
from pydantic import BaseModel
from penguiflow import hookimpl

class Options(BaseModel):
    level: int
    label: str = ""

class Acme:
    def __init__(self, options):
        assert (options.level, options.label) == (3, 'a "quoted"\\tword')

    @hookimpl
    def {hook}(self, {argument}):
        return None

def plugin(options: Options):
    return Acme(options)
"""
TESTS = """
from penguiflow.testkit import PluginConformance

class TestAcme(PluginConformance):
    entry_point = "acme"
    options = {options}
"""
OPTIONS = {"level": 3, "label": 'a "quoted"\tword'}


def pytest_in(folder: Path, group: str, hook: str, options: Any, **environment: str) -> str:
    """Run the checks of an installed plugin as pytest does, in a process of its own; what it prints."""
    argument = {"on_event": "event", "on_error": "error"}.get(hook, "request")
    info = folder / "acme-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(f"[{group}]\nacme = acme_plugin:plugin\n", encoding="utf-8")
    (folder / "acme_plugin.py").write_text(PLUGIN.format(hook=hook, argument=argument), encoding="utf-8")
    (folder / "test_acme.py").write_text(TESTS.format(options=options), encoding="utf-8")
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:asyncio", "-W", "error", "-v", "--no-header", str(folder)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)]), **environment},
        cwd=folder,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        encoding="utf-8",
        timeout=120,
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    ("group", "hook"), [("penguiflow.plugins", "on_event"), ("penguiflow.policies", "resolve_route")]
)
def test_an_installed_plugin_of_either_group_is_found_by_its_name(group: str, hook: str, tmp_path: Path):
    told = pytest_in(tmp_path, group, hook, OPTIONS)
    assert f"{len(CHECKS)} passed" in told, told


def test_the_settings_of_the_machine_do_not_count(tmp_path: Path):
    told = pytest_in(
        tmp_path, "penguiflow.plugins", "on_event", OPTIONS, PENGUIFLOW_PLUGINS_BLOCK="acme", PENGUIFLOW_POLICIES="gone"
    )
    assert f"{len(CHECKS)} passed" in told, told


def test_a_plugin_in_the_wrong_group_is_told_so(tmp_path: Path):
    told = pytest_in(tmp_path, "penguiflow.plugins", "resolve_route", OPTIONS)
    assert f"1 failed, {len(CHECKS) - 1} passed" in told, told
    assert "publish it in penguiflow.policies" in told


def test_options_that_do_not_fit_fail_one_check_and_skip_the_others(tmp_path: Path):
    told = pytest_in(tmp_path, "penguiflow.plugins", "on_event", {"level": "high"})
    assert f"1 failed, 1 passed, {len(CHECKS) - 2} skipped" in told, told
    assert "the plugin can't be made: ValidationError" in told


def test_a_suite_that_names_no_plugin_says_what_to_do():
    class TestNothing(PluginConformance):
        pass

    with pytest.raises(AssertionError, match=r'TestNothing doesn\'t say which plugin .*entry_point = "name"'):
        TestNothing().test_it_can_be_built_into_a_flow_and_started()


def test_a_plugin_that_is_not_installed_says_how_it_would_be():
    class TestAbsent(PluginConformance):
        entry_point = "absent"

    with pytest.raises(AssertionError, match=r'\[project.entry-points."penguiflow.plugins"\] absent = '):
        TestAbsent().test_it_can_be_built_into_a_flow_and_started()


def test_the_testkit_needs_no_test_framework():
    code = "import sys, penguiflow.testkit; print(sorted({'pytest', 'hypothesis'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=ROOT, capture_output=True, encoding="utf-8", check=True
    )
    assert done.stdout.strip() == "[]"
