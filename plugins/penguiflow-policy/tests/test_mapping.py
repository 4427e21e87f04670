"""`DictRoutingPolicy`: a mapping, a default, a key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from desk import flow_of, request

from penguiflow import FlowError, Headers, Message
from penguiflow_policy import DictRoutingPolicy, PolicyError


def by_tenant(asked: Any) -> str:
    tenant: str = asked.message.headers.tenant
    return tenant


async def test_a_router_sends_messages_where_the_mapping_says():
    made = DictRoutingPolicy({"acme": "b", "zoo": ["a", "c"], "spam": ()}, default="a", key_getter=by_tenant)
    async with flow_of(policy=made) as flow:
        counts = {}
        for tenant in ("acme", "zoo", "spam", "other"):
            message = Message(payload=1, headers=Headers(tenant=tenant))
            counts[tenant] = len(await flow.start(message).results())
    assert counts == {"acme": 1, "zoo": 2, "spam": 0, "other": 1}


def test_the_mapping_and_the_default_can_be_changed():
    made = DictRoutingPolicy({"acme": "a"}, key_getter=by_tenant)
    assert made.select(request(tenant="x")) is None
    made.set_default(["b"])
    assert made.select(request(tenant="x")) == ("b",)
    made.update_mapping({"x": "c"})
    assert (made.select(request(tenant="x")), made.select(request(tenant="acme"))) == ("c", ("b",))


def test_the_trace_is_the_key_if_none_is_named_and_a_key_that_cannot_be_one_is_in_no_mapping():
    assert DictRoutingPolicy({"trace": "a"}).select(request()) == "a"
    assert DictRoutingPolicy({"x": "a"}, default="b", key_getter=lambda r: []).select(request()) == "b"


def test_it_is_read_from_json_a_file_or_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    text = '{"acme": "a", "zoo": ["b", "c"]}'
    file = tmp_path / "map.json"
    file.write_text(text, encoding="utf-8")
    monkeypatch.setenv("ROUTES", text)
    for made in (
        DictRoutingPolicy.from_json(text, key_getter=by_tenant),
        DictRoutingPolicy.from_json_file(file, key_getter=by_tenant),
        DictRoutingPolicy.from_env("ROUTES", key_getter=by_tenant),
    ):
        assert made.select(request(tenant="zoo")) == ("b", "c")
    with pytest.raises(KeyError, match="'NOTHING' isn't set"):
        DictRoutingPolicy.from_env("NOTHING")
    with pytest.raises(PolicyError, match="it can't be read"):
        DictRoutingPolicy.from_json_file(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[1]", "has to be an object, .* and is a list"),
        ('{"a": }', "1:7: it is no JSON"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_json_of_another_form_is_refused(text: str, said: str):
    with pytest.raises(PolicyError, match=said):
        DictRoutingPolicy.from_json(text)


@pytest.mark.parametrize("route", [7, {"a": 1}, ["a", 3], b"a"])
def test_a_route_that_is_none_is_refused(route: Any):
    with pytest.raises(TypeError, match="is a node's name or a list of names"):
        DictRoutingPolicy({"x": route})


async def test_a_name_that_the_router_does_not_lead_to_fails_the_message():
    async with flow_of(policy=DictRoutingPolicy({}, default="nobody")) as flow:
        with pytest.raises(FlowError, match="no successor 'nobody'"):
            await flow.ask(1)
