"""`resources=`: opened with the flow, closed after it, by one task; whatever happens in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from penguiflow import Context, FlowError, FlowStateError, Node, PenguiFlow, create, hookimpl, node, subflow
from tests.utils.flowtestkit import Recorder, clock, in_time, quiet, virtual_time
from tests.utils.nodes import stuck


class Database:
    """A resource that says what happens to it."""

    def __init__(self, slow: float = 0.0, enter: Exception | None = None, leave: Exception | None = None) -> None:
        self.slow, self.enter, self.leave = slow, enter, leave
        self.log: list[str] = []
        self.tasks: list[Any] = []

    @asynccontextmanager
    async def open(self) -> AsyncIterator[str]:
        self.tasks.append(asyncio.current_task())
        self.log.append("enter")
        number = self.log.count("enter")
        await asyncio.sleep(self.slow)
        if self.enter is not None:
            raise self.enter
        try:
            async with asyncio.timeout(1e6):  # a cancel scope must be left by the task that entered it
                yield f"connection {number}"
        finally:
            self.tasks.append(asyncio.current_task())
            self.log.append("leave")
            if self.leave is not None:
                raise self.leave


@node
async def reads(x: int, ctx: Context) -> str:
    await asyncio.sleep(x)
    return f"{ctx.resources} for {x}"


def flow_with(database: Database, first: Node = reads, **options: Any) -> PenguiFlow:
    return create(first, resources=database.open, **options)


@virtual_time
async def test_a_nodes_context_has_what_the_factory_gave():
    database = Database()
    async with flow_with(database) as flow:
        assert database.log == ["enter"]
        answers = await asyncio.gather(*map(flow.ask, (1, 2)))
        assert answers == ["connection 1 for 1", "connection 1 for 2"]
        assert database.log == ["enter"]
    assert database.log == ["enter", "leave"]


@virtual_time
async def test_one_task_enters_and_leaves_whoever_stops_the_flow():
    database = Database()
    flow = flow_with(database)
    flow.run()
    assert await flow.ask(0) == "connection 1 for 0"
    await asyncio.gather(asyncio.create_task(flow.stop()), flow.stop())
    entered, left = database.tasks
    assert entered is left


@virtual_time
async def test_resources_close_after_the_last_trace_and_only_then():
    database = Database()
    async with flow_with(database) as flow:
        handle = flow.start(50)
        await quiet()
        stopping = asyncio.ensure_future(flow.stop())
        await asyncio.sleep(10)
        assert database.log == ["enter"]
        assert await handle.result() == "connection 1 for 50"
        await stopping
        assert database.log == ["enter", "leave"]


@virtual_time
async def test_messages_wait_until_the_resources_are_open():
    database = Database(slow=5)
    flow = flow_with(database)
    flow.run()
    assert await flow.ask(0) == "connection 1 for 0"
    assert clock() == pytest.approx(1005)
    await flow.stop()


@virtual_time
async def test_a_deadline_and_a_cancel_reach_a_message_that_waits_for_resources():
    recorder = Recorder()
    flow = flow_with(Database(slow=100), on_event=recorder)
    flow.run()
    with pytest.raises(FlowError) as caught:
        await flow.ask(0, timeout_s=3)
    assert caught.value.code == "DEADLINE_EXCEEDED"
    assert clock() == pytest.approx(1003)
    handle = flow.start(0)
    await quiet()
    assert await handle.cancel()
    assert clock() < 1004
    await flow.stop(drain_s=0)
    assert recorder.runs() == []
    recorder.assert_lawful()


# --- errors ---------------------------------------------------------------------------------------


@virtual_time
async def test_an_error_on_enter_is_raised_by_the_block_and_the_flow_may_run_again():
    database = Database(enter=ConnectionError("no database"))
    flow = flow_with(database)
    for _ in range(2):
        with pytest.raises(ConnectionError, match="no database"):
            async with flow:
                raise AssertionError("the block is not entered")
        assert not flow.running
    assert database.log == ["enter", "enter"]
    database.enter = None
    async with flow:
        assert await flow.ask(0) == "connection 3 for 0"


@virtual_time
async def test_an_error_on_enter_fails_the_messages_of_a_flow_that_was_run():
    flow = flow_with(Database(slow=1, enter=ConnectionError("no database")))
    flow.run()
    for _ in range(2):
        with pytest.raises(FlowError, match="resources could not be opened: ConnectionError: no database") as caught:
            await flow.ask(0)
        assert isinstance(caught.value.original_exc, ConnectionError)
    with pytest.raises(ConnectionError):
        await flow.stop()
    assert not flow.running


@virtual_time
async def test_an_error_on_exit_is_raised_by_the_block_after_all_is_done():
    database = Database(leave=OSError("disk full"))
    flow = flow_with(database)
    with pytest.raises(OSError, match="disk full"):
        async with flow:
            assert await flow.ask(0) == "connection 1 for 0"
    assert not flow.running
    database.leave = None
    async with flow:
        assert await flow.ask(0) == "connection 2 for 0"


@virtual_time
async def test_leaving_the_block_with_an_error_closes_the_resources_and_raises_it():
    database = Database()
    with pytest.raises(KeyError, match="mine"):
        async with flow_with(database) as flow:
            flow.start(1000)
            await quiet()
            raise KeyError("mine")
    assert database.log == ["enter", "leave"]
    assert clock() < 1010


@virtual_time
async def test_cancelling_who_enters_the_block_closes_what_was_opened():
    database = Database(slow=50)
    flow = flow_with(database)

    async def use() -> None:
        async with flow:
            await flow.ask(0)

    task = asyncio.ensure_future(use())
    await quiet()
    task.cancel()
    await asyncio.wait([task])
    await asyncio.sleep(100)
    assert task.cancelled()
    assert not flow.running
    assert database.log in (["enter"], ["enter", "leave"])
    assert asyncio.all_tasks() == {asyncio.current_task()}
    database.slow = 0
    async with flow:
        assert "connection" in await flow.ask(0)


@pytest.mark.parametrize("drain_s", [0, None])
@pytest.mark.parametrize("opening", [False, True])
@virtual_time
async def test_who_enters_a_flow_that_is_stopped_meanwhile_is_told(opening: bool, drain_s: float | None):
    database, seen = Database(slow=50), Recorder()
    flow = flow_with(database, on_event=seen)

    async def use() -> None:
        async with flow:
            raise AssertionError("the block is not entered")

    entering = asyncio.ensure_future(use())
    await asyncio.sleep(opening)  # without a pause, the flow has begun, and opening its resources has not
    await flow.stop(drain_s)
    with pytest.raises(FlowStateError, match="was stopped while it was being entered"):
        await asyncio.wait_for(entering, 100)
    assert not flow.running
    assert clock() < 1010
    assert seen.types() == ["flow_start", "flow_stop"]
    assert asyncio.all_tasks() == {asyncio.current_task()}
    database.slow = 0
    async with flow:
        assert "connection" in await flow.ask(0)


@in_time
async def test_stopping_a_flow_that_somebody_gives_up_entering_waits_for_its_end():
    seen, closed = Recorder(), []

    @asynccontextmanager
    async def stubborn() -> AsyncIterator[None]:
        try:
            await asyncio.sleep(50)
            yield
        finally:
            await asyncio.sleep(0.5)
            closed.append(clock())

    flow = create(reads, resources=stubborn, on_event=seen)
    entering = asyncio.ensure_future(flow.__aenter__())
    await asyncio.sleep(1)
    entering.cancel()
    await quiet()
    await flow.stop()
    assert closed == [pytest.approx(1001.5)]
    await asyncio.wait([entering])
    assert entering.cancelled()
    assert seen.types() == ["flow_start", "flow_stop"]


@in_time
async def test_who_waits_for_a_stop_that_another_gives_up_is_not_cancelled():
    @asynccontextmanager
    async def endless() -> AsyncIterator[None]:
        yield
        await asyncio.sleep(100)

    flow = create(reads, resources=endless)
    flow.run()
    await flow.ask(0)
    impatient, patient = asyncio.ensure_future(flow.stop()), asyncio.ensure_future(flow.stop())
    await quiet()
    impatient.cancel()
    await asyncio.wait([impatient, patient])
    assert impatient.cancelled()
    assert await patient is None
    assert not flow.running
    assert clock() < 1010


def closing_in(delays: list[float], diary: list[str]) -> Any:
    """Resources that take their time to close."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[None]:
        try:
            yield
        finally:
            for delay in delays:
                await asyncio.sleep(delay)
            diary.append("closed")

    return opened


