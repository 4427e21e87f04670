"""A small flow in which every type of event occurs: what a plugin is probed with.

Rules: nothing here depends on what the plugin answers. Traces end in every way there is, whatever a router or an error
handler decides, each within its time.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from penguiflow import Context, FlowEvent, PenguiFlow, create, node, predicate_router

FORMATS = ("mermaid", "no-such-format")
SOON_S = 0.005


class Witness:
    """Sees what the plugins do wrong, and goes wrong once itself, so that the plugin sees a `plugin_error` too."""

    def __init__(self) -> None:
        self.errors: list[FlowEvent] = []
        self._raised = False

    def __call__(self, event: FlowEvent) -> None:
        if event.event_type == "plugin_error":
            self.errors.append(event)
        elif not self._raised:
            self._raised = True
            raise RuntimeError("raised on purpose, for an event of type plugin_error")


class Scenario:
    """One run of that flow with one plugin.

    Args:
        plugin: The plugin; it is the flow's only one.
        decision_s: Seconds that it has to decide.
    """

    def __init__(self, plugin: Any, decision_s: float) -> None:
        self.witness: Witness = Witness()
        self._patience: float = decision_s + 1
        self._entered: asyncio.Event = asyncio.Event()
        self.flow: PenguiFlow = self._built(plugin)

    def _built(self, plugin: Any) -> PenguiFlow:
        @node
        async def begin(step: str, ctx: Context) -> None:
            await ctx.emit(step, to="choose" if step == "drop" else step)

        @node
        async def speak(step: str, ctx: Context) -> str:
            await ctx.emit_chunk("a piece ")
            await ctx.emit_chunk("of text", done=True)
            return step

        @node(max_retries=1, backoff_base=0)
        async def fail(step: str) -> None:
            raise ValueError("raised on purpose, for events of failure")

        @node(timeout_s=SOON_S)
        async def slow(step: str) -> None:
            await asyncio.Event().wait()

        @node
        async def stick(step: str) -> None:
            self._entered.set()
            await asyncio.Event().wait()

        @node
        async def left(step: str) -> str:
            return step

        def way(step: str) -> list[str]:
            return [] if step == "drop" else ["left"]

        choose = predicate_router("choose", way)
        edges = (begin.to(speak, fail, slow, stick, choose), choose.to(left))
        return create(*edges, name="doctor", plugins=[plugin], on_event=self.witness)

    async def run(self) -> None:
        """Let everything occur.

        Raises:
            Exception: the flow could not start or stop.
        """
        async with self.flow:
            for step in ("speak", "choose", "drop", "fail", "slow"):
                await self._ask(step, self._patience)
            await self._ask("stick", SOON_S)
            await self._cancelled()
            for format in FORMATS:
                with contextlib.suppress(LookupError):
                    self.flow.export(format)

    async def _ask(self, step: str, seconds: float) -> None:
        with contextlib.suppress(Exception):  # what the plugin makes of it is seen by the witness
            await self.flow.ask(step, timeout_s=seconds)

    async def _cancelled(self) -> None:
        self._entered.clear()
        handle = self.flow.start("stick", timeout_s=self._patience)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._entered.wait(), self._patience)
        await handle.cancel()
        with contextlib.suppress(Exception):
            await handle.result()
