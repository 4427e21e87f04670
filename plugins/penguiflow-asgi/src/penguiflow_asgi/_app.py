"""`flow_app`: a flow as an ASGI app.

Rules: a request is let in by its tenant before anything else of it is read; then its body, then a place for its trace.
The lifespan runs the flow. Everything that is refused is a problem that says why.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager, nullcontext
from typing import Any

from pydantic import TypeAdapter
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from penguiflow import FlowError, PenguiFlow
from penguiflow_asgi._auth import Authenticate, Bearer, Denied, anybody, tenant_of
from penguiflow_asgi._envelope import TIMEOUT_HEADER, body_of, enveloped, payload_of, timeout_of
from penguiflow_asgi._events import Telling, unwritable
from penguiflow_asgi._fit import check_fit
from penguiflow_asgi._graph import graph_json
from penguiflow_asgi._limits import Limits
from penguiflow_asgi._openapi import openapi
from penguiflow_asgi._problems import Problem, broken, log, log_failed, problem_of
from penguiflow_asgi._sockets import Conversation, same_origin
from penguiflow_asgi._sse import SSE_HEADERS, EventStream, not_kept, unless_left
from penguiflow_asgi._traces import Served, Traces
from penguiflow_asgi._wire import json_text

_MEDIA_TYPES = {"svg": "image/svg+xml", "html": "text/html", "json": "application/json"}
_LARGEST = 999_999_999
_CLIENT_LEFT = 499  # as nginx has it


class FlowApp(Starlette):
    """A flow on the web. Made by `flow_app`."""

    def __init__(
        self,
        flow: PenguiFlow,
        traces: Traces,
        authenticate: Authenticate,
        input_: TypeAdapter[Any],
        output: TypeAdapter[Any],
        many: bool,
        origins: Collection[str],
    ) -> None:
        self.flow: PenguiFlow = flow
        self.limits: Limits = traces.limits
        self._traces: Traces = traces
        self._authenticate: Authenticate = authenticate
        self._input: TypeAdapter[Any] = input_
        self._many: bool = many
        self._origins: frozenset[str] = frozenset(origins)
        self._description = openapi(
            flow.name, input_, output, secured=authenticate is not anybody, bearer=isinstance(authenticate, Bearer)
        )
        super().__init__(
            routes=self._routes(),
            exception_handlers={
                Problem: _refused,
                Denied: _denied,
                HTTPException: _not_here,
                ClientDisconnect: _gone,
                Exception: _broken,
            },
            lifespan=self.lifespan,
        )

    def _routes(self) -> list[Route | WebSocketRoute]:
        return [
            Route("/", self._ask, methods=["POST"]),
            Route("/stream", self._stream, methods=["POST"]),
            WebSocketRoute("/ws", self._talk),
            Route("/traces", self._start, methods=["POST"]),
            Route("/traces/{trace_id}", self._trace, methods=["GET", "DELETE"]),
            Route("/traces/{trace_id}/events", self._events, methods=["GET"]),
            Route("/graph", self._graph, methods=["GET"]),
            Route("/health", self._health, methods=["GET"]),
            Route("/ready", self._ready, methods=["GET"]),
            Route("/openapi.json", self._openapi, methods=["GET"]),
        ]

    @asynccontextmanager
    async def lifespan(self, app: Any = None) -> AsyncIterator[None]:
        """Run the flow while the app is up; a flow that runs already is left to who runs it.

        Starlette runs no lifespan of an app that is mounted: give this one to the outer app, as in
        `FastAPI(lifespan=app.lifespan)`.
        """
        own = not self.flow.running
        self._traces.open()
        async with self.flow if own else nullcontext():
            try:
                yield
            finally:
                await self._traces.close()
                if own:
                    await self.flow.stop(self.limits.drain_s)

    async def drain(self) -> None:
        """Let no trace begin, and those end that clients read: for `drain_s`, then they are cancelled.

        Before a server closes its connections: `penguiflow_asgi.serving` does that. `/ready` and whoever asks for
        another trace get a 503 meanwhile. The lifespan ends it.
        """
        await self._traces.drain()

    async def _tenant(self, connection: HTTPConnection) -> str:
        return await tenant_of(connection, self._authenticate)

    async def _begun(self, request: Request) -> Served:
        """A trace of what is asked."""
        tenant = await self._tenant(request)
        self._traces.check_running()
        timeout_s = timeout_of(request.headers.get(TIMEOUT_HEADER), self.limits.timeout_s)
        payload = payload_of(await body_of(request, self.limits), self._input)
        return self._traces.start(tenant, enveloped(payload, tenant, request), timeout_s)

    async def _ask(self, request: Request) -> Response:
        served = await self._begun(request)
        traces, outputs = self._traces, list[Any]()

        async def work() -> None:
            outputs.extend(await served.handle.results())

        await traces.take(served, fixed=True)
        try:
            if not await unless_left(work(), request.receive):
                raise ClientDisconnect
            headers = {**_about(served), "x-trace-outcome": str(served.handle.outcome)}
            if not outputs and not self._many:
                return Response(None, 204, headers)
            return Response(self._answer(outputs, served.trace_id), 200, headers, "application/json")
        except FlowError as error:
            log_failed(error, served.trace_id)
            raise self._traces.telling.problem(error, served.trace_id) from None
        finally:
            await traces.leave(served)

    def _answer(self, outputs: list[Any], trace_id: str) -> str:
        """The outputs as JSON.

        Raises:
            FlowError: one of them is an error, or can't be told, or there are several and one was promised.
        """
        payloads = [message.payload for message in outputs]
        for payload in payloads:
            if isinstance(payload, FlowError):
                raise payload
        if len(payloads) > 1 and not self._many:
            text = f"the flow gave {len(payloads)} outputs, and one was promised: flow_app(..., many=True) gives a list"
            raise FlowError(trace_id=trace_id, code="OUTPUT", message=text)
        tell = self._traces.telling.output
        try:
            told = [tell(payload) for payload in payloads]
            return json_text(told if self._many else told[0])
        except Exception as error:  # a model's own code may raise anything
            raise unwritable(error, trace_id) from None

    async def _stream(self, request: Request) -> Response:
        return EventStream(self._traces, await self._begun(request))

    async def _start(self, request: Request) -> Response:
        served = await self._begun(request)
        location = f"traces/{served.trace_id}"
        return JSONResponse({"trace_id": served.trace_id}, 201, {**_about(served), "location": location})

    async def _events(self, request: Request) -> Response:
        served = self._traces.find(await self._tenant(request), request.path_params["trace_id"])
        text = request.headers.get("last-event-id")
        after = _number(text)
        events = self._traces.events(served) if served.reader is None or served.events else None
        if events is None:
            raise Problem(409, "this trace is being asked for its result: nobody can read its events")
        if after > events.last:
            raise Problem(400, f"Last-Event-ID is {after}, and this trace has had {events.last} events")
        if not events.has(after):
            raise not_kept()
        if events.ended and after == events.last:
            return Response(None, 204)
        if request.method == "HEAD":
            return Response(None, 200, SSE_HEADERS, EventStream.media_type)
        return EventStream(self._traces, served, after, over=text is not None)

    async def _trace(self, request: Request) -> Response:
        tenant, trace_id = await self._tenant(request), request.path_params["trace_id"]
        state = self._traces.state(tenant, trace_id)
        if request.method == "DELETE" and state["state"] in ("live", "ending"):
            await self._traces.cancel(self._traces.find(tenant, trace_id))
            state = self._traces.state(tenant, trace_id)
        return _json(state)

    async def _graph(self, request: Request) -> Response:
        await self._tenant(request)
        kind = request.query_params.get("format")
        if kind is None:
            return _json(graph_json(self.flow.graph))
        try:
            text = self.flow.export(kind)
        except LookupError as error:
            raise Problem(404, str(error)) from None
        return Response(text, media_type=_MEDIA_TYPES.get(kind, "text/plain"), headers={"cache-control": "no-store"})

    async def _health(self, request: Request) -> Response:
        return _json({"status": "ok"})

    async def _ready(self, request: Request) -> Response:
        self._traces.check_running()
        return _json({"status": "ready"})

    async def _openapi(self, request: Request) -> Response:
        return _json({**self._description, "servers": [{"url": request.scope.get("root_path") or "/"}]})

    async def _talk(self, socket: WebSocket) -> None:
        try:
            tenant = await self._tenant(socket)
            if not same_origin(socket, self._origins):
                raise Problem(403, "a page of this origin may not open a socket here: flow_app(..., origins=...)")
            self._traces.check_running()
        except (Problem, Denied):
            if "websocket.http.response" in socket.scope.get("extensions", {}):
                raise
            await socket.close(1008)
            return
        await socket.accept()
        await Conversation(
            socket, self._traces, tenant, self._input, lambda payload: enveloped(payload, tenant, socket)
        ).run()


def flow_app(
    flow: PenguiFlow,
    *,
    input: Any,
    output: Any = None,
    authenticate: Authenticate,
    limits: Limits | None = None,
    many: bool = False,
    origins: Collection[str] = (),
    expose_errors: bool = False,
    statuses: Mapping[str, int] | None = None,
) -> FlowApp:
    """A flow as a Starlette app: JSON, server-sent events, WebSockets.

    Args:
        flow: A flow that doesn't run yet. The app's lifespan runs it.
        input: What it is asked: a pydantic model, or any type that pydantic knows.
        output: What it gives. Outputs are held against it, and what it doesn't name isn't shown. By default, whatever
            can be written as JSON.
        authenticate: From a connection to its tenant: `bearer(tokens)`, a callable of your own, or `anybody`.
        limits: What clients may use up.
        many: Whether `POST /` gives a list of all outputs, instead of the one that there has to be.
        origins: Origins of pages, beside the service's own, that may open a WebSocket; `"*"` for all.
        expose_errors: Whether clients are shown the texts of what nodes raise, which may hold secrets.
        statuses: HTTP statuses for error codes, in place of the usual ones.

    Raises:
        TypeError: `authenticate` is no callable; or the flow can't take the input, or can't give the output.
    """
    if not callable(authenticate):
        raise TypeError("authenticate is a callable from a connection to its tenant: bearer(tokens), or `anybody`")
    check_fit(flow.graph, input, Any if output is None else output)
    told: TypeAdapter[Any] = TypeAdapter(Any if output is None else output)
    own = dict(statuses or {})

    def tell(payload: Any) -> Any:
        return payload if output is None else told.dump_python(told.validate_python(payload), mode="json")

    def problem(error: FlowError, trace_id: str) -> Problem:
        return problem_of(error, trace_id, expose_errors, own)

    traces = Traces(flow, limits or Limits(), Telling(tell, problem))
    shown: TypeAdapter[Any] = TypeAdapter(list[output]) if many and output is not None else told
    return FlowApp(flow, traces, authenticate, TypeAdapter(input), shown, many, origins)


def _json(value: Any) -> Response:
    return Response(json_text(value), 200, {"cache-control": "no-store"}, "application/json")


def _about(served: Served) -> dict[str, str]:
    return {"cache-control": "no-store", "x-trace-id": served.trace_id}


def _number(text: str | None) -> int:
    if not text:
        return 0
    if not (text.isascii() and text.isdecimal() and len(text) <= len(str(_LARGEST))):
        raise Problem(400, "Last-Event-ID is the id of an event that was sent here: a whole number")
    return int(text)


async def _refused(connection: HTTPConnection, problem: Exception) -> Response:
    assert isinstance(problem, Problem)
    log.info("refused %r: %d", connection.scope["path"], problem.status)
    return problem.response()


async def _denied(connection: HTTPConnection, denied: Exception) -> Response:
    assert isinstance(denied, Denied)
    headers = {"www-authenticate": denied.challenge} if denied.status == 401 else {}
    return await _refused(connection, Problem(denied.status, denied.detail, headers))


async def _not_here(connection: HTTPConnection, found: Exception) -> Response:
    assert isinstance(found, HTTPException)
    return await _refused(connection, Problem(found.status_code, f"{found.detail}.", found.headers))


async def _gone(connection: HTTPConnection, _: Exception) -> Response:
    log.info("%r: the client left before it had an answer", connection.scope["path"])
    return Response(None, _CLIENT_LEFT)  # nobody gets it, but a middleware may wait for one


async def _broken(connection: HTTPConnection, _: Exception) -> Response:
    return broken().response()
