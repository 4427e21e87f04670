"""What a plugin implements: checked by pluggy once for each class of plugins, bound, and put in order.

Rules: a mistake in a plugin is a `TypeError` that shows the corrected line. What there is to check depends on a
plugin's class alone, nearly always, so plugins of known classes are only bound, which makes the second flow cheap.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import pluggy

from penguiflow._events import EVENT_TYPES, FlowEvent
from penguiflow._hooks import ASYNC_HOOKS, HOOKS, PROJECT, HookSpecs, hookimpl

ARGUMENTS = {"on_event": "event", "resolve_route": "request", "on_error": "error", "export_graph": "request"}
_MARK = f"{PROJECT}_impl"


class Plugin(NamedTuple):
    """An object with implementations.

    Attributes:
        name: What it is called.
        instance: The object itself.
        needed: Whether no flow starts without it.
        record: What the flow shows of it.
    """

    name: str
    instance: Any
    needed: bool = False
    record: Any = None


@dataclass(slots=True, eq=False)
class Impl:
    """One plugin's implementation of one hook.

    Attributes:
        plugin: The plugin's name.
        owner: The plugin itself.
        call: The bound function.
        types: The event types that it wants.
        failures: How often it has failed in a row.
    """

    plugin: str
    owner: Any
    call: Callable[[Any], Any]
    types: tuple[str, ...] = EVENT_TYPES
    failures: int = 0

    def fresh(self) -> Impl:
        """The same with no failures, for another run."""
        return Impl(self.plugin, self.owner, self.call, self.types)


class Callback:
    """A plain `on_event=` callback as a plugin."""

    def __init__(self, callback: Callable[[FlowEvent], None]) -> None:
        if inspect.iscoroutinefunction(callback) or inspect.iscoroutinefunction(type(callback).__call__):
            raise TypeError("on_event= takes a plain function: write `def on_event(event)`, not `async def`")
        if not callable(callback):
            raise TypeError(f"on_event= takes a function of one event, not {callback!r:.80}")
        self.callback: Callable[[FlowEvent], None] = callback
        self.event_types: Collection[str] = EVENT_TYPES

    @hookimpl
    def on_event(self, event: FlowEvent) -> None:
        self.callback(event)


def named(instance: Any) -> str:
    """What a plugin object is called: its `name`, or its class."""
    if isinstance(instance, Callback):
        return getattr(instance.callback, "__qualname__", "on_event")
    name = getattr(instance, "name", None)
    return name if isinstance(name, str) else type(instance).__name__


def implemented(plugin: Plugin) -> tuple[str, ...]:
    """The hooks that a plugin implements.

    Raises:
        TypeError: it implements none, or one of them wrongly.
    """
    _wanted(plugin)
    return _kind(plugin).hooks


def frozen(plugins: Sequence[Plugin]) -> dict[str, tuple[Impl, ...]]:
    """The implementations of each hook in the order of their plugins, but for those marked `tryfirst` or `trylast`.

    Raises:
        TypeError: an implementation has a wrong name, wrong arguments, or is async where it must not be.
    """
    ranked: dict[str, list[tuple[int, Impl]]] = {hook: [] for hook in HOOKS}
    for plugin in plugins:
        types = _wanted(plugin)
        for hook, rank in _kind(plugin).ranks.items():
            impl = Impl(plugin.name, plugin.instance, _function(plugin.instance, hook), types)
            ranked[hook].append((rank, impl))
    return {hook: tuple(impl for _, impl in sorted(impls, key=_rank)) for hook, impls in ranked.items()}


def watcher(callback: Callable[[FlowEvent], None], event_types: Collection[str]) -> Impl:
    """A function that watches events, as an implementation.

    Raises:
        TypeError: it is async, or no function; or there are no such types of events.
    """
    plugin = Callback(callback)
    plugin.event_types = event_types
    return Impl(named(plugin), plugin, callback, _wanted(Plugin(named(plugin), plugin)))


def _rank(ranked: tuple[int, Impl]) -> int:
    return ranked[0]


class _Kind(NamedTuple):
    """What is known of a class of plugins.

    Attributes:
        ranks: The hooks that it implements: -1 to be called first, 1 to be called last, else 0.
        hooks: The same without their ranks.
    """

    ranks: dict[str, int]
    hooks: tuple[str, ...]


_known: WeakKeyDictionary[type, _Kind] = WeakKeyDictionary()
_NAMES = {*HOOKS, "start", "stop"}


def _kind(plugin: Plugin) -> _Kind:
    cls = type(plugin.instance)
    if not _NAMES.isdisjoint(getattr(plugin.instance, "__dict__", ())):
        return _checked(plugin)
    kind = _known.get(cls)
    if kind is None:
        kind = _checked(plugin)
        if not _varies(cls):
            _known[cls] = kind
    return kind


def _varies(cls: type) -> bool:
    """Whether what an object of this class implements may depend on the object, as that of a module or a proxy does."""
    return issubclass(cls, type | ModuleType) or hasattr(cls, "__getattr__")


def _checked(plugin: Plugin) -> _Kind:
    _refuse_mistakes(plugin.instance, plugin.name)
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(HookSpecs)
    try:
        manager.register(_Registered(plugin.instance), plugin.name)
    except (pluggy.PluginValidationError, ValueError) as exc:
        raise TypeError(f"plugin {plugin.name!r} can't be used: {exc}") from exc
    found = {hook: getattr(manager.hook, hook).get_hookimpls() for hook in HOOKS}
    ranks = {hook: impl.trylast - impl.tryfirst for hook, impls in found.items() for impl in impls}
    for hook in HOOKS:
        function = getattr(plugin.instance, hook, None)
        if hasattr(function, _MARK) and hook not in ranks:
            raise TypeError(f"plugin {plugin.name!r}: {hook} is {function!r:.60}: write a method, `def {hook}`")
    return _Kind(ranks, tuple(ranks))


class _Registered:
    """A plugin as pluggy sees it: only its implementations, as pluggy would touch every attribute and property."""

    def __init__(self, instance: Any) -> None:
        for hook in HOOKS:
            if hasattr(getattr(instance, hook, None), _MARK):
                setattr(self, hook, getattr(instance, hook))


def _function(instance: Any, hook: str) -> Callable[[Any], Any]:
    """What to call: a plain callback itself, without the object that made a plugin of it."""
    function: Callable[[Any], Any] = instance.callback if isinstance(instance, Callback) else getattr(instance, hook)
    return function


def _wanted(plugin: Plugin) -> tuple[str, ...]:
    types = getattr(plugin.instance, "event_types", None)
    if types is None:
        return EVENT_TYPES
    if isinstance(types, str) or not isinstance(types, Collection):
        raise TypeError(
            f"plugin {plugin.name!r}: event_types lists types of events, as in event_types = ('flow_start',)"
        )
    for kind in types:
        if kind not in EVENT_TYPES:
            raise TypeError(f"plugin {plugin.name!r} wants events of type {kind!r}: there are {', '.join(EVENT_TYPES)}")
    return tuple(dict.fromkeys(types))


def _refuse_mistakes(instance: Any, name: str) -> None:
    if inspect.isclass(instance):
        raise TypeError(f"plugin {name!r} is a class: give an instance, as in plugins=[{instance.__name__}()]")
    marks = {hook: getattr(getattr(instance, hook, None), _MARK, None) for hook in HOOKS}
    strangers = [attribute for attribute in _marked(instance) if attribute not in HOOKS]
    if strangers:
        raise TypeError(f"plugin {name!r}: there is no hook {strangers[0]!r}: there are {', '.join(HOOKS)}")
    if not any(marks.values()):
        raise TypeError(f"plugin {name!r} implements no hook: mark a method {', '.join(HOOKS)} with @hookimpl")
    for life in ("start", "stop"):
        if hasattr(instance, life) and not _is_life(getattr(instance, life)):
            raise TypeError(f"plugin {name!r}: {life} is async: write `async def {life}(self, flow)`")
    for hook, mark in marks.items():
        if mark:
            _refuse_wrong_shape(getattr(instance, hook), hook, mark, name)


def _is_life(function: Any) -> bool:
    """Whether this is an async function of a flow."""
    if not inspect.iscoroutinefunction(function):
        return False
    try:
        inspect.signature(function).bind(None)
    except TypeError:
        return False
    return True


def _refuse_wrong_shape(function: Any, hook: str, mark: Any, name: str) -> None:
    if mark.get("hookwrapper") or mark.get("wrapper"):
        raise TypeError(f"plugin {name!r}: {hook} can't be a wrapper: write a plain `@hookimpl def {hook}`")
    if inspect.isgeneratorfunction(function) or (hook in ASYNC_HOOKS and inspect.isasyncgenfunction(function)):
        raise TypeError(f"plugin {name!r}: {hook} yields, and would never run: write `return`")
    if hook not in ASYNC_HOOKS and (inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)):
        raise TypeError(f"plugin {name!r}: {hook} is not async: write `def {hook}`, without `async`")
    wanted = ARGUMENTS[hook]
    if list(inspect.signature(function).parameters) != [wanted]:
        raise TypeError(f"plugin {name!r}: {hook} takes one argument, {wanted!r}: write `def {hook}(self, {wanted})`")


def _marked(instance: Any) -> list[str]:
    """The names of implementations. What an object keeps in an attribute may well be those of another plugin."""
    own = (vars(instance),) if isinstance(instance, ModuleType) else ()
    places = (*own, *(vars(cls) for cls in reversed(type(instance).__mro__)))
    return [name for place in places for name, value in list(place.items()) if hasattr(value, _MARK)]
