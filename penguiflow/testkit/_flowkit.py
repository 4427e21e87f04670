"""`FlowKit`: the testkit as one object, which undoes at the end what a test has put in place. pytest gives it as
`flowkit`.

Rules: it adds nothing to the functions of the same names but the beginning, at once, and the end. A `with` block may
end what it has begun before.
"""

from __future__ import annotations

from collections.abc import Coroutine
from contextlib import AbstractContextManager, ExitStack
from types import TracebackType
from typing import Any, Self, TypeVar

from penguiflow import PenguiFlow
from penguiflow.testkit import _asserting, _exploring, _recording, _replaying, _running, _sequence, _watching, _writing
from penguiflow.testkit._clock import Clock
from penguiflow.testkit._fakes import FakeNode
from penguiflow.testkit._lending import Lendable
from penguiflow.testkit._recorder import Recorder
from penguiflow.testkit._recording import Recording
from penguiflow.testkit._running import Streamed
from penguiflow.testkit._sequence import Steps
from penguiflow.testkit._simulating import Simulation, simulate_error
from penguiflow.testkit._swapping import AnyNode
from penguiflow.testkit._taped import Played
from penguiflow.testkit._virtual import VirtualTime, quiet

LendableT = TypeVar("LendableT", bound=Lendable)


class FlowKit:
    """The testkit, until `close`: what `simulate_error`, `fake`, `watch` and `virtual_time` begin ends there.

    `with kit.simulate_error(triage):` ends it with the block; so it is with the others.
    """

    run_one: staticmethod[..., Any] = staticmethod(_running.run_one)
    run_many: staticmethod[..., list[Any]] = staticmethod(_running.run_many)
    run_stream: staticmethod[..., Streamed] = staticmethod(_running.run_stream)
    run_outputs: staticmethod[..., list[Any]] = staticmethod(_running.run_outputs)
    arun_one: staticmethod[..., Coroutine[Any, Any, Any]] = staticmethod(_running.arun_one)
    arun_many: staticmethod[..., Coroutine[Any, Any, list[Any]]] = staticmethod(_running.arun_many)
    arun_stream: staticmethod[..., Coroutine[Any, Any, Streamed]] = staticmethod(_running.arun_stream)
    arun_outputs: staticmethod[..., Coroutine[Any, Any, list[Any]]] = staticmethod(_running.arun_outputs)
    assert_node_sequence: staticmethod[..., None] = staticmethod(_asserting.assert_node_sequence)
    assert_retries: staticmethod[..., None] = staticmethod(_asserting.assert_retries)
    assert_outcome: staticmethod[..., None] = staticmethod(_asserting.assert_outcome)
    assert_settled: staticmethod[..., None] = staticmethod(_asserting.assert_settled)
    assert_no_pending: staticmethod[..., None] = staticmethod(_asserting.assert_no_pending)
    parallel: staticmethod[..., Steps] = staticmethod(_sequence.parallel)
    times: staticmethod[..., Steps] = staticmethod(_sequence.times)
    any_times: staticmethod[..., Steps] = staticmethod(_sequence.any_times)
    timeline: staticmethod[..., str] = staticmethod(_watching.timeline)
    explore: staticmethod[..., int] = staticmethod(_exploring.explore)
    record: staticmethod[..., Recording] = staticmethod(_recording.record)
    replay: staticmethod[..., Played] = staticmethod(_replaying.replay)
    to_pytest: staticmethod[..., str] = staticmethod(_writing.to_pytest)
    quiet: staticmethod[..., Coroutine[Any, Any, None]] = staticmethod(quiet)

    def __init__(self) -> None:
        self._ends: ExitStack = ExitStack()

    def watch(self, flow: PenguiFlow) -> Recorder:
        """Record a flow from now on; see `penguiflow.testkit.watch`."""
        return self._lend_of(_watching.watch(flow))

    def simulate_error(self, *args: Any, **kwargs: Any) -> Simulation:
        """Let a node fail from now on; see `penguiflow.testkit.simulate_error`."""
        return self._lend(simulate_error(*args, **kwargs))

    def fake(self, flow: PenguiFlow, name: str | AnyNode, **kwargs: Any) -> FakeNode:
        """Put a fake in the place of a node from now on; see `penguiflow.testkit.FakeNode`."""
        return self._lend(FakeNode(flow, name, **kwargs))

    def virtual_time(self, **kwargs: Any) -> Clock:
        """Let time be virtual from now on; see `penguiflow.testkit.virtual_time`."""
        return self._lend_of(VirtualTime(**kwargs))

    def close(self, quietly: bool = False) -> None:
        """Undo everything.

        Args:
            quietly: Say nothing of simulated errors whose node was never called: the test has failed already.

        Raises:
            AssertionError: the node of a simulated error was never called.
        """
        try:
            self._ends.close()
        except AssertionError:
            if not quietly:
                raise

    def _lend(self, thing: LendableT) -> LendableT:
        self._ends.push(thing.lend())
        return thing

    def _lend_of(self, manager: AbstractContextManager[LendableT]) -> LendableT:
        thing = manager.__enter__()
        self._ends.push(thing.lend(manager.__exit__))
        return thing

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close(quietly=exc_type is not None)
