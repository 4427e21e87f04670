"""What a node can do while it runs: the `ctx` that it is given.

Rules: one context per invocation, shared by its attempts. It holds no logic: each method checks its arguments, then
asks the layer that knows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Final

from penguiflow import _chunks
from penguiflow._control import judged
from penguiflow._errors import FlowError, FlowStateError
from penguiflow._exits import named, routes
from penguiflow._floes import send, send_nowait
from penguiflow._lifecycle import expire
from penguiflow._messages import Message, StreamChunk
from penguiflow._node import Node
from penguiflow._parcel import Parcel
from penguiflow._trace import EMIT

_TURN = 255


class _Own:
    def __repr__(self) -> str:
        return "ctx.message"


_OWN: Final = _Own()  # `None` is a payload like any other


class Context(Parcel):
    """One run of one node, seen from inside.

    Attributes:
        attempt: Which attempt this is, counted from 0.
    """

    __slots__ = ()

    @property
    def meta(self) -> dict[str, Any]:
        """This branch's annotations. What a node writes here travels on with whatever it returns or emits."""
        if self._meta is None:
            self._meta = {}
        return self._meta

    @property
    def trace_id(self) -> str:
        """The trace that the message belongs to."""
        return self._trace.id

    @property
    def node_name(self) -> str:
        """The node that runs."""
        return self._station.name

    @property
    def successors(self) -> tuple[str, ...]:
        """The names of the nodes that this one leads to, in the order drawn."""
        return tuple(station.name for station in self._station.successors)

    @property
    def resources(self) -> Any:
        """What the flow's `resources` factory gave; `None` without one."""
        return self._trace.run.resources

    @property
    def deadline_left(self) -> float | None:
        """Seconds until the trace expires, never below 0; `None` if it doesn't."""
        deadline = self._trace.deadline
        return None if deadline is None else max(0.0, deadline - self._trace.run.clock())

    async def emit(self, message: Any, to: str | Node | Iterable[str | Node] | None = None) -> None:
        """Send a payload or message on at once, waiting where a floe is full.

        Args:
            message: What a successor takes. A bare payload keeps this branch's envelope.
            to: Successors (nodes or names), or `ROOKERY`. By default where the node's return value would go.

        Raises:
            FlowError: `ROUTING`; `to` names something that isn't a successor.
            asyncio.QueueFull: a floe on a cycle is at its limit, where waiting would never end.
        """
        targets, leaves = self._destinations(message, to)
        self._emitted = True
        if self._station.controller and to is None:
            message = judged(self._trace, self, message)
        if self._trace.outcome is None:
            await send(self, message, targets, leaves)
        self._emits += 1
        if not self._emits & _TURN:
            await asyncio.sleep(0)  # a node that emits without ever waiting gives the loop its turn

    def emit_nowait(self, message: Any, to: str | Node | Iterable[str | Node] | None = None) -> None:
        """`emit` to all of its targets at once, or to none.

        Raises:
            asyncio.QueueFull: a floe is full.
            FlowError: `ROUTING`; `to` names something that isn't a successor.
        """
        targets, leaves = self._destinations(message, to)
        if self._station.controller and to is None:
            message = judged(self._trace, self, message)
        if self._trace.outcome is None:
            send_nowait(self, message, targets, leaves)
        self._emitted = True

    def _destinations(self, message: Any, to: Any) -> tuple[tuple[Any, ...], bool]:
        self._require_live()
        if to is None:
            return routes(self._station, message)
        return named(self._station, to, self._station.successors)

    async def emit_chunk(
        self,
        text: str,
        parent: Message[Any] | None = None,
        *,
        stream_id: str | None = None,
        seq: int | None = None,
        done: bool = False,
        meta: dict[str, Any] | None = None,
        to: str | Node | Iterable[str | Node] | None = None,
    ) -> StreamChunk:
        """Stream one piece of text, waiting where its reader is behind.

        It goes to the successors whose annotation admits a `StreamChunk`; where there are none, straight to whoever
        reads the trace: `flow.stream`, a handle, or Rookery for an emitted trace.

        Args:
            text: The piece.
            parent: The message that it belongs to; must be of this trace. Only there for those who come from 2.0.
            stream_id: Names the stream; the trace's id by default.
            seq: Its number, if you count yourself.
            done: Whether it is the stream's last.
            meta: Annotations of the chunk.
            to: Successors, or `ROOKERY`, instead.

        Raises:
            FlowError: `ROUTING`; `to` names something that isn't a successor.
            TypeError: the text is no string.
            ValueError: `parent` is of another trace.
        """
        trace, station = self._trace, self._station
        if trace.outcome is not None:
            self._require_live()
        if parent is not None and parent.trace_id != trace.id:
            raise ValueError(f"parent is of trace {parent.trace_id}, this node runs in {trace.id}: leave it out")
        chunk = _chunks.made(self, text, stream_id, seq, done, meta)
        writer: Parcel = self
        channel = trace.reader
        if to is None and (trace.caller is not None or trace.mode == EMIT):
            writer, channel = _chunks.way_out(self)
        if to is not None or writer._station.chunk_targets:
            await _chunks.pass_on(writer, chunk, to)
        elif channel is not None and not channel.offer(chunk, station.name):
            await channel.put(chunk, station.name)
        self._emits += 1
        if not self._emits & _TURN:
            await asyncio.sleep(0)  # a node that emits without ever waiting gives the loop its turn
        return chunk

    async def call_playbook(self, playbook: Any, message: Any = _OWN, timeout: float | None = None) -> Any:
        """Run another flow inside this node and return its output.

        It runs in this trace: with its deadline, its budget and its plugins, and is cancelled with it. Its chunks go to
        the trace's reader; what it writes to `meta` is found in `ctx.meta` afterwards.

        Args:
            playbook: A flow, or a function that returns a flow or `(flow, registry)`.
            message: What the flow is asked, `None` included; left out, this node's own message.
            timeout: Seconds that it may take.

        Returns:
            The payload that it ends with; `None` if it has no output.

        Raises:
            FlowError: it failed; `DEADLINE_EXCEEDED` if it took too long.
            ValueError: several outputs; let the playbook join them.
        """
        self._require_live()
        given = self.message if message is _OWN else message
        return await self._trace.run.kernel.playbook(self, playbook, given, timeout)

    def spend(self, *, tokens: int = 0, cost: float = 0.0) -> None:
        """Report what this run used up, once. It counts against the budget of the whole trace.

        Args:
            tokens: How many tokens.
            cost: How much money, in the currency of the budget.

        Raises:
            FlowError: the budget is used up; the trace has ended.
            ValueError: a negative amount.
        """
        if not (tokens >= 0 and cost >= 0):
            raise ValueError(f"spend() reports what was used: tokens={tokens!r}, cost={cost!r} can't be negative")
        ledger = self._trace.ledger
        ledger.tokens += tokens
        ledger.cost += cost
        code = ledger.overdrawn()
        if code is not None:
            raise expire(self._trace.owner, code, self)

    def _require_live(self) -> None:
        trace = self._trace
        if trace.outcome is None:
            return
        if asyncio.current_task() in {strand.task for strand in trace.strands}:
            raise asyncio.CancelledError  # the node swallowed its cancellation: this is where it ends
        if isinstance(trace.error, FlowError):
            raise trace.error.twin()
        raise FlowStateError(f"trace {trace.id} has completed: a context is of no use after its trace")
