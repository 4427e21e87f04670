"""The model notices what it is there to notice: each way of breaking the kernel fails it.

The runs take some minutes together, so they are for `make model`, which sets `MODEL_EXAMPLES`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.model.mutations import MUTATIONS, Mutation, mutated

ROOT = Path(__file__).parents[2]
KERNEL = ROOT / "penguiflow"
EXAMPLES = 3000
TIMEOUT_S = 500

PROGRAM = """
import gc, logging, pathlib, sys
import penguiflow
from tests.model.test_model import tried
assert pathlib.Path(penguiflow.__file__).parent == pathlib.Path(sys.argv[1]), penguiflow.__file__
logging.disable()
tried(int(sys.argv[2]), shrinks=False)
print("not noticed")
"""


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_each_mutation_has_its_place_in_the_kernel(mutation: Mutation):
    text = (KERNEL / f"{mutation.module}.py").read_text(encoding="utf-8")
    assert text.count(mutation.old) == 1
    assert mutation.new != mutation.old


def test_the_mutations_cover_the_laws():
    assert {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12} <= {mutation.law for mutation in MUTATIONS}
    assert len({mutation.name for mutation in MUTATIONS}) == len(MUTATIONS)


def run(folder: Path, examples: int) -> subprocess.CompletedProcess[str]:
    """Try the kernel of a folder."""
    return subprocess.run(
        [sys.executable, "-P", "-c", PROGRAM, str(folder / KERNEL.name), str(examples)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


@pytest.mark.mutation
@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_the_model_notices(mutation: Mutation, tmp_path: Path):
    mutated(tmp_path, KERNEL, mutation)
    done = run(tmp_path, EXAMPLES)
    assert "not noticed" not in done.stdout
    assert "Failing test case: <state machine>" in done.stderr, done.stderr[-3000:]


def test_the_model_finds_nothing_in_a_copy_without_a_mistake(tmp_path: Path):
    mutated(tmp_path, KERNEL, Mutation("none", 0, "_flow", '"""`PenguiFlow`:', '"""`PenguiFlow`:'))
    done = run(tmp_path, 50)
    assert done.stdout == "not noticed\n", done.stderr[-3000:]
