"""What a recording consists of: the runs of nodes, their attempts, and what each attempt did and when.

Rules: plain data that a generated test can write down as Python. Times are seconds from the attempt's start.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias


class _Unset(enum.Enum):
    """No value: the attempt ended without one, or with one that can't be written down."""

    UNSET = "UNSET"

    def __repr__(self) -> str:
        return "UNSET"


UNSET: Any = _Unset.UNSET  # an enum's member stays itself when it is copied

Kind: TypeAlias = Literal["emit", "emit_nowait", "chunk", "spend", "meta", "yield"]


@dataclass(frozen=True, slots=True)
class Act:
    """Something that an attempt did before it ended.

    Attributes:
        at_s: When.
        kind: `emit`, `emit_nowait`, `chunk`, `spend`, `meta` or `yield`.
        value: The message, the chunk's text, or what was written to `ctx.meta`.
        options: Further arguments of the call.
    """

    at_s: float
    kind: Kind
    value: Any = None
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt of a run. It returned, raised, or was cancelled from outside: then it has neither.

    Attributes:
        took_s: How long it took.
        returns: What it returned.
        raises: What it raised.
        acts: What it did before.
    """

    took_s: float
    returns: Any = UNSET
    raises: BaseException | None = None
    acts: Sequence[Act] = ()


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a node.

    Attributes:
        node: The node's path: its name, or `sub/inner/name` in a subflow.
        takes: What it was given: the payload, where it takes a `Message`.
        attempts: Its attempts. With none, the node itself runs.
    """

    node: str
    takes: Any = UNSET
    attempts: Sequence[Attempt] = ()


@dataclass(frozen=True, slots=True)
class Played:
    """What a trace gave, when it was recorded or replayed.

    Attributes:
        outcome: `completed`, `failed`, `cancelled` or `expired`.
        outputs: The payloads that came out, in order.
        metas: The annotations of each, if a `Message` was sent.
        chunks: The texts of its stream chunks.
        code: The code of the error that it ended with.
        took_s: How long it took.
    """

    outcome: str
    outputs: list[Any]
    metas: list[dict[str, Any]]
    chunks: list[str]
    code: str | None
    took_s: float
