"""JSON in, JSON out: answers, refusals, tenants, headers."""

import asyncio
import contextlib
import json
import logging

import pytest
from fastapi import FastAPI
from httpx_sse import aconnect_sse
from starlette.middleware.base import BaseHTTPMiddleware
from webkit import Answer, Ask, Watch, client, serving, speaking, until

import penguiflow
from penguiflow import WM, FinalAnswer, create, node
from penguiflow_asgi import Denied, Limits, anybody, bearer, flow_app

TOKENS = {"secret-a": "acme", "secret-b": "bolt"}
PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def served(flow=None, watch=None, **options):
    options = {"input": Ask, "output": Answer, "authenticate": bearer(TOKENS)} | options
    return flow_app(flow or speaking(watch), **options)


def is_problem(response, status):
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert body["status"] == status
    assert body["title"]
    return body


def test_the_kernel_is_ours():
    assert hasattr(penguiflow, "hookimpl")


async def test_an_answer_is_json_and_names_its_trace():
    async with serving(served()) as url, client(url, "secret-a") as web:
        answer = await web.post("/", json={"words": ["a", "b\u2028\x00"]}, headers={"traceparent": PARENT})
    assert answer.json() == {"text": "ab\u2028\x00", "tenant": "acme", "traceparent": PARENT}
    assert len(answer.headers["x-trace-id"]) == 32


@pytest.mark.parametrize(
    "parent", ["", "nonsense", PARENT.replace("4bf9", "XXXX"), PARENT + "-more", "ff" + PARENT[2:]]
)
async def test_what_is_no_trace_context_is_ignored(parent):
    async with serving(served()) as url, client(url, "secret-a") as web:
        answer = await web.post("/", json={}, headers={"traceparent": parent})
    assert answer.json()["traceparent"] is None


@pytest.mark.parametrize(
    "authorization", [None, "Bearer", "Bearer wrong", "Basic secret-a", "secret-a", "Bearer sécret"]
)
async def test_who_brings_no_token_is_told_how_and_nothing_else(authorization):
    headers = {} if authorization is None else {"authorization": authorization.encode("latin-1")}
    async with serving(served()) as url, client(url) as web:
        for path in ("/", "/stream", "/traces"):
            answer = await web.post(path, content=b"no json at all", headers=headers)
            is_problem(answer, 401)
            assert answer.headers["www-authenticate"] == "Bearer"
        for path in ("/traces/x", "/traces/x/events", "/graph"):
            is_problem(await web.get(path, headers=headers), 401)


async def test_an_authenticator_may_refuse_for_good_and_may_be_async():
    async def authenticate(connection):
        raise Denied("your account is closed", status=403)

    async with serving(served(authenticate=authenticate)) as url, client(url) as web:
        assert is_problem(await web.post("/", json={}), 403)["detail"] == "your account is closed"


@pytest.mark.parametrize("gives", [None, "", 7])
async def test_an_authenticator_that_gives_no_tenant_lets_nobody_in(gives):
    async with serving(served(authenticate=lambda connection: gives)) as url, client(url) as web:
        is_problem(await web.post("/", json={}), 500)


def test_nobody_is_let_in_by_accident():
    with pytest.raises(TypeError, match="authenticate"):
        flow_app(speaking(), input=Ask)
    with pytest.raises(TypeError, match="anybody"):
        flow_app(speaking(), input=Ask, authenticate=None)
    with pytest.raises(ValueError, match="none of them empty"):
        bearer({"": "acme"})
    for token in ("s\u00e9cret", "two words", "line\n"):
        with pytest.raises(ValueError, match="no header carries"):
            bearer({token: "acme"})


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"{", {}, 400),
        (b"", {}, 400),
        (b"\xff\xfe", {}, 400),
        (b"[" * 100_000, {}, 400),
        (b'{"words": 7}', {}, 422),
        (b'{"words": ["\\ud800"]}', {}, 400),
        (b"[]", {}, 422),
        (b"{}", {"content-type": "text/plain"}, 415),
        (b"{}", {"content-type": "application/jsonx"}, 415),
        (b"{}", {"x-request-timeout": "soon"}, 400),
        (b"{}", {"x-request-timeout": "-1"}, 400),
        (b"{}", {"x-request-timeout": "nan"}, 400),
        (b"{}", {"x-request-timeout": "1e999"}, 400),
        (b'{"words": ["' + b"a" * 300_000 + b'"]}', {}, 413),
    ],
)
async def test_what_is_wrong_with_a_request_is_a_problem_and_its_log_has_no_part_of_it(body, headers, status, caplog):
    caplog.set_level(logging.DEBUG)
    headers = {"content-type": "application/json", **headers}
    app = served(limits=Limits(body_bytes=200_000))
    async with serving(app) as url, client(url, "secret-a") as web:
        for path in ("/", "/stream", "/traces"):
            is_problem(await web.post(path, content=body, headers=headers), status)
    told = "".join(record.getMessage() for record in caplog.records if record.name.startswith("penguiflow"))
    assert f"refused '/stream': {status}" in told
    assert "words" not in told
    assert "secret" not in told


