"""`record`: one trace of a flow, with what each node was given, gave, and how long it took.

Rules: values are copied when they are seen, as nodes may change them later. Nodes run as ever; what stands between is
their stand-in of the testkit. Routers, joins and subflows are no nodes that give anything of their own: they are not
recorded, and run again in a replay.
"""

from __future__ import annotations

import asyncio
import copy
import itertools
import math
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AbstractContextManager, aclosing
from dataclasses import dataclass
from typing import Any

from penguiflow import Context, FlowError, FlowEvent, Message, PenguiFlow, StreamChunk
from penguiflow.testkit._running import alone
from penguiflow.testkit._swapping import AnyNode, Original, exchanged
from penguiflow.testkit._taped import UNSET, Act, Attempt, Kind, Played, Run
from penguiflow.testkit._watching import watch

PATIENCE_S = 300.0


@dataclass(frozen=True, slots=True)
class Recording:
    """One trace.

    Attributes:
        flow: The flow.
        message: What was sent into it.
        timeout_s: Seconds that it had.
        trace_id: The trace's id.
        runs: The runs of its nodes, in the order in which they started.
        played: What came of it.
        sequence: The nodes of the flow itself, if they ran as a chain: each on what the one before gave.
        retries: How often each node was retried, of those that were.
    """

    flow: PenguiFlow
    message: Any
    timeout_s: float | None
    trace_id: str
    runs: tuple[Run, ...]
    played: Played
    sequence: tuple[str, ...] | None
    retries: dict[str, int]


def record(
    flow: PenguiFlow, message: Any, *, timeout_s: float | None = None, within_s: float | None = None
) -> Recording:
    """Send one message through a flow, and write down what each node gave: `to_pytest` makes a test of it.

    Args:
        flow: The flow.
        message: A payload, or a `Message`.
        timeout_s: Seconds until the trace expires.
        within_s: Seconds after which it is given up; by default 300, `math.inf` for never.

    Raises:
        RuntimeError: an event loop is running: await `arecord`; or the flow runs already.
    """
    return alone("record", lambda: arecord(flow, message, timeout_s=timeout_s, within_s=within_s))


async def arecord(
    flow: PenguiFlow, message: Any, *, timeout_s: float | None = None, within_s: float | None = None
) -> Recording:
    """`record` inside a running loop."""
    if flow.running:
        raise RuntimeError(f"flow {flow.name!r} runs already: a recording begins before its flow starts")
    given, tape = copied(message), Tape()
    with watch(flow) as recorder, tape.listening(flow):
        async with asyncio.timeout(_limit(within_s)), flow:
            played, trace_id = await followed(flow, message, timeout_s)
        events = recorder.trace(trace_id)
    retries: dict[str, int] = {}
    for event in events:
        if event.event_type == "node_retry" and event.node_id == f"{flow.name}/{event.node_name}":
            retries[event.node_name or ""] = retries.get(event.node_name or "", 0) + 1
    return Recording(flow, given, timeout_s, trace_id, tape.runs(trace_id), played, _sequence(flow, events), retries)


def _limit(within_s: float | None) -> float | None:
    return PATIENCE_S if within_s is None else None if math.isinf(within_s) else within_s


async def followed(
    flow: PenguiFlow, message: Any, timeout_s: float | None, trace_id: str | None = None
) -> tuple[Played, str]:
    """Send one message into a running flow, under a trace's id if need be, and read all that comes of it."""
    outputs: list[Any] = []
    metas: list[dict[str, Any]] = []
    chunks: list[str] = []
    code: str | None = None
    began = asyncio.get_running_loop().time()
    handle = flow.start(_named(message, trace_id), timeout_s)
    try:
        async for item in handle:
            if isinstance(item, StreamChunk):
                chunks.append(item.text)
            else:
                outputs.append(copied(item.payload if isinstance(item, Message) else item))
                metas += [copied(item.meta)] if isinstance(item, Message) and isinstance(message, Message) else []
    except FlowError as error:
        code = str(error.code)
    took = asyncio.get_running_loop().time() - began
    return Played(handle.outcome or "", outputs, metas, chunks, code, round(took, 6)), handle.trace_id


def _named(message: Any, trace_id: str | None) -> Any:
    if trace_id is None:
        return message
    if isinstance(message, Message):
        return message.model_copy(update={"trace_id": trace_id})
    return Message(payload=message, trace_id=trace_id)


def _sequence(flow: PenguiFlow, events: Sequence[FlowEvent]) -> tuple[str, ...] | None:
    """The flow's own nodes in order, if they make a chain."""
    starts = [e for e in events if e.event_type == "node_start" and e.node_id == f"{flow.name}/{e.node_name}"]
    for one, other in itertools.pairwise(starts):
        if other.parent_invocation_ids != (one.invocation_id,):
            return None
    return tuple(event.node_name or "" for event in starts)


def copied(value: Any) -> Any:
    """A value as it is now."""
    try:
        return copy.deepcopy(value)
    except Exception:
        return value


