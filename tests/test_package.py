"""What is built and imported under the name `penguiflow` is this project, whole and alone."""

import importlib.metadata
import json
import os
import re
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

import penguiflow

ROOT = Path(__file__).parents[1]
TEMPLATE = ROOT / "plugins" / "template"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

FLOW = """
import asyncio, pathlib, sys
import penguiflow
from penguiflow import create, node

assert pathlib.Path(penguiflow.__file__).is_relative_to(sys.prefix), penguiflow.__file__

@node
async def double(number: int) -> int:
    return number * 2

@node
async def show(number: int) -> str:
    return f"<{number}>"

async def main():
    async with create(double.to(show)) as flow:
        print(await flow.ask(21))

asyncio.run(main())
"""


def run(*command, **options):
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=300, **options)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT))
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def wheel_files(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_imported_penguiflow_is_ours():
    here = Path(penguiflow.__file__).resolve()
    if here.is_relative_to(ROOT):
        return
    # Installed elsewhere: only a path install records where it came from, the index's namesake would not.
    installed = importlib.metadata.distribution("penguiflow")
    origin = json.loads(installed.read_text("direct_url.json") or "{}")
    assert origin.get("url", "").startswith("file:"), f"{here} was not installed from this tree"


def test_installed_version_is_the_projects():
    assert importlib.metadata.version("penguiflow") == PROJECT["version"]


def test_changelog_knows_the_version():
    assert f"\n## [{PROJECT['version']}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_runtime_dependencies_are_two():
    names = [re.split(r"[^\w.-]", requirement)[0] for requirement in PROJECT["dependencies"]]
    assert sorted(names) == ["pluggy", "pydantic"]


BROUGHT = """
import sys
before = set(sys.modules)
{statements}
print(*sorted(set(sys.modules) - before))
"""
CHECKED = """
from pydantic.dataclasses import dataclass
@dataclass(config={"defer_build": True})
class Empty: pass
"""
SLOW = {"importlib.metadata", "pickle", "tomllib", "pydantic.plugin._loader"}  # wait until somebody needs them


def test_importing_it_brings_what_it_declares_and_nothing_that_can_wait():
    modules, of_a_class = (
        set(run(sys.executable, "-I", "-c", BROUGHT.format(statements=statements)).split())
        for statements in ("import penguiflow", CHECKED)
    )
    foreign = {name.partition(".")[0] for name in modules} - set(sys.stdlib_module_names)
    theirs = {"annotated_types", "pydantic_core", "typing_extensions", "typing_inspection"}  # pydantic's own
    assert {name for name in foreign if not name.startswith("_")} - theirs == {"penguiflow", "pluggy", "pydantic"}
    assert modules & SLOW == of_a_class & SLOW  # for a checked class, older pydantics bring some of it


SELDOM_NAMED = {"Explanation", "Load", "NodeLoad", "PlanStep", "Thought"}


def test_what_programs_seldom_name_is_there_at_once_and_imported_when_named():
    listed = run(sys.executable, "-I", "-c", "import penguiflow; print(*dir(penguiflow))").split()
    assert set(listed) >= {*penguiflow.__all__}
    for name in sorted(SELDOM_NAMED):
        module = getattr(penguiflow, name).__module__
        there = f"print({module!r} in sys.modules)"
        named = f"import sys, penguiflow; {there}; penguiflow.{name}; {there}"
        assert run(sys.executable, "-I", "-c", named).split() == ["False", "True"], name


def test_a_name_that_it_does_not_have_is_told_as_python_tells_it():
    with pytest.raises(AttributeError, match="^module 'penguiflow' has no attribute 'Explanations'"):
        penguiflow.Explanations  # noqa: B018
    assert not hasattr(penguiflow, "_later")


def test_constraints_name_no_source():
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert [pin for pin in pins if not re.fullmatch(r"[\w.-]+==[\w.]+", pin)] == []


@pytest.mark.package
def test_wheel_holds_the_package_and_nothing_else(wheel_files):
    info = f"penguiflow-{PROJECT['version']}.dist-info"
    source = {
        path.relative_to(ROOT).as_posix(): path.read_bytes()
        for path in (ROOT / "penguiflow").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    for path in TEMPLATE.rglob("*"):
        if path.is_file() and not {"__pycache__", ".pytest_cache", ".ruff_cache"} & set(path.parts):
            source[f"penguiflow/_template/{path.relative_to(TEMPLATE).as_posix()}"] = path.read_bytes()
    source["pytest_penguiflow.py"] = (ROOT / "pytest_penguiflow.py").read_bytes()  # beside the package: see there
    packaged = {name: data for name, data in wheel_files.items() if not name.startswith(info + "/")}
    assert packaged == source
    assert "penguiflow/_template/src/penguiflow_template/__init__.py" in packaged
    assert "penguiflow/py.typed" in packaged
    assert f"{info}/licenses/LICENSE" in wheel_files


@pytest.mark.package
def test_wheel_runs_a_flow_with_only_what_it_declares(wheel, tmp_path):
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    pip = [str(python), "-m", "pip", "--quiet", "--disable-pip-version-check"]
    run(*pip, "install", "--constraint", str(ROOT / "constraints.txt"), str(wheel))
    assert run(str(python), "-I", "-W", "error", "-c", FLOW, cwd=tmp_path) == "<42>\n"
    command = subprocess.run([python.with_name("penguiflow")], capture_output=True, encoding="utf-8", timeout=60)
    assert (command.returncode, command.stdout) == (2, "")
    assert command.stderr == "the command line needs typer: pip install 'typer>=0.26'\n"
    run(*pip, "check")