async def asks_for_ever(flow: PenguiFlow, diary: list[str]) -> None:
    try:
        async with flow:
            await flow.ask(0)
    finally:
        diary.append("left")


@in_time
async def test_who_is_cancelled_again_and_again_leaves_the_block_when_the_resources_are_closed():
    diary: list[str] = []
    using = asyncio.ensure_future(asks_for_ever(create(stuck, resources=closing_in([0.5], diary)), diary))
    await quiet()
    while not using.done():
        using.cancel()
        await asyncio.sleep(0.1)
    assert using.cancelled()
    assert diary == ["closed", "left"]
    assert clock() == pytest.approx(1000.5, abs=0.11)


@in_time
async def test_who_is_cancelled_again_and_again_waits_for_endless_resources_a_second_at_most(caplog: Any):
    diary: list[str] = []
    before = asyncio.all_tasks()
    using = asyncio.ensure_future(asks_for_ever(create(stuck, resources=closing_in([1e5], diary)), diary))
    await quiet()
    while not using.done():
        using.cancel()
        await asyncio.sleep(0.1)
    assert diary == ["left"]
    assert clock() == pytest.approx(1001, abs=0.11)
    assert "was cancelled while it closed its resources, and gave them up" in caplog.text
    await quiet()
    assert asyncio.all_tasks() == before


