"""Random graphs, as data: what each node is, what it may do at a time, and where it leads.

Rules: nodes stand in an order in which edges lead on, apart from those of a controller to itself and of a router back.
A shape always passes `create()`; names are unique over all nested flows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any

from hypothesis import strategies as st


def spelled(thing: Any) -> str:
    """A dataclass as code, without the fields that have their defaults."""
    known = ((found.name, found.default, getattr(thing, found.name)) for found in fields(thing))
    given = ", ".join(f"{name}={value!r}" for name, default, value in known if value != default)
    return f"{type(thing).__name__}({given})"


def pretty(thing: Any, printer: Any, cycle: bool) -> None:
    """How hypothesis shows it."""
    printer.text(repr(thing))


WORKERS = ("plain", "generator", "controller")
KINDS = ("plain", "plain", "generator", "join", "predicate", "policy", "controller", "sink", "union")


@dataclass(frozen=True, repr=False)
class NodeShape:
    """One node.

    Attributes:
        kind: One of `KINDS`, or `subflow`.
        takes: `load`, `any`, `message`; `red` and `blue` behind a union router; `chunk` for a sink.
        successors: Which nodes it leads to, itself and those before it included.
        passes: Whether it passes stream chunks on.
        k: How many messages a join gathers.
        join_timeout: How many seconds it does so for.
        retries, timeout_s, lanes, limit, repeats: Its policy.
        inner: A subflow's flow.
    """

    name: str
    kind: str
    takes: str = "load"
    successors: tuple[int, ...] = ()
    passes: bool = False
    k: int = 1
    join_timeout: float | None = None
    retries: int = 0
    timeout_s: float | None = None
    lanes: int = 1
    limit: int | None = None
    repeats: bool = False
    inner: FlowShape | None = None

    __repr__ = spelled
    _repr_pretty_ = pretty


@dataclass(frozen=True, repr=False)
class FlowShape:
    """One flow, and the playbooks that its nodes may call."""

    name: str
    nodes: tuple[NodeShape, ...]
    queue: int = 1
    traces: int = 2
    errors: bool = False
    decides: str | None = None
    playbooks: tuple[FlowShape, ...] = ()

    __repr__ = spelled
    _repr_pretty_ = pretty

    def flows(self) -> Iterator[FlowShape]:
        """This flow and all in it."""
        yield self
        for inner in (*(node.inner for node in self.nodes if node.inner is not None), *self.playbooks):
            yield from inner.flows()

    def names(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The nodes that act: here, and in the flows below."""
        workers = [tuple(node.name for node in flow.nodes if node.kind in WORKERS) for flow in self.flows()]
        return workers[0], tuple(name for names in workers[1:] for name in names)

    def before(self, index: int) -> tuple[int, ...]:
        """The predecessors of a node."""
        return tuple(i for i, node in enumerate(self.nodes) if index in node.successors)

    def entries(self) -> tuple[int, ...]:
        """Where messages enter."""
        return tuple(i for i in range(len(self.nodes)) if set(self.before(i)) <= {i}) or (0,)

    def targets(self, index: int) -> tuple[int, ...]:
        """Where a node's loads go."""
        return tuple(i for i in self.nodes[index].successors if self.nodes[i].kind != "sink" and i != index)

    def takes_chunks(self, index: int, seen: tuple[int, ...] = ()) -> bool:
        """Whether chunks go to a node."""
        node = self.nodes[index]
        if node.kind == "policy":
            onward = (i for i in node.successors if i not in (index, *seen))
            return any(self.takes_chunks(i, (*seen, index)) for i in onward)
        if node.kind == "subflow" and node.inner is not None:
            entries = node.inner.entries()
            return len(entries) > 1 or node.inner.wants_any(entries[0])
        return self.wants_any(index)

    def wants_any(self, index: int) -> bool:
        """Whether a node's annotation admits chunks."""
        node = self.nodes[index]
        if node.kind == "subflow" and node.inner is not None:
            entries = node.inner.entries()
            return len(entries) > 1 or node.inner.wants_any(entries[0])
        return node.kind == "policy" or (node.kind not in ("join", "predicate", "union") and node.takes in ANYTHING)

    def chunk_targets(self, index: int) -> tuple[int, ...]:
        """Where a node's chunks go; nowhere means to the trace's reader."""
        return tuple(i for i in self.nodes[index].successors if i != index and self.takes_chunks(i))

    def cyclic(self) -> bool:
        """Whether a router leads back."""
        return any(i < place for place, node in enumerate(self.nodes) for i in node.successors)


ANYTHING = ("any", "message", "chunk")


YES = st.booleans()
TAKEN = st.sampled_from(("load", "any", "message"))
ANY_KIND, FLAT_KIND = st.sampled_from((*KINDS, "subflow", "subflow")), st.sampled_from(KINDS)
WAIT, TIME = st.sampled_from((None, None, 5.0)), st.sampled_from((None, None, None, None, 7.0))
LANES, DECIDES = st.sampled_from((1, 1, 2)), st.sampled_from((None, "sync", "async"))


