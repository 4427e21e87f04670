"""What waits in the flows that run, as they tell it themselves when somebody looks.

Rules: a flow is asked on its own event loop, as nobody else may look into it. One whose loop is busy for longer than a
scrape may wait shows what it showed the last time; one whose loop doesn't run has nothing to show. A loop waits for no
other loop.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, wait

from penguiflow import FlowStateError, Graph, Load, PenguiFlow
from penguiflow_prometheus._slices import in_a_loop

PATIENCE_S = 0.25

NodeKey = tuple[str, str]


class Asked:
    """How to ask a flow that runs, and what it said the last time."""

    __slots__ = ("_keys", "_loop", "last")

    def __init__(self, graph: Graph, loop: asyncio.AbstractEventLoop) -> None:
        self._keys: dict[str, NodeKey] = dict(_keys(graph))
        self._loop: asyncio.AbstractEventLoop = loop
        self.last: Load | None = None

    def ask(self, flow: PenguiFlow) -> Future[None]:
        """Done when `last` is up to date."""
        answered: Future[None] = Future()

        def answer() -> None:
            try:
                self.last = flow.load()
            except FlowStateError:  # it has stopped
                self.last = None
            answered.set_result(None)

        if in_a_loop(self._loop):
            answer()
        elif self._loop.is_running():
            with contextlib.suppress(RuntimeError):  # it was closed in this moment
                self._loop.call_soon_threadsafe(answer)
        else:
            self.last = None
            answered.set_result(None)
        return answered

    @property
    def entering(self) -> int:
        """How many messages wait for a trace to end."""
        return 0 if self.last is None else self.last.entering

    def nodes(self) -> Counter[NodeKey]:
        """How many messages wait for each node, by the names of its flow and its own."""
        found = Counter[NodeKey]()
        for node_id, node in ({} if self.last is None else self.last.nodes).items():
            found[self._keys.get(node_id) or _key(node_id)] += node.waiting
        return found


def ask(flows: Iterable[tuple[PenguiFlow, Asked]]) -> None:
    """Bring up to date what each flow said the last time."""
    wait([asked.ask(flow) for flow, asked in flows], 0 if in_a_loop() else PATIENCE_S)


def _keys(graph: Graph) -> Iterator[tuple[str, NodeKey]]:
    for node in graph.nodes:
        yield node.node_id, (graph.name, node.name)
        for inner in (node.subgraph, *node.playbooks):
            if inner is not None:
                yield from _keys(inner)


def _key(node_id: str) -> NodeKey:
    """The names at the end of an id: of a playbook that nobody has declared."""
    *_, flow, node = ("", *node_id.rsplit("/", 2))
    return flow, node
