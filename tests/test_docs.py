"""docs/plugins.md is complete: what a plugin can meet is documented there, and tested. What is missing fails."""

from __future__ import annotations

import dataclasses
import inspect
import re
import tomllib
import typing
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from penguiflow import (
    EVENT_TYPES,
    HOOKS,
    ErrorDecision,
    ExportRequest,
    FlowEvent,
    HookSpecs,
    PluginError,
    PluginRecord,
    RoutingRequest,
    create,
    hookimpl,
    node,
)
from penguiflow.testkit import PluginConformance

ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
TOML = re.findall(r"^```toml\n(.*?)^```", GUIDE, re.DOTALL | re.MULTILINE)
TESTS = {
    path.name: path.read_text(encoding="utf-8")
    for path in (ROOT / "tests").rglob("test_*.py")
    if path.name not in ("test_docs.py", "test_plugin_conformance.py")
}
DECISIONS = typing.get_args(ErrorDecision)


@node
async def same(x: Any) -> Any:
    return x


def rows(cell: str) -> list[list[str]]:
    """The rows of the guide's tables whose first cell names this, cell by cell."""
    found = [re.split(r"(?<!\\)\|", line.strip())[1:-1] for line in GUIDE.splitlines() if line.startswith("|")]
    return [[part.strip() for part in row] for row in found if f"`{cell}`" in row[0]]


def in_a_table(names: Any) -> list[str]:
    """Those of the names that no table of the guide explains."""
    return [name for name in names if not rows(name) or not any(len(row[-2] + row[-1]) > 5 for row in rows(name))]


def public(cls: type) -> list[str]:
    return [name for name in dir(cls) if not name.startswith("_")]


# --- hooks ----------------------------------------------------------------------------------------


def test_hooks_are_what_the_specs_declare():
    assert list(HOOKS) == [name for name in vars(HookSpecs) if not name.startswith("_")]


@pytest.mark.parametrize("hook", HOOKS)
def test_hook_is_documented_with_its_signature(hook: str):
    signature = str(inspect.signature(getattr(HookSpecs, hook))).replace("'", "")
    section = GUIDE.partition(f"### `{hook}`\n")[2].partition("\n### ")[0]
    assert f"```text\ndef {hook}{signature}\n```" in section
    assert rows(hook), f"{hook} is missing in the table of hooks"


@pytest.mark.parametrize("hook", HOOKS)
def test_hook_is_tested(hook: str):
    assert [name for name, text in TESTS.items() if re.search(rf"@hookimpl.*\n +(async )?def {hook}\(", text)]


@pytest.mark.parametrize("cls", [RoutingRequest, ExportRequest, FlowEvent], ids=lambda cls: cls.__name__)
def test_every_field_of_what_a_hook_is_given_is_documented(cls: type):
    fields = [name if name != "to_payload" else "to_payload()" for name in public(cls)]
    assert in_a_table(fields) == []


def test_every_decision_is_documented_and_tested():
    for decision in DECISIONS:
        call = f"{decision.__name__}({', '.join(field.name for field in dataclasses.fields(decision))})"
        assert rows(call), call
        assert [name for name, text in TESTS.items() if re.search(rf"\b{decision.__name__}\(", text)]


# --- events ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", EVENT_TYPES)
def test_event_type_is_documented(kind: str):
    ((_, when, _),) = rows(kind)
    assert len(when.split()) >= 3


def test_no_event_type_is_documented_that_there_is_none_of():
    table = GUIDE.partition("| type | sent when | `extra` |\n")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `(\w+)`", table, re.MULTILINE) == list(EVENT_TYPES)


@pytest.mark.parametrize("kind", EVENT_TYPES)
def test_event_type_is_tested(kind: str):
    assert [name for name, text in TESTS.items() if f'"{kind}"' in text]


