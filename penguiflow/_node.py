"""Nodes: async functions with a name and a policy, and the edges that are drawn between them.

Rules: a node never changes and belongs to no flow, so it may stand in several and be called directly in a unit test.
What makes a router, a join or a subflow special is its `role`, plain data that the runtime reads.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, ParamSpec, TypeVar, overload

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked_dataclass

from penguiflow._signature import Shape, shape_of

if TYPE_CHECKING:
    from typing_extensions import ParamSpec as _ParamSpec
    from typing_extensions import TypeVar as _TypeVar

    P = _ParamSpec("P", default=...)
    R = _TypeVar("R", default=Any)
else:
    P = ParamSpec("P")
    R = TypeVar("R")

OPEN_SEA = "OpenSea"
ROOKERY = "Rookery"


@checked_dataclass(frozen=True, config=ConfigDict(extra="forbid", arbitrary_types_allowed=True, defer_build=True))
class NodePolicy:
    """How a node is run.

    Attributes:
        validate: Check what goes in, what comes out, both or none, against the annotations.
        timeout_s: Seconds that one attempt may take; `None` for no limit.
        max_retries: How many further attempts follow a failed one.
        backoff_base: Seconds before the first retry.
        backoff_mult: By what the wait grows from one retry to the next.
        max_backoff: The longest wait in seconds; `None` for no limit.
        retry_on: The exceptions worth another attempt. A time-out counts as a `TimeoutError`, a group as all that is in
            it: one exception in it that isn't worth it is enough.
        jitter: The part of each wait that is random, from 0 to 1: 0.5 waits between half and the whole of it.
        max_concurrency: How many runs at a time over all traces; `None` for no limit.
        per_trace_concurrency: How many runs at a time within one trace. 1 keeps messages in order.
        retry_after_emit: Retry an attempt even when it has emitted. Its successors then see those messages twice.
    """

    validate: Literal["both", "in", "out", "none"] = "both"
    timeout_s: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    max_retries: int = Field(default=0, ge=0)
    backoff_base: float = Field(default=0.5, ge=0, allow_inf_nan=False)
    backoff_mult: float = Field(default=2.0, ge=1, allow_inf_nan=False)
    max_backoff: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    retry_on: type[BaseException] | tuple[type[BaseException], ...] = Exception
    jitter: float = Field(default=0.0, ge=0, le=1)
    max_concurrency: int | None = Field(default=None, ge=1)
    per_trace_concurrency: int = Field(default=1, ge=1)
    retry_after_emit: bool = False


class JoinRole(NamedTuple):
    """The node gathers `k` messages of a trace into one."""

    k: int
    timeout_s: float | None


class RouterRole(NamedTuple):
    """The node passes its message on to some of its successors.

    `propose` takes the message (as `wants` says) and names successors; without it, all are proposed. `policy`, an
    object with `select(request)` or a function of the request, may change the proposal.
    """

    propose: Callable[[Any], Any] | None
    policy: Any
    by_type: bool = False


class SubflowRole(NamedTuple):
    """The node is a whole flow."""

    flow: Any


Role = JoinRole | RouterRole | SubflowRole


class Adjacency(NamedTuple):
    """A node and those that its messages go to. `create` takes any number of them."""

    node: Node
    successors: tuple[Node, ...]


class Node(Generic[P, R]):
    """An async function that stands in a flow.

    Args:
        func: `async def f(message)` or `async def f(message, ctx)`, or an async generator of that shape. The message's
            annotation says what it takes: a payload model, `Message`, `Message[Model]`; with none, whatever the
            node before it returned.
        name: Unique within a flow; the function's own name by default.
        policy: Time limits, retries, concurrency and validation.
        allow_cycle: Whether a cycle may pass through this node. A node with an edge to itself is a controller.
        playbooks: The flows, or functions that return one, that the node calls with `ctx.call_playbook`. They are
            drawn with it; running it doesn't look at them.

    Attributes:
        name: The node's name.
        policy: How it is run.

    Raises:
        TypeError: the function is not async, or takes something else than a message and a context.
        ValueError: the name is empty or taken by the kernel.
    """

    __slots__ = ("allow_cycle", "func", "name", "playbooks", "policy", "role", "shape")

    def __init__(
        self,
        func: Callable[P, R],
        name: str | None = None,
        policy: NodePolicy | None = None,
        allow_cycle: bool = False,
        *,
        playbooks: Iterable[Any] = (),
        role: Role | None = None,
        shape: Shape | None = None,
    ) -> None:
        self.name: str = _checked_name(called(func) if name is None else name)
        if policy is not None and not isinstance(policy, NodePolicy):
            raise TypeError(f"node {self.name!r}: policy= takes a NodePolicy(...), not {policy!r:.80}")
        self.func: Callable[P, R] = func
        self.policy: NodePolicy = policy or NodePolicy()
        self.allow_cycle: bool = allow_cycle
        self.playbooks: tuple[Any, ...] = _checked_playbooks(self.name, playbooks)
        self.role: Role | None = role
        self.shape: Shape = shape or shape_of(func, self.name)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the bare function: no policy, no validation, no flow."""
        return self.func(*args, **kwargs)

    def to(self, *nodes: Node) -> Adjacency:
        """Edges from this node to `nodes`, in this order. A node that is given itself is a controller."""
        for other in nodes:
            if not isinstance(other, Node):
                raise TypeError(f"{self.name!r} can only lead to nodes, not to {other!r:.80}: wrap it in Node(...)")
        return Adjacency(self, nodes)

    def __repr__(self) -> str:
        return f"<Node {self.name}>"


