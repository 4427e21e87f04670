"""What is installed is found by its metadata, imported only when it is wanted, and never in the way of a flow."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from penguiflow import PluginError, create
from tests.utils.distributions import OBSERVER, PLUGINS, POLICIES, Site, only_record, policy, statuses, warnings
from tests.utils.flowtestkit import in_time
from tests.utils.nodes import same

# --- what loads -----------------------------------------------------------------------------------


@in_time
async def test_an_installed_observer_loads_by_itself_and_sees_events(site: Site):
    code = OBSERVER.replace("self.seen = []", "import builtins; self.seen = SEEN")
    site.add(
        "acme-watch", code.replace("class Observer", "SEEN = []\n\n    class Observer"), entry="watch", version="1.2"
    )
    async with create(same) as flow:
        assert await flow.ask(1) == 1
    record = only_record(flow)
    assert (record.name, record.group, record.status) == ("watch", PLUGINS, "loaded")
    assert (record.distribution, record.version, record.hooks) == ("acme-watch", "1.2", ("on_event",))
    assert (record.reason, record.error) == ("loads by itself", None)
    assert record.load_ms is not None
    assert record.load_ms > 0
    assert sys.modules["acme_watch"].SEEN[:2] == ["flow_start", "trace_start"]


def test_what_is_installed_is_listed_by_group_then_name_whoever_brings_it(site: Site):
    for name, group in (("b", PLUGINS), ("z", POLICIES), ("a", PLUGINS), ("c", POLICIES)):
        site.add(f"dist-{name}", OBSERVER, group, entry=name)
    assert list(statuses(create(same))) == ["c", "z", "a", "b"]


def test_a_module_can_be_a_plugin(site: Site):
    site.add(
        "modular",
        """
        import sys
        from penguiflow import hookimpl

        @hookimpl
        def on_event(event):
            pass

        def plugin():
            return sys.modules[__name__]
        """,
    )
    assert only_record(create(same)).hooks == ("on_event",)


def test_a_class_can_be_the_factory(site: Site):
    site.add("classy", OBSERVER, value="classy:Observer")
    assert only_record(create(same)).status == "loaded"


def test_each_flow_gets_a_plugin_of_its_own(site: Site):
    site.add("own", OBSERVER.replace("def plugin():", "MADE = []\n\n    def plugin():\n        MADE.append(1)"))
    create(same)
    create(same)
    assert (len(sys.modules["own"].MADE), site.imports("own")) == (2, 1)


# --- what isn't imported --------------------------------------------------------------------------


def test_a_policy_that_nobody_names_is_not_imported(site: Site):
    site.add("rogue", policy("()"), POLICIES)
    record = only_record(create(same))
    assert (record.status, record.reason) == ("available", "a policy loads when it is named, as in PENGUIFLOW_POLICIES")
    assert site.imports("rogue") == 0


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("PENGUIFLOW_PLUGINS_BLOCK", "other, watch", "blocked by PENGUIFLOW_PLUGINS_BLOCK"),
        ("PENGUIFLOW_PLUGINS_BLOCK", "acme-watch:watch", "blocked by PENGUIFLOW_PLUGINS_BLOCK"),
        ("PENGUIFLOW_PLUGINS_BLOCK", "Acme_Watch:watch", "blocked by PENGUIFLOW_PLUGINS_BLOCK"),
        ("PENGUIFLOW_PLUGINS", "", "not among those that PENGUIFLOW_PLUGINS allows"),
        ("PENGUIFLOW_PLUGINS", "other", "not among those that PENGUIFLOW_PLUGINS allows"),
    ],
)
def test_what_is_blocked_or_not_allowed_is_not_imported(site: Site, monkeypatch, variable, value, reason):
    site.add("acme-watch", entry="watch")
    site.add("other")
    monkeypatch.setenv(variable, value)
    records = {record.name: record for record in create(same).plugins}
    assert (records["watch"].status, records["watch"].reason) == ("blocked", reason)
    assert site.imports("acme-watch") == 0


def test_other_groups_and_packages_are_none_of_ours(site: Site):
    site.add("stranger", OBSERVER, "penguiflow.plugins.more")
    site.add_metadata("script", {"console_scripts": {"x": "y:z"}})
    assert create(same).plugins == ()
    assert site.imports("stranger") == 0


# --- what goes wrong ------------------------------------------------------------------------------

BROKEN: dict[str, tuple[str, str]] = {
    "import fails": ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
    "syntax": ("def", "SyntaxError: invalid syntax"),
    "exits": ("raise SystemExit(3)", "SystemExit: 3"),
    "no factory": ("", "AttributeError: module 'bad' has no attribute 'plugin'"),
    "no function": ("plugin = 3", "TypeError: bad:plugin is 3, and an entry point names a function `plugin(options)`"),
    "factory raises": ("def plugin():\n    raise RuntimeError('no')", "RuntimeError: no"),
    "factory exits": ("def plugin():\n    raise SystemExit", "SystemExit: "),
    "async factory": ("async def plugin():\n    pass", "TypeError: bad:plugin is async: write `def`, and put"),
    "nothing": ("def plugin():\n    pass", "TypeError: plugin 'bad' implements no hook"),
    "two arguments": ("def plugin(options, more):\n    pass", "TypeError: plugin() missing 1 required positional"),
    "unspeakable": (
        "class Bad(Exception):\n    def __str__(self):\n        raise ValueError\n\nraise Bad",
        "Bad: (it can't be shown as text)",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
@in_time
async def test_one_that_cannot_be_loaded_is_left_out_and_recorded(site: Site, caplog, case: str):
    code, reason = BROKEN[case]
    site.add("bad", code)
    site.add("good")
    async with create(same) as flow:
        assert await flow.ask(1) == 1
    bad, good = flow.plugins
    assert (bad.status, good.status) == ("failed", "loaded")
    assert bad.reason.startswith(reason)
    assert type(bad.error).__name__ == bad.reason.split(":")[0]
    (text,) = warnings(caplog)
    assert text == f"plugin 'bad' (bad 1.0) is failed: {bad.reason}"
    assert caplog.records[0].exc_info is not None  # with its traceback


ITS_WORD = """
    class AcmeError(ValueError):
        pass

    def plugin():
        raise {raised}
