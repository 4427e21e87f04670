"""Status, `error.type` and what is told of a failure."""

from __future__ import annotations

import asyncio

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode
from pydantic import BaseModel
from seeing import Seen, said

from penguiflow import (
    WM,
    Budget,
    Context,
    Drop,
    FlowError,
    FlowErrorCode,
    FlowEvent,
    Message,
    PenguiFlow,
    Replace,
    TraceCancelled,
    create,
    hookimpl,
    join_k,
    node,
    subflow,
)
from penguiflow_otel import Options, Telemetry

SECRET = "4111-1111-1111-1111"


class OutOfStock(Exception):
    pass


@node
async def passes(x: int) -> int:
    return x


@node
async def fails(x: int) -> int:
    raise OutOfStock("no more fish")


def status(span: ReadableSpan) -> tuple[StatusCode, object, object]:
    """A span's status, its error and its outcome."""
    return span.status.status_code, said(span).get("error.type"), said(span).get("penguiflow.outcome")


async def failed(flow, payload) -> FlowError:
    with pytest.raises(FlowError) as caught:
        await flow.ask(payload)
    return caught.value


async def test_a_failure_is_an_error_of_the_node_and_of_the_trace(seen, telemetry):
    async with create(passes.to(fails), plugins=[telemetry()]) as flow:
        await failed(flow, 1)
    kind = f"{OutOfStock.__module__}.OutOfStock"
    assert status(seen.one("invoke_node fails")) == (StatusCode.ERROR, kind, "failed")
    assert status(seen.one("invoke_workflow flow")) == (StatusCode.ERROR, kind, "failed")
    assert status(seen.one("invoke_node passes")) == (StatusCode.UNSET, None, None)
    assert seen.one("invoke_node fails").status.description == f"{kind}: no more fish"


async def test_the_exception_is_shown_once_where_it_was_raised(seen, telemetry):
    async with create(subflow("sub", create(fails, name="inner")), name="top", plugins=[telemetry()]) as flow:
        await failed(flow, 1)
    shown = [(span.name, event.name) for span in seen.spans for event in span.events]
    assert shown == [("invoke_node fails", "exception")]
    (event,) = seen.one("invoke_node fails").events
    attributes = dict(event.attributes or {})
    assert attributes["exception.type"] == f"{OutOfStock.__module__}.OutOfStock"
    assert attributes["exception.message"] == "no more fish"
    assert 'raise OutOfStock("no more fish")' in str(attributes["exception.stacktrace"])
    assert {span.status.status_code for span in seen.spans} == {StatusCode.ERROR}


async def stack_of(seen: Seen, flow: PenguiFlow, payload: object) -> str:
    await failed(flow, payload)
    (event,) = [event for span in seen.spans for event in span.events]
    return str((event.attributes or {})["exception.stacktrace"])


async def test_the_stack_shows_what_an_exception_came_from(seen, telemetry):
    @node
    async def looks_up(x: str) -> str:
        try:
            return {}[x]
        except KeyError as exc:
            raise OutOfStock("no more fish") from exc

    async with create(looks_up, plugins=[telemetry()]) as flow:
        stack = await stack_of(seen, flow, "fish")
    first, second = stack.split("\n\nThe above exception was the direct cause of the following exception:\n\n")
    assert first.endswith("\nKeyError: 'fish'")
    assert "return {}[x]" in first
    assert second.startswith("Traceback (most recent call last):\n")
    assert second.endswith("OutOfStock: no more fish")