async def test_a_validation_error_says_what_pydantic_says():
    async with serving(served()) as url, client(url, "secret-a") as web:
        body = is_problem(await web.post("/", json={"words": ["a", 7]}), 422)
    (error,) = body["errors"]
    assert error["loc"] == ["words", 1]
    assert error["type"] == "string_type"


async def raw(url, text):
    """The first line of the answer to a request that is never finished."""
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = "POST / HTTP/1.1\r\nhost: x\r\nauthorization: Bearer secret-a\r\ncontent-type: application/json\r\n"
    writer.write(f"{head}{text}".encode())
    line = await reader.readline()
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    return line.decode()


async def test_a_body_without_a_length_is_cut_off_at_the_limit():
    part = f"3e8\r\n{' ' * 1_000}\r\n"
    async with serving(served(limits=Limits(body_bytes=10_000))) as url:
        assert (await raw(url, "transfer-encoding: chunked\r\n\r\n" + part * 11)).startswith("HTTP/1.1 413 ")


async def test_a_body_that_does_not_come_is_given_up():
    async with serving(served(limits=Limits(idle_s=0.05))) as url:
        assert (await raw(url, "content-length: 10\r\n\r\n{")).startswith("HTTP/1.1 408 ")


async def test_what_a_node_raises_is_not_shown_unless_it_may_be(caplog):
    caplog.set_level(logging.INFO, logger="penguiflow.asgi")
    async with serving(served()) as url, client(url, "secret-a") as web:
        answer = await web.post("/", json={"fail": "password=hunter2"})
    body = is_problem(answer, 500)
    assert body["code"] == "NODE_EXCEPTION"
    assert body["node"] == "speak"
    assert "hunter2" not in answer.text
    (record,) = (record for record in caplog.records if record.name == "penguiflow.asgi" and record.exc_info)
    assert record.levelno == logging.ERROR
    assert body["trace_id"] in record.getMessage()
    assert "hunter2" not in record.getMessage()
    assert isinstance(record.exc_info[1], LookupError)
    assert record.exc_info[2].tb_next is not None  # its traceback leads to the node
    async with serving(served(expose_errors=True)) as url, client(url, "secret-a") as web:
        assert "hunter2" in is_problem(await web.post("/", json={"fail": "password=hunter2"}), 500)["detail"]


async def test_an_error_of_the_service_s_own_has_the_status_it_was_given():
    async with serving(served(statuses={"SOLD_OUT": 409})) as url, client(url, "secret-a") as web:
        body = is_problem(await web.post("/", json={"code": "SOLD_OUT"}), 409)
    assert body["code"] == "SOLD_OUT"
    assert body["detail"] == "not today"


async def test_the_client_s_deadline_holds_and_the_service_s_is_the_ceiling():
    app = served(limits=Limits(timeout_s=0.05))
    async with serving(app) as url, client(url, "secret-a") as web:
        for headers in ({}, {"x-request-timeout": "60"}):
            assert is_problem(await web.post("/", json={"forever": True}, headers=headers), 504)["trace_id"]
    async with serving(served()) as url, client(url, "secret-a") as web:
        answer = await web.post("/", json={"forever": True}, headers={"x-request-timeout": "0.05"})
        assert is_problem(answer, 504)["code"] == "DEADLINE_EXCEEDED"


async def test_a_full_flow_says_when_to_try_again():
    watch = Watch()
    async with serving(served(speaking(watch, max_traces=1))) as url, client(url, "secret-a") as web:
        begun = await web.post("/traces", json={"forever": True})
        answer = await web.post("/", json={})
        is_problem(answer, 503)
        assert answer.headers["retry-after"] == "1"
        await web.delete(f"/traces/{begun.json()['trace_id']}")
        assert (await web.post("/", json={})).status_code == 200


