"""`penguiflow record`: one message through a flow, and a test that sends it again.

Rules: the test is printed, or written to a file that isn't there yet. A trace that does not complete makes a test as
well. What the test can't hold is said on stderr.
"""

from __future__ import annotations

import asyncio
import math
import os
from pathlib import Path
from typing import Any

from penguiflow import PenguiFlow
from penguiflow.cli.speech import INTERRUPTED, USAGE, WRONG, Complaint, located
from penguiflow.testkit import Recording, arecord, to_pytest


def recorded(flow: PenguiFlow, message: Any, timeout_s: float | None) -> Recording:
    """Run one message through the flow, and write down what its nodes give.

    Raises:
        Complaint: the flow could not run.
    """
    if timeout_s is not None and math.isnan(timeout_s):
        raise Complaint("--timeout is a number of seconds from 0 on, not nan", USAGE)
    try:
        return asyncio.run(arecord(flow, message, timeout_s=timeout_s, within_s=math.inf))
    except KeyboardInterrupt:
        raise Complaint("interrupted: the trace is cancelled, and nothing is recorded", INTERRUPTED) from None
    except Exception as exc:
        raise Complaint(f"flow {flow.name!r} can't run: {located(exc)}", WRONG) from None


def refuse_existing(output: Path | None, force: bool) -> None:
    """Overwrite nothing unasked.

    Raises:
        Complaint: the file is there.
    """
    if output is not None and output.exists() and not force:
        raise Complaint(f"{output} is there already: name another file, or say --force", USAGE)


def tested(recording: Recording, target: str, name: str | None, output: Path | None) -> str:
    """The test of a recorded trace, which finds its flow as the command did.

    Raises:
        Complaint: it can't be written.
    """
    where, _, attribute = target.rpartition(":")
    folder: str | None = None
    if where.endswith(".py"):
        file = Path(where).resolve()
        where = file.stem
        folder = os.path.relpath(file.parent, (output.resolve().parent if output else Path.cwd()))
    try:
        return to_pytest(recording, f"{where}:{attribute}", name=name, folder=folder)
    except ValueError as exc:
        raise Complaint(str(exc), WRONG) from None


def written(source: str, output: Path) -> None:
    """Put the test into its file.

    Raises:
        Complaint: it can't be put there.
    """
    try:
        output.write_text(source, encoding="utf-8")
    except OSError as exc:
        raise Complaint(f"the test can't be written: {exc}", USAGE) from None
