"""Streams on the wire (server-sent events, WebSocket JSON), streams of others as chunks, and the readers' side."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penguiflow import (
    Context,
    FlowError,
    FlowStateError,
    Message,
    Node,
    StreamChunk,
    TraceCancelled,
    chunk_to_ws_json,
    create,
    emit_stream_events,
    format_sse_event,
    node,
    stream_flow,
)
from tests.utils.flowtestkit import Recorder, clock, quiet, virtual_time
from tests.utils.sse import parse_sse


def chunk(text: str = "", **fields: Any) -> StreamChunk:
    return StreamChunk(**{"stream_id": "s", "seq": 0, "text": text, **fields})


# --- server-sent events ---------------------------------------------------------------------------


def test_a_chunk_is_one_event_with_its_text_type_and_id():
    events, _ = parse_sse(format_sse_event(chunk("hello", seq=3)))
    assert events == [{"event": "chunk", "data": "hello", "id": "s:3"}]


def test_the_last_chunk_is_an_event_of_another_type_and_the_caller_may_name_it():
    assert parse_sse(format_sse_event(chunk("x", done=True)))[0][0]["event"] == "done"
    assert parse_sse(format_sse_event(chunk("x"), event_name="token"))[0][0]["event"] == "token"
    assert parse_sse(format_sse_event(chunk("x", done=True), event_name="token"))[0][0]["event"] == "token"


def test_the_time_to_reconnect_is_milliseconds():
    assert parse_sse(format_sse_event(chunk("x"), retry_ms=1500))[1]["retry"] == "1500"
    assert parse_sse(format_sse_event(chunk("x"), retry_ms=0))[1]["retry"] == "0"
    assert "retry" not in format_sse_event(chunk("x"))


NASTY = [
    "",
    " ",
    "\n",
    "\n\n",
    "line one\nline two",
    "windows\r\nlines",
    "old\rmac",
    "ends with\n",
    "\nevent: forged\ndata: forged\n\n",
    "\n\nid: 99\nretry: 1\n\n",
    "\r\revent: forged\rdata: x\r\r",
    "data: in the text",
    ": a comment",
    " leading and trailing ",
    "nul\0nul",
    "\u2028separators\u2029 \x85 \x0b \x0c \x1c",
    "\ufeffmark",
    "pingüino 🐧 企鹅",
]


@pytest.mark.parametrize("text", NASTY, ids=ascii)
def test_no_text_can_end_the_event_or_forge_a_field(text: str):
    events, kept = parse_sse(format_sse_event(chunk("before")) + format_sse_event(chunk(text, seq=1)))
    assert len(events) == 2
    assert events[1] == {"event": "chunk", "data": re.sub(r"\r\n|\r", "\n", text), "id": "s:1"}
    assert kept["retry"] == ""


@given(st.lists(st.text(alphabet=st.characters(codec="utf-8") | st.sampled_from("\r\n: \0")), max_size=4))
def test_any_texts_arrive_as_they_were_sent(texts: list[str]):
    events, _ = parse_sse("".join(format_sse_event(chunk(text)) for text in texts))
    assert [event["data"] for event in events] == [re.sub(r"\r\n|\r", "\n", text) for text in texts]


@pytest.mark.parametrize(
    "stream_id", ["a\nb", "a\r\ndata: x", "a\n\nevent: forged\ndata: x\n\n", "a\0b", "é:1"], ids=ascii
)
def test_no_stream_id_can_end_the_event_or_forge_a_field(stream_id: str):
    events, _ = parse_sse(format_sse_event(chunk("text", stream_id=stream_id, seq=4)))
    (event,) = events
    assert (event["event"], event["data"]) == ("chunk", "text")
    assert event["id"].endswith(":4")


@pytest.mark.parametrize("name", ["a\nb", "a\rdata: x", "\n", "a\r\nb"], ids=ascii)
def test_an_event_name_with_a_line_break_is_refused(name: str):
    with pytest.raises(ValueError, match="an event's name stands in one line, and .* has a line break"):
        format_sse_event(chunk("x"), event_name=name)


@pytest.mark.parametrize("retry", [-1, 1.5, True, "5\ndata: x"])
def test_a_time_to_reconnect_that_is_no_whole_number_is_refused(retry: Any):
    with pytest.raises((ValueError, TypeError), match="retry_ms"):
        format_sse_event(chunk("x"), retry_ms=retry)


# --- WebSocket JSON -------------------------------------------------------------------------------


@pytest.mark.parametrize("text", NASTY, ids=ascii)
def test_a_chunk_is_one_line_of_json_with_every_character_of_its_text(text: str):
    line = chunk_to_ws_json(chunk(text, seq=2, done=True, meta={"k": [1, None]}))
    assert "\n" not in line
    assert "\r" not in line
    assert json.loads(line) == {"stream_id": "s", "seq": 2, "text": text, "done": True, "meta": {"k": [1, None]}}


def test_more_members_are_added_and_never_replace_the_chunks_own():
    members = json.loads(chunk_to_ws_json(chunk("x"), extra={"type": "chunk", "room": 7}))
    assert (members["type"], members["room"], members["text"]) == ("chunk", 7, "x")
    with pytest.raises(ValueError, match="extra can't replace the chunk's own 'text': give it another name"):
        chunk_to_ws_json(chunk("x"), extra={"text": "forged"})


# --- stream_flow ----------------------------------------------------------------------------------


@node
async def talk(x: int, ctx: Context) -> str:
    for number in range(x):
        await ctx.emit_chunk(str(number))
    return "end"


@virtual_time
async def test_stream_flow_gives_the_chunks_and_if_asked_the_output():
    async with create(talk) as flow:
        assert [c.text async for c in stream_flow(flow, 3)] == ["0", "1", "2"]
        items = [item async for item in stream_flow(flow, Message(payload=2), include_final=True)]
    assert [getattr(item, "text", None) for item in items] == ["0", "1", None]
    assert items[-1].payload == "end"


@virtual_time
async def test_leaving_stream_flow_cancels_the_trace_and_its_timeout_ends_it():
    async def forever(x: int, ctx: Context) -> None:
        while True:
            await ctx.emit_chunk("x")
            await asyncio.sleep(1)

    recorder = Recorder()
    async with create(Node(forever), on_event=recorder) as flow:
        chunks = stream_flow(flow, 1)
        assert (await anext(chunks)).text == "x"
        await chunks.aclose()  # type: ignore[attr-defined]
        assert recorder.of("trace_finish")[0].outcome == "cancelled"
        with pytest.raises(FlowError) as caught:
            assert [c async for c in stream_flow(flow, 1, timeout=3.5)] == []
    assert (caught.value.code, round(clock(), 1)) == ("DEADLINE_EXCEEDED", 1003.5)
    recorder.assert_lawful()


# --- emit_stream_events ---------------------------------------------------------------------------


class Source:
    """A provider's stream; says when it was closed."""

    def __init__(self, *events: Any, then: Exception | None = None) -> None:
        self.events, self.then, self.closed = events, then, False

    async def __call__(self) -> AsyncIterator[Any]:
        try:
            for event in self.events:
                await asyncio.sleep(1)
                yield event
            if self.then is not None:
                raise self.then
        finally:
            self.closed = True


