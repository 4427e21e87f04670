"""Any text arrives as it left, and no text makes an event of its own."""

import asyncio
import json
import threading

import httpx
import pytest
from httpx_sse import connect_sse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from webkit import Ask, serving

from penguiflow import Context, create, node
from penguiflow_asgi import Limits, anybody, flow_app

TEXTS = st.text(st.characters(), max_size=60) | st.lists(
    st.sampled_from(["\r", "\n", "\r\n", "\0", "\u2028", "\u2029", "\x85", "\x0b", "\ufeff", "\ud800", "\udfff"])
    | st.sampled_from(["data:", "event: end", "id: 7", "retry: 1", ": x", "\n\n", "é", "🐧", '"', "\\"]),
    max_size=8,
).map("".join)


def seen(text):
    """A text as UTF-16 has it, and with it JSON and browsers: two halves of a character are that character."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


@node
async def echo(ask: Ask, ctx: Context) -> str:
    """The texts come as JSON in a text: a lone surrogate is no valid input."""
    texts = json.loads(ask.words[0])
    for text in texts:
        await ctx.emit_chunk(text, meta={text: text})
    return "".join(texts)


@pytest.fixture(scope="module")
def address():
    """A server in a loop of its own, for all examples."""
    up, address, loop = threading.Event(), [], asyncio.new_event_loop()

    async def run():
        app = flow_app(create(echo), input=Ask, authenticate=anybody, limits=Limits(body_bytes=10_000_000))
        over.append(asyncio.Event())
        async with serving(app) as url:
            address.append(url)
            up.set()
            await over[0].wait()

    over = []
    thread = threading.Thread(target=lambda: loop.run_until_complete(run()))
    thread.start()
    assert up.wait(10)
    yield address[0]
    loop.call_soon_threadsafe(over[0].set)
    thread.join()
    loop.close()


def test_ten_thousand_random_texts_arrive_as_they_left_and_none_makes_an_event(address):
    with httpx.Client(base_url=address, trust_env=False, timeout=30) as web:
        count = 0

        @settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
        @given(st.lists(TEXTS, min_size=50, max_size=50))
        def check(texts):
            nonlocal count
            count += len(texts)
            with connect_sse(web, "POST", "/stream", json={"words": [json.dumps(texts)]}) as source:
                events = list(source.iter_sse())
            assert [event.event for event in events] == ["chunk"] * len(texts) + ["result", "end"]
            assert [event.id for event in events] == [str(number + 1) for number in range(len(texts) + 2)]
            told = [json.loads(event.data) for event in events]
            assert [chunk["text"] for chunk in told[:-2]] == [seen(text) for text in texts]
            assert [chunk["meta"] for chunk in told[:-2]] == [{seen(text): seen(text)} for text in texts]
            assert told[-2] == seen("".join(texts))

        check()
    assert count >= 10_000
