"""What travels: payloads that carry a plan of what the nodes do to them.

Rules: a plan is plain data, so hypothesis shrinks it. A load's path tells how it came about, from the way in through
each node that made it of another, so equal paths are the same piece of work.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple

from hypothesis import strategies as st

from penguiflow import WM, FinalAnswer, FlowError, Message, StreamChunk
from tests.model.shapes import FlowShape, pretty, spelled

QUIET = ("sleep", "mark", "emit", "emit", "message", "chunks", "chunks", "none", "spend")
ROUGH = ("fail", "hang", "swallow", "stray", "late", "now", "cancel")
NESTING = ("ask", "playbook")
DECISIONS = ("retry", "replace", "emit", "drop")


class Act(NamedTuple):
    """One thing that a node does: `what`, `n` times or seconds or, for a playbook, its number."""

    what: str
    n: int = 1


@dataclass(frozen=True, repr=False)
class Plan:
    """What happens to a load and to all that is made of it.

    Attributes:
        acts: What each node does; one that isn't named just passes a new load on.
        nested: What happens to what a node asks the flow for.
        choice: Which successors routers choose, by the bits of this number.
        rounds: How often controllers and longer cycles go round.
        budget: `WM.budget_hops`.
        answers: Whether controllers end with a final answer.
        blue: Which way union routers send it.
        decision: What a plugin decides when a node fails.
    """

    acts: dict[str, tuple[Act, ...]]
    nested: Plan | None = None
    choice: int = 0
    rounds: int = 1
    budget: int | None = None
    answers: bool = False
    blue: bool = False
    decision: str | None = None

    __repr__ = spelled
    _repr_pretty_ = pretty

    def runs_out(self) -> bool:
        """Whether a controller's own budget may end the flow that it stands in, with an answer that says so."""
        return self.budget is not None and self.budget <= self.rounds

    def below(self) -> Plan:
        """The same for a playbook, which calls no playbook itself."""
        acts = {name: tuple(act for act in doing if act.what != "playbook") for name, doing in self.acts.items()}
        return replace(self, acts=acts)


class Load:
    """A payload. `marks` are what its branch has written to `meta`; `None` if nobody knows."""

    __slots__ = ("__weakref__", "depth", "key", "marks", "path", "plan", "serial", "source", "tenant")

    def __init__(self, key: int, plan: Plan, path: str, marks: frozenset[str] | None, tenant: str) -> None:
        self.key: int = key
        self.plan: Plan = plan
        self.path: str = path
        self.marks: frozenset[str] | None = marks
        self.tenant: str = tenant
        self.depth: int = 0
        self.serial: int = -1  # in which order loads were made
        self.source: str = ""  # by which node

    def handed_down(self, node: str, marks: frozenset[str] | None = None) -> Load:
        """What a node gives to a playbook."""
        made = type(self)(self.key, self.plan.below(), f"{self.path}/{node}>", marks, self.tenant)
        made.depth = self.depth
        return made

    def child(self, node: str, index: int, marks: frozenset[str] | None = None) -> Load:
        """What a node makes of it: the `index`th."""
        made = type(self)(self.key, self.plan, f"{self.path}/{node}.{index}", marks, self.tenant)
        made.depth, made.source = self.depth + 1, node
        return made

    def __repr__(self) -> str:
        return f"<Load {self.path}>"


class Red(Load):
    """What union routers send one way."""

    __slots__ = ()


class Blue(Load):
    """What union routers send the other way."""

    __slots__ = ()


class Answer(FinalAnswer):
    """A final answer that a node gives."""

    load: Any = None


def new_load(key: int, plan: Plan, path: str, marks: frozenset[str] | None, tenant: str) -> Load:
    """A load that enters a flow."""
    return (Blue if plan.blue else Red)(key, plan, path, marks, tenant)


def merged(parts: Iterable[Load]) -> Load:
    """What a join's list comes to."""
    found = list(parts)
    first = found[0]
    known = all(part.marks is not None for part in found)
    marks = frozenset(mark for part in found for mark in part.marks or ()) if known else None
    path = f"({'+'.join(sorted(part.path for part in found))})"
    whole = type(first)(first.key, first.plan, path, marks, first.tenant)
    whole.depth, whole.serial = max(part.depth for part in found), min(part.serial for part in found)
    return whole


def opened(value: Any, fallback: Load | None = None) -> Load:
    """The load in whatever a node is given."""
    match value:
        case Load():
            return value
        case Message():
            return opened(value.payload, fallback)
        case WM():
            return opened(value.facts[0], fallback)
        case Answer():
            return opened(value.load, fallback)
        case list():
            return merged(opened(part, fallback) for part in value)
    assert fallback is not None, f"no load in {value!r}"
    return fallback


def tag(value: Any) -> str:
    """What came out, as text that can be compared and holds nothing alive."""
    match value:
        case Message():
            return tag(value.payload)
        case FlowError():
            return f"error {value.code}"
        case StreamChunk():
            return f"chunk {value.text}"
        case Answer():
            return f"answer {opened(value).path}"
        case FinalAnswer():
            return "no answer"
        case None:
            return "nothing"
    return opened(value, NOBODY).path


NOBODY = Load(-1, Plan({}), "nobody", None, "default")


@lru_cache
def acts(playbooks: int, quiet: bool) -> st.SearchStrategy[tuple[Act, ...]]:
    """What one node does."""
    kinds = QUIET if quiet else (*QUIET, *ROUGH)
    able = [Act(kind, n) for kind in kinds for n in (1, 2, 3)]
    able += [Act("flaky"), Act("flaky"), Act("flaky", 2), Act("ask"), Act("ask")]
    able += [Act("playbook", number) for number in range(playbooks)]
    return st.lists(st.sampled_from(able), min_size=1, max_size=3).map(tuple)


@lru_cache
def _some(names: tuple[str, ...], least: int, most: int) -> st.SearchStrategy[list[str]]:
    return (
        st.lists(st.sampled_from(names), unique=True, min_size=min(least, len(names)), max_size=most)
        if names
        else st.just([])
    )


YES, UP_TO_4, UP_TO_7 = st.booleans(), st.integers(0, 4), st.integers(0, 7)
ALIKE = st.sampled_from((None, "chunks", "mark", "ask"))
BUDGET, DECISION = st.none() | st.integers(1, 7), st.none() | st.sampled_from(DECISIONS)


@lru_cache
@st.composite
def plans(draw: st.DrawFn, shape: FlowShape, depth: int = 1, quiet: bool = False) -> Plan:
    """A plan for a flow; a `quiet` one has nothing that only time decides."""
    own, below = shape.names()
    quiet = quiet or draw(YES)
    chosen = draw(_some(own, 1, 3)) + draw(_some(below, 0, 2))
    done = {name: draw(acts(len(shape.playbooks), quiet)) for name in chosen}
    match draw(ALIKE):
        case "chunks":  # what is said below passes by the nodes above
            done = {name: (Act("chunks"),) for name in below} | done
        case "mark":  # what branches note meets at a join
            done = {name: (Act("mark"),) for name in own} | done
        case "ask":  # what a node asks for passes the limit that it holds itself
            done |= {node.name: (Act("ask"),) for node in shape.nodes if node.limit is not None}
    asks = any(act.what == "ask" for doing in done.values() for act in doing)
    return Plan(
        acts=done,
        nested=draw(plans(shape, depth - 1, quiet)) if asks and depth else None,
        choice=draw(UP_TO_7),
        rounds=draw(UP_TO_4),
        budget=draw(BUDGET),
        answers=draw(YES),
        blue=draw(YES),
        decision=None if quiet else draw(DECISION),
    )
