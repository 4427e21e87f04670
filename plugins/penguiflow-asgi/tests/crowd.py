"""A server in a process of its own, which is asked for its figures: `python crowd.py PORT`."""

import asyncio
import resource
import sys
import time

from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

from penguiflow import Context, create, node
from penguiflow_asgi import Limits, anybody, flow_app
from penguiflow_asgi.serving import serve

SEEN = {"running": 0, "cancelled": 0, "chunks": 0}


class Ask(BaseModel):
    chunks: int
    size: int = 20
    pause_s: float = 0.0


@node
async def count(ask: Ask, ctx: Context) -> int:
    SEEN["running"] += 1
    try:
        for number in range(ask.chunks):
            await ctx.emit_chunk(f"{number}" + "." * ask.size)
            SEEN["chunks"] += 1
            if ask.pause_s:
                await asyncio.sleep(ask.pause_s)
        return ask.chunks
    except asyncio.CancelledError:
        SEEN["cancelled"] += 1
        raise
    finally:
        SEEN["running"] -= 1


def resident():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()


async def figures(request):
    tasks, cpu_s = len(asyncio.all_tasks()), time.process_time()
    return JSONResponse({**SEEN, "tasks": tasks, "resident": resident(), "cpu_s": cpu_s})


if __name__ == "__main__":
    app = flow_app(
        create(count, max_traces=2_000),
        input=Ask,
        authenticate=anybody,
        limits=Limits(traces_per_tenant=2_000, drain_s=10),
    )
    outer = Starlette(routes=[Route("/figures", figures), Mount("/", app)], lifespan=app.lifespan)
    serve(outer, app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", backlog=2_048)
