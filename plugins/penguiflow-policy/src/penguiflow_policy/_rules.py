"""The rules of one version of a policy, ready to decide. They never change.

Rules: of the rules whose `match` fits, each in its order is asked for its condition. `add` and `remove` change what
comes out, and go on; the first other rule decides. What was added and removed is then applied to its targets, to the
default or to what was proposed, in the order of the rules; `drop` and `abstain` stand alone.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from typing import Any

from penguiflow import RoutingRequest
from penguiflow_policy._conditions import Condition, ConditionError, Conditions, View
from penguiflow_policy._decision import Decision
from penguiflow_policy._fields import Getter, bare, hour_of
from penguiflow_policy._health import Health
from penguiflow_policy._index import Index
from penguiflow_policy._split import arm, point

log = logging.getLogger("penguiflow_policy")

DEFAULT = "default"
KEEP, DROP = "keep", "drop"


@dataclass(frozen=True, slots=True)
class Fallback:
    """What stands in for targets that fail."""

    to: tuple[str, ...]
    error_rate: float
    window_s: float
    min_runs: int


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule.

    Attributes:
        name: Unique in its policy.
        kind: `route`, `add`, `remove`, `drop`, `abstain`, `split` or `canary`.
        match: The values that fields may have.
        condition: What has to hold besides.
        skips: Whether a condition without an answer counts as false, instead of failing the message.
        targets: What is routed to, added, removed, or what a canary goes to.
        arms: The names and weights of a split.
        percent: A canary's share.
        by: What reads the key that a share holds on to.
        salt: What the drawing depends on besides.
        fallback: What stands in for targets that fail.
    """

    name: str
    kind: str
    match: Mapping[str, tuple[Any, ...]]
    condition: Condition | None
    skips: bool
    targets: tuple[str, ...]
    arms: tuple[tuple[str, float], ...] = ()
    percent: float = 0.0
    by: Getter | None = None
    salt: str = ""
    fallback: Fallback | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Every node that it may send messages to."""
        standing_in = self.fallback.to if self.fallback else ()
        return tuple(dict.fromkeys((*self.targets, *(name for name, _ in self.arms), *standing_in)))


@dataclass(slots=True)
class Step:
    """What became of one rule for one message, for an explanation."""

    rule: Rule
    result: str


@dataclass(frozen=True)
class Rules:
    """A policy's rules.

    Attributes:
        version: 12 hexadecimal digits that change with what the policy says.
        rules: In their order.
        flows: The flows that they speak of; `None` for all.
        routers: The routers that they speak of; `None` for all.
        elsewhere: Routers that no graph shows, and the nodes that they lead to.
        default: `keep`, `drop`, or where messages go that no rule decides on.
        zone: Whose hour it is.
        conditions: Shows messages to conditions.
        skipped: How often the condition of a rule had no answer, and was skipped.
        windows: The lengths of the windows in which error rates matter.
    """

    version: str
    rules: tuple[Rule, ...]
    conditions: Conditions
    flows: tuple[str, ...] | None = None
    routers: tuple[str, ...] | None = None
    elsewhere: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    default: tuple[str, ...] = (KEEP,)
    zone: tzinfo = UTC
    skipped: dict[str, int] = field(default_factory=dict)
    windows: tuple[float, ...] = field(init=False, default=())

    def __post_init__(self) -> None:
        index = Index([rule.match for rule in self.rules], self.zone)
        object.__setattr__(self, "_index", index)
        ready = [Decision(r.targets if r.kind == "route" else (), r.name, self.version) for r in self.rules]
        object.__setattr__(self, "_ready", tuple(ready))
        windows = tuple(rule.fallback.window_s for rule in self.rules if rule.fallback is not None)
        object.__setattr__(self, "windows", windows)

    def speaks_of(self, flow: str, router: str) -> bool:
        """Whether these rules have a say in a router."""
        return (self.flows is None or flow in self.flows) and (self.routers is None or router in self.routers)

    def candidates(self, request: RoutingRequest, now: float) -> int:
        """The rules whose `match` fits, a bit each."""
        found: int = self._index.candidates(request, now)  # type: ignore[attr-defined]
        return found

    def decide(
        self, request: RoutingRequest, now: float, health: Health, tried: list[Step] | None = None
    ) -> Decision | None:
        """Where the message goes; `None` for no opinion.

        Raises:
            ConditionError: a condition has no answer, and its rule doesn't say that it may be skipped.
        """
        if not self.speaks_of(request.flow_name, request.node_name):
            return None
        candidates = self.candidates(request, now)
        view: View | None = None
        changes: list[Rule] = []
        while candidates:
            lowest = candidates & -candidates
            candidates ^= lowest
            place = lowest.bit_length() - 1
            rule = self.rules[place]
            if rule.condition is not None:
                try:
                    if view is None:
                        view = self.conditions.view(request, hour_of(now, self.zone))
                    if not rule.condition.holds(view):
                        _note(tried, rule, "its condition is false")
                        continue
                except ConditionError as exc:
                    self._without_answer(rule, exc)
                    _note(tried, rule, f"its condition has no answer: {exc}")
                    continue
            if rule.kind in ("add", "remove"):
                changes.append(rule)
                _note(tried, rule, f"{rule.kind}s {', '.join(rule.targets)}")
                continue
            if rule.kind == "abstain":
                _note(tried, rule, "abstains")
                return None
            if rule.kind == "route" and rule.fallback is None and not changes:
                _note(tried, rule, "decides")
                ready: Decision = self._ready[place]  # type: ignore[attr-defined]
                return ready
            targets = _targets(rule, request, now, health)
            if targets is None:
                _note(tried, rule, "the key is not in its share")
                continue
            _note(tried, rule, "decides")
            if rule.kind == "drop":
                return Decision((), rule.name, self.version)
            return self._changed(targets, rule.name, changes)
        return self._by_default(request, changes)

    def _by_default(self, request: RoutingRequest, changes: Sequence[Rule]) -> Decision | None:
        if self.default == (DROP,):
            return Decision((), DEFAULT, self.version)
        if self.default != (KEEP,):
            return self._changed(self.default, DEFAULT, changes)
        return self._changed(request.proposed_names, DEFAULT, changes) if changes else None

    def _changed(self, targets: Sequence[str], by: str, changes: Sequence[Rule]) -> Decision:
        names = dict.fromkeys(targets)
        for rule in changes:
            for name in rule.targets:
                if rule.kind == "add":
                    names[name] = None
                else:
                    names.pop(name, None)
        return Decision(names, by, self.version, tuple(rule.name for rule in changes))

    def _without_answer(self, rule: Rule, exc: ConditionError) -> None:
        if not rule.skips:
            raise ConditionError(f"the condition of rule {rule.name!r} has no answer: {exc}") from None
        count = self.skipped[rule.name] = self.skipped.get(rule.name, 0) + 1
        if count == 1:
            log.warning("the condition of rule %r has no answer for a message, and is skipped: %s", rule.name, exc)


def _note(tried: list[Step] | None, rule: Rule, result: str) -> None:
    if tried is not None:
        tried.append(Step(rule, result))


def _targets(rule: Rule, request: RoutingRequest, now: float, health: Health) -> tuple[str, ...] | None:
    """What a deciding rule sends the message to; `None` if its share doesn't hold the message's key."""
    targets: tuple[str, ...] = rule.targets
    if rule.kind == "split":
        chosen = arm(rule.salt, key_text(rule, request, now), rule.arms)
        targets = () if chosen is None else (chosen,)
    elif rule.kind == "canary" and point(rule.salt, key_text(rule, request, now)) * 100 >= rule.percent:
        return None
    return targets if rule.fallback is None else _sound(targets, rule.fallback, health, request.flow_name)


_LONG = 4096  # bits: Python writes no longer number in decimal


def key_text(rule: Rule, request: RoutingRequest, now: float) -> str:
    """The key of a message's share; its trace's id if it has none."""
    value = None if rule.by is None else bare(rule.by(request, now))
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # 1.0 is 1, as in `match`
    if isinstance(value, int) and value.bit_length() > _LONG:
        return hex(value)
    return str(value) if isinstance(value, str | int | float) else request.trace_id


def _sound(targets: Sequence[str], fallback: Fallback, health: Health, flow: str) -> tuple[str, ...]:
    names: dict[str, None] = {}
    for name in targets:
        failing = health.rate(flow, name, fallback.window_s, fallback.min_runs) >= fallback.error_rate
        names.update(dict.fromkeys(fallback.to if failing else (name,)))
    return tuple(names)
