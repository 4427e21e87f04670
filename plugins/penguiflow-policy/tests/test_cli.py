"""`penguiflow-policy`, as a person or CI calls it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from penguiflow_policy import json_schema

OLD = """\
rules:
  - name: vip
    match: {tenant: acme}
    route: a
  - name: big
    when: payload.size > 5
    route: b
  - name: rest
    route: c
"""
NEW = OLD.replace("tenant: acme", "tenant: [acme, zoo]").replace(
    "  - name: big\n    when: payload.size > 5\n    route: b\n", ""
)
CASES = """\
cases:
  - {name: vip, tenant: acme, expect: a, rule: vip}
  - {name: big, payload: {size: 6}, expect: b}
  - {name: zoo, tenant: zoo, payload: {size: 1}, expect: [c]}
  - {name: odd, payload: 7, expect: fails}
"""
APP = """\
from penguiflow import Node, create, node, router

@node
async def a(x): return x

@node
async def b(x): return x

flow = create(router("desk").to(a, b), name="app")

def make():
    return flow

broken = 7

three = create(router("desk").to(a, b, Node(a.func, "c")), name="three")

def wants(path):
    return flow

def falls():
    raise RuntimeError("no database")
"""
TYPED = """\
from app import a, b
from pydantic import BaseModel
from penguiflow import create, node, router

class Ticket(BaseModel):
    text: str
    kind: str = "bug"

@node
async def read(text: str) -> Ticket: return Ticket(text=text)