def called(func: Any) -> str:
    """The name of a function, or of the class of whatever stands in for one."""
    while isinstance(func, functools.partial):
        func = func.func
    name: str = getattr(func, "__name__", type(func).__name__)
    return name


def _checked_playbooks(name: str, playbooks: Iterable[Any]) -> tuple[Any, ...]:
    if callable(playbooks) or hasattr(playbooks, "plan"):
        raise TypeError(f"node {name!r}: playbooks= takes several, as in playbooks=[{called(playbooks)}]")
    found = tuple(playbooks)
    for playbook in found:
        if not (callable(playbook) or hasattr(playbook, "plan")) or iscoroutinefunction(playbook):
            raise TypeError(
                f"node {name!r}: a playbook is a flow or a plain function that returns one, not {playbook!r:.80}"
            )
    return found


def _checked_name(name: object) -> str:
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f"a node's name is a non-empty string, not {name!r}")
    if name in (OPEN_SEA, ROOKERY):
        raise ValueError(f"{name!r} is where messages enter or leave a flow: give the node another name")
    return name


@overload
def node(func: Callable[P, R], /) -> Node[P, R]: ...


@overload
def node(
    *,
    name: str | None = ...,
    policy: NodePolicy | None = ...,
    allow_cycle: bool = ...,
    playbooks: Iterable[Any] = ...,
    **fields: Any,
) -> Callable[[Callable[P, R]], Node[P, R]]: ...


def node(
    func: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    policy: NodePolicy | None = None,
    allow_cycle: bool = False,
    playbooks: Iterable[Any] = (),
    **fields: Any,
) -> Any:
    """Make a node of a function: `@node`, or `@node(timeout_s=10, max_retries=3)` with `NodePolicy`'s fields.

    Args:
        func: The function, as `Node` takes it.
        name: Unique within a flow; the function's own name by default.
        policy: A `NodePolicy`, instead of its fields.
        allow_cycle: Whether a cycle may pass through the node.
        playbooks: The flows that it calls, to be drawn with it.
        fields: `NodePolicy`'s fields.

    Raises:
        TypeError: a field that `NodePolicy` doesn't have, or fields beside `policy=`.
        ValueError: a field's value is out of its range (pydantic's `ValidationError` says which).
    """
    if policy is not None and fields:
        raise TypeError(f"give either policy= or its fields, not both: {', '.join(sorted(fields))}")
    unknown = [field for field in fields if field not in NodePolicy.__dataclass_fields__]
    if unknown:
        known = ", ".join(NodePolicy.__dataclass_fields__)
        raise TypeError(f"a node's policy has no field {unknown[0]!r}: it has {known}")
    chosen = policy or NodePolicy(**fields)

    def made(function: Callable[..., Any]) -> Node[..., Any]:
        return Node(function, name, chosen, allow_cycle, playbooks=playbooks)

    return made if func is None else made(func)
