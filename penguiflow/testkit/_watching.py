"""Who watches which flow, and what has been seen lately.

Rules: a flow has one recorder, shared by all who watch it, and keeps what it recorded when nobody watches any more. A
flow that doesn't run yet is watched from its next start on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

from penguiflow import FlowEvent, PenguiFlow
from penguiflow.testkit._recorder import Recorder
from penguiflow.testkit._timeline import drawn

Where: TypeAlias = PenguiFlow | Recorder
"""What has recorded a trace: a flow that was watched, or a recorder."""


class _Watch:
    """One flow's recorder, and how many watch."""

    def __init__(self) -> None:
        self.recorder: Recorder = Recorder()
        self._depth: int = 0
        self._before: dict[str, Any] = {}
        self._looking: ExitStack = ExitStack()

    def begin(self, flow: PenguiFlow) -> None:
        self._depth += 1
        if self._depth > 1:
            return
        started = flow.run
        self._before = {name: thing for name, thing in vars(flow).items() if name == "run"}

        def run(*args: Any, **kwargs: Any) -> None:
            started(*args, **kwargs)
            self._look(flow)

        vars(flow)["run"] = run  # in the way of the method of that name, until `end`
        if flow.running:
            self._look(flow)

    def end(self, flow: PenguiFlow) -> bool:
        """Whether nobody watches any more."""
        self._depth -= 1
        if not self._depth:
            del vars(flow)["run"]
            vars(flow).update(self._before)
            self._looking.close()
        return not self._depth

    def _look(self, flow: PenguiFlow) -> None:
        self._looking.close()
        self._looking.enter_context(flow.watch(self._see))

    def _see(self, event: FlowEvent) -> None:
        self.recorder(event)
        if event.event_type == "trace_start" and event.trace_id is not None:
            journal.append((self.recorder, event.trace_id))


_watched: WeakKeyDictionary[PenguiFlow, _Watch] = WeakKeyDictionary()
watching: dict[int, PenguiFlow] = {}
"""The flows that somebody watches now, by identity."""

journal: deque[tuple[Recorder, str]] = deque(maxlen=64)
"""The traces that began lately, of all flows that were watched."""


@contextmanager
def watch(flow: PenguiFlow) -> Iterator[Recorder]:
    """Record what happens in a flow, while the block lasts: `with watch(flow) as seen:`.

    The flow may run already, or start in the block. `run_one` and the like do this by themselves.

    Args:
        flow: The flow, which needs nothing special.

    Returns:
        The flow's recorder, the same each time, with what was recorded before.
    """
    kept = _watched.setdefault(flow, _Watch())
    kept.begin(flow)
    watching[id(flow)] = flow
    try:
        yield kept.recorder
    finally:
        if kept.end(flow):
            del watching[id(flow)]


def recorder_of(where: Where) -> Recorder:
    """The recorder of a flow.

    Raises:
        LookupError: nobody has watched it.
        TypeError: it is no flow.
    """
    if isinstance(where, Recorder):
        return where
    if not isinstance(where, PenguiFlow):
        raise TypeError(f"give the flow, or its recorder, not {where!r:.80}")
    if where not in _watched:
        raise LookupError(
            f"nothing has been recorded of flow {where.name!r}: send its messages with run_one, or run it inside "
            "`with watch(flow):`"
        )
    return _watched[where].recorder


def timeline(where: Where, trace_id: str | None = None) -> str:
    """A trace as text: what happened, when, and to which node.

    Args:
        where: A flow that was watched, or a recorder.
        trace_id: The trace; by default the one that began last.

    Raises:
        LookupError: nothing is known of it.
    """
    recorder = recorder_of(where)
    return drawn(recorder.trace(trace_id))


def lately(but_for: str = "", most: int = 3) -> str:
    """The timelines of the last traces that began, but for those that a text tells of already."""
    kept = [(recorder, trace_id) for recorder, trace_id in journal if trace_id not in but_for]
    known = [(recorder, trace_id) for recorder, trace_id in kept if trace_id in recorder.trace_ids]
    shown = [drawn(recorder.trace(trace_id)) for recorder, trace_id in known[-most:]]
    least = "at least " if len(journal) == journal.maxlen else ""
    more = [f"({least}{len(known) - most} traces before)"] if len(known) > most else []
    return "\n".join([*more, *shown])
