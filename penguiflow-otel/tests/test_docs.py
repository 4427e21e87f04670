"""What the README says is so."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import penguiflow_otel
from penguiflow_otel import Options

HERE = Path(__file__).parent.parent
README = (HERE / "README.md").read_text(encoding="utf-8")
SOURCES = "\n".join(path.read_text(encoding="utf-8") for path in sorted((HERE / "src").rglob("*.py")))
BLOCKS = re.findall(r"```python\n(.*?)```(?:\n\n```text\n(.*?)```)?", README, re.DOTALL)
NAMES = r"(?:penguiflow|gen_ai|exception|error)(?:\.[a-z_]+)+"


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_each_block_runs_and_prints_what_stands_below_it(number: int, tmp_path: Path):
    code, expected = BLOCKS[number]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PENGUIFLOW_", "OTEL_"))}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=tmp_path, env=kept, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == expected


def test_every_name_of_telemetry_is_documented_and_no_other():
    used = set(re.findall(rf'"({NAMES})"', SOURCES))
    internal = {name for name in used if name.startswith("exception.")}
    assert used - internal == set(re.findall(rf"`({NAMES})`", README)) | {"penguiflow.chunks", "penguiflow.outcome"}


def test_every_option_is_documented_with_its_default():
    (block,) = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    shown = tomllib.loads(block)["plugins"]["options"]["otel"]
    defaults = {name: field.default for name, field in Options.model_fields.items() if not name.endswith("_provider")}
    assert list(shown) == list(defaults)
    examples = {"redact", "agents", "tools"}
    assert {name: value for name, value in shown.items() if name not in examples} == {
        name: value for name, value in defaults.items() if name not in examples
    }


def test_everything_public_is_documented():
    assert [
        name for name in penguiflow_otel.__all__ if name not in ("__version__", "plugin") and name not in README
    ] == []
    version = tomllib.loads((HERE / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert penguiflow_otel.__version__ == version
    assert f"## [{version}]" in (HERE / "CHANGELOG.md").read_text(encoding="utf-8")
