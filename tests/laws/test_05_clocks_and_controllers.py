"""Law 5: the wall clock is read once, on entry; and a controller that runs out ends with an answer."""

import asyncio
import time
from typing import Any

import pytest

from penguiflow import (
    WM,
    Budget,
    Context,
    FinalAnswer,
    FlowError,
    FlowErrorCode,
    Message,
    create,
    node,
    subflow,
)
from tests.utils.flowtestkit import Recorder, clock, in_time, quiet


class Wall:
    """A wall clock that somebody else sets."""

    def __init__(self, monkeypatch, start=5000.0, step=0.0):
        self.now, self.step, self.reads = start, step, 0
        monkeypatch.setattr(time, "time", self)

    def __call__(self):
        self.reads += 1
        self.now += self.step
        return self.now


@node
async def nap(seconds: float) -> float:
    await asyncio.sleep(seconds)
    return seconds


@node
async def same(x):
    return x


@node(max_retries=1, backoff_base=8)
async def flaky(x: float, ctx: Context) -> float:
    if not ctx.attempt:
        raise ValueError(x)
    return x


@pytest.mark.parametrize("jump", [-1e6, 1e6])
@pytest.mark.parametrize("nesting", ["node", "subflow", "back-off"])
@in_time
async def test_a_clock_jump_neither_shortens_nor_lengthens_a_deadline(nesting, jump, monkeypatch):
    wall = Wall(monkeypatch)
    graph = {"node": nap, "subflow": subflow("sub", create(nap)), "back-off": flaky}[nesting]
    async with create(graph) as flow:
        short, long = (Message(payload=8.0, deadline_s=5000.0 + left) for left in (5, 15))
        asked = [asyncio.create_task(flow.ask(message)) for message in (short, long)]
        await quiet()
        wall.now += jump
        with pytest.raises(FlowError) as caught:
            await asked[0]
        assert caught.value.code == FlowErrorCode.DEADLINE_EXCEEDED
        assert clock() == pytest.approx(1005)
        assert (await asked[1]).payload == 8.0
        assert clock() == pytest.approx(1008)


@pytest.mark.parametrize("jump", [-1e6, 1e6])
@in_time
async def test_a_clock_jump_while_waiting_for_a_slot_changes_no_deadline(jump, monkeypatch):
    wall = Wall(monkeypatch)
    async with create(nap, max_traces=1) as flow:
        first = flow.start(3.0)
        short, long = (Message(payload=8.0, deadline_s=5000.0 + left) for left in (5, 30))
        asked = [asyncio.create_task(flow.ask(message)) for message in (short, long)]
        await quiet()
        wall.now += jump
        assert await first.result() == 3.0
        with pytest.raises(FlowError) as caught:
            await asked[0]
        assert caught.value.code == FlowErrorCode.DEADLINE_EXCEEDED
        assert clock() == pytest.approx(1005)
        assert (await asked[1]).payload == 8.0
        assert clock() == pytest.approx(1013)


@pytest.mark.parametrize("how", ["ask", "start", "stream", "emit"])
@in_time
async def test_the_wall_clock_is_read_once_on_entry(how, monkeypatch):
    async with create(flaky.to(same), same.to(nap)) as flow:
        message, waiting = Message(payload=1.0, deadline_s=5100.0), []
        wall = Wall(monkeypatch)
        if how == "emit":
            await flow.emit(message)
        elif how == "stream":
            await flow.stream(message).__aenter__()
        elif how == "start":
            flow.start(message)
        else:
            waiting.append(asyncio.create_task(flow.ask(message)))
        await quiet()
        assert wall.reads == 1
        await asyncio.sleep(20)
        assert wall.reads == 1


@in_time
async def test_nodes_see_the_deadline_that_was_given(monkeypatch):
    seen: list = []

    @node
    async def look(message: Message[int]):
        seen.append(message.deadline_s)
        return message

    Wall(monkeypatch, 1.7e9, step=0.001)
    async with create(look.to(sub := subflow("sub", create(look))), sub.to(same)) as flow:
        asked = Message(payload=1, deadline_s=1.7e9 + 10 / 3)
        assert (await flow.ask(asked)).deadline_s == asked.deadline_s
    assert seen == [asked.deadline_s] * 2


