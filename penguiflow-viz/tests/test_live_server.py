"""The live view's server: what it tells, whom it refuses, and that it never stands in the flow's way."""

from __future__ import annotations

import asyncio
import base64
import gc
import hashlib
import itertools
import json
import logging
import os
import re
import signal
import socket
import time
import tracemalloc
from collections.abc import AsyncIterator, MutableMapping
from contextlib import ExitStack, aclosing, asynccontextmanager
from typing import Any

import httpx
import pytest
from vizkit.known import big
from vizkit.watching import MARK, client, snapshots, stuck, until

from penguiflow import FlowError, FlowStateError, Message, Node, NodePolicy, PenguiFlow, create, subflow
from penguiflow_viz import LiveView, Recorder, drawing_of, serve
from penguiflow_viz.live.snapshots import AT_ONCE, Snapshots
from penguiflow_viz.live.stream import Stream

TOKEN = "a-token-of-our-own-0123456789"


async def same(x: Any) -> Any:
    return x


def quick(**options: Any) -> PenguiFlow:
    return create(Node(same, "first").to(Node(same, "second")), name="f", **options)


def gated(gate: asyncio.Event, **policy: Any) -> PenguiFlow:
    async def waits(x: int | str) -> int | str:
        if x == "bad":
            raise ValueError("no good")
        await gate.wait()
        return x

    return create(Node(waits, "waits", NodePolicy(**policy)), name="f")


@asynccontextmanager
async def viewed(flow: PenguiFlow, **options: Any) -> AsyncIterator[tuple[LiveView, httpx.AsyncClient]]:
    headers = {"Authorization": f"Bearer {options['token']}"} if "token" in options else {}
    async with flow, serve(flow, port=0, **{"interval_s": 0.02, **options}) as view, client(view, **headers) as asking:
        yield view, asking


# --- what it tells


