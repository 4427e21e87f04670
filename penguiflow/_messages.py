"""What travels along floes: the envelope (`Message`), its headers and budget, and stream chunks.

Rules: everything here is plain data and knows nothing of flows. The kernel builds messages and chunks from values that
it has already checked, so `built` skips pydantic's validation. What pydantic needs for it is made when somebody first
makes a model himself (`defer_build`): most programs never do, and all of them import this.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeGuard, TypeVar

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from typing_extensions import TypeVar as _TypeVar

    PayloadT = _TypeVar("PayloadT", default=Any)
else:
    PayloadT = TypeVar("PayloadT")

ModelT = TypeVar("ModelT", bound=BaseModel)

_Setter = Callable[[object, Any], None]
_new: Callable[[type[ModelT]], ModelT] = object.__new__
_set_dict: _Setter = BaseModel.__dict__["__dict__"].__set__
_set_fields_set: _Setter = BaseModel.__dict__["__pydantic_fields_set__"].__set__
_set_extra: _Setter = BaseModel.__dict__["__pydantic_extra__"].__set__
_set_private: _Setter = BaseModel.__dict__["__pydantic_private__"].__set__


_random = random.Random()  # seeded by the system, apart from the one that an application may seed for itself
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_random.seed)


def new_trace_id() -> str:
    """32 random hexadecimal digits: the size of a W3C trace id, so that it can serve as one."""
    return _random.getrandbits(128).to_bytes(16, "big").hex()


def _now() -> float:
    """The wall clock, looked up each time, so that a test's clock holds for messages too."""
    return time.time()


def built(model: type[ModelT], values: dict[str, Any], fields_set: set[str] | None = None) -> ModelT:
    """An instance of `model` from values that are known to be right, and complete.

    Four times as quick as `model_construct`, which looks up every default again.
    """
    instance = _new(model)
    _set_dict(instance, values)
    _set_fields_set(instance, set(values) if fields_set is None else fields_set)
    _set_extra(instance, None)
    _set_private(instance, None)
    return instance


def is_of(value: object, model: type[ModelT]) -> TypeGuard[ModelT]:
    """`isinstance` for pydantic models. That asks their metaclass, which takes ten times as long."""
    return model in value.__class__.__mro__


class Headers(BaseModel, defer_build=True):
    """Who a message is for: the parts of the envelope that routing policies and metrics read.

    Attributes:
        tenant: On whose behalf the work is done.
        topic: What it is about, if the sender says so.
        priority: Higher is more urgent. The kernel carries it and does not reorder by it.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True)

    tenant: str = "default"
    topic: str | None = None
    priority: int = 0


class Budget(BaseModel, defer_build=True):
    """What one trace may use up, over all its branches, loops and subflows. `None` means no limit.

    Attributes:
        hops: How many node runs (a retried run counts once).
        tokens: How many tokens, as reported by `ctx.spend(tokens=...)`.
        cost: How much money (in the currency of your choice), as reported by `ctx.spend(cost=...)`.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid")

    hops: int | None = Field(default=None, ge=0)
    tokens: int | None = Field(default=None, ge=0)
    cost: float | None = Field(default=None, ge=0)


class Message(BaseModel, Generic[PayloadT], defer_build=True):
    """A payload and its envelope. Bare payloads get one by themselves when they enter a flow.

    Attributes:
        payload: What the nodes work on.
        headers: Tenant, topic and priority.
        trace_id: Names the trace; unique among the live traces of a flow.
        ts: When the message was made (epoch seconds).
        deadline_s: When its trace expires (epoch seconds), read once, when the message enters a flow.
        meta: Free annotations; copied for each branch, merged where branches join.
        budget: Limits on hops, tokens and cost of the trace.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(arbitrary_types_allowed=True)

    payload: PayloadT
    headers: Headers = Field(default_factory=Headers)
    trace_id: str = Field(default_factory=new_trace_id, min_length=1)
    ts: float = Field(default_factory=_now)
    deadline_s: float | None = Field(default=None, allow_inf_nan=False)
    meta: dict[str, Any] = Field(default_factory=dict)
    budget: Budget | None = None


class StreamChunk(BaseModel, defer_build=True):
    """One piece of a stream.

    Attributes:
        stream_id: Names the stream; the trace's id unless the node says otherwise.
        seq: Counts from 0 within a stream, over every node that writes to it.
        text: The piece itself, possibly empty.
        done: True on the last chunk of the stream.
        meta: Free annotations. `meta["restart"]` is true on the first chunk of a retried node's new attempt: what the
            attempt before it wrote is void.
    """

    stream_id: str
    seq: int = Field(ge=0)
    text: str
    done: bool = False
    meta: dict[str, Any] = Field(default_factory=dict)


_CHUNK_FIELDS = set(StreamChunk.model_fields)  # shared: it is complete, so nothing can be added to it


def check_text(text: object) -> None:
    """Refuse what isn't text.

    Raises:
        TypeError: it isn't.
    """
    if not isinstance(text, str):
        raise TypeError(f"a chunk's text is a str, not {type(text).__name__} ({text!r:.80}): convert it first")


def new_chunk(stream_id: str, seq: int, text: str, done: bool, meta: dict[str, Any] | None) -> StreamChunk:
    """A `StreamChunk` of parts that are known to be right."""
    values = {"stream_id": stream_id, "seq": seq, "text": text, "done": done, "meta": {} if meta is None else meta}
    return built(StreamChunk, values, _CHUNK_FIELDS)
