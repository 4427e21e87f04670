"""WebSockets: many traces on one, and what ends which of them."""

import asyncio
import json
import logging

import pytest
from webkit import Answer, Ask, Watch, client, serving, speaking, until
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from penguiflow_asgi import Limits, anybody, bearer, flow_app

TOKEN = {"Authorization": "Bearer secret-a"}


def served(watch=None, authenticate=anybody, origins=(), **limits):
    return flow_app(
        speaking(watch),
        input=Ask,
        output=Answer,
        authenticate=authenticate,
        origins=origins,
        limits=Limits(**limits),
    )


def talking(url, **options):
    return connect(url.replace("http", "ws") + "/ws", proxy=None, max_queue=4, **options)


async def say(socket, **message):
    await socket.send(json.dumps(message))


async def hear(socket):
    message = json.loads(await socket.recv())
    return message["type"], message["id"], message["data"]


async def hear_until(socket, *ends):
    """What is told until each of these traces has ended, in order, by trace."""
    found = {}
    missing = set(ends)
    while missing:
        kind, name, data = await hear(socket)
        found.setdefault(name, []).append((kind, data))
        if kind in ("end", "error"):
            missing.discard(name)
    return found


async def test_many_traces_on_one_socket_each_whole_and_in_order():
    words = ["one", "\r\n\x00", "\u2028", ""] * 10
    async with serving(served()) as url, talking(url) as socket:
        names = [f"trace {number}" for number in range(20)]
        for name in names:
            await say(socket, type="start", id=name, input={"words": words})
        told = await hear_until(socket, *names)
    for name in names:
        kinds = [kind for kind, _ in told[name]]
        assert kinds == ["started"] + ["chunk"] * 40 + ["result", "end"]
        assert [data["text"] for kind, data in told[name] if kind == "chunk"] == words


async def test_a_cancelled_trace_ends_and_the_others_go_on():
    watch = Watch()
    async with serving(served(watch)) as url, talking(url) as socket:
        for name in ("a", "b"):
            await say(socket, type="start", id=name, input={"forever": True})
        assert [(await hear(socket))[0] for _ in range(2)] == ["started", "started"]
        await say(socket, type="cancel", id="a")
        kind, name, data = await hear(socket)
        assert (kind, name, data["code"]) == ("error", "a", "TRACE_CANCELLED")
        assert watch.running == 1
        await say(socket, type="start", id="a", input={"words": ["again"]})
        assert (await hear_until(socket, "a"))["a"][-1][0] == "end"


async def test_a_client_that_leaves_cancels_its_traces():
    watch = Watch()
    async with serving(served(watch)) as url:
        async with talking(url) as socket:
            for number in range(5):
                await say(socket, type="start", id=str(number), input={"forever": True})
                await hear(socket)
            await until(lambda: watch.running == 5)
            socket.transport.abort()
        await until(lambda: watch.cancelled == 5, seconds=1)
        assert watch.running == 0


async def test_a_client_that_leaves_with_its_last_word_cancels_what_it_started():
    watch = Watch()
    async with serving(served(watch, traces_per_tenant=1)) as url, client(url) as web:
        for _ in range(5):
            async with talking(url) as socket:
                await say(socket, type="start", id="a", input={"forever": True})
        async with asyncio.timeout(2):
            while (answer := await web.post("/", json={"words": ["room"]})).status_code == 429:
                pass
        assert answer.status_code == 200
        assert watch.running == 0


async def test_a_problem_speaks_of_what_was_sent():
    async with serving(served()) as url, talking(url) as socket:
        details = []
        for message in (
            {"type": "start", "id": "a", "input": {}, "timeout_s": 0},
            {"type": "cancel", "id": 7},
        ):
            await say(socket, **message)
            details.append((await hear(socket))[2])
    assert details[0]["detail"] == "timeout_s is a number of seconds above 0, such as 2.5"
    assert [error["loc"] for error in details[1]["errors"]] == [["cancel", "id"]]


@pytest.mark.parametrize(
    ("text", "status", "name"),
    [
        ("no json", 400, None),
        ("[" * 50_000, 400, None),
        ("7", 422, None),
        ('{"type": "stop", "id": "x"}', 422, "x"),
        ('{"type": "start", "id": "", "input": {}}', 422, ""),
        ('{"type": "start", "id": "x", "input": {"words": 7}}', 422, "x"),
        ('{"type": "start", "id": "x", "input": {}, "timeout_s": -1}', 400, "x"),
        ('{"type": "start", "id": "busy", "input": {}}', 409, "busy"),
        ('{"type": "cancel", "id": "x"}', 404, "x"),
    ],
)
async def test_what_is_wrong_with_one_message_ends_nothing_else(text, status, name):
    watch = Watch()
    async with serving(served(watch)) as url, talking(url) as socket:
        await say(socket, type="start", id="busy", input={"forever": True})
        assert (await hear(socket))[:2] == ("started", "busy")
        await socket.send(text)
        kind, about, problem = await hear(socket)
        assert (kind, about, problem["status"]) == ("error", name, status)
        await say(socket, type="start", id="next", input={})
        assert (await hear_until(socket, "next"))["next"][-1][0] == "end"
        assert watch.running == 1


