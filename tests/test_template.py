"""plugins/template: what a third party copies is a whole distribution, and its tests pass wherever it is copied to."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEMPLATE = ROOT / "plugins" / "template"
NAMES = {"penguiflow-template", "penguiflow_template", "template", "Template", "TestTemplate"}
FILES = [
    path
    for path in sorted(TEMPLATE.rglob("*"))
    if path.is_file() and not {"__pycache__", ".pytest_cache"} & set(path.parts)
]
WHERE = "import pathlib, sys, penguiflow; print(pathlib.Path(penguiflow.__file__).is_relative_to(sys.prefix))"


def run(*command: str, **options: object) -> str:
    done = subprocess.run(
        command, capture_output=True, stdin=subprocess.DEVNULL, encoding="utf-8", timeout=300, **options
    )  # type: ignore[call-overload]
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return str(done.stdout)


def copied(folder: Path, name: str) -> Path:
    """A copy under another name, as `penguiflow plugins new` makes it."""
    for path in FILES:
        target = folder / path.relative_to(TEMPLATE).as_posix().replace("template", name)
        target.parent.mkdir(parents=True, exist_ok=True)
        text = path.read_text(encoding="utf-8")
        target.write_text(text.replace("template", name).replace("Template", name.title()), encoding="utf-8")
    return folder


def installed(project: Path, site: Path) -> Path:
    """Leave in `site` what an installer would leave of a project's metadata."""
    table = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]
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
        "penguiflow_template"
    }


def test_it_is_a_whole_distribution():
    names = {path.relative_to(TEMPLATE).as_posix() for path in FILES}
    assert {"pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE", "src/penguiflow_template/py.typed"} <= names
    project = tomllib.loads((TEMPLATE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert "penguiflow>=2,<3" in project["dependencies"]
    assert (TEMPLATE / "LICENSE").read_text(encoding="utf-8") == (ROOT / "LICENSE").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "options"),
    [("template", ["-p", "no:asyncio"]), ("slowpoke", [])],
    ids=["alone", "another-name-beside-pytest-asyncio"],
)
def test_its_own_tests_pass_also_under_another_name_and_beside_pytest_asyncio(
    name: str, options: list[str], tmp_path: Path, pytestconfig: pytest.Config
):
    assert pytestconfig.pluginmanager.has_plugin("asyncio")
    project = copied(tmp_path / "project", name)
    site = installed(project, tmp_path / "site")
    told = run(
        *(sys.executable, "-m", "pytest", "-q", *options, "-p", "no:cacheprovider"),
        cwd=project,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, [site, project / "src", ROOT]))},
    )
    assert re.search(r"^\d{2} passed in", told, re.MULTILINE), told


def wheel(project: Path, folder: Path) -> Path:
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(project))
    (built,) = folder.glob("*.whl")
    return built


@pytest.mark.package
def test_its_own_tests_pass_from_its_wheel_and_the_kernels_and_nothing_else_of_this_tree(tmp_path: Path):
    project = copied(tmp_path / "project", "template")
    wheels = [wheel(ROOT, tmp_path / "kernel"), wheel(project, tmp_path / "plugin")]
    venv.create(tmp_path / "venv", with_pip=True)
    python = str(tmp_path / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python")
    pip = (python, "-m", "pip", "--quiet", "--disable-pip-version-check")
    run(*pip, "install", "--constraint", str(ROOT / "constraints.txt"), str(wheels[0]), f"{wheels[1]}[test]")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    assert run(python, "-c", WHERE, cwd=tmp_path, env=environment) == "True\n"
    told = run(python, "-m", "pytest", "-q", str(project / "tests"), cwd=project, env=environment)
    assert re.search(r"^\d{2} passed in", told, re.MULTILINE), told
    run(*pip, "check")
