"""What an app promises is held against its flow when it is built."""

import dataclasses
from collections.abc import AsyncIterator
from enum import StrEnum
from typing import Annotated, Any, Generic, Literal, Protocol, TypeVar

import pytest
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, RootModel
from typing_extensions import TypedDict
from webkit import Answer, Ask

from penguiflow import (
    WM,
    Context,
    FinalAnswer,
    GraphError,
    Message,
    ModelRegistry,
    Node,
    NodePolicy,
    StreamChunk,
    create,
    join_k,
    node,
    predicate_router,
    subflow,
    union_router,
)
from penguiflow_asgi import anybody, flow_app

T = TypeVar("T")


class Other(BaseModel):
    count: int


class Closer(Ask):
    """An Ask that says more."""


class Page(BaseModel, Generic[T]):
    items: list[T]


class Loose(BaseModel):
    model_config = ConfigDict(from_attributes=True)
    text: str = ""


class Texts(RootModel[list[str]]):
    pass


class Speaks(Protocol):
    text: str


class Told(TypedDict):
    text: str


@dataclasses.dataclass
class Record:
    text: str


class Colour(StrEnum):
    RED = "red"


def one(takes: Any = Any, gives: Any = Any, name: str = "only", **policy: Any) -> Node:
    async def body(message):
        return message

    body.__annotations__ = {"message": takes, "return": gives}
    return Node(body, name, policy=NodePolicy(**policy))


def built(flow, input: Any = Any, output: Any = None):
    return flow_app(flow, input=input, output=output, authenticate=anybody)


def test_an_input_that_an_entry_can_not_take_is_told_when_the_app_is_built():
    with pytest.raises(TypeError) as told:
        built(create(one(Ask, Answer, "triage"), name="desk"), Other)
    assert str(told.value) == (
        "flow_app(input=Other): 'triage', where messages enter 'desk', takes Ask: "
        "give that as input, or put a node before it that converts"
    )


def test_an_output_that_no_exit_can_give_is_told_when_the_app_is_built():
    with pytest.raises(TypeError) as told:
        built(create(one(Ask, Answer, "triage"), name="desk"), Ask, Other)
    assert str(told.value) == (
        "flow_app(output=Other): where messages leave 'desk', 'triage' gives Answer: "
        "give that as output, or put a node after it that converts"
    )


def test_both_are_told_at_once():
    with pytest.raises(TypeError, match=r"(?s)input=Other.*\n.*output=Ask"):
        built(create(one(Ask, Answer)), Other, Ask)


def test_types_of_one_name_are_told_apart():
    ask = type("Ask", (BaseModel,), {"__annotations__": {"n": int}, "__module__": "elsewhere"})
    with pytest.raises(TypeError, match=r"input=elsewhere\.Ask.* takes webkit\.Ask"):
        built(create(one(Ask)), ask)


@pytest.mark.parametrize(
    ("asked", "taken"),
    [
        (str, Ask),
        (int, Ask),
        (list[Ask], Ask),
        (int, str),
        (dict, list),
        (Ask, str),
        (Ask, dict[str, Any]),
        (Ask, Record),
        (Record, Ask),
        (Ask | Other, Record),
        (Other, Message[Ask]),
        (Other, Ask | Record),
        (Other, Annotated[Ask | Record, Field(title="either")]),
        (Other | None, Ask),
    ],
)
def test_types_that_never_meet_are_refused_as_on_an_edge(asked: Any, taken: Any):
    for build in (
        lambda: built(create(one(taken)), asked),
        lambda: built(create(one(Any, asked)), Any, taken),
    ):
        with pytest.raises(TypeError, match="flow_app"):
            build()
    with pytest.raises(GraphError):
        create(one(Any, asked, "first").to(one(taken, Any, "second")))


