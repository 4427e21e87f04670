"""What a deployment or an application may set."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import TracerProvider
from pydantic import BaseModel, ConfigDict, Field, ImportString, field_validator, model_validator


class Options(BaseModel):
    """The table `[plugins.options.otel]` of a deployment, or what code gives to `Telemetry`.

    Attributes:
        spans: Whether there are spans.
        metrics: Whether there are metrics.
        logs: Whether log records carry the ids of the trace and span that they were made in.
        attempts: Whether each attempt of a node has a span of its own, below the node's.
        max_spans: How many spans of nodes and attempts a trace may have. Beyond it they are counted, not made.
        payloads: Whether the payloads that nodes are given are recorded, as JSON.
        redact: A function of a payload, called before it is recorded: what it returns is recorded in its place. In a
            file, its path: `"package.module:function"`.
        payload_limit: How many characters of a payload are recorded.
        exception_messages: Whether the texts of exceptions are recorded; without them, only their types and frames.
        agents: Names or ids of nodes that are agents: their spans are `invoke_agent {node}`.
        tools: Names or ids of nodes that are tools: their spans are `execute_tool {node}`.
        workflow_span: The name of a trace's span, with `{flow}` in it.
        node_span: The name of a node's span, with `{node}` and `{flow}`.
        attempt_span: The name of an attempt's span, with `{node}` and `{flow}`.
        tracer_provider: Where spans go; by default to the provider that the application has set.
        meter_provider: Where metrics go; likewise.
    """

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True, frozen=True)

    spans: bool = True
    metrics: bool = True
    logs: bool = True
    attempts: bool = False
    max_spans: int = Field(default=1000, ge=1)
    payloads: bool = False
    redact: ImportString[Callable[[Any], Any]] | None = None
    payload_limit: int = Field(default=4096, ge=1)
    exception_messages: bool = True
    agents: frozenset[str] = frozenset()
    tools: frozenset[str] = frozenset()
    workflow_span: str = "invoke_workflow {flow}"
    node_span: str = "invoke_node {node}"
    attempt_span: str = "attempt {node}"
    tracer_provider: TracerProvider | None = None
    meter_provider: MeterProvider | None = None

    @field_validator("workflow_span", "node_span", "attempt_span")
    @classmethod
    def _is_a_template(cls, text: str) -> str:
        try:
            named = text.format(flow="flow", node="node")
        except (LookupError, ValueError, AttributeError) as exc:
            raise ValueError(f"{text!r} may have {{flow}} and {{node}} in it, and no other braces") from exc
        if not named.strip():
            raise ValueError("a span has a name: leave it out for the usual one")
        return text

    @model_validator(mode="after")
    def _redacts_something(self) -> Options:
        if self.redact is not None and not self.payloads:
            raise ValueError(
                "redact is called for payloads, and none are recorded: set payloads = true, or leave it out"
            )
        both = sorted(self.agents & self.tools)
        if both:
            raise ValueError(f"a node is an agent or a tool, not both: {', '.join(both)}")
        return self