async def test_the_stack_shows_each_exception_of_a_group_and_the_payload_of_none(seen, telemetry):
    @node(max_retries=1, backoff_base=0)
    async def checks(x: str) -> str:
        try:
            Card(number=x)  # type: ignore[arg-type]
        except ValueError as exc:
            try:
                raise RuntimeError("while it is handled")
            except RuntimeError as other:
                other.__cause__ = other  # a ring, as odd code makes them
                raise ExceptionGroup("both", [exc, other]) from None
        return x

    async with create(checks, plugins=[telemetry(attempts=False)]) as flow:
        await failed(flow, SECRET)
    (event,) = [event for span in seen.spans for event in span.events if event.name == "exception"]
    stack = str((event.attributes or {})["exception.stacktrace"])
    assert "  | RuntimeError: while it is handled" in stack
    assert "  | pydantic_core" in stack
    assert "valid integer" in stack
    assert SECRET not in stack
    assert stack.count("ExceptionGroup: both") == 1


async def test_the_failure_of_a_flow_that_a_node_asks_keeps_its_type(seen, telemetry):
    async with create(fails, name="other", plugins=[telemetry()]) as other:

        @node
        async def asks(x: int) -> int:
            return await other.ask(x)

        async with create(asks, name="top", plugins=[telemetry()]) as flow:
            await failed(flow, 1)
    kinds = [said(span)["error.type"] for span in seen.spans]
    assert kinds == [f"{OutOfStock.__module__}.OutOfStock"] * 4


async def test_a_node_of_another_branch_that_is_cut_short_is_cancelled_and_no_error(seen, telemetry):
    @node
    async def waits(x: int) -> int:
        await asyncio.sleep(9)
        return x

    async with create(passes.to(waits, fails), plugins=[telemetry()]) as flow:
        await failed(flow, 1)
    assert status(seen.one("invoke_node waits")) == (StatusCode.UNSET, None, "cancelled")


async def test_a_cancelled_trace_is_no_error(seen, telemetry):
    started = asyncio.Event()

    @node
    async def waits(x: int) -> int:
        started.set()
        await asyncio.sleep(9)
        return x

    async with create(passes.to(waits), plugins=[telemetry()]) as flow:
        handle = flow.start(1)
        await started.wait()
        assert await handle.cancel()
        with pytest.raises(TraceCancelled):
            await handle.result()
    assert status(seen.one("invoke_workflow flow")) == (StatusCode.UNSET, None, "cancelled")
    assert status(seen.one("invoke_node waits")) == (StatusCode.UNSET, None, "cancelled")


async def test_a_deadline_has_its_own_error_type(seen, telemetry):
    @node
    async def waits(x: int) -> int:
        await asyncio.sleep(9)
        return x

    async with create(waits, plugins=[telemetry()]) as flow:
        with pytest.raises(FlowError):
            await flow.ask(1, timeout_s=0.01)
    for span in seen.spans:
        assert status(span) == (StatusCode.ERROR, "DEADLINE_EXCEEDED", "expired")


async def test_a_deadline_that_has_passed_already_is_a_trace_all_the_same(seen, telemetry):
    tracer = seen.provider.get_tracer("user")
    async with create(passes, plugins=[telemetry()]) as flow:
        with tracer.start_as_current_span("caller"):
            with pytest.raises(FlowError):
                await flow.ask(1, timeout_s=0)
            with tracer.start_as_current_span("afterwards"):
                pass
    assert seen.tree() == ["caller", "  invoke_workflow flow", "  afterwards"]
    assert status(seen.one("invoke_workflow flow")) == (StatusCode.ERROR, "DEADLINE_EXCEEDED", "expired")


@pytest.mark.parametrize(
    ("budget", "code"),
    [
        (Budget(hops=1), FlowErrorCode.HOP_BUDGET_EXHAUSTED),
        (Budget(tokens=5), FlowErrorCode.TOKEN_BUDGET_EXHAUSTED),
        (Budget(cost=0.5), FlowErrorCode.COST_BUDGET_EXHAUSTED),
    ],
)
async def test_each_budget_has_its_own_error_type(seen, telemetry, budget, code):
    @node
    async def spends(x: int, ctx: Context) -> int:
        ctx.spend(tokens=9, cost=1.0)
        return x

    async with create(spends.to(passes), plugins=[telemetry()]) as flow:
        await failed(flow, Message(payload=1, budget=budget))
    trace = seen.one("invoke_workflow flow")
    assert status(trace) == (StatusCode.ERROR, str(code), "expired")
    assert (said(trace)["penguiflow.tokens"], said(trace)["penguiflow.cost"]) == (9, 1.0)