async def test_the_page_is_whole_in_itself_and_may_run_nothing_else():
    async with viewed(quick()) as (_, asking):
        answer = await asking.get("/", headers={"X-PenguiFlow-View": ""})
    (script,) = re.findall(r"<script>(.*)</script>", answer.text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = answer.headers["content-security-policy"]
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "connect-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert set(re.findall(r"https?://[^\s\"'<]+", answer.text)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"\bsrc=|@import|url\(", answer.text)
    for name, value in {
        "cache-control": "no-store",
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
        "referrer-policy": "no-referrer",
        "cross-origin-resource-policy": "same-origin",
    }.items():
        assert answer.headers[name] == value


async def test_a_snapshot_tells_what_runs_and_waits_now():
    gate = asyncio.Event()
    flow = gated(gate, max_concurrency=2)
    async with viewed(flow) as (_, asking):
        drawing = (await asking.get("/api/drawing")).json()["data"]
        (box,) = [box["id"] for box in drawing["boxes"] if box["name"] == "waits"]
        asked = [asyncio.ensure_future(flow.ask(x)) for x in range(5)]
        seen = await until(asking, lambda s: s["totals"]["in flight"] == 5)
        assert (seen["nodes"][box]["running"], seen["nodes"][box]["waiting"]) == (2, 3)
        assert [trace["outcome"] for trace in seen["traces"]] == [""] * 5
        gate.set()
        await asyncio.gather(*asked)
        seen = await until(asking, lambda s: s["totals"]["completed"] == 5)
        assert (seen["nodes"][box]["running"], seen["nodes"][box]["waiting"], seen["nodes"][box]["runs"]) == (0, 0, 5)
        assert seen["links"] == [5, 5]


async def test_errors_are_counted_and_listed_with_their_traces():
    flow = gated(asyncio.Event())
    async with viewed(flow) as (_, asking):
        with pytest.raises(FlowError):
            await flow.ask(Message(payload="bad", trace_id="t"))
        seen = await until(asking, lambda s: s["totals"]["errors"])
        ((_, trace_id, node_id, name, error),) = seen["mishaps"]
        assert (trace_id, node_id, name, error) == ("t", "f/waits", "waits", "ValueError: no good")
        assert (seen["totals"]["failed"], seen["traces"][0]["errors"]) == (1, 1)


async def test_a_trace_is_told_with_its_waterfall_and_what_it_waits_for():
    gate = asyncio.Event()
    flow = create(subflow("part", gated(gate)), name="f")
    async with viewed(flow) as (_, asking):
        handle = flow.start(Message(payload=1, trace_id="a/b ?&#ü"))
        await until(asking, lambda s: s["traces"] and s["traces"][0]["runs"] == 2)
        told = (await asking.get("/api/trace", params={"id": handle.trace_id, "wide": "1400"})).json()
        assert told["waits"] == ["node 'part' is running", "f: node 'waits' is running"]
        assert told["svg"].count('class="pw-run pw-running') == 2
        assert re.search(r'<svg [^>]*width="1[34]\d\d"', told["svg"])
        gate.set()
        await handle.result()
        told = (await asking.get("/api/trace", params={"id": handle.trace_id})).json()
        assert (told["trace"]["outcome"], told["waits"]) == ("completed", [])
        missing = await asking.get("/api/trace", params={"id": "nobody"})
        assert (missing.status_code, missing.text.startswith("no trace 'nobody' is kept")) == (404, True)


async def test_a_recorder_of_the_flow_shows_what_happened_before():
    flow = quick(plugins=[recorder := Recorder()])
    async with flow:
        await flow.ask(1)
        async with serve(flow, port=0, recorder=recorder) as view, client(view) as asking:
            await flow.ask(2)
            seen = await until(asking, lambda s: True)
    assert seen["totals"]["completed"] == 2
    assert recorder.nodes["f/first"].runs == 2  # nothing was counted twice


async def test_a_snapshot_is_bounded_whatever_the_flow_does():
    gate = asyncio.Event()
    flow = gated(gate)
    async with viewed(flow) as (_, asking):
        ends = [asyncio.ensure_future(flow.ask("bad")) for _ in range(300)]
        await asyncio.gather(*ends, return_exceptions=True)
        handles = [flow.start(x) for x in range(300)]
        seen = await until(asking, lambda s: s["totals"]["in flight"] == 300)
        assert (len(seen["traces"]), seen["unlisted"], len(seen["mishaps"])) == (120, 240, 20)
        gate.set()
        for handle in handles:
            await handle.result()


# --- cancelling


async def test_cancel_ends_the_trace_and_says_whether_it_did():
    flow = gated(asyncio.Event())
    async with viewed(flow) as (_, asking):
        handle = flow.start(Message(payload=1, trace_id="to end"))
        answer = await asking.post("/api/cancel", content="to end")
        assert (answer.json(), handle.outcome) == ({"cancelled": True}, "cancelled")
        assert (await asking.post("/api/cancel", content="to end")).json() == {"cancelled": False}
        assert (await asking.post("/api/cancel", content=b"\xff")).status_code == 400
        assert (await asking.post("/api/cancel", content="x" * 5000)).status_code == 413
        assert (await asking.get("/api/cancel")).status_code == 405


# --- who may ask

PATHS = ("/api/drawing", "/api/events", "/api/trace?id=t", "/api/cancel")


def method(path: str) -> str:
    return "POST" if path == "/api/cancel" else "GET"


async def test_what_tells_or_does_something_wants_a_header_that_no_foreign_page_can_send():
    async with viewed(flow := gated(asyncio.Event())) as (view, _):
        handle = flow.start(Message(payload=1, trace_id="t"))
        async with httpx.AsyncClient(base_url=view.url) as bare:
            told = [await bare.request(method(path), path, content=b"t") for path in PATHS]
        assert [answer.status_code for answer in told] == [403] * len(PATHS)
        assert handle.outcome is None
        await handle.cancel()


async def test_a_page_from_elsewhere_is_refused():
    async with viewed(quick()) as (_, asking):
        for origin in ("http://evil.example", "null", "http://127.0.0.1:1", "file://", ""):
            for path in ("/", *PATHS):
                refused = await asking.request(method(path), path, headers={"Origin": origin})
                assert refused.status_code == 403, (origin, path)


async def test_the_page_itself_may_ask():
    async with viewed(quick()) as (view, asking):
        own = {"Origin": view.url.rstrip("/"), "Sec-Fetch-Site": "same-origin"}
        assert (await asking.post("/api/cancel", content="t", headers=own)).status_code == 200
        for site in ("cross-site", "same-site", "none"):
            refused = await asking.post("/api/cancel", content="t", headers={"Sec-Fetch-Site": site})
            assert refused.status_code == 403


async def test_a_foreign_page_that_asks_for_leave_gets_none():
    async with viewed(quick()) as (_, asking):
        ask = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-penguiflow-view"}
        for origin in ("http://evil.example", None):
            headers = ask if origin is None else ask | {"Origin": origin}
            answer = await asking.options("/api/cancel", headers=headers)
            assert answer.status_code in (403, 405)
            assert [name for name in answer.headers if name.startswith("access-control")] == []


STRANGERS = ("evil.example", "evil.example:80", "127.0.0.1.evil.example", "192.168.0.1", "", "[::2]:1")
OWN = ("localhost", "LOCALHOST:9000", "127.0.0.1", "127.8.8.8:80", "[::1]:9", "localhost.:1")


async def test_a_name_that_was_made_to_point_here_is_refused():
    async with viewed(quick()) as (_, asking):
        for host in STRANGERS:
            for path in ("/", *PATHS):
                refused = await asking.request(method(path), path, headers={"Host": host})
                assert refused.status_code == 421, (host, path)


async def test_this_machine_by_its_own_names_is_answered():
    async with viewed(quick()) as (_, asking):
        for host in OWN:
            assert (await asking.get("/api/drawing", headers={"Host": host})).status_code == 200, host


async def test_it_may_be_bound_to_any_address_of_this_machine():
    for host, shown in (("127.0.0.1", "127.0.0.1"), ("localhost", "localhost"), ("::1", "[::1]")):
        async with viewed(quick(), host=host) as (view, asking):
            assert view.url.startswith(f"http://{shown}:")
            assert (await asking.get("/api/drawing")).status_code == 200
    async with viewed(quick(), host="", token=TOKEN) as (view, _):
        assert view.url.startswith(f"http://{socket.gethostname()}:")


async def test_a_name_that_was_allowed_is_answered():
    async with viewed(quick(), hosts=["flows.example"]) as (_, asking):
        assert (await asking.get("/api/drawing", headers={"Host": "flows.example"})).status_code == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.7", "example.org", ""])
def test_bound_elsewhere_it_needs_a_token(host: str):
    with pytest.raises(ValueError, match="so it needs a token"):
        serve(quick(), host=host)


@pytest.mark.parametrize("token", ["", "short", "x" * 15, "with a space in it...", "umlaut-ü-umlaut-ü-umlaut"])
def test_a_token_that_will_not_do_is_refused_without_telling_it(token: str):
    with pytest.raises(ValueError, match="at least 16 letters") as refused:
        serve(quick(), token=token)
    assert not token or token not in str(refused.value)


async def test_with_a_token_the_page_alone_is_open():
    async with viewed(quick(), host="0.0.0.0", token=TOKEN) as (view, _):
        url = view.url.replace(socket.gethostname(), "127.0.0.1")
        async with httpx.AsyncClient(base_url=url, headers=MARK) as asking:
            assert (await asking.get("/")).status_code == 200
            for path in PATHS:
                for given in (None, "Bearer wrong-token-0123456789", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x"):
                    headers = {} if given is None else {"Authorization": given}
                    assert (await asking.request(method(path), path, headers=headers)).status_code == 401
                right = {"Authorization": f"Bearer {TOKEN}"}
            assert (await asking.get("/api/drawing", headers=right)).status_code == 200
            assert (await asking.get("/api/drawing", headers=right | {"Host": "evil.example"})).status_code == 421
            assert (await asking.get("/api/drawing", headers=right | {"Host": "10.1.2.3:80"})).status_code == 200


async def test_the_token_stands_in_no_log_address_or_text(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.DEBUG):
        async with viewed(quick(), token=TOKEN) as (view, asking):
            assert (await asking.get("/api/drawing")).status_code == 200
            assert (await asking.get("/", headers={"Authorization": "Bearer wrong"})).status_code == 200
            assert TOKEN not in f"{view!r} {view.url}"
    ours = [record.getMessage() for record in caplog.records if not record.name.startswith("http")]
    assert not any(TOKEN in text for text in ours)
    assert [record for record in caplog.records if record.name == "uvicorn.access"] == []


# --- never in the flow's way


async def test_readers_that_take_nothing_slow_nothing_and_cost_little():
    flow = quick()
    with ExitStack() as stack:
        files = len(os.listdir("/proc/self/fd"))
        async with viewed(flow, interval_s=0.01) as (view, asking):
            readers = [stack.enter_context(stuck(view)) for _ in range(12)]
            began = time.monotonic()
            tracemalloc.start()
            stack.callback(tracemalloc.stop)
            before = tracemalloc.get_traced_memory()[0]
            feeding = asyncio.create_task(fed(flow, 400))
            counted = 0
            async with aclosing(snapshots(asking)) as seen:
                async for snapshot in seen:
                    counted += 1
                    if snapshot["totals"]["completed"] == 400:
                        break
            await feeding
            assert counted <= (time.monotonic() - began) / 0.01 + 2
            gc.collect()
            assert tracemalloc.get_traced_memory()[0] - before < 20_000_000
        assert len(os.listdir("/proc/self/fd")) == files + len(readers)  # the server let all of them go


async def test_as_long_as_nothing_changes_a_snapshot_is_the_same():
    now = itertools.count()
    async with quick(plugins=[recorder := Recorder()]) as flow:
        snapshots = Snapshots(flow, recorder, 0.001, lambda: float(next(now)))
        first = await snapshots.current()
        assert await snapshots.current(fresh=True) is first
        await flow.ask(1)
        assert json.loads(await snapshots.current(fresh=True))["totals"]["completed"] == 1


async def test_a_snapshot_that_takes_long_is_made_rarely():
    now = [0.0]

    def clock() -> float:
        now[0] += 0.1  # what a piece of one takes, since the time is looked at before and after
        return now[0]

    async with quick(plugins=[recorder := Recorder()]) as flow:
        snapshots = Snapshots(flow, recorder, 0.01, clock)
        first = await snapshots.current()
        wait_s, took = snapshots.wait_s, now[0]
        assert wait_s > 10 * took
        await flow.ask(1)
        while now[0] < took + wait_s - 0.1:
            assert await snapshots.current() is first
        now[0] = took + wait_s
        assert await snapshots.current() is not first


@pytest.mark.parametrize("count", [1, 16])
async def test_the_flow_goes_on_while_snapshots_of_a_large_one_are_made(count: int):
    """However many read: between two turns of the loop no more than one piece of one snapshot is made."""
    recorder, turns, looks, most = Recorder(), 0, 0, 0

    async def turn() -> None:
        nonlocal turns, looks, most
        while True:
            turns, looks, most = turns + 1, 0, max(most, looks)
            await asyncio.sleep(0)

    def clock() -> float:
        nonlocal looks
        looks += 1
        return float(turns)

    async with big(500) as flow:
        with flow.watch(recorder.on_event, recorder.event_types):
            snapshots = Snapshots(flow, recorder, 0.001, clock)
            turning = asyncio.create_task(turn())
            texts = await asyncio.gather(*(snapshots.current() for _ in range(count)))
            turning.cancel()
    assert (len(set(map(id, texts))), len(json.loads(texts[0])["links"])) == (1, len(drawing_of(flow.graph).links))
    assert turns > len(flow.graph.nodes) / AT_ONCE
    assert most <= 6


async def test_traces_that_take_long_are_told_rarely_however_many_are_asked_for():
    looks = itertools.count()
    recorder, loop = Recorder(), asyncio.get_running_loop()
    async with quick(plugins=[recorder]) as flow:
        for trace_id in ("a", "b"):
            await flow.ask(Message(payload=1, trace_id=trace_id))
        snapshots = Snapshots(flow, recorder, 100.0, lambda: next(looks) / 1000)
        began = loop.time()
        first = await snapshots.trace("a", 900)
        pieces = next(looks) / 1000
        assert await snapshots.trace("a", 900) is first
        await snapshots.trace("b", 900)
        assert loop.time() - began > 8 * pieces


async def test_a_reader_that_takes_nothing_for_long_is_let_go(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("penguiflow_viz.live.stream.PATIENCE_S", 0.05)
    never = asyncio.Event()

    async def receive() -> dict[str, Any]:
        await never.wait()
        return {"type": "http.disconnect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.body":
            assert stream.readers == 1
            await never.wait()

    async with quick(plugins=[recorder := Recorder()]) as flow:
        stream = Stream(Snapshots(flow, recorder, 0.01), asyncio.Event(), 1)
        async with asyncio.timeout(10):
            await stream({}, receive, send)
        assert stream.readers == 0


async def fed(flow: PenguiFlow, count: int) -> None:
    """Ask so often, in traces whose ids make snapshots larger than what a connection holds back."""
    for x in range(count):
        answer = await flow.ask(Message(payload=x, trace_id=f"{'long ' * 800}{x}"))
        assert answer.payload == x
        await asyncio.sleep(0.005)


async def test_no_more_readers_than_may_be():
    async with viewed(quick(), max_readers=2) as (_, asking):
        async with asking.stream("GET", "/api/events"), asking.stream("GET", "/api/events"):
            refused = await asking.get("/api/events")
            assert (refused.status_code, refused.text) == (503, "2 pages follow this flow already, and no more may")
        await until(asking, lambda s: True)  # a place is free again


async def test_it_ends_with_the_flow_and_tells_its_readers():
    async with asyncio.timeout(10):
        async with (flow := quick()):
            view = serve(flow, port=0, interval_s=0.02)
            await view.start()
            url = view.url
            async with client(view) as asking:
                stream = snapshots(asking)
                await anext(stream)
                await flow.ask(1)
                stopping = asyncio.create_task(flow.stop())
                told = [snapshot async for snapshot in stream]
                await stopping
        assert told[-1] == {"over": True}
        assert told[-2]["totals"]["completed"] == 1
        await view.closed()
    with pytest.raises(OSError, match=r"refused|Connect"):
        socket.create_connection(("127.0.0.1", int(url.rstrip("/").rpartition(":")[2])))


async def test_nothing_stays_behind():
    before = asyncio.all_tasks()
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    loggers = [(list(logging.getLogger(n).handlers), logging.getLogger(n).level) for n in LOGGERS]
    async with (flow := quick()):
        for _ in range(2):
            async with serve(flow, port=0, interval_s=0.02) as view:
                assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
                with stuck(view):
                    async with client(view) as asking:
                        await until(asking, lambda s: True)
        await flow.ask(1)
        assert view.recorder.started == 0  # nobody watches any more
    assert asyncio.all_tasks() == before
    assert [(list(logging.getLogger(n).handlers), logging.getLogger(n).level) for n in LOGGERS] == loggers


LOGGERS = ("uvicorn", "uvicorn.access", "uvicorn.error", "uvicorn.asgi")


async def test_a_view_that_cannot_begin_leaves_nothing_behind():
    with pytest.raises(FlowStateError, match="is not running"):
        await serve(quick()).start()
    async with (flow := quick()), serve(flow, port=0) as view:
        port = int(view.url.rstrip("/").rpartition(":")[2])
        second = serve(flow, port=port)
        with pytest.raises(OSError, match=r"[Aa]ddress already in use"):
            await second.start()
        await flow.ask(1)
        assert (second.recorder.started, view.recorder.started) == (0, 1)
        with pytest.raises(RuntimeError, match="no address yet"):
            second.url  # noqa: B018
        with pytest.raises(RuntimeError, match="has begun already"):
            await view.start()


@pytest.mark.parametrize(
    "options",
    [
        {"interval_s": 0},
        {"interval_s": float("nan")},
        {"max_readers": 0},
        {"port": -1},
        {"port": 65536},
        {"recorder": print},
    ],
)
def test_a_wrong_option_is_refused_with_its_name(options: dict[str, Any]):
    with pytest.raises(ValueError, match=next(iter(options))):
        serve(quick(), **options)


async def test_hostile_names_and_ids_are_told_as_they_are():
    flow = create(Node(same, '</script>"<&\ud800\n'), name="\u2028f")
    async with viewed(flow) as (_, asking):
        await flow.ask(Message(payload=1, trace_id="</script>\r\n\r\ndata: x"))
        seen = await until(asking, lambda s: s["totals"]["completed"])
        assert seen["traces"][0]["id"] == "</script>\r\n\r\ndata: x"
        drawing = json.loads((await asking.get("/api/drawing")).text)
        assert '</script>"<&\ud800\n' in [box["name"] for box in drawing["data"]["boxes"]]
        told = await asking.get("/api/trace", params={"id": seen["traces"][0]["id"]})
        assert told.json()["svg"].startswith("<svg ")
