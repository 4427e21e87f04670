"""Virtual time: what jumps, what never does, and that everything is as before when it ends."""

from __future__ import annotations

import asyncio
import datetime
import math
import selectors
import socket
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Executor, Future
from typing import Any

import anyio
import anyio.from_thread
import pytest

from penguiflow import Context, FlowError, FlowErrorCode, FlowEvent, Message, Node, PenguiFlow, create, node
from penguiflow.testkit import (
    Clock,
    VirtualLoop,
    any_times,
    arun_one,
    assert_node_sequence,
    quiet,
    run_many,
    run_one,
    timeline,
    virtual_time,
)
from tests.utils.nodes import nap, same, stuck

HOUR = 3600.0


@pytest.fixture(autouse=True)
def real_again() -> Iterator[None]:
    """Whatever a test does, the clock of the next one is real."""
    before = (time.time, time.time_ns, asyncio.new_event_loop, asyncio.events.new_event_loop)
    yield
    assert (time.time, time.time_ns, asyncio.new_event_loop, asyncio.events.new_event_loop) == before


def took(work: Callable[[], Any]) -> float:
    """Real seconds."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


# --- it jumps -------------------------------------------------------------------------------------


@node(max_retries=4, backoff_base=600, backoff_mult=2)
async def flaky(x: int, ctx: Context) -> int:
    if ctx.attempt < 3:
        raise ConnectionError(x)
    return x


def test_back_offs_time_outs_and_sleeps_take_no_real_time():
    def work() -> None:
        with virtual_time() as clock:
            assert run_one(create(flaky.to(nap)), 100) == 100
            assert clock.elapsed == 600 + 1200 + 2400 + 100
            with pytest.raises(FlowError, match="longer than its timeout_s of 5000 s"):
                run_one(create(node(timeout_s=5000)(nap.func)), 6000.0)
            assert clock.elapsed == 4300 + 5000

    assert took(work) < 1


def test_a_deadline_of_an_hour_takes_milliseconds():
    flow = create(nap)

    def work() -> None:
        with virtual_time() as clock, pytest.raises(FlowError) as caught:
            run_one(flow, Message(payload=2 * HOUR, deadline_s=time.time() + HOUR))
        assert caught.value.code == FlowErrorCode.DEADLINE_EXCEEDED
        assert clock.elapsed == pytest.approx(HOUR, abs=1e-6)

    assert min(took(work) for _ in range(5)) < 0.05


def test_a_year_goes_by_as_well():
    with virtual_time() as clock:
        assert run_many(create(nap), [365 * 24 * HOUR, 1.0]) == [365 * 24 * HOUR, 1.0]
        assert run_one(create(nap), 1e-3) == 1e-3
    assert clock.elapsed == pytest.approx(365 * 24 * HOUR + 1e-3)


def test_time_goes_on_from_one_loop_to_the_next():
    with virtual_time() as clock:
        for number in range(1, 4):
            run_one(create(nap), 10.0)
            assert clock.elapsed == 10 * number
        asyncio.run(asyncio.sleep(5))
        assert clock.elapsed == 35


@virtual_time
async def test_above_an_async_test_it_is_its_loop():
    before = asyncio.get_running_loop().time()
    await asyncio.sleep(HOUR)
    assert asyncio.get_running_loop().time() == before + HOUR


@virtual_time(starts_at=0.0)
def test_above_a_plain_test_it_holds_in_it():
    assert time.time() == 0
    run_one(create(nap), 7.0)
    assert time.time() == 7


async def test_in_a_loop_that_runs_already_it_holds_for_the_block():
    began = time.perf_counter()
    loop = asyncio.get_running_loop()
    kind, before = type(loop), loop.time()
    with virtual_time() as clock:
        await asyncio.sleep(HOUR)
        assert await arun_one(create(nap), HOUR) == HOUR
        late = asyncio.ensure_future(asyncio.sleep(0.02, "late"))
    assert clock.elapsed == pytest.approx(2 * HOUR)
    assert loop.time() >= before + 2 * HOUR
    assert isinstance(loop, kind)
    assert await late == "late"
    assert 0.02 <= time.perf_counter() - began < 5
    with virtual_time():
        await asyncio.sleep(HOUR)
    assert loop.time() >= before + 3 * HOUR


@pytest.mark.parametrize("kind", [PenguiFlow, type("Mine", (PenguiFlow,), {})])
async def test_a_flow_that_runs_by_the_real_clock_is_refused(kind: type[PenguiFlow]):
    flow = create(same, name="early")
    flow.__class__ = kind
    async with flow:
        with pytest.raises(RuntimeError, match="flow 'early' runs already, and goes by the real clock"):
            with virtual_time():
                pass
        assert await flow.ask(1) == 1


def test_one_that_is_entered_twice_is_one():
    with virtual_time() as outer, virtual_time() as inner:
        run_one(create(nap), 1.0)
        assert inner is outer
    assert outer.elapsed == 1


def test_whoever_leaves_last_makes_time_real_again():
    one, other = virtual_time(), virtual_time()
    clock = one.__enter__()
    assert other.__enter__() is clock
    one.__exit__(None, None, None)
    run_one(create(nap), HOUR)
    other.__exit__(None, None, None)
    assert clock.elapsed == HOUR


def test_a_test_may_move_the_clock():
    async def main(clock: Clock) -> list[str]:
        rung: list[str] = []
        asyncio.get_running_loop().call_later(50, rung.append, "soon")
        asyncio.get_running_loop().call_later(5000, rung.append, "late")
        clock.advance(100)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return rung

    with virtual_time() as clock:
        assert asyncio.run(main(clock)) == ["soon"]
        with pytest.raises(ValueError, match=r"a clock only goes forward: advance\(-1\)"):
            clock.advance(-1)


# --- the wall clock -------------------------------------------------------------------------------


def test_the_wall_clock_goes_along_and_is_real_afterwards():
    real = time.time()
    with virtual_time():
        assert time.time() == pytest.approx(real, abs=5)
        run_one(create(nap), HOUR)
        assert time.time() == pytest.approx(real + HOUR, abs=5)
        assert time.time_ns() / 1e9 == pytest.approx(time.time(), abs=1e-3)
        assert Message(payload=1).ts == time.time()
    assert time.time() == pytest.approx(real, abs=5)


def test_a_deadline_that_was_set_long_before_its_message_entered_is_read_by_the_same_clock():
    seen: list[float | None] = []

    async def look(x: int, ctx: Context) -> int:
        seen.append(ctx.deadline_left)
        return x

    async def main() -> None:
        message = Message(payload=1, deadline_s=time.time() + 100)
        await asyncio.sleep(60)
        await arun_one(create(Node(look)), message)

    with virtual_time():
        asyncio.run(main())
    assert seen == [pytest.approx(40, abs=1e-5)]


def test_it_may_start_at_any_time_and_events_say_so():
    seen: list[FlowEvent] = []
    new_year = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC).timestamp()
    with virtual_time(starts_at=new_year):
        run_one(create(nap, on_event=seen.append), 10.0)
    assert (seen[0].ts, seen[-1].ts) == (pytest.approx(new_year), pytest.approx(new_year + 10))


def test_somebody_elses_clock_stays_and_what_was_taken_from_it_is_real():
    real = time.time
    with pytest.MonkeyPatch.context() as patch:
        with virtual_time() as clock:
            patch.setattr(time, "time", lambda: 5.0)
            clock.advance(HOUR)
        assert time.time() == 5.0
    assert time.time == clock.time  # what the patch had found there
    assert time.time() == pytest.approx(real(), abs=5)
    time.time = real


# --- it never jumps -------------------------------------------------------------------------------


def test_not_while_an_executors_job_is_under_way():
    release = threading.Event()

    async def waits(x: int) -> int:
        return x if await asyncio.to_thread(release.wait, 20) else -1

    flow = create(node(timeout_s=HOUR)(waits))
    timer = threading.Timer(0.03, release.set)
    with virtual_time() as clock:
        timer.start()
        assert run_one(flow, 1) == 1
    assert 0 < clock.elapsed < 20
    timer.join()


class Hesitant(Future[Any]):
    """Lets time pass after each of those who wait has heard that it is done."""

    def add_done_callback(self, fn: Callable[[Future[Any]], object]) -> None:
        def hesitantly(done: Future[Any]) -> None:
            fn(done)
            threading.Event().wait(0.03)

        super().add_done_callback(hesitantly)


class OwnThread(Executor):
    """Runs its job in a thread that ends with it."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        job = Hesitant()
        self.thread = threading.Timer(0.01, lambda: job.set_result(fn(*args)))
        self.thread.start()
        return job


