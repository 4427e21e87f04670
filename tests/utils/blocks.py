"""The Python blocks of the README and of docs/, and how each is run: alone, in an empty folder."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from tests.utils.programs import ROOT, foreign, ran

PAGES = {
    page.relative_to(ROOT).as_posix(): page.read_text(encoding="utf-8")
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
}
_BLOCK = re.compile(r"^```python\n(?P<code>.*?)^```\n(?:\n```text\n(?P<output>.*?)^```\n)?", re.DOTALL | re.MULTILINE)


class Block(NamedTuple):
    """A block, and what the page says that it prints."""

    page: str
    number: int
    code: str
    output: str

    def __str__(self) -> str:
        return f"{self.page}-{self.number}"

    @property
    def foreign(self) -> bool:
        """Whether it imports a distribution beside the kernel."""
        return foreign(self.code)


BLOCKS = [
    Block(page, number, match["code"], match["output"] or "")
    for page, text in PAGES.items()
    for number, match in enumerate(_BLOCK.finditer(text))
]


def run(block: Block, folder: Path) -> str:
    """What a block prints. Fails with its traceback if it ends in one."""
    return ran("-c", block.code, cwd=folder).stdout
