"""What telemetry says of errors.

Rules: `error.type` is one of few words: a `FlowErrorCode`, or the class of what a node raised. Pydantic's validation
errors quote the values that they refuse, which are payloads: only what was wrong with them is told.
"""

from __future__ import annotations

import traceback

from pydantic import ValidationError

from penguiflow import FlowError, FlowErrorCode
from penguiflow_otel._names import EXCEPTION_MESSAGE, EXCEPTION_STACKTRACE, EXCEPTION_TYPE
from penguiflow_otel._texts import clean

_LONGEST = 2000  # characters of a text; whatever is longer is cut
_MOST = 50  # frames of an error, and errors that one came from
_CAUSED = "The above exception was the direct cause of the following exception:"
_HANDLED = "During handling of the above exception, another exception occurred:"


def class_name(error: BaseException) -> str:
    """The error's class, with its module unless that is `builtins`."""
    cls = type(error)
    return clean(cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}")


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
    return clean(str(error.code))


def text_of(error: BaseException) -> str:
    """The error in a sentence that quotes no payload."""
    if isinstance(error, ValidationError):
        return clean(_validation(error)[:_LONGEST])
    if isinstance(error, FlowError) and isinstance(error.original_exc, ValidationError):
        return clean(f"{error.code}: {_validation(error.original_exc)}"[:_LONGEST])
    try:
        return clean(str(error)[:_LONGEST])
    except Exception:
        return ""


def _validation(error: ValidationError) -> str:
    wrong = error.errors(include_url=False, include_input=False, include_context=False)
    told = [f"{'.'.join(str(part) for part in one['loc']) or 'the value'}: {one['msg']}" for one in wrong[:10]]
    return f"{error.title}: {'; '.join(told)}"


def exception_event(error: BaseException, messages: bool) -> dict[str, str]:
    """The attributes of the event `exception`, without the messages of exceptions unless they are wanted."""
    event = {EXCEPTION_TYPE: class_name(error)}
    if messages:
        event[EXCEPTION_MESSAGE] = text_of(error)
    event[EXCEPTION_STACKTRACE] = clean("\n".join(_stack(error, messages, set())))
    return event


def _stack(error: BaseException, messages: bool, shown: set[int]) -> list[str]:
    """An error as Python shows it, with what it came from; Python's own way would quote payloads."""
    shown.add(id(error))
    lines = []
    before, how = error.__cause__, _CAUSED
    if before is None and not error.__suppress_context__:
        before, how = error.__context__, _HANDLED
    if before is not None and _is_new(before, shown):
        lines += [*_stack(before, messages, shown), "", how, ""]
    frames = traceback.format_tb(error.__traceback__, limit=-_MOST)
    if frames:
        lines += ["Traceback (most recent call last):", *(frame.rstrip("\n") for frame in frames)]
    text = text_of(error) if messages else ""
    lines.append(f"{class_name(error)}: {text}" if text else class_name(error))
    for inner in error.exceptions if isinstance(error, BaseExceptionGroup) else ():
        if _is_new(inner, shown):
            lines += [f"  | {line}" for part in _stack(inner, messages, shown) for line in part.split("\n")]
    return lines


def _is_new(error: BaseException, shown: set[int]) -> bool:
    return id(error) not in shown and len(shown) < _MOST
