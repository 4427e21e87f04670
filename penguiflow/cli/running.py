"""`penguiflow run`: one message through a flow.

Rules: the result is JSON on stdout; with `--stream`, the chunks' texts come before it, each at once. A trace that does
not complete is told in a sentence, without a traceback. Ctrl-C and
SIGTERM cancel the trace and close the flow, plugins included.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from penguiflow import FlowError, PenguiFlow, StreamChunk
from penguiflow.cli.speech import (
    INTERRUPTED,
    TERMINATED,
    USAGE,
    WRONG,
    Complaint,
    document,
    jsonable,
    located,
    place,
    show,
)


@dataclass(slots=True)
class Given:
    """What one trace gave: its chunks and its outputs, in their order."""

    trace_id: str | None = None
    chunks: list[str] = field(default_factory=list)
    outputs: list[Any] = field(default_factory=list)


def given_input(text: str) -> Any:
    """The message: JSON, `-` for JSON on stdin, or `@file`.

    Raises:
        Complaint: it can't be read, or isn't JSON.
    """
    source = "--input"
    if text == "-":
        source = "stdin"
        if sys.stdin is None:
            raise Complaint("stdin is closed, and --input - reads it", USAGE)
        try:
            text = sys.stdin.buffer.read().decode("utf-8")  # JSON is UTF-8, whatever the terminal speaks
        except (OSError, UnicodeDecodeError) as exc:
            raise Complaint(f"stdin can't be read: {exc}", USAGE) from None
    elif text.startswith("@"):
        source = text[1:]
        try:
            text = Path(source).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as exc:
            raise Complaint(f"the input can't be read: {exc}", USAGE) from None
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as exc:
        hint = ": a text needs its quotes, as in --input '\"hello\"'" if source == "--input" else ""
        raise Complaint(f"{source} is not JSON: {exc}{hint}", USAGE) from None


def ran(flow: PenguiFlow, message: Any, timeout_s: float | None, stream: bool, quiet: bool) -> Given:
    """Run one message through the flow. `quiet` keeps the chunks for later.

    Raises:
        Complaint: the flow could not run, or its trace did not complete.
    """
    if timeout_s is not None and math.isnan(timeout_s):
        raise Complaint("--timeout is a number of seconds from 0 on, not nan", USAGE)
    given = Given()
    try:
        asyncio.run(_followed(flow, message, timeout_s, stream, quiet, given))
    except KeyboardInterrupt:
        raise Complaint("interrupted: the trace is cancelled", INTERRUPTED, _ended(given, "interrupted")) from None
    except asyncio.CancelledError:
        raise Complaint("terminated: the trace is cancelled", TERMINATED, _ended(given, "terminated")) from None
    except FlowError as error:
        raise Complaint(_sentence(error), WRONG, {"trace_id": given.trace_id, "error": error.to_payload()}) from None
    except Exception as exc:
        raise Complaint(f"flow {flow.name!r} can't run: {located(exc)}", WRONG) from None
    return given


def _ended(given: Given, message: str) -> dict[str, Any]:
    return {"trace_id": given.trace_id, "error": {"message": message}}


async def _followed(
    flow: PenguiFlow, message: Any, timeout_s: float | None, stream: bool, quiet: bool, given: Given
) -> None:
    main = asyncio.current_task()
    if main is not None and hasattr(signal, "SIGTERM"):
        with contextlib.suppress(NotImplementedError):  # where a loop knows no signals, it ends the process
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, main.cancel)
    async with flow:
        handle = flow.start(message, timeout_s)
        given.trace_id = handle.trace_id
        if not stream:
            given.outputs = await handle.results()
            return
        printed = ""
        try:
            async for item in handle:
                if not isinstance(item, StreamChunk):
                    given.outputs.append(item)
                    continue
                given.chunks.append(item.text)
                if not quiet:
                    text = f"\n{item.text}" if item.meta.get("restart") and printed else item.text
                    printed = text or printed
                    show(text, end="")
        finally:
            if printed and not printed.endswith("\n"):
                show("")


def _sentence(error: FlowError) -> str:
    text = f"{error.code}: {error}"
    cause = error.unwrap()
    where = None if cause is None else place(cause)
    return text if where is None else f"{text}\n  at {where}"


def told_result(given: Given, as_json: bool, stream: bool) -> str:
    """What to print of it: each output as a line of JSON, or one document.

    Raises:
        Complaint: an output can't be written as JSON.
    """
    outputs = [jsonable(output) for output in given.outputs]
    if not as_json:
        return "\n".join(document(output, indent=None) for output in outputs or [None])
    chunks = {"chunks": given.chunks} if stream else {}
    return document({"trace_id": given.trace_id, **chunks, "results": outputs})
