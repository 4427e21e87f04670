"""Calls plugins: what pluggy ordered at build time, frozen into plain tuples of functions.

Rules: an implementation that raises is logged with its plugin's name and never harms the flow; one that raises ten
times in a row is no longer called. Routing is the exception: it fails closed, so its errors reach the
message. Cancellation passes through untouched.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pluggy

from penguiflow._events import EVENT_TYPES, FlowEvent, Place
from penguiflow._hooks import (
    ASYNC_HOOKS,
    HOOKS,
    PROJECT,
    Drop,
    Emit,
    ExportRequest,
    HookSpecs,
    Replace,
    Retry,
    RoutingRequest,
    hookimpl,
)

log = logging.getLogger("penguiflow")
event_log = logging.getLogger("penguiflow.events")

_ARGUMENTS = {"on_event": "event", "resolve_route": "request", "on_error": "error", "export_graph": "request"}

QUARANTINE_AFTER = 10
DECISION_TIMEOUT_S = 10.0


@dataclass(slots=True, eq=False)
class Impl:
    """One plugin's implementation of one hook.

    Attributes:
        plugin: The plugin's name.
        call: The bound function.
        types: The event types that it wants.
        failures: How often it has failed in a row.
    """

    plugin: str
    call: Callable[[Any], Any]
    types: tuple[str, ...] = EVENT_TYPES
    failures: int = 0


class _Callback:
    """A plain `on_event=` callback as a plugin."""

    def __init__(self, callback: Callable[[FlowEvent], None]) -> None:
        self.callback: Callable[[FlowEvent], None] = callback
        if inspect.iscoroutinefunction(callback) or inspect.iscoroutinefunction(type(callback).__call__):
            raise TypeError("on_event= takes a plain function: write `def on_event(event)`, not `async def`")
        if not callable(callback):
            raise TypeError(f"on_event= takes a function of one event, not {callback!r:.80}")

    @hookimpl
    def on_event(self, event: FlowEvent) -> None:
        self.callback(event)


class _LogEvents:
    """Events as records of the logger `penguiflow.events`."""

    @hookimpl
    def on_event(self, event: FlowEvent) -> None:
        event_log.debug("%s %s", event.event_type, event.node_name or event.flow_name, extra=event.to_payload())


def is_stray(exc: BaseException) -> bool:
    """Whether this is a `CancelledError` that nobody sent to this task: it came out of something awaited."""
    task = asyncio.current_task()
    return isinstance(exc, asyncio.CancelledError) and task is not None and not task.cancelling()


class Dispatch:
    """The hooks of one flow, frozen.

    Args:
        plugins: Objects with methods marked by `hookimpl`; the first is asked first.
        on_event: A callback for every event.

    Raises:
        TypeError: an implementation has a wrong name, wrong arguments, or is async where it must not be.
    """

    def __init__(self, plugins: Sequence[Any] = (), on_event: Callable[[FlowEvent], None] | None = None) -> None:
        self.plugins: tuple[Any, ...] = tuple(plugins)
        self.on_event: Callable[[FlowEvent], None] | None = on_event
        objects = [*plugins, *([] if on_event is None else [_Callback(on_event)])]
        impls = _frozen(objects)
        self._observers = impls["on_event"]
        self._routers = impls["resolve_route"]
        self._handlers = impls["on_error"]
        self._exporters = impls["export_graph"]
        self.listeners: dict[str, tuple[Impl, ...]] = self._by_type()

    def started(self) -> Dispatch:
        """The dispatch of one run: with the logger among the observers, if it is enabled now, and nobody in
        quarantine.
        """
        fresh = Dispatch(self.plugins, self.on_event)
        if event_log.isEnabledFor(logging.DEBUG):
            fresh._observers = (*fresh._observers, Impl("penguiflow.events", _LogEvents().on_event))
            fresh.listeners = fresh._by_type()
        return fresh

    def _by_type(self) -> dict[str, tuple[Impl, ...]]:
        wanted = {kind: tuple(o for o in self._observers if kind in o.types) for kind in EVENT_TYPES}
        return {kind: observers for kind, observers in wanted.items() if observers}

    def send(self, event: FlowEvent, listeners: tuple[Impl, ...]) -> None:
        """Show an event to those who listen to its type."""
        for impl in listeners:
            try:
                impl.call(event)
                impl.failures = 0
            except Exception as exc:
                self.failed(impl, "on_event", exc, event.flow_name)

    def failed(self, impl: Impl, hook: str, exc: BaseException, flow_name: str) -> None:
        impl.failures += 1
        log.error("plugin %r raised in %s: %r", impl.plugin, hook, exc, exc_info=exc)
        quarantined = hook != "resolve_route" and impl.failures >= QUARANTINE_AFTER
        if quarantined:
            text = "it gets no more events" if hook == "on_event" else "it is no longer asked"
            where = "" if hook == "on_event" else f" in {hook}"
            log.error("plugin %r raised%s %d times in a row: %s", impl.plugin, where, impl.failures, text)
            self._observers = tuple(o for o in self._observers if o is not impl)
            self._handlers = tuple(h for h in self._handlers if h is not impl)
            self.listeners = self._by_type()
        others = [o for o in self.listeners.get("plugin_error", ()) if o is not impl]
        if not others:
            return
        extra = {"plugin": impl.plugin, "hook": hook, "failures": impl.failures, "quarantined": quarantined}
        event = FlowEvent("plugin_error", time.time(), Place(flow_name), error=exc, extra=extra)
        for other in others:
            try:
                other.call(event)
            except Exception as nested:
                log.error("plugin %r raised in on_event: %r", other.plugin, nested)

    async def resolve_route(self, request: RoutingRequest) -> tuple[str, Any] | None:
        """The first plugin with an opinion, and its answer.

        Raises:
            Exception: whatever the plugin raised, `TimeoutError` if it took too long: routing fails closed.
        """
        for impl in self._routers:
            try:
                answer = await _decided(impl, request)
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

    async def on_error(self, error: Any, flow_name: str) -> Retry | Replace | Emit | Drop | None:
        """The first plugin's decision; one that raises, or answers with something else, is passed over."""
        for impl in self._handlers:
            try:
                answer = await _decided(impl, error)
                if answer is not None and not isinstance(answer, Retry | Replace | Emit | Drop):
                    raise TypeError(f"on_error answers Retry, Replace, Emit, Drop or None, not {answer!r:.80}")
            except (Exception, asyncio.CancelledError) as exc:
                if not (isinstance(exc, Exception) or is_stray(exc)):
                    raise
                self.failed(impl, "on_error", exc, flow_name)
            else:
                impl.failures = 0
                if answer is not None:
                    return answer
        return None

    @property
    def names(self) -> tuple[str, ...]:
        """The plugins' names, in the order they are asked."""
        return tuple(_named(plugin) for plugin in self.plugins)

    @property
    def handles_errors(self) -> bool:
        """Whether any plugin implements `on_error`."""
        return bool(self._handlers)

    @property
    def routes(self) -> bool:
        """Whether any plugin implements `resolve_route`."""
        return bool(self._routers)

    def export(self, request: ExportRequest) -> str | bytes | None:
        """The first exporter's answer; one that raises is passed over."""
        for impl in self._exporters:
            try:
                answer: str | bytes | None = impl.call(request)
            except Exception as exc:
                self.failed(impl, "export_graph", exc, request.graph.name)
            else:
                if answer is not None:
                    return answer
        return None


