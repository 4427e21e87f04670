"""Event loops whose clock jumps to the next timer, so that waiting costs nothing. All else is asyncio's own.

Rules: the clock jumps only when no task can run and nothing is due from outside. Due from outside is: a job of an
executor or of anyio's worker threads, a child process, and a socket or pipe that a task waits for, but for one that
only listens. While any of these is under way, time goes as it really does. Where nothing at all can happen any more,
the loop says so and ends; while other threads live, which might call it, it waits for them a while first.
"""

from __future__ import annotations

import asyncio
import math
import selectors
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeAlias

from penguiflow.testkit._clock import Clock, real_monotonic

Ready: TypeAlias = list[tuple[selectors.SelectorKey, int]]

_FRAMES = ("cr_frame", "ag_frame", "gi_frame")
_AWAITED = ("cr_await", "ag_await", "gi_yieldfrom")
_ASYNCIO = str(Path(asyncio.__file__).parent)

_POOL = "virtual loop"  # what the names of the threads that run its jobs begin with
_NO_QUEUE = SimpleNamespace(unfinished_tasks=0)

PATIENCE_S = 20.0  # real seconds that a silent socket may hold up the clock, and a silent thread the word of a deadlock
FOR_EVER_S = 1e15  # what is due later than this is never due
SLICE_S = 0.01  # real seconds until threads are looked at again


class Deadlock(RuntimeError):
    """Every task of a virtual loop waits for what can't come."""


class Jumping(asyncio.SelectorEventLoop):
    """What makes a selector loop virtual; `adopt` mixes it into one that exists."""

    jumps_over_sockets: bool = False

    @property
    def virtual(self) -> bool:
        """Whether its clock still jumps."""
        return self.clock.virtual

    def begin(self, clock: Clock, offset: float) -> None:
        """Go by this clock, `offset` seconds ahead of it."""
        self.clock: Clock = clock
        self._offset: float = offset
        self._jobs: int = 0
        self._children: list[asyncio.SubprocessTransport] = []
        self._silent: float = 0.0
        self._selector: selectors.BaseSelector
        self._poll: Callable[[float | None], Ready] = self._selector.select
        self._selector.select = self._select

    def end(self) -> None:
        """Go in real time again."""
        del self._selector.select  # the class's own comes back in sight

    def time(self) -> float:
        """The virtual time, in seconds."""
        return self.clock.now + self._offset

    def _select(self, timeout: float | None = None) -> Ready:
        ready = self._poll(timeout if not self.clock.virtual else 0)
        if ready or (timeout is not None and timeout <= 0) or not self.clock.virtual:
            self._silent = 0.0
            return ready
        if self._sleeps_for_ever():
            timeout = None
        if self._jobs or self.clock.holds or self._has_children():
            return self._waited(timeout)
        if any(map(self._works_for_us, threading.enumerate())):
            return self._waited(SLICE_S if timeout is None else min(timeout, SLICE_S))
        if not self.jumps_over_sockets and (keys := list(self._waited_for())):
            return self._listened(timeout, keys)
        if timeout is None:
            return self._heard()
        self.clock.advance(timeout)
        self._clock_resolution = max(1e-9, 4 * math.ulp(self.time()))  # else timers far ahead would never be due
        return []

    def _sleeps_for_ever(self) -> bool:
        """Whether the next timer is one that is never due: asyncio would look at it once a day."""
        timers = self._scheduled  # type: ignore[attr-defined]  # every loop of asyncio has it, the earliest first
        return bool(timers) and timers[0].when() > FOR_EVER_S

    def _waited(self, timeout: float | None) -> Ready:
        """Wait in real time, and let as much time pass."""
        began = real_monotonic()
        ready = self._poll(timeout)
        took = real_monotonic() - began
        self.clock.advance(took if ready or timeout is None else timeout)
        return ready

    def _listened(self, timeout: float | None, keys: list[selectors.SelectorKey]) -> Ready:
        left = PATIENCE_S - self._silent
        ready = self._waited(left if timeout is None else min(left, timeout))
        self._silent = 0.0 if ready else self._silent + min(left, timeout if timeout is not None else left)
        if self._silent >= PATIENCE_S:
            raise RuntimeError(
                f"virtual time stands still: for {PATIENCE_S:g} real seconds nothing came from "
                f"{', '.join(map(_described, keys))}, which a task waits for. Close what isn't needed, or say "
                "virtual_time(jump_over_sockets=True)"
            )
        return ready

    def _heard(self) -> Ready:
        """What comes where no timer is set: only another thread can still bring something.

        Raises:
            Deadlock: there is none, or it brought nothing.
        """
        until = real_monotonic() + PATIENCE_S
        while real_monotonic() < until and any(map(self._may_call_us, threading.enumerate())):
            if ready := self._waited(SLICE_S):
                return ready
        raise Deadlock(
            "every task is blocked, no timer is set and nothing is due from outside: a deadlock" + blocked(self)
        )

    def _works_for_us(self, thread: threading.Thread) -> bool:
        """Whether it is a worker of anyio's, and has something to do for this loop."""
        return getattr(thread, "loop", None) is self and bool(getattr(thread, "queue", _NO_QUEUE).unfinished_tasks)

    def _may_call_us(self, thread: threading.Thread) -> bool:
        """Whether it is another thread than this one and those that wait for a job of this loop's."""
        idle = thread.name.startswith(_POOL) or getattr(thread, "loop", None) is self
        return not idle and thread is not threading.current_thread()

    def _waited_for(self) -> Iterator[selectors.SelectorKey]:
        """Sockets and pipes that something may come from: not the loop's own, and none that only listens."""
        own = self._ssock.fileno()  # type: ignore[attr-defined]  # every selector loop has it, to be woken by threads
        for key in list(self._selector.get_map().values()):
            if key.fd != own and not _listens(key.fd):
                yield key

    def _has_children(self) -> bool:
        self._children = [child for child in self._children if child.get_returncode() is None]
        return bool(self._children)

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        """As ever; time goes as it really does until the job is done, even if nobody waits for it any more."""
        if self.is_closed():
            raise RuntimeError("Event loop is closed")
        job = (self._pool() if executor is None else executor).submit(func, *args)
        self._jobs += 1
        answer = asyncio.wrap_future(job, loop=self)
        job.add_done_callback(self._came_back)  # after that: its answer is in the loop before it stops counting
        return answer

    def _pool(self) -> Any:
        """The default executor, which has to be known here: its jobs are counted."""
        if getattr(self, "_default_executor", None) is None:
            self.set_default_executor(ThreadPoolExecutor(thread_name_prefix=_POOL))
        return self._default_executor  # type: ignore[attr-defined]  # every loop of asyncio has it

    def _came_back(self, _: object) -> None:
        with suppress(RuntimeError):  # the loop is closed, and counts no more
            self.call_soon_threadsafe(self._uncount)

    def _uncount(self) -> None:
        self._jobs -= 1

    async def shutdown_default_executor(self, *args: Any, **kwargs: Any) -> None:
        """As ever; it waits for threads."""
        with self.clock.hold():
            await super().shutdown_default_executor(*args, **kwargs)

    async def subprocess_exec(self, *args: Any, **kwargs: Any) -> Any:
        """As ever; time goes as it really does while the process lives."""
        return await self._begun(super().subprocess_exec(*args, **kwargs))

    async def subprocess_shell(self, *args: Any, **kwargs: Any) -> Any:
        """As ever; time goes as it really does while the process lives."""
        return await self._begun(super().subprocess_shell(*args, **kwargs))

    async def _begun(self, starting: Any) -> Any:
        with self.clock.hold():
            made = await starting
        self._children.append(made[0])
        return made