desk = router("desk")
flow = create(read.to(desk), desk.to(a, b), name="typed")
"""
PATHS = """\
rules:
  - name: tikets
    when: payload.tiket.text == "x"
    route: a
  - name: kinds
    match: {payload.kynd: bug}
    route: b
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in (
        ("old.yaml", OLD),
        ("new.yaml", NEW),
        ("cases.yaml", CASES),
        ("app.py", APP),
        ("bad.yaml", "rulez: []"),
        ("torn.py", "def flow(:"),
        ("paths.yaml", PATHS),
        ("apps/app.py", APP),
        ("apps/typed.py", TYPED),
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def run(folder: Path, *arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout, stderr. As `python -m`, so that the test needs no PATH."""
    command = [sys.executable, "-W", "error", "-m", "penguiflow_policy", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, encoding="utf-8", timeout=60, env={**os.environ})
    return done.returncode, done.stdout, done.stderr


def test_check_says_everything_that_is_wrong(folder: Path):
    code, out, _ = run(folder, "check", "old.yaml", "bad.yaml")
    assert code == 1
    good, *wrong = out.splitlines()
    assert good.startswith("old.yaml: 3 rules, version ")
    assert wrong == [
        "bad.yaml:1:1: the key 'rules' is missing",
        "bad.yaml:1:1: rulez: there is no key 'rulez' here: did you mean 'rules'?",
    ]
    assert run(folder, "check", "old.yaml")[0] == 0


@pytest.mark.parametrize("target", ["app:flow", "app:make"])
def test_check_holds_a_policy_against_a_flow(folder: Path, target: str):
    code, out, _ = run(folder, "check", "old.yaml", "--flow", target)
    assert code == 1
    assert "old.yaml:9:12: rules[2].route: router 'desk' doesn't lead to 'c': there are a, b" in out


@pytest.mark.parametrize("target", ["apps/typed.py:flow", "{folder}/apps/typed.py:flow"])
def test_check_holds_paths_of_payloads_against_the_models_of_a_flow(folder: Path, target: str):
    code, out, err = run(folder, "check", "--flow", target.format(folder=folder), "paths.yaml")
    assert (code, err) == (1, "")
    assert out.splitlines() == [
        "paths.yaml:3:19: rules[0].when: payload has no 'tiket' where router 'desk' gets Ticket: did you mean 'text'?",
        "paths.yaml:6:13: rules[1].match.payload.kynd: payload has no 'kynd' where router 'desk' gets Ticket: did you "
        "mean 'kind'?",
    ]


def test_check_says_in_one_run_what_is_wrong_with_keys_conditions_targets_and_paths(folder: Path):
    (folder / "all.yaml").write_text(
        "rules:\n"
        "  - {name: keys, rout: c}\n"
        "  - {name: types, when: priority + 'x' == 1, route: c}\n"
        "  - {name: fields, match: {nod: elsewhere}, route: elsewhere}\n"
        "  - {name: paths, match: {payload.kynd: bug}, route: b}\n"
        "default: d\n",
        encoding="utf-8",
    )
    code, out, err = run(folder, "check", "--flow", "apps/typed.py:flow", "all.yaml")
    assert (code, err) == (1, "")
    assert [line.split(": ", 1)[0] for line in out.splitlines()] == [
        "all.yaml:2:18",
        "all.yaml:3:34",
        "all.yaml:4:28",
        "all.yaml:6:10",
        "all.yaml:3:53",
        "all.yaml:5:27",
    ]
    (folder / "all.yaml").write_text("flow: other\nrules: [{name: one, route: elsewhere}]", encoding="utf-8")
    code, out, _ = run(folder, "check", "--flow", "apps/typed.py:flow", "all.yaml")
    assert out.splitlines() == ["all.yaml:1:1: flow: there is no key 'flow' here: did you mean 'flows'?"]


def test_check_holds_a_policy_against_several_flows(folder: Path):
    (folder / "one.yaml").write_text("rules: [{name: one, route: a}]", encoding="utf-8")
    flows = ("--flow", "app:flow", "--flow", "apps/typed.py:flow")
    assert run(folder, "check", *flows, "one.yaml")[0] == 0
    assert run(folder, "check", *flows, "paths.yaml")[0] == 0  # who knows what the first gets
    code, out, _ = run(folder, "check", *flows, "old.yaml")
    assert (code, out.count("old.yaml:9:12: rules[2].route: router 'desk' doesn't lead to 'c'")) == (1, 1)


@pytest.mark.parametrize(
    "target", ["app", "app:nothing", "nomodule:flow", "app:broken", "nofile.py:flow", "apps:flow", "app.py:nothing"]
)
def test_a_flow_that_is_none_is_wrong_usage(folder: Path, target: str):
    code, out, err = run(folder, "check", "old.yaml", "--flow", target)
    assert (code, out) == (2, "")
    assert err.startswith("--flow ")


def test_test_runs_a_table_of_cases(folder: Path):
    code, out, _ = run(folder, "test", "old.yaml", "cases.yaml")
    assert code == 0
    assert out.splitlines()[:4] == ["ok vip", "ok big", "ok zoo", "ok odd"]
    assert "4 of 4 cases as expected" in out
    code, out, _ = run(folder, "test", "new.yaml", "cases.yaml")
    assert code == 1
    assert "FAILED big: expected b, got c (by rest)" in out
    assert "FAILED zoo: expected c, got a (by vip)" in out
    assert "1 of 4 cases as expected" in out


def test_a_table_of_cases_with_mistakes_is_refused_with_their_places(folder: Path):
    (folder / "cases.yaml").write_text(
        "cases:\n  - {name: x, expct: a}\n  - {name: y, expect: a, hour: 24}\n", encoding="utf-8"
    )
    code, _, err = run(folder, "test", "old.yaml", "cases.yaml")
    assert code == 1
    assert "cases.yaml:2:5: cases[0]: the key 'expect' is missing" in err
    assert "cases.yaml:2:15: cases[0].expct: a case has no 'expct': did you mean 'expect'?" in err
    assert "cases.yaml:3:32: cases[1].hour:" in err
    (folder / "cases.yaml").write_text("cases: []", encoding="utf-8")
    assert run(folder, "test", "old.yaml", "cases.yaml")[0] == 2


def test_diff_says_what_differs_in_rules_and_in_where_cases_go(folder: Path):
    code, out, _ = run(folder, "diff", "old.yaml", "new.yaml", "--cases", "cases.yaml")
    assert code == 1
    assert out.splitlines() == [
        "- big",
        "~ vip.match: {tenant: 'acme'} -> {tenant: ['acme', 'zoo']}",
        "! big: b (by big) -> c (by rest)",
        "! zoo: c (by rest) -> a (by vip)",
        "! odd: fails (the condition of rule 'big' has no answer: what it looks at is of another kind than it expects)"
        " -> c (by rest)",
    ]
    (folder / "told.yaml").write_text(OLD.replace("route: a", "route: a\n    description: of note"), encoding="utf-8")
    for other in ("old.yaml", "told.yaml"):
        assert run(folder, "diff", "old.yaml", other) == (0, "", "")


def test_diff_names_the_rules_that_moved_and_no_others(folder: Path):
    rules = [f"  - name: r{place}\n    match: {{tenant: t{place}}}\n    route: a\n" for place in range(5)]
    (folder / "old.yaml").write_text("rules:\n" + "".join(rules), encoding="utf-8")
    moved = [rules[4], *rules[:4]]
    (folder / "new.yaml").write_text("rules:\n" + "".join(moved), encoding="utf-8")
    assert run(folder, "diff", "old.yaml", "new.yaml")[1] == "~ r4: moved to place 1\n"


def test_explain_says_where_a_message_goes_and_why(folder: Path):
    code, out, _ = run(folder, "explain", "old.yaml", "--payload", '{"size": 9}', "--hour", "3")
    assert code == 0
    assert out.splitlines()[1:] == ["  vip: tenant is 'default', not 'acme'", "  big: decides"]
    code, out, _ = run(folder, "explain", "old.yaml", "--tenant", "acme")
    assert out.startswith("goes to a: vip (policy ")
    code, out, _ = run(folder, "explain", "old.yaml", "--payload", "{}")
    assert code == 1
    assert out.startswith("the message fails: the condition of rule 'big' has no answer: a key or field")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--payload", "{"), "--payload is JSON, and this isn't"),
        (("--meta", "[]"), "--meta is a JSON object, not list"),
        (("--hour", "24"), "invalid choice"),
        (("--flow", "app:flow"), "router 'desk' doesn't lead to 'c'"),
        (("--flow", "app:wants"), "--flow app:wants raised TypeError: "),
        (("--flow", "app:falls"), "--flow app:falls raised RuntimeError: no database"),
        (("--flow", "torn:flow"), "--flow torn:flow raised SyntaxError: "),
        (("--flow", "torn.py:flow"), "--flow torn.py:flow raised SyntaxError: "),
        (("--flow", "app:three", "--node", "dsk"), "flow 'three' has no router 'dsk': did you mean 'desk'?"),
    ],
)
def test_wrong_usage_is_told_and_exits_with_2(folder: Path, arguments: tuple[str, str], said: str):
    code, out, err = run(folder, "explain", "old.yaml", *arguments)
    assert (code, out) == (2, "")
    assert said in err


def test_the_schema_admits_what_the_reader_admits_and_refuses_what_it_refuses(folder: Path):
    code, out, _ = run(folder, "schema")
    assert code == 0
    schema = json.loads(out)
    assert schema == json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    check = jsonschema.Draft202012Validator(schema)
    rule = {"name": "r", "match": {"tenant": ["a", None], "payload.x": True}, "when": "true", "route": "a"}
    for good in (
        {"rules": []},
        {"rules": [rule]},
        {"rules": [{"name": "r", "canary": {"to": ["a"], "percent": "${SHARE:-5}"}, "by": "tenant"}]},
        {
            "rules": [{"name": "r", "split": {"a": 60, "b": 40}, "fallback": {"to": "b", "error_rate": 0.5}}],
            "default": "keep",
        },
    ):
        assert [error.message for error in check.iter_errors(good)] == []
    for bad in (
        {},
        {"rules": [{"name": "r"}]},
        {"rules": [{**rule, "drop": True}]},
        {"rules": [{**rule, "rout": "a"}]},
        {"rules": [{"name": "r", "canary": {"to": "a", "percent": 101}}]},
        {"rules": [{"name": "r", "canary": {"to": "a", "percent": "5"}}]},
        {"rules": [], "on_error": "ignore"},
    ):
        assert list(check.iter_errors(bad)), bad


def test_no_command_is_wrong_usage(folder: Path):
    assert run(folder)[0] == 2
    assert run(folder, "check", "nothing.yaml")[0] == 1
