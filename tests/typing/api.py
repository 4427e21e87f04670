"""The public API as a type checker sees it. Never run: `tests/test_typing.py` checks it with `mypy --strict`.

Where a line is wrong on purpose, an ignore says which error it must give; an ignore that isn't needed is an error too.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal, assert_type

from pydantic import BaseModel

from penguiflow import (
    HOOKS,
    ROOKERY,
    WM,
    Adjacency,
    Budget,
    Context,
    CycleError,
    Drop,
    Edge,
    Emit,
    ErrorDecision,
    Explanation,
    ExportRequest,
    FinalAnswer,
    FlowError,
    FlowErrorCode,
    FlowEvent,
    FlowStream,
    Graph,
    GraphError,
    GraphNode,
    Headers,
    HookSpecs,
    Load,
    Message,
    ModelRegistry,
    Node,
    NodeLoad,
    NodePolicy,
    PenguiFlow,
    PlanStep,
    PluginError,
    PluginRecord,
    Replace,
    Retry,
    RoutingPolicy,
    RoutingRequest,
    StreamChunk,
    Targets,
    Thought,
    TraceCancelled,
    TraceHandle,
    chunk_to_ws_json,
    compatible,
    create,
    emit_stream_events,
    format_sse_event,
    hookimpl,
    join_k,
    map_concurrent,
    node,
    predicate_router,
    router,
    stream_flow,
    subflow,
    union_router,
)
from penguiflow.testkit import PluginConformance


class Query(BaseModel):
    text: str


class Topic(BaseModel):
    name: str


# --- nodes ----------------------------------------------------------------------------------------


@node
async def bare(query: Query) -> Topic:
    return Topic(name=query.text)


@node(timeout_s=10, max_retries=3, retry_on=(OSError, TimeoutError))
async def with_fields(topic: Topic, ctx: Context) -> str:
    return topic.name


@node(policy=NodePolicy(validate="in"), name="other", allow_cycle=True)
async def with_policy(memory: WM) -> WM | FinalAnswer:
    return FinalAnswer(text="")


@node
async def several(query: Query) -> AsyncIterator[int]:
    yield 1


async def plain(message: Message[Query], ctx: Context) -> Message[Topic]:
    return message.model_copy(update={"payload": Topic(name="")})  # type: ignore[return-value]


async def nodes() -> None:
    typed: Node[[Query], Coroutine[Any, Any, Topic]] = bare
    wrong: Node[[Query], Coroutine[Any, Any, Query]] = bare  # type: ignore[assignment]
    nodes_of_a_kind: list[object] = [typed, wrong]
    assert_type(nodes_of_a_kind, list[object])
    assert_type(await bare(Query(text="x")), Topic)
    assert_type(await with_policy(WM(query="")), WM | FinalAnswer)
    assert_type(several(Query(text="")), AsyncIterator[int])
    assert_type(bare.name, str)
    assert_type(bare.policy, NodePolicy)
    assert_type(bare.to(with_fields, with_policy), Adjacency)
    assert_type(Node(plain, name="p", policy=NodePolicy(), allow_cycle=False).allow_cycle, bool)
    await bare("no query")  # type: ignore[arg-type]
    await bare()  # type: ignore[call-arg]
    bare.to("other")  # type: ignore[arg-type]
    Node("no function")  # type: ignore[arg-type]
    NodePolicy(validate="sometimes")  # type: ignore[arg-type]
    NodePolicy(timeout=5)  # type: ignore[call-arg]
    NodePolicy().timeout_s = 5  # type: ignore[misc]


# --- flows ----------------------------------------------------------------------------------------


def on_event(event: FlowEvent) -> None:
    assert_type(event.event_type, str)
    assert_type(event.trace_id, str | None)
    assert_type(event.latency_ms, float | None)
    assert_type(event.parent_invocation_ids, tuple[str, ...])
    assert_type(event.error, BaseException | None)
    assert_type(event.message, Message[Any] | None)
    assert_type(event.to_payload(), dict[str, Any])


async def on_event_later(event: FlowEvent) -> None: ...


@asynccontextmanager
async def database() -> AsyncIterator[dict[str, int]]:
    yield {}


async def flows(flow: PenguiFlow) -> None:
    made = create(bare.to(with_fields), name="f", on_event=on_event, resources=database, plugins=[Plugin()])
    assert_type(made, PenguiFlow)
    create(bare)
    create((bare, [with_fields]))
    create(bare.to())
    create(plain)  # type: ignore[arg-type]
    create(bare, queue_size=5)  # type: ignore[call-arg]
    create(bare, resources=5)  # type: ignore[arg-type]
    create(bare, on_event=5)  # type: ignore[arg-type]
    async with made as running:
        assert_type(running, PenguiFlow)
        answer: Topic = await running.ask(Query(text=""), timeout_s=5)
        await running.ask(answer, timeout_s="5")  # type: ignore[arg-type]
    made.run(registry=ModelRegistry())
    assert_type(await flow.emit(1, to=["bare", bare]), str)
    assert_type(flow.emit_nowait(1, to=bare), str)
    assert_type(await flow.emit_chunk("x", Message(payload=1)), StreamChunk)
    await flow.fetch(from_="bare")
    assert_type(await flow.cancel("t"), bool)
    assert_type(flow.explain("t"), Explanation)
    assert_type(flow.load(), Load)
    assert_type(flow.load().nodes["flow/bare"], NodeLoad)
    with flow.watch(print, event_types=("node_start",)):
        pass
    assert_type(flow.nodes, tuple[Node[..., Any], ...])
    assert_type(flow.plugins, tuple[PluginRecord, ...])
    for_known: list[str] = [
        flow.export("mermaid", direction="LR"),
        flow.export("dot"),
        flow.export("svg", theme="dark"),
        flow.export("html"),
        flow.export("json"),
        flow.export("waterfall", trace_id="t"),
    ]
    assert_type(for_known, list[str])
    assert_type(flow.export("png"), str | bytes)
    asked: str = "mermaid"
    assert_type(flow.export(asked, direction="LR"), str | bytes)
    assert_type(await flow.stop(drain_s=0), None)


async def readers(flow: PenguiFlow) -> None:
    async with flow.stream(1, timeout_s=1.5) as stream:
        assert_type(stream, FlowStream)
        async for chunk in stream:
            assert_type(chunk, StreamChunk)
    handle = flow.start(1)
    assert_type(handle, TraceHandle)
    assert_type(handle.trace_id, str)
    assert_type(await handle.results(), list[Any])
    assert_type(await handle.cancel(), bool)
    async for item in handle:
        assert_type(item, Any)


def graphs(graph: Graph) -> None:
    assert_type(graph.nodes, tuple[GraphNode, ...])
    assert_type(graph.edges, tuple[Edge, ...])
    assert_type(graph.node("a").subgraph, Graph | None)
    assert_type(graph.successors("a"), tuple[str, ...])
    graph.name = "other"  # type: ignore[misc]


# --- contexts -------------------------------------------------------------------------------------


async def contexts(ctx: Context, flow: PenguiFlow) -> None:
    assert_type(await ctx.emit(1, to=ROOKERY), None)
    ctx.emit_nowait(1, to=[bare, "other"])
    assert_type(await ctx.emit_chunk("x", done=True, meta={}), StreamChunk)
    await ctx.emit_chunk(5)  # type: ignore[arg-type]
    assert_type(ctx.message, Message[Any])
    assert_type(ctx.meta, dict[str, Any])
    assert_type(ctx.attempt, int)
    assert_type(ctx.deadline_left, float | None)
    assert_type(ctx.successors, tuple[str, ...])
    ctx.spend(tokens=1, cost=0.5)
    ctx.spend(1)  # type: ignore[call-arg]
    await ctx.call_playbook(flow, 1, timeout=5)
    await ctx.call_playbook(lambda: (flow, ModelRegistry()), 1)


# --- data -----------------------------------------------------------------------------------------


def data(message: Message[Query], untyped: Message) -> None:
    assert_type(message.payload, Query)
    assert_type(untyped.payload, Any)
    assert_type(Message(payload=Query(text="")), Message[Query])
    assert_type(message.headers, Headers)
    assert_type(message.deadline_s, float | None)
    assert_type(message.budget, Budget | None)
    assert_type(WM(query="").budget_hops, int | None)
    assert_type(Thought(steps=[PlanStep(kind="sql")], rationale="").done, bool)
    assert_type(StreamChunk(stream_id="s", seq=0, text="x").meta, dict[str, Any])
    Message[Query](payload=Topic(name=""))  # type: ignore[arg-type]
    Headers(tenant=5)  # type: ignore[arg-type]
    PlanStep(kind="dance")  # type: ignore[arg-type]


# --- errors ---------------------------------------------------------------------------------------


def errors(error: FlowError) -> None:
    assert_type(error.code, FlowErrorCode | str)
    assert_type(error.original_exc, BaseException | None)
    assert_type(error.unwrap(), BaseException | None)
    assert_type(error.metadata, dict[str, Any])
    assert_type(error.to_payload(), dict[str, Any])
    cancelled: FlowError = TraceCancelled("t")
    graph: ValueError = CycleError(["a loop"])
    assert_type(GraphError(["x"]).problems, tuple[str, ...])
    assert_type(PluginError(["x"]).problems, tuple[str, ...])
    kind: Literal[FlowErrorCode.ROUTING] = FlowErrorCode.ROUTING
    FlowError(code=kind, message="text", original_exc=graph, metadata={"k": cancelled})
    FlowError("text")  # type: ignore[call-arg]


# --- plugins --------------------------------------------------------------------------------------


class Plugin:
    @hookimpl
    def on_event(self, event: FlowEvent) -> None: ...

    @hookimpl
    async def resolve_route(self, request: RoutingRequest) -> Sequence[str] | None:
        assert_type(request.message, Message[Any])
        assert_type(request.proposed, tuple[Node[..., Any], ...])
        assert_type(request.proposed_names, tuple[str, ...])
        return None

    @hookimpl
    def on_error(self, error: FlowError) -> Retry | Replace | Emit | Drop | None:
        return Retry(after_s=1.5)

    @hookimpl
    def export_graph(self, request: ExportRequest) -> str | None:
        assert_type(request.graph, Graph)
        return None


class Specs(HookSpecs):
    @hookimpl
    async def resolve_route(self, request: RoutingRequest) -> Targets:
        return [bare, HOOKS[0]]

    @hookimpl
    def on_error(self, error: FlowError) -> ErrorDecision | None:
        return "retry"  # type: ignore[return-value]


class TestPlugin(PluginConformance):
    entry_point = "plugin"
    options = {"level": 3}
    on_event_us = "quick"  # type: ignore[assignment]


class Policy:
    async def select(self, request: RoutingRequest) -> str:
        return "a"


# --- helpers --------------------------------------------------------------------------------------


async def helpers(flow: PenguiFlow, ctx: Context) -> None:
    async def length(text: str) -> int:
        return len(text)

    async def words() -> AsyncIterator[str]:
        yield ""

    policy: RoutingPolicy = Policy()
    assert_type(await map_concurrent(["a"], length, max_concurrency=2), list[int])
    await map_concurrent([1], length)  # type: ignore[arg-type]
    assert_type(join_k("j", 2, timeout_s=5), Node[..., Any])
    assert_type(predicate_router("p", lambda message: ["a"], policy=policy), Node[..., Any])
    assert_type(union_router("u", Query | Topic, policy=policy), Node[..., Any])
    assert_type(router("r", policy=policy), Node[..., Any])
    assert_type(subflow("s", flow), Node[..., Any])
    subflow("s", bare)  # type: ignore[arg-type]
    assert_type(format_sse_event(StreamChunk(stream_id="s", seq=0, text=""), event_name="e", retry_ms=5), str)
    assert_type(compatible(int | None, str), bool)
    assert_type(chunk_to_ws_json(StreamChunk(stream_id="s", seq=0, text=""), extra={}), str)
    async for item in stream_flow(flow, 1, timeout=5, include_final=True):
        assert_type(item, Any)
    await emit_stream_events(words(), ctx, ctx.message, to="a", final_meta={})
