"""Controller loops: a node with an edge to itself that goes on as long as it returns its working memory.

Rules: the runtime counts the hops, whatever the controller writes there, and judges the memory's own budgets after
each run.
"""

from __future__ import annotations

from typing import Any

from penguiflow._errors import FlowErrorCode
from penguiflow._lifecycle import expire
from penguiflow._messages import Message, is_of
from penguiflow._models import WM, after_run, exhausted
from penguiflow._parcel import Parcel
from penguiflow._trace import Trace

_USED_UP = {"hops": FlowErrorCode.HOP_BUDGET_EXHAUSTED, "tokens": FlowErrorCode.TOKEN_BUDGET_EXHAUSTED}


def controls(trace: Trace) -> None:
    """Note that a controller loop runs in a trace, and in those that it is a subflow of: they end with an answer."""
    trace.controlled = True
    while trace.forwards and trace.parent is not None:
        trace = trace.parent
        trace.controlled = True


def judged(trace: Trace, parcel: Parcel, value: Any) -> Any:
    """What a controller returned, its memory's hops written; `None` if its own budget is used up."""
    if is_of(value, WM):
        return judged_memory(trace, parcel, value)
    if not (is_of(value, Message) and is_of(value.payload, WM)):
        return value
    memory = judged_memory(trace, parcel, value.payload)
    return None if memory is None else value.model_copy(update={"payload": memory})


def judged_memory(trace: Trace, parcel: Parcel, payload: WM) -> WM | None:
    """`judged` for a memory that came bare."""
    if not trace.controlled:
        controls(trace)
    given = parcel._payload
    memory = after_run(payload, 1 + (given.hops if is_of(given, WM) else payload.hops))
    spent = exhausted(memory)
    if spent is not None:
        expire(trace, _USED_UP[spent], parcel)
        return None
    return memory
