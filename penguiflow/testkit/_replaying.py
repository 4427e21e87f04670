"""`replay`: the flow as it is, its nodes as they were when a trace was recorded.

Rules: each run of a node gives what its recorded run gave, after as long, in virtual time; runs of a node are taken in
the order in which they start. A run that was not recorded, one that is given something else, and one that doesn't take
place are all told, together.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

from penguiflow import Context, Message, PenguiFlow
from penguiflow.testkit._literals import Unwritable, Writer
from penguiflow.testkit._recording import copied, followed
from penguiflow.testkit._running import alone
from penguiflow.testkit._swapping import AnyNode, Original, exchanged
from penguiflow.testkit._taped import UNSET, Act, Attempt, Played, Run
from penguiflow.testkit._timeline import drawn
from penguiflow.testkit._virtual import VirtualTime
from penguiflow.testkit._watching import watch


def replay(
    flow: PenguiFlow,
    message: Any,
    runs: Sequence[Run],
    *,
    timeout_s: float | None = None,
    trace_id: str | None = None,
) -> Played:
    """Send a message through a flow whose nodes give what they gave when `runs` was recorded.

    Args:
        flow: The flow.
        message: What was sent then.
        runs: What the nodes gave, in the order in which they started.
        timeout_s: Seconds until the trace expires.
        trace_id: The trace's id, where what nodes gave has it in it.

    Returns:
        What came of it.

    Raises:
        AssertionError: the flow ran other nodes than then, or gave them something else.
        RuntimeError: an event loop is running: a test that replays isn't async.
    """
    __tracebackhide__ = True
    player = _Player(runs)
    with VirtualTime(), watch(flow) as recorder, player.playing(flow):
        played, found = alone("replay", lambda: _played(flow, copied(message), timeout_s, trace_id))
    wrong = player.wrong()
    if wrong:
        text = "\n  - ".join([f"the flow doesn't run as it did then ({len(wrong)}):", *wrong])
        raise AssertionError(f"{text}\n{drawn(recorder.trace(found))}")
    return played


async def _played(flow: PenguiFlow, message: Any, timeout_s: float | None, trace_id: str | None) -> tuple[Played, str]:
    async with flow:
        return await followed(flow, message, timeout_s, trace_id)


class _Player:
    """Gives each run its recorded one."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self._left: dict[str, deque[Run]] = {}
        for run in runs:
            self._left.setdefault(run.node, deque()).append(run)
        self._under_way: dict[int, tuple[Context, Run | None]] = {}
        self._wrong: list[str] = []

    def playing(self, flow: PenguiFlow) -> AbstractContextManager[None]:
        """Stand in for the flow's nodes."""
        return exchanged(flow, self._body)

    def wrong(self) -> list[str]:
        """What was not as then."""
        left = [f"{node!r} ran {len(runs)} times less than then" for node, runs in self._left.items() if runs]
        return [*self._wrong, *left]

    def _body(self, path: str, node: AnyNode) -> Any:
        original = Original(node)

        async def body(message: Any, ctx: Context | None) -> Any:
            if ctx is None:
                raise AssertionError("a replay begins before the flow starts")
            run = self._run(path, message, ctx)
            if run is None or not run.attempts:
                answer = original(message, ctx)
                return answer if hasattr(answer, "__aiter__") else await answer
            if ctx.attempt >= len(run.attempts):
                self._wrong.append(f"{path!r} was tried {ctx.attempt + 1} times, then {len(run.attempts)} times")
                raise AssertionError(self._wrong[-1])
            attempt = run.attempts[ctx.attempt]
            return _yielding(attempt, ctx) if node.shape.generates else await _done(attempt, ctx)

        return body

    def _run(self, path: str, message: Any, ctx: Context) -> Run | None:
        if id(ctx) in self._under_way:
            return self._under_way[id(ctx)][1]
        left = self._left.get(path)
        run = left.popleft() if left else None
        self._under_way[id(ctx)] = (ctx, run)
        if run is None:
            self._wrong.append(f"{path!r} ran once more than then")
            raise AssertionError(self._wrong[-1])
        self._compare(path, message, run)
        return run

    def _compare(self, path: str, message: Any, run: Run) -> None:
        takes = message.payload if isinstance(message, Message) else message
        if run.takes is UNSET or _equal(takes, run.takes):
            return
        if spelled(takes) != spelled(run.takes):
            self._wrong.append(f"{path!r} was given {takes!r:.300}, then {run.takes!r:.300}")


def _equal(one: Any, other: Any) -> bool:
    """Whether two values say that they are; arrays, for one, say something else."""
    try:
        return bool(one == other)
    except Exception:
        return False


def spelled(value: Any) -> str:
    """A value as text, for values that don't compare."""
    try:
        return Writer().write(value)
    except Unwritable:
        return repr(value)


async def _done(attempt: Attempt, ctx: Context) -> Any:
    began = asyncio.get_running_loop().time()
    for act in attempt.acts:
        await _until(began + act.at_s)
        await _repeat(act, ctx)
    return await _ended(attempt, began)


async def _yielding(attempt: Attempt, ctx: Context) -> AsyncIterator[Any]:
    began = asyncio.get_running_loop().time()
    for act in attempt.acts:
        await _until(began + act.at_s)
        if act.kind == "yield":
            yield copied(act.value)
        else:
            await _repeat(act, ctx)
    await _ended(attempt, began)


async def _ended(attempt: Attempt, began: float) -> Any:
    if attempt.returns is UNSET and attempt.raises is None:
        await asyncio.Event().wait()  # it was cancelled: whoever did that does it again
    await _until(began + attempt.took_s)
    if attempt.raises is not None:
        raise attempt.raises.with_traceback(None)
    return copied(attempt.returns)


async def _until(when: float) -> None:
    left = when - asyncio.get_running_loop().time()
    if left > 0:
        await asyncio.sleep(left)


async def _repeat(act: Act, ctx: Context) -> None:
    value, options = copied(act.value), copied(act.options)  # nodes may change them, and the next replay has them too
    match act.kind:
        case "emit":
            await ctx.emit(value, **options)
        case "emit_nowait":
            ctx.emit_nowait(value, **options)
        case "chunk":
            await ctx.emit_chunk(value, **options)
        case "spend":
            ctx.spend(**options)
        case "meta":
            ctx.meta.update(value)
