"""The README's code runs, and prints what stands below it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```\n\n```text\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


def test_the_code_prints_what_the_readme_says(tmp_path: Path):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PENGUIFLOW_", "MLFLOW_"))}
    assert len(BLOCKS) == README.count("```python") == 1
    for code, printed in BLOCKS:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", code],
            cwd=tmp_path,
            env=kept,
            capture_output=True,
            encoding="utf-8",
            timeout=60,
        )
        assert (done.stdout, done.returncode) == (printed, 0), done.stderr
    assert (tmp_path / "mlflow.db").exists()
