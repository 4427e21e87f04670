"""How long a test may wait for its flows, and what is said when it has waited long enough.

Rules: the limit counts in the time of the loop that it runs in. When it is reached, what each live trace waits for is
written down first, and only then is the test's task cancelled.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

from penguiflow import FlowStateError, PenguiFlow
from penguiflow.testkit._recorder import Recorder
from penguiflow.testkit._timeline import drawn
from penguiflow.testkit._watching import recorder_of, watching

PATIENCE_S = 30.0

_JUST_BEFORE_S = 1e-4


_by_marker: list[float] = []  # the limit of the test under way, by its marker


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
    if seconds is None:
        yield
        return

    def write_down() -> None:
        said.extend(stuck(flow) for flow in (flows() if callable(flows) else flows))

    early = loop.call_later(max(0.0, seconds - _JUST_BEFORE_S), write_down)
    try:
        async with asyncio.timeout(seconds) as limit:
            yield
    except TimeoutError as exc:
        if not limit.expired():
            raise
        raise AssertionError(
            "\n".join([f"the flow didn't end within {seconds:g} s", *filter(None, said)])
        ) from exc.__cause__
    finally:
        early.cancel()


def _chosen(limit_s: float | None, loop: asyncio.AbstractEventLoop) -> float | None:
    """In virtual time none by default: a loop that waits for nothing says so."""
    if limit_s is not None:
        if not limit_s > 0:
            raise ValueError(f"within_s is a positive number of seconds, not {limit_s!r}")
        return limit_s
    if _by_marker:
        return _by_marker[-1]
    return None if getattr(loop, "virtual", False) else PATIENCE_S


@contextmanager
def marked(seconds: float) -> Iterator[None]:
    """Let this be the limit where a test names none: what the marker `flow_timeout` does.

    Raises:
        ValueError: it is no positive number.
    """
    if not (isinstance(seconds, int | float) and seconds > 0):
        raise ValueError(f"flow_timeout takes a positive number of seconds, not {seconds!r}")
    _by_marker.append(seconds)
    try:
        yield
    finally:
        _by_marker.pop()


def limited(test: Callable[..., Any]) -> Callable[..., Any]:
    """An async test, held to the limit; any other as it is."""
    if not inspect.iscoroutinefunction(test):
        return test

    @functools.wraps(test)
    async def run(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return await test(*args, **kwargs)  # by trio, where no flow runs
        async with within(None, lambda: list(watching.values())):
            return await test(*args, **kwargs)

    return run


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
    return waits + drawn(recorder.trace(trace_id))
