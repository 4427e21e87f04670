"""Makes the plugin under test, and runs flows with it.

Rules: every check gets instances of its own, and flows in which no other installed plugin takes part. Where a plugin
can't be built at all, the one check that says so fails, and the others are skipped.
"""

from __future__ import annotations

import asyncio
import sys
import unittest
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NoReturn, TypeVar

from penguiflow import HOOKS, FlowError, PluginError, create
from penguiflow.testkit import _flows as flows
from penguiflow.testkit._deployment import deployment, found, made
from penguiflow.testkit._witness import LIVES, Complaint, Witness

ResultT = TypeVar("ResultT")


class Workbench:
    """A plugin, and what may be asked of it. `PluginConformance` says what the attributes mean."""

    entry_point: str | None = None
    options: Mapping[str, Any] = {}
    module: str | None = None
    on_event_us: float = 50.0
    on_event_longest_us: float = 10_000.0
    import_ms: float = 250.0
    stop_s: float = 5.0
    patience_s: float = 60.0
    most_retries: int = 100
    successors: Sequence[str] = ("left", "right")
    payloads: Sequence[Any] = ("text", 7, {"kind": "question", "tenant": "acme"}, ["a", "b"])

    def make(self) -> Any:
        """A new instance of the plugin. By default, what the entry point makes of `options`."""
        if self.entry_point is None:
            name = type(self).__name__
            fail(f'{name} doesn\'t say which plugin it checks: set entry_point = "name", or override make()')
        return made(self.entry_point, self.options)

    def _made(self) -> Any:
        try:
            return self.make()
        except Exception as exc:
            fail(f"the plugin can't be made: {type(exc).__name__}: {exc}", exc)

    def _hooks(self, plugin: Any) -> tuple[str, ...]:
        with deployment(self.stop_s):
            return create(flows.plain, plugins=[plugin]).plugins[0].hooks

    def _witness(self, *hooks: str) -> Witness:
        """A new instance, with those of its hooks that are among these, by default all."""
        try:
            plugin = self.make()
            has = self._hooks(plugin)
        except Exception as exc:
            raise unittest.SkipTest("see test_it_can_be_built_into_a_flow_and_started, which fails") from exc
        return Witness(plugin, [hook for hook in has if not hooks or hook in hooks])

    def _sound(self, *hooks: str) -> Witness:
        """`_witness`, for checks that say nothing new where a simple run with one of the hooks goes wrong already."""
        for hook in hooks:
            twin = self._witness(hook)
            try:
                self._run(lambda twin=twin: self._scene(twin))  # type: ignore[misc]
            except FlowError as exc:
                raise unittest.SkipTest(f"a simpler check fails: {exc.message}") from exc
            if wrong := twin.of(*HOOKS, *LIVES):
                raise unittest.SkipTest(f"a simpler check fails: {wrong[0]}") from wrong[0].error
        return self._witness(*hooks)

    def _load_by_name(self, name: str) -> None:
        try:
            with deployment(self.stop_s, name, self.options, found(name).group):
                flow = create(flows.plain, plugins=[name])
        except PluginError as exc:
            fail(f"a flow that is told to use {name!r} can't be built: {'; '.join(exc.problems)}", exc)
        status = next(record.status for record in flow.plugins if record.name == name)
        if status != "loaded":
            fail(f"a flow that is told to use {name!r} has it as {status}, not as loaded")

    def _run(self, work: Callable[[], Awaitable[ResultT]]) -> ResultT:
        async def patiently() -> ResultT:
            async with asyncio.timeout(self.patience_s):
                return await work()

        try:
            return asyncio.run(patiently())
        except TimeoutError as exc:
            fail(
                f"the flow didn't end within {self.patience_s:g} seconds (patience_s): a hook waits for something that "
                "never comes, or holds the loop",
                exc,
            )

    async def _one_answer(self, witness: Witness) -> None:
        with deployment(self.stop_s):
            flow = create(flows.plain, plugins=[witness])
        async with flow:
            await flow.ask(flows.Case(kind="plain"))

    async def _weather(self, plugins: Sequence[Any], watch: flows.Watch) -> list[Any]:
        with deployment(self.stop_s):
            flow = flows.weather(plugins, watch)
        async with flow:
            return await flows.everything(flow, watch)

    async def _scene(self, witness: Witness) -> None:
        """A plain run for a witness of one hook."""
        if "on_event" in witness.hooks:
            await self._weather([witness], flows.Watch())
        elif "resolve_route" in witness.hooks:
            await self._crossroads(witness, flows.routed)
        elif "on_error" in witness.hooks:
            await self._failures(witness)

    async def _crossroads(self, witness: Witness, travel: Callable[[Any, Sequence[Any]], Awaitable[None]]) -> None:
        with deployment(self.stop_s):
            flow = flows.crossroads([witness], self.successors)
        async with flow:
            await travel(flow, self.payloads)

    async def _failures(self, witness: Witness) -> list[Any]:
        with deployment(self.stop_s):
            flow = flows.failures([witness], self.most_retries)
        async with flow:
            return [await flows.outcome(flow.ask(kind, timeout_s=5.0)) for kind in flows.FAILURES]

    async def _storm(self, witness: Witness) -> None:
        with deployment(self.stop_s):
            flow = flows.weather([witness], flows.Watch())
        async with flow:
            await flows.storm(flow)

    def _module(self) -> str:
        if self.module is not None:
            return self.module
        if self.entry_point is not None:
            return found(self.entry_point).module
        module = type(self._made()).__module__
        if module == type(self).__module__ or module not in sys.modules:
            raise unittest.SkipTest("the plugin stands in the test itself: set module to check what importing it costs")
        return module


def refuse(complaints: Sequence[Complaint], advice: str) -> None:
    """Fail if there are complaints; the first is shown in full."""
    if complaints:
        first, more = complaints[0], len(complaints) - 1
        also = f" (and {more} more times)" if more else ""
        fail(f"{first}{also}. What to do: {advice}", first.error)


def fail(text: str, cause: BaseException | None = None) -> NoReturn:
    __tracebackhide__ = True
    raise AssertionError(text) from cause
