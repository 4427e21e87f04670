"""Stands between a flow and a plugin: passes every call on, and notes what was raised and how long it took.

Rules: what a plugin raises is noted and goes no further, so that one mistake shows once, and in the check that looks
for it. A cancellation that was sent to the plugin passes through. A retry that the plugin wants later takes place at
once.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

from penguiflow import Drop, Emit, FlowError, FlowEvent, Replace, Retry, hookimpl

LIVES = ("start", "stop")


@dataclass(frozen=True, slots=True)
class Complaint:
    """Something that a plugin did wrong.

    Attributes:
        hook: The hook, or `start` or `stop`.
        subject: What it was called with, in a word.
        text: What it did.
        error: What it raised, if it raised.
    """

    hook: str
    subject: str
    text: str
    error: BaseException | None = None

    def __str__(self) -> str:
        return f"{self.hook}({self.subject}) {self.text}"


@hookimpl
def _silent(event: FlowEvent) -> None:
    """Sees nothing."""


class Witness:
    """A plugin as a flow sees it, with only some of its hooks.

    Attributes:
        hooks: Those of the plugin's that the flow gets to see.
        complaints: What went wrong, in order.
        took_us: How many microseconds each `on_event` took, with the type of its event.
    """

    def __init__(self, plugin: Any, hooks: Iterable[str]) -> None:
        self.name: str = getattr(plugin, "name", None) or type(plugin).__name__
        self.hooks: tuple[str, ...] = tuple(hooks)
        self.complaints: list[Complaint] = []
        self.took_us: list[tuple[float, str]] = []
        self._plugin: Any = plugin
        self.on_event: Callable[[FlowEvent], None]
        wrappers = {
            "on_event": self._observer,
            "resolve_route": self._router,
            "on_error": self._handler,
            "export_graph": self._exporter,
        }
        for hook in self.hooks:
            setattr(self, hook, hookimpl(wrappers[hook]()))
        for life in LIVES:
            if hasattr(plugin, life):
                setattr(self, life, self._life(life))
        self.event_types: Any = getattr(plugin, "event_types", None)
        if not self.hooks:  # it is started and stopped all the same
            self.on_event, self.event_types = _silent, ()

    def of(self, *hooks: str) -> list[Complaint]:
        """The complaints about these hooks."""
        return [complaint for complaint in self.complaints if complaint.hook in hooks]

    def _observer(self) -> Callable[[Any], None]:
        call, clock, took = self._plugin.on_event, time.perf_counter_ns, self.took_us

        def on_event(event: FlowEvent) -> None:
            started = clock()
            try:
                call(event)
            except BaseException as exc:
                self._raised("on_event", event.event_type, exc)
            took.append(((clock() - started) / 1e3, event.event_type))

        return on_event

    def _router(self) -> Callable[[Any], Any]:
        def resolve_route(request: Any) -> Any:
            return self._decided("resolve_route", request.node_name, request)

        return resolve_route

    def _handler(self) -> Callable[[Any], Any]:
        def on_error(error: FlowError) -> Any:
            answer = self._decided("on_error", str(error.code), error)
            return self._judged_later(answer) if inspect.isawaitable(answer) else self._judged(answer)

        return on_error

    def _exporter(self) -> Callable[[Any], Any]:
        def export_graph(request: Any) -> Any:
            answer = None
            try:
                answer = self._plugin.export_graph(request)
            except BaseException as exc:
                self._raised("export_graph", repr(request.format), exc)
            if answer is None or isinstance(answer, str | bytes):
                return answer
            self._note("export_graph", repr(request.format), f"answered {answer!r:.80}")
            return None

        return export_graph

    def _life(self, what: str) -> Callable[[Any], Awaitable[None]]:
        async def life(flow: Any) -> None:
            try:
                await getattr(self._plugin, what)(flow)
            except asyncio.CancelledError as exc:
                self._note(what, "flow", "didn't return in time, and was cancelled", exc)
                raise
            except BaseException as exc:
                self._raised(what, "flow", exc)

        return life

    def _decided(self, hook: str, subject: str, request: Any) -> Any:
        try:
            answer = getattr(self._plugin, hook)(request)
        except BaseException as exc:
            self._raised(hook, subject, exc)
            return None
        return self._awaited(hook, subject, answer) if inspect.isawaitable(answer) else answer

    async def _awaited(self, hook: str, subject: str, answer: Awaitable[Any]) -> Any:
        task = asyncio.current_task()
        assert task is not None
        try:
            found = await answer
        except BaseException as exc:
            if isinstance(exc, asyncio.CancelledError) and task.cancelling():
                raise
            self._raised(hook, subject, exc)
            return None
        if task.cancelling():
            self._note(hook, subject, "was cancelled, and went on")
        return found

    async def _judged_later(self, answer: Awaitable[Any]) -> Any:
        return self._judged(await answer)

    def _judged(self, answer: Any) -> Any:
        if isinstance(answer, Retry):
            return Retry()  # as often as the plugin wants, and without the waiting
        if answer is None or isinstance(answer, Replace | Emit | Drop):
            return answer
        self._note("on_error", "error", f"answered {answer!r:.80}")
        return None

    def _raised(self, hook: str, subject: str, exc: BaseException) -> None:
        if isinstance(exc, KeyboardInterrupt):
            raise exc
        self._note(hook, subject, f"raised {type(exc).__name__}: {exc}", exc)

    def _note(self, hook: str, subject: str, text: str, exc: BaseException | None = None) -> None:
        self.complaints.append(Complaint(hook, subject, text, exc))
