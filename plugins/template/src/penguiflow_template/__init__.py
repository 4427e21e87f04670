"""Logs the nodes that take long.

Rules: it only watches. What it does for an event takes microseconds, since it runs in the node's own task.
"""

from __future__ import annotations

import logging

from pydantic import BaseModel, ConfigDict, Field

from penguiflow import FlowEvent, hookimpl

__all__ = ["Options", "plugin"]

log = logging.getLogger(__name__)


class Options(BaseModel):
    """What a deployment may set, in the table `[plugins.options.template]`.

    Attributes:
        threshold_ms: How many milliseconds a node may take before it is logged.
        ignore: Names of nodes that may take as long as they like.
    """

    model_config = ConfigDict(extra="forbid")

    threshold_ms: float = Field(default=1000.0, ge=0)
    ignore: frozenset[str] = frozenset()


class Template:
    """One for each flow.

    Attributes:
        event_types: The events that it is shown: the ends of node runs. The others cost nothing.
    """

    name = "template"
    api_version = "2"
    event_types = ("node_success", "node_failed", "node_cancelled", "node_expired")

    def __init__(self, options: Options) -> None:
        self._options: Options = options

    @hookimpl
    def on_event(self, event: FlowEvent) -> None:
        """Log a node run that took too long."""
        took = event.latency_ms or 0.0
        if took >= self._options.threshold_ms and event.node_name not in self._options.ignore:
            log.warning(
                "node %r of flow %r took %.0f ms (%s, trace %s)",
                event.node_name,
                event.flow_name,
                took,
                event.event_type,
                event.trace_id,
            )


def plugin(options: Options) -> Template:
    """What the entry point names: makes the plugin of one flow."""
    return Template(options)