def test_not_between_the_end_of_a_job_and_the_arrival_of_its_answer():
    executor = OwnThread()

    async def ticks() -> None:
        for _ in range(5000):
            await asyncio.sleep(0.001)

    async def main() -> str:
        ticking = asyncio.ensure_future(ticks())
        try:
            async with asyncio.timeout(0.5):
                return await asyncio.get_running_loop().run_in_executor(executor, str, 7)
        finally:
            ticking.cancel()

    with virtual_time() as clock:
        assert asyncio.run(main()) == "7"
        asyncio.run(asyncio.sleep(HOUR))
    assert HOUR <= clock.elapsed < HOUR + 20
    executor.thread.join()


def test_not_while_a_worker_of_anyio_has_a_job():
    release = threading.Event()
    timer = threading.Timer(0.03, release.set)

    async def main() -> bool:
        with anyio.fail_after(HOUR):
            done = await anyio.to_thread.run_sync(release.wait, 20)
            await anyio.to_thread.run_sync(int)
        await anyio.sleep(HOUR)
        return done

    with virtual_time() as clock:
        timer.start()
        assert anyio.run(main)
    timer.join()
    assert HOUR <= clock.elapsed < HOUR + 20


def test_a_loop_that_other_threads_call_is_no_deadlock():
    with virtual_time() as clock, anyio.from_thread.start_blocking_portal() as portal:
        threading.Event().wait(0.03)
        assert portal.call(arun_one, create(nap), HOUR) == HOUR
    assert clock.elapsed >= HOUR


