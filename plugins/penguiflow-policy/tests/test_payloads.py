"""A path of the payload that no message of a router can have is a problem, as a node is that it doesn't lead to."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypeVar

import pytest
from desk import policy, rule, same, sinks
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    RootModel,
    Tag,
    computed_field,
    field_serializer,
    model_serializer,
)

from penguiflow import (
    WM,
    FinalAnswer,
    GraphError,
    Message,
    ModelRegistry,
    Node,
    NodePolicy,
    create,
    join_k,
    predicate_router,
    router,
    subflow,
    union_router,
)
from penguiflow_policy import Policy, PolicyError

T = TypeVar("T")


class User(BaseModel):
    age: int = 7
    mail: str = Field(default="x", alias="eMail")

    @computed_field
    @property
    def grown(self) -> bool:
        return self.age > 17


class Ticket(BaseModel):
    text: str = "hi"
    kind: Literal["bug", "wish"] = "bug"
    user: User | None = User()
    tags: list[User] = [User()]
    more: dict[str, int] = {"x": 1}

    @computed_field
    @property
    def loud(self) -> bool:
        return self.text.isupper()

    @functools.cached_property
    def words(self) -> int:
        return len(self.text.split())


class Base(BaseModel):
    pass


class Below(Base):
    depth: int = 1


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    a: int = 1


class Box(BaseModel, Generic[T]):
    held: T


@dataclasses.dataclass
class Order:
    item: str = "fish"
    buyer: Ticket = dataclasses.field(default_factory=Ticket)


@dataclasses.dataclass
class Vague:
    what: NoSuchName  # type: ignore[name-defined]  # noqa: F821


class Point(NamedTuple):
    x: int = 1
    label: str = "p"


def giving(*kinds: Any, name: str = "before", **parts: Any) -> Node[..., Any]:
    """A node that gives what it is annotated with."""

    async def gives(message: Any) -> Any:
        return message

    if kinds:
        gives.__annotations__["return"] = kinds[0]
    return Node(gives, name, **parts)


def objections(found: Policy, *before: Node[..., Any], desk: Node[..., Any] | None = None, name: str = "flow") -> str:
    """What keeps the policy from being used by a router behind these nodes; empty if nothing does."""
    asks = desk or router("desk")
    try:
        create(*(node.to(asks) for node in before), asks.to(*sinks("a", "b")), name=name, plugins=[found])
    except GraphError as exc:
        return "\n".join(exc.problems)
    return ""


def of_path(path: str, kind: Any) -> tuple[str, str]:
    """What is said of a path of the payload, in `match` and in a condition, behind a node that gives such a thing."""
    matching = policy(rule(match={f"payload.{path}": 1}))
    asking = policy(rule(when=f"payload.{path} == 1"))
    return objections(matching, giving(kind)), objections(asking, giving(kind))


RULES = """\
rules:
  - name: one
    match: {payload.kynd: bug}
    route: a
  - name: two
    when: has(payload.tiket) && payload.tiket.text == "x"
    route: a
  - name: three
    when: |
      payload.text == "x"
        && payload.user.agee > 1 && payload["txet"] == "x"
    route: a
  - name: four
    canary: {to: a, percent: 5}
    by: payload.user.id
