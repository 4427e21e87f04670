"""The distribution: which kernel it runs on, what it brings, what it offers."""

import ast
import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

import penguiflow
import penguiflow_policy

HERE = Path(__file__).parents[1]
SOURCES = sorted(Path(penguiflow_policy.__file__).parent.glob("*.py"))


def test_the_kernel_is_ours():
    assert callable(penguiflow.hookimpl)
    assert hasattr(penguiflow.PenguiFlow, "report")


def test_the_policy_is_found_by_its_entry_point_and_loads_only_when_it_is_named():
    groups = importlib.metadata.entry_points()
    (found,) = groups.select(group="penguiflow.policies", name="policy")
    assert found.load() is penguiflow_policy.plugin
    assert not [e for e in groups.select(group="penguiflow.plugins") if e.value.startswith("penguiflow_policy")]


def test_every_public_name_is_there_and_documented():
    for name in penguiflow_policy.__all__:
        assert getattr(penguiflow_policy, name).__doc__, name


def test_importing_it_brings_no_yaml_no_cel_and_no_file_watching():
    heavy = ("yaml", "cel_expr_python", "watchfiles")
    code = f"import sys, penguiflow_policy; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", timeout=60)
    assert (done.stdout, done.returncode) == ("[]\n", 0), done.stderr


def test_it_uses_the_public_surface_of_the_kernel_only():
    for path in SOURCES:
        for found in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(found, ast.ImportFrom) and (found.module or "").split(".")[0] == "penguiflow":
                assert found.module == "penguiflow", path.name
                assert not [alias.name for alias in found.names if alias.name.startswith("_")], path.name


def test_modules_stay_small():
    assert {path.name: n for path in SOURCES if (n := len(path.read_text(encoding="utf-8").splitlines())) > 330} == {}


def test_every_python_block_of_the_readme_runs(tmp_path: Path):
    blocks = re.findall(r"```python\n(.*?)```", (HERE / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    files = re.findall(r"```yaml\n# (\S+\.yaml)\n(.*?)```", (HERE / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert blocks
    assert files
    for name, text in files:
        (tmp_path / name).write_text(text, encoding="utf-8")
    for block in blocks:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", block],
            cwd=tmp_path,
            capture_output=True,
            encoding="utf-8",
            timeout=60,
        )
        assert done.returncode == 0, block + done.stderr
