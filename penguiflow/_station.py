"""A node as it stands in one flow: how it is called, what is checked, and where its output goes.

Rules: everything that the signature, the policy and the graph decide is decided here, once, at build time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Union

from pydantic import BaseModel, TypeAdapter, ValidationError

from penguiflow._errors import FlowError, FlowErrorCode
from penguiflow._messages import Message, StreamChunk
from penguiflow._node import JoinRole, Node, NodePolicy, RouterRole, SubflowRole
from penguiflow._types import (
    UNKNOWN,
    adapter,
    admits,
    admits_chunk,
    is_message,
    members,
    only_chunks,
    payload_of,
    spelled,
)

Check = Callable[[Any], Any]
Call = Callable[[Any], Any]


class Station:
    """A node in its place.

    Attributes:
        bind: From a parcel, the argument that the node's function takes; raises `FlowError` if it doesn't fit.
        call: From a parcel, the awaitable (or async generator) that runs the node once.
        out_class: The class that the node promises, where its instances need no check and go the common way.
        sole: The one node that every common output goes to, if there is just one.
        leaf: Whether every output leaves at Rookery.
        check: What the node returned, checked; `None` where there is nothing to check.
        plain: Whether a run needs no limit, no time-out, no role: the quick way.
    """

    __slots__ = (
        "bind",
        "call",
        "check",
        "chunk_targets",
        "controller",
        "cycle",
        "generates",
        "index",
        "join",
        "lanes",
        "leaf",
        "limit",
        "name",
        "node",
        "node_id",
        "out_class",
        "plain",
        "policy",
        "predecessors",
        "router",
        "sole",
        "subflow",
        "successors",
        "targets",
        "timeout_s",
        "wants",
    )

    def __init__(self, node: Node[..., Any], index: int, node_id: str, wants: Any, gives: Any) -> None:
        policy = node.policy
        self.node: Node[..., Any] = node
        self.index: int = index
        self.name: str = node.name
        self.node_id: str = node_id
        self.policy: NodePolicy = policy
        self.lanes: int = policy.per_trace_concurrency
        self.limit: int | None = policy.max_concurrency
        self.timeout_s: float | None = policy.timeout_s
        self.wants: Any = wants
        role = node.role
        self.join: JoinRole | None = role if isinstance(role, JoinRole) else None
        self.router: RouterRole | None = role if isinstance(role, RouterRole) else None
        self.subflow: SubflowRole | None = role if isinstance(role, SubflowRole) else None
        self.generates: bool = node.shape.generates
        special = self.router is not None or self.subflow is not None or self.generates
        self.plain: bool = not special and self.limit is None and self.timeout_s is None
        self.bind: Call = _binder(self, wants)
        self.check: Check | None = _checker(self, gives)
        self.call: Call = _caller(node, self.bind, self._quick_class(wants))
        self.out_class: type | None = _quick_output(gives) if self.check is not None else None
        self.cycle: int | None = None
        self.controller: bool = False
        self.successors: tuple[Station, ...] = ()
        self.predecessors: tuple[int, ...] = ()
        self.targets: tuple[Station, ...] = ()
        self.chunk_targets: tuple[Station, ...] = ()
        self.sole: Station | None = None
        self.leaf: bool = False

    def connect(self, successors: tuple[Station, ...], predecessors: tuple[int, ...], cycle: int | None) -> None:
        """Say where the node's output goes."""
        self.successors = successors
        self.predecessors = predecessors
        self.cycle = cycle
        self.controller = self in successors
        self.targets = tuple(s for s in successors if not only_chunks(s.wants))
        others = tuple(s for s in self.targets if s is not self)
        self.leaf = not self.targets and not self.controller and self.router is None
        chain = len(others) == 1 and not self.controller and self.router is None and others[0].join is None
        self.sole = others[0] if chain else None

    def _quick_class(self, wants: Any) -> type | None:
        """The class whose instances need no check at all, if there is one."""
        if self.policy.validate in ("out", "none") or not isinstance(wants, type) or is_message(wants):
            return None
        if wants is object or adapter(wants) is None:
            return None
        return None if _revalidates(wants) else wants

    def target(self, name: str) -> Station | None:
        """The successor of that name."""
        return next((s for s in self.successors if s.name == name), None)

    def connect_chunks(self) -> None:
        """Say where its chunks go, once every node is connected."""
        self.chunk_targets = tuple(s for s in self.successors if s is not self and s.takes_chunks())

    def takes_chunks(self, seen: tuple[Station, ...] = ()) -> bool:
        """Whether stream chunks go to it. A join gathers outputs, not the pieces of one; a router passes on what its
        successors take.
        """
        if self.join is not None or not admits_chunk(self.wants):
            return False
        if self.router is None:
            return True
        return any(s.takes_chunks((*seen, self)) for s in self.successors if s is not self and s not in seen)

    def __repr__(self) -> str:
        return f"<Station {self.node_id}>"