"""


def test_it_is_told_with_line_column_and_suggestion(tmp_path: Path):
    (tmp_path / "routing.yaml").write_text(RULES, encoding="utf-8")
    said = objections(Policy.from_file(tmp_path / "routing.yaml"), giving(Ticket))
    assert said.replace(f"{tmp_path}/", "").replace(" where router 'desk' gets Ticket", " there").splitlines() == [
        "routing.yaml:3:13: rules[0].match.payload.kynd: payload has no 'kynd' there: did you mean 'kind'?",
        "routing.yaml:6:23: rules[1].when: payload has no 'tiket' there: did you mean 'text'?",
        "routing.yaml:11:25: rules[2].when: payload.user has no 'agee' there: did you mean 'age'?",
        "routing.yaml:11:45: rules[2].when: payload has no 'txet' there: did you mean 'text'?",
        "routing.yaml:15:9: rules[3].by: payload.user has no 'id' there: there are age, mail",
    ]


def test_new_rules_are_held_against_the_payload_too():
    made = policy(rule("good", match={"payload.kind": "bug"}))
    assert objections(made, giving(Ticket)) == ""
    version = made.version
    with pytest.raises(PolicyError, match="payload has no 'kynd' where router 'desk' gets Ticket"):
        made.replace(policy(rule("bad", match={"payload.kynd": "bug"})))
    assert made.version == version


def test_the_policy_of_a_router_is_held_against_what_that_router_gets():
    made = policy(rule(match={"payload.kind": "bug"}))
    first, second = router("first", policy=made), router("second")
    graph = [giving(Ticket, name="one").to(first), first.to(*sinks("a")), giving(User, name="two").to(second)]
    create(*graph, second.to(*sinks("a")))
    with pytest.raises(GraphError, match="router 'second' gets User"):
        second = router("second", policy=policy(rule(match={"payload.kind": "bug"})))
        create(giving(User, name="two").to(second), second.to(*sinks("a")))


# --- which paths are there --------------------------------------------------------------------------

THERE: list[tuple[Any, str]] = [
    (Ticket, "user.age"),
    (Ticket, "user.mail"),
    (Order, "buyer.user.age"),
    (Ticket | None, "text"),
    (Annotated[Ticket | User, Field(description="one of them")], "age"),
    (Base, "depth"),
    (Box[Ticket], "held.kind"),
    (Message[Ticket], "text"),
    (Point, "label"),
]
NOBODY_KNOWS: list[tuple[Any, str]] = [
    (Open, "z.y"),
    (Ticket, "tags.x"),
    (Ticket, "more.x.y"),
    (Ticket | dict, "nothing"),
    (Ticket | Any, "nothing"),
    (dict[str, Ticket], "a.nothing"),
    (Box, "held.x"),
    (Vague, "what.x"),
    (Annotated[Ticket, AfterValidator(dict)], "nothing"),
    (BaseModel, "nothing"),
    (Message, "nothing"),
    (None, "nothing"),
    (list[Ticket], "nothing"),
]
NOWHERE: list[tuple[Any, str, str]] = [
    (Ticket, "user.agee", "payload.user has no 'agee' where router 'desk' gets Ticket: did you mean 'age'?"),
    (Ticket, "user.eMail", "payload.user has no 'eMail' where router 'desk' gets Ticket: did you mean 'mail'?"),
    (Order, "buyer.txt", "payload.buyer has no 'txt' where router 'desk' gets Order: did you mean 'text'?"),
    (Ticket | User, "nam", "payload has no 'nam' where router 'desk' gets Ticket or User: "),
    (Ticket, "text.size", "payload.text has no fields, and no 'size', where router 'desk' gets Ticket"),
    (Ticket, "kind.size", "payload.kind has no fields"),
    (str, "size", "payload has no fields, and no 'size', where router 'desk' gets str"),
    (Base, "dept", "payload has no 'dept' where router 'desk' gets Base: did you mean 'depth'?"),
    (Box[Ticket], "held.kynd", "payload.held has no 'kynd'"),
    (Message[Ticket], "tekst", "payload has no 'tekst' where router 'desk' gets Ticket: did you mean 'text'?"),
    (Ticket, "loud", "payload has no 'loud'"),
    (Ticket, "isupper", "payload has no 'isupper'"),
    (Point, "labl", "payload has no 'labl' where router 'desk' gets Point: did you mean 'label'?"),
    (
        Annotated[Annotated[Ticket, Tag("t")] | Annotated[User, Tag("u")], Discriminator(lambda value: "t")],
        "nothing",
        "payload has no 'nothing' where router 'desk' gets Ticket or User",
    ),
]


@pytest.mark.parametrize(("kind", "path"), THERE + NOBODY_KNOWS)
def test_a_path_that_may_be_there_is_none(kind: Any, path: str):
    assert of_path(path, kind) == ("", "")


@pytest.mark.parametrize(("kind", "path", "said"), NOWHERE)
def test_a_path_that_leads_nowhere_is_one(kind: Any, path: str, said: str):
    matching, asking = of_path(path, kind)
    assert said in matching
    assert said in asking


class Plain(BaseModel):
    user: User = User()

    @model_serializer
    def as_text(self) -> dict[str, Any]:
        return {"anything": 1}


class Texts(BaseModel):
    user: User = User()

    @field_serializer("*")
    def as_other(self, value: Any) -> dict[str, int]:
        return {"anything": 1}


class Outer(BaseModel):
    texts: Texts = Texts()
    plain: Plain = Plain()
    root: RootModel[User] = RootModel[User](User())
    point: Point = Point()
    user: User = User()

    @field_serializer("user")
    def user_as_text(self, user: User) -> dict[str, int]:
        return {"anything": 1}


@pytest.mark.parametrize("path", ["user.grown", "plain.anything", "root.age", "texts.user.anything"])
def test_conditions_see_what_json_shows_and_match_only_fields(path: str):
    matching, asking = of_path(path, Outer)
    assert "has no" in matching
    assert asking == ""


def test_where_a_condition_needs_the_whole_payload_it_is_all_seen_as_json():
    every = "size(payload) > 0 && "
    assert objections(policy(rule(when=f"{every} payload.loud")), giving(Ticket)) == ""
    assert objections(policy(rule(when=f"{every} payload.user.anything == 1")), giving(Outer)) == ""
    assert "has no 'lout'" in objections(policy(rule(when=f"{every} payload.lout")), giving(Ticket))


@pytest.mark.parametrize(
    "when",
    [
        "payload.tags.exists(tag, tag.nothing == 1)",
        "payload.text.startsWith('nothing')",
        "meta.nothing == 1",
        "tenant == 'payload.nothing'",
        "payload.more['nothing'] == 1",
        "payload.text[tenant] == 1",
    ],
)
def test_what_is_no_path_of_the_payload_is_left_alone(when: str):
    assert objections(policy(rule(when=when)), giving(Ticket)) == ""


def counted() -> Ticket:
    ticket = Ticket()
    assert ticket.words == 1
    return ticket


VALUES: list[tuple[Callable[[], Any], list[str]]] = [
    (
        Ticket,
        ["text", "kind", "user.age", "user.mail", "user.eMail", "user.grown", "loud", "more.x", "nothing", "words"],
    ),
    (lambda: Ticket(user=None), ["user.age"]),
    (counted, ["words"]),
    (Order, ["item", "buyer.text", "buyer.user.mail", "buyer.nothing"]),
    (lambda: Open(z={"y": 1}), ["a", "z", "z.y", "nothing"]),
    (Below, ["depth"]),
    (
        Outer,
        [
            "plain.anything",
            "plain.user",
            "texts.user.anything",
            "root.age",
            "root.root",
            "user.anything",
            "user.age",
            "point.x",
        ],
    ),
    (lambda: RootModel[User](User()), ["root.age", "age"]),
    (Point, ["x", "label"]),
]


@pytest.mark.parametrize("whole", ["", " && size(payload) >= 0"])
@pytest.mark.parametrize(("make", "paths"), VALUES)
def test_what_a_rule_can_see_of_a_payload_is_never_called_wrong(make: Callable[[], Any], paths: list[str], whole: str):
    value = make()
    kind = type(value).__mro__[1] if isinstance(value, Below) else type(value)
    for path in paths:
        matching = policy(rule("seen", match={f"payload.{path}": None}), rule("there", route="b"))
        asking = policy(rule("seen", when=f"has(payload.{path}){whole}", on_error="skip"), rule("not", route="b"))
        absent = str(matching.explain(value)).startswith("goes to a")
        assert absent or objections(matching, giving(kind)) == "", path
        unseen = not str(asking.explain(value)).startswith("goes to a")
        assert unseen or objections(asking, giving(kind)) == "", path


def test_a_field_has_one_name_for_every_rule_and_an_extra_field_is_one():
    for value, path in ((Ticket(), "user.mail"), (Open.model_validate({"z": "x"}), "z")):
        matching = policy(rule("seen", match={f"payload.{path}": "x"}), rule("not", route="b"))
        asking = policy(rule("seen", when=f"payload.{path} == 'x'"), rule("not", route="b"))
        whole = policy(rule("seen", when=f"payload.{path} == 'x' && size(payload) > 0"), rule("not", route="b"))
        for made in (matching, asking, whole):
            assert str(made.explain(value)).startswith("goes to a"), path


def test_an_extra_field_may_be_null():
    assert str(policy(rule(when="payload.z == null")).explain(Open.model_validate({"z": None}))).startswith("goes to a")


# --- what a router gets -----------------------------------------------------------------------------

WRONG = rule(match={"payload.nothing": 1})


@pytest.mark.parametrize(
    ("desk", "gets"),
    [
        (predicate_router("desk", lambda message: "a"), "Ticket"),
        (union_router("desk", Ticket | Order), "Ticket or Order"),
        (union_router("desk", Annotated[Below | Ticket, Field(description="either")]), "Below or Ticket"),
    ],
)
def test_what_a_router_takes_counts_before_what_others_give(desk: Node[..., Any], gets: str):
    assert f"router 'desk' gets {gets}: there are" in objections(policy(WRONG), giving(Ticket), desk=desk)


def test_the_annotation_of_a_predicate_is_what_its_router_takes():
    def by_kind(ticket: Ticket) -> str:
        return "a"

    def by_message(message: Message[Ticket]) -> str:
        return "a"

    for predicate in (by_kind, by_message):
        assert "gets Ticket" in objections(policy(WRONG), desk=predicate_router("desk", predicate))


def test_a_path_is_none_if_any_of_those_before_may_give_it():
    there = policy(rule(match={"payload.age": 1}))
    assert objections(there, giving(Ticket, name="one"), giving(User, name="two")) == ""
    assert objections(policy(WRONG), giving(Ticket, name="one"), giving(name="two")) == ""
    assert "gets Ticket or User" in objections(policy(WRONG), giving(Ticket, name="one"), giving(User, name="two"))


@pytest.mark.parametrize("validate", ["in", "none"])
def test_of_an_output_that_nobody_checks_nothing_is_known(validate: Any):
    assert objections(policy(WRONG), giving(Ticket, policy=NodePolicy(validate=validate))) == ""


def test_of_what_enters_a_flow_nothing_is_known():
    assert objections(policy(WRONG)) == ""


def test_a_stream_of_chunks_may_pass_a_router_that_says_nothing():
    assert objections(policy(rule(when="payload.stream_id == 'x' || payload.done")), giving(User)) == ""
    taking = union_router("desk", User | Ticket)
    assert "has no 'done'" in objections(policy(rule(match={"payload.done": True})), giving(User), desk=taking)


def test_routers_pass_on_what_they_get():
    first, second = router("first"), router("second")
    nodes = giving(Ticket).to(first), first.to(second, *sinks("a")), second.to(*sinks("a"))
    with pytest.raises(GraphError, match="router 'second' gets Ticket"):
        create(*nodes, plugins=[policy(rule(match={"node": "second", "payload.nothing": 1}))])
    again = second.to(first, *sinks("a"))
    with pytest.raises(GraphError, match="router 'second' gets Ticket"):
        create(*nodes[:2], again, allow_cycles=True, plugins=[policy(rule(match={"node": "second", "payload.x": 1}))])


def test_routers_between_many_routers_are_looked_at_once():
    layers = [[router(f"r{depth}_{place}") for place in range(3)] for depth in range(20)]
    layers += [list(sinks("a"))]
    graph = [node.to(*after) for before, after in itertools.pairwise(layers) for node in before]
    with pytest.raises(GraphError, match="router 'r19_0' gets Ticket"):
        create(giving(Ticket).to(*layers[0]), *graph, plugins=[policy(rule(match={"node": "r19_0", "payload.no": 1}))])


def test_joins_give_lists_and_subflows_what_their_last_node_gives():
    assert objections(policy(WRONG), giving(Ticket, name="one")) != ""
    join, desk = join_k("join", 1), router("desk")
    create(giving(Ticket).to(join), join.to(desk), desk.to(*sinks("a")), plugins=[policy(WRONG)])
    inner = create(giving(Ticket, name="inner"), name="nested")
    assert "gets Ticket" in objections(policy(WRONG), subflow("sub", inner))
    unchecked = create(giving(Ticket, name="inner", policy=NodePolicy(validate="none")), name="nested")
    assert objections(policy(WRONG), subflow("sub", unchecked)) == ""


def test_a_controller_sends_on_neither_its_memory_nor_its_answer():
    async def think(wm: WM) -> WM | FinalAnswer | Ticket:
        return wm

    async def only(wm: WM) -> WM:
        return wm

    def build(func: Any) -> None:
        thinks, desk = Node(func, "thinks"), router("desk")
        made = policy(rule(match={"payload.query": 1}))
        create(thinks.to(thinks, desk), desk.to(*sinks("a")), allow_cycles=True, plugins=[made])

    build(only)
    with pytest.raises(GraphError, match="payload has no 'query' where router 'desk' gets Ticket"):
        build(think)


def test_a_playbook_is_known_by_its_registry():
    registry = ModelRegistry()
    registry.register("before", Any, Ticket)

    def book() -> Any:
        desk = router("inner")
        return create(giving().to(desk), desk.to(*sinks("a")), name="book"), registry

    with pytest.raises(GraphError, match="router 'inner' gets Ticket"):
        create(Node(same, "calls", playbooks=[book]), plugins=[policy(WRONG)])


# --- rules for several ------------------------------------------------------------------------------


def two(made: Policy, first: Any = Ticket, second: Any = User) -> None:
    one, other = router("one"), router("two")
    nodes = giving(first, name="x").to(one), one.to(*sinks("a")), giving(second, name="y").to(other)
    create(*nodes, other.to(*sinks("a")), plugins=[made])


def test_a_rule_for_several_routers_is_wrong_if_it_is_for_all_of_them():
    two(policy(rule(match={"payload.age": 1})))
    two(policy(rule(match={"payload.nothing": 1})), second=dict)
    two(policy(rule(match={"payload.nothing": 1}), routers=["one"]), first=dict)
    two(policy(rule(match={"payload.nothing": 1}), elsewhere={"book": ["a"]}))
    with pytest.raises(GraphError, match="payload has no 'nothing' where router 'one' gets Ticket"):
        two(policy(rule(match={"payload.nothing": 1})))
    with pytest.raises(GraphError, match="payload has no 'age' where router 'one' gets Ticket"):
        two(policy(rule(match={"node": "one", "payload.age": 1})))
    with pytest.raises(GraphError, match="payload has no 'kind' where router 'two' gets User"):
        two(policy(rule(match={"payload.kind": 1}), routers=["two"]))


def test_a_rule_for_several_flows_is_wrong_if_it_is_for_all_of_them():
    made = policy(rule(match={"payload.kind": 1}))
    assert objections(made, giving(Ticket), name="first") == ""
    assert objections(made, giving(User), name="second") == ""
    made.replace(policy(rule(match={"payload.user": 1})))
    for wrong in ("age", "nothing"):  # as if both flows were built anew
        with pytest.raises(PolicyError, match=f"has no '{wrong}' where router 'desk' gets Ticket"):
            made.replace(policy(rule(match={f"payload.{wrong}": 1})))
    made.replace(policy(rule(match={"payload.age": 1, "flow": "second"})))
    with pytest.raises(PolicyError, match="router 'desk' gets User"):
        made.replace(policy(rule(match={"payload.nothing": 1, "flow": "second"})))


def test_a_flow_that_a_rule_names_and_nobody_has_built_may_have_the_path():
    for named in ({"match": {"flow": ["first", "other"], "payload.nothing": 1}}, {"match": {"payload.nothing": 1}}):
        flows = {} if "flow" in named["match"] else {"flows": ["first", "other"]}
        made = policy(rule(**named), **flows)
        assert objections(made, giving(Ticket), name="first") == ""
        assert "has no 'nothing'" in objections(made, giving(User), name="other")
