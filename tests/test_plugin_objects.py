"""Plugins of odd shapes: modules, proxies, properties that raise, exporters that come and go."""

from __future__ import annotations

import functools
from contextlib import suppress
from typing import Any

import pytest

from penguiflow import RoutingRequest, create, hookimpl, node, router
from tests.utils.distributions import Site
from tests.utils.flowtestkit import Recorder, in_time
from tests.utils.nodes import same


class Policy:
    @hookimpl
    def resolve_route(self, request: RoutingRequest) -> str:
        return "a"


@node
async def a(x: int) -> str:
    return "a"


@node
async def b(x: int) -> str:
    return "b"


class Proxy:
    """Has whatever another object has."""

    def __init__(self, target: Any) -> None:
        self.target = target

    def __getattr__(self, name: str) -> Any:
        return getattr(self.target, name)


@in_time
async def test_objects_of_one_class_may_implement_different_hooks():
    recorder = Recorder()

    class Watch:
        @hookimpl
        def on_event(self, event: Any) -> None:
            recorder(event)

    plugins = [Proxy(Watch()), Proxy(Policy())]
    flow = create(router("choose").to(a, b), plugins=plugins)
    assert [record.hooks for record in flow.plugins] == [("on_event",), ("resolve_route",)]
    async with flow:
        assert await flow.ask(1) == "a"
    assert recorder.types("route_decided") == ["route_decided"]


@pytest.mark.parametrize(
    ("types", "said"),
    [
        ("node_start", "event_types lists types of events"),
        (iter(["node_start"]), "event_types lists types of events"),
        (["node_begin"], "wants events of type 'node_begin': there are flow_start, "),
    ],
    ids=["text", "iterator", "unknown"],
)
def test_wrong_event_types_are_refused(types: Any, said: str):
    class Watch:
        event_types = types

        @hookimpl
        def on_event(self, event: Any) -> None:
            pass

    with pytest.raises(TypeError, match=said):
        create(same, plugins=[Watch()])


@in_time
async def test_a_type_that_is_listed_twice_is_shown_once():
    seen = []

    class Watch:
        event_types = ("node_start", "node_start")

        @hookimpl
        def on_event(self, event: Any) -> None:
            seen.append(event.event_type)

    async with create(same, plugins=[Watch()]) as flow:
        await flow.ask(1)
    assert seen == ["node_start"]


def test_a_property_that_raises_is_not_touched():
    class Watch:
        @property
        def secret(self) -> str:
            raise RuntimeError

        @hookimpl
        def on_event(self, event: Any) -> None:
            pass

    assert create(same, plugins=[Watch()]).plugins[0].hooks == ("on_event",)


def test_a_mistyped_hook_of_a_module_is_refused(site: Site):
    site.add(
        "modular",
        "import sys\nfrom penguiflow import hookimpl\n@hookimpl\ndef on_event(event): pass\n"
        "@hookimpl\ndef on_erorr(error): pass\ndef plugin(): return sys.modules[__name__]",
    )
    (record,) = create(same).plugins
    assert record.reason.startswith("TypeError: plugin 'modular': there is no hook 'on_erorr'")


@in_time
async def test_another_plugins_implementation_may_be_a_callback_or_kept_in_an_attribute():
    recorder = Recorder()

    class Watch:
        @hookimpl
        def on_event(self, event: Any) -> None:
            recorder(event)

    class Forwards:
        def __init__(self) -> None:
            self.forward = Watch().on_event

        @hookimpl
        def on_event(self, event: Any) -> None:
            self.forward(event)

    async with create(same, plugins=[Forwards()], on_event=Watch().on_event):
        pass
    assert recorder.types() == ["flow_start"] * 2 + ["flow_stop"] * 2


# --- exporters ------------------------------------------------------------------------------------


class Exporter:
    def __init__(self, answers: str) -> None:
        self.answers, self.asked = answers, 0

    @hookimpl
    def export_graph(self, request: Any) -> str | None:
        self.asked += 1
        if self.answers[self.asked - 1] == "x":
            raise OSError
        return "text"


VIZ = """
    from penguiflow import hookimpl

    class Viz:
        @hookimpl
        def export_graph(self, request):
            return "drawn" if request.format == "svg" else None

    plugin = Viz
"""


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("PENGUIFLOW_PLUGINS", "", "its plugin 'viz' is blocked: not among those that PENGUIFLOW_PLUGINS allows"),
        ("PENGUIFLOW_PLUGINS_BLOCK", "viz", "its plugin 'viz' is blocked: blocked by PENGUIFLOW_PLUGINS_BLOCK"),
        (None, "import no_such", "its plugin 'viz' is failed: ModuleNotFoundError: No module named 'no_such'"),
    ],
)
def test_where_what_draws_is_installed_and_not_loaded_an_export_says_why(
    site: Site, monkeypatch: pytest.MonkeyPatch, variable: str | None, value: str, said: str
):
    site.add("Penguiflow.Viz", VIZ if variable else value, entry="viz")
    if variable is not None:
        monkeypatch.setenv(variable, value)
    with pytest.raises(LookupError) as caught:
        create(same).export("svg")
    assert caught.value.args == (f"no plugin exports 'svg': penguiflow-viz is installed, but {said}",)


def test_where_what_draws_is_loaded_nothing_is_to_be_installed(site: Site):
    site.add("penguiflow-viz", VIZ, entry="viz")
    flow = create(same)
    assert flow.export("svg") == "drawn"
    with pytest.raises(LookupError) as caught:
        flow.export("png")
    assert caught.value.args == ("no plugin exports 'png': 'viz' knows no such format",)


@pytest.mark.parametrize(("answers", "asked"), [("x" * 30, 10), ("xxxxxxxxx." * 3, 30)], ids=["always", "mostly"])
def test_an_exporter_that_raises_ten_times_in_a_row_is_no_longer_asked(answers: str, asked: int, caplog):
    exporter = Exporter(answers)
    flow = create(same, plugins=[exporter])
    for _ in range(30):
        with suppress(LookupError):
            flow.export("mermaid")
    assert exporter.asked == asked
    quarantined = [r.getMessage() for r in caplog.records if "no longer asked" in r.getMessage()]
    assert quarantined == (
        ["plugin 'Exporter' raised in export_graph 10 times in a row: it is no longer asked"] if asked == 10 else []
    )


class Watch:
    @hookimpl
    def on_event(self, event: Any) -> None: ...


def test_an_object_made_for_another_version_is_refused():
    watch = Watch()
    watch.api_version = "3.1"  # type: ignore[attr-defined]
    with pytest.raises(TypeError, match="plugin 'Watch' is made for version 3.1 of the plugin interface"):
        create(same, plugins=[watch])


def test_the_same_object_twice_is_refused():
    watch = Watch()
    with pytest.raises(TypeError, match="plugin 'Watch' is given twice: it would see each event twice"):
        create(same, plugins=[watch, Watch(), watch])


def test_a_mark_on_what_is_no_function_is_refused():
    watch = Proxy(None)
    watch.on_event = hookimpl(functools.partial(lambda event: None))
    with pytest.raises(TypeError, match=r"on_event is functools.partial\(.*: write a method, `def on_event`"):
        create(same, plugins=[watch])
