"""A policy against a flow's graph: routers that aren't there, nodes that a router doesn't lead to.

Rules: a flow without routers, or one that the policy doesn't speak of, is nothing to complain about: a deployment has
one policy and many flows. Where a rule doesn't say which router it means, it has to suit all of them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from penguiflow import ROOKERY, Graph
from penguiflow_policy._problems import MOST, Problem, meant
from penguiflow_policy._rules import DROP, KEEP, Rule, Rules
from penguiflow_policy._tree import Document, Path


class Router(NamedTuple):
    """A router, and the nodes that it leads to."""

    flow: str
    name: str
    targets: tuple[str, ...]


def routers_of(graph: Graph) -> Iterator[Router]:
    """The routers of a flow, of its subflows and of the playbooks that it declares, in their order."""
    for node in graph.nodes:
        if node.kind == "router":
            yield Router(graph.name, node.name, graph.successors(node.name))
        if node.subgraph is not None:
            yield from routers_of(node.subgraph)
        for playbook in node.playbooks:
            yield from routers_of(playbook)


def checked(rules: Rules, document: Document, graph: Graph, only: Sequence[str] | None = None) -> list[Problem]:
    """What keeps the rules from being used in a flow; of the graph's routers perhaps only some ask them."""
    routers = [r for r in routers_of(graph) if only is None or r.name in only]
    spoken_of = [r for r in routers if rules.flows is None or r.flow in rules.flows]
    if not spoken_of:
        return []
    return list(itertools.islice(_Check(rules, document, spoken_of, graph.name).problems(), MOST + 1))


class _Check:
    def __init__(self, rules: Rules, document: Document, routers: Sequence[Router], flow: str) -> None:
        elsewhere = [Router("", name, targets) for name, targets in rules.elsewhere.items()]
        self._rules = rules
        self._document = document
        self._everywhere: list[Router] = [*routers, *elsewhere]
        self._routers = [r for r in self._everywhere if rules.routers is None or r.name in rules.routers]
        self._flow = flow

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
