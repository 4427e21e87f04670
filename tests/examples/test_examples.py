"""Every example that says what it prints is run, and prints just that.

One that imports a distribution beside the kernel is run by that distribution's tests.
"""

import pytest

from tests.utils.programs import ROOT, foreign, ran

EXAMPLES = sorted(
    path.parent
    for path in ROOT.glob("examples/*/expected.txt")
    if not foreign((path.parent / "main.py").read_text(encoding="utf-8"))
)


def test_examples_are_found():
    assert "quickstart" in [example.name for example in EXAMPLES]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_example_prints_what_it_promises(example):
    done = ran("main.py", cwd=example)
    assert done.stdout == (example / "expected.txt").read_text(encoding="utf-8")
    assert done.stderr == ""


def test_every_example_explains_itself():
    mains = sorted(ROOT.glob("examples/*/main.py"))
    assert mains
    assert [main.parent.name for main in mains if not (main.parent / "README.md").is_file()] == []
