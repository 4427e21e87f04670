"""The command line: `penguiflow-viz live module:flow`.

Rules: what was asked for goes to stdout, every other word to stderr. Exit codes: 0 all is well, 1 something is wrong, 2
wrong usage. A token comes from the environment, since others can read the arguments of a process.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import pkgutil
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from penguiflow import FlowError, PenguiFlow
from penguiflow_viz.live.guard import is_loopback
from penguiflow_viz.live.view import DEFAULT_PORT, serve

TOKEN = "PENGUIFLOW_VIZ_TOKEN"
WRONG, USAGE, INTERRUPTED = 1, 2, 130


class Complaint(Exception):
    """What was asked for can't be done; the text says why, and `code` is the exit code."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code: int = code


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command that the arguments name, and exit."""
    given = _parser().parse_args(arguments)
    try:
        asyncio.run(_followed(_flow(given.target), given))
    except Complaint as complaint:
        print(complaint, file=sys.stderr)
        sys.exit(complaint.code)
    except (OSError, ValueError, ModuleNotFoundError) as exc:
        print(exc, file=sys.stderr)
        sys.exit(WRONG)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="penguiflow-viz", description="Look at PenguiFlow flows.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    live = commands.add_parser(
        "live",
        help="run a flow, and serve a page that follows it",
        description="Run a flow, and serve a page that follows it, until Ctrl-C. Bound to another address than "
        f"loopback it needs a token: that of {TOKEN} or, if there is none, a new one that is printed.",
    )
    live.add_argument("target", metavar="MODULE:FLOW", help="module:flow or path/to/file.py:flow")
    live.add_argument("--host", default="127.0.0.1", help="the address to bind to (%(default)s)")
    live.add_argument("--port", type=int, default=DEFAULT_PORT, help="the port; 0 picks a free one (%(default)s)")
    live.add_argument("--name", action="append", default=[], help="another name that it is reached by; repeatable")
    live.add_argument("--input", action="append", default=[], metavar="JSON", help="a message to send; repeatable")
    live.add_argument("--every", type=float, metavar="S", help="send the messages again every so many seconds")
    return parser


def _flow(target: str) -> PenguiFlow:
    """The flow that a target names: a flow, or a function that returns one."""
    where, colon, attribute = target.rpartition(":")
    if not (colon and where and attribute):
        raise Complaint(f"{target!r} names no flow: write module:flow or path/to/file.py:flow", USAGE)
    folder, module = os.getcwd(), where
    if where.endswith(".py"):
        path = Path(where).resolve()
        if not path.is_file():
            raise Complaint(f"there is no file {where!r} here", USAGE)
        folder, module = str(path.parent), path.stem
    sys.path.insert(0, folder)
    try:
        found: Any = pkgutil.resolve_name(f"{module}:{attribute}")
        flow = found() if callable(found) else found
    except Exception as exc:
        raise Complaint(f"{target} can't be loaded: {type(exc).__name__}: {exc}", WRONG) from exc
    if not isinstance(flow, PenguiFlow):
        raise Complaint(f"{target} is {flow!r:.80}, and no flow: name a flow, or a function that returns one", USAGE)
    return flow


def _messages(texts: Sequence[str]) -> list[Any]:
    messages = []
    for text in texts:
        try:
            messages.append(json.loads(text))
        except ValueError as exc:
            raise Complaint(f"--input {text!r:.80} is not JSON: {exc}", USAGE) from None
    return messages


async def _followed(flow: PenguiFlow, given: argparse.Namespace) -> None:
    messages = _messages(given.input)
    if given.every is not None and not given.every > 0:
        raise Complaint(f"--every is a number of seconds above 0, not {given.every:g}", USAGE)
    token = os.environ.get(TOKEN) or None
    fresh = token is None and not is_loopback(given.host)
    token = secrets.token_urlsafe() if fresh else token
    view = serve(flow, host=given.host, port=given.port, hosts=given.name, token=token)
    try:
        async with flow:
            await view.start()
            print(f"{view.url}#token={token}" if fresh else view.url, flush=True)
            feeding = asyncio.create_task(_fed(flow, messages, given.every))
            try:
                await view.closed()
            finally:
                feeding.cancel()
    finally:
        await view.stop()  # after the flow, so that the page shows how its traces ended


async def _fed(flow: PenguiFlow, messages: Sequence[Any], every: float | None) -> None:
    """Send the messages, once or again and again. What becomes of them is on the page."""
    asked: set[asyncio.Task[None]] = set()
    while messages:
        for message in messages:
            try:
                handle = flow.start(message)
            except asyncio.QueueFull:
                continue  # as many as may be are in flight
            task = asyncio.create_task(_ended(handle))
            asked.add(task)
            task.add_done_callback(asked.discard)
        if every is None:
            break
        await asyncio.sleep(every)
    await asyncio.gather(*asked)


async def _ended(handle: Any) -> None:
    with contextlib.suppress(FlowError):
        await handle.results()
