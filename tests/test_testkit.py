"""The testkit as a whole: a test in under ten lines, and a documented surface, which our own suite uses."""

from __future__ import annotations

import ast
import inspect
import re
from typing import Any, get_overloads

import pytest

import penguiflow
from penguiflow import testkit
from tests.utils import flowtestkit
from tests.utils.layers import KERNEL, tree
from tests.utils.programs import ran

NAMES = {name: getattr(testkit, name) for name in testkit.__all__}

COMPLETE = """
from penguiflow.testkit import assert_node_sequence, assert_retries, run_one, simulate_error, virtual_time
from tests.utils.shop import flow, triage

@virtual_time
def test_triage_is_tried_again():
    with simulate_error(triage, fail_times=1):
        assert run_one(flow, "penguins") == "packed: penguins"
    assert_node_sequence(flow, ["triage", "pack"])
    assert_retries(flow, "triage", 1)
"""


def test_a_complete_test_of_two_nodes_with_a_retry_has_less_than_ten_lines():
    lines = [line for line in COMPLETE.splitlines() if line.strip()]
    assert len(lines) < 10
    names: dict[str, Any] = {}
    exec(COMPLETE, names)
    names["test_triage_is_tried_again"]()


@pytest.mark.parametrize(
    "broken",
    [
        COMPLETE.replace("fail_times=1", "fail_times=2"),
        COMPLETE.replace("packed: ", "sent: "),
        COMPLETE.replace('"triage", "pack"', '"pack", "triage"'),
        COMPLETE.replace('"triage", 1', '"triage", 0'),
    ],
)
def test_each_of_its_lines_can_fail(broken: str):
    names: dict[str, Any] = {}
    exec(broken, names)
    with pytest.raises((AssertionError, penguiflow.FlowError)):
        names["test_triage_is_tried_again"]()


def test_our_own_kit_is_the_public_one():
    for name in testkit.__all__:
        assert getattr(flowtestkit, name) is NAMES[name]


def test_all_is_sorted_complete_and_true():
    constants = [name for name in testkit.__all__ if name.isupper()]
    classes = [name for name in testkit.__all__ if name[0].isupper() and not name.isupper()]
    functions = [name for name in testkit.__all__ if not name[0].isupper()]
    assert testkit.__all__ == sorted(constants) + sorted(classes) + sorted(functions)
    public = {name for name, thing in vars(testkit).items() if not name.startswith("_") and not inspect.ismodule(thing)}
    assert public == set(testkit.__all__)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("UNSET", "PluginConformance")])
def test_every_name_and_method_is_documented_with_its_parameters(name: str):
    thing = NAMES[name]
    assert (inspect.getdoc(thing) or "").strip()
    if inspect.isclass(thing):
        bare = [
            attribute
            for attribute, member in vars(thing).items()
            if not attribute.startswith("_") and inspect.isfunction(member) and not member.__doc__
        ]
        assert bare == []
    called = thing.__init__ if inspect.isclass(thing) else thing
    shapes = [inspect.signature(shape) for shape in (called, *get_overloads(thing))]
    described = re.findall(r"^    (\w+):", _section(inspect.getdoc(thing) or "", "Args"), re.MULTILINE)
    known = [[parameter for parameter in shape.parameters if parameter != "self"] for shape in shapes]
    assert not described or described in [
        [parameter for parameter in shape if parameter != "flow" or "flow" in described] for shape in known
    ]


def _section(doc: str, title: str) -> str:
    found = re.search(rf"^{title}:\n(?P<body>(?:^ {{4,}}.*\n?|\n)*)", doc, re.MULTILINE)
    return "" if found is None else found["body"]


OPTIMISED = """
from penguiflow import create
from penguiflow.testkit import BrokenOrder, Recorder, explore, run_one
from tests.utils.nodes import same

try:
    explore(lambda: create(same), 1, lambda out: False, runs=2)
except BrokenOrder as error:
    print(error)
seen, less = Recorder(), Recorder()
run_one(create(same, on_event=seen), 1)
for event in seen.events:
    if event.event_type != "node_success":
        less(event)
try:
    less.assert_lawful()
except AssertionError as error:
    print(error)
"""


def test_its_checks_hold_where_python_leaves_assert_statements_out():
    said = ran("-O", "-c", OPTIMISED).stdout
    assert "the check returned False for [1]" in said
    assert "a run of 'same' began once and ended never" in said


def test_its_own_assert_statements_say_nothing_but_what_type_a_thing_has():
    kept = re.compile(r"isinstance\(.*\)|[\w.]+ is not None")
    found = [
        f"{path.name}:{statement.lineno}"
        for path in (KERNEL / "testkit").rglob("*.py")
        for statement in ast.walk(tree(path))
        if isinstance(statement, ast.Assert) and (statement.msg or not kept.fullmatch(ast.unparse(statement.test)))
    ]
    assert found == []
