"""Routers: who proposes, who decides, and what becomes of it.

Rules: first the router's own predicate, then its policy, then the deployment's plugins; each may change what stands
proposed. Whatever goes wrong on the way fails the message with `ROUTING`, and is never retried: routing fails closed.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Mapping, Set
from typing import Any

from penguiflow._dispatch import is_stray
from penguiflow._errors import FlowError, FlowErrorCode, typed
from penguiflow._events import NOTHING
from penguiflow._exits import named
from penguiflow._hooks import RoutingRequest
from penguiflow._node import ROOKERY
from penguiflow._observe import node_event
from penguiflow._parcel import Parcel
from penguiflow._station import Station
from penguiflow._types import admits, payloads


async def route(parcel: Parcel) -> Any:
    """A router's body: decide where the message goes, and pass it on as it came.

    Raises:
        FlowError: `ROUTING`.
    """
    station = parcel._station
    try:
        chosen, by, answer = await _chosen(parcel)
        targets, leaves = _targets(station, chosen, by)
    except FlowError as error:
        if error.code == FlowErrorCode.ROUTING or error.trace_id == parcel._trace.id:
            raise
        raise _failed(parcel, error) from error
    except (Exception, asyncio.CancelledError) as exc:
        if not (isinstance(exc, Exception) or is_stray(exc)):
            raise
        raise _failed(parcel, exc) from exc
    parcel._targets = (targets, leaves)
    if parcel._trace.run.dispatch.listeners:
        names = [target.name for target in targets] + ([ROOKERY] if leaves else [])
        kind = "route_decided" if names else "route_dropped"
        node_event(kind, parcel, extra={**_detail(answer), "targets": names, "decided_by": by})
    return parcel._payload if parcel._raw is None else parcel.message


def _targets(station: Station, chosen: Any, by: str) -> tuple[Any, Any]:
    """Who stands behind the names; where nobody does, the error says whose answer that was."""
    try:
        return named(station, chosen, station.successors)
    except FlowError as error:
        if by != "router":
            error.message += "; so answered its policy" if by == "policy" else f"; so answered the plugin {by!r}"
            error.args = (error.message,)
        raise


async def _chosen(parcel: Parcel) -> tuple[Any, str, Any]:
    """The names that the message goes to, who had the last word, and his answer as he gave it."""
    station = parcel._station
    role, dispatch = station.router, parcel._trace.run.dispatch
    assert role is not None
    chosen, by, last = _proposed(parcel), "router", None
    if role.policy is not None:
        answer = await _asked(getattr(role.policy, "select", role.policy), _request(parcel, chosen))
        if answer is not None:
            chosen, by, last = _listed(answer), "policy", answer
    if dispatch.routes:
        answer = await dispatch.resolve_route(_request(parcel, chosen))
        if answer is not None:
            by, last = answer
            chosen = _listed(last)
    return chosen, by, last


def _detail(answer: Any) -> Mapping[str, Any]:
    """What an answer says about itself besides, for observers."""
    try:
        detail = getattr(answer, "detail", None)
    except Exception:
        return NOTHING  # the message goes its way all the same
    return detail if isinstance(detail, Mapping) else NOTHING


def _proposed(parcel: Parcel) -> list[Any]:
    station = parcel._station
    assert station.router is not None
    if station.router.by_type:
        station.bind(parcel)
        return [_by_type(station, parcel._payload)]
    if station.router.propose is None:
        return [s.name for s in station.successors if s is not station]
    answer = station.router.propose(station.bind(parcel))
    return [] if answer is None else _listed(answer)


def _by_type(station: Station, payload: Any) -> str:
    """The successor that takes this payload: by its annotation, the exact class first, otherwise by name."""
    cls = type(payload)
    exact = [s.name for s in station.successors if cls in payloads(s.wants)]
    fitting = exact or [s.name for s in station.successors if s.wants is not Any and admits(s.wants, cls)]
    kind = getattr(payload, "kind", None)
    by_name = [name for name in (kind, cls.__name__) if isinstance(name, str) and station.target(name)]
    found = exact or by_name or fitting
    if found:
        return found[0]
    known = ", ".join(s.name for s in station.successors)
    raise LookupError(f"no successor takes a {cls.__name__} or is named for it: there are {known}")


def _listed(answer: Any) -> Any:
    single = isinstance(answer, str) or not hasattr(answer, "__iter__")
    return [answer] if single else answer if isinstance(answer, Set) else list(answer)


async def _asked(select: Any, request: RoutingRequest) -> Any:
    answer = select(request)
    return await answer if inspect.isawaitable(answer) else answer


def _request(parcel: Parcel, chosen: list[Any]) -> RoutingRequest:
    station, trace = parcel._station, parcel._trace
    targets, _ = named(station, chosen, station.successors)
    return RoutingRequest(parcel.message, station.name, tuple(t.node for t in targets), trace.id, trace.run.name)


def _failed(parcel: Parcel, exc: BaseException) -> FlowError:
    late = " (it took too long)" if isinstance(exc, asyncio.TimeoutError) else ""
    return FlowError(
        trace_id=parcel._trace.id,
        node_name=parcel._station.name,
        node_id=parcel._station.node_id,
        code=FlowErrorCode.ROUTING,
        message=f"router {parcel._station.name!r} could not decide: {typed(exc)}{late}",
        original_exc=exc,
    )