async def test_a_controller_that_runs_out_is_expired_though_it_has_an_answer(seen, telemetry):
    @node(allow_cycle=True)
    async def thinks(memory: WM) -> WM:
        return memory

    async with create(thinks.to(thinks), plugins=[telemetry()]) as flow:
        await flow.ask(WM(query="why", budget_hops=3))
    assert status(seen.one("invoke_workflow flow")) == (StatusCode.ERROR, "HOP_BUDGET_EXHAUSTED", "expired")
    assert [said(span)["penguiflow.iteration"] for span in seen.of("invoke_node thinks")] == [1, 2, 3]


async def test_a_time_out_a_wrong_value_and_a_starved_join_are_named_by_their_codes(seen, telemetry):
    @node(timeout_s=0.01)
    async def slow(x: int) -> int:
        await asyncio.sleep(9)
        return x

    @node
    async def lies(x: int) -> int:
        return "no number"  # type: ignore[return-value]

    @node
    async def nothing(x: int) -> int | None:
        return None

    join = join_k("join", 2)
    plugin = telemetry()
    for flow in (
        create(slow, name="a", plugins=[plugin]),
        create(lies, name="b", plugins=[plugin]),
        create(passes.to(nothing, join), nothing.to(join), name="c", plugins=[plugin]),
    ):
        async with flow:
            await failed(flow, 1)
    kinds = [said(seen.one(f"invoke_workflow {name}"))["error.type"] for name in "abc"]
    assert kinds == ["NODE_TIMEOUT", "VALIDATION", "JOIN_STARVED"]


async def test_what_a_plugin_puts_in_the_place_of_an_error_is_no_error(seen, telemetry):
    class Patience:
        @hookimpl
        def on_error(self, error: FlowError) -> Replace | Drop:
            return Replace(7) if error.node_name == "fails" else Drop()

    @node
    async def falls(x: int) -> int:
        raise OutOfStock

    async with create(fails.to(falls), plugins=[Patience(), telemetry()]) as flow:
        assert await flow.ask(1) is None
    assert status(seen.one("invoke_node fails")) == (StatusCode.UNSET, None, None)
    assert seen.one("invoke_node falls").status.status_code == StatusCode.ERROR
    assert status(seen.one("invoke_workflow flow")) == (StatusCode.UNSET, None, "completed")


async def test_every_branch_of_an_emitted_trace_that_fails_is_an_error(seen, telemetry, caplog):
    async with create(passes.to(fails), plugins=[telemetry()]) as flow:
        await flow.emit(1)
    assert seen.one("invoke_workflow flow").status.status_code == StatusCode.ERROR
    assert seen.one("invoke_node fails").status.status_code == StatusCode.ERROR


# --- retries --------------------------------------------------------------------------------------


def flaky(times: int):
    @node(max_retries=3, backoff_base=0.01, backoff_mult=2)
    async def flaky(x: int, ctx: Context) -> int:
        if ctx.attempt < times:
            raise OutOfStock(f"attempt {ctx.attempt}")
        return x

    return flaky


async def test_retries_are_events_of_one_span_which_is_no_error(seen, telemetry):
    async with create(flaky(2), plugins=[telemetry()]) as flow:
        await flow.ask(1)
    span = seen.one("invoke_node flaky")
    assert status(span) == (StatusCode.UNSET, None, None)
    kind = f"{OutOfStock.__module__}.OutOfStock"
    assert [(event.name, dict(event.attributes or {})) for event in span.events] == [
        (
            "penguiflow.retry",
            {
                "penguiflow.attempt": attempt,
                "penguiflow.retry.attempt": attempt + 1,
                "penguiflow.retry.delay": delay,
                "error.type": kind,
            },
        )
        for attempt, delay in ((0, 0.01), (1, 0.02))
    ]
    took = ((span.end_time or 0) - (span.start_time or 0)) / 1e9
    assert took >= 0.03


