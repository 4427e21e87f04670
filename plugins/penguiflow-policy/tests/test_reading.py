"""Where policies come from: files, text, the environment, plain data."""

from __future__ import annotations

import json
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from desk import policy, request, rule, targets

from penguiflow_policy import Policy, PolicyError

YAML = """
rules:
  - name: vip          # who pays most
    match: {tenant: [acme, no], payload.kind: invoice}
    when: priority >= 2
    route: a
  - name: rest
    route: [b, c]
"""
JSON = """
{"rules": [{"name": "vip", "match": {"tenant": ["acme", "no"], "payload.kind": "invoice"}, "when": "priority >= 2",
            "route": "a"},
           {"name": "rest", "route": ["b", "c"]}]}
"""
TOML = """
[[rules]]
name = "vip"
match = {tenant = ["acme", "no"], "payload.kind" = "invoice"}
when = "priority >= 2"
route = "a"

[[rules]]
name = "rest"
route = ["b", "c"]
"""


def every_source(folder: Path) -> list[Policy]:
    for ending, text in ((".yaml", YAML), (".json", JSON), (".toml", TOML)):
        (folder / f"routing{ending}").write_text(text, encoding="utf-8")
    return [
        Policy.from_yaml(YAML),
        Policy.from_json(JSON),
        Policy.from_toml(TOML),
        Policy.from_dict(json.loads(JSON)),
        *(Policy.from_file(folder / f"routing{ending}") for ending in (".yaml", ".json", ".toml")),
        *(Policy.from_env("PF", environ={"PF": text}) for text in (YAML, JSON, str(folder / "routing.toml"))),
    ]


def test_one_policy_is_the_same_from_every_source(tmp_path: Path):
    made = every_source(tmp_path)
    assert len({p.version for p in made}) == 1
    for found in made:
        assert targets(found.select(request({"kind": "invoice"}, tenant="no", priority=2))) == ["a"]
        assert targets(found.select(request({"kind": "invoice"}, tenant="no", priority=1))) == ["b", "c"]
        assert targets(found.select(request({"kind": "receipt"}, tenant="acme", priority=2))) == ["b", "c"]


def test_the_version_changes_with_what_is_said_and_with_nothing_else():
    plain = Policy.from_yaml(YAML).version
    assert Policy.from_yaml(YAML.replace("# who pays most", "# changed")).version == plain
    assert Policy.from_yaml(YAML.replace("priority >= 2", "priority >= 3")).version != plain
    assert len(plain) == 12


@pytest.mark.parametrize(
    ("written", "tenant", "fits"),
    [("no", "no", True), ("yes", "yes", True), ("'1'", "1", True), ("on", "true", False)],
)
def test_words_stay_text_in_yaml(written: str, tenant: str, fits: bool):
    found = Policy.from_yaml(f"rules: [{{name: r, match: {{tenant: {written}}}, route: a}}]").select(
        request(tenant=tenant)
    )
    assert (found is not None) is fits


@pytest.mark.parametrize("written", ["true", "True", "7", "0x7", "1.5", "-3", "null", "1e3", ".5"])
def test_scalars_are_read_as_yaml_1_2_reads_them(written: str):
    wanted = {
        "true": True,
        "True": True,
        "7": 7,
        "0x7": "0x7",
        "1.5": 1.5,
        "-3": -3,
        "null": None,
        "1e3": 1000.0,
        ".5": 0.5,
    }
    made = Policy.from_yaml(f"rules: [{{name: r, match: {{payload.x: {written}}}, route: a}}]")
    value = wanted[written]
    assert made.select(request({"x": value})) is not None
    assert made.select(request({"x": f"{value}!"})) is None


def test_a_variable_stands_in_declared_places_only():
    environ = {"WHO": "acme", "TO": "b", "SHARE": "100", "AT": "7"}
    made = policy(
        rule("who", match={"tenant": "${WHO}", "payload.x": ["${X:-7}", "${WHO}-2"]}, route=["${TO}"]),
        rule("hour", match={"tenant": "late", "hour": "${AT}"}, drop=True),
        rule("canary", canary={"to": "${TO}", "percent": "${SHARE}"}, by="tenant"),
        environ=environ,
        clock=lambda: 7 * 3600.0,
    )
    assert targets(made.select(request(tenant="late"))) == []
    assert targets(made.select(request({"x": "7"}, tenant="acme"))) == ["b"]
    assert targets(made.select(request({"x": "acme-2"}, tenant="acme"))) == ["b"]
    found = made.select(request(tenant="zoo"))
    assert found is not None
    assert found.rule == "canary"


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"when": "tenant == '${WHO}'"}, "a variable can't stand here"),
        ({"by": "${WHO}", "split": {"a": 100}}, "a variable can't stand here"),
        ({"route": "${NOBODY}"}, "the variable NOBODY isn't set: set it, or write ${NOBODY:-a default}"),
        ({"route": "${WHO"}, "a variable is written ${NAME} or ${NAME:-default}"),
        ({"match": {"tenant": "${}"}}, "a variable is written ${NAME} or ${NAME:-default}"),
    ],
)
def test_a_variable_elsewhere_or_one_that_is_not_set_is_refused(parts: dict, said: str):
    with pytest.raises(PolicyError) as caught:
        policy(rule(**parts), environ={"WHO": "acme"})
    assert said in str(caught.value)


