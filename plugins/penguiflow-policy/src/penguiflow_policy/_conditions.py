"""Conditions in CEL, the Common Expression Language: checked and compiled when a policy is read, asked of messages.

Rules: the compiler knows the types of what a condition can see, so a condition that can't be true or false never gets
into use. It sees a payload as JSON would show it. An answer is true or false; for anything else there is
`ConditionError`, which never shows what stands in the message.
"""

from __future__ import annotations

import importlib
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from penguiflow import RoutingRequest
from penguiflow_policy import _guard as guard
from penguiflow_policy._fields import part
from penguiflow_policy._problems import meant

VARIABLES = ("tenant", "topic", "priority", "meta", "payload", "node", "flow", "trace_id", "proposed", "hour")
_WHERE = re.compile(r"<input>:(\d+):(\d+): (.*)")
_PLAIN = frozenset((str, int, float, bool, type(None)))
_ITEMS = (list, tuple, set, frozenset)
_WHY = {
    "NOT_FOUND": "a key or field that it names isn't there: ask has(...) first",
    "OUT_OF_RANGE": "a number gets too large",
    "INTERNAL": "it goes over too many items",
}
_UNFIT = ("INVALID_ARGUMENT: Integer value", "basic_string")
_SIGNS = {"_==_": "==", "_!=_": "!=", "_+_": "+", "_-_": "-", "_*_": "*", "_/_": "/", "_%_": "%", "_&&_": "&&"}
_SIGNS |= {"_||_": "||", "_<_": "<", "_<=_": "<=", "_>_": ">", "_>=_": ">=", "@in": "in", "!_": "!", "-_": "-"}
_SIGNS |= {"_[_]": "[...]", "_?_:_": "? :"}


class ConditionError(Exception):
    """A condition has no answer for a message."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a condition can't be used, and where in it: line and column, counted from 1."""

    text: str
    line: int
    column: int


class Condition:
    """A compiled condition."""

    def __init__(self, source: str, program: Any) -> None:
        self.source: str = source
        self._program = program

    def holds(self, view: View) -> bool:
        """Whether it is true.

        Raises:
            ConditionError: it has no answer.
        """
        answer = self._answer(view)
        if isinstance(answer, str) and answer.startswith(_UNFIT) and view.fit():
            answer = self._answer(view)
        if answer is True or answer is False:
            return answer
        raise ConditionError(_why(answer))

    def _answer(self, view: View) -> Any:
        try:
            return self._program.eval(view.activation).value()
        except Exception as exc:
            return str(exc)


class View:
    """A message as conditions see it.

    Attributes:
        activation: The same, as the evaluator takes it.
    """

    def __init__(self, environment: Any, shown: dict[str, Any]) -> None:
        self._environment = environment
        self._shown = shown
        self._fits = False
        self.activation: Any = environment.Activation(shown)

    def fit(self) -> bool:
        """Show whole numbers of more than 64 bits as floats, and half characters as signs for them; once. The evaluator
        takes in a table as a whole, so that one of these would leave every condition without an answer.
        """
        if self._fits:
            return False
        self._fits = True
        self.activation = self._environment.Activation(_fitting(self._shown))
        return True


