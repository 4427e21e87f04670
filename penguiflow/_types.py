"""What annotations say: which values a node takes, and whether two annotations can ever meet.

Rules: what can't be resolved is `UNKNOWN`, and unknown is never wrong. Two types are called incompatible only where no
value of the one can pass validation as the other, pydantic's lenient conversions included.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from functools import lru_cache
from typing import Annotated, Any, Final, TypeVar, Union

from pydantic import BaseModel, ConfigDict, PydanticSchemaGenerationError, PydanticUserError, TypeAdapter

from penguiflow._messages import Message, StreamChunk


class _Unknown:
    def __repr__(self) -> str:
        return "unknown"


UNKNOWN: Final = _Unknown()

_ANYTHING = (UNKNOWN, Any, object)
_FAMILY = dict.fromkeys((int, float, bool), "number") | dict.fromkeys((list, tuple, set, frozenset), "items")
_FAMILY |= {str: "text", dict: "mapping"}
# Between which families pydantic may convert a value when it is lenient.
_LENIENT = {("number", "number"), ("text", "number"), ("items", "items"), ("text", "text"), ("mapping", "mapping")}


def members(annotation: Any) -> tuple[Any, ...]:
    """The alternatives of a union, each without `Annotated`; any other annotation is its own only member."""
    origin = typing.get_origin(annotation)
    if origin is Annotated:
        return members(typing.get_args(annotation)[0])
    if origin is Union or origin is types.UnionType:
        return tuple(part for arg in typing.get_args(annotation) for part in members(arg))
    if isinstance(annotation, TypeVar):
        return members(annotation.__bound__) if annotation.__bound__ is not None else (UNKNOWN,)
    return (annotation,)


def is_message(annotation: Any) -> bool:
    """Whether the annotation asks for the whole envelope."""
    return isinstance(annotation, type) and issubclass(annotation, Message)


def payload_of(annotation: Any) -> Any:
    """`T` of `Message[T]`; `UNKNOWN` of a bare `Message`; anything else is a payload itself."""
    if not is_message(annotation):
        return annotation
    for cls in annotation.__mro__:
        args = getattr(cls, "__pydantic_generic_metadata__", {}).get("args")
        if args:
            return UNKNOWN if isinstance(args[0], TypeVar) else args[0]
    return UNKNOWN


def payloads(annotation: Any) -> tuple[Any, ...]:
    """Every payload type that the annotation names, envelopes opened."""
    return tuple(inner for part in members(annotation) for inner in members(payload_of(part)))


def admits(annotation: Any, cls: type) -> bool:
    """Whether a value of class `cls` is, as it stands, what the annotation asks for."""
    return any(part in _ANYTHING or _within(cls, typing.get_origin(part) or part) for part in payloads(annotation))


def _within(cls: type, other: Any) -> bool:
    try:
        return isinstance(other, type) and issubclass(cls, other)
    except TypeError:  # a TypedDict, or a protocol that can't be asked
        return False


def admits_chunk(annotation: Any) -> bool:
    """Whether stream chunks go to a node with this annotation."""
    return admits(annotation, StreamChunk)


def only_chunks(annotation: Any) -> bool:
    """Whether nothing but stream chunks goes to a node with this annotation."""
    parts = payloads(annotation)
    return bool(parts) and all(isinstance(part, type) and issubclass(part, StreamChunk) for part in parts)


def compatible(given: Any, wanted: Any) -> bool:
    """Whether a value of one annotation may pass as another: how `create` judges an edge.

    Only what is proven wrong is: an annotation that says nothing, as `Any` does, is compatible with all, and so is one
    with a validator of its own.

    Args:
        given: What there is: an annotation, a union or `Message[...]` of some.
        wanted: What is asked for. pydantic's lenient conversions count, as from `str` to `int`.
    """
    if _opaque(wanted) or _opaque(given):
        return True
    sources = [part for part in payloads(given) if part is not type(None) and part is not None]
    targets = payloads(wanted)
    return not sources or not all(_apart(source, target) for source in sources for target in targets)


def _apart(source: Any, target: Any) -> bool:
    source, target = _class_of(source), _class_of(target)
    if not (isinstance(source, type) and isinstance(target, type)) or _structural(source) or _structural(target):
        return False
    if issubclass(source, target) or issubclass(target, source):
        return False
    if _is_record(target):
        return not _converts(target) and (_is_record(source) or (source in _FAMILY and source is not dict))
    if target not in _FAMILY or not (_is_record(source) or source in _FAMILY):
        return False
    return (_FAMILY.get(source), _FAMILY[target]) not in _LENIENT


def _class_of(annotation: Any) -> Any:
    """The class without its parameters: pydantic may read a `Page[float]` off a `Page[int]`."""
    plain = typing.get_origin(annotation) or annotation
    return getattr(plain, "__pydantic_generic_metadata__", {}).get("origin") or plain


def _structural(cls: type) -> bool:
    """Whether it says what a value looks like and not of which class it is: a TypedDict, whoever's, or a protocol."""
    return hasattr(cls, "__required_keys__") or getattr(cls, "_is_protocol", False)


