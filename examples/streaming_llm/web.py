"""The documentation assistant as a web app: its page at `/`, its flow at `/flow`.

Rules: the page is plain files. The flow is served as it is; only the pace is ours: quotations are there at once, and
are handed out word by word, as a model would write them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from examples.docs_assistant.answerers import Answerer, ExtractiveAnswerer, Piece
from examples.docs_assistant.flow import build_flow
from examples.docs_assistant.library import Library, open_library
from examples.docs_assistant.models import Findings, Question
from penguiflow import FinalAnswer
from penguiflow_asgi import FlowApp, Limits, anybody, flow_app

PAGE = Path(__file__).with_name("page")


@dataclass(frozen=True, slots=True)
class Paced:
    """An answerer that takes its time."""

    answerer: Answerer
    seconds: float

    @property
    def name(self) -> str:
        return self.answerer.name

    async def stream(self, findings: Findings) -> AsyncGenerator[Piece, None]:
        async with aclosing(self.answerer.stream(findings)) as pieces:
            async for piece in pieces:
                await asyncio.sleep(self.seconds)
                yield piece

    async def close(self) -> None:
        await self.answerer.close()


class SafePage:
    """Lets pages load what is served here, and nothing else."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                policy = b"default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
                message["headers"] = [*message["headers"], (b"content-security-policy", policy)]
            await send(message)

        await self._app(scope, receive, told)


def build_apps(pace_s: float = 0.0) -> tuple[Starlette, FlowApp]:
    """The page's app, and the flow's that is mounted in it.

    Args:
        pace_s: Seconds between the words of a quotation. A model has its own pace.
    """

    @asynccontextmanager
    async def resources() -> AsyncIterator[Library]:
        async with open_library() as library:
            quotes = isinstance(library.answerer, ExtractiveAnswerer)
            yield replace(library, answerer=Paced(library.answerer, pace_s)) if quotes else library

    flow = flow_app(
        build_flow(resources=resources),
        input=Question,
        output=FinalAnswer,
        authenticate=anybody,  # it listens on this machine alone
        expose_errors=True,  # the assistant's errors are sentences for who asks
        limits=Limits(body_bytes=20_000, timeout_s=180, linger_s=10),
    )
    page = Starlette(
        routes=[Mount("/flow", flow), Mount("/", StaticFiles(directory=PAGE, html=True))],
        # A page elsewhere, whose name was made to lead to this machine, is refused by the name.
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"]), Middleware(SafePage)],
        lifespan=flow.lifespan,
    )
    return page, flow
