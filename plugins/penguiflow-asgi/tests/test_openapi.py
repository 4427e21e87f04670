"""The description is right: whatever is made of it gets an answer that it promises."""

import asyncio
import threading
from datetime import date
from typing import Literal

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from pydantic import BaseModel, Field
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import negative_data_rejection
from webkit import Answer, client, serving

from penguiflow import Context, create, node
from penguiflow_asgi import Limits, anybody, bearer, flow_app

NOTHING_TO_GET_WRONG = ("GET /health", "GET /ready")
TOKEN = {"Authorization": "Bearer secret-a"}


class Say(BaseModel):
    """What the described flow takes: constraints of several kinds."""

    words: list[str] = Field(max_length=20)
    volume: float = Field(default=1.0, ge=0, le=11)
    when: date | None = None
    mood: Literal["kind", "cross"] = "kind"


@node
async def say(ask: Say, ctx: Context) -> Answer:
    for word in ask.words:
        await ctx.emit_chunk(word)
    return Answer(text=" ".join(ask.words))


def served():
    limits = Limits(timeout_s=5, attach_s=0.5)
    return flow_app(create(say), input=Say, output=Answer, authenticate=bearer({"secret-a": "acme"}), limits=limits)


async def test_models_are_described_and_the_address_is_the_one_asked():
    async with serving(served()) as url, client(url) as web:
        found = (await web.get("/openapi.json")).json()
    assert found["openapi"] == "3.1.0"
    assert set(found["components"]["schemas"]) >= {"Say", "Answer", "ProblemDetails", "StreamChunk", "TraceState"}
    body = found["paths"]["/"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body == {"$ref": "#/components/schemas/Say"}
    assert found["servers"] == [{"url": "/"}]


async def test_it_says_what_lets_in_where_it_knows():
    for authenticate, schemes, codes in (
        (bearer({"secret-a": "acme"}), {"bearer": {"type": "http", "scheme": "bearer"}}, {"401", "403"}),
        (lambda connection: connection.cookies["tenant"], None, {"401", "403"}),
        (anybody, None, set()),
    ):
        async with serving(flow_app(create(say), input=Say, authenticate=authenticate)) as url, client(url) as web:
            found = (await web.get("/openapi.json")).json()
        assert found["components"].get("securitySchemes") == schemes
        assert found.get("security") == (None if schemes is None else [{"bearer": []}])
        assert {"401", "403"} & found["paths"]["/"]["post"]["responses"].keys() == codes


@pytest.fixture(scope="module")
def address():
    up, address, over, loop = threading.Event(), [], [], asyncio.new_event_loop()

    async def run():
        over.append(asyncio.Event())
        async with serving(served()) as url:
            address.append(url)
            up.set()
            await over[0].wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()))
    thread.start()
    assert up.wait(10)
    yield address[0]
    loop.call_soon_threadsafe(over[0].set)
    thread.join()
    loop.close()


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_whatever_is_made_of_the_description_gets_an_answer_that_it_promises(address, mode):
    schema = schemathesis.openapi.from_url(f"{address}/openapi.json")
    checked = []
    for result in schema.get_all_operations():
        operation = result.ok()
        if mode is GenerationMode.NEGATIVE and operation.label in NOTHING_TO_GET_WRONG:
            continue

        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(
            max_examples=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.explicit, Phase.generate],
        )
        def check(case):
            # Parameters that nobody knows are ignored, and pydantic takes 0 for a date: "wrong" isn't always refused.
            answer = case.call_and_validate(
                headers=TOKEN, timeout=10, excluded_checks=[not_a_server_error, negative_data_rejection]
            )
            # Who asks for a deadline of no time gets 504, as he was told: nothing else may be 5xx.
            late = answer.status_code == 504 and float(case.headers["X-Request-Timeout"]) < 5
            assert answer.status_code < 500 or late

        check()
        checked.append(operation.label)
    assert len(checked) == (9 if mode is GenerationMode.POSITIVE else 9 - len(NOTHING_TO_GET_WRONG))
