"""Decides which plugins a flow has, and loads them: what code gives, what a deployment names, what is installed.

Rules: blocks and the allow-list act before anything is imported. A plugin that can't be loaded is left out, unless it
was named or required, or the deployment is strict. Installing a policy changes nothing until somebody names it. For
decisions, named policies are asked first, then the objects that code gives, then what loads by itself. What is wrong
and doesn't stop the build is logged once for all flows of a process.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from penguiflow._discovery import PLUGINS, POLICIES, Found, installed
from penguiflow._errors import PluginError, forget_frames
from penguiflow._events import FlowEvent
from penguiflow._impls import Callback, Plugin, implemented, named
from penguiflow._loading import (
    AVAILABLE,
    BLOCKED,
    LOADED,
    OptionsError,
    PluginRecord,
    incompatibility,
    is_under_way,
    load,
    recorded,
)
from penguiflow._names import Names, key_of
from penguiflow._settings import Settings, read_settings
from penguiflow._weighing import Verdict, Wishes, strangers, weighed, wishes

log = logging.getLogger("penguiflow")

_MANY = 1000


class PluginSet(NamedTuple):
    """The plugins of one flow.

    Attributes:
        tiers: Those that loaded, in the order in which they decide: named policies, objects, what loads by itself.
        records: What became of each, the discovered ones after those that code gave.
        settings: What the deployment said.
    """

    tiers: tuple[tuple[Plugin, ...], ...]
    records: tuple[PluginRecord, ...]
    settings: Settings

    @property
    def plugins(self) -> tuple[Plugin, ...]:
        """All of them."""
        return tuple(plugin for tier in self.tiers for plugin in tier)


def plugged(given: Sequence[Any], on_event: Callable[[FlowEvent], None] | None = None) -> PluginSet:
    """The plugins of a flow that is given these objects, names of plugins that are installed, and a callback.

    Raises:
        PluginError: one that was named or required can't be used, or a setting is wrong; lists every problem.
        TypeError: one of the objects isn't a plugin.
    """
    settings = read_settings()
    objects, records = _objects(given)
    if on_event is not None:
        callback = Callback(on_event)
        objects.append(Plugin(named(callback), callback))
    host = _Host(settings, installed(), wishes(settings, tuple(item for item in given if isinstance(item, str))))
    policies, others = host.loaded(POLICIES), host.loaded(PLUGINS)
    if host.problems:
        raise PluginError(host.problems)
    return PluginSet((policies, tuple(objects), others), (*records, *host.records), settings)


def _objects(given: Sequence[Any]) -> tuple[list[Plugin], list[PluginRecord]]:
    """The objects among what code gives. No flow starts without one that routes: its messages would go astray."""
    objects, records = [], []
    for place, item in enumerate(given):
        if not isinstance(item, str):
            name = named(item)
            if foreign := incompatibility(item):
                raise TypeError(f"plugin {name!r} is {foreign}: install another version of it")
            if any(item is other for other in given[:place]):
                raise TypeError(f"plugin {name!r} is given twice: it would see each event twice")
            hooks = implemented(Plugin(name, item))
            records.append(PluginRecord(name, None, LOADED, "given to create()", hooks=hooks))
            objects.append(Plugin(name, item, needed="resolve_route" in hooks, record=records[-1]))
    return objects, records


def options_of(settings: Settings, found: Found) -> tuple[Mapping[str, Any], str]:
    """What a plugin is given, and where that stands; under its full name, if it is written there."""
    for name in settings.options:
        if key_of(name) == found.keys[1]:
            return settings.options[name], f"{settings.options_at}.{name}"
    return settings.options.get(found.name, {}), f"{settings.options_at}.{found.name}"


def _is_its_word(found: Found, error: BaseException | None) -> bool:
    """Whether a plugin says with it what is wrong with what it was given: by a `ValueError` of its own. A traceback
    would tell nothing more.
    """
    package = found.value.partition(":")[0].partition(".")[0]
    own = type(error).__module__.partition(".")[0] == package
    return isinstance(error, OptionsError) or (own and isinstance(error, ValueError))


@functools.lru_cache(maxsize=8)
def _said(found: tuple[Found, ...]) -> set[str]:
    """What has been logged already about these plugins."""
    return set()


class _Host:
    """Loads the plugins of one flow, and collects what is wrong."""

    def __init__(self, settings: Settings, found: tuple[Found, ...], said: Wishes) -> None:
        self.settings: Settings = settings
        self.found: tuple[Found, ...] = found
        self.said: Wishes = said
        self.records: list[PluginRecord] = []
        self.problems: list[str] = []
        for text, wanted in strangers(said, Names(tuple(settings.options), settings.options_at), found):
            if wanted or settings.strict:
                self.problems.append(text)
            else:
                self._say(text)

    def _say(self, text: str, error: BaseException | None = None) -> None:
        """Log a text unless that was done already."""
        said = _said(self.found)
        if text not in said:
            if len(said) >= _MANY:
                said.clear()
            said.add(text)
            log.warning("%s", text, exc_info=error)

    def loaded(self, group: str) -> tuple[Plugin, ...]:
        """Load the plugins of a group that are to be loaded."""
        plugins = []
        for verdict in weighed(self.said, self.found, (group,)):
            found, record = verdict.found, verdict.record
            if is_under_way(found):
                record = recorded(found, BLOCKED, "it builds this flow itself, while it is loaded")
            elif record.status != LOADED:
                self._left_out(verdict, record)
            else:
                record, instance = load(found, record.reason, *options_of(self.settings, found))
                if instance is None:
                    self._left_out(verdict, record)
                else:
                    needed = verdict.wanted != "" or "resolve_route" in record.hooks
                    plugins.append(Plugin(found.name, instance, needed, record))
            self.records.append(record)
        return tuple(plugins)

    def _left_out(self, verdict: Verdict, record: PluginRecord) -> None:
        """A plugin isn't loaded: that is a problem where somebody asked for it, and worth a word where it failed."""
        found, failed = verdict.found, record.status not in (AVAILABLE, BLOCKED)
        text = f"plugin {found.name!r} ({found.distribution} {found.version}) is {record.status}: {record.reason}"
        stops = verdict.stops or (failed and (verdict.wanted != "" or self.settings.strict))
        if stops:
            self.problems.append(f"{text}; {verdict.wanted or 'the deployment is strict'}")
        error = None if _is_its_word(found, record.error) else record.error
        if error is not None or (failed and not stops):
            self._say(text, error)
        if record.error is not None:
            forget_frames(record.error)
