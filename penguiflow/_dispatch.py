"""Calls plugins: what pluggy ordered at build time, frozen into plain tuples of functions.

Rules: an implementation that raises is logged with its plugin's name and never harms the flow; one that raises again
and again is no longer called. Routing is the exception: it fails closed, so its errors reach the message. Cancellation
passes through untouched.
"""

from __future__ import annotations

import asyncio
import copy
import inspect
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from penguiflow._errors import typed
from penguiflow._events import EVENT_TYPES, FlowEvent, Place
from penguiflow._hooks import HOOKS, Drop, Emit, ExportRequest, Replace, Retry, RoutingRequest, hookimpl
from penguiflow._impls import Impl, Plugin, frozen

log = logging.getLogger("penguiflow")
event_log = logging.getLogger("penguiflow.events")


class _LogEvents:
    """Events as records of the logger `penguiflow.events`. What of an event has a name that a record needs for itself
    gets an underscore after it.
    """

    def __init__(self) -> None:
        self._taken = {"message", "asctime", *vars(logging.makeLogRecord({}))}

    @hookimpl
    def on_event(self, event: FlowEvent) -> None:
        extra = {f"{key}_" if key in self._taken else key: value for key, value in event.to_payload().items()}
        event_log.debug("%s %s", event.event_type, event.node_name or event.flow_name, extra=extra)


def is_stray(exc: BaseException) -> bool:
    """Whether this is a `CancelledError` that nobody sent to this task: it came out of something awaited."""
    task = asyncio.current_task()
    return isinstance(exc, asyncio.CancelledError) and task is not None and not task.cancelling()


def _shown(exc: BaseException) -> str:
    try:
        return repr(exc)
    except Exception:
        return typed(exc)