async def test_attempts_may_have_spans_of_their_own(seen, telemetry):
    tracer = seen.provider.get_tracer("user")

    @node(max_retries=2, backoff_base=0)
    async def calls(x: int, ctx: Context) -> int:
        with tracer.start_as_current_span("GET /"):
            pass
        if ctx.attempt < 2:
            raise OutOfStock
        return await ctx.call_playbook(create(passes, name="book"), x)

    async with create(calls.to(passes), plugins=[telemetry(attempts=True)]) as flow:
        await flow.ask(1)
    assert seen.tree() == [
        "invoke_workflow flow",
        "  invoke_node calls",
        *["    attempt calls", "      GET /"] * 3,
        "      invoke_node passes",
        "        attempt passes",
        "  invoke_node passes",
        "    attempt passes",
    ]
    kind = f"{OutOfStock.__module__}.OutOfStock"
    attempts = seen.of("attempt calls")
    assert [said(span)["penguiflow.attempt"] for span in attempts] == [0, 1, 2]
    assert [status(span)[:2] for span in attempts] == [(StatusCode.ERROR, kind)] * 2 + [(StatusCode.UNSET, None)]
    assert status(seen.one("invoke_node calls")) == (StatusCode.UNSET, None, None)


async def test_an_attempt_whose_time_runs_out_is_expired_with_its_run(seen, telemetry):
    @node
    async def waits(x: int) -> int:
        await asyncio.sleep(9)
        return x

    async with create(waits, plugins=[telemetry(attempts=True)]) as flow:
        with pytest.raises(FlowError):
            await flow.ask(1, timeout_s=0.01)
    assert status(seen.one("attempt waits"))[:2] == (StatusCode.ERROR, "DEADLINE_EXCEEDED")


async def test_a_cancelled_attempt_is_no_error_and_a_back_off_has_no_span(seen, telemetry):
    backing_off = asyncio.Event()

    class Notices:
        event_types = ("node_retry",)

        @hookimpl
        def on_event(self, event):
            backing_off.set()

    @node(max_retries=1, backoff_base=60)
    async def once(x: int) -> int:
        raise OutOfStock

    @node
    async def waits(x: int) -> int:
        await asyncio.sleep(9)
        return x

    async with create(passes.to(once, waits), plugins=[telemetry(attempts=True), Notices()]) as flow:
        handle = flow.start(1)
        await backing_off.wait()
        await handle.cancel()
    assert [status(span)[0] for span in seen.of("attempt once")] == [StatusCode.ERROR]
    assert status(seen.one("invoke_node once")) == (StatusCode.UNSET, None, "cancelled")
    assert status(seen.one("attempt waits")) == (StatusCode.UNSET, None, "cancelled")


# --- payloads -------------------------------------------------------------------------------------


class Card(BaseModel):
    number: int


@node
async def charges(text: str) -> str:
    Card.model_validate({"number": text})
    return text


@node
async def charged(card: Card) -> Card:
    return card


async def everything(seen) -> str:
    """All text that was exported."""
    return "\n".join(span.to_json() for span in seen.spans)


async def test_payloads_are_not_in_what_is_told_of_validation_errors(seen, telemetry):
    async with create(charges, plugins=[telemetry()]) as flow:
        await failed(flow, SECRET)
    async with create(charged, plugins=[telemetry()]) as flow:
        await failed(flow, {"number": SECRET})
    text = await everything(seen)
    assert SECRET not in text
    assert "number: Input should be a valid integer" in text


