"""What telemetry says of each node, worked out once.

Rules: a node is known by its id, which is the ids of what it stands in, its flow and its name: `flow/node`, or
`flow/subflow/inner/node`.
"""

from __future__ import annotations

from penguiflow import FlowEvent
from penguiflow_otel import _names as names
from penguiflow_otel._options import Options
from penguiflow_otel._scopes import NodeInfo
from penguiflow_otel._texts import clean

_MOST = 10_000  # nodes; flows that are made up as they run may have ever new names


class Infos:
    """The nodes that were seen."""

    def __init__(self, options: Options) -> None:
        self._options: Options = options
        self._known: dict[str | None, NodeInfo] = {}
        self.get = self._known.get

    def of(self, event: FlowEvent) -> NodeInfo:
        """The node of an event."""
        known = self._known.get(event.node_id)
        if known is not None:
            return known
        if len(self._known) >= _MOST:
            self._known.clear()
        info = self._known[event.node_id] = self._described(event)
        return info

    def _described(self, event: FlowEvent) -> NodeInfo:
        flow, node, node_id = event.flow_name, event.node_name or "", event.node_id or ""
        outer = node_id.removesuffix(f"/{flow}/{node}")
        outer = "" if outer == node_id else outer
        holder = self._known.get(outer)
        root = flow if not outer else holder.root if holder is not None else outer.partition("/")[0]
        span_name, convention, duration = self._convention(node, node_id)
        told = {"flow": clean(flow), "node": clean(node)}
        place = {names.FLOW: told["flow"], names.NODE: told["node"]}
        whole = {names.NODE_ID: clean(node_id)} if outer else {}
        return NodeInfo(
            node_id=node_id,
            outer=outer,
            root=root,
            span_name=clean((span_name or self._options.node_span).format(**told)),
            attempt_name=clean(self._options.attempt_span.format(**told)),
            attributes={**convention, **place, **whole, names.ITERATION: 1},
            place=place,
            completed={**place, names.OUTCOME: "completed"},
            convention=convention,
            duration=duration,
        )

    def _convention(self, node: str, node_id: str) -> tuple[str | None, dict[str, str], str | None]:
        """The name of the span, its attributes and the metric, if the conventions have something for this node."""
        mine, told = {node, node_id}, clean(node)
        if not mine.isdisjoint(self._options.agents):
            attributes = {names.GEN_AI_OPERATION: names.INVOKE_AGENT, names.GEN_AI_AGENT: told}
            return f"{names.INVOKE_AGENT} {{node}}", attributes, names.AGENT_DURATION
        if not mine.isdisjoint(self._options.tools):
            attributes = {
                names.GEN_AI_OPERATION: names.EXECUTE_TOOL,
                names.GEN_AI_TOOL: told,
                names.GEN_AI_TOOL_TYPE: "function",
            }
            return f"{names.EXECUTE_TOOL} {{node}}", attributes, names.TOOL_DURATION
        return None, {}, None
