"""Each distribution of this tree alone: built, installed from its wheel beside the kernel's, type-checked and tested.

    nox                                    all of them, on the Python that runs this
    nox -s "alone(penguiflow-viz)" -- -x   one of them, with arguments for pytest
    nox -t bounds                          the kernel and all of them, with the lowest and the newest allowed versions
                                           of what they depend on, on every supported Python that is installed
    nox -s "bounds-3.13(penguiflow-viz, lowest)"   one of these
    nox -s docs                            the site; with arguments for pytest after `--`, its tests too

Rules: an environment holds what a distribution declares, its `test` extra and nothing of this tree but the two wheels.
They are installed by path: the public index has another project under the kernel's name. The kernel's own tests read
its sources, so it is installed from where it stands; so are all, for the site, which shows them together.
"""

from __future__ import annotations

import os
import shutil
import sys
import tomllib
from pathlib import Path

import nox
from packaging.requirements import Requirement

ROOT = Path(__file__).parent
KERNEL = "penguiflow"
FOLDERS = {
    project.parent.name: project.parent.relative_to(ROOT).as_posix()
    for pattern in ("penguiflow-*/pyproject.toml", "plugins/penguiflow-*/pyproject.toml")
    for project in sorted(ROOT.glob(pattern))
} | {KERNEL: "."}
PLUGINS = sorted(FOLDERS.keys() - {KERNEL})
PYTHONS = ["3.11", "3.12", "3.13"]
SPREAD = ["-n", "auto", "--maxprocesses", "4", "--dist", "loadscope"]  # the kernel's tests, as the Makefile does it

nox.needs_version = ">=2025.2"
nox.options.default_venv_backend = "venv"
nox.options.reuse_existing_virtualenvs = True
nox.options.sessions = [f"alone({plugin})" for plugin in PLUGINS]

# pyenv's own folders, before its shims: those answer only for the versions that somebody made global.
PYENV = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
INSTALLED = sorted(folder for python in PYTHONS for folder in PYENV.glob(f"versions/{python}.*/bin"))
os.environ["PATH"] = os.pathsep.join([*map(str, INSTALLED), os.environ["PATH"]])


def kept(session: nox.Session) -> Path:
    """The session's own folder. Nox's `create_tmp` would be where the tests make theirs too, inside of this tree."""
    folder = Path(session.bin).parent / "kept"
    folder.mkdir(exist_ok=True)
    return folder


def wheel(session: nox.Session, distribution: str) -> str:
    """Build a distribution's wheel; its path."""
    target = kept(session) / distribution
    for old in target.glob("*.whl"):
        old.unlink()
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(target)]
    session.run(*command, str(ROOT / FOLDERS[distribution]), external=True, silent=True)
    (built,) = target.glob("*.whl")
    return str(built)


def lowest(session: nox.Session, *distributions: str) -> str:
    """Write the lowest versions that these declare, for themselves and their tests, as constraints; the path."""
    pins: dict[str, str] = {}
    for distribution in distributions:
        project = tomllib.loads((ROOT / FOLDERS[distribution] / "pyproject.toml").read_text())["project"]
        for requirement in map(Requirement, project["dependencies"] + project["optional-dependencies"].get("test", [])):
            versions = [each.version for each in requirement.specifier if each.operator == ">="]
            if requirement.name != KERNEL and (requirement.marker is None or requirement.marker.evaluate()):
                pins[requirement.name] = max(versions)
    path = kept(session) / "lowest.txt"
    path.write_text("".join(f"{name}=={version}\n" for name, version in sorted(pins.items())))
    return str(path)


def check(session: nox.Session, distribution: str) -> None:
    """Run its tests, as an installed distribution's are run: in its folder, on what is installed."""
    session.chdir(FOLDERS[distribution])
    session.run("python", "-m", "pytest", *(SPREAD if distribution == KERNEL else []), *session.posargs)


@nox.session
@nox.parametrize("plugin", [nox.param(plugin, id=plugin) for plugin in PLUGINS])
def alone(session: nox.Session, plugin: str) -> None:
    """Test one distribution from its wheel, with the versions of constraints.txt."""
    wheels = [wheel(session, KERNEL), wheel(session, plugin)]
    session.install("--constraint", "constraints.txt", wheels[0], f"{wheels[1]}[test]")
    session.install("--force-reinstall", "--no-deps", *wheels)  # one version may have been built before
    python = str(Path(session.bin) / "python")
    sources = f"{FOLDERS[plugin]}/src"
    session.run(sys.executable, "-m", "mypy", "--strict", "--python-executable", python, sources, external=True)
    check(session, plugin)


@nox.session(python=PYTHONS, tags=["bounds"])
@nox.parametrize("versions", [nox.param(versions, id=versions) for versions in ("lowest", "newest")])
@nox.parametrize("distribution", [nox.param(distribution, id=distribution) for distribution in [KERNEL, *PLUGINS]])
def bounds(session: nox.Session, distribution: str, versions: str) -> None:
    """Test one distribution with the lowest or the newest versions that it allows."""
    limits = ["--constraint", lowest(session, KERNEL, distribution)] if versions == "lowest" else ["--upgrade"]
    if distribution == KERNEL:
        session.install(*limits, "--editable", ".[dev]")
    else:
        wheels = [wheel(session, KERNEL), wheel(session, distribution)]
        session.install(*limits, wheels[0], f"{wheels[1]}[test]")
        session.install("--force-reinstall", "--no-deps", *wheels)
    session.run("python", "-m", "pip", "check")
    check(session, distribution)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the site, and test it if pytest is given arguments."""
    extras = {KERNEL: "[cli,docs]", "penguiflow-otel": "[sdk]", "penguiflow-asgi": "[serve]"}
    paths = [f"./{FOLDERS[distribution]}{extras.get(distribution, '')}" for distribution in [KERNEL, *PLUGINS]]
    session.install("--constraint", "constraints.txt", *(part for path in paths for part in ("--editable", path)))
    site = "docs/_build/html"
    shutil.rmtree(site, ignore_errors=True)  # a page that is gone
    session.run("python", "-m", "sphinx", "-W", "--keep-going", "-n", "-q", "-b", "html", "docs", site)
    if session.posargs:
        session.run("python", "-m", "pytest", "docs/tests", *session.posargs)
    else:
        session.log(f"Open {(ROOT / site / 'index.html').as_uri()}")
