"""The examples of plugins as their readers meet them: built as wheels, installed in a clean place, discovered."""

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
PLUGINS = ("third_party_policy/acme-routing", "deployment_override/desk-hooks")

pytestmark = pytest.mark.package


def run(*command: str, **options):
    return subprocess.run(
        command, capture_output=True, stdin=subprocess.DEVNULL, encoding="utf-8", timeout=300, **options
    )


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """A clean environment with the wheels of the kernel and of both plugins."""
    folder = tmp_path_factory.mktemp("clean")
    for project in (ROOT, *(EXAMPLES / plugin for plugin in PLUGINS)):
        built = run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(project))
        assert built.returncode == 0, built.stdout + built.stderr
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    wheels = [str(wheel) for wheel in sorted(folder.glob("*.whl"))]
    constraints = ["--constraint", str(ROOT / "constraints.txt")]
    done = run(str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *constraints, *wheels)
    assert done.returncode == 0, done.stderr
    where = run(str(python), "-I", "-c", "import penguiflow, sys; print(penguiflow.__file__.startswith(sys.prefix))")
    assert where.stdout == "True\n"
    return python


def example(python: Path, name: str, **environ: str):
    """Run an example's flow with these variables and no other of ours."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("PENGUIFLOW", "PYTHON"))}
    return run(str(python), "-W", "error", "main.py", cwd=EXAMPLES / name, env={**inherited, **environ})


@pytest.mark.parametrize(
    ("name", "expected", "environ"),
    [
        ("third_party_policy", "expected", {}),
        ("third_party_policy", "expected_named", {"PENGUIFLOW_POLICIES": "acme-routing"}),
        ("third_party_policy", "expected_options", {"PENGUIFLOW_CONFIG": "named.toml"}),
        ("third_party_policy", "expected", {"PENGUIFLOW_CONFIG": "named.toml", "PENGUIFLOW_POLICIES": ""}),
        ("deployment_override", "expected", {"PENGUIFLOW_PLUGINS": ""}),
        ("deployment_override", "expected_production", {"PENGUIFLOW_CONFIG": "production.toml"}),
        ("deployment_override", "expected_staging", {"PENGUIFLOW_CONFIG": "staging.toml"}),
    ],
)
def test_a_deployment_gets_the_hooks_it_asks_for(python: Path, name: str, expected: str, environ: dict[str, str]):
    done = example(python, name, **environ)
    assert (done.stdout, done.stderr) == ((EXAMPLES / name / f"{expected}.txt").read_text(encoding="utf-8"), "")


def test_a_policy_that_is_named_and_blocked_stops_the_build(python: Path):
    done = example(
        python, "third_party_policy", PENGUIFLOW_POLICIES="acme-routing", PENGUIFLOW_PLUGINS_BLOCK="acme-routing"
    )
    assert done.returncode == 1
    assert "PENGUIFLOW_PLUGINS_BLOCK" in done.stderr
    assert "PENGUIFLOW_POLICIES" in done.stderr


def test_a_mistyped_option_is_refused_with_the_file_the_key_and_the_name_that_was_meant(python: Path, tmp_path: Path):
    config = tmp_path / "typo.toml"
    config.write_text('[plugins]\npolicies = ["acme-routing"]\n[plugins.options.acme-routing]\ntenant = []\n')
    done = example(python, "third_party_policy", PENGUIFLOW_CONFIG=str(config))
    assert done.returncode == 1
    assert f"{config}: plugins.options.acme-routing.tenant: " in done.stderr
    assert "did you mean 'tenants'?" in done.stderr