def test_what_an_event_type_has_besides_is_documented():
    extras: dict[str, set[str]] = defaultdict(set)

    class Extras:
        @hookimpl
        def on_event(self, event: FlowEvent) -> None:
            extras[event.event_type] |= set(event.extra)

    checks = type("Checks", (PluginConformance,), {"make": lambda self: Extras()})()
    checks.test_it_survives_every_type_of_event()
    documented = {kind: set(re.findall(r"`(\w+)`", rows(kind)[0][-1])) for kind in EVENT_TYPES}
    assert {kind: extras[kind] for kind in EVENT_TYPES} == documented


# --- settings -------------------------------------------------------------------------------------


def problem(monkeypatch: pytest.MonkeyPatch, **environment: str) -> str:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(PluginError) as caught:
        create(same)
    return str(caught.value)


def variables(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Every variable: the complaint about one that is none of them names them all."""
    text = problem(monkeypatch, PENGUIFLOW_CONFOUNDED_AND_UNKNOWN_AND_UNLIKE_ANY="1")
    return set(re.findall(r"PENGUIFLOW_\w+", text.partition("there are ")[2]))


def keys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> set[str]:
    """Every key of the file: the complaint about one that is none of them names them all."""
    file = tmp_path / "penguiflow.toml"
    file.write_text("[plugins]\nzzz = 1\n", encoding="utf-8")
    text = problem(monkeypatch, PENGUIFLOW_CONFIG=str(file))
    return set(text.partition("there are ")[2].split(", "))


def test_every_environment_variable_is_documented(monkeypatch: pytest.MonkeyPatch):
    known = variables(monkeypatch)
    assert {"PENGUIFLOW_PLUGINS", "PENGUIFLOW_CONFIG"} <= known
    assert set(re.findall(r"^\| `(PENGUIFLOW_\w+)` \|", GUIDE, re.MULTILINE)) == known
    assert set(re.findall(r"PENGUIFLOW_\w+", GUIDE)) == known


def test_every_key_of_the_file_is_documented(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    known = keys(monkeypatch, tmp_path)
    assert {"allow", "options"} <= known
    table = GUIDE.partition("| variable | key in the file | |\n")[2].partition("\n\n")[0]
    documented = [row.split("|")[2].strip().strip("`") for row in table.splitlines()[1:]]
    assert {key for key in documented if key} == known


@pytest.mark.parametrize("text", TOML, ids=lambda text: text.partition("\n")[0])
def test_toml_block_is_accepted(text: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    table = tomllib.loads(text)
    if "project" in table:
        assert list(table["project"]["entry-points"]) == ["penguiflow.plugins", "penguiflow.policies"]
        return
    file = tmp_path / "penguiflow.toml"
    file.write_text(text, encoding="utf-8")
    monkeypatch.setenv("PENGUIFLOW_CONFIG", str(file))
    try:
        create(same)
        problems: tuple[str, ...] = ()
    except PluginError as exc:
        problems = exc.problems
    missing = re.compile(r"no \w+ .*is installed|isn't installed")  # as is all that the block names
    assert [problem for problem in problems if not missing.search(problem)] == []


def test_every_field_and_status_of_a_record_is_documented():
    section = GUIDE.partition("as a `PluginRecord`")[2].partition("\n\n")[0]
    assert set(re.findall(r"`(\w+)`", section.partition("On the command line")[0])) == {
        *(field.name for field in dataclasses.fields(PluginRecord)),
        *("loaded", "blocked", "available", "failed", "incompatible"),
    }


# --- the testkit ----------------------------------------------------------------------------------


def test_every_check_and_attribute_of_plugin_conformance_is_documented():
    names = [name for name in public(PluginConformance) if name != "make"]
    checks = [name for name in names if name.startswith("test_")]
    assert in_a_table(checks) == []
    assert [name for name in names if f"`{name}`" not in GUIDE] == []
    doc = inspect.getdoc(PluginConformance) or ""
    assert [name for name in names if name not in checks and f"    {name}:" not in doc] == []
