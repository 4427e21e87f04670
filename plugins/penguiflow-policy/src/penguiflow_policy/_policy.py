"""`Policy`: rules that decide, in a router or as a plugin, and can be changed while they do.

Rules: a decision takes the rules in use once, so it is made by one version, whatever happens meanwhile. Files are
watched, and errors counted, while a flow runs that has the policy, or its companion, as a plugin.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from penguiflow import FlowEvent, Graph, PenguiFlow, RoutingRequest, hookimpl
from penguiflow_policy import _sources as sources
from penguiflow_policy._companion import Companion
from penguiflow_policy._conditions import ConditionError
from penguiflow_policy._decision import Decision
from penguiflow_policy._explain import PolicyExplanation, explained
from penguiflow_policy._health import Health
from penguiflow_policy._live import Live
from penguiflow_policy._problems import PolicyError, UnreadableError
from penguiflow_policy._requests import requested
from penguiflow_policy._rules import Rules
from penguiflow_policy._shadow import Shadow
from penguiflow_policy._watch import Watcher, signature

log = logging.getLogger("penguiflow_policy")


@dataclass(slots=True)
class _Use:
    """A running flow that has a policy.

    Attributes:
        flow: That flow.
        watcher: What watches the policy's file there.
        times: How many of the flow's plugins are the policy: itself, its companion, one that it is the candidate of.
        ending: Watchers of candidates that are none any more.
    """

    flow: PenguiFlow
    watcher: Watcher | None
    times: int = 0
    ending: list[Watcher] = field(default_factory=list)


class Policy(Live):
    """Routing rules. A router's `policy=`, a plugin given to `create`, or one that a deployment names.

    Make one with `from_file`, `from_yaml`, `from_json`, `from_toml`, `from_env` or `from_dict`.

    Args:
        source: Where the rules are read from.
        environ: What `${NAME}` is looked up in; the process's environment by default.
        reload: Whether a file is watched while a flow runs that has this policy as a plugin, or its `companion`.
        observe: Whether error rates are counted; by default if a rule has a fallback.
        force_polling: Look at the file again and again, instead of being told by the system, as some network file
            systems need it.
        clock: The time in epoch seconds, for `hour`.

    Raises:
        PolicyError: the rules can't be used; lists every problem.
    """

    name = "policy"
    api_version = "2"

    def __init__(
        self,
        source: sources.Source,
        *,
        environ: Mapping[str, str] | None = None,
        reload: bool = True,
        observe: bool = False,
        force_polling: bool | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._health = Health()
        self._candidate: Policy | None = None
        self._shadow: Shadow | None = None
        self._end_of_candidate: Callable[[], None] = lambda: None
        self._clock = clock
        self._watch = reload
        self._force_polling = force_polling
        self._uses: dict[int, _Use] = {}
        self._said_unobserved = False
        self._seen = signature(source.path) if source.path else None
        super().__init__(source, os.environ if environ is None else environ, observe)
        self._companion = Companion(self)
        self._count()

    # --- where it comes from ----------------------------------------------------------------------

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], **options: Any) -> Self:
        """A file in YAML, JSON or TOML, as its ending says. Options are those of the class."""
        return cls(sources.from_file(path), **options)

    @classmethod
    def from_yaml(cls, text: str, **options: Any) -> Self:
        """A text in YAML."""
        return cls(sources.from_text(text, ".yaml", "policy"), **options)

    @classmethod
    def from_json(cls, text: str, **options: Any) -> Self:
        """A text in JSON."""
        return cls(sources.from_text(text, ".json", "policy"), **options)

    @classmethod
    def from_toml(cls, text: str, **options: Any) -> Self:
        """A text in TOML."""
        return cls(sources.from_text(text, ".toml", "policy"), **options)

    @classmethod
    def from_env(cls, variable: str, **options: Any) -> Self:
        """A variable of the environment that holds JSON (it begins with `{`), YAML, or the path of a file."""
        environ = options.get("environ")
        return cls(sources.from_env(variable, os.environ if environ is None else environ), **options)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], **options: Any) -> Self:
        """The same as plain data."""
        return cls(sources.from_dict(data), **options)

    # --- deciding ---------------------------------------------------------------------------------

    def select(self, request: RoutingRequest) -> Decision | None:
        """Where the message goes; an empty decision drops it, `None` is no opinion.

        Raises:
            ConditionError: a condition has no answer for this message, and its rule doesn't say `on_error: skip`.
        """
        rules, now = self._version.rules, self._clock()
        if rules.windows and not (self._uses or self._said_unobserved):
            self._warn_unobserved()
        if self._shadow is not None:
            return self._beside(self._shadow, rules, request, now)
        return rules.decide(request, now, self._health)

    def _beside(self, shadow: Shadow, rules: Rules, request: RoutingRequest, now: float) -> Decision | None:
        """The decision, after the candidate was asked too."""
        try:
            decision = rules.decide(request, now, self._health)
        except ConditionError as exc:
            shadow.compare(request, exc, now, self._health)
            raise
        different = shadow.compare(request, decision, now, self._health)
        return decision if decision is None or different is None else decision.beside(different.instead)

    @hookimpl
    def resolve_route(self, request: RoutingRequest) -> Decision | None:
        """The same, as a plugin."""
        return self.select(request)

    def explain(
        self, message: Any, *, node: str | None = None, proposed: Sequence[str] | None = None, flow: str | None = None
    ) -> PolicyExplanation:
        """Where a message would go, and why.

        Args:
            message: A `Message`, or a payload.
            node: The router that asks; by default the first one of the flows that the policy was built into.
            proposed: What stands proposed; by default all that the router leads to.
            flow: The router's flow.
        """
        fitting = [r for r in self._routers() if (node is None or r.name == node) and (flow is None or r.flow == flow)]
        router = fitting[0] if fitting else None
        request = requested(
            message,
            node or (router.name if router else "router"),
            proposed if proposed is not None else router.targets if router else (),
            flow or (router.flow if router else "flow"),
        )
        return self.explain_request(request)

    def explain_request(self, request: RoutingRequest) -> PolicyExplanation:
        """The same for a request, as a router makes it."""
        rules, document = self._version
        return explained(rules, document, request, self._clock(), self._health)

    # --- beside it -----------------------------------------------------------------------------------

    def shadow(self, candidate: Policy | None) -> Shadow | None:
        """Let another policy decide beside this one without effect, or end that with `None`.

        While a flow runs, call it in the flow's event loop: the candidate's file is watched from then on.

        Returns:
            What counts and lists where the two differ.

        Raises:
            ValueError: the candidate is this policy, or has a candidate itself.
        """
        if candidate is self or (candidate is not None and candidate.shadowed_by is not None):
            raise ValueError("a candidate is another policy, which has no candidate itself")
        former, self._candidate = self._candidate, candidate
        self._shadow = None if candidate is None else Shadow(lambda: candidate.rules, self._source.name)
        self._end_of_candidate()
        self._end_of_candidate = lambda: None
        if candidate is not None:
            self._end_of_candidate = candidate.subscribe(lambda change: self._count())
        self._count()
        for use in list(self._uses.values()):
            if candidate is not None:
                candidate.begin(use.flow)
            if former is not None:
                use.ending += former.end(use.flow)
        return self._shadow

    @property
    def shadowed_by(self) -> Policy | None:
        """The candidate that decides beside it, if there is one."""
        return self._candidate

    def _count(self) -> None:
        """Count errors over the windows that rules look at."""
        candidate = self._candidate
        self._health.watch((*self.rules.windows, *(candidate.rules.windows if candidate else ())))

    # --- in a flow --------------------------------------------------------------------------------

    @hookimpl
    def on_event(self, event: FlowEvent) -> None:
        """Count the runs of nodes, for fallbacks."""
        self._health.on_event(event)

    async def start(self, flow: PenguiFlow) -> None:
        """Watch the file from now on."""
        self.begin(flow)
        if self._candidate is not None:
            await self._candidate.start(flow)

    async def stop(self, flow: PenguiFlow) -> None:
        """Watch it no longer."""
        ending = self.end(flow)
        if self._candidate is not None:
            await self._candidate.stop(flow)
        if self._shadow is not None and not self._uses:
            self._shadow.tell()
        for watcher in ending:
            await watcher.stop()

    def begin(self, flow: PenguiFlow) -> None:
        """What `start` does at once: a flow has this policy from now on; once more, if it has it already."""
        use = self._uses.get(id(flow))
        if use is None:
            path = self._source.path if self._watch else None
            watcher = Watcher(path, self._seen, self._reread, self._force_polling) if path else None
            use = self._uses[id(flow)] = _Use(flow, watcher)
        use.times += 1

    def end(self, flow: PenguiFlow) -> list[Watcher]:
        """What `stop` does at once: a flow has it no longer, or once less. Returns the watchers that then end."""
        use = self._uses.get(id(flow))
        if use is None or use.times > 1:
            if use is not None:
                use.times -= 1
            return []
        del self._uses[id(flow)]
        if use.watcher is not None:
            use.watcher.end()
            use.ending.append(use.watcher)
        return use.ending

    async def _reread(self) -> bool:
        """Read the file again; whether it could be read, whatever is in it."""
        try:
            self._swap(await asyncio.to_thread(self._read))
        except PolicyError as exc:
            self._refuse(exc)
            return not isinstance(exc, UnreadableError)
        return True

    def _warn_unobserved(self) -> None:
        self._said_unobserved = True
        log.warning(
            "policy %s has fallbacks, and nobody counts errors for it: give create() its companion, "
            "as in plugins=[policy.companion]",
            self._source.name,
        )

    def _changed(self) -> None:
        self._count()

    def _report(self, error: PolicyError) -> None:
        for use in list(self._uses.values()):
            use.flow.report(self.name, "reload", error)

    def check_graph(self, graph: Graph, routers: Sequence[str] | None = None) -> list[str]:
        """What keeps the policy from being used in a flow; asked when the flow is built. New rules have to suit it too.

        Args:
            graph: The flow's.
            routers: The routers that have it as their `policy=`; `None` if it is asked about all.
        """
        if self._candidate is not None:
            for wrong in self._candidate.check_graph(graph, routers):
                log.warning("the candidate doesn't suit flow %r: %s", graph.name, wrong)
        return super().check_graph(graph, routers)

    @property
    def companion(self) -> Companion:
        """What a flow needs besides, whose router has this as its `policy=`: a plugin that watches the file, counts
        errors, and decides nothing. A policy that is a plugin itself needs none.
        """
        return self._companion

    def __repr__(self) -> str:
        return f"<Policy {self._source.name} {self.version}: {len(self.rules.rules)} rules>"
