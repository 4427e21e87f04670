"""Files that mean harm: refused in bounded time, no code run, nothing leaked, and the last good rules keep routing."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from desk import flow_of, policy, request, rule, targets
from hypothesis import given, settings
from hypothesis import strategies as st

from penguiflow import GraphError
from penguiflow_policy import Policy, PolicyError

MIB = 1 << 20
TOML = 1 << 18
SECONDS = 5.0  # of this thread's own time; most take some hundredths

MANY_CONDITIONS = "".join(
    f"- {{name: r{i}, when: 'tenant == \"{i}\" && {'priority > 1 && ' * 45}priority == {i}', route: x}}\n"
    for i in range(1000)
)
HOSTILE: dict[str, tuple[str, str]] = {
    "toml a number of 20,000 bits": (
        ".toml",
        f"rules = [{{name='a', route='x', match={{'payload.x'=0x{'f' * 5000}}}}}]",
    ),
    "yaml a list in a list in a list": (".yaml", "[" * (MIB - 1)),
    "yaml a table in a table in a table": (".yaml", "{a: " * (MIB // 4 - 1)),
    "yaml key of a key of a key": (".yaml", "? " * (MIB // 2 - 1)),
    "yaml steps": (".yaml", "\n".join(" " * i + "a:" for i in range(1400))),
    "yaml an alias bomb": (".yaml", "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nrules: [*c, *c]\n"),
    "yaml an alias of itself": (".yaml", "rules: &a [*a]\n"),
    "yaml a tag that runs": (".yaml", "rules: !!python/object/apply:os.system ['touch pwned']\n"),
    "yaml a tag that imports": (".yaml", "rules: !!python/name:antigravity.fly x\n"),
    "yaml a tag that makes": (".yaml", "rules: !!python/object/new:subprocess.Popen [['touch', 'pwned']]\n"),
    "yaml a merge": (".yaml", "x: &x {name: a}\nrules: [{<<: *x, route: a}]\n"),
    "yaml a long key": (".yaml", "a" * (MIB - 10) + ": 1"),
    "yaml many keys": (".yaml", "".join(f"k{i}: 1\n" for i in range(90_000))),
    "yaml many rules": (".yaml", "rules:\n" + "".join(f"- {{name: r{i}, route: x}}\n" for i in range(30_000))),
    "yaml colons": (".yaml", ":" * MIB),
    "yaml quotes": (".yaml", '"' * MIB),
    "yaml commas": (".yaml", "[" + "," * (MIB - 3) + "]"),
    "yaml directives": (".yaml", "%YAML 1.1\n" * 50_000),
    "yaml two documents": (".yaml", "rules: []\n---\nrules: []\n"),
    "yaml rules that nearly hide each other": (
        ".yaml",
        "rules:\n"
        + "".join(
            f"- {{name: r{i}, match: {{tenant: [{', '.join(f't{j}' for j in range(40))}, u{i}]}}, route: x}}\n"
            for i in range(999)
        )
        + "- {name: r, match: {tenant: u1}, route: x}\n",
    ),
    "yaml a number": (".yaml", "rules: " + "9" * 100_000),
    "yaml a zero byte": (".yaml", "rules: \x00"),
    "yaml half a pair": (".yaml", 'rules: "\\ud800"'),
    "yaml ten megabytes": (".yaml", "a" * (10 * MIB)),
    "json a list in a list": (".json", "[" * MIB),
    "json a table in a table": (".json", '{"a":' * (MIB // 5)),
    "json one key twice": (".json", '{"rules": [], "rules": []}'),
    "json no number": (".json", '{"rules": NaN}'),
    "json a number": (".json", '{"rules": ' + "9" * 100_000 + "}"),
    "json infinity": (".json", '{"rules": [{"name": "r", "canary": {"to": "a", "percent": 1e999}}]}'),
    "json many": (".json", "[" + "1," * 500_000 + "1]"),
    "json text without end": (".json", '"' + "\\" * (MIB - 2)),
    "json quotes in a text without end": (".json", '"' + '\\"' * (MIB // 2 - 2)),
    "json ten megabytes": (".json", '"' + "a" * (10 * MIB) + '"'),
    "toml a list in a list": (".toml", "a=" + "[" * (TOML - 3)),
    "toml a table in a table": (".toml", "a=" + "{a=" * (TOML // 3 - 1)),
    "toml a name of many parts": (".toml", "a" + ".a" * (TOML // 2 - 5) + "=1"),
    "toml a table of many parts": (".toml", "[" + "a." * 60_000 + "a]\n"),
    "toml quoted parts": (".toml", "['a'" + ".'a'" * 20_000 + "]\n"),
    "toml many tables": (".toml", "".join(f"[a.b{i}]\n" for i in range(24_000))),
    "toml many lists": (".toml", "[[rules]]\n" * 26_000),
    "toml a date": (".toml", "rules = 2020-01-01"),
    "toml a number": (".toml", "rules = " + "9" * 5000),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_in_bounded_time_and_the_old_rules_stay(name: str, tmp_path: Path):
    ending, text = HOSTILE[name]
    file = tmp_path / f"routing{ending}"
    good = {".yaml": "rules: [{name: r, route: a}]", ".toml": '[[rules]]\nname = "r"\nroute = "a"\n'}
    file.write_text(good.get(ending, '{"rules": [{"name": "r", "route": "a"}]}'), encoding="utf-8")
    made = Policy.from_file(file)
    file.write_text(text, encoding="utf-8")
    began = time.thread_time()
    with pytest.raises(PolicyError) as caught:
        made.reload()
    assert time.thread_time() - began < SECONDS
    assert len(str(caught.value)) < 40_000
    assert targets(made.select(request())) == ["a"]
    assert not Path("pwned").exists()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("yaml ten megabytes", "it is longer than 1024 KiB"),
        ("json ten megabytes", "it is longer than 1024 KiB"),
        ("toml a name of many parts", "a name of more than 16 parts with dots"),
        ("yaml a list in a list in a list", r"policy:1:(17|1001): it is nested more than 16 deep"),
        ("yaml an alias bomb", "policy:1:4: a policy has no anchors and aliases"),
        ("yaml a tag that runs", "policy:1:8: a policy has no tags"),
        ("yaml many keys", "it has more than 50000 values"),
    ],
)
def test_a_hostile_text_is_refused_for_what_it_is(name: str, said: str):
    ending, text = HOSTILE[name]
    with pytest.raises(PolicyError, match=said):
        {".yaml": Policy.from_yaml, ".json": Policy.from_json, ".toml": Policy.from_toml}[ending](text)


def test_a_name_of_more_parts_than_a_policy_can_have_is_refused_in_toml():
    with pytest.raises(PolicyError, match="a name of more than 16 parts with dots"):
        Policy.from_toml(".".join("a" * 18) + " = 1\n")


def test_the_most_conditions_that_a_file_can_hold_take_bounded_time():
    began = time.thread_time()
    made = Policy.from_yaml("rules:\n" + MANY_CONDITIONS)
    assert time.thread_time() - began < 4 * SECONDS
    began = time.thread_time()
    assert made.select(request(priority=5)) is None
    assert time.thread_time() - began < SECONDS


def test_data_without_an_end_is_refused():
    loop: dict[str, Any] = {}
    loop["rules"] = [loop]
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    for data in (loop, {"rules": deep}, {"rules": [1] * 60_000}):
        with pytest.raises(PolicyError, match="nested more than 16 deep or has more than 50000 values"):
            Policy.from_dict(data)


def test_a_flow_is_checked_in_bounded_time():
    made = policy(rule(match={"node": [f"desk{i}" for i in range(9_000)]}))
    began = time.thread_time()
    with pytest.raises(GraphError):
        flow_of(plugins=[made])
    assert time.thread_time() - began < SECONDS


def test_a_file_that_is_no_text_or_never_ends_is_refused(tmp_path: Path):
    (tmp_path / "a.yaml").write_bytes(b"rules: \xff\xfe")
    with pytest.raises(PolicyError, match=r"it is no UTF-8 text \(byte 7\)"):
        Policy.from_file(tmp_path / "a.yaml")
    (tmp_path / "endless.yaml").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "pipe.yaml")
    for name in ("endless.yaml", "pipe.yaml"):
        with pytest.raises(PolicyError, match="this is no file"):
            Policy.from_file(tmp_path / name)


def test_nothing_of_a_file_that_is_another_is_shown(tmp_path: Path):
    secret = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQ\n-----END PRIVATE KEY-----\n"
    for ending in (".yaml", ".json", ".toml"):
        (tmp_path / f"key{ending}").write_text(secret, encoding="utf-8")
        with pytest.raises(PolicyError) as caught:
            Policy.from_file(tmp_path / f"key{ending}")
        assert "MIIE" not in str(caught.value)
        assert "MIIE" not in repr(caught.value.__cause__)


BIG = {"text": "a" * 100_000, "items": ["ab" * 10] * 9000, "deep": {"x": [1, 2, 3]}}
WORST = [
    "payload.text.matches('(a*)*b')",
    "payload.text.matches('((a{30}){30}){30}')",
    "payload.text.matches('(a|a|a|a)*(a|a)*$')",
    "payload.items.all(i, i.matches('(a|b)*'))",
    "payload.items.exists(i, i == 'x' || i + i + i + i == i)",
    "payload.items.filter(i, i.contains('b')).filter(i, i != 'x').exists(i, size(i) > 99)",
    " + ".join(["payload.text"] * 17) + " == 'x'",
    "payload == payload && payload.items == payload.items && payload.text == payload.text",
    "[payload, payload, [payload, [payload]]] == [payload, payload, [payload, [payload]]]",
    "!" * 900 + "true",
    "-" * 900 + "priority == 1",
    "payload.items.all(i, size(i) + size(i) + size(i) + size(i) > 0) && " * 12 + "true",
    "'x' in payload.items || 'y' in payload.items || payload.items[8999] == 'z'",
    "payload.text.contains('" + "a" * 900 + "b')",
    "payload.text.matches('(a|b)*a(a|b){64}c')",
    "payload.items.all(i, !i.matches('" + "(a|b)?" * 30 + "c'))",
]


@pytest.mark.parametrize("condition", WORST)
def test_no_condition_takes_longer_or_more_memory_than_its_length_times_the_message(condition: str):
    """In a process of its own, with little memory: what doesn't come back is a failure and not a hanging suite."""
    code = (
        "import resource, time\n"
        "from desk import policy, request, rule\n"
        "from test_hostile import BIG\n"
        "from penguiflow_policy import ConditionError, PolicyError\n"
        "try:\n"
        f"    made = policy(rule(when={condition!r}))\n"
        "except PolicyError:\n"
        "    raise SystemExit\n"
        "resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))\n"
        "began = time.thread_time()\n"
        "try:\n"
        "    made.select(request(BIG))\n"
        "except ConditionError:\n"
        "    pass\n"
        "took = time.thread_time() - began\n"
        "assert took < 2, took\n"
    )
    path = {**os.environ, "PYTHONPATH": os.path.dirname(__file__)}
    done = subprocess.run([sys.executable, "-c", code], env=path, capture_output=True, encoding="utf-8", timeout=120)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ("payload.a.contains(payload.b)", "`contains` has to be told what it looks for in the condition"),
        ("payload.a.contains( // as written\n tenant)", "`contains` has to be told what it looks for"),
        ("payload.a.contains('x' + payload.b)", "`contains` has to be told what it looks for"),
        ("payload.a.matches(payload.b)", "`matches` has to be told what it looks for in the condition"),
        ("matches(payload.a, 'x')", "write `text.matches"),
        ("payload.a.matches('((a|b){30}){30}c')", "at most 200 parts, its {n} written out, and this has 1801"),
        ("payload.a.matches('a{100}{9}')", "and this has 900"),
        ("payload.a.matches(r'(a[)]b\\)){99}')", "and this has 396"),
        ("payload.a.matches('a{999,}')", "and this has 1000"),
        ("payload.a.matches('\\\\pL{50}')", "and this has 500"),
        ("payload.a.matches('a\\x7b900\\x7d')", "write its characters as they are, not as codes"),
        ("payload.a.matches('(a\\\\Q)\\\\Ea){99}')", "no .Q here"),
        ("payload.items.exists(i, tenant.matches('a'))", "searches what belongs to the item alone"),
        ("payload.items.exists(i, (tenant + i).contains('a'))", "searches what belongs to the item alone"),
        (".payload.a == 1", "a name doesn't begin with a dot here"),
        ("payload.a == 1 && payload.items.all(i, i in .payload.a)", "a name doesn't begin with a dot here"),
        ("timestamp(payload.t).getHours(payload.zone) > 8", "`getHours` has to be told a timezone in the condition"),
        ("timestamp(payload.t).getDate('/dev/stdin') > 8", "`getDate`: there is no such timezone"),
        ("timestamp(payload.t).getDate('../x') > 8", "`getDate`: there is no such timezone"),
    ],
)
def test_what_is_searched_for_stands_in_the_condition_and_is_small(condition: str, said: str):
    """One of the texts would be a program, or a file that is opened, or be searched for in the square of the time."""
    with pytest.raises(PolicyError, match=said):
        policy(rule(when=condition))


