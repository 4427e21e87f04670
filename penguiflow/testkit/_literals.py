"""Values as Python source: what a generated test builds them from, and what it imports for that.

Rules: what is written gives an equal value when it is read. What has no such form is `Unwritable`, and says which part
of it hasn't.
"""

from __future__ import annotations

import builtins
import dataclasses
import datetime
import decimal
import enum
import math
import pathlib
import sys
import types
import uuid
import zoneinfo
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel

from penguiflow import FlowError, Message
from penguiflow.testkit._layout import quoted

_PLAIN = (bool, int, bytes, type(None))
_BY_REPR = {decimal.Decimal: "decimal", uuid.UUID: "uuid"}
_DATES = (datetime.datetime, datetime.date, datetime.time, datetime.timedelta, datetime.timezone)
_MODULES = ("datetime", "pathlib", "sys", "zoneinfo")  # what a file may import as such
_DEEPEST = 80  # values in values: Python reads no more than 200 brackets in brackets
_OF_MESSAGE = ("payload", "headers", "meta", "budget")


class Unwritable(ValueError):
    """A value that can't be written as Python."""


class Writer:
    """Writes values, and notes what has to be imported for them.

    Attributes:
        imports: Names by the module that they come from, each with the name that it has in the file.
        modules: Modules that are imported as such.

    Args:
        reserved: Names that the file has already, by the module that they come from.
    """

    def __init__(self, reserved: Mapping[str, Iterable[str]] | None = None) -> None:
        self.imports: dict[str, dict[str, str]] = {}
        self.modules: set[str] = set()
        taken = {"builtins": dir(builtins), "import": _MODULES, **(reserved or {})}
        self._owners: dict[str, tuple[str, str]] = {name: (home, name) for home in taken for name in taken[home]}
        self._depth: int = 0

    def write(self, value: Any) -> str:
        """The value as an expression.

        Raises:
            Unwritable: it has no such form.
        """
        try:
            return self.part(value)
        except Unwritable:
            raise
        except Exception as exc:  # of the value's own code, for one
            raise Unwritable(f"a {type(value).__qualname__} that can't be written ({type(exc).__name__})") from exc

    def part(self, value: Any) -> str:
        """A value in a value."""
        if self._depth == _DEEPEST:
            raise Unwritable(f"values in values, more than {_DEEPEST} deep")
        self._depth += 1
        try:
            return self._expression(value, type(value))
        finally:
            self._depth -= 1

    def _expression(self, value: Any, kind: type) -> str:
        if kind is str:
            return quoted(value)
        if kind in _PLAIN:
            return repr(value)
        if kind is float:
            return repr(value) if math.isfinite(value) else f"float({str(value)!r})"
        if kind in _CONTAINERS:
            return _CONTAINERS[kind](self, value)
        if isinstance(value, enum.Enum):
            return self._member(value, kind)
        if kind in _DATES:
            return self._date(value)
        if kind in _BY_REPR:
            return self.imported(_BY_REPR[kind], kind.__name__) + repr(value).removeprefix(kind.__name__)
        if isinstance(value, pathlib.PurePath):
            return self._call(kind, [str(value)], {})
        return self._object(value, kind)

    def _member(self, value: enum.Enum, kind: type) -> str:
        named = value.name is not None and getattr(kind, value.name, None) is value  # some flags are several
        return f"{self.name(kind)}.{value.name}" if named else self._call(kind, [value.value], {})

    def _date(self, value: Any) -> str:
        """A date or time; in a zone of an unknown kind, at the same distance from UTC."""
        zone = getattr(value, "tzinfo", None)
        self.module("datetime")
        if zone is None or type(zone) is datetime.timezone:
            return repr(value)
        if type(zone) is zoneinfo.ZoneInfo and zone.key is not None:
            self.module("zoneinfo")
            return f"{repr(value.replace(tzinfo=None))[:-1]}, tzinfo=zoneinfo.ZoneInfo({quoted(zone.key)}))"
        if (distance := value.utcoffset()) is None:
            raise Unwritable(f"a time in a zone that no test can make ({value!r:.80})")
        return repr(value.replace(tzinfo=datetime.timezone(distance)))

    def _object(self, value: Any, kind: type) -> str:
        if isinstance(value, Message):
            return self._call(kind, [], {k: getattr(value, k) for k in _OF_MESSAGE if k in value.model_fields_set})
        if isinstance(value, BaseModel):
            return self._model(value, kind)
        if isinstance(value, BaseException):
            return self._exception(value, kind)
        if dataclasses.is_dataclass(value):
            fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if f.init}
            return self._checked(value, kind, [], fields)
        names = getattr(kind, "_fields", None)
        if isinstance(value, tuple) and names is not None:
            return self._checked(value, kind, [], dict(zip(names, value, strict=True)))
        if isinstance(value, type):
            return self.name(value)
        raise Unwritable(f"a {kind.__module__}.{kind.__qualname__} ({value!r:.80})")

    def _model(self, value: BaseModel, kind: type[BaseModel]) -> str:
        given = {name: getattr(value, name) for name in kind.model_fields if name in value.model_fields_set}
        given.update(value.model_extra or {})
        aliased = _by_alias(kind, given)
        if aliased != given and not _makes(lambda: kind(**given), value) and _makes(lambda: kind(**aliased), value):
            given = aliased
        try:
            return self._checked(value, kind, [], given)
        except Unwritable:
            dumped = value.model_dump(by_alias=True)
            if not _makes(lambda: kind.model_validate(dumped), value):
                raise
            return f"{self.name(kind)}.model_validate({self.part(dumped)})"

    def _exception(self, value: BaseException, kind: type[Any]) -> str:
        if isinstance(value, FlowError):
            return self._call(FlowError, [], {"code": str(value.code), "message": value.message})
        made: Any = _attempted(kind, list(value.args), {})
        if type(made) is not kind or made.args != value.args:
            raise Unwritable(f"a {kind.__qualname__} ({value!r:.80})")
        return self._call(kind, list(value.args), {})

    def _checked(self, value: Any, kind: type, args: list[Any], kwargs: dict[str, Any]) -> str:
        """A call, if it gives the same value."""
        if _attempted(kind, args, kwargs) != value:
            raise Unwritable(f"a {kind.__qualname__} that its fields don't make again ({value!r:.80})")
        return self._call(kind, args, kwargs)

    def _call(self, kind: type, args: Iterable[Any], kwargs: Mapping[str, Any]) -> str:
        if not all(name.isidentifier() for name in kwargs):
            raise Unwritable(f"a {kind.__qualname__} with fields that are no names")
        parts = [*map(self.part, args), *(f"{name}={self.part(value)}" for name, value in kwargs.items())]
        return f"{self.name(kind)}({', '.join(parts)})"

    def name(self, kind: Any) -> str:
        """The name of a class, which is imported for it.

        Raises:
            Unwritable: it can't be imported.
        """
        generic = getattr(kind, "__pydantic_generic_metadata__", {})
        if generic.get("origin") is not None:
            return f"{self.name(generic['origin'])}[{', '.join(map(self._argument, generic['args']))}]"
        if not isinstance(kind, type):
            raise Unwritable(f"{kind!r:.80}, which is no class")
        qualname: str = kind.__qualname__
        if getattr(builtins, qualname, None) is kind:
            return qualname
        if kind.__module__ == "datetime" and kind in _DATES:
            self.module("datetime")
            return f"datetime.{qualname}"
        first, *rest = qualname.split(".")
        found: Any = sys.modules.get(kind.__module__)
        for part in (first, *rest):
            found = getattr(found, part, None)
        if found is not kind or kind.__module__ == "__main__":
            raise Unwritable(f"{kind.__module__}.{kind.__qualname__}, which no test can import")
        return ".".join([self.imported(_public_home(kind), first), *rest])

    def _argument(self, kind: Any) -> str:
        """What a generic class is of."""
        origin, args = get_origin(kind), map(self._argument, get_args(kind))
        if origin is None:
            return "None" if kind is types.NoneType else self.name(kind)
        return " | ".join(args) if origin in (Union, types.UnionType) else f"{self.name(origin)}[{', '.join(args)}]"

    def imported(self, module: str, name: str) -> str:
        """Note an import of a name, and say what it is called in the file: a name of two things has a number."""
        mine, number = name, 1
        while self._owners.setdefault(mine, (module, name)) != (module, name):
            number += 1
            mine = f"{name}_{number}"
        self.imports.setdefault(module, {})[name] = mine
        return mine

    def module(self, name: str) -> None:
        """Note an import of a module."""
        self.modules.add(name)


