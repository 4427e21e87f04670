"""From a document to rules: everything that can be found out without a flow is found out here, all at once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import UTC
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from penguiflow_policy import _json, _toml, _yaml
from penguiflow_policy._conditions import Condition, Conditions, Fault
from penguiflow_policy._environ import filled
from penguiflow_policy._fields import getter, is_key, known
from penguiflow_policy._overlap import unreachable
from penguiflow_policy._problems import MOST, Problem, meant, shown
from penguiflow_policy._rules import DEFAULT, DROP, KEEP, Fallback, Rule, Rules
from penguiflow_policy._schema import ACTIONS, FIELDS, KEYS, PolicyModel, RuleModel, shaped, without
from penguiflow_policy._tree import Document, Path

READERS = {".yaml": _yaml.read, ".yml": _yaml.read, ".json": _json.read, ".toml": _toml.read}
_TEXT = ("tenant", "topic", "node", "flow", "trace_id", "proposed")
_WHOLE = ("priority", "hour")


class Examined(NamedTuple):
    """What a document holds.

    Attributes:
        rules: Its rules, without what is broken of them; `None` if hardly anything has its form.
        problems: What is wrong, in the order in which it stands there.
        unsure: Keys, and the places of rules, that aren't as they were meant.
    """

    rules: Rules | None
    problems: list[Problem]
    unsure: frozenset[Any] = frozenset()


def examined(document: Document, environ: Mapping[str, str]) -> Examined:
    """The rules that a document holds, and everything that can be found wrong with it. What is broken doesn't keep the
    rest from being looked at, unless it is the version of the format.
    """
    data, wrong = filled(document, environ)
    model, misshapen = shaped(document, data)
    told = {problem.path for _, problem in wrong}  # a variable that isn't set: what stands there has no form either
    wrong += [(path, problem) for path, problem in misshapen if problem.path not in told]
    problems, unsure = [problem for _, problem in wrong], frozenset[Any]()
    if wrong:
        paths = {path for path, _ in [*wrong, *misshapen]}
        model, unsure = (None, unsure) if paths & {(), ("version",)} else without(data, paths)
    if model is None:
        return Examined(None, _in_order(problems))
    rules, more, unclear = _Compiler(document, unsure).rules(model)
    return Examined(rules, _in_order([*problems, *more]), unclear)


def _in_order(problems: Iterable[Problem]) -> list[Problem]:
    return sorted(problems, key=lambda p: (p.line or 0, p.column or 0))


def version_of(data: Any) -> str:
    """12 hexadecimal digits for what a policy says: comments, and YAML or JSON, make no difference."""
    return hashlib.sha256(json.dumps(data, sort_keys=True, default=str).encode("utf-8", "surrogatepass")).hexdigest()[
        :12
    ]


class _Compiler:
    def __init__(self, document: Document, unsure: frozenset[Any]) -> None:
        self._document = document
        self._conditions = Conditions()
        self._problems: list[Problem] = []
        self._unsure: set[Any] = set(unsure)

    def rules(self, model: PolicyModel) -> tuple[Rules, list[Problem], frozenset[Any]]:
        broken = frozenset(self._unsure)
        self._names(model)
        zone = UTC if model.timezone == "UTC" else ZoneInfo(model.timezone)
        made = Rules(
            "" if broken else version_of(self._document.data),
            tuple(self._rule(place, rule, model, zone) for place, rule in enumerate(model.rules)),
            self._conditions,
            None if model.flows is None else tuple(model.flows),
            None if model.routers is None else tuple(model.routers),
            {name: tuple(targets) for name, targets in model.elsewhere.items()},
            tuple(model.default or (KEEP,)),
            zone,
        )
        if len(made.default) > 1:
            for word in {KEEP, DROP} & set(made.default):
                self._wrong(f"{word!r} stands alone: leave the other names out", ("default",))
        if not (self._problems or broken):
            for place, text in unreachable(made.rules):
                self._wrong(text, ("rules", place))
        return made, self._problems, frozenset(self._unsure)

    def _wrong(self, text: str, path: Path, key: bool = False) -> None:
        if len(self._problems) <= MOST:
            self._problems.append(self._document.problem(text, path, key))

    def _names(self, model: PolicyModel) -> None:
        seen: dict[str, int] = {}
        for place, rule in enumerate(model.rules):
            path: Path = ("rules", place, "name")
            if rule.name in seen:
                self._wrong(f"rule {seen[rule.name] + 1} is called {rule.name!r} too: give each its own name", path)
            if rule.name == DEFAULT:
                self._wrong(f"{DEFAULT!r} is what decisions of no rule are called: give it another name", path)
            seen.setdefault(rule.name, place)

    def _rule(self, place: int, rule: RuleModel, model: PolicyModel, zone: Any) -> Rule:
        path: Path = ("rules", place)
        whole = place not in self._unsure
        kind = self._kind(rule, path, whole)
        self._match(rule, path)
        if whole:
            self._shares(rule, kind, path)
        return Rule(
            name=rule.name,
            kind=kind,
            match={name: tuple(values) for name, values in rule.match.items()},
            condition=self._condition(rule, path),
            skips=(rule.on_error or model.on_error) == "skip",
            targets=_targets(rule),
            arms=tuple(rule.split.items()) if rule.split else (),
            percent=rule.canary.percent if rule.canary else 0.0,
            by=None if rule.by is None or not is_key(rule.by) else getter(rule.by, zone),
            salt=rule.name if rule.salt is None else rule.salt,
            fallback=_fallback(rule),
        )

    def _kind(self, rule: RuleModel, path: Path, whole: bool) -> str:
        kinds = [action for action in ACTIONS if getattr(rule, action) is not None]
        if not kinds and whole:
            self._wrong(f"rule {rule.name!r} does nothing: give it one of {', '.join(ACTIONS)}", path)
        for extra in kinds[1:]:
            self._wrong(
                f"rule {rule.name!r} has {kinds[0]} already: make {extra} a rule of its own", (*path, extra), True
            )
        return kinds[0] if kinds else "abstain"

    def _match(self, rule: RuleModel, path: Path) -> None:
        for name, values in rule.match.items():
            here: Path = (*path, "match", name)
            if not known(name):
                hint = meant(name, (*FIELDS, "meta.x", "payload.x"))
                self._wrong(f"there is no field {shown(name)}{hint}", here, key=True)
                self._unsure.add(path[1])
            listed = isinstance(self._document.at(here), list)
            for number, value in enumerate(values):
                at: Path = (*here, number) if listed else here
                wrong = _misfit(name, value, self._document.at(at))
                if wrong:
                    self._wrong(wrong, at)

    def _shares(self, rule: RuleModel, kind: str, path: Path) -> None:
        for word in ("by", "salt"):
            if getattr(rule, word) is not None and kind not in ("split", "canary"):
                self._wrong(f"{word} belongs to split and canary, and this rule has {kind}", (*path, word), True)
        if rule.by is not None and not is_key(rule.by):
            self._wrong(
                f"a share can't hold on to {shown(rule.by)}{meant(rule.by, (*KEYS, 'meta.x', 'payload.x'))}",
                (*path, "by"),
            )
        if rule.fallback is not None and kind not in ("route", "split", "canary"):
            self._wrong(
                f"fallback belongs to route, split and canary, and this rule has {kind}", (*path, "fallback"), True
            )
        if rule.split is not None:
            total = sum(rule.split.values())
            if abs(total - 100) > 1e-6:
                least = ", ".join(f"{name} {weight:g}" for name, weight in rule.split.items())
                written = self._document.at((*path, "split"))
                secret = any(isinstance(value, str) for value in written.values())
                told = "" if secret else f" ({least[:200]})"
                amount = "don't add up to 100" if secret else f"add up to {total:g}, not to 100"
                self._wrong(f"the weights {amount}{told}", (*path, "split"), True)

    def _condition(self, rule: RuleModel, path: Path) -> Condition | None:
        if rule.when is None:
            return None
        found = self._conditions.compiled(rule.when)
        if isinstance(found, Condition):
            return found
        self._problems.append(placed(self._document, found, (*path, "when")))
        return None


def _targets(rule: RuleModel) -> tuple[str, ...]:
    names = rule.route or rule.add or rule.remove or (rule.canary.to if rule.canary else None)
    return tuple(names or ())


def _fallback(rule: RuleModel) -> Fallback | None:
    given = rule.fallback
    return None if given is None else Fallback(tuple(given.to), given.error_rate, given.window_s, given.min_runs)


def _misfit(name: str, value: Any, written: Any) -> str:
    """What is wrong with a value of a field, shown as it is written; empty if the field may have it."""
    if name in _TEXT and not isinstance(value, str) and not (value is None and name == "topic"):
        return f"{name} is text, and this is {shown(written)}: put it in quotes"
    if name in _WHOLE and (isinstance(value, bool) or not isinstance(value, int)):
        return f"{name} is a whole number, and this is {shown(written)}"
    if name == "hour" and isinstance(value, int) and not 0 <= value <= 23:
        return f"hour goes from 0 to 23, and this is {shown(written)}"
    return ""


def placed(document: Document, fault: Fault, path: Path) -> Problem:
    """A problem within a condition, at its place in the file where the file has it in one piece."""
    mark = document.mark(path)
    whole = document.problem(f"{fault.text} (column {fault.column} of the condition)", path)
    if mark is None or path not in document.marks or mark.style == ">":
        return whole
    line, column = mark.line + fault.line - 1, fault.column
    if mark.style == "|":
        line += 1
        first = next(row for row in document.text.split("\n")[mark.line :] if row.strip())
        column += len(first) - len(first.lstrip())
    elif fault.line == 1:
        column += mark.column - 1 + len(mark.style)
    else:
        return whole
    return Problem(fault.text, whole.source, whole.path, line, column)
