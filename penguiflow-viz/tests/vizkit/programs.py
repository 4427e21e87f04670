"""Programs that the tests need besides Python. Without them tests are skipped, but fail where CI runs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import NoReturn
from xml.etree import ElementTree

import pytest

MERMAID = "12.3.0"
SVG = "{http://www.w3.org/2000/svg}"


def missing(what: str) -> NoReturn:
    """End the test: skipped at home, failed in CI."""
    if os.environ.get("CI"):
        pytest.fail(f"{what}, and CI is set")
    pytest.skip(what)


def program(name: str, package: str) -> str:
    """The path of a program."""
    found = shutil.which(name)
    return found or missing(f"there is no {name}: install Debian's {package}")


def mermaid_script(folder: Path) -> Path:
    """Mermaid's own bundle, fetched with npm into `folder` unless it is there."""
    script = folder / "package" / "dist" / "mermaid.min.js"
    if script.exists():
        return script
    npm = program("npm", "npm")
    fetched = subprocess.run(
        [npm, "pack", f"mermaid@{MERMAID}", "--silent", "--pack-destination", str(folder)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
    )
    if fetched.returncode:
        missing(f"npm can't fetch mermaid {MERMAID}: {fetched.stderr.strip()[-300:]}")
    wanted = "package/dist/mermaid.min.js"
    subprocess.run(["tar", "xzf", folder / fetched.stdout.split()[-1], "-C", folder, wanted], check=True, timeout=120)
    return script


class Dot:
    """Graphviz: draws a text, and tells what it drew.

    Attributes:
        labels: The text of each box and cluster by its id.
        arrows: Pairs of ids, as drawn.
        inside: The ids of the boxes in each cluster, nested ones included.
        complaints: What it wrote to stderr.
    """

    def __init__(self, text: str, folder: Path) -> None:
        svg, facts = folder / "flow.svg", folder / "flow.json"
        done = subprocess.run(
            [program("dot", "graphviz"), "-Tsvg", "-o", svg, "-Tjson0", "-o", facts],
            input=text.encode("utf-8"),
            capture_output=True,
            timeout=60,
        )
        self.complaints: str = done.stderr.decode("utf-8")
        assert done.returncode == 0, self.complaints
        groups = list(ElementTree.parse(svg).iter(f"{SVG}g"))
        self.labels: dict[str, str] = {
            _titled(g).removeprefix("cluster_"): " ".join(t.text or "" for t in g.iter(f"{SVG}text"))
            for g in groups
            if g.get("class") in ("node", "cluster")
        }
        ends = [_titled(g).split("->") for g in groups if g.get("class") == "edge"]
        self.arrows: list[tuple[str, str]] = sorted((source, target) for source, target in ends)
        objects = json.loads(facts.read_text(encoding="utf-8"))["objects"]
        self.inside: dict[str, set[str]] = {
            o["name"].removeprefix("cluster_"): {objects[number]["name"] for number in o["nodes"]}
            for o in objects
            if "nodes" in o
        }


def _titled(group: ElementTree.Element) -> str:
    return group.findtext(f"{SVG}title") or ""
