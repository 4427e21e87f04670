"""The ready-made routers, and `map_concurrent`."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from penguiflow import (
    ROOKERY,
    FlowError,
    FlowErrorCode,
    Message,
    Node,
    RoutingPolicy,
    RoutingRequest,
    TraceCancelled,
    create,
    map_concurrent,
    predicate_router,
    router,
    union_router,
)
from tests.utils.flowtestkit import Recorder, clock, quiet, virtual_time


class Web(BaseModel):
    kind: Literal["web"] = "web"
    url: str


class Sql(BaseModel):
    kind: Literal["sql"] = "sql"
    query: str


class Special(Web):
    pass


def sink(name: str, annotation: Any = None) -> Node:
    async def run(x):
        return name

    if annotation is not None:
        run.__annotations__["x"] = annotation
    return Node(run, name=name)


A, B, C = sink("a"), sink("b"), sink("c")


async def reached(choose: Node, message: Any = 1, sinks: tuple[Node, ...] = (A, B, C)) -> list[Any]:
    async with create(choose.to(*sinks)) as flow:
        results: list[Any] = await flow.start(message).results()
        return results


# --- map_concurrent -------------------------------------------------------------------------------


@virtual_time
async def test_map_concurrent_gives_results_in_the_order_of_the_items():
    async def worker(seconds: int) -> str:
        await asyncio.sleep(seconds)
        return f"{seconds}s"

    assert await map_concurrent([3, 1, 2], worker) == ["3s", "1s", "2s"]
    assert clock() == pytest.approx(1003)
    assert await map_concurrent([], worker) == []
    assert await map_concurrent((n for n in (1, 1)), worker, max_concurrency=1) == ["1s", "1s"]


@pytest.mark.parametrize(("limit", "most"), [(1, 1), (3, 3), (100, 20)])
@virtual_time
async def test_map_concurrent_runs_so_many_at_a_time(limit: int, most: int):
    running = peak = 0

    async def worker(x: int) -> int:
        nonlocal running, peak
        running += 1
        peak = max(peak, running)
        await asyncio.sleep(x % 3)
        running -= 1
        return x

    assert await map_concurrent(range(20), worker, max_concurrency=limit) == list(range(20))
    assert peak == most


@virtual_time
async def test_map_concurrent_runs_eight_at_a_time_by_default():
    started: list[int] = []

    async def worker(x: int) -> None:
        started.append(x)
        await asyncio.sleep(1)

    task = asyncio.ensure_future(map_concurrent(range(20), worker))
    await quiet()
    assert started == list(range(8))
    await task


@virtual_time
async def test_the_first_failure_of_map_concurrent_is_raised_as_it_is_and_cancels_the_rest():
    ended: list[str] = []

    async def worker(x: int) -> None:
        if x == 2:
            await asyncio.sleep(1)
            raise KeyError(x)
        try:
            await asyncio.sleep(100)
        finally:
            ended.append(f"{x} at {clock():.0f}")

    with pytest.raises(KeyError):
        await map_concurrent(range(9), worker, max_concurrency=3)
    assert sorted(ended) == ["0 at 1001", "1 at 1001"]
    assert asyncio.all_tasks() == {asyncio.current_task()}


@virtual_time
async def test_cancelling_map_concurrent_cancels_its_workers():
    ended: list[int] = []

    async def worker(x: int) -> None:
        try:
            await asyncio.sleep(100)
        finally:
            ended.append(x)

    async def maps(x: int) -> list[None]:
        return await map_concurrent(range(3), worker)

    async with create(Node(maps)) as flow:
        handle = flow.start(1)
        await quiet()
        await handle.cancel()
        with pytest.raises(TraceCancelled):
            await handle.result()
    assert sorted(ended) == [0, 1, 2]


# --- predicate_router -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "given"),
    [
        ("b", ["b"]),
        (B, ["b"]),
        (["a", C], ["a", "c"]),
        (("c",), ["c"]),
        (None, []),
        ((), []),
        ([], []),
        (["a", "a", A], ["a"]),
        (ROOKERY, [1]),
    ],
    ids=str,
)
@virtual_time
async def test_a_predicate_names_names_or_nodes(answer: Any, given: list[str]):
    assert await reached(predicate_router("choose", lambda message: answer)) == given


@virtual_time
async def test_a_predicate_is_given_the_message_or_what_its_annotation_says():
    seen: list[Any] = []

    def bare(message):
        seen.append((type(message), message.payload, message.meta))

    def envelope(message: Message[int]):
        seen.append((type(message.payload), message.payload))

    def payload(x: int) -> None:
        seen.append(x)

    for predicate in (bare, envelope, payload):
        await reached(predicate_router("choose", predicate), Message(payload=7, meta={"k": 1}))
    assert seen == [(Message, 7, {"k": 1}), (int, 7), 7]


@pytest.mark.parametrize(
    "sent", [Web(url="u"), Message(payload=Web(url="u"), meta={"k": "v"})], ids=["bare", "message"]
)
@virtual_time
async def test_a_router_passes_its_message_on_as_it_came(sent: Any):
    got: list[Any] = []

    async def last(value):
        got.append(value)

    async with create(predicate_router("choose", lambda m: "last").to(Node(last))) as flow:
        await flow.ask(sent)
    if isinstance(sent, Message):
        assert (got[0].payload, got[0].meta) == (sent.payload, sent.meta)
    else:
        assert got == [sent]


@virtual_time
async def test_a_predicate_that_raises_fails_the_message_with_routing():
    def predicate(message: Message) -> Any:
        return message.payload["missing"]

    with pytest.raises(FlowError) as caught:
        await reached(predicate_router("choose", predicate), {})
    assert (caught.value.code, caught.value.node_name) == (FlowErrorCode.ROUTING, "choose")
    assert isinstance(caught.value.original_exc, KeyError)


# --- policies -------------------------------------------------------------------------------------


class Select:
    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.requests: list[RoutingRequest] = []

    def select(self, request: RoutingRequest) -> Any:
        self.requests.append(request)
        return self.answer


class SelectLater(Select):
    async def select(self, request: RoutingRequest) -> Any:
        await asyncio.sleep(1)
        return super().select(request)


@pytest.mark.parametrize("kind", [Select, SelectLater, "function", "async function"], ids=str)
@pytest.mark.parametrize(
    ("answer", "given"),
    [(None, ["a", "b"]), ((), []), ("c", ["c"]), ([C, "a"], ["a", "c"])],
    ids=["keep", "drop", "name", "nodes"],
)
@virtual_time
async def test_a_policy_may_keep_change_or_drop_what_the_router_proposes(kind: Any, answer: Any, given: list[str]):
    async def later(request: RoutingRequest) -> Any:
        return answer

    policy = {"function": lambda request: answer, "async function": later}.get(kind) or kind(answer)
    found = await reached(predicate_router("choose", lambda m: ["a", "b"], policy=policy))
    assert sorted(found) == given


@virtual_time
async def test_a_request_says_what_stands_proposed_and_for_what():
    policy = Select(None)
    assert isinstance(policy, RoutingPolicy)
    await reached(predicate_router("choose", lambda m: ["c", "a"], policy), Message(payload=5, trace_id="t"))
    (request,) = policy.requests
    assert (request.node_name, request.trace_id) == ("choose", "t")
    assert (request.message.payload, request.message.trace_id) == (5, "t")
    assert sorted(request.proposed_names) == ["a", "c"]
    assert sorted(found.name for found in request.proposed) == ["a", "c"]


@virtual_time
async def test_a_router_proposes_all_of_its_successors_in_the_order_drawn():
    policy = Select(None)
    assert await reached(router("choose", policy), sinks=(C, A, B)) == ["c", "a", "b"]
    assert policy.requests[0].proposed_names == ("c", "a", "b")
    assert policy.requests[0].proposed == (C, A, B)
    assert await reached(router("choose")) == ["a", "b", "c"]
    assert await reached(router("choose", Select("b"))) == ["b"]


@virtual_time
async def test_a_policy_that_raises_fails_the_message_with_routing():
    def policy(request: RoutingRequest) -> str:
        raise OSError("the policy file is gone")

    recorder = Recorder()
    async with create(router("choose", policy).to(A), on_event=recorder) as flow:
        with pytest.raises(
            FlowError, match="router 'choose' could not decide: OSError: the policy file is gone"
        ) as caught:
            await flow.ask(1)
    assert caught.value.code == FlowErrorCode.ROUTING
    assert recorder.of("node_retry") == []


# --- union_router ---------------------------------------------------------------------------------


@virtual_time
async def test_a_union_router_chooses_the_successor_that_takes_the_payload():
    sinks = (sink("one", Web), sink("two", Sql))
    choose = union_router("choose", Web | Sql)
    assert await reached(choose, Web(url="u"), sinks) == ["one"]
    assert await reached(choose, Sql(query="q"), sinks) == ["two"]
    assert await reached(choose, Message(payload=Sql(query="q")), sinks) != []


@virtual_time
async def test_the_exact_class_comes_before_a_base_class():
    sinks = (sink("base", Web), sink("exact", Special))
    choose = union_router("choose", Web | Special)
    assert await reached(choose, Special(url="u"), sinks) == ["exact"]
    assert await reached(choose, Special(url="u"), (sink("base", Web), sink("other", Sql))) == ["base"]


@virtual_time
async def test_a_tagged_union_is_told_apart_by_its_tag():
    union = Annotated[Web | Sql, Field(discriminator="kind")]
    sinks = (sink("one", Web), sink("two", Sql))
    assert await reached(union_router("choose", union), {"kind": "sql", "query": "q"}, sinks) == ["two"]


@virtual_time
async def test_a_union_router_finds_successors_by_kind_or_class_name_where_they_have_no_annotation():
    assert await reached(union_router("choose", Web | Sql), Sql(query="q"), (sink("web"), sink("sql"))) == ["sql"]
    assert await reached(union_router("choose", Web | Sql), Web(url="u"), (sink("Web"), sink("Sql"))) == ["Web"]


@virtual_time
async def test_what_no_successor_takes_or_no_union_has_is_an_error():
    choose = union_router("choose", Web | Sql)
    with pytest.raises(FlowError, match=r"no successor takes a Sql or is named for it: there are one") as caught:
        await reached(choose, Sql(query="q"), (sink("one", Web),))
    assert caught.value.code == FlowErrorCode.ROUTING
    with pytest.raises(FlowError) as caught:
        await reached(choose, {"neither": 1}, (sink("one", Web),))
    assert caught.value.code in (FlowErrorCode.VALIDATION, FlowErrorCode.ROUTING)
    assert caught.value.node_name == "choose"


@virtual_time
async def test_a_policy_may_overrule_a_union_router():
    choose = union_router("choose", Web | Sql, policy=Select("other"))
    assert await reached(choose, Web(url="u"), (sink("one", Web), sink("other"))) == ["other"]
