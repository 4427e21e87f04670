"""Decides which plugins a flow has, and loads them: what code gives, what a deployment names, what is installed.

Rules: blocks and the allow-list act before anything is imported. A plugin that can't be loaded is left out, unless it
was named or required, or the deployment is strict. Installing a policy changes nothing until somebody names it. For
decisions, named policies are asked first, then the objects that code gives, then what loads by itself.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from penguiflow._discovery import PLUGINS, POLICIES, Found, installed
from penguiflow._errors import PluginError
from penguiflow._events import FlowEvent
from penguiflow._impls import Callback, Plugin, implemented, named
from penguiflow._loading import AVAILABLE, BLOCKED, FAILED, LOADED, PluginRecord, load, recorded
from penguiflow._settings import Names, Settings, meant, read_settings

log = logging.getLogger("penguiflow")


@dataclass(frozen=True, slots=True)
class PluginSet:
    """The plugins of one flow.

    Attributes:
        tiers: Those that loaded, in the order in which they decide: named policies, objects, what loads by itself.
        records: What became of each, the discovered ones after those that code gave.
        settings: What the deployment said.
        needed: The names of those that were named or required: without them no flow starts.
    """

    tiers: tuple[tuple[Plugin, ...], ...]
    records: tuple[PluginRecord, ...]
    settings: Settings
    needed: frozenset[str] = frozenset()

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
    found = installed()
    objects = [Plugin(named(item), item) for item in given if not isinstance(item, str)]
    records = [PluginRecord(p.name, None, LOADED, "given to create()", hooks=implemented(p)) for p in objects]
    code = Names(tuple(item for item in given if isinstance(item, str)), "create(plugins=[...])")
    if on_event is not None:
        callback = Callback(on_event)
        objects.append(Plugin(named(callback), callback))
    host = _Host(settings, found, code)
    policies, others = host.loaded(POLICIES), host.loaded(PLUGINS)
    host.finish()
    return PluginSet((policies, tuple(objects), others), (*records, *host.records), settings, frozenset(host.needed))


def planned(settings: Settings, found: Iterable[Found]) -> tuple[PluginRecord, ...]:
    """What would become of what is installed, as far as that can be told without importing anything."""
    host = _Host(settings, tuple(found), Names((), "create(plugins=[...])"))
    records = []
    for plugin in host.ordered():
        status, reason = host.verdict(plugin)
        records.append(recorded(plugin, status, reason))
    return tuple(records)


class _Host:
    """Weighs the settings for one flow, and collects what is wrong."""

    def __init__(self, settings: Settings, found: tuple[Found, ...], code: Names) -> None:
        self.settings: Settings = settings
        self.found: tuple[Found, ...] = found
        self.code: Names = code
        self.records: list[PluginRecord] = []
        self.problems: list[str] = []
        self.needed: list[str] = []
        self.policies: Names = settings.policies if settings.policies is not None else code
        self.counts: Counter[tuple[str, str]] = Counter((plugin.group, plugin.name) for plugin in found)
        self._unknown_names()

    def _unknown_names(self) -> None:
        """A name that stands for nothing installed: an error where the plugin was wanted, else only said."""
        settings, every = self.settings, [plugin.name for plugin in self.found]
        routers = tuple(plugin for plugin in self.found if plugin.group == POLICIES)
        for names, among in ((settings.require, self.found), (self.code, self.found), (settings.policies, routers)):
            for name, source in _unknown(names, among):
                kind = "policy" if among is routers else "plugin"
                hint = meant(name, [p.name for p in among]) or ": install it, or take the name away"
                self.problems.append(f"{source} names {name!r}, and no {kind} of that name is installed{hint}")
        for names in (settings.allow, settings.order, *settings.block):
            for name, source in _unknown(names, self.found):
                self._said(f"{source} names {name!r}, and no such plugin is installed{meant(name, every)}")
        options = Names(tuple(settings.options), f"{settings.file}: plugins.options")
        for name, source in _unknown(options, self.found):
            self._said(f"{source}.{name} is for a plugin that isn't installed{meant(name, every)}")

    def _said(self, text: str) -> None:
        if self.settings.strict:
            self.problems.append(text)
        else:
            log.warning("%s", text)

    def ordered(self, *groups: str) -> list[Found]:
        """Those that a setting puts first, then the others by name; named policies in the order of their names."""
        named = self.policies.names

        def place(plugin: Found) -> tuple[int, int]:
            first = _place(plugin, self.settings.order.names)
            return first, _place(plugin, named) if plugin.group == POLICIES else 0

        return sorted((p for p in self.found if not groups or p.group in groups), key=place)

    def verdict(self, plugin: Found) -> tuple[str, str]:
        """Whether a plugin is to be loaded, and why, or why not."""
        for names in self.settings.block:
            if any(_is(plugin, name) for name in names):
                return BLOCKED, f"blocked by {names.source}"
        if plugin.group == POLICIES and not any(_is(plugin, name) for name in self.policies):
            if any(_is(plugin, name) for name in self.code):
                return AVAILABLE, f"named by {self.code.source}, but {self.policies.source} has the last word"
            return AVAILABLE, "a policy loads when it is named, as in PENGUIFLOW_POLICIES"
        allow = self.settings.allow
        if plugin.group == PLUGINS and allow is not None and not any(_is(plugin, name) for name in allow):
            return BLOCKED, f"not among those that {allow.source} allows"
        if others := self._namesakes(plugin):
            both = ", ".join(f"{p.full_name} {p.version}" for p in others)
            return FAILED, f"{len(others)} distributions use this name ({both}): block or uninstall all but one"
        return LOADED, self._wanted_by(plugin) or "loads by itself"

    def _namesakes(self, plugin: Found) -> list[Found]:
        if self.counts[plugin.group, plugin.name] == 1:
            return []
        same = [p for p in self.found if (p.group, p.name) == (plugin.group, plugin.name)]
        blocked = [p for p in same if any(_is(p, name) for names in self.settings.block for name in names)]
        left = [p for p in same if p not in blocked]
        exact = [p for p in left if p.full_name in (*self.policies, *(self.settings.allow or ()))]
        return [] if len(left) < 2 or (exact == [plugin]) else left

    def _wanted_by(self, plugin: Found) -> str | None:
        """Which setting, or code, asks for the plugin by its name."""
        lists = [self.settings.require, self.policies if plugin.group == POLICIES else None, self.code]
        for names in lists:
            if names is not None and any(_is(plugin, name) for name in names):
                return f"named by {names.source}"
        return None

    def loaded(self, group: str) -> tuple[Plugin, ...]:
        """Load the plugins of a group that are to be loaded."""
        plugins = []
        for found in self.ordered(group):
            status, reason = self.verdict(found)
            if status == LOADED:
                record, instance = load(found, reason, *self._options(found))
            else:
                record, instance = recorded(found, status, reason), None
            self.records.append(record)
            if instance is not None:
                plugins.append(Plugin(found.name, instance))
                if self._wanted_by(found) is not None:
                    self.needed.append(found.name)
            elif record.status != AVAILABLE:
                self._left_out(found, record)
        return tuple(plugins)

    def _options(self, found: Found) -> tuple[Mapping[str, Any], str]:
        name = found.full_name if found.full_name in self.settings.options else found.name
        return self.settings.options.get(name, {}), f"{self.settings.file}: plugins.options.{name}"

    def _left_out(self, found: Found, record: PluginRecord) -> None:
        wanted = self._wanted_by(found)
        required = wanted is not None and not (record.status == BLOCKED and self._only_code_wants(found))
        text = f"plugin {found.name!r} ({found.distribution} {found.version}) is {record.status}: {record.reason}"
        if required or (self.settings.strict and record.status != BLOCKED):
            self.problems.append(f"{text}; {wanted or 'the deployment is strict'}")
        elif record.status != BLOCKED:
            log.warning("%s", text, exc_info=record.error)

    def _only_code_wants(self, found: Found) -> bool:
        """A deployment may take away what code names, but it can't both require and block."""
        lists = (self.settings.require, self.settings.policies)
        return not any(_is(found, name) for names in lists if names is not None for name in names)

    def finish(self) -> None:
        """Say everything that is wrong.

        Raises:
            PluginError: something is.
        """
        if self.problems:
            raise PluginError(self.problems)


def _unknown(names: Names | None, among: tuple[Found, ...]) -> list[tuple[str, str]]:
    """The names that none of these plugins has, and where they are written."""
    if names is None:
        return []
    return [(name, names.source) for name in names if not any(_is(plugin, name) for plugin in among)]


def _is(plugin: Found, name: str) -> bool:
    return name in (plugin.name, plugin.full_name)


def _place(plugin: Found, names: tuple[str, ...]) -> int:
    return next((place for place, name in enumerate(names) if _is(plugin, name)), len(names))
