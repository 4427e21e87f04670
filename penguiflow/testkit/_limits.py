"""How long a test may wait for its flows, and what is said when it has waited long enough.

Rules: the limit counts in the time of the loop that it runs in. When it is reached, what each live trace waits for is
written down first, and only then is the test's task cancelled.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress

from penguiflow import FlowStateError, PenguiFlow
from penguiflow.testkit._recorder import Recorder
from penguiflow.testkit._timeline import drawn
from penguiflow.testkit._watching import recorder_of

PATIENCE_S = 30.0
VIRTUAL_PATIENCE_S = 1e9

_JUST_BEFORE_S = 1e-4


class Default:
    """What holds where a test names no limit.

    Attributes:
        seconds: By the marker `flow_timeout`; `None` for the kit's own.
    """

    seconds: float | None = None


@asynccontextmanager
async def within(
    limit_s: float | None, flows: Iterable[PenguiFlow] | Callable[[], Iterable[PenguiFlow]]
) -> AsyncIterator[None]:
    """Give up after so many seconds.

    Raises:
        AssertionError: they have passed; the text says what the flows' traces wait for.
    """
    loop = asyncio.get_running_loop()
    seconds = _chosen(limit_s, loop)
    said: list[str] = []

    def write_down() -> None:
        said.extend(stuck(flow) for flow in (flows() if callable(flows) else flows))

    early = loop.call_later(max(0.0, seconds - _JUST_BEFORE_S), write_down)
    try:
        async with asyncio.timeout(seconds) as limit:
            yield
    except TimeoutError as exc:
        if not limit.expired():
            raise
        raise AssertionError("\n".join([f"the flow didn't end within {seconds:g} s", *filter(None, said)])) from exc
    finally:
        early.cancel()


def _chosen(limit_s: float | None, loop: asyncio.AbstractEventLoop) -> float:
    if limit_s is not None:
        if not limit_s > 0:
            raise ValueError(f"within_s is a positive number of seconds, not {limit_s!r}")
        return limit_s
    if Default.seconds is not None:
        return Default.seconds
    return VIRTUAL_PATIENCE_S if getattr(loop, "virtual", False) else PATIENCE_S


def stuck(flow: PenguiFlow) -> str:
    """What a flow's live traces wait for, and how they came there."""
    try:
        recorder = recorder_of(flow)
    except LookupError:
        return ""
    return "\n".join(_explained(flow, recorder, trace_id) for trace_id in live(recorder))


def live(recorder: Recorder) -> list[str]:
    """The traces that have begun and not finished."""
    begun = {e.trace_id: None for e in recorder.of("trace_start") if e.trace_id}
    for event in recorder.of("trace_finish"):
        begun.pop(event.trace_id or "", None)
    return list(begun)


def _explained(flow: PenguiFlow, recorder: Recorder, trace_id: str) -> str:
    waits = ""
    with suppress(KeyError, FlowStateError):
        waits = f"{flow.explain(trace_id)}\n"
    return waits + drawn(recorder.trace(trace_id), recorder.dropped)
