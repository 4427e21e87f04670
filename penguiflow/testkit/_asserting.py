"""What a test may claim about a trace. A claim that doesn't hold shows the trace's timeline.

Rules: each takes a flow that was watched, or a recorder, and means the trace that began last unless it is given
another's id. Node names are those of the flow itself; `nested=True` looks into subflows and playbooks, where a node is
named by its path.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn, overload

from penguiflow import FlowEvent
from penguiflow.testkit._limits import live, stuck
from penguiflow.testkit._recorder import Recorder, unlawful
from penguiflow.testkit._sequence import Expected, mismatch, steps
from penguiflow.testkit._timeline import drawn, label, root, told
from penguiflow.testkit._watching import Where, recorder_of

OUTCOMES = ("completed", "failed", "cancelled", "expired")


@overload
def assert_node_sequence(where: Where, expected: Expected, /, *, nested: bool = ...) -> None: ...


@overload
def assert_node_sequence(where: Where, trace_id: str | None, expected: Expected, /, *, nested: bool = ...) -> None: ...


def assert_node_sequence(where: Where, *given: object, nested: bool = False) -> None:
    """Check which nodes ran, in which order: `assert_node_sequence(flow, ["triage", "pack"])`.

    A node that is retried runs once. In a list, one thing comes after the other; `parallel("a", ["b", "c"])` stands for
    branches, `times("loop", 3)` and `any_times("loop")` for loops, `...` for whatever runs.

    Args:
        where: The flow, or a recorder.
        trace_id: Another trace than the last.
        expected: What ran, in its order.
        nested: Look into subflows and playbooks; their nodes are named by their path, as in `sub/inner/node`.

    Raises:
        AssertionError: others ran, or in another order.
    """
    __tracebackhide__ = True
    if not 1 <= len(given) <= 2:
        raise TypeError("write assert_node_sequence(flow, [...]), or (flow, trace_id, [...])")
    trace_id, expected = (None, *given)[-2:]
    if trace_id is not None and not isinstance(trace_id, str):
        raise TypeError(f"the second of three arguments is a trace's id, not {trace_id!r:.80}")
    recorder = recorder_of(where)
    events = recorder.trace(trace_id)
    names = _runs(events, nested)
    wrong = mismatch(expected, names)  # type: ignore[arg-type]  # it checks that itself
    if wrong is not None:
        ran = " -> ".join(names) or "nothing"
        _fail(f"{wrong}\n  expected: {_cut(str(steps(expected)))}\n  ran:      {_cut(ran)}", events)  # type: ignore[arg-type]


def assert_retries(where: Where, node: str, count: int, *, trace_id: str | None = None, nested: bool = False) -> None:
    """Check how often a node was retried, over all of its runs in a trace.

    Args:
        where: The flow, or a recorder.
        node: The node's name.
        count: How many retries: attempts beyond each run's first.
        trace_id: Another trace than the last.
        nested: Look into subflows and playbooks.

    Raises:
        AssertionError: it was another number, or the node never ran.
    """
    __tracebackhide__ = True
    recorder = recorder_of(where)
    events = recorder.trace(trace_id)
    names = _runs(events, nested)
    if node not in names:
        _fail(f"node {node!r} never ran: there were {', '.join(dict.fromkeys(names)) or 'none'}", events)
    found = sum(e.event_type == "node_retry" and node in _named(e, events, nested) for e in events)
    if found != count:
        _fail(f"node {node!r} was retried {_times(found)}, not {_times(count)}", events)


def assert_outcome(where: Where, outcome: str, *, code: str | None = None, trace_id: str | None = None) -> None:
    """Check how a trace ended.

    Args:
        where: The flow, or a recorder.
        outcome: `completed`, `failed`, `cancelled` or `expired`.
        code: The `FlowErrorCode` that it ended with, too.
        trace_id: Another trace than the last.

    Raises:
        AssertionError: it ended otherwise, or goes on.
        ValueError: there is no such outcome.
    """
    __tracebackhide__ = True
    if outcome not in OUTCOMES:
        raise ValueError(f"there is no outcome {outcome!r}: there are {', '.join(OUTCOMES)}")
    recorder = recorder_of(where)
    events = recorder.trace(trace_id)
    finish = next((e for e in reversed(events) if e.event_type == "trace_finish"), None)
    if finish is None:
        _fail(f"the trace goes on, and isn't {outcome}", events)
    if finish.outcome != outcome:
        _fail(f"the trace is {finish.outcome}, not {outcome}", events)
    found = getattr(finish.error, "code", None)
    if code is not None and found != code:
        _fail(f"the trace ended with {told(finish.error) if finish.error else 'no error'}, not {code}", events)


def assert_settled(where: Where, trace_id: str | None = None) -> None:
    """Check that a trace ended once, and each node run in it once, before the trace's end.

    Args:
        where: The flow, or a recorder.
        trace_id: Another trace than the last.

    Raises:
        AssertionError: something goes on, or went on after its end.
    """
    __tracebackhide__ = True
    recorder = recorder_of(where)
    events = recorder.trace(trace_id)
    wrong = unlawful(events)
    if wrong:
        _fail("the trace has not settled: " + "; ".join(wrong), events)


def assert_no_pending(where: Where) -> None:
    """Check that no trace is under way: whatever began while the flow was watched has ended.

    Args:
        where: The flow, or a recorder.

    Raises:
        AssertionError: one goes on; the text says what it waits for, if the flow runs.
    """
    __tracebackhide__ = True
    recorder = recorder_of(where)
    pending = live(recorder)
    if pending:
        said = "" if isinstance(where, Recorder) else stuck(where)
        shown = said or "\n".join(drawn(recorder.trace(one)) for one in pending)
        count = "1 trace is" if len(pending) == 1 else f"{len(pending)} traces are"
        raise AssertionError(f"{count} under way\n{shown}")


def _runs(events: Sequence[FlowEvent], nested: bool) -> list[str]:
    return [name for event in events if event.event_type == "node_start" for name in _named(event, events, nested)]


def _named(event: FlowEvent, events: Sequence[FlowEvent], nested: bool) -> list[str]:
    """The node of an event, as a test names it; none if it is in a nested flow, and those don't count."""
    name = label(event, root(events))
    return [name] if nested or name == event.node_name else []


def _cut(text: str) -> str:
    """A text, without its middle if it is very long."""
    return text if len(text) <= 1000 else f"{text[:500]} ... {text[-500:]}"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _fail(text: str, events: Sequence[FlowEvent]) -> NoReturn:
    __tracebackhide__ = True
    raise AssertionError(f"{text}\n{drawn(events)}")
