"""`penguiflow plugins list`: what is installed, what would become of it and why, and the settings in force.

Rules: it reads metadata and settings, and imports no plugin; so it works when a plugin is broken, and also when the
settings are.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from penguiflow import PluginError
from penguiflow._discovery import GROUPS, Found, installed
from penguiflow._loading import FAILED, LOADED
from penguiflow._names import Names
from penguiflow._settings import CONFIG, VARIABLES, Settings, read_settings
from penguiflow._weighing import Verdict, strangers, weighed, wishes
from penguiflow.cli.speech import table

LIMITS = ("decision_timeout_s", "quarantine_after", "start_timeout_s", "stop_timeout_s")
UNKNOWN = "unknown"
UNTRIED = "Nothing was imported. Whether what would be tried can be loaded, `penguiflow plugins doctor` finds out."


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting in force, and where it was written down."""

    name: str
    value: Any
    source: str


@dataclass(frozen=True, slots=True)
class Entry:
    """A plugin that is installed, and what would become of it.

    Attributes:
        status: As in `flow.plugins`, by the settings alone: `loaded` is what a flow would try to load, and it may fail.
            `unknown` if the settings can't be read.
    """

    name: str
    group: str
    distribution: str
    version: str
    factory: str
    status: str
    reason: str


@dataclass(frozen=True, slots=True)
class Listing:
    """All that can be said without importing anything.

    Attributes:
        settings: Those in force; none if they can't be read.
        plugins: What is installed, in the order in which it would load.
        problems: What would stop every flow from being built.
        notes: What is odd, and stops nothing.
    """

    settings: tuple[Setting, ...]
    plugins: tuple[Entry, ...]
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def to_document(self) -> dict[str, Any]:
        """The same for `--json`."""
        return {
            "settings": [asdict(setting) for setting in self.settings],
            "plugins": [asdict(entry) for entry in self.plugins],
            "problems": list(self.problems),
            "notes": list(self.notes),
        }

    def to_text(self) -> str:
        """The same for a person."""
        if not self.plugins:
            return "no plugin is installed"
        rows = [(e.name, e.group, e.distribution, e.version, _expected(e.status), e.reason) for e in self.plugins]
        shown = table(("PLUGIN", "GROUP", "DISTRIBUTION", "VERSION", "WOULD BE", "WHY"), rows)
        tried = any(entry.status == LOADED for entry in self.plugins)
        return f"{shown}\n\n{UNTRIED}" if tried else shown


def listed() -> Listing:
    """What is installed, weighed by the settings of this deployment."""
    found = installed()
    try:
        settings = read_settings()
    except PluginError as error:
        why = "the settings are wrong, and no flow is built with them"
        return Listing((), tuple(_entry(plugin, UNKNOWN, why) for plugin in found), error.problems)
    said = wishes(settings, ())
    verdicts = weighed(said, found, GROUPS)
    names = strangers(said, Names(tuple(settings.options), settings.options_at), found)
    return Listing(
        tuple(in_force(settings)),
        tuple(_entry(v.found, v.record.status, v.record.reason) for v in verdicts),
        tuple(
            [text for text, wanted in names if wanted or settings.strict]
            + [_missing(v) for v in verdicts if _stops(v, settings.strict)]
        ),
        tuple(text for text, wanted in names if not (wanted or settings.strict)),
    )


def _expected(status: str) -> str:
    """A status for a person: who hasn't imported a plugin can't say that it would be loaded."""
    return "tried" if status == LOADED else status


def _stops(verdict: Verdict, strict: bool) -> bool:
    status = verdict.record.status
    return (verdict.stops and status != LOADED) or (strict and status == FAILED)


def _missing(verdict: Verdict) -> str:
    record, why = verdict.record, verdict.wanted or "the deployment is strict"
    return f"plugin {record.name!r} ({record.distribution}) is {record.status}: {record.reason}; {why}"


def _entry(plugin: Found, status: str, reason: str) -> Entry:
    return Entry(plugin.name, plugin.group, plugin.distribution, plugin.version, plugin.value, status, reason)


def in_force(settings: Settings) -> Iterator[Setting]:
    """Each setting, its value, and the variable or file that says so."""
    if settings.file is not None:
        yield Setting("file", settings.file, CONFIG)
    yield _names("allow", settings.allow, "all")
    yield from (_names("block", names, ()) for names in settings.block if names.names)
    for name, names in (("require", settings.require), ("policies", settings.policies), ("order", settings.order)):
        if names is not None and (names.names or name != "order"):
            yield _names(name, names, ())
    yield Setting("strict", settings.strict, _strict_source(settings))
    for name in LIMITS:
        value = getattr(settings, name)
        yield Setting(name, value, "default" if value == getattr(Settings(), name) else _in_file(settings, name))
    for name, options in settings.options.items():
        yield Setting(f"options.{name}", list(options), _in_file(settings, f"options.{name}"))


def _names(name: str, names: Names | None, otherwise: Any) -> Setting:
    return Setting(name, otherwise, "default") if names is None else Setting(name, list(names.names), names.source)


def _strict_source(settings: Settings) -> str:
    if VARIABLES["strict"] in os.environ:
        return VARIABLES["strict"]
    return _in_file(settings, "strict") if settings.strict else "default"


def _in_file(settings: Settings, key: str) -> str:
    return settings.options_at.removesuffix("options") + key


def settings_text(settings: tuple[Setting, ...]) -> str:
    """The settings that somebody wrote down, for a person."""
    rows = [(s.name, _value(s.value), s.source) for s in settings if s.source != "default"]
    return (
        table(("SETTING", "VALUE", "FROM"), rows)
        if rows
        else "no setting is made: every plugin loads by itself, no policy does"
    )


def _value(value: Any) -> str:
    return (", ".join(value) or "(none)") if isinstance(value, list) else str(value)
