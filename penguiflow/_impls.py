"""What a plugin implements: checked, and put in order by pluggy once for each kind of plugin.

Rules: a mistake in a plugin is a `TypeError` that shows the corrected line. What pluggy finds out depends on classes
alone, so plugins of known classes are only bound, which is what makes the second flow cheap.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pluggy

from penguiflow._events import EVENT_TYPES, FlowEvent
from penguiflow._hooks import ASYNC_HOOKS, HOOKS, PROJECT, HookSpecs, hookimpl

ARGUMENTS = {"on_event": "event", "resolve_route": "request", "on_error": "error", "export_graph": "request"}
_MARK = f"{PROJECT}_impl"


class Plugin(NamedTuple):
    """An object with implementations, and what it is called."""

    name: str
    instance: Any


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
    return tuple(hook for hook, places in _order([plugin]).items() if places)


def frozen(plugins: Sequence[Plugin]) -> dict[str, tuple[Impl, ...]]:
    """The implementations of each hook, the first plugin first, but for those marked `tryfirst` or `trylast`.

    Raises:
        TypeError: an implementation has a wrong name, wrong arguments, or is async where it must not be.
    """
    order = _order(plugins)
    wanted = [_wanted(plugin) for plugin in plugins]
    return {
        hook: tuple(Impl(*plugins[i], _function(plugins[i].instance, hook), wanted[i]) for i in places)
        for hook, places in order.items()
    }


class _Kind:
    """A plugin's class, for those who ask whether they have seen its like; the plugin itself until that is known."""

    __slots__ = ("cls", "plugin")

    def __init__(self, plugin: Plugin) -> None:
        self.cls: type = type(plugin.instance)
        self.plugin: Plugin | None = plugin

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Kind) and self.cls is other.cls

    def __hash__(self) -> int:
        return hash(self.cls)


def _order(plugins: Sequence[Plugin]) -> dict[str, tuple[int, ...]]:
    """For each hook, which of the plugins implement it, in the order in which they are called."""
    kinds = tuple(_Kind(plugin) for plugin in plugins)
    ordered = _ordered.__wrapped__ if any(_is_unlike_its_class(plugin.instance) for plugin in plugins) else _ordered
    return ordered(kinds)


def _is_unlike_its_class(instance: Any) -> bool:
    """Whether implementations stand in the object itself, as in a module, or it is a class."""
    own = getattr(instance, "__dict__", {}).values()
    return inspect.isclass(instance) or any(hasattr(value, _MARK) for value in own)


@functools.lru_cache(maxsize=64)
def _ordered(kinds: tuple[_Kind, ...]) -> dict[str, tuple[int, ...]]:
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(HookSpecs)
    places: dict[str, int] = {}
    for place, kind in reversed(list(enumerate(kinds))):
        plugin, kind.plugin = kind.plugin, None  # the cache keeps classes, and no plugin
        assert plugin is not None
        _refuse_mistakes(plugin.instance, plugin.name)
        key = f"{plugin.name}#{place}"
        places[key] = place
        try:
            manager.register(_Registered(plugin.instance), key)
        except (pluggy.PluginValidationError, ValueError) as exc:
            raise TypeError(f"plugin {plugin.name!r} can't be used: {exc}") from exc
    return {
        hook: tuple(places[impl.plugin_name] for impl in reversed(getattr(manager.hook, hook).get_hookimpls()))
        for hook in HOOKS
    }


class _Registered:
    """A plugin as pluggy sees it: one object may stand in a list twice, and pluggy takes each only once."""

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
    for kind in types:
        if kind not in EVENT_TYPES:
            raise TypeError(f"plugin {plugin.name!r} wants events of type {kind!r}: there are {', '.join(EVENT_TYPES)}")
    return tuple(types)


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
        if hasattr(instance, life) and not inspect.iscoroutinefunction(getattr(instance, life)):
            raise TypeError(f"plugin {name!r}: {life} is async: write `async def {life}(self, flow)`")
    for hook, mark in marks.items():
        if mark:
            _refuse_wrong_shape(getattr(instance, hook), hook, mark, name)


def _refuse_wrong_shape(function: Any, hook: str, mark: Any, name: str) -> None:
    if mark.get("hookwrapper") or mark.get("wrapper"):
        raise TypeError(f"plugin {name!r}: {hook} can't be a wrapper: write a plain `@hookimpl def {hook}`")
    if hook not in ASYNC_HOOKS and inspect.iscoroutinefunction(function):
        raise TypeError(f"plugin {name!r}: {hook} is not async: write `def {hook}`, without `async`")
    if list(inspect.signature(function).parameters) != [ARGUMENTS[hook]]:
        raise TypeError(f"plugin {name!r}: {hook} takes one argument: write `def {hook}(self, {ARGUMENTS[hook]})`")


def _marked(instance: Any) -> list[str]:
    return [name for name in dir(type(instance)) if hasattr(getattr(type(instance), name, None), _MARK)]