async def _decided(impl: Impl, request: Any) -> Any:
    answer = impl.call(request)
    if not inspect.isawaitable(answer):
        return answer
    async with asyncio.timeout(DECISION_TIMEOUT_S):
        return await answer


def _frozen(plugins: Sequence[Any]) -> dict[str, tuple[Impl, ...]]:
    """Let pluggy validate and order the implementations, the first plugin first."""
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(HookSpecs)
    names = {id(plugin): _named(plugin) for plugin in plugins}
    for place, plugin in reversed(list(enumerate(plugins))):
        _refuse_mistakes(plugin, names[id(plugin)])
        try:
            manager.register(plugin, f"{names[id(plugin)]}#{place}")
        except (pluggy.PluginValidationError, ValueError) as exc:
            raise TypeError(f"plugin {names[id(plugin)]!r} can't be used: {exc}") from exc
    return {hook: _impls(manager, hook, names) for hook in HOOKS}


def _impls(manager: pluggy.PluginManager, hook: str, names: dict[int, str]) -> tuple[Impl, ...]:
    found = reversed(getattr(manager.hook, hook).get_hookimpls())
    return tuple(Impl(names[id(i.plugin)], _function(i), _wanted(i.plugin, names[id(i.plugin)])) for i in found)


def _function(found: pluggy.HookImpl) -> Callable[[Any], Any]:
    """What to call: a plain callback itself, without the object that made a plugin of it."""
    return found.plugin.callback if isinstance(found.plugin, _Callback) else found.function


def _named(plugin: Any) -> str:
    if isinstance(plugin, _Callback):
        return getattr(plugin.callback, "__qualname__", "on_event")
    name = getattr(plugin, "name", None)
    return name if isinstance(name, str) else type(plugin).__name__


def _wanted(plugin: Any, name: str) -> tuple[str, ...]:
    types = getattr(plugin, "event_types", None)
    if types is None:
        return EVENT_TYPES
    for kind in types:
        if kind not in EVENT_TYPES:
            raise TypeError(f"plugin {name!r} wants events of type {kind!r}: there are {', '.join(EVENT_TYPES)}")
    return tuple(types)


def _refuse_mistakes(plugin: Any, name: str) -> None:
    if inspect.isclass(plugin):
        raise TypeError(f"plugin {name!r} is a class: give an instance, as in plugins=[{plugin.__name__}()]")
    marks = {hook: getattr(getattr(plugin, hook, None), f"{PROJECT}_impl", None) for hook in HOOKS}
    if not any(marks.values()) and not _marked(plugin):
        raise TypeError(f"plugin {name!r} implements no hook: mark a method {', '.join(HOOKS)} with @hookimpl")
    for hook, mark in marks.items():
        function = getattr(plugin, hook, None)
        if mark and (mark.get("hookwrapper") or mark.get("wrapper")):
            raise TypeError(f"plugin {name!r}: {hook} can't be a wrapper: write a plain `@hookimpl def {hook}`")
        if mark and hook not in ASYNC_HOOKS and inspect.iscoroutinefunction(function):
            raise TypeError(f"plugin {name!r}: {hook} is not async: write `def {hook}`, without `async`")
    for hook, argument in _ARGUMENTS.items():
        if marks[hook] and list(inspect.signature(getattr(plugin, hook)).parameters) != [argument]:
            raise TypeError(f"plugin {name!r}: {hook} takes one argument: write `def {hook}(self, {argument})`")
    for stranger in _marked(plugin):
        if stranger not in HOOKS:
            raise TypeError(f"plugin {name!r}: there is no hook {stranger!r}: there are {', '.join(HOOKS)}")


def _marked(plugin: Any) -> list[str]:
    return [name for name in dir(type(plugin)) if hasattr(getattr(type(plugin), name, None), f"{PROJECT}_impl")]
