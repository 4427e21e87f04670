"""A trace as text: what happened, when, and to which node.

Rules: one line for each thing that happened, its time counted from the trace's first event. Nothing in it is random
but the trace's id, so that two runs can be compared. Chunks of a node in a row share a line, a long trace is cut in the
middle, and a long name at its beginning.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from unicodedata import combining, east_asian_width

from penguiflow import FlowEvent

MAX_LINES = 120
MAX_NAME = 40
_HIDDEN = ("trace_start", "trace_finish", "node_attempt")  # other lines tell these already
_VERBS = {"completed": "completed", "failed": "failed", "cancelled": "was cancelled", "expired": "expired"}


def root(events: Sequence[FlowEvent]) -> str:
    """The name of the flow that a trace is of."""
    for event in events:
        if event.node_name is None:
            return event.flow_name
    return (events[0].node_id or "").partition("/")[0]


def label(event: FlowEvent, flow_name: str) -> str:
    """The node of an event by its path within the flow: `pack`, or `sub/inner/pack` in a subflow."""
    return (event.node_id or "").removeprefix(f"{flow_name}/")


def seconds(value: float) -> str:
    """A time in the unit that suits it."""
    if value >= 1000:
        return f"{value:.0f} s"
    return f"{value:.3g} s" if value >= 1 or value == 0 else f"{value * 1e3:.3g} ms"


def told(error: BaseException | None) -> str:
    """An exception in a line."""
    if error is None:
        return "(no reason given)"
    code = getattr(error, "code", None)
    kind = type(error).__name__ if code is None else str(code)
    first = str(error).partition("\n")[0]
    return f"{kind}: {first:.200}" if first else kind


def drawn(events: Sequence[FlowEvent]) -> str:
    """The timeline of one trace's events."""
    if not events:
        return "(nothing was recorded)"
    start = events[0].ts
    flow = root(events)
    rows = [(ts, _short(name), text) for ts, name, text in _rows(events, flow)]
    width = max((_columns(name) for _, name, _ in rows), default=0)
    lines = [
        f"  {ts - start:9.3f} s  {name}{' ' * (width - _columns(name))}  {text}".rstrip() for ts, name, text in rows
    ]
    late = events[0].event_type != "trace_start"
    before = ["  (its beginning was not recorded, or is no longer kept)"] if late else []
    return "\n".join([_headline(events, flow), *before, *_cut(lines), *_open(events, flow)])


def _short(name: str) -> str:
    return name if len(name) <= MAX_NAME else f"...{name[3 - MAX_NAME :]}"


def _columns(text: str) -> int:
    """How many columns of a terminal a text takes."""
    return sum(0 if combining(char) else 2 if east_asian_width(char) in "WF" else 1 for char in text)


def _headline(events: Sequence[FlowEvent], flow: str) -> str:
    first, last = events[0], events[-1]
    what = f"trace {first.trace_id} of {flow!r}"
    if last.event_type != "trace_finish":
        return f"{what}: goes on after {seconds(last.ts - first.ts)}"
    why = "" if last.error is None else f": {told(last.error)}"
    return f"{what}: {_VERBS.get(last.outcome or '', str(last.outcome))} after {seconds(last.ts - first.ts)}{why}"


def _cut(lines: list[str]) -> list[str]:
    if len(lines) <= MAX_LINES:
        return lines
    half = MAX_LINES // 2
    return [*lines[:half], f"  ... {len(lines) - 2 * half} more lines ...", *lines[-half:]]


def _open(events: Sequence[FlowEvent], flow: str) -> list[str]:
    """What still runs, if the trace goes on."""
    running = {e.invocation_id: label(e, flow) for e in events if e.event_type == "node_start"}
    for event in events:
        if event.event_type in ("node_success", "node_failed", "node_cancelled", "node_expired"):
            running.pop(event.invocation_id, None)
    return [f"  still running: {', '.join(running.values())}"] if running else []


def _rows(events: Sequence[FlowEvent], flow: str) -> Iterator[tuple[float, str, str]]:
    names: dict[str | None, str] = {e.invocation_id: label(e, flow) for e in events if e.invocation_id}
    chunks: list[FlowEvent] = []
    for event in events:
        if event.event_type == "stream_chunk" and (not chunks or chunks[-1].invocation_id == event.invocation_id):
            chunks.append(event)
            continue
        yield from _streamed(chunks, flow)
        chunks = [event] if event.event_type == "stream_chunk" else []
        if not chunks and event.event_type not in _HIDDEN:
            yield event.ts, label(event, flow), _text(event, names)
    yield from _streamed(chunks, flow)


def _streamed(chunks: Sequence[FlowEvent], flow: str) -> Iterator[tuple[float, str, str]]:
    if chunks:
        text = "writes a chunk" if len(chunks) == 1 else f"writes {len(chunks)} chunks"
        yield chunks[0].ts, label(chunks[0], flow), text


def _text(event: FlowEvent, names: dict[str | None, str]) -> str:
    kind, extra = event.event_type, event.extra
    match kind:
        case "node_start":
            waited = f", after waiting {seconds(event.queue_wait_ms / 1e3)}" if event.queue_wait_ms else ""
            return f"starts{_from(event, names)}{waited}"
        case "node_success":
            return f"ends after {_took(event)}{_attempts(event)}"
        case "node_error":
            return f"attempt {event.attempt + 1} fails: {told(event.error)}"
        case "node_timeout":
            return f"attempt {event.attempt + 1} takes too long: {told(event.error)}"
        case "node_retry":
            return f"waits {seconds(extra['delay_s'])} before attempt {extra['next_attempt'] + 1}"
        case "node_failed":
            return f"fails after {_took(event)}{_attempts(event)}: {told(event.error)}"
        case "node_cancelled":
            return f"is cancelled after {_took(event)}"
        case "node_expired":
            return f"is out of time or budget after {_took(event)}: {told(event.error)}"
        case "route_decided":
            return f"routes to {', '.join(extra['targets'])} (decided by {extra['decided_by']})"
        case "route_dropped":
            return f"drops the message (decided by {extra['decided_by']})"
        case "trace_cancel_start":
            return "somebody cancels the trace"
        case "trace_cancel_finish":
            return "the trace is cancelled"
        case _:
            return kind if event.error is None else f"{kind}: {told(event.error)}"


def _took(event: FlowEvent) -> str:
    return seconds((event.latency_ms or 0.0) / 1e3)


def _attempts(event: FlowEvent) -> str:
    return f" on attempt {event.attempt + 1}" if event.attempt else ""


def _from(event: FlowEvent, names: dict[str | None, str]) -> str:
    sources = [names[parent] for parent in event.parent_invocation_ids if parent in names]
    return f", from {', '.join(sources)}" if sources else ""