def _caller(node: Node[..., Any], bind: Call, quick: type | None) -> Call:
    func: Any = node.func
    if quick is not None:
        if node.shape.takes_ctx:

            def call_quick(parcel: Any) -> Any:
                value = parcel._payload
                return func(value if value.__class__ is quick else bind(parcel), parcel)

        else:

            def call_quick(parcel: Any) -> Any:
                value = parcel._payload
                return func(value if value.__class__ is quick else bind(parcel))

        return call_quick
    if node.shape.takes_ctx:
        return lambda parcel: func(bind(parcel), parcel)
    return lambda parcel: func(bind(parcel))


def _binder(station: Station, wants: Any) -> Call:
    checks = station.policy.validate in ("both", "in")
    parts = [part for part in members(wants) if part is not type(None)]
    if parts and all(is_message(part) for part in parts):
        return _message_binder(station, parts, checks)
    bare = [part for part in parts if not is_message(part)]
    validator = adapter(Union[tuple(bare)] if len(bare) < len(parts) else wants) if checks else None  # noqa: UP007
    if wants in (UNKNOWN, Any, object) or len(bare) < len(parts):
        return lambda parcel: _as_it_came(parcel, station, validator, wants)
    if validator is None:
        return lambda parcel: parcel._payload

    def bind(parcel: Any) -> Any:
        parcel._payload = _validated(parcel, validator, station, wants)
        return parcel._payload

    return bind


def _as_it_came(parcel: Any, station: Station, validator: TypeAdapter[Any] | None, wants: Any) -> Any:
    """What the node before returned: its message, or its payload, checked if the annotation has a say in it."""
    if parcel._raw is not None or _fits_a_message(wants, type(parcel._payload)):
        return parcel.message
    if validator is not None:
        parcel._payload = _validated(parcel, validator, station, wants)
    return parcel._payload


def _fits_a_message(wants: Any, cls: type) -> bool:
    """Whether it is the envelope that an annotation like `Message[A] | B` takes such a payload in."""
    parts = members(wants)
    inside = any(is_message(part) and admits(payload_of(part), cls) for part in parts)
    return inside and not any(admits(part, cls) for part in parts if not is_message(part))


def _message_binder(station: Station, models: list[type[Message[Any]]], checks: bool) -> Call:
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


def _completed(parcel: Any, station: Station, model: type[Message[Any]]) -> Message[Any]:
    """The message as a subclass of `Message` with fields of its own."""
    try:
        return model(**parcel._message.__dict__)
    except ValidationError as exc:
        what = f"node {station.name!r} takes {model.__name__}, which this message isn't: {_first(exc)}"
        raise _refused(parcel, station, what, exc, "in") from None


def _validated(parcel: Any, validator: TypeAdapter[Any], station: Station, wanted: Any) -> Any:
    try:
        return validator.validate_python(parcel._payload)
    except ValidationError as exc:
        given = type(parcel._payload).__name__
        what = f"node {station.name!r} takes {spelled(wanted)}, and this {given} isn't one: {_first(exc)}"
        raise _refused(parcel, station, what, exc, "in") from None


def _checker(station: Station, gives: Any) -> Check | None:
    if station.policy.validate in ("in", "none") or gives in (UNKNOWN, Any, object):
        return None
    inner = payload_of(gives) if is_message(gives) else gives
    parts = members(inner)
    if any(is_message(part) for part in parts):
        return None
    validator = adapter(inner)
    if validator is None:
        return None
    quick = inner if isinstance(inner, type) and not _revalidates(inner) else None

    def check(value: Any) -> Any:
        if value.__class__ is quick or value is None:
            return value
        if not isinstance(value, Message):
            return validator.validate_python(value)
        payload = validator.validate_python(value.payload)
        return value if payload is value.payload else value.model_copy(update={"payload": payload})

    return check


def _quick_output(gives: Any) -> type | None:
    if not isinstance(gives, type) or issubclass(gives, Message | StreamChunk | type(None)) or _revalidates(gives):
        return None
    return gives


def _revalidates(cls: type) -> bool:
    return issubclass(cls, BaseModel) and cls.model_config.get("revalidate_instances", "never") != "never"


def checked(station: Station, parcel: Any, value: Any) -> Any:
    """What the node returned, checked against its annotation.

    Raises:
        FlowError: `VALIDATION`; it isn't what the node said it would give.
    """
    if station.check is None or value is None:
        return value
    try:
        return station.check(value)
    except ValidationError as exc:
        what = f"node {station.name!r} returned {type(value).__name__}, which isn't what it promises: {_first(exc)}"
        raise _refused(parcel, station, what, exc, "out") from None


def _refused(parcel: Any, station: Station, text: str, exc: ValidationError, side: str) -> FlowError:
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
