"""Carries traces from one process to another, in the `meta` of messages.

Rules: the propagator is the application's (`OTEL_PROPAGATORS`), by default W3C's `traceparent`, `tracestate` and
`baggage`. Whatever else is in `meta` is never touched, and what isn't text there, or none that can be sent, is never
read. A flow's own trace begins even where the propagator fails.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, TypeVar

from opentelemetry.context import Context, get_current
from opentelemetry.propagate import get_global_textmap
from opentelemetry.propagators.textmap import Getter
from opentelemetry.trace import SpanContext, get_current_span

from penguiflow import Message
from penguiflow_otel._texts import is_clean

PayloadT = TypeVar("PayloadT")

_log = logging.getLogger("penguiflow_otel")


class _Meta(Getter[Mapping[str, Any]]):
    """Reads the texts of a message's `meta`."""

    def get(self, carrier: Mapping[str, Any], key: str) -> list[str] | None:
        value = carrier.get(key)
        return [value] if isinstance(value, str) and is_clean(value) else None

    def keys(self, carrier: Mapping[str, Any]) -> list[str]:
        return [key for key in carrier if isinstance(key, str)]


_META = _Meta()


def inject(message: Message[PayloadT], context: Context | None = None) -> Message[PayloadT]:
    """A copy of the message that carries the current span's context, for whoever gets it in another process.

    There, a flow that is asked this message goes on with the trace. Call it where the message leaves: in a node, the
    span is the node's.

    Args:
        message: What is sent. It isn't changed.
        context: OpenTelemetry's context; the current one by default.
    """
    propagator = get_global_textmap()
    older = set() if span_context(context) is None else propagator.fields
    meta = {key: value for key, value in message.meta.items() if key not in older}
    propagator.inject(meta, context)
    return message.model_copy(update={"meta": meta})


def extract(message: Message[Any], context: Context | None = None) -> Context:
    """The context that a message carries, on top of the given or current one; that alone, if it carries none."""
    return carried(message.meta, get_current() if context is None else context)


def carried(meta: Mapping[str, Any], context: Context) -> Context:
    """The context in a message's `meta`."""
    return get_global_textmap().extract(meta, context, _META)


def carried_if_any(meta: Mapping[str, Any], context: Context) -> Context:
    """The same for a trace that begins; the given context if the propagator fails."""
    try:
        return carried(meta, context)
    except Exception:
        _log.debug("the propagator can't read what a message carries", exc_info=True)
        return context


def carries(meta: Mapping[str, Any]) -> bool:
    """Whether there may be a context in it."""
    return not meta.keys().isdisjoint(get_global_textmap().fields)


def span_context(context: Context | None) -> SpanContext | None:
    """The span in a context, or in the current one, if it has one."""
    found = get_current_span(context).get_span_context()
    return found if found.is_valid else None