async def test_a_tenant_has_so_many_traces_and_no_other_tenant_less():
    app = served(limits=Limits(traces_per_tenant=2))
    async with serving(app) as url, client(url, "secret-a") as web, client(url, "secret-b") as other:
        begun = [(await web.post("/traces", json={"forever": True})).json()["trace_id"] for _ in range(2)]
        answer = await web.post("/", json={})
        is_problem(answer, 429)
        assert answer.headers["retry-after"] == "1"
        assert (await other.post("/", json={})).status_code == 200
        await web.delete(f"/traces/{begun[0]}")
        assert (await web.post("/", json={})).status_code == 200


async def test_a_trace_is_seen_and_cancelled_by_its_tenant_alone():
    watch = Watch()
    async with serving(served(watch=watch)) as url, client(url, "secret-a") as web, client(url, "secret-b") as other:
        begun = await web.post("/traces", json={"forever": True})
        path = f"/traces/{begun.json()['trace_id']}"
        assert begun.status_code == 201
        assert begun.url.join(begun.headers["location"]).path == path
        await watch.started.wait()
        assert (await web.get(path)).json()["waits_for"] == ["node 'speak' is running"]
        for refused in (await other.get(path), await other.delete(path), await other.get(path + "/events")):
            assert is_problem(refused, 404) == is_problem(await other.get("/traces/unknown"), 404)
        assert watch.running == 1
        assert (await web.delete(path)).json()["state"] == "cancelled"
        assert watch.running == 0
        assert (await web.get(path)).json()["state"] == "cancelled"
        assert (await web.delete(path)).json()["state"] == "cancelled"
        is_problem(await other.get(path), 404)


async def test_a_client_that_leaves_while_it_waits_cancels_its_trace():
    watch = Watch()
    async with serving(served(watch=watch)) as url, client(url, "secret-a") as web:
        asking = asyncio.create_task(web.post("/", json={"forever": True}))
        await watch.started.wait()
        asking.cancel()
        await until(lambda: watch.cancelled == 1 and watch.running == 0)


async def test_a_client_that_leaves_is_no_error_to_a_middleware_that_waits_for_an_answer(caplog):
    async def passes(request, call_next):
        return await call_next(request)

    watch = Watch()
    app = served(watch=watch)
    app.add_middleware(BaseHTTPMiddleware, dispatch=passes)
    async with serving(app) as url, client(url, "secret-a") as web:
        asking = asyncio.create_task(web.post("/", json={"forever": True}))
        await watch.started.wait()
        asking.cancel()
        await until(lambda: watch.running == 0)
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_a_trace_that_nobody_reads_is_given_up():
    watch = Watch()
    async with serving(served(watch=watch, limits=Limits(attach_s=0.05))) as url, client(url, "secret-a") as web:
        begun = await web.post("/traces", json={"forever": True})
        await until(lambda: watch.cancelled == 1)
        state = await web.get(f"/traces/{begun.json()['trace_id']}")
        assert state.json()["state"] == "cancelled"


async def test_how_a_trace_ended_is_remembered_but_not_for_ever():
    async with serving(served()) as url, client(url, "secret-a") as web:
        ids = [(await web.post("/", json={})).headers["x-trace-id"] for _ in range(1_002)]
        found = [(await web.get(f"/traces/{trace_id}")).status_code for trace_id in ids[:5]]
    assert found == [404, 404, 200, 200, 200]


async def test_several_outputs_are_a_list_if_that_was_promised():
    async with serving(served(many=True)) as url, client(url, "secret-a") as web:
        for count in (0, 1, 3):
            assert len((await web.post("/", json={"outputs": count})).json()) == count
    async with serving(served(output=None)) as url, client(url, "secret-a") as web:
        nothing = await web.post("/", json={"outputs": 0})
        assert (nothing.status_code, nothing.content, nothing.headers["x-trace-outcome"]) == (204, b"", "completed")
        assert "many=True" in is_problem(await web.post("/", json={"outputs": 2}), 500)["detail"]


async def test_a_loop_that_gives_up_answers_and_says_that_it_expired():
    @node(allow_cycle=True)
    async def thinks(memory: WM) -> WM:
        return memory

    app = flow_app(create(thinks.to(thinks)), input=WM, output=FinalAnswer, authenticate=anybody)
    async with serving(app) as url, client(url) as web:
        answer = await web.post("/", json={"query": "why?", "budget_hops": 3})
        async with aconnect_sse(web, "POST", "/stream", json={"query": "why?", "budget_hops": 3}) as source:
            *_, end = [event async for event in source.aiter_sse()]
    assert (answer.status_code, answer.headers["x-trace-outcome"]) == (200, "expired")
    assert FinalAnswer.model_validate(answer.json()).text
    assert (end.event, end.json()["outcome"]) == ("end", "expired")


