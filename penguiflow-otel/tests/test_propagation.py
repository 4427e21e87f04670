"""A trace crosses processes in the `meta` of messages."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from contextlib import nullcontext

import pytest
from opentelemetry import baggage, context, propagate, trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from seeing import ids

from penguiflow import Context, Message, create, node
from penguiflow_otel import extract, inject

REMOTE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@node
async def echoes(message: Message[int]) -> Message[int]:
    return message


@node
async def sends(x: int, ctx: Context) -> Message[int]:
    return inject(ctx.message)


async def test_a_trace_goes_on_from_what_the_message_carries(seen, telemetry):
    async with create(echoes, plugins=[telemetry()]) as flow:
        await flow.ask(Message(payload=1, meta={"traceparent": REMOTE, "tracestate": "a=b"}))
    span = seen.one("invoke_workflow flow")
    assert format(ids(span).trace_id, "032x") == "0af7651916cd43dd8448eb211c80319c"
    assert span.parent is not None
    assert format(span.parent.span_id, "016x") == "b7ad6b7169203331"
    assert span.parent.is_remote
    assert ids(span).trace_state.get("a") == "b"


async def test_what_the_sender_did_not_sample_is_not_recorded(seen, telemetry):
    async with create(echoes, plugins=[telemetry()]) as flow:
        await flow.ask(Message(payload=1, meta={"traceparent": f"{REMOTE[:-2]}00"}))
    assert seen.spans == ()


async def test_inside_of_a_callers_span_the_message_is_linked_to(seen, telemetry):
    tracer = seen.provider.get_tracer("user")
    async with create(echoes, plugins=[telemetry()]) as flow:
        with tracer.start_as_current_span("consume"):
            await flow.ask(Message(payload=1, meta={"traceparent": REMOTE}))
    assert seen.tree() == ["consume", "  invoke_workflow flow", "    invoke_node echoes"]
    (link,) = seen.one("invoke_workflow flow").links
    assert format(link.context.span_id, "016x") == "b7ad6b7169203331"


async def test_a_message_of_the_callers_own_span_is_no_link(seen, telemetry):
    tracer = seen.provider.get_tracer("user")
    async with create(echoes, plugins=[telemetry()]) as flow:
        with tracer.start_as_current_span("here"):
            await flow.ask(inject(Message(payload=1)))
    assert list(seen.one("invoke_workflow flow").links) == []


@pytest.mark.parametrize(
    "meta",
    [
        {"traceparent": "nonsense"},
        {"traceparent": 5},
        {"traceparent": None, "tracestate": ["a=b"]},
        {"traceparent": [REMOTE]},
        {"traceparent": "00-00000000000000000000000000000000-0000000000000000-01"},
        {"traceparent": b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
        {"baggage": object()},
        {"baggage": "user=\ud83d"},
    ],
    ids=["nonsense", "number", "none", "list", "zeros", "bytes", "object", "surrogate"],
)
async def test_what_is_no_context_begins_a_new_trace(seen, telemetry, meta, caplog):
    async with create(echoes, plugins=[telemetry()]) as flow:
        await flow.ask(Message(payload=1, meta=meta))
    assert seen.one("invoke_workflow flow").parent is None
    assert "on_event" not in caplog.text


async def test_a_trace_goes_on_though_its_vendors_part_is_no_text_that_could_be_sent(seen, telemetry):
    async with create(echoes, plugins=[telemetry()]) as flow:
        await flow.ask(Message(payload=1, meta={"traceparent": REMOTE, "tracestate": "a=\ud83d"}))
    assert format(ids(seen.one("invoke_workflow flow")).trace_id, "032x") == "0af7651916cd43dd8448eb211c80319c"


class Refuses(TraceContextTextMapPropagator):
    """A propagator that reads nothing."""

    def extract(self, carrier, context=None, getter=None):
        raise LookupError("no header is good enough")


@pytest.mark.parametrize("here", [False, True], ids=["root", "child"])
async def test_a_propagator_that_fails_costs_no_trace(seen, telemetry, caplog, here):
    caller = seen.provider.get_tracer("caller").start_as_current_span("here") if here else nullcontext()
    before = propagate.get_global_textmap()
    propagate.set_global_textmap(Refuses())
    try:
        async with create(echoes, plugins=[telemetry()]) as flow:
            with caller:
                await flow.ask(Message(payload=1, meta={"traceparent": REMOTE}))
    finally:
        propagate.set_global_textmap(before)
    trace_of_the_flow = ["invoke_workflow flow", "  invoke_node echoes"]
    assert seen.tree() == (["here", *(f"  {line}" for line in trace_of_the_flow)] if here else trace_of_the_flow)
    assert caplog.text == ""


async def test_inject_carries_the_nodes_own_span(seen, telemetry):
    async with create(sends, plugins=[telemetry()]) as flow:
        sent: Message[int] = await flow.ask(Message(payload=1, meta={"k": 1, "traceparent": REMOTE}))
    span = seen.one("invoke_node sends")
    assert sent.meta == {"k": 1, "traceparent": f"00-{ids(span).trace_id:032x}-{ids(span).span_id:016x}-{flags(span)}"}


def flags(span) -> str:
    return format(ids(span).trace_flags, "02x")


def test_inject_changes_no_message_and_leaves_one_alone_where_there_is_no_span():
    message: Message[int] = Message(payload=1, meta={"k": 1, "traceparent": REMOTE})
    assert inject(message).meta == {"k": 1, "traceparent": REMOTE}
    assert inject(message) is not message
    with pytest.raises(TypeError):
        inject()  # type: ignore[call-arg]


def test_a_span_that_carries_nothing_else_leaves_nothing_of_an_older_one(seen):
    tracer = seen.provider.get_tracer("user")
    message: Message[int] = Message(payload=1, meta={"traceparent": REMOTE, "tracestate": "a=b", "baggage": "x=y"})
    with tracer.start_as_current_span("here"):
        sent = inject(message)
    assert list(sent.meta) == ["traceparent"]
    assert message.meta["tracestate"] == "a=b"


def test_baggage_travels_too(seen):
    tracer = seen.provider.get_tracer("user")
    with tracer.start_as_current_span("here") as span:
        sent = inject(Message(payload=1), baggage.set_baggage("tenant", "acme"))
    got = extract(sent, context.Context())
    assert baggage.get_baggage("tenant", got) == "acme"
    assert trace.get_current_span(got).get_span_context().span_id == span.get_span_context().span_id


def test_baggage_without_a_span_leaves_the_trace_that_a_message_carries():
    message: Message[int] = Message(payload=1, meta={"traceparent": REMOTE, "baggage": "x=y"})
    assert inject(message, baggage.set_baggage("tenant", "acme")).meta == {
        "traceparent": REMOTE,
        "baggage": "tenant=acme",
    }


def test_what_a_message_carries_is_on_top_of_the_current_context(seen):
    attached = context.attach(baggage.set_baggage("tenant", "acme"))
    try:
        with seen.provider.get_tracer("user").start_as_current_span("here") as span:
            assert trace.get_current_span(extract(Message(payload=1))) is span
            got = extract(Message(payload=1, meta={"traceparent": REMOTE}))
            none = extract(Message(payload=1), context.Context())
    finally:
        context.detach(attached)
    assert format(trace.get_current_span(got).get_span_context().span_id, "x") in REMOTE
    assert baggage.get_baggage("tenant", got) == "acme"
    assert none == {}


async def test_flows_in_one_process_that_pass_messages_on_are_one_trace(seen, telemetry):
    plugin = telemetry
    async with (
        create(sends, name="one", plugins=[plugin()]) as one,
        create(echoes, name="two", plugins=[plugin()]) as two,
    ):
        sent = await one.ask(Message(payload=1))
        wire = Message[int](**json.loads(sent.model_dump_json(exclude={"trace_id", "ts"})))
        await two.ask(wire)
    assert seen.tree() == [
        "invoke_workflow one",
        "  invoke_node sends",
        "    invoke_workflow two",
        "      invoke_node echoes",
    ]


PEER = """
import asyncio, json, sys
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from penguiflow import Message, create, node
from penguiflow_otel import Options, Telemetry

