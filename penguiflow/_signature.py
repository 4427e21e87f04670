"""What a node function looks like: read once, when the node is made.

Rules: a wrong shape is a `TypeError` that names the function and shows the corrected line. Annotations are resolved
against the function's module, its closure and the caller's local names; those that can't be are `UNKNOWN`.
"""

from __future__ import annotations

import functools
import inspect
import logging
import sys
import typing
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Mapping,
)
from typing import Any, NamedTuple

from pydantic import BaseModel

from penguiflow._types import UNKNOWN

log = logging.getLogger("penguiflow")

_DATA = (bool, int, float, str, bytes, list, tuple, set, frozenset, dict, BaseModel)
_STREAMS = (AsyncIterator, AsyncIterable, AsyncGenerator)
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class Shape(NamedTuple):
    """How to call a node's function, and what it takes and gives.

    Attributes:
        takes_ctx: Whether the context is its second argument.
        generates: Whether it is an async generator.
        wants: The annotation of its message.
        gives: The annotation of what it returns or, for a generator, yields.
    """

    takes_ctx: bool
    generates: bool
    wants: Any = UNKNOWN
    gives: Any = UNKNOWN


def shape_of(func: Callable[..., Any], name: str) -> Shape:
    """Read a node function.

    Raises:
        TypeError: it can't be a node; the text shows the corrected line.
    """
    if not callable(func):
        raise TypeError(f"node {name!r} needs an async function, not {func!r:.80}")
    plain = _plain(func)
    generates = inspect.isasyncgenfunction(plain)
    if not generates and not inspect.iscoroutinefunction(plain):
        raise TypeError(_not_async(func, plain, name))
    message, second = _parameters(func, name)
    hints = _hints(plain)
    _check_places(name, getattr(func, "__name__", name), hints.get(message.name), second and hints.get(second.name))
    _tell_of_unresolved(name, plain, [key for key in (message.name, "return") if hints.get(key) is UNKNOWN])
    gives = hints.get("return", UNKNOWN)
    return Shape(second is not None, generates, hints.get(message.name, UNKNOWN), _given(gives, generates))


def parameter_annotation(func: Callable[..., Any]) -> Any:
    """What a plain function of one argument says that it takes; `UNKNOWN` if it doesn't."""
    plain = _plain(func)
    try:
        first = next(iter(inspect.signature(func).parameters.values()), None)
    except (TypeError, ValueError):
        return UNKNOWN
    return UNKNOWN if first is None else _hints(plain).get(first.name, UNKNOWN)


def _not_async(func: Callable[..., Any], plain: Any, name: str) -> str:
    label = getattr(plain, "__name__", type(func).__name__)
    if inspect.isclass(func):
        return f"node {name!r}: {label} is a class: give the node an async function, such as a bound method"
    return (
        f"node {name!r}: {label} is not async: write `async def {label}(message, ctx)`, "
        "and call what blocks in it by `await asyncio.to_thread(...)`"
    )


def _plain(func: Callable[..., Any]) -> Any:
    """The function under partials, bound methods and callable objects."""
    while isinstance(func, functools.partial):
        func = func.func
    if inspect.isroutine(func) or inspect.isclass(func):
        return inspect.unwrap(func, stop=lambda f: hasattr(f, "__signature__"))
    return type(func).__call__


def _check_places(name: str, label: str, first: Any, second: Any) -> None:
    """Refuse a context where the message stands, and plain data where the context does."""
    if _is_context(first):
        raise TypeError(
            f"node {name!r}: {label} takes the context first, and the message comes first: "
            f"write `async def {label}(message, ctx)`"
        )
    if isinstance(second, type) and issubclass(second, _DATA):
        raise TypeError(
            f"node {name!r}: {label} takes a second argument of {second.__name__}, and a node takes one message and, "
            f"if it likes, a context: put what belongs together into one model, or write "
            f"`async def {label}(message, ctx: Context)`"
        )


def _is_context(annotation: Any) -> bool:
    """Whether it is `Context`, which stands above this module."""
    return getattr(annotation, "__qualname__", "") == "Context" and annotation.__module__ == "penguiflow._context"


def _tell_of_unresolved(name: str, func: Any, keys: list[str]) -> None:
    for key in keys:
        said = func.__annotations__[key]
        what = "what it returns" if key == "return" else "its message"
        text = "node %r: the annotation %r can't be resolved, so %s isn't checked: import what it names at run time"
        log.warning(text, name, said, what)


def _parameters(func: Callable[..., Any], name: str) -> tuple[inspect.Parameter, inspect.Parameter | None]:
    """The message's parameter and, if there is one, the context's."""
    parameters = list(inspect.signature(func).parameters.values())
    places = [p for p in parameters if p.kind in _POSITIONAL]
    required = [p for p in places if p.default is p.empty]
    keyword = [p for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty]
    label = getattr(func, "__name__", name)
    if not places or len(required) > 2 or keyword:
        found = ", ".join(p.name for p in parameters) or "nothing"
        raise TypeError(
            f"node {name!r} takes one message and, if it likes, a context, but {label} takes {found}: "
            f"write `async def {label}(message)` or `async def {label}(message, ctx)`"
        )
    if places[0].name in ("self", "cls"):
        raise TypeError(
            f"node {name!r}: {label} is a method of no object yet, and its {places[0].name} would be the message: "
            f"make the node of the bound method, as in Node(thing.{label})"
        )
    takes_ctx = len(required) == 2 or (len(places) > 1 and places[1].name == "ctx")
    return places[0], places[1] if takes_ctx else None


def _given(annotation: Any, generates: bool) -> Any:
    origin = typing.get_origin(annotation)
    if origin in _STREAMS:
        return typing.get_args(annotation)[0] if generates else UNKNOWN
    if origin in (Awaitable, Coroutine):
        return typing.get_args(annotation)[-1]
    return UNKNOWN if generates else annotation


def _hints(func: Any) -> dict[str, Any]:
    try:
        return typing.get_type_hints(func, include_extras=True)
    except Exception:
        names = _names_in_sight(func)
    found = {}
    for key, annotation in getattr(func, "__annotations__", {}).items():
        try:
            found[key] = eval(annotation, names) if isinstance(annotation, str) else annotation
        except Exception:
            found[key] = UNKNOWN
    return found


def _names_in_sight(func: Any) -> dict[str, Any]:
    """The names that the author of `func` saw: its module's, those of the calls under way, and its closure's."""
    names: dict[str, Any] = dict(getattr(func, "__globals__", {}))
    frame = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__package__") == __package__:
        frame = frame.f_back  # type: ignore[assignment]
    if frame is not None:
        names.update(frame.f_locals)
    closure: Mapping[str, Any] = inspect.getclosurevars(func).nonlocals if inspect.isfunction(func) else {}
    return names | dict(closure)