async def test_an_output_that_is_not_what_was_promised_is_not_shown():
    @node
    async def leaks(ask: Ask) -> dict:
        return {"secret": "hunter2"}

    async with serving(served(create(leaks))) as url, client(url, "secret-a") as web:
        answer = await web.post("/", json={})
        assert is_problem(answer, 500)["code"] == "OUTPUT"
        assert "hunter2" not in answer.text


async def test_numbers_and_texts_that_json_can_not_have_arrive_as_they_can():
    @node
    async def odd(ask: Ask) -> dict:
        return {"nan": [float("nan")], "half": "\ud800", "end": "\u2028"}

    async with serving(served(create(odd), output=None)) as url, client(url, "secret-a") as web:
        answer = await web.post("/", json={})
    assert json.loads(answer.content) == {"nan": [None], "half": "\ud800", "end": "\u2028"}


async def test_keys_of_any_kind_are_written_and_what_holds_itself_is_a_problem():
    @node
    async def odd(ask: Ask) -> dict:
        itself: dict = {}
        itself["again"] = itself
        return itself if ask.words else {(1, 2): 3, 4: [5], None: "none"}

    async with serving(served(create(odd), output=None)) as url, client(url, "secret-a") as web:
        assert (await web.post("/", json={})).json() == {"1,2": 3, "4": [5], "None": "none"}
        assert is_problem(await web.post("/", json={"words": ["x"]}), 500)["code"] == "OUTPUT"


async def test_a_trace_that_is_asked_for_its_result_has_no_events_to_read():
    watch = Watch()
    app = served(watch=watch)
    async with serving(app) as url, client(url, "secret-a") as web:
        events = []
        asking = asyncio.create_task(web.post("/", json={"forever": True}))
        await watch.started.wait()
        events.append(await web.get(f"/traces/{watch.trace_ids[0]}/events"))
        events.append(await web.get(f"/traces/{watch.trace_ids[0]}/events", headers={"last-event-id": "0"}))
        assert [is_problem(one, 409)["status"] for one in events] == [409, 409]
        await web.delete(f"/traces/{watch.trace_ids[0]}")
        assert is_problem(await asking, 409)["code"] == "TRACE_CANCELLED"


async def test_mounted_in_fastapi_it_runs_with_its_lifespan_and_says_what_is_missing_without():
    app = served()
    outer = FastAPI(lifespan=app.lifespan)
    outer.mount("/flow", app)
    async with serving(outer) as url, client(url, "secret-a") as web:
        assert (await web.post("/flow/", json={"words": ["x"]})).json()["text"] == "x"
        assert (await web.get("/flow/openapi.json")).json()["servers"] == [{"url": "/flow"}]
    forgotten = FastAPI()
    forgotten.mount("/flow", served())
    async with serving(forgotten) as url, client(url, "secret-a") as web:
        answer = await web.post("/flow/", json={})
        assert "lifespan=app.lifespan" in is_problem(answer, 503)["detail"]
        is_problem(await web.get("/flow/ready"), 503)
        assert (await web.get("/flow/health")).json() == {"status": "ok"}


async def test_a_flow_that_runs_already_is_left_running_and_what_nobody_can_read_any_more_is_cancelled():
    watch = Watch()
    async with speaking(watch) as flow:
        async with serving(served(flow)) as url, client(url, "secret-a") as web:
            assert (await web.get("/ready")).json() == {"status": "ready"}
            await web.post("/traces", json={"forever": True})
            await watch.started.wait()
        assert flow.running
        assert watch.running == 0


async def test_the_graph_is_json_and_a_format_that_nobody_writes_names_the_package():
    async with serving(served()) as url, client(url, "secret-a") as web:
        graph = (await web.get("/graph")).json()
        assert [one["name"] for one in graph["nodes"]] == ["speak"]
        assert graph["entries"] == graph["exits"] == ["speak"]
        assert "penguiflow-viz" in is_problem(await web.get("/graph?format=nonsense"), 404)["detail"]


async def test_other_paths_and_methods_are_problems_too():
    async with serving(served()) as url, client(url, "secret-a") as web:
        is_problem(await web.get("/nowhere"), 404)
        refused = await web.get("/stream")
        is_problem(refused, 405)
        assert refused.headers["allow"] == "POST"


@pytest.mark.parametrize("wrong", [{"idle_s": 0}, {"body_bytes": 0}, {"linger_s": -1}, {"timeout_s": float("inf")}])
def test_limits_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Limits(**wrong)
    with pytest.raises(TypeError, match="traces_per_tenant is a whole number"):
        Limits(traces_per_tenant=1.5)


def test_anybody_is_one_tenant():
    assert anybody(None) == "default"