def test_other_threads_put_off_the_word_of_a_deadlock_for_a_while_only(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("penguiflow.testkit._loops.PATIENCE_S", 0.03)
    silent = threading.Event()
    thread = threading.Thread(target=silent.wait)
    thread.start()
    try:
        with virtual_time() as clock, pytest.raises(RuntimeError, match="a deadlock"):
            asyncio.run(stuck.func(1))
    finally:
        silent.set()
        thread.join()
    assert clock.elapsed > 0

    async def main() -> None:
        await asyncio.to_thread(int)  # its thread stays, and is no other
        await stuck.func(1)

    monkeypatch.setattr("penguiflow.testkit._loops.PATIENCE_S", 20.0)
    with virtual_time() as clock, pytest.raises(RuntimeError, match="a deadlock"):
        asyncio.run(main())
    assert clock.elapsed < 20


def test_time_goes_as_it_really_does_while_a_job_is_under_way():
    release = threading.Event()

    async def waits(x: int) -> bool:
        return await asyncio.to_thread(release.wait, 20)

    timer = threading.Timer(0.2, release.set)  # the loop waits for its threads at the end
    with virtual_time(), pytest.raises(FlowError, match="longer than its timeout_s"):
        timer.start()
        run_one(create(node(timeout_s=0.02)(waits)), 1)
    timer.join()


async def _served(answer: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]) -> bytes:
    """What a client gets of a real server, who has an hour for it."""
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            return await asyncio.wait_for(reader.read(), HOUR)
        finally:
            writer.close()
            await writer.wait_closed()


def test_not_while_a_task_waits_for_a_socket():
    """A thread answers: the loop has nothing but a socket and a timer."""
    listening = socket.create_server(("127.0.0.1", 0))
    release = threading.Event()

    def serve() -> None:
        connection, _ = listening.accept()
        with connection:
            release.wait(0.03)
            connection.sendall(b"hello")

    async def main() -> bytes:
        reader, writer = await asyncio.open_connection(*listening.getsockname())
        try:
            return await asyncio.wait_for(reader.read(), HOUR)
        finally:
            writer.close()
            await writer.wait_closed()

    thread = threading.Thread(target=serve)
    thread.start()
    with virtual_time() as clock, listening:
        assert asyncio.run(main()) == b"hello"
    thread.join()
    assert clock.elapsed < 20


def test_a_socket_that_only_listens_holds_nothing_up():
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        writer.close()
        await writer.wait_closed()

    async def main() -> bytes:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with server:
            await asyncio.sleep(HOUR)
        return await _served(answer)

    with virtual_time() as clock:
        assert took(lambda: asyncio.run(main())) < 10
    assert HOUR <= clock.elapsed < HOUR + 20


def test_an_idle_connection_is_told_of_or_jumped_over(monkeypatch: pytest.MonkeyPatch):
    here, there = socket.socketpair()
    here.setblocking(False)

    async def main() -> None:
        reading = asyncio.ensure_future(asyncio.get_running_loop().sock_recv(here, 1))
        try:
            await asyncio.sleep(HOUR)
        finally:
            reading.cancel()
            await asyncio.wait([reading])

    with here, there:
        with virtual_time(jump_over_sockets=True) as clock:
            asyncio.run(main())
        assert clock.elapsed >= HOUR
        monkeypatch.setattr("penguiflow.testkit._loops.PATIENCE_S", 0.03)
        with virtual_time(), pytest.raises(RuntimeError, match="virtual time stands still: .* nothing came from the s"):
            asyncio.run(main())


