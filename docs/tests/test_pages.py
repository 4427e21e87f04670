"""Pages that repeat what the code says: the programs with their options, and the texts of errors."""

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from penguiflow.cli.app import app
from penguiflow.testkit import PluginConformance

ROOT = Path(__file__).parents[2]
COMMANDS = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")
GUIDE = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
SETTINGS = (ROOT / "penguiflow" / "_settings.py").read_text(encoding="utf-8")
TROUBLE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
OPTION = re.compile(r"`(--[a-z][a-z-]*)")
EVERYWHERE = {"--help", "--json"}
SOURCES = [
    path
    for pattern in ("penguiflow/**/*.py", "penguiflow-*/src/**/*.py", "plugins/penguiflow-*/src/**/*.py")
    for path in sorted(ROOT.glob(pattern))
]
PYTHONS_OWN = {"TypeError: 'module' object is not callable", "ImportError: cannot import name …"}
PYTHONS_OWN |= {"attached to a different loop", "ask"}
PYTHONS_OWN |= {"AttributeError: 'function' object has no attribute 'to'"}


def commands(command: Any = None, path: str = "penguiflow") -> Iterator[tuple[str, set[str]]]:
    """Each command of `penguiflow`, and its options."""
    command = command or typer.main.get_command(app)
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, f"{path} {name}")
    if not hasattr(command, "commands"):
        options = [option for each in command.params for option in (*each.opts, *each.secondary_opts)]
        yield path, {option for option in options if option.startswith("--")}


@pytest.mark.parametrize(("path", "options"), list(commands()))
def test_a_command_is_documented_with_its_options(path: str, options: set[str]):
    section = COMMANDS.partition(f"### {path}\n")[2].partition("\n#")[0]
    assert section, f"{path} has no section"
    assert set(OPTION.findall(section)) - EVERYWHERE == options - EVERYWHERE


@pytest.mark.parametrize(
    ("program", "module"),
    [("penguiflow-viz", "penguiflow_viz.live.command"), ("penguiflow-policy", "penguiflow_policy.cli")],
)
def test_another_program_is_documented_with_its_commands_and_options(
    program: str, module: str, capsys: pytest.CaptureFixture[str]
):
    def helped(*arguments: str) -> str:
        with pytest.raises(SystemExit):
            importlib.import_module(module).main([*arguments, "--help"])
        return capsys.readouterr().out

    names = re.findall(r"^    ([a-z]+) ", helped(), re.MULTILINE)
    known = {option for name in names for option in re.findall(r"^  (--[a-z-]+)", helped(name), re.MULTILINE)}
    section = COMMANDS.partition(f"## {program}\n")[2].partition("\n## ")[0]
    assert set(OPTION.findall(section)) == known
    assert names
    assert [name for name in names if not re.search(rf"`(?:{program} )?{name}\b", section)] == []


def laws(page: str) -> list[str]:
    """The ten laws, in one line each."""
    found = re.findall(r"^\d+\. .+(?:\n   .+)*", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE)
    return [" ".join(law.split()) for law in found]


def test_the_laws_are_the_same_wherever_they_stand():
    assert laws("README.md") == laws("docs/index.md")
    assert len(laws("README.md")) == 10


@pytest.mark.parametrize(
    "name", ["on_event_us", "on_event_longest_us", "import_ms", "stop_s", "patience_s", "most_retries"]
)
def test_what_the_suite_for_plugins_allows_is_said(name: str):
    (said,) = re.findall(rf"`{name}` \(([\d,]+)", GUIDE)
    assert float(said.replace(",", "")) == getattr(PluginConformance, name)


@pytest.mark.parametrize("name", ["decision_timeout_s", "quarantine_after", "start_timeout_s", "stop_timeout_s"])
def test_what_a_setting_is_unless_somebody_sets_it_is_said(name: str):
    (said,) = re.findall(rf"^\| \| `{name}` \|.*; (\d+) \|$", GUIDE, re.MULTILINE)
    (default,) = re.findall(rf"^    {name}: \w+ = ([\d.]+)$", SETTINGS, re.MULTILINE)
    assert float(said) == float(default)


def texts(tree: ast.AST) -> Iterator[str]:
    """What a module may say, with `…` for what it fills in."""
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield re.sub(r"%(\w|\.)*?[srgd]", "…", node.value)


SAID = "\n".join(text for path in SOURCES for text in texts(ast.parse(path.read_text(encoding="utf-8"))))
MESSAGES = [
    message
    for row in re.findall(r"^\| (`.*?) \|", TROUBLE, re.MULTILINE)
    for message in re.findall(r"`([^`]+)`", row)[:1]
]


def test_there_are_messages_to_look_for():
    assert len(MESSAGES) > 25


@pytest.mark.parametrize("message", [message for message in MESSAGES if message not in PYTHONS_OWN])
def test_a_message_that_is_explained_is_one_that_is_said(message: str):
    parts = [part.strip() for part in message.split("…")]
    assert [part for part in parts if part not in SAID] == []
    assert len("".join(parts)) > 8