def _opaque(annotation: Any) -> bool:
    """Whether an annotation has validators of its own, which may accept anything."""
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        functions = [m for m in args[1:] if hasattr(m, "__get_pydantic_core_schema__") or hasattr(m, "func")]
        return bool(functions) or _opaque(args[0])
    if origin is Union or origin is types.UnionType:
        return any(_opaque(arg) for arg in args)
    return is_message(annotation) and _opaque(payload_of(annotation))


def _is_record(cls: type) -> bool:
    return issubclass(cls, BaseModel) or dataclasses.is_dataclass(cls)


def _converts(cls: type) -> bool:
    """Whether the model may accept other values than mappings and its own instances."""
    if not issubclass(cls, BaseModel):
        return _schema_of(cls) is not None or hasattr(cls, "__pydantic_decorators__")
    if _schema_of(cls) is not _schema_of(BaseModel):
        return True
    if cls.__pydantic_root_model__ or cls.model_config.get("from_attributes"):
        return True
    validators = cls.__pydantic_decorators__.model_validators.values()
    return any(validator.info.mode in ("before", "wrap") for validator in validators)


def _schema_of(cls: type) -> Any:
    """The function that says what pydantic takes for a class, if it has one."""
    method = getattr(cls, "__get_pydantic_core_schema__", None)
    return getattr(method, "__func__", method)


def spelled(annotation: Any) -> str:
    """The annotation as its author would write it, for messages and diagrams; empty if unknown."""
    if annotation is UNKNOWN:
        return ""
    if annotation is type(None) or annotation is None:
        return "None"
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return spelled(args[0])
    if origin is Union or origin is types.UnionType:
        return " | ".join(spelled(part) or "Any" for part in args)
    if origin is not None and origin is not typing.Literal and args:
        name = getattr(origin, "__name__", str(origin))
        return f"{name}[{', '.join('...' if arg is ... else spelled(arg) or 'Any' for arg in args)}]"
    if isinstance(annotation, type):
        return annotation.__name__
    return str(annotation).replace("typing.", "")


def adapter(annotation: Any) -> TypeAdapter[Any] | None:
    """The validator of an annotation, or `None` where there is nothing to check."""
    if annotation in _ANYTHING or isinstance(annotation, TypeVar):
        return None
    try:
        return _cached_adapter(annotation)
    except TypeError:  # an annotation that can't be hashed, such as Annotated[int, []]
        return _new_adapter(annotation)


@lru_cache(maxsize=1024)
def _cached_adapter(annotation: Any) -> TypeAdapter[Any] | None:
    return _new_adapter(annotation)


def _new_adapter(annotation: Any) -> TypeAdapter[Any] | None:
    try:
        return TypeAdapter(annotation)
    except PydanticSchemaGenerationError:
        pass
    except PydanticUserError:
        return None
    try:
        return TypeAdapter(annotation, config=ConfigDict(arbitrary_types_allowed=True))
    except (PydanticSchemaGenerationError, PydanticUserError):
        return None
