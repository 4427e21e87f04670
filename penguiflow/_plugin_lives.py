"""Starts and stops the plugins that have something to start and stop.

Rules: each has its time. One that can't be started is left out of this run, unless it was named or required, or it
routes; one that doesn't stop in time is cancelled, and left behind if it ignores that. Neither holds the flow.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from typing import Any

from penguiflow._errors import PluginError, typed
from penguiflow._host import PluginSet
from penguiflow._impls import Plugin
from penguiflow._lifecycle import GRACE_S
from penguiflow._loading import FAILED, PluginRecord
from penguiflow._run import Run
from penguiflow._settings import Settings

log = logging.getLogger("penguiflow")


class PluginLives:
    """The plugins of one run that have a `start(flow)` or a `stop(flow)`; false if there are none."""

    def __init__(self, flow: Any, run: Run, plugins: PluginSet, unstarted: dict[int, PluginRecord]) -> None:
        self._flow: Any = flow
        self._run: Run = run
        self._settings: Settings = plugins.settings
        self._todo: list[Plugin] = [
            p for p in plugins.plugins if hasattr(p.instance, "start") or hasattr(p.instance, "stop")
        ]
        self._started: list[Plugin] = []
        self._unstarted: dict[int, PluginRecord] = unstarted

    def __bool__(self) -> bool:
        return bool(self._todo)

    async def start(self) -> None:
        """Start them, one after the other.

        Raises:
            PluginError: one that no flow starts without can't be started.
        """
        for plugin in self._todo:
            error = await self._tried(plugin, "start", self._settings.start_timeout_s)
            if error is None:
                self._started.append(plugin)
                continue
            text = f"plugin {plugin.name!r} could not be started: {typed(error)}"
            if plugin.record is not None:
                self._unstarted[id(plugin.record)] = _failed(plugin.record, error)
            if plugin.needed:
                raise PluginError([text]) from error
            log.error("%s", text, exc_info=error)
            self._run.dispatch.without(plugin.instance)
            self._report(plugin, "start", error)

    async def stop(self) -> None:
        """Stop all that were started, at the same time."""
        plugins = self._started[::-1]
        errors = await asyncio.gather(*(self._tried(plugin, "stop", self._stop_s(plugin)) for plugin in plugins))
        for plugin, error in zip(plugins, errors, strict=True):
            if error is not None:
                text = f"plugin {plugin.name!r} could not be stopped: {typed(error)}"
                log.error("%s", text, exc_info=error)
                self._report(plugin, "stop", error)

    def _stop_s(self, plugin: Plugin) -> float:
        """What the deployment says; where it doesn't, a plugin may ask for more than the default."""
        seconds, asked = self._settings.stop_timeout_s, getattr(plugin.instance, "stop_timeout_s", None)
        if self._settings.stop_timeout_said or not isinstance(asked, int | float):
            return seconds
        return max(seconds, asked)

    def _report(self, plugin: Plugin, what: str, error: BaseException) -> None:
        self._run.dispatch.report(
            error,
            self._run.name,
            {"plugin": plugin.name, "hook": what, "quarantined": what == "start"},
            plugin.instance,
        )

    async def _tried(self, plugin: Plugin, what: str, seconds: float) -> BaseException | None:
        """Call a plugin's `start` or `stop`, in a task of its own; what went wrong."""
        function = getattr(plugin.instance, what, None)
        if function is None:
            return None
        task = self._run.loop.create_task(_outcome(function, self._flow))
        if what == "start":
            self._run.openers.add(task)
        try:
            _, late = await asyncio.wait([task], timeout=seconds)
        except asyncio.CancelledError:
            await _given_up(task)
            raise
        if late:
            await _given_up(task)
            return TimeoutError(f"{what}(flow) took longer than {seconds:g} s")
        return asyncio.CancelledError(f"{what}(flow) was cancelled") if task.cancelled() else task.result()


def _failed(record: PluginRecord, error: BaseException) -> PluginRecord:
    return dataclasses.replace(record, status=FAILED, reason=f"start(flow): {typed(error)}", error=error)


async def _outcome(function: Any, flow: Any) -> BaseException | None:
    """What went wrong. A server that can't bind its port exits: that would end the event loop, if it left a task."""
    try:
        await function(flow)
    except (asyncio.CancelledError, KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as exc:
        return exc
    return None


async def _given_up(task: asyncio.Task[Any]) -> None:
    """Cancel a task, and wait a moment for it."""
    task.cancel()
    await asyncio.wait([task], timeout=GRACE_S)
