"""README.md and docs/ are programs: every Python block in them runs, and prints what the block after it shows.

A block that imports a distribution beside the kernel is run where that distribution is installed: see docs/tests/.
"""

import re

import pytest

from tests.utils.blocks import BLOCKS, PAGES, ROOT, run

README = PAGES["README.md"]
OURS = [block for block in BLOCKS if not block.foreign]
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
    assert len([block for block in BLOCKS if block.page == page]) == PAGES[page].count("```python")


def test_pages_that_have_blocks_for_the_kernel_alone_are_found():
    pages = {block.page for block in OURS}
    assert {"README.md", "docs/plugins.md", "docs/tutorial.md", "docs/howto/cancel.md"} <= pages


def test_the_first_example_is_short():
    assert len(lines(OURS[0].code)) <= 12


@pytest.mark.parametrize("block", OURS, ids=str)
def test_block_runs_and_prints_what_it_shows(block, tmp_path):
    assert run(block, tmp_path) == block.output


def test_the_file_that_the_tutorial_builds_is_the_one_in_the_tree():
    built = (ROOT / "examples" / "tutorial" / "main.py").read_text(encoding="utf-8")
    assert built in [block.code for block in BLOCKS if block.page == "docs/tutorial.md"]


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
