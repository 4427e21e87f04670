"""The command line inside the process of the tests: quick, and with a folder of its own for each test.

Rules: what a test's flows import is forgotten after it, and no setting of the machine reaches it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from typer.testing import CliRunner

from penguiflow.cli.app import app

SHOP = """
    import asyncio
    from pydantic import BaseModel
    from penguiflow import Context, create, hookimpl, node, predicate_router

    class Query(BaseModel):
        text: str

    class Answer(BaseModel):
        words: int

    @node
    async def tell(query: Query, ctx: Context) -> Answer:
        for word in query.text.split():
            await ctx.emit_chunk(word + " ")
        return Answer(words=len(query.text.split()))

    @node
    async def check(number: int) -> object:
        if number < 0:
            raise ValueError("below zero")
        return object() if number == 0 else number

    @node
    async def wait(x: object) -> None:
        await asyncio.Event().wait()

    flow = create(tell.to(), name="shop")
    checks = create(check.to())

    def stuck():
        return create(wait.to())
"""


def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder that the command runs in."""
    for name in list(os.environ):
        if name.startswith("PENGUIFLOW_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


def write(name: str, code: str = SHOP) -> None:
    """Put a module into the folder."""
    Path(name).write_text(dedent(code), encoding="utf-8")


def invoke(*arguments: str, input: str | None = None) -> Any:
    """Run a command; the result has `exit_code`, `stdout` and `stderr`."""
    result = CliRunner().invoke(app, list(arguments), input=input)
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    return result


def sentence(*arguments: str, code: int) -> str:
    """What a command says on stderr that fails with this exit code and prints nothing."""
    result = invoke(*arguments)
    assert (result.exit_code, result.stdout) == (code, ""), result.output
    return str(result.stderr)
