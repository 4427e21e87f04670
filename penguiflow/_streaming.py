"""Streams on the wire: chunks as server-sent events or WebSocket JSON, and streams of others as chunks.

Rules: a chunk's text may hold anything; each line of it becomes a `data:` line of its own, so that none can end the
event or forge a field.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Callable
from typing import Any

from penguiflow._context import Context
from penguiflow._flow import PenguiFlow
from penguiflow._messages import Message, StreamChunk

Piece = str | tuple[str, bool, dict[str, Any] | None] | None


def format_sse_event(chunk: StreamChunk, *, event_name: str | None = None, retry_ms: int | None = None) -> str:
    r"""A chunk as one server-sent event: its text as `data:`, `stream_id:seq` as `id:`.

    A bare carriage return is a line end in SSE and arrives as a line feed, as does `\r\n`; where every byte of a text
    counts, send `chunk_to_ws_json(chunk)` as the data instead.

    Args:
        chunk: The chunk.
        event_name: The event's type; by default `chunk`, and `done` for a stream's last.
        retry_ms: Milliseconds after which a browser shall reconnect.

    Raises:
        ValueError: the event's name has a line break, or `retry_ms` is negative.
    """
    name = event_name if event_name is not None else ("done" if chunk.done else "chunk")
    if "\n" in name or "\r" in name:
        raise ValueError(f"an event's name stands in one line, and {name!r} has a line break")
    if retry_ms is not None and (isinstance(retry_ms, bool) or not isinstance(retry_ms, int) or retry_ms < 0):
        raise ValueError(f"retry_ms is a number of milliseconds from 0 on, not {retry_ms!r}")
    fields = [f"event: {name}", f"id: {_one_line(chunk.stream_id)}:{chunk.seq}"]
    fields += [] if retry_ms is None else [f"retry: {retry_ms}"]
    lines = chunk.text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return "\n".join([*fields, *(f"data: {line}" for line in lines)]) + "\n\n"


def _one_line(text: str) -> str:
    return "".join(character for character in text if character not in "\r\n\0")


def chunk_to_ws_json(chunk: StreamChunk, *, extra: dict[str, Any] | None = None) -> str:
    """A chunk as one line of JSON for a WebSocket.

    Args:
        chunk: The chunk.
        extra: More members; they can't replace the chunk's own.

    Raises:
        ValueError: `extra` names one of the chunk's own members.
    """
    members = chunk.model_dump(mode="json")
    taken = [key for key in extra or {} if key in members]
    if taken:
        raise ValueError(f"extra can't replace the chunk's own {taken[0]!r}: give it another name")
    import json  # most programs never get here

    return json.dumps({**members, **(extra or {})}, ensure_ascii=False)


async def stream_flow(
    flow: PenguiFlow, message: Any, *, to: Any = None, timeout: float | None = None, include_final: bool = False
) -> AsyncGenerator[Any, None]:
    """The chunks of one trace and, with `include_final`, its output after them.

    Closing the generator cancels the trace. Python closes it once nothing refers to it any more, so leaving the loop is
    enough in `async for chunk in stream_flow(...)`; if a variable holds it, write
    `async with contextlib.aclosing(stream_flow(...)) as chunks`.

    Args:
        flow: A running flow.
        message: What it is asked: a payload or a `Message`.
        to: Nodes, or names, to enter at instead of the flow's entries.
        timeout: Seconds until the trace expires.
        include_final: Whether the output follows the chunks.

    Raises:
        FlowError: the trace did not complete.
    """
    async with flow.stream(message, timeout_s=timeout, to=to) as stream:
        async for chunk in stream:
            yield chunk
        if include_final:
            yield stream.result


async def emit_stream_events(
    source: AsyncIterable[Any],
    ctx: Context,
    message: Message[Any] | None = None,
    *,
    adapter: Callable[[Any], Piece] | None = None,
    to: Any = None,
    final_meta: dict[str, Any] | None = None,
) -> str:
    """Emit what an async iterable gives, such as a model's reply, as chunks; a last one with `done` ends the stream.

    Args:
        source: Pieces of text, or events that `adapter` reads.
        ctx: The context of the node that streams.
        message: The message that it belongs to; only there for those who come from 2.0.
        adapter: From an event to its text, or to `(text, done, meta)`; `None` skips the event.
        to: Successors instead of the default ones.
        final_meta: Annotations of the last chunk.

    Returns:
        The whole text.
    """
    pieces: list[str] = []
    ended = False
    async for event in source:
        piece = event if adapter is None else adapter(event)
        if piece is not None:
            text, done, meta = piece if isinstance(piece, tuple) else (piece, False, None)
            ended = ended or done
            pieces.append(text)
            await ctx.emit_chunk(text, message, done=done, meta=meta, to=to)
    if not ended:
        await ctx.emit_chunk("", message, done=True, meta=final_meta, to=to)
    return "".join(pieces)
