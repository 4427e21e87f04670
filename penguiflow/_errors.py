"""What can go wrong, as exceptions.

* `FlowError`: a trace did not complete; its `code` says why.
    * `TraceCancelled`: because somebody cancelled it.
* `GraphError`: `create()` was given a graph that can't run; lists every problem at once.
    * `CycleError`: among them a cycle that nobody allowed.
* `PluginError`: a plugin that was named or required can't be used, or the settings of plugins are wrong.
* `FlowStateError`: a call that the flow's state doesn't admit (not running, running already, stopping).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any, ClassVar


def said(exc: BaseException) -> str:
    """What an exception says of itself. One that fails at that must not hide what went wrong."""
    try:
        return str(exc)
    except KeyboardInterrupt:
        raise
    except BaseException:
        return "(it can't be shown as text)"


def typed(exc: BaseException) -> str:
    """The same, after its type."""
    return f"{type(exc).__name__}: {said(exc)}"


class FlowErrorCode(StrEnum):
    """Why a trace did not complete."""

    NODE_EXCEPTION = "NODE_EXCEPTION"
    NODE_TIMEOUT = "NODE_TIMEOUT"
    VALIDATION = "VALIDATION"
    ROUTING = "ROUTING"
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    HOP_BUDGET_EXHAUSTED = "HOP_BUDGET_EXHAUSTED"
    TOKEN_BUDGET_EXHAUSTED = "TOKEN_BUDGET_EXHAUSTED"
    COST_BUDGET_EXHAUSTED = "COST_BUDGET_EXHAUSTED"
    JOIN_STARVED = "JOIN_STARVED"
    TRACE_CANCELLED = "TRACE_CANCELLED"


class FlowError(Exception):
    """A trace did not complete. Pickles, even when the exception behind it can't; a copy keeps that exception.

    Attributes:
        trace_id: The trace that failed.
        node_name: The node that it failed in, if it failed in one.
        node_id: That node's id, unique over nested flows.
        code: Why: a `FlowErrorCode`, or a string of your own.
        message: A sentence for people.
        original_exc: The exception that the node raised, if it raised one.
        metadata: Facts for machines, such as the number of attempts.
    """

    def __init__(
        self,
        *,
        trace_id: str | None = None,
        node_name: str | None = None,
        code: FlowErrorCode | str,
        message: str,
        original_exc: BaseException | None = None,
        node_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.trace_id: str | None = trace_id
        self.node_name: str | None = node_name
        self.node_id: str | None = node_id
        self.code: FlowErrorCode | str = code
        self.message: str = message
        self.original_exc: BaseException | None = original_exc
        self.metadata: dict[str, Any] = dict(metadata or {})
        self.__cause__: BaseException | None = original_exc

    def unwrap(self) -> BaseException | None:
        """The exception that the node raised, if it raised one."""
        return self.original_exc

    def to_payload(self) -> dict[str, Any]:
        """The error as a dictionary of JSON values, for logs and wire formats."""
        cause = self.original_exc
        return {
            "code": str(self.code),
            "message": self.message,
            "trace_id": self.trace_id,
            "node_name": self.node_name,
            "node_id": self.node_id,
            "exception_type": None if cause is None else type(cause).__name__,
            "exception": None if cause is None else said(cause),
            "metadata": {key: _jsonable(value) for key, value in self.metadata.items()},
        }

    def twin(self) -> FlowError:
        """The same error once more, to be raised: each waiter's traceback is his own, and so are notes and metadata."""
        twin = _rebuilt(type(self), self.message, self._with_each(lambda value: value))
        twin.__cause__ = self.__cause__
        return twin.with_traceback(self.__traceback__)

    def _with_each(self, made: Callable[[Any], Any]) -> dict[str, Any]:
        """The attributes and, within `metadata`, the values, each as `made` of it."""
        state = {key: made(value) for key, value in self.__dict__.items() if key != "metadata"}
        state["metadata"] = {key: made(value) for key, value in self.metadata.items()}
        if "__notes__" in state:
            state["__notes__"] = [*state["__notes__"]]
        return state

    def __copy__(self) -> FlowError:
        return self.twin()

    def __deepcopy__(self, memo: dict[int, Any]) -> FlowError:
        return _rebuilt(type(self), self.message, self._with_each(lambda value: _copied(value, memo)))

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuilt, (type(self), self.message, self._with_each(_portable)))


def _rebuilt(kind: type[FlowError], message: str, state: dict[str, Any]) -> FlowError:
    error = kind.__new__(kind)
    Exception.__init__(error, message)
    error.__dict__.update(state)
    error.__cause__ = error.original_exc
    return error


def _copied(value: Any, memo: dict[int, Any]) -> Any:
    """A deep copy of `value`, or itself where it can't be copied: it is still there, as nothing leaves the process."""
    try:
        return copy.deepcopy(value, memo)
    except Exception:
        return value


def _portable(value: Any) -> Any:
    """`value`, or what can be said of it where it doesn't survive pickling."""
    import pickle  # whoever pickles an error has it already

    try:
        pickle.loads(pickle.dumps(value))
    except Exception:
        if isinstance(value, BaseException):
            return RuntimeError(typed(value))
        return f"{type(value).__name__}: {value}"
    return value


def _jsonable(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return {str(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(item) for item in value]
    return repr(value)


class TraceCancelled(FlowError):
    """Somebody cancelled the trace. Never an `asyncio.CancelledError`, so that a waiter can tell the two apart."""

    def __init__(self, trace_id: str | None = None, message: str | None = None) -> None:
        super().__init__(
            trace_id=trace_id,
            code=FlowErrorCode.TRACE_CANCELLED,
            message=message or "the trace was cancelled before it completed",
        )


class _Problems(ValueError):
    """Everything that is wrong with something, at once, in `problems`."""

    _subject: ClassVar[str]

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems: tuple[str, ...] = tuple(problems)
        count = len(self.problems)
        title = f"{self._subject} a problem" if count == 1 else f"{self._subject} {count} problems"
        super().__init__("\n  - ".join([f"{title}:", *self.problems]))

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.problems,))


class GraphError(_Problems):
    """The graph can't run.

    Attributes:
        problems: Every problem found, a sentence each, with what to do about it.
    """

    _subject = "the graph has"


class CycleError(GraphError):
    """The graph has a cycle that nobody allowed."""


class PluginError(_Problems):
    """A flow can't be built with the plugins that it was told to use.

    Attributes:
        problems: Every problem found, a sentence each: which setting or plugin it is, and what to do about it.
    """

    _subject = "the flow's plugins have"


class FlowStateError(RuntimeError):
    """The flow's state doesn't admit this call: it isn't running, runs already, or is stopping."""


def forget_frames(error: BaseException) -> None:
    """Let go of what an error was raised in, and of the errors behind it: else whoever keeps it keeps all of that."""
    todo: list[BaseException | None] = [error]
    while todo:
        one = todo.pop()
        if one is not None and one.__traceback__ is not None:
            one.__traceback__ = None
            todo += [one.__cause__, one.__context__, *(one.exceptions if isinstance(one, BaseExceptionGroup) else ())]