def _public_home(kind: type) -> str:
    """Where a class is imported from: of ours, the package itself."""
    package = kind.__module__.partition(".")[0]
    public = getattr(sys.modules.get(package), kind.__qualname__.partition(".")[0], None)
    return package if package == "penguiflow" and public is kind else kind.__module__


def _by_alias(kind: type[BaseModel], given: Mapping[str, Any]) -> dict[str, Any]:
    """A model's fields by the names that it takes them under."""
    aliases = {name: field.validation_alias for name, field in kind.model_fields.items()}
    return {alias if isinstance(alias := aliases.get(name), str) else name: value for name, value in given.items()}


def _makes(make: Callable[[], Any], value: Any) -> bool:
    try:
        return bool(make() == value)
    except Exception:
        return False


def _attempted(kind: type, args: list[Any], kwargs: dict[str, Any]) -> Any:
    try:
        return kind(*args, **kwargs)
    except Exception as exc:
        raise Unwritable(f"a {kind.__qualname__} that can't be made again ({type(exc).__name__})") from exc


def _items(writer: Writer, values: Iterable[Any]) -> str:
    return ", ".join(map(writer.part, values))


def _set(writer: Writer, value: Iterable[Any]) -> str:
    return ", ".join(sorted(map(writer.part, value)))


_CONTAINERS: dict[type, Callable[[Writer, Any], str]] = {
    list: lambda w, v: f"[{_items(w, v)}]",
    tuple: lambda w, v: f"({_items(w, v)},)" if len(v) == 1 else f"({_items(w, v)})",
    set: lambda w, v: f"{{{_set(w, v)}}}" if v else "set()",
    frozenset: lambda w, v: f"frozenset({{{_set(w, v)}}})" if v else "frozenset()",
    dict: lambda w, v: "{" + ", ".join(f"{w.part(k)}: {w.part(x)}" for k, x in v.items()) + "}",
}
