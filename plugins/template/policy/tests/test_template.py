"""Which messages go where."""

import asyncio

import pytest
from pydantic import ValidationError

from penguiflow import Headers, Message, create, node, router
from penguiflow_template import Options, plugin


@node
async def answer(text: str) -> str:
    return f"old: {text}"


@node
async def answer_v2(text: str) -> str:
    return f"new: {text}"


@node
async def archive(text: str) -> str:
    return f"kept: {text}"


def answers(tenant: str, *successors, **options) -> list[str]:
    """What a flow with a router before these nodes gives to one message of that tenant."""

    async def asked() -> list[str]:
        async with create(router("version").to(*successors), plugins=[plugin(Options(**options))]) as flow:
            found = await flow.start(Message(payload="hello", headers=Headers(tenant=tenant))).results()
        return sorted(message.payload for message in found)

    return asyncio.run(asked())


def test_the_new_version_is_for_the_tenants_named():
    assert answers("acme", answer, answer_v2, tenants={"acme"}) == ["new: hello"]
    assert answers("other", answer, answer_v2, tenants={"acme"}) == ["old: hello"]


def test_nobody_is_routed_to_it_by_default():
    assert answers("acme", answer, answer_v2) == ["old: hello"]


def test_where_there_is_no_choice_it_has_no_opinion():
    assert answers("acme", answer, archive, tenants={"acme"}) == ["kept: hello", "old: hello"]
    assert answers("other", answer_v2, tenants={"acme"}) == ["new: hello"]


def test_new_versions_may_be_named_otherwise():
    assert answers("acme", answer, archive, tenants={"acme"}, suffix="ive") == ["kept: hello"]


def test_a_suffix_that_every_name_has_is_refused():
    with pytest.raises(ValidationError, match="suffix"):
        Options(suffix="")
