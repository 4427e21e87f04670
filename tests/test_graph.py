"""What a flow's graph says of its nodes."""

from __future__ import annotations

import functools
from typing import Any

import pytest

from penguiflow import (
    ModelRegistry,
    Node,
    PenguiFlow,
    RoutingRequest,
    create,
    hookimpl,
    join_k,
    node,
    predicate_router,
    router,
    subflow,
    union_router,
)


@node
async def same(x: int) -> int:
    return x


@node
async def other(x: int) -> int:
    return x


def by_size(x: int) -> str:
    return "same" if x < 10 else "other"


def canary(request: RoutingRequest, part: float) -> None:
    return None


class Night:
    def select(self, request: RoutingRequest) -> None:
        return None


class Desk:
    name = "desk"

    @hookimpl
    def resolve_route(self, request: RoutingRequest) -> None:
        return None


def routed(chooser: Node, **options: Any) -> tuple[str, ...]:
    return create(chooser.to(same, other), **options).graph.node(chooser.name).decided_by


@pytest.mark.parametrize(
    ("chooser", "decided_by"),
    [
        (predicate_router("r", by_size), ("by_size",)),
        (predicate_router("r", by_size, policy=Night()), ("by_size", "Night")),
        (union_router("r", int, policy=functools.partial(canary, part=0.1)), ("type", "canary")),
        (router("r", policy=Night()), ("Night",)),
        (router("r"), ()),
    ],
    ids=["predicate", "predicate and policy", "type and function", "policy", "nobody"],
)
def test_a_router_says_who_decides_in_the_order_asked(chooser: Node, decided_by: tuple[str, ...]):
    assert routed(chooser) == decided_by
    assert routed(chooser, plugins=[Desk()]) == (*decided_by, "desk")


def test_a_router_in_a_subflow_says_that_the_outer_flows_plugins_decide():
    inner = create(router("r").to(same, other), plugins=[Desk()])
    nested = create(subflow("sub", inner)).graph.node("sub").subgraph
    assert nested is not None
    assert nested.node("r").decided_by == ()
    nested = create(subflow("sub", create(router("r").to(same))), plugins=[Desk()]).graph.node("sub").subgraph
    assert nested is not None
    assert nested.node("r").decided_by == ("desk",)


def test_only_routers_are_decided_by_somebody():
    assert create(same, plugins=[Desk()]).graph.node("same").decided_by == ()


def test_a_join_says_when_it_gives_up():
    graph = create(same.to(join_k("patient", 1)), other.to(join_k("hasty", 1, timeout_s=2.5))).graph
    assert (graph.node("patient").join_timeout_s, graph.node("hasty").join_timeout_s) == (None, 2.5)


def numbers() -> Any:
    return create(same, name="numbers"), ModelRegistry()


def test_a_node_shows_the_playbooks_that_it_declares():
    letters = create(other, name="letters")

    @node(playbooks=[letters, numbers])
    async def asks(x: int) -> int:
        return x

    flow = create(subflow("sub", create(asks, name="inner")), name="outer")
    inner = flow.graph.node("sub").subgraph
    assert inner is not None
    assert [graph.name for graph in inner.node("asks").playbooks] == ["letters", "numbers"]
    assert inner.node("asks").playbooks[1].nodes[0].node_id == "outer/sub/inner/asks/numbers/same"
    assert letters.graph.node("other").playbooks == ()


def test_a_playbook_that_calls_itself_is_shown_once():
    def deeper() -> PenguiFlow:
        return create(Node(same.func, name="again", playbooks=(deeper,)), name="deeper")

    (first,) = deeper().graph.node("again").playbooks
    (second,) = first.node("again").playbooks
    assert (first.name, second.name, second.nodes) == ("deeper", "deeper", ())


def test_a_playbook_that_is_made_anew_each_time_is_given_up_on():
    def deeper() -> PenguiFlow:
        return create(Node(same.func, name="again", playbooks=[lambda: deeper()]), name="deeper")

    with pytest.raises(RecursionError, match="'deeper' stands more than 50 playbooks deep"):
        _ = deeper().graph


async def late() -> PenguiFlow:
    return create(same)


@pytest.mark.parametrize("wrong", [5, late, "numbers"], ids=["number", "async", "name"])
def test_a_playbook_is_a_flow_or_makes_one(wrong: Any):
    with pytest.raises(TypeError, match="node 'same': a playbook is a flow or a plain function that returns one"):
        Node(same.func, playbooks=[wrong])


@pytest.mark.parametrize("single", [create(same), numbers], ids=["flow", "function"])
def test_playbooks_come_in_a_list(single: Any):
    with pytest.raises(TypeError, match=r"node 'same': playbooks= takes several, as in playbooks=\[\w+\]"):
        Node(same.func, playbooks=single)
