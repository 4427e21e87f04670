"""Loads one plugin: imports its factory, gives it its options, and looks at what it made.

Rules: whatever goes wrong is recorded and never raised, `SystemExit` at import included. A factory is imported and
read once in a process, also one that can't be: a second flow costs a call. A flow that a plugin builds while it is
loaded itself does without it.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from threading import get_ident
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from pydantic import AliasChoices, AliasPath, BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from penguiflow._discovery import PLUGINS, POLICIES, Found
from penguiflow._errors import said, typed
from penguiflow._impls import Plugin, implemented
from penguiflow._names import meant
from penguiflow._signature import parameter_annotation
from penguiflow._types import UNKNOWN, members

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


@functools.lru_cache(maxsize=1024)
def recorded(found: Found, status: str, reason: str) -> PluginRecord:
    """The record of a plugin that was discovered, and isn't loaded."""
    return PluginRecord(found.name, found.group, status, reason, found.distribution, found.version)


def load(found: Found, reason: str, options: Mapping[str, Any], where: str) -> tuple[PluginRecord, Any]:
    """Make a plugin; its record, and the plugin unless something went wrong. `where` says where its options stand."""
    started = time.perf_counter()
    status, instance, error = LOADED, None, None
    hooks: tuple[str, ...] = ()
    here = (get_ident(), found.group, found.full_name)
    _under_way.add(here)
    try:
        instance = _made(found, options, where)
        foreign = incompatibility(instance)
        if foreign:
            status, reason = INCOMPATIBLE, foreign
        else:
            hooks = _hooks(found, instance)
    except BaseException as exc:
        if isinstance(exc, KeyboardInterrupt):
            raise
        status, error, reason = FAILED, exc, _told(exc)
    finally:
        _under_way.discard(here)
    took = (time.perf_counter() - started) * 1e3
    record = PluginRecord(
        found.name, found.group, status, reason, found.distribution, found.version, hooks, error, took
    )
    return record, instance if status == LOADED else None


def incompatibility(instance: Any) -> str:
    """What keeps a plugin that was made for another version of the plugin interface from being used."""
    version = getattr(instance, "api_version", API_VERSION)
    if version == API_VERSION or str(version).split(".")[0] == API_VERSION:
        return ""
    return f"made for version {version} of the plugin interface, and this PenguiFlow has {API_VERSION}"


def is_under_way(found: Found) -> bool:
    """Whether this thread is loading the plugin just now, which then builds a flow itself."""
    return bool(_under_way) and (get_ident(), found.group, found.full_name) in _under_way


_under_way: set[tuple[int, str, str]] = set()


def _told(exc: BaseException) -> str:
    return said(exc) if isinstance(exc, OptionsError) else typed(exc)


def _hooks(found: Found, instance: Any) -> tuple[str, ...]:
    hooks = implemented(Plugin(found.name, instance))
    if found.group == PLUGINS and "resolve_route" in hooks:
        raise TypeError(f"it implements resolve_route, and would reroute traffic unasked: publish it in {POLICIES}")
    return hooks


class OptionsError(ValueError):
    """The options of a plugin are wrong."""


class _Factory(NamedTuple):
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


_factories: WeakKeyDictionary[Found, _Factory | BaseException] = WeakKeyDictionary()


def _factory(found: Found) -> _Factory:
    factory = _factories.get(found)
    if factory is None:
        try:
            factory = _read(found)
        except KeyboardInterrupt:
            raise
        except BaseException as exc:
            factory = exc
        _factories[found] = factory
    if isinstance(factory, BaseException):
        raise factory
    return factory


def _read(found: Found) -> _Factory:
    make = found.load()
    if not callable(make):
        raise TypeError(f"{found.value} is {make!r:.60}, and an entry point names a function `plugin(options)`")
    parameters = inspect.signature(make).parameters
    if not parameters:
        return _Factory(make, None, (), takes=False)
    model = parameter_annotation(make)
    first = next(iter(parameters.values()))
    if model is UNKNOWN and first.annotation is not first.empty:
        raise TypeError(
            f"{found.value}: what its options are annotated with, {first.annotation!r:.60}, is not there when it runs: "
            "import or define it in the module itself, and not under TYPE_CHECKING"
        )
    if model in (UNKNOWN, Any):
        return _Factory(make, None, None, takes=True)
    return _Factory(make, TypeAdapter(model), _known(model), takes=True)


def _known(annotation: Any) -> tuple[str, ...] | None:
    """The names of a model's options; `None` if any will do, or it isn't known."""
    models = [model for model in members(annotation) if model not in (None, type(None))]
    model = models[0] if len(models) == 1 else None
    if dataclasses.is_dataclass(model):
        return tuple(field.name for field in dataclasses.fields(model) if field.init)
    if not (isinstance(model, type) and issubclass(model, BaseModel)) or _takes_more(model):
        return None
    by_name = model.model_config.get("populate_by_name") or model.model_config.get("validate_by_name")
    return tuple(
        key for name, field in model.model_fields.items() for key in dict.fromkeys(_keys(name, field, bool(by_name)))
    )


def _takes_more(model: type[BaseModel]) -> bool:
    """Whether a model may know what to do with names that are none of its fields, such as old ones."""
    validators = model.__pydantic_decorators__.model_validators.values()
    early = any(validator.info.mode in ("before", "wrap") for validator in validators)
    return early or model.__pydantic_root_model__ or model.model_config.get("extra") == "allow"


def _keys(name: str, field: FieldInfo, by_name: bool) -> Iterator[str]:
    """What a field of a model may be called in its input."""
    alias = field.validation_alias
    for choice in alias.choices if isinstance(alias, AliasChoices) else [alias]:
        first = choice.path[0] if isinstance(choice, AliasPath) else choice
        if isinstance(first, str):
            yield first
    if alias is None or by_name:
        yield name


def _made(found: Found, options: Mapping[str, Any], where: str) -> Any:
    factory = _factory(found)
    known = options if factory.known is None else factory.known
    for key in options:
        if key not in known:
            has = meant(key, known) or f": it has {', '.join(known) or 'none'}"
            raise OptionsError(f"{where}.{key}: this plugin has no option {key!r}{has}")
    instance = factory.make(_validated(factory, options, where)) if factory.takes else factory.make()
    if hasattr(instance, "__await__"):
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
        raise OptionsError("; ".join(texts)) from None
