"""Each distribution of this tree alone: built, installed from its wheel beside the kernel's, type-checked and tested.

    nox                                    all of them, on the Python that runs this
    nox -s "alone(penguiflow-viz)" -- -x   one of them, with arguments for pytest

Rules: an environment holds what a distribution declares, its `test` extra and nothing of this tree but the two wheels.
They are installed by path: the public index has another project under the kernel's name.
"""

from __future__ import annotations

import sys
from pathlib import Path

import nox

ROOT = Path(__file__).parent
DISTRIBUTIONS = sorted(
    project.parent.relative_to(ROOT).as_posix()
    for pattern in ("penguiflow-*/pyproject.toml", "plugins/penguiflow-*/pyproject.toml")
    for project in ROOT.glob(pattern)
)

nox.needs_version = ">=2025.2"
nox.options.default_venv_backend = "venv"
nox.options.reuse_existing_virtualenvs = True
nox.options.error_on_missing_interpreters = True


def wheel(session: nox.Session, folder: str) -> str:
    """Build the wheel of a folder; its path."""
    target = (
        Path(session.cache_dir) / "wheels" / Path(folder).name / f"{sys.version_info.major}.{sys.version_info.minor}"
    )
    for old in target.glob("*.whl"):
        old.unlink()
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(target), folder]
    session.run(*command, external=True, silent=True)
    (built,) = target.glob("*.whl")
    return str(built)


@nox.session
@nox.parametrize("folder", [nox.param(folder, id=Path(folder).name) for folder in DISTRIBUTIONS])
def alone(session: nox.Session, folder: str) -> None:
    """Test one distribution from its wheel."""
    kernel, plugin = wheel(session, "."), wheel(session, folder)
    session.install("--constraint", "constraints.txt", kernel, f"{plugin}[test]")
    session.install("--force-reinstall", "--no-deps", kernel, plugin)  # one version may have been built before
    python = str(Path(session.bin) / "python")
    session.run(sys.executable, "-m", "mypy", "--strict", "--python-executable", python, f"{folder}/src", external=True)
    session.chdir(folder)
    session.run("python", "-m", "pytest", *session.posargs)