def relay(source: Source, **options: Any) -> Node:
    async def run(x: int, ctx: Context) -> Any:
        return await emit_stream_events(source(), ctx, ctx.message, **options)

    return Node(run)


@virtual_time
async def test_what_a_source_gives_becomes_chunks_and_a_last_one_ends_the_stream():
    async with create(relay(Source("a", "b"), final_meta={"tokens": 2})) as flow:
        async with flow.stream(1) as stream:
            found = [(c.text, c.seq, c.done, c.meta) async for c in stream]
    assert found == [("a", 0, False, {}), ("b", 1, False, {}), ("", 2, True, {"tokens": 2})]


@virtual_time
async def test_an_adapter_of_the_published_package_gives_text_done_and_meta():
    def adapter(event: dict[str, Any]) -> tuple[str, bool, dict[str, Any]]:
        return event["t"], event.get("last", False), {"raw": event["t"]}

    source = Source({"t": "a"}, {"t": "b", "last": True})
    async with create(relay(source, adapter=adapter)) as flow:
        async with flow.stream(1) as stream:
            found = [(c.text, c.done, c.meta) async for c in stream]
    assert found == [("a", False, {"raw": "a"}), ("b", True, {"raw": "b"})]


@virtual_time
async def test_an_adapter_may_read_the_text_of_an_event_and_skip_some():
    source = Source({"t": "a"}, {}, {"t": "b"})
    async with create(relay(source, adapter=lambda event: event.get("t"))) as flow:
        assert [c.text async for c in stream_flow(flow, 1)] == ["a", "b", ""]


