"""The command line as a whole: how it starts, what it says of itself, and that the kernel does without it."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import penguiflow
from penguiflow.cli.speech import place
from tests.utils.commandline import invoke
from tests.utils.hostile import ROOT, clean_environment

COMMANDS = (["run"], ["graph"], ["plugins", "list"], ["plugins", "doctor"], ["plugins", "explain"], ["plugins", "new"])


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**clean_environment(), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        stdin=subprocess.DEVNULL,
        encoding="utf-8",
        timeout=60,
    )


def test_without_typer_the_command_says_what_to_install():
    done = python("import sys; sys.modules['typer'] = None; from penguiflow.cli import main; main()")
    said = "the command line needs typer: pip install 'typer>=0.26'\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", said)


def test_importing_the_kernel_imports_no_command_line():
    done = python("import sys, penguiflow; print([m for m in sys.modules if m in ('typer', 'rich', 'penguiflow.cli')])")
    assert done.stdout == "[]\n"


def test_the_command_is_declared_with_its_extra():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["scripts"] == {"penguiflow": "penguiflow.cli:main"}
    assert [requirement.partition(">")[0] for requirement in project["optional-dependencies"]["cli"]] == ["typer"]


def test_the_installed_command_runs():
    command = Path(sys.executable).with_name("penguiflow")
    done = subprocess.run([command, "--version"], capture_output=True, encoding="utf-8", timeout=60, check=True)
    assert done.stdout == f"penguiflow {penguiflow.__version__}\n"


def test_every_command_knows_json_and_explains_itself():
    for command in COMMANDS:
        result = invoke(*command, "--help")
        assert result.exit_code == 0
        assert "--json" in result.stdout


def test_the_place_of_an_exception_is_in_nobody_elses_code_but_its_authors():
    package = Path(penguiflow.__file__).parent
    theirs, ours = f"{package}_acme/plugin.py", f"{package}/_flow.py"
    raised = {"__builtins__": __builtins__}
    exec(compile("\n\ndef fail(x):\n    return int(x)\n", theirs, "exec"), raised)
    exec(compile("def call(x):\n    return fail(x)\n", ours, "exec"), raised)
    with pytest.raises(ValueError, match="invalid literal") as caught:
        raised["call"]("x")
    assert place(caught.value.with_traceback(caught.value.__traceback__.tb_next)) == f"{theirs}:4"
    with pytest.raises(ValueError, match="invalid literal") as caught:
        exec(compile("int('x')", ours, "exec"), raised)
    assert place(caught.value.with_traceback(caught.value.__traceback__.tb_next)) is None


def test_a_command_that_is_not_there_is_wrong_usage():
    for arguments in (["fly"], ["plugins", "fly"], ["run"], ["run", "--fly"], ["plugins", "list", "more"]):
        result = invoke(*arguments)
        assert (result.exit_code, result.stdout) == (2, "")
        assert "Traceback" not in result.stderr
