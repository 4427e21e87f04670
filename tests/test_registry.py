"""`ModelRegistry`: models by node name, where annotations don't say or shall not count."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from penguiflow import Context, FlowError, Message, ModelRegistry, Node, create
from tests.utils.flowtestkit import virtual_time


class Query(BaseModel):
    text: str


class Topic(BaseModel):
    name: str


@virtual_time
async def test_a_registry_fills_in_and_overrides_annotations():
    async def untyped(x):
        return x if isinstance(x, Query) else {"seen": type(x).__name__}

    async def typed(x: Topic) -> Any:
        return type(x).__name__

    registry = ModelRegistry()
    registry.register("untyped", Query, Query)
    registry.register("typed", Query, str)
    flow = create(Node(untyped).to(Node(typed)))
    flow.run(registry)
    assert await flow.ask({"text": "x"}) == "Query"
    with pytest.raises(FlowError, match="node 'untyped' takes Query"):
        await flow.ask({"no": 1})
    assert (flow.graph.node("untyped").takes, flow.graph.node("typed").takes) == ("Query", "Query")
    await flow.stop()
    async with flow:
        with pytest.raises(FlowError, match="node 'typed' takes Topic"):
            await flow.ask({"text": "x"})


@pytest.mark.parametrize("wants", [Message, Message[Topic], Message | None])
@virtual_time
async def test_a_node_that_takes_a_message_gets_one_with_the_registered_payload(wants: Any):
    async def enveloped(message):
        return message.model_copy(update={"payload": (type(message).__name__, message.payload)})

    enveloped.__annotations__.update(message=wants)
    registry = ModelRegistry()
    registry.register("enveloped", Query, Any)
    flow = create(Node(enveloped))
    flow.run(registry)
    assert flow.graph.node("enveloped").takes == "Message[Query]"
    assert await flow.ask({"text": "x"}) == ("Message[Query]", Query(text="x"))
    with pytest.raises(FlowError, match="node 'enveloped' takes Query"):
        await flow.ask({"no": 1})
    await flow.stop()


@virtual_time
async def test_a_message_class_of_ones_own_is_kept_whatever_the_registry_says():
    class Signed(Message[Any]):
        signature: str = "none"

    async def reads(message: Signed) -> str:
        return message.signature

    registry = ModelRegistry()
    registry.register("reads", Query, str)
    flow = create(Node(reads))
    flow.run(registry)
    assert await flow.ask({"text": "x"}) == "none"
    await flow.stop()


@virtual_time
async def test_a_playbook_factory_may_bring_its_registry():
    async def untyped(x):
        return type(x).__name__

    def factory() -> Any:
        registry = ModelRegistry()
        registry.register("untyped", Query, str)
        return create(Node(untyped)), registry

    async def calls(x: dict[str, str], ctx: Context) -> str:
        return str(await ctx.call_playbook(factory, x))

    async with create(Node(calls)) as flow:
        assert await flow.ask({"text": "x"}) == "Query"
