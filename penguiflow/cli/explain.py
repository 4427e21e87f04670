"""`penguiflow plugins explain`: for one flow, who is called at each hook, in which order, and what a call costs.

Rules: the order shown is the one that the flow froze when it was built. Nothing runs but the hooks themselves, with
made-up objects.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from penguiflow import EVENT_TYPES, Node, PenguiFlow
from penguiflow._impls import Impl
from penguiflow.cli.costs import Cost, cost
from penguiflow.cli.speech import duration, table

TIERS = ("named policy", "given to create()", "loads by itself")


@dataclass(frozen=True, slots=True)
class Asked:
    """One implementation of a hook, in its place."""

    plugin: str
    distribution: str | None
    tier: str
    types: tuple[str, ...] | None
    microseconds: float | None
    error: str | None


@dataclass(frozen=True, slots=True)
class Router:
    """Who decides at a router: each in its turn, the last one that has an opinion wins."""

    name: str
    predicate: str
    policy: str | None
    plugins: tuple[str, ...]


@dataclass(slots=True)
class Explained:
    """The hooks of one flow."""

    flow: str
    hooks: dict[str, list[Asked]] = field(default_factory=dict)
    unheard: tuple[str, ...] = ()
    logged: bool = False
    routers: list[Router] = field(default_factory=list)

    def to_document(self) -> dict[str, Any]:
        """The same for `--json`."""
        return asdict(self)

    def to_text(self) -> str:
        """The same for a person."""
        parts = [f"{hook}\n{_indented(_table(hook, asked))}" for hook, asked in self.hooks.items()]
        parts.append(_unheard(self.unheard, self.logged))
        parts += [f"router {r.name}: {', then '.join(_deciders(r))}" for r in self.routers]
        return "\n\n".join(parts)


def explained(flow: PenguiFlow, measuring: bool = True) -> Explained:
    """Who is called at each hook of this flow."""
    dispatch = flow.plan.dispatch
    told = Explained(flow.name, logged=logging.getLogger("penguiflow.events").isEnabledFor(logging.DEBUG))
    for hook, impls in dispatch.impls.items():
        told.hooks[hook] = [_asked(flow, hook, impl, measuring) for impl in impls]
    told.unheard = tuple(kind for kind in EVENT_TYPES if kind not in dispatch.listeners)
    told.routers = list(_routers(flow, tuple(impl.plugin for impl in dispatch.impls["resolve_route"])))
    return told


def _asked(flow: PenguiFlow, hook: str, impl: Impl, measuring: bool) -> Asked:
    tier = next(i for i, tier in enumerate(flow.plan.plugins.tiers) if any(p.instance is impl.owner for p in tier))
    records = [r for r in flow.plugins if r.name == impl.plugin and (r.group is None) == (tier == 1)]
    found = cost(impl, hook, flow) if measuring else Cost()
    types = None if hook != "on_event" or impl.types == EVENT_TYPES else impl.types
    distribution = records[0].distribution if records else None
    return Asked(impl.plugin, distribution, TIERS[tier], types, found.microseconds, found.error)


def _routers(flow: PenguiFlow, plugins: tuple[str, ...], prefix: str = "") -> Iterator[Router]:
    """The routers of a flow, and of the flows inside it: those ask the plugins of the outermost."""
    for node, shown in zip(flow.plan.wiring.nodes, flow.graph.nodes, strict=True):
        if shown.kind == "router":
            yield _router(node, f"{prefix}{node.name}", plugins)
        elif shown.kind == "subflow":
            role: Any = node.role
            yield from _routers(role.flow, plugins, f"{prefix}{node.name}/")


def _router(node: Node[..., Any], name: str, plugins: tuple[str, ...]) -> Router:
    role: Any = node.role
    predicate = "all successors" if role.propose is None else f"predicate {_name(role.propose)}"
    policy = None if role.policy is None else _name(role.policy)
    return Router(name, "the type of the payload" if role.by_type else predicate, policy, plugins)


def _name(thing: Any) -> str:
    name: str = getattr(thing, "__qualname__", None) or type(thing).__qualname__
    return name


def _deciders(router: Router) -> Iterator[str]:
    yield router.predicate
    if router.policy is not None:
        yield f"policy {router.policy}"
    if router.plugins:
        yield f"the plugins {', '.join(router.plugins)} (the first answer wins)"


def _unheard(kinds: tuple[str, ...], logged: bool) -> str:
    if logged:
        return "Every event is logged: the logger penguiflow.events is enabled for DEBUG."
    if not kinds:
        return "Somebody listens to every type of event."
    which = "every type of event" if kinds == EVENT_TYPES else ", ".join(kinds)
    return f"Nobody listens to, and so none is built: {which}"


def _table(hook: str, asked: list[Asked]) -> str:
    if not asked:
        return "nobody"
    head = ["PLUGIN", "DISTRIBUTION", "TIER", *(["EVENTS"] if hook == "on_event" else []), "COST A CALL"]
    return table(head, [_cells(hook, one) for one in asked])


def _cells(hook: str, one: Asked) -> list[str]:
    events = ["all" if one.types is None else " ".join(one.types)] if hook == "on_event" else []
    price = "not measured" if one.microseconds is None else duration(one.microseconds / 1e3)
    return [one.plugin, one.distribution or "-", one.tier, *events, f"raises {one.error}" if one.error else price]


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())
