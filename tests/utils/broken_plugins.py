"""Plugins that break one promise each, for the tests of `PluginConformance`."""

from __future__ import annotations

import asyncio
import queue
import socket
import threading
import time
from collections import OrderedDict
from typing import Any, ClassVar

from penguiflow import ErrorDecision, ExportRequest, FlowError, FlowEvent, Retry, RoutingRequest, hookimpl

ENDS = ("node_success", "node_failed", "node_cancelled", "node_expired")


class WrongArgument:
    @hookimpl
    def on_event(self, what: FlowEvent) -> None: ...


class NoStart:
    @hookimpl
    def on_event(self, event: FlowEvent) -> None: ...

    async def start(self, flow: Any) -> None:
        raise ConnectionError("no collector")


class KnowsNoFlowEvents:
    @hookimpl
    def on_event(self, event: FlowEvent) -> None:
        if event.event_type == "plugin_error":
            assert event.node_name is not None
            self.last = event.node_name.upper()


class Busy:
    @hookimpl
    def on_event(self, event: FlowEvent) -> None:
        until = time.perf_counter() + 0.00025
        while time.perf_counter() < until:
            pass


class SleepsAtTheEnd:
    @hookimpl
    def on_event(self, event: FlowEvent) -> None:
        if event.event_type == "flow_stop":
            time.sleep(0.05)


class Meddles:
    @hookimpl
    def on_event(self, event: FlowEvent) -> None:
        if event.event_type == "node_start" and event.node_name == "plain":
            assert event.message is not None
            event.message.payload.words.append("(seen)")


class Annotates:
    @hookimpl
    def on_event(self, event: FlowEvent) -> None:
        if event.event_type == "node_start" and event.message is not None:
            event.message.meta["seen"] = True


class RoutesNowhere:
    @hookimpl
    def resolve_route(self, request: RoutingRequest) -> str:
        return "nowhere"


class RaisesInRouting:
    @hookimpl
    async def resolve_route(self, request: RoutingRequest) -> Any:
        await asyncio.sleep(0)
        return request.message.payload["kind"]


class DecidesInWords:
    @hookimpl
    def on_error(self, error: FlowError) -> Any:
        return "retry"


class NeverGivesUp:
    @hookimpl
    async def on_error(self, error: FlowError) -> ErrorDecision:
        return Retry()


class KeepsFewRuns:
    """Forgets the oldest run when there are too many, and then misses it."""

    def __init__(self) -> None:
        self.runs: OrderedDict[str, float] = OrderedDict()

    @hookimpl
    def on_event(self, event: FlowEvent) -> None:
        if event.event_type == "node_start":
            self.runs[event.invocation_id or ""] = event.ts
            if len(self.runs) > 50:
                self.runs.popitem(last=False)
        elif event.event_type in ENDS:
            del self.runs[event.invocation_id or ""]


class SwallowsCancellation:
    @hookimpl
    async def resolve_route(self, request: RoutingRequest) -> Any:
        try:
            await asyncio.sleep(0.001)
        except asyncio.CancelledError:
            return None
        return request.proposed_names[0]


class OneFlowAtATime:
    flow: ClassVar[str | None] = None

    @hookimpl
    def on_event(self, event: FlowEvent) -> None:
        cls = type(self)
        if event.event_type == "flow_start":
            assert cls.flow is None, "a second flow"
            cls.flow = event.flow_name
        elif event.event_type == "flow_stop":
            cls.flow = None


class KeepsItsLoop:
    loop: asyncio.AbstractEventLoop | None = None

    async def start(self, flow: Any) -> None:
        self.loop = self.loop or asyncio.get_running_loop()

    @hookimpl
    def on_event(self, event: FlowEvent) -> None:
        assert self.loop is not None
        self.loop.call_soon(str)


class LeavesATask:
    async def start(self, flow: Any) -> None:
        self.task = asyncio.create_task(asyncio.Event().wait())

    @hookimpl
    def on_event(self, event: FlowEvent) -> None: ...


class LeavesAThread:
    over: ClassVar[threading.Event] = threading.Event()

    async def start(self, flow: Any) -> None:
        threading.Thread(target=self.over.wait, name="exporter", daemon=True).start()

    @hookimpl
    def on_event(self, event: FlowEvent) -> None: ...


class LeavesATimer:
    async def start(self, flow: Any) -> None:
        asyncio.get_running_loop().call_later(3600, str)

    @hookimpl
    def on_event(self, event: FlowEvent) -> None: ...


class LeavesASocket:
    sockets: ClassVar[list[socket.socket]] = []

    async def start(self, flow: Any) -> None:
        self.sockets.extend(socket.socketpair())
        asyncio.get_running_loop().add_reader(self.sockets[-1], str)

    @hookimpl
    def on_event(self, event: FlowEvent) -> None: ...


class HangsInStop:
    @hookimpl
    def on_event(self, event: FlowEvent) -> None: ...

    async def stop(self, flow: Any) -> None:
        await asyncio.Event().wait()


class FullQueue:
    """Hands events to nobody, so that its queue is full one day."""

    def __init__(self) -> None:
        self.queue: queue.Queue[FlowEvent] = queue.Queue(maxsize=4000)

    @hookimpl
    def on_event(self, event: FlowEvent) -> None:
        self.queue.put_nowait(event)


class ExportsADict:
    @hookimpl
    def export_graph(self, request: ExportRequest) -> Any:
        return {"nodes": []} if request.format == "json" else None


class ExportsAnything:
    @hookimpl
    def export_graph(self, request: ExportRequest) -> str:
        return "graph"


class StartsInOneFlowAtATime:
    taken: ClassVar[list[str]] = []

    @hookimpl
    def on_event(self, event: FlowEvent) -> None: ...

    async def start(self, flow: Any) -> None:
        if self.taken:
            raise RuntimeError("another flow has it")
        self.taken.append(flow.name)

    async def stop(self, flow: Any) -> None:
        self.taken.clear()


class StartsOnce:
    used = False

    @hookimpl
    def on_event(self, event: FlowEvent) -> None: ...

    async def start(self, flow: Any) -> None:
        if self.used:
            raise RuntimeError("a second time")
        self.used = True
