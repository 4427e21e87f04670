"""Ready-made nodes: joins, routers, subflows; and `map_concurrent` for work inside one node."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

from penguiflow._flow import PenguiFlow
from penguiflow._messages import Message
from penguiflow._node import JoinRole, Node, RouterRole, SubflowRole
from penguiflow._signature import Shape, parameter_annotation
from penguiflow._types import UNKNOWN

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


async def map_concurrent(
    items: Iterable[ItemT], worker: Callable[[ItemT], Awaitable[ResultT]], max_concurrency: int = 8
) -> list[ResultT]:
    """`worker` of each item, at most `max_concurrency` at a time; the results in the order of the items.

    The first failure cancels the workers under way, and is raised as it is.

    Raises:
        ValueError: `max_concurrency` is below 1.
    """
    if max_concurrency < 1:
        raise ValueError(f"max_concurrency is a whole number from 1 on, not {max_concurrency!r}")
    todo = list(enumerate(items))
    results: dict[int, ResultT] = {}
    ahead = iter(todo)

    async def work() -> None:
        for place, item in ahead:
            results[place] = await worker(item)

    workers = [asyncio.ensure_future(work()) for _ in range(min(max_concurrency, len(todo)))]
    try:
        await asyncio.gather(*workers)
    finally:
        for task in workers:
            task.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    return [results[place] for place, _ in todo]


def join_k(name: str, k: int, timeout_s: float | None = None) -> Node[..., Any]:
    """A node that gathers any `k` messages of a trace and sends on the list of their payloads.

    The list is in the order of the predecessors, then of arrival. A trace that has nothing left but an unfilled join
    ends as `JOIN_STARVED`. A filled join begins anew: each further `k` messages make another list (with `k=1`, each
    message does). What is left over when the trace ends is ignored if more than `k` nodes lead to the join: those were
    late. Otherwise the join is unfilled, however many lists it has sent on.

    Args:
        name: The node's name.
        k: How many messages.
        timeout_s: Seconds from a list's first message on, after which the join gives up; what would be ignored when the
            trace ends isn't waited for.

    Raises:
        ValueError: `k` is below 1, or the time-out isn't positive.
    """
    if isinstance(k, bool) or not isinstance(k, int) or k < 1:
        raise ValueError(f"join {name!r}: k is a whole number from 1 on, not {k!r}")
    if timeout_s is not None and not timeout_s > 0:
        raise ValueError(f"join {name!r}: timeout_s is a positive number of seconds, not {timeout_s!r}")

    async def gathered(items: list[Any]) -> list[Any]:
        return items

    return Node(gathered, name, role=JoinRole(k, timeout_s), shape=Shape(False, False, UNKNOWN, list))


async def _as_it_came(message: Any) -> Any:
    return message


def predicate_router(name: str, predicate: Callable[[Any], Any], policy: Any = None) -> Node[..., Any]:
    """A node that sends its message on, as it came, to the successors that `predicate` names.

    Args:
        name: The node's name.
        predicate: From the `Message` (or the payload, if its parameter is annotated with another type) to names or
            nodes; `None` or nothing drops the message.
        policy: A `RoutingPolicy`, or a function of the `RoutingRequest`, that may change the choice.
    """
    if not callable(predicate):
        raise TypeError(f"router {name!r}: the predicate is a function of the message, not {predicate!r:.80}")
    if inspect.iscoroutinefunction(predicate):
        raise TypeError(f"router {name!r}: the predicate is a plain function; what must wait goes into policy=")
    wants = parameter_annotation(predicate)
    shape = Shape(False, False, Message if wants is UNKNOWN else wants, UNKNOWN)
    return Node(_as_it_came, name, role=RouterRole(predicate, _policy(name, policy)), shape=shape)


def union_router(name: str, union: Any, policy: Any = None) -> Node[..., Any]:
    """A node that sends its message on by the payload's type: to the successor that takes it.

    A successor whose annotation is the payload's very class comes first, then one named like its `kind` or its class,
    then one whose annotation admits it.

    Args:
        name: The node's name.
        union: What it takes: `A | B`, or a tagged union as `Annotated[A | B, Field(discriminator=...)]`.
        policy: A `RoutingPolicy`, or a function of the `RoutingRequest`, that may change the choice.
    """
    shape = Shape(False, False, union, UNKNOWN)
    return Node(_as_it_came, name, role=RouterRole(None, _policy(name, policy), by_type=True), shape=shape)


def router(name: str, policy: Any = None) -> Node[..., Any]:
    """A node that proposes all of its successors and leaves the choice to `policy` and the deployment's plugins."""
    return Node(_as_it_came, name, role=RouterRole(None, _policy(name, policy)), shape=Shape(False, False, UNKNOWN))


def _policy(name: str, policy: Any) -> Any:
    if policy is None or callable(policy) or callable(getattr(policy, "select", None)):
        return policy
    raise TypeError(
        f"router {name!r}: a policy has a method select(request) or is a function, and {policy!r:.80} isn't"
    )


def subflow(name: str, flow: PenguiFlow) -> Node[..., Any]:
    """A whole flow as one node. It runs in the trace of its message: with its deadline, budget and plugins."""
    if not isinstance(flow, PenguiFlow):
        raise TypeError(f"subflow {name!r} takes a flow, as create(...) makes one, not {flow!r:.80}")
    nodes, wiring = flow.plan.wiring.nodes, flow.plan.wiring
    wants = nodes[wiring.entries[0]].shape.wants if len(wiring.entries) == 1 else UNKNOWN
    exits = [node for place, node in enumerate(nodes) if not wiring.successors[place]]
    controllers = any(place in after for place, after in enumerate(wiring.successors))  # their answers leave as well
    gives = exits[0].shape.gives if len(exits) == 1 and not controllers else UNKNOWN
    return Node(_as_it_came, name, role=SubflowRole(flow), shape=Shape(False, False, wants, gives))