@pytest.mark.parametrize(
    "condition",
    [
        "payload.text.contains('x')==false || true",
        "payload.text.matches(r'^[a-z]{2,40}-[0-9]{4}$') || true",
        "payload.text.matches('[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}') || true",
        "payload.items.exists(i, i.contains('ab'))==true && payload.text != ''",
        "timestamp('2026-01-01T00:00:00Z').getHours('Europe/Berlin') == 1",
        "timestamp('2026-01-01T00:00:00Z').getHours('+02:00') == 2 && timestamp('2026-01-01T00:00:00Z').getDate() == 1",
        "0.6 > .5 && payload.deep.x[0]==1",
    ],
)
def test_ordinary_searches_are_answered(condition: str):
    assert policy(rule(when=condition)).select(request(BIG)) is not None


def test_conditions_leave_no_memory_behind():
    made = policy(rule(when="payload.items.exists(i, i == 'x')"))
    asked = request({"items": ["a"] * 100})
    for _ in range(200):
        made.select(asked)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(2000):
        made.select(asked)
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 20_000


# --- anything at all ------------------------------------------------------------------------------

TOKENS = st.sampled_from(
    [
        *"{}[]:,-?|>&*!%@`#'\"\n\t ",
        "rules:",
        "\n  - name: r",
        "\n    route: a",
        "\n    when: ",
        "\n    match: {tenant: ",
        "split: {a: 50, b: 50}",
        "${X}",
        "${X:-y}",
        "&a",
        "*a",
        "!!str",
        "<<:",
        "payload.x",
        "tenant",
        "true",
        "1e999",
        "\\ud800",
        "\x00",
        "é",
        "🐧",
        "[[rules]]",
        "=",
        '"""',
    ]
)
TEXTS = st.one_of(st.text(max_size=200), st.lists(TOKENS, max_size=40).map("".join))


