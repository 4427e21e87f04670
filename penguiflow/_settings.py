"""Which plugins a deployment wants, and with which options: what the environment says, and what its file does.

Rules: what the environment says beats the file, and the file beats what code names. Blocks add up and always win. A
setting that nobody knows is an error that says where it stands and which one is meant: a mistyped block-list would
otherwise let everything in.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from penguiflow._errors import PluginError
from penguiflow._names import Names, close, meant

CONFIG = "PENGUIFLOW_CONFIG"
VARIABLES = {
    "allow": "PENGUIFLOW_PLUGINS",
    "block": "PENGUIFLOW_PLUGINS_BLOCK",
    "require": "PENGUIFLOW_PLUGINS_REQUIRE",
    "policies": "PENGUIFLOW_POLICIES",
    "strict": "PENGUIFLOW_PLUGINS_STRICT",
}
_OURS = "PENGUIFLOW_"
_OF_A_SERVICE = re.compile(r"_(SERVICE_HOST|SERVICE_PORT|PORT)(_|$)")  # Kubernetes sets these for a Service of our name
_PREFIXES = ("PENGUIFLOW_PLUGIN", "PENGUIFLOW_POLIC", "PENGUIFLOW_CONF")
_ALIKE = 0.85
_AS_SAID = ("decision_timeout_s", "quarantine_after", "start_timeout_s", "stop_timeout_s", "options")
_YES, _NO = ("1", "true", "yes", "on"), ("", "0", "false", "no", "off")


class Settings(NamedTuple):
    """What a deployment says about plugins.

    Attributes:
        allow: The only plugins that load by themselves; `None` for all.
        block: Those that never load.
        require: Those without which no flow is built.
        policies: The routing policies to load; `None` if the deployment doesn't say.
        order: Those that come first, in this order.
        strict: Whether any plugin that can't be used stops the build.
        decision_timeout_s: Seconds that a plugin may take to decide a route, or what follows an error.
        quarantine_after: After how many failures in a row a plugin is no longer called.
        start_timeout_s: Seconds that a plugin may take to start.
        stop_timeout_s: Seconds that the plugins may take to stop.
        stop_timeout_said: Whether the deployment says so; otherwise a plugin may ask for more.
        options: What each plugin is given, by its name.
        options_at: Where the options stand.
        file: The TOML file, if there is one.
    """

    allow: Names | None = None
    block: tuple[Names, ...] = ()
    require: Names | None = None
    policies: Names | None = None
    order: Names = Names((), "order")
    strict: bool = False
    decision_timeout_s: float = 10.0
    quarantine_after: int = 10
    start_timeout_s: float = 10.0
    stop_timeout_s: float = 5.0
    stop_timeout_said: bool = False
    options: Mapping[str, Mapping[str, Any]] = MappingProxyType({})
    options_at: str = "plugins.options"
    file: str | None = None


def read_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """The settings of this deployment.

    Raises:
        PluginError: the file can't be read, or something in it or in the environment is wrong; lists every problem.
    """
    problems = list(_strangers(environ))
    path = environ.get(CONFIG) or None
    said: Mapping[str, Any] = {}
    at = "plugins"
    if path is not None:
        from penguiflow._settings_file import table  # most deployments have no file

        try:
            said, at = table(path, CONFIG)
        except PluginError as error:
            problems += error.problems
    strict = _flag(environ, problems)
    if problems:
        raise PluginError(problems)

    def listed(key: str) -> Names | None:
        return Names(tuple(said[key]), f"{at}.{key}") if key in said else None

    return Settings(
        allow=_listed(environ, "allow") or listed("allow"),
        block=tuple(names for names in (_listed(environ, "block"), listed("block")) if names),
        require=_listed(environ, "require") or listed("require"),
        policies=_listed(environ, "policies") or listed("policies"),
        order=listed("order") or Names((), f"{at}.order"),
        strict=said.get("strict", False) if strict is None else strict,
        stop_timeout_said="stop_timeout_s" in said,
        options_at=f"{at}.options",
        file=path,
        **{key: said[key] for key in _AS_SAID if key in said},
    )


def _strangers(environ: Mapping[str, str]) -> Iterable[str]:
    """What looks like a setting and is none. Other names that begin with ours may belong to a plugin."""
    known = (*VARIABLES.values(), CONFIG)
    for name in sorted(name for name in environ if name.startswith(_OURS) and name not in known):
        if _OF_A_SERVICE.search(name):
            continue
        if name.startswith(_PREFIXES) or close(name, known, _ALIKE):
            hint = meant(name, known) or f": there are {', '.join(known)}"
            yield f"the environment variable {name} is none of PenguiFlow's{hint}"


def _listed(environ: Mapping[str, str], key: str) -> Names | None:
    """The names in a variable, separated by commas; `None` if it isn't set. One that is empty names none."""
    text = environ.get(VARIABLES[key])
    if text is None:
        return None
    return Names(tuple(part.strip() for part in text.split(",") if part.strip()), VARIABLES[key])


def _flag(environ: Mapping[str, str], problems: list[str]) -> bool | None:
    text = environ.get(VARIABLES["strict"])
    if text is None:
        return None
    if text.strip().lower() in (*_YES, *_NO):
        return text.strip().lower() in _YES
    problems.append(f"{VARIABLES['strict']} is {text!r}: write 1 or 0")
    return None
