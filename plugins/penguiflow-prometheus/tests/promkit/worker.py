"""One process of several: runs a flow, says so, and does what it is told, a line at a time.

Run as a program: `python worker.py NAME`. Commands: `ask N`, `stay N` (start N traces that don't end), `crash` (dies at
once), `stop`. INTERVAL in the environment is every how many seconds it writes.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading

from penguiflow import PenguiFlow, create, node
from penguiflow_prometheus import Options, Prometheus, start_http_server
from promkit.flows import busy, use


@node
async def stay(number: int) -> None:
    await asyncio.Event().wait()


async def obey(asked: PenguiFlow, staying: PenguiFlow, command: str, number: str = "0") -> None:
    if command == "ask":
        await use(asked, range(int(number)))
    elif command == "stay":
        for one in range(int(number)):
            staying.start(one)
        await asyncio.sleep(0)
    elif command == "crash":
        os.kill(os.getpid(), signal.SIGKILL)


async def main(name: str) -> None:
    options = Options(multiprocess_interval_s=float(os.environ.get("INTERVAL", "0.05")))
    asked = busy([Prometheus(options)], name)
    staying = create(stay, name="stay", plugins=[Prometheus(options)])
    with start_http_server(0) as server:
        async with asked, staying:
            print("port", server.port, flush=True)
            while (line := await asyncio.to_thread(sys.stdin.readline)).strip() not in ("stop", ""):
                await obey(asked, staying, *line.split())
                print("done", flush=True)
            await staying.stop(drain_s=0)
    print("threads", sorted(t.name for t in threading.enumerate() if "penguiflow" in t.name), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
