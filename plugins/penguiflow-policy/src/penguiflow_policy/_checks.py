"""A policy against a flow's graph: routers that aren't there, nodes that a router doesn't lead to, paths of the payload
that nothing it gets can have.

Rules: a flow without routers, or one that the policy doesn't speak of, is nothing to complain about: a deployment has
one policy and many flows. Where a rule doesn't say which router it means, its nodes have to suit all of them, and its
paths one of them.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple

from penguiflow import ROOKERY, Graph
from penguiflow_policy._incoming import NOBODY_KNOWS, Payloads, incoming
from penguiflow_policy._paths import PayloadPath, dead_end, payload_paths
from penguiflow_policy._problems import MOST, Problem, meant
from penguiflow_policy._rules import DROP, KEEP, Rule, Rules
from penguiflow_policy._tree import Document, Path
from penguiflow_policy._types import Gap, gap

_ASIDE = ("default", "description", "on_error", "rules", "timezone")  # what doesn't say which routers are meant
Asked = tuple[Graph, Sequence[str] | None]  # a graph, and those of its routers that ask the policy; `None` for all


class Router(NamedTuple):
    """A router, the nodes that it leads to, and the types of payload that it gets; none if nobody knows."""

    flow: str
    name: str
    targets: tuple[str, ...]
    payloads: Payloads = NOBODY_KNOWS


def routers_of(graph: Graph) -> Iterator[Router]:
    """The routers of a flow, of its subflows and of the playbooks that it declares, in their order."""
    for node in graph.nodes:
        if node.kind == "router":
            yield Router(graph.name, node.name, graph.successors(node.name), incoming(graph, node.name))
        if node.subgraph is not None:
            yield from routers_of(node.subgraph)
        for playbook in node.playbooks:
            yield from routers_of(playbook)


def checked(
    rules: Rules, document: Document, asked: Asked, before: Sequence[Asked] = (), unsure: Collection[Any] = ()
) -> list[Problem]:
    """What keeps the rules from being used in a flow.

    Args:
        rules: The rules.
        document: Where they stand.
        asked: The flow.
        before: The flows that they are used in already.
        unsure: Keys, and the places of rules, that aren't as they were meant: nothing is said of what hangs on them.
    """
    spoken_of = list(_spoken_of(rules, asked))
    if not spoken_of or any(isinstance(key, str) and key not in _ASIDE for key in unsure):
        return []
    check = _Check(rules, document, spoken_of, asked[0].name, before, unsure)
    return list(itertools.islice(check.problems(), MOST + 1))


def _spoken_of(rules: Rules, asked: Asked) -> Iterator[Router]:
    graph, only = asked
    for router in routers_of(graph):
        if (only is None or router.name in only) and (rules.flows is None or router.flow in rules.flows):
            yield router


class _Check:
    def __init__(
        self,
        rules: Rules,
        document: Document,
        routers: Sequence[Router],
        flow: str,
        before: Sequence[Asked],
        unsure: Collection[Any],
    ) -> None:
        elsewhere = [Router("", name, targets) for name, targets in rules.elsewhere.items()]
        self._rules = rules
        self._document = document
        self._everywhere: list[Router] = [*routers, *elsewhere]
        self._routers = [r for r in self._everywhere if rules.routers is None or r.name in rules.routers]
        self._flow = flow
        self._before = before
        self._unsure = unsure

    def problems(self) -> Iterator[Problem]:
        known = [router.name for router in self._everywhere]
        for place, name in enumerate(self._rules.routers or ()):
            if name not in known:
                yield self._unknown(name, known, ("routers", place))
        for place, name in enumerate(self._rules.default):
            if name not in (KEEP, DROP):
                path: Path = ("default", place)
                yield from self._lead_to(name, self._routers, path, "the default")
        for place, rule in enumerate(self._rules.rules):
            if place not in self._unsure:
                yield from self._rule(rule, ("rules", place))

    def _unknown(self, name: object, known: Sequence[str], path: Path) -> Problem:
        written = self._written(path)
        shown = self._shown(name, written)
        return self._document.problem(f"flow {self._flow!r} has no router {shown}{meant(name, known)}", written)

    def _rule(self, rule: Rule, path: Path) -> Iterator[Problem]:
        known = [router.name for router in self._routers]
        for place, name in enumerate(rule.match.get("node", ())):
            if name not in known:
                yield self._unknown(name, known, (*path, "match", "node", place))
        routers = [router for router in self._routers if _asks(router, rule)]
        for place, name in enumerate(rule.match.get("proposed", ())):
            yield from self._lead_to(name, routers, (*path, "match", "proposed", place), f"rule {rule.name!r}")
        for name, where in _named(rule):
            yield from self._lead_to(name, routers, (*path, *where), f"rule {rule.name!r}")
        yield from self._dead_ends(rule, path, routers)

    def _dead_ends(self, rule: Rule, path: Path, routers: Sequence[Router]) -> Iterator[Problem]:
        told = set()
        for named in payload_paths(self._rules, rule, path, self._document):
            found = _gap(named, routers)
            if found is None or self._leads_elsewhere(named, rule):
                continue
            beginning = (named.path, named.steps[: found.place + 1])
            if beginning not in told:
                told.add(beginning)
                text = dead_end(named, found, routers[0].name, routers[0].payloads)
                yield named.problem(self._document, text, found.place)

    def _leads_elsewhere(self, named: PayloadPath, rule: Rule) -> bool:
        """Whether the path may be there in another flow that the rule is for, be it known or only named."""
        others = [r for asked in self._before for r in _spoken_of(self._rules, asked)]
        flows = {router.flow for router in (*self._everywhere, *others)}
        wanted = [flow for flow in rule.match.get("flow", self._rules.flows or ()) if flow not in flows]
        if any(self._rules.flows is None or flow in self._rules.flows for flow in wanted):
            return True
        chosen = [r for r in others if self._rules.routers is None or r.name in self._rules.routers]
        asking = [r for r in chosen if _asks(r, rule)]
        return bool(asking) and _gap(named, asking) is None

    def _lead_to(self, name: object, routers: Sequence[Router], path: Path, who: str) -> Iterator[Problem]:
        missing = [router for router in routers if name not in (*router.targets, ROOKERY)]
        if not missing:
            return
        router = missing[0]
        written = self._written(path)
        text = f"router {router.name!r} doesn't lead to {self._shown(name, written)}{meant(name, router.targets)}"
        if len(missing) < len(routers):
            text += f" (if {who} isn't about {router.name!r}, say so: match: {{node: ...}})"
        yield self._document.problem(text, written)

    def _written(self, path: Path) -> Path:
        """The path without the place in a list that is written as a single value."""
        return path[:-1] if isinstance(path[-1], int) and not isinstance(self._document.at(path[:-1]), list) else path

    def _shown(self, name: object, path: Path) -> str:
        """A name as it is written: never the value of a variable."""
        written = self._document.at(path)
        return repr(written) if isinstance(written, str) and "${" in written else repr(name)


def _gap(named: PayloadPath, routers: Sequence[Router]) -> Gap | None:
    """Where the path ends for every one of the routers, as the first of them sees it."""
    found = [gap(router.payloads, named.steps, named.json_from) for router in routers]
    return found[0] if found and None not in found else None


def _asks(router: Router, rule: Rule) -> bool:
    nodes, flows = rule.match.get("node"), rule.match.get("flow")
    return (nodes is None or router.name in nodes) and (flows is None or not router.flow or router.flow in flows)


def _named(rule: Rule) -> Iterator[tuple[str, Path]]:
    """The nodes that a rule names, and where in it."""
    key: Path = ("canary", "to") if rule.kind == "canary" else (rule.kind,)
    for place, name in enumerate(rule.targets):
        yield name, (*key, place)
    for name, _ in rule.arms:
        yield name, ("split", name)
    for place, name in enumerate(rule.fallback.to if rule.fallback else ()):
        yield name, ("fallback", "to", place)