async def test_a_trace_that_fails_or_is_late_says_so_and_its_name_is_free_again():
    async with serving(served()) as url, talking(url) as socket:
        for more, code in (({"input": {"fail": "hunter2"}}, "NODE_EXCEPTION"), ({}, "DEADLINE_EXCEEDED")):
            await say(socket, **{"type": "start", "id": "x", "input": {"forever": True}, "timeout_s": 0.05} | more)
            told = (await hear_until(socket, "x"))["x"]
            assert [kind for kind, _ in told] == ["started", "error"]
            assert told[1][1]["code"] == code
            assert "hunter2" not in json.dumps(told)


async def test_nobody_takes_a_trace_over_from_its_socket():
    watch = Watch()
    async with serving(served(watch)) as url, client(url) as web, talking(url) as socket:
        await say(socket, type="start", id="a", input={"words": ["x"], "forever": True})
        assert [(await hear(socket))[0] for _ in range(2)] == ["started", "chunk"]
        answer = await web.get(f"/traces/{watch.trace_ids[0]}/events", headers={"last-event-id": "1"})
        assert answer.status_code == 409
        assert watch.running == 1


async def test_so_many_traces_go_on_at_once():
    async with serving(served(traces_per_socket=2)) as url, talking(url) as socket:
        for name in ("a", "b", "c"):
            await say(socket, type="start", id=name, input={"forever": True})
        told = [await hear(socket) for _ in range(3)]
        assert [(kind, name) for kind, name, _ in told if kind == "error"] == [("error", "c")]


@pytest.mark.parametrize(("message", "code"), [(b"\x00", 1003), ("x" * 2_000, 1009), ("é" * 600, 1009)])
async def test_what_is_no_text_or_too_long_closes_the_socket(message, code):
    async with serving(served(body_bytes=1_000)) as url, talking(url) as socket:
        await socket.send(message)
        with pytest.raises(ConnectionClosed) as closed:
            await socket.recv()
        assert closed.value.rcvd.code == code


async def test_an_idle_socket_is_closed_but_not_one_with_a_trace():
    async with serving(served(idle_s=0.1)) as url, talking(url) as socket:
        await say(socket, type="start", id="a", input={"forever": True}, timeout_s=0.5)
        assert [(await hear(socket))[0] for _ in range(2)] == ["started", "error"]
        with pytest.raises(ConnectionClosed) as closed:
            await socket.recv()
        assert closed.value.rcvd.code == 1001


async def test_pages_of_other_origins_and_clients_without_a_token_are_refused():
    allowed = served(authenticate=bearer({"secret-a": "acme"}), origins=["https://friend.example"])
    async with serving(allowed) as url:
        for options, status in (
            ({}, 401),
            ({"additional_headers": TOKEN, "origin": "https://evil.example"}, 403),
            ({"additional_headers": TOKEN, "origin": "null"}, 403),
        ):
            with pytest.raises(InvalidStatus) as refused:
                async with talking(url, **options):
                    pass
            assert refused.value.response.status_code == status
        for origin in (None, url, "https://friend.example"):
            async with talking(url, additional_headers=TOKEN, origin=origin) as socket:
                await say(socket, type="start", id="a", input={"words": ["x"]})
                assert (await hear_until(socket, "a"))["a"][-2][1]["tenant"] == "acme"


async def test_a_socket_that_takes_nothing_slows_its_own_traces_alone(caplog):
    watch = Watch()
    async with serving(served(watch, idle_s=2), ws_per_message_deflate=False) as url, client(url) as web:
        async with talking(url, compression=None) as socket:
            await say(socket, type="start", id="a", input={"words": ["w" * 1_000] * 900})
            for number in range(12):
                await say(socket, type="start", id=str(number), input={"words": ["w" * 1_000] * 900})
            taken = -1
            while taken != watch.chunks:
                taken = watch.chunks
                await asyncio.sleep(0.2)
            assert watch.chunks < 10_000
            assert (await web.post("/", json={"words": ["a"]})).json()["text"] == "a"
            await until(lambda: watch.running == 0)  # all at once: it is one client that takes nothing
            socket.transport.abort()
        await until(lambda: watch.running == 0)
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []
