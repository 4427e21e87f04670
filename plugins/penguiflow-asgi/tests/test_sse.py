"""Event streams: what arrives, what follows a client that leaves, comes back, or reads slowly."""

import asyncio
import json
import subprocess
from contextlib import asynccontextmanager

import pytest
from httpx_sse import aconnect_sse
from pydantic import BaseModel, field_validator
from starlette.middleware.gzip import GZipMiddleware
from test_http import is_problem
from webkit import Answer, Ask, Watch, client, serving, speaking, until
from websockets.asyncio.client import connect

from penguiflow import Context, create, node
from penguiflow_asgi import Limits, anybody, flow_app


def served(watch=None, **limits):
    return flow_app(speaking(watch), input=Ask, output=Answer, authenticate=anybody, limits=Limits(**limits))


async def read(source, count=None):
    """The events of a stream, or the first so many."""
    found = []
    async for event in source.aiter_sse():
        found.append(event)
        if len(found) == count:
            break
    return found


def told(events):
    return [(event.event, json.loads(event.data)) for event in events]


@asynccontextmanager
async def reading(web, trace_id, after=None):
    headers = {} if after is None else {"last-event-id": after}
    async with aconnect_sse(web, "GET", f"/traces/{trace_id}/events", headers=headers) as source:
        yield source


async def begin(web, **ask):
    return (await web.post("/traces", json=ask)).json()["trace_id"]


async def test_chunks_the_result_and_the_end_are_named_events_with_ids():
    words = ["one\n", "two\r\n", "\rdata: forged\n\nevent: end\n", "", "\x00\u2028é🐧"]
    async with serving(served()) as url, client(url) as web:
        async with aconnect_sse(web, "POST", "/stream", json={"words": words}) as source:
            events = await read(source)
            headers = source.response.headers
    assert [event.event for event in events] == ["chunk"] * 5 + ["result", "end"]
    assert [event.id for event in events] == ["1", "2", "3", "4", "5", "6", "7"]
    assert events[0].retry == 1_000
    assert [data["text"] for _, data in told(events)[:5]] == words
    assert told(events)[5][1]["text"] == "".join(words)
    assert told(events)[6][1] == {"trace_id": headers["x-trace-id"], "outcome": "completed"}
    assert headers["content-type"].startswith("text/event-stream")
    assert headers["cache-control"] == "no-store"


async def test_a_retried_node_s_stream_restarts():
    async with serving(served()) as url, client(url) as web:
        async with aconnect_sse(web, "POST", "/stream", json={"words": ["a"], "restart": True}) as source:
            events = told(await read(source))
    assert [name for name, _ in events] == ["chunk", "restart", "chunk", "result", "end"]
    assert events[1][1]["seq"] == events[2][1]["seq"] == 1


@pytest.mark.parametrize(
    ("ask", "code"), [({"fail": "hunter2"}, "NODE_EXCEPTION"), ({"forever": True}, "DEADLINE_EXCEEDED")]
)
async def test_a_trace_that_fails_ends_its_stream_with_the_problem(ask, code):
    async with serving(served(timeout_s=0.1)) as url, client(url) as web:
        async with aconnect_sse(web, "POST", "/stream", json={"words": ["a"], **ask}) as source:
            events = told(await read(source))
    assert [name for name, _ in events] == ["chunk", "error"]
    assert events[1][1]["code"] == code
    assert "hunter2" not in json.dumps(events)


async def test_what_can_not_be_told_ends_the_stream_with_a_problem_and_its_trace():
    seen = Watch()

    @node
    async def strange(ask: Ask, ctx: Context) -> None:
        try:
            await ctx.emit(object())
            await asyncio.sleep(3600)
        finally:
            seen.cancelled += 1

    app = flow_app(create(strange), input=Ask, authenticate=anybody)
    async with serving(app) as url, client(url) as web:
        async with aconnect_sse(web, "POST", "/stream", json={}) as source:
            events = told(await read(source))
        await until(lambda: seen.cancelled == 1)
    assert [(name, data["code"]) for name, data in events] == [("error", "OUTPUT")]


class Fussy(BaseModel):
    """A model whose own code fails, as an input and as an output."""

    text: str

    @field_validator("text")
    @classmethod
    def fuss(cls, text: str) -> str:
        return {"fine": "fine"}[text]


async def test_a_model_whose_own_code_fails_ends_its_trace_with_a_problem_on_every_way(caplog):
    @node
    async def gives(ask: Ask) -> dict:
        return {"text": "hunter2"}

    app = flow_app(create(gives), input=Ask, output=Fussy, authenticate=anybody)
    async with serving(app) as url, client(url) as web:
        assert is_problem(await web.post("/", json={}), 500)["code"] == "OUTPUT"
        async with aconnect_sse(web, "POST", "/stream", json={}) as source:
            events = told(await read(source))
        async with connect(url.replace("http", "ws") + "/ws", proxy=None) as socket:
            await socket.send('{"type": "start", "id": "a", "input": {}}')
            heard = [json.loads(await socket.recv()) for _ in range(2)]
    assert [(name, data["code"]) for name, data in events] == [("error", "OUTPUT")]
    assert [(one["type"], one["data"].get("code")) for one in heard] == [("started", None), ("error", "OUTPUT")]
    assert "hunter2" not in caplog.text + json.dumps([events, heard])


