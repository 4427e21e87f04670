"""What the tests share: requests, and policies of a few rules."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from penguiflow import Headers, Message, Node, PenguiFlow, RoutingRequest, create, router
from penguiflow_policy import Policy

NAMES = ("a", "b", "c")


async def same(message: Any) -> Any:
    return message


@lru_cache
def sinks(*names: str) -> tuple[Node[..., Any], ...]:
    return tuple(Node(same, name) for name in names or NAMES)


def request(
    payload: Any = None,
    *,
    node: str = "desk",
    flow: str = "flow",
    proposed: Sequence[str] = NAMES,
    meta: dict[str, Any] | None = None,
    trace_id: str = "trace",
    **headers: Any,
) -> RoutingRequest:
    """What a router would ask."""
    message = Message(payload=payload, headers=Headers(**headers), meta=meta or {}, trace_id=trace_id)
    return RoutingRequest(message, node, sinks(*proposed) if proposed else (), trace_id, flow)


def rule(name: str = "rule", **parts: Any) -> dict[str, Any]:
    if not set(parts) & {"route", "add", "remove", "drop", "abstain", "split", "canary"}:
        parts["route"] = "a"
    return {"name": name, **parts}


def policy(*rules: dict[str, Any], environ: Any = None, clock: Any = None, **settings: Any) -> Policy:
    options = {"environ": environ or {}, **({"clock": clock} if clock else {})}
    return Policy.from_dict({"rules": list(rules), **settings}, **options)


def flow_of(*names: str, name: str = "flow", policy: Any = None, **options: Any) -> PenguiFlow:
    return create(router("desk", policy=policy).to(*sinks(*names)), name=name, **options)


def targets(found: Any) -> list[str] | None:
    return None if found is None else list(found)
