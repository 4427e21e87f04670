"""The rules change while the flow runs: first a good file, then a broken one, which changes nothing."""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from penguiflow import FlowEvent, Headers, Message, PenguiFlow, create, node, router

HERE = Path(__file__).parent
decisions: list[str] = []
refusals: asyncio.Queue[BaseException | None] = asyncio.Queue()


@node
async def faq(ticket: dict[str, object]) -> str:
    return "see question 7"


@node
async def agent(ticket: dict[str, object]) -> str:
    return "an agent answers"


@node
async def manager(ticket: dict[str, object]) -> str:
    return "the manager calls back"


def watch(event: FlowEvent) -> None:
    if event.event_type == "route_decided":
        decisions.append(f"{', '.join(event.extra['targets'])}, says {event.extra['rule']}")
    elif event.event_type == "plugin_error":
        refusals.put_nowait(event.error)


@asynccontextmanager
async def deployed(folder: Path) -> AsyncIterator[PenguiFlow]:
    """The desk, as it is deployed with the policy in this folder."""
    (folder / "deployment.toml").write_text(
        f"[plugins]\npolicies = ['policy']\n[plugins.options.policy]\nfile = '{folder / 'policy.yaml'}'\n"
    )
    os.environ["PENGUIFLOW_CONFIG"] = str(folder / "deployment.toml")
    desk = router("desk").to(faq, agent, manager)
    async with create(desk, name="support", on_event=watch) as flow:
        yield flow


async def asked(flow: PenguiFlow) -> str:
    """Who answers the south pole, and which rule says so."""
    message = Message(payload={"text": "no snow left", "amount": 0}, headers=Headers(tenant="south-pole"))
    await flow.ask(message)
    return decisions[-1]


async def asked_until(flow: PenguiFlow, answer: str) -> str:
    """Ask again and again until the new rules are in use; for ten seconds at most."""
    for _ in range(500):
        if await asked(flow) == answer:
            break
        await asyncio.sleep(0.02)
    return decisions[-1]


def put(file: Path, text: str) -> None:
    """Put a whole new file in the place of the old one: nobody ever reads half of it."""
    new = file.with_suffix(".new")
    new.write_text(text, encoding="utf-8")
    new.replace(file)


async def main(folder: Path) -> None:
    policy, day = folder / "policy.yaml", (HERE / "day.yaml").read_text(encoding="utf-8")
    put(policy, day)
    async with deployed(folder) as flow:
        print(await asked(flow))
        put(policy, day.replace("route: manager", "route: agent"))
        print(await asked_until(flow, "agent, says best-customers"))
        put(policy, day.replace("route: manager", "route: nobody"))
        refusal = await asyncio.wait_for(refusals.get(), 10)
        print(str(refusal).replace(f"{folder}{os.sep}", ""))
        print(await asked(flow))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        asyncio.run(main(Path(name)))
