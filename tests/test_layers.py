"""The shape of the code: imports point one way, modules and functions stay small, private modules stay private."""

from __future__ import annotations

import ast
import re
import statistics
import sys
from pathlib import Path

import pytest

from tests.utils.layers import KERNEL, ORDER, for_types, kernel_imports, tree

ROOT = Path(__file__).parents[1]

# Imports that point up, for types alone.
FOR_TYPES = {
    ("_rooms", "_parcel"),
    ("_run", "_parcel"),
    ("_run", "_station"),
    ("_run", "_trace"),
    ("_trace", "_parcel"),
}

# The command line stands beside the kernel: it asks these what no public name tells.
CLI_MAY_ASK = {"_discovery", "_errors", "_events", "_host", "_impls", "_loading", "_names", "_settings", "_weighing"}

# Private modules whose public names have tests of their own.
TESTED_ALONE = {"_types", "_channel"}

MAX_LINES = 300
PATHS = sorted(path for path in KERNEL.glob("*.py") if path.stem != "__main__")
CLI = [KERNEL / "__main__.py", *sorted((KERNEL / "cli").rglob("*.py"))]
TESTKIT = sorted((KERNEL / "testkit").rglob("*.py"))
EVERY = [*PATHS, *CLI, *TESTKIT]


def title(path: Path) -> str:
    return path.relative_to(KERNEL).with_suffix("").as_posix()


def functions(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [found for found in ast.walk(tree(path)) if isinstance(found, ast.FunctionDef | ast.AsyncFunctionDef)]


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """How long a function is, without its docstring."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return 1 if not body else (body[-1].end_lineno or 0) - function.lineno + 1 - _doc_lines(function)


def _doc_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    if not ast.get_docstring(function):
        return 0
    return (function.body[0].end_lineno or 0) - function.body[0].lineno + 1


# --- layers ---------------------------------------------------------------------------------------


def test_every_module_has_a_layer():
    assert sorted(map(title, PATHS)) == sorted(ORDER)
    assert len(ORDER) == len(set(ORDER))


def test_every_folder_of_the_package_is_known():
    folders = {path.relative_to(KERNEL).parts[0] for path in KERNEL.rglob("*.py") if path.parent != KERNEL}
    assert folders <= {"cli", "testkit"}


@pytest.mark.parametrize("module", ORDER)
def test_imports_point_one_way(module: str):
    code = tree(KERNEL / f"{module}.py")
    typing_only = for_types(code)
    below = set(ORDER[: ORDER.index(module)])
    up = [found for found, statement in kernel_imports(code) if found not in below and statement not in typing_only]
    assert up == [], f"{module} imports what stands above it"


@pytest.mark.parametrize("path", CLI, ids=title)
def test_the_command_line_imports_the_surface_and_what_it_may_ask(path: Path):
    found = {module for module, _ in kernel_imports(tree(path))}
    assert found <= CLI_MAY_ASK | {"__init__", "cli", "testkit"}


def test_nothing_imports_the_command_line():
    found = {title(p) for p in EVERY if p not in CLI for module, _ in kernel_imports(tree(p)) if module == "cli"}
    assert found == set()


def test_the_testkit_imports_the_surface_only():
    found = {module for path in TESTKIT for module, _ in kernel_imports(tree(path))}
    assert found <= {"__init__", "testkit"}


def test_only_the_listed_imports_point_up_for_types():
    found = {
        (path.stem, module)
        for path in PATHS
        for module, statement in kernel_imports(tree(path))
        if statement in for_types(tree(path)) and ORDER.index(module) >= ORDER.index(path.stem)
    }
    assert found == FOR_TYPES
    assert len(FOR_TYPES) <= 5


# Slow to import, and not needed by every program.
LATE = {"difflib", "importlib.metadata", "json", "pickle", "tomllib"}
LATE |= {"penguiflow._explain", "penguiflow._exporting", "penguiflow._load", "penguiflow._settings_file"}


def test_nothing_of_ours_is_imported_inside_a_function():
    inside = [
        f"{path.name}:{found.lineno}"
        for path in EVERY
        for function in functions(path)
        for found in ast.walk(function)
        if isinstance(found, ast.Import | ast.ImportFrom) and not {*map(str, imported_by(found))} <= LATE
    ]
    assert inside == []


def imported_by(statement: ast.Import | ast.ImportFrom) -> list[str | None]:
    """The modules that it names."""
    return [statement.module] if isinstance(statement, ast.ImportFrom) else [alias.name for alias in statement.names]


DECLARED = {"penguiflow", "pydantic", "pluggy", "pydantic_settings"}


def foreign_imports(paths: list[Path]) -> set[str]:
    """What neither the standard library has nor the kernel declares."""
    allowed = set(sys.stdlib_module_names) | DECLARED
    foreign = set()
    for path in paths:
        typing_only = for_types(tree(path))
        for found in ast.walk(tree(path)):
            names = []
            if isinstance(found, ast.Import):
                names = [alias.name for alias in found.names]
            elif isinstance(found, ast.ImportFrom) and not found.level:
                names = [found.module or ""]
            if found not in typing_only:
                foreign |= {f"{path.name}: {name}" for name in names if name.split(".")[0] not in allowed}
    return foreign


def test_the_kernel_imports_only_what_it_declares():
    assert foreign_imports(PATHS) == set()


def test_only_one_module_of_the_command_line_needs_its_extra():
    assert foreign_imports(CLI) == {"app.py: typer"}


# --- sizes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", EVERY, ids=title)
def test_no_module_is_longer_than_300_lines(path: Path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES


def test_the_median_function_has_less_than_ten_lines():
    assert statistics.median(body_lines(function) for path in EVERY for function in functions(path)) < 10


@pytest.mark.parametrize("path", EVERY, ids=title)
def test_every_module_says_what_it_is_for(path: Path):
    assert len((ast.get_docstring(tree(path)) or "").split()) >= 5


# --- privacy --------------------------------------------------------------------------------------


def outsiders() -> list[Path]:
    folders = (
        "penguiflow/testkit",
        "tests",
        "examples",
        "benchmarks",
        "plugins",
        "penguiflow-otel",
        "penguiflow-mlflow",
        "penguiflow-viz",
    )
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def private_modules(path: Path) -> set[str]:
    return {module for module, _ in kernel_imports(tree(path)) if module.startswith("_") and module != "__init__"}


def test_outsiders_use_the_surface_only():
    used = {path.relative_to(ROOT).as_posix(): private_modules(path) for path in outsiders()}
    allowed = {name: TESTED_ALONE if name.startswith("tests/") else set() for name in used}
    assert {name: modules - allowed[name] for name, modules in used.items() if modules - allowed[name]} == {}


def test_outsiders_touch_no_private_attribute_of_ours():
    """An attribute with one leading underscore, on anything but `self` and `cls`."""
    touched = []
    for path in [*outsiders(), *CLI, *TESTKIT]:
        for found in ast.walk(tree(path)):
            if isinstance(found, ast.Attribute) and re.fullmatch(r"_[a-z]\w*", found.attr):
                if not (isinstance(found.value, ast.Name) and found.value.id in ("self", "cls")):
                    touched.append(f"{path.relative_to(ROOT)}:{found.lineno} {ast.unparse(found)}")
    standard = ("sys._", "typing._", "os._exit", "._replace")  # public, whatever they are called
    known = [line for line in touched if any(part in line for part in standard)]
    assert sorted(set(touched) - set(known)) == []
