"""`penguiflow plugins list`: what is installed, what would become of it and why; nothing is imported."""

from __future__ import annotations

import json

import pytest

from tests.utils.distributions import POLICIES
from tests.utils.hostile import Folder

BROKEN = "raise SystemExit('must not be imported')\n"
ROUTES = """
from penguiflow import hookimpl

class Routes:
    @hookimpl
    def resolve_route(self, request):
        return None

def plugin():
    return Routes()
"""


@pytest.fixture
def site(tmp_path):
    made = Folder(tmp_path / "site")
    made.plugin("broken", BROKEN)
    made.plugin("other", BROKEN)
    made.plugin("rules", BROKEN, group=POLICIES)
    return made


def test_plugins_are_listed_with_what_would_become_of_them_and_none_is_imported(site):
    site.plugin("twice", BROKEN, dist="a-twice")
    site.plugin("twice", BROKEN, dist="b-twice")
    done = site.command("plugins", "list", "--json", PENGUIFLOW_PLUGINS_BLOCK="other")
    assert done.returncode == 0
    assert done.stderr == ""
    document = json.loads(done.stdout)
    assert [(p["name"], p["distribution"], p["version"], p["status"]) for p in document["plugins"]] == [
        ("broken", "acme-broken", "1.5", "loaded"),
        ("other", "acme-other", "1.5", "blocked"),
        ("twice", "a-twice", "1.5", "failed"),
        ("twice", "b-twice", "1.5", "failed"),
        ("rules", "acme-rules", "1.5", "available"),
    ]
    assert document["plugins"][0]["factory"] == "acme_broken:plugin"
    assert document["plugins"][1]["reason"] == "blocked by PENGUIFLOW_PLUGINS_BLOCK"
    assert site.imported() == []


def test_a_person_reads_a_table(site):
    lines = site.command("plugins", "list").stdout.splitlines()
    assert lines == [
        "no setting is made: every plugin loads by itself, no policy does",
        "",
        "PLUGIN  GROUP                DISTRIBUTION  VERSION  WOULD BE   WHY",
        "broken  penguiflow.plugins   acme-broken   1.5      tried      loads by itself",
        "other   penguiflow.plugins   acme-other    1.5      tried      loads by itself",
        "rules   penguiflow.policies  acme-rules    1.5      available  a policy loads when it is named, as in "
        "PENGUIFLOW_POLICIES",
        "",
        "Nothing was imported. Whether what would be tried can be loaded, `penguiflow plugins doctor` finds out.",
    ]


def test_what_is_listed_as_tried_may_fail_and_the_doctor_says_so(site):
    site.plugin("lost", ROUTES)
    row = next(line for line in site.command("plugins", "list").stdout.splitlines() if line.startswith("lost "))
    assert row.split()[-4:] == ["tried", "loads", "by", "itself"]
    done = site.command("plugins", "doctor", "--json", "--no-probe", PENGUIFLOW_PLUGINS="lost")
    (lost,) = [found for found in json.loads(done.stdout)["plugins"] if found["name"] == "lost"]
    assert (done.returncode, lost["status"]) == (1, "failed")


def test_where_nothing_would_be_tried_nobody_is_sent_to_the_doctor(site):
    assert "doctor" not in site.command("plugins", "list", PENGUIFLOW_PLUGINS="").stdout


def test_settings_in_force_say_where_they_were_written(site):
    text = (
        '[plugins]\nblock = ["other"]\npolicies = ["rules"]\nstart_timeout_s = 3\n[plugins.options.broken]\nkey = "x"\n'
    )
    (site.folder / "c.toml").write_text(text, encoding="utf-8")
    environment = {"PENGUIFLOW_CONFIG": "c.toml", "PENGUIFLOW_PLUGINS": "broken,other", "PENGUIFLOW_POLICIES": ""}
    done = site.command("plugins", "list", "--json", PENGUIFLOW_PLUGINS_STRICT="0", **environment)
    settings = {s["name"]: (s["value"], s["source"]) for s in json.loads(done.stdout)["settings"]}
    assert settings["file"] == ("c.toml", "PENGUIFLOW_CONFIG")
    assert settings["allow"] == (["broken", "other"], "PENGUIFLOW_PLUGINS")
    assert settings["block"] == (["other"], "c.toml: plugins.block")
    assert settings["policies"] == ([], "PENGUIFLOW_POLICIES")
    assert settings["strict"] == (False, "PENGUIFLOW_PLUGINS_STRICT")
    assert settings["start_timeout_s"] == (3.0, "c.toml: plugins.start_timeout_s")
    assert settings["stop_timeout_s"] == (5.0, "default")
    assert settings["options.broken"] == (["key"], "c.toml: plugins.options.broken")
    shown = site.command("plugins", "list", **environment).stdout
    assert "allow            broken, other  PENGUIFLOW_PLUGINS" in shown
    assert "stop_timeout_s" not in shown


def test_the_values_of_options_are_not_shown(site):
    (site.folder / "c.toml").write_text('[plugins.options.broken]\ntoken = "hush"\n', encoding="utf-8")
    for form in ([], ["--json"]):
        done = site.command("plugins", "list", *form, PENGUIFLOW_CONFIG="c.toml")
        assert "token" in done.stdout
        assert "hush" not in done.stdout + done.stderr


def test_wrong_settings_are_said_and_the_plugins_listed_all_the_same(site):
    done = site.command("plugins", "list", "--json", PENGUIFLOW_CONFIG="absent.toml", PENGUIFLOW_PLUGINS_STRICT="?")
    document = json.loads(done.stdout)
    assert done.returncode == 1
    assert [plugin["status"] for plugin in document["plugins"]] == ["unknown"] * 3
    assert len(document["problems"]) == 2
    assert done.stderr.count("wrong: ") == 2


def test_a_plugin_that_is_wanted_and_not_installed_is_something_wrong(site):
    done = site.command("plugins", "list", PENGUIFLOW_PLUGINS_REQUIRE="brokn", PENGUIFLOW_PLUGINS_BLOCK="absent")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "wrong: PENGUIFLOW_PLUGINS_REQUIRE names 'brokn', and no plugin of that name is installed: "
        "did you mean 'broken'?",
        "note: PENGUIFLOW_PLUGINS_BLOCK names 'absent', and no plugin of that name is installed",
    ]


def test_a_plugin_that_is_required_and_blocked_is_something_wrong(site):
    both = {"PENGUIFLOW_PLUGINS_REQUIRE": "broken", "PENGUIFLOW_PLUGINS_BLOCK": "broken"}
    done = site.command("plugins", "list", **both)
    assert done.returncode == 1
    assert done.stderr == (
        "wrong: plugin 'broken' (acme-broken) is blocked: blocked by PENGUIFLOW_PLUGINS_BLOCK; "
        "named by PENGUIFLOW_PLUGINS_REQUIRE\n"
    )


def test_nothing_installed_is_said(tmp_path):
    done = Folder(tmp_path / "empty").command("plugins", "list")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "no plugin is installed")


def test_in_a_strict_deployment_two_of_one_name_are_a_problem(site):
    site.plugin("twice", BROKEN, dist="a-twice")
    site.plugin("twice", BROKEN, dist="b-twice")
    done = site.command("plugins", "list", "--json", PENGUIFLOW_PLUGINS_STRICT="1")
    assert done.returncode == 1
    assert len(json.loads(done.stdout)["problems"]) == 2
