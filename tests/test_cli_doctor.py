"""`penguiflow plugins doctor`: whatever a plugin does wrong is found and explained, and harms nobody."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import pytest

from penguiflow import EVENT_TYPES
from tests.utils import hostile
from tests.utils.distributions import POLICIES
from tests.utils.hostile import Folder, observer

SETTINGS = """
[plugins]
block = ["kept-out", "not-there"]
policies = ["late"]
decision_timeout_s = 1
start_timeout_s = 1
stop_timeout_s = 1
"""

PLUGINS = {
    "good": observer(),
    "sees": hostile.SEES,
    "raises": hostile.RAISES,
    "raises-twice": hostile.RAISES_TWICE,
    "slow": observer("time.sleep(0.05)"),
    "no-import": "import module_that_nobody_has\n",
    "no-python": "def plugin(:\n",
    "exits": "raise SystemExit(3)\n",
    "exits-later": observer("raise SystemExit(3)"),
    "newer": observer(more="    api_version = '3.1'\n"),
    "options": hostile.NEEDS_OPTIONS,
    "unstartable": hostile.UNSTARTABLE,
    "hangs": hostile.HANGS,
    "blocks": observer("time.sleep(1e6) if event.event_type == 'node_retry' else None"),
    "blocks-at-import": "import time\ntime.sleep(1e6)\n",
    "dies": observer("print('last words', flush=True) or os._exit(7) if event.event_type == 'node_retry' else None"),
    "odd-export": hostile.ODD_EXPORT,
    "kept-out": observer(),
}


@pytest.fixture(scope="module")
def ward(tmp_path_factory):
    site = Folder(tmp_path_factory.mktemp("ward"))
    for name, code in PLUGINS.items():
        site.plugin(name, code)
    site.plugin("twice", dist="acme-twice")
    site.plugin("twice", dist="other-twice")
    site.plugin("late", hostile.LATE, group=POLICIES)
    site.plugin("unnamed", hostile.LATE, group=POLICIES)
    (site.folder / "settings.toml").write_text(SETTINGS, encoding="utf-8")
    return site


@pytest.fixture(scope="module")
def examined(ward):
    """One look at all of them."""
    started = time.monotonic()
    done = ward.command("plugins", "doctor", "--json", PENGUIFLOW_CONFIG="settings.toml")
    return done, json.loads(done.stdout), time.monotonic() - started


@pytest.fixture
def found(examined):
    """What was said of one plugin."""

    def of(name: str) -> dict[str, Any]:
        return next(plugin for plugin in examined[1]["plugins"] if plugin["name"] == name)

    return of


def only_finding(plugin: dict[str, Any]) -> tuple[str, str, str]:
    (finding,) = plugin["findings"]
    return finding["what"], finding["where"] or "", finding["advice"]


def test_something_wrong_is_exit_code_1_and_the_document_says_so(examined):
    done, document, _ = examined
    assert done.returncode == 1
    assert document["ok"] is False
    assert document["probed"] is True
    assert done.stderr.startswith("Probing: each plugin runs alone")
    assert "Traceback" not in done.stderr


def test_one_that_hangs_does_not_hold_the_doctor(examined):
    assert examined[2] < 150


def test_a_plugin_that_works_is_well_whatever_the_others_do(found):
    good = found("good")
    assert (good["status"], good["findings"], good["hooks"]) == ("loaded", [], ["on_event"])
    assert 0 < good["times_ms"]["on_event"] < 1
    assert good["load_ms"] > 0


def test_each_hook_that_raises_is_named_with_its_place(found):
    said = [(finding["what"], finding["where"]) for finding in found("raises")["findings"]]
    assert [what.partition(":")[0] for what, _ in said] == [
        "on_event raises ValueError",
        "on_error raises KeyError",
        "export_graph raises OSError",
    ]
    assert all(re.search(r"acme_raises\.py:\d+$", where) for _, where in said)
    assert "boo" in said[0][0]
    assert "after 10 failures in a row" in said[0][0]


def test_every_type_of_event_occurs_in_the_probe(ward, examined):
    assert set((ward.folder / "acme_sees.seen").read_text(encoding="utf-8").split()) == set(EVENT_TYPES)


def test_the_same_mistake_is_told_once_and_hides_no_later_one(found):
    said = [finding["what"].partition(": it is logged")[0] for finding in found("raises-twice")["findings"]]
    assert said == ["on_event raises ValueError: flow_start", "on_event raises ValueError: at the end"]


def test_an_observer_that_blocks_the_loop_is_told_with_its_time(found):
    what, _, advice = only_finding(found("slow"))
    milliseconds = re.match(r"on_event takes ([\d.]+) ms for each \w+, and blocks the event loop", what)
    assert milliseconds is not None, what
    assert 45 < float(milliseconds[1]) < 500
    assert advice.endswith("PENGUIFLOW_PLUGINS_BLOCK=slow")


@pytest.mark.parametrize(
    ("name", "what", "where", "advice"),
    [
        ("no-import", "ModuleNotFoundError: No module named 'module_that_nobody_has'", ".py:4", "install module_that_"),
        ("no-python", "SyntaxError: invalid syntax", ".py:4", "install another version of acme-no-python"),
        ("exits", "SystemExit: 3", ".py:4", "it tried to end the process"),
        ("newer", "made for version 3.1 of the plugin interface", "", "install a version of acme-newer"),
        ("options", "plugins.options.options.threshold: Field required", "", "correct the options"),
        ("exits-later", "SystemExit: 3", ".py:", "its author has to mend it"),
        ("unstartable", "start raises ConnectionError: no server", ".py:", "the flow starts without it"),
        ("hangs", "stop(flow) took longer than 1 s", "", "a flow that stops gives it up"),
        ("blocks", "on_event(node_retry) does not come back", ".py:", "nothing runs meanwhile"),
        ("blocks-at-import", "importing it does not come back", ".py:5", "nothing runs meanwhile"),
        ("dies", "probing it ended the process (exit code 7): last words", "", "its author has to mend it"),
        ("odd-export", "export_graph answers text, bytes or None, not {'nodes': 3}", "", "its author has to mend it"),
        ("late", "resolve_route takes longer than 1 s: that message fails with ROUTING", "", "its author has to mend"),
    ],
)
def test_what_is_wrong_is_said_with_its_place_and_the_next_step(found, name, what, where, advice):
    said = only_finding(found(name))
    assert what in said[0]
    assert where in said[1]
    assert bool(where) == bool(said[1])
    assert said[2].startswith(advice)


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("no-import", "failed"),
        ("exits", "failed"),
        ("options", "failed"),
        ("newer", "incompatible"),
        ("hangs", "loaded"),
    ],
)
def test_the_status_is_the_one_that_a_flow_would_record(found, name, status):
    assert found(name)["status"] == status


def test_two_distributions_with_one_name_are_both_reported_with_a_way_out(examined):
    both = [plugin for plugin in examined[1]["plugins"] if plugin["name"] == "twice"]
    assert [plugin["distribution"] for plugin in both] == ["acme-twice", "other-twice"]
    for plugin in both:
        what, _, advice = only_finding(plugin)
        assert "acme-twice:twice 1.5, other-twice:twice 1.5" in what
        assert advice == "for instance: PENGUIFLOW_PLUGINS_BLOCK=other-twice:twice"


def test_what_settings_keep_out_is_explained_and_not_imported(examined, ward, found):
    assert (found("kept-out")["status"], found("kept-out")["findings"]) == ("blocked", [])
    assert found("kept-out")["reason"] == "blocked by settings.toml: plugins.block"
    assert (found("unnamed")["status"], found("unnamed")["findings"]) == ("available", [])
    assert {"acme_kept_out", "acme_unnamed", "acme_twice", "other_twice"}.isdisjoint(ward.imported())
    assert "acme_good" in ward.imported()


def test_a_name_in_the_settings_that_stands_for_nothing_is_noted(examined):
    assert any("names 'not-there', and no plugin of that name is installed" in note for note in examined[1]["notes"])


@pytest.fixture
def site(tmp_path):
    return Folder(tmp_path / "site")


def test_all_well_is_exit_code_0(site):
    site.plugin("good")
    done = site.command("plugins", "doctor")
    assert done.returncode == 0, done.stdout
    assert re.search(r"^good \(acme-good 1\.5, penguiflow\.plugins\): loaded in [\d.]+ (ms|micro)", done.stdout)
    assert "on_event: " in done.stdout
    assert done.stdout.endswith("1 plugin installed, 0 with something wrong.\n")


def test_with_nothing_installed_all_is_well(site):
    done = site.command("plugins", "doctor")
    assert (done.returncode, done.stdout) == (0, "No plugin is installed.\n")


def test_without_a_probe_plugins_are_loaded_and_no_hook_is_called(site):
    site.plugin("raises", hostile.RAISES)
    done = site.command("plugins", "doctor", "--no-probe")
    assert done.returncode == 0, done.stdout
    assert "Probing" not in done.stderr
    assert site.imported() == ["acme_raises"]


def test_a_person_reads_what_where_and_what_to_do(site):
    site.plugin("broken", "import nothing_of_the_kind\n")
    lines = site.command("plugins", "doctor").stdout.splitlines()
    assert lines[:4] == [
        "broken (acme-broken 1.5, penguiflow.plugins): failed",
        "  ! ModuleNotFoundError: No module named 'nothing_of_the_kind'",
        f"    at {site.folder / 'acme_broken.py'}:4",
        "    -> install nothing_of_the_kind: acme-broken should depend on it; "
        "until then: PENGUIFLOW_PLUGINS_BLOCK=broken",
    ]


def test_a_required_plugin_that_fails_stops_every_flow_and_that_is_said(site):
    site.plugin("broken", "import nothing_of_the_kind\n")
    done = site.command("plugins", "doctor", PENGUIFLOW_PLUGINS_REQUIRE="broken, absent")
    assert done.returncode == 1
    _, _, text = done.stdout.partition("No flow can be built here:\n")
    assert "PENGUIFLOW_PLUGINS_REQUIRE names 'absent'" in text
    assert "named by PENGUIFLOW_PLUGINS_REQUIRE" in text


def test_each_plugin_is_alone_in_its_probe_whatever_a_flow_would_load(site):
    site.plugin("good")
    site.plugin("raises", hostile.RAISES)
    done = site.command("plugins", "doctor", "--json", PENGUIFLOW_PLUGINS_REQUIRE="good,raises")
    findings = {plugin["name"]: len(plugin["findings"]) for plugin in json.loads(done.stdout)["plugins"]}
    assert findings == {"good": 0, "raises": 3}


def test_wrong_settings_are_all_listed_and_nothing_is_imported(site):
    site.plugin("good")
    done = site.command("plugins", "doctor", "--json", PENGUIFLOW_PLUGIN_BLOCK="good", PENGUIFLOW_PLUGINS_STRICT="x")
    document = json.loads(done.stdout)
    assert done.returncode == 1
    assert len(document["problems"]) == 2
    assert "did you mean 'PENGUIFLOW_PLUGINS_BLOCK'?" in document["problems"][0]
    assert [plugin["status"] for plugin in document["plugins"]] == ["unknown"]
    assert site.imported() == []


def test_options_reach_the_plugin_that_is_looked_at(site):
    site.plugin("options", hostile.NEEDS_OPTIONS)
    (site.folder / "c.toml").write_text("[plugins.options.options]\nthreshold = 1.5\n", encoding="utf-8")
    done = site.command("plugins", "doctor", PENGUIFLOW_CONFIG="c.toml")
    assert done.returncode == 0, done.stdout
