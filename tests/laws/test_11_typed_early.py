"""Law 11: what can't work is reported by `create()`, all together, each with a hint; the unknown is not wrong."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, Optional, TypeVar

import pytest
from pydantic import AfterValidator, BaseModel, Field, GetCoreSchemaHandler, RootModel, model_validator
from pydantic_core import CoreSchema
from pydantic_core.core_schema import no_info_before_validator_function
from typing_extensions import TypedDict

from penguiflow import (
    WM,
    CycleError,
    FinalAnswer,
    GraphError,
    Message,
    Node,
    StreamChunk,
    compatible,
    create,
    join_k,
    node,
    predicate_router,
    subflow,
    union_router,
)
from tests.utils.flowtestkit import virtual_time


class Query(BaseModel):
    text: str


class Narrow(Query):
    lang: str = "en"


class Topic(BaseModel):
    name: str


class Told(TypedDict):  # the one that pydantic asks for before Python 3.12
    text: str


ItemT = TypeVar("ItemT")


class Page(BaseModel, Generic[ItemT]):
    item: ItemT


class Anything(BaseModel):
    @model_validator(mode="before")
    @classmethod
    def lenient(cls, value: Any) -> Any:
        return {}


def from_text(source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
    def opened(value: Any) -> Any:
        return {"text": value} if isinstance(value, str) else value

    return no_info_before_validator_function(opened, handler(source))


class Slug(BaseModel):
    """Says in its own schema what it takes besides."""

    text: str

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return from_text(source, handler)


class ShortSlug(Slug):
    pass


@dataclasses.dataclass
class Label:
    text: str

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return from_text(source, handler)


class Names(RootModel[list[str]]):
    pass


@dataclasses.dataclass
class Point:
    x: int


T = TypeVar("T")
Bound = TypeVar("Bound", bound=Query)


def plain(name: str, **options: Any) -> Node:
    async def same(x):
        return x

    return Node(same, name=name, **options)


def giver(annotation: Any, name: str = "giver") -> Node:
    async def give(x):
        return x

    give.__annotations__["return"] = annotation
    return Node(give, name=name)


def taker(annotation: Any, name: str = "taker") -> Node:
    async def take(x):
        return x

    take.__annotations__["x"] = annotation
    return Node(take, name=name)


def problems(*adjacencies: Any, **options: Any) -> tuple[str, ...]:
    with pytest.raises(GraphError) as caught:
        create(*adjacencies, **options)
    assert all(problem in str(caught.value) for problem in caught.value.problems)
    return caught.value.problems


# --- types on an edge -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gives", "takes"),
    [
        (Query, Topic),
        (Message[Query], Topic),
        (Query, Message[Topic]),
        (Query | Narrow, Topic),
        (Query, Topic | Point),
        (Optional[Query], Topic),  # noqa: UP045 - the old spelling is an annotation too
        (Annotated[Query, "note"], Topic),
        (list[Query], Query),
        (str, Query),
        (Query, str),
        (Query, list[str]),
        (Point, Topic),
        (Query, Point),
        (int, str),
        (list[int], int),
    ],
    ids=str,
)
def test_provably_disjoint_types_on_an_edge_are_reported_with_a_hint(gives: Any, takes: Any):
    (problem,) = problems(giver(gives).to(taker(takes)))
    assert problem.startswith("'giver' gives ")
    assert "'taker' takes " in problem
    assert "change one annotation" in problem


@pytest.mark.parametrize(
    ("gives", "takes"),
    [
        (Query, Query),
        (Narrow, Query),
        (Query, Narrow),  # the value may be a Narrow all the same
        (Query, Message[Query]),
        (Message[Query], Query),
        (Message, Query),
        (Query, Message),
        (Query | Topic, Topic),
        (Query, Topic | Query),
        (Query | None, Query),
        (dict, Query),
        (dict[str, str], Query),
        (Any, Query),
        (object, Query),
        (Query, Any),
        (Query, object),
        (T, Query),
        (Query, Bound),
        (str, int),
        (int, float),
        (str, Literal["a"]),
        (str, Path),
        (list[str], Names),
        (Query, Anything),
        (str, Slug),
        (str, ShortSlug),
        (str, Label),
        (Query, Callable),
        ("NoSuchName", Query),
        (Query, "NoSuchName"),
        (StreamChunk, StreamChunk),
        (Query, StreamChunk),  # gets chunks, and nothing else
        (Annotated[str, Field(max_length=3)], str),
        (Annotated[int, AfterValidator(Query.model_validate)], Query),
        (Page[int], Page[float]),  # pydantic reads the one off the other
        (Page[int], Page[Any]),
        (Page, Page[int]),
        (str, Told),
        (Told, str),
    ],
    ids=str,
)
def test_what_may_fit_or_cannot_be_resolved_is_not_reported(gives: Any, takes: Any):
    create(giver(gives).to(taker(takes)))


def test_whoever_asks_is_told_what_an_edge_would_be():
    assert compatible(Query | Topic, Message[Topic])
    assert not compatible(Query, Topic)


@pytest.mark.parametrize("takes", [Slug, ShortSlug, Label])
@virtual_time
async def test_what_a_models_own_schema_takes_goes_along_an_edge(takes: Any):
    async with create(giver(str).to(taker(takes))) as flow:
        assert await flow.ask("hi") == takes(text="hi")


def test_no_annotation_is_unknown_and_not_wrong():
    create(giver(Query).to(plain("any")), plain("other").to(taker(Query)))


def test_a_generators_items_are_what_it_gives():
    async def source(x: int) -> AsyncIterator[Query]:
        yield Query(text="")

    (problem,) = problems(Node(source).to(taker(Topic)))
    assert "'source' gives Query, but 'taker' takes Topic" in problem
    create(Node(source).to(taker(Query)))


def test_joins_routers_and_subflows_are_checked_where_their_types_are_known():
    (problem,) = problems(subflow("sub", create(giver(Query))).to(taker(Topic)))
    assert "'sub' gives Query" in problem
    (problem,) = problems(giver(Topic).to(subflow("sub", create(taker(Query)))))
    assert "'sub' takes Query" in problem
    both = join_k("both", 1)
    (problem,) = problems(giver(Query).to(both), both.to(taker(Topic)))
    assert "'both' gives list" in problem
    (problem,) = problems(giver(Topic).to(union_router("choose", Query | Narrow)))
    assert "'choose' takes Query | Narrow" in problem
    choose = predicate_router("choose", lambda message: None)
    create(giver(Query).to(choose), choose.to(taker(Topic)))


def test_a_controllers_memory_and_answer_are_its_own_business():
    @node(allow_cycle=True)
    async def think(memory: WM) -> WM | FinalAnswer:
        return memory

    @node(allow_cycle=True)
    async def plan(memory: WM) -> WM | Query:
        return memory

    create(think.to(think, taker(Topic)))
    (problem,) = problems(plan.to(plan, taker(Topic)))
    assert "'plan' gives Query" in problem.replace("WM | ", "")


# --- the shape ------------------------------------------------------------------------------------


def test_duplicate_names_are_reported_with_a_hint():
    (problem,) = problems(plain("a").to(plain("b"), plain("b"), plain("b")))
    assert "3 nodes are named 'b'" in problem
    assert "Node(func, name='b_2')" in problem


def test_one_node_drawn_twice_is_one_node():
    a, b = plain("a"), plain("b")
    assert [n.name for n in create(a.to(b), a.to(b), b).graph.nodes] == ["a", "b"]
    assert len(create(a.to(b, b), a.to(b)).graph.edges) == 1


def test_a_join_without_input_is_reported_with_a_hint():
    (problem,) = problems(plain("a").to(plain("b")), join_k("both", 2).to(plain("c")))
    assert problem == "join 'both' has no input: draw an edge to it, as in a.to(both)"


def test_an_unreachable_node_is_reported_with_a_hint():
    a, b, c = plain("a"), plain("b"), plain("c")
    found = problems(a, b.to(c), c.to(b), allow_cycles=True)
    assert [problem.partition(":")[0] for problem in found] == [
        "no message can reach 'b'",
        "no message can reach 'c'",
    ]
    assert "draw an edge" in found[0]


def test_a_cycle_that_nobody_allowed_is_reported_with_its_path_and_a_hint():
    a, b, c = plain("a"), plain("b"), plain("c")
    with pytest.raises(CycleError, match=r"'b' -> 'c' -> 'b' is a cycle: .*allow_cycle=True.*allow_cycles=True"):
        create(a.to(b), b.to(c), c.to(b))
    with pytest.raises(CycleError, match="'a' -> 'a' is a cycle"):
        create(a.to(a))


def test_a_cycle_can_be_allowed_for_the_flow_or_by_one_of_its_nodes():
    a, b = plain("a"), plain("b")
    create(a.to(b), b.to(a), allow_cycles=True)
    free = plain("free", allow_cycle=True)
    create(a.to(free), free.to(a))
    create(free.to(free))
    with pytest.raises(CycleError, match="'a' -> 'b' -> 'a'"):
        create(free.to(free, a), a.to(b), b.to(a))


def test_a_cycle_error_is_a_graph_error_and_a_value_error():
    assert issubclass(CycleError, GraphError)
    assert issubclass(GraphError, ValueError)


def test_an_empty_graph_is_reported_with_a_hint():
    (problem,) = problems()
    assert "no node" in problem
    assert "a.to(b)" in problem


def test_every_problem_is_reported_at_once_and_in_order():
    a, b, twin, c, d = plain("a"), plain("b"), plain("b"), plain("c"), plain("d")
    adjacencies = (
        a.to(b, twin, giver(Query)),
        join_k("lone", 2).to(a),
        c.to(d),
        d.to(c),
        giver(Query, "g").to(taker(Topic)),
    )
    found = problems(*adjacencies)
    marks = ["2 nodes are named 'b'", "join 'lone'", "reach 'c'", "reach 'd'", "is a cycle", "'g' gives Query"]
    assert len(found) == len(marks)
    assert all(mark in problem for mark, problem in zip(marks, found, strict=True))
    with pytest.raises(CycleError) as caught:
        create(*adjacencies)
    assert str(caught.value).startswith("the graph has 6 problems:")


# --- entries --------------------------------------------------------------------------------------


def test_entries_are_the_nodes_with_no_predecessor_but_themselves():
    a, b, loop = plain("a"), plain("b"), plain("loop", allow_cycle=True)
    assert create(a.to(b), loop.to(loop, b)).graph.entries == ("a", "loop")
    assert create(a, b).graph.entries == ("a", "b")


@virtual_time
async def test_a_fully_cyclic_graph_is_entered_at_its_first_node():
    seen = []

    def ring(name: str) -> Node:
        async def step(x: int) -> int | None:
            seen.append(name)
            return x - 1 if x else None

        return Node(step, name=name)

    b, a = ring("b"), ring("a")
    async with create(b.to(a), a.to(b), allow_cycles=True) as flow:
        assert flow.graph.entries == ("b",)
        await flow.ask(3)
    assert seen == ["b", "a", "b", "a"]