def test_what_a_variable_holds_is_shown_nowhere():
    secret = "hunter2-is-secret"
    made = policy(rule("r", match={"tenant": "${S}"}, route="a"), environ={"S": secret})
    assert secret not in str(made.explain("x"))
    assert "${S}" in str(made.explain("x"))
    assert made.version == policy(rule("r", match={"tenant": "${S}"}, route="a"), environ={"S": "other"}).version
    for parts in (
        {"canary": {"to": "a", "percent": "${S}"}},
        {"split": {"a": "${S}", "b": 50}},
        {"route": ["${S}", "${S}"]},
        {"match": {"hour": "${S}"}},
        {"fallback": {"to": "a", "error_rate": "${S}"}},
    ):
        with pytest.raises(PolicyError) as caught:
            policy(rule(**parts), environ={"S": secret})
        assert secret not in str(caught.value), parts
    with pytest.raises(PolicyError) as caught:
        policy(rule("r", split={"a": "${S}", "b": 1}), environ={"S": "98.25"})
    assert "98.25" not in str(caught.value)


def test_a_variable_that_is_not_set_is_told_once():
    with pytest.raises(PolicyError) as caught:
        policy(rule(route="${NOBODY}", fallback={"to": "a", "error_rate": "${NOR_HIM}"}))
    assert [problem.path for problem in caught.value.problems] == ["rules[0].route", "rules[0].fallback.error_rate"]


def test_a_variable_that_changes_is_read_again():
    environ = {"PF": "rules: [{name: r, route: a}]"}
    made = Policy.from_env("PF", environ=environ)
    environ["PF"] = '{"rules": [{"name": "s", "route": "b"}]}'
    assert made.reload() is True
    assert targets(made.select(request())) == ["b"]
    del environ["PF"]
    with pytest.raises(PolicyError, match="the variable isn't set"):
        made.reload()
    assert targets(made.select(request())) == ["b"]


def test_what_a_variable_holds_instead_of_a_policy_is_not_shown():
    with pytest.raises(PolicyError, match=r"\$PF: it holds no policy, and no path of a file that ends in") as caught:
        Policy.from_env("PF", environ={"PF": "sk.live-secret"})
    assert "live" not in str(caught.value)


def test_plain_data_may_hold_tuples_and_other_mappings():
    made = Policy.from_dict(MappingProxyType({"rules": (MappingProxyType(rule("r", route=("a", "b"))),)}))
    assert targets(made.select(request())) == ["a", "b"]
    deep: tuple[Any, ...] = ()
    for _ in range(100_000):
        deep = (deep,)
    with pytest.raises(PolicyError, match="nested more than 16 deep"):
        Policy.from_dict({"rules": deep})


def test_the_environment_is_read_when_the_policy_is(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PF_POLICY", JSON)
    assert targets(Policy.from_env("PF_POLICY").select(request())) == ["b", "c"]
    monkeypatch.delenv("PF_POLICY")
    with pytest.raises(PolicyError, match=r"\$PF_POLICY: the variable isn't set"):
        Policy.from_env("PF_POLICY")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.yaml", "rules: [", r"a\.yaml:(2:1|1:9): it is no YAML: .*expected (the )?node content"),
        ("a.yaml", "rules:\n  - name: x\n   route: b\n", r"a\.yaml:3:4: it is no YAML"),
        ("a.json", '{"rules": [}', r"a\.json:1:12: it is no JSON: Expecting value"),
        ("a.toml", "a = 1\nb = = 2\n", r"a\.toml:2:5: it is no TOML: Invalid value"),
        ("a.ini", "", r"a policy's file ends in \.yaml, \.yml, \.json, \.toml, and this in \.ini"),
        ("a.yaml", "- rules\n", r"a\.yaml:1:1: a policy has to be a table with the key rules, and this is a list"),
        ("a.yaml", "a: 1\na: 2\n", r"a\.yaml:2:1: the key 'a' stands here twice"),
        ("a.json", '{"a": 1,\n  "a": 2}', r"a\.json:2:3: the key 'a' stands here twice"),
        ("a.yaml", "1: 2\n", r"a\.yaml:1:1: a key is text, not 1"),
    ],
)
def test_a_file_that_is_none_is_refused_with_its_place(tmp_path: Path, name: str, text: str, said: str):
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(PolicyError, match=said):
        Policy.from_file(tmp_path / name)


def test_a_file_that_is_not_there_is_refused_with_the_one_that_was_meant(tmp_path: Path):
    (tmp_path / "routing.yaml").write_text(YAML, encoding="utf-8")
    with pytest.raises(PolicyError, match="there is no such file: did you mean 'routing.yaml'"):
        Policy.from_file(tmp_path / "routng.yaml")
    with pytest.raises(PolicyError, match="this is no file"):
        (tmp_path / "dir.yaml").mkdir()
        Policy.from_file(tmp_path / "dir.yaml")


def test_a_dictionary_may_change_afterwards_without_changing_the_policy():
    data = {"rules": [rule("r", match={"tenant": ["acme"]}, route="a")]}
    made = Policy.from_dict(data)
    data["rules"][0]["match"]["tenant"].append("zoo")
    assert made.select(request(tenant="zoo")) is None
    assert made.reload() is False


def test_a_problem_survives_pickling():
    import pickle

    with pytest.raises(PolicyError) as caught:
        Policy.from_yaml("rulez: []")
    again = pickle.loads(pickle.dumps(caught.value))
    assert again.problems == caught.value.problems
    assert str(again) == str(caught.value)


@pytest.mark.parametrize("number", [10**18, 2**63 - 1, -(2**63), 123456789012345678901])
def test_a_whole_number_is_matched_to_its_last_digit(number: int):
    rules = {"rules": [rule(match={"payload.id": number})]}
    texts = {".json": json.dumps(rules), ".yaml": f"rules: [{{name: r, route: a, match: {{payload.id: {number}}}}}]"}
    for made in (Policy.from_json(texts[".json"]), Policy.from_yaml(texts[".yaml"]), Policy.from_dict(rules)):
        assert made.select(request({"id": number})) is not None
        assert made.select(request({"id": number + 1})) is None
