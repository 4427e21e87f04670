"""Log records that know the span they were made in.

Rules: records get the attributes that OpenTelemetry's own instrumentation of `logging` gives them, and those that it
has stamped already are left alone. The process has one factory of records: the first flow that starts wraps it, the
last one that stops gives it back, unless somebody has wrapped it again meanwhile; then the wrapper does nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from threading import Lock
from typing import Any

from opentelemetry.trace import format_span_id, format_trace_id, get_current_span


def stamp(record: logging.LogRecord) -> None:
    """Write down in which span a record is made: `otelTraceID`, `otelSpanID`, `otelTraceSampled`."""
    if hasattr(record, "otelTraceID"):
        return
    span = get_current_span().get_span_context()
    record.otelTraceID = format_trace_id(span.trace_id) if span.is_valid else "0"
    record.otelSpanID = format_span_id(span.span_id) if span.is_valid else "0"
    record.otelTraceSampled = span.trace_flags.sampled


class SpanFilter(logging.Filter):
    """Stamps the records of a handler or logger, whether a flow runs or not.

    With it, a format may say `%(otelTraceID)s` and `%(otelSpanID)s`: outside of a span these are `0`. It belongs to the
    first handler that a record meets: behind a queue, nobody knows the span any more.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Stamp a record, and let it pass."""
        stamp(record)
        return True


class _Stamping:
    """A factory of records that stamps those of another."""

    def __init__(self, make: Callable[..., logging.LogRecord]) -> None:
        self.make: Callable[..., logging.LogRecord] = make
        self.users: int = 0

    def __call__(self, *args: Any, **kwargs: Any) -> logging.LogRecord:
        record = self.make(*args, **kwargs)
        if self.users:
            stamp(record)
        return record


_lock = Lock()


class LogStamps:
    """One flow's wish to have log records stamped."""

    def __init__(self) -> None:
        self._factory: _Stamping | None = None

    def begin(self) -> None:
        """Have them stamped from now on."""
        with _lock:
            if self._factory is not None:
                return
            current = logging.getLogRecordFactory()
            if not isinstance(current, _Stamping):
                current = _Stamping(current)
                logging.setLogRecordFactory(current)
            current.users += 1
            self._factory = current

    def end(self) -> None:
        """Have them stamped no more, unless another flow wants it."""
        with _lock:
            factory, self._factory = self._factory, None
            if factory is None:
                return
            factory.users -= 1
            if not factory.users and logging.getLogRecordFactory() is factory:
                logging.setLogRecordFactory(factory.make)