class _Taping:
    """One attempt under way.

    What follows without the loop having had its turn happened at the same time: a replay must not wait there either.
    """

    def __init__(self) -> None:
        self.acts: list[Act] = []
        self.done: Attempt | None = None
        self._loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        self._began: float = self._loop.time()
        self._last: float = 0.0
        self._turned: list[bool] = []
        self._mark()

    def _mark(self) -> None:
        self._turned = []
        self._loop.call_soon(self._turned.append, True)

    def now(self) -> float:
        if self._turned:
            self._last = round(self._loop.time() - self._began, 6)
            self._mark()
        return self._last

    def act(self, kind: Kind, value: Any = None, **options: Any) -> None:
        self.acts.append(Act(self.now(), kind, copied(value), {k: v for k, v in options.items() if v is not None}))

    def end(self, returns: Any = UNSET, raises: BaseException | None = None) -> None:
        self.done = Attempt(self.now(), copied(returns), raises, tuple(self.acts))


class _Spy:
    """A node's context, that notes what the node does with it."""

    def __init__(self, ctx: Context, taping: _Taping) -> None:
        self._ctx: Context = ctx
        self._taping: _Taping = taping

    @property  # type: ignore[misc]  # read-only, so that nodes that ask find a Context
    def __class__(self) -> type:
        return Context

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ctx, name)

    async def emit(self, message: Any, to: Any = None) -> None:
        to = _listed(to)
        self._taping.act("emit", message, to=_names(to))
        await self._ctx.emit(message, to)

    def emit_nowait(self, message: Any, to: Any = None) -> None:
        to = _listed(to)
        self._ctx.emit_nowait(message, to)
        self._taping.act("emit_nowait", message, to=_names(to))

    async def emit_chunk(self, text: str, parent: Any = None, **options: Any) -> Any:
        options["to"] = _listed(options.get("to"))
        shown = {**options, "to": _names(options["to"]), "done": options.get("done") or None}
        self._taping.act("chunk", text, **shown)
        return await self._ctx.emit_chunk(text, parent, **options)

    def spend(self, *, tokens: int = 0, cost: float = 0.0) -> None:
        self._taping.act("spend", None, tokens=tokens or None, cost=cost or None)
        self._ctx.spend(tokens=tokens, cost=cost)


def _listed(to: Any) -> Any:
    """Targets that can be read more than once."""
    return to if to is None or isinstance(to, str) or hasattr(to, "name") else list(to)


def _names(to: Any) -> Any:
    if isinstance(to, list):
        return [target if isinstance(target, str) else target.name for target in to]
    return getattr(to, "name", to)


class _Taken:
    """One run under way."""

    def __init__(self, node: str, trace_id: str, takes: Any) -> None:
        self.node: str = node
        self.trace_id: str = trace_id
        self.takes: Any = takes
        self.attempts: list[_Taping] = []


class Tape:
    """Notes the runs of every trace, in the order in which they start."""

    def __init__(self) -> None:
        self._runs: list[_Taken] = []
        self._by_context: dict[int, tuple[Context, _Taken]] = {}  # holds the contexts, so that ids stay theirs

    def listening(self, flow: PenguiFlow) -> AbstractContextManager[None]:
        """Stand between a flow and its nodes."""
        return exchanged(flow, self._body)

    def runs(self, trace_id: str) -> tuple[Run, ...]:
        """The runs of one trace."""
        return tuple(
            Run(taken.node, taken.takes, [taping.done for taping in taken.attempts if taping.done is not None])
            for taken in self._runs
            if taken.trace_id == trace_id
        )

    def _body(self, path: str, node: AnyNode) -> Any:
        original = Original(node)

        async def body(message: Any, ctx: Context | None) -> Any:
            if ctx is None:
                raise AssertionError("recording begins before the flow starts")
            taping = self._begin(path, message, ctx)
            before = copied(ctx.meta)
            answer = original(message, _Spy(ctx, taping))  # type: ignore[arg-type]
            if hasattr(answer, "__aiter__"):
                return _yielding(answer, taping)
            try:
                value = await answer
            except BaseException as exc:
                taping.end(raises=exc if isinstance(exc, Exception) else None)
                raise
            if ctx.meta != before:
                taping.act("meta", ctx.meta)
            taping.end(returns=value)
            return value

        return body

    def _begin(self, path: str, message: Any, ctx: Context) -> _Taping:
        if id(ctx) not in self._by_context:
            takes = message.payload if isinstance(message, Message) else message
            taken = _Taken(path, ctx.trace_id, copied(takes))
            self._by_context[id(ctx)] = (ctx, taken)
            self._runs.append(taken)
        taping = _Taping()
        self._by_context[id(ctx)][1].attempts.append(taping)
        return taping


async def _yielding(items: AsyncGenerator[Any, None], taping: _Taping) -> AsyncIterator[Any]:
    try:
        async with aclosing(items):
            async for item in items:
                taping.act("yield", item)
                yield item
    except BaseException as exc:
        taping.end(raises=exc if isinstance(exc, Exception) else None)
        raise
    taping.end(returns=None)
