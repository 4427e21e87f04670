"""The models of a node that plans. Rules: plain data, for flows to speak; the runtime knows nothing of them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field


class PlanStep(BaseModel, defer_build=True):
    """One step of a plan."""

    kind: Literal["retrieve", "web", "sql", "summarize", "route", "stop"]
    args: dict[str, Any] = Field(default_factory=dict)
    max_concurrency: int = Field(default=1, ge=1)


class Thought(BaseModel, defer_build=True):
    """What a planning node came up with: steps, why, and whether the plan is complete."""

    steps: list[PlanStep]
    rationale: str
    done: bool = False
