"""A plugin that writes down how it lives, and ways to start or stop it that go wrong."""

from __future__ import annotations

import asyncio
from typing import Any

from penguiflow import FlowEvent, PenguiFlow, hookimpl
from tests.utils.nodes import forever

START_S, STOP_S = 10, 5  # the time limits, where no setting says otherwise
GRACE_S = 0.1


class Life:
    """Writes down what happens to it; `starts` and `stops` say how that goes on."""

    def __init__(self, diary: list[str], name: str = "life", starts: Any = None, stops: Any = None) -> None:
        self.diary, self.name, self.starts, self.stops = diary, name, starts, stops

    async def start(self, flow: PenguiFlow) -> None:
        self.diary.append(f"{self.name} starts")
        if self.starts is not None:
            await self.starts()
        self.diary.append(f"{self.name} has started")

    async def stop(self, flow: PenguiFlow) -> None:
        self.diary.append(f"{self.name} stops")
        if self.stops is not None:
            await self.stops()
        self.diary.append(f"{self.name} has stopped")

    @hookimpl
    def on_event(self, event: FlowEvent) -> None:
        if event.event_type != "plugin_error":
            self.diary.append(f"{self.name}: {event.event_type}")


async def raises() -> None:
    raise OSError("no")


class Odd(BaseException):
    """Beside `Exception`, as those are that a framework of the user's own ends things with."""


async def raises_beside_exception() -> None:
    raise Odd("no")


async def exits() -> None:
    raise SystemExit(1)


async def is_cancelled() -> None:
    raise asyncio.CancelledError


async def is_deaf() -> None:
    """Hears of its cancellation, and goes on for a long time."""
    for _ in range(2):
        try:
            await forever()
        except asyncio.CancelledError:
            await asyncio.sleep(100)
            return
