"""Law 8: a node takes and returns payload or message as it likes; the envelope survives both."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import BaseModel

from penguiflow import (
    Budget,
    Context,
    Headers,
    Message,
    Node,
    create,
    join_k,
    node,
    predicate_router,
    subflow,
)
from tests.utils.flowtestkit import clock, virtual_time


class Query(BaseModel):
    text: str


def enveloped(payload: Any, **changes: Any) -> Message[Any]:
    fields = {
        "payload": payload,
        "headers": Headers(tenant="zoo", topic="birds", priority=3),
        "trace_id": "trace-1",
        "deadline_s": time.time() + 1000,
        "meta": {"k": "v"},
        "budget": Budget(hops=50, tokens=9, cost=1.5),
    }
    return Message(**{**fields, **changes})


def keep(seen: list[Any]) -> Node:
    async def last(message: Message) -> Message:
        seen.append(message)
        return message

    return Node(last)


# --- what a node is given -------------------------------------------------------------------------


async def takes_model(query: Query) -> Any:
    return type(query)


async def takes_message(message: Message) -> Any:
    return type(message), type(message.payload)


async def takes_message_of_model(message: Message[Query]) -> Any:
    return isinstance(message, Message), type(message.payload)


async def takes_anything(value: Any) -> Any:
    return type(value)


async def says_nothing(value):
    return type(value)


@pytest.mark.parametrize(
    ("func", "payload", "given"),
    [
        (takes_model, Query(text="x"), Query),
        (takes_model, {"text": "x"}, Query),
        (takes_message, {"text": "x"}, (Message, dict)),
        (takes_message_of_model, Query(text="x"), (True, Query)),
        (takes_message_of_model, {"text": "x"}, (True, Query)),
        (takes_anything, {"text": "x"}, dict),
        (says_nothing, {"text": "x"}, dict),
    ],
)
@virtual_time
async def test_a_node_takes_what_its_annotation_says(func: Any, payload: Any, given: Any):
    async with create(Node(func)) as flow:
        assert await flow.ask(payload) == given
        answer = await flow.ask(Message(payload=payload))
        unannotated = func in (says_nothing, takes_anything)
        assert answer.payload is Message if unannotated else answer.payload == given


@pytest.mark.parametrize("returned", [7, Message(payload=7)], ids=["payload", "message"])
@virtual_time
async def test_without_an_annotation_a_node_takes_what_its_predecessor_returned_as_it_was(returned: Any):
    async def first(x: int):
        return returned

    async def second(value):
        return type(value)

    async with create(Node(first).to(Node(second))) as flow:
        assert await flow.ask(1) is type(returned)


@virtual_time
async def test_a_message_subclass_is_an_annotation_too():
    class Letter(Message[int]):
        stamp: str = "penguin"

    async def reads(letter: Letter) -> str:
        return f"{letter.stamp} {letter.payload}"

    async with create(Node(reads)) as flow:
        assert await flow.ask(3) == "penguin 3"
        assert (await flow.ask(Letter(payload=3, stamp="seal"))).payload == "seal 3"


@pytest.mark.parametrize("payload", [0, "", False, [], {}], ids=repr)
@virtual_time
async def test_a_falsy_payload_is_a_payload(payload: Any):
    async def same(value):
        return value

    async with create(Node(same, name="a").to(Node(same, name="b"))) as flow:
        assert await flow.ask(payload) == payload
        assert (await flow.ask(Message(payload=payload))).payload == payload


@virtual_time
async def test_a_bare_payload_gets_an_envelope_of_its_trace():
    async def look(x: int, ctx: Context) -> Any:
        return ctx.message.trace_id == ctx.trace_id, ctx.message.payload, ctx.message.headers, ctx.message.meta

    async with create(Node(look)) as flow:
        assert await flow.ask(3) == (True, 3, Headers(), {})


# --- what survives --------------------------------------------------------------------------------


async def returns_payload(query: Query) -> Query:
    return Query(text=query.text)


async def returns_new_message(query: Query) -> Message[Query]:
    return Message(payload=query)


async def returns_its_message(message: Message[Query]) -> Message[Query]:
    return message


async def returns_a_copy(message: Message[Query]) -> Message[Query]:
    return message.model_copy(update={"payload": Query(text="copy")})


async def emits_payload(query: Query, ctx: Context) -> None:
    await ctx.emit(query)


async def emits_message(query: Query, ctx: Context) -> None:
    ctx.emit_nowait(Message(payload=query))


async def yields_message(query: Query) -> AsyncIterator[Message[Query]]:
    yield Message(payload=query)


MIDDLES = [
    Node(func, name="middle")
    for func in (
        returns_payload,
        returns_new_message,
        returns_its_message,
        returns_a_copy,
        emits_payload,
        emits_message,
        yields_message,
    )
]
NESTED = [
    subflow("inner", create(Node(returns_payload))),
    subflow("inner", create(Node(returns_new_message))),
    predicate_router("inner", lambda message: "last"),
]
SAME = ("trace_id", "headers", "deadline_s", "budget", "meta")


@pytest.mark.parametrize("middle", [*MIDDLES, *NESTED], ids=lambda n: f"{n.name}-{n.func.__name__}")
@virtual_time
async def test_the_envelope_survives_a_node(middle: Node):
    seen: list[Any] = []
    sent = enveloped(Query(text="x"))
    async with create(middle.to(keep(seen))) as flow:
        answer = await flow.ask(sent)
    for message in (*seen, answer):
        kept = {name: getattr(message, name) for name in SAME}
        assert kept.pop("deadline_s") == pytest.approx(sent.deadline_s, abs=1)
        assert kept == {name: getattr(sent, name) for name in SAME if name != "deadline_s"}


@virtual_time
async def test_a_returned_message_cannot_leave_its_trace_or_its_limits():
    async def forges(x: int) -> Message[int]:
        return enveloped(x, trace_id="other", budget=None, deadline_s=None)

    seen: list[Any] = []
    sent = enveloped(1)
    async with create(Node(forges).to(keep(seen))) as flow:
        await flow.ask(sent)
    assert (seen[0].trace_id, seen[0].budget) == (sent.trace_id, sent.budget)
    assert seen[0].deadline_s is not None


@virtual_time
async def test_headers_that_a_node_sets_travel_on():
    async def retitles(message: Message[int]) -> Message[int]:
        return message.model_copy(update={"headers": Headers(topic="seals")})

    async def passes(x: int) -> int:
        return x

    async with create(Node(retitles).to(Node(passes))) as flow:
        assert (await flow.ask(enveloped(1))).headers == Headers(topic="seals")


@virtual_time
async def test_meta_that_a_node_adds_or_writes_travels_with_what_is_already_there():
    async def adds(x: int) -> Message[int]:
        return Message(payload=x, meta={"added": 1})

    async def writes(x: int, ctx: Context) -> int:
        ctx.meta["written"] = 2
        return x

    async def edits(message: Message[int]) -> Message[int]:
        message.meta["edited"] = 3
        return message

    second = Node(writes)
    async with create(Node(adds).to(second), second.to(Node(edits))) as flow:
        answer = await flow.ask(enveloped(1))
    assert answer.meta == {"k": "v", "added": 1, "written": 2, "edited": 3}


@virtual_time
async def test_the_callers_message_stays_his():
    async def writes(message: Message[int], ctx: Context) -> Message[int]:
        message.meta["mine"] = ctx.meta["too"] = True
        message.payload = 99
        return message

    sent = enveloped(1)
    async with create(Node(writes)) as flow:
        answer = await flow.ask(sent)
    assert (sent.payload, sent.meta) == (1, {"k": "v"})
    assert answer.meta == {"k": "v", "mine": True, "too": True}


@virtual_time
async def test_meta_written_after_an_emit_does_not_reach_what_was_emitted():
    seen: list[Any] = []

    async def source(x: int, ctx: Context) -> int:
        ctx.meta["when"] = "before"
        await ctx.emit(x)
        ctx.meta["when"] = "after"
        return x

    async with create(Node(source).to(keep(seen))) as flow:
        await flow.start(enveloped(1)).results()
    assert [message.meta["when"] for message in seen] == ["before", "after"]


@pytest.mark.parametrize("how", ["results", "read", "fetch", "subflow"])
@virtual_time
async def test_meta_written_after_an_emit_does_not_reach_what_has_left(how: str):
    async def says(x: str, ctx: Context) -> str:
        await ctx.emit(Message(payload="early") if how == "fetch" else "early")
        ctx.meta["late"] = True
        return "last"

    flow = create(Node(says))
    if how == "subflow":
        flow = create(subflow("sub", create(Node(says), name="inner")).to(keep([])))
    async with flow:
        if how == "fetch":
            await flow.emit(enveloped("x"))
            left = [await flow.fetch()]
        else:
            handle = flow.start(enveloped("x"))
            left = [item async for item in handle] if how == "read" else await handle.results()
        assert (left[0].payload, left[0].meta) == ("early", {"k": "v"})
        assert how == "fetch" or (left[1].payload, left[1].meta) == ("last", {"k": "v", "late": True})


@virtual_time
async def test_what_a_playbook_writes_to_meta_is_found_in_the_callers():
    async def inner(x: int, ctx: Context) -> int:
        ctx.meta["inner"] = ctx.message.meta["k"]
        return x + 1

    async def outer(x: int, ctx: Context) -> int:
        return await ctx.call_playbook(create(Node(inner)), x)

    async with create(Node(outer)) as flow:
        answer = await flow.ask(enveloped(1))
    assert (answer.payload, answer.meta) == (2, {"k": "v", "inner": "v"})


# --- branches and joins ---------------------------------------------------------------------------


def branches(*names: str) -> list[Node]:
    def make(name: str) -> Node:
        async def branch(x: int, ctx: Context) -> str:
            ctx.meta["who"] = name
            ctx.meta[name] = sorted(ctx.meta)
            return name

        return Node(branch, name=name)

    return [make(name) for name in names]


@node
async def fan(x: int) -> int:
    return x


@virtual_time
async def test_meta_is_copied_for_each_branch():
    b, c = branches("b", "c")
    async with create(fan.to(b, c)) as flow:
        one, two = await flow.start(enveloped(1)).results()
    assert one.meta == {"k": "v", "who": "b", "b": ["k", "who"]}
    assert two.meta == {"k": "v", "who": "c", "c": ["k", "who"]}


@virtual_time
async def test_meta_is_copied_for_each_entry():
    b, c = branches("b", "c")
    async with create(b, c) as flow:
        one, two = await flow.start(enveloped(1)).results()
    assert ("c" in one.meta, "b" in two.meta) == (False, False)


@virtual_time
async def test_a_join_merges_meta_in_input_order_and_the_later_wins():
    async def slow(x: int, ctx: Context) -> str:
        await asyncio.sleep(5)
        ctx.meta.update(who="slow", slow=clock())
        return "slow"

    first, (second,), both = Node(slow), branches("quick"), join_k("both", 2)
    async with create(fan.to(first, second), first.to(both), second.to(both)) as flow:
        answer = await flow.ask(enveloped(1))
    assert answer.payload == ["slow", "quick"]
    assert answer.meta["who"] == "quick"
    assert set(answer.meta) == {"k", "who", "slow", "quick"}
    assert (answer.trace_id, answer.headers.tenant) == ("trace-1", "zoo")
