"""Loads one plugin: imports its factory, gives it its options, and looks at what it made.

Rules: whatever goes wrong is recorded and never raised, `SystemExit` at import included. A factory is read once in a
process: a second flow costs a call.
"""

from __future__ import annotations

import functools
import inspect
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from penguiflow._discovery import PLUGINS, POLICIES, Found
from penguiflow._impls import Plugin, implemented
from penguiflow._settings import meant
from penguiflow._signature import parameter_annotation
from penguiflow._types import UNKNOWN

API_VERSION = "2"
LOADED, BLOCKED, AVAILABLE, FAILED, INCOMPATIBLE = "loaded", "blocked", "available", "failed", "incompatible"


@dataclass(frozen=True, slots=True)
class PluginRecord:
    """What became of one plugin when a flow was built.

    Attributes:
        name: What settings call it; an object's `name` or class.
        group: `penguiflow.plugins` or `penguiflow.policies`; `None` for an object given to `create`.
        status: `loaded`; `blocked` (by a setting); `available` (a policy that nobody named); `failed`; `incompatible`
            (made for another major version of the plugin interface).
        reason: Why it has that status, in a sentence.
        distribution: Who brings it, if it was discovered.
        version: Of that distribution.
        hooks: What it implements, once it is loaded.
        error: What it raised, if it failed.
        load_ms: How many milliseconds importing and making it took.
    """

    name: str
    group: str | None
    status: str
    reason: str
    distribution: str | None = None
    version: str | None = None
    hooks: tuple[str, ...] = ()
    error: BaseException | None = None
    load_ms: float | None = None


def recorded(found: Found, status: str, reason: str, **more: Any) -> PluginRecord:
    """The record of a plugin that was discovered."""
    return PluginRecord(found.name, found.group, status, reason, found.distribution, found.version, **more)


def load(found: Found, reason: str, options: Mapping[str, Any], where: str) -> tuple[PluginRecord, Any]:
    """Make a plugin; its record, and the plugin unless something went wrong. `where` says where its options stand."""
    started = time.perf_counter()
    status, instance, error = LOADED, None, None
    hooks: tuple[str, ...] = ()
    try:
        instance = _made(found, options, where)
        version = str(getattr(instance, "api_version", API_VERSION))
        if version.split(".")[0] == API_VERSION:
            hooks = _hooks(found, instance)
        else:
            status = INCOMPATIBLE
            reason = f"made for version {version} of the plugin interface, and this PenguiFlow has {API_VERSION}"
    except BaseException as exc:
        if isinstance(exc, KeyboardInterrupt):
            raise
        status, error = FAILED, exc
        reason = str(exc) if isinstance(exc, _OptionsError) else f"{type(exc).__name__}: {exc}"
    took = (time.perf_counter() - started) * 1e3
    record = recorded(found, status, reason, hooks=hooks, error=error, load_ms=took)
    return record, instance if status == LOADED else None


def _hooks(found: Found, instance: Any) -> tuple[str, ...]:
    hooks = implemented(Plugin(found.name, instance))
    if found.group == PLUGINS and "resolve_route" in hooks:
        raise TypeError(f"it implements resolve_route, and would reroute traffic unasked: publish it in {POLICIES}")
    return hooks


class _OptionsError(ValueError):
    """The options of a plugin are wrong."""


@dataclass(frozen=True, slots=True)
class _Factory:
    """What an entry point names.

    Attributes:
        make: The function itself.
        adapter: What its options are validated with; `None` if they are taken as they are.
        known: The names of its options; `None` if any will do.
        takes: Whether it takes options at all.
    """

    make: Callable[..., Any]
    adapter: TypeAdapter[Any] | None
    known: tuple[str, ...] | None
    takes: bool


@functools.lru_cache(maxsize=1024)
def _factory(found: Found) -> _Factory:
    make = found.load()
    if not callable(make):
        raise TypeError(f"{found.value} is {make!r:.60}, and an entry point names a function `plugin(options)`")
    if not inspect.signature(make).parameters:
        return _Factory(make, None, (), takes=False)
    model = parameter_annotation(make)
    if model in (UNKNOWN, Any):
        return _Factory(make, None, None, takes=True)
    known = None
    if isinstance(model, type) and issubclass(model, BaseModel) and model.model_config.get("extra") != "allow":
        known = (*model.model_fields, *(f.alias for f in model.model_fields.values() if f.alias))
    return _Factory(make, TypeAdapter(model), known, takes=True)


def _made(found: Found, options: Mapping[str, Any], where: str) -> Any:
    factory = _factory(found)
    known = options if factory.known is None else factory.known
    for key in options:
        if key not in known:
            has = meant(key, known) or f": it has {', '.join(known) or 'none'}"
            raise _OptionsError(f"{where}.{key}: this plugin has no option {key!r}{has}")
    instance = factory.make(_validated(factory, options, where)) if factory.takes else factory.make()
    if inspect.isawaitable(instance):
        getattr(instance, "close", lambda: None)()
        raise TypeError(f"{found.value} is async: write `def`, and put what must wait into the plugin's start(flow)")
    return instance


def _validated(factory: _Factory, options: Mapping[str, Any], where: str) -> Any:
    if factory.adapter is None:
        return dict(options)
    try:
        return factory.adapter.validate_python(dict(options))
    except ValidationError as exc:
        texts = [f"{'.'.join([where, *map(str, e['loc'])])}: {e['msg']}" for e in exc.errors(include_url=False)]
        raise _OptionsError("; ".join(texts)) from None
