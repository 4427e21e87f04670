"""What rules can see of a message: `tenant`, `topic`, `priority`, `node`, `flow`, `trace_id`, `proposed`, `hour`,
`meta.*` and `payload.*`.

Rules: reading a field runs nobody's code: of an object only its fields are seen, no properties and no methods. What
isn't there is `None`.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time, tzinfo
from decimal import Decimal
from typing import Any
from uuid import UUID

from pydantic import BaseModel

from penguiflow import RoutingRequest
from penguiflow_policy._schema import FIELDS, KEYS, NESTED

Getter = Callable[[RoutingRequest, float], Any]

_SIMPLE: dict[str, Getter] = {
    "tenant": lambda request, now: request.message.headers.tenant,
    "topic": lambda request, now: request.message.headers.topic,
    "priority": lambda request, now: request.message.headers.priority,
    "node": lambda request, now: request.node_name,
    "flow": lambda request, now: request.flow_name,
    "trace_id": lambda request, now: request.trace_id,
    "proposed": lambda request, now: request.proposed_names,
}


def known(name: str) -> bool:
    """Whether there is such a field."""
    first, dot, rest = name.partition(".")
    if not dot:
        return name in FIELDS
    return first in NESTED and all(part and not part.startswith("_") for part in rest.split("."))


def is_key(name: str) -> bool:
    """Whether a split can hold on to this field."""
    return name in KEYS or ("." in name and known(name))


def hour_of(now: float, zone: tzinfo) -> int:
    """The hour of the day, from 0 to 23."""
    return int(now // 3600 % 24) if zone is UTC else datetime.fromtimestamp(now, zone).hour


def getter(name: str, zone: tzinfo = UTC) -> Getter:
    """What reads a field."""
    if name == "hour":
        return lambda request, now: hour_of(now, zone)
    if name in _SIMPLE:
        return _SIMPLE[name]
    first, _, rest = name.partition(".")
    steps = rest.split(".")
    if first == "meta":
        return lambda request, now: _walked(request.message.meta, steps)
    return lambda request, now: _walked(request.message.payload, steps)


def _walked(value: Any, steps: list[str]) -> Any:
    for step in steps:
        value = part(value, step)
        if value is None:
            return None
    return value


def part(value: Any, name: str) -> Any:
    """A field of a mapping, a model, a dataclass or a named tuple; `None` if it has none of that name."""
    if value.__class__ is dict or isinstance(value, Mapping):
        return value.get(name)
    held = getattr(value, "__dict__", None)
    if held is not None and name in held:
        return held[name]
    if isinstance(value, tuple):
        names = tuple(getattr(value, "_fields", ()))
        return value[names.index(name)] if name in names else None
    if dataclasses.is_dataclass(value) and name in value.__dataclass_fields__:
        return getattr(value, name, None)
    if isinstance(value, BaseModel):
        return (getattr(value, "__pydantic_extra__", None) or {}).get(name)
    return None


def bare(value: Any) -> Any:
    """The value of an enumeration's member, the text of what JSON holds as text; anything else as it is."""
    if isinstance(value, enum.Enum):
        value = value.value
    if isinstance(value, date | time):
        return value.isoformat()
    return str(value) if isinstance(value, UUID | Decimal) else value