@lru_cache
def _between(least: int, most: int) -> st.SearchStrategy[int]:
    return st.integers(least, most)


@lru_cache
def _one_of(places: tuple[int, ...]) -> st.SearchStrategy[int]:
    return st.sampled_from(places)


@st.composite
def flow_shapes(draw: st.DrawFn, name: str = "f", depth: int = 2) -> FlowShape:
    """A flow; `depth` levels of flows may be in it."""
    count = draw(_between(1, 6 if depth == 2 else 3))
    kinds = [draw(ANY_KIND if depth else FLAT_KIND) for _ in range(count)]
    kinds[0] = "plain" if kinds[0] in ("join", "sink") else kinds[0]
    diamond = count > 4 and draw(YES)  # two branches meet, and somebody looks at what both brought
    kinds[1:5] = ["plain", "plain", "join", "plain"] if diamond else kinds[1:5]
    _open_unions(kinds)
    limited = draw(_between(0, 2 * count)) if depth == 2 else count  # one limit alone: two may block each other
    before = [draw(_predecessors(kinds, i)) for i in range(count)]
    before[1:5] = [(0,), (0,), (1, 2), (3,)] if diamond else before[1:5]
    for i, kind in enumerate(kinds):
        if kind == "union":
            before[i + 1] = before[i + 2] = (i,)
    back = draw(YES)
    nodes = []
    for i, kind in enumerate(kinds):
        after = [j for j in range(i + 1, count) if i in before[j]]
        after += [i] if kind == "controller" else []
        ways = tuple(j for j in range(i) if kinds[j] in WORKERS and "union" not in kinds[max(0, j - 2) : j])
        after += [draw(_one_of(ways))] if kind == "predicate" and back and ways else []
        nodes.append(draw(_nodes(f"{name}{i}", kind, tuple(after), len(before[i]), i == limited, depth)))
    return draw(_options(name, tuple(_coloured(nodes)), depth))


def _open_unions(kinds: list[str]) -> None:
    """Let two plain nodes follow each union router, one for each colour."""
    for i, kind in enumerate(kinds):
        if kind == "union" and i + 2 < len(kinds):
            kinds[i + 1] = kinds[i + 2] = "plain"
        elif kind == "union":
            kinds[i] = "plain"


def _predecessors(kinds: list[str], index: int) -> st.SearchStrategy[tuple[int, ...]]:
    places = tuple(i for i in range(index) if kinds[i] != "sink")
    return _some_of(places, min(len(places), 2 if kinds[index] == "join" else 1))


@lru_cache
def _some_of(places: tuple[int, ...], least: int) -> st.SearchStrategy[tuple[int, ...]]:
    some = st.lists(st.sampled_from(places), unique=True, min_size=least, max_size=3) if places else st.just([])
    return some.map(tuple)


@st.composite
def _nodes(
    draw: st.DrawFn, name: str, kind: str, successors: tuple[int, ...], inputs: int, limited: bool, depth: int
) -> NodeShape:
    worker = kind in WORKERS
    return NodeShape(
        name=name,
        kind=kind,
        takes="chunk" if kind == "sink" else draw(TAKEN) if worker else "load",
        successors=successors,
        passes=draw(YES),
        k=draw(st.sampled_from((inputs, inputs, max(1, inputs - 1)))) if kind == "join" else 1,
        join_timeout=draw(WAIT) if kind == "join" else None,
        retries=draw(_between(0, 2)) if worker else 0,
        timeout_s=draw(TIME) if worker else None,
        lanes=draw(LANES) if worker else 1,
        limit=draw(_between(1, 2)) if worker and limited else None,
        repeats=draw(_between(0, 3)) == 3 if worker else False,
        inner=draw(flow_shapes(name=f"{name}_", depth=depth - 1)) if kind == "subflow" else None,
    )


def _coloured(nodes: list[NodeShape]) -> Iterator[NodeShape]:
    """Each of the two nodes behind a union router takes one colour."""
    for place, node in enumerate(nodes):
        red = place > 0 and nodes[place - 1].kind == "union"
        blue = place > 1 and nodes[place - 2].kind == "union"
        yield replace(node, takes="red" if red else "blue" if blue else node.takes)


@st.composite
def _options(draw: st.DrawFn, name: str, nodes: tuple[NodeShape, ...], depth: int) -> FlowShape:
    top = depth == 2
    number = draw(_between(0, 2)) if top else 0
    return FlowShape(
        name=name,
        nodes=nodes,
        queue=draw(_between(1, 3)),
        traces=draw(_between(1, 3)) if top else 2,
        errors=draw(YES) if top else False,
        decides=draw(DECIDES) if top else None,
        playbooks=tuple(draw(flow_shapes(name=f"p{i}_", depth=0)) for i in range(number)),
    )
