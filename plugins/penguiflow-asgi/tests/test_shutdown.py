"""A service on its way down: who is served still, who isn't any more, and who is told."""

import asyncio
import json

import pytest
from fastapi import FastAPI
from httpx_sse import aconnect_sse
from test_http import is_problem
from webkit import Answer, Ask, Watch, client, serving, speaking, until
from websockets.asyncio.client import connect

from penguiflow_asgi import Limits, anybody, flow_app
from penguiflow_asgi.serving import serve


def served(watch, **limits):
    return flow_app(speaking(watch), input=Ask, output=Answer, authenticate=anybody, limits=Limits(**limits))


async def test_while_it_drains_no_trace_begins_and_those_that_are_read_go_on():
    watch = Watch()
    app = served(watch)
    async with serving(app, drains=True) as url, client(url) as web:
        idle = (await web.post("/traces", json={"forever": True})).json()["trace_id"]
        asking = asyncio.create_task(web.post("/", json={"forever": True}))
        await until(lambda: watch.running == 2)
        draining = asyncio.create_task(app.drain())
        await until(lambda: watch.running == 1)
        assert (await web.get(f"/traces/{idle}")).json()["state"] == "cancelled"
        is_problem(await web.get("/ready"), 503)
        is_problem(await web.post("/", json={}), 503)
        assert not draining.done()
        await web.delete(f"/traces/{watch.trace_ids[1]}")
        is_problem(await asking, 409)
        await draining


async def test_what_is_late_is_cancelled_and_every_kind_of_client_is_told():
    watch = Watch()
    app = served(watch, drain_s=0.1, linger_s=30)
    async with serving(app, drains=True) as url, client(url) as web:
        async with aconnect_sse(web, "POST", "/stream", json={"words": ["a"], "forever": True}) as source:
            events = source.aiter_sse()
            await anext(events)
            asking = asyncio.create_task(web.post("/", json={"forever": True}))
            async with connect(url.replace("http", "ws") + "/ws", proxy=None) as socket:
                await socket.send('{"type": "start", "id": "a", "input": {"forever": true}}')
                await socket.recv()
                await until(lambda: watch.running == 3)
                await app.drain()
                assert json.loads(await socket.recv())["data"]["code"] == "TRACE_CANCELLED"
            assert [json.loads(event.data)["code"] async for event in events] == ["TRACE_CANCELLED"]
        assert is_problem(await asking, 409)["code"] == "TRACE_CANCELLED"
        assert watch.running == 0


async def test_nothing_lingers_while_it_drains():
    watch = Watch()
    app = served(watch, linger_s=30)
    async with serving(app, drains=True) as url, client(url) as web:
        async with aconnect_sse(web, "POST", "/stream", json={"words": ["a"], "forever": True}) as source:
            await anext(source.aiter_sse())
            draining = asyncio.create_task(app.drain())
            is_problem(await web.get("/ready"), 503)
            await source.response.aclose()
        async with asyncio.timeout(5):
            await draining
        assert watch.cancelled == 1


async def test_what_was_drained_can_run_again():
    app = served(Watch())
    for _ in range(2):
        async with serving(app, drains=True) as url, client(url) as web:
            assert (await web.post("/", json={"words": ["x"]})).json()["text"] == "x"


def test_what_drains_has_to_be_said():
    with pytest.raises(TypeError, match="flow_app"):
        serve(FastAPI())