def made_or_refused(make: Callable[..., Policy], *given: Any, **options: Any) -> Policy | PolicyError:
    """Anything else that is raised fails the test."""
    try:
        return make(*given, **options)
    except PolicyError as exc:
        return exc


READERS: dict[str, Callable[[str], Policy]] = {
    "yaml": Policy.from_yaml,
    "json": Policy.from_json,
    "toml": Policy.from_toml,
}


@pytest.mark.parametrize("kind", READERS)
@settings(max_examples=250, deadline=None)
@given(TEXTS)
def test_any_text_is_a_policy_or_is_refused(kind: str, text: str):
    made = made_or_refused(READERS[kind], text)
    if isinstance(made, PolicyError):
        assert made.problems
        assert all(problem.text for problem in made.problems)
    else:
        assert len(made.version) == 12


JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=5),
        st.sampled_from(["a", "keep", "tenant"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                ["name", "route", "match", "when", "split", "canary", "to", "percent", "by", "tenant", "rules", "x"]
            ),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=12,
)


@settings(max_examples=250, deadline=None)
@given(
    JSON,
    st.dictionaries(
        st.sampled_from(["default", "flows", "routers", "timezone", "on_error", "elsewhere"]), JSON, max_size=2
    ),
)
def test_any_data_is_a_policy_or_is_refused(rules: Any, settings_: Any):
    data = {
        "rules": rules if isinstance(rules, list) else [{"name": "r", **rules} if isinstance(rules, dict) else rules]
    }
    made = made_or_refused(Policy.from_dict, {**data, **settings_}, environ={})
    if isinstance(made, PolicyError):
        assert made.problems
    else:
        assert str(made.explain_request(request({"x": 1})))


CEL = st.lists(
    st.sampled_from(
        [
            *"()[]{}.,+-*/%!<>=?:'\"&|\\\n ",
            *(
                "payload",
                "meta",
                "tenant",
                "proposed",
                "x",
                "all",
                "exists",
                "filter",
                "map",
                "has",
                "size",
                "matches",
                "in",
                "true",
            ),
            *(
                "1",
                "1.5",
                "'a'",
                "r'\\'",
                "b'x'",
                "'''",
                "//",
                "==",
                "&&",
                "||",
                ".exists(x, ",
                "payload.items",
                "google",
            ),
        ]
    ),
    max_size=30,
).map("".join)


@settings(max_examples=400, deadline=None)
@given(CEL)
def test_any_condition_is_compiled_or_refused_and_then_has_an_answer_or_none(condition: str):
    made = made_or_refused(policy, rule(when=condition))
    if isinstance(made, PolicyError):
        assert made.problems
        return
    began = time.thread_time()
    explained = made.explain_request(request({"items": [1, "a", None, {"x": 1}], "x": "text"}))
    assert time.thread_time() - began < 1
    assert explained.error is None or "has no answer" in explained.error
