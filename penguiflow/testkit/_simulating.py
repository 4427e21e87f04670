"""`simulate_error`: a node that fails, hangs or is slow, as often as a test wants.

Rules: a failing call never reaches the node; another call reaches it unchanged. A simulation whose node was never
called fails the test: it would have shown nothing.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import math
from collections.abc import Callable, Collection
from types import TracebackType
from typing import Any, TypeVar

from penguiflow import Context, Node, PenguiFlow, RoutingRequest
from penguiflow.testkit._lending import End, Lendable, refuse_class
from penguiflow.testkit._swapping import AnyNode, Swap, copied, found

FuncT = TypeVar("FuncT", bound=Callable[..., Any])


class SimulatedError(Exception):
    """What a simulated failure raises, unless the test says otherwise."""


class Simulation(Lendable):
    """What `simulate_error` returns: a context manager, and a decorator of tests.

    Attributes:
        calls: How often the node was called.
        failures: How often a call failed, or hung, on purpose.
    """

    def __init__(
        self,
        target: AnyNode,
        fail_times: float,
        exc: Any,
        latency_s: float,
        on_attempt: frozenset[int] | None,
        timeout: bool,
    ) -> None:
        super().__init__()
        self.calls: int = 0
        self.failures: int = 0
        self._given = (target, fail_times, exc, latency_s, on_attempt, timeout)
        self._target: AnyNode = target
        self._fail_times: float = fail_times
        self._exc: Any = exc
        self._latency_s: float = latency_s
        self._on_attempt: frozenset[int] | None = on_attempt
        self._timeout: bool = timeout
        self._swap: Swap = Swap(target)

    @property
    def node(self) -> AnyNode:
        """A node of the same name and policy that fails so, to build a flow with."""
        return copied(self._target, self._body, self._policy)

    def _begun(self) -> End:
        self._swap.put(self._body, self._policy)
        return self._gone

    def _gone(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        __tracebackhide__ = True
        self._swap.undo()
        if exc_type is None and not self.calls:
            raise AssertionError(
                f"node {self._target.name!r} was never called while its error was simulated: the test shows nothing "
                "(a router or subflow of a flow that ran already is not reached)"
            )

    def __call__(self, test: FuncT) -> FuncT:
        """Simulate it each time that a test, async or not, runs.

        Raises:
            TypeError: it stands above a class.
        """
        refuse_class("@simulate_error", test)

        @functools.wraps(test)
        async def awaited(*args: Any, **kwargs: Any) -> Any:
            with Simulation(*self._given):
                return await test(*args, **kwargs)

        @functools.wraps(test)
        def called(*args: Any, **kwargs: Any) -> Any:
            with Simulation(*self._given):
                return test(*args, **kwargs)

        return awaited if inspect.iscoroutinefunction(test) else called  # type: ignore[return-value]

    async def _body(self, message: Any, ctx: Context | None) -> Any:
        await self._meddle(None if ctx is None else ctx.attempt)
        answer = self._swap.before(message, ctx)
        return answer if hasattr(answer, "__aiter__") else await answer

    async def _policy(self, request: RoutingRequest) -> Any:
        await self._meddle(0)
        policy = self._swap.before.role.policy
        if policy is None:
            return None
        answer = getattr(policy, "select", policy)(request)
        return await answer if inspect.isawaitable(answer) else answer

    async def _meddle(self, attempt: int | None) -> None:
        """What comes before the node itself."""
        self.calls += 1
        fails = self._fails(attempt)
        if fails:
            self.failures += 1
        if self._latency_s:
            await asyncio.sleep(self._latency_s)
        if fails:
            if self._timeout:
                await asyncio.Event().wait()
            raise _made(self._exc)

    def _fails(self, attempt: int | None) -> bool:
        if self.failures >= self._fail_times:
            return False
        if self._on_attempt is None:
            return True
        if attempt is None:
            raise RuntimeError(
                f"simulate_error({self._target.name!r}, on_attempt=...) has to begin before the flow starts, for a "
                "node that takes no context"
            )
        return attempt in self._on_attempt


def simulate_error(
    node: AnyNode | str,
    fail_times: float | None = None,
    exc: BaseException | type[BaseException] | Callable[[], BaseException] = SimulatedError,
    *,
    flow: PenguiFlow | None = None,
    latency_s: float = 0.0,
    on_attempt: int | Collection[int] | None = None,
    timeout: bool = False,
) -> Simulation:
    """Let a node fail: `with simulate_error(triage, fail_times=2):`, or above a test, `@simulate_error(triage)`.

    It holds in every flow that the node stands in, also in one that runs already. `simulate_error(...).node` is a node
    that fails so by itself.

    Args:
        node: The node, or its name in `flow` (its path, in a subflow).
        fail_times: How many calls fail, the first ones; `math.inf` for all. By default 1, or with `on_attempt` all.
        exc: What they raise: an exception, its class, or a function that makes one.
        flow: The flow that a name is looked up in.
        latency_s: Seconds that each call takes longer, whether it fails or not.
        on_attempt: Only these attempts fail, counted from 0, as in `ctx.attempt`.
        timeout: A failing call never returns, instead of raising: the node's `timeout_s` or a deadline ends it.

    Raises:
        AssertionError: at the end, if the node was never called.
        LookupError: the flow has no such node.
        TypeError: it is neither a node nor a name with a flow, or `exc` is no exception.
        ValueError: a negative number.
    """
    if isinstance(node, str):
        if flow is None:
            raise TypeError(f"say which flow the node is in: simulate_error({node!r}, flow=...)")
        node = found(flow, node)
    if not isinstance(node, Node):
        raise TypeError(f"give a node, not {node!r:.80}")
    attempts = frozenset([on_attempt]) if isinstance(on_attempt, int) else on_attempt
    count = (1 if attempts is None else math.inf) if fail_times is None else fail_times
    if not (count >= 0 and latency_s >= 0):
        raise ValueError(f"fail_times and latency_s are numbers from 0 on, not {fail_times!r} and {latency_s!r}")
    if not (callable(exc) or isinstance(exc, BaseException)):
        raise TypeError(f"exc= takes an exception, its class, or a function that makes one, not {exc!r:.80}")
    return Simulation(node, count, exc, latency_s, None if attempts is None else frozenset(attempts), timeout)


def _made(exc: Any) -> BaseException:
    if isinstance(exc, BaseException):
        return exc.with_traceback(None)
    if exc is SimulatedError:
        return SimulatedError("a test wants this node to fail")
    made = exc()
    if not isinstance(made, BaseException):
        raise TypeError(f"exc= made {made!r:.80}, which is no exception")
    return made
