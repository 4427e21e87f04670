"""Makes plugins as a deployment has them, and keeps every other plugin out of the way.

Rules: a plugin is found by its entry point, and its options are checked against what its factory says it takes, as the
kernel does it. The settings of the machine that the tests run on don't count.
"""

from __future__ import annotations

import inspect
import json
import os
import tempfile
import typing
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date, datetime, time
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any
from unittest import mock

from pydantic import TypeAdapter

PLUGINS, POLICIES = "penguiflow.plugins", "penguiflow.policies"
VARIABLES = ("PENGUIFLOW_PLUGIN", "PENGUIFLOW_POLIC", "PENGUIFLOW_CONF")  # what its settings begin with


def found(name: str) -> EntryPoint:
    """The entry point of that name.

    Raises:
        LookupError: none is installed; the text says how to declare one.
    """
    every = [point for group in (PLUGINS, POLICIES) for point in entry_points(group=group)]
    for point in every:
        if point.name == name:
            return point
    raise LookupError(
        f"no installed distribution has an entry point {name!r} in {PLUGINS} or {POLICIES} "
        f"(there are: {', '.join(sorted(p.name for p in every)) or 'none'}). Declare it in pyproject.toml, as in "
        f'[project.entry-points."{PLUGINS}"] {name} = "your_package:plugin", and install the distribution again '
        "(pip install --editable .)"
    )


def made(name: str, options: Mapping[str, Any]) -> Any:
    """A new instance of an installed plugin."""
    factory = found(name).load()
    parameters = list(inspect.signature(factory).parameters)
    if not parameters:
        return factory()
    model = typing.get_type_hints(factory).get(parameters[0], dict[str, Any])
    return factory(TypeAdapter(model).validate_python(dict(options)))


@contextmanager
def deployment(
    stop_s: float, plugin: str | None = None, options: Mapping[str, Any] | None = None, group: str = PLUGINS
) -> Iterator[None]:
    """The settings of a deployment that has this plugin, or none that loads by itself."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(VARIABLES)}
    table = {"stop_timeout_s": stop_s, "options": {plugin: options} if plugin is not None and options else {}}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "penguiflow.toml"
        file.write_text(f"plugins = {toml(table)}\n", encoding="utf-8")
        kept["PENGUIFLOW_CONFIG"] = str(file)
        kept["PENGUIFLOW_PLUGINS"] = plugin if plugin is not None and group == PLUGINS else ""
        with mock.patch.dict(os.environ, kept, clear=True):
            yield


def toml(value: Any) -> str:
    """A value as TOML: what an option has to be, to stand in a deployment's file.

    Raises:
        TypeError: TOML has no such value.
    """
    if isinstance(value, Mapping):
        pairs = (f"{toml(str(key))} = {toml(item)}" for key, item in value.items() if item is not None)
        return f"{{ {', '.join(pairs)} }}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(toml(item) for item in value)}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, date | datetime | time):
        return value.isoformat()
    raise TypeError(f"{value!r:.80} can't be written in a TOML file, and options come from one: use plain values")
