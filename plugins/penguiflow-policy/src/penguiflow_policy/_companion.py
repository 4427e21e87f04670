"""What stands beside a router's `policy=`: a plugin that decides nothing."""

from __future__ import annotations

from typing import Protocol

from penguiflow import FlowEvent, PenguiFlow, hookimpl


class Watched(Protocol):
    """What a companion needs of a policy."""

    event_types: tuple[str, ...]

    def on_event(self, event: FlowEvent) -> None:
        """Count the runs of nodes."""

    async def start(self, flow: PenguiFlow) -> None:
        """Watch the file from now on."""

    async def stop(self, flow: PenguiFlow) -> None:
        """Watch it no longer."""


class Companion:
    """The plugin beside a router's `policy=`."""

    name = "policy.companion"
    api_version = "2"

    def __init__(self, policy: Watched) -> None:
        self.policy: Watched = policy
        self.event_types: tuple[str, ...] = policy.event_types

    @hookimpl
    def on_event(self, event: FlowEvent) -> None:
        """Count the runs of nodes, for fallbacks."""
        self.policy.on_event(event)

    async def start(self, flow: PenguiFlow) -> None:
        """Watch the file from now on."""
        await self.policy.start(flow)

    async def stop(self, flow: PenguiFlow) -> None:
        """Watch it no longer."""
        await self.policy.stop(flow)