# --- controllers ------------------------------------------------------------------------------------


def controller(act, **policy):
    """A controller that notes the memories it is given, and takes a second over each."""
    seen: list[WM] = []

    @node(name="controller", allow_cycle=True, **policy)
    async def control(memory: WM, ctx: Context):
        seen.append(memory)
        await asyncio.sleep(1)
        return act(memory, ctx)

    return control, seen


def again(memory, ctx):
    return memory.model_copy(update={"facts": [*memory.facts, len(memory.facts)]})


def forgetful(memory, ctx):
    return WM(query=memory.query)


def wasteful(memory, ctx):
    ctx.spend(tokens=10)
    return memory


@in_time
async def test_a_controller_loops_until_its_final_answer_which_leaves_at_once():
    def act(memory, ctx):
        return FinalAnswer(text="done") if memory.hops == 3 else again(memory, ctx)

    after: list = []

    @node
    async def follows(x):
        after.append(x)

    control, seen = controller(act)
    async with create(control.to(control, follows)) as flow:
        assert await flow.ask(WM(query="q")) == FinalAnswer(text="done")
    assert [memory.hops for memory in seen] == [0, 1, 2, 3]
    assert seen[-1].facts == [0, 1, 2]
    assert after == []


@in_time
async def test_a_final_answer_on_the_last_hop_allowed_counts():
    control, _ = controller(lambda memory, ctx: FinalAnswer(text="just so") if memory.hops == 2 else memory)
    async with create(control.to(control)) as flow:
        assert (await flow.ask(WM(query="q", budget_hops=3))).text == "just so"


@pytest.mark.parametrize("follower", [False, True])
@in_time
async def test_anything_else_goes_to_the_other_successors_or_to_rookery(follower):
    control, seen = controller(lambda memory, ctx: "plain" if memory.hops else memory)

    @node
    async def follows(x: str):
        return x.upper()

    async with create(control.to(control, follows) if follower else control.to(control)) as flow:
        assert await flow.ask(WM(query="q")) == ("PLAIN" if follower else "plain")
    assert len(seen) == 2


@pytest.mark.parametrize("act", [again, forgetful])
@pytest.mark.parametrize("budget", [1, 3, 8])
@in_time
async def test_the_runtime_writes_hops_and_judges_budget_hops(act, budget):
    control, seen = controller(
        (lambda memory, ctx: WM(query="q", budget_hops=budget)) if act is forgetful and budget != 8 else act
    )
    async with create(control.to(control)) as flow:
        async with asyncio.timeout(1000):
            answer = await flow.ask(WM(query="q", budget_hops=budget))
    assert isinstance(answer, FinalAnswer)
    assert [memory.hops for memory in seen] == list(range(budget))


@in_time
async def test_budget_tokens_is_judged_when_the_memory_comes_back():
    control, seen = controller(lambda m, ctx: m.model_copy(update={"tokens_used": m.tokens_used + 40}))
    async with create(control.to(control)) as flow:
        assert isinstance(await flow.ask(WM(query="q", budget_tokens=100)), FinalAnswer)
    assert [memory.tokens_used for memory in seen] == [0, 40, 80]


@in_time
async def test_no_budget_means_no_limit():
    control, seen = controller(lambda m, ctx: FinalAnswer(text="x") if m.hops == 50 else m)
    async with create(control.to(control)) as flow:
        await flow.ask(WM(query="q", budget_hops=None))
    assert len(seen) == 51


@in_time
async def test_a_controller_may_go_on_using_the_memory_it_returned():
    kept: list[WM] = []

    def act(memory, ctx):
        kept.append(memory)
        return memory

    control, _ = controller(act)
    async with create(control.to(control)) as flow:
        given = WM(query="q", budget_hops=3)
        await flow.ask(given)
    assert given.hops == 0
    assert [memory.hops for memory in kept] == [0, 1, 2]


