"""uvicorn, for flows that shall end well: what `penguiflow-asgi[serve]` is for.

Rules: on its way down uvicorn cuts WebSockets off first, waits for requests as long as they take, and only then tells
the app. Here the flows drain first, while their clients are connected: `drain_s` holds for every kind of client. A
second Ctrl-C ends that at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Iterable
from socket import socket
from typing import Any

import uvicorn

from penguiflow_asgi._app import FlowApp

_STARTUP_FAILURE = 3  # as uvicorn has it


class Server(uvicorn.Server):
    """A `uvicorn.Server` that drains flows before it closes connections.

    Args:
        config: uvicorn's settings, with the app.
        flows: The flow apps that drain: the app itself, or those that are mounted in it.
    """

    def __init__(self, config: uvicorn.Config, flows: Iterable[FlowApp]) -> None:
        super().__init__(config)
        self._flows: tuple[FlowApp, ...] = tuple(flows)

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        """Let nobody in, drain, and close what is left."""
        for server in self.servers:
            server.close()
        drained = asyncio.gather(*(flow.drain() for flow in self._flows))
        while not (drained.done() or self.force_exit):
            await asyncio.wait({drained}, timeout=0.1)
        drained.cancel()
        await super().shutdown(sockets)


def serve(app: Any, *mounted: FlowApp, **options: Any) -> None:
    """Serve an app until SIGINT or SIGTERM, then let its traces end.

    It returns after SIGINT. After SIGTERM the process ends by that signal, as uvicorn has it: nothing runs after this,
    no `atexit` either. What is to be put away belongs in the app's lifespan.

    Args:
        app: What `flow_app` gave, or an app in which such are mounted.
        mounted: Those, if so.
        options: uvicorn's: `host`, `port`, `log_level` ... It is one process: a trace belongs to the one it began in.

    Raises:
        TypeError: `app` is another one, and nothing says what is mounted in it.
    """
    flows = mounted or (app,)
    if not all(isinstance(flow, FlowApp) for flow in flows):
        raise TypeError("serve(app, *mounted) takes what flow_app() gave: as the app, or after the one it is in")
    server = Server(uvicorn.Config(app, **options), flows)
    with contextlib.suppress(KeyboardInterrupt):  # uvicorn raises what it was stopped by once more
        server.run()
    if not server.started:
        sys.exit(_STARTUP_FAILURE)
