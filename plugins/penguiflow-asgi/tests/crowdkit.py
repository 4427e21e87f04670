"""A server in a process of its own, and clients of it that are about the server and not about themselves."""

import asyncio
import json
import time
from contextlib import asynccontextmanager
from pathlib import Path

from webkit import client, in_a_process


@asynccontextmanager
async def crowd():
    path = str(Path(__file__).with_name("crowd.py"))
    async with in_a_process(lambda port: (path, str(port))) as (port, process):
        async with client(f"http://127.0.0.1:{port}") as web:
            yield web, port, process


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


async def pace(web, port, chunks=2_000):
    """Seconds that one stream takes, and seconds of the server's processor for it."""
    cpu, began = (await figures(web))["cpu_s"], time.monotonic()
    reader, writer = await ask(port, chunks=chunks)
    found = await numbers(reader)
    took = time.monotonic() - began
    writer.close()
    assert found == (list(range(chunks)), ["result", "end"])
    return took, (await figures(web))["cpu_s"] - cpu
