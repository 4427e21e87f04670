"""Many clients of one process: all served whole, the vanished forgotten, the slow one alone with it."""

import asyncio
import contextlib
import json
import socket
import statistics
import sys
import time
from contextlib import asynccontextmanager
from pathlib import Path

from webkit import client
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

MEGABYTE = 1_048_576
SERVICE_RESTART = 1012


@asynccontextmanager
async def crowd():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    path = Path(__file__).with_name("crowd.py")
    process = await asyncio.create_subprocess_exec(sys.executable, path, str(port), stderr=asyncio.subprocess.PIPE)
    try:
        async with asyncio.timeout(30):
            while True:
                try:
                    (await asyncio.open_connection("127.0.0.1", port))[1].close()
                    break
                except OSError:
                    await asyncio.sleep(0.05)
        async with client(f"http://127.0.0.1:{port}") as web:
            yield web, port, process
    finally:
        if process.returncode is None:
            process.terminate()
        said = await process.stderr.read()
        await process.wait()
    assert said == b""


async def figures(web):
    return (await web.get("/figures")).json()


async def ask(port, **what):
    """A stream, as a plain connection: a thousand of them are about the server, not about the client."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=4_096)
    body = json.dumps(what)
    head = "POST /stream HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n"
    writer.write(f"{head}content-length: {len(body)}\r\n\r\n{body}".encode())
    return reader, writer


async def numbers(reader):
    """The numbers that the chunks of a stream begin with, and the names of the other events."""
    found, others = [], []
    async for line in reader:
        if line.startswith(b'data: {"stream_id"'):
            found.append(int(json.loads(line[6:])["text"].rstrip(".")))
        elif line.startswith(b"event: ") and line != b"event: chunk\n":
            others.append(line[7:-1].decode())
    return found, others


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


@asynccontextmanager
async def lazy_client(web, port):
    """A client that reads the first line of an endless answer; entered when its node has to wait for it."""
    reader, writer = await ask(port, chunks=10**9, size=10_000)
    try:
        await reader.readline()
        taken = -1
        while taken != (now := await figures(web))["chunks"]:
            taken = now["chunks"]
            await asyncio.sleep(0.3)
        yield
    finally:
        writer.transport.abort()


async def test_a_client_that_reads_nothing_costs_little_and_the_others_no_time():
    async def pace(web, port):
        """Seconds of one stream, and of the server's processor for it."""
        cpu, began = (await figures(web))["cpu_s"], time.monotonic()
        reader, writer = await ask(port, chunks=2_000)
        found, _ = await numbers(reader)
        took = time.monotonic() - began
        writer.close()
        assert found == list(range(2_000))
        return took, (await figures(web))["cpu_s"] - cpu

    async with crowd() as (web, port, _):
        await pace(web, port)
        alone, beside = [], []
        before = await figures(web)
        for _ in range(6):  # in turn, so that other work on this machine meets both
            alone.append(await pace(web, port))
            async with lazy_client(web, port):
                beside.append(await pace(web, port))
        after = await figures(web)
    for name, got in (("alone", alone), ("beside a lazy client", beside)):
        print(f"2,000 chunks {name}: {median(got)[0]:.3f} s, of which processor {median(got)[1]:.3f} s")
    print(f"memory grew by {(after['resident'] - before['resident']) / MEGABYTE:.1f} MiB")
    assert after["resident"] - before["resident"] < 16 * MEGABYTE
    assert min(beside)[0] < 1.5 * min(alone)[0] + 0.1  # whoever waited for the lazy client would wait for ever
    assert min(cpu for _, cpu in beside) < 1.5 * min(cpu for _, cpu in alone)


def median(pairs):
    return [statistics.median(column) for column in zip(*pairs, strict=True)]


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
