"""What is wrong with a policy is said when it is read or the flow is built: all at once, with place and remedy."""

from __future__ import annotations

from pathlib import Path

import pytest
from desk import flow_of, policy, rule, same, sinks

from penguiflow import GraphError, Node, create, router, subflow
from penguiflow_policy import Policy, PolicyError

EVERYTHING = """\
rules:
  - name: vip
    match: {tenannt: acme, priority: "5"}
    when: tenat == "x"
    route: a
  - name: vip
    split: {a: 70, b: 20}
    by: tenat
  - name: loud
    when: |
      payload.size > 5
        && priority + "x" == 1
    drop: true
  - name: nothing
  - name: both
    route: a
    drop: true
  - name: hours
    match:
      hour:
        - 7
        - 24
    route: b
    by: tenant
"""


def problems(text: str) -> list[str]:
    with pytest.raises(PolicyError) as caught:
        Policy.from_yaml(text)
    return [str(problem) for problem in caught.value.problems]


def test_everything_is_said_at_once_with_line_column_and_suggestion():
    assert problems(EVERYTHING) == [
        "policy:3:13: rules[0].match.tenannt: there is no field 'tenannt': did you mean 'tenant'?",
        "policy:3:38: rules[0].match.priority: priority is a whole number, and this is '5'",
        "policy:4:11: rules[0].when: there is no 'tenat' here: did you mean 'tenant'?",
        "policy:6:11: rules[1].name: rule 1 is called 'vip' too: give each its own name",
        "policy:7:5: rules[1].split: the weights add up to 90, not to 100 (a 70, b 20)",
        "policy:8:9: rules[1].by: a share can't hold on to 'tenat': did you mean 'tenant'?",
        "policy:12:21: rules[2].when: `+` can't be used with (int, string)",
        "policy:14:5: rules[3]: rule 'nothing' does nothing: give it one of route, add, remove, drop, abstain, split, "
        "canary",
        "policy:17:5: rules[4].drop: rule 'both' has route already: make drop a rule of its own",
        "policy:22:11: rules[5].match.hour[1]: hour goes from 0 to 23, and this is 24",
        "policy:24:5: rules[5].by: by belongs to split and canary, and this rule has route",
    ]


BROKEN = """\
defalt: a
on_error: maybe
rules:
  - {name: one, rout: a, when: tenat == "x"}
  - {name: one, route: 3, match: {tenannt: x}}
  - [two]
  - {route: a, when: priority + "x" == 1}
  - {name: three, split: {a: 60, b: 60}}
  - {name: four, canary: {to: a, percent: lots}, by: tenat, when: "topic =="}
  - {name: five, route: "${NOWHERE}", match: {hour: 24}}
"""


def test_what_has_no_form_does_not_hide_what_else_is_wrong():
    with pytest.raises(PolicyError) as caught:
        Policy.from_yaml(BROKEN, environ={})
    *told, unfinished, percent, unset, hour = map(str, caught.value.problems)
    assert told == [
        "policy:1:1: defalt: there is no key 'defalt' here: did you mean 'default'?",
        "policy:2:11: on_error: it should be 'fail' or 'skip' (it is 'maybe')",
        "policy:4:17: rules[0].rout: there is no key 'rout' here: did you mean 'route'?",
        "policy:4:32: rules[0].when: there is no 'tenat' here: did you mean 'tenant'?",
        "policy:5:12: rules[1].name: rule 1 is called 'one' too: give each its own name",
        "policy:5:24: rules[1].route: this has to be a name or a list, and it is 3",
        "policy:5:35: rules[1].match.tenannt: there is no field 'tenannt': did you mean 'tenant'?",
        "policy:6:5: rules[2]: this has to be a table, and it is a list",
        "policy:7:5: rules[3]: the key 'name' is missing",
        "policy:7:31: rules[3].when: `+` can't be used with (int, string)",
        "policy:8:19: rules[4].split: the weights add up to 120, not to 100 (a 60, b 60)",
    ]
    assert "rules[5].canary.percent: this has to be a number, and it is 'lots'" in unfinished
    assert "rules[5].when" in percent
    assert "rules[6].route: the variable NOWHERE isn't set" in unset
    assert "rules[6].match.hour: hour goes from 0 to 23, and this is 24" in hour


