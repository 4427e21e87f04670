"""The names that telemetry goes by: attributes, span events, metrics.

Rules: where OpenTelemetry's conventions have a name, it is theirs; `penguiflow.*` is the rest. Conventions for
generative AI change often: `gen_ai.workflow.name` is what they said before `gen_ai.agent.name`, and both are set. They
have no schema URL yet, so the instrumentation scope has none.
"""

from __future__ import annotations

from typing import Final

# conventions
ERROR_TYPE: Final = "error.type"
EXCEPTION_TYPE: Final = "exception.type"
EXCEPTION_MESSAGE: Final = "exception.message"
EXCEPTION_STACKTRACE: Final = "exception.stacktrace"
GEN_AI_OPERATION: Final = "gen_ai.operation.name"
GEN_AI_AGENT: Final = "gen_ai.agent.name"
GEN_AI_WORKFLOW: Final = "gen_ai.workflow.name"
GEN_AI_TOOL: Final = "gen_ai.tool.name"
GEN_AI_TOOL_TYPE: Final = "gen_ai.tool.type"
INVOKE_WORKFLOW: Final = "invoke_workflow"
INVOKE_AGENT: Final = "invoke_agent"
EXECUTE_TOOL: Final = "execute_tool"

# attributes
FLOW: Final = "penguiflow.flow.name"
NODE: Final = "penguiflow.node.name"
NODE_ID: Final = "penguiflow.node.id"
TRACE: Final = "penguiflow.trace.id"
MODE: Final = "penguiflow.mode"
TENANT: Final = "penguiflow.tenant"
TOPIC: Final = "penguiflow.topic"
PRIORITY: Final = "penguiflow.priority"
ITERATION: Final = "penguiflow.iteration"
ATTEMPT: Final = "penguiflow.attempt"
NEXT_ATTEMPT: Final = "penguiflow.retry.attempt"
BACKOFF: Final = "penguiflow.retry.delay"
WAIT: Final = "penguiflow.queue.wait"
OUTCOME: Final = "penguiflow.outcome"
HOPS: Final = "penguiflow.hops"
TOKENS: Final = "penguiflow.tokens"
COST: Final = "penguiflow.cost"
CHUNKS: Final = "penguiflow.chunks"
FIRST_CHUNK: Final = "penguiflow.time_to_first_chunk"
TARGETS: Final = "penguiflow.route.targets"
DECIDED_BY: Final = "penguiflow.route.decided_by"
PAYLOAD: Final = "penguiflow.payload"
SPANS_DROPPED: Final = "penguiflow.spans.dropped"

# span events
RETRY: Final = "penguiflow.retry"
EXCEPTION: Final = "exception"

# metrics
WORKFLOW_DURATION: Final = "penguiflow.workflow.duration"
NODE_DURATION: Final = "penguiflow.node.duration"
ATTEMPT_DURATION: Final = "penguiflow.attempt.duration"
QUEUE_WAIT: Final = "penguiflow.queue.wait.duration"
TIME_TO_FIRST_CHUNK: Final = "penguiflow.workflow.time_to_first_chunk"
RETRIES: Final = "penguiflow.retries"
CHUNK_COUNT: Final = "penguiflow.chunks"
ROUTES_DROPPED: Final = "penguiflow.route.dropped"
DROPPED_SPANS: Final = "penguiflow.spans.dropped"
ACTIVE_WORKFLOWS: Final = "penguiflow.workflow.active"
ACTIVE_NODES: Final = "penguiflow.node.active"
QUEUE_DEPTH: Final = "penguiflow.queue.depth"
AGENT_DURATION: Final = "gen_ai.invoke_agent.duration"
TOOL_DURATION: Final = "gen_ai.execute_tool.duration"
