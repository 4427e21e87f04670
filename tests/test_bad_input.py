"""Bad input: each mistake is a specific exception whose text says what is wrong and what to do next."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from penguiflow import (
    Context,
    FlowError,
    FlowErrorCode,
    FlowStateError,
    GraphError,
    Message,
    ModelRegistry,
    Node,
    NodePolicy,
    PenguiFlow,
    create,
    join_k,
    node,
    predicate_router,
    router,
    subflow,
    union_router,
)
from tests.utils.flowtestkit import Recorder, quiet, virtual_time
from tests.utils.labels import label


class Query(BaseModel):
    text: str
    count: int = 0


@node
async def same(x: Any) -> Any:
    return x


@node
async def strict(query: Query) -> str:
    return query.text


async def failing(flow: PenguiFlow, message: Any = 1, **options: Any) -> FlowError:
    with pytest.raises(FlowError) as caught:
        await flow.ask(message, **options)
    return caught.value


# --- payloads -------------------------------------------------------------------------------------


@pytest.mark.parametrize("message", [{"wrong": 1}, Message(payload={"wrong": 1}), 5, None], ids=label)
@virtual_time
async def test_a_payload_that_fails_its_model_says_which_node_takes_what(message: Any):
    async with create(strict) as flow:
        error = await failing(flow, message)
    assert (error.code, error.node_name) == (FlowErrorCode.VALIDATION, "strict")
    assert str(error).startswith("node 'strict' takes Query, and this ")
    assert isinstance(error.original_exc, ValidationError)


@virtual_time
async def test_every_complaint_is_counted_and_the_first_is_quoted():
    async with create(strict) as flow:
        text = str(await failing(flow, {"count": "many"}))
    assert "text: Field required (and 1 more)" in text


@virtual_time
async def test_what_fails_its_model_is_not_retried():
    recorder = Recorder()
    picky = Node(strict.func, name="picky", policy=NodePolicy(max_retries=5))
    async with create(picky, on_event=recorder) as flow:
        assert (await failing(flow, {})).code == FlowErrorCode.VALIDATION
    assert recorder.of("node_retry") == []


@virtual_time
async def test_what_a_node_returns_is_checked_against_what_it_promises():
    async def lies(x: int) -> Query:
        return {"wrong": 1}  # type: ignore[return-value]

    async with create(Node(lies)) as flow:
        error = await failing(flow)
    assert error.code == FlowErrorCode.VALIDATION
    assert "node 'lies' returned dict, which isn't what it promises: text: Field required" in str(error)


@virtual_time
async def test_a_node_that_returns_what_it_should_have_awaited_is_told_so():
    async def fetched(x: int) -> int:
        return x

    async def hurries(x: int) -> int:
        unawaited.append(fetched(x))
        return unawaited[0]  # type: ignore[return-value]

    unawaited: list[Coroutine[Any, Any, int]] = []
    async with create(Node(hurries)) as flow:
        error = await failing(flow)
    assert "node 'hurries' returned coroutine, which isn't what it promises: it lacks an `await`: " in str(error)
    assert await unawaited[0] == 1


@virtual_time
async def test_several_outputs_where_one_was_asked_for_name_the_nodes_that_lead_out():
    async def one(x: int) -> int:
        return x

    fan, left, right = (Node(one, name=name) for name in ("fan", "left", "right"))
    async with create(fan.to(left, right)) as flow:
        with pytest.raises(ValueError, match=r"left 2 outputs, and one was asked for: .*join_k .*'left', 'right'"):
            await flow.ask(1)


# --- unknown targets ------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["nobody", ["same", "nobody"], Node(strict.func, name="nobody")], ids=label)
@virtual_time
async def test_an_unknown_target_of_an_emit_is_a_routing_error_that_lists_the_successors(target: Any):
    recorder = Recorder()

    async def lost(x: int, ctx: Context):
        await ctx.emit(x, to=target)

    async def lost_nowait(x: int, ctx: Context):
        ctx.emit_nowait(x, to=target)

    for func in (lost, lost_nowait):
        source = Node(func, policy=NodePolicy(max_retries=3))
        async with create(source.to(same), on_event=recorder) as flow:
            error = await failing(flow)
        assert (error.code, error.node_name) == (FlowErrorCode.ROUTING, source.name)
        assert f"'{source.name}' has no successor 'nobody': it leads to same, Rookery" in str(error)
    assert "same" not in recorder.runs()
    assert recorder.of("node_retry") == []


@virtual_time
async def test_a_mistyped_successor_is_told_with_the_one_that_is_meant():
    async def lost(x: int, ctx: Context):
        await ctx.emit(x, to="smae")

    async with create(Node(lost).to(same)) as flow:
        assert str(await failing(flow)).endswith("it leads to same, Rookery: did you mean 'same'?")


@virtual_time
async def test_another_node_of_a_successors_name_is_no_successor():
    impostor = Node(strict.func, name="same")

    async def lost(x: int, ctx: Context):
        await ctx.emit(x, to=impostor)

    async with create(Node(lost).to(same)) as flow:
        assert (await failing(flow)).code == FlowErrorCode.ROUTING


@pytest.mark.parametrize("target", ["nobody", strict, ["same", "nobody"], "Rookery"], ids=label)
@virtual_time
async def test_an_unknown_place_to_enter_at_is_a_value_error_that_lists_the_nodes(target: Any):
    async with create(same, name="zoo") as flow:
        refused = pytest.raises(ValueError, match=r"flow 'zoo' has no node '\w+': it has same")
        with refused:
            await flow.emit(1, to=target)
        with refused:
            flow.emit_nowait(1, to=target)
        with refused:
            await flow.fetch(from_=target)


@pytest.mark.parametrize("answer", ["nobody", strict, [same, "nobody"], 5], ids=label)
@virtual_time
async def test_a_router_that_names_no_successor_fails_the_message_and_says_which_there_are(answer: Any):
    for choose in (predicate_router("choose", lambda m: answer), router("choose", lambda request: answer)):
        async with create(choose.to(same)) as flow:
            error = await failing(flow)
        assert (error.code, error.node_name) == (FlowErrorCode.ROUTING, "choose")
        if answer != 5:
            assert "it leads to same, Rookery" in str(error)


# --- graphs and nodes -----------------------------------------------------------------------------


def test_names_that_two_nodes_share_are_reported_by_create():
    with pytest.raises(GraphError, match=r"2 nodes are named 'same': give each its own"):
        create(same.to(Node(same.func, name="same")))


@pytest.mark.parametrize("thing", [len, same.func, "same", None, (same, "x"), [same]], ids=label)
def test_what_is_no_node_is_refused_by_create(thing: Any):
    with pytest.raises(TypeError, match=r"(create\(\) takes nodes and a\.to\(b, \.\.\.\)|wrap it in Node)"):
        create(thing)


def test_what_is_no_node_is_refused_by_to():
    with pytest.raises(TypeError, match=r"'same' can only lead to nodes, not to .*: wrap it in Node"):
        same.to(strict.func)  # type: ignore[arg-type]


def sync(message):
    return message


def sync_generator(message):
    yield message


async def nothing(): ...


async def three(message, ctx, more): ...


async def keyword_only(message, *, needed): ...


async def only_keywords(*, message): ...


class Callable_:
    def __call__(self, message):
        return message


@pytest.mark.parametrize(
    ("func", "text"),
    [
        (sync, r"node 'sync': sync is not async: write `async def sync\(message, ctx\)`, and .* asyncio.to_thread"),
        (sync_generator, r"sync_generator is not async: write `async def"),
        (lambda message: message, r"is not async: write `async def"),
        (Callable_(), r"is not async: write `async def"),
        (len, r"is not async: write `async def"),
        (nothing, r"nothing takes nothing: write `async def nothing\(message\)`"),
        (three, r"three takes message, ctx, more: write `async def three\(message\)` or .*\(message, ctx\)`"),
        (keyword_only, r"keyword_only takes message, needed: write"),
        (only_keywords, r"only_keywords takes message: write"),
        (Query, r"Query is a class: give the node an async function"),
        (5, r"needs an async function, not 5"),
        ("same", r"needs an async function, not 'same'"),
    ],
    ids=label,
)
def test_a_wrong_node_function_is_a_type_error_that_shows_the_right_line(func: Any, text: str):
    with pytest.raises(TypeError, match=text):
        Node(func)
    with pytest.raises(TypeError, match=text):
        node(func)
    with pytest.raises(TypeError, match=text):
        node(timeout_s=5)(func)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("", "a node's name is a non-empty string, not ''"),
        ("  ", "non-empty string"),
        (5, "non-empty string, not 5"),
        ("OpenSea", "'OpenSea' is where messages enter or leave a flow: give the node another name"),
        ("Rookery", "give the node another name"),
    ],
)
def test_a_wrong_name_is_a_value_error(name: Any, text: str):
    with pytest.raises(ValueError, match=text):
        Node(same.func, name=name)
    with pytest.raises(ValueError, match=text):
        join_k(name, 2)
    with pytest.raises(ValueError, match=text):
        router(name)


@pytest.mark.parametrize("name", ["", " ", 5, None])
def test_a_wrong_flow_name_is_a_value_error(name: Any):
    with pytest.raises(ValueError, match="a flow's name is a non-empty string, not"):
        create(same, name=name)


# --- chunks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "kind", "text"),
    [
        ({"text": 5}, TypeError, "a chunk's text is a str, not int"),
        ({"text": None}, TypeError, "convert it first"),
        ({"text": "x", "seq": -1}, ValueError, "seq counts chunks from 0, and -1 is no such number"),
        ({"text": "x", "seq": 1.5}, ValueError, "leave it out to count on"),
        ({"text": "x", "parent": Message(payload=1)}, ValueError, "leave it out"),
    ],
    ids=label,
)
@virtual_time
async def test_a_wrong_chunk_is_refused_and_takes_no_number(arguments: dict[str, Any], kind: type, text: str):
    async def speak(x: int, ctx: Context):
        with pytest.raises(kind, match=text):
            await ctx.emit_chunk(**arguments)
        assert (await ctx.emit_chunk("x")).seq == 0

    async with create(Node(speak)) as flow:
        await flow.ask(1)


# --- the rest of the parts ------------------------------------------------------------------------


def test_parts_of_the_wrong_kind_are_refused():
    with pytest.raises(TypeError, match="router 'r': the predicate is a function of the message, not 5"):
        predicate_router("r", 5)  # type: ignore[arg-type]
    for make in (
        lambda policy: router("r", policy),
        lambda policy: union_router("r", int | str, policy),
        lambda policy: predicate_router("r", lambda m: None, policy),
    ):
        with pytest.raises(TypeError, match=r"router 'r': a policy has a method select\(request\) or is a function"):
            make(5)
    with pytest.raises(TypeError, match="subflow 's' takes a flow, as create"):
        subflow("s", same)  # type: ignore[arg-type]


@virtual_time
async def test_a_registry_of_unknown_nodes_is_refused_with_those_there_are():
    registry = ModelRegistry()
    registry.register("same", int, int)
    with pytest.raises(ValueError, match="the models of 'same' are registered already"):
        registry.register("same", int, int)
    registry.register("nobody", int, int)
    flow = create(same, name="zoo")
    with pytest.raises(ValueError, match="the registry has models for 'nobody', but 'zoo' has same"):
        flow.run(registry)
    assert not flow.running
    async with flow:
        assert await flow.ask(1) == 1


async def make_flow() -> PenguiFlow:
    return create(same)


@pytest.mark.parametrize(
    ("playbook", "text"),
    [
        (5, "a playbook is a flow or a function that returns one, not 5"),
        (lambda: 5, "a playbook is a flow or a function that returns one, not 5"),
        (lambda: (create(same), 5), "registry"),
        (make_flow, "write `def`, not `async def`"),
    ],
)
@virtual_time
async def test_what_is_no_playbook_is_refused(playbook: Any, text: str):
    async def calls(x: int, ctx: Context):
        await ctx.call_playbook(playbook, x)

    async with create(Node(calls)) as flow:
        error = await failing(flow)
    assert isinstance(error.original_exc, TypeError)
    assert text in str(error)


@virtual_time
async def test_a_context_is_of_no_use_after_its_trace():
    kept: list[Context] = []

    async def keeps(x: int, ctx: Context):
        kept.append(ctx)

    async with create(Node(keeps).to(same)) as flow:
        await flow.ask(1)
        for call in (
            lambda ctx: ctx.emit(1),
            lambda ctx: asyncio.sleep(0, ctx.emit_nowait(1)),
            lambda ctx: ctx.emit_chunk("x"),
            lambda ctx: ctx.call_playbook(create(same), 1),
        ):
            with pytest.raises(FlowStateError, match="has completed: a context is of no use after its trace"):
                await call(kept[0])
        await quiet()
