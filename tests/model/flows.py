"""Makes a flow of a shape: nodes that do what the load they are given says.

Rules: a node tells the world what it begins, makes and ends; it never judges.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from penguiflow import (
    ROOKERY,
    WM,
    Context,
    FinalAnswer,
    Message,
    Node,
    NodePolicy,
    PenguiFlow,
    RoutingRequest,
    StreamChunk,
    create,
    join_k,
    predicate_router,
    router,
    subflow,
    union_router,
)
from tests.model.loads import NOBODY, Act, Blue, Load, Red, opened
from tests.model.shapes import FlowShape, NodeShape
from tests.model.world import Visit, World

Item = Load | list | WM | FinalAnswer
TAKES: dict[str, Any] = {"load": Item, "message": Message, "red": Red, "blue": Blue, "chunk": StreamChunk}


LASTING = ("late", "hang", "swallow", "stray", "cancel", "ask", "playbook")


class Planned(Exception):
    """A node was told to fail."""


def built(world: World, shape: FlowShape) -> PenguiFlow:
    """The flow of a shape, and all in it."""
    flow = _flow(world, shape, top=True)
    world.flow = flow
    world.playbooks = [_flow(world, playbook, top=False) for playbook in shape.playbooks]
    return flow


def _flow(world: World, shape: FlowShape, top: bool) -> PenguiFlow:
    nodes = [_node(world, shape, place, top) for place in range(len(shape.nodes))]
    edges = [node.to(*(nodes[i] for i in made.successors)) for node, made in zip(nodes, shape.nodes, strict=True)]
    options: dict[str, Any] = {"plugins": world.plugins, "on_event": world.saw} if top else {}
    return create(
        *edges,
        name=shape.name,
        queue_maxsize=shape.queue,
        max_traces=shape.traces,
        allow_cycles=True,
        emit_errors_to_rookery=shape.errors,
        **options,
    )


def _node(world: World, flow: FlowShape, place: int, top: bool) -> Node[..., Any]:
    shape = flow.nodes[place]
    match shape.kind:
        case "join":
            return join_k(shape.name, shape.k, shape.join_timeout)
        case "predicate":
            return predicate_router(shape.name, _predicate(flow, place))
        case "policy":
            return router(shape.name, _policy(flow, place))
        case "union":
            return union_router(shape.name, Red | Blue)
        case "subflow":
            assert shape.inner is not None
            return subflow(shape.name, _flow(world, shape.inner, top=False))
    makers = {"plain": _plain, "generator": _generator, "controller": _controller, "sink": _sink}
    func = makers[shape.kind](world, flow, place, top)
    func.__annotations__ = {"value": TAKES[shape.takes]} if shape.takes in TAKES else {}
    return Node(func, shape.name, policy(shape))


def policy(shape: NodeShape) -> NodePolicy:
    """A node's policy."""
    return NodePolicy(
        timeout_s=shape.timeout_s,
        max_retries=shape.retries,
        backoff_base=0.25,
        max_concurrency=shape.limit,
        per_trace_concurrency=shape.lanes,
        retry_after_emit=shape.repeats,
    )


# --- routers --------------------------------------------------------------------------------------


def chosen(flow: FlowShape, place: int, load: Load) -> list[int]:
    """Where a router sends a load: back while there are rounds to go, or on as its plan chooses."""
    successors = flow.nodes[place].successors
    back = [i for i in successors if i < place]
    if back and load.depth < load.plan.rounds:
        return back
    onward = [i for i in flow.targets(place) if i > place]
    some = [i for bit, i in enumerate(onward) if load.plan.choice >> bit & 1]
    return some or onward


def _predicate(flow: FlowShape, place: int) -> Callable[[Any], Any]:
    def predicate(value):
        names = [flow.nodes[i].name for i in chosen(flow, place, opened(value, NOBODY))]
        return names if flow.targets(place) else ROOKERY

    predicate.__annotations__ = {"value": Item}
    return predicate