async def test_an_input_s_model_whose_own_code_fails_ends_no_other_trace_of_its_socket(caplog):
    @node
    async def takes(fussy: Fussy) -> str:
        return await asyncio.Event().wait() or fussy.text

    app = flow_app(create(takes), input=Fussy, authenticate=anybody)
    async with serving(app) as url, connect(url.replace("http", "ws") + "/ws", proxy=None) as socket:
        heard = []
        for name, text in (("a", "fine"), ("b", "odd"), ("c", "fine")):
            await socket.send(json.dumps({"type": "start", "id": name, "input": {"text": text}}))
            heard.append(json.loads(await socket.recv()))
    assert [(one["type"], one["id"]) for one in heard] == [("started", "a"), ("error", "b"), ("started", "c")]
    assert heard[1]["data"]["status"] == 500
    assert "KeyError" in caplog.text


async def test_every_output_of_several_is_told():
    async with serving(served()) as url, client(url) as web:
        async with aconnect_sse(web, "POST", "/stream", json={"outputs": 3}) as source:
            assert [name for name, _ in told(await read(source))] == ["result"] * 3 + ["end"]


async def test_a_silent_stream_has_heartbeats_that_are_no_events():
    async with serving(served(heartbeat_s=0.01)) as url, client(url) as web:
        async with web.stream("POST", "/stream", json={"words": ["a"], "forever": True}) as response:
            text = ""
            async for part in response.aiter_text():
                text += part
                if text.count(": still there\n") == 3:
                    break
    assert [line for line in text.split("\n") if line and not line.startswith((":", "id:", "retry:", "data:"))] == [
        "event: chunk"
    ]


async def test_a_client_that_leaves_cancels_its_trace_also_while_the_node_is_silent():
    watch = Watch()
    async with serving(served(watch)) as url, client(url) as web:
        async with aconnect_sse(web, "POST", "/stream", json={"words": ["a"], "forever": True}) as source:
            await read(source, 1)
            trace_id = source.response.headers["x-trace-id"]
            await source.response.aclose()
        await until(lambda: watch.cancelled == 1, seconds=1)
        await until(lambda: watch.running == 0)
        assert (await web.get(f"/traces/{trace_id}")).json()["state"] == "cancelled"


async def test_a_middleware_that_compresses_holds_no_event_back():
    watch = Watch()
    app = served(watch)
    app.add_middleware(GZipMiddleware, minimum_size=1)
    async with serving(app) as url, client(url) as web:
        async with aconnect_sse(web, "POST", "/stream", json={"words": ["a"], "forever": True}) as source:
            async with asyncio.timeout(5):
                assert [event.event for event in await read(source, 1)] == ["chunk"]
            await source.response.aclose()
        await until(lambda: watch.cancelled == 1)


async def test_a_trace_is_started_and_read_elsewhere():
    async with serving(served()) as url, client(url) as web:
        trace_id = await begin(web, words=["a", "b"])
        async with reading(web, trace_id) as source:
            assert [name for name, _ in told(await read(source))] == ["chunk", "chunk", "result", "end"]
        is_problem(await web.get(f"/traces/{trace_id}/events"), 404)
        assert (await web.get(f"/traces/{trace_id}")).json()["state"] == "completed"


async def test_a_trace_that_has_found_its_reader_waits_for_none_any_more():
    watch = Watch()
    async with serving(served(watch, attach_s=0.1, heartbeat_s=0.05)) as url, client(url) as web:
        trace_id = await begin(web, forever=True)
        async with web.stream("GET", f"/traces/{trace_id}/events") as response:
            beats = 0
            async for line in response.aiter_lines():
                beats += line == ": still there"
                if beats == 6:
                    break
            assert watch.running == 1


async def test_a_client_that_comes_back_goes_on_where_it_was():
    words = [str(number) for number in range(200)]
    async with serving(served(linger_s=30)) as url, client(url) as web:
        trace_id = await begin(web, words=words)
        got, after = [], None
        for count in (1, 7, 50, None):
            async with reading(web, trace_id, after) as source:
                events = await read(source, count)
                await source.response.aclose()
            got += events
            after = events[-1].id
        assert [event.id for event in got] == [str(number) for number in range(1, 203)]
        assert [data["text"] for name, data in told(got) if name == "chunk"] == words
        over = await web.get(f"/traces/{trace_id}/events", headers={"last-event-id": after})
        assert over.status_code == 204
        async with reading(web, trace_id, "199") as source:
            assert [event.id for event in await read(source)] == ["200", "201", "202"]


