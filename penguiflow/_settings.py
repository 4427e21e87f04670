"""Which plugins a deployment wants, and with which options: read from the environment and a TOML file.

Rules: what the environment says beats the file, and the file beats what code names. Blocks add up and always win. A
setting that nobody knows is an error that says where it stands and which one is meant: a mistyped block-list would
otherwise let everything in.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from penguiflow._errors import PluginError

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
_YES, _NO = ("1", "true", "yes", "on"), ("", "0", "false", "no", "off")


class _Table(BaseModel, defer_build=True):
    """The table `[plugins]` of the file."""

    model_config = ConfigDict(extra="forbid", strict=True)

    allow: list[str] | None = None
    block: list[str] = []
    require: list[str] | None = None
    policies: list[str] | None = None
    order: list[str] = []
    strict: bool | None = None
    decision_timeout_s: float = Field(default=10.0, gt=0, allow_inf_nan=False)
    quarantine_after: int = Field(default=10, ge=1)
    start_timeout_s: float = Field(default=10.0, gt=0, allow_inf_nan=False)
    stop_timeout_s: float = Field(default=5.0, gt=0, allow_inf_nan=False)
    options: dict[str, dict[str, Any]] = {}


def key_of(name: str) -> str:
    """A name as it is compared: in `distribution:name`, the distribution may be written as package indexes allow."""
    distribution, colon, rest = name.partition(":")
    return f"{re.sub(r'[-_.]+', '-', distribution).lower()}:{rest}" if colon else name


@dataclass(frozen=True, slots=True)
class Names:
    """Names of plugins, and where they were written down. One may say `distribution:name`."""

    names: tuple[str, ...]
    source: str
    _places: Mapping[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        places = {key_of(name): place for place, name in reversed(list(enumerate(self.names)))}
        object.__setattr__(self, "_places", places)

    def place(self, keys: tuple[str, ...]) -> int:
        """Where a plugin of these names stands; behind the last if nowhere."""
        places = self._places
        return min(places.get(key, len(self.names)) for key in keys) if places else 0

    def have(self, keys: tuple[str, ...]) -> bool:
        """Whether one of a plugin's names stands here."""
        return any(key in self._places for key in keys)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)


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


def meant(name: str, known: Iterable[str]) -> str:
    """`: did you mean ...?` if a known name is close to this one."""
    alike = _close(name, known)
    return f": did you mean {alike[0]!r}?" if alike else ""


def _close(name: str, known: Iterable[str], at_least: float = 0.6) -> list[str]:
    """The known name that is closest to this one, if it is close at all: from 0 for nothing in common to 1."""
    import difflib  # only where something is wrong

    return difflib.get_close_matches(name, list(known), n=1, cutoff=at_least)


def read_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """The settings of this deployment.

    Raises:
        PluginError: the file can't be read, or something in it or in the environment is wrong; lists every problem.
    """
    problems = list(_strangers(environ))
    path = environ.get(CONFIG) or None
    table, at = _Table(), "plugins"
    if path is not None:
        try:
            table, at = _table(path)
        except PluginError as error:
            problems += error.problems
    strict = _flag(environ, problems)
    if problems:
        raise PluginError(problems)

    def chosen(key: str) -> Names | None:
        listed = getattr(table, key)
        return _listed(environ, key) or (None if listed is None else Names(tuple(listed), f"{at}.{key}"))

    return Settings(
        allow=chosen("allow"),
        block=tuple(names for names in (_listed(environ, "block"), Names(tuple(table.block), f"{at}.block")) if names),
        require=chosen("require"),
        policies=chosen("policies"),
        order=Names(tuple(table.order), f"{at}.order"),
        strict=bool(table.strict) if strict is None else strict,
        decision_timeout_s=table.decision_timeout_s,
        quarantine_after=table.quarantine_after,
        start_timeout_s=table.start_timeout_s,
        stop_timeout_s=table.stop_timeout_s,
        stop_timeout_said="stop_timeout_s" in table.model_fields_set,
        options=table.options,
        options_at=f"{at}.options",
        file=path,
    )


def _strangers(environ: Mapping[str, str]) -> Iterable[str]:
    """What looks like a setting and is none. Other names that begin with ours may belong to a plugin."""
    known = (*VARIABLES.values(), CONFIG)
    for name in sorted(name for name in environ if name.startswith(_OURS) and name not in known):
        if _OF_A_SERVICE.search(name):
            continue
        if name.startswith(_PREFIXES) or _close(name, known, _ALIKE):
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


def _table(path: str) -> tuple[_Table, str]:
    """The file's table of plugins, and where it stands: `[plugins]`, or next to a `tool` in `[tool.penguiflow]`."""
    section, at = _section(path)
    problems = [f"{path}: there is no table {key!r}{meant(key, ['plugins'])}" for key in section if key != "plugins"]
    table = _Table()
    try:
        table = _Table.model_validate(section.get("plugins", {}))
    except ValidationError as exc:
        problems += [_complaint(at, error) for error in exc.errors(include_url=False)]
    if problems:
        raise PluginError(problems)
    return table, at


def _section(path: str) -> tuple[dict[str, Any], str]:
    """The part of the file that is ours, and where its table of plugins stands."""
    import tomllib  # most deployments have no file

    try:
        data = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        raise PluginError([f"{path} ({CONFIG}) can't be read: {exc}"]) from exc
    tool = data.get("tool")
    if not isinstance(tool, dict):
        return data, f"{path}: plugins"
    if "plugins" in data:
        raise PluginError([f"{path}: next to a table 'tool', [plugins] is called [tool.penguiflow.plugins]"])
    section = tool.get("penguiflow")
    if not isinstance(section, dict):
        raise PluginError([f"{path} has no table [tool.penguiflow]: write one, or take {CONFIG} away"])
    return section, f"{path}: tool.penguiflow.plugins"


def _complaint(at: str, error: Any) -> str:
    where = ".".join(map(str, (at, *error["loc"])))
    if error["type"] == "extra_forbidden":
        known = list(_Table.model_fields)
        return f"{where} is no setting{meant(str(error['loc'][0]), known) or ': there are ' + ', '.join(known)}"
    if not error["loc"]:
        return f"{where} is a table, and not {error['input']!r:.60}"
    return f"{where}: {error['msg']}, and it is {error['input']!r:.60}"
