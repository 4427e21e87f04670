"""A support desk that knows nothing of rules: which node answers is up to whoever deploys it."""

import asyncio
from dataclasses import dataclass

from penguiflow import FlowEvent, Headers, Message, PenguiFlow, create, node, router


@dataclass
class Ticket:
    text: str
    amount: int = 0


TICKETS = (
    ("zoo", Ticket("the pool is cold")),
    ("south-pole", Ticket("no snow left")),
    ("zoo", Ticket("a refund, please", amount=900)),
    ("zoo", Ticket("win a prize now!!!")),
)


@node
async def faq(ticket: Ticket) -> str:
    return f"see question 7: {ticket.text}"


@node
async def agent(ticket: Ticket) -> str:
    return f"an agent answers: {ticket.text}"


@node
async def manager(ticket: Ticket) -> str:
    return f"the manager calls back: {ticket.text}"


def show_decision(event: FlowEvent) -> None:
    if event.event_type in ("route_decided", "route_dropped"):
        targets = ", ".join(event.extra["targets"]) or "nobody"
        print(f"  {targets}, says {event.extra.get('rule', 'no rule')}")


def support_desk() -> PenguiFlow:
    return create(router("desk").to(faq, agent, manager), name="support", on_event=show_decision)


async def main() -> None:
    async with support_desk() as flow:
        for tenant, ticket in TICKETS:
            print(f"{tenant}: {ticket.text}")
            handle = flow.start(Message(payload=ticket, headers=Headers(tenant=tenant)))
            for answer in await handle.results():
                print(f"  {answer.payload}")


if __name__ == "__main__":
    asyncio.run(main())
