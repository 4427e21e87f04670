"""What a node's function is given, and what it may return: read off its annotations once, checked at each run.

Rules: a value of the very class that an annotation names needs no check. Anything else goes through pydantic, and what
doesn't pass is a `FlowError` that says what was wanted.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError

from penguiflow._errors import FlowError, FlowErrorCode
from penguiflow._messages import Message, StreamChunk
from penguiflow._node import Node
from penguiflow._types import UNKNOWN, adapter, admits, is_message, members, payload_of, spelled

log = logging.getLogger("penguiflow")

Check = Callable[[Any], Any]
Call = Callable[[Any], Any]


def caller(node: Node[..., Any], bind: Call, quick: type | None) -> Call:
    """How to run the node once: from a parcel, the awaitable or async generator. `quick` needs no binding.

    The function is looked up each time, so that a test may exchange it while a flow runs.
    """
    if quick is not None:
        if node.shape.takes_ctx:

            def call_quick(parcel: Any) -> Any:
                value = parcel._payload
                return node.func(value if value.__class__ is quick else bind(parcel), parcel)

        else:

            def call_quick(parcel: Any) -> Any:
                value = parcel._payload
                return node.func(value if value.__class__ is quick else bind(parcel))

        return call_quick
    if node.shape.takes_ctx:
        return lambda parcel: node.func(bind(parcel), parcel)
    return lambda parcel: node.func(bind(parcel))


def binder(station: Any, wants: Any) -> Call:
    """From a parcel, the argument that the node takes."""
    checks = station.policy.validate in ("both", "in")
    parts = [part for part in members(wants) if part is not type(None)]
    envelopes = [part for part in parts if is_message(part)]
    if envelopes and len(envelopes) == len(parts):
        return _message_binder(station, envelopes, checks)
    if envelopes:
        return _mixed_binder(station, wants, envelopes, checks)
    validator = adapter(wants) if checks else None
    if wants in (UNKNOWN, Any, object):
        return lambda parcel: parcel._payload if parcel._raw is None else parcel.message
    if validator is None:
        return lambda parcel: parcel._payload

    def bind(parcel: Any) -> Any:
        parcel._payload = _validated(parcel, validator, station, wants)
        return parcel._payload

    return bind


def _mixed_binder(station: Any, wants: Any, envelopes: list[type[Message[Any]]], checks: bool) -> Call:
    """For `Message[A] | B`: what came as a message, or fits its payload alone, comes as one; the rest bare."""
    plain = tuple(arg for arg in get_args(wants) if not any(is_message(part) for part in members(arg)))
    validator = adapter(Union[plain]) if checks and plain else None  # noqa: UP007
    in_envelope = _message_binder(station, envelopes, checks)

    def bind(parcel: Any) -> Any:
        if parcel._raw is not None or _fits_a_message(wants, type(parcel._payload)):
            return in_envelope(parcel)
        if validator is not None:
            parcel._payload = _validated(parcel, validator, station, wants)
        return parcel._payload

    return bind


def _fits_a_message(wants: Any, cls: type) -> bool:
    """Whether it is the envelope that an annotation like `Message[A] | B` takes such a payload in."""
    parts = members(wants)
    inside = any(is_message(part) and admits(payload_of(part), cls) for part in parts)
    return inside and not any(admits(part, cls) for part in parts if not is_message(part))


def _message_binder(station: Any, models: list[type[Message[Any]]], checks: bool) -> Call:
    inner = tuple(payload_of(model) for model in models)
    validator = adapter(Union[inner]) if checks and UNKNOWN not in inner else None  # noqa: UP007
    model = models[0] if len(models) == 1 else Message
    own_fields = len(model.model_fields) > len(Message.model_fields)

    def bind(parcel: Any) -> Any:
        if validator is not None:
            parcel._payload = _validated(parcel, validator, station, Union[inner])  # noqa: UP007
        message = parcel._message
        if message is None or message.payload is not parcel._payload or not isinstance(message, model):
            parcel._enveloped(model)
        if own_fields and not isinstance(parcel._message, model):
            parcel._message = _completed(parcel, station, model)
        return parcel._message

    return bind


def _completed(parcel: Any, station: Any, model: type[Message[Any]]) -> Message[Any]:
    """The message as a subclass of `Message` with fields of its own."""
    try:
        return model(**parcel._message.__dict__)
    except ValidationError as exc:
        what = f"node {station.name!r} takes {model.__name__}, which this message isn't: {_first(exc)}"
        raise _refused(parcel, station, what, exc, "in") from None


def _validated(parcel: Any, validator: TypeAdapter[Any], station: Any, wanted: Any) -> Any:
    try:
        return validator.validate_python(parcel._payload)
    except ValidationError as exc:
        given = type(parcel._payload).__name__
        what = f"node {station.name!r} takes {spelled(wanted)}, and this {given} isn't one: {_first(exc)}"
        raise _refused(parcel, station, what, exc, "in") from None


def checker(station: Any, gives: Any) -> Check | None:
    """The check of what the node returns; `None` if there is nothing to check."""
    if station.policy.validate in ("in", "none") or gives in (UNKNOWN, Any, object):
        return None
    inner = payload_of(gives) if is_message(gives) else gives
    parts = members(inner)
    if any(is_message(part) for part in parts):
        return None
    validator = adapter(inner)
    if validator is None:
        return None
    quick = inner if isinstance(inner, type) and not revalidates(inner) else None

    def check(value: Any) -> Any:
        if value.__class__ is quick or value is None:
            return value
        if not isinstance(value, Message):
            return validator.validate_python(value)
        payload = validator.validate_python(value.payload)
        return value if payload is value.payload else value.model_copy(update={"payload": payload})

    return check


def quick_outputs(gives: Any) -> frozenset[type]:
    """The classes whose instances the node may return unchecked, and that go the common way."""
    parts = get_args(gives) if get_origin(gives) in (Union, UnionType) else (gives,)
    return frozenset(part for part in parts if _is_quick(part))


def _is_quick(part: Any) -> bool:
    return isinstance(part, type) and not issubclass(part, Message | StreamChunk | type(None)) and not revalidates(part)


def revalidates(cls: type) -> bool:
    """Whether pydantic shall check even this model's own instances."""
    return issubclass(cls, BaseModel) and cls.model_config.get("revalidate_instances", "never") != "never"