@in_time
async def test_a_cancel_scope_of_anyio_is_left_when_the_resources_are_closed():
    diary: list[str] = []
    with anyio.move_on_after(5) as scope:
        await asks_for_ever(create(stuck, resources=closing_in([0] * 20, diary)), diary)
    assert scope.cancelled_caught
    assert diary == ["closed", "left"]


@in_time
async def test_an_error_on_exit_is_logged_when_who_stops_the_flow_is_cancelled_at_that_moment(caplog):
    @asynccontextmanager
    async def leaves_badly() -> AsyncIterator[None]:
        yield
        keeper = asyncio.current_task()
        assert keeper is not None
        keeper.add_done_callback(lambda _: stopping.cancel())
        raise OSError("disk full")

    flow = create(reads, resources=leaves_badly)
    flow.run()
    await flow.ask(0)
    stopping = asyncio.ensure_future(flow.stop())
    await asyncio.wait([stopping])
    assert stopping.cancelled()
    assert not flow.running
    assert "disk full" in caplog.text


@in_time
async def test_a_flow_that_is_stopped_before_its_plugins_have_started_says_neither_start_nor_stop():
    class Slow:
        async def start(self, flow: PenguiFlow) -> None:
            await asyncio.sleep(9)

        @hookimpl
        def export_graph(self, request: Any) -> None:
            pass

    seen = Recorder()
    flow = create(reads, plugins=[Slow()], on_event=seen)
    for entered in (False, True):
        if entered:
            entering = asyncio.ensure_future(flow.__aenter__())
            await quiet()
            entering.cancel()
            await asyncio.wait([entering])
        else:
            flow.run()
            await quiet()
            await flow.stop()
        assert seen.types() == []
    async with flow:
        pass
    assert seen.types() == ["flow_start", "flow_stop"]


