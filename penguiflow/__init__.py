"""PenguiFlow: a tiny, async-only orchestration kernel for agent and data flows.

from penguiflow import create, node

@node
async def greet(name: str) -> str:
    return f"Hello, {name}!"

async with create(greet) as flow:
    print(await flow.ask("penguin"))

PYTEST_DONT_REWRITE: pytest, which treats all of a plugin's distribution so, needn't explain the kernel's assertions.
"""

import importlib
import typing

from penguiflow._context import Context
from penguiflow._create import DEFAULT_MAX_TRACES, DEFAULT_QUEUE_MAXSIZE, create
from penguiflow._errors import (
    CycleError,
    FlowError,
    FlowErrorCode,
    FlowStateError,
    GraphError,
    PluginError,
    TraceCancelled,
)
from penguiflow._events import EVENT_TYPES, FlowEvent
from penguiflow._flow import PenguiFlow
from penguiflow._graph import Edge, Graph, GraphNode
from penguiflow._handle import FlowStream, TraceHandle
from penguiflow._hooks import (
    HOOKS,
    Drop,
    Emit,
    ErrorDecision,
    ExportRequest,
    HookSpecs,
    Replace,
    Retry,
    RoutingPolicy,
    RoutingRequest,
    Targets,
    hookimpl,
)
from penguiflow._loading import PluginRecord
from penguiflow._messages import Budget, Headers, Message, StreamChunk
from penguiflow._models import WM, FinalAnswer
from penguiflow._node import OPEN_SEA, ROOKERY, Adjacency, Node, NodePolicy, node
from penguiflow._patterns import join_k, map_concurrent, predicate_router, router, subflow, union_router
from penguiflow._registry import ModelRegistry
from penguiflow._streaming import chunk_to_ws_json, emit_stream_events, format_sse_event, stream_flow
from penguiflow._types import compatible

if typing.TYPE_CHECKING:
    from penguiflow._explain import Explanation
    from penguiflow._load import Load, NodeLoad
    from penguiflow._planning import PlanStep, Thought

__version__ = "2.0.0"

__all__ = [
    "DEFAULT_MAX_TRACES",
    "DEFAULT_QUEUE_MAXSIZE",
    "EVENT_TYPES",
    "HOOKS",
    "OPEN_SEA",
    "ROOKERY",
    "WM",
    "Adjacency",
    "Budget",
    "Context",
    "CycleError",
    "Drop",
    "Edge",
    "Emit",
    "ErrorDecision",
    "Explanation",
    "ExportRequest",
    "FinalAnswer",
    "FlowError",
    "FlowErrorCode",
    "FlowEvent",
    "FlowStateError",
    "FlowStream",
    "Graph",
    "GraphError",
    "GraphNode",
    "Headers",
    "HookSpecs",
    "Load",
    "Message",
    "ModelRegistry",
    "Node",
    "NodeLoad",
    "NodePolicy",
    "PenguiFlow",
    "PlanStep",
    "PluginError",
    "PluginRecord",
    "Replace",
    "Retry",
    "RoutingPolicy",
    "RoutingRequest",
    "StreamChunk",
    "Targets",
    "Thought",
    "TraceCancelled",
    "TraceHandle",
    "__version__",
    "chunk_to_ws_json",
    "compatible",
    "create",
    "emit_stream_events",
    "format_sse_event",
    "hookimpl",
    "join_k",
    "map_concurrent",
    "node",
    "predicate_router",
    "router",
    "stream_flow",
    "subflow",
    "union_router",
]

# Most programs never name these: their modules are imported when one does.
_LATER = {
    "Explanation": "_explain",
    "Load": "_load",
    "NodeLoad": "_load",
    "PlanStep": "_planning",
    "Thought": "_planning",
}


def __getattr__(name: str) -> object:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(importlib.import_module(f"{__name__}.{_LATER[name]}"), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
