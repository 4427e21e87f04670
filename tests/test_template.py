"""plugins/template: what a third party copies is a whole distribution, and its tests pass wherever it is copied to.

An observer; what is different in a policy stands in its folder `policy`, and takes the place of files of the observer.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import venv
from pathlib import Path
from typing import Any

import pytest

from penguiflow.cli.copying import KINDS, Kind, copied

ROOT = Path(__file__).parents[1]
TEMPLATE = ROOT / "plugins" / "template"
NAMES = {"penguiflow-template", "penguiflow_template", "template", "Template", "TestTemplate"}
FILES = [
    path
    for path in sorted(TEMPLATE.rglob("*"))
    if path.is_file() and not {"__pycache__", ".pytest_cache", ".ruff_cache"} & set(path.parts)
]
WHERE = "import pathlib, sys, penguiflow; print(pathlib.Path(penguiflow.__file__).is_relative_to(sys.prefix))"
ALONE = ["-p", "no:asyncio"]


def run(*command: str, **options: object) -> str:
    done = subprocess.run(
        command, capture_output=True, stdin=subprocess.DEVNULL, encoding="utf-8", timeout=300, **options
    )  # type: ignore[call-overload]
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return str(done.stdout)


def made(into: Path, name: str, kind: Kind) -> Path:
    """A copy under another name, as `penguiflow plugins new` makes it."""
    return Path(copied(TEMPLATE, name, into, kind).folder)


def project_of(folder: Path) -> dict[str, Any]:
    return tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))


def installed(project: Path, site: Path) -> Path:
    """Leave in `site` what an installer would leave of a project's metadata."""
    table = project_of(project)["project"]
    info = site / f"{table['name'].replace('-', '_')}-{table['version']}.dist-info"
    info.mkdir(parents=True)
    head = f"Metadata-Version: 2.1\nName: {table['name']}\nVersion: {table['version']}\n"
    (info / "METADATA").write_text(head, encoding="utf-8")
    points = "".join(
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in entries.items())
        for group, entries in table["entry-points"].items()
    )
    (info / "entry_points.txt").write_text(points, encoding="utf-8")
    return site


def test_the_word_stands_for_nothing_but_its_names():
    words = {
        word for path in FILES for word in re.findall(r"[\w-]*template[\w-]*", path.read_text(encoding="utf-8"), re.I)
    }
    assert words == NAMES
    assert {part for path in FILES for part in path.relative_to(TEMPLATE).parts if "template" in part.lower()} == {
        "penguiflow_template",
        "test_template.py",
    }


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_a_whole_distribution(kind: Kind, tmp_path: Path):
    folder = made(tmp_path, "template", kind)
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*")}
    assert {"pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE", "src/penguiflow_template/py.typed"} <= names
    assert "penguiflow>=2,<3" in project_of(folder)["project"]["dependencies"]
    assert (folder / "LICENSE").read_text(encoding="utf-8") == (ROOT / "LICENSE").read_text(encoding="utf-8")


def test_whatever_a_policy_has_of_its_own_takes_the_place_of_something_of_the_observers():
    names = {path.relative_to(TEMPLATE).as_posix() for path in FILES}
    own = {name.removeprefix("policy/") for name in names if name.startswith("policy/")}
    assert own <= names


def test_a_policys_project_is_the_observers_but_for_its_description_and_group():
    observer, policy = project_of(TEMPLATE), project_of(TEMPLATE / "policy")
    for project in (observer["project"], policy["project"]):
        assert project.pop("description")
    assert observer["project"].pop("entry-points") == {"penguiflow.plugins": {"template": "penguiflow_template:plugin"}}
    assert policy["project"].pop("entry-points") == {"penguiflow.policies": {"template": "penguiflow_template:plugin"}}
    assert policy == observer


@pytest.mark.parametrize(
    ("kind", "name", "options"),
    [("observer", "template", ALONE), ("observer", "slowpoke", []), ("policy", "two-thirds", [])],
    ids=["alone", "beside-pytest-asyncio", "policy-beside-pytest-asyncio"],
)
def test_its_own_tests_pass_also_under_another_name_and_beside_pytest_asyncio(
    kind: Kind, name: str, options: list[str], tmp_path: Path, pytestconfig: pytest.Config
):
    assert pytestconfig.pluginmanager.has_plugin("asyncio")
    project = made(tmp_path, name, kind)
    site = installed(project, tmp_path / "site")
    told = run(
        *(sys.executable, "-m", "pytest", "-q", *options, "-p", "no:cacheprovider"),
        cwd=project,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, [site, project / "src", ROOT]))},
    )
    assert re.search(r"^\d{2} passed in", told, re.MULTILINE), told


@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_is_formatted_linted_and_completely_typed(kind: Kind, tmp_path: Path):
    project = made(tmp_path, "acme", kind)
    here = f"src = [{str(ROOT)!r}, {str(project / 'src')!r}]"  # what the tree's own settings take for ours
    ours = ("--no-cache", "--config", str(ROOT / "pyproject.toml"), "--config", here)
    for settings in (("--no-cache",), ours):  # its own, and the tree's
        run(sys.executable, "-m", "ruff", "format", "--check", *settings, ".", cwd=project)
        run(sys.executable, "-m", "ruff", "check", *settings, ".", cwd=project)
    cache = str(tmp_path.parent / "mypy")
    run(sys.executable, "-m", "mypy", "--strict", "--cache-dir", cache, "src", cwd=project)


def wheel(project: Path, folder: Path) -> Path:
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(project))
    (built,) = folder.glob("*.whl")
    return built


@pytest.mark.package
def test_its_own_tests_pass_from_its_wheel_and_the_kernels_and_nothing_else_of_this_tree(tmp_path: Path):
    projects = [
        made(tmp_path / "projects", name, kind) for name, kind in (("template", "observer"), ("acme", "policy"))
    ]
    kernel, *plugins = [wheel(project, tmp_path / f"wheel of {project.name}") for project in (ROOT, *projects)]
    venv.create(tmp_path / "venv", with_pip=True)
    python = str(tmp_path / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python")
    pip = (python, "-m", "pip", "--quiet", "--disable-pip-version-check")
    wheels = [str(kernel), *(f"{plugin}[test]" for plugin in plugins)]
    run(*pip, "install", "--constraint", str(ROOT / "constraints.txt"), *wheels)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    assert run(python, "-c", WHERE, cwd=tmp_path, env=environment) == "True\n"
    for project in projects:
        told = run(python, "-m", "pytest", "-q", str(project / "tests"), cwd=project, env=environment)
        assert re.search(r"^\d{2} passed in", told, re.MULTILINE), told
    run(*pip, "check")