"""


def test_the_word_of_a_plugin_on_what_it_was_given_stands_without_a_traceback(site: Site, caplog, monkeypatch):
    site.add("acme", ITS_WORD.format(raised="AcmeError('rules.yaml: there is no rule')"))
    assert statuses(create(same)) == {"acme": "failed"}
    assert warnings(caplog) == ["plugin 'acme' (acme 1.0) is failed: AcmeError: rules.yaml: there is no rule"]
    assert caplog.records[0].exc_info is None
    caplog.clear()
    monkeypatch.setenv("PENGUIFLOW_PLUGINS_REQUIRE", "acme")
    with pytest.raises(PluginError, match=r"AcmeError: rules\.yaml: there is no rule"):
        create(same)
    assert caplog.records == []  # it is raised, and that once


def test_any_other_exception_of_a_plugin_is_logged_with_its_traceback_also_where_it_stops_the_build(
    site: Site, caplog, monkeypatch
):
    site.add("acme", ITS_WORD.format(raised="ValueError('not enough values to unpack')"))
    monkeypatch.setenv("PENGUIFLOW_PLUGINS_REQUIRE", "acme")
    with pytest.raises(PluginError, match="not enough values"):
        create(same)
    assert caplog.records[0].exc_info is not None


def test_an_entry_point_that_is_no_entry_point_is_left_out(site: Site):
    site.add("bad", value="not an entry point!")
    site.add("good")
    assert statuses(create(same)) == {"bad": "failed", "good": "loaded"}


def test_an_interrupt_while_importing_is_not_swallowed(site: Site):
    site.add("bad", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        create(same)


WRONG: dict[str, tuple[str, str]] = {
    "reroutes": (
        policy("()"),
        f"it implements resolve_route, and would reroute traffic unasked: publish it in {POLICIES}",
    ),
    "unknown hook": (OBSERVER.replace("def on_event", "def on_evnt"), "there is no hook 'on_evnt'"),
    "async observer": (OBSERVER.replace("def on_event", "async def on_event"), "write `def on_event`, without `async`"),
    "arguments": (OBSERVER.replace("(self, event)", "(self, event, more)"), "write `def on_event(self, event)`"),
    "event types": (OBSERVER.replace("class Observer:", "class Observer:\n        event_types = ['x']"), "of type 'x'"),
    "start": (OBSERVER + "\n    Observer.start = lambda self, flow: None\n", "write `async def start(self, flow)`"),
    "class": (OBSERVER.replace("return Observer()", "return Observer"), "is a class: give an instance"),
}


@pytest.mark.parametrize("case", WRONG)
def test_one_that_implements_a_hook_wrongly_is_left_out_and_says_what_is_right(site: Site, case: str):
    code, reason = WRONG[case]
    site.add("bad", code)
    site.add("good")
    bad, good = create(same).plugins
    assert (bad.status, good.status) == ("failed", "loaded")
    assert reason in bad.reason


@pytest.mark.parametrize(("version", "status"), [("2", "loaded"), ("2.9", "loaded"), ("3", "incompatible")])
def test_one_for_another_version_of_the_interface_is_incompatible(site: Site, caplog, version: str, status: str):
    code = OBSERVER.replace("class Observer:", f"class Observer:\n        api_version = {version!r}")
    site.add("newer", code if version != "3" else code.replace("on_event", "on_something_new"))
    record = only_record(create(same))
    assert record.status == status
    if status == "incompatible":
        assert record.reason == "made for version 3 of the plugin interface, and this PenguiFlow has 2"
        assert warnings(caplog) == [f"plugin 'newer' (newer 1.0) is incompatible: {record.reason}"]


# --- names ----------------------------------------------------------------------------------------


def test_two_distributions_with_one_name_are_both_left_out_until_a_setting_decides(site: Site, caplog, monkeypatch):
    site.add("first", entry="twin")
    site.add("second", entry="twin", version="2.0")
    records = create(same).plugins
    assert [(record.distribution, record.status) for record in records] == [("first", "failed"), ("second", "failed")]
    reason = "2 distributions use this name (first:twin 1.0, second:twin 2.0): block or uninstall all but one"
    assert {record.reason for record in records} == {reason}
    assert warnings(caplog) == [
        f"plugin 'twin' (first 1.0) is failed: {reason}",
        f"plugin 'twin' (second 2.0) is failed: {reason}",
    ]
    assert (site.imports("first"), site.imports("second")) == (0, 0)
    monkeypatch.setenv("PENGUIFLOW_PLUGINS_BLOCK", "first:twin")
    assert [record.status for record in create(same).plugins] == ["blocked", "loaded"]


@pytest.mark.parametrize("variable", ["PENGUIFLOW_PLUGINS", "PENGUIFLOW_PLUGINS_REQUIRE"])
def test_a_full_name_says_which_of_two_is_meant(site: Site, monkeypatch, variable: str):
    site.add("first", entry="twin")
    site.add("second", entry="twin")
    monkeypatch.setenv(variable, "second:twin")
    first, second = create(same).plugins
    assert (first.status, second.status) == ("blocked" if variable == "PENGUIFLOW_PLUGINS" else "failed", "loaded")


def test_code_may_give_a_full_name(site: Site):
    site.add("first", policy("()"), POLICIES, entry="twin")
    site.add("second", policy("()"), POLICIES, entry="twin")
    records = create(same, plugins=["second:twin"]).plugins
    assert {record.distribution: record.status for record in records} == {"first": "available", "second": "loaded"}


def test_one_name_may_stand_in_both_groups(site: Site, monkeypatch):
    site.add("watching", entry="acme")
    site.add("routing", policy("None"), POLICIES, entry="acme")
    monkeypatch.setenv("PENGUIFLOW_POLICIES", "acme")
    assert [(record.group, record.status) for record in create(same).plugins] == [
        (POLICIES, "loaded"),
        (PLUGINS, "loaded"),
    ]


def test_of_a_distribution_that_is_there_twice_only_the_first_counts(site: Site, tmp_path: Path, monkeypatch):
    older = Site(tmp_path / "older")
    older.folder.mkdir()
    older.add("My.Dist", entry="gone")
    older.add("my-dist-two", entry="stays")
    monkeypatch.syspath_prepend(str(site.folder))
    monkeypatch.setattr(sys, "path", [str(site.folder), str(older.folder), *sys.path])
    site.add_metadata("my_dist", {PLUGINS: {}}, "2.0")
    assert list(statuses(create(same))) == ["stays"]


@pytest.mark.parametrize("broken", ["entry_points.txt", "METADATA"])
def test_metadata_that_cannot_be_read_hides_nobody_elses(site: Site, broken: str):
    info = site.add_metadata("broken", {PLUGINS: {"x": "y:z"}})
    (info / broken).write_bytes(b"\xff\xfe[nonsense\x00")
    site.add("good")
    assert statuses(create(same))["good"] == "loaded"
