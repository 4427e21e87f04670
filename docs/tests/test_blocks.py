"""The blocks of the pages that need more than the kernel: each runs, and prints what the block after it shows."""

from pathlib import Path

import pytest

from tests.utils.blocks import BLOCKS, Block, run

FOREIGN = [block for block in BLOCKS if block.foreign]


def test_there_are_some():
    assert {"docs/tutorial.md", "docs/howto/observe.md"} <= {block.page for block in FOREIGN}


@pytest.mark.parametrize("block", FOREIGN, ids=str)
def test_block_runs_and_prints_what_it_shows(block: Block, tmp_path: Path):
    assert run(block, tmp_path) == block.output
