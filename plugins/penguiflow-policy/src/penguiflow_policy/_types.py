"""What the values of an annotation can have: whether a path such as `user.age` can lead anywhere in them.

Rules: what can't be known can have anything: dictionaries, lists, `Any`, models that allow extra fields, and whatever
has validators or serialisers of its own. A class may stand for its subclasses, and of a union one member is enough.
Names are those of fields, never aliases, as rules see them.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
import types
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, Union
from uuid import UUID

from pydantic import BaseModel, Discriminator, RootModel, Tag

from penguiflow import Message, StreamChunk

_TIMES = (datetime.datetime, datetime.date, datetime.time, datetime.timedelta)
_LEAVES = (str, int, float, bool, bytes, Decimal, UUID, *_TIMES)
_WRITTEN = (str, int, bool, bytes)  # what a Literal may hold, enumerations aside


class Gap(NamedTuple):
    """A path that leads nowhere.

    Attributes:
        place: Which of its steps isn't there.
        known: The fields that could stand there instead.
    """

    place: int
    known: tuple[str, ...]


def members(annotation: Any) -> tuple[Any, ...]:
    """The alternatives of a union, `None` left out, each envelope opened; `Any` for one that nobody knows."""
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return (Any,) if any(map(_acts, args[1:])) else members(args[0])
    if origin is Union or origin is types.UnionType:
        return tuple(member for arg in args for member in members(arg))
    if isinstance(annotation, TypeVar):
        return members(annotation.__bound__) if annotation.__bound__ is not None else (Any,)
    if isinstance(annotation, type) and issubclass(annotation, Message):
        return members(annotation.model_fields["payload"].annotation)
    return () if annotation is None or annotation is type(None) else (annotation,)


def _acts(metadata: Any) -> bool:
    """Whether a part of `Annotated` may make something else of a value."""
    if isinstance(metadata, Discriminator | Tag):
        return False
    return hasattr(metadata, "func") or hasattr(metadata, "__get_pydantic_core_schema__")


def unknown(members: Iterable[Any]) -> bool:
    """Whether values may be among them of which nobody knows what they have."""
    return any(member is Any or member is object for member in members)


def gap(roots: Sequence[Any], steps: Sequence[str], json_from: int | None = None) -> Gap | None:
    """Where a path ends that no value can have; `None` if one can, or nobody knows.

    Args:
        roots: What the values may be.
        steps: The path.
        json_from: The step from which on the values are seen as JSON shows them; `None` for never.
    """
    here = tuple(roots)
    for place, step in enumerate(steps):
        as_json = json_from is not None and place >= json_from
        shapes = [_shape(member, as_json) for member in here]
        if not shapes or None in shapes:
            return None
        found = [fields[step] for shape in shapes for fields in shape or () if step in fields]
        if not found:
            return Gap(place, _known(here, as_json))
        here = tuple(member for annotation in found for member in members(annotation))
    return None


def _known(members: Sequence[Any], as_json: bool) -> tuple[str, ...]:
    shapes = [_shape(member, as_json) or () for member in apart_from_chunks(members)]
    return tuple(dict.fromkeys(name for shape in shapes for fields in shape for name in fields))


def apart_from_chunks(members: Sequence[Any]) -> Sequence[Any]:
    """What somebody means who speaks of a payload: a stream's chunk only if there is nothing else."""
    return [member for member in members if member is not StreamChunk] or members


def _shape(member: Any, as_json: bool) -> list[Mapping[str, Any]] | None:
    """The fields that its values may have, a mapping for each class; `None` if nobody knows."""
    origin = typing.get_origin(member)
    if origin is Literal:
        return [{}] if all(type(value) in _WRITTEN for value in typing.get_args(member)) else None
    cls = origin or member
    if cls in _LEAVES:
        return [{}]
    if not isinstance(cls, type) or not _is_record(cls):
        return None
    shapes = [_fields(each, as_json) for each in dict.fromkeys(_family(cls))]
    known = [shape for shape in shapes if shape is not None]
    return known if len(known) == len(shapes) else None


def _is_record(cls: type) -> bool:
    return cls is not BaseModel and (
        issubclass(cls, BaseModel) or dataclasses.is_dataclass(cls) or _is_named_tuple(cls)
    )


def _is_named_tuple(cls: type) -> bool:
    return issubclass(cls, tuple) and hasattr(cls, "_fields")


def _family(cls: type) -> Iterator[type]:
    yield cls
    below: list[type] = type.__subclasses__(cls)
    for each in below:
        yield from _family(each)


def _fields(cls: type, as_json: bool) -> Mapping[str, Any] | None:
    """The fields of a class's own instances, and their annotations."""
    config: Any = getattr(cls, "model_config" if issubclass(cls, BaseModel) else "__pydantic_config__", {})
    if issubclass(cls, Mapping) or config.get("extra") == "allow":
        return None
    fields = _model_fields(cls) if issubclass(cls, BaseModel) else _hints(cls)
    return _written(cls, fields) if as_json else fields | dict.fromkeys(_kept(cls), Any)


def _written(cls: type, fields: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The fields of its JSON, of which some are computed, and some written in a way of their own."""
    decorators: Any = getattr(cls, "__pydantic_decorators__", None)
    if issubclass(cls, RootModel) or _is_named_tuple(cls) or getattr(decorators, "model_serializers", None):
        return None
    if decorators is None:
        return fields
    changed = [name for found in decorators.field_serializers.values() for name in found.info.fields]
    return None if "*" in changed else {**fields, **dict.fromkeys((*changed, *decorators.computed_fields), Any)}


def _model_fields(cls: type[BaseModel]) -> dict[str, Any]:
    return {
        name: Any if any(map(_acts, field.metadata)) else field.annotation for name, field in cls.model_fields.items()
    }


def _hints(cls: type) -> dict[str, Any]:
    names: Any = getattr(cls, "__dataclass_fields__", None) or getattr(cls, "_fields", ())
    try:
        hints = typing.get_type_hints(cls, include_extras=True)
    except Exception:  # a name that can't be resolved
        hints = {}
    return {name: hints.get(name, Any) for name in names}


def _kept(cls: type) -> list[str]:
    """Properties whose values stand among the fields once somebody has asked for them."""
    return [
        name for base in cls.__mro__ for name, it in vars(base).items() if isinstance(it, functools.cached_property)
    ]
