"""A candidate that decides beside the live policy, without effect: where would it differ?

Rules: it can't fail a message, and what it does is only counted. The last differences are listed, without payloads.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass

from penguiflow import RoutingRequest
from penguiflow_policy._conditions import ConditionError
from penguiflow_policy._decision import Decision
from penguiflow_policy._health import Health
from penguiflow_policy._rules import Rules

log = logging.getLogger("penguiflow_policy")

KEPT = 100
MOST_PAIRS = 1000


@dataclass(frozen=True, slots=True)
class Difference:
    """A message that the candidate would send elsewhere.

    Attributes:
        node: The router.
        trace_id: The message's trace.
        live: Where it went; `None` where the live policy had no opinion, or no answer.
        live_rule: The rule that said so, or the error that the live policy had.
        candidate: Where it would go.
        candidate_rule: The rule that says so, or the error that the candidate has.
    """

    node: str
    trace_id: str
    live: tuple[str, ...] | None
    live_rule: str | None
    candidate: tuple[str, ...] | None
    candidate_rule: str | None

    @property
    def instead(self) -> str:
        """What the candidate would have done, as `b (new-rule)`."""
        return _told(self.candidate, self.candidate_rule)

    def __str__(self) -> str:
        return f"{self.node}: {_told(self.live, self.live_rule)} -> {self.instead}"


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
        failed: How many messages it would have failed, and the live policy didn't; they count as different as well.
        by_rules: How often which pair of rules (live, candidate) differed.
        differences: The last of them, oldest first.

    The logger `penguiflow_policy` tells each pair of rules when it differs first, and the counts when the flow stops or
    another version of the candidate begins.
    """

    def __init__(self, candidate: Callable[[], Rules], name: str = "policy", kept: int = KEPT) -> None:
        self._candidate = candidate
        self._name = name
        self._kept = kept
        self._begin("")

    def _begin(self, version: str) -> None:
        self.version: str = version
        self.agreed: int = 0
        self.differed: int = 0
        self.failed: int = 0
        self.by_rules: Counter[tuple[str | None, str | None]] = Counter()
        self.differences: deque[Difference] = deque(maxlen=self._kept)

    def compare(
        self, request: RoutingRequest, live: Decision | ConditionError | None, now: float, health: Health
    ) -> Difference | None:
        """Decide beside the live policy, and note whether that differs. Names in another order are no difference, nor
        are two policies that both have no answer.
        """
        rules = self._candidate()
        if rules.version != self.version:
            self.tell()
            self._begin(rules.version)
        candidate: Decision | Exception | None
        try:
            candidate = rules.decide(request, now, health)
        except Exception as exc:  # whatever it is, it is the candidate's, and not the message's
            candidate = exc
        if _effect(live, request) == _effect(candidate, request):
            self.agreed += 1
            return None
        return self._note(request, live, candidate)

    def _note(
        self, request: RoutingRequest, live: Decision | Exception | None, candidate: Decision | Exception | None
    ) -> Difference:
        found = Difference(request.node_name, request.trace_id, *_split(live), *_split(candidate))
        pair = (found.live_rule, found.candidate_rule)
        self.differed += 1
        self.failed += isinstance(candidate, Exception)
        if len(self.by_rules) < MOST_PAIRS or pair in self.by_rules:
            if pair not in self.by_rules:
                log.info("policy %s: its candidate %s differs: %s", self._name, self.version, found)
            self.by_rules[pair] += 1
        self.differences.append(found)
        return found

    def tell(self) -> None:
        """Log what was counted, if anything was."""
        if self.agreed or self.differed:
            log.info("policy %s: beside its candidate %s: %s", self._name, self.version, self)

    def __str__(self) -> str:
        pairs = [
            f"  {count} x {a or 'no opinion'} -> {b or 'no opinion'}" for (a, b), count in self.by_rules.most_common()
        ]
        summary = f"{self.agreed} the same, {self.differed} different, {self.failed} of them failed"
        return "\n".join([summary, *pairs])


def _split(outcome: Decision | Exception | None) -> tuple[tuple[str, ...] | None, str | None]:
    """The targets, and the rule or the error."""
    if isinstance(outcome, Exception):
        return None, str(outcome) if isinstance(outcome, ConditionError) else type(outcome).__name__
    return (None, None) if outcome is None else (tuple(outcome), outcome.rule)


def _effect(outcome: Decision | Exception | None, request: RoutingRequest) -> frozenset[str] | None:
    """The nodes that the message goes to; `None` if it fails."""
    if isinstance(outcome, Exception):
        return None
    return frozenset(request.proposed_names if outcome is None else outcome)
