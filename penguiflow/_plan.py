"""What `create()` makes of a graph, before it runs: the checked wiring, the options, and the stations of a run.

Rules: a plan never changes, so one flow can run many times and stand in other flows.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

from penguiflow._dispatch import Dispatch
from penguiflow._graph import Around, Graph, described
from penguiflow._host import PluginSet
from penguiflow._node import Node
from penguiflow._registry import ModelRegistry
from penguiflow._routing import route
from penguiflow._run import Kernel, Run
from penguiflow._station import Station
from penguiflow._wiring import Wiring

Resources = Callable[[], AbstractAsyncContextManager[Any]]


def opened(resources: Resources) -> AbstractAsyncContextManager[Any]:
    """The context manager that a `resources=` factory makes.

    Raises:
        TypeError: it makes something else.
    """
    made = resources()
    if not (hasattr(made, "__aenter__") and hasattr(made, "__aexit__")):
        raise TypeError(f"resources= takes a function that returns an async context manager, not {made!r:.80}")
    return made


def planned(playbook: Any) -> tuple[Plan, ModelRegistry]:
    """What a playbook is to run: a flow's plan, and the models it was given.

    Raises:
        TypeError: it is neither a flow nor makes one.
    """
    made, registry = playbook, None
    if not hasattr(made, "plan") and callable(made):
        made = made()
        if inspect.isawaitable(made):
            getattr(made, "close", lambda: None)()
            raise TypeError("a playbook factory is a plain function that returns a flow: write `def`, not `async def`")
    if isinstance(made, tuple) and len(made) == 2:
        made, registry = made
    if registry is not None and not isinstance(registry, ModelRegistry):
        raise TypeError(f"a playbook's registry is a ModelRegistry, not {registry!r:.80}")
    plan = getattr(made, "plan", None)
    if not isinstance(plan, Plan):
        raise TypeError(f"a playbook is a flow or a function that returns one, not {made!r:.80}")
    return plan, registry or ModelRegistry()


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Plan:
    """A flow at rest."""

    name: str
    wiring: Wiring
    plugins: PluginSet
    dispatch: Dispatch
    queue_maxsize: int
    max_traces: int
    emit_errors: bool
    resources: Resources | None

    def graph(self, registry: ModelRegistry, prefix: str = "", around: Around | None = None) -> Graph:
        """The public graph; `around` is what an outer flow tells one that stands in it."""
        if around is None:
            around = Around(tuple(impl.plugin for impl in self.dispatch.impls["resolve_route"]), planned)
        return described(self.wiring, self.name, registry, prefix, around)

    def names(self, nodes: Any) -> tuple[str, ...]:
        """The names of one or several nodes, given as nodes or names.

        Raises:
            ValueError: there is no such node.
        """
        wanted = [nodes] if isinstance(nodes, str | Node) else list(nodes)
        known = [node.name for node in self.wiring.nodes]
        names = tuple(node.name if isinstance(node, Node) else node for node in wanted)
        for name in names:
            if name not in known:
                raise ValueError(f"flow {self.name!r} has no node {name!r}: it has {', '.join(known)}")
        return names

    def stations(self, registry: ModelRegistry, prefix: str = "") -> tuple[Station, ...]:
        """The nodes in their places.

        Raises:
            ValueError: the registry names a node that isn't there.
        """
        wiring, path = self.wiring, f"{prefix}{self.name}"
        names = [node.name for node in wiring.nodes]
        for name in registry.names:
            if name not in names:
                raise ValueError(f"the registry has models for {name!r}, but {self.name!r} has {', '.join(names)}")
        stations = tuple(
            Station(node, index, self.name, f"{path}/{node.name}", *registry.models(node))
            for index, node in enumerate(wiring.nodes)
        )
        for index, station in enumerate(stations):
            successors = tuple(stations[i] for i in wiring.successors[index])
            station.connect(successors, wiring.predecessors[index], wiring.cycles.get(index))
            if station.router is not None:
                station.call = route
        for station in stations:
            station.connect_chunks()
        return stations

    def start(
        self, kernel: Kernel, registry: ModelRegistry, dispatch: Dispatch, parent: Run | None = None, prefix: str = ""
    ) -> Run:
        """The state of a new run; `parent` is the run that a subflow stands in."""
        stations = self.stations(registry, prefix)
        return Run(
            self.name,
            stations,
            tuple(stations[i] for i in self.wiring.entries),
            dispatch,
            kernel,
            queue_maxsize=self.queue_maxsize,
            max_traces=self.max_traces,
            emit_errors=self.emit_errors and parent is None,
            parent=parent,
        )
