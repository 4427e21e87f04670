"""Law 10: a join holds what it has inside the trace, lists it in a fixed order, and says what it misses."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

import pytest

from penguiflow import Context, FlowError, FlowErrorCode, Message, Node, create, join_k, node, subflow
from tests.utils.flowtestkit import Recorder, clock, quiet, virtual_time


@node
async def fan(x: Any) -> Any:
    return x


def branch(name: str, delay: float = 0.0, gives: int = 1) -> Node:
    """Emits `name` (or name0, name1, ...) after `delay` seconds; nothing at all with `gives=0`."""

    async def run(x: Any, ctx: Context):
        await asyncio.sleep(delay)
        for number in range(gives):
            await ctx.emit(name if gives == 1 else f"{name}{number}")

    return Node(run, name=name)


def joined(join: Node, *branches: Node, **options: Any) -> Any:
    """A flow in which every branch leads from `fan` to the join."""
    return create(fan.to(*branches), *(b.to(join) for b in branches), **options)


async def starvation(flow: Any, message: Any = 1) -> FlowError:
    with pytest.raises(FlowError) as caught:
        await flow.ask(message)
    assert caught.value.code == FlowErrorCode.JOIN_STARVED
    return caught.value


# --- what a join gives ----------------------------------------------------------------------------


@virtual_time
async def test_the_inputs_are_listed_by_predecessor_and_not_by_arrival():
    flow = joined(join_k("all", 3), branch("b", 3), branch("c", 1), branch("d", 2))
    async with flow:
        assert await flow.ask(1) == ["b", "c", "d"]
        assert clock() == pytest.approx(1003)


@virtual_time
async def test_inputs_of_one_predecessor_are_listed_by_arrival():
    flow = joined(join_k("all", 5), branch("b", 1, gives=3), branch("c", 0, gives=2))
    async with flow:
        assert await flow.ask(1) == ["b0", "b1", "b2", "c0", "c1"]


@virtual_time
async def test_any_k_of_more_inputs_fill_a_join_and_the_late_ones_are_ignored():
    recorder = Recorder()
    flow = joined(join_k("two", 2), branch("b", 3), branch("c", 1), branch("d", 2), on_event=recorder)
    async with flow:
        assert await flow.ask(1) == ["c", "d"]
    recorder.assert_lawful()
    assert recorder.of("trace_finish")[0].outcome == "completed"


@virtual_time
async def test_what_comes_after_a_join_was_filled_is_waited_for_by_nobody():
    async def slow(parts: list[str]) -> list[str]:
        await asyncio.sleep(60)
        return parts

    two, after = join_k("two", 2, timeout_s=5), Node(slow)
    b, c, d = branch("b"), branch("c"), branch("d", 2)
    async with create(fan.to(b, c, d), *(x.to(two) for x in (b, c, d)), two.to(after)) as flow:
        handle = flow.start(1)
        await asyncio.sleep(30)
        assert flow.explain(handle.trace_id).waits_for == ("node 'slow' is running",)
        assert await handle.result() == ["b", "c"]
        await flow.emit(1)
        assert await flow.fetch() == ["b", "c"]
    assert clock() == pytest.approx(1120)


@virtual_time
async def test_a_join_fires_again_for_every_further_k():
    flow = joined(join_k("two", 2), branch("b", gives=2), branch("c", 1, gives=2))
    async with flow:
        assert await flow.start(1).results() == [["b0", "b1"], ["c0", "c1"]]


@virtual_time
async def test_one_input_is_a_list_of_one():
    async with joined(join_k("one", 1), branch("b")) as flow:
        assert await flow.ask(1) == ["b"]


@virtual_time
async def test_joins_can_follow_joins():
    b, c, d = branch("b"), branch("c"), branch("d", 1)
    first, second = join_k("first", 2), join_k("second", 2)
    async with create(fan.to(b, c, d), b.to(first), c.to(first), first.to(second), d.to(second)) as flow:
        assert sorted(await flow.ask(1), key=len) == ["d", ["b", "c"]]


@virtual_time
async def test_traces_never_mix_in_a_join():
    async def echo(x: int, ctx: Context) -> int:
        await asyncio.sleep(x % 3)
        return x

    echoes = [Node(echo, name=name) for name in "bc"]
    async with joined(join_k("both", 2), *echoes) as flow:
        answers = await asyncio.gather(*(flow.ask(number) for number in range(20)))
    assert answers == [[number, number] for number in range(20)]


@virtual_time
async def test_inputs_that_are_messages_are_joined_as_payloads():
    async def enveloped(x: int) -> Message[int]:
        return Message(payload=x, meta={"from": "b"})

    async with joined(join_k("both", 2), Node(enveloped, name="b"), branch("c")) as flow:
        answer = await flow.ask(Message(payload=1))
    assert (answer.payload, answer.meta) == ([1, "c"], {"from": "b"})


@virtual_time
async def test_what_follows_a_join_has_every_input_as_a_parent():
    recorder = Recorder()

    @node
    async def last(parts: list[str]) -> int:
        return len(parts)

    both, b, c = join_k("both", 2), branch("b"), branch("c", 1)
    async with create(fan.to(b, c), b.to(both), c.to(both), both.to(last), on_event=recorder) as flow:
        assert await flow.ask(1) == 2
    ids = {event.node_name: event for event in recorder.of("node_start")}
    assert ids["both"].parent_invocation_ids == (ids["b"].invocation_id, ids["c"].invocation_id)
    assert ids["last"].parent_invocation_ids == (ids["both"].invocation_id,)


# --- starving -------------------------------------------------------------------------------------


@virtual_time
async def test_an_asked_trace_whose_only_rest_is_an_unfilled_join_starves_and_says_what_is_missing():
    recorder = Recorder()
    flow = joined(join_k("both", 2), branch("b"), branch("c", 1, gives=0), on_event=recorder)
    async with flow:
        error = await starvation(flow)
    assert "1 of 2, none from c" in str(error)
    assert (error.node_name, error.trace_id) == ("both", recorder.events[-2].trace_id)
    assert recorder.of("trace_finish")[0].outcome == "failed"


@virtual_time
async def test_starvation_names_every_input_that_is_missing_in_order():
    flow = joined(join_k("all", 4), branch("e", gives=0), branch("b"), branch("d", gives=0), branch("c"))
    async with flow:
        assert "2 of 4, none from e, d" in str(await starvation(flow))


@virtual_time
async def test_a_join_with_too_few_from_all_of_its_inputs_says_how_many_came():
    async with joined(join_k("four", 4), branch("b"), branch("c", gives=2)) as flow:
        text = str(await starvation(flow))
    assert "none from" not in text
    assert text.endswith("got 3 of 4: 2 nodes lead to it")
    async with joined(join_k("two", 2), branch("b")) as flow:
        assert str(await starvation(flow)).endswith("got 1 of 2: 1 node leads to it")


@virtual_time
async def test_a_rest_that_can_no_longer_fill_a_join_starves():
    async with joined(join_k("two", 2), branch("b", gives=2), branch("c", 1)) as flow:
        error = await starvation(flow)
    assert str(error) == "join 'two' got 1 of 2, left over after 1 list, none from b"
    assert error.metadata["lists"] == 1


@virtual_time
async def test_messages_that_make_no_whole_number_of_lists_starve_and_the_lists_are_counted():
    async with joined(join_k("two", 2), branch("b", gives=5)) as flow:
        lists = aiter(flow.start(1))
        assert [await anext(lists), await anext(lists)] == [["b0", "b1"], ["b2", "b3"]]
        with pytest.raises(FlowError, match="^join 'two' got 1 of 2, left over after 2 lists$") as caught:
            await anext(lists)
    assert caught.value.metadata == {"received": 1, "k": 2, "missing": [], "lists": 2}


@virtual_time
async def test_a_joins_timeout_counts_for_a_list_begun_anew_where_nothing_may_be_missed():
    async with joined(join_k("two", 2, timeout_s=5), branch("b", gives=3), branch("c", 100)) as flow:
        assert "1 of 2, left over after 1 list, none from c" in str(await starvation(flow))
    assert clock() == pytest.approx(1005, abs=0.2)


@pytest.mark.parametrize("way", ["start", "stream"])
@virtual_time
async def test_started_and_streamed_traces_starve_as_asked_ones_do(way: str):
    async with joined(join_k("both", 2), branch("b"), branch("c", gives=0)) as flow:
        with pytest.raises(FlowError, match="1 of 2, none from c"):
            if way == "start":
                await flow.start(1).result()
            else:
                async with flow.stream(1) as stream:
                    assert [chunk async for chunk in stream] == []


@virtual_time
async def test_a_join_that_got_nothing_does_not_starve():
    async with joined(join_k("both", 2), branch("b", gives=0), branch("c", gives=0)) as flow:
        assert await flow.ask(1) is None


@virtual_time
async def test_a_failed_branch_is_the_error_and_not_the_join_that_misses_it():
    async def fails(x: Any):
        raise ValueError("broken")

    flow = joined(join_k("both", 2), branch("b"), Node(fails, name="c"), emit_errors_to_rookery=True)
    async with flow:
        with pytest.raises(FlowError) as caught:
            await flow.ask(1)
        assert caught.value.code == FlowErrorCode.NODE_EXCEPTION
        await flow.emit(1)
        assert isinstance((await flow.fetch()).original_exc, ValueError)


@virtual_time
async def test_a_join_in_a_subflow_starves_the_trace_of_its_parent():
    inner = joined(join_k("both", 2), branch("b"), branch("c", gives=0), name="inner")

    async def calls(x: int, ctx: Context) -> Any:
        return await ctx.call_playbook(inner, x)

    for outer in (subflow("inner", inner), Node(calls)):
        recorder = Recorder()
        async with create(outer, on_event=recorder) as flow:
            assert "1 of 2, none from c" in str(await starvation(flow))
            await flow.emit(1)  # nobody can add to a join inside a node: it doesn't wait
            await quiet()
            assert [event.outcome for event in recorder.of("trace_finish")] == ["failed", "failed"]


# --- emitted traces wait for more -----------------------------------------------------------------


@virtual_time
async def test_an_emitted_trace_waits_for_more_messages_to_fill_its_join():
    recorder, both = Recorder(), join_k("both", 2)
    async with create(fan.to(both), on_event=recorder) as flow:
        await flow.emit(Message(payload=1, trace_id="t"))
        await asyncio.sleep(3600)
        assert recorder.of("trace_finish") == []
        assert "1 of 2" in str(flow.explain("t"))
        await flow.emit(Message(payload=2, trace_id="t"))
        assert await flow.fetch() == [1, 2]
    assert [event.outcome for event in recorder.of("trace_finish")] == ["completed"]


def lone(timeout_s: float | None = None, **options: Any) -> Any:
    """A flow of which an emitted message leaves its join waiting."""
    return joined(join_k("both", 2, timeout_s), branch("b"), branch("c", gives=0), **options)


@virtual_time
async def test_an_emitted_trace_waits_until_the_joins_timeout():
    recorder = Recorder()
    async with lone(5, emit_errors_to_rookery=True, on_event=recorder) as flow:
        await flow.emit(1)
        error = await flow.fetch()
        assert clock() == pytest.approx(1005)
        assert (error.code, recorder.of("trace_finish")[0].outcome) == (FlowErrorCode.JOIN_STARVED, "failed")
        assert "1 of 2, none from c" in str(error)


@virtual_time
async def test_an_emitted_trace_waits_until_its_deadline():
    recorder = Recorder()
    async with lone(emit_errors_to_rookery=True, on_event=recorder) as flow:
        await flow.emit(Message(payload=1, deadline_s=time.time() + 5))
        error = await flow.fetch()
        assert clock() == pytest.approx(1005, abs=0.5)
    assert error.code == FlowErrorCode.DEADLINE_EXCEEDED
    assert recorder.of("trace_finish")[0].outcome == "expired"


@virtual_time
async def test_an_emitted_trace_waits_until_stop():
    recorder = Recorder()
    flow = lone(emit_errors_to_rookery=True, on_event=recorder)
    flow.run()
    await flow.emit(1)
    await quiet()
    await flow.stop()
    assert clock() == pytest.approx(1000, abs=0.01)
    assert (await flow.fetch()).code == FlowErrorCode.JOIN_STARVED
    assert recorder.of("trace_finish")[0].outcome == "failed"
    recorder.assert_lawful()


@virtual_time
async def test_a_starved_emitted_trace_is_logged(caplog: pytest.LogCaptureFixture):
    async with lone(5) as flow:
        await flow.emit(1)
        await asyncio.sleep(6)
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "1 of 2, none from c" in record.getMessage()


# --- the join's own timeout -----------------------------------------------------------------------


@virtual_time
async def test_a_joins_timeout_counts_from_its_first_message_and_ends_the_asked_trace():
    async with joined(join_k("both", 2, timeout_s=5), branch("b", 1), branch("c", 100)) as flow:
        error = await starvation(flow)
    assert clock() == pytest.approx(1006, abs=0.2)
    assert "1 of 2, none from c" in str(error)


@virtual_time
async def test_a_joins_timeout_is_off_once_the_join_is_full():
    @node
    async def slow(parts: list[str]) -> int:
        await asyncio.sleep(60)
        return len(parts)

    both, b, c = join_k("both", 2, timeout_s=5), branch("b"), branch("c", 4)
    async with create(fan.to(b, c), b.to(both), c.to(both), both.to(slow)) as flow:
        assert await flow.ask(1) == 2


@virtual_time
async def test_cancelling_releases_a_trace_that_waits_in_a_join():
    recorder = Recorder()
    async with lone(500, on_event=recorder) as flow:
        trace_id = await flow.emit(1)
        await quiet()
        assert await flow.cancel(trace_id)
        assert not await flow.cancel(trace_id)
        await asyncio.sleep(1000)
    assert [event.outcome for event in recorder.of("trace_finish")] == ["cancelled"]
    recorder.assert_lawful()


@virtual_time
async def test_what_a_trace_left_in_a_join_does_not_count_for_the_next_of_that_id():
    both = join_k("both", 2)
    async with create(fan.to(both)) as flow:
        await flow.emit(Message(payload="old", trace_id="t"))
        await quiet()
        assert await flow.cancel("t")
        await flow.emit(Message(payload="new", trace_id="t"))
        await quiet()
        await flow.emit(Message(payload="newer", trace_id="t"))
        assert await flow.fetch() == ["new", "newer"]
