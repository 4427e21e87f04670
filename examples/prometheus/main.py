"""A flow adds to a counter of its own, and Prometheus reads it beside the metrics that every flow has.

`--serve` keeps it selling, so that a Prometheus and a Grafana have something to show.
"""

import argparse
import asyncio
import random
from collections.abc import Iterator

from prometheus_client import REGISTRY, Counter, generate_latest
from pydantic import BaseModel

from penguiflow import Context, FlowError, PenguiFlow, create, node
from penguiflow_prometheus import start_http_server

SOLD = Counter("shop_fish_sold", "Fish sold, by kind.", ["kind"])
PRICES = {"herring": 2.0, "krill": 0.5, "squid": 7.25}


class Order(BaseModel):
    kind: str
    amount: int
    takes_s: float = 0.0


@node(max_retries=1, backoff_base=0.01)
async def fetch(order: Order, ctx: Context) -> Order:
    await asyncio.sleep(order.takes_s)
    if order.kind not in PRICES:
        raise LookupError(f"there is no {order.kind}")
    if order.amount > 10 and ctx.attempt == 0:
        raise ConnectionError("the store house doesn't answer")
    return order


@node
async def sell(order: Order, ctx: Context) -> Order:
    SOLD.labels(order.kind).inc(order.amount)
    ctx.spend(tokens=order.amount, cost=order.amount * PRICES[order.kind])
    return order


@node
async def pack(order: Order, ctx: Context) -> str:
    for number in range(order.amount):
        await ctx.emit_chunk(f"{order.kind} {number + 1}, ")
    return f"{order.amount} {order.kind}"


def shop() -> PenguiFlow:
    return create(fetch.to(sell), sell.to(pack), name="shop", plugins=["prometheus"])


async def bought(flow: PenguiFlow, order: Order) -> str:
    try:
        return str(await flow.ask(order))
    except FlowError as error:
        return error.message


def lines(*names: str) -> Iterator[str]:
    """What a scrape shows of these metrics, but for zeros."""
    text = generate_latest(REGISTRY).decode()
    found = (line for name in names for line in text.splitlines() if line.startswith(f"{name}{{"))
    return (line for line in found if not line.endswith(" 0.0"))


async def sell_a_little() -> None:
    async with shop() as flow:
        for kind, amount in (("herring", 3), ("krill", 12), ("herring", 2), ("whale", 1)):
            print(await bought(flow, Order(kind=kind, amount=amount)))
    for line in lines(
        "shop_fish_sold_total",
        "penguiflow_traces_total",
        "penguiflow_node_runs_total",
        "penguiflow_node_retries_total",
        "penguiflow_node_errors_total",
        "penguiflow_trace_cost_total",
        "penguiflow_stream_chunks_total",
    ):
        print(line)


async def sell_on(port: int) -> None:
    """Sell until it is interrupted."""
    with start_http_server(port) as server:
        print(f"metrics at http://127.0.0.1:{server.port}/metrics", flush=True)
        async with shop() as flow:
            while True:
                kind = random.choice([*PRICES, *PRICES, "whale"])
                order = Order(kind=kind, amount=random.randint(1, 12), takes_s=random.expovariate(20))
                orders = [bought(flow, order) for _ in range(random.randint(1, 5))]
                await asyncio.gather(*orders)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Sell fish, and count them.")
    parser.add_argument("--serve", type=int, metavar="PORT", help="show the metrics at this port, and go on selling")
    port = parser.parse_args().serve
    try:
        asyncio.run(sell_a_little() if port is None else sell_on(port))
    except KeyboardInterrupt:
        print("closed")
