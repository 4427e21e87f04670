"""`FakeNode`: a node that answers what a test wants, and notes what it was asked."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from penguiflow import Context, Node, PenguiFlow, RoutingRequest
from penguiflow.testkit._lending import End, Lendable
from penguiflow.testkit._swapping import AnyNode, Swap, found, kind


class Call(NamedTuple):
    """One call of a fake.

    Attributes:
        message: What the node was given: what its annotation says.
        trace_id: The trace; `None` if the flow ran before, and the node takes no context.
        attempt: Which attempt it was, from 0; `None` likewise.
    """

    message: Any
    trace_id: str | None
    attempt: int | None


_UNSET: Any = object()


class FakeNode(Lendable):
    """Puts a fake in the place of a node: `with FakeNode(flow, "search", returns=[doc]) as search:`.

    What it returns is checked against the node's annotations, as ever, and the node's policy holds.

    Args:
        flow: The flow.
        name: The node's name, in a subflow its path, as in `sub/inner/search`; or the node itself.
        returns: What each call returns; of a generating node, the list of what it yields.
        results: What the calls return, one after the other; an exception among them is raised.
        raises: What each call raises.
        func: A function of the message, or of the message and `ctx`, async or not.
        to: Of a router: the names of the nodes that messages go to.
        latency_s: Seconds that each call takes.
        chunks: The texts of the stream chunks that each call writes before it returns.

    Raises:
        LookupError: the flow has no such node.
        RuntimeError: a router or subflow of a flow that runs already: it was read when the flow started.
        TypeError: what it shall do isn't said once.
        ValueError: a negative latency.

    Attributes:
        calls: What it was called with.
    """

    def __init__(
        self,
        flow: PenguiFlow,
        name: str | AnyNode,
        *,
        returns: Any = _UNSET,
        results: Iterable[Any] = _UNSET,
        raises: BaseException | type[BaseException] = _UNSET,
        func: Callable[..., Any] = _UNSET,
        to: str | Sequence[str] = _UNSET,
        latency_s: float = 0.0,
        chunks: Sequence[str] = (),
    ) -> None:
        node = found(flow, name)
        name = node.name if isinstance(name, Node) else name
        ways = {"returns": returns, "results": results, "raises": raises, "func": func, "to": to}
        self._ways: dict[str, Any] = {way: value for way, value in ways.items() if value is not _UNSET}
        if len(self._ways) != 1:
            raise TypeError(f"say once what the fake {name!r} does: one of {', '.join(ways)}")
        router = kind(node) == "router"
        if router and not self._ways.keys() <= {"to", "raises", "func"}:
            raise TypeError(f"{name!r} is a router: say to=, raises= or func=, which names nodes")
        if "to" in self._ways and not router:
            raise TypeError(f"{name!r} is no router: to= is for routers")
        if not latency_s >= 0:
            raise ValueError(f"latency_s is a number of seconds from 0 on, not {latency_s!r}")
        super().__init__()
        self.calls: list[Call] = []
        self._name: str = name
        self._flow: PenguiFlow = flow
        self._latency_s: float = latency_s
        self._chunks: tuple[str, ...] = tuple(chunks)
        self._swap: Swap = Swap(node)
        self._results: Any = iter(self._ways.get("results", ()))

    @property
    def messages(self) -> list[Any]:
        """What it was called with, without the rest."""
        return [call.message for call in self.calls]

    def _begun(self) -> End:
        if self._flow.running and kind(self._swap.node) in ("router", "subflow"):
            raise RuntimeError(
                f"{self._name!r} is a {kind(self._swap.node)}, and flow {self._flow.name!r} runs already: put the fake "
                "in its place before the flow starts"
            )
        self._swap.put(self._body, self._choice)
        return lambda *left: self._swap.undo()

    async def _body(self, message: Any, ctx: Context | None) -> Any:
        self.calls.append(Call(message, *((None, None) if ctx is None else (ctx.trace_id, ctx.attempt))))
        if self._latency_s:
            await asyncio.sleep(self._latency_s)
        for text in self._chunks:
            if ctx is None:
                raise RuntimeError(f"the fake {self._name!r} needs a context for chunks: begin before the flow starts")
            await ctx.emit_chunk(text)
        return await self._answer(message, ctx)

    async def _choice(self, request: RoutingRequest) -> Any:
        self.calls.append(Call(request.message, request.trace_id, 0))
        if self._latency_s:
            await asyncio.sleep(self._latency_s)
        return await self._answer(request.message, None)

    async def _answer(self, message: Any, ctx: Context | None) -> Any:
        ((way, value),) = self._ways.items()
        if way == "raises":
            raise value.with_traceback(None) if isinstance(value, BaseException) else value
        if way == "func":
            answer = value(message, ctx) if _takes_two(value) else value(message)
            return await answer if inspect.isawaitable(answer) else answer
        return self._next() if way == "results" else value

    def _next(self) -> Any:
        try:
            answer = next(self._results)
        except StopIteration:
            raise AssertionError(
                f"the fake {self._name!r} was called {len(self.calls)} times, and has {len(self.calls) - 1} results"
            ) from None
        if isinstance(answer, BaseException) or (inspect.isclass(answer) and issubclass(answer, BaseException)):
            raise answer
        return answer


def _takes_two(func: Callable[..., Any]) -> bool:
    """Whether it takes the context too: by the rule that holds for a node's own function."""
    try:
        parameters = inspect.signature(func).parameters.values()
    except (TypeError, ValueError):  # some built-in ones have no signature
        return False
    places = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    required = [p for p in places if p.default is p.empty]
    return len(required) == 2 or (len(places) > 1 and places[1].name == "ctx")
