"""`virtual_time`: back-offs, deadlines, time-outs and sleeps in no real time.

Rules: while it holds, every loop of asyncio that is made goes by one clock, as does the loop that runs already, and
`time.time()` follows it. `time.monotonic()`, `time.perf_counter()`, `time.sleep()` and `datetime.now()` stay real.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import inspect
import time
from collections.abc import Callable
from types import ModuleType, TracebackType
from typing import Any, ClassVar, TypeVar, overload

from penguiflow import FlowStateError, PenguiFlow
from penguiflow.testkit._clock import Clock
from penguiflow.testkit._lending import refuse_class
from penguiflow.testkit._limits import limited
from penguiflow.testkit._loops import Jumping, VirtualLoop, adopt

FuncT = TypeVar("FuncT", bound=Callable[..., Any])


class _Now:
    """The clock that holds, how often it was entered, and what was replaced for it: module, name, before, now."""

    clock: Clock | None = None
    depth: int = 0
    replaced: ClassVar[list[tuple[ModuleType, str, Any, Any]]] = []


class VirtualTime:
    """What `virtual_time()` returns: a context manager, and a decorator of tests."""

    def __init__(self, starts_at: float | None = None, jump_over_sockets: bool = False) -> None:
        self._starts_at: float | None = starts_at
        self._jump_over_sockets: bool = jump_over_sockets

    def __enter__(self) -> Clock:
        clock = _Now.clock or Clock(self._starts_at)
        loop = _running()
        if loop is not None and not (isinstance(loop, Jumping) and loop.clock is clock):
            _refuse_running_flows()
            self._set(adopt(loop, clock))
        if _Now.clock is None:
            self._replace(clock)
        _Now.clock = clock
        _Now.depth += 1
        return clock

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        _Now.depth -= 1
        if _Now.depth:
            return
        assert _Now.clock is not None
        for module, name, before, mine in reversed(_Now.replaced):
            if getattr(module, name) == mine:  # else somebody has put his own there, and will take it away
                setattr(module, name, before)
        _Now.replaced.clear()
        _Now.clock.let_go()
        _Now.clock = None

    def __call__(self, test: FuncT) -> Callable[..., Any]:
        """Run a test in virtual time. An async one runs in a loop of its own, whatever else would run it.

        Raises:
            TypeError: it stands above a class.
        """
        refuse_class("@virtual_time", test)

        @functools.wraps(test)
        def run(*args: Any, **kwargs: Any) -> Any:
            with VirtualTime(self._starts_at, self._jump_over_sockets):
                if not inspect.iscoroutinefunction(test):
                    return test(*args, **kwargs)
                with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
                    return runner.run(limited(test)(*args, **kwargs))

        return run

    def _replace(self, clock: Clock) -> None:
        def new_event_loop() -> asyncio.AbstractEventLoop:
            return self._set(VirtualLoop(clock))

        self._exchange(time, "time", clock.time)
        self._exchange(time, "time_ns", clock.time_ns)
        self._exchange(asyncio, "new_event_loop", new_event_loop)
        self._exchange(asyncio.events, "new_event_loop", new_event_loop)

    def _exchange(self, module: ModuleType, name: str, thing: Any) -> None:
        _Now.replaced.append((module, name, getattr(module, name), thing))
        setattr(module, name, thing)

    def _set(self, loop: Jumping) -> Jumping:
        loop.jumps_over_sockets = self._jump_over_sockets
        return loop


@overload
def virtual_time(test: FuncT, /) -> Callable[..., Any]: ...


@overload
def virtual_time(*, starts_at: float | None = ..., jump_over_sockets: bool = ...) -> VirtualTime: ...


def virtual_time(
    test: Callable[..., Any] | None = None,
    /,
    *,
    starts_at: float | None = None,
    jump_over_sockets: bool = False,
) -> Any:
    """Let time pass without waiting: `with virtual_time() as clock:`, or `@virtual_time` above a test.

    The clock jumps to the next timer when nothing else can happen: never while a task is ready, an executor's job or a
    child process is under way, or a task waits for a socket. Then time goes as it really does. Enter it before the flow
    starts. Where every task waits for what can't come, the loop ends with a `RuntimeError` that names them.

    Args:
        test: The test that it stands above.
        starts_at: What `time.time()` says at first (epoch seconds); by default what it is.
        jump_over_sockets: Let open sockets, such as idle connections, hold nothing up.

    Returns:
        A context manager that gives the `Clock`; above a test, the test.

    Raises:
        RuntimeError: on entry, if the loop that runs isn't asyncio's own, or a flow runs in it already.
        TypeError: it stands above a class.
    """
    made = VirtualTime(starts_at, jump_over_sockets)
    return made if test is None else made(test)


async def quiet() -> None:
    """Wait until every other task is blocked (in virtual time).

    Raises:
        RuntimeError: the loop isn't virtual.
    """
    if not getattr(_running(), "virtual", False):
        raise RuntimeError("quiet() needs virtual time: `with virtual_time():`, or @virtual_time above the test")
    await asyncio.sleep(1e-6)


def _running() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _refuse_running_flows() -> None:
    """A flow keeps the clock that it started with."""
    kinds = [PenguiFlow]
    for kind in kinds:
        kinds += kind.__subclasses__()
    for thing in gc.get_referrers(*kinds):  # an object refers to its class; this looks through millions in a moment
        if issubclass(type(thing), PenguiFlow) and thing.running and _runs_here(thing):
            raise RuntimeError(
                f"flow {thing.name!r} runs already, and goes by the real clock: enter virtual_time before it starts"
            )


def _runs_here(flow: PenguiFlow) -> bool:
    try:
        flow.explain("")
    except KeyError:
        return True
    except FlowStateError:
        return False
    return True