@pytest.mark.parametrize(
    ("asked", "taken"),
    [
        (Any, Ask),
        (object, Ask),
        (Ask, Any),
        (Ask, object),
        (Ask, Ask),
        (Ask, Message[Ask]),
        (Ask, Message),
        (Ask, Message[Ask] | None),
        (Ask | Other, Other),
        (Other, Ask | Other),
        (Closer, Ask),
        (Ask, Closer),
        (dict, Ask),
        (dict[str, Any], Record),
        (Told, Ask),
        (Ask, Told),
        (Answer, Loose),
        (Record, Loose),
        (list[str], Texts),
        (str, Annotated[Ask, BeforeValidator(lambda text: Ask(words=[text]))]),
        (Annotated[str, AfterValidator(lambda text: Ask(words=[text]))], Ask),
        (Page[int], Page[Any]),
        (Page[int], Page[str]),
        (str, int),
        (int, float),
        (list[int], set[int]),
        (str, Colour),
        (Colour, str),
        (str, Literal["a"]),
        (Annotated[Ask | Other, Field(title="either")], Ask),
        (T, Ask),
        (Ask, T),
        (None, Ask),
    ],
)
def test_types_that_may_meet_are_let_through(asked: Any, taken: Any):
    if asked is not T:
        built(create(one(taken)), asked)
    if taken is not T:
        built(create(one(Any, asked)), Any, taken)


def test_an_entry_that_takes_a_protocol_is_not_judged():
    built(create(one(Speaks)), Ask)


def test_an_entry_that_validates_nothing_takes_anything():
    for validate in ("none", "out"):
        built(create(one(Ask, Answer, validate=validate)), Other)


def test_each_entry_has_to_take_the_input_but_one_for_chunks():
    other = one(Other, Any, "counts")
    with pytest.raises(TypeError, match="'counts'"):
        built(create(one(Ask), other), Ask)
    built(create(one(Ask), one(StreamChunk, Any, "shows"), one(Message[StreamChunk], Any, "keeps")), Ask)


def test_one_exit_that_gives_the_output_is_enough():
    both = create(one(Ask, Ask, "first").to(one(Ask, Answer, "says"), one(Ask, Other, "counts")))
    built(both, Ask, Answer)
    built(both, Ask, Other)
    with pytest.raises(TypeError, match="'says' gives Answer and 'counts' gives Other"):
        built(both, Ask, Record)


def test_the_type_of_a_generator_is_that_of_its_items():
    @node
    async def lists(ask: Ask) -> AsyncIterator[Answer]:
        yield Answer(text="one")

    built(create(lists), Ask, Answer)
    with pytest.raises(TypeError, match="gives Answer"):
        built(create(lists), Ask, Other)


def test_a_node_that_emits_what_it_gives_promises_nothing():
    @node
    async def emits(ask: Ask, ctx: Context) -> None:
        await ctx.emit(Answer(text="one"))

    @node
    async def streams(ask: Ask) -> AsyncIterator[StreamChunk]:
        yield StreamChunk(stream_id="s", seq=0, text="one")

    built(create(emits), Ask, Answer)
    built(create(streams), Ask, Answer)


def test_a_loop_gives_what_its_controller_does_and_a_final_answer_when_it_runs_out():
    thinks = Node(one(WM, WM | Answer).func, "thinks", allow_cycle=True)
    for output in (FinalAnswer, Answer, FinalAnswer | Answer):
        built(create(thinks.to(thinks)), WM, output)
    with pytest.raises(TypeError, match="'thinks' gives WM | Answer"):
        built(create(thinks.to(thinks)), WM, Other)
    after = create(thinks.to(thinks, one(Answer, Other, "counts")))
    built(after, WM, FinalAnswer)
    built(after, WM, Other)


def test_the_nodes_of_patterns_promise_what_is_known_of_them():
    gathers = join_k("gathers", 2)
    fan = create(one(Ask, Ask, "a").to(one(Ask, Answer, "b"), one(Ask, Answer, "c")), one(Any, Any, "z").to(gathers))
    built(fan, Ask, list[Answer])
    chooses = predicate_router("chooses", lambda message: "b")
    built(create(chooses.to(one(Ask, Answer, "b"))), Ask, Answer)
    with pytest.raises(TypeError, match="'sorts', where messages enter"):
        built(create(union_router("sorts", Ask | Other).to(one(Ask, Answer, "b"), one(Other, Answer, "c"))), Record)
    with pytest.raises(TypeError, match="'inner'"):
        built(create(subflow("inner", create(one(Ask, Answer)))), Other)


async def test_the_models_of_a_registry_count_where_the_flow_runs_already():
    registry = ModelRegistry()
    registry.register("only", Ask, Answer)
    flow = create(one())
    flow.run(registry)
    with pytest.raises(TypeError, match="takes Ask"):
        built(flow, Other)
    await flow.stop()
