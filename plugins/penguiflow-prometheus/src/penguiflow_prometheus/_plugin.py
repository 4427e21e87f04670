"""The plugin: watches one event loop's flows, and hands what it sees to the metrics.

Rules: it starts no server and, outside the multiprocess mode, no thread. What it counts stays in the registry when the
flow has stopped; what shows the present is 0 then.
"""

from __future__ import annotations

import asyncio

from prometheus_client import REGISTRY, CollectorRegistry

from penguiflow import FlowEvent, PenguiFlow, hookimpl
from penguiflow_prometheus._book import Book, Shape, book_of
from penguiflow_prometheus._cells import Ledger, Limits
from penguiflow_prometheus._ferry import multiprocess
from penguiflow_prometheus._options import Options
from penguiflow_prometheus._tallying import EVENT_TYPES, Watch


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
        self._flows: int = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._book: Book | None = None
        self._shared: bool = False
        self._watch: Watch = self._aside()

    def _aside(self) -> Watch:
        """For what comes while no flow runs, such as the last words of a node that ignored its end: not shown."""
        return Watch(Ledger(self._options.buckets, self._limits))

    async def start(self, flow: PenguiFlow) -> None:
        """Begin to count.

        Raises:
            RuntimeError: it counts already, in another event loop.
            ValueError: the registry has other metrics of these names, or the multiprocess mode has no directory.
        """
        loop = asyncio.get_running_loop()
        if self._flows and loop is not self._loop:
            raise RuntimeError(
                "it watches a flow in another event loop already: give each loop a Prometheus() of its own"
            )
        if not self._flows:
            self._begin()
            self._loop = loop
        self._flows += 1

    def _begin(self) -> None:
        options, shared = self._options, multiprocess()
        book = book_of(self._registry, options.prefix, Shape(options.buckets, options.exemplars))
        self._watch = Watch(book.lend(self._limits))
        self._book, self._shared = book, shared
        if shared:
            book.ferry.board(options.multiprocess_interval_s)

    @hookimpl
    def on_event(self, event: FlowEvent) -> None:
        """Count an event."""
        self._watch.see(event)

    async def stop(self, flow: PenguiFlow) -> None:
        """Count no more. In the multiprocess mode, all has been written when it returns."""
        self._flows -= 1
        if self._flows or self._book is None:
            return
        watch, self._watch = self._watch, self._aside()
        book, self._book, self._loop = self._book, None, None
        book.take_back(watch.ledger)
        if self._shared:
            await book.ferry.leave()


def plugin(options: Options) -> Prometheus:
    """What the entry point names: makes the plugin of one flow."""
    return Prometheus(options)
