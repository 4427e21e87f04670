"""A candidate that decides beside the live policy, without effect: where would it differ?

Rules: it can't fail a message, and what it does is only counted. The last differences are listed, without payloads.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass

from penguiflow import RoutingRequest
from penguiflow_policy._conditions import ConditionError
from penguiflow_policy._decision import Decision
from penguiflow_policy._health import Health
from penguiflow_policy._rules import Rules

KEPT = 100


@dataclass(frozen=True, slots=True)
class Difference:
    """A message that the candidate would send elsewhere.

    Attributes:
        node: The router.
        trace_id: The message's trace.
        live: Where it went; `None` where the live policy had no opinion.
        live_rule: The rule that said so.
        candidate: Where it would go.
        candidate_rule: The rule that says so, or the error that the candidate has.
    """

    node: str
    trace_id: str
    live: tuple[str, ...] | None
    live_rule: str | None
    candidate: tuple[str, ...] | None
    candidate_rule: str | None

    def __str__(self) -> str:
        return f"{self.node}: {_told(self.live, self.live_rule)} -> {_told(self.candidate, self.candidate_rule)}"


def _told(targets: tuple[str, ...] | None, rule: str | None) -> str:
    if targets is None:
        return f"no opinion ({rule})" if rule else "no opinion"
    return f"{', '.join(targets) or 'dropped'} ({rule})"


class Shadow:
    """What a candidate would have done.

    Attributes:
        version: The candidate's. When it changes, counting begins anew.
        agreed: How many decisions were the same.
        differed: How many would have been others.
        failed: How many messages it would have failed; they count as different as well.
        by_rules: How often which pair of rules (live, candidate) differed.
        differences: The last of them, oldest first.
    """

    def __init__(self, candidate: Callable[[], Rules], kept: int = KEPT) -> None:
        self._candidate = candidate
        self._kept = kept
        self._begin("")

    def _begin(self, version: str) -> None:
        self.version: str = version
        self.agreed: int = 0
        self.differed: int = 0
        self.failed: int = 0
        self.by_rules: Counter[tuple[str | None, str | None]] = Counter()
        self.differences: deque[Difference] = deque(maxlen=self._kept)

    def compare(self, request: RoutingRequest, live: Decision | None, now: float, health: Health) -> None:
        """Decide beside the live policy, and note whether that differs. Names in another order are no difference."""
        rules = self._candidate()
        if rules.version != self.version:
            self._begin(rules.version)
        candidate: Decision | None = None
        try:
            candidate = rules.decide(request, now, health)
        except Exception as exc:  # whatever it is, it is the candidate's, and not the message's
            self.failed += 1
            self._note(request, live, None, str(exc) if isinstance(exc, ConditionError) else type(exc).__name__)
            return
        if _effect(live, request) == _effect(candidate, request):
            self.agreed += 1
        else:
            self._note(request, live, candidate, None if candidate is None else candidate.rule)

    def _note(self, request: RoutingRequest, live: Decision | None, candidate: Decision | None, by: str | None) -> None:
        live_rule = None if live is None else live.rule
        self.differed += 1
        if len(self.by_rules) < 10_000 or (live_rule, by) in self.by_rules:
            self.by_rules[live_rule, by] += 1
        self.differences.append(
            Difference(
                request.node_name,
                request.trace_id,
                None if live is None else tuple(live),
                live_rule,
                None if candidate is None else tuple(candidate),
                by,
            )
        )

    def __str__(self) -> str:
        pairs = [
            f"  {count} x {a or 'no opinion'} -> {b or 'no opinion'}" for (a, b), count in self.by_rules.most_common()
        ]
        summary = f"{self.agreed} the same, {self.differed} different, {self.failed} of them failed"
        return "\n".join([summary, *pairs])


def _effect(decision: Decision | None, request: RoutingRequest) -> frozenset[str]:
    return frozenset(request.proposed_names if decision is None else decision)
