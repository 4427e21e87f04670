"""Where code can be suspended, from its source, and where tasks are suspended, from their coroutines.

Rules: a point is an `await`, `async for` or `async with`, named by its function and its text, so that it keeps its name
when lines move. A task is suspended at one point in each function on its way to what it waits for.
"""

from __future__ import annotations

import ast
import asyncio
import gc
import inspect
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Place = tuple[str, int]  # file and line


def points(paths: list[Path]) -> dict[Place, str]:
    """Every point of some modules, by its place."""
    found: dict[Place, str] = {}
    for path in paths:
        source = path.read_text(encoding="utf-8")
        lines = source.splitlines()
        seen: Counter[str] = Counter()
        for function, line in sorted(set(_awaits(ast.parse(source), "")), key=lambda entry: entry[1]):
            name = f"{path.stem}.{function}: {lines[line - 1].strip()}"
            seen[name] += 1
            found[str(path), line] = name if seen[name] == 1 else f"{name} #{seen[name]}"
    return found


def _awaits(tree: ast.AST, inside: str) -> Iterator[tuple[str, int]]:
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.Await | ast.AsyncFor | ast.AsyncWith):
            yield inside, child.lineno
        if isinstance(child, ast.comprehension) and child.is_async:
            yield inside, child.target.lineno
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield from _awaits(child, f"{inside}.{child.name}" if inside else child.name)
        else:
            yield from _awaits(child, inside)


def suspended(task: asyncio.Task[Any]) -> list[Place]:
    """Where a task is suspended: one place for each function, the outermost first."""
    places: list[Place] = []
    awaited: Any = task.get_coro()
    while awaited is not None:
        frame, following = _opened(awaited)
        if frame is not None:
            places.append((frame.f_code.co_filename, frame.f_lineno))
        awaited = following
    return places


def _opened(awaited: Any) -> tuple[Any, Any]:
    """The frame of something that is awaited, and what it awaits itself."""
    if inspect.iscoroutine(awaited):
        return awaited.cr_frame, awaited.cr_await
    if inspect.isasyncgen(awaited):
        return awaited.ag_frame, awaited.ag_await
    if inspect.isgenerator(awaited):
        return awaited.gi_frame, awaited.gi_yieldfrom
    if asyncio.isfuture(awaited):
        return None, None
    inner = [o for o in gc.get_referents(awaited) if inspect.iscoroutine(o) or inspect.isasyncgen(o)]
    return None, inner[0] if inner else None  # what `__anext__` and `aclose` of an async generator return
