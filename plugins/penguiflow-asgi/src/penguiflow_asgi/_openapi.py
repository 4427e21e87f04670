"""The OpenAPI 3.1 description of a served flow, from its models."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, TypeAdapter

from penguiflow import StreamChunk
from penguiflow_asgi._envelope import TIMEOUT_HEADER

_REF = "#/components/schemas/{model}"


class ProblemDetails(BaseModel):
    """RFC 9457: what went wrong. Problems of a trace have its `trace_id`, and a `code` that says why."""

    type: str
    title: str
    status: int
    detail: str
    code: str | None = None
    trace_id: str | None = None
    node: str | None = None
    errors: list[dict[str, Any]] | None = None


class Started(BaseModel):
    """A trace that has begun."""

    trace_id: str


class TraceState(BaseModel):
    """What a trace is doing: `live` or `ending`, or how it ended; and what it waits for."""

    trace_id: str
    state: str
    waits_for: list[str]


class Health(BaseModel):
    """Whether the service is there."""

    status: str


def openapi(
    title: str, input_: TypeAdapter[Any], output: TypeAdapter[Any], secured: bool, bearer: bool
) -> dict[str, Any]:
    """The description, without the address that it is served at.

    Args:
        title: The flow's name.
        input_: What it is asked.
        output: What it gives.
        secured: Whether not everybody is let in.
        bearer: Whether a bearer token is what lets in; else only the service's author knows.
    """
    refs, definitions = TypeAdapter.json_schemas(
        [
            ("input", "validation", input_),
            ("output", "serialization", output),
            *((model.__name__, "serialization", TypeAdapter(model)) for model in _OWN),
        ],
        ref_template=_REF,
    )
    schema = {key: value for (key, _), value in refs.items()}
    found: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": title, "version": "1"},
        "paths": _paths(schema, secured),
        "components": {"schemas": definitions.get("$defs", {})},
    }
    if bearer:
        found["components"]["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer"}}
        found["security"] = [{"bearer": []}]
    return found


_OWN: tuple[type[BaseModel], ...] = (ProblemDetails, Started, TraceState, Health, StreamChunk)
_TIMEOUT = {
    "name": TIMEOUT_HEADER,
    "in": "header",
    "description": "Seconds that the trace may take; the service has a ceiling of its own.",
    "schema": {"type": "number", "exclusiveMinimum": 0},
}
_TRACE = {"name": "trace_id", "in": "path", "required": True, "schema": {"type": "string"}}
_AFTER = {
    "name": "Last-Event-ID",
    "in": "header",
    "description": "The last event that the client has: the next one is the first that it gets.",
    "schema": {"type": "integer", "minimum": 0, "maximum": 999_999_999},
}
_FORMAT = {
    "name": "format",
    "in": "query",
    "description": "As text, if a plugin writes it: mermaid, svg, ... Without it, as JSON.",
    "schema": {"type": "string"},
}
_NOTHING = {"description": "The trace is over, and nothing came out of it: a rule dropped the message, for example."}
_EVENTS = (
    "Named events, each with an id and JSON as data: `chunk` (a StreamChunk), `restart` (what a stream had so far is "
    "void), `result` (an output), and as the last one `end` or `error` (ProblemDetails)."
)

_EVENT = {
    "type": "object",
    "description": "One event of the stream.",
    "properties": {
        "id": {"type": "string"},
        "event": {"enum": ["chunk", "restart", "result", "end", "error"]},
        "data": {"type": "string", "contentMediaType": "application/json"},
        "retry": {"type": "integer"},
    },
    "required": ["id", "event", "data"],
}


def _paths(schema: dict[str, Any], secured: bool) -> dict[str, Any]:
    problem = _content("application/problem+json", schema["ProblemDetails"])
    body = {"required": True, **_content("application/json", schema["input"])}
    stream = _answer("The trace's events. " + _EVENTS, "text/event-stream", _EVENT)

    def operation(
        summary: str, ok: dict[str, Any], refusals: tuple[int, ...], parameters: tuple[Any, ...] = (), **more: Any
    ) -> dict[str, Any]:
        codes = (*refusals, 401, 403) if secured and more.get("security") != [] else refusals
        problems = {str(code): {"description": _MEANINGS[code], **problem} for code in sorted(codes)}
        default = {"default": {"description": "What went wrong.", **problem}}
        return {"summary": summary, "parameters": list(parameters), "responses": {**ok, **problems, **default}, **more}

    asked = (400, 408, 409, 413, 415, 422, 429, 500, 503, 504)
    begun = (400, 408, 413, 415, 422, 429, 503)
    public: dict[str, Any] = {"security": []}
    state = {"200": _answer("What it is doing.", "application/json", schema["TraceState"])}
    return {
        "/": {
            "post": operation(
                "Ask the flow, and wait for its answer.",
                {"200": _answer("The output.", "application/json", schema["output"]), "204": _NOTHING},
                asked,
                (_TIMEOUT,),
                operationId="ask",
                requestBody=body,
            )
        },
        "/stream": {
            "post": operation(
                "Ask the flow, and read its events.",
                {"200": stream},
                begun,
                (_TIMEOUT,),
                operationId="stream",
                requestBody=body,
            )
        },
        "/traces": {
            "post": operation(
                "Begin a trace, whose events are read elsewhere.",
                {"201": _answer("It has begun.", "application/json", schema["Started"])},
                begun,
                (_TIMEOUT,),
                operationId="start",
                requestBody=body,
            )
        },
        "/traces/{trace_id}": {
            "get": operation("What a trace is doing.", state, (404,), (_TRACE,), operationId="state"),
            "delete": operation("Cancel a trace.", state, (404,), (_TRACE,), operationId="cancel"),
        },
        "/traces/{trace_id}/events": {
            "get": operation(
                "Read a trace's events, from where the client left off.",
                {"200": stream, "204": {"description": "The client has them all."}},
                (400, 404, 409, 410, 503),
                (_TRACE, _AFTER),
                operationId="events",
            )
        },
        "/graph": {
            "get": operation(
                "The flow's graph.",
                {"200": {"description": "As JSON, or in the format that was asked for."}},
                (404,),
                (_FORMAT,),
                operationId="graph",
            )
        },
        "/health": {
            "get": operation(
                "Whether the process answers.",
                {"200": _answer("It does.", "application/json", schema["Health"])},
                (),
                operationId="health",
                **public,
            )
        },
        "/ready": {
            "get": operation(
                "Whether the flow takes messages.",
                {"200": _answer("It does.", "application/json", schema["Health"])},
                (503,),
                operationId="ready",
                **public,
            )
        },
    }


_MEANINGS = {
    400: "It is no JSON, or a header isn't what it should be.",
    401: "The client hasn't said who it is.",
    403: "The client may not.",
    404: "There is no such thing, or it isn't the client's.",
    408: "The body took too long.",
    409: "The trace was cancelled, or is being read already.",
    410: "The events that the client lacks aren't kept any more.",
    413: "The body is too large.",
    415: "The body isn't JSON.",
    422: "The input isn't what the flow takes, or a budget is used up.",
    429: "The client has as many traces as it may have.",
    500: "The flow failed.",
    503: "There is no room for another trace, or the flow isn't running.",
    504: "The deadline passed.",
}


def _content(media_type: str, schema: Any) -> dict[str, Any]:
    return {"content": {media_type: {"schema": schema}}}


def _answer(description: str, media_type: str, schema: Any) -> dict[str, Any]:
    return {"description": description, **_content(media_type, schema)}