LIMITS: dict[str, tuple[dict[str, Any], dict[str, Any], Any]] = {
    "budget_hops": ({"budget_hops": 3}, {}, again),
    "hops": ({}, {"budget": Budget(hops=3)}, again),
    "tokens": ({}, {"budget": Budget(tokens=25)}, wasteful),
    "deadline": ({}, {"deadline_s": 5002.5}, again),
    "too late": ({}, {"deadline_s": 4000.0}, again),
}


@pytest.mark.parametrize("how", ["ask", "stream", "result", "results", "iterate", "fetch", "fetch_from", "errors"])
@pytest.mark.parametrize("limit", LIMITS)
@in_time
async def test_a_controller_that_runs_out_ends_as_expired_with_a_final_answer(how, limit, monkeypatch):
    Wall(monkeypatch)
    memory, envelope, act = LIMITS[limit]
    control, seen = controller(act)
    message, events = Message(payload=WM(query="q", **memory), **envelope), Recorder()
    flow = create(control.to(control), on_event=events, emit_errors_to_rookery=how == "errors")
    async with flow, asyncio.timeout(1000):
        if how == "ask":
            answer = await flow.ask(message)
        elif how == "stream":
            async with flow.stream(message) as stream:
                assert [chunk async for chunk in stream] == []
            answer = stream.result
        elif how in ("fetch", "fetch_from", "errors"):
            await flow.emit(message)
            answer = await flow.fetch(from_=control if how == "fetch_from" else None)
        elif how == "result":
            answer = await flow.start(message).result()
        else:
            handle = flow.start(message)
            (answer,) = await handle.results() if how == "results" else [item async for item in handle]
    answer = answer.payload if isinstance(answer, Message) else answer
    assert isinstance(answer, FinalAnswer)
    assert answer.text
    assert len(seen) == (0 if limit == "too late" else 3)
    assert [e.outcome for e in events.of("trace_finish")] == ["expired"]
    events.assert_lawful()


@pytest.mark.parametrize("limit", ["budget_hops", "hops", "tokens", "deadline"])
@in_time
async def test_a_controller_inside_a_subflow_runs_out_with_a_final_answer_too(limit, monkeypatch):
    Wall(monkeypatch)
    memory, envelope, act = LIMITS[limit]
    control, _ = controller(act)
    async with create(subflow("sub", create(control.to(control)))) as flow:
        answer = await flow.ask(Message(payload=WM(query="q", **memory), **envelope))
    assert isinstance(answer.payload, FinalAnswer)


@in_time
async def test_a_playbooks_controller_that_runs_out_gives_its_caller_the_answer():
    control, _ = controller(again)
    seen = Recorder()

    @node
    async def calls(query: str, ctx: Context):
        short = await ctx.call_playbook(create(control.to(control)), WM(query=query, budget_hops=2))
        late = await ctx.call_playbook(create(control.to(control)), WM(query=query), timeout=2.5)
        return isinstance(short, FinalAnswer) and isinstance(late, FinalAnswer)

    async with create(calls, on_event=seen) as flow:
        assert await flow.ask("q") is True
    assert [e.outcome for e in seen.of("trace_finish")] == ["completed"]


@pytest.mark.parametrize("wrap", [False, True])
@in_time
async def test_a_controller_may_speak_in_messages(wrap):
    @node(allow_cycle=True)
    async def control(message: Message[WM]):
        memory = message.payload
        hops.append((memory.hops, message.trace_id))
        answer = FinalAnswer(text="x") if memory.hops == 2 else memory
        return message.model_copy(update={"payload": answer}) if wrap else answer

    hops: list = []
    async with create(control.to(control)) as flow:
        asked = Message(payload=WM(query="q"))
        assert (await flow.ask(asked)).payload == FinalAnswer(text="x")
    assert hops == [(i, asked.trace_id) for i in range(3)]


@in_time
async def test_a_controller_that_yields_its_memory_runs_out_as_well():
    runs: list[int] = []

    @node(allow_cycle=True)
    async def control(memory: WM):
        runs.append(memory.hops)
        await asyncio.sleep(1)
        yield memory

    async with create(control.to(control)) as flow, asyncio.timeout(1000):
        assert isinstance(await flow.ask(WM(query="q", budget_hops=3)), FinalAnswer)
    assert runs == [0, 1, 2]