class VirtualLoop(Jumping):
    """An event loop that waits in no time at all.

    For frameworks that take a loop's factory; `virtual_time` needs none. It leaves `time.time()` alone.

    Args:
        clock: The clock that it goes by; by default one of its own.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        super().__init__()
        self.begin(clock or Clock(), 0.0)


def adopt(loop: asyncio.AbstractEventLoop, clock: Clock) -> Jumping:
    """Make a loop that exists go by a clock.

    Raises:
        RuntimeError: it isn't one of asyncio's selector loops.
    """
    now = loop.time()
    if not isinstance(loop, Jumping):
        if not isinstance(loop, asyncio.SelectorEventLoop):
            raise RuntimeError(
                f"a {type(loop).__module__}.{type(loop).__name__} can't go by a virtual clock: let the test run on "
                "asyncio's own selector loop"
            )
        loop.__class__ = type(f"Virtual{type(loop).__name__}", (Jumping, type(loop)), {})
    else:
        loop.end()
    assert isinstance(loop, Jumping)
    loop.begin(clock, now - clock.now)
    return loop


def _listens(fd: int) -> bool:
    try:
        found = socket.socket(fileno=fd)
    except OSError:
        return False
    try:
        return bool(found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    except OSError:
        return False
    finally:
        found.detach()


def _described(key: selectors.SelectorKey) -> str:
    try:
        found = socket.socket(fileno=key.fd)
    except OSError:
        return f"file descriptor {key.fd}"
    try:
        return f"the socket to {found.getpeername()}"
    except OSError:
        return f"the socket {key.fd}"
    finally:
        found.detach()


def blocked(loop: asyncio.AbstractEventLoop) -> str:
    """Where every task of a loop waits, a line each."""
    tasks = sorted(asyncio.all_tasks(loop), key=lambda task: task.get_name())
    return "".join(f"\n  {task.get_name()} waits {place(task)}" for task in tasks[:20])


def place(task: asyncio.Task[Any]) -> str:
    """The line that a task is suspended in: the innermost that isn't asyncio's own."""
    inside: Any = task.get_coro()
    found = "somewhere"
    while inside is not None:
        frame = next((getattr(inside, name) for name in _FRAMES if getattr(inside, name, None) is not None), None)
        if frame is not None and not frame.f_code.co_filename.startswith(_ASYNCIO):
            found = f"in {frame.f_code.co_qualname}, {frame.f_code.co_filename}:{frame.f_lineno}"
        inside = next((getattr(inside, name) for name in _AWAITED if getattr(inside, name, None) is not None), None)
    return found