def test_of_a_format_of_another_version_nothing_else_is_said():
    assert len(problems("version: 2\nrules:\n  - {name: r, rout: a}\n  - {name: r, when: tenat}")) == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "rules:\n  - {name: r, rout: a}",
            "policy:2:15: rules[0].rout: there is no key 'rout' here: did you mean 'route'?",
        ),
        ("rules: []\ndefalt: a", "policy:2:1: defalt: there is no key 'defalt' here: did you mean 'default'?"),
        ("version: 1", "policy:1:1: the key 'rules' is missing"),
        ("rules: [{route: a}]", "policy:1:9: rules[0]: the key 'name' is missing"),
        ("rules: [{name: r, route: [a, 3]}]", "policy:1:30: rules[0].route[1]: this has to be text, and it is 3"),
        (
            "rules: [{name: r, route: a, match: {payload.x: {y: 1}}}]",
            "policy:1:48: rules[0].match.payload.x: this has to be text, a number, true, false or null, and it is a "
            "table",
        ),
        (
            "rules: [{name: r, route: a, match: {payload.x: [1, [2]]}}]",
            "policy:1:52: rules[0].match.payload.x[1]: this has to be text, a number, true, false or null, and it is "
            "a list",
        ),
        (
            "rules: [{name: r, route: 3}]",
            "policy:1:26: rules[0].route: this has to be a name or a list, and it is 3",
        ),
        ("rules: {name: r, route: a}", "policy:1:8: rules: this has to be a list, and it is a table"),
        ("rules: [7]", "policy:1:9: rules[0]: this has to be a table, and it is 7"),
        ("rules: [{name: r, drop: true, salt: 3}]", "rules[0].salt: this has to be text, and it is 3"),
        ("rules: [{name: r, canary: {to: a, percent: x}}]", "percent: this has to be a number, and it is 'x'"),
        ("rules: [{name: r, route: [a, a]}]", "policy:1:26: rules[0].route: a name stands here twice: leave one out"),
        ("rules: []\ntimezone: Mars/Phobos", "there is no such timezone: write one as Europe/Berlin"),
        ("rules: [{name: r, canary: {to: a, percent: 101}}]", "it should be less than or equal to 100 (it is 101)"),
        (
            "rules: [{name: r, canary: {to: a, percent: 5, share: 1}}]",
            "there is no key 'share' here: there are to, percent",
        ),
        (
            "rules: [{name: r, add: a, fallback: {to: b, error_rate: 0.5}}]",
            "fallback belongs to route, split and canary",
        ),
        ("rules: [{name: default, route: a}]", "'default' is what decisions of no rule are called"),
        ("rules: []\ndefault: [keep, a]", "'keep' stands alone"),
        ("rules: [{name: r, match: {tenant: 7}, route: a}]", "tenant is text, and this is 7: put it in quotes"),
        ("rules: [{name: r, match: {tenant: []}, route: a}]", "list has at least 1 item"),
        ("rules: [{name: r, match: {payload._x: 7}, route: a}]", "there is no field 'payload._x'"),
        ("rules: [{name: r, match: {payload: 7}, route: a}]", "there is no field 'payload'"),
        ("version: 2\nrules: []", "it should be 1 (it is 2)"),
    ],
)
def test_a_mistake_is_told_in_the_words_of_the_policy(text: str, said: str):
    (found,) = problems(text)
    assert said in found


def test_problems_of_toml_and_json_have_their_lines_as_well(tmp_path: Path):
    toml = tmp_path / "p.toml"
    toml.write_text('[[rules]]\nname = "r"\nroute = "a"\n\n[[rules]]\nname = "s"\nwhen = "tenat == 1"\nroute = "b"\n')
    with pytest.raises(PolicyError, match=r"p\.toml:7:9: rules\[1\]\.when: there is no 'tenat'"):
        Policy.from_file(toml)
    with pytest.raises(PolicyError, match=r"policy:3:13: rules\[0\]\.when: there is no 'tenat'"):
        Policy.from_json('{"rules": [\n  {"name": "r", "route": "a",\n   "when": "tenat == 1"}]}')


@pytest.mark.parametrize(
    ("earlier", "later", "hidden"),
    [
        ({}, {"match": {"tenant": "x"}}, True),
        ({"match": {"tenant": ["x", "y"]}}, {"match": {"tenant": "x", "topic": "t"}}, True),
        ({"match": {"tenant": ["x", "y"]}}, {"match": {"tenant": ["x", "z"]}}, False),
        ({"match": {"topic": "t"}}, {"match": {"tenant": "x"}}, False),
        ({"when": "priority > 1"}, {"match": {"tenant": "x"}}, False),
        ({"when": "priority > 1"}, {"match": {"tenant": "x"}, "when": "priority > 1"}, True),
        ({"match": {"tenant": "x"}}, {"match": {"tenant": "x"}, "when": "priority > 1"}, True),
        ({"when": "priority > 1"}, {"when": "priority > 2"}, False),
        ({"add": "a"}, {"match": {"tenant": "x"}}, False),
        ({"canary": {"to": "a", "percent": 99}}, {}, False),
        ({"canary": {"to": "a", "percent": 100}}, {}, True),
        ({"abstain": True}, {"drop": True}, True),
        ({"match": {"payload.x": 1}}, {"match": {"payload.x": True}}, False),
        ({"match": {"tenant": "q"}}, {"when": "false"}, True),
    ],
)
def test_a_rule_that_is_never_reached_is_a_problem(earlier: dict, later: dict, hidden: bool):
    rules = rule("first", **earlier), rule("second", **later)
    if not hidden:
        policy(*rules)
        return
    with pytest.raises(PolicyError, match="rule 'second' is never reached"):
        policy(*rules)


