"""How the flow's process and the one that writes talk: frames of pickled tuples one way, lines of JSON
the other.

Rules: only the flow's side writes frames, and its own child reads them, so nothing foreign is ever unpickled.
"""

from __future__ import annotations

import json
import pickle
import struct
from typing import Any, BinaryIO

_HEAD = struct.Struct("!I")

HELLO, NOTES, HURRY, END = "hello", "notes", "hurry", "end"  # frames
OPEN, TAKEN, LOG, OFF, ENDED = "open", "taken", "log", "off", "ended"  # replies
TOO_LATE = "MLflow had not opened its store when the flow stopped. Set wait_s, or a longer stop_s"


def packed(kind: str, *content: Any) -> bytes:
    """One frame as bytes."""
    body = pickle.dumps((kind, *content), pickle.HIGHEST_PROTOCOL)
    return _HEAD.pack(len(body)) + body


def unpacked(stream: BinaryIO) -> tuple[Any, ...] | None:
    """The next frame of a stream; `None` at its end."""
    head = stream.read(_HEAD.size)
    if len(head) < _HEAD.size:
        return None
    (length,) = _HEAD.unpack(head)
    body = stream.read(length)
    if len(body) < length:
        return None
    frame: tuple[Any, ...] = pickle.loads(body)
    return frame


def spoken(kind: str, **content: Any) -> bytes:
    """One reply as bytes."""
    return json.dumps({"kind": kind, **content}).encode() + b"\n"