def _fitting(value: Any) -> Any:
    if isinstance(value, dict):
        return {_fitting(key): _fitting(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_fitting(item) for item in value]
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 64:
        return float(value) if abs(value) < 1 << 1023 else math.inf if value > 0 else -math.inf
    return value


def _why(answer: Any) -> str:
    if not isinstance(answer, str):
        return f"it is a {type(answer).__name__}, and neither true nor false"
    kind = answer.partition(":")[0]  # a text that isn't an error's comes from the message, and is no better
    return _WHY.get(kind, "what it looks at is of another kind than it expects")


class Conditions:
    """Compiles the conditions of one policy, and shows messages to them."""

    def __init__(self) -> None:
        self._environment: Any = None
        self._used: frozenset[str] = frozenset()
        self._wanted: dict[str, frozenset[str] | None] = {"payload": frozenset(), "meta": frozenset()}
        self._showing: list[tuple[str, Show]] = []

    def compiled(self, source: str) -> Condition | Fault:
        """The condition, or why it can't be used."""
        wrong = guard.refusal(source)
        if wrong is not None:
            return Fault(wrong.text, *place_of(source, wrong.at))
        if self._environment is None:
            self._environment = _environment()
        try:
            program = self._environment.compile(source)
            kind = program.return_type().name()
        except Exception as exc:
            return _fault(str(exc))
        if kind not in ("BOOL", "DYN"):
            return Fault(f"a condition is true or false, and this is {_spoken(kind)}", 1, 1)
        self._use(source)
        return Condition(source, program)

    def _use(self, source: str) -> None:
        self._used |= guard.names(source)
        for name, wanted in self._wanted.items():
            found = guard.fields(source, name)
            self._wanted[name] = None if found is None or wanted is None else wanted | found
        self._showing = [(name, _show(name, self._wanted.get(name))) for name in VARIABLES if name in self._used]

    def shows_all_of(self, name: str) -> bool:
        """Whether the whole of `payload` or `meta` is shown, as JSON, and not only the fields that are named."""
        return self._wanted[name] is None

    def view(self, request: RoutingRequest, hour: int) -> View:
        """A message as conditions see it.

        Raises:
            ConditionError: it can't be shown to them.
        """
        shown = {name: show(request, hour) for name, show in self._showing}
        try:
            return View(self._environment, shown)
        except Exception:
            raise ConditionError("the message can't be shown to it") from None


Show = Callable[[RoutingRequest, int], Any]

_SHOWN: dict[str, Show] = {
    "tenant": lambda request, hour: request.message.headers.tenant,
    "topic": lambda request, hour: request.message.headers.topic or "",
    "priority": lambda request, hour: request.message.headers.priority,
    "node": lambda request, hour: request.node_name,
    "flow": lambda request, hour: request.flow_name,
    "trace_id": lambda request, hour: request.trace_id,
    "proposed": lambda request, hour: list(request.proposed_names),
    "hour": lambda request, hour: hour,
}


def _show(name: str, fields: frozenset[str] | None) -> Show:
    """What shows a variable: of payload and meta only the fields that a condition names, `None` for all."""
    if name in _SHOWN:
        return _SHOWN[name]
    wanted = None if fields is None else sorted(fields)
    if name == "meta":
        return lambda request, hour: _shown(request.message.meta, wanted)
    return lambda request, hour: _shown(request.message.payload, wanted)


def _shown(value: Any, wanted: Sequence[str] | None) -> Any:
    """A value as JSON would show it, each field under its own name; of one with fields, only those that are wanted."""
    if value.__class__ in _PLAIN:
        return value
    if wanted is None or isinstance(value, _ITEMS):
        return _json(value)
    found = {}
    for name in wanted:
        inner = part(value, name)
        if inner is not None:
            found[name] = inner if inner.__class__ in _PLAIN else _json(inner)
        elif _has(value, name):
            found[name] = None
    return found


def _has(value: Any, name: str) -> bool:
    if isinstance(value, Mapping):
        return name in value
    if isinstance(value, BaseModel) and name in (getattr(value, "__pydantic_extra__", None) or ()):
        return True
    return name in getattr(value, "__dict__", ()) or name in getattr(value, "__dataclass_fields__", ())


def _json(value: Any) -> Any:
    try:
        return to_jsonable_python(
            value, by_alias=False, serialize_unknown=True, inf_nan_mode="constants", bytes_mode="base64"
        )
    except Exception:
        raise ConditionError("the message can't be shown as JSON") from None


def _environment() -> Any:
    cel: Any = importlib.import_module("cel_expr_python.cel")  # here: who has no conditions needn't load it
    kinds = cel.Type
    types = {
        "tenant": kinds.STRING,
        "topic": kinds.STRING,
        "priority": kinds.INT,
        "meta": kinds.Map(kinds.STRING, kinds.DYN),
        "payload": kinds.DYN,
        "node": kinds.STRING,
        "flow": kinds.STRING,
        "trace_id": kinds.STRING,
        "proposed": kinds.List(kinds.STRING),
        "hour": kinds.INT,
    }
    return cel.NewEnv(variables=types)


def place_of(source: str, at: int) -> tuple[int, int]:
    """Line and column, counted from 1, of a place in a condition."""
    return source.count("\n", 0, at) + 1, at - source.rfind("\n", 0, at)


def _fault(text: str) -> Fault:
    found = _WHERE.search(text)
    if found is None or int(found[1]) < 1:
        deep = "recursion" in text or "CANCELLED" in text
        return Fault("it is nested too deeply" if deep else "it can't be compiled", 1, 1)
    return Fault(_translated(found[3]), int(found[1]), int(found[2]))


def _translated(text: str) -> str:
    text = text.removesuffix(" [INVALID_ARGUMENT]").removesuffix(" (in container '')")
    name = re.fullmatch(r"undeclared reference to '(.*)'", text)
    if name is not None:
        return f"there is no {name[1]!r} here{meant(name[1], VARIABLES)}"
    overload = re.fullmatch(r"found no matching overload for '(.*)' applied to '(.*)'", text)
    if overload is not None:
        return f"`{_SIGNS.get(overload[1], overload[1])}` can't be used with {overload[2]}"
    return text.partition(" expecting {")[0].removeprefix("Syntax error: ")


def _spoken(kind: str) -> str:
    kinds: Mapping[str, str] = {"STRING": "text", "INT": "a number", "DOUBLE": "a number", "UINT": "a number"}
    return kinds.get(kind, f"a {kind.partition('<')[0].lower()}")
