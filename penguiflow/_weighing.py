"""Weighs what settings and code say about the plugins that are installed: which are to be loaded, and why, or why not.

Rules: nothing is imported here. Blocks win, then a policy has to be named, then the allow-list counts. The result
depends on nothing else, so it is kept: a second flow asks again for free.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from penguiflow._discovery import PLUGINS, POLICIES, Found
from penguiflow._loading import AVAILABLE, BLOCKED, FAILED, LOADED, PluginRecord, recorded
from penguiflow._names import Names, key_of, meant, same_distribution
from penguiflow._settings import Settings

CODE = "create(plugins=[...])"


class Wishes(NamedTuple):
    """Who is named where.

    Attributes:
        allow: As in the settings; `None` if they don't say.
        block: As in the settings.
        require: As in the settings.
        policies: Those that are to be loaded: the settings' or, where these don't say, the code's.
        order: As in the settings.
        code: The names given to `create`.
        deployed: Whether the settings name the policies.
    """

    allow: Names | None
    block: tuple[Names, ...]
    require: Names | None
    policies: Names
    order: Names
    code: Names
    deployed: bool


class Verdict(NamedTuple):
    """What is to become of a plugin.

    Attributes:
        found: The plugin.
        record: What the flow shows of it, unless it is to be loaded.
        wanted: Who asks for it by its name, as in "named by PENGUIFLOW_POLICIES"; empty if nobody does.
        stops: Whether no flow is built as it is left out: it was required, or the deployment named and blocked it.
    """

    found: Found
    record: PluginRecord
    wanted: str
    stops: bool


def wishes(settings: Settings, code: tuple[str, ...]) -> Wishes:
    """What the settings and code name. The settings' policies, also none, stand instead of the code's."""
    names = Names(code, CODE)
    policies, deployed = settings.policies, settings.policies is not None
    return Wishes(settings.allow, settings.block, settings.require, policies or names, settings.order, names, deployed)


@functools.lru_cache(maxsize=16)
def weighed(said: Wishes, found: tuple[Found, ...], groups: tuple[str, ...]) -> tuple[Verdict, ...]:
    """The verdicts on the plugins of some groups, in the order in which they load and decide: policies in the order in
    which they are named, then the plugins that a setting puts first, then the others by name.
    """

    def place(plugin: Found) -> int:
        return (said.policies if plugin.group == POLICIES else said.order).place(plugin.keys)

    names = Counter((plugin.group, plugin.name) for plugin in found)
    verdicts = []
    for plugin in sorted((p for p in found if p.group in groups), key=place):
        same = found if names[plugin.group, plugin.name] > 1 else (plugin,)
        status, reason = _judged(plugin, said, same)
        verdicts.append(
            Verdict(plugin, recorded(plugin, status, reason), _wanted_by(plugin, said), _stops(plugin, said, status))
        )
    return tuple(verdicts)


def _judged(plugin: Found, said: Wishes, found: tuple[Found, ...]) -> tuple[str, str]:
    for names in said.block:
        if names.have(plugin.keys):
            return BLOCKED, f"blocked by {names.source}"
    if plugin.group == POLICIES and not said.policies.have(plugin.keys):
        if said.code.have(plugin.keys):
            return AVAILABLE, f"named by {CODE}, but {said.policies.source} has the last word"
        return AVAILABLE, "a policy loads when it is named, as in PENGUIFLOW_POLICIES"
    if plugin.group == PLUGINS and said.allow is not None and not said.allow.have(plugin.keys):
        return BLOCKED, f"not among those that {said.allow.source} allows"
    if others := _namesakes(plugin, said, found):
        both = ", ".join(f"{p.full_name} {p.version}" for p in others)
        return FAILED, f"{len(others)} distributions use this name ({both}): block or uninstall all but one"
    return LOADED, _wanted_by(plugin, said) or "loads by itself"


def _namesakes(plugin: Found, said: Wishes, found: tuple[Found, ...]) -> list[Found]:
    """The plugins that have the same name, unless a setting or code says in full which one is meant."""
    same = [p for p in found if (p.group, p.name) == (plugin.group, plugin.name)]
    left = [p for p in same if not any(names.have(p.keys) for names in said.block)]
    lists = [names for names in (said.policies, said.allow, said.require, said.code) if names is not None]
    exact = [p for p in left if any(names.have(p.keys[1:]) for names in lists)]
    return [] if len(left) < 2 or exact == [plugin] else left


def _wanted_by(plugin: Found, said: Wishes) -> str:
    """Which setting, or code, asks for the plugin by its name."""
    for names in (said.require, said.policies if plugin.group == POLICIES else None, said.code):
        if names is not None and names.have(plugin.keys):
            return f"named by {names.source}"
    return ""


def _stops(plugin: Found, said: Wishes, status: str) -> bool:
    """A deployment may take away what code names. It can't require and block, or name and block, the same plugin."""
    if said.require is not None and said.require.have(plugin.keys):
        return True
    if status == FAILED:
        return bool(_wanted_by(plugin, said))
    return status == BLOCKED and plugin.group == POLICIES and said.deployed and said.policies.have(plugin.keys)


@functools.lru_cache(maxsize=16)
def strangers(said: Wishes, options: Names, found: tuple[Found, ...]) -> tuple[tuple[str, bool], ...]:
    """What there is to say of names that stand for nothing installed, and whether a plugin of that name was wanted."""
    texts = [(text, True) for names in (said.require, said.code) for text in _unknown(names, found, _install)]
    if said.deployed:
        routers = tuple(plugin for plugin in found if plugin.group == POLICIES)
        others = tuple(plugin for plugin in found if plugin.group == PLUGINS)

        def hint(name: str) -> str:
            if any(plugin.name == name for plugin in others):
                return ": it is a plugin, and loads by itself"
            provided = [plugin.name for plugin in others if same_distribution(name, plugin.distribution)]
            return f": it provides {provided[0]!r}, a plugin, which loads by itself" if provided else _install(name)

        texts += [(text, True) for text in _unknown(said.policies, routers, hint, "policy")]
    for names in (said.allow, said.order, *said.block, options):
        texts += [(text, False) for text in _unknown(names, found, lambda name: "")]
    return tuple(texts)


def _install(name: str) -> str:
    return ": install it, or take the name away"


def _unknown(
    names: Names | None, among: tuple[Found, ...], otherwise: Callable[[str], str], kind: str = "plugin"
) -> list[str]:
    if names is None:
        return []
    known = {key for plugin in among for key in plugin.keys}
    every = [plugin.name for plugin in among]
    return [
        f"{names.source} names {name!r}, and no {kind} of that name is installed"
        f"{_provided(name, among) or meant(name, every) or otherwise(name)}"
        for name in names
        if key_of(name) not in known
    ]


def _provided(name: str, among: tuple[Found, ...]) -> str:
    """What to write instead, if this is the name of a distribution."""
    provided = [plugin for plugin in among if same_distribution(name, plugin.distribution)]
    if not provided:
        return ""
    either = " or ".join(repr(plugin.name) for plugin in provided)
    return f": did you mean {either}, which {provided[0].distribution} provides?"
