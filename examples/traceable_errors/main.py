"""An order fails deep inside a flow: who waits learns where and why, and so does everything behind a wire."""

import asyncio
import json
import pickle

from pydantic import BaseModel

from penguiflow import FlowError, Headers, Message, create, node, subflow


class Order(BaseModel):
    item: str
    cents: int


class CardDeclined(Exception):
    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"card declined: {self.reason}"


@node
async def check_stock(order: Order) -> Order:
    return order


@node(max_retries=2, backoff_base=0.01, retry_on=(ConnectionError, CardDeclined))
async def charge(order: Order) -> Order:
    if order.cents > 10_000:
        raise CardDeclined("limit")
    return order


@node(timeout_s=0.05)
async def ship(order: Order) -> str:
    if order.item == "iceberg":
        await asyncio.sleep(60)
    return f"{order.item} is on its way"


payment = subflow("payment", create(charge, name="payment flow"))


def shown(error: FlowError) -> None:
    print(f"  {error.code} in {error.node_id} after {error.metadata['attempts']} attempts: {error.message}")


async def asked() -> None:
    """Whoever asks gets the error raised, with the original exception inside."""
    async with create(check_stock.to(payment), payment.to(ship), name="shop") as flow:
        print(await flow.ask(Order(item="fish", cents=300)))
        for order in (Order(item="boat", cents=90_000), Order(item="iceberg", cents=100)):
            print(order.item)
            try:
                await flow.ask(Message(payload=order, trace_id=f"order-{order.item}"))
            except FlowError as error:
                shown(error)
                match error.unwrap():
                    case CardDeclined(reason=reason):
                        print("  the original is there, reason:", reason)
                    case other:
                        print("  no exception of the node's own:", repr(other))
                carried(error)


def carried(error: FlowError) -> None:
    """It survives a wire and a process pool."""
    print(" ", json.dumps({key: error.to_payload()[key] for key in ("code", "trace_id", "exception_type")}))
    again = pickle.loads(pickle.dumps(error))
    assert (again.code, again.node_id, str(again.original_exc)) == (error.code, error.node_id, str(error.original_exc))


async def emitted() -> None:
    """Nobody waits for an emitted message: its error can be delivered beside the results."""
    flow = create(check_stock.to(payment), payment.to(ship), name="shop", emit_errors_to_rookery=True)
    async with flow:
        await flow.emit(Message(payload=Order(item="boat", cents=90_000), headers=Headers(tenant="zoo")))
        error = await flow.fetch()
        assert isinstance(error, FlowError)  # and not a receipt
        print("fetched:", error.code, "in", error.node_name)


async def main() -> None:
    await asked()
    await emitted()


if __name__ == "__main__":
    asyncio.run(main())
