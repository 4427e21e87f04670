"""`${NAME}` and `${NAME:-default}` in a policy.

Rules: only the places listed here take values from the environment; anywhere else `${` is a mistake. The value stands
in the rules alone: messages, explanations and versions show what is written.
"""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from penguiflow_policy._problems import Problem
from penguiflow_policy._tree import Document, Path

PLACES = (
    ("default",),
    ("default", "*"),
    ("timezone",),
    ("rules", "*", "match", "*"),
    ("rules", "*", "match", "*", "*"),
    ("rules", "*", "route"),
    ("rules", "*", "route", "*"),
    ("rules", "*", "add"),
    ("rules", "*", "add", "*"),
    ("rules", "*", "remove"),
    ("rules", "*", "remove", "*"),
    ("rules", "*", "split", "*"),
    ("rules", "*", "canary", "to"),
    ("rules", "*", "canary", "percent"),
    ("rules", "*", "fallback", "to"),
    ("rules", "*", "fallback", "error_rate"),
)
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^{}]*))?\}")
_NUMBERS = {"percent", "error_rate"}
_WHOLE = {"priority", "hour"}


def filled(document: Document, environ: Mapping[str, str]) -> tuple[Any, list[tuple[Path, Problem]]]:
    """A copy of the document's data with the values of variables, and what is wrong with them, where."""
    data = copy.deepcopy(document.data)
    problems: list[tuple[Path, Problem]] = []
    for path, text in list(_texts(data)):
        if "${" not in text:
            continue
        if not any(_fits(path, place) for place in PLACES):
            where = "in match:, in targets, weights and percentages"
            problems.append((path, document.problem(f"a variable can't stand here: it may {where}", path)))
            continue
        value, wrong = _value(text, environ)
        problems += [(path, document.problem(sentence, path)) for sentence in wrong]
        _put(data, path, _converted(path, value))
    return data, problems


def _texts(data: Any) -> Iterator[tuple[Path, str]]:
    todo: list[tuple[Path, Any]] = [((), data)]
    while todo:
        path, value = todo.pop()
        if isinstance(value, str):
            yield path, value
        elif isinstance(value, dict):
            todo.extend(((*path, key), item) for key, item in reversed(value.items()))
        elif isinstance(value, list):
            todo.extend(((*path, place), item) for place, item in reversed(list(enumerate(value))))


def _fits(path: Path, place: tuple[str, ...]) -> bool:
    return len(path) == len(place) and all(want in ("*", step) for step, want in zip(path, place, strict=True))


def _value(text: str, environ: Mapping[str, str]) -> tuple[str, list[str]]:
    wrong: list[str] = []

    def put(found: re.Match[str]) -> str:
        value = environ.get(found[1])
        if value is None and found[2] is None:
            wrong.append(f"the variable {found[1]} isn't set: set it, or write ${{{found[1]}:-a default}}")
        return (found[2] or "") if value is None else value

    value = _VARIABLE.sub(put, text)
    if "${" in _VARIABLE.sub("", text):
        wrong.append("a variable is written ${NAME} or ${NAME:-default}")
    return value, wrong


def _converted(path: Path, text: str) -> Any:
    """The value of a place: a number where only a number can stand."""
    if path[-1] in _NUMBERS or "split" in path[2:3]:
        return _number(text)
    whole = path[2:3] == ("match",) and path[3] in _WHOLE and re.fullmatch(r"-?[0-9]{1,18}", text)
    return int(text) if whole else text


def _number(text: str) -> Any:
    try:
        number = float(text)
    except ValueError:
        return text
    return number if math.isfinite(number) else text


def _put(data: Any, path: Path, value: Any) -> None:
    for step in path[:-1]:
        data = data[step]
    data[path[-1]] = value
