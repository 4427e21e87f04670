"""What those learn of a trace's end who don't wait for it: the reader, Rookery, the log.

Rules: an error is never lost. It is raised to who waits, delivered at Rookery if the flow was told to, and logged in
full where nobody else would learn of it.
"""

from __future__ import annotations

import logging

from penguiflow._errors import FlowError, TraceCancelled
from penguiflow._parcel import enveloped
from penguiflow._trace import CANCELLED, CHILD, EMIT, START, Trace

log = logging.getLogger("penguiflow")

SPILL = 1024  # how many errors Rookery takes in beyond its size, where no node can wait for room there


def deliver_ending(trace: Trace) -> None:
    """A trace was cut short: who reads it gets its answer, if it has one, or learns of it if the flow was told to
    say so.
    """
    run = trace.run
    if trace.mode == START:
        if trace.answered and trace.reader is not None:
            output = trace.outputs[0]
            message = enveloped(trace, output.payload, None, output.headers, output.meta)
            trace.reader.force(message if trace.wants_message else output.payload)
        return
    if trace.answered:
        run.rookery.force(trace.outputs[0].payload, None if trace.error is None else trace.error.node_name)
    elif run.emit_errors and trace.error is not None:
        deliver_error(trace, trace.error)
    elif trace.outcome == CANCELLED and not any(t.mode == EMIT for t in run.traces.values()):
        run.rookery.fail(TraceCancelled(trace.id))


def deliver_error(trace: Trace, error: FlowError) -> None:
    """Give an emitted trace's error to Rookery, if the flow was told to, where no strand can wait for room there."""
    run = trace.run
    if trace.mode == EMIT and run.emit_errors and not run.rookery.spill(error, error.node_name, SPILL):
        log.error("trace %s failed, and Rookery is full: %s", trace.id, error.message, exc_info=error.original_exc)


def log_unheard(trace: Trace) -> None:
    """Nobody can learn of a trace's end any more: its handle or stream was let go. Say so if it failed unheard."""
    if trace.error is not None and trace.outcome != CANCELLED and not (trace.heard or trace.answered):
        log.error("trace %s failed: %s", trace.id, trace.error.message, exc_info=trace.error.original_exc)


def log_late(trace: Trace, error: FlowError) -> None:
    """A node failed after its trace's end was decided, as one does whose clean-up fails: nobody waits for that."""
    log.warning("after trace %s ended: %s", trace.id, error.message, exc_info=error.original_exc)


def log_failure(trace: Trace, error: FlowError) -> None:
    """Log a failure: in full where nobody else would learn of it, in a line where it is raised as well."""
    if trace.mode == EMIT and trace.run.emit_errors:
        return  # it is delivered at Rookery
    if trace.mode == EMIT:
        log.error("trace %s failed: %s", trace.id, error.message, exc_info=error.original_exc)
    elif trace.mode != CHILD:
        log.info("trace %s failed: %s", trace.id, error.message)
