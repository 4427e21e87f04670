"""Nodes: every form of the decorator, every kind of callable, what annotations mean, and direct calls."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Annotated, Any, Optional

import pytest
from pydantic import BaseModel, Field

from penguiflow import (
    Context,
    FlowError,
    FlowErrorCode,
    GraphError,
    Message,
    Node,
    NodePolicy,
    Replace,
    create,
    hookimpl,
    node,
)
from tests.utils.flowtestkit import in_time, quiet, virtual_time


class Query(BaseModel):
    text: str


class Topic(BaseModel):
    name: str


async def answer(a: Node, message: Any = 1, **options: Any) -> Any:
    async with create(a, **options) as flow:
        return await flow.ask(message)


# --- the decorator --------------------------------------------------------------------------------


def test_every_form_of_the_decorator_makes_a_node():
    @node
    async def bare(x: int) -> int:
        return x

    @node()
    async def called(x: int) -> int:
        return x

    @node(name="other", timeout_s=10, max_retries=3, allow_cycle=True)
    async def given(x: int) -> int:
        return x

    policy = NodePolicy(max_retries=2)

    @node(policy=policy)
    async def with_policy(x: int) -> int:
        return x

    assert [type(made) for made in (bare, called, given, with_policy)] == [Node] * 4
    assert [made.name for made in (bare, called, given, with_policy)] == ["bare", "called", "other", "with_policy"]
    assert (given.policy.timeout_s, given.policy.max_retries, given.allow_cycle) == (10, 3, True)
    assert with_policy.policy == policy
    assert (bare.policy, bare.allow_cycle) == (NodePolicy(), False)


def test_the_defaults_of_a_policy_are_those_of_the_contract():
    policy = NodePolicy()
    assert (policy.validate, policy.timeout_s, policy.max_retries, policy.jitter) == ("both", None, 0, 0)
    assert (policy.max_concurrency, policy.per_trace_concurrency) == (None, 1)
    assert policy.retry_on is Exception


def test_a_policy_cannot_be_changed():
    with pytest.raises(AttributeError):
        NodePolicy().timeout_s = 5  # type: ignore[misc]


@pytest.mark.parametrize(
    ("mode", "bad_in", "bad_out"),
    [("both", True, True), ("in", True, False), ("out", False, True), ("none", False, False)],
)
@virtual_time
async def test_validate_says_which_side_is_checked(mode: Any, bad_in: bool, bad_out: bool):
    async def lies(query: Query) -> Topic:
        return {"no": "topic"} if isinstance(query, dict | Query) else None  # type: ignore[return-value]

    async def passes(query: Query) -> Topic:
        return Topic(name="x")

    policy = NodePolicy(validate=mode)
    for func, message, refused in ((passes, {"no": "text"}, bad_in), (lies, {"text": "x"}, bad_out)):
        if refused:
            with pytest.raises(FlowError) as caught:
                await answer(Node(func, policy=policy), message)
            assert caught.value.code == "VALIDATION"
        else:
            await answer(Node(func, policy=policy), message)


# --- direct calls ---------------------------------------------------------------------------------


class FakeContext:
    def __init__(self) -> None:
        self.emitted: list[Any] = []

    async def emit(self, message: Any) -> None:
        self.emitted.append(message)


async def test_a_node_is_called_directly_in_a_unit_test():
    @node(max_retries=3, timeout_s=0.01)
    async def double(x: int) -> int:
        return x * 2

    @node
    async def emits(x: int, ctx: Context) -> None:
        await ctx.emit(x)

    @node
    async def fails(x: int) -> None:
        raise ValueError("as it is")

    @node
    async def several(x: int) -> AsyncIterator[int]:
        for number in range(x):
            yield number

    assert await double(4) == 8
    assert await double(x=4) == 8
    unchecked: Any = "ab"
    assert str(await double(unchecked)) == "abab"
    ctx = FakeContext()
    await emits(5, ctx)  # type: ignore[arg-type]
    assert ctx.emitted == [5]
    with pytest.raises(ValueError, match="as it is"):
        await fails(1)
    assert [item async for item in several(3)] == [0, 1, 2]


@virtual_time
async def test_one_node_stands_in_several_flows_at_once():
    @node
    async def double(x: int) -> int:
        await asyncio.sleep(1)
        return x * 2

    @node
    async def text(x: int) -> str:
        return str(x)

    flows = create(double), create(double.to(text)), create(text.to(double))
    async with flows[0], flows[1], flows[2]:
        assert await asyncio.gather(*(flow.ask(3) for flow in flows)) == [6, "6", 6]


# --- callables ------------------------------------------------------------------------------------


async def scaled(factor: int, x: int, ctx: Context) -> int:
    return factor * x


class Service:
    def __init__(self, factor: int) -> None:
        self.factor = factor

    async def method(self, x: int) -> int:
        return self.factor * x

    @classmethod
    async def of_class(cls, x: int) -> str:
        return f"{cls.__name__} {x}"

    @staticmethod
    async def static(x: int, ctx: Context) -> str:
        return f"{ctx.node_name} {x}"

    async def __call__(self, query: Query) -> str:
        return query.text * self.factor


class Streams:
    async def __call__(self, x: int) -> AsyncGenerator[int, None]:
        for number in range(x):
            yield number


def logged(func: Any) -> Any:
    @functools.wraps(func)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        return ["logged", await func(*args, **kwargs)]

    wrapper.__annotations__["return"] = list
    return wrapper


async def plain(x: int, ctx: Context) -> str:
    return f"{ctx.node_name} {x}"


@pytest.mark.parametrize(
    ("func", "name", "given"),
    [
        (functools.partial(scaled, 3), "scaled", 6),
        (functools.partial(functools.partial(scaled), 3), "scaled", 6),
        (Service(3).method, "method", 6),
        (Service.of_class, "of_class", "Service 2"),
        (Service.static, "static", "static 2"),
        (logged(plain), "plain", ["logged", "plain 2"]),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
@virtual_time
async def test_partials_methods_and_decorated_functions_are_nodes(func: Any, name: str, given: Any):
    assert Node(func).name == name
    assert await answer(Node(func, name=name), 2) == given


@virtual_time
async def test_a_callable_object_is_a_node_with_its_annotations():
    made = Node(Service(2), name="service")
    assert await answer(made, {"text": "ab"}) == "abab"
    with pytest.raises(FlowError, match="takes Query"):
        await answer(made, {"no": "text"})
    assert Node(Service(2)).name == "Service"
    async with create(Node(Streams())) as flow:
        assert await flow.start(3).results() == [0, 1, 2]


@pytest.mark.parametrize("with_ctx", [False, True])
@virtual_time
async def test_an_async_generator_emits_each_item(with_ctx: bool):
    async def without(x: int) -> AsyncIterator[int]:
        for number in range(x):
            yield number

    async def wants_ctx(x: int, ctx: Context) -> AsyncIterator[int]:
        for number in range(x):
            yield number
            ctx.meta["last"] = number

    async with create(Node(wants_ctx if with_ctx else without)) as flow:
        assert await flow.start(3).results() == [0, 1, 2]
        assert await flow.start(0).results() == []


@virtual_time
async def test_a_generator_is_closed_when_it_ends_and_when_its_trace_does():
    ended = []

    async def source(x: int) -> AsyncIterator[int]:
        try:
            yield x
            await asyncio.sleep(x)
        finally:
            ended.append(x)

    async with create(Node(source)) as flow:
        assert await flow.ask(7) == 7
        with pytest.raises(FlowError):
            await flow.ask(100, timeout_s=5)
    assert ended == [7, 100]


@virtual_time
async def test_a_generator_whose_item_waits_for_room_is_closed_before_its_trace_is_over():
    ended = []

    async def source(x: int) -> AsyncIterator[int]:
        try:
            while True:
                yield x
        finally:
            await asyncio.sleep(0)
            ended.append(x)

    async def stuck(x: int):
        await asyncio.Event().wait()

    async with create(Node(source).to(Node(stuck)), queue_maxsize=1) as flow:
        handle = flow.start(7)
        await quiet()
        assert await handle.cancel()
        assert ended == [7]


@virtual_time
async def test_the_context_is_optional_whatever_it_is_called():
    async def without(x): ...

    async def second(x, c):
        return c.node_name

    async def with_default(x, ctx=None):
        return ctx.node_name

    async def extra_default(x, limit=5):
        return limit

    async def positional(x, ctx, /):
        return ctx.node_name

    given = [await answer(Node(func)) for func in (without, second, with_default, extra_default, positional)]
    assert given == [None, "second", "with_default", 5, "positional"]


# --- what a context says --------------------------------------------------------------------------


@virtual_time
async def test_a_context_says_where_it_is():
    @node
    async def last(x: int) -> int:
        return x

    @node
    async def looks(x: int, ctx: Context) -> None:
        seen.append((ctx.node_name, ctx.successors, ctx.attempt, ctx.deadline_left, ctx.resources))
        seen.append((ctx.trace_id, ctx.message.payload, ctx.meta))

    seen: list[Any] = []
    async with create(looks.to(last, Node(last.func, name="other"))) as flow:
        await flow.start(Message(payload=3, trace_id="t", meta={"k": 1})).results()
        await flow.start(3, timeout_s=5).results()
    assert seen[:2] == [("looks", ("last", "other"), 0, None, None), ("t", 3, {"k": 1})]
    assert seen[2][3] == pytest.approx(5)


# --- annotations ----------------------------------------------------------------------------------


@virtual_time
async def test_annotations_with_local_classes_are_resolved():
    class Local(BaseModel):
        number: int

    async def takes_local(x: Local) -> Local:
        return x

    async def takes_envelope(x: Message[Local]) -> Optional[Local]:  # noqa: UP045
        return x.payload

    @node(max_retries=1)
    async def decorated(x: Local | None) -> int:
        return 0 if x is None else x.number

    assert await answer(Node(takes_local), {"number": "3"}) == Local(number=3)
    assert await answer(Node(takes_envelope), {"number": 3}) == Local(number=3)
    assert await answer(decorated, {"number": 3}) == 3
    with pytest.raises(FlowError, match="takes Local"):
        await answer(Node(takes_local), {})
    with pytest.raises(GraphError, match="gives Topic, but 'takes_local' takes Local"):
        create(Node(gives_topic).to(Node(takes_local)))


async def gives_topic(x: int) -> Topic:
    return Topic(name="t")


@virtual_time
async def test_a_name_that_cannot_be_resolved_is_unknown():
    async def guess(x: NoSuchModel) -> Elsewhere.Model:  # type: ignore[name-defined]  # noqa: F821
        return x

    made = Node(guess)
    assert await answer(made, {"any": 1}) == {"any": 1}
    found = create(made).graph.node("guess")
    assert (found.takes, found.gives) == ("", "")
    assert (found.takes_type, found.gives_type) == (Any, Any)


def test_an_annotation_that_cannot_be_resolved_is_told(caplog):
    async def puzzled(x: Nowhere, ctx: Nowhere) -> int:  # type: ignore[name-defined]  # noqa: F821
        return x

    async def vague(x: int) -> list[Nowhere]:  # type: ignore[name-defined]  # noqa: F821
        return [x]

    create(Node(puzzled), Node(vague), name="f")
    assert [record.getMessage() for record in caplog.records] == [
        "node 'puzzled': the annotation 'Nowhere' can't be resolved, so its message isn't checked: "
        "import what it names at run time",
        "node 'vague': the annotation 'list[Nowhere]' can't be resolved, so what it returns isn't checked: "
        "import what it names at run time",
    ]


@virtual_time
async def test_a_node_that_returns_none_though_it_promises_something_is_told_of_once(caplog):
    async def forgets(x: int) -> str:
        if x > 5:
            return "big"

    async def ends(x: int) -> str | None:
        return None

    async def emits(x: int, ctx: Context) -> str:  # type: ignore[return]
        await ctx.emit("by hand")

    async def yields(x: int) -> AsyncIterator[str]:
        if x > 5:
            yield "big"

    async def tells(x: str) -> str:
        return x

    for func in (forgets, ends, emits, yields):
        async with create(Node(func, "it").to(Node(tells))) as flow:
            assert await flow.ask(1) == await flow.ask(1) == ("by hand" if func is emits else None)
    (told,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert told == (
        "node 'it' returned None, so nothing goes on from it, and it promises str: if that is meant, "
        "write `-> str | None`"
    )


@virtual_time
async def test_a_plugin_that_replaces_a_failure_by_none_means_it(caplog):
    class Spares:
        @hookimpl
        def on_error(self, error: FlowError) -> Replace:
            return Replace(None)

    async def fails(x: int) -> str:
        raise ValueError(x)

    assert await answer(Node(fails), plugins=[Spares()]) is None
    assert [record for record in caplog.records if record.levelname == "WARNING"] == []


def test_a_second_argument_that_can_be_no_context_is_refused():
    async def adds(x: int, y: int) -> int:
        return x + y

    with pytest.raises(TypeError, match="adds takes a second argument of int, and a node takes one message"):
        Node(adds)


def test_a_context_in_the_messages_place_is_refused():
    async def swapped(ctx: Context, x: int) -> int:
        return x

    with pytest.raises(TypeError, match=r"the message comes first: write `async def swapped\(message, ctx\)`"):
        Node(swapped)


def test_a_graph_shows_annotations_as_they_are_written():
    async def several(x: Query | None, ctx: Context) -> dict[str, list[Topic]]:
        return {}

    async def stream(x: Message[Query]) -> AsyncIterator[Topic]:
        yield Topic(name="")

    found = create(Node(several), Node(stream)).graph
    assert (found.node("several").takes, found.node("several").gives) == ("Query | None", "dict[str, list[Topic]]")
    assert (found.node("stream").takes, found.node("stream").gives) == ("Message[Query]", "Topic")


def test_a_graph_holds_the_annotations_themselves():
    async def several(x: Query | None) -> Annotated[list[Topic], []]:
        return []

    found = create(Node(several).to(Node(gives_topic, "next", NodePolicy(validate="none")))).graph
    assert found.node("several").takes_type == Query | None
    assert found.node("several").gives_type == Annotated[list[Topic], []]
    assert found.node("next").gives_type is Topic
    assert len({*found.nodes}) == 2  # what can't be hashed in an annotation is no obstacle


def test_a_node_shows_its_name():
    assert repr(Node(gives_topic)) == "<Node gives_topic>"


@pytest.mark.parametrize("gives", [Annotated[int, Field(gt=0)], str | Annotated[int, Field(gt=0)]])
@in_time
async def test_a_constraint_on_what_a_node_returns_is_checked_in_a_union_too(gives: Any):
    async def negate(x: int) -> Any:
        return -x

    negate.__annotations__["return"] = gives
    async with create(Node(negate)) as flow:
        assert await flow.ask(-1) == 1
        with pytest.raises(FlowError) as caught:
            await flow.ask(1)
    assert caught.value.code == FlowErrorCode.VALIDATION


@virtual_time
async def test_a_node_whose_function_is_exchanged_runs_the_new_one_in_flows_that_run_already():
    async def one(x: int) -> int:
        return x

    async def two(x: int, ctx: Context) -> int:
        return x

    async def ten(x: int, *_: Context) -> int:
        return 10 * x

    first, second, third = Node(one), Node(two), Node(one, "three", NodePolicy(validate="none"))
    async with create(first.to(second), second.to(third)) as flow:
        assert await flow.ask(1) == 1
        for node_ in (first, second, third):
            node_.func = ten
        assert await flow.ask(1) == 1000


def test_a_flow_knows_its_nodes_in_the_order_of_its_graph():
    async def same(x: int) -> int:
        return x

    a, b, c = (Node(same, name) for name in "abc")
    flow = create(a.to(c), c.to(b))
    assert flow.nodes == (a, c, b)
    assert [node_.name for node_ in flow.nodes] == [found.name for found in flow.graph.nodes]
