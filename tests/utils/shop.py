"""The flow of two nodes that the shortest complete test is about."""

from __future__ import annotations

from penguiflow import create, node


@node(max_retries=1, backoff_base=600)
async def triage(query: str) -> str:
    return query


@node
async def pack(topic: str) -> str:
    return f"packed: {topic}"


flow = create(triage.to(pack), name="shop")
