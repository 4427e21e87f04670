r"""Values as JSON, and events as they stand on the wire.

Rules: JSON is written in ASCII, so that a lone surrogate, a NUL, U+2028 and `\r` all arrive as they left, and so that
nothing in a text can end a line of an event stream.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

from pydantic_core import to_jsonable_python


def json_text(value: Any) -> str:
    """A value as JSON in one line. Numbers that JSON doesn't have are `null`, as pydantic writes them.

    Raises:
        ValueError: it can't be written as JSON.
    """
    try:
        return json.dumps(_plain(value), separators=(",", ":"), allow_nan=False)
    except RecursionError:
        raise ValueError("it holds itself, or is nested too deeply") from None


def _plain(value: Any) -> Any:
    """A value in JSON's types. pydantic writes what isn't plain; in plain values it would lose lone surrogates."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if type(value) in _PLAIN:
        return value
    if type(value) is dict:
        return {key if type(key) is str else _key(key): _plain(item) for key, item in value.items()}
    if type(value) is list or type(value) is tuple:
        return [_plain(item) for item in value]
    return _plain(to_jsonable_python(value))


def _key(key: Any) -> str:
    (text,) = to_jsonable_python({key: None})
    return str(text)


_PLAIN = (str, int, bool, type(None))


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that a client is told about a trace.

    Attributes:
        number: Counts from 1 within the trace.
        name: `chunk`, `restart`, `result`, `end` or `error`.
        data: JSON in one line.
    """

    number: int
    name: str
    data: str

    @property
    def size(self) -> int:
        """How many bytes it has, or a few more."""
        return len(self.data) + 48

    def sse(self) -> bytes:
        """The event as a part of an event stream."""
        return f"id: {self.number}\nevent: {self.name}\ndata: {self.data}\n\n".encode("ascii")

    def frame(self, name: str) -> str:
        """The event as a message of a WebSocket, about the trace that the client calls `name`."""
        return f'{{"type":"{self.name}","id":{json.dumps(name)},"data":{self.data}}}'
