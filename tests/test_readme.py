"""README.md and docs/ are programs: every Python block in them runs, and prints what the block after it shows.

A block that imports a distribution beside the kernel is run where that distribution is installed, and not here.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = {
    page.relative_to(ROOT).as_posix(): page.read_text(encoding="utf-8")
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
}
README = PAGES["README.md"]
BLOCK = re.compile(r"^```python\n(?P<code>.*?)^```\n(?:\n```text\n(?P<output>.*?)^```\n)?", re.DOTALL | re.MULTILINE)
FOREIGN = re.compile(r"^\s*(from|import) penguiflow_", re.MULTILINE)
FOUND = [
    (page, number, match["code"], match["output"])
    for page, text in PAGES.items()
    for number, match in enumerate(BLOCK.finditer(text))
]
BLOCKS = [block for block in FOUND if not FOREIGN.search(block[2])]
LINKS = [(page, to) for page, text in PAGES.items() for to in re.findall(r"\]\((?!https?:)([^)]+)", text)]
COMMANDS = sorted(
    {found for text in PAGES.values() for found in re.findall(r"(?:`|^\$ )make ([a-z-]+)", text, re.MULTILINE)}
)


def lines(code):
    return [line for line in code.splitlines() if line.strip()]


def anchor(heading):
    """The fragment that a heading is linked by."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES)
def test_every_python_block_is_found(page):
    assert len([block for block in FOUND if block[0] == page]) == PAGES[page].count("```python")


def test_pages_that_have_blocks_for_the_kernel_alone_are_found():
    pages = {page for page, *_ in BLOCKS}
    assert {"README.md", "docs/plugins.md", "docs/tutorial.md", "docs/howto/cancel.md"} <= pages


def test_the_first_example_is_short():
    assert len(lines(BLOCKS[0][2])) <= 12


@pytest.mark.parametrize(("code", "output"), [block[2:] for block in BLOCKS], ids=[f"{b[0]}-{b[1]}" for b in BLOCKS])
def test_block_runs_and_prints_what_it_shows(code, output, tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        stdin=subprocess.DEVNULL,
        encoding="utf-8",
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == (output or "")


def test_the_file_that_the_tutorial_builds_is_the_one_in_the_tree():
    built = (ROOT / "examples" / "tutorial" / "main.py").read_text(encoding="utf-8")
    assert built in [code for page, _, code, _ in BLOCKS if page == "docs/tutorial.md"]


@pytest.mark.parametrize(("page", "target"), LINKS)
def test_link_leads_somewhere(page, target):
    path, _, fragment = target.partition("#")
    file = (ROOT / page).parent / path if path else ROOT / page
    assert file.exists()
    if fragment:
        headings = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
        assert fragment in map(anchor, headings)


@pytest.mark.parametrize("target", COMMANDS)
def test_command_exists(target):
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
