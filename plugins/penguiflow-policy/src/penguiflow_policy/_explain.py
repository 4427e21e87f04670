"""Why a message goes where it goes: the decision, and what became of each rule on the way to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from penguiflow import RoutingRequest
from penguiflow_policy._conditions import ConditionError
from penguiflow_policy._decision import Decision
from penguiflow_policy._fields import getter
from penguiflow_policy._health import Health
from penguiflow_policy._index import fits
from penguiflow_policy._problems import shown
from penguiflow_policy._rules import Rule, Rules, Step
from penguiflow_policy._tree import Document


@dataclass(frozen=True, slots=True)
class Tried:
    """A rule, and what became of it: `decides`, `its condition is false`, `tenant is 'zoo', not 'acme'`, ..."""

    rule: str
    result: str


@dataclass(frozen=True, slots=True)
class PolicyExplanation:
    """Why a policy decides as it does.

    Attributes:
        decision: What it answers; `None` for no opinion.
        rule: The rule that decided; `default`, or `None` without an opinion.
        version: Of the policy.
        error: Why it has no answer, if a condition has none.
        tried: The rules that were looked at, in their order.
    """

    decision: Decision | None
    rule: str | None
    version: str
    error: str | None
    tried: tuple[Tried, ...]

    def __str__(self) -> str:
        lines = [f"  {step.rule}: {step.result}" for step in self.tried]
        return "\n".join([f"{self._outcome()} (policy {self.version})", *lines])

    def _outcome(self) -> str:
        if self.error is not None:
            return f"the message fails: {self.error}"
        if self.decision is None:
            return "no opinion: what was proposed stands"
        changed = f", changed by {', '.join(self.decision.modified_by)}" if self.decision.modified_by else ""
        return f"{'goes to ' + ', '.join(self.decision) if self.decision else 'is dropped'}: {self.rule}{changed}"


def explained(
    rules: Rules, document: Document, request: RoutingRequest, now: float, health: Health
) -> PolicyExplanation:
    """The decision about a message, taken as it always is, and how it came about."""
    steps: list[Step] = []
    decision, error = None, None
    try:
        decision = rules.decide(request, now, health, steps)
    except ConditionError as exc:
        error = str(exc)
    if not rules.speaks_of(request.flow_name, request.node_name):
        where = f"router {request.node_name!r} of flow {request.flow_name!r}"
        return PolicyExplanation(None, None, rules.version, None, (Tried("policy", f"doesn't speak of {where}"),))
    rule = None if decision is None else decision.rule
    return PolicyExplanation(decision, rule, rules.version, error, _tried(rules, document, steps, request, now, error))


def _tried(
    rules: Rules, document: Document, steps: list[Step], request: RoutingRequest, now: float, error: str | None
) -> tuple[Tried, ...]:
    results = {step.rule.name: step.result for step in steps}
    ended = steps[-1].result in ("decides", "abstains") if steps else False
    last = steps[-1].rule.name if ended else None
    candidates = rules.candidates(request, now)
    found = []
    for place, rule in enumerate(rules.rules):
        if rule.name in results:
            found.append(Tried(rule.name, results[rule.name]))
        elif candidates >> place & 1:
            found.append(Tried(rule.name, "its condition has no answer"))
            break  # it failed the message
        else:
            found.append(Tried(rule.name, _misfit(rules, document, place, rule, request, now)))
        if rule.name == last:
            break
    return tuple(found)


def _misfit(rules: Rules, document: Document, place: int, rule: Rule, request: RoutingRequest, now: float) -> str:
    """The first field that doesn't fit; what the rule wants is shown as it is written."""
    for name, wanted in rule.match.items():
        value: Any = getter(name, rules.zone)(request, now)
        if not fits(value, wanted):
            written = document.at(("rules", place, "match", name))
            values = written if isinstance(written, list) else [written]
            listed = " or ".join(shown(item) for item in values[:5]) + (" or ..." if len(values) > 5 else "")
            return f"{name} is {shown(value)}, not {listed}"
    return "it doesn't fit"
