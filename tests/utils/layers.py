"""The kernel's layers, and what its modules import: one table for the tests that hold it and the site that draws it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

KERNEL = Path(__file__).parents[2] / "penguiflow"

# From the lowest layer to the highest. A module imports from those above it in this list, and from no other.
LAYERS = {
    "messages, events, errors": ("_messages", "_models", "_planning", "_errors", "_events", "_channel"),
    "graph, policy rules": ("_types", "_signature", "_node", "_registry", "_wiring", "_graph"),
    "hooks, plugins": (
        "_hooks",
        "_impls",
        "_dispatch",
        "_names",
        "_settings_file",
        "_settings",
        "_discovery",
        "_loading",
        "_weighing",
        "_host",
        "_exporting",
    ),
    "traces": ("_rooms", "_run", "_trace"),
    "node: in its place, its messages": (
        "_binding",
        "_station",
        "_parcel",
        "_observe",
        "_reports",
        "_results",
        "_explain",
        "_load",
    ),
    "how traces end": ("_lifecycle", "_control", "_handle"),
    "context: where messages go": ("_joins", "_exits", "_floes", "_chunks", "_attempts", "_context"),
    "routing": ("_routing",),
    "runtime": ("_plan", "_strands", "_nested", "_arrival", "_entry", "_plugin_lives", "_lifetime", "_runnable"),
    "flow": ("_flow", "_create"),
    "helpers": ("_patterns", "_streaming"),
    "surface": ("__init__",),
}
ORDER = [module for modules in LAYERS.values() for module in modules]


@lru_cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def kernel_imports(root: ast.AST) -> Iterator[tuple[str, ast.stmt]]:
    """The kernel modules that a piece of code imports."""
    for found in ast.walk(root):
        if isinstance(found, ast.ImportFrom) and found.level:
            yield "a relative import", found
        elif isinstance(found, ast.ImportFrom) and found.module == "penguiflow":
            yield from ((alias.name if alias.name.startswith("_") else "__init__", found) for alias in found.names)
        elif isinstance(found, ast.ImportFrom) and (found.module or "").startswith("penguiflow."):
            yield (found.module or "").split(".")[1], found
        elif isinstance(found, ast.Import):
            names = [alias.name for alias in found.names if alias.name.split(".")[0] == "penguiflow"]
            yield from ((name.split(".")[1] if "." in name else "__init__", found) for name in names)


def for_types(root: ast.AST) -> set[ast.stmt]:
    """The statements that only a type checker runs."""
    blocks = [n for n in ast.walk(root) if isinstance(n, ast.If) and ast.unparse(n.test).endswith("TYPE_CHECKING")]
    return {statement for block in blocks for part in block.body for statement in [part, *_statements(part)]}


def _statements(root: ast.AST) -> list[ast.stmt]:
    return [found for found in ast.walk(root) if isinstance(found, ast.stmt)]


def imported_by(module: str) -> list[str]:
    """The kernel modules that one of them runs with, in the order of the layers; not those that only types need."""
    code = tree(KERNEL / f"{module}.py")
    skipped = for_types(code)
    found = {name for name, statement in kernel_imports(code) if statement not in skipped}
    return [name for name in ORDER if name in found]
