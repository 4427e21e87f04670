"""A help desk that knows nothing of plugins: whether one reroutes it is up to whoever deploys it."""

import asyncio

from penguiflow import FlowEvent, Headers, Message, create, node, predicate_router


def by_urgency(message: Message[str]) -> str:
    return "express" if "!" in message.payload else "standard"


desk = predicate_router("desk", by_urgency)


@node
async def standard(ticket: str) -> str:
    return f"answered within a day: {ticket}"


@node
async def express(ticket: str) -> str:
    return f"answered within the hour: {ticket}"


def show_decision(event: FlowEvent) -> None:
    if event.event_type == "route_decided":
        print(f"  {event.extra['decided_by']} chose {', '.join(event.extra['targets'])}")


async def main() -> None:
    async with create(desk.to(standard, express), name="help-desk", on_event=show_decision) as flow:
        for tenant, ticket in (
            ("zoo", "the pool is cold"),
            ("zoo", "a penguin is out!"),
            ("south-pole", "no snow left"),
        ):
            print(f"{tenant}: {ticket}")
            answer = await flow.ask(Message(payload=ticket, headers=Headers(tenant=tenant)))
            print(f"  {answer.payload}")


if __name__ == "__main__":
    asyncio.run(main())