exporter, provider = InMemorySpanExporter(), TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))

@node
async def answers(x: int) -> int:
    return x + 1

async def main():
    async with create(answers, name="peer", plugins=[Telemetry(Options(tracer_provider=provider))]) as flow:
        await flow.ask(Message[int](**json.load(sys.stdin)))
    for span in exporter.get_finished_spans():
        print(json.dumps([span.name, format(span.context.trace_id, "x"), format(span.parent.span_id, "x")]))

asyncio.run(main())
"""


async def test_a_trace_goes_on_in_another_process(seen, telemetry):
    async def ask_peer(wire: str) -> str:
        done = await asyncio.to_thread(
            subprocess.run, [sys.executable, "-c", PEER], input=wire, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    @node
    async def calls(x: int, ctx: Context) -> str:
        return await ask_peer(inject(ctx.message).model_dump_json(exclude={"trace_id"}))

    async with create(calls, name="here", plugins=[telemetry()]) as flow:
        answer = await flow.ask(1)
    (inner, peer) = [json.loads(line) for line in answer.splitlines()]
    caller = ids(seen.one("invoke_node calls"))
    assert (inner[0], peer[0]) == ("invoke_node answers", "invoke_workflow peer")
    assert {inner[1], peer[1]} == {format(caller.trace_id, "x")}
    assert peer[2] == format(caller.span_id, "x")
