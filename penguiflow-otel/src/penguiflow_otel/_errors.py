"""What telemetry says of errors.

Rules: `error.type` is one of few words: a `FlowErrorCode`, or the class of what a node raised. Pydantic's validation
errors quote the values that they refuse, which are payloads: only what was wrong with them is told.
"""

from __future__ import annotations

import traceback

from pydantic import ValidationError

from penguiflow import FlowError, FlowErrorCode
from penguiflow_otel._names import EXCEPTION_MESSAGE, EXCEPTION_STACKTRACE, EXCEPTION_TYPE

_LONGEST = 2000  # characters of a text; whatever is longer is cut


def class_name(error: BaseException) -> str:
    """The error's class, with its module unless that is `builtins`."""
    cls = type(error)
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


def cause(error: BaseException) -> BaseException:
    """What a node raised, if that is what this is about, else the error itself."""
    original = error.original_exc if isinstance(error, FlowError) else None
    return error if original is None else original


def error_type(error: BaseException | None) -> str:
    """The error in a word."""
    if error is None:
        return "_OTHER"
    if not isinstance(error, FlowError):
        return class_name(error)
    if error.code == FlowErrorCode.NODE_EXCEPTION and error.original_exc is not None:
        return error_type(error.original_exc)  # perhaps the failure of another flow that the node has asked
    return str(error.code)


def text_of(error: BaseException) -> str:
    """The error in a sentence that quotes no payload."""
    if isinstance(error, ValidationError):
        return _validation(error)[:_LONGEST]
    if isinstance(error, FlowError) and isinstance(error.original_exc, ValidationError):
        return f"{error.code}: {_validation(error.original_exc)}"[:_LONGEST]
    try:
        return str(error)[:_LONGEST]
    except Exception:
        return ""


def _validation(error: ValidationError) -> str:
    wrong = error.errors(include_url=False, include_input=False, include_context=False)
    told = [f"{'.'.join(str(part) for part in one['loc']) or 'the value'}: {one['msg']}" for one in wrong[:10]]
    return f"{error.title}: {'; '.join(told)}"


def exception_event(error: BaseException, messages: bool) -> dict[str, str]:
    """The attributes of the event `exception`, without the messages of exceptions unless they are wanted."""
    frames = "".join(traceback.format_tb(error.__traceback__))
    event = {EXCEPTION_TYPE: class_name(error)}
    last = class_name(error)
    if messages:
        event[EXCEPTION_MESSAGE] = text_of(error)
        last = f"{last}: {event[EXCEPTION_MESSAGE]}"
    event[EXCEPTION_STACKTRACE] = f"Traceback (most recent call last):\n{frames}{last}" if frames else last
    return event