class Dispatch:
    """The hooks of one flow, frozen.

    Args:
        tiers: Plugins by the rank of their decisions; within a tier, the first is asked first.
        decision_timeout_s: Seconds that one of them may take to decide.
        quarantine_after: After how many failures in a row one is no longer called.

    Raises:
        TypeError: an implementation has a wrong name, wrong arguments, or is async where it must not be.
    """

    def __init__(self, tiers: Iterable[Sequence[Plugin]], decision_timeout_s: float, quarantine_after: int) -> None:
        ranked = [frozen(tier) for tier in tiers if tier]
        self.impls: Mapping[str, tuple[Impl, ...]] = {
            hook: tuple(impl for tier in ranked for impl in tier[hook]) for hook in HOOKS
        }
        self._timeout_s: float = decision_timeout_s
        self._quarantine_after: int = quarantine_after
        self._begin(self.impls)

    def _begin(self, impls: Mapping[str, tuple[Impl, ...]]) -> None:
        self._observers = impls["on_event"]
        self._routers = impls["resolve_route"]
        self._handlers = impls["on_error"]
        self._exporters = impls["export_graph"]
        self.listeners: dict[str, tuple[Impl, ...]] = self._by_type()

    def started(self) -> Dispatch:
        """The dispatch of one run: with the logger among the observers, if it is enabled now, and nobody in
        quarantine.
        """
        fresh = copy.copy(self)
        impls = {hook: tuple(impl.fresh() for impl in found) for hook, found in self.impls.items()}
        if event_log.isEnabledFor(logging.DEBUG):
            impls["on_event"] = (*impls["on_event"], Impl("penguiflow.events", None, _LogEvents().on_event))
        fresh._begin(impls)
        return fresh

    def without(self, plugin: Any) -> None:
        """Call a plugin no more in this run: it could not be started."""
        now = zip(HOOKS, (self._observers, self._routers, self._handlers, self._exporters), strict=True)
        self._begin({hook: tuple(impl for impl in impls if impl.owner is not plugin) for hook, impls in now})

    def listen(self, observer: Impl) -> None:
        """Show events to one more observer."""
        self._observers = (*self._observers, observer)
        self.listeners = self._by_type()

    def unlisten(self, observer: Impl) -> None:
        """Show events to an observer no more."""
        self._observers = tuple(o for o in self._observers if o is not observer)
        self.listeners = self._by_type()

    def _by_type(self) -> dict[str, tuple[Impl, ...]]:
        if all(observer.types is EVENT_TYPES for observer in self._observers):
            return dict.fromkeys(EVENT_TYPES, self._observers) if self._observers else {}
        wanted: dict[str, list[Impl]] = {kind: [] for kind in EVENT_TYPES}
        for observer in self._observers:
            for kind in observer.types:
                wanted[kind].append(observer)
        return {kind: tuple(observers) for kind, observers in wanted.items() if observers}

    def send(self, event: FlowEvent, listeners: tuple[Impl, ...]) -> None:
        """Show an event to those who listen to its type."""
        for impl in listeners:
            try:
                impl.call(event)
                impl.failures = 0
            except BaseException as exc:  # nobody can cancel a plain function: a CancelledError is its own
                self.failed(impl, "on_event", exc, event.flow_name)

    def failed(self, impl: Impl, hook: str, exc: BaseException, flow_name: str) -> None:
        """Count a failure, say so, and call the plugin no more if it was one too many."""
        if isinstance(exc, KeyboardInterrupt):
            raise exc
        impl.failures += 1
        cause = None if hook == "export_graph" else exc  # who asked for an export is told, and has the traceback
        log.error("plugin %r raised in %s: %s", impl.plugin, hook, _shown(exc), exc_info=cause)
        quarantined = hook != "resolve_route" and impl.failures >= self._quarantine_after
        if quarantined:
            text = "it gets no more events" if hook == "on_event" else "it is no longer asked"
            where = "" if hook == "on_event" else f" in {hook}"
            log.error("plugin %r raised%s %d times in a row: %s", impl.plugin, where, impl.failures, text)
            self._observers = tuple(o for o in self._observers if o is not impl)
            self._handlers = tuple(h for h in self._handlers if h is not impl)
            self._exporters = tuple(e for e in self._exporters if e is not impl)
            self.listeners = self._by_type()
        extra = {"plugin": impl.plugin, "hook": hook, "failures": impl.failures, "quarantined": quarantined}
        self.report(exc, flow_name, extra, impl.owner)

    def report(self, exc: BaseException, flow_name: str, extra: Mapping[str, Any], culprit: Any) -> None:
        """Show a plugin's failure to the other observers, whose own failures are only logged."""
        others = [o for o in self.listeners.get("plugin_error", ()) if o.owner is not culprit]
        if not others:
            return
        event = FlowEvent("plugin_error", time.time(), Place(flow_name), error=exc, extra=extra)
        for other in others:
            try:
                other.call(event)
            except BaseException as nested:
                if isinstance(nested, KeyboardInterrupt):
                    raise
                log.error("plugin %r raised in on_event: %s", other.plugin, _shown(nested))

    async def resolve_route(self, request: RoutingRequest) -> tuple[str, Any] | None:
        """The first plugin with an opinion, and its answer.

        Raises:
            Exception: whatever the plugin raised, `TimeoutError` if it took too long: routing fails closed.
        """
        for impl in self._routers:
            try:
                answer = await self._decided(impl, request)
            except (Exception, asyncio.CancelledError) as exc:
                if not (isinstance(exc, Exception) or is_stray(exc)):
                    raise
                self.failed(impl, "resolve_route", exc, request.flow_name)
                exc.add_note(f"raised by the plugin {impl.plugin!r} in resolve_route")
                raise
            impl.failures = 0
            if answer is not None:
                return impl.plugin, answer
        return None

    async def on_error(
        self, error: Any, flow_name: str, fitted: Callable[[Any], Any]
    ) -> Retry | Replace | Emit | Drop | None:
        """The first plugin's decision; one that raises, or answers with something else, is passed over.

        `fitted` gives a replacement as the node would return it, or raises: that counts as the plugin's mistake.
        """
        for impl in self._handlers:
            try:
                answer: Retry | Replace | Emit | Drop | None = await self._decided(impl, error)
                if answer is not None and not isinstance(answer, Retry | Replace | Emit | Drop):
                    raise TypeError(f"on_error answers Retry, Replace, Emit, Drop or None, not {answer!r:.80}")
                if isinstance(answer, Replace):
                    answer = Replace(fitted(answer.payload))
            except (Exception, asyncio.CancelledError) as exc:
                if not (isinstance(exc, Exception) or is_stray(exc)):
                    raise
                self.failed(impl, "on_error", exc, flow_name)
            else:
                impl.failures = 0
                if answer is not None:
                    return answer
        return None

    async def _decided(self, impl: Impl, request: Any) -> Any:
        try:
            answer = impl.call(request)
            if not inspect.isawaitable(answer):
                return answer
            async with asyncio.timeout(self._timeout_s) as limit:
                answer = await answer
        except SystemExit as exc:  # it would end the event loop, and every trace with it
            raise RuntimeError(f"it tried to end the process: SystemExit({exc.code!r})") from exc
        except (Exception, asyncio.CancelledError, KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as exc:
            raise RuntimeError(f"it raised what is no Exception: {typed(exc)}") from exc
        if limit.expired():  # it swallowed its cancellation, and what it says now is late all the same
            raise TimeoutError(f"it took longer than {self._timeout_s:g} s")
        return answer

    @property
    def handles_errors(self) -> bool:
        """Whether any plugin implements `on_error`."""
        return bool(self._handlers)

    @property
    def routes(self) -> bool:
        """Whether any plugin implements `resolve_route`."""
        return bool(self._routers)

    def export(self, request: ExportRequest) -> str | bytes | None:
        """The first exporter's answer, `None` if none has one; one that raises is passed over. A `ValueError` is its
        word on the options, and no failure of the plugin: it is not logged, and doesn't count.

        Raises:
            LookupError: there is no answer, and an exporter raised: the text says what, and the exception is the cause.
        """
        raised: list[tuple[str, BaseException]] = []
        for impl in self._exporters:
            try:
                answer: str | bytes | None = impl.call(request)
                if not isinstance(answer, str | bytes | None):
                    raise TypeError(f"export_graph answers text, bytes or None, not {answer!r:.80}")
            except ValueError as exc:
                raised.append((impl.plugin, exc))
            except BaseException as exc:
                self.failed(impl, "export_graph", exc, request.graph.name)
                raised.append((impl.plugin, exc))
            else:
                impl.failures = 0
                if answer is not None:
                    return answer
        if not raised:
            return None
        plugin, why = raised[0]
        raise LookupError(f"plugin {plugin!r} can't export {request.format!r}: {typed(why)}") from why
