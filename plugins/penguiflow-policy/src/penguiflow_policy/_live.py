"""The rules in use: read, checked against the flows they are used in, and replaced in one step.

Rules: the rules in use are one value. New ones are read, checked and compiled beside the old ones, against every flow
that the policy was built into, and put in their place at once; if anything is wrong with them, the old ones stay.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from penguiflow import Graph
from penguiflow_policy._checks import Asked, Router, checked, routers_of
from penguiflow_policy._health import EVENTS
from penguiflow_policy._problems import PolicyError, Problem
from penguiflow_policy._reading import examined
from penguiflow_policy._rules import Rules
from penguiflow_policy._sources import Source
from penguiflow_policy._tree import Document

log = logging.getLogger("penguiflow_policy")

MOST_GRAPHS = 100


class Version(NamedTuple):
    """The rules in use, and the document that they were read from."""

    rules: Rules
    document: Document


@dataclass(frozen=True, slots=True)
class PolicyChange:
    """The rules were changed, or weren't because something is wrong with the new ones.

    Attributes:
        kind: `reloaded` or `refused`.
        version: The version in use now.
        previous: The one before; the same if the new one was refused, or if after that the old one is back.
        problems: What is wrong with the new one.
    """

    kind: str
    version: str
    previous: str
    problems: tuple[Problem, ...] = ()


class Live:
    """Rules that can be replaced.

    Args:
        source: Where they are read from.
        environ: What `${NAME}` is looked up in.
        observe: Whether errors are counted, whatever the rules say.
    """

    def __init__(self, source: Source, environ: Mapping[str, str], observe: bool) -> None:
        self._source = source
        self._environ = environ
        self._graphs: list[Asked] = []
        self._subscribers: list[Callable[[PolicyChange], None]] = []
        self._complaint = ""
        self._counting: bool | None = None
        self._version = self._read()
        self._counting = observe or bool(self.rules.windows)
        self.event_types: tuple[str, ...] = EVENTS if self._counting else ()

    @property
    def in_use(self) -> Version:
        """The rules in use, and the document that they were read from."""
        return self._version

    @property
    def rules(self) -> Rules:
        """The rules in use."""
        return self._version.rules

    @property
    def version(self) -> str:
        """12 hexadecimal digits that change with what the rules say. What variables hold isn't part of it."""
        return self._version.rules.version

    def reload(self) -> bool:
        """Read the rules again, now; whether they have changed.

        Raises:
            PolicyError: they can't be used; the old ones stay.
        """
        try:
            return self._swap(self._read())
        except PolicyError as exc:
            self._refuse(exc)
            raise

    def replace(self, other: Live) -> bool:
        """Use the rules of another policy from now on; whether they differ.

        Raises:
            PolicyError: they don't suit the flows that this policy was built into; the old ones stay.
        """
        try:
            return self._swap(self._suited(other.in_use))
        except PolicyError as exc:
            self._refuse(exc)
            raise

    def subscribe(self, callback: Callable[[PolicyChange], None]) -> Callable[[], None]:
        """Call a function with each `PolicyChange` from now on; returns what ends that."""
        self._subscribers.append(callback)
        return lambda: self._subscribers.remove(callback) if callback in self._subscribers else None

    def _read(self) -> Version:
        document = self._source.load()
        rules, problems, unsure = examined(document, self._environ)
        if problems or rules is None:
            more = [] if rules is None else self._misfits(Version(rules, document), unsure)
            raise PolicyError(list(dict.fromkeys([*problems, *more])))
        return self._suited(Version(rules, document))

    def _misfits(self, version: Version, unsure: Collection[Any] = ()) -> list[Problem]:
        """What keeps a version from being used in the flows that the policy was built into."""
        rules, document = version
        graphs = self._graphs  # each as when it was built: after those before it, and none of the later
        return [p for i, asked in enumerate(graphs) for p in checked(rules, document, asked, graphs[:i], unsure)]

    def _suited(self, version: Version) -> Version:
        """The version, if every flow can be routed with it."""
        rules, document = version
        problems = self._misfits(version)
        if rules.windows and self._counting is False:
            place = next(i for i, rule in enumerate(rules.rules) if rule.fallback is not None)
            text = "a fallback needs error rates, and this policy began without: start it with observe = true"
            problems.append(document.problem(text, ("rules", place, "fallback"), key=True))
        if problems:
            raise PolicyError(list(dict.fromkeys(problems)))
        return version

    def _swap(self, version: Version) -> bool:
        previous, was_refused = self.version, bool(self._complaint)
        self._complaint = ""
        self._version = version
        self._changed()
        changed = self.version != previous
        if changed:
            log.info("policy %s: version %s in place of %s", self._source.name, self.version, previous)
        elif was_refused:
            log.info("policy %s: nothing is wrong any more, and version %s stays", self._source.name, previous)
        if changed or was_refused:
            self._tell(PolicyChange("reloaded", self.version, previous))
        return changed

    def _refuse(self, error: PolicyError) -> None:
        if str(error) == self._complaint:
            return  # said already
        self._complaint = str(error)
        log.error(
            "policy %s: the new rules can't be used, version %s stays: %s", self._source.name, self.version, error
        )
        self._report(error)
        self._tell(PolicyChange("refused", self.version, self.version, error.problems))

    def _tell(self, change: PolicyChange) -> None:
        for callback in list(self._subscribers):
            try:
                callback(change)
            except Exception:
                log.exception("policy %s: a subscriber raised", self._source.name)

    def check_graph(self, graph: Graph, routers: Sequence[str] | None = None) -> list[str]:
        """What keeps the policy from being used in a flow; asked when the flow is built. New rules have to suit it too.

        Args:
            graph: The flow's.
            routers: The routers that have it as their `policy=`; `None` if it is asked about all.
        """
        rules, document = self._version
        problems = checked(rules, document, (graph, routers), self._graphs)
        if not problems and (graph, routers) not in self._graphs:
            self._graphs = [*self._graphs, (graph, routers)][-MOST_GRAPHS:]
        return [str(problem) for problem in problems]

    def _routers(self) -> list[Router]:
        """The routers of every flow that the policy was built into."""
        return [router for graph, _ in self._graphs for router in routers_of(graph)]

    def _changed(self) -> None:
        """The rules were replaced."""

    def _report(self, error: PolicyError) -> None:
        """New rules were refused."""
