"""What a hook costs a call: measured, with made-up objects.

Rules: a call that raises has no cost and is told as such. Few calls where each takes long. A plugin is not started for
this, so one that needs its `start(flow)` may raise.
"""

from __future__ import annotations

import asyncio
import inspect
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from penguiflow import (
    EVENT_TYPES,
    ExportRequest,
    FlowError,
    FlowErrorCode,
    FlowEvent,
    Message,
    PenguiFlow,
    RoutingRequest,
)
from penguiflow._events import Place
from penguiflow._impls import Impl
from penguiflow.cli.speech import located

CALLS, ENOUGH_S, BATCH = 200, 0.05, 5


class Cost(NamedTuple):
    """What one call costs.

    Attributes:
        microseconds: The median; `None` if a call raised.
        error: What it raised.
    """

    microseconds: float | None = None
    error: str | None = None


def cost(impl: Impl, hook: str, flow: PenguiFlow) -> Cost:
    """What one implementation costs a call."""
    given = _given(impl, hook, flow)
    limit_s = flow.plan.plugins.settings.decision_timeout_s
    try:
        return Cost(asyncio.run(_median(impl.call, given, limit_s)))
    except TimeoutError:
        return Cost(error=f"took longer than {limit_s:g} s")
    except (Exception, SystemExit, asyncio.CancelledError) as exc:
        return Cost(error=located(exc))


async def _median(call: Callable[[Any], Any], given: Any, limit_s: float) -> float:
    async with asyncio.timeout(limit_s):
        await _once(call, given)  # whatever is made on the first call is no cost of each
        times: list[float] = []
        started = time.perf_counter()
        while len(times) < CALLS and (len(times) < 1 or time.perf_counter() - started < ENOUGH_S):
            times.append(await _batch(call, given))
        return statistics.median(times) * 1e6


async def _batch(call: Callable[[Any], Any], given: Any) -> float:
    started = time.perf_counter()
    for _ in range(BATCH):
        answer = call(given)
        if inspect.isawaitable(answer):
            await answer
    return (time.perf_counter() - started) / BATCH


async def _once(call: Callable[[Any], Any], given: Any) -> None:
    answer = call(given)
    if inspect.isawaitable(answer):
        await answer


def _given(impl: Impl, hook: str, flow: PenguiFlow) -> Any:
    """An object such as the hook is given."""
    message = Message[Any](payload=None)
    wiring = flow.plan.wiring
    place = next((i for i, node in enumerate(wiring.nodes) if flow.graph.node(node.name).kind == "router"), 0)
    name, node_id = wiring.nodes[place].name, f"{flow.name}/{wiring.nodes[place].name}"
    if hook == "on_event":
        kinds = [kind for kind in ("node_success", *EVENT_TYPES) if kind in impl.types]
        where = Place(flow.name, name, node_id)
        return FlowEvent(
            kinds[0] if kinds else "node_success",
            time.time(),
            where,
            message.trace_id,
            f"{message.trace_id}.1",
            latency_ms=1.0,
            message=message,
        )
    if hook == "resolve_route":
        proposed = tuple(wiring.nodes[i] for i in wiring.successors[place])
        return RoutingRequest(message, name, proposed, message.trace_id, flow.name)
    if hook == "on_error":
        text = "made up to measure on_error"
        return FlowError(
            trace_id=message.trace_id,
            node_name=name,
            node_id=node_id,
            code=FlowErrorCode.NODE_EXCEPTION,
            message=text,
            original_exc=ValueError(text),
            metadata={"attempts": 1},
        )
    return ExportRequest(flow.graph, "mermaid")
