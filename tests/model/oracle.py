"""What a load comes to if nothing disturbs it: the flow run as plain Python, one message after the other.

Rules: it knows no time, so it foretells nothing that depends on time: there it says that it isn't sure. It stops
counting where a load would keep a flow busy for too long.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from typing import Any, NamedTuple

from tests.model.flows import chosen
from tests.model.loads import QUIET, Act, Answer, Load, Plan, merged, new_load, tag
from tests.model.shapes import FlowShape

MOST = 100


class TooMuch(Exception):
    """The load would run more than `MOST` nodes."""


class Forecast(NamedTuple):
    """What comes of a load.

    Attributes:
        sure: Whether all of this is certain.
        exact: Whether the outputs are certain one by one; otherwise only their number.
        starves: Whether a join stays unfilled.
        outputs: What leaves at Rookery, as tags.
        pieces: The texts of the chunks that the trace's reader gets.
    """

    sure: bool
    exact: bool
    starves: bool
    outputs: Counter[str]
    pieces: Counter[str]


class Piece(NamedTuple):
    """A stream chunk's text."""

    text: str


def forecast(shape: FlowShape, load: Load) -> Forecast:
    """What comes of a load in a flow.

    Raises:
        TooMuch: too long a story to be told.
    """
    teller = _Teller(shape)
    outputs = teller.flow(shape, [load])
    found = Counter(tag(output) for output in outputs)
    return Forecast(teller.sure, teller.exact, teller.starves, found, teller.pieces)


