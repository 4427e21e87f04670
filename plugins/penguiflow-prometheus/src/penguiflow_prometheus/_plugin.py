"""The plugin: watches one event loop's flows, and hands what it sees to the metrics.

Rules: it starts no server and, outside the multiprocess mode, no thread. What it counts stays in the registry when the
flow has stopped; what shows the present is 0 then.
"""

from __future__ import annotations

import asyncio
import logging
import weakref

from prometheus_client import REGISTRY, CollectorRegistry

from penguiflow import FlowEvent, Graph, PenguiFlow, hookimpl
from penguiflow_prometheus._book import Book, Shape, book_of
from penguiflow_prometheus._cells import Ledger, Limits, Names
from penguiflow_prometheus._ferry import multiprocess
from penguiflow_prometheus._options import Options
from penguiflow_prometheus._tallying import EVENT_TYPES, Watch

log = logging.getLogger("penguiflow_prometheus")

TWICE = "of its flows, it counts one and sits out in another: give each a Prometheus() of its own"


class Prometheus:
    """Counts what happens in a flow, in a registry of `prometheus_client`.

    Args:
        options: What a deployment would set.
        registry: Where the metrics are shown: `prometheus_client.REGISTRY`, if none is given.
    """

    name = "prometheus"
    api_version = "2"
    event_types = EVENT_TYPES

    def __init__(self, options: Options | None = None, *, registry: CollectorRegistry | None = None) -> None:
        self._options: Options = options or Options()
        self._registry: CollectorRegistry = REGISTRY if registry is None else registry
        self._limits: Limits = Limits(self._options.max_flows, self._options.max_nodes, self._options.max_error_types)
        self._flows: list[PenguiFlow] = []
        self._sits_out: list[PenguiFlow] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._book: Book | None = None
        self._shared: bool = False
        self._give_back: weakref.finalize[..., Prometheus] | None = None
        self._watch: Watch = Watch(Ledger(self._options.buckets, self._limits, Names()))

    async def start(self, flow: PenguiFlow) -> None:
        """Begin to count, unless the flow is counted under the same names already.

        Raises:
            RuntimeError: it counts already, in another event loop, or sits out in one flow and is to count another.
            ValueError: the registry has other metrics of these names, or the multiprocess mode has no directory.
        """
        loop = asyncio.get_running_loop()
        if self._loop is not None and self._loop.is_closed():
            await self._end()  # of flows that were never stopped
        if self._flows and loop is not self._loop:
            raise RuntimeError("it watches a flow of another event loop: give each loop a Prometheus() of its own")
        book = book_of(self._registry, self._options.prefix, Shape(self._options.buckets, self._options.exemplars))
        if book.claim(flow):
            self._count(flow, book, loop)
        elif self._flows:
            raise RuntimeError(TWICE)
        else:
            log.info("%s_* counts flow %r already: this plugin sits out", self._options.prefix, flow.name)
            self._sits_out.append(flow)

    def _count(self, flow: PenguiFlow, book: Book, loop: asyncio.AbstractEventLoop) -> None:
        try:
            if self._sits_out:
                raise RuntimeError(TWICE)
            if not self._flows:
                self._begin(book)
        except BaseException:
            book.release(flow)
            raise
        self._loop = loop
        self._flows.append(flow)
        self._expect(flow.graph)

    def _begin(self, book: Book) -> None:
        shared = multiprocess()
        if shared:
            book.ferry.board(self._options.multiprocess_interval_s)
        watch = Watch(book.lend(self._limits))
        # A flow may also be forgotten without ever being stopped.
        self._give_back = weakref.finalize(self, _given_back, book, watch)
        self._give_back.atexit = False
        self._watch, self._book, self._shared = watch, book, shared

    def _expect(self, graph: Graph) -> None:
        self._watch.ledger.expect(graph.name, (node.name for node in graph.nodes))
        for node in graph.nodes:
            if node.subgraph is not None:
                self._expect(node.subgraph)

    @hookimpl
    def on_event(self, event: FlowEvent) -> None:
        """Count an event."""
        self._watch.see(event)

    async def stop(self, flow: PenguiFlow) -> None:
        """Count no more. In the multiprocess mode, all has been written when it returns."""
        if flow in self._sits_out:
            self._sits_out.remove(flow)
            return
        self._flows.remove(flow)
        if self._book is not None:
            self._book.release(flow)
        if not self._flows:
            await self._end()

    async def _end(self) -> None:
        book, self._book, self._loop = self._book, None, None
        if book is None or self._give_back is None:
            return
        for flow in self._flows:
            book.release(flow)
        self._flows.clear()
        self._give_back()
        if self._shared:
            await book.ferry.leave()


def _given_back(book: Book, watch: Watch) -> None:
    book.take_back(watch.leave())


def plugin(options: Options) -> Prometheus:
    """What the entry point names: makes the plugin of one flow."""
    return Prometheus(options)