@virtual_time
async def test_a_source_that_breaks_is_the_nodes_error_and_ends_no_stream():
    source = Source("a", then=ConnectionError("gone"))
    async with create(relay(source)) as flow:
        seen: list[StreamChunk] = []
        with pytest.raises(FlowError, match="ConnectionError: gone"):
            async for item in stream_flow(flow, 1):
                seen.append(item)
    assert [(c.text, c.done) for c in seen] == [("a", False)]


@virtual_time
async def test_a_reader_that_leaves_closes_the_source():
    source = Source("a", "b", "c")
    async with create(relay(source)) as flow:
        async with flow.stream(1) as stream:
            assert (await anext(stream)).text == "a"
        await quiet()
        assert source.closed
    assert clock() < 1002


# --- handles and streams --------------------------------------------------------------------------


@virtual_time
async def test_a_handle_gives_chunks_and_outputs_in_the_order_they_came():
    async def both(x: int, ctx: Context) -> str:
        await ctx.emit_chunk("a")
        await ctx.emit("first")
        await ctx.emit_chunk("b")
        return "second"

    async with create(Node(both)) as flow:
        handle = flow.start(1)
        assert (len(handle.trace_id), handle.outcome) == (32, None)
        items = [getattr(item, "text", item) async for item in handle]
        assert items == ["a", "first", "b", "second"]
        assert (handle.outcome, await handle.results()) == ("completed", ["first", "second"])
        assert await handle.cancel() is False
        assert "completed" in repr(handle)


@virtual_time
async def test_a_failure_is_raised_where_the_reader_is_after_what_came_before_it():
    async def breaks(x: int, ctx: Context) -> None:
        await ctx.emit_chunk("a")
        raise ValueError("broken")

    async with create(Node(breaks)) as flow:
        for reader in (flow.start(1), stream_flow(flow, 1)):
            seen = []
            with pytest.raises(FlowError, match="broken"):
                async for item in reader:
                    seen.append(item.text)
            assert seen == ["a"]
        handle = flow.start(1)
        for _ in range(2):
            with pytest.raises(FlowError, match="broken"):
                await handle.result()


@virtual_time
async def test_leaving_a_stream_early_cancels_its_trace_and_the_result_says_so():
    recorder = Recorder()

    @node
    async def slow(x: int, ctx: Context) -> int:
        await ctx.emit_chunk("a")
        await asyncio.sleep(100)
        return x

    async with create(slow, on_event=recorder) as flow:
        async with flow.stream(1) as stream:
            async for _ in stream:
                break
        assert recorder.of("trace_finish")[0].outcome == "cancelled"
        with pytest.raises(TraceCancelled):
            _ = stream.result
        with pytest.raises(KeyError):
            async with flow.stream(1):
                raise KeyError
    assert [event.outcome for event in recorder.of("trace_finish")] == ["cancelled", "cancelled"]
    assert clock() < 1001


@virtual_time
async def test_a_stream_may_end_before_it_is_read_and_its_result_be_read_alone():
    async with create(talk) as flow, flow.stream(2) as stream:
        await quiet()
        assert stream.result == "end"
        assert [c.text async for c in stream] == ["0", "1"]
        assert [c async for c in stream] == []


@virtual_time
async def test_iterating_a_stream_from_outside_its_block_is_a_state_error():
    async with create(talk) as flow:
        with pytest.raises(FlowStateError, match="enter the stream first"):
            async for _ in flow.stream(1):
                pass
