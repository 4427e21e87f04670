"""Many clients of one process: all served whole, the vanished forgotten, the slow one alone with it."""

import asyncio
import contextlib
import json
import runpy
import time
from pathlib import Path

from crowdkit import ask, crowd, figures, lazy_client, numbers, pace
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

MEGABYTE = 1_048_576
SERVICE_RESTART = 1012


async def test_a_thousand_streams_at_once_are_each_whole_and_in_order():
    async def one(port):
        reader, writer = await ask(port, chunks=20, pause_s=0.05)
        try:
            return await numbers(reader)
        finally:
            writer.close()

    async with crowd() as (web, port, _):
        before = await figures(web)
        asked = [asyncio.create_task(one(port)) for _ in range(1_000)]
        most = 0
        while most < 1_000 and not all(task.done() for task in asked):
            most = max(most, (await figures(web))["running"])
            await asyncio.sleep(0.05)
        found = await asyncio.gather(*asked)
        after = await figures(web)
    assert all(one == (list(range(20)), ["result", "end"]) for one in found)
    assert most > 900
    assert after["running"] == after["cancelled"] == 0
    assert after["tasks"] == before["tasks"]


async def test_clients_that_vanish_take_their_traces_with_them_within_a_second():
    async with crowd() as (web, port, _):
        before = await figures(web)
        clients = [await ask(port, chunks=10**9, pause_s=0.2) for _ in range(200)]
        for reader, _ in clients:
            await reader.readuntil(b"event: chunk\n")
        assert (await figures(web))["running"] == 200
        began = time.monotonic()
        for _, writer in clients:
            writer.transport.abort()
        while (now := await figures(web))["running"]:
            assert time.monotonic() - began < 5
        took = time.monotonic() - began
        print(f"200 clients vanished: all cancelled after {took:.3f} s")
        assert took < 1
        assert now["cancelled"] == 200
        while (now := await figures(web))["tasks"] != before["tasks"]:
            assert time.monotonic() - began < 5


async def test_a_client_that_reads_nothing_costs_little_and_the_others_nothing():
    async with crowd() as (web, port, _):
        await pace(web, port)
        before = await figures(web)
        for _ in range(6):
            async with lazy_client(web, port):
                await pace(web, port)
        after = await figures(web)
    print(f"memory grew by {(after['resident'] - before['resident']) / MEGABYTE:.1f} MiB")
    assert after["resident"] - before["resident"] < 16 * MEGABYTE


def test_the_bench_measures_streams_that_it_reads_whole(capsys):
    bench = runpy.run_path(str(Path(__file__).parents[1] / "benchmarks" / "__main__.py"), run_name="bench")
    found = asyncio.run(bench["measure"](rounds=1, chunks=50))
    bench["show"](found, chunks=50)
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "50 chunks over server-sent events, 1 rounds"
    assert [line.strip().partition("   ")[0] for line in told[1:]] == ["alone", "beside a lazy client"]


async def test_a_shutdown_lets_streams_and_sockets_end():
    async with crowd() as (_, port, process):
        reader, writer = await ask(port, chunks=20, pause_s=0.05)
        await reader.readuntil(b"event: chunk\n")
        async with connect(f"ws://127.0.0.1:{port}/ws", proxy=None) as talking:
            await talking.send('{"type": "start", "id": "a", "input": {"chunks": 20, "pause_s": 0.05}}')
            assert json.loads(await talking.recv())["type"] == "started"
            process.terminate()
            heard = [json.loads(message) async for message in heard_from(talking)]
            assert talking.close_code == SERVICE_RESTART
        found, others = await numbers(reader)
        writer.close()
        assert found == list(range(20))
        assert others == ["result", "end"]
        assert [int(one["data"]["text"].rstrip(".")) for one in heard[:-2]] == list(range(20))
        assert [one["type"] for one in heard[-2:]] == ["result", "end"]
        async with asyncio.timeout(10):
            await process.wait()


async def heard_from(talking):
    """What a socket says until it is closed, however it is."""
    with contextlib.suppress(ConnectionClosed):
        while True:
            yield await talking.recv()
