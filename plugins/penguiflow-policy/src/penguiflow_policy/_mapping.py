"""`DictRoutingPolicy`: a mapping from a key of the message to nodes, for when that is all."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from penguiflow import RoutingRequest
from penguiflow_policy._tree import checked_size, refused

Route = str | Sequence[str] | None
KeyGetter = Callable[[RoutingRequest], Any]


def _trace_id(request: RoutingRequest) -> str:
    return request.trace_id


class DictRoutingPolicy:
    """A router's `policy=` that looks a key of the message up in a mapping.

    Args:
        mapping: From keys to a node's name, or several; `()` or an empty list drops the message.
        default: The same for keys that aren't in the mapping; `None` for no opinion.
        key_getter: From a `RoutingRequest` to the key; the id of the trace by default.

    Raises:
        TypeError: the mapping is none, or holds something else than names.
    """

    def __init__(
        self, mapping: Mapping[Any, Route], default: Route = None, key_getter: KeyGetter | None = None
    ) -> None:
        self._mapping = _checked(mapping)
        self._default = _route(default, "the default")
        self._key_getter: KeyGetter = key_getter or _trace_id

    def select(self, request: RoutingRequest) -> Route:
        """The nodes of the message's key, or the default."""
        mapping, default = self._mapping, self._default
        try:
            return mapping.get(self._key_getter(request), default)
        except TypeError:  # a key that can't be hashed stands in no mapping
            return default

    @classmethod
    def from_json(cls, text: str, default: Route = None, key_getter: KeyGetter | None = None) -> Self:
        """A JSON object.

        Raises:
            PolicyError: it is no JSON.
        """
        return cls(_object(text, "policy"), default, key_getter)

    @classmethod
    def from_json_file(
        cls, path: str | os.PathLike[str], default: Route = None, key_getter: KeyGetter | None = None
    ) -> Self:
        """A file that holds a JSON object."""
        file = Path(path)
        try:
            raw = file.read_bytes()
        except OSError as exc:
            raise refused(str(file), f"it can't be read: {exc.strerror}") from None
        return cls(_object(checked_size(raw, str(file)), str(file)), default, key_getter)

    @classmethod
    def from_env(cls, variable: str, default: Route = None, key_getter: KeyGetter | None = None) -> Self:
        """A variable of the environment that holds a JSON object.

        Raises:
            KeyError: it isn't set.
        """
        if variable not in os.environ:
            raise KeyError(f"the variable {variable!r} isn't set: give it a JSON object from keys to names of nodes")
        return cls(_object(os.environ[variable], f"${variable}"), default, key_getter)

    def update_mapping(self, mapping: Mapping[Any, Route]) -> None:
        """Use this mapping in place of the present one, from the next message on."""
        self._mapping = _checked(mapping)

    def set_default(self, default: Route) -> None:
        """Use this for keys that aren't in the mapping."""
        self._default = _route(default, "the default")

    def __repr__(self) -> str:
        return f"<DictRoutingPolicy of {len(self._mapping)} keys>"


def _object(text: str, source: str) -> Mapping[str, Any]:
    try:
        found = json.loads(text)
    except RecursionError:
        raise refused(source, "it is nested too deeply") from None
    except json.JSONDecodeError as exc:
        raise refused(source, f"it is no JSON: {exc.msg}", exc.lineno, exc.colno) from None
    if not isinstance(found, dict):
        raise refused(source, f'it has to be an object, as {{"acme": "express"}}, and is a {type(found).__name__}')
    return found


def _checked(mapping: Mapping[Any, Route]) -> dict[Any, Route]:
    if not isinstance(mapping, Mapping):
        raise TypeError(f"a mapping from keys to names of nodes is wanted, not {type(mapping).__name__}")
    return {key: _route(route, f"what {str(key)[:60]!r} leads to") for key, route in mapping.items()}


def _route(route: Route, what: str) -> Route:
    if route is None or isinstance(route, str):
        return route
    if isinstance(route, Sequence) and all(isinstance(name, str) for name in route):
        return tuple(route)
    raise TypeError(f"{what} is a node's name or a list of names, not {type(route).__name__}")
