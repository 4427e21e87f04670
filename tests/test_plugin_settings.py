"""What a deployment says about plugins: where it may say it, who wins, and what is said of a mistake."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from penguiflow import PluginError, create
from tests.utils.distributions import OBSERVER, PLUGINS, POLICIES, Site, policy, statuses, warnings
from tests.utils.nodes import same


def loaded(*plugins: str) -> list[str]:
    """The names of what a flow loads, in order."""
    return [record.name for record in create(same, plugins=plugins).plugins if record.status == "loaded"]


def problems(*plugins: str) -> list[str]:
    with pytest.raises(PluginError) as caught:
        create(same, plugins=plugins)
    return list(caught.value.problems)


# --- who wins -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variable", "text", "names"),
    [
        (None, "", ["a", "b", "c"]),
        (None, 'allow = ["c", "a"]', ["a", "c"]),
        (None, "allow = []", []),
        ("b", "", ["b"]),
        ("b", 'allow = ["c"]', ["b"]),
        (" b , c,", 'allow = ["a"]', ["b", "c"]),
        ("", 'allow = ["a"]', []),
        ("", "", []),
    ],
)
def test_the_allow_list_of_the_environment_stands_instead_of_the_files(
    site: Site, monkeypatch, variable: str | None, text: str, names: list[str]
):
    for name in "abc":
        site.add(name)
    site.configure(f"[plugins]\n{text}")
    if variable is not None:
        monkeypatch.setenv("PENGUIFLOW_PLUGINS", variable)
    assert loaded() == names


def test_blocks_add_up_and_win_over_whoever_allows(site: Site, monkeypatch):
    for name in "abc":
        site.add(name)
    path = site.configure('[plugins]\nblock = ["a"]\nallow = ["a", "b", "c"]')
    monkeypatch.setenv("PENGUIFLOW_PLUGINS_BLOCK", "b")
    monkeypatch.setenv("PENGUIFLOW_PLUGINS", "a,b,c")
    records = create(same, plugins=["a"]).plugins
    assert [(record.status, record.reason) for record in records] == [
        ("blocked", f"blocked by {path}: plugins.block"),
        ("blocked", "blocked by PENGUIFLOW_PLUGINS_BLOCK"),
        ("loaded", "loads by itself"),
    ]


@pytest.mark.parametrize(
    ("variable", "text", "code", "name", "source"),
    [
        (None, "", ["p"], "p", "create(plugins=[...])"),
        (None, 'policies = ["q"]', ["p"], "q", "{path}: plugins.policies"),
        ("r", 'policies = ["q"]', ["p"], "r", "PENGUIFLOW_POLICIES"),
        ("", 'policies = ["q"]', ["p"], None, ""),
        (None, "policies = []", ["p"], None, ""),
        (None, "", [], None, ""),
    ],
)
def test_the_environment_names_policies_before_the_file_and_the_file_before_code(
    site: Site, monkeypatch, variable, text: str, code: list[str], name: str | None, source: str
):
    for policy_name in "pqr":
        site.add(policy_name, policy("None"), POLICIES)
    path = site.configure(f"[plugins]\n{text}")
    if variable is not None:
        monkeypatch.setenv("PENGUIFLOW_POLICIES", variable)
    records = {record.name: record for record in create(same, plugins=code).plugins}
    assert [key for key, record in records.items() if record.status == "loaded"] == ([name] if name else [])
    if name is not None:
        assert records[name].reason == f"named by {source.format(path=path)}"
    if code and name != "p":
        last = "PENGUIFLOW_POLICIES" if variable is not None else f"{path}: plugins.policies"
        assert records["p"].reason == f"named by create(plugins=[...]), but {last} has the last word"


def test_what_code_names_may_be_blocked_by_the_deployment(site: Site, monkeypatch, caplog):
    site.add("watch")
    site.add("route", policy("None"), POLICIES)
    monkeypatch.setenv("PENGUIFLOW_PLUGINS_BLOCK", "watch,route")
    assert statuses(create(same, plugins=["watch", "route"])) == {"watch": "blocked", "route": "blocked"}
    assert warnings(caplog) == []


def test_what_is_given_as_an_object_is_not_for_a_deployment_to_block(site: Site, monkeypatch):
    site.add("watch")
    create(same)
    given = sys.modules["watch"].plugin()
    given.name = "watch"
    monkeypatch.setenv("PENGUIFLOW_PLUGINS", "")
    monkeypatch.setenv("PENGUIFLOW_PLUGINS_BLOCK", "watch")
    records = create(same, plugins=[given]).plugins
    assert [(record.group, record.status) for record in records] == [(None, "loaded"), (PLUGINS, "blocked")]


def test_order_says_who_comes_first(site: Site, monkeypatch):
    for name in "abcd":
        site.add(name)
    for name in "xyz":
        site.add(name, policy("None"), POLICIES)
    monkeypatch.setenv("PENGUIFLOW_POLICIES", "z,x,y")
    assert loaded() == ["z", "x", "y", "a", "b", "c", "d"]
    site.configure('[plugins]\norder = ["d", "y", "b"]')
    assert loaded() == ["z", "x", "y", "d", "b", "a", "c"], "the environment has said in which order policies decide"


# --- required, strict -----------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["environment", "file", "code"])
def test_one_that_is_wanted_and_fails_stops_the_build(site: Site, monkeypatch, way: str):
    site.add("bad", "import no_such_module")
    site.add("worse", "raise SystemExit(2)")
    source = {"environment": "PENGUIFLOW_PLUGINS_REQUIRE", "code": "create(plugins=[...])"}.get(way)
    if way == "environment":
        monkeypatch.setenv("PENGUIFLOW_PLUGINS_REQUIRE", "worse,bad")
    elif way == "file":
        source = site.configure('[plugins]\nrequire = ["bad", "worse"]') + ": plugins.require"
    assert problems(*(["bad", "worse"] if way == "code" else [])) == [
        f"plugin 'bad' (bad 1.0) is failed: ModuleNotFoundError: No module named 'no_such_module'; named by {source}",
        f"plugin 'worse' (worse 1.0) is failed: SystemExit: 2; named by {source}",
    ]


def test_a_policy_that_is_named_and_fails_stops_the_build(site: Site, monkeypatch):
    site.add("bad", "import no_such_module", POLICIES)
    assert statuses(create(same)) == {"bad": "available"}
    monkeypatch.setenv("PENGUIFLOW_POLICIES", "bad")
    (problem,) = problems()
    assert problem.endswith("named by PENGUIFLOW_POLICIES")


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({"PENGUIFLOW_PLUGINS_REQUIRE": "a", "PENGUIFLOW_PLUGINS_BLOCK": "a"}, "blocked by PENGUIFLOW_PLUGINS_BLOCK"),
        (
            {"PENGUIFLOW_PLUGINS_REQUIRE": "a", "PENGUIFLOW_PLUGINS": "b"},
            "not among those that PENGUIFLOW_PLUGINS allows",
        ),
        ({"PENGUIFLOW_PLUGINS_REQUIRE": "p"}, "a policy loads when it is named, as in PENGUIFLOW_POLICIES"),
        ({"PENGUIFLOW_PLUGINS_REQUIRE": "p", "PENGUIFLOW_POLICIES": ""}, "a policy loads when it is named"),
        ({"PENGUIFLOW_POLICIES": "p", "PENGUIFLOW_PLUGINS_BLOCK": "p"}, "blocked by PENGUIFLOW_PLUGINS_BLOCK"),
    ],
)
def test_a_deployment_that_contradicts_itself_is_told_so(
    site: Site, monkeypatch, variables: dict[str, str], reason: str
):
    site.add("a")
    site.add("b")
    site.add("p", policy("()"), POLICIES)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    (problem,) = problems()
    assert reason in problem
    assert problem.endswith(f"named by {next(iter(variables))}")
    assert site.imports("p") == 0


@pytest.mark.parametrize("variable", ["1", "true", "YES", None])
def test_a_strict_deployment_builds_no_flow_without_all_its_plugins(site: Site, monkeypatch, variable):
    site.add("bad", "import no_such_module")
    site.add("new", OBSERVER.replace("class Observer:", "class Observer:\n        api_version = '3'"))
    site.add("off")
    path = site.configure('[plugins]\nblock = ["off"]\norder = ["gone"]\nstrict = true' if variable is None else "")
    if variable is not None:
        monkeypatch.setenv("PENGUIFLOW_PLUGINS_STRICT", variable)
        monkeypatch.setenv("PENGUIFLOW_PLUGINS_BLOCK", "off")
    found = problems()
    assert found[-2].startswith("plugin 'bad' (bad 1.0) is failed")
    assert found[-1].startswith("plugin 'new' (new 1.0) is incompatible")
    assert {problem.rpartition("; ")[2] for problem in found[-2:]} == {"the deployment is strict"}
    assert len(found) == (3 if variable is None else 2)
    if variable is None:
        assert found[0] == f"{path}: plugins.order names 'gone', and no plugin of that name is installed"


@pytest.mark.parametrize("value", ["0", "", "off", "No"])
def test_the_environment_may_take_strictness_back(site: Site, monkeypatch, value: str):
    site.add("bad", "import no_such_module")
    site.configure("[plugins]\nstrict = true")
    monkeypatch.setenv("PENGUIFLOW_PLUGINS_STRICT", value)
    assert statuses(create(same)) == {"bad": "failed"}


# --- names that stand for nothing -----------------------------------------------------------------


def test_a_name_that_is_wanted_and_not_installed_stops_the_build_with_the_one_that_was_meant(site: Site, monkeypatch):
    site.add("watcher")
    site.add("router", policy("None"), POLICIES)
    monkeypatch.setenv("PENGUIFLOW_PLUGINS_REQUIRE", "wacher")
    monkeypatch.setenv("PENGUIFLOW_POLICIES", "ruter,elsewhere,watcher")
    assert problems("nothing") == [
        "PENGUIFLOW_PLUGINS_REQUIRE names 'wacher', and no plugin of that name is installed: did you mean 'watcher'?",
        "create(plugins=[...]) names 'nothing', and no plugin of that name is installed: install it, or take the name "
        "away",
        "PENGUIFLOW_POLICIES names 'ruter', and no policy of that name is installed: did you mean 'router'?",
        "PENGUIFLOW_POLICIES names 'elsewhere', and no policy of that name is installed: install it, or take the name "
        "away",
        "PENGUIFLOW_POLICIES names 'watcher', and no policy of that name is installed: it is a plugin, and loads by "
        "itself",
    ]


def test_a_name_that_only_limits_and_is_not_installed_is_said_once(site: Site, monkeypatch, caplog):
    site.add("watcher")
    path = site.configure('[plugins]\norder = ["gone"]\nblock = ["spy"]\n[plugins.options.wacher]\n')
    monkeypatch.setenv("PENGUIFLOW_PLUGINS", "watchr,watcher")
    monkeypatch.setenv("PENGUIFLOW_PLUGINS_BLOCK", "wotcher")
    for _ in range(3):
        assert loaded() == ["watcher"]
    assert warnings(caplog) == [
        "PENGUIFLOW_PLUGINS names 'watchr', and no plugin of that name is installed: did you mean 'watcher'?",
        f"{path}: plugins.order names 'gone', and no plugin of that name is installed",
        "PENGUIFLOW_PLUGINS_BLOCK names 'wotcher', and no plugin of that name is installed: did you mean 'watcher'?",
        f"{path}: plugins.block names 'spy', and no plugin of that name is installed",
        f"{path}: plugins.options names 'wacher', and no plugin of that name is installed: did you mean 'watcher'?",
    ]


def test_a_distribution_named_instead_of_its_plugin_is_told_what_it_provides(site: Site, monkeypatch, caplog):
    site.add("penguiflow-acme-shout", entry="shout")
    site.add_metadata("acme_routes", {POLICIES: {"east": "nowhere:plugin", "west": "nowhere:plugin"}})
    path = site.configure("[plugins]\norder = ['acme.routes']\n[plugins.options.penguiflow-acme-shout]\n")
    monkeypatch.setenv("PENGUIFLOW_PLUGINS_BLOCK", "Penguiflow_Acme_Shout")
    no_plugin = "and no plugin of that name is installed: did you mean"
    shout, routes = "'shout', which penguiflow-acme-shout provides?", "'east' or 'west', which acme_routes provides?"
    assert loaded() == ["shout"]
    assert warnings(caplog) == [
        f"{path}: plugins.order names 'acme.routes', {no_plugin} {routes}",
        f"PENGUIFLOW_PLUGINS_BLOCK names 'Penguiflow_Acme_Shout', {no_plugin} {shout}",
        f"{path}: plugins.options names 'penguiflow-acme-shout', {no_plugin} {shout}",
    ]
    monkeypatch.setenv("PENGUIFLOW_PLUGINS_REQUIRE", "penguiflow-acme-shout")
    monkeypatch.setenv("PENGUIFLOW_POLICIES", "acme-routes,penguiflow-acme-shout")
    assert problems("penguiflow-acme-shout") == [
        f"PENGUIFLOW_PLUGINS_REQUIRE names 'penguiflow-acme-shout', {no_plugin} {shout}",
        f"create(plugins=[...]) names 'penguiflow-acme-shout', {no_plugin} {shout}",
        f"PENGUIFLOW_POLICIES names 'acme-routes', and no policy of that name is installed: did you mean {routes}",
        "PENGUIFLOW_POLICIES names 'penguiflow-acme-shout', and no policy of that name is installed: "
        "it provides 'shout', a plugin, which loads by itself",
    ]


# --- mistakes in the environment and the file -----------------------------------------------------


@pytest.mark.parametrize(
    ("variable", "hint"),
    [
        ("PENGUIFLOW_PLUGIN_BLOCK", ": did you mean 'PENGUIFLOW_PLUGINS_BLOCK'?"),
        ("PENGUIFLOW_PLUGINS_BLOK", ": did you mean 'PENGUIFLOW_PLUGINS_BLOCK'?"),
        ("PENGUIFLOW_PULGINS_BLOCK", ": did you mean 'PENGUIFLOW_PLUGINS_BLOCK'?"),
        ("PENGUIFLOW_PLUGINS_REQUIRED", ": did you mean 'PENGUIFLOW_PLUGINS_REQUIRE'?"),
        ("PENGUIFLOW_POLICY", ": did you mean 'PENGUIFLOW_POLICIES'?"),
        ("PENGUIFLOW_CONFIGURATION", ": did you mean 'PENGUIFLOW_CONFIG'?"),
    ],
)
def test_a_mistyped_variable_is_refused(site: Site, monkeypatch, variable: str, hint: str):
    monkeypatch.setenv(variable, "")
    assert problems() == [f"the environment variable {variable} is none of PenguiFlow's{hint}"]


@pytest.mark.parametrize(
    "variable",
    [
        "PENGUIFLOW_OTEL_ENDPOINT",
        "PENGUIFLOW_HOME",
        "PENGUIN_PLUGINS_BLOCK",
        "PENGUIFLOW_POLICIES_SERVICE_HOST",  # as Kubernetes sets them for a Service named penguiflow-policies
        "PENGUIFLOW_POLICIES_PORT_80_TCP",
    ],
)
def test_variables_that_are_no_settings_of_ours_are_left_alone(site: Site, monkeypatch, variable: str):
    monkeypatch.setenv(variable, "x")
    assert create(same).plugins == ()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[plugins]\nblok = []", "plugins.blok is no setting: did you mean 'block'?"),
        (
            "[plugins]\nzzz = 1",
            "plugins.zzz is no setting: there are allow, block, require, policies, order, strict, decision_timeout_s, "
            "quarantine_after, start_timeout_s, stop_timeout_s, options",
        ),
        ('[plugins]\nblock = "spy"', "plugins.block: Input should be a valid list, and it is 'spy'"),
        ("[plugins]\nallow = [1]", "plugins.allow.0: Input should be a valid string, and it is 1"),
        ('[plugins]\nstrict = "no"', "plugins.strict: Input should be a valid boolean, and it is 'no'"),
        (
            "[plugins]\ndecision_timeout_s = true",
            "plugins.decision_timeout_s: Input should be a valid number, and it is True",
        ),
        ("[plugins]\nstop_timeout_s = 0", "plugins.stop_timeout_s: Input should be greater than 0, and it is 0"),
        ("[plugins]\nstart_timeout_s = inf", "plugins.start_timeout_s: Input should be a finite number, and it is inf"),
        (
            "[plugins]\nquarantine_after = 0",
            "plugins.quarantine_after: Input should be greater than or equal to 1, and it is 0",
        ),
        ("[plugins.options]\nx = 1", "plugins.options.x: Input should be a valid dictionary, and it is 1"),
        ("plugins = 3", "plugins has to be a table, and it is 3"),
        ("[plugin]\n", "there is no table 'plugin': did you mean 'plugins'?"),
        ("block = ['x']\n[plugins]", "there is no table 'block'"),
        ("[tool.penguiflow.plugins]\nblok = []", "tool.penguiflow.plugins.blok is no setting: did you mean 'block'?"),
        ("[tool.penguiflow.plugin]\n", "there is no table 'plugin': did you mean 'plugins'?"),
        ("[tool.other]\n[plugins]\n", "next to a table 'tool', [plugins] is called [tool.penguiflow.plugins]"),
    ],
)
def test_a_mistake_in_the_file_is_told_with_its_place(site: Site, text: str, problem: str):
    path = site.configure(text)
    assert problems() == [f"{path}: {problem}"]


def test_every_mistake_is_told_at_once(site: Site, monkeypatch):
    site.configure("[plugins]\nblok = []\nstrict = 1\n[other]")
    monkeypatch.setenv("PENGUIFLOW_PLUGINS_STRICT", "perhaps")
    monkeypatch.setenv("PENGUIFLOW_POLICYS", "x")
    found = problems()
    assert len(found) == 5
    assert found[-1] == "PENGUIFLOW_PLUGINS_STRICT is 'perhaps': write 1 or 0"


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "No such file"), (b"\xff\xfe", "can't decode"), (b"[plugins", "Expected ']'")],
    ids=["missing", "not text", "not TOML"],
)
def test_a_file_that_cannot_be_read_stops_the_build(site: Site, tmp_path: Path, monkeypatch, content, reason: str):
    path = tmp_path / "broken.toml"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setenv("PENGUIFLOW_CONFIG", str(path))
    (problem,) = problems()
    assert problem.startswith(f"{path} (PENGUIFLOW_CONFIG) can't be read: ")
    assert reason in problem


def test_a_project_file_without_our_table_is_not_taken_for_one(site: Site):
    path = site.configure("[tool.pengiuflow.plugins]\nblock = ['spy']")
    assert problems() == [f"{path} has no table [tool.penguiflow]: write one, or take PENGUIFLOW_CONFIG away"]


def test_a_project_file_may_hold_the_settings(site: Site):
    site.add("watch")
    path = site.configure("[project]\nname = 'x'\n[tool.penguiflow.plugins]\nblock = ['watch']")
    (record,) = create(same).plugins
    assert record.reason == f"blocked by {path}: tool.penguiflow.plugins.block"


def test_no_file_is_read_when_the_variable_is_empty(site: Site, monkeypatch):
    monkeypatch.setenv("PENGUIFLOW_CONFIG", "")
    assert create(same).plugins == ()


def test_settings_are_read_for_each_flow(site: Site, monkeypatch):
    site.add("watch")
    assert loaded() == ["watch"]
    site.configure("[plugins]\nblock = ['watch']")
    assert loaded() == []
    site.configure("[plugins]")
    assert loaded() == ["watch"]