async def test_payloads_are_recorded_when_asked_as_redact_leaves_them(seen, telemetry):
    def redact(payload):
        return {"number": "****"} if isinstance(payload, Card) else payload

    @node
    async def plain(card: Card) -> dict[str, object]:
        return {"ok": True, "at": {1}}

    @node
    async def takes(x: dict[str, object]) -> int:
        return 1

    async with create(plain.to(takes), plugins=[telemetry(payloads=True, redact=redact)]) as flow:
        await flow.ask(Card(number=4111))
    assert said(seen.one("invoke_workflow flow"))["penguiflow.payload"] == '{"number":"****"}'
    assert said(seen.one("invoke_node plain"))["penguiflow.payload"] == '{"number":"****"}'
    assert said(seen.one("invoke_node takes"))["penguiflow.payload"] == '{"ok":true,"at":[1]}'


async def test_a_redaction_that_fails_records_nothing_and_harms_nothing(seen, telemetry):
    def redact(payload):
        raise LookupError(SECRET)

    async with create(passes, plugins=[telemetry(payloads=True, redact=redact)]) as flow:
        assert await flow.ask(1) == 1
    assert said(seen.one("invoke_node passes"))["penguiflow.payload"] == "(not recorded: redact raised LookupError)"
    assert SECRET not in await everything(seen)


async def test_long_payloads_are_cut(seen, telemetry):
    @node
    async def takes(x: str) -> str:
        return x

    async with create(takes, plugins=[telemetry(payloads=True, payload_limit=10)]) as flow:
        await flow.ask("x" * 1000)
    assert said(seen.one("invoke_node takes"))["penguiflow.payload"] == '"xxxxxxxxx... (1002 characters)'


async def test_an_exception_without_a_text_harms_nothing(seen, telemetry):
    class Mute(Exception):
        said = 0

        def __str__(self) -> str:
            self.said += 1
            if self.said > 1:  # the kernel asks first
                raise RuntimeError
            return "once"

    @node
    async def raises(x: int) -> int:
        raise Mute

    async with create(raises, plugins=[telemetry()]) as flow:
        await failed(flow, 1)
    assert seen.tree() == ["invoke_workflow flow", "  invoke_node raises"]
    assert seen.one("invoke_node raises").status.status_code == StatusCode.ERROR


class Breaks(Telemetry):
    """Breaks when it is told of a cancelled node."""

    @hookimpl
    def on_event(self, event: FlowEvent) -> None:
        if event.event_type == "node_cancelled":
            raise RuntimeError("broken")
        super().on_event(event)


async def test_spans_of_a_plugin_in_quarantine_end_when_the_flow_stops(seen, tmp_path, monkeypatch):
    (tmp_path / "penguiflow.toml").write_text("[plugins]\nquarantine_after = 1\n")
    monkeypatch.setenv("PENGUIFLOW_CONFIG", str(tmp_path / "penguiflow.toml"))
    started = asyncio.Event()

    @node
    async def waits(x: int) -> int:
        started.set()
        await asyncio.sleep(9)
        return x

    plugin = Breaks(Options(tracer_provider=seen.provider))
    async with create(passes.to(waits), plugins=[plugin]) as flow:
        handle = flow.start(1)
        await started.wait()
        await handle.cancel()
        assert [span.name for span in seen.spans] == ["invoke_node passes"]
    assert plugin.under_way() == {}
    assert seen.tree() == ["invoke_workflow flow", "  invoke_node passes", "  invoke_node waits"]


async def test_the_texts_of_exceptions_may_be_left_out(seen, telemetry):
    @node
    async def quotes(x: str) -> str:
        raise OutOfStock(f"no more {x}") from KeyError(x)

    async with create(quotes, plugins=[telemetry(exception_messages=False)]) as flow:
        await failed(flow, SECRET)
    text = await everything(seen)
    assert SECRET not in text
    assert "OutOfStock" in text
    assert seen.one("invoke_node quotes").status.description is None
