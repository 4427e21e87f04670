"""What went wrong, as RFC 9457 tells it: `application/problem+json`.

Rules: `detail` is a sentence for the client. What a node raised may hold secrets, so its text is only shown where the
service says so; the log has it, with its traceback. The log of refusals has no part of a body, a header or an answer.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http.client import responses
from typing import Any

from starlette.responses import Response

from penguiflow import FlowError, FlowErrorCode
from penguiflow_asgi._wire import json_text

log = logging.getLogger("penguiflow.asgi")

_STATUSES: Mapping[str, int] = {
    FlowErrorCode.DEADLINE_EXCEEDED: 504,
    FlowErrorCode.NODE_TIMEOUT: 504,
    FlowErrorCode.HOP_BUDGET_EXHAUSTED: 422,
    FlowErrorCode.TOKEN_BUDGET_EXHAUSTED: 422,
    FlowErrorCode.COST_BUDGET_EXHAUSTED: 422,
    FlowErrorCode.TRACE_CANCELLED: 409,
}
_HIDDEN: Mapping[str, str] = {  # their texts quote exceptions, or values of the message
    FlowErrorCode.NODE_EXCEPTION: "a node failed",
    FlowErrorCode.VALIDATION: "a node gave or got something of another type than it declares",
    FlowErrorCode.ROUTING: "a message could not be routed",
}


class Problem(Exception):
    """A request that isn't served.

    Args:
        status: The HTTP status.
        detail: A sentence for the client.
        headers: Headers beside it.
        members: What else machines may want to know.
    """

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None, **members: Any) -> None:
        super().__init__(detail)
        self.status: int = status
        self.headers: dict[str, str] = dict(headers or {})
        self.body: dict[str, Any] = {
            "type": "about:blank",
            "title": responses.get(status, "Error"),
            "status": status,
            "detail": detail,
            **members,
        }

    def response(self) -> Response:
        """The problem as an answer."""
        return Response(
            json_text(self.body), self.status, {**self.headers, "cache-control": "no-store"}, "application/problem+json"
        )


def no_room(status: int, detail: str, retry_after_s: int) -> Problem:
    """Try again later."""
    return Problem(status, detail, {"retry-after": str(retry_after_s)})


def broken() -> Problem:
    """Something raised that should not."""
    return Problem(500, "the service failed: its log has more")


def problem_of(error: FlowError, trace_id: str, expose: bool, statuses: Mapping[str, int]) -> Problem:
    """A trace that did not complete."""
    code = str(error.code)
    detail = error.message if expose or code not in _HIDDEN else f"{_HIDDEN[code]}: the service's log has more"
    status = statuses.get(code, _STATUSES.get(code, 500))
    return Problem(status, detail, code=code, trace_id=trace_id, node=error.node_name)


def log_failed(error: FlowError, trace_id: str) -> None:
    """Note a trace that did not complete: what and where. What clients aren't told follows, with its traceback: nobody
    else has it.
    """
    cause = error.unwrap()
    kind = "" if cause is None else f", {type(cause).__name__}"
    hidden = str(error.code) in _HIDDEN
    level = logging.INFO if error.code == FlowErrorCode.TRACE_CANCELLED else logging.WARNING
    log.log(
        logging.ERROR if hidden else level,
        "trace %s failed: %s in node %r%s",
        trace_id,
        error.code,
        error.node_name,
        kind,
        exc_info=(cause or error) if hidden else None,
    )
