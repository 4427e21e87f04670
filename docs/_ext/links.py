"""Links between the Markdown files of the tree, as the site has them.

Rules: a file is written once, for whoever reads it in the tree, and its links are relative to itself. Where a page of
the site shows a file, or the README of a folder, a link to it leads to that page. Other files can be downloaded. A
link to something that isn't there stays as it is, and fails the build.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

LINK = re.compile(r"(?<=\]\()(?![\w+]+:|[#/])(?P<path>[^)\s#]+)(?P<anchor>#[^)\s]*)?(?=\))")
INCLUDED = re.compile(r"^```\{include\} (\S+)$", re.MULTILINE)


def shown_by(docs: Path) -> dict[Path, str]:
    """Which page shows a file or folder of the tree: `examples/quickstart` and its README are one."""
    pages: dict[Path, str] = {}
    for page in sorted(docs.rglob("*.md")):
        name = page.relative_to(docs).with_suffix("").as_posix()
        pages[page] = name
        for path in INCLUDED.findall(page.read_text(encoding="utf-8")):
            file = (page.parent / path).resolve()
            pages[file] = name
            if file.name == "README.md":
                pages[file.parent] = name
    root = docs.parent
    return pages | {root / "README.md": "index", root / "examples": "examples/index"}


def relinked(text: str, file: Path, docs: Path, pages: dict[Path, str]) -> str:
    """A file's text with links that hold on the site."""

    def target(link: re.Match[str]) -> str:
        path = (file.parent / link["path"]).resolve()
        anchor = link["anchor"] or ""
        if path in pages:
            return f"/{pages[path]}.md{anchor}"
        return f"/{os.path.relpath(path, docs)}" if path.is_file() else link[0]

    return LINK.sub(target, text)


def setup(app: Sphinx) -> dict[str, Any]:
    docs = Path(app.srcdir).resolve()
    pages = shown_by(docs)

    def read(app: Sphinx, docname: str, source: list[str]) -> None:
        source[0] = relinked(source[0], docs / f"{docname}.md", docs, pages)

    def included(app: Sphinx, path: Path, docname: str, source: list[str]) -> None:
        source[0] = relinked(source[0], (docs / path).resolve(), docs, pages)

    app.connect("source-read", read)
    app.connect("include-read", included)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
