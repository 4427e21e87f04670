"""Many traces on one WebSocket.

    client: {"type": "start", "id": "a", "input": ..., "timeout_s": 5}    {"type": "cancel", "id": "a"}
    server: {"type": "started" | "chunk" | "restart" | "result" | "end" | "error", "id": "a", "data": ...}

Rules: the client names its traces; a name is free again after `end` or `error`. What is wrong with one message is told
as an `error` and ends no other trace. All traces of a socket wait while its client takes nothing, and no others do. A
client that leaves cancels its traces.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from starlette.websockets import WebSocket, WebSocketDisconnect

from penguiflow import Message
from penguiflow_asgi._envelope import capped, payload_of
from penguiflow_asgi._problems import Problem, broken, log
from penguiflow_asgi._traces import Served, Traces
from penguiflow_asgi._wire import json_text

GOING_AWAY, UNSUPPORTED, TOO_BIG = 1001, 1003, 1009


class Start(BaseModel):
    """Begin a trace."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["start"]
    id: str = Field(min_length=1, max_length=64)
    input: Any
    timeout_s: float | None = None


class Cancel(BaseModel):
    """Cancel a trace."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["cancel"]
    id: str = Field(min_length=1, max_length=64)


_COMMANDS: TypeAdapter[Start | Cancel] = TypeAdapter(Annotated[Start | Cancel, Field(discriminator="type")])


def same_origin(socket: WebSocket, origins: frozenset[str]) -> bool:
    """Whether the page that opened the socket may. Browsers always name it; other clients don't."""
    origin = socket.headers.get("origin")
    if origin is None or "*" in origins or origin in origins:
        return True
    return origin.partition("://")[2] == socket.headers.get("host")


class Conversation:
    """One WebSocket and its traces."""

    def __init__(
        self,
        socket: WebSocket,
        traces: Traces,
        tenant: str,
        adapter: TypeAdapter[Any],
        envelope: Callable[[Any], Message[Any]],
    ) -> None:
        self._socket: WebSocket = socket
        self._traces: Traces = traces
        self._tenant: str = tenant
        self._adapter: TypeAdapter[Any] = adapter
        self._envelope: Callable[[Any], Message[Any]] = envelope
        self._sending = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._served: dict[str, Served] = {}

    async def run(self) -> None:
        """Talk until the client leaves, goes against the limits, or has nothing more to say."""
        code = None
        try:
            while code is None:
                code = await self._turn()
        except (WebSocketDisconnect, OSError):
            pass
        finally:
            await self._end()
        if code is not None:
            await self._close(code)

    async def _turn(self) -> int | None:
        """Hear one message, and answer it; the code to close with, if it is time to."""
        try:
            async with asyncio.timeout(self._traces.limits.idle_s):
                heard = await self._socket.receive()
        except TimeoutError:
            return None if self._tasks else GOING_AWAY
        if heard["type"] == "websocket.disconnect":
            raise WebSocketDisconnect
        text = heard.get("text")
        if text is None:
            return UNSUPPORTED
        if len(text) > self._traces.limits.body_bytes or len(text.encode()) > self._traces.limits.body_bytes:
            return TOO_BIG
        try:
            await self._obey(text)
        except Problem as problem:
            log.info("a message on a socket of %r was refused: %d", self._tenant, problem.status)
            await self._say("error", _name_in(text), json_text(problem.body))
        except Exception:  # from code of the input's model: no reason to end the other traces
            log.exception("a message on a socket of %r failed", self._tenant)
            await self._say("error", _name_in(text), json_text(broken().body))
        return None

    async def _obey(self, text: str) -> None:
        command: Start | Cancel = payload_of(text, _COMMANDS)
        if isinstance(command, Start):
            await self._start(command)
        elif command.id in self._served:
            await self._traces.cancel(self._served[command.id])
        else:
            raise Problem(404, "no trace of this id goes on here: it has ended, or never was")

    async def _start(self, command: Start) -> None:
        limits = self._traces.limits
        if command.id in self._served:
            raise Problem(409, "a trace of this id goes on here: give each its own")
        if len(self._served) >= limits.traces_per_socket:
            raise Problem(429, f"{limits.traces_per_socket} traces go on here, as many as may: wait for one")
        payload = payload_of(json_text(command.input), self._adapter)
        timeout_s = capped(command.timeout_s, limits.timeout_s, "timeout_s")
        served = self._traces.start(self._tenant, self._envelope(payload), timeout_s)
        await self._traces.take(served, fixed=True)
        self._served[command.id] = served
        task = asyncio.create_task(self._tell(command.id, served))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _tell(self, name: str, served: Served) -> None:
        """Send a trace's events as they come."""
        try:
            await self._say("started", name, json_text({"trace_id": served.trace_id}))
            events, after = self._traces.events(served), 0
            while (event := await events.next(after)) is not None:
                if events.ended and event.number == events.last:
                    del self._served[name]  # before the client can know: it may use the name again
                await self._send(event.frame(name))
                after = event.number
        except (WebSocketDisconnect, OSError) as error:
            log.info("trace %s: its client takes no more events (%s)", served.trace_id, type(error).__name__)
            self._give_up()
            await self._close(GOING_AWAY)
        finally:
            if self._served.get(name) is served:
                del self._served[name]
            await self._traces.leave(served)

    async def _say(self, kind: str, name: str | None, data: str) -> None:
        await self._send(f'{{"type":"{kind}","id":{json.dumps(name)},"data":{data}}}')

    async def _send(self, text: str) -> None:
        async with self._sending, asyncio.timeout(self._traces.limits.idle_s):
            await self._socket.send_text(text)

    async def _close(self, code: int) -> None:
        try:
            async with asyncio.timeout(self._traces.limits.idle_s):
                await self._socket.close(code)
        except (RuntimeError, OSError, WebSocketDisconnect):
            pass  # it is closed already

    def _give_up(self) -> None:
        """The client takes nothing: no other trace needs to find that out for itself."""
        for task in self._tasks:
            if task is not asyncio.current_task():
                task.cancel()

    async def _end(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for served in self._served.values():  # whose task was cancelled before its first step
            await self._traces.leave(served)


def _name_in(text: str) -> str | None:
    """The id in a message that was refused, if it has one."""
    try:
        name = json.loads(text)["id"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return name if isinstance(name, str) and len(name) <= 64 else None
