"""Requests without a flow: for explanations, tables of cases, and the command line."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from penguiflow import Message, Node, RoutingRequest


async def _nobody(message: Any) -> None:
    return None


def requested(message: Any, node: str, proposed: Iterable[str], flow: str) -> RoutingRequest:
    """What a router would ask about this message, or payload."""
    whole = message if isinstance(message, Message) else Message(payload=message)
    return RoutingRequest(whole, node, tuple(Node(_nobody, name) for name in proposed), whole.trace_id, flow)