@pytest.mark.parametrize("pipes", [True, False])
def test_not_while_a_child_process_lives(pipes: bool):
    async def main() -> int:
        where = asyncio.subprocess.PIPE if pipes else asyncio.subprocess.DEVNULL
        child = await asyncio.create_subprocess_exec(sys.executable, "-c", "print('hello')", stdout=where)
        async with asyncio.timeout(HOUR):
            output, _ = await child.communicate()
        assert (output or b"").strip() == (b"hello" if pipes else b"")
        shell = await asyncio.create_subprocess_shell("exit 3", stdout=where)
        async with asyncio.timeout(HOUR):
            return await shell.wait()

    with virtual_time() as clock:
        assert asyncio.run(main()) == 3
        after = clock.elapsed
        asyncio.run(asyncio.sleep(HOUR))
        assert clock.elapsed == pytest.approx(after + HOUR)
    assert after < 200


def test_not_while_a_test_holds_it_for_a_thread_of_its_own():
    async def main(clock: Clock) -> str:
        loop, answer = asyncio.get_running_loop(), asyncio.Event()
        timer = threading.Timer(0.03, loop.call_soon_threadsafe, [answer.set])
        timer.start()
        with clock.hold():
            await asyncio.wait_for(answer.wait(), HOUR)
        timer.join()
        return "held"

    with virtual_time() as clock:
        assert asyncio.run(main(clock)) == "held"
    assert clock.elapsed < 20


def test_not_while_a_task_can_run():
    async def main() -> int:
        steps = 0
        timer = asyncio.ensure_future(asyncio.sleep(1))
        while not timer.done():
            await asyncio.sleep(0)
            steps += 1
            if steps == 1000:
                break
        timer.cancel()
        return steps

    with virtual_time() as clock:
        assert asyncio.run(main()) == 1000
    assert clock.elapsed == 0


# --- what it can't do -----------------------------------------------------------------------------


def test_a_deadlock_names_the_tasks_and_their_places():
    async def waits_in_vain() -> None:
        await stuck.func(1)

    async def main() -> None:
        await asyncio.gather(asyncio.create_task(waits_in_vain(), name="vain"), asyncio.Event().wait())

    with virtual_time(), pytest.raises(RuntimeError, match="a deadlock") as caught:
        asyncio.run(main())
    assert "\n  vain waits in forever, " in str(caught.value)


@pytest.mark.parametrize("seconds", [math.inf, 1e300])
def test_a_timer_that_is_never_due_is_no_way_out_of_a_deadlock(seconds: float):
    async def main() -> None:
        asyncio.get_running_loop().call_later(HOUR, print).cancel()  # one that is due, but cancelled, is none either
        await asyncio.sleep(seconds)

    with virtual_time() as clock, pytest.raises(RuntimeError, match="a deadlock"):
        asyncio.run(main())
    assert clock.elapsed < HOUR


def test_whoever_sleeps_for_ever_waits_for_the_others():
    async def main() -> int:
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep_forever)
            await asyncio.sleep(HOUR)
            group.cancel_scope.cancel()
        return 1

    with virtual_time() as clock:
        assert asyncio.run(main()) == 1
        assert clock.elapsed == pytest.approx(HOUR)
        with pytest.raises(RuntimeError, match="a deadlock"):
            asyncio.run(anyio.sleep_forever())


def test_a_loop_that_is_not_asyncios_own_is_refused():
    class Foreign(asyncio.BaseEventLoop):
        """As uvloop's: no selector loop."""

        def __init__(self) -> None:
            super().__init__()
            self._selector = selectors.DefaultSelector()

        def _process_events(self, events: Any) -> None:
            pass

    async def main() -> None:
        with virtual_time():
            pass

    loop = Foreign()
    try:
        with pytest.raises(RuntimeError, match="Foreign can't go by a virtual clock"):
            loop.run_until_complete(main())
    finally:
        loop.close()


async def test_quiet_needs_virtual_time():
    with pytest.raises(RuntimeError, match=r"quiet\(\) needs virtual time"):
        await quiet()


@virtual_time
async def test_quiet_waits_until_all_else_is_blocked():
    done: list[int] = []

    async def counts() -> None:
        for number in range(50):
            await asyncio.sleep(0)
            done.append(number)
        await asyncio.sleep(HOUR)
        done.append(-1)

    task = asyncio.ensure_future(counts())
    await quiet()
    assert len(done) == 50
    await task


def test_a_virtual_loop_is_for_frameworks_that_take_a_factory():
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        assert took(lambda: runner.run(asyncio.sleep(HOUR))) < 1


def test_the_timeline_is_in_virtual_time():
    flow = create(flaky)
    with virtual_time():
        run_one(flow, 1)
    assert "4200.000 s  flaky  ends after 4200 s on attempt 4" in timeline(flow)
    assert_node_sequence(flow, any_times("flaky"))
