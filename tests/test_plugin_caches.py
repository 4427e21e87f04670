"""What plugins leave for the second flow of a process, and what they don't leave behind."""

from __future__ import annotations

import gc
import logging
import shutil
import sys
import weakref
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from penguiflow import PenguiFlow, PluginError, create, hookimpl
from tests.utils.distributions import OBSERVER, POLICIES, Site, only_record, policy, statuses, warnings
from tests.utils.nodes import same

# --- the second flow ------------------------------------------------------------------------------

watched: list[str] | None = None


def watch(event: str, arguments: tuple[Any, ...]) -> None:
    if watched is not None and event in ("import", "open", "os.listdir", "os.scandir"):
        watched.append(f"{event} {arguments[0]}")


def test_the_second_flow_scans_and_imports_nothing(site: Site, monkeypatch):
    global watched
    site.add("watch")
    site.add("route", policy("None"), POLICIES)
    site.add("bad", "import no_such_module")
    site.add("unnamed", policy("None"), POLICIES)
    monkeypatch.setenv("PENGUIFLOW_POLICIES", "route")
    first = statuses(create(same))
    shutil.rmtree(site.folder)
    sys.addaudithook(watch)
    watched = []
    second = statuses(create(same))
    seen, watched = watched, None
    assert second == first == {"route": "loaded", "unnamed": "available", "bad": "failed", "watch": "loaded"}
    assert seen == []


def test_a_broken_plugin_is_imported_and_logged_once_for_all_flows(site: Site, caplog):
    site.add("bad", "import no_such_module")
    records = [only_record(create(same)) for _ in range(3)]
    assert site.imports("bad") == 1
    assert len(warnings(caplog)) == 1
    assert {(record.status, record.reason) for record in records} == {
        ("failed", "ModuleNotFoundError: No module named 'no_such_module'")
    }


def test_another_import_path_is_scanned_anew(site: Site, tmp_path: Path, monkeypatch):
    assert create(same).plugins == ()
    more = Site(tmp_path / "more")
    more.folder.mkdir()
    more.add("late")
    monkeypatch.syspath_prepend(str(more.folder))
    assert statuses(create(same)) == {"late": "loaded"}


# --- plugins that build flows ---------------------------------------------------------------------

BUILDS = """
    from penguiflow import create, hookimpl, node

    @node
    async def inner(x: int) -> int:
        return x

    FLOWS = []
    {at_import}

    class Observer:
        @hookimpl
        def on_event(self, event):
            pass

    def plugin():
        {in_factory}
        return Observer()
"""


@pytest.mark.parametrize("where", ["at_import", "in_factory"])
def test_a_flow_that_a_plugin_builds_while_it_is_loaded_does_without_it(site: Site, caplog, where: str):
    places = {"at_import": "", "in_factory": "", where: "FLOWS.append(create(inner))"}
    for name in ("one", "two"):
        site.add(name, BUILDS.format(**places))
    assert statuses(create(same)) == {"one": "loaded", "two": "loaded"}
    inside = sys.modules["one"].FLOWS[0].plugins[0]
    assert (inside.status, inside.reason) == ("blocked", "it builds this flow itself, while it is loaded")
    assert warnings(caplog) == []
    assert statuses(create(same)) == {"one": "loaded", "two": "loaded"}


# --- nothing stays behind -------------------------------------------------------------------------


class Marker:
    @hookimpl
    def on_event(self, event: Any) -> None:
        pass


@pytest.fixture
def unlogged(monkeypatch):
    """Nobody keeps log records, whose tracebacks would keep what is looked for."""
    monkeypatch.setattr(logging.getLogger("penguiflow"), "disabled", True)


def test_the_plugins_of_a_dropped_flow_are_collected(site: Site, unlogged):
    site.add(
        "watch",
        OBSERVER.replace(
            "def plugin():", "import weakref\n\n    MADE = weakref.WeakSet()\n\n    def plugin():"
        ).replace("return Observer()", "made = Observer()\n        MADE.add(made)\n        return made"),
    )
    site.add("bad", "import no_such_module")
    given = Marker()
    alive = weakref.ref(given)
    flow = create(same, plugins=[given])
    assert (alive() is given, len(sys.modules["watch"].MADE)) == (True, 1)
    del given, flow
    gc.collect()
    assert (alive(), len(sys.modules["watch"].MADE)) == (None, 0)


def test_a_plugins_failure_keeps_nothing_of_its_flows_builder(site: Site, unlogged):
    site.add("bad", "try:\n    import no_such_module\nexcept ImportError as exc:\n    raise RuntimeError from exc")

    def build(required: bool) -> weakref.ref[Marker]:
        local = Marker()
        with pytest.raises(PluginError) if required else nullcontext():
            flows.append(create(same, plugins=["bad"] if required else []))
        return weakref.ref(local)

    flows: list[PenguiFlow] = []
    for required in (True, False, True):
        kept = build(required)
        gc.collect()
        assert kept() is None
    assert isinstance(only_record(flows[0]).error, RuntimeError)


def test_a_class_of_plugins_is_not_kept():
    class Local:
        @hookimpl
        def on_event(self, event: Any) -> None:
            pass

    alive = weakref.ref(Local)
    create(same, plugins=[Local()])
    del Local
    gc.collect()
    assert alive() is None


def test_a_plugin_that_builds_a_flow_and_changes_the_import_path_is_loaded_once(site: Site, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    code = """
    import sys
    from penguiflow import create, hookimpl, node

    @node
    async def inner(x: int) -> int:
        return x

    class Observer:
        @hookimpl
        def on_event(self, event):
            pass

    def plugin():
        sys.path.append(f"/nowhere/{len(sys.path)}")
        create(inner)
        return Observer()
    """
    site.add("acme", code)
    create(same)
    assert len([folder for folder in sys.path if folder.startswith("/nowhere/")]) == 1
