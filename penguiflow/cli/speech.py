"""What the commands say: documents and tables on stdout, sentences on stderr, and where an exception came from.

Rules: with `--json`, stdout gets one document and nothing else, so what plugins and nodes print goes to stderr then. A
terminal that knows few characters is no reason to fail.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

import pydantic
from pydantic import TypeAdapter

from penguiflow._errors import typed

_ANYTHING: TypeAdapter[Any] = TypeAdapter(Any)
_OURS = str(Path(__file__).parents[1]) + os.sep
_LIBRARY = str(Path(traceback.__file__).parent)
_THEIRS = str(Path(pydantic.__file__).parent) + os.sep

WRONG, USAGE, INTERRUPTED, TERMINATED = 1, 2, 130, 143


class Complaint(Exception):
    """A command can't do what it was asked for.

    Attributes:
        text: Why, and what to do, for stderr.
        code: The exit code: `WRONG` or `USAGE`.
        document: What `--json` prints of it.
    """

    def __init__(self, text: str, code: int = WRONG, document: Any = None) -> None:
        super().__init__(text)
        self.text: str = text
        self.code: int = code
        self.document: Any = {"error": {"message": text}} if document is None else document


class OutputError(BaseException):
    """What was asked for can't be written to stdout. It passes by whoever asks what is wrong with a flow."""


def say(text: str) -> None:
    """A sentence for a person: on stderr."""
    with contextlib.suppress(OSError, AttributeError):
        _write(sys.stderr, f"{text}\n")


def show(text: str, end: str = "\n") -> None:
    """What was asked for: on stdout, at once."""
    try:
        _write(sys.stdout, f"{text}{end}")
    except (OSError, AttributeError) as exc:  # Python has no sys.stdout where the descriptor is closed
        raise OutputError(f"stdout can't be written: {exc if isinstance(exc, OSError) else 'it is closed'}") from exc


def _write(stream: TextIO, text: str) -> None:
    encoding = stream.encoding or "utf-8"
    stream.write(text.encode(encoding, errors="replace").decode(encoding))
    stream.flush()


def jsonable(value: Any) -> Any:
    """A value as JSON has it: models, dataclasses, dates and sets included.

    Raises:
        Complaint: it holds something that JSON has no form for.
    """
    try:
        return _ANYTHING.dump_python(value, mode="json")
    except ValueError as exc:
        raise Complaint(f"the result can't be written as JSON: {exc}. It is {value!r:.200}") from None


def document(value: Any, indent: int | None = 2) -> str:
    """JSON text of what `jsonable` gave; in ASCII where stdout knows no more."""
    plain = ((sys.stdout and sys.stdout.encoding) or "utf-8").lower().replace("-", "") not in ("utf8", "utf16", "utf32")
    return json.dumps(value, indent=indent, ensure_ascii=plain)


@contextlib.contextmanager
def aside(quiet: bool) -> Iterator[None]:
    """What others print meanwhile goes to stderr, if stdout is kept for one document."""
    with contextlib.redirect_stdout(sys.stderr) if quiet else contextlib.nullcontext():
        yield


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns with two spaces between them, whatever the terminal's width: the last one may be long."""
    lines = [list(head), *map(list, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head) - 1)]
    return "\n".join(_row(line, widths) for line in lines)


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [cell.ljust(width) for cell, width in zip(cells, widths, strict=False)]
    return "  ".join([*padded, cells[-1]]).rstrip()


def duration(milliseconds: float) -> str:
    """A time in the unit that suits it."""
    if milliseconds < 1:
        return f"{milliseconds * 1e3:.3g} microseconds"
    return f"{milliseconds:.3g} ms" if milliseconds < 1e3 else f"{milliseconds / 1e3:.3g} s"


def told(exc: BaseException) -> str:
    """An exception in a line: its kind and what it says."""
    return typed(exc).rstrip(": ")


def place(exc: BaseException) -> str | None:
    """The file and line that an exception came from: the last that is neither ours nor the standard library's."""
    if isinstance(exc, SyntaxError) and exc.filename:
        return f"{exc.filename}:{exc.lineno}"  # code that can't be read has no frame
    frames = theirs(traceback.extract_tb(exc.__traceback__))
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else None


def theirs(frames: Sequence[traceback.FrameSummary]) -> list[traceback.FrameSummary]:
    """The frames that are neither ours nor the standard library's."""
    return [frame for frame in frames if not frame.filename.startswith((_OURS, _THEIRS, "<")) and not _standard(frame)]


def _standard(frame: traceback.FrameSummary) -> bool:
    name = frame.filename
    return name.startswith(_LIBRARY) and "site-packages" not in name and "dist-packages" not in name


def located(exc: BaseException) -> str:
    """An exception in a line, with the file and line that it came from."""
    where = place(exc)
    return told(exc) if where is None else f"{told(exc)} ({where})"
