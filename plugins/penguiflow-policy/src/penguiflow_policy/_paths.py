"""The paths of payloads that rules name, in `match`, in `by` and in conditions; and those of them that lead nowhere.

Rules: a path is wrong only if it is for every router that its rule is asked by. Where one of these gets nobody knows
what, or isn't known itself, nothing is said.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from penguiflow_policy import _guard as guard
from penguiflow_policy._conditions import Fault, place_of
from penguiflow_policy._problems import Problem, meant, shown
from penguiflow_policy._reading import placed
from penguiflow_policy._rules import Rule, Rules
from penguiflow_policy._tree import Document, Path
from penguiflow_policy._types import Gap, apart_from_chunks

PAYLOAD = "payload"


class PayloadPath(NamedTuple):
    """A path of the payload, and where a rule names it.

    Attributes:
        steps: The names after `payload`.
        json_from: The step from which on the payload is seen as JSON; `None` if it never is.
        path: Where it stands in the policy.
        source: The condition that it stands in, if it does.
        at: Where in the condition each step is.
    """

    steps: tuple[str, ...]
    json_from: int | None
    path: Path
    source: str = ""
    at: tuple[int, ...] = ()

    def problem(self, document: Document, text: str, place: int) -> Problem:
        """A problem with one of the steps."""
        if self.source:
            return placed(document, Fault(text, *place_of(self.source, self.at[place])), self.path)
        return document.problem(text, self.path, key="match" in self.path)


def payload_paths(rules: Rules, rule: Rule, path: Path, document: Document) -> Iterator[PayloadPath]:
    """The paths that a rule names, in their order."""
    for name in rule.match:
        if steps := _below_payload(name):
            yield PayloadPath(steps, None, (*path, "match", name))
    if rule.condition is not None:
        json_from = 0 if rules.conditions.shows_all_of(PAYLOAD) else 1
        source = rule.condition.source
        for tokens in guard.paths(source, PAYLOAD):
            steps, at = tuple(token.text for token in tokens), tuple(token.at for token in tokens)
            yield PayloadPath(steps, json_from, (*path, "when"), source, at)
    if steps := _below_payload(document.at((*path, "by"))):
        yield PayloadPath(steps, None, (*path, "by"))


def _below_payload(name: Any) -> tuple[str, ...]:
    first, *steps = name.split(".") if isinstance(name, str) else ("",)
    return tuple(steps) if first == PAYLOAD else ()


def dead_end(named: PayloadPath, gap: Gap, router: str, payloads: Sequence[Any]) -> str:
    """The sentence about a path that leads nowhere."""
    where = ".".join((PAYLOAD, *named.steps[: gap.place]))
    kinds = [getattr(kind, "__name__", str(kind)) for kind in apart_from_chunks(payloads)]
    listed = " or ".join(kinds[:3]) + (f" or {len(kinds) - 3} more" if len(kinds) > 3 else "")
    step = named.steps[gap.place]
    if not gap.known:
        return f"{where} has no fields, and no {shown(step)}, where router {router!r} gets {listed}"
    return f"{where} has no {shown(step)} where router {router!r} gets {listed}{meant(step, gap.known)}"