async def test_what_is_not_kept_any_more_is_gone_and_what_is_no_id_is_refused():
    app = served(linger_s=30, replay_events=3)
    async with serving(app) as url, client(url) as web:
        trace_id = await begin(web, words=["w"] * 20)
        async with reading(web, trace_id) as source:
            await read(source)
        path = f"/traces/{trace_id}/events"
        is_problem(await web.get(path), 410)
        is_problem(await web.get(path, headers={"last-event-id": "5"}), 410)
        is_problem(await web.get(path, headers={"last-event-id": "23"}), 400)
        for wrong in ("x", "-1", "1.5", "9" * 5_000, "²"):
            answer = await web.get(path, headers={"last-event-id": wrong.encode()})
            is_problem(answer, 400)
        async with reading(web, trace_id, "19") as source:
            assert [event.event for event in await read(source)] == ["chunk", "result", "end"]


async def test_the_bytes_that_are_kept_are_bounded_too():
    async with serving(served(linger_s=30, replay_bytes=5_000)) as url, client(url) as web:
        trace_id = await begin(web, words=["w" * 1_000] * 20)
        async with reading(web, trace_id) as source:
            await read(source)
        is_problem(await web.get(f"/traces/{trace_id}/events", headers={"last-event-id": "14"}), 410)
        async with reading(web, trace_id, "21") as source:
            assert [event.event for event in await read(source)] == ["end"]


async def test_a_client_that_does_not_come_back_in_time_cancels_its_trace():
    watch = Watch()
    async with serving(served(watch, linger_s=0.05)) as url, client(url) as web:
        async with aconnect_sse(web, "POST", "/stream", json={"words": ["a"], "forever": True}) as source:
            await read(source, 1)
            await source.response.aclose()
        await until(lambda: watch.cancelled == 1)


async def test_one_reads_at_a_time_and_who_comes_back_takes_over_from_his_lost_connection():
    async with serving(served(linger_s=30)) as url, client(url) as web:
        trace_id = await begin(web, words=["a", "b"], forever=True)
        async with reading(web, trace_id) as lost:
            events = lost.aiter_sse()
            assert [(await anext(events)).id, (await anext(events)).id] == ["1", "2"]
            is_problem(await web.get(f"/traces/{trace_id}/events"), 409)
            async with reading(web, trace_id, "1") as source:
                assert [event.id for event in await read(source, 1)] == ["2"]
                assert [event async for event in events] == []


async def test_a_cancelled_trace_tells_its_reader():
    async with serving(served()) as url, client(url) as web:
        async with aconnect_sse(web, "POST", "/stream", json={"words": ["a"], "forever": True}) as source:
            events = source.aiter_sse()
            await anext(events)
            cancelled = await web.delete(f"/traces/{source.response.headers['x-trace-id']}")
            assert cancelled.json()["state"] == "cancelled"
            assert [json.loads(event.data)["code"] async for event in events] == ["TRACE_CANCELLED"]


@asynccontextmanager
async def lazy(url, watch):
    """A client that reads the first line of a long answer, and nothing more."""
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=1_024)
    body = json.dumps({"words": ["w" * 1_000] * 20_000})
    head = f"POST /stream HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
    writer.write((head + "\r\n" + body).encode())
    await reader.readline()
    await watch.started.wait()
    yield
    writer.transport.abort()


async def test_a_slow_client_slows_its_node_and_no_other_one():
    watch = Watch()
    async with serving(served(watch, body_bytes=50_000_000)) as url, client(url) as web:
        async with lazy(url, watch):
            taken = -1
            while taken != watch.chunks:
                taken = watch.chunks
                await asyncio.sleep(0.2)
            assert watch.chunks < 19_000
            assert (await web.post("/", json={"words": ["a"]})).json()["text"] == "a"
        await until(lambda: watch.cancelled == 1, seconds=1)


async def test_a_client_that_takes_nothing_for_too_long_is_given_up():
    watch = Watch()
    async with serving(served(watch, idle_s=0.2, body_bytes=50_000_000)) as url:
        async with lazy(url, watch):
            await until(lambda: watch.cancelled == 1)


async def test_curl_shows_events_as_they_come():
    watch = Watch()
    async with serving(served(watch)) as url:
        command = ["curl", "-sN", "--json", '{"words": ["a", "b"], "forever": true}', f"{url}/stream"]
        process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
        lines = [(await process.stdout.readline()).decode().strip() for _ in range(9)]
        assert [line for line in lines if line.startswith("event")] == ["event: chunk"] * 2
        process.terminate()
        await process.wait()
        await until(lambda: watch.cancelled == 1, seconds=1)