def refused(found: Policy, *names: str, name: str = "flow") -> list[str]:
    with pytest.raises(GraphError) as caught:
        flow_of(*names, name=name, plugins=[found])
    return list(caught.value.problems)


def test_a_policy_that_does_not_suit_the_flow_keeps_it_from_being_built():
    found = policy(
        rule("one", match={"node": ["desc"]}, route="a"),
        rule("two", match={"proposed": "d"}, route=["a", "bb"], fallback={"to": "cc", "error_rate": 1}),
        rule("three", split={"a": 50, "x": 50}),
        default=["a", "y"],
    )
    assert refused(found) == [
        "policy: default[1]: router 'desk' doesn't lead to 'y': there are a, b, c",
        "policy: rules[0].match.node[0]: flow 'flow' has no router 'desc': did you mean 'desk'?",
        "policy: rules[1].match.proposed: router 'desk' doesn't lead to 'd': there are a, b, c",
        "policy: rules[1].route[1]: router 'desk' doesn't lead to 'bb': did you mean 'b'?",
        "policy: rules[1].fallback.to: router 'desk' doesn't lead to 'cc': did you mean 'c'?",
        "policy: rules[2].split.x: router 'desk' doesn't lead to 'x': there are a, b, c",
    ]


def test_the_policy_of_a_router_is_checked_against_that_router_only():
    found = policy(rule("all", route="b"))
    first = router("first", policy=found)
    second = router("second")
    create(first.to(*sinks("a", "b")), second.to(*sinks("c", "d")))
    with pytest.raises(GraphError, match="router 'first' doesn't lead to 'b'"):
        create(router("first", policy=policy(rule("all", route="b"))).to(*sinks("a", "c")))


def test_a_rule_has_to_suit_each_router_that_it_may_be_asked_by():
    second = router("second")
    graph = [router("first").to(*sinks("a", "b")), second.to(*sinks("c", "d"))]
    with pytest.raises(GraphError, match=r"router 'second' doesn't lead to 'a'.*say so: match: \{node: \.\.\.\}"):
        create(*graph, plugins=[policy(rule("all", route="a"))])
    create(*graph, plugins=[policy(rule("all", match={"node": "first"}, route="a"))])
    create(*graph, plugins=[policy(rule("all", route="a"), routers="first")])
    with pytest.raises(GraphError, match=r"routers: flow 'flow' has no router 'frst': did you mean 'first'"):
        create(*graph, plugins=[policy(rule("all", route="a"), routers="frst")])


def test_a_flow_that_the_policy_does_not_speak_of_is_none_of_its_business():
    found = policy(rule("all", route="zzz"), flows=["other"])
    flow_of(plugins=[found])
    assert "doesn't lead to 'zzz'" in refused(found, name="other")[0]
    create(Node(same, "alone"), plugins=[policy(rule("all", route="zzz"))])


def test_routers_of_subflows_and_of_playbooks_are_known():
    inner = create(router("inner").to(*sinks("x", "y")), name="nested")
    outer = Node(same, "before").to(subflow("sub", inner))
    create(outer, plugins=[policy(rule("r", match={"node": "inner"}, route="x"))])
    with pytest.raises(GraphError, match="router 'inner' doesn't lead to 'z'"):
        create(outer, plugins=[policy(rule("r", match={"node": "inner"}, route="z"))])
    calls = Node(same, "calls", playbooks=[inner])
    create(calls, plugins=[policy(rule("r", match={"node": "inner"}, route="x"))])
    with pytest.raises(GraphError, match="router 'inner' doesn't lead to 'z'"):
        create(calls, plugins=[policy(rule("r", match={"node": "inner"}, route="z"))])
    elsewhere = policy(rule("r", match={"node": "book"}, route="p"), elsewhere={"book": ["p", "q"]})
    flow_of(plugins=[elsewhere])
    wrong = policy(rule("r", match={"node": "book"}, route="r"), elsewhere={"book": ["p", "q"]})
    assert "router 'book' doesn't lead to 'r'" in refused(wrong)[0]


def test_a_target_from_the_environment_is_shown_as_it_is_written():
    found = policy(rule("r", route="${TO}"), environ={"TO": "s3cret"})
    (said,) = refused(found)
    assert "doesn't lead to '${TO}'" in said
    assert "s3cret" not in said
    for node in ("${TO}", ["${TO}", "desk"]):
        (said,) = refused(policy(rule("r", match={"node": node}, route="a"), environ={"TO": "s3cret"}))
        assert "has no router '${TO}'" in said
        assert "s3cret" not in said
