"""Tables of cases: which message is to go where. Run by `penguiflow-policy test`, or in a test suite.

Rules: a case is decided as a router's request would be, without a flow. Shares draw by the case's own key, and error
rates are those of a flow in which nothing fails.
"""

from __future__ import annotations

import os
from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from penguiflow import Headers, Message, RoutingRequest
from penguiflow_policy import _sources as sources
from penguiflow_policy._conditions import ConditionError
from penguiflow_policy._decision import Decision
from penguiflow_policy._health import Health
from penguiflow_policy._problems import PolicyError, meant
from penguiflow_policy._requests import requested
from penguiflow_policy._rules import Rules
from penguiflow_policy._tree import Document

KEEP, DROP, FAILS = "keep", "drop", "fails"


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class Case(BaseModel):
    """A message, the router that asks, and what is expected.

    Attributes:
        name: What the report calls it.
        expect: The nodes; `keep` for no opinion, `drop`, or `fails` where a condition has no answer.
        rule: The rule that decides, if that matters.
        hour: The hour of the day at which the router asks, in the policy's timezone.
    """

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    name: str = Field(min_length=1)
    tenant: str = "default"
    topic: str | None = None
    priority: int = 0
    payload: Any = None
    meta: dict[str, Any] = Field(default_factory=dict)
    trace_id: str = Field(default="trace", min_length=1)
    node: str = "router"
    flow: str = "flow"
    proposed: list[str] = Field(default_factory=list)
    hour: int = Field(default=12, ge=0, le=23)
    expect: Annotated[list[str], BeforeValidator(_listed), Field(min_length=1)]
    rule: str | None = None

    def request(self) -> RoutingRequest:
        """What its router would ask."""
        headers = Headers(tenant=self.tenant, topic=self.topic, priority=self.priority)
        message = Message(payload=self.payload, headers=headers, meta=self.meta, trace_id=self.trace_id)
        return requested(message, self.node, self.proposed, self.flow)

    def now(self, rules: Rules) -> float:
        """A time at which it is that hour."""
        return datetime(2026, 1, 15, self.hour, tzinfo=rules.zone).timestamp()


class Outcome:
    """What a policy does with a case: `targets` as `expect` would name them, and the rule, or the error."""

    def __init__(self, rules: Rules, case: Case) -> None:
        decision: Decision | None = None
        self.error: str | None = None
        try:
            decision = rules.decide(case.request(), case.now(rules), Health())
        except ConditionError as exc:
            self.error = str(exc)
        self.targets: tuple[str, ...] = _spelled(decision) if self.error is None else (FAILS,)
        self.rule: str | None = None if decision is None else decision.rule

    def __str__(self) -> str:
        by = self.error or (f"by {self.rule}" if self.rule else "no rule decides")
        return f"{', '.join(self.targets)} ({by})"

    def differs(self, case: Case) -> str:
        """How it differs from what the case expects; empty if it doesn't."""
        if sorted(self.targets) != sorted(case.expect):
            return f"expected {', '.join(case.expect)}, got {self}"
        if case.rule is not None and case.rule != self.rule:
            return f"expected rule {case.rule}, got {self}"
        return ""


def _spelled(decision: Decision | None) -> tuple[str, ...]:
    if decision is None:
        return (KEEP,)
    return tuple(decision) or (DROP,)


def read_cases(path: str | os.PathLike[str]) -> list[Case]:
    """The cases of a file: a list, or a table with the key `cases`.

    Raises:
        PolicyError: they can't be read; lists every problem.
    """
    document = sources.from_file(path).load()
    listed = document.data.get("cases") if isinstance(document.data, dict) else document.data
    at: tuple[str, ...] = ("cases",) if isinstance(document.data, dict) else ()
    if not isinstance(listed, list):
        raise PolicyError([document.problem("a list of cases is wanted, each with name and expect")])
    cases, problems = [], []
    for place, data in enumerate(listed):
        try:
            cases.append(Case.model_validate(data))
        except ValidationError as exc:
            for error in exc.errors(include_url=False, include_input=False):
                problems.append(_problem(document, (*at, place), dict(error)))
    if problems:
        raise PolicyError(problems)
    return cases


def _problem(document: Document, at: tuple[str | int, ...], error: dict[str, Any]) -> Any:
    path = (*at, *error["loc"])
    if error["type"] == "extra_forbidden":
        return document.problem(f"a case has no {path[-1]!r}{meant(path[-1], Case.model_fields)}", path, key=True)
    if error["type"] == "missing":
        return document.problem(f"the key {path[-1]!r} is missing", path[:-1])
    return document.problem(str(error["msg"]), path)
