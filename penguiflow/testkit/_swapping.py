"""Puts something else in the place of a node, for a while.

Rules: the node stays the same object with the same name and policy, so every flow that it stands in has the stand-in,
also one that runs already; only routers and subflows are read when a flow starts. What was there before comes back at
the end, whatever happened.
"""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, aclosing, contextmanager
from typing import Any, TypeAlias

from penguiflow import Context, Node, PenguiFlow

AnyNode: TypeAlias = Node[..., Any]
Body: TypeAlias = Callable[[Any, Context | None], Awaitable[Any]]
"""What runs instead of a node's function: from its message and context (`None` in a flow that ran before, of a node
that takes none) to what it returns; of a generator, the list of what it yields."""


def kind(node: AnyNode) -> str:
    """`node`, `join`, `router` or `subflow`."""
    if node.role is None:
        return "node"
    return "router" if hasattr(node.role, "propose") else "subflow" if hasattr(node.role, "flow") else "join"


def paths(flow: PenguiFlow, prefix: str = "") -> Iterator[tuple[str, AnyNode]]:
    """Each node with its path; those of subflows after the node that stands for their flow."""
    for node in flow.nodes:
        yield f"{prefix}{node.name}", node
        inner = getattr(node.role, "flow", None)
        if isinstance(inner, PenguiFlow):
            yield from paths(inner, f"{prefix}{node.name}/{inner.name}/")


def found(flow: PenguiFlow, name: str | AnyNode) -> AnyNode:
    """The node of that name, or of that path in a subflow; a node of the flow is itself.

    Raises:
        LookupError: there is none; the text lists those there are.
    """
    if not isinstance(flow, PenguiFlow):
        raise TypeError(f"give the flow, as create(...) makes it, not {flow!r:.80}")
    known = dict(paths(flow))
    if isinstance(name, Node) and any(node is name for node in known.values()):
        return name
    if not (isinstance(name, str) and name in known):
        raise LookupError(f"flow {flow.name!r} has no node {name!r:.80}: it has {', '.join(known)}")
    return known[name]


class Original:
    """What a node did before: called as the node itself would be."""

    def __init__(self, node: AnyNode) -> None:
        self.func: Any = node.func
        self.shape: Any = node.shape
        self.role: Any = node.role

    def __call__(self, message: Any, ctx: Context | None) -> Any:
        """The awaitable, or the async generator of a generating node.

        Raises:
            RuntimeError: it needs a context, and there is none.
        """
        if hasattr(self.role, "flow"):
            if ctx is None:
                raise RuntimeError("a subflow needs a context to run")
            return ctx.call_playbook(self.role.flow, message)
        return self.func(message, ctx) if self.shape.takes_ctx else self.func(message)


class Swap:
    """A stand-in for one node, put in place and taken away again.

    Attributes:
        before: What the node did before, or does again once a stand-in below this one has gone.
    """

    def __init__(self, node: AnyNode) -> None:
        self.node: AnyNode = node
        self.before: Original = Original(node)

    def put(self, body: Body, policy: Callable[[Any], Any] | None = None) -> None:
        """Put `body` in the node's place; `policy` in that of a router's choice.

        Raises:
            RuntimeError: it stands there already.
        """
        if self in _standing:
            raise RuntimeError(f"this stand-in for {self.node.name!r} is in its place already: make another")
        self.before = Original(self.node)
        fit(self.node, body, policy)
        _standing.append(self)

    def undo(self) -> None:
        """Take it away, whichever of the node's stand-ins came last."""
        place = _standing.index(self)
        del _standing[place]
        above = next((other for other in _standing[place:] if other.node is self.node), None)
        if above is None:
            self.node.func, self.node.shape, self.node.role = self.before.func, self.before.shape, self.before.role
        else:
            above.before = self.before


_standing: list[Swap] = []  # every stand-in that is in its place, in the order in which they came


@contextmanager
def exchanged(flow: PenguiFlow, body: Callable[[str, AnyNode], Body]) -> Iterator[None]:
    """Put what `body` makes of a path and node in the place of each plain node, once where one stands twice."""
    with ExitStack() as stack:
        seen: set[int] = set()
        for path, node in paths(flow):
            if kind(node) == "node" and id(node) not in seen:
                seen.add(id(node))
                swap = Swap(node)
                swap.put(body(path, node))
                stack.callback(swap.undo)
        yield


def copied(node: AnyNode, body: Body, policy: Callable[[Any], Any] | None = None) -> AnyNode:
    """Another node with the same name and policy, that runs `body`."""
    twin = copy.copy(node)
    fit(twin, body, policy)
    return twin


def fit(node: AnyNode, body: Body, policy: Callable[[Any], Any] | None) -> None:
    """Make a node run `body`."""
    if kind(node) == "router":
        node.role = node.role._replace(policy=policy)  # type: ignore[union-attr, call-arg]  # it is a router's
        return
    node.func = _generating(body) if node.shape.generates else _plain(body)
    node.shape = node.shape._replace(takes_ctx=True)
    if kind(node) == "subflow":
        node.role = None


def _plain(body: Body) -> Any:
    async def stand_in(message: Any, ctx: Context | None = None) -> Any:
        return await body(message, ctx)

    return stand_in


def _generating(body: Body) -> Any:
    async def stand_in(message: Any, ctx: Context | None = None) -> AsyncIterator[Any]:
        answer = await body(message, ctx)
        if hasattr(answer, "__aiter__"):
            async with aclosing(answer):
                async for item in answer:
                    yield item
            return
        for item in answer if isinstance(answer, list | tuple) else [answer]:
            yield item

    return stand_in