def checked(station: Any, parcel: Any, value: Any, how: str = "returned") -> Any:
    """What the node returned, checked against its annotation.

    Raises:
        FlowError: `VALIDATION`; it isn't what the node said it would give.
    """
    if station.check is None:
        return value
    if value is None:
        if station.promises and how == "returned" and not parcel._emitted:
            _tell_of_none(station)
        return None
    try:
        return station.check(value)
    except ValidationError as exc:
        hint = ": it lacks an `await`" if inspect.isawaitable(value) else ""
        what = f"node {station.name!r} {how} {type(value).__name__}, which isn't what it promises{hint}: {_first(exc)}"
        raise _refused(parcel, station, what, exc, "out") from None


def _tell_of_none(station: Any) -> None:
    """Say, once, that a node ends its branch and its annotation doesn't: most likely it lacks a `return`."""
    promised, station.promises = station.promises, ""
    log.warning(
        "node %r returned None, so nothing goes on from it, and it promises %s: if that is meant, write `-> %s | None`",
        station.name,
        promised,
        promised,
    )


def _refused(parcel: Any, station: Any, text: str, exc: ValidationError, side: str) -> FlowError:
    return FlowError(
        trace_id=parcel._trace.id,
        node_name=station.name,
        node_id=station.node_id,
        code=FlowErrorCode.VALIDATION,
        message=text,
        original_exc=exc,
        metadata={"side": side},
    )


def _first(exc: ValidationError) -> str:
    """The first complaint in pydantic's words, and how many more there are."""
    errors = exc.errors(include_url=False, include_input=False, include_context=False)
    where = ".".join(str(part) for part in errors[0]["loc"])
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return f"{where + ': ' if where else ''}{errors[0]['msg']}{more}"
