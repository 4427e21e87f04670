"""From a request to the message that enters the flow: its payload, tenant, trace context and time limit.

Rules: the body is read up to its limit and no further, within its time. A trace context that isn't one is ignored, as
W3C has it; a time limit that isn't one is refused.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
import secrets
from typing import Any

from pydantic import TypeAdapter, ValidationError
from starlette.requests import ClientDisconnect, HTTPConnection, Request

from penguiflow import Headers, Message
from penguiflow_asgi._limits import Limits
from penguiflow_asgi._problems import Problem

TIMEOUT_HEADER = "X-Request-Timeout"

_JSON = re.compile(r"application/([a-z0-9.+-]+\+)?json\s*(;|$)", re.IGNORECASE)
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")


async def body_of(request: Request, limits: Limits) -> bytes:
    """The body of a request.

    Raises:
        Problem: it is no JSON, too large, or too slow.
        ClientDisconnect: the client left while it sent it.
    """
    if not _JSON.match(request.headers.get("content-type", "")):
        raise Problem(415, "send JSON, and say so: Content-Type: application/json")
    declared = request.headers.get("content-length", "0")
    if declared.isdecimal() and int(declared) > limits.body_bytes:
        raise _too_large(limits)
    try:
        async with asyncio.timeout(limits.idle_s):
            return await _read(request, limits)
    except TimeoutError:
        raise Problem(408, f"the body took longer than {limits.idle_s:g} s to come") from None


async def _read(request: Request, limits: Limits) -> bytes:
    body = bytearray()
    more = True
    while more:
        part = await request.receive()
        if part["type"] == "http.disconnect":
            raise ClientDisconnect
        body += part.get("body", b"")
        more = part.get("more_body", False)
        if len(body) > limits.body_bytes:
            raise _too_large(limits)
    return bytes(body)


def _too_large(limits: Limits) -> Problem:
    return Problem(413, f"a body has at most {limits.body_bytes} bytes here")


def payload_of(body: bytes | str, adapter: TypeAdapter[Any]) -> Any:
    """What the flow is asked.

    Raises:
        Problem: it is no JSON, or not what the flow takes.
    """
    try:
        return adapter.validate_json(body)
    except ValidationError as error:
        errors = json.loads(error.json(include_url=False, include_input=False, include_context=False))
    except RecursionError:
        errors = [{"type": "json_invalid", "loc": [], "msg": "Invalid JSON: it is nested too deeply"}]
    if [one["type"] for one in errors] == ["json_invalid"] and not errors[0]["loc"]:
        raise Problem(400, f"this is no JSON: {errors[0]['msg']}")
    raise Problem(422, "the input isn't what this flow takes: see errors", errors=errors)


def timeout_of(text: str | None, ceiling: float | None) -> float | None:
    """The seconds that a trace may take, from what a header says.

    Raises:
        Problem: it is no number above 0.
    """
    try:
        return capped(None if text is None else float(text), ceiling, TIMEOUT_HEADER)
    except ValueError:
        return capped(math.nan, ceiling, TIMEOUT_HEADER)


def capped(seconds: float | None, ceiling: float | None, name: str) -> float | None:
    """The seconds that a trace may take, of those that the client wants.

    Raises:
        Problem: it is no number above 0.
    """
    if seconds is None:
        return ceiling
    if not (math.isfinite(seconds) and seconds > 0):
        raise Problem(400, f"{name} is a number of seconds above 0, such as 2.5")
    return seconds if ceiling is None else min(seconds, ceiling)


def enveloped(payload: Any, tenant: str, connection: HTTPConnection) -> Message[Any]:
    """The message. Its trace has an id that nobody can guess."""
    return Message(
        payload=payload,
        headers=Headers(tenant=tenant),
        trace_id=secrets.token_hex(16),
        meta=_trace_context(connection),
    )


def _trace_context(connection: HTTPConnection) -> dict[str, Any]:
    """W3C's trace context, where tracers look for it: in `meta`."""
    headers = connection.headers
    parent = headers.get("traceparent", "").strip()
    if not _TRACEPARENT.fullmatch(parent) or (parent.startswith("00") and len(parent) != 55):
        return {}
    state = ",".join(headers.getlist("tracestate"))
    return {"traceparent": parent, "tracestate": state} if state else {"traceparent": parent}
