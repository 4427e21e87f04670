"""The models that controller loops speak: working memory in, working memory or a final answer out.

Rules: plain data. The runtime alone writes `WM.hops`.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from penguiflow._messages import built


class WM(BaseModel, defer_build=True):
    """The working memory of a controller loop. A controller that returns one continues its loop.

    Attributes:
        query: What is being worked on.
        facts: What has been found so far.
        hops: How many times the controller has run; written by the runtime.
        budget_hops: How many times it may run; `None` for no limit.
        tokens_used: Tokens used so far, written by the controller.
        budget_tokens: Tokens that it may use; `None` for no limit.
        confidence: How sure the controller is of its facts, from 0 to 1.
    """

    query: str
    facts: list[Any] = Field(default_factory=list)
    hops: int = Field(default=0, ge=0)
    budget_hops: int | None = Field(default=8, ge=0)
    tokens_used: int = Field(default=0, ge=0)
    budget_tokens: int | None = Field(default=None, ge=0)
    confidence: float = 0.0


class FinalAnswer(BaseModel, defer_build=True):
    """The end of a controller loop: it leaves the flow at once, whatever else its node is connected to."""

    text: str
    citations: list[str] = Field(default_factory=list)


def after_run(memory: WM, hops: int) -> WM:
    """A copy of `memory` with the runtime's count of hops: its giver may go on using the one it holds."""
    if memory.__pydantic_extra__ is not None or memory.__pydantic_private__ is not None:
        return memory.model_copy(update={"hops": hops})
    values = memory.__dict__.copy()
    values["hops"] = hops
    return built(type(memory), values, {"hops", *memory.__pydantic_fields_set__})


def exhausted(memory: WM) -> str | None:
    """Which budget of `memory` leaves no room for another run: `"hops"`, `"tokens"` or none."""
    if memory.budget_hops is not None and memory.hops >= memory.budget_hops:
        return "hops"
    if memory.budget_tokens is not None and memory.tokens_used >= memory.budget_tokens:
        return "tokens"
    return None