# --- nested flows ---------------------------------------------------------------------------------


@virtual_time
async def test_a_subflows_resources_are_opened_with_the_outer_flow_and_are_its_own():
    inner, outer = Database(), Database()
    nested = create(reads, resources=inner.open, name="nested")

    async def shows(text: str, ctx: Context) -> str:
        return f"{text}, {ctx.resources}"

    sub = subflow("sub", nested)
    async with create(sub.to(Node(shows)), resources=lambda: named(outer, "outer")) as flow:
        assert (inner.log, outer.log) == (["enter"], ["enter"])
        for _ in range(2):
            assert await flow.ask(0) == "connection 1 for 0, outer"
    assert (inner.log, outer.log) == (["enter", "leave"], ["enter", "leave"])
    assert inner.tasks[0] is inner.tasks[1]


@asynccontextmanager
async def named(database: Database, name: str) -> AsyncIterator[str]:
    async with database.open():
        yield name


@virtual_time
async def test_a_nested_flow_without_resources_has_its_parents():
    async def calls(x: int, ctx: Context) -> Any:
        return await ctx.call_playbook(create(reads), x)

    for first in (subflow("sub", create(reads)), Node(calls)):
        async with flow_with(Database(), first) as flow:
            assert await flow.ask(0) == "connection 1 for 0"


@virtual_time
async def test_a_playbooks_resources_live_as_long_as_its_call():
    database = Database()
    playbook = create(reads, resources=database.open)

    async def calls(x: int, ctx: Context) -> Any:
        return await ctx.call_playbook(playbook, x), ctx.resources

    async with flow_with(Database(), Node(calls)) as flow:
        answers = await asyncio.gather(*(flow.ask(x) for x in (3, 1, 2)))
        assert database.log.count("enter") == database.log.count("leave") == 3
    own = [f"connection {number} for {x}" for number, x in ((1, 3), (2, 1), (3, 2))]
    assert answers == [(text, "connection 1") for text in own]


@virtual_time
async def test_an_error_of_a_playbooks_resources_fails_the_node_that_called_it():
    playbook = flow_with(Database(enter=ConnectionError("no database")))

    async def calls(x: int, ctx: Context) -> Any:
        return await ctx.call_playbook(playbook, x)

    async with create(Node(calls)) as flow:
        with pytest.raises(FlowError, match="ConnectionError: no database"):
            await flow.ask(0)


# --- who opens the flow can't wait for it ---------------------------------------------------------


@in_time
async def test_what_opens_a_resource_cannot_wait_for_an_answer_of_its_own_flow():
    @asynccontextmanager
    async def warmed() -> AsyncIterator[None]:
        await flow.ask(0)
        yield

    flow = create(reads, name="shop", resources=warmed)
    with pytest.raises(FlowStateError, match="flow 'shop' is still being opened, and what opens it can't wait"):
        await flow.__aenter__()
    assert clock() == 1000


@in_time
async def test_a_task_that_it_starts_asks_and_waits_until_the_flow_is_open():
    asked: list[asyncio.Task[str]] = []

    @asynccontextmanager
    async def warmed() -> AsyncIterator[str]:
        asked.append(asyncio.create_task(flow.ask(0)))
        flow.start(0)  # waits for nothing
        await asyncio.sleep(1)
        yield "warm"

    flow = create(reads, resources=warmed)
    async with flow:
        assert await asked[0] == "warm for 0"


# --- again ----------------------------------------------------------------------------------------


def test_every_run_opens_its_own_in_another_loop_too():
    database = Database()
    flow = flow_with(database)

    async def main() -> str:
        async with flow:
            return str(await flow.ask(0))

    assert [asyncio.run(main()), asyncio.run(main())] == ["connection 1 for 0", "connection 2 for 0"]
    assert database.log == ["enter", "leave"] * 2