class _Teller:
    """One forecast under way."""

    def __init__(self, top: FlowShape) -> None:
        self.top = top
        self.sure = self.exact = True
        self.starves = False
        self.pieces: Counter[str] = Counter()
        self.runs = 0

    def flow(self, shape: FlowShape, items: Iterable[Any], outer: Any = None) -> list[Any]:
        """The outputs of a flow that these items enter. `outer` is told the chunks that leave it."""
        inbox: dict[int, deque[Any]] = {place: deque() for place in range(len(shape.nodes))}
        for item in items:
            for place in shape.entries():
                inbox[place].append(item)
        if shape.cyclic() and any(node.kind == "join" for node in shape.nodes):
            self.sure = False
        outputs: list[Any] = []
        while ready := [place for place in inbox if inbox[place]]:
            place = ready[0]
            batch = list(inbox[place])
            inbox[place].clear()
            if shape.nodes[place].kind == "join":
                batch = self._joined(shape, place, batch)
            for item in batch:
                for made, targets in self._run(shape, place, item, outer):
                    for target in targets:
                        inbox[target].append(made)
                    if not targets and isinstance(made, Piece):
                        if isinstance(item, Piece) and outer is not None:
                            self.sure = False  # where what a subflow's node passes on goes to isn't promised
                        self._leaves(made, outer)
                    elif not targets:
                        outputs.append(made)
        return outputs

    def _leaves(self, piece: Piece, outer: Any) -> None:
        if outer is None:
            self.pieces[piece.text] += 1
        else:
            outer(piece)

    def _joined(self, shape: FlowShape, place: int, batch: list[Any]) -> list[Any]:
        node = shape.nodes[place]
        groups = [batch[i : i + node.k] for i in range(0, len(batch) - node.k + 1, node.k)]
        left = len(batch) % node.k
        if left and not (groups and node.k < len(shape.before(place))):
            self.starves = True
        if node.join_timeout is not None and len(batch) > 1:
            self.sure = False
        if len(groups) > 1 or (groups and left):
            self.exact = False
        return groups

    def _run(self, shape: FlowShape, place: int, item: Any, outer: Any) -> list[tuple[Any, tuple[int, ...]]]:
        """What a node makes of an item, and where each of it goes."""
        self.runs += 1
        if self.runs > MOST:
            raise TooMuch
        node = shape.nodes[place]
        if isinstance(item, Piece) and node.kind not in ("policy", "subflow"):
            return [(item, shape.chunk_targets(place))] if node.passes else []
        match node.kind:
            case "join":
                return [(item, shape.targets(place))]
            case "predicate" | "policy":
                targets = self._chosen(shape, place, item)
                dropped = not targets and shape.targets(place) and not isinstance(item, Piece)
                return [] if dropped else [(item, targets)]
            case "union":
                return [(item, self._by_type(shape, place, item))]
            case "subflow":
                assert node.inner is not None
                return self._nested(shape, place, item, outer)
        return self._worked(shape, place, item, outer)

    def _chosen(self, shape: FlowShape, place: int, item: Any) -> tuple[int, ...]:
        if isinstance(item, Piece):
            return shape.chunk_targets(place)
        return tuple(chosen(shape, place, self._opened(item)))

    def _by_type(self, shape: FlowShape, place: int, item: Any) -> tuple[int, ...]:
        if not isinstance(item, Load):
            self.sure = False  # it is refused
            return ()
        colour = "blue" if item.plan.blue else "red"
        fitting = [i for i in shape.targets(place) if shape.nodes[i].takes not in ("red", "blue")]
        exact = [i for i in shape.targets(place) if shape.nodes[i].takes == colour]
        unions = [i for i in shape.targets(place) if shape.nodes[i].kind == "union"]
        if unions:
            self.sure = False
        if not (exact or fitting):
            self.sure = False
        return tuple((exact or fitting)[:1])

    def _nested(self, shape: FlowShape, place: int, item: Any, outer: Any) -> list[tuple[Any, tuple[int, ...]]]:
        inner = shape.nodes[place].inner
        assert inner is not None
        if isinstance(item, Piece) and any(not inner.wants_any(i) for i in inner.entries()):
            self.sure = False  # it is refused
            return []
        passed: list[tuple[Any, tuple[int, ...]]] = []

        def told(piece: Piece) -> None:
            targets = shape.chunk_targets(place)
            if targets:
                passed.append((piece, targets))
            else:
                self._leaves(piece, outer)

        outputs = self.flow(inner, [item], told)
        return [(output, shape.targets(place)) for output in outputs] + passed

    def _worked(self, shape: FlowShape, place: int, item: Any, outer: Any) -> list[tuple[Any, tuple[int, ...]]]:
        node, load = shape.nodes[place], self._opened(item)
        plan = load.plan
        if node.kind == "controller" and plan.rounds:
            self.runs += plan.rounds
            if plan.runs_out():
                self.sure = False
        made, targets, index, gives = [], shape.targets(place), 0, True
        acts = plan.acts.get(node.name, ())
        self._doubts(node, acts)
        for act in acts:
            if act.what in ("emit", "now"):
                for _ in range(act.n if act.what == "emit" else 1):
                    made.append((load.child(node.name, index), targets))
                    index += 1
            elif act.what == "mark":
                pass
            elif act.what == "none":
                gives = False
            elif act.what == "chunks":
                for _ in range(act.n):
                    made.append((Piece(f"{load.path}/{node.name}#{index}"), shape.chunk_targets(place)))
                    index += 1
            elif act.what in ("ask", "playbook"):
                self._asked(shape, place, load, act)
        if node.kind == "controller" and plan.answers:
            made.append((Answer(text="", load=load.child(node.name, index)), ()))
        elif gives:
            made.append((load.child(node.name, index), targets))
        return made

    def _doubts(self, node: Any, acts: tuple[Act, ...]) -> None:
        kinds = [act.what for act in acts]
        if any(kind not in (*QUIET, "flaky", "ask", "playbook") for kind in kinds):
            self.sure = False
        flaky = [place for place, act in enumerate(acts) if act.what == "flaky"]
        if any(acts[place].n > node.retries for place in flaky):
            self.sure = False
        if flaky and {"emit", "chunks", "playbook"} & set(kinds[: flaky[-1]]):
            self.sure = False
        if node.timeout_s is not None and (kinds or node.kind == "generator"):
            self.sure = False

    def _asked(self, shape: FlowShape, place: int, load: Load, act: Act) -> None:
        """What a node asks for must come to one answer, or it fails."""
        if act.what == "ask":
            teller = _Teller(self.top)
            inner = new_load(-1, load.plan.nested or Plan({}), "nested", None, "")
            outputs = teller.flow(self.top, [inner])
        else:
            teller = _Teller(self.top)
            playbook = self.top.playbooks[act.n]
            outputs = teller.flow(playbook, [load.handed_down(shape.nodes[place].name)])
            self.pieces += teller.pieces
        self.runs += teller.runs
        if not teller.sure or teller.starves or len(outputs) > 1:
            self.sure = False

    def _opened(self, item: Any) -> Load:
        if isinstance(item, list):
            return merged(self._opened(part) for part in item)
        return self._opened(item.load) if isinstance(item, Answer) else item