def _policy(flow: FlowShape, place: int) -> Callable[[RoutingRequest], Any]:
    async def select(request: RoutingRequest) -> Any:
        await asyncio.sleep(0)
        if isinstance(request.message.payload, StreamChunk):
            return [flow.nodes[i].name for i in flow.chunk_targets(place)] or ROOKERY
        names = [flow.nodes[i].name for i in chosen(flow, place, opened(request.message, NOBODY))]
        return names if flow.targets(place) else ROOKERY

    return select


# --- workers --------------------------------------------------------------------------------------


def _plain(world: World, flow: FlowShape, place: int, top: bool) -> Callable[..., Any]:
    async def plain(value, ctx):
        if isinstance(piece := _piece(value), StreamChunk):
            return piece if flow.nodes[place].passes else None
        with Visit(world, flow, place, value, ctx, top) as visit:
            for act in visit.acts:
                if act.what == "emit":
                    for _ in range(act.n):
                        await visit.emit()
                else:
                    await _do(visit, act)
            return visit.result()

    return plain


def _generator(world: World, flow: FlowShape, place: int, top: bool) -> Callable[..., Any]:
    async def generator(value, ctx):
        if isinstance(piece := _piece(value), StreamChunk):
            yield piece if flow.nodes[place].passes else None
            return
        with Visit(world, flow, place, value, ctx, top) as visit:
            for act in visit.acts:
                if act.what == "emit":
                    for _ in range(act.n):
                        yield visit.made()
                        visit.delivered()
                else:
                    await _do(visit, act)
            yield visit.result()
            visit.delivered()

    return generator


def _controller(world: World, flow: FlowShape, place: int, top: bool) -> Callable[..., Any]:
    async def controller(value, ctx):
        if isinstance(piece := _piece(value), StreamChunk):
            return piece if flow.nodes[place].passes else None
        with Visit(world, flow, place, value, ctx, top) as visit:
            plan, memory = visit.load.plan, value.payload if isinstance(value, Message) else value
            if not isinstance(memory, WM):
                memory = WM(query="", facts=[visit.load], budget_hops=plan.budget)
            if memory.hops < plan.rounds:
                return memory
            for act in visit.acts:
                if act.what == "emit":
                    for _ in range(act.n):
                        await visit.emit()
                else:
                    await _do(visit, act)
            return visit.answer() if plan.answers else visit.result()

    return controller


def _sink(world: World, flow: FlowShape, place: int, top: bool) -> Callable[..., Any]:
    async def sink(value):
        return value if flow.nodes[place].passes else None

    return sink


def _piece(value: Any) -> Any:
    return value.payload if isinstance(value, Message) else value


async def _do(visit: Visit, act: Act) -> None:
    """Everything but emitting."""
    ctx: Context = visit.ctx
    if visit.swallowed and act.what in LASTING:
        return  # it may be late, but comes out
    match act.what:
        case "sleep":
            await asyncio.sleep(act.n)
        case "late":
            await asyncio.sleep(20)
        case "mark":
            visit.mark()
        case "message":
            visit.as_message = True
        case "none":
            visit.returns_none = True
        case "fail":
            raise Planned("fail")
        case "flaky" if ctx.attempt < act.n:
            raise Planned("flaky")
        case "hang":
            await asyncio.Event().wait()
        case "swallow" | "stray":
            await _swallowed(visit, act.what)
        case "now":
            visit.emit_nowait()
        case "chunks":
            for i in range(act.n):
                await visit.chunk(None if i % 2 else "side")
        case "spend":
            ctx.spend(tokens=act.n)
        case "cancel":
            await visit.world.cancel_from_inside(ctx.trace_id)
        case "ask":
            await visit.world.nested_ask(visit)
        case "playbook":
            visit.learned(await ctx.call_playbook(visit.world.playbooks[act.n], visit.handed_down()))


async def _swallowed(visit: Visit, what: str) -> None:
    """Hang, and take no cancellation for an answer: at once, or after longer than a trace waits."""
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        visit.swallowed = True
        if what == "stray":
            try:
                await asyncio.sleep(3)
            except asyncio.CancelledError:
                await asyncio.sleep(1)
